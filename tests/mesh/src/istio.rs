//! Istio: its objects as `istioctl` makes them, and istiod, which listens on its own Service's address.

use std::{net::Ipv4Addr, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};
use tollgate_tests::{artifacts, client, telemetry};

use crate::{
    addresses::{Addresses, free},
    control_plane::ControlPlane,
    kubectl::Kubectl,
    parts,
    process::Process,
    wait::until,
};

/// Istio's namespace.
pub const NAMESPACE: &str = "istio-system";
/// The ingress gateway, as the default profile has it.
pub const GATEWAY: &str = "istio-ingressgateway";
/// Its Service's target port for plaintext.
pub const GATEWAY_HTTP: u16 = 8080;
/// Its Service's target port for TLS.
pub const GATEWAY_HTTPS: u16 = 8443;
const START: Duration = Duration::from_secs(60);

/// A running istiod.
pub struct Istiod {
    process: Process,
    start: Box<dyn Fn() -> Process + Send + Sync>,
    ready: std::net::SocketAddr,
    monitoring: std::net::SocketAddr,
}

/// Number of istiod's Service among the addresses.
const SERVICE: u8 = 10;

/// What every proxy is told.
fn operator(istiod: Ipv4Addr, insecure_registries: &str) -> Value {
    json!({
        "apiVersion": "install.istio.io/v1alpha1",
        "kind": "IstioOperator",
        "spec": {
            "profile": "default",
            "meshConfig": {
                "trustDomain": "cluster.local",
                // A stock Envoy has none of Istio's own extensions.
                "defaultProviders": { "metrics": [] },
                "extensionProviders": telemetry::providers(),
                "defaultConfig": {
                    "discoveryAddress": format!("{istiod}:15012"),
                    "binaryPath": parts::envoy(),
                    "proxyBootstrapTemplatePath": parts::bootstrap_template(),
                    // Nothing here may redirect traffic: Sidecar resources say where proxies listen.
                    "interceptionMode": "NONE",
                    "concurrency": 2,
                    "proxyMetadata": {
                        "ISTIOD_SAN": "istiod.istio-system.svc",
                        "CLOUD_PLATFORM": "none",
                        "PEER_METADATA_DISCOVERY": "false",
                        "WASM_INSECURE_REGISTRIES": insecure_registries,
                        "GRPC_XDS_BOOTSTRAP": "",
                    },
                },
            },
            "values": {
                "global": { "caAddress": format!("{istiod}:15012") },
                // As it is with Istio's chart `gateway`: its Pod comes out of the webhook, with what sidecars are told.
                "gateways": { GATEWAY: { "injectionTemplate": "gateway", "podAnnotations": sidecar_annotations() } },
            },
        },
    })
}

/// What `istio/components/sidecar` annotates Pods with.
fn sidecar_annotations() -> Value {
    let mut annotations = serde_json::Map::new();
    for component in ["stats-tags", "sidecar"] {
        let file = artifacts::project().join("istio/components").join(component).join("pod-template.yaml");
        let text = std::fs::read_to_string(file).expect("readable");
        let template: Value = serde_saphyr::from_str(&text).expect("YAML");
        annotations
            .extend(template["spec"]["template"]["metadata"]["annotations"].as_object().expect("an object").clone());
    }
    Value::Object(annotations)
}

