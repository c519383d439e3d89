//! Conditions on a request, which all filters write alike.

use serde::Serialize;

/// Conditions, all of which must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Match {
    /// Any of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Any of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Any of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// All of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<ValueCondition>,
    /// All of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<ValueCondition>,
}

impl Match {
    /// Whether it takes every request.
    pub(in super::super) fn is_any(&self) -> bool {
        *self == Self::default()
    }

    /// Both conditions at once; none where one match can't say so.
    pub(in super::super) fn and(mut self, other: &Self) -> Option<Self> {
        for (mine, theirs) in
            [(&mut self.hosts, &other.hosts), (&mut self.paths, &other.paths), (&mut self.methods, &other.methods)]
        {
            if mine.is_empty() {
                mine.clone_from(theirs);
            } else if !theirs.is_empty() && mine != theirs {
                return None;
            }
        }
        for (mine, theirs) in [(&mut self.headers, &other.headers), (&mut self.query, &other.query)] {
            for condition in theirs {
                if !mine.contains(condition) {
                    mine.push(condition.clone());
                }
            }
        }
        Some(self)
    }

    /// Whether no request can satisfy both, as far as exact values tell.
    pub(in super::super) fn excludes(&self, other: &Self) -> bool {
        let apart = |mine: &[String], theirs: &[String]| {
            let exact = |list: &[String]| !list.is_empty() && list.iter().all(|value| !value.contains(['*', '{']));
            exact(mine) && exact(theirs) && mine.iter().all(|value| !theirs.contains(value))
        };
        apart(&self.hosts, &other.hosts)
            || apart(&self.paths, &other.paths)
            || apart(&self.methods, &other.methods)
            || [(&self.headers, &other.headers), (&self.query, &other.query)]
                .into_iter()
                .any(|(mine, theirs)| mine.iter().any(|mine| theirs.iter().any(|theirs| mine.excludes(theirs))))
    }
}

/// A condition on a header or a parameter of the query.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ValueCondition {
    /// The header or parameter.
    pub name: String,
    /// Its whole value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// How its value begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// That it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
}

impl ValueCondition {
    /// Whether no request can satisfy both, as far as exact values tell.
    fn excludes(&self, other: &Self) -> bool {
        self.name == other.name && self.exact.is_some() && other.exact.is_some() && self.exact != other.exact
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(paths: &[&str]) -> Match {
        Match { paths: paths.iter().map(|path| (*path).to_owned()).collect(), ..Match::default() }
    }

    #[test]
    fn exact_values_tell_matches_apart_and_wildcards_do_not() {
        assert!(paths(&["/a"]).excludes(&paths(&["/b"])));
        assert!(!paths(&["/a"]).excludes(&paths(&["/a"])));
        assert!(!paths(&["/a"]).excludes(&paths(&["/*"])));
        assert!(!paths(&["/a"]).excludes(&Match::default()));
    }

    #[test]
    fn two_lists_of_paths_are_not_one() {
        assert_eq!(paths(&["/a"]).and(&paths(&["/b"])), None);
        assert_eq!(Match::default().and(&paths(&["/b"])), Some(paths(&["/b"])));
    }
}
