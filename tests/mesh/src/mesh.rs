//! The whole mesh: the manifests of `istio/overlays/local` as a user applies them, with the modules just built in a
//! registry, three of their workloads with a sidecar each, and Istio's ingress gateway.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use http_body_util::Empty;
use hyper::Request;
use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate_tests::{
    artifacts,
    client::{self, Answer, Connection, Failure},
    registry::{Options, Registry, free_address},
};

use crate::{
    addresses::Addresses,
    application::{Files, Server},
    control_plane::ControlPlane,
    istio::{self, Istiod},
    kubectl::Kubectl,
    node::Pod,
    parts, process,
    wait::until,
};

/// The manifests' namespace.
pub const NAMESPACE: &str = "titanium-prod";
/// The workload that the manifests limit and guard.
pub const SERVER: &str = "load-balancer";
/// A workload that they let in.
pub const FRIEND: &str = "api-gateway";
/// A workload that they do not let in.
pub const STRANGER: &str = "blog-service";
/// The server's name in requests.
pub const HOST: &str = "load-balancer.titanium-prod.svc.cluster.local";
/// The modules, and the WasmPlugins that are named after them.
pub const MODULES: [&str; 3] = ["route-metrics", "mtls-identity", "rate-limit"];
/// The Services' port.
pub const PORT: u16 = 80;

/// The number among Pods' addresses of one that a test adds.
const EXTRA: u8 = 6;

/// A running mesh. Dropped, everything ends, the last started first.
pub struct Mesh {
    /// The workload that is called.
    pub server: Pod,
    /// The one that may call it.
    pub friend: Pod,
    /// The one that may not.
    pub stranger: Pod,
    /// The ingress gateway, through which the manifests let everybody reach the server.
    pub gateway: Pod,
    /// Istio's control plane.
    pub istiod: Istiod,
    /// Kubernetes.
    pub control_plane: ControlPlane,
    /// Where the modules are pulled from; none while a test has it stopped.
    pub registry: Option<Registry>,
    /// Modules over HTTP.
    pub files: Files,
    application: Server,
    addresses: Addresses,
    directory: TempDir,
}

