//! `istio/components/tollgate`: one line in somebody's own kustomization, and what is patched beside it afterwards.

use std::time::Duration;

use serde_json::json;
use tollgate_mesh::{Mesh, istio::GATEWAY_HTTP, wait::until};
use tollgate_tests::client::Connection;

use crate::{doctor, request::value};

const PATIENCE: Duration = Duration::from_secs(30);
const NAMESPACE: &str = "shop";
const APP: &str = "catalogue";
/// By which a VirtualService tells the gateway whom a request is for.
const HOST: &str = "shop.example";
/// The patch of docs/operations.md, which is looked for there.
const ENFORCED: &str = r"patches:
- target: {kind: WasmPlugin, name: rate-limit}
  patch: |
    - op: replace
      path: /spec/pluginConfig/rules
      value: [{name: default, limits: [{requests: 600, per: 1m}]}]
- target: {kind: WasmPlugin, name: mtls-identity}
  patch: |
    - {op: replace, path: /spec/failStrategy, value: FAIL_CLOSE}
    - op: replace
      path: /spec/pluginConfig
      value: {rules: [{name: callers, allow: [{namespaces: [shop, web]}]}]}
";

/// Nobody is turned away by the line alone, and everything is counted, with labels; with the patches it is enforced.
pub async fn one_line_adds_all_filters_in_shadow_and_a_patch_enforces_them(mesh: &mut Mesh) {
    let overlay = mesh.manifests().join("overlays/existing").display().to_string();
    mesh.kubectl().run(&["apply", "-k", &overlay]);
    let route = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": { "name": APP, "namespace": NAMESPACE },
        "spec": {
            "hosts": [HOST],
            "gateways": ["titanium-prod/titanium-gateway"],
            "http": [{ "route": [{ "destination": { "host": format!("{APP}.{NAMESPACE}.svc.cluster.local") } }] }],
        },
    });
    mesh.kubectl().apply(&route.to_string());
    let mut pod = mesh.run(NAMESPACE, APP).await;

    let gateway = mesh.gateway.listener(GATEWAY_HTTP);
    let ask = async || {
        let request = hyper::Request::get("/anything").header("host", HOST).body(http_body_util::Empty::new())?;
        Connection::open(gateway).await?.send(request).await
    };
    until("requests come to the application and are counted", PATIENCE, async || {
        let answer = ask().await.ok()?;
        let labels = [("rule", "default"), ("decision", "allowed")];
        let counted = value(&pod.metrics().await, "tollgate_rate_limit_total", &labels)?;
        (answer.status == 200 && counted > 0).then_some(())
    })
    .await;
    for _ in 0..150 {
        assert_eq!(ask().await.expect("an answer").status, 200, "it is only tried");
    }
    let metrics = pod.metrics().await;
    let ours = metrics.lines().filter(|line| line.starts_with("tollgate_") && line.contains("_total{"));
    let ours = ours.collect::<Vec<_>>().join("\n");
    let of = |name: &str, labels: &[(&str, &str)]| value(&metrics, name, labels).unwrap_or(0);
    assert!(of("tollgate_rate_limit_total", &[("rule", "default"), ("decision", "shadow_limited")]) > 40, "{ours}");
    // The gateway has an identity of this mesh, so nothing would be denied.
    assert!(of("tollgate_identity_total", &[("rule", "__default__"), ("decision", "allowed")]) >= 150, "{ours}");
    let labels = [
        ("route", "default"),
        ("response_code", "200"),
        ("source_workload", "istio-ingressgateway-service-account"),
        ("destination_service", "catalogue.shop.svc.cluster.local"),
        ("direction", "inbound"),
    ];
    assert!(of("tollgate_requests_total", &labels) >= 150, "{ours}");
    doctor::says_that_it_is_only_tried(mesh, &pod, NAMESPACE).await;

    let documentation = tollgate_tests::artifacts::project().join("docs/operations.md");
    let documentation = std::fs::read_to_string(documentation).expect("readable");
    assert!(documentation.contains(ENFORCED), "docs/operations.md has these patches");
    let enforced = mesh.manifests().join("overlays/enforced");
    std::fs::create_dir_all(&enforced).expect("writable");
    let kustomization = format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../existing]\n{ENFORCED}"
    );
    std::fs::write(enforced.join("kustomization.yaml"), kustomization).expect("writable");
    mesh.kubectl().run(&["apply", "-k", &enforced.display().to_string()]);
    // The gateway is of neither namespace.
    until("the gateway is turned away", PATIENCE, async || (ask().await.ok()?.status == 403).then_some(())).await;
    let denied = [("rule", "callers"), ("decision", "denied"), ("reason", "not_allowed")];
    assert!(value(&pod.metrics().await, "tollgate_identity_total", &denied) >= Some(1));

    pod.assert_runs();
    drop(pod);
    let kubectl = mesh.kubectl();
    kubectl.run(&["delete", "virtualservice,serviceentry,sidecar,wasmplugin,deployment", "--all", "-n", NAMESPACE]);
    // What a kubelet would do once the containers have ended.
    kubectl.run(&["delete", "pods", "--all", "-n", NAMESPACE, "--force", "--grace-period=0"]);
    kubectl.run(&["delete", "namespace", NAMESPACE]);
}
