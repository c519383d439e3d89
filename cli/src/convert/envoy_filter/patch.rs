//! One of `spec.configPatches`: where it applies, what it brings, and whether Istio finds anything to apply it to.

use serde_json::Value;

use super::super::field::Field;
use super::super::report::Report;
use super::matching::{self, Conditions};
use super::place::{self, Place, Port};
use super::{Side, limiter};

/// A patch with something of a local rate limit.
#[derive(Debug, Clone)]
pub(super) struct Patch<'a> {
    pub(super) field: Field<'a>,
    pub(super) level: Level,
    /// None where the context is left open.
    pub(super) side: Option<Side>,
    pub(super) port: Port,
    /// Requests that its virtual host or route is for.
    pub(super) conditions: Conditions,
    /// Why it never had an effect, if that can be seen.
    pub(super) dead: Option<String>,
    /// The filter's name in the chain.
    pub(super) filter: String,
    pub(super) message: Option<Field<'a>>,
    /// The route's or virtual host's `rate_limits`.
    pub(super) rate_limits: Option<Field<'a>>,
    pub(super) phase: Option<&'static str>,
}

/// What the patch applies to, the most specific first: that is the one that Envoy goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// A route that the patch adds.
    Added,
    Route,
    VirtualHost,
    RouteConfiguration,
    Filter,
}

/// The name under which the filter usually stands in the chain.
const USUAL_NAME: &str = "envoy.filters.http.local_ratelimit";

/// Reads one; none when it has nothing of a local rate limit, or can't be carried over.
pub(super) fn read<'a>(field: &Field<'a>, namespace: Option<&str>, report: &mut Report) -> Option<Patch<'a>> {
    field.only(&["apply_to", "match", "patch"], "a patch", report);
    let value = field.find(&["patch", "value"]).unwrap_or_else(|| Field::new(&Value::Null, field.path.clone()));
    let apply_to = field.text_of("apply_to");
    let level = match apply_to {
        "HTTP_FILTER" => Level::Filter,
        "HTTP_ROUTE" => Level::Route,
        "VIRTUAL_HOST" => Level::VirtualHost,
        "ROUTE_CONFIGURATION" => Level::RouteConfiguration,
        _ => return not_ours(field, report),
    };
    let (filter, message, rate_limits) = match level {
        Level::Filter => (value.text_of("name"), value.get("typed_config").and_then(|c| limiter::message(&c)), None),
        _ => {
            let configs = value.get("typed_per_filter_config").map(|configs| configs.members()).unwrap_or_default();
            let config = configs.into_iter().find_map(|(name, config)| Some((name, limiter::message(&config)?)));
            let limits = match level {
                Level::Route => value.find(&["route", "rate_limits"]),
                _ => value.get("rate_limits"),
            };
            let (name, message) = config.map_or((USUAL_NAME, None), |(name, message)| (name, Some(message)));
            (name, message, limits)
        }
    };
    if message.is_none() && rate_limits.is_none() {
        return not_ours(field, report);
    }
    let mut patch = Patch {
        field: field.clone(),
        level,
        side: None,
        port: Port::Any,
        conditions: Conditions::default(),
        dead: None,
        filter: filter.to_owned(),
        message,
        rate_limits,
        phase: None,
    };
    if let Some(apply_to) = field.get("apply_to") {
        let everything = level == Level::Filter;
        report.became(&apply_to, if everything { "rules for every request" } else { "rules for the routes' requests" });
    }
    let Place { side, port, conditions, dead } = place::read(field, level, namespace, report)?;
    (patch.side, patch.port, patch.conditions, patch.dead) = (side, port, conditions, dead);
    patch.operation(report)?;
    if level != Level::Filter {
        patch.added_route(&value, report)?;
        name_the_rest(&value, report);
    }
    Some(patch)
}

fn not_ours<'a>(field: &Field<'a>, report: &mut Report) -> Option<Patch<'a>> {
    report.lost(field, "has no local rate limit of HTTP requests: keep it in an EnvoyFilter of its own");
    None
}

