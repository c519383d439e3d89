//! What `route-metrics` counts a request as, and why.

use serde::Serialize;
use serde_json::Value;
use tollgate::config::ConfigError;
use tollgate::route::RouteTable;

use super::request::Seen;
use super::routes::{self, Miss};

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
    /// Why it does not decide though its `match` holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) because: Option<String>,
}

/// Explains what `route-metrics` counts a request as.
pub(super) fn metrics(configuration: &Value, request: &Seen<'_>) -> Result<Metrics, ConfigError> {
    let config = route_metrics::config::Config::parse(configuration.to_string().as_bytes())?;
    let routes: Vec<_> = config.routes.iter().map(|route| (&route.name, route.matches.as_slice())).collect();
    let found = RouteTable::new(routes.iter().map(|(_, matches)| *matches)).find(request).rule;
    let name = found.and_then(|index| routes.get(index)).map(|(name, _)| name.as_str().to_owned());
    let earlier = routes.iter().enumerate().take(found.unwrap_or(routes.len()));
    let passed_over = earlier.map(|(index, (name, matches))| {
        let at = format!("routes[{index}]");
        let written = configuration.get("routes").and_then(|list| list.get(index)?.get("match"));
        let misses = routes::misses(matches, written, &format!("{at}.match"), request);
        Passed { rule: name.as_str().to_owned(), misses, because: None, at }
    });
    Ok(Metrics { route: name, passed_over: passed_over.collect() })
}
