//! The glue between the policy and Envoy.

use host::{Counter, EncodedHeaders, Flow, Gauge, HostRequest, LocalReply, LogLevel, Plugin, Root};
use tollgate::{
    config::ConfigError,
    logfmt::Line,
    request::{Attribute, Direction, Request},
    stats::stat_name,
    throttle::Throttle,
};

use crate::{
    config::Config,
    policy::{Allowed, Policy, Reason, Verdict},
};

host::export!(MtlsIdentity: on_request_headers);

const DETAILS: &str = "tollgate_identity_denied";
const PERMISSION_DENIED: u8 = 7;

struct MtlsIdentity {
    policy: Policy,
    rules: Vec<Rule>,
    exempt: Counter,
    by_default: Counter,
    outbound: Counter,
    outbound_said: bool,
    /// Denials that no rule was for.
    no_rule: Denials,
    info: Gauge,
}

/// What is recorded of one rule.
struct Rule {
    allowed: Counter,
    denials: Denials,
}

/// Denials of one rule: for each reason a counter, defined when it first happens, and the pace of its log lines.
struct Denials {
    rule: String,
    reasons: Vec<(Reason, Counter, Throttle)>,
}

impl Denials {
    fn new(rule: &str) -> Self {
        Self { rule: rule.to_owned(), reasons: Vec::new() }
    }

    /// Counts a denial. If it is to be logged: the number of those that were not since the last one.
    fn count(&mut self, reason: Reason) -> Option<u64> {
        let known = self.reasons.iter_mut().find(|(known, ..)| *known == reason);
        if let Some((_, counter, log)) = known {
            counter.increment();
            return log.admit(host::now());
        }
        let counter = decisions(&self.rule, "denied", reason.as_str());
        counter.increment();
        let mut log = Throttle::default();
        let suppressed = log.admit(host::now());
        self.reasons.push((reason, counter, log));
        suppressed
    }
}

fn decisions(rule: &str, decision: &str, reason: &str) -> Counter {
    let labels = [("rule", rule), ("decision", decision), ("reason", reason)];
    Counter::define(&stat_name("tollgate_identity_total", &labels))
}

impl Plugin for MtlsIdentity {
    type Stream = ();

    const NAME: &str = "mtls_identity";

    fn configure(root: &Root, configuration: &[u8]) -> Result<Self, ConfigError> {
        let config = Config::parse(configuration)?;
        host::log_unreachable_rules(root, Self::NAME, config.warnings());
        let rule = |name: &str| Rule { allowed: decisions(name, "allowed", "-"), denials: Denials::new(name) };
        Ok(Self {
            policy: Policy::new(&config),
            rules: config.rules.iter().map(|config| rule(config.name.as_str())).collect(),
            exempt: decisions("__exempt__", "allowed", "-"),
            by_default: decisions("__default__", "allowed", "-"),
            outbound: decisions("__outbound__", "allowed", "-"),
            outbound_said: false,
            no_rule: Denials::new("__default__"),
            info: host::config_info(Self::NAME, env!("CARGO_PKG_VERSION"), configuration),
        })
    }

    fn on_request_headers(&mut self, request: &HostRequest) -> (Flow, Option<()>) {
        let counter = match self.policy.decide(request) {
            Verdict::Allowed(Allowed::Rule(rule)) => self.rules.get(rule).map(|rule| rule.allowed),
            Verdict::Allowed(Allowed::Exempt) => Some(self.exempt),
            Verdict::Allowed(Allowed::Default) => Some(self.by_default),
            Verdict::Denied { .. } if Direction::of(request) == Direction::Outbound => {
                self.say_that_outbound_is_not_checked();
                Some(self.outbound)
            }
            Verdict::Denied { rule, reason } => {
                let rule = rule.and_then(|rule| self.rules.get_mut(rule)).map(|rule| &mut rule.denials);
                return (deny(rule.unwrap_or(&mut self.no_rule), reason, request), None);
            }
        };
        if let Some(counter) = counter {
            counter.increment();
        }
        (Flow::Continue, None)
    }

    fn report(&self, in_force: bool) {
        self.info.record(u64::from(in_force));
    }

    /// Without a configuration nobody is known to be welcome.
    fn on_unconfigured() -> Flow {
        reply()
    }
}

impl MtlsIdentity {
    /// Requests on an outbound listener come from the proxy's own application, without a certificate.
    fn say_that_outbound_is_not_checked(&mut self) {
        if !std::mem::replace(&mut self.outbound_said, true) {
            host::log(LogLevel::Warn, &Line::new("inactive", Self::NAME).field("reason", "outbound_listener"));
        }
    }
}

fn deny(denials: &mut Denials, reason: Reason, request: &HostRequest) -> Flow {
    if let Some(suppressed) = denials.count(reason) {
        let peer = request.attribute(Attribute::UriSanPeerCertificate).unwrap_or(b"-");
        let peer: String = String::from_utf8_lossy(peer).chars().take(256).collect();
        let line =
            Line::new("denied", MtlsIdentity::NAME).field("rule", &denials.rule).field("reason", reason.as_str());
        host::log(LogLevel::Info, &line.field("peer", peer).field("suppressed", suppressed));
    }
    host::set_property("tollgate_decision", &format!("{DETAILS}:{}", reason.as_str()));
    reply()
}

fn reply() -> Flow {
    let (body, headers) = (b"forbidden\n", &EncodedHeaders::default());
    LocalReply { status: 403, grpc_status: PERMISSION_DENIED, details: DETAILS, body, headers }.send()
}