impl Patch<'_> {
    fn kill(&mut self, reason: impl Into<String>) {
        self.dead.get_or_insert(reason.into());
    }

    fn operation(&mut self, report: &mut Report) -> Option<()> {
        let Some(patch) = self.field.get("patch") else { return Some(()) };
        patch.only(&["operation", "value", "filter_class"], "a patch", report);
        if let Some(class) = patch.get("filter_class") {
            self.phase = match class.text() {
                Some("AUTHN") => Some("AUTHN"),
                Some("AUTHZ") => Some("AUTHZ"),
                _ => Some("STATS"),
            };
            report.became(&class, format!("phase: {}", self.phase.unwrap_or_default()));
        }
        let operation = patch.get("operation");
        let name = operation.as_ref().and_then(Field::text).unwrap_or_default();
        let operation = operation.unwrap_or_else(|| Field::new(&Value::Null, format!("{}.operation", patch.path)));
        let before = self.field.find(&["match", "listener", "filter_chain", "filter", "sub_filter"]);
        let before = before.map(|filter| filter.text_of("name").to_owned()).unwrap_or_default();
        match (self.level, name) {
            (_, "REMOVE") => {
                report.dropped(&operation, "takes something away; nothing of it needs a WasmPlugin");
                return None;
            }
            (Level::Filter, "INSERT_FIRST") => self.placed(&operation, "", report),
            (Level::Filter, "INSERT_BEFORE" | "REPLACE") => self.placed(&operation, &before, report),
            (Level::Filter, "INSERT_AFTER") if !before.is_empty() && !before.ends_with(".router") => {
                self.placed(&operation, &before, report);
            }
            (Level::Filter, "ADD" | "INSERT_AFTER") => {
                self.kill("it was put behind the router, which ends the chain, and Envoy refuses such a chain");
                self.placed(&operation, &before, report);
            }
            (Level::Filter, "MERGE") => {
                let cure = "put the whole filter into one INSERT_BEFORE patch";
                report.refuse(&operation, "changes a filter that another resource put there", cure);
                return None;
            }
            (Level::Route, "ADD" | "INSERT_FIRST" | "INSERT_BEFORE" | "INSERT_AFTER") => {
                self.level = Level::Added;
                if matches!(name, "ADD" | "INSERT_AFTER") && self.side == Some(Side::Inbound) {
                    self.kill("it adds a route behind the only one of the virtual host, which takes every request");
                }
                report.became(&operation, "a rule with the added route's match, before the others");
            }
            (_, "MERGE") => report.became(&operation, "rules in place of the filter's own, as the more specific one"),
            (_, other) => {
                let reason = if other.is_empty() {
                    "it has no operation, and Istio ignores such a patch".to_owned()
                } else {
                    format!("Istio does not carry out {other} there, only MERGE")
                };
                report.lost(&operation, reason.clone());
                self.kill(reason);
            }
        }
        Some(())
    }

    fn placed(&self, operation: &Field<'_>, before: &str, report: &mut Report) {
        if self.phase.is_some() {
            report.dropped(operation, "the filterClass says where, and so does the phase");
        } else if before.is_empty() {
            let reason = "it stood first in the chain, so that requests which authorization denies were charged as \
                          well; here they are not. Write phase: AUTHN to have it first again";
            report.became_but(operation, "phase: STATS", reason);
        } else {
            report.became_so(operation, "phase: STATS", "after authorization, before the router");
        }
    }

    /// The match of a route that the patch adds.
    fn added_route(&mut self, value: &Field<'_>, report: &mut Report) -> Option<()> {
        let Some(matcher) = value.get("match") else { return Some(()) };
        if self.level != Level::Added {
            report.lost(&matcher, "changes the match of a route that is there, which no filter can");
            return Some(());
        }
        let found = matching::route(&matcher).and_then(|found| found.and(&self.conditions, &matcher));
        match found {
            Ok(found) => {
                let text = serde_json::to_string(&found.matches).unwrap_or_default();
                if found.remarks.is_empty() {
                    report.became(&matcher, format!("match: {text}"));
                } else {
                    report.became_but(&matcher, format!("match: {text}"), found.remarks.join("; "));
                }
                self.conditions = found;
                Some(())
            }
            Err((at, reason, cure)) => {
                report.refuse(&Field::new(&Value::Null, at.path), reason, cure);
                None
            }
        }
    }
}

/// What else the patch does to the route.
fn name_the_rest(value: &Field<'_>, report: &mut Report) {
    const REASON: &str = "has nothing to do with rate limits: keep it in an EnvoyFilter of its own";
    for (name, member) in value.members() {
        match name {
            "match" | "rate_limits" | "rateLimits" | "name" => {}
            "route" => {
                let others =
                    member.members().into_iter().filter(|(name, _)| !matches!(*name, "rate_limits" | "rateLimits"));
                others.for_each(|(_, other)| report.lost(&other, REASON));
            }
            "typed_per_filter_config" | "typedPerFilterConfig" => {
                let others = member.members().into_iter().filter(|(_, config)| limiter::message(config).is_none());
                others.for_each(|(_, other)| report.lost(&other, REASON));
            }
            _ => report.lost(&member, REASON),
        }
    }
}
