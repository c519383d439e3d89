//! What a kubelet would do with a Pod: its status, its volumes, and the injected sidecar with its own arguments and
//! environment. The application's container is a server of this process.
//!
//! All Pods share this machine's network, so each sidecar's own ports are moved to free ones; on a node each Pod has a
//! network of its own and they are 15000, 15020, 15021 and 15090.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use tollgate_tests::client;

use crate::{addresses::free, control_plane::NODE, kubectl::Kubectl, parts, process::Process, wait::until};

const START: Duration = Duration::from_secs(60);

/// A Pod whose sidecar runs.
pub struct Pod {
    app: String,
    namespace: String,
    name: String,
    address: Ipv4Addr,
    agent: Process,
    ports: Ports,
    launch: Launch,
}

/// Where the sidecar's own servers are.
#[derive(Debug, Clone, Copy)]
struct Ports {
    admin: SocketAddr,
    status: SocketAddr,
    envoy_status: SocketAddr,
    prometheus: SocketAddr,
}

struct Launch {
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    directory: PathBuf,
    logs: PathBuf,
}

impl Launch {
    fn start(&self, name: &str) -> Process {
        Process::start_parent(name, &self.logs, &parts::istio("pilot-agent"), |command| {
            command.args(&self.arguments).current_dir(&self.directory).env_clear().envs(&self.environment);
        })
    }
}

impl Pod {
    /// Runs the Pod of a Deployment, which has one, at an address; waits until its proxy is ready.
    pub async fn run(
        kubectl: &Kubectl,
        namespace: &str,
        app: &str,
        address: Ipv4Addr,
        state: &Path,
        logs: &Path,
    ) -> Self {
        let label = format!("app={app}");
        let (pod, _) = until(&format!("{app} has a Pod on the node"), START, async || {
            let pods = kubectl.find(&["pods", "-n", namespace, "-l", &label])?;
            pods["items"].as_array()?.iter().find(|pod| pod["spec"]["nodeName"] == NODE).cloned()
        })
        .await;
        let name = text(&pod, "/metadata/name");
        let pod = report_running(kubectl, namespace, &name, address, &pod);
        let containers = ["containers", "initContainers"].map(|list| pod["spec"][list].as_array().cloned());
        let sidecar = containers.into_iter().flatten().flatten().find(|container| container["name"] == "istio-proxy");
        let sidecar = sidecar.unwrap_or_else(|| panic!("no sidecar was injected into {name}: {pod}"));

        let directory = state.join("pods").join(&name);
        mount(kubectl, &pod, &directory).await;
        let [admin, status, envoy_status, prometheus] = std::array::from_fn(|_| free());
        let ports = Ports { admin, status, envoy_status, prometheus };
        let launch = Launch {
            arguments: arguments(&sidecar, namespace),
            environment: environment(&sidecar, &pod, ports),
            directory,
            logs: logs.to_owned(),
        };
        let agent = launch.start(app);
        let mut this =
            Self { app: app.to_owned(), namespace: namespace.to_owned(), name, address, agent, ports, launch };
        this.until_ready().await;
        this
    }

    async fn until_ready(&mut self) {
        let status = self.ports.status;
        until(&format!("the sidecar of {} is ready", self.name), START, async || {
            self.agent.assert_runs();
            client::get(status, "/healthz/ready").await.ok().filter(|answer| answer.status == 200)
        })
        .await;
    }

    /// Kills the sidecar, agent and Envoy, and starts it again; waits until it is ready.
    pub async fn restart(&mut self) {
        self.agent.end();
        self.agent = self.launch.start(&self.app);
        self.until_ready().await;
    }

    /// The id of agent and Envoy's group, which changes when they are started again.
    pub fn pid(&self) -> u32 {
        self.agent.pid()
    }

    /// # Panics
    /// The sidecar has ended.
    pub fn assert_runs(&mut self) {
        self.agent.assert_runs();
    }

    /// The filters that decide about a plugin's requests: what Envoy got for it, or what stands in for it.
    pub async fn delivered(&self, plugin: &str) -> Vec<Value> {
        let dump = self.admin_json("/config_dump?resource=ecds_filters").await;
        let filters = dump["configs"].as_array().into_iter().flatten().map(|filter| filter["ecds_filter"].clone());
        let wanted = format!("{}.{plugin}", self.namespace);
        // extensions.istio.io/trafficextension/NAMESPACE.NAME~istio-translated-wasmplugin, before Istio 1.30 less of it.
        let is_wanted = |name: &str| name.rsplit('/').next().and_then(|last| last.split('~').next()) == Some(&wanted);
        filters.filter(|filter| filter["name"].as_str().is_some_and(is_wanted)).collect()
    }

