//! Which rules no request can reach, because earlier ones take all that they would.

use super::{HeaderMatch, HostPattern, PathPattern, QueryMatch, RouteMatch, or_everything, tree::PathTree};

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
    let mut earlier = Earlier { left: MOST_COMPARISONS, ..Earlier::default() };
    for (rule, alternatives) in rules.iter().enumerate() {
        let alternatives = or_everything(alternatives, &everything);
        let mut takers: Option<(usize, usize)> = None;
        let is_covered = alternatives.iter().all(|alternative| {
            let taker = earlier.taker(alternative);
            if let Some(taker) = taker {
                let (first, last) = takers.unwrap_or((taker, taker));
                takers = Some((first.min(taker), last.max(taker)));
            }
            taker.is_some()
        });
        match takers {
            // What is covered need not be among the earlier ones: what it covers is covered as well.
            Some((taker, last)) if is_covered => unreachable.push(Unreachable { rule, taker, alone: taker == last }),
            _ => alternatives.iter().for_each(|alternative| earlier.add(rule, alternative)),
        }
        if earlier.left == 0 {
            break;
        }
    }
    unreachable
}

/// The alternatives of the rules before the one that is looked at.
#[derive(Default)]
struct Earlier<'a> {
    /// Each with its rule.
    alternatives: Vec<(usize, &'a RouteMatch)>,
    tree: PathTree,
    /// Those without a path condition.
    any_path: Vec<usize>,
    /// How many comparisons may still be made.
    left: usize,
}

impl<'a> Earlier<'a> {
    fn add(&mut self, rule: usize, alternative: &'a RouteMatch) {
        let index = self.alternatives.len();
        if alternative.paths.is_empty() {
            self.any_path.push(index);
        }
        for path in &alternative.paths {
            self.tree.insert(path, index);
        }
        self.alternatives.push((rule, alternative));
    }

    /// The first rule with an alternative that covers `later`.
    fn taker(&mut self, later: &RouteMatch) -> Option<usize> {
        let (alternatives, left) = (&self.alternatives, &mut self.left);
        let mut found = alternatives.len();
        let mut compare = |indices: &[usize]| {
            *left = left.saturating_sub(1);
            for index in indices {
                if *index < found && alternatives.get(*index).is_some_and(|(_, earlier)| earlier.covers(later, left)) {
                    found = *index;
                }
            }
        };
        compare(&self.any_path);
        if let Some(path) = later.paths.first() {
            self.tree.find_covering(path, compare);
        }
        alternatives.get(found).map(|(rule, _)| *rule)
    }
}

impl RouteMatch {
    /// Whether this holds for every request that `later` holds for; no, if to say so takes more than `left` comparisons.
    pub(super) fn covers(&self, later: &Self, left: &mut usize) -> bool {
        let pairs = [
            (self.methods.len(), later.methods.len()),
            (self.hosts.len(), later.hosts.len()),
            (self.paths.len(), later.paths.len()),
            (self.headers.len(), later.headers.len()),
            (self.query.len(), later.query.len()),
        ];
        let pairs = pairs.iter().fold(0_usize, |sum, (a, b)| sum.saturating_add(a.saturating_mul(*b)));
        let Some(rest) = left.checked_sub(pairs.max(1)) else { return false };
        *left = rest;
        includes(&self.methods, &later.methods, PartialEq::eq)
            && includes(&self.hosts, &later.hosts, HostPattern::covers)
            && includes(&self.paths, &later.paths, PathPattern::covers)
            && each_has(&self.headers, &later.headers, HeaderMatch::covers)
            && each_has(&self.query, &later.query, QueryMatch::covers)
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
