//! What a configuration must be beyond its form.

use tollgate::config::{self, ConfigError};

use super::{Condition, Config, LimitConfig, Mode, Part, RuleConfig, WhenLimited};
use crate::table::{Charge, MOST_LIMITS};

impl Config {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let rules: Vec<_> = self.all_rules().map(|rule| (&rule.name, rule.matches.as_slice())).collect();
        let (routed, overall) = rules.split_at_checked(self.rules.len()).unwrap_or_default();
        config::check_rules("rules", routed)?;
        config::check_rules("overall", overall)?;
        config::check_exempt(&self.exempt)?;
        for (index, rule) in self.overall.iter().enumerate() {
            let place = |field: &str| format!("overall[{index}].{field}");
            if !rule.matches.is_empty() {
                return Err(ConfigError::at(
                    place("match"),
                    "must not be there: an overall limit is for every request",
                ));
            }
            if routed.iter().any(|(name, _)| **name == rule.name) {
                let reason = format!("`{}` is the name of an earlier one", rule.name.as_str());
                return Err(ConfigError::at(place("name"), reason));
            }
        }
        for (list, rules) in [("rules", &self.rules), ("overall", &self.overall)] {
            for (index, rule) in rules.iter().enumerate() {
                rule.check(self.replicas()).map_err(|error| error.under(&format!("{list}[{index}]")))?;
            }
        }
        Ok(())
    }
}

impl RuleConfig {
    fn check(&self, replicas: u64) -> Result<(), ConfigError> {
        self.check_limits(&self.limits, replicas).map_err(|error| error.under("limits"))?;
        for (index, exception) in self.overrides.iter().enumerate() {
            let place = format!("overrides[{index}]");
            if let Some(limits) = &exception.limits {
                let checked = self.check_limits(limits, replicas);
                checked.map_err(|error| error.under("limits").under(&place))?;
            }
            self.check_conditions(&exception.selector.conditions).map_err(|error| error.under(&place))?;
        }
        for (index, selector) in self.reserve.iter().flat_map(|reserve| &reserve.callers).enumerate() {
            self.check_conditions(&selector.conditions)
                .map_err(|error| error.under(&format!("reserve.for[{index}]")))?;
        }
        for (index, part) in self.key.iter().enumerate() {
            self.check_part(&part.part).map_err(|error| error.under(&format!("key[{index}]")))?;
            if self.key.iter().take(index).any(|earlier| earlier.part == part.part) {
                return Err(ConfigError::at(format!("key[{index}]"), "is there already"));
            }
        }
        if self.slots.is_some() && self.key.is_empty() {
            return Err(ConfigError::at("slots", "is of no use without `key`: there is one bucket"));
        }
        if self.enforce_percent.is_some() && self.mode != Mode::Enforce {
            return Err(ConfigError::at("enforcePercent", "is of no use unless `mode` is `enforce`"));
        }
        self.when_limited.check().map_err(|error| error.under("whenLimited"))
    }

    fn check_conditions(&self, conditions: &[Condition]) -> Result<(), ConfigError> {
        conditions.iter().try_for_each(|condition| self.check_part(&condition.part))
    }

    fn check_part(&self, part: &Part) -> Result<(), ConfigError> {
        let Part::PathVariable(name) = part else { return Ok(()) };
        if self.matches.iter().flat_map(|matches| &matches.paths).any(|path| path.has_variable(name)) {
            return Ok(());
        }
        Err(ConfigError::at("pathVariable", format!("no path of this rule has the variable `{{{name}}}`")))
    }

    fn check_limits(&self, limits: &[LimitConfig], replicas: u64) -> Result<(), ConfigError> {
        if limits.len() > MOST_LIMITS {
            let reason = format!("must have at most {MOST_LIMITS} entries, found {}", limits.len());
            return Err(ConfigError::here(reason));
        }
        let cost = self.cost.as_ref().map_or(1, super::CostConfig::most);
        for (index, limit) in limits.iter().enumerate() {
            let limit = limit.limit().divided(replicas);
            let reserved = self.reserve.as_ref().map_or(0, |reserve| reserve.percent.get());
            let kept = Charge { cost, kept_percent: reserved }.kept(&limit);
            let most = limit.burst.get().saturating_sub(kept);
            if cost > most {
                let reason = format!("can never admit a request of cost {cost}: at most {most} are admitted at once");
                return Err(ConfigError::at(format!("[{index}]"), reason));
            }
        }
        Ok(())
    }
}

impl WhenLimited {
    fn check(&self) -> Result<(), ConfigError> {
        let Some(cors) = &self.cors else { return Ok(()) };
        if let Some((name, _)) = self.headers.0.iter().find(|(name, _)| name.starts_with("access-control-")) {
            return Err(ConfigError::at(format!("headers.{name}"), "is set by `cors`"));
        }
        match cors.origins.iter().position(|origin| origin != "*" && !is_origin(origin)) {
            Some(index) => {
                let hint = "write scheme and host as browsers do, such as https://app.example.com, or `*`";
                Err(ConfigError::at(format!("cors.origins[{index}]"), format!("invalid origin: {hint}")))
            }
            None => Ok(()),
        }
    }
}

/// Whether a browser could send it as `Origin`: the whole of it is compared, so a slash at the end would never match.
fn is_origin(text: &str) -> bool {
    let of_a_host = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase() && !b"/?#@\\*".contains(&byte);
    text.split_once("://").is_some_and(|(scheme, host)| {
        let of_a_scheme = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
        !scheme.is_empty() && scheme.bytes().all(of_a_scheme) && !host.is_empty() && host.bytes().all(of_a_host)
    })
}
