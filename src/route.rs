//! Which rule a request falls under: hosts, paths, methods and headers, first match wins.
//!
//! Rules are compiled into a [`RouteTable`], whose lookup walks the path's segments once, whatever the number of rules.

mod pattern;
mod tree;

use serde::Deserialize;

pub use self::pattern::{HeaderMatch, HostPattern, Method, PathPattern};
use self::{pattern::normalized_host, tree::PathTree};
use crate::{
    path::{Ambiguity, NormalizedPath},
    request::Request,
};

/// Conditions on a request. All given ones must hold; of the entries of one list, one is enough. An empty list is no
/// condition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RouteMatch {
    /// `:authority`: case, port and a dot at the end do not count.
    pub hosts: Vec<HostPattern>,
    /// The normalised path.
    pub paths: Vec<PathPattern>,
    /// `:method`.
    pub methods: Vec<Method>,
    /// Headers; here all entries must hold.
    pub headers: Vec<HeaderMatch>,
}

impl RouteMatch {
    fn holds_but_for_the_path(&self, request: &impl Request) -> bool {
        let holds = |pattern: &HostPattern, host: &str| pattern.matches(host);
        (self.methods.is_empty()
            || request.method().is_some_and(|method| self.methods.iter().any(|m| m.as_str().as_bytes() == method)))
            && (self.hosts.is_empty()
                || request
                    .authority()
                    .and_then(normalized_host)
                    .is_some_and(|host| self.hosts.iter().any(|pattern| holds(pattern, &host))))
            && self.headers.iter().all(|header| header.matches(&request.header(header.name())))
    }
}

/// What a [`RouteTable`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The index of the first rule that matches.
    pub rule: Option<usize>,
    /// What makes the request's path ambiguous, if the path had a say.
    pub ambiguity: Option<Ambiguity>,
}

/// Rules in their order, compiled.
#[derive(Debug, Clone)]
pub struct RouteTable {
    alternatives: Vec<Alternative>,
    tree: PathTree,
    /// Alternatives without a path condition, ascending.
    any_path: Vec<usize>,
    /// Set when the very first rule matches every request.
    first_matches_all: bool,
}

#[derive(Debug, Clone)]
struct Alternative {
    rule: usize,
    conditions: RouteMatch,
}

impl RouteTable {
    /// Compiles rules. Each is a list of alternatives; one without any matches every request.
    #[must_use]
    pub fn new<'a>(rules: impl IntoIterator<Item = &'a [RouteMatch]>) -> Self {
        let everything = [RouteMatch::default()];
        let mut table = Self {
            alternatives: Vec::new(),
            tree: PathTree::default(),
            any_path: Vec::new(),
            first_matches_all: false,
        };
        for (rule, alternatives) in rules.into_iter().enumerate() {
            for conditions in if alternatives.is_empty() { &everything } else { alternatives } {
                table.first_matches_all |= rule == 0 && *conditions == RouteMatch::default();
                let index = table.alternatives.len();
                if conditions.paths.is_empty() {
                    table.any_path.push(index);
                }
                for path in &conditions.paths {
                    table.tree.insert(path, index);
                }
                table.alternatives.push(Alternative { rule, conditions: conditions.clone() });
            }
        }
        table
    }

    /// Whether any rule looks at the path.
    #[must_use]
    pub fn looks_at_paths(&self) -> bool {
        !self.tree.is_empty()
    }

    /// Finds the first rule that matches. Reads no more of the request than the rules ask for.
    #[must_use]
    pub fn find(&self, request: &impl Request) -> Found {
        if self.first_matches_all {
            return Found { rule: Some(0), ambiguity: None };
        }
        let mut candidates = vec![self.any_path.as_slice()];
        let mut ambiguity = None;
        if self.looks_at_paths()
            && let Some(raw) = request.path()
        {
            let path = NormalizedPath::new(raw);
            ambiguity = path.ambiguity();
            self.tree.find(&path, |values| candidates.push(values));
        }
        Found { rule: self.first_of(candidates, request), ambiguity }
    }

    /// The rule of the first alternative that holds, of several ascending lists of alternatives whose path fits.
    fn first_of(&self, mut candidates: Vec<&[usize]>, request: &impl Request) -> Option<usize> {
        loop {
            candidates.retain(|list| !list.is_empty());
            let list = candidates.iter_mut().min_by_key(|list| list.first().copied())?;
            let (first, rest) = list.split_first()?;
            *list = rest;
            let alternative = self.alternatives.get(*first)?;
            if alternative.conditions.holds_but_for_the_path(request) {
                return Some(alternative.rule);
            }
        }
    }
}

#[cfg(test)]
mod tests;
