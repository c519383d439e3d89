//! The glue between the policy and Envoy.

use host::{
    Counter, EncodedHeaders, Flow, Gauge, HostRequest, HostResponse, LocalReply, LogLevel, Plugin, Root, SharedData,
};
use tollgate::{
    config::ConfigError,
    logfmt::Line,
    stats::stat_name,
    store::{SharedStore as _, StoreError, Swap},
    throttle::Throttle,
    time::Instant,
};

use crate::{
    config::{Config, RuleConfig, Which},
    key::Seed,
    policy::{Admitted, Afterwards, Decided, Limited, Policy, Scope, Verdict},
    reply::{Protocol, Reason, Reply},
};

#[cfg(not(feature = "response"))]
host::export!(RateLimit: on_request_headers);
#[cfg(feature = "response")]
host::export!(RateLimit: on_request_headers, on_response_headers);

const DETAILS: &str = "tollgate_rate_limited";
const RESOURCE_EXHAUSTED: u8 = 8;
const SEED_KEY: &[u8] = b"tollgate/rate-limit/2/seed";

struct RateLimit {
    policy: Policy,
    store: SharedData,
    rules: Vec<Rule>,
    unmatched: Counter,
    exempt: Counter,
    info: Gauge,
}

/// What is recorded of one rule.
struct Rule {
    name: String,
    /// For the filter state.
    limited_by: String,
    counters: Counters,
    slots: Option<Gauge>,
    log: Throttle,
    /// For what somebody should mend: not to be drowned by the others.
    warnings: Throttle,
    /// The last reply and what it was made from: most of a flood gets the same one.
    reply: Option<(Limited, u64, EncodedReply)>,
}

struct Counters {
    allowed: Counter,
    limited: Counter,
    shadow_limited: Counter,
    error: Counter,
    /// Of rules with a key.
    overflow: Option<Counter>,
    contention: Counter,
}

struct EncodedReply {
    reply: Reply,
    headers: EncodedHeaders,
}

impl Rule {
    fn new(config: &RuleConfig, replicas: u64) -> Self {
        let name = config.name.as_str();
        let counter = |decision| decisions(name, decision);
        let is_keyed = !config.key.is_empty();
        let of_rule = |metric| stat_name(metric, &[("rule", name)]);
        if !is_keyed {
            // How full it is, is then a matter of the rate that it allows.
            if let Some(capacity) = config.requests_an_hour(replicas) {
                Gauge::define(&of_rule("tollgate_rate_limit_capacity")).record(capacity);
            }
        }
        let counters = Counters {
            allowed: counter("allowed"),
            limited: counter("limited"),
            shadow_limited: counter("shadow_limited"),
            error: counter("error"),
            overflow: is_keyed.then(|| counter("overflow")),
            contention: Counter::define(&of_rule("tollgate_rate_limit_contention_total")),
        };
        Self {
            name: name.to_owned(),
            limited_by: format!("{DETAILS}:{name}"),
            counters,
            slots: is_keyed.then(|| Gauge::define(&of_rule("tollgate_rate_limit_slots"))),
            log: Throttle::default(),
            warnings: Throttle::default(),
            reply: None,
        }
    }

    fn log(&mut self, event: &str, level: LogLevel, now: Instant, add: impl FnOnce(Line) -> Line) {
        let throttle = if level == LogLevel::Info { &mut self.log } else { &mut self.warnings };
        if let Some(suppressed) = throttle.admit(now) {
            let line = add(Line::new(event, RateLimit::NAME).field("rule", &self.name));
            host::log(level, &line.field("suppressed", suppressed));
        }
    }

    fn log_limited(&mut self, event: &str, reason: &Reason, now: Instant) {
        self.log(event, LogLevel::Info, now, |line| {
            let line = line.field("reason", reason.as_str());
            match reason.seconds() {
                Some(seconds) => line.field("retry_after_seconds", seconds),
                None => line,
            }
        });
    }

