//! What the rate-limit rule of the called workload promises.

use std::time::Duration;

use serde_json::Value;

use crate::mesh::{Inbound, modules};
use crate::problem::Problem;
use crate::resources::Resources;

/// The rule, as far as the demo must know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// The file in which it is.
    pub(super) file: String,
    /// Its name.
    pub(super) name: String,
    /// Requests a period.
    pub(super) requests: u64,
    /// The period.
    pub(super) per: Duration,
    /// Requests at once.
    pub(super) burst: u64,
}

impl Rule {
    /// The rule of the workload's rate-limit plugin that holds for everything.
    pub(super) fn of(resources: &Resources, target: &Inbound) -> Result<Self, Problem> {
        let is_limit = |url: &str| modules::module_name(url) == Some("rate-limit");
        let plugin = resources.wasm_plugins.iter().find(|plugin| {
            is_limit(&plugin.spec.url) && target.plugins.iter().any(|used| used.id() == plugin.meta.id())
        });
        let plugin =
            plugin.ok_or_else(|| Problem::new(format!("no rate-limit plugin applies to {}", target.workload.id())))?;
        let unusable = |reason: &str| {
            Problem::at(&plugin.origin, "spec.pluginConfig", reason)
                .cure("the demo is for a single limit on everything; try your own rules with `tollgate run`")
        };
        let empty = Value::Null;
        let config = plugin.spec.plugin_config.as_ref().unwrap_or(&empty);
        let rules = config.get("rules").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let file = plugin.origin.file.clone();
        let rule = match rules {
            // What the filter does when it is told nothing.
            [] => {
                let per = Duration::from_secs(60);
                return Ok(Self { file, name: "default".into(), requests: 100, per, burst: 100 });
            }
            [rule] if rule.get("match").is_none() && rule.get("key").is_none() => rule,
            _ => return Err(unusable("has more than one rule, or one with match or key")),
        };
        let limits = rule.get("limits").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let [limit] = limits else { return Err(unusable("has more or less than one limit")) };
        let requests = limit.get("requests").and_then(Value::as_u64).filter(|requests| *requests > 0);
        let requests = requests.ok_or_else(|| unusable("has a limit without requests"))?;
        let per = limit.get("per").and_then(Value::as_str).and_then(crate::duration::parse);
        Ok(Self {
            file,
            name: rule.get("name").and_then(Value::as_str).unwrap_or("default").to_owned(),
            requests,
            per: per.filter(|per| !per.is_zero()).ok_or_else(|| unusable("has a limit without a period"))?,
            burst: limit.get("burst").and_then(Value::as_u64).unwrap_or(requests),
        })
    }

    /// For people.
    pub(super) fn sentence(&self) -> String {
        format!(
            "{} requests per {}, {} at once, and one more every {}",
            self.requests,
            readable(self.per),
            self.burst,
            readable(self.interval())
        )
    }

    /// After how long one more is admitted.
    pub(super) fn interval(&self) -> Duration {
        Duration::from_secs_f64(self.per.as_secs_f64() / self.requests as f64)
    }

    /// How many may be admitted of `sent` within `elapsed`: at least and at most.
    pub(super) fn admitted(&self, sent: u64, elapsed: Duration) -> (u64, u64) {
        let nanos = self.interval().as_nanos().max(1);
        let refilled = u64::try_from(elapsed.as_nanos().checked_div(nanos).unwrap_or(0)).unwrap_or(u64::MAX);
        (sent.min(self.burst), sent.min(self.burst.saturating_add(refilled)))
    }
}

fn readable(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        60_000 => "minute".into(),
        3_600_000 => "hour".into(),
        1000 => "second".into(),
        _ if millis < 1000 => format!("{millis} ms"),
        _ => format!("{} s", duration.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> Rule {
        let per = Duration::from_secs(60);
        Rule { file: String::new(), name: String::new(), requests: 100, per, burst: 100 }
    }

    #[test]
    fn one_more_is_admitted_every_interval() {
        assert_eq!(rule().admitted(120, Duration::from_millis(599)), (100, 100));
        assert_eq!(rule().admitted(120, Duration::from_millis(1300)), (100, 102));
        assert_eq!(rule().admitted(120, Duration::from_secs(60)), (100, 120));
        assert_eq!(rule().admitted(20, Duration::ZERO), (20, 20));
    }

    #[test]
    fn the_rule_reads_as_a_sentence() {
        assert_eq!(rule().sentence(), "100 requests per minute, 100 at once, and one more every 600 ms");
    }
}
