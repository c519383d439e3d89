//! What `mtls-identity` and `route-metrics` do with a request, and why.

use mtls_identity::policy::{Allowed, Policy, Reason, Verdict};
use serde::Serialize;
use serde_json::Value;
use tollgate::config::ConfigError;
use tollgate::name::Name;
use tollgate::request::{Attribute, Request as _};
use tollgate::route::{RouteMatch, RouteTable};

use super::request::Seen;
use super::routes::{self, Miss};

/// What `mtls-identity` decides.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Identity {
    pub(super) decision: &'static str,
    /// As the log and the metrics spell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
    /// What let it pass, or why not.
    pub(super) why: String,
    pub(super) principal: Option<String>,
    pub(super) passed_over: Vec<Passed>,
}

/// What `route-metrics` counts it as.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metrics {
    /// None for the proxy's own route name.
    pub(super) route: Option<String>,
    pub(super) passed_over: Vec<Passed>,
}

/// A rule or route that the request does not fall under.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Passed {
    pub(super) at: String,
    pub(super) rule: String,
    pub(super) misses: Vec<Miss>,
}

/// Explains a decision of `mtls-identity`.
pub(super) fn identity(configuration: &Value, request: &Seen<'_>) -> Result<Identity, ConfigError> {
    let config = mtls_identity::config::Config::parse(configuration.to_string().as_bytes())?;
    let rules: Vec<_> = config.rules.iter().map(|rule| (&rule.name, rule.matches.as_slice())).collect();
    let name = |index: usize| rules.get(index).map_or("", |(name, _)| name.as_str());
    let (decision, reason, why) = match Policy::new(&config).decide(request) {
        Verdict::Allowed(Allowed::Exempt) => ("exempt", None, "an entry of exempt holds".to_owned()),
        Verdict::Allowed(Allowed::Rule(index)) => {
            ("allowed", None, format!("rules[{index}] {} lets this caller pass", name(index)))
        }
        Verdict::Allowed(Allowed::Default) => {
            ("allowed", None, "no rule is for it, and then every verified peer passes".to_owned())
        }
        Verdict::Denied { rule, reason } => {
            let rule = rule.map(|index| format!("rules[{index}] {}: ", name(index))).unwrap_or_default();
            ("denied", Some(reason.as_str()), format!("{rule}{}", describe(reason)))
        }
    };
    let reached = RouteTable::new(rules.iter().map(|(_, matches)| *matches)).find(request).rule;
    let reached = if decision == "exempt" { Some(0) } else { reached };
    let principal = request.attribute(Attribute::UriSanPeerCertificate);
    Ok(Identity {
        decision,
        reason,
        why,
        principal: principal.map(|principal| String::from_utf8_lossy(principal).into_owned()),
        passed_over: passed_over("rules", &rules, reached, configuration, request),
    })
}

fn describe(reason: Reason) -> &'static str {
    match reason.as_str() {
        "no_mtls" => "the caller has no certificate; --principal says who calls",
        "foreign_trust_domain" => "the caller is of a trust domain that is not one of ours",
        "ambiguous_path" => "two readers may understand the path differently, and rules look at paths",
        "ambiguous_host" => "two readers may understand the host differently, and rules look at hosts",
        "denied_by_rule" => "its deny has the caller",
        "not_allowed" => "its allow does not have the caller",
        "no_rule" => "no rule is for the request, and the default is deny",
        _ => "the caller's certificate has no identity that counts",
    }
}

/// Explains what `route-metrics` counts a request as.
pub(super) fn metrics(configuration: &Value, request: &Seen<'_>) -> Result<Metrics, ConfigError> {
    let config = route_metrics::config::Config::parse(configuration.to_string().as_bytes())?;
    let routes: Vec<_> = config.routes.iter().map(|route| (&route.name, route.matches.as_slice())).collect();
    let found = RouteTable::new(routes.iter().map(|(_, matches)| *matches)).find(request).rule;
    let name = found.and_then(|index| routes.get(index)).map(|(name, _)| name.as_str().to_owned());
    Ok(Metrics { route: name, passed_over: passed_over("routes", &routes, found, configuration, request) })
}

fn passed_over(
    list: &str,
    rules: &[(&Name, &[RouteMatch])],
    reached: Option<usize>,
    configuration: &Value,
    request: &Seen<'_>,
) -> Vec<Passed> {
    let earlier = rules.iter().enumerate().take(reached.unwrap_or(rules.len()));
    let passed = earlier.map(|(index, (name, matches))| {
        let at = format!("{list}[{index}]");
        let written = configuration.get(list).and_then(|list| list.get(index)?.get("match"));
        let misses = routes::misses(matches, written, &format!("{at}.match"), request);
        Passed { rule: name.as_str().to_owned(), misses, at }
    });
    passed.collect()
}