impl Mesh {
    /// Starts it, saying what it does, and waits until a request went through both sidecars and all filters.
    pub async fn start(say: impl Fn(&str)) -> Self {
        let directory = tempfile::tempdir().expect("a directory for temporary files");
        let state = directory.path();
        let logs = state.join("logs");
        std::fs::create_dir(&logs).expect("writable");
        let addresses = Addresses::take();
        let application = Server::echo().await;
        let files = Files::start().await;
        let registry = start_registry(free_address()).await;
        say("Kubernetes: etcd, API server, controllers, scheduler");
        let control_plane = ControlPlane::start(state, &logs, &addresses).await;
        say("Istio: its objects, and istiod");
        let insecure = registry.address().to_string();
        let istiod = Istiod::start(&control_plane, state, &logs, &addresses, &insecure).await;
        say("the modules to a registry, the manifests to the API server");
        let manifests = state.join("istio");
        copy(&artifacts::project().join("istio"), &manifests);
        for module in MODULES {
            push(module, &registry, state, &["--update", &manifests.display().to_string()]);
        }
        let kubectl = control_plane.kubectl();
        let address = |number| addresses.pod(number);
        kubectl.run(&["apply", "-k", &bound(&manifests, "local", address(5))]);
        kubectl.apply(&plumbing(&application, address(2), [(FRIEND, address(3)), (STRANGER, address(4))]));
        say("the sidecars of load-balancer, api-gateway and blog-service");
        let server = Pod::run(kubectl, NAMESPACE, SERVER, address(2), state, &logs).await;
        let friend = Pod::run(kubectl, NAMESPACE, FRIEND, address(3), state, &logs).await;
        let stranger = Pod::run(kubectl, NAMESPACE, STRANGER, address(4), state, &logs).await;
        say("the ingress gateway");
        let gateway = Pod::run(kubectl, istio::NAMESPACE, istio::GATEWAY, address(5), state, &logs).await;
        let mesh = Self {
            server,
            friend,
            stranger,
            gateway,
            istiod,
            control_plane,
            registry: Some(registry),
            files,
            application,
            addresses,
            directory,
        };
        until("a request goes through both sidecars", Duration::from_secs(60), async || {
            let answer = call(&mesh.friend, "/health").await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
        until("a request comes in by the gateway", Duration::from_secs(60), async || {
            let answer = client::get(mesh.gateway.listener(istio::GATEWAY_HTTP), "/health").await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
        mesh
    }

    /// kubectl for the administrator.
    pub const fn kubectl(&self) -> &Kubectl {
        self.control_plane.kubectl()
    }

    /// The manifests that were applied.
    pub fn manifests(&self) -> PathBuf {
        self.directory.path().join("istio")
    }

    /// Applies an overlay of the manifests.
    pub fn apply_overlay(&self, name: &str) {
        self.kubectl().run(&["apply", "-k", &bound(&self.manifests(), name, self.gateway.address())]);
    }

    /// Runs the Pod of a Deployment beside the others, at an address of its own; its application is that of the others.
    /// With it goes what stands in for a network: where it listens, and that its Service has it.
    pub async fn run(&self, namespace: &str, app: &str) -> Pod {
        let address = self.addresses.pod(EXTRA);
        let host = format!("{app}.{namespace}.svc.cluster.local");
        let items = [inbound(namespace, app, address, &self.application), endpoints(namespace, app, &host)];
        self.kubectl().apply(&json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string());
        Pod::run(self.kubectl(), namespace, app, address, self.directory(), &self.logs()).await
    }

    /// Everything that it writes.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Everybody's logs.
    pub fn logs(&self) -> PathBuf {
        self.directory.path().join("logs")
    }

    /// Pushes a module with further arguments; returns its digest.
    pub fn push(&self, module: &str, arguments: &[&str]) -> String {
        push(module, self.registry.as_ref().expect("it runs"), self.directory.path(), arguments)
    }

    /// Changes a WasmPlugin as `kubectl patch --type=merge` does.
    pub fn patch(&self, plugin: &str, spec: &Value) {
        let patch = json!({ "spec": spec }).to_string();
        self.kubectl().run(&["patch", "wasmplugin", plugin, "-n", NAMESPACE, "--type=merge", "-p", &patch]);
    }

    /// Puts a WasmPlugin back to what the manifests say, and the bucket of the server back to full by starting its
    /// sidecar again.
    pub async fn restore(&mut self, plugin: &str) {
        let manifest = self.manifests().join(format!("base/{plugin}.yaml")).display().to_string();
        self.kubectl().run(&["replace", "-f", &manifest]);
        self.server.restart().await;
    }

    /// # Panics
    /// Any part of it has ended.
    pub fn assert_runs(&mut self) {
        self.control_plane.assert_runs();
        self.istiod.assert_runs();
        for pod in [&mut self.server, &mut self.friend, &mut self.stranger, &mut self.gateway] {
            pod.assert_runs();
        }
    }
}

/// A connection to a client's sidecar, as its application would open it.
pub struct Caller(Connection);

impl Caller {
    /// Opens it.
    pub async fn open(client: &Pod) -> Result<Self, Failure> {
        Ok(Self(Connection::open(client.listener(PORT)).await?))
    }

    /// Gets a path of the server.
    pub async fn get(&mut self, path: &str) -> Result<Answer, Failure> {
        self.get_with(path, &[]).await
    }

    /// The same, with headers.
    pub async fn get_with(&mut self, path: &str, headers: &[(&str, &str)]) -> Result<Answer, Failure> {
        let request = Request::get(path).header("host", HOST);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.0.send(request.body(Empty::new())?).await
    }
}

/// Gets a path of the server on a connection of its own.
pub async fn call(client: &Pod, path: &str) -> Result<Answer, Failure> {
    Caller::open(client).await?.get(path).await
}

/// A registry at an address, which ends with this program.
pub async fn start_registry(address: SocketAddr) -> Registry {
    Registry::start(&Options { address: Some(address), through: process::through(), ..Options::default() }).await
}

fn push(module: &str, registry: &Registry, home: &Path, arguments: &[&str]) -> String {
    let reference = format!("{}/{module}:0.1.0", registry.address());
    let output = Command::new(artifacts::tollgate())
        .args(["push", &artifacts::module(module).display().to_string(), &reference, "--plain-http"])
        .args(arguments)
        .env_clear()
        .env("HOME", home)
        .output()
        .expect("tollgate runs");
    assert!(output.status.success(), "tollgate push: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// An overlay whose gateway listens on its Pod's address alone, for there is one network for all Pods: a kustomization
/// beside it.
fn bound(manifests: &Path, overlay: &str, gateway: Ipv4Addr) -> String {
    let directory = manifests.join(format!("overlays/{overlay}-bound"));
    std::fs::create_dir_all(&directory).expect("writable");
    let source = manifests.join("overlays").join(overlay);
    let built = Command::new(parts::kubernetes("kubectl")).arg("kustomize").arg(source).output().expect("kubectl runs");
    assert!(built.status.success(), "kubectl kustomize: {}", String::from_utf8_lossy(&built.stderr));
    let objects: Vec<Value> =
        serde_saphyr::from_multiple(&String::from_utf8_lossy(&built.stdout)).expect("kustomize prints YAML");
    let gateways = objects.iter().filter(|object| object["kind"] == "Gateway");
    let servers = gateways.map(|object| object["spec"]["servers"].as_array().map_or(0, Vec::len)).sum::<usize>();
    let bind: Vec<_> = (0..servers)
        .map(
            |index| json!({ "op": "add", "path": format!("/spec/servers/{index}/bind"), "value": gateway.to_string() }),
        )
        .collect();
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [format!("../{overlay}")],
        "patches": [{ "target": { "kind": "Gateway" }, "patch": json!(bind).to_string() }],
    });
    std::fs::write(directory.join("kustomization.yaml"), kustomization.to_string()).expect("writable");
    directory.display().to_string()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("writable");
    for entry in std::fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// What stands in for a Pod's own network: where each proxy listens, and which Pods a Service has.
fn plumbing(application: &Server, server: Ipv4Addr, clients: [(&str, Ipv4Addr); 2]) -> String {
    let mut items = vec![inbound(NAMESPACE, SERVER, server, application), endpoints(NAMESPACE, SERVER, HOST)];
    for (app, address) in clients {
        let egress = json!({ "egress": [{
            "port": { "number": PORT, "protocol": "HTTP", "name": "http" },
            "bind": address.to_string(),
            "captureMode": "NONE",
            "hosts": ["./*"],
        }] });
        items.push(sidecar(NAMESPACE, app, egress));
    }
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

fn sidecar(namespace: &str, app: &str, mut spec: Value) -> Value {
    spec["workloadSelector"] = json!({ "labels": { "app": app } });
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "Sidecar",
        "metadata": { "name": app, "namespace": namespace },
        "spec": spec,
    })
}

/// A proxy that listens for its application on its Pod's address, and calls nobody.
fn inbound(namespace: &str, app: &str, address: Ipv4Addr, application: &Server) -> Value {
    let spec = json!({
        "ingress": [{
            "port": { "number": 8080, "protocol": "HTTP", "name": "http" },
            "bind": address.to_string(),
            "captureMode": "NONE",
            "defaultEndpoint": application.address().to_string(),
        }],
        "egress": [{ "hosts": ["~/*"] }],
    });
    sidecar(namespace, app, spec)
}

/// The endpoint controller takes no loopback addresses; a ServiceEntry with the Service's own name follows the Pods as
/// well.
fn endpoints(namespace: &str, app: &str, host: &str) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": { "name": app, "namespace": namespace },
        "spec": {
            "hosts": [host],
            "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "ports": [{ "number": PORT, "name": "http", "protocol": "HTTP", "targetPort": 8080 }],
            "workloadSelector": { "labels": { "app": app } },
        },
    })
}
