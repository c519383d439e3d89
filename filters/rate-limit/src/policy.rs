//! The decision on one request.

mod rule;

use tollgate::{
    request::Request,
    route::RouteTable,
    store::{SharedStore, StoreError},
    time::Instant,
};

pub use self::rule::Scope;
use self::rule::{Asked, Demand, Rule};
use crate::{
    config::{Config, Which},
    headers::Headers,
    key::Seed,
    reply::{Protocol, Reason, Reply},
    table::{Denied, Noticed, Outcome, Taken},
};

/// All rules of one configuration, as one worker applies them.
#[derive(Debug, Clone)]
pub struct Policy {
    exempt: RouteTable,
    routes: RouteTable,
    /// Those that go by the route, then the overall ones.
    rules: Vec<Rule>,
    routed: usize,
    told: Which,
    /// Of the last request.
    decisions: Vec<Decision>,
}

/// What is to be done with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It passes by an exemption.
    Exempt,
    /// It passes.
    Admitted(Admitted),
    /// It is turned away.
    Limited(Limited),
}

/// What is left to do for a request that passes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admitted {
    /// Whether a rule was for it.
    pub matched: bool,
    /// The fewest requests that any of its buckets still admits, when that is asked for.
    pub remaining: Option<u64>,
    /// What is to be done when the response comes.
    pub afterwards: Option<Box<Afterwards>>,
}

/// What is to be done when the response comes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Afterwards {
    /// Headers that the response gets.
    pub headers: Headers,
    charges: Vec<Demand>,
}

/// A request that is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    /// The index of the rule that keeps it waiting longest.
    pub rule: usize,
    /// Which of its limits these are: the rule's own, or those of an override.
    pub exception: Option<usize>,
    /// Why.
    pub reason: Reason,
}

/// What one rule decided on the last request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The rule's index.
    pub rule: usize,
    /// What it decided.
    pub decision: Decided,
    /// Whether the overflow bucket answered.
    pub overflowed: bool,
}

/// What a rule decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// It passes.
    Allowed,
    /// It does not.
    Limited,
    /// It passes, and would not have if the rule were enforced.
    ShadowLimited(Reason),
    /// It passes, because the store refused to answer.
    Failed(StoreError),
}

impl Policy {
    /// Compiles a configuration. `scope` is what sets this plugin's buckets apart from those of others in one proxy.
    #[must_use]
    pub fn new(config: &Config, scope: &Scope<'_>, seed: Seed) -> Self {
        let shared = !config.overall.is_empty();
        Self {
            exempt: RouteTable::of_exemptions(&config.exempt),
            routes: RouteTable::new(config.rules.iter().map(|rule| rule.matches.as_slice())),
            rules: config.all_rules().map(|rule| Rule::new(rule, scope, seed, config.replicas(), shared)).collect(),
            routed: config.rules.len(),
            told: config.filter_state,
            decisions: Vec::new(),
        }
    }

    /// What the rules decided on the last request.
    #[must_use]
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// Of which requests the decision goes into the filter state.
    #[must_use]
    pub const fn told(&self) -> Which {
        self.told
    }

    /// What was noticed at the tables of the rule of this index since this was asked last.
    pub fn noticed(&mut self, rule: usize) -> Noticed {
        self.rules.get_mut(rule).map_or_else(Noticed::default, Rule::noticed)
    }