    /// Connections that its proxy holds open to a service.
    pub async fn connections_to(&self, host: &str) -> u64 {
        let answer = client::get(self.ports.admin, "/clusters").await.expect("Envoy answers");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let cluster = format!("outbound|80||{host}::");
        let endpoints = text.lines().filter_map(|line| line.strip_prefix(&cluster)?.split_once("::cx_active::"));
        endpoints.map(|(_, open)| open.parse::<u64>().expect("a number")).sum()
    }

    /// The names of the HTTP filters on a port, in their order.
    pub async fn chain(&self, port: u16) -> Vec<String> {
        let manager = self.connection_manager(port).await;
        let filters = manager["http_filters"].as_array().into_iter().flatten();
        filters.filter_map(|filter| filter["name"].as_str().map(str::to_owned)).collect()
    }

    /// That the filters whose names contain these are in that chain, in this order.
    pub async fn assert_order(&self, port: u16, parts: &[&str]) {
        let chain = self.chain(port).await;
        let place = |part: &&str| chain.iter().position(|name| name.contains(part));
        let places: Option<Vec<usize>> = parts.iter().map(place).collect();
        assert!(places.is_some_and(|places| places.is_sorted()), "not in the order of {parts:?}: {chain:?}");
    }

    /// The configuration of the HTTP connection manager on a port.
    pub async fn connection_manager(&self, port: u16) -> Value {
        let dump = self.admin_json("/config_dump?resource=dynamic_listeners").await;
        let listeners = dump["configs"].as_array().cloned().unwrap_or_default();
        let listener = listeners.iter().map(|listener| &listener["active_state"]["listener"]);
        let listener = listener.into_iter().find(|it| it["address"]["socket_address"]["port_value"] == port);
        let chain = &listener.unwrap_or_else(|| panic!("no listener on {port}: {dump}"))["filter_chains"][0];
        let filters = chain["filters"].as_array().into_iter().flatten().map(|filter| &filter["typed_config"]);
        filters.into_iter().find(|filter| filter["http_filters"].is_array()).cloned().unwrap_or_default()
    }

    /// Namespace and name.
    pub fn id(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }

    /// Its address.
    pub const fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Where its proxy listens for a port.
    pub const fn listener(&self, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.address), port)
    }

    /// Envoy's admin server.
    pub const fn admin(&self) -> SocketAddr {
        self.ports.admin
    }

    /// The metrics as Prometheus scrapes them: the agent's merged endpoint.
    pub async fn metrics(&self) -> String {
        let answer = client::get(self.ports.status, "/stats/prometheus").await.expect("the agent serves metrics");
        assert_eq!(answer.status, 200, "{answer:?}");
        String::from_utf8_lossy(&answer.body).into_owned()
    }

    /// What Envoy's admin server says, as JSON.
    pub async fn admin_json(&self, path: &str) -> Value {
        let answer = client::get(self.ports.admin, path).await.expect("Envoy's admin server answers");
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    /// What agent and Envoy have written.
    pub fn log(&self) -> String {
        self.agent.log()
    }
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {value}")).to_owned()
}

/// Writes what a kubelet would about a Pod that runs, and returns the Pod.
fn report_running(kubectl: &Kubectl, namespace: &str, name: &str, address: Ipv4Addr, pod: &Value) -> Value {
    let statuses = |list: &str, of: fn(&Value) -> bool| {
        let containers = pod["spec"][list].as_array().into_iter().flatten().filter(|container| of(container));
        let status = |container: &Value| {
            json!({
                "name": container["name"], "image": container["image"], "imageID": "", "ready": true, "started": true,
                "restartCount": 0, "state": { "running": { "startedAt": pod["metadata"]["creationTimestamp"] } },
            })
        };
        containers.map(status).collect::<Vec<_>>()
    };
    let conditions = ["Initialized", "ContainersReady", "Ready"].map(|kind| json!({ "type": kind, "status": "True" }));
    let status = json!({ "status": {
        "phase": "Running",
        "podIP": address.to_string(),
        "podIPs": [{ "ip": address.to_string() }],
        "hostIP": "127.0.0.1",
        "conditions": conditions,
        "containerStatuses": statuses("containers", |_| true),
        "initContainerStatuses": statuses("initContainers", |container| container["restartPolicy"] == "Always"),
    } });
    let patched = kubectl.run(&[
        "patch",
        "pod",
        name,
        "-n",
        namespace,
        "--subresource=status",
        "--type=strategic",
        "-o",
        "json",
        "-p",
        &status.to_string(),
    ]);
    serde_json::from_str(&patched).expect("JSON")
}

