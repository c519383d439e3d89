//! What `rate-limit` does with a request, and why.

use rate_limit::bucket::{Answer, Level, Limit};
use rate_limit::config::{Config, CostConfig, KeyPart, LimitConfig, Missing, Mode, RuleConfig, Selector};
use rate_limit::key::{self, Seed};
use rate_limit::policy::{Limited, Policy, Scope, Verdict};
use rate_limit::reply::{Protocol, Reason, Reply};
use rate_limit::table::Charge;
use serde::Serialize;
use serde_json::Value;
use tollgate::config::ConfigError;
use tollgate::route::RouteTable;
use tollgate::time::{Duration, Instant};

use super::parts::{name_of, text_of, why_missing};
use super::request::Seen;
use super::routes::{self, Miss};
use super::store::Memory;

/// All that there is to say of one plugin.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Explained {
    /// What becomes of the request while the buckets are full.
    pub(super) decision: &'static str,
    pub(super) exempt: Exempt,
    pub(super) passed_over: Vec<PassedOver>,
    /// The rule that it falls under, then the overall ones.
    pub(super) charged: Vec<Charged>,
    /// The headers that its response gets.
    pub(super) when_admitted: Vec<(String, String)>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Exempt {
    pub(super) is: bool,
    /// Why an entry that fits does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) doubt: Option<String>,
    pub(super) misses: Vec<Miss>,
}

/// A rule that the request does not fall under.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PassedOver {
    pub(super) at: String,
    pub(super) rule: String,
    pub(super) misses: Vec<Miss>,
    /// The part of its key without which it is not for a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lacks: Option<String>,
}

/// A rule that the request falls under.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Charged {
    pub(super) at: String,
    pub(super) rule: String,
    pub(super) mode: String,
    pub(super) key: Vec<PartFound>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) r#override: Option<String>,
    /// None when the caller is unlimited, or the rule switched off.
    pub(super) limits: Vec<LimitShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unlimited: Option<&'static str>,
    pub(super) cost: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reserve: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) when_limited: Option<ReplyShown>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PartFound {
    pub(super) part: String,
    pub(super) value: Option<String>,
    /// What happens as it is missing, and why it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) missing: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LimitShown {
    pub(super) requests: u64,
    pub(super) per: String,
    pub(super) burst: u64,
    /// The share of one proxy, where it is divided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) of_one_proxy: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReplyShown {
    pub(super) status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) grpc_status: Option<u8>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

/// Has the policy decide, and finds out why it decided so.
pub(super) fn explain(configuration: &Value, plugin: &str, request: &Seen<'_>) -> Result<Explained, ConfigError> {
    let config = Config::parse(configuration.to_string().as_bytes())?;
    let scope = Scope { plugin, root_id: "" };
    let now = Instant::from_nanos(0);
    let mut policy = Policy::new(&config, &scope, Seed::default());
    let verdict = policy.decide(request, &mut Memory::default(), now);
    let exempt = exempt(&config, configuration, request);
    let mut explained = Explained {
        decision: "exempt",
        exempt,
        passed_over: Vec::new(),
        charged: Vec::new(),
        when_admitted: Vec::new(),
    };
    match verdict {
        Verdict::Exempt => return Ok(explained),
        Verdict::Admitted(admitted) => {
            explained.decision = if admitted.matched || !config.overall.is_empty() { "admitted" } else { "unmatched" };
            explained.when_admitted = admitted.afterwards.map(|afterwards| afterwards.headers).unwrap_or_default();
        }
        Verdict::Limited(_) => explained.decision = "limited",
    }
    let routed = routed_rule(&config, &scope, request);
    let rule = |list: &'static str, index: usize, rule| Rule {
        place: format!("{list}[{index}]"),
        index: if list == "rules" { index } else { config.rules.len().saturating_add(index) },
        rule,
        written: configuration.get(list).and_then(|list| list.get(index)),
    };
    let earlier = routed.unwrap_or(config.rules.len());
    for (index, one) in config.rules.iter().enumerate().take(earlier) {
        explained.passed_over.push(rule("rules", index, one).passed_over(request));
    }
    let chosen = routed.and_then(|index| Some(rule("rules", index, config.rules.get(index)?)));
    let overall = config.overall.iter().enumerate().map(|(index, one)| rule("overall", index, one));
    for one in chosen.into_iter().chain(overall) {
        if one.lacking(request, Missing::Skip).is_some() {
            explained.passed_over.push(one.passed_over(request));
        } else {
            explained.charged.push(one.charged(&config, &policy, request, now));
        }
    }
    Ok(explained)
}

