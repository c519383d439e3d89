//! Beside what users had before: Envoy's own rate limit in an EnvoyFilter.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use tollgate_mesh::{
    Mesh,
    mesh::{NAMESPACE, call},
    wait::until,
};
use tollgate_tests::artifacts;

use crate::load::{self, Load};

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