    fn log_failed(&mut self, error: StoreError, now: Instant) {
        self.counters.error.increment();
        self.log("store_failed", LogLevel::Warn, now, |line| line.field("status", error.0));
    }
}

fn decisions(rule: &str, decision: &str) -> Counter {
    Counter::define(&stat_name("tollgate_rate_limit_total", &[("rule", rule), ("decision", decision)]))
}

impl Plugin for RateLimit {
    type Stream = Box<Afterwards>;

    const NAME: &str = "rate_limit";

    fn configure(root: &Root, configuration: &[u8]) -> Result<Self, ConfigError> {
        let config = Config::parse(configuration)?;
        if let Some(path) = config.needs_response().filter(|_| cfg!(not(feature = "response"))) {
            let reason = "has something to do when the response comes: use the module rate-limit-response.wasm";
            return Err(ConfigError::at(path, reason));
        }
        let scope = Scope { plugin: &root.name, root_id: &root.root_id };
        let mut store = SharedData::default();
        let seed = seed(&mut store)?;
        host::log_unreachable_rules(root, Self::NAME, config.warnings());
        announce(&config, &scope, configuration);
        Ok(Self {
            policy: Policy::new(&config, &scope, seed),
            store,
            rules: config.all_rules().map(|rule| Rule::new(rule, config.replicas())).collect(),
            // Traffic that no rule is for: a limit that matches nothing shows here.
            unmatched: decisions("__unmatched__", "allowed"),
            exempt: decisions("__exempt__", "allowed"),
            info: host::config_info(root, Self::NAME, env!("CARGO_PKG_VERSION"), configuration),
        })
    }

    fn on_request_headers(&mut self, request: &HostRequest) -> (Flow, Option<Box<Afterwards>>) {
        let now = host::now();
        self.store.wake(now);
        let verdict = self.policy.decide(request, &mut self.store, now);
        self.record(now);
        match verdict {
            Verdict::Exempt => self.exempt.increment(),
            Verdict::Admitted(Admitted { matched, remaining, afterwards }) => {
                if !matched {
                    self.unmatched.increment();
                }
                if self.policy.told() == Which::All {
                    host::set_property("tollgate_decision", "tollgate_rate_allowed");
                    if let Some(remaining) = remaining {
                        host::set_property("tollgate_remaining", &remaining.to_string());
                    }
                }
                return (Flow::Continue, afterwards);
            }
            Verdict::Limited(limited) => return (self.turn_away(limited, request, now), None),
        }
        (Flow::Continue, None)
    }

    fn on_response_headers(&mut self, response: &HostResponse, afterwards: Box<Afterwards>) {
        response.add_headers(&afterwards.headers);
        self.charge(&afterwards, response.status());
    }

    fn on_abandoned(&mut self, afterwards: Box<Afterwards>) {
        self.charge(&afterwards, None);
    }

    fn report(&self, in_force: bool) {
        self.info.record(u64::from(in_force));
    }

    /// A limiter that cannot limit lets requests through: it protects a service, it does not guard one.
    fn on_unconfigured() -> Flow {
        Flow::Continue
    }
}

impl RateLimit {
    /// Counts and logs what the rules decided.
    fn record(&mut self, now: Instant) {
        for decision in self.policy.decisions() {
            let Some(rule) = self.rules.get_mut(decision.rule) else { continue };
            match decision.decision {
                Decided::Allowed => rule.counters.allowed.increment(),
                Decided::Limited => rule.counters.limited.increment(),
                Decided::ShadowLimited(reason) => {
                    rule.counters.shadow_limited.increment();
                    rule.log_limited("would_limit", &reason, now);
                }
                Decided::Failed(error) => rule.log_failed(error, now),
            }
            if decision.overflowed {
                if let Some(overflow) = rule.counters.overflow {
                    overflow.increment();
                }
                rule.log("overflow", LogLevel::Warn, now, |line| line.field("reason", "no_free_slot"));
            }
        }
        for index in 0..self.policy.decisions().len() {
            if let Some(rule) = self.policy.decisions().get(index).map(|decision| decision.rule) {
                self.record_noticed(rule);
            }
        }
    }

