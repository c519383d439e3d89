//! The glue between the policy and Envoy.

use host::{Counter, Flow, Gauge, HostRequest, LocalReply, LogLevel, Plugin, Root, SharedData};
use tollgate::{config::ConfigError, logfmt::Line, stats::stat_name, throttle::Throttle, time::Duration};

use crate::{
    config::Config,
    policy::{Policy, Scope, Verdict},
};

host::export!(RateLimit: on_request_headers);

const DETAILS: &str = "tollgate_rate_limited";
const RESOURCE_EXHAUSTED: u8 = 8;

struct RateLimit {
    policy: Policy,
    rules: Vec<Rule>,
    unmatched: Counter,
    exempt: Counter,
    info: Gauge,
}

/// What is recorded of one rule.
struct Rule {
    name: String,
    allowed: Counter,
    limited: Counter,
    shadow_limited: Counter,
    error: Counter,
    log: Throttle,
}

impl Rule {
    fn new(name: &str) -> Self {
        let counter = |decision| decisions(name, decision);
        Self {
            name: name.to_owned(),
            allowed: counter("allowed"),
            limited: counter("limited"),
            shadow_limited: counter("shadow_limited"),
            error: counter("error"),
            log: Throttle::default(),
        }
    }
}

fn decisions(rule: &str, decision: &str) -> Counter {
    Counter::define(&stat_name("tollgate_rate_limit_total", &[("rule", rule), ("decision", decision)]))
}

impl Plugin for RateLimit {
    type Stream = ();

    const NAME: &str = "rate_limit";

    fn configure(root: &Root, configuration: &[u8]) -> Result<Self, ConfigError> {
        let config = Config::parse(configuration)?;
        let scope = Scope { plugin: &root.name, root_id: &root.root_id };
        Ok(Self {
            policy: Policy::new(&config, &scope),
            rules: config.rules.iter().map(|rule| Rule::new(rule.name.as_str())).collect(),
            // Traffic that no rule is for: a limit that matches nothing shows here.
            unmatched: decisions("__unmatched__", "allowed"),
            exempt: decisions("__exempt__", "allowed"),
            info: host::config_info(Self::NAME, env!("CARGO_PKG_VERSION"), configuration),
        })
    }

    fn on_request_headers(&mut self, request: &HostRequest) -> (Flow, Option<()>) {
        let now = host::now();
        match self.policy.decide(request, &mut SharedData, now) {
            Verdict::Unmatched => self.unmatched.increment(),
            Verdict::Exempt => self.exempt.increment(),
            Verdict::ShadowLimited { rule, wait } => {
                if let Some(rule) = self.rules.get_mut(rule) {
                    rule.shadow_limited.increment();
                    if let Some(suppressed) = rule.log.admit(now) {
                        log_limited("would_limit", &rule.name, wait, suppressed);
                    }
                }
            }
            Verdict::Allowed { rule } => {
                if let Some(rule) = self.rules.get(rule) {
                    rule.allowed.increment();
                }
            }
            Verdict::Failed { rule, error } => {
                if let Some(rule) = self.rules.get_mut(rule) {
                    rule.error.increment();
                    if let Some(suppressed) = rule.log.admit(now) {
                        let line = Line::new("store_failed", Self::NAME).field("rule", &rule.name);
                        host::log(LogLevel::Warn, &line.field("status", error.0).field("suppressed", suppressed));
                    }
                }
            }
            Verdict::Limited { rule, wait, headers } => {
                if let Some(rule) = self.rules.get_mut(rule) {
                    rule.limited.increment();
                    if let Some(suppressed) = rule.log.admit(now) {
                        log_limited("limited", &rule.name, wait, suppressed);
                    }
                }
                host::set_property("tollgate_decision", DETAILS);
                let body = "rate limit exceeded\n";
                let reply =
                    LocalReply { status: 429, grpc_status: RESOURCE_EXHAUSTED, details: DETAILS, body, headers };
                return (reply.send(), None);
            }
        }
        (Flow::Continue, None)
    }

    fn report(&self, in_force: bool) {
        self.info.record(u64::from(in_force));
    }

    /// A limiter that cannot limit lets requests through: it protects a service, it does not guard one.
    fn on_unconfigured() -> Flow {
        Flow::Continue
    }
}

fn log_limited(event: &str, rule: &str, wait: Duration, suppressed: u64) {
    let line = Line::new(event, RateLimit::NAME).field("rule", rule).field("reason", "bucket_empty");
    let line = line.field("retry_after_seconds", wait.as_seconds_rounded_up().max(1)).field("suppressed", suppressed);
    host::log(LogLevel::Info, &line);
}