fn exempt(config: &Config, configuration: &Value, request: &Seen<'_>) -> Exempt {
    let found = RouteTable::of_exemptions(&config.exempt).find(request);
    let doubt = found.rule.and(found.doubt).map(routes::doubt);
    let misses = match found.rule {
        Some(_) => Vec::new(),
        None => routes::misses(&config.exempt, configuration.get("exempt"), "exempt", request),
    };
    Exempt { is: found.rule.is_some() && found.doubt.is_none(), doubt, misses }
}

/// The rule that the policy itself finds, as it says when no other limits are beside.
fn routed_rule(config: &Config, scope: &Scope<'_>, request: &Seen<'_>) -> Option<usize> {
    let alone = Config { overall: Vec::new(), ..config.clone() };
    let mut policy = Policy::new(&alone, scope, Seed::default());
    match policy.decide(request, &mut Memory::default(), Instant::from_nanos(0)) {
        Verdict::Exempt => None,
        Verdict::Limited(limited) => Some(limited.rule),
        Verdict::Admitted(_) => policy.decisions().first().map(|decision| decision.rule),
    }
}

struct Rule<'a> {
    place: String,
    /// Among all rules, the overall ones last.
    index: usize,
    rule: &'a RuleConfig,
    written: Option<&'a Value>,
}

impl Rule<'_> {
    fn name(&self) -> String {
        self.rule.name.as_str().to_owned()
    }

    fn passed_over(&self, request: &Seen<'_>) -> PassedOver {
        let place = format!("{}.match", self.place);
        let written = self.written.and_then(|written| written.get("match"));
        let misses = match routes::holds(&self.rule.matches, request) {
            true => Vec::new(),
            false => routes::misses(&self.rule.matches, written, &place, request),
        };
        let lacks = if misses.is_empty() { self.lacking(request, Missing::Skip) } else { None };
        PassedOver { at: self.place.clone(), rule: self.name(), misses, lacks }
    }

    /// The first part of the key that the request does not have, where that is what happens then.
    fn lacking(&self, request: &Seen<'_>, then: Missing) -> Option<String> {
        if self.is_free(request).is_some() {
            return None;
        }
        let lacks = |part: &&KeyPart| key::value_of(&part.part, request, &self.rule.matches).is_none();
        let decides = |part: &&KeyPart| part.missing != Missing::Share && lacks(part);
        self.rule.key.iter().find(decides).filter(|part| part.missing == then).map(|part| {
            let why = why_missing(&part.part, request);
            format!("{}{why}", name_of(&part.part))
        })
    }

    fn selects(&self, selector: &Selector, request: &Seen<'_>) -> bool {
        key::selects(selector, request, &self.rule.matches)
    }

    fn exception(&self, request: &Seen<'_>) -> Option<usize> {
        self.rule.overrides.iter().position(|exception| self.selects(&exception.selector, request))
    }

    /// Why nothing is asked of the request.
    fn is_free(&self, request: &Seen<'_>) -> Option<&'static str> {
        if self.rule.mode == Mode::Off {
            return Some("the rule is off");
        }
        let exception = self.exception(request).and_then(|index| self.rule.overrides.get(index))?;
        exception.limits.is_none().then_some("the override says unlimited")
    }

    fn charged(&self, config: &Config, policy: &Policy, request: &Seen<'_>, now: Instant) -> Charged {
        let unlimited = self.is_free(request);
        let exception = self.exception(request).filter(|_| self.rule.mode != Mode::Off);
        let of_exception = exception.and_then(|index| self.rule.overrides.get(index)?.limits.as_deref());
        let configured = if unlimited.is_some() { &[] } else { of_exception.unwrap_or(&self.rule.limits) };
        let limits = RuleConfig::limits_of_one(configured, config.replicas());
        let charge = self.charge(request);
        let reason = match self.lacking(request, Missing::Deny) {
            Some(_) => Some(Reason::KeyMissing),
            None => emptied(&limits, charge, now),
        };
        let exception_of_reply = if reason == Some(Reason::KeyMissing) { None } else { exception };
        let limited = reason.map(|reason| Limited { rule: self.index, exception: exception_of_reply, reason });
        let protocol = Protocol::of(request);
        let reply = limited.and_then(|limited| policy.reply(&limited, protocol, request));
        Charged {
            at: self.place.clone(),
            rule: self.name(),
            mode: self.mode(),
            key: if unlimited.is_some() { Vec::new() } else { self.key(request) },
            r#override: exception.map(|index| self.written_override(index)),
            limits: configured.iter().zip(&limits).map(|(one, share)| shown(one, share, config.replicas())).collect(),
            unlimited,
            cost: self.cost(charge.cost),
            reserve: self.reserve(charge, &limits),
            when_limited: reply.map(|reply| ReplyShown::of(reply, protocol)),
        }
    }

    fn mode(&self) -> String {
        match (self.rule.mode, self.rule.enforce_percent) {
            (Mode::Enforce, Some(percent)) => {
                format!("enforce, {} % of the requests that are over the limits", percent.get())
            }
            (Mode::Enforce, None) => "enforce".to_owned(),
            (Mode::Shadow, _) => "shadow: who is over the limits passes, and is counted and logged".to_owned(),
            (Mode::Off, _) => "off: nothing is asked and nothing charged".to_owned(),
        }
    }

    fn key(&self, request: &Seen<'_>) -> Vec<PartFound> {
        let found = |KeyPart { part, missing }: &KeyPart| {
            let value = key::value_of(part, request, &self.rule.matches).map(|value| text_of(part, value));
            let then = match missing {
                Missing::Share => "all requests without it share one bucket",
                Missing::Skip => "the rule is not for it",
                Missing::Deny => "it is turned away",
            };
            let why = why_missing(part, request);
            let missing = value.is_none().then(|| format!("{then}{why}"));
            PartFound { part: name_of(part), value, missing }
        };
        self.rule.key.iter().map(found).collect()
    }

    fn written_override(&self, index: usize) -> String {
        let place = format!("{}.overrides[{index}]", self.place);
        let written = self.written.and_then(|written| written.get("overrides")?.get(index)?.as_object().cloned());
        let mut conditions = written.unwrap_or_default();
        conditions.remove("limits");
        format!("{place}, for {}", Value::Object(conditions))
    }

    fn charge(&self, request: &Seen<'_>) -> Charge {
        let cost = match &self.rule.cost {
            None | Some(CostConfig::Response(_)) => 1,
            Some(CostConfig::Fixed(cost)) => cost.get(),
            Some(CostConfig::Header(cost)) => {
                use tollgate::request::Request as _;
                cost.of(&request.header(&cost.header.0))
            }
        };
        let reserve = self.rule.reserve.as_ref();
        let kept = reserve.filter(|reserve| !reserve.callers.iter().any(|caller| self.selects(caller, request)));
        Charge { cost, kept_percent: kept.map_or(0, |reserve| reserve.percent.get()) }
    }

    fn cost(&self, cost: u64) -> String {
        match &self.rule.cost {
            None | Some(CostConfig::Fixed(_)) => cost.to_string(),
            Some(CostConfig::Header(header)) => format!("{cost}, by the header {}", header.header.0),
            Some(CostConfig::Response(_)) => {
                let costs = self.written.and_then(|written| written.pointer("/cost/response")).map(ToString::to_string);
                format!(
                    "by the response's status, charged when it comes: {}; others nothing. The request itself needs \
                     that 1 is left",
                    costs.unwrap_or_default()
                )
            }
        }
    }

    fn reserve(&self, charge: Charge, limits: &[Limit]) -> Option<String> {
        let reserve = self.rule.reserve.as_ref()?;
        let percent = reserve.percent.get();
        if charge.kept_percent == 0 {
            return Some(format!("{percent} % of each bucket are kept for some callers, and this is one of them"));
        }
        let kept: Vec<String> = limits.iter().map(|limit| charge.kept(limit).to_string()).collect();
        let kept = if kept.is_empty() { String::new() } else { format!(" ({})", kept.join(", ")) };
        Some(format!("{percent} % of each bucket{kept} are kept for callers of whom this is none"))
    }
}

