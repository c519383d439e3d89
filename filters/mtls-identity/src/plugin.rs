//! The glue between the policy and Envoy.

use host::{Counter, Direction, Flow, Gauge, HostRequest, LocalReply, LogLevel, Plugin, Root};
use tollgate::{
    config::ConfigError,
    logfmt::Line,
    request::{Attribute, Request},
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
    /// `None` on an outbound listener, whose requests come from the proxy's own application.
    policy: Option<Policy>,
    rules: Vec<Rule>,
    exempt: Counter,
    by_default: Counter,
    /// Denials that no rule was for.
    no_rule: Denials,
    info: Gauge,
}

/// What is recorded of one rule.
struct Rule {
    allowed: Counter,
    denials: Denials,
}

/// Denials of one rule: a counter for each reason, defined when it first happens, and the log.
struct Denials {
    rule: String,
    counters: Vec<(Reason, Counter)>,
    log: Throttle,
}

impl Denials {
    fn new(rule: &str) -> Self {
        Self { rule: rule.to_owned(), counters: Vec::new(), log: Throttle::default() }
    }

    fn count(&mut self, reason: Reason) {
        let known = self.counters.iter().find(|(known, _)| *known == reason).map(|(_, counter)| *counter);
        let counter = known.unwrap_or_else(|| {
            let counter = decisions(&self.rule, "denied", reason.as_str());
            self.counters.push((reason, counter));
            counter
        });
        counter.increment();
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
        let policy = (root.direction != Direction::Outbound).then(|| Policy::new(&config));
        if policy.is_none() {
            let line =
                Line::new("inactive", Self::NAME).field("plugin", &root.name).field("reason", "outbound_listener");
            host::log(LogLevel::Warn, &line);
        }
        let rule = |name: &str| Rule { allowed: decisions(name, "allowed", "-"), denials: Denials::new(name) };
        let plugin = Self {
            policy,
            rules: config.rules.iter().map(|config| rule(config.name.as_str())).collect(),
            exempt: decisions("__exempt__", "allowed", "-"),
            by_default: decisions("__default__", "allowed", "-"),
            no_rule: Denials::new("__default__"),
            info: host::config_info(Self::NAME, env!("CARGO_PKG_VERSION"), configuration),
        };
        plugin.info.record(1);
        Ok(plugin)
    }

    fn on_request_headers(&mut self, request: &HostRequest) -> (Flow, Option<()>) {
        let Some(policy) = &self.policy else { return (Flow::Continue, None) };
        let counter = match policy.decide(request) {
            Verdict::Allowed(Allowed::Rule(rule)) => self.rules.get(rule).map(|rule| rule.allowed),
            Verdict::Allowed(Allowed::Exempt) => Some(self.exempt),
            Verdict::Allowed(Allowed::Default) => Some(self.by_default),
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

    fn on_delete(&mut self) {
        self.info.record(0);
    }

    /// Without a configuration nobody is known to be welcome.
    fn on_unconfigured() -> Flow {
        reply()
    }
}

fn deny(denials: &mut Denials, reason: Reason, request: &HostRequest) -> Flow {
    denials.count(reason);
    if let Some(suppressed) = denials.log.admit(host::now()) {
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
    let (body, headers) = ("forbidden\n", Vec::new());
    LocalReply { status: 403, grpc_status: PERMISSION_DENIED, details: DETAILS, body, headers }.send()
}
