//! What is compared.

use serde_json::{Value, json};
use tollgate_tests::{artifacts, config::Plugin};

/// Who calls over TLS, without `spiffe://`.
pub const CALLER: &str = "cluster.local/ns/bench/sa/caller";

/// One listener and how its figure is read.
pub struct Variant {
    pub key: &'static str,
    pub what: &'static str,
    pub filters: Vec<Value>,
    /// Whether requests are turned away.
    pub rejects: bool,
    /// Whether callers come with a certificate, over TLS.
    pub tls: bool,
}

/// All of them, in the order of the table.
pub fn variants() -> Vec<Variant> {
    let rate_limit = |key, rules: Value| vec![Plugin::new("rate-limit", json!({"rules": rules})).named(key).filter()];
    let plenty = json!([{"requests": 1_000_000_000, "per": "1s"}]);
    // So slow that a bucket is never full again while the bench runs.
    let slow = json!([{"requests": 1_000_000_000, "per": "366d"}]);
    let one = json!([{"requests": 1, "per": "1d"}]);
    let many: Vec<Value> = (0..500)
        .map(|n| json!({"name": format!("r{n}"), "match": [{"paths": [format!("/r{n}/{{id}}")]}], "limits": plenty}))
        .chain([json!({"name": "rest", "limits": plenty})])
        .collect();
    let route = json!([{"paths": ["/"], "methods": ["GET"]}]);
    let omit = json!(["response_flags", "grpc_status", "source", "destination_service", "direction", "bytes"]);
    let admits = |key, what, filters| Variant { key, what, filters, rejects: false, tls: false };
    let rejects = |key, what, filters| Variant { key, what, filters, rejects: true, tls: false };
    let checks = |key, what, filters| Variant { key, what, filters, rejects: false, tls: true };
    let identity = |key, rules: Value| {
        let configuration = json!({"trustDomains": ["cluster.local"], "rules": rules});
        vec![Plugin::new("mtls-identity", configuration).named(key).filter()]
    };
    let strangers = || (1..1000).map(|n| format!("cluster.local/ns/a/sa/stranger-{n}"));
    let thousand: Vec<String> = strangers().chain([CALLER.to_owned()]).collect();
    // Who calls without a certificate is exempt.
    let all = |name: &str, exempt: Value| {
        let identity = json!({"rules": [{"name": "r", "allow": [{"principals": [CALLER]}]}], "exempt": exempt});
        vec![
            Plugin::new("route-metrics", json!({"routes": [{"name": "r", "match": route}]})).named(name).filter(),
            Plugin::new("mtls-identity", identity).named(name).filter(),
            Plugin::new("rate-limit", json!({"rules": [{"name": "r", "limits": plenty}]})).named(name).filter(),
        ]
    };
    vec![
        admits("none", "no filter", vec![]),
        admits("native", "Envoy's local_ratelimit", vec![local_ratelimit(4_000_000_000)]),
        admits("noop", "a no-op filter on the plain SDK", vec![noop("noop")]),
        admits(
            "rate_limit",
            "rate-limit, one rule for all",
            rate_limit("plain", json!([{"name": "r", "limits": plenty}])),
        ),
        admits(
            "rate_limit_route",
            "rate-limit, one rule by path and method",
            rate_limit("route", json!([{"name": "r", "match": route, "limits": plenty}])),
        ),
        admits("rate_limit_500", "rate-limit, 501 rules", rate_limit("many", Value::Array(many))),
        admits(
            "rate_limit_one_key",
            "rate-limit, by caller's address, one caller",
            rate_limit("address", json!([{"name": "r", "key": ["clientAddress"], "limits": plenty}])),
        ),
        admits(
            "rate_limit_keys",
            "rate-limit, by header, 1,000 callers",
            rate_limit("keys", json!([{"name": "r", "key": [{"header": "x-api-key"}], "limits": slow}])),
        ),
        admits(
            "rate_limit_overall",
            "rate-limit, one rule and an overall limit",
            vec![
                Plugin::new(
                    "rate-limit",
                    json!({"rules": [{"name": "r", "limits": plenty}], "overall": [{"name": "all", "limits": plenty}]}),
                )
                .named("overall")
                .filter(),
            ],
        ),
        admits(
            "rate_limit_response",
            "rate-limit, RateLimit headers on every reply",
            vec![
                Plugin::new(
                    "rate-limit-response",
                    json!({"rules": [{"name": "r", "limits": plenty, "headers": "all"}]}),
                )
                .named("response")
                .filter(),
            ],
        ),
        admits(
            "route_metrics",
            "route-metrics, one route",
            vec![Plugin::new("route-metrics", json!({"routes": [{"name": "r", "match": route}]})).filter()],
        ),
        admits(
            "route_metrics_less",
            "route-metrics, routes and statuses alone",
            vec![
                Plugin::new("route-metrics", json!({"routes": [{"name": "r", "match": route}], "omit": omit}))
                    .named("less")
                    .filter(),
            ],
        ),
        admits("floor_0", "route-metrics' callbacks, empty", vec![floor(0)]),
        admits("floor_2", "the same, reading two values", vec![floor(2)]),
        admits("floor_5", "the same, reading five values", vec![floor(5)]),
        admits("noops", "three no-op filters", vec![noop("noop"), noop("noop2"), noop("noop3")]),
        checks(
            "tls_metrics",
            "over TLS: route-metrics, one route",
            vec![
                Plugin::new("route-metrics", json!({"routes": [{"name": "r", "match": route}]}))
                    .named("tls-metrics")
                    .filter(),
            ],
        ),
        checks("tls_noops", "over TLS: three no-op filters", vec![noop("tls-1"), noop("tls-2"), noop("tls-3")]),
        admits("all", "all three filters, identity exempt", all("all", json!([{"methods": ["GET"]}]))),
        checks("tls_all", "over TLS: all three filters", all("tls-all", json!([{"paths": ["/exempt"]}]))),
        checks("tls", "over TLS: no filter", vec![]),
        checks("tls_native", "over TLS: Envoy's rbac, one principal", vec![rbac(&[CALLER.to_owned()])]),
        checks("tls_native_1000", "over TLS: Envoy's rbac, 1,000 principals", vec![rbac(&thousand)]),
        checks("tls_noop", "over TLS: a no-op filter on the plain SDK", vec![noop("tls-noop")]),
        checks(
            "identity",
            "over TLS: mtls-identity, one principal",
            identity("identity", json!([{"name": "r", "allow": [{"principals": [CALLER]}]}])),
        ),
        checks(
            "identity_1000",
            "over TLS: mtls-identity, 1,000 principals",
            identity("identity-1000", json!([{"name": "r", "allow": [{"principals": thousand}]}])),
        ),
        checks(
            "identity_route",
            "over TLS: mtls-identity, by path and method",
            identity("identity-route", json!([{"name": "r", "match": route, "allow": [{"principals": [CALLER]}]}])),
        ),
        rejects("native_429", "429 by Envoy's local_ratelimit", vec![local_ratelimit(1)]),
        rejects("rate_limit_429", "429 by rate-limit", rate_limit("empty", json!([{"name": "r", "limits": one}]))),
    ]
}

