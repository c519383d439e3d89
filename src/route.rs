//! Which rule a request falls under: hosts, paths, methods, headers and query, first match wins.
//!
//! Rules are compiled into a [`RouteTable`], whose lookup walks the path's segments once, whatever the number of rules.

mod pattern;
mod reach;
mod tree;

use std::cell::OnceCell;

use self::tree::PathTree;
pub use self::{
    pattern::{HeaderMatch, HostPattern, Method, NormalizedHost, PathPattern, QueryMatch, header_name},
    reach::{Unreachable, unreachable},
};
use crate::{
    config_struct,
    path::{self, Ambiguity, NormalizedPath},
    request::Request,
};

config_struct! {
    /// Conditions on a request. All given ones must hold; of `hosts`, `paths` and `methods` one entry is enough.
    #[derive(Default)]
    pub struct RouteMatch {
        /// The request's host; case, port and dots at the end do not count.
        pub hosts: Vec<HostPattern> = or_default("hosts"),
        /// The path, normalised and without its query.
        pub paths: Vec<PathPattern> = or_default("paths"),
        /// The method.
        pub methods: Vec<Method> = or_default("methods"),
        /// Headers; here all entries must hold.
        pub headers: Vec<HeaderMatch> = or_default("headers"),
        /// Parameters of the query; here all entries must hold.
        pub query: Vec<QueryMatch> = or_default("query"),
    }
}

impl RouteMatch {
    /// Whether it has no condition.
    #[must_use]
    pub const fn takes_everything(&self) -> bool {
        self.hosts.is_empty()
            && self.paths.is_empty()
            && self.methods.is_empty()
            && self.headers.is_empty()
            && self.query.is_empty()
    }

    /// Whether they hold. A doubt if that hangs on which value of a header or parameter is read.
    fn hold_but_for_the_path(&self, request: &impl Request, seen: &Seen) -> Result<bool, Doubt> {
        let host = || seen.host.get_or_init(|| request.authority().map(NormalizedHost::new)).as_ref();
        // Case does not count in methods: an application may not care for it either.
        let is_method = |method: &[u8]| self.methods.iter().any(|m| m.as_str().as_bytes().eq_ignore_ascii_case(method));
        let is_host = |host: &NormalizedHost| self.hosts.iter().any(|pattern| pattern.matches(host));
        if !(self.methods.is_empty() || request.method().is_some_and(is_method))
            || !(self.hosts.is_empty() || host().is_some_and(is_host))
        {
            return Ok(false);
        }
        let headers = all_hold(self.headers.iter().map(|header| header.matches(&request.header(header.name()))));
        if headers == Some(false) || self.query.is_empty() {
            return headers.ok_or(Doubt::Header);
        }
        let parameters = seen.query.get_or_init(|| query_parameters(request));
        match (headers, all_hold(self.query.iter().map(|query| query.matches(parameters)))) {
            (_, Some(false)) => Ok(false),
            (None, _) => Err(Doubt::Header),
            (_, None) => Err(Doubt::Query),
            (_, Some(true)) => Ok(true),
        }
    }
}

/// What was read of one request for the rules.
#[derive(Default)]
struct Seen {
    host: OnceCell<Option<NormalizedHost>>,
    query: OnceCell<Vec<(String, String)>>,
}

/// Whether all conditions hold. `None` if some hold by some of the values alone, and no other one fails.
fn all_hold(conditions: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut all = Some(true);
    for condition in conditions {
        match condition {
            Some(true) => {}
            Some(false) => return condition,
            None => all = None,
        }
    }
    all
}

/// The alternatives of a rule; one without any takes every request.
fn or_everything<'a>(alternatives: &'a [RouteMatch], everything: &'a [RouteMatch; 1]) -> &'a [RouteMatch] {
    if alternatives.is_empty() { everything } else { alternatives }
}

/// The host in an `:authority`, in lowercase and without port: what the rules see.
#[must_use]
pub fn host(authority: &[u8]) -> Vec<u8> {
    NormalizedHost::new(authority).into_name().into_bytes()
}

/// The value of the first parameter of that name in the request's query, decoded.
#[must_use]
pub fn query_parameter(request: &impl Request, name: &str) -> Option<String> {
    let mut pairs = raw_parameters(request);
    let found = pairs.find(|(raw, _)| match raw.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        true => path::decode_parameter(raw) == name,
        false => *raw == name.as_bytes(),
    });
    found.map(|(_, value)| path::decode_parameter(value))
}

/// The parameters of the request's query, decoded as `application/x-www-form-urlencoded`.
#[must_use]
pub fn query_parameters(request: &impl Request) -> Vec<(String, String)> {
    raw_parameters(request).map(|(name, value)| (path::decode_parameter(name), path::decode_parameter(value))).collect()
}

fn raw_parameters(request: &impl Request) -> impl Iterator<Item = (&[u8], &[u8])> {
    let query = request.path().unwrap_or_default().splitn(2, |byte| *byte == b'?').nth(1).unwrap_or_default();
    let parameters = query.split(|byte| *byte == b'&').filter(|parameter| !parameter.is_empty());
    parameters.map(|parameter| {
        let mut parts = parameter.splitn(2, |byte| *byte == b'=');
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
    })
}

