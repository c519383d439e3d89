//! The simulated mesh: which proxies there would be, and what each would do, decided as Istio decides it.

pub mod gateway;
pub mod modules;
pub mod plugins;
pub mod security;
pub mod workload;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use crate::problem::{Notices, Problem, Problems};
use crate::resources::security::Mode;
use crate::resources::wasm_plugin::PluginType;
use crate::resources::{ROOT_NAMESPACE, Resources};
use gateway::GatewayListener;
use plugins::{Plugin, Side};
use workload::{Port, ServiceAccount, Workload};

/// What the user says beside the resources.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Service to `host:port`.
    pub upstreams: BTreeMap<String, String>,
    /// Where modules are that are not named by `file://`.
    pub modules: PathBuf,
}

/// All proxies of the mesh.
#[derive(Debug, Clone)]
pub struct Mesh {
    /// The gateways' listeners.
    pub gateways: Vec<GatewayListener>,
    /// The sidecars' inbound listeners.
    pub inbound: Vec<Inbound>,
    /// Everybody who gets a certificate.
    pub identities: BTreeSet<ServiceAccount>,
    /// `extraStatTags` of all workloads.
    pub stat_tags: BTreeSet<String>,
    /// `sidecar.istio.io/statsHistogramBuckets` of all workloads, by prefix.
    pub histogram_buckets: BTreeMap<String, Vec<f64>>,
}

/// One port of one workload, with what stands before it.
#[derive(Debug, Clone)]
pub struct Inbound {
    /// Whose.
    pub workload: Workload,
    /// Which port.
    pub port: Port,
    /// What it demands of callers.
    pub mode: Mode,
    /// Its HTTP filters, in order.
    pub plugins: Vec<Arc<Plugin>>,
    /// The application, if the user gave one.
    pub upstream: Option<String>,
}

impl Inbound {
    /// `namespace/name:port`, which stays the same from one version of the mesh to the next.
    pub fn key(&self) -> String {
        format!("{}:{}", self.workload.id(), self.port.target)
    }
}

