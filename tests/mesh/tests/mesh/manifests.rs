//! What is applied: taken by everybody who checks, and carried through injection.

use serde_json::{Value, json};
use tollgate_mesh::{
    Mesh,
    istio::{istioctl, try_istioctl},
    mesh::NAMESPACE,
};

/// The API server with strict validation, istiod's webhook, and istioctl, of each overlay that ships. kubectl-validate has
/// them as well, for every version of Istio: `make lint-manifests`.
pub async fn every_checker_takes_the_manifests(mesh: &mut Mesh) {
    let kubectl = mesh.kubectl();
    kubectl.run(&["create", "namespace", "shop"]);
    for overlay in ["local", "gateway", "existing"] {
        let directory = mesh.manifests().join("overlays").join(overlay).display().to_string();
        kubectl.run(&["apply", "-k", &directory, "--dry-run=server", "--validate=strict"]);
        let built = kubectl.run(&["kustomize", &directory]);
        let file = mesh.manifests().join(format!("{overlay}.yaml"));
        std::fs::write(&file, &built).expect("writable");
        let file = file.display().to_string();
        istioctl(kubectl, &["validate", "-f", &file]);
        let analyzed = try_istioctl(
            kubectl,
            &["analyze", "--use-kube=false", "--failure-threshold", "Error", "-o", "json", &file],
        );
        let analyzed = analyzed.unwrap_or_else(|said| panic!("istioctl analyze of {overlay}: {said}"));
        assert!(!analyzed.contains("\"level\": \"Error\""), "{overlay}: {analyzed}");
    }
    let analyzed = try_istioctl(kubectl, &["analyze", "-n", NAMESPACE, "--failure-threshold", "Error", "-o", "json"]);
    let analyzed = analyzed.unwrap_or_else(|said| panic!("istioctl analyze: {said}"));
    assert!(!analyzed.contains("\"level\": \"Error\""), "{analyzed}");
    kubectl.run(&["delete", "namespace", "shop"]);
}

/// The same checkers do refuse: each a mistake that it is there for.
pub async fn a_mistake_is_refused_before_it_is_stored(mesh: &mut Mesh) {
    let plugin = |spec: Value| {
        json!({
            "apiVersion": "extensions.istio.io/v1alpha1",
            "kind": "WasmPlugin",
            "metadata": { "name": "mistaken", "namespace": NAMESPACE },
            "spec": spec,
        })
    };
    let mistakes = [
        (plugin(json!({ "url": "oci://a/b:1", "prioritee": 3 })), "unknown field \"spec.prioritee\""),
        (plugin(json!({ "url": "oci://a/b:1", "phase": "AUTHX" })), "Unsupported value"),
        (plugin(json!({ "url": "oci://a/b:1", "sha256": "abc" })), "should match"),
        (plugin(json!({ "url": "ftp://a/b" })), "url must have schema"),
        (
            json!({
                "apiVersion": "networking.istio.io/v1",
                "kind": "VirtualService",
                "metadata": { "name": "mistaken", "namespace": NAMESPACE },
                "spec": { "hosts": ["a"], "http": [{ "route": [{ "destination": { "host": "b c" } }] }] },
            }),
            "admission webhook \"validation.istio.io\" denied",
        ),
    ];
    for (mistake, reason) in mistakes {
        let said = mesh.kubectl().try_apply(&mistake.to_string(), &["--dry-run=server"]).expect_err(reason);
        assert!(said.contains(reason), "{said}");
    }
}

/// A native sidecar is an init container to Kubernetes.
fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["containers", "initContainers"].into_iter().flat_map(|list| pod["spec"][list].as_array().into_iter().flatten())
}

/// What `istio/components/sidecar` asks for is in the Pod that istiod's webhook made.
pub async fn injection_carries_limits_and_stats_tags_into_the_sidecar(mesh: &mut Mesh) {
    let (namespace, name) = mesh.server.id();
    let pod = mesh.kubectl().get(&["pod", name, "-n", namespace]);
    let sidecar = containers(&pod).find(|container| container["name"] == "istio-proxy").expect("an injected sidecar");
    assert_eq!(sidecar["resources"]["limits"], json!({ "cpu": "200m", "memory": "256Mi" }));
    let environment = sidecar["env"].as_array().expect("variables");
    let proxy = environment.iter().find(|variable| variable["name"] == "PROXY_CONFIG").expect("a configuration");
    let proxy: Value = serde_json::from_str(proxy["value"].as_str().expect("text")).expect("JSON");
    let asked: Vec<&str> = proxy["extraStatTags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let dump = mesh.server.admin_json("/config_dump?resource=&mask=").await;
    let bootstrap = dump["configs"].as_array().into_iter().flatten().find(|it| it["bootstrap"].is_object());
    let tags = bootstrap.expect("a bootstrap")["bootstrap"]["stats_config"]["stats_tags"].to_string();
    for tag in ["rule", "decision", "route", "source_workload", "destination_service", "config_hash"] {
        assert!(asked.contains(&tag), "{tag}: {asked:?}");
        assert!(tags.contains(&format!("\"tag_name\":\"{tag}\"")), "{tag}: {tags}");
    }
    // What the shipped monitors select by.
    for proxy in [&mesh.server, &mesh.gateway] {
        let (namespace, name) = proxy.id();
        let pod = mesh.kubectl().get(&["pod", name, "-n", namespace]);
        let labels = &pod["metadata"]["labels"];
        assert!(labels["service.istio.io/canonical-name"].is_string(), "{name}: {labels}");
        let port = json!({ "containerPort": 15090, "name": "http-envoy-prom", "protocol": "TCP" });
        let mut ports =
            containers(&pod).flat_map(|container| container["ports"].as_array().cloned().unwrap_or_default());
        assert!(ports.any(|it| it == port), "{name}: {pod}");
    }
    let istiod = mesh.kubectl().get(&["service", "istiod", "-n", "istio-system"]);
    assert_eq!(istiod["metadata"]["labels"]["istio"], "pilot");
    let mut ports = istiod["spec"]["ports"].as_array().into_iter().flatten();
    assert!(ports.any(|port| port["name"] == "http-monitoring"), "{istiod}");
    // What TollgateCertificateExpiring goes by.
    let metrics = mesh.server.metrics().await;
    let left = metrics.lines().find(|line| {
        line.starts_with("istio_agent_cert_expiry_seconds{") && line.contains("resource_name=\"default\"")
    });
    let left: Option<f64> = left.and_then(|line| line.rsplit_once(' ')?.1.parse().ok());
    assert!(left.is_some_and(|seconds| seconds > 3600.0), "{metrics}");
}