/// What a [`RouteTable`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The index of the first rule that matches.
    pub rule: Option<usize>,
    /// What makes it doubtful, of that which had a say.
    pub doubt: Option<Doubt>,
}

/// What two readers of a request may understand differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// The path, and why.
    Path(Ambiguity),
    /// The host, which is no plain host name, or of which the path may name another.
    Host,
    /// A header that is repeated, with values of which some fit a condition.
    Header,
    /// A parameter of the query that is repeated, with values of which some fit a condition.
    Query,
}

/// Rules in their order, compiled.
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    alternatives: Vec<Alternative>,
    tree: PathTree,
    /// Alternatives without a path condition.
    any_path: Candidates,
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
        let mut table = Self::default();
        for (rule, alternatives) in rules.into_iter().enumerate() {
            table.add(rule, alternatives);
        }
        table
    }

    fn add(&mut self, rule: usize, alternatives: &[RouteMatch]) {
        for conditions in or_everything(alternatives, &[RouteMatch::default()]) {
            self.first_matches_all |= rule == 0 && conditions.takes_everything();
            let index = self.alternatives.len();
            if conditions.paths.is_empty() {
                self.any_path.add(index);
            }
            for path in &conditions.paths {
                self.tree.insert(path, index);
            }
            self.alternatives.push(Alternative { rule, conditions: conditions.clone() });
        }
    }

    /// Compiles the exemptions of a configuration, as one rule; none is no rule.
    #[must_use]
    pub fn of_exemptions(exempt: &[RouteMatch]) -> Self {
        Self::new(Some(exempt).filter(|exempt| !exempt.is_empty()))
    }

    /// Whether a rule matches and there are no two ways to read the request.
    #[must_use]
    pub fn takes_for_certain(&self, request: &impl Request) -> bool {
        let found = self.find(request);
        found.rule.is_some() && found.doubt.is_none()
    }

    /// Whether any rule looks at the path.
    #[must_use]
    pub fn looks_at_paths(&self) -> bool {
        !self.tree.is_empty()
    }

    /// Finds the first rule that matches. Reads no more of the request than the rules ask for, and the path for those that
    /// ask for the host.
    #[must_use]
    pub fn find(&self, request: &impl Request) -> Found {
        self.find_where(request, |_| true)
    }

    /// Finds the first rule that matches and that `takes` it. Asks in the order of the rules, and of each once at most for
    /// each of its alternatives, but of none for one that is in doubt: that is a doubt even if its rule would not take the
    /// request.
    #[must_use]
    pub fn find_where(&self, request: &impl Request, mut takes: impl FnMut(usize) -> bool) -> Found {
        if self.first_matches_all && takes(0) {
            return Found { rule: Some(0), doubt: None };
        }
        let mut candidates = self.any_path.clone();
        let mut doubt = None;
        if self.looks_at_paths()
            && let Some(raw) = request.path()
        {
            let path = NormalizedPath::new(raw);
            doubt = path.ambiguity().map(Doubt::Path);
            self.tree.find(&path, &mut candidates);
        }
        let seen = Seen::default();
        let mut disagreement = None;
        let found = candidates.first(|index| {
            let Alternative { rule, conditions } = self.alternatives.get(index)?;
            match conditions.hold_but_for_the_path(request, &seen) {
                Ok(holds) => (holds && takes(*rule)).then_some(*rule),
                Err(doubt) => {
                    disagreement.get_or_insert((*rule, doubt));
                    None
                }
            }
        });
        if let Some(Some(host)) = seen.host.get()
            && (host.is_ambiguous() || request.path().is_some_and(path::may_name_a_host))
        {
            doubt.get_or_insert(Doubt::Host);
        }
        // None where the same rule is found whichever value is read.
        let disagreement = disagreement.filter(|(rule, _)| found != Some(*rule)).map(|(_, doubt)| doubt);
        Found { rule: found, doubt: doubt.or(disagreement) }
    }
}

/// A set of alternatives, by index: adding costs the same however many there are, and they come out in order.
#[derive(Debug, Clone, Default)]
struct Candidates(Vec<u64>);

impl Candidates {
    fn add(&mut self, index: usize) {
        let (word, bit) = (index / 64, index % 64);
        if self.0.len() <= word {
            self.0.resize(word.saturating_add(1), 0);
        }
        if let Some(bits) = self.0.get_mut(word) {
            *bits |= 1 << bit;
        }
    }

    fn add_all(&mut self, indices: &[usize]) {
        for index in indices {
            self.add(*index);
        }
    }

    /// What `pick` says of the first one of which it says anything.
    fn first<T>(&self, mut pick: impl FnMut(usize) -> Option<T>) -> Option<T> {
        for (word, bits) in self.0.iter().enumerate() {
            let mut bits = *bits;
            while bits != 0 {
                let picked = pick(word.saturating_mul(64).saturating_add(bits.trailing_zeros() as usize));
                if picked.is_some() {
                    return picked;
                }
                bits &= bits.wrapping_sub(1);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
