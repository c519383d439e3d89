//! The `pluginConfig` of `rate-limit`.

use serde::Deserialize;
use tollgate::{
    config::{self, ConfigError, Count},
    name::Name,
    route::RouteMatch,
    time::Duration,
};

use crate::bucket::Limit;

/// How many limits one rule may have.
const MOST_LIMITS: usize = 8;

/// Requests in a minute when nothing else is said.
const DEFAULT_REQUESTS: u64 = 100;
const DEFAULT_PER: Duration = Duration::from_nanos(60_000_000_000);

/// The parsed `pluginConfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// First match wins.
    pub rules: Vec<RuleConfig>,
    /// Requests that no rule is for.
    pub exempt: Vec<RouteMatch>,
}

/// A rule: which requests, and how many of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleConfig {
    /// The bucket's identity across pushes, and its name in metrics, logs and headers.
    pub name: Name,
    /// Alternatives, of which one must hold; none means every request.
    #[serde(default, rename = "match")]
    pub matches: Vec<RouteMatch>,
    /// All of them must admit a request, or it is charged to none.
    pub limits: Vec<LimitConfig>,
    /// What becomes of a request that the limits do not admit.
    #[serde(default)]
    pub mode: Mode,
}

/// What becomes of a request that the limits do not admit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// It is turned away.
    #[default]
    Enforce,
    /// It passes, and is counted and logged as one that would not have.
    Shadow,
}

/// A limit as users write it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitConfig {
    /// Requests in each `per`.
    pub requests: Count,
    /// The period.
    pub per: Duration,
    /// The bucket's size; `requests` unless given.
    pub burst: Option<Count>,
}

impl LimitConfig {
    /// With the defaults filled in.
    #[must_use]
    pub fn limit(&self) -> Limit {
        Limit { requests: self.requests, per: self.per, burst: self.burst.unwrap_or(self.requests) }
    }
}

impl Config {
    /// Parses the `pluginConfig` JSON as Envoy hands it over. Without `rules` there is one, `default`: 100 requests a
    /// minute for all requests together.
    ///
    /// # Errors
    /// Names the path to what is wrong and why.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Fields {
            rules: Option<Vec<RuleConfig>>,
            #[serde(default)]
            exempt: Vec<RouteMatch>,
        }

        let Fields { rules, exempt } = config::parse(bytes)?;
        let rules = rules.unwrap_or_else(default_rules);
        let named: Vec<_> = rules.iter().map(|rule| (&rule.name, rule.matches.as_slice())).collect();
        config::check_rules("rules", &named)?;
        for (index, rule) in rules.iter().enumerate() {
            if rule.limits.len() > MOST_LIMITS {
                let reason = format!("must have at most {MOST_LIMITS} entries, found {}", rule.limits.len());
                return Err(ConfigError::at(format!("rules[{index}].limits"), reason));
            }
        }
        config::check_exempt(&exempt)?;
        Ok(Self { rules, exempt })
    }
}

fn default_rules() -> Vec<RuleConfig> {
    let limits = Count::new(DEFAULT_REQUESTS)
        .map(|requests| LimitConfig { requests, per: DEFAULT_PER, burst: None })
        .into_iter()
        .collect();
    vec![RuleConfig { name: Name::default_rule(), matches: Vec::new(), limits, mode: Mode::Enforce }]
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn refusal(json: &str) -> String {
        Config::parse(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn nothing_means_a_hundred_a_minute() {
        for nothing in ["", "{}", "null"] {
            let config = Config::parse(nothing.as_bytes()).unwrap();
            let [rule] = &config.rules[..] else { panic!("{config:?}") };
            let limit = rule.limits[0].limit();
            assert_eq!((rule.name.as_str(), rule.matches.len()), ("default", 0));
            assert_eq!((limit.requests.get(), limit.per, limit.burst.get()), (100, DEFAULT_PER, 100));
        }
    }

    #[test]
    fn burst_is_requests_unless_given() {
        let limits = r#"[{"requests":10,"per":"1m","burst":5},{"requests":100,"per":"1h"}]"#;
        let config = Config::parse(format!(r#"{{"rules":[{{"name":"a","limits":{limits}}}]}}"#).as_bytes()).unwrap();
        let bursts: Vec<u64> = config.rules[0].limits.iter().map(|limit| limit.limit().burst.get()).collect();
        assert_eq!(bursts, [5, 100]);
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        let limits = r#""limits":[{"requests":1,"per":"1s"}]"#;
        for (json, message) in [
            (r#"{"rules":[]}"#.to_owned(), "rules: must not be empty: leave it out instead"),
            (
                format!(
                    r#"{{"rules":[{{"name":"a",{limits}}},{{"name":"b",{limits}}},{{"name":"c","limits":[{{"requests":0,"per":"1s"}}]}}]}}"#
                ),
                "rules[2].limits[0].requests: must be greater than zero, found 0",
            ),
            (
                format!(r#"{{"rules":[{{"name":"a",{limits}}},{{"name":"a",{limits}}}]}}"#),
                "rules[1].name: `a` is the name of an earlier one",
            ),
            (
                r#"{"rules":[{"name":"a","limits":[]}]}"#.to_owned(),
                "rules[0].limits: must not be empty: leave it out instead",
            ),
            (
                r#"{"rules":[{"name":"a","limits":[{"requests":1,"per":"1"}]}]}"#.to_owned(),
                "rules[0].limits[0].per: invalid duration `1`: write numbers with a unit, such as 250ms, 1m or 1h30m",
            ),
            (
                format!(r#"{{"rules":[{{"name":"log in",{limits}}}]}}"#),
                "rules[0].name: invalid name `log in`: use 1 to 63 letters, digits, `-`, `_` and `.`, the first a letter or digit",
            ),
            (format!(r#"{{"rules":[{{{limits}}}]}}"#), "rules[0]: missing field `name`"),
            (
                format!(r#"{{"rules":[{{"name":"a",{limits},"burst":3}}]}}"#),
                "rules[0].burst: unknown field `burst`, expected one of `name`, `match`, `limits`, `mode`",
            ),
            (r#"{"rule":[]}"#.to_owned(), "rule: unknown field `rule`, expected `rules` or `exempt`"),
            (r#"{"exempt":[{}]}"#.to_owned(), "exempt[0]: must have a condition: it would exempt everything"),
            (
                format!(r#"{{"rules":[{{"name":"a","mode":"off",{limits}}}]}}"#),
                "rules[0].mode: unknown variant `off`, expected `enforce` or `shadow`",
            ),
        ] {
            assert_eq!(refusal(&json), message, "{json}");
        }
    }
}
