//! The decision on one request. Denies unless something says otherwise.
//!
//! In this order: what is exempt passes; a caller without an identity that counts is turned away; the first rule that
//! takes the request decides, unless it passes the request on; what no rule decides, the default does. Whatever a rule
//! looks at and two readers may understand differently is turned away.

use tollgate::{
    request::Request,
    route::{Doubt, Found, RouteTable},
};

use crate::{
    conditions,
    config::{Config, Default, Mode, Otherwise, RuleConfig, When},
    identity::{Caller, NoIdentity, TrustDomains},
    peers::Peers,
};

/// All rules of one configuration.
#[derive(Debug, Clone)]
pub struct Policy {
    trust: TrustDomains,
    exempt: RouteTable,
    enforced: Rules,
    shadowed: Rules,
    default: Default,
}

/// Rules in their order.
#[derive(Debug, Clone)]
struct Rules {
    routes: RouteTable,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    /// Its index in the configuration.
    index: usize,
    when: Option<When>,
    deny: Peers,
    allow: Peers,
    otherwise: Otherwise,
}

/// Whether a rule lets a request pass, or why not.
pub type Outcome = Result<(), Reason>;

/// What is to be done with a request, and what rules in shadow mode would have done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What is to be done.
    pub verdict: Verdict,
    /// Each rule in shadow mode that would have decided, and what.
    pub shadowed: Vec<(usize, Outcome)>,
}

/// What is to be done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It passes.
    Allowed(Allowed),
    /// It is turned away.
    Denied {
        /// The rule that denied, if one was for the request.
        rule: Option<usize>,
        /// Why.
        reason: Reason,
    },
}

/// What let a request pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// It needs no identity.
    Exempt,
    /// The rule of this index.
    Rule(usize),
    /// The default.
    Default,
}

/// Why a request is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The caller has no identity that counts here.
    NoIdentity(NoIdentity),
    /// Two readers may take the path for different ones, and the rules go by path.
    AmbiguousPath,
    /// The host is no plain host name, and the rules go by host.
    AmbiguousHost,
    /// A header that a rule goes by is repeated, with values of which some fit.
    AmbiguousHeader,
    /// A parameter of the query that a rule goes by is repeated, with values of which some fit.
    AmbiguousQuery,
    /// The rules go by the client's address, and it is not known.
    UnknownAddress,
    /// A claim that the rules go by can't be read.
    UnreadableClaim,
    /// The rule's `deny` has the caller.
    DeniedByRule,
    /// The rule's `allow` does not have the caller.
    NotAllowed,
    /// No rule decides, and the default denies.
    NoRule,
    /// The header that says who calls still has what the client wrote there.
    HandOverFailed,
}

impl Reason {
    /// As logs and counters spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoIdentity(reason) => reason.as_str(),
            Self::AmbiguousPath => "ambiguous_path",
            Self::AmbiguousHost => "ambiguous_host",
            Self::AmbiguousHeader => "ambiguous_header",
            Self::AmbiguousQuery => "ambiguous_query",
            Self::UnknownAddress => "unknown_address",
            Self::UnreadableClaim => "unreadable_claim",
            Self::DeniedByRule => "denied_by_rule",
            Self::NotAllowed => "not_allowed",
            Self::NoRule => "no_rule",
            Self::HandOverFailed => "hand_over_failed",
        }
    }

    const fn of(doubt: Doubt) -> Self {
        match doubt {
            Doubt::Path(_) => Self::AmbiguousPath,
            Doubt::Host => Self::AmbiguousHost,
            Doubt::Header => Self::AmbiguousHeader,
            Doubt::Query => Self::AmbiguousQuery,
        }
    }
}

