//! Beside what users had before: Envoy's own rate limit in an EnvoyFilter, Istio's own check of tokens.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;
use tollgate_mesh::{
    Mesh,
    mesh::{Caller, NAMESPACE, SERVER, call},
    wait::until,
};
use tollgate_tests::{artifacts, tokens};

use crate::load::{self, Load};
use crate::request::value;

const PATIENCE: Duration = Duration::from_secs(20);
const LENGTH: Duration = Duration::from_secs(3);

/// The EnvoyFilter of the platform that Tollgate was asked for, on a workload that has its label.
const ENVOY_FILTER: &str = r#"apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata:
  name: rate-limit-filter
  namespace: titanium-prod
spec:
  workloadSelector:
    labels: {app: load-balancer}
  configPatches:
  - applyTo: HTTP_FILTER
    match:
      context: SIDECAR_INBOUND
      listener:
        filterChain:
          filter:
            name: envoy.filters.network.http_connection_manager
            subFilter: {name: envoy.filters.http.router}
    patch:
      operation: INSERT_BEFORE
      value:
        name: envoy.filters.http.local_ratelimit
        typed_config:
          "@type": type.googleapis.com/udpa.type.v1.TypedStruct
          type_url: type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
          value:
            stat_prefix: load_balancer
            token_bucket: {max_tokens: 100, tokens_per_fill: 100, fill_interval: 60s}
            filter_enabled: {runtime_key: limit_enabled, default_value: {numerator: 100, denominator: HUNDRED}}
            filter_enforced: {runtime_key: limit_enforced, default_value: {numerator: 100, denominator: HUNDRED}}
"#;

/// Floods a sidecar that has just started, so that its bucket is full, and checks that it admits what a bucket of 100
/// that refills in a minute does, within two.
async fn assert_hundred_a_minute(mesh: &mut Mesh, what: &str) {
    mesh.server.restart().await;
    let mut used = 0;
    until("the server answers", PATIENCE, async || {
        let status = call(&mesh.friend, "/posts/7").await.ok()?.status;
        used += u64::from(status == 200);
        (status == 200).then_some(())
    })
    .await;
    let start = Instant::now();
    let load = Load::start(&mesh.friend, 4).await;
    tokio::time::sleep(LENGTH).await;
    let samples = load.stop().await;
    load::assert_only(&samples, &[200, 429]);
    assert!(load::count(&samples, 429) > 100, "not much of a load");
    let admitted = load::count(&samples, 200) + used;
    let expected = 100 + u64::try_from(start.elapsed().as_millis() * 100 / 60_000).expect("seconds");
    assert!(admitted.abs_diff(expected) <= 2, "{what} admitted {admitted}, a bucket would {expected}");
}

async fn chain_has(mesh: &Mesh, filter: &str, wanted: bool) {
    until(&format!("{filter} is in the chain: {wanted}"), PATIENCE, async || {
        let found = mesh.server.chain(8080).await.iter().any(|name| name.contains(filter));
        (found == wanted).then_some(())
    })
    .await;
}

/// Applied as it is, then as `tollgate convert` makes it a WasmPlugin.
pub async fn a_converted_envoy_filter_admits_what_the_filter_itself_did(mesh: &mut Mesh) {
    let kubectl = mesh.kubectl().clone();
    kubectl.run(&["delete", "wasmplugin", "rate-limit", "-n", NAMESPACE]);
    kubectl.apply(ENVOY_FILTER);
    chain_has(mesh, "local_ratelimit", true).await;
    chain_has(mesh, "rate-limit", false).await;
    assert_hundred_a_minute(mesh, "the EnvoyFilter").await;
    kubectl.run(&["delete", "envoyfilter", "rate-limit-filter", "-n", NAMESPACE]);
    chain_has(mesh, "local_ratelimit", false).await;

    let directory = mesh.directory().join("converted");
    std::fs::create_dir_all(&directory).expect("writable");
    let filter = mesh.directory().join("envoy-filter.yaml");
    std::fs::write(&filter, ENVOY_FILTER).expect("writable");
    let converted = Command::new(artifacts::tollgate())
        .arg("convert")
        .arg("-f")
        .arg(&filter)
        .arg("-f")
        .arg(mesh.manifests().join("overlays/local/applications.yaml"))
        .output()
        .expect("tollgate runs");
    assert!(converted.status.success(), "{}", String::from_utf8_lossy(&converted.stderr));
    let plugin = directory.join("plugin.yaml");
    std::fs::write(&plugin, &converted.stdout).expect("writable");
    mesh.push("rate-limit", &["--update", &directory.display().to_string()]);
    kubectl.run(&["apply", "-f", &plugin.display().to_string()]);
    chain_has(mesh, "trafficextension", true).await;
    assert_hundred_a_minute(mesh, "the WasmPlugin").await;
    kubectl.run(&["delete", "-f", &plugin.display().to_string()]);
    let manifest = mesh.manifests().join("base/rate-limit.yaml").display().to_string();
    kubectl.run(&["create", "-f", &manifest]);
    mesh.server.restart().await;
}