    /// Decides on a request that arrived at `now`. Reads no more of it than the rules ask for.
    pub fn decide(&mut self, request: &impl Request, store: &mut impl SharedStore, now: Instant) -> Verdict {
        self.decisions.clear();
        if self.exempt.takes_for_certain(request) {
            return Verdict::Exempt;
        }
        let mut admitted = Admitted::default();
        let routed = self.routed_demand(request);
        if let Some(asked) = routed {
            admitted.matched = true;
            if self.routed == self.rules.len() {
                return match asked {
                    Asked::Nothing(rule) => self.pass(rule, admitted),
                    Asked::Lacking(rule) => self.lacking(rule).unwrap_or(Verdict::Admitted(admitted)),
                    Asked::For(demand) => self.decide_alone(demand, admitted, store, now),
                };
            }
        }
        let mut demands = Vec::with_capacity(self.rules.len().saturating_sub(self.routed).saturating_add(1));
        let overall = (self.routed..self.rules.len()).filter_map(|index| self.rules.get(index)?.ask(index, request));
        for asked in routed.into_iter().chain(overall.collect::<Vec<_>>()) {
            match asked {
                Asked::Nothing(rule) => self.decided(rule, Decided::Allowed, false),
                Asked::Lacking(rule) => {
                    if let Some(verdict) = self.lacking(rule) {
                        return verdict;
                    }
                }
                Asked::For(demand) => demands.push(demand),
            }
        }
        self.decide_together(demands, admitted, store, now)
    }

    /// The reply to a request that is turned away.
    #[must_use]
    pub fn reply(&self, limited: &Limited, protocol: Protocol, request: &impl Request) -> Option<Reply> {
        let rule = self.rules.get(limited.rule)?;
        Some(rule.reply(limited, protocol, request))
    }

    /// Whether replies of this rule differ from caller to caller but for the seconds.
    #[must_use]
    pub fn reply_depends_on_caller(&self, rule: usize) -> bool {
        self.rules.get(rule).is_some_and(Rule::has_cors)
    }

    /// Charges what depends on the response: on its status, or the most when none came. What became of it, by rule.
    pub fn charge(
        &mut self,
        afterwards: &Afterwards,
        status: Option<u16>,
        store: &mut impl SharedStore,
        now: Instant,
    ) -> Vec<(usize, Result<(), StoreError>)> {
        let charges = afterwards.charges.iter().filter_map(|demand| {
            let rule = self.rules.get_mut(demand.rule)?;
            Some((demand.rule, rule.charge_response(demand, status, store, now)))
        });
        charges.collect()
    }

    /// What the first rule asks for that is for the request and does not pass it over.
    fn routed_demand(&self, request: &impl Request) -> Option<Asked> {
        let mut asked = None;
        // An ambiguous path is charged to the rule of its plain form.
        let _ = self.routes.find_where(request, |index| {
            asked = self.rules.get(index).and_then(|rule| rule.ask(index, request));
            asked.is_some()
        });
        asked
    }

    fn decided(&mut self, rule: usize, decision: Decided, overflowed: bool) {
        self.decisions.push(Decision { rule, decision, overflowed });
    }

    fn pass(&mut self, rule: usize, admitted: Admitted) -> Verdict {
        self.decided(rule, Decided::Allowed, false);
        Verdict::Admitted(admitted)
    }

    /// A request that lacks what its rule demands of it: it is turned away, unless the rule is not enforced.
    fn lacking(&mut self, index: usize) -> Option<Verdict> {
        let reason = Reason::KeyMissing;
        if !self.rules.get_mut(index).is_some_and(Rule::enforces) {
            self.decided(index, Decided::ShadowLimited(reason), false);
            return None;
        }
        // What the others would have said does not count.
        self.decisions.clear();
        self.decided(index, Decided::Limited, false);
        Some(Verdict::Limited(Limited { rule: index, exception: None, reason }))
    }

