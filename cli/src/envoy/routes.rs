//! VirtualServices as Envoy's routes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{outbound, set};
use crate::mesh::Mesh;
use crate::mesh::gateway::{BoundRoute, GatewayListener};
use crate::problem::Notices;
use crate::resources::networking::{HeaderOperations, HttpMatch, HttpRoute, StringMatch};

/// All routes of a gateway's port.
pub(super) fn configuration(gateway: &GatewayListener, mesh: &Mesh, notices: &mut Notices) -> Value {
    let mut virtual_hosts = Vec::new();
    for (domain, bound) in &gateway.hosts {
        let mut routes = Vec::new();
        for route in bound {
            routes.extend(envoy_routes(route, mesh, notices));
        }
        let mut virtual_host = json!({
            "name": format!("{domain}:{}", gateway.port),
            "domains": [domain],
            "routes": routes,
        });
        if gateway.https_redirect {
            set(&mut virtual_host, "require_tls", json!("ALL"));
        }
        virtual_hosts.push(virtual_host);
    }
    json!({
        "name": format!("http.{}", gateway.port),
        "virtual_hosts": virtual_hosts,
        "ignore_port_in_host_matching": true,
        "validate_clusters": false,
    })
}

/// One route for each match, as Istio makes them.
fn envoy_routes(bound: &BoundRoute, mesh: &Mesh, notices: &mut Notices) -> Vec<Value> {
    let everything = [HttpMatch::default()];
    let matches = if bound.route.matches.is_empty() { everything.as_slice() } else { bound.route.matches.as_slice() };
    let mut routes = Vec::new();
    for (index, matched) in matches.iter().enumerate() {
        let path = format!("{}.match[{index}]", bound.path);
        let mut route = json!({
            "match": route_match(matched, bound, &path, notices),
            "metadata": {"filter_metadata": {"istio": {"config": bound.config_path}}},
        });
        let name = [bound.route.name.as_str(), matched.name.as_str()];
        let name: Vec<&str> = name.into_iter().filter(|part| !part.is_empty()).collect();
        if !name.is_empty() {
            set(&mut route, "name", json!(name.join(".")));
        }
        let (kind, action) = action(bound, matched, mesh, notices);
        set(&mut route, kind, action);
        add_headers(&mut route, &bound.route);
        routes.push(route);
    }
    routes
}

fn route_match(matched: &HttpMatch, bound: &BoundRoute, path: &str, notices: &mut Notices) -> Value {
    let mut to = Map::new();
    match &matched.uri {
        Some(StringMatch { exact: Some(exact), .. }) => to.insert("path".into(), json!(exact)),
        Some(StringMatch { prefix: Some(prefix), .. }) => to.insert("prefix".into(), json!(prefix)),
        Some(StringMatch { regex: Some(regex), .. }) => to.insert("safe_regex".into(), json!({"regex": regex})),
        Some(_) | None => to.insert("prefix".into(), json!("/")),
    };
    if matched.ignore_uri_case {
        if to.contains_key("safe_regex") {
            notices.warn_at(
                &bound.origin,
                &format!("{path}.ignoreUriCase"),
                "means nothing for a regex (nor in Istio)",
            );
        } else {
            to.insert("case_sensitive".into(), json!(false));
        }
    }
    let mut headers = Vec::new();
    for (name, wanted) in [(":method", &matched.method), (":authority", &matched.authority)] {
        if let Some(wanted) = wanted {
            headers.push(header_match(name, wanted, false));
        }
    }
    headers.extend(matched.headers.iter().map(|(name, wanted)| header_match(name, wanted, false)));
    headers.extend(matched.without_headers.iter().map(|(name, wanted)| header_match(name, wanted, true)));
    if !headers.is_empty() {
        to.insert("headers".into(), json!(headers));
    }
    let query: Vec<Value> = matched
        .query_params
        .iter()
        .map(|(name, wanted)| match string_match(wanted) {
            Some(wanted) => json!({"name": name, "string_match": wanted}),
            None => json!({"name": name, "present_match": true}),
        })
        .collect();
    if !query.is_empty() {
        to.insert("query_parameters".into(), json!(query));
    }
    Value::Object(to)
}

fn header_match(name: &str, wanted: &StringMatch, invert: bool) -> Value {
    let mut header = match string_match(wanted) {
        Some(wanted) => json!({"name": name, "string_match": wanted}),
        None => json!({"name": name, "present_match": true}),
    };
    if invert {
        set(&mut header, "invert_match", json!(true));
        if wanted_value(wanted) {
            // Istio: a header that is not there does not match, so a `withoutHeaders` is satisfied.
            set(&mut header, "treat_missing_header_as_empty", json!(true));
        }
    }
    header
}

fn wanted_value(wanted: &StringMatch) -> bool {
    string_match(wanted).is_some()
}

fn string_match(wanted: &StringMatch) -> Option<Value> {
    match wanted {
        StringMatch { exact: Some(exact), .. } => Some(json!({"exact": exact})),
        StringMatch { prefix: Some(prefix), .. } => Some(json!({"prefix": prefix})),
        StringMatch { regex: Some(regex), .. } => Some(json!({"safe_regex": {"regex": regex}})),
        _ => None,
    }
}