/// The volumes that pilot-agent reads: a token for istiod that is bound to the Pod, the mesh's authority, and what the
/// downward API says.
async fn mount(kubectl: &Kubectl, pod: &Value, directory: &Path) {
    let (namespace, name) = (text(pod, "/metadata/namespace"), text(pod, "/metadata/name"));
    let write = |path: &str, content: &str| {
        let path = directory.join(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("writable");
        std::fs::write(path, content).expect("writable");
    };
    let token = kubectl.run(&[
        "create",
        "token",
        &text(pod, "/spec/serviceAccountName"),
        "-n",
        &namespace,
        "--audience",
        "istio-ca",
        "--duration",
        "12h",
        "--bound-object-kind",
        "Pod",
        "--bound-object-name",
        &name,
        "--bound-object-uid",
        &text(pod, "/metadata/uid"),
    ]);
    write("var/run/secrets/tokens/istio-token", token.trim());
    let (authority, _) = until("the mesh's authority is in the namespace", START, async || {
        let map = kubectl.find(&["configmap", "istio-ca-root-cert", "-n", &namespace])?;
        map["data"]["root-cert.pem"].as_str().map(str::to_owned)
    })
    .await;
    write("var/run/secrets/istio/root-cert.pem", &authority);
    for field in ["labels", "annotations"] {
        let lines: Vec<String> = pod["metadata"][field]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        write(&format!("etc/istio/pod/{field}"), &lines.join("\n"));
    }
    std::fs::create_dir_all(directory.join("etc/istio/proxy")).expect("writable");
}

fn arguments(sidecar: &Value, namespace: &str) -> Vec<String> {
    let arguments = sidecar["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
    arguments
        .map(|argument| match argument.replace("$(POD_NAMESPACE)", namespace) {
            level if level.starts_with("--proxyComponentLogLevel=") => format!("{level},wasm:info"),
            argument => argument,
        })
        .collect()
}

fn environment(sidecar: &Value, pod: &Value, ports: Ports) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
    for variable in sidecar["env"].as_array().into_iter().flatten() {
        let value = match &variable["valueFrom"] {
            Value::Null => variable["value"].as_str().unwrap_or_default().to_owned(),
            from => from_pod(from, sidecar, pod),
        };
        environment.insert(text(variable, "/name"), value);
    }
    let mut proxy: Value = serde_json::from_str(&environment["PROXY_CONFIG"]).expect("JSON");
    proxy["proxyAdminPort"] = json!(ports.admin.port());
    proxy["statusPort"] = json!(ports.status.port());
    environment.insert("PROXY_CONFIG".to_owned(), proxy.to_string());
    environment.insert("ENVOY_STATUS_PORT".to_owned(), ports.envoy_status.port().to_string());
    environment.insert("ENVOY_PROMETHEUS_PORT".to_owned(), ports.prometheus.port().to_string());
    environment
}

/// The downward API.
fn from_pod(from: &Value, sidecar: &Value, pod: &Value) -> String {
    if let Some(path) = from.pointer("/fieldRef/fieldPath").and_then(Value::as_str) {
        return text(pod, &format!("/{}", path.replace('.', "/")));
    }
    let resource = text(from, "/resourceFieldRef/resource");
    let (list, name) = resource.split_once('.').expect("limits.cpu or the like");
    let quantity = text(sidecar, &format!("/resources/{list}/{name}"));
    let number = |digits: &str| digits.parse::<u64>().unwrap_or_else(|_| panic!("{resource}: {quantity}"));
    // CPUs are rounded up to whole ones; memory is bytes.
    if let Some(milli) = quantity.strip_suffix('m') {
        return number(milli).div_ceil(1000).to_string();
    }
    for (suffix, bytes) in [("Ki", 1_u64 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30)] {
        if let Some(digits) = quantity.strip_suffix(suffix) {
            return (number(digits) * bytes).to_string();
        }
    }
    quantity
}