/// What a request of this charge is told that finds the bucket just empty.
fn emptied(limits: &[Limit], charge: Charge, now: Instant) -> Option<Reason> {
    let mut worst: Option<(usize, Duration)> = None;
    for (index, limit) in limits.iter().enumerate() {
        let kept = charge.kept(limit);
        let rest = limit.burst.get().saturating_sub(kept);
        let Answer::Admitted(empty) = Level::FULL.take(limit, now, rest, kept) else { continue };
        let Answer::Denied { not_before } = empty.take(limit, now, charge.cost, kept) else { continue };
        let wait = not_before.since(now);
        if worst.is_none_or(|(_, longest)| longest < wait) {
            worst = Some((index, wait));
        }
    }
    worst.map(|(limit, wait)| Reason::BucketEmpty { limit, wait })
}

fn shown(limit: &LimitConfig, share: &Limit, replicas: u64) -> LimitShown {
    let of_one = || format!("{} per {}, burst {}", share.requests.get(), share.per, share.burst.get());
    LimitShown {
        requests: limit.requests.get(),
        per: limit.per.0.to_string(),
        burst: limit.limit().burst.get(),
        of_one_proxy: (replicas > 1).then(of_one),
    }
}

impl ReplyShown {
    fn of(reply: Reply, protocol: Protocol) -> Self {
        let is_grpc = protocol == Protocol::Grpc;
        Self {
            // Envoy makes a gRPC reply of it, of trailers only.
            status: if is_grpc { 200 } else { reply.status },
            grpc_status: is_grpc.then_some(8),
            headers: reply.headers,
            body: String::from_utf8_lossy(&reply.body).into_owned(),
        }
    }
}
