//! One rule, ready to be asked.

use tollgate::{
    request::Request,
    route::RouteMatch,
    store::{SharedStore, StoreError},
    time::Instant,
};

use super::{Admitted, Afterwards, Limited};
use crate::{
    config::{CostConfig, Mode, RuleConfig, Selector, WhenLimited, Which},
    headers,
    key::{self, Found, Key, Seed},
    reply::{Protocol, Reason, Reply},
    table::{BucketId, Charge, Denied, Noticed, Outcome, Table, Taken},
};

#[derive(Debug, Clone)]
pub(super) struct Rule {
    matches: Vec<RouteMatch>,
    key: Key,
    own: Limits,
    overrides: Vec<(Selector, Option<Limits>)>,
    reserve: Option<(u64, Vec<Selector>)>,
    cost: Option<CostConfig>,
    mode: Mode,
    enforce_percent: u64,
    /// Hundredths of a request that is to be turned away.
    enforce_credit: u64,
    headers: Which,
    when_limited: WhenLimited,
}

/// Limits, and the buckets behind them.
#[derive(Debug, Clone)]
struct Limits {
    table: Table,
    policy: headers::Policy,
}

/// What a rule asks of a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked {
    /// Nothing: its limits are switched off, or the caller has none.
    Nothing(usize),
    /// What it lacks.
    Lacking(usize),
    /// To be charged.
    For(Demand),
}

/// What is to be charged to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Demand {
    pub(super) rule: usize,
    exception: Option<usize>,
    id: BucketId,
    charge: Charge,
    /// Whether it is charged when the response comes, and now only asked for.
    later: bool,
}

impl Demand {
    pub(super) const fn limited(&self, reason: Reason) -> Limited {
        Limited { rule: self.rule, exception: self.exception, reason }
    }
}

impl Rule {
    /// `shared` says that a request may be charged to several rules.
    pub(super) fn new(config: &RuleConfig, scope: &Scope<'_>, seed: Seed, replicas: u64, shared: bool) -> Self {
        let limits = |limits: &[_], exception: Option<&Selector>| {
            let key = scope.key(config.name.as_str(), exception);
            let divided = RuleConfig::limits_of_one(limits, replicas);
            let table = match config.slots() {
                0 => Table::single(key, divided),
                slots => Table::keyed(key, divided, slots),
            };
            let table = if shared { table.giving_back() } else { table };
            Limits { table, policy: headers::Policy::new(&config.name, limits, config.draft03) }
        };
        let overrides = config.overrides.iter().map(|exception| {
            let own = exception.limits.as_deref().map(|of_caller| limits(of_caller, Some(&exception.selector)));
            (exception.selector.clone(), own)
        });
        Self {
            matches: config.matches.clone(),
            key: Key::new(&config.key, seed),
            overrides: overrides.collect(),
            own: limits(&config.limits, None),
            reserve: config.reserve.as_ref().map(|reserve| (reserve.percent.get(), reserve.callers.clone())),
            cost: config.cost.clone(),
            mode: config.mode,
            enforce_percent: config.enforce_percent.map_or(100, |percent| percent.get()),
            enforce_credit: 0,
            headers: config.headers,
            when_limited: config.when_limited.clone(),
        }
    }

    /// What the rule of this index asks of a request that it is for; `None` passes it over.
    pub(super) fn ask(&self, rule: usize, request: &impl Request) -> Option<Asked> {
        // Whom the rule is not for it is not for, switched off or not.
        let found = self.key.find(request, &self.matches);
        match found {
            Found::Skip => return None,
            _ if self.mode == Mode::Off => return Some(Asked::Nothing(rule)),
            Found::Deny | Found::Bucket(_) => {}
        }
        let selects = |selector: &Selector| key::selects(selector, request, &self.matches);
        let exception = self.overrides.iter().position(|(selector, _)| selects(selector));
        if exception.and_then(|index| self.overrides.get(index)).is_some_and(|(_, limits)| limits.is_none()) {
            return Some(Asked::Nothing(rule));
        }
        let Found::Bucket(id) = found else { return Some(Asked::Lacking(rule)) };
        let (cost, later) = match &self.cost {
            None => (1, false),
            Some(CostConfig::Fixed(cost)) => (cost.get(), false),
            Some(CostConfig::Header(cost)) => (cost.of(&request.header(&cost.header.0)), false),
            Some(CostConfig::Response(_)) => (1, true),
        };
        let kept_percent = match &self.reserve {
            Some((percent, callers)) if !callers.iter().any(selects) => *percent,
            _ => 0,
        };
        Some(Asked::For(Demand { rule, exception, id, charge: Charge { cost, kept_percent }, later }))
    }

    pub(super) fn take(
        &mut self,
        demand: &Demand,
        store: &mut impl SharedStore,
        now: Instant,
    ) -> Result<Taken, StoreError> {
        let table = &mut self.limits_mut(demand.exception).table;
        if demand.later {
            return table.look(store, demand.id, demand.charge, now);
        }
        table.take(store, demand.id, demand.charge, now)
    }

    pub(super) fn would_deny(
        &mut self,
        demand: &Demand,
        store: &mut impl SharedStore,
        now: Instant,
    ) -> Result<Option<(Denied, bool)>, StoreError> {
        self.limits_mut(demand.exception).table.would_deny(store, demand.id, demand.charge, now)
    }

