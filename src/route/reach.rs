//! Which rules no request can reach, because earlier ones take all that they would.

use super::{HeaderMatch, HostPattern, PathPattern, QueryMatch, RouteMatch, RouteTable, or_everything};

/// How many pairs of conditions are compared at most, which takes some tens of milliseconds. Two thousand rules by path
/// take a few thousand, two thousand by one host each two million. What is not compared counts as reachable.
const MOST_COMPARISONS: usize = 1 << 22;

/// A rule that no request can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreachable {
    /// Its index.
    pub rule: usize,
    /// The index of the first rule that takes some of what it would.
    pub taker: usize,
    /// Whether that rule takes it all.
    pub alone: bool,
}

/// Finds the rules of which every alternative is covered by one of an earlier rule. It misses those that only several
/// alternatives cover together; none that it finds can be reached.
#[must_use]
pub fn unreachable(rules: &[&[RouteMatch]]) -> Vec<Unreachable> {
    let everything = [RouteMatch::default()];
    let mut unreachable = Vec::new();
    let mut earlier = RouteTable::default();
    let mut left = MOST_COMPARISONS;
    for (rule, alternatives) in rules.iter().enumerate() {
        let (mut first, mut last) = (usize::MAX, 0);
        let is_covered = or_everything(alternatives, &everything).iter().all(|alternative| {
            let taker = earlier.taker(alternative, &mut left);
            if let Some(taker) = taker {
                (first, last) = (first.min(taker), last.max(taker));
            }
            taker.is_some()
        });
        if is_covered {
            unreachable.push(Unreachable { rule, taker: first, alone: first == last });
        } else {
            // What is covered need not be among the earlier ones: what it covers is covered as well.
            earlier.add(rule, alternatives);
        }
        if left == 0 {
            break;
        }
    }
    unreachable
}

impl RouteTable {
    /// The first rule with an alternative that covers `later`.
    fn taker(&self, later: &RouteMatch, left: &mut usize) -> Option<usize> {
        let mut candidates = self.any_path.clone();
        if let Some(path) = later.paths.first() {
            *left = left.saturating_sub(self.tree.find_covering(path, &mut candidates));
        }
        let earlier = candidates.first(|index| {
            let earlier = self.alternatives.get(index);
            earlier.filter(|earlier| earlier.conditions.covers(later, left))
        });
        earlier.map(|earlier| earlier.rule)
    }
}

impl RouteMatch {
    /// Whether this holds for every request that `later` holds for; no, if to say so takes more than `left` comparisons.
    pub(super) fn covers(&self, later: &Self, left: &mut usize) -> bool {
        let Some(rest) = left.checked_sub(self.conditions().saturating_mul(later.conditions()).max(1)) else {
            return false;
        };
        *left = rest;
        includes(&self.methods, &later.methods, PartialEq::eq)
            && includes(&self.hosts, &later.hosts, HostPattern::covers)
            && includes(&self.paths, &later.paths, PathPattern::covers)
            && each_has(&self.headers, &later.headers, HeaderMatch::covers)
            && each_has(&self.query, &later.query, QueryMatch::covers)
    }

    fn conditions(&self) -> usize {
        let lists = [self.hosts.len(), self.paths.len(), self.methods.len(), self.headers.len(), self.query.len()];
        lists.into_iter().sum()
    }
}

/// Whether one of `earlier` holds wherever one of `later` does. An empty list is no condition, while even `*` does not
/// hold for a request that has no host or path.
fn includes<T>(earlier: &[T], later: &[T], covers: fn(&T, &T) -> bool) -> bool {
    earlier.is_empty() || !later.is_empty() && each_has(later, earlier, |later, earlier| covers(earlier, later))
}

/// Whether each of `these` has one among `those`.
fn each_has<T>(these: &[T], those: &[T], fits: impl Fn(&T, &T) -> bool) -> bool {
    these.iter().all(|this| those.iter().any(|that| fits(this, that)))
}