impl Istiod {
    /// Applies Istio's objects, starts istiod and waits until its webhooks are in force.
    pub async fn start(
        control_plane: &ControlPlane,
        state: &Path,
        logs: &Path,
        addresses: &Addresses,
        insecure: &str,
    ) -> Self {
        let kubectl = control_plane.kubectl();
        let address = addresses.service(SERVICE);
        let operator_file = state.join("istio-operator.json");
        std::fs::write(&operator_file, operator(address, insecure).to_string()).expect("writable");
        let gateway = install(
            kubectl,
            &istioctl(kubectl, &["manifest", "generate", "-f", &operator_file.display().to_string()]),
            address,
        );

        let token = kubectl.run(&["create", "token", "istiod", "-n", NAMESPACE, "--duration", "24h"]);
        let kubeconfig = control_plane.pki().kubeconfig_with_token("istiod", &control_plane.url(), token.trim());
        let (ready, monitoring) = (free(), std::net::SocketAddr::from((address, 15014)));
        let (home, logs) = (state.join("istiod"), logs.to_owned());
        std::fs::create_dir_all(&home).expect("writable");
        let start = move || {
            Process::start("istiod", &logs, &parts::istio("pilot-discovery"), |command| {
                command
                    .args(["discovery", "--registries=Kubernetes", "--domain=cluster.local"])
                    .arg(format!("--kubeconfig={}", kubeconfig.display()))
                    .args([format!("--httpAddr={ready}"), format!("--httpsAddr={address}:443")])
                    .args([format!("--grpcAddr={address}:15010"), format!("--secureGRPCAddr={address}:15012")])
                    .arg(format!("--monitoringAddr={monitoring}"))
                    .current_dir(&home)
                    .env_clear()
                    .env("HOME", &home)
                    .envs([("POD_NAME", "istiod-0"), ("POD_NAMESPACE", NAMESPACE), ("SERVICE_ACCOUNT", "istiod")])
                    .envs([("REVISION", "default"), ("CLUSTER_ID", "Kubernetes"), ("PILOT_CERT_PROVIDER", "istiod")])
                    .envs([("PILOT_ENABLE_METADATA_EXCHANGE", "false"), ("PILOT_ENABLE_ALPN_FILTER", "false")]);
            })
        };
        let mut istiod = Self { process: start(), start: Box::new(start), ready, monitoring };
        istiod.until_ready().await;
        // Of a default installation only objects of a revision are validated; users have this one too.
        istioctl(kubectl, &["tag", "set", "default", "--revision", "default", "--overwrite"]);
        let (_, _) = until("istiod's webhooks are in force", START, async || {
            istiod.process.assert_runs();
            let hooks = kubectl.find(&["validatingwebhookconfigurations,mutatingwebhookconfigurations"])?;
            let hooks: Vec<&Value> =
                hooks["items"].as_array()?.iter().flat_map(|hook| hook["webhooks"].as_array()).flatten().collect();
            let in_force =
                |hook: &&Value| hook["failurePolicy"] == "Fail" && hook["clientConfig"]["caBundle"].is_string();
            (!hooks.is_empty() && hooks.iter().all(in_force)).then_some(())
        })
        .await;
        kubectl.apply(&gateway.to_string());
        istiod
    }

    /// Where its metrics are, at `/metrics`.
    pub const fn monitoring(&self) -> std::net::SocketAddr {
        self.monitoring
    }

    async fn until_ready(&mut self) {
        let ready = self.ready;
        until("istiod is ready", START, async || {
            self.process.assert_runs();
            client::get(ready, "/ready").await.ok().filter(|answer| answer.status == 200)
        })
        .await;
    }

    /// Its own metrics, as the shipped ServiceMonitor has them scraped.
    pub async fn metrics(&self) -> String {
        let answer = client::get(self.monitoring, "/metrics").await.expect("istiod serves metrics");
        String::from_utf8_lossy(&answer.body).into_owned()
    }

    /// # Panics
    /// It has ended.
    pub fn assert_runs(&mut self) {
        self.process.assert_runs();
    }

    /// Kills it, calls `meanwhile`, starts it again and waits until it is ready.
    pub async fn without<T>(&mut self, meanwhile: impl AsyncFnOnce() -> T) -> T {
        self.process.end();
        let result = meanwhile().await;
        self.process = (self.start)();
        self.until_ready().await;
        result
    }
}

/// What istioctl prints.
///
/// # Panics
/// It fails: with what it says.
pub fn istioctl(kubectl: &Kubectl, arguments: &[&str]) -> String {
    try_istioctl(kubectl, arguments).unwrap_or_else(|said| panic!("istioctl {}: {said}", arguments.join(" ")))
}

/// What istioctl prints, or what it says is wrong.
pub fn try_istioctl(kubectl: &Kubectl, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(parts::istio("istioctl"))
        .arg("--kubeconfig")
        .arg(kubectl.kubeconfig())
        .args(arguments)
        .env_clear()
        .env("HOME", kubectl.kubeconfig().parent().expect("a directory"))
        .output()
        .expect("istioctl runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stdout) + &text(&output.stderr)) }
}

/// Istio's objects: the CRDs first, and istiod's Service at an address that is known before. Returned is the gateway's
/// Deployment, whose Pod can't be made before there is a webhook.
fn install(kubectl: &Kubectl, manifests: &str, istiod: Ipv4Addr) -> Value {
    let objects: Vec<Value> = serde_saphyr::from_multiple(manifests).expect("istioctl prints YAML");
    let (crds, mut others): (Vec<Value>, Vec<Value>) =
        objects.into_iter().filter(Value::is_object).partition(|object| object["kind"] == "CustomResourceDefinition");
    for object in &mut others {
        if object["kind"] == "Service" && object["metadata"]["name"] == "istiod" {
            object["spec"]["clusterIP"] = json!(istiod.to_string());
        }
    }
    let is_gateway = |object: &Value| object["kind"] == "Deployment" && object["metadata"]["name"] == GATEWAY;
    let gateway = others.iter().position(is_gateway).expect("the profile has a gateway");
    let gateway = others.swap_remove(gateway);
    kubectl.run(&["create", "namespace", NAMESPACE]);
    let apply = |objects: &[Value]| {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string();
        kubectl.try_apply(&list, &["--server-side"]).expect("Istio's own objects are taken");
    };
    apply(&crds);
    kubectl.run(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]);
    apply(&others);
    gateway
}
