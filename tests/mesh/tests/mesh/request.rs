//! A request through both sidecars and all filters, with the manifests as they are.

use std::time::Duration;

use tollgate_mesh::{
    Mesh,
    mesh::{MODULES, call},
    wait::until,
};

use crate::load::{self, Load};

const PATIENCE: Duration = Duration::from_secs(20);

/// The value of one series of the merged metrics endpoint, which has all of `labels`.
pub fn value(metrics: &str, name: &str, labels: &[(&str, &str)]) -> Option<u64> {
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
    metrics
        .lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')))
        .find(|line| labels.iter().all(|label| line.contains(label)))
        .and_then(|line| line.rsplit_once(' ')?.1.parse().ok())
}

/// Metrics see what identity and limits refuse, and who is refused is not charged.
pub async fn the_filters_stand_in_the_chain_in_the_order_of_the_manifests(mesh: &mut Mesh) {
    let order = [&MODULES[..], &["envoy.filters.http.router"]].concat();
    mesh.server.assert_order(8080, &order).await;
    for plugin in MODULES {
        let delivered = mesh.server.delivered(plugin).await;
        let kinds: Vec<_> = delivered.iter().map(|filter| filter["typed_config"]["@type"].clone()).collect();
        assert_eq!(kinds, ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"], "{plugin}");
    }
}

/// By the certificate that istiod issued for a Pod's service account.
pub async fn an_identity_that_is_listed_passes_and_another_gets_403(mesh: &mut Mesh) {
    let answer = call(&mesh.friend, "/posts/7").await.expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(seen.contains("URI=spiffe://cluster.local/ns/titanium-prod/sa/api-gateway"), "{seen}");
    let answer = call(&mesh.stranger, "/posts/7").await.expect("an answer");
    assert_eq!(answer.status, 403, "{answer:?}");
    let metrics = mesh.server.metrics().await;
    let denied = value(&metrics, "tollgate_identity_total", &[("decision", "denied"), ("reason", "not_allowed")]);
    assert!(denied >= Some(1), "{denied:?}");
}

/// One bucket for both workers, and the counters say the same as the answers. No bootstrap was edited for their labels.
pub async fn a_hundred_a_minute_holds_and_the_metrics_say_so(mesh: &mut Mesh) {
    mesh.restore("rate-limit").await;
    // The bucket is full now, but for the requests that find out whether the path is open.
    let mut used = 0;
    until("the server answers again", PATIENCE, async || {
        let answer = call(&mesh.friend, "/posts/7").await.ok()?;
        used += u64::from(answer.status == 200);
        (answer.status == 200).then_some(())
    })
    .await;
    let load = Load::start(&mesh.friend, 4).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let samples = load.stop().await;

    load::assert_only(&samples, &[200, 429]);
    let (admitted, refilled) = (load::count(&samples, 200), load::length(&samples).as_millis() * 100 / 60_000);
    let refilled = u64::try_from(refilled).expect("seconds");
    assert!(admitted <= 100 + refilled, "{admitted} admitted, {refilled} refilled");
    assert!(admitted + used >= 100 + refilled, "{admitted} admitted, {used} before, {refilled} refilled");
    assert!(samples.len() > 400, "not much of a load: {}", samples.len());

    let metrics = mesh.server.metrics().await;
    let counted =
        |decision| value(&metrics, "tollgate_rate_limit_total", &[("rule", "load-balancer"), ("decision", decision)]);
    assert_eq!(counted("allowed"), Some(admitted + used));
    assert_eq!(counted("limited"), Some(load::count(&samples, 429)));
    let labels = [
        ("route", "post"),
        ("method", "GET"),
        ("response_code", "429"),
        ("source_workload", "api-gateway"),
        ("source_principal", "spiffe://cluster.local/ns/titanium-prod/sa/api-gateway"),
        ("destination_service", "load-balancer.titanium-prod.svc.cluster.local"),
        ("direction", "inbound"),
    ];
    assert_eq!(value(&metrics, "tollgate_requests_total", &labels), Some(load::count(&samples, 429)));
    assert!(!metrics.contains("tollgate_requests_total\"") && !metrics.contains("___route___"), "{metrics}");
}