    /// One demand, as most requests have.
    fn decide_alone(
        &mut self,
        demand: Demand,
        mut admitted: Admitted,
        store: &mut impl SharedStore,
        now: Instant,
    ) -> Verdict {
        let told = self.told;
        let Some(rule) = self.rules.get_mut(demand.rule) else { return Verdict::Admitted(admitted) };
        match rule.take(&demand, store, now) {
            Ok(taken) => match taken.outcome {
                Outcome::Admitted(_) => {
                    rule.tell(&demand, &taken, told, &mut admitted, now);
                    self.decided(demand.rule, Decided::Allowed, taken.overflowed);
                    Verdict::Admitted(admitted)
                }
                Outcome::Denied(denied) => {
                    let reason = reason(&denied, now);
                    if rule.enforces() {
                        self.decided(demand.rule, Decided::Limited, taken.overflowed);
                        return Verdict::Limited(demand.limited(reason));
                    }
                    self.decided(demand.rule, Decided::ShadowLimited(reason), taken.overflowed);
                    Verdict::Admitted(admitted)
                }
            },
            Err(error) => {
                self.decided(demand.rule, Decided::Failed(error), false);
                Verdict::Admitted(admitted)
            }
        }
    }

    /// Several demands: all of those that are enforced are charged, or none.
    fn decide_together(
        &mut self,
        mut demands: Vec<Demand>,
        mut admitted: Admitted,
        store: &mut impl SharedStore,
        now: Instant,
    ) -> Verdict {
        // First only a look, so that what one denies is not taken from the others.
        let mut worst: Option<(Demand, Denied)> = None;
        demands.retain(|demand| {
            let Some(rule) = self.rules.get_mut(demand.rule) else { return false };
            if !rule.is_enforced() {
                return true;
            }
            match rule.would_deny(demand, store, now) {
                Ok(None) | Err(_) => true,
                Ok(Some((denied, overflowed))) if !rule.enforces() => {
                    let decision = Decided::ShadowLimited(reason(&denied, now));
                    self.decisions.push(Decision { rule: demand.rule, decision, overflowed });
                    false
                }
                Ok(Some((denied, overflowed))) => {
                    self.decisions.push(Decision { rule: demand.rule, decision: Decided::Limited, overflowed });
                    if worst.as_ref().is_none_or(|(_, worst)| worst.not_before < denied.not_before) {
                        worst = Some((*demand, denied));
                    }
                    true
                }
            }
        });
        if let Some((demand, denied)) = worst {
            self.decisions.retain(|decision| decision.decision == Decided::Limited);
            return Verdict::Limited(demand.limited(reason(&denied, now)));
        }
        let mut charged: Vec<(Demand, Taken)> = Vec::with_capacity(demands.len());
        let is_enforced = |demand: &Demand| self.rules.get(demand.rule).is_some_and(Rule::is_enforced);
        let (enforced, shadow): (Vec<_>, Vec<_>) = demands.into_iter().partition(is_enforced);
        for demand in enforced.into_iter().chain(shadow) {
            let Some(rule) = self.rules.get_mut(demand.rule) else { continue };
            match rule.take(&demand, store, now) {
                Ok(taken) => match taken.outcome {
                    Outcome::Admitted(_) => {
                        rule.tell(&demand, &taken, self.told, &mut admitted, now);
                        self.decided(demand.rule, Decided::Allowed, taken.overflowed);
                        charged.push((demand, taken));
                    }
                    // Another worker was quicker between the look and now.
                    Outcome::Denied(denied) if rule.enforces() => {
                        for (demand, taken) in charged {
                            if let Some(rule) = self.rules.get_mut(demand.rule) {
                                // A charge that can't be given back errs on the safe side.
                                let _ = rule.give_back(&demand, &taken, store, now);
                            }
                        }
                        self.decisions.clear();
                        self.decided(demand.rule, Decided::Limited, taken.overflowed);
                        return Verdict::Limited(demand.limited(reason(&denied, now)));
                    }
                    Outcome::Denied(denied) => {
                        let decision = Decided::ShadowLimited(reason(&denied, now));
                        self.decided(demand.rule, decision, taken.overflowed);
                    }
                },
                Err(error) => self.decided(demand.rule, Decided::Failed(error), false),
            }
        }
        Verdict::Admitted(admitted)
    }
}

fn reason(denied: &Denied, now: Instant) -> Reason {
    Reason::BucketEmpty { limit: denied.limit, wait: denied.not_before.since(now) }
}

#[cfg(test)]
mod tests;