fn action(bound: &BoundRoute, matched: &HttpMatch, mesh: &Mesh, notices: &mut Notices) -> (&'static str, Value) {
    let route = &bound.route;
    if let Some(redirect) = &route.redirect {
        let code = match redirect.redirect_code {
            None | Some(301) => "MOVED_PERMANENTLY",
            Some(302) => "FOUND",
            Some(303) => "SEE_OTHER",
            Some(307) => "TEMPORARY_REDIRECT",
            Some(308) => "PERMANENT_REDIRECT",
            Some(other) => {
                let path = format!("{}.redirect.redirectCode", bound.path);
                notices.warn_at(&bound.origin, &path, format!("{other} is not carried out; 301 is sent"));
                "MOVED_PERMANENTLY"
            }
        };
        let mut action = json!({"response_code": code});
        let fields = [
            ("path_redirect", &redirect.uri),
            ("host_redirect", &redirect.authority),
            ("scheme_redirect", &redirect.scheme),
        ];
        for (field, value) in fields {
            if let Some(value) = value {
                set(&mut action, field, json!(value));
            }
        }
        return ("redirect", action);
    }
    if let Some(response) = &route.direct_response {
        let body = response.body.as_ref().and_then(|body| body.string.clone());
        let mut action = json!({"status": response.status});
        if let Some(body) = body {
            set(&mut action, "body", json!({"inline_string": body}));
        }
        return ("direct_response", action);
    }
    match forward(bound, matched, mesh, notices) {
        Some(action) => ("route", action),
        None => ("direct_response", json!({"status": 503})),
    }
}

fn forward(bound: &BoundRoute, matched: &HttpMatch, mesh: &Mesh, notices: &mut Notices) -> Option<Value> {
    let route = &bound.route;
    let name = |key: &Option<String>| {
        let inbound = key.as_ref().and_then(|key| mesh.inbound.iter().find(|inbound| inbound.key() == *key));
        inbound.map(outbound::cluster_name)
    };
    let mut action = match bound.destinations.as_slice() {
        [] => return None,
        [(only, _)] => json!({"cluster": name(only)?}),
        several => {
            let total: u32 = several.iter().map(|(_, weight)| *weight).fold(0, u32::saturating_add);
            if total == 0 {
                notices.warn_at(&bound.origin, &format!("{}.route", bound.path), "all weights are 0: requests get 503");
                return None;
            }
            // A destination outside the mesh keeps its share: a cluster that does not exist answers 503.
            let clusters = several.iter().map(|(key, weight)| {
                json!({"name": name(key).unwrap_or_else(|| "no-such-service".into()), "weight": weight})
            });
            json!({"weighted_clusters": {"clusters": clusters.collect::<Vec<_>>()}})
        }
    };
    set(
        &mut action,
        "timeout",
        json!(duration(route.timeout.as_deref(), bound, "timeout", notices).unwrap_or("0s".into())),
    );
    if let Some(rewrite) = &route.rewrite {
        if let Some(authority) = &rewrite.authority {
            set(&mut action, "host_rewrite_literal", json!(authority));
        }
        if let Some(uri) = &rewrite.uri {
            rewrite_path(&mut action, uri, matched, bound, notices);
        }
    }
    if let Some(policy) = retry_policy(bound, notices) {
        set(&mut action, "retry_policy", policy);
    }
    Some(action)
}

fn rewrite_path(action: &mut Value, uri: &str, matched: &HttpMatch, bound: &BoundRoute, notices: &mut Notices) {
    if matched.uri.as_ref().is_some_and(|matched| matched.regex.is_some()) {
        let path = format!("{}.rewrite.uri", bound.path);
        notices.warn_at(&bound.origin, &path, "beside a regex match is not carried out");
    } else {
        set(action, "prefix_rewrite", json!(uri));
    }
}

/// As the route says, else Istio's own default: two, for connections that came to nothing.
fn retry_policy(bound: &BoundRoute, notices: &mut Notices) -> Option<Value> {
    const DEFAULT_RETRY_ON: &str = "connect-failure,refused-stream,unavailable,cancelled";
    let retries = bound.route.retries.as_ref();
    let attempts = retries.map_or(2, |retries| retries.attempts);
    if attempts == 0 {
        return None;
    }
    let retry_on = retries.and_then(|retries| retries.retry_on.clone()).filter(|on| !on.is_empty());
    let mut policy = json!({"num_retries": attempts, "retry_on": retry_on.unwrap_or(DEFAULT_RETRY_ON.into())});
    let per_try = retries.and_then(|retries| retries.per_try_timeout.as_deref());
    if let Some(timeout) = duration(per_try, bound, "retries.perTryTimeout", notices) {
        set(&mut policy, "per_try_timeout", json!(timeout));
    }
    Some(policy)
}

/// Istio's `1m30s` as Envoy's `90s`.
fn duration(text: Option<&str>, bound: &BoundRoute, field: &str, notices: &mut Notices) -> Option<String> {
    let text = text?;
    match crate::duration::parse(text) {
        Some(duration) => Some(format!("{}.{:09}s", duration.as_secs(), duration.subsec_nanos())),
        None => {
            let path = format!("{}.{field}", bound.path);
            notices.warn_at(&bound.origin, &path, format!("{text:?} is not a duration such as 1m30s, and left out"));
            None
        }
    }
}

fn add_headers(route: &mut Value, from: &HttpRoute) {
    let Some(rules) = &from.headers else { return };
    for (side, operations) in [("request", &rules.request), ("response", &rules.response)] {
        let Some(HeaderOperations { set: overwrite, add, remove }) = operations else { continue };
        let options = |headers: &BTreeMap<String, String>, action: &str| -> Vec<Value> {
            headers
                .iter()
                .map(|(key, value)| json!({"header": {"key": key, "value": value}, "append_action": action}))
                .collect()
        };
        let mut all = options(overwrite, "OVERWRITE_IF_EXISTS_OR_ADD");
        all.extend(options(add, "APPEND_IF_EXISTS_OR_ADD"));
        if !all.is_empty() {
            set(route, &format!("{side}_headers_to_add"), json!(all));
        }
        if !remove.is_empty() {
            set(route, &format!("{side}_headers_to_remove"), json!(remove));
        }
    }
}
