//! The `pluginConfig` of `rate-limit`.

mod check;
mod cost;
mod key;
mod reply;

use tollgate::{
    config::{self, ConfigError, Count, FromNode, Node, Warning, Whole},
    config_enum, config_struct,
    name::Name,
    route::RouteMatch,
    time::Duration,
};

pub use self::{
    cost::{CostConfig, HeaderCost, HeaderName, StatusCost, StatusPattern},
    key::{ClientAddress, Condition, Expected, KeyPart, Missing, Part, Selector},
    reply::{Cors, HeaderValue, Headers, WhenLimited},
};
use crate::bucket::Limit;

/// Requests in a minute when nothing else is said.
const DEFAULT_REQUESTS: u64 = 100;
const DEFAULT_PER: Duration = Duration::from_nanos(60_000_000_000);

/// Slots of a table when nothing else is said: about 200 KB when all are in use.
const DEFAULT_SLOTS: u64 = 8192;

/// Rules that the summary names.
const MOST_SUMMARIZED: usize = 20;

config_struct! {
    /// How many requests are admitted: which, in how long, and by what callers are told apart.
    pub struct Config {
        /// The first rule whose `match` a request fits is charged, and no other; at most 2000. Where neither `rules` nor
        /// `overall` is given there is one rule, `default`: 100 requests a minute for all requests together.
        pub rules: Vec<RuleConfig> = or_default("rules"),
        /// Limits that every request must pass beside those of its rule, but for the exempt ones. They are rules without
        /// `match`. A request that any limit denies is charged to none.
        pub overall: Vec<RuleConfig> = or_default("overall"),
        /// Requests that no limit is for: one entry must hold. An ambiguous path or host is never exempt.
        pub exempt: Vec<RouteMatch> = or_default("exempt"),
        /// Among how many proxies every limit is divided: each enforces its share of `requests` and of `burst` (rounded
        /// down, at least 1). 1 unless given.
        pub replicas: Option<Whole<1, 500>> = optional("replicas"),
        /// Of which requests the decision goes into Envoy's filter state, for access logs and traces:
        /// `wasm.tollgate_decision` and, of admitted ones, `wasm.tollgate_remaining`. `limited` unless given.
        pub filter_state: Which = or_default("filterState"),
    }
}

config_struct! {
    /// A rule: which requests, and how many of them.
    pub struct RuleConfig {
        /// 1 to 63 letters, digits, `-`, `_` and `.`, each name once. It is the buckets' identity, which their fill
        /// survives a push by, and their name in metrics, logs and headers.
        pub name: Name = required("name"),
        /// Alternatives, of which one must hold. Every request unless given.
        pub matches: Vec<RouteMatch> = or_default("match"),
        /// What callers are told apart by: each combination of values has buckets of its own. Unless given, all requests
        /// of the rule share one bucket.
        pub key: Vec<KeyPart> = or_default("key"),
        /// 1 to 8. All of them must admit a request, or it is charged to none.
        pub limits: Vec<LimitConfig> = required("limits"),
        /// Other limits for some callers: the first entry that fits counts.
        pub overrides: Vec<Override> = or_default("overrides"),
        /// A share of each bucket that only some callers may use up.
        pub reserve: Option<Reserve> = optional("reserve"),
        /// How many requests a request counts as: a number, what a header says, or what its response's status says. 1
        /// unless given.
        pub cost: Option<CostConfig> = optional("cost"),
        /// What becomes of a request that the limits do not admit. `enforce` unless given.
        pub mode: Mode = or_default("mode"),
        /// Of the requests that the limits do not admit, how many in a hundred are turned away; the others pass as in
        /// shadow mode. 100 unless given.
        pub enforce_percent: Option<Whole<0, 100>> = optional("enforcePercent"),
        /// How many slots the table of buckets has, where there is a `key`. Choose twice as many as there are callers at
        /// once; those who find none free share one overflow bucket. 8192 unless given; with another number
        /// most callers start with full buckets.
        pub slots: Option<Whole<16, 1_048_576>> = optional("slots"),
        /// Which replies carry `RateLimit` and `RateLimit-Policy`. `limited` unless given; `all` needs the module
        /// `rate-limit-response.wasm`.
        pub headers: Which = or_default("headers"),
        /// Whether the replies that `headers` says carry `x-ratelimit-limit`, `-remaining` and `-reset` as well, as Envoy
        /// writes them. `false` unless given.
        pub draft03: bool = or_default("draft03"),
        /// What a caller is sent that is turned away. Status 429 and `rate limit exceeded` unless given.
        pub when_limited: WhenLimited = or_default("whenLimited"),
    }
}

