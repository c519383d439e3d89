//! What is said of each decision: a counter, a line in the log, the filter state.

use host::{Counter, HostRequest, LogLevel};
use tollgate::{
    logfmt::Line,
    request::{Attribute, Request as _},
    stats::stat_name,
    throttle::Throttle,
    time::Instant,
};

use crate::{
    config::{Mode, RuleConfig},
    policy::{Allowed, Outcome, Reason},
};

/// The response code details of a denial, and what the filter state says of it.
pub(super) const DENIED: &str = "tollgate_identity_denied";
const SHADOW_DENIED: &str = "tollgate_identity_shadow_denied";

/// The counters of one configuration, and the pace of its log lines.
pub(super) struct Decisions {
    rules: Vec<Rule>,
    exempt: Counter,
    by_default: Counter,
    outbound: Counter,
    /// Denials that no rule was for.
    no_rule: Denials,
}

/// What is recorded of one rule.
struct Rule {
    /// In shadow mode, what it would have let pass.
    allowed: Counter,
    denials: Denials,
}

/// Denials of one rule: for each reason a counter, defined when it first happens, and the pace of its log lines.
struct Denials {
    rule: String,
    reasons: Vec<(Mode, Reason, Counter, Throttle)>,
}

impl Decisions {
    pub(super) fn new(rules: &[RuleConfig]) -> Self {
        let rule = |rule: &RuleConfig| {
            let decision = if rule.mode == Mode::Shadow { "shadow_allowed" } else { "allowed" };
            let name = rule.name.as_str();
            Rule { allowed: counter(name, decision, "-"), denials: Denials::new(name) }
        };
        Self {
            rules: rules.iter().map(rule).collect(),
            exempt: counter("__exempt__", "allowed", "-"),
            by_default: counter("__default__", "allowed", "-"),
            outbound: counter("__outbound__", "allowed", "-"),
            no_rule: Denials::new("__default__"),
        }
    }

    pub(super) fn count_allowed(&self, allowed: Allowed) {
        let counter = match allowed {
            Allowed::Rule(rule) => self.rules.get(rule).map(|rule| rule.allowed),
            Allowed::Exempt => Some(self.exempt),
            Allowed::Default => Some(self.by_default),
        };
        if let Some(counter) = counter {
            counter.increment();
        }
    }

    pub(super) fn count_outbound(&self) {
        self.outbound.increment();
    }

    pub(super) fn count_shadowed(&mut self, rule: usize, outcome: Outcome, request: &HostRequest, now: Instant) {
        match outcome {
            Ok(()) => self.count_allowed(Allowed::Rule(rule)),
            Err(reason) => self.count_denied(Mode::Shadow, Some(rule), reason, request, now),
        }
    }

    pub(super) fn count_denied(
        &mut self,
        mode: Mode,
        rule: Option<usize>,
        reason: Reason,
        request: &HostRequest,
        now: Instant,
    ) {
        let rule = rule.and_then(|rule| self.rules.get_mut(rule)).map(|rule| &mut rule.denials);
        rule.unwrap_or(&mut self.no_rule).count(mode, reason, request, now);
    }
}

impl Denials {
    fn new(rule: &str) -> Self {
        Self { rule: rule.to_owned(), reasons: Vec::new() }
    }

    fn count(&mut self, mode: Mode, reason: Reason, request: &HostRequest, now: Instant) {
        let (decision, event, details) = match mode {
            Mode::Enforce => ("denied", "denied", DENIED),
            Mode::Shadow => ("shadow_denied", "shadow_denied", SHADOW_DENIED),
        };
        let known = self.reasons.iter().position(|(of, known, ..)| (*of, *known) == (mode, reason));
        let index = known.unwrap_or_else(|| {
            self.reasons.push((mode, reason, counter(&self.rule, decision, reason.as_str()), Throttle::default()));
            self.reasons.len().saturating_sub(1)
        });
        let Some((_, _, counter, pace)) = self.reasons.get_mut(index) else { return };
        counter.increment();
        host::set_property("tollgate_decision", &[details, ":", reason.as_str()].concat());
        if let Some(suppressed) = pace.admit(now) {
            let peer = request.attribute(Attribute::UriSanPeerCertificate).unwrap_or(b"-");
            let peer: String = String::from_utf8_lossy(peer).chars().take(256).collect();
            let line = Line::new(event, "mtls_identity").field("rule", &self.rule).field("reason", reason.as_str());
            host::log(LogLevel::Info, &line.field("peer", peer).field("suppressed", suppressed));
        }
    }
}

fn counter(rule: &str, decision: &str, reason: &str) -> Counter {
    let labels = [("rule", rule), ("decision", decision), ("reason", reason)];
    Counter::define(&stat_name("tollgate_identity_total", &labels))
}
