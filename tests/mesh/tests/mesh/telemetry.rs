//! The access log, the traces and the metrics' labels of `istio/monitoring`, as istiod brings them to a proxy.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate_mesh::{
    Mesh,
    istio::{NAMESPACE as ISTIO, istioctl},
    mesh::{HOST, NAMESPACE, SERVER, call},
    wait::until,
};
use tollgate_tests::telemetry;

const PATIENCE: Duration = Duration::from_secs(20);
const COLLECTOR: &str = "jaeger-collector";

/// Taken by everybody who checks, in force as `tollgate_tests::telemetry` has it for an Envoy alone, and gone when deleted.
pub async fn istiod_makes_of_the_telemetry_what_the_tests_of_logs_and_traces_take_for_granted(mesh: &mut Mesh) {
    let kubectl = mesh.kubectl();
    let directory = |name: &str| mesh.manifests().join("monitoring").join(name).display().to_string();
    for kustomization in ["telemetry", "telemetry-before-1.29"] {
        kubectl.run(&["apply", "-k", &directory(kustomization), "--dry-run=server", "--validate=strict"]);
    }
    let built = kubectl.run(&["kustomize", &directory("telemetry")]);
    let file = mesh.manifests().join("telemetry.yaml");
    std::fs::write(&file, &built).expect("writable");
    istioctl(kubectl, &["validate", "-f", &file.display().to_string()]);
    let shipped = telemetry::among(&built);

    let original = mesh.server.connection_manager(8080).await;
    let before = kubectl.get(&["sidecar", SERVER, "-n", NAMESPACE]);
    kubectl.apply(&collector().to_string());
    // A Sidecar resource that says what a workload may call has to name the collector among it: else the proxy takes the
    // tracing, and has no cluster to send spans to.
    let egress = json!({ "spec": { "egress": [{
        "port": { "number": 4317, "protocol": "GRPC", "name": "grpc-otel" },
        "bind": mesh.server.address().to_string(),
        "captureMode": "NONE",
        "hosts": [format!("{ISTIO}/{COLLECTOR}.{ISTIO}.svc.cluster.local")],
    }] } });
    kubectl.run(&["patch", "sidecar", SERVER, "-n", NAMESPACE, "--type=merge", "-p", &egress.to_string()]);
    kubectl.run(&["apply", "-k", &directory("telemetry")]);

    let (manager, _) = until("log and traces are in force", PATIENCE, async || {
        let manager = mesh.server.connection_manager(8080).await;
        (manager["tracing"]["provider"].is_object() && !logs(&manager).is_empty()).then_some(manager)
    })
    .await;
    let expected = telemetry::access_log(&shipped, "/dev/stdout");
    let [log] = &logs(&manager)[..] else { panic!("{manager}") };
    assert_eq!(log["typed_config"], expected["typed_config"]);
    let cluster = format!("outbound|4317||{COLLECTOR}.{ISTIO}.svc.cluster.local");
    let dump = mesh.server.admin_json("/config_dump?resource=dynamic_active_clusters").await;
    let mut clusters = dump["configs"].as_array().into_iter().flatten().map(|it| &it["cluster"]["name"]);
    assert!(clusters.any(|name| *name == cluster), "{dump}");
    let expected = telemetry::tracing(&shipped, "", &cluster);
    let (provider, wanted) = (&manager["tracing"]["provider"], &expected["provider"]);
    assert_eq!(provider["name"], wanted["name"]);
    assert_eq!(provider["typed_config"]["@type"], wanted["typed_config"]["@type"]);
    assert_eq!(provider["typed_config"]["grpc_service"], wanted["typed_config"]["grpc_service"]);
    let share = |tracing: &Value| tracing["random_sampling"]["value"].as_f64();
    assert_eq!(share(&manager["tracing"]), share(&expected));
    let tags = manager["tracing"]["custom_tags"].as_array().cloned().unwrap_or_default();
    for tag in telemetry::custom_tags(&shipped) {
        assert!(tags.contains(&tag), "{tag}: {tags:?}");
    }

    assert_eq!(call(&mesh.stranger, "/posts/7?token=secret").await.expect("an answer").status, 403);
    let (line, _) = until("the denial is in the sidecar's log", PATIENCE, async || {
        let log = mesh.server.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.into_iter().find(|line| line["decision"] == "tollgate_identity_denied:not_allowed")
    })
    .await;
    for (field, value) in [
        ("method", "GET"),
        ("path", "/posts/7"),
        ("route", "post"),
        ("direction", "inbound"),
        ("destination_service", HOST),
        ("source_principal", "spiffe://cluster.local/ns/titanium-prod/sa/blog-service"),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
    // The filters' own lines are what Promtail's stages take them for.
    let said = mesh.server.log();
    let said =
        said.lines().find(|line| line.contains("event=denied filter=mtls_identity")).expect("a line of the filter");
    assert!(said.contains("wasm log titanium-prod.mtls-identity") && said.contains("\tthread="), "{said}");

    kubectl.run(&["delete", "-k", &directory("telemetry")]);
    let spec = json!([{ "op": "replace", "path": "/spec", "value": before["spec"] }]).to_string();
    kubectl.run(&["patch", "sidecar", SERVER, "-n", NAMESPACE, "--type=json", "-p", &spec]);
    kubectl.run(&["delete", "service", COLLECTOR, "-n", ISTIO]);
    until("log and traces are gone", PATIENCE, async || {
        let manager = mesh.server.connection_manager(8080).await;
        (manager["tracing"] == original["tracing"] && logs(&manager) == logs(&original)).then_some(())
    })
    .await;
}

fn logs(manager: &Value) -> Vec<Value> {
    manager["access_log"].as_array().cloned().unwrap_or_default()
}

/// The Service that the provider names.
fn collector() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": COLLECTOR, "namespace": ISTIO },
        "spec": { "ports": [{ "name": "grpc-otel", "port": 4317 }] },
    })
}