config_enum! {
    /// What becomes of a request that the limits do not admit.
    #[derive(Default)]
    pub enum Mode {
        /// It is turned away.
        #[default]
        Enforce = "enforce",
        /// It passes, and is counted and logged as one that would not have.
        Shadow = "shadow",
        /// The limits are not asked: every request that the rule is for passes, and is charged to nothing.
        Off = "off",
    }
}

config_enum! {
    /// Of which requests something is said.
    #[derive(Default)]
    pub enum Which {
        /// All.
        All = "all",
        /// Those that are turned away.
        #[default]
        Limited = "limited",
        /// None.
        Off = "off",
    }
}

config_struct! {
    /// A token bucket: it holds `burst` requests, and `requests` come back in each `per`, evenly.
    pub struct LimitConfig {
        /// Requests in each `per`.
        pub requests: Count = required("requests"),
        /// The period: a number with a unit of `d`, `h`, `m`, `s`, `ms`, `us` or `ns`, or several: `1m`, `250ms`, `1h30m`.
        /// From 1ms to 366d.
        pub per: Period = required("per"),
        /// The bucket's size: requests that are admitted at once after a quiet time. `requests` unless given.
        pub burst: Option<Count> = optional("burst"),
    }
}

impl LimitConfig {
    /// With the defaults filled in.
    #[must_use]
    pub fn limit(&self) -> Limit {
        Limit { requests: self.requests, per: self.per.0, burst: self.burst.unwrap_or(self.requests) }
    }
}

/// The period of a limit: from a millisecond to 366 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period(pub Duration);

impl FromNode for Period {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        let per = Duration::from_node(node)?;
        if per < Duration::from_nanos(1_000_000) {
            return Err(ConfigError::here(format!("must be at least 1ms, found {per}")));
        }
        Ok(Self(per))
    }
}

/// Other limits for some callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Which callers.
    pub selector: Selector,
    /// Their limits; `None` is `unlimited`.
    pub limits: Option<Vec<LimitConfig>>,
}

impl FromNode for Override {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        let (selector, fields) = Selector::read(node, &["limits"])?;
        let limits = match fields.node("limits") {
            Some(Node::Text(text)) if text == "unlimited" => None,
            Some(Node::List(_)) => fields.optional("limits")?,
            Some(other) => return Err(other.refuse("a list or `unlimited`").under("limits")),
            None => return Err(ConfigError::here("missing field `limits`".to_owned())),
        };
        Ok(Self { selector, limits })
    }
}

config_struct! {
    /// A share of each bucket that only some callers may use up.
    pub struct Reserve {
        /// Percent of each limit's `burst`.
        pub percent: Whole<1, 99> = required("percent"),
        /// Who may use it up: one entry must fit.
        pub callers: Vec<Selector> = required("for"),
    }
}

impl RuleConfig {
    /// How many requests one of `replicas` proxies admits in an hour in the long run, by the limit that admits least;
    /// rounded down. `None` where requests cost different amounts.
    #[must_use]
    pub fn requests_an_hour(&self, replicas: u64) -> Option<u64> {
        const HOUR: u128 = 3_600_000_000_000;
        let cost = match &self.cost {
            None => 1,
            Some(CostConfig::Fixed(cost)) => cost.get().into(),
            Some(CostConfig::Header(_) | CostConfig::Response(_)) => return None,
        };
        let of_limit = |limit: &Limit| {
            let requests = u128::from(limit.requests.get()).saturating_mul(HOUR);
            let nanos = u128::from(limit.per.as_nanos()).saturating_mul(cost);
            requests.checked_div(nanos).and_then(|requests| u64::try_from(requests).ok())
        };
        Some(Self::limits_of_one(&self.limits, replicas).iter().filter_map(of_limit).min().unwrap_or(u64::MAX))
    }

    /// The limits that one of `replicas` proxies enforces.
    #[must_use]
    pub fn limits_of_one(limits: &[LimitConfig], replicas: u64) -> Vec<Limit> {
        limits.iter().map(|limit| limit.limit().divided(replicas)).collect()
    }