    /// Counts what was noticed at the tables of the rule of this index.
    fn record_noticed(&mut self, index: usize) {
        let noticed = self.policy.noticed(index);
        if let Some(rule) = self.rules.get(index) {
            rule.counters.contention.add(noticed.conflicts);
            if let Some(slots) = rule.slots {
                slots.add(noticed.slots);
            }
        }
    }

    /// Charges what depends on the response: on its status, or on there being none.
    fn charge(&mut self, afterwards: &Afterwards, status: Option<u16>) {
        let now = host::now();
        self.store.wake(now);
        for (index, charged) in self.policy.charge(afterwards, status, &mut self.store, now) {
            if let (Err(error), Some(rule)) = (charged, self.rules.get_mut(index)) {
                rule.log_failed(error, now);
            }
            self.record_noticed(index);
        }
    }

    fn turn_away(&mut self, limited: Limited, request: &HostRequest, now: Instant) -> Flow {
        let Some(rule) = self.rules.get_mut(limited.rule) else { return Flow::Stop };
        rule.log_limited("limited", &limited.reason, now);
        if self.policy.told() != Which::Off {
            host::set_property("tollgate_decision", &rule.limited_by);
        }
        let protocol = Protocol::of(request);
        let seconds = limited.reason.seconds().unwrap_or(0);
        let cached = rule.reply.as_ref().filter(|(of, for_seconds, _)| {
            protocol == Protocol::Http
                && (of.exception, limit_of(of), *for_seconds) == (limited.exception, limit_of(&limited), seconds)
        });
        if cached.is_none() {
            let Some(reply) = self.policy.reply(&limited, protocol, request) else { return Flow::Stop };
            let headers = EncodedHeaders::new(&reply.headers);
            rule.reply = Some((limited, seconds, EncodedReply { reply, headers }));
        }
        let Some((_, _, EncodedReply { reply, headers })) = &rule.reply else { return Flow::Stop };
        let (status, grpc_status, body) = (reply.status, RESOURCE_EXHAUSTED, &reply.body[..]);
        let sent = LocalReply { status, grpc_status, details: DETAILS, body, headers }.send();
        if protocol != Protocol::Http || self.policy.reply_depends_on_caller(limited.rule) {
            rule.reply = None;
        }
        sent
    }
}

fn limit_of(limited: &Limited) -> Option<usize> {
    match limited.reason {
        Reason::BucketEmpty { limit, .. } => Some(limit),
        Reason::KeyMissing => None,
    }
}

/// The seed of this proxy.
fn seed(store: &mut SharedData) -> Result<Seed, ConfigError> {
    let refused = |error: StoreError| ConfigError::at("", format!("the host refused shared data: status {}", error.0));
    loop {
        let found = store.get(SEED_KEY).map_err(refused)?;
        if let Some(seed) = found.as_ref().and_then(|(bytes, _)| bytes.first_chunk()) {
            return Ok(Seed(*seed));
        }
        let random = host::random().ok_or_else(|| ConfigError::at("", "the host has no random numbers"))?;
        let swap = match found {
            None => store.insert(SEED_KEY, &random),
            // Nobody of ours wrote that.
            Some((_, version)) => store.compare_and_swap(SEED_KEY, &random, version),
        };
        if let Swap::Done(_) = swap.map_err(refused)? {
            return Ok(Seed(random));
        }
    }
}

/// Logs what is enforced, once in a proxy and not once in a worker.
fn announce(config: &Config, scope: &Scope<'_>, configuration: &[u8]) {
    let hash = host::config_hash(configuration);
    if host::is_news(&scope.announcement_key(), hash.as_bytes()) {
        let line = Line::new("in_force", RateLimit::NAME).field("plugin", scope.plugin).field("config_hash", hash);
        host::log(LogLevel::Info, &line.field("rules", config.summary()));
    }
}