impl Policy {
    /// Compiles a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let trust = TrustDomains::new(config);
        let decides = |rule: &RuleConfig| rule.mode == Mode::Enforce;
        let otherwise = if config.rules.iter().any(decides) { Default::Deny } else { Default::Allow };
        Self {
            exempt: RouteTable::of_exemptions(&config.exempt),
            enforced: Rules::new(&config.rules, Mode::Enforce, &trust),
            shadowed: Rules::new(&config.rules, Mode::Shadow, &trust),
            default: config.default.unwrap_or(otherwise),
            trust,
        }
    }

    /// Decides on a request. `identify` is asked who sends it, unless that does not matter.
    pub fn decide<'a, R: Request>(
        &self,
        request: &R,
        identify: impl FnOnce() -> Result<Caller<'a>, NoIdentity>,
    ) -> Decision {
        let at_once = |verdict| Decision { verdict, shadowed: Vec::new() };
        if self.exempt.takes_for_certain(request) {
            return at_once(Verdict::Allowed(Allowed::Exempt));
        }
        let caller = match identify() {
            Ok(caller) => caller,
            Err(reason) => {
                let rule = self.enforced.first(request);
                return at_once(Verdict::Denied { rule, reason: Reason::NoIdentity(reason) });
            }
        };
        let (decided, doubt) = self.enforced.judge(request, caller, &self.trust, |_, _| true);
        let verdict = match (doubt, decided) {
            (Some(reason), decided) => Verdict::Denied { rule: decided.map(|(rule, _)| rule), reason },
            (None, Some((rule, Ok(())))) => Verdict::Allowed(Allowed::Rule(rule)),
            (None, Some((rule, Err(reason)))) => Verdict::Denied { rule: Some(rule), reason },
            (None, None) => match self.default {
                Default::Allow => Verdict::Allowed(Allowed::Default),
                Default::Deny => Verdict::Denied { rule: None, reason: Reason::NoRule },
            },
        };
        Decision { verdict, shadowed: self.in_shadow(request, caller, decided.map(|(rule, _)| rule)) }
    }

    /// What the rules in shadow mode before `decider` would have decided, each by itself.
    fn in_shadow(&self, request: &impl Request, caller: Caller<'_>, decider: Option<usize>) -> Vec<(usize, Outcome)> {
        let mut shadowed: Vec<(usize, Outcome)> = Vec::new();
        if self.shadowed.rules.is_empty() {
            return shadowed;
        }
        let (_, doubt) = self.shadowed.judge(request, caller, &self.trust, |rule, outcome| {
            let is_reached = decider.is_none_or(|decider| rule < decider);
            // A rule is asked for each of its alternatives.
            if is_reached && shadowed.last().is_none_or(|(last, _)| *last != rule) {
                shadowed.push((rule, outcome));
            }
            !is_reached
        });
        if let Some(reason) = doubt {
            shadowed.iter_mut().for_each(|(_, outcome)| *outcome = Err(reason));
        }
        shadowed
    }
}

impl Rules {
    fn new(rules: &[RuleConfig], mode: Mode, trust: &TrustDomains) -> Self {
        let of_mode = || rules.iter().enumerate().filter(move |(_, rule)| rule.mode == mode);
        let compile = |(index, rule): (usize, &RuleConfig)| Rule {
            index,
            when: rule.when.clone(),
            deny: Peers::new(&rule.deny, trust),
            allow: Peers::new(&rule.allow, trust),
            otherwise: rule.otherwise(),
        };
        Self {
            routes: RouteTable::new(of_mode().map(|(_, rule)| rule.matches.as_slice())),
            rules: of_mode().map(compile).collect(),
        }
    }

    /// The first rule that is for the request, whoever sends it.
    fn first(&self, request: &impl Request) -> Option<usize> {
        Some(self.rules.get(self.routes.find(request).rule?)?.index)
    }

    /// The first rule that decides and whose outcome `takes` takes; and what of all that was looked at is in doubt.
    fn judge(
        &self,
        request: &impl Request,
        caller: Caller<'_>,
        trust: &TrustDomains,
        mut takes: impl FnMut(usize, Outcome) -> bool,
    ) -> (Option<(usize, Outcome)>, Option<Reason>) {
        let mut decided = None;
        let Found { doubt, .. } = self.routes.find_where(request, |position| {
            let rule = self.rules.get(position);
            let outcome = rule.and_then(|rule| Some((rule.index, rule.judge(request, caller, trust)?)));
            decided = outcome.filter(|(rule, outcome)| takes(*rule, *outcome));
            decided.is_some()
        });
        (decided, doubt.map(Reason::of))
    }
}

impl Rule {
    /// What the rule makes of a request that it matches; `None` if it passes it on.
    fn judge(&self, request: &impl Request, caller: Caller<'_>, trust: &TrustDomains) -> Option<Outcome> {
        match self.when.as_ref().map_or(Ok(true), |when| conditions::hold(when, request)) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(doubt) => return Some(Err(doubt)),
        }
        if self.deny.have(caller, trust) {
            return Some(Err(Reason::DeniedByRule));
        }
        if self.allow.have(caller, trust) {
            return Some(Ok(()));
        }
        match self.otherwise {
            Otherwise::Allow => Some(Ok(())),
            Otherwise::Deny => Some(Err(Reason::NotAllowed)),
            Otherwise::Next => None,
        }
    }
}

#[cfg(test)]
mod tests;