    /// How many slots the rule's table has; none without a key.
    #[must_use]
    pub fn slots(&self) -> u64 {
        if self.key.is_empty() { 0 } else { self.slots.map_or(DEFAULT_SLOTS, Whole::get) }
    }

    /// Whether the rule has something to do when the response comes.
    #[must_use]
    pub fn needs_response(&self) -> bool {
        self.headers == Which::All || matches!(self.cost, Some(CostConfig::Response(_)))
    }
}

impl Config {
    /// Parses the `pluginConfig` JSON as Envoy hands it over. Without `rules` there is one, `default`: 100 requests a
    /// minute for all requests together.
    ///
    /// # Errors
    /// Names the path to what is wrong and why.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let mut config: Self = config::parse(bytes)?;
        if config.rules.is_empty() && config.overall.is_empty() {
            config.rules.push(default_rule());
        }
        for rule in config.rules.iter_mut().chain(&mut config.overall) {
            let of_overrides = rule.overrides.iter_mut().map(|exception| &mut exception.selector);
            let of_reserve = rule.reserve.iter_mut().flat_map(|reserve| &mut reserve.callers);
            for condition in of_overrides.chain(of_reserve).flat_map(|selector| &mut selector.conditions) {
                condition.part.follow(&rule.key);
            }
        }
        config.check()?;
        Ok(config)
    }

    /// Among how many proxies the limits are divided.
    #[must_use]
    pub fn replicas(&self) -> u64 {
        self.replicas.map_or(1, Whole::get)
    }

    /// All rules, those of `overall` last.
    pub fn all_rules(&self) -> impl Iterator<Item = &RuleConfig> {
        self.rules.iter().chain(&self.overall)
    }

    /// The path to the first rule that has something to do when the response comes, which takes the module that is called
    /// for responses too.
    #[must_use]
    pub fn needs_response(&self) -> Option<String> {
        let position = |rules: &[RuleConfig]| rules.iter().position(RuleConfig::needs_response);
        let rule = position(&self.rules).map(|index| format!("rules[{index}]"));
        rule.or_else(|| position(&self.overall).map(|index| format!("overall[{index}]")))
    }

    /// What is enforced, in a few words for the log: `login 10/1m 100/1h by key, default 100/1m`.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut summary = String::new();
        for (index, rule) in self.all_rules().enumerate() {
            if index > 0 {
                summary.push_str(", ");
            }
            if index == MOST_SUMMARIZED {
                let rest = self.rules.len().saturating_add(self.overall.len()).saturating_sub(index);
                summary.push_str(&format!("and {rest} more"));
                break;
            }
            summary.push_str(rule.name.as_str());
            for limit in &rule.limits {
                summary.push_str(&format!(" {}/{}", limit.requests.get(), limit.per.0));
            }
            summary.push_str(if rule.key.is_empty() { "" } else { " by key" });
            summary.push_str(match rule.mode {
                Mode::Enforce => "",
                Mode::Shadow => " in shadow",
                Mode::Off => " off",
            });
        }
        summary
    }

    /// What is likely not meant: rules that no request can reach.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        // Behind a rule that skips some requests others are reached.
        let skips = |rule: &RuleConfig| rule.key.iter().any(|part| part.missing == Missing::Skip);
        let rules = self.rules.iter().enumerate().filter(|(_, rule)| !skips(rule));
        let rules: Vec<_> = rules.map(|(index, rule)| (index, &rule.name, rule.matches.as_slice())).collect();
        config::unreachable_among("rules", &rules)
    }
}

fn default_rule() -> RuleConfig {
    let limit = |requests| LimitConfig { requests, per: Period(DEFAULT_PER), burst: None };
    RuleConfig {
        name: Name::default_rule(),
        matches: Vec::new(),
        key: Vec::new(),
        limits: Count::new(DEFAULT_REQUESTS).map(limit).into_iter().collect(),
        overrides: Vec::new(),
        reserve: None,
        cost: None,
        mode: Mode::Enforce,
        enforce_percent: None,
        slots: None,
        headers: Which::Limited,
        draft03: false,
        when_limited: WhenLimited::default(),
    }
}

#[cfg(feature = "schema")]
mod schema;

#[cfg(test)]
mod tests;