impl Mesh {
    /// Builds the mesh; finds everything that is wrong before giving up.
    pub fn build(resources: &Resources, options: &Options, notices: &mut Notices) -> Result<Self, Problems> {
        let mut problems = plugins::validate(&resources.wasm_plugins, notices);
        let placed = plugins::resolve(&resources.wasm_plugins, &options.modules, notices).unwrap_or_else(|found| {
            problems.extend(found);
            Vec::new()
        });
        for plugin in resources.wasm_plugins.iter().filter(|plugin| !plugins::is_ours(&plugin.spec)) {
            notices.note(format!(
                "{}: not one of Tollgate's filters, so only the module itself can tell whether its pluginConfig is right",
                plugin.origin
            ));
        }
        security::check(&resources.peer_authentications, notices);
        let names: Vec<String> = options.upstreams.keys().cloned().collect();
        let workloads = workload::discover(resources, &names, notices);
        let mut inbound = Vec::new();
        for workload in &workloads {
            let mut targets = BTreeSet::new();
            for port in workload.http_ports().filter(|port| targets.insert(port.target)) {
                inbound.push(Inbound {
                    mode: security::inbound_mode(&resources.peer_authentications, workload, port.target),
                    plugins: plugins::chain(&placed, &workload.namespace, &workload.labels, Side::Inbound(port.target)),
                    upstream: upstream_of(workload, &options.upstreams),
                    workload: workload.clone(),
                    port: port.clone(),
                });
            }
        }
        problems.extend(unused_upstreams(&options.upstreams, &inbound));
        let gateways = gateway::listeners(resources, &placed, &inbound, notices);
        if inbound.is_empty() && gateways.is_empty() && problems.is_empty() {
            problems.push(Problem::new("there is no workload with an HTTP port and no Gateway in what was read").cure(
                "add the Services, a DestinationRule or VirtualService that names one, or --upstream NAME=HOST:PORT",
            ));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        for plugin in resources.wasm_plugins.iter().filter(|plugin| plugin.spec.plugin_type != PluginType::Network) {
            let id = plugin.meta.id();
            let chains = inbound.iter().map(|i| &i.plugins).chain(gateways.iter().map(|g| &g.plugins));
            if !chains.flatten().any(|used| used.id() == id) {
                notices.warn_at(
                    &plugin.origin,
                    "",
                    "applies to no workload here: see its namespace, selector and match",
                );
            }
        }
        let (stat_tags, histogram_buckets) = stats(&workloads, notices);
        let identities = identities(resources, &workloads, &gateways);
        Ok(Self { gateways, inbound, identities, stat_tags, histogram_buckets })
    }

    /// Keys of all listeners, in the order in which they get addresses: gateways first.
    pub fn listener_keys(&self) -> Vec<String> {
        let gateways = self.gateways.iter().map(GatewayListener::key);
        gateways.chain(self.inbound.iter().map(Inbound::key)).collect()
    }
}

fn upstream_of(workload: &Workload, upstreams: &BTreeMap<String, String>) -> Option<String> {
    let given = upstreams.iter().find(|(host, _)| names(host, workload));
    given.map(|(_, address)| address.clone())
}

fn names(host: &str, workload: &Workload) -> bool {
    workload::upstream_service(host, &workload.namespace) == (workload.namespace.clone(), workload.name.clone())
}

fn unused_upstreams(upstreams: &BTreeMap<String, String>, inbound: &[Inbound]) -> Problems {
    let unused = upstreams.keys().filter(|host| !inbound.iter().any(|inbound| names(host, &inbound.workload)));
    unused
        .map(|host| Problem::new(format!("--upstream {host}: there is no workload {host} with an HTTP port")))
        .collect()
}

fn identities(resources: &Resources, workloads: &[Workload], gateways: &[GatewayListener]) -> BTreeSet<ServiceAccount> {
    let mut identities: BTreeSet<ServiceAccount> = workloads.iter().map(Workload::identity).collect();
    identities.extend(gateways.iter().map(|gateway| gateway.identity.clone()));
    for account in &resources.service_accounts {
        identities.insert(ServiceAccount::new(account.namespace(), &account.name));
    }
    // Callers that have no Service of their own: one that the rules may know, and one that they don't.
    let namespaces: BTreeSet<&str> = workloads.iter().map(|workload| workload.namespace.as_str()).collect();
    for namespace in namespaces {
        identities.insert(ServiceAccount::new(namespace, "load-generator"));
    }
    identities.insert(stranger());
    identities
}

/// Somebody with a valid certificate of the mesh whom no rule should know.
pub fn stranger() -> ServiceAccount {
    ServiceAccount::new("default", "stranger")
}

/// The identity of a gateway that no Deployment declares.
pub fn default_gateway_identity() -> ServiceAccount {
    ServiceAccount::new(ROOT_NAMESPACE, "istio-ingressgateway-service-account")
}

/// What the workloads' annotations ask of the statistics. A sidecar has its own; here all of them share one Envoy.
fn stats(workloads: &[Workload], notices: &mut Notices) -> (BTreeSet<String>, BTreeMap<String, Vec<f64>>) {
    let mut tags = BTreeSet::new();
    let mut buckets = BTreeMap::new();
    for workload in workloads {
        let annotation = |name: &str| workload.annotations.get(name);
        if let Some(text) = annotation("proxy.istio.io/config") {
            match serde_saphyr::from_str::<ProxyConfig>(text) {
                Ok(config) => tags.extend(config.extra_stat_tags),
                Err(error) => {
                    notices.warn(format!("{}: annotation proxy.istio.io/config can't be read: {error}", workload.id()));
                }
            }
        }
        if let Some(text) = annotation("sidecar.istio.io/statsHistogramBuckets") {
            match serde_json::from_str::<BTreeMap<String, Vec<f64>>>(text) {
                Ok(found) => buckets.extend(found),
                Err(error) => notices.warn(format!(
                    "{}: annotation sidecar.istio.io/statsHistogramBuckets can't be read: {error}",
                    workload.id()
                )),
            }
        }
    }
    tags.retain(|tag| {
        let valid = !tag.is_empty() && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !valid {
            notices.warn(format!("extraStatTags: {tag:?} is no label name that Prometheus takes, and left out"));
        }
        valid
    });
    if tags.is_empty() {
        notices.warn(
            "no workload has extraStatTags, so Prometheus shows labels as parts of mangled metric names. To mend it: \
             the annotation `proxy.istio.io/config: {\"extraStatTags\": [\"route\", ...]}` on the pod templates",
        );
    }
    (tags, buckets)
}

/// The part of the annotation `proxy.istio.io/config` that is carried out.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ProxyConfig {
    extra_stat_tags: Vec<String>,
}