/// Istio's jwt_authn stands behind route-metrics and before identity and limits: what it refuses is counted and not
/// charged, and the claims that it has verified are what identity and limits go by.
pub async fn tokens_that_istio_verifies_decide_and_are_limited_by_their_claims(mesh: &mut Mesh) {
    let authentication = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "RequestAuthentication",
        "metadata": { "name": "tokens", "namespace": NAMESPACE },
        "spec": {
            "selector": { "matchLabels": { "app": SERVER } },
            "jwtRules": [{ "issuer": tokens::ISSUER, "jwks": tokens::key_set() }],
        },
    });
    mesh.kubectl().apply(&authentication.to_string());
    let claim = json!([{ "name": "role", "values": ["reader"] }]);
    mesh.patch(
        "mtls-identity",
        &json!({ "pluginConfig": { "rules": [{
            "name": "readers",
            "when": { "jwtClaims": claim },
            "allow": [{ "principals": ["cluster.local/ns/titanium-prod/sa/api-gateway"] }],
        }] } }),
    );
    mesh.patch(
        "rate-limit",
        &json!({ "pluginConfig": { "rules": [{
            "name": "subjects", "key": [{ "jwtClaim": "sub" }], "limits": [{ "requests": 3, "per": "1h" }],
        }] } }),
    );
    let bearer = |subject: &str, role: &str| {
        let claims = json!({ "iss": tokens::ISSUER, "sub": subject, "role": role });
        format!("Bearer {}", tokens::signed(&claims))
    };
    let ask = async |client, authorization: &str| {
        let mut caller = Caller::open(client).await.ok()?;
        Some(caller.get_with("/posts/7", &[("authorization", authorization)]).await.ok()?.status)
    };
    chain_has(mesh, "jwt_authn", true).await;
    until("tokens count", PATIENCE, async || {
        (ask(&mesh.friend, "Bearer nonsense").await? == 401).then_some(())?;
        (ask(&mesh.friend, &bearer("nobody", "writer")).await? == 403).then_some(())
    })
    .await;
    until("the limit is by subject", PATIENCE, async || {
        (ask(&mesh.friend, &bearer("warmup", "reader")).await? == 429).then_some(())
    })
    .await;
    let order = ["route-metrics", "jwt_authn", "mtls-identity", "rate-limit"];
    mesh.server.assert_order(8080, &order).await;

    let counted =
        async |name: &str, labels: &[(&str, &str)]| value(&mesh.server.metrics().await, name, labels).unwrap_or(0);
    let (refused, limited) = ([("response_code", "401")], [("rule", "subjects"), ("decision", "limited")]);
    let (before, charged) = (
        counted("tollgate_requests_total", &refused).await,
        counted("tollgate_rate_limit_total", &[("rule", "subjects"), ("decision", "allowed")]).await,
    );
    let limited_before = counted("tollgate_rate_limit_total", &limited).await;
    for _ in 0..5 {
        assert_eq!(ask(&mesh.friend, "Bearer nonsense").await, Some(401));
        assert_eq!(ask(&mesh.friend, &format!("{}x", bearer("alice", "reader"))).await, Some(401), "forged");
        assert_eq!(ask(&mesh.friend, &bearer("alice", "writer")).await, Some(403));
        assert_eq!(ask(&mesh.stranger, &bearer("alice", "reader")).await, Some(403), "the token is not its own");
    }
    assert_eq!(call(&mesh.friend, "/posts/7").await.expect("an answer").status, 403, "without a token");
    assert_eq!(counted("tollgate_requests_total", &refused).await, before + 10);
    for subject in ["alice", "bob"] {
        for status in [200, 200, 200, 429] {
            assert_eq!(ask(&mesh.friend, &bearer(subject, "reader")).await, Some(status), "{subject}");
        }
    }
    let admitted = counted("tollgate_rate_limit_total", &[("rule", "subjects"), ("decision", "allowed")]).await;
    assert_eq!(admitted, charged + 6, "nobody who was refused is charged");
    assert_eq!(counted("tollgate_rate_limit_total", &limited).await, limited_before + 2);

    mesh.kubectl().run(&["delete", "requestauthentication", "tokens", "-n", NAMESPACE]);
    mesh.restore("mtls-identity").await;
    mesh.restore("rate-limit").await;
    chain_has(mesh, "jwt_authn", false).await;
}