fn local_ratelimit(tokens: u64) -> Value {
    let always = json!({"default_value": {"numerator": 100, "denominator": "HUNDRED"}});
    json!({
        "name": "envoy.filters.http.local_ratelimit",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
            "stat_prefix": "native",
            "token_bucket": {"max_tokens": tokens, "tokens_per_fill": tokens, "fill_interval": "86400s"},
            "filter_enabled": always,
            "filter_enforced": always,
        },
    })
}

fn floor(values: usize) -> Value {
    // A VM of its own: the module has one number for all of a VM.
    Plugin::of(artifacts::floor(), &format!("floor-{values}"), "x".repeat(values))
        .vm_id(&format!("floor-{values}"))
        .filter()
}

fn noop(name: &str) -> Value {
    Plugin::of(artifacts::noop(), name, "").filter()
}

/// What Istio makes of an AuthorizationPolicy that allows these principals.
fn rbac(principals: &[String]) -> Value {
    let id =
        |principal: &String| json!({"authenticated": {"principal_name": {"exact": format!("spiffe://{principal}")}}});
    json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": {"action": "ALLOW", "policies": {"r": {
                "permissions": [{"any": true}],
                "principals": [{"or_ids": {"ids": principals.iter().map(id).collect::<Vec<_>>()}}],
            }}},
        },
    })
}
