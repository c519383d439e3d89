//! What the shipped dashboards ask of istiod, a real one answers.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;
use tollgate_mesh::{Mesh, mesh::NAMESPACE, wait::until};
use tollgate_tests::{
    dashboards, monitoring,
    prometheus::{self, Prometheus},
    queries,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// The whole test is in it.
const WINDOW: Duration = Duration::from_secs(120);
/// What appears with the first such trouble, which nothing here makes. The queries have zero until then.
const UNSEEN: [&str; 6] = [
    "citadel_server_authentication_failure_count",
    "citadel_server_csr_sign_err_count",
    "galley_validation_http_error",
    "pilot_total_xds_internal_errors",
    "pilot_xds_write_timeout",
    "sidecar_injection_failure_total",
];

/// While it looks, a proxy refuses a configuration, one webhook a resource, and the other injects a sidecar.
pub async fn istiod_answers_what_the_dashboards_ask_of_it(mesh: &mut Mesh) {
    let sidecar = monitoring::discovered_sidecar(NAMESPACE, "load-balancer-0", "load-balancer");
    let scrapes = vec![
        prometheus::scrape("istiod", "/metrics", [(mesh.istiod.monitoring(), &[][..])]),
        monitoring::scrape_job("tollgate-sidecars", &[(mesh.server.admin(), sidecar)]),
    ];
    let prometheus = Prometheus::start(&prometheus::Options { scrapes, ..prometheus::Options::default() }).await;
    until("istiod is scraped", PATIENCE, async || prometheus.query("pilot_xds").await.pop()).await;
    let limited_to = |requests: u32| {
        let limits = json!([{ "requests": requests, "per": "1m" }]);
        json!({ "pluginConfig": { "rules": [{ "name": "one", "limits": limits }] } })
    };
    // How long a push took is there after the first one, and has a rate after the second.
    mesh.patch("rate-limit", &limited_to(1000));
    until("the push is counted", PATIENCE, async || prometheus.query("pilot_proxy_convergence_time_count").await.pop())
        .await;
    mesh.patch("rate-limit", &limited_to(0));
    let mistake = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": { "name": "mistaken", "namespace": NAMESPACE },
        "spec": { "hosts": ["a"], "http": [{ "route": [{ "destination": { "host": "b c" } }] }] },
    });
    // In a dry run it does not count.
    mesh.kubectl().try_apply(&mistake.to_string(), &[]).expect_err("the webhook refuses it");
    mesh.kubectl().run(&["run", "injected", "--image=example.invalid/none", "-n", NAMESPACE, "--dry-run=server"]);

    let shipped = dashboards::shipped();
    let asked = shipped.iter().flat_map(|dashboard| dashboards::queries(dashboard, WINDOW));
    let asked: Vec<_> =
        asked.filter(|query| query.elsewhere.as_deref().is_some_and(|it| it.contains("istiod"))).collect();
    assert!(asked.len() > 20, "only {} queries", asked.len());
    for query in asked {
        until(&query.place, PATIENCE, async || {
            prometheus.query(&query.expression).await.into_iter().find(|sample| sample.value.is_finite())
        })
        .await;
        let names = queries::asked(&query.expression).expect("PromQL");
        let mut labels = BTreeSet::new();
        for metric in names.metrics.iter().filter(|metric| !UNSEEN.contains(&metric.as_str())) {
            let (series, _) = until(&format!("{}: {metric}", query.place), PATIENCE, async || {
                Some(prometheus.query(metric).await).filter(|series| !series.is_empty())
            })
            .await;
            labels.extend(series.into_iter().flat_map(|series| series.labels.into_keys()));
        }
        let unknown: Vec<_> = names.labels.difference(&labels).collect();
        assert!(unknown.is_empty(), "{}: no series has the labels {unknown:?}", query.place);
    }
    mesh.restore("rate-limit").await;
}
