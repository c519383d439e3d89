//! A rule of Tollgate before it has a name, and which requests it is for.

use super::super::plugin::matching::Match;
use super::super::plugin::mtls_identity::{Conditions, Peer};

/// A rule of Tollgate without its name.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    /// None is every request.
    pub(super) matches: Vec<Match>,
    pub(super) when: Conditions,
    /// None is everybody with an identity.
    pub(super) peers: Vec<Peer>,
    /// Whether Istio lets callers without an identity pass by it.
    pub(super) is_for_anybody: bool,
    /// Where it stands.
    pub(super) path: String,
}

impl Draft {
    /// Whether it asks for nothing but hosts, paths and methods.
    pub(super) fn can_be_exempt(&self) -> bool {
        let plain = |alternative: &Match| !alternative.is_any() && alternative.headers.is_empty();
        self.is_for_anybody && self.when.is_empty() && !self.matches.is_empty() && self.matches.iter().all(plain)
    }

    /// Whether no request is for both, as far as their patterns tell.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        let apart = |mine: &Match| other.matches.iter().all(|theirs| are_apart(mine, theirs));
        !self.matches.is_empty() && !other.matches.is_empty() && self.matches.iter().all(apart)
    }
}

/// Whether no request satisfies both.
fn are_apart(this: &Match, that: &Match) -> bool {
    let lists = |these: &[String], those: &[String], apart: fn(&str, &str) -> bool| {
        let all = these.iter().all(|this| those.iter().all(|that| apart(this, that)));
        !these.is_empty() && !those.is_empty() && all
    };
    lists(&this.methods, &that.methods, |this, that| this != that)
        || lists(&this.hosts, &that.hosts, hosts_are_apart)
        || lists(&this.paths, &that.paths, paths_are_apart)
}

fn hosts_are_apart(this: &str, that: &str) -> bool {
    let below = |domain: Option<&str>, host: &str| domain.is_some_and(|domain| host.ends_with(domain));
    let (mine, theirs) = (this.strip_prefix('*'), that.strip_prefix('*'));
    !below(mine, that) && !below(theirs, this) && this != that
}

fn paths_are_apart(this: &str, that: &str) -> bool {
    let whole = |path: &'_ str| path.strip_suffix('*').map(|path| path.strip_suffix('/').unwrap_or(path).to_owned());
    let (mine, theirs) = (whole(this), whole(that));
    let segments = |path: &str| -> Vec<String> {
        path.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect()
    };
    let (these, those) = (segments(mine.as_deref().unwrap_or(this)), segments(theirs.as_deref().unwrap_or(that)));
    let differ = these.iter().zip(&those).any(|(this, that)| this != that && this != "{*}" && that != "{*}");
    let too_short = |one: usize, other: usize, has_more: bool| one < other && !has_more;
    differ
        || too_short(these.len(), those.len(), mine.is_some())
        || too_short(those.len(), these.len(), theirs.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(hosts: &[&str], methods: &[&str], paths: &[&str]) -> Draft {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let alternative = Match { hosts: list(hosts), methods: list(methods), paths: list(paths), ..Match::default() };
        Draft {
            matches: vec![alternative],
            when: Conditions::default(),
            peers: Vec::new(),
            is_for_anybody: true,
            path: String::new(),
        }
    }

    #[test]
    fn patterns_with_nothing_in_common_exclude_each_other() {
        let apart = |this: &Draft, that: &Draft| (this.excludes(that), that.excludes(this));
        for (this, that, expected) in [
            ("/a", "/b", true),
            ("/a", "/a", false),
            ("/a", "/a/b", true),
            ("/a/*", "/a", false),
            ("/a/*", "/a/b/c", false),
            ("/a/b", "/a/*", false),
            ("/a/{*}/*", "/a", true),
            ("/a/{*}", "/a/b", false),
            ("/{*}/b", "/a/c", true),
            ("/*", "/a", false),
            ("*", "/a/{*}", false),
            ("/", "/a", true),
        ] {
            let both = apart(&draft(&[], &[], &[this]), &draft(&[], &[], &[that]));
            assert_eq!(both, (expected, expected), "{this} {that}");
        }
        for (this, that, expected) in [
            ("a.example", "b.example", true),
            ("a.example", "*.example", false),
            ("*.a.example", "*.example", false),
            ("*.a.example", "a.example", true),
            ("*", "a.example", false),
        ] {
            let both = apart(&draft(&[this], &[], &[]), &draft(&[that], &[], &[]));
            assert_eq!(both, (expected, expected), "{this} {that}");
        }
        assert_eq!(apart(&draft(&[], &["GET"], &[]), &draft(&[], &["PUT", "POST"], &["/a"])), (true, true));
        assert_eq!(apart(&draft(&[], &["GET"], &[]), &draft(&[], &[], &["/a"])), (false, false));
        let everything = Draft { matches: Vec::new(), ..draft(&[], &[], &[]) };
        assert_eq!(apart(&draft(&[], &["GET"], &[]), &everything), (false, false));
    }
}