    pub(super) fn give_back(
        &mut self,
        demand: &Demand,
        taken: &Taken,
        store: &mut impl SharedStore,
        now: Instant,
    ) -> Result<(), StoreError> {
        if demand.later {
            return Ok(());
        }
        self.limits_mut(demand.exception).table.give_back(store, demand.id, demand.charge.cost, taken, now)
    }

    pub(super) fn charge_response(
        &mut self,
        demand: &Demand,
        status: Option<u16>,
        store: &mut impl SharedStore,
        now: Instant,
    ) -> Result<(), StoreError> {
        let Some(CostConfig::Response(costs)) = &self.cost else { return Ok(()) };
        let cost = match status {
            Some(status) => costs.iter().find(|cost| cost.status.iter().any(|pattern| pattern.matches(status))),
            // Who goes away before the answer shall not get it for nothing.
            None => costs.iter().max_by_key(|cost| cost.cost),
        };
        match cost.map(|cost| cost.cost.get()) {
            Some(cost) => self.limits_mut(demand.exception).table.charge(store, demand.id, cost, now),
            None => Ok(()),
        }
    }

    /// Notes what there is to say and to do about a request that was admitted.
    pub(super) fn tell(&self, demand: &Demand, taken: &Taken, told: Which, admitted: &mut Admitted, now: Instant) {
        if told != Which::All && self.headers != Which::All && !demand.later {
            return;
        }
        let limits = self.limits(demand.exception);
        let Outcome::Admitted(levels) = &taken.outcome else { return };
        if told == Which::All {
            let Charge { cost, .. } = demand.charge;
            let remaining = levels.iter().zip(limits.table.limits()).map(|(level, limit)| {
                level.remaining(limit, now, demand.charge.kept(limit)).checked_div(cost).unwrap_or(0)
            });
            admitted.remaining = remaining.chain(admitted.remaining).min();
        }
        if self.headers == Which::All || demand.later {
            let afterwards = admitted.afterwards.get_or_insert_with(Box::<Afterwards>::default);
            if self.headers == Which::All {
                limits.policy.admitted(levels, limits.table.limits(), demand.charge, now, &mut afterwards.headers);
            }
            if demand.later {
                afterwards.charges.push(*demand);
            }
        }
    }

    pub(super) fn is_enforced(&self) -> bool {
        self.mode == Mode::Enforce
    }

    /// Whether a request that the limits do not admit is turned away: so many in a hundred, evenly.
    pub(super) fn enforces(&mut self) -> bool {
        if self.mode != Mode::Enforce {
            return false;
        }
        self.enforce_credit = self.enforce_credit.saturating_add(self.enforce_percent);
        let enforces = self.enforce_credit >= 100;
        if enforces {
            self.enforce_credit = self.enforce_credit.saturating_sub(100);
        }
        enforces
    }

    pub(super) fn reply(&self, limited: &Limited, protocol: Protocol, request: &impl Request) -> Reply {
        let policy = &self.limits(limited.exception).policy;
        Reply::new(&self.when_limited, policy, self.headers, &limited.reason, protocol, request)
    }

    pub(super) const fn has_cors(&self) -> bool {
        self.when_limited.cors.is_some()
    }

    pub(super) fn noticed(&mut self) -> Noticed {
        let mut all = self.own.table.noticed();
        for limits in self.overrides.iter_mut().filter_map(|(_, limits)| limits.as_mut()) {
            let Noticed { conflicts, slots } = limits.table.noticed();
            all.conflicts = all.conflicts.saturating_add(conflicts);
            all.slots = all.slots.saturating_add(slots);
        }
        all
    }

    fn limits(&self, exception: Option<usize>) -> &Limits {
        let of_exception = exception.and_then(|index| self.overrides.get(index)?.1.as_ref());
        of_exception.unwrap_or(&self.own)
    }

    fn limits_mut(&mut self, exception: Option<usize>) -> &mut Limits {
        let of_exception = exception.and_then(|index| self.overrides.get_mut(index)?.1.as_mut());
        of_exception.unwrap_or(&mut self.own)
    }
}

/// Where a plugin stands. Istio gives all plugins of all vendors one key space, so this goes into every key.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The plugin's name.
    pub plugin: &'a str,
    /// The plugin's root id.
    pub root_id: &'a str,
}

impl Scope<'_> {
    /// The key of a rule's buckets, or of those of one of its overrides. Every part is preceded by its length, so no two
    /// scopes can meet in one key.
    pub(super) fn key(&self, rule: &str, exception: Option<&Selector>) -> Vec<u8> {
        let exception = exception.map(|selector| selector.identity.as_str());
        Self::key_of([self.plugin, self.root_id, rule].into_iter().chain(exception))
    }

    /// Where it is written which configuration was announced in the log.
    #[must_use]
    pub fn announcement_key(&self) -> Vec<u8> {
        Self::key_of([self.plugin, self.root_id].into_iter())
    }

    fn key_of<'p>(parts: impl Iterator<Item = &'p str>) -> Vec<u8> {
        let mut key = b"tollgate/rate-limit/2".to_vec();
        for part in parts {
            key.extend(format!("/{}:", part.len()).bytes());
            key.extend(part.bytes());
        }
        key
    }
}
