//! The mesh as configuration for one Envoy.

pub mod bootstrap;
pub mod extensions;
mod listeners;
mod outbound;
mod routes;
mod tls;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::certificates::Certificates;
use crate::mesh::Mesh;
use crate::problem::{Notices, Problems};

/// How filters reach Envoy.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// Inside the listeners.
    Inline,
    /// Each as a file below a directory that Envoy watches, as Istio delivers them (ECDS); modules by their sums, so
    /// that a rebuilt module is a new one.
    Files {
        /// The directory that Envoy watches.
        xds: PathBuf,
        /// Where the modules are copied to.
        modules: PathBuf,
    },
}

/// What the configuration is made with, beside the mesh.
pub struct Settings<'a> {
    /// Where each listener listens, by its key.
    pub addresses: &'a BTreeMap<String, SocketAddr>,
    /// Where each workload's application is, by the key of its listener.
    pub upstreams: &'a BTreeMap<String, String>,
    /// Everybody's certificates.
    pub certificates: &'a Certificates,
    /// How filters reach Envoy.
    pub delivery: Delivery,
    /// Whether requests are logged to standard output.
    pub access_log: bool,
}

/// Everything that can change while Envoy runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Configuration {
    /// `envoy.config.listener.v3.Listener`s by name.
    pub listeners: BTreeMap<String, Value>,
    /// `envoy.config.cluster.v3.Cluster`s by name.
    pub clusters: BTreeMap<String, Value>,
    /// HTTP filters that are delivered by themselves.
    pub extensions: BTreeMap<String, extensions::Extension>,
}

impl Configuration {
    /// Configuration for all proxies of the mesh.
    pub fn of(mesh: &Mesh, settings: &Settings<'_>, notices: &mut Notices) -> Result<Self, Problems> {
        let mut configuration = Self::default();
        for gateway in &mesh.gateways {
            listeners::gateway(gateway, mesh, settings, &mut configuration, notices)?;
            outbound::clusters(gateway, mesh, settings, &mut configuration)?;
        }
        for inbound in &mesh.inbound {
            listeners::inbound(inbound, settings, &mut configuration)?;
        }
        Ok(configuration)
    }
}

/// An Envoy socket address.
pub(crate) fn socket_address(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

/// An endpoint `host:port`, and whether its host is a name that must be looked up.
fn endpoint(address: &str) -> Option<(Value, bool)> {
    let (host, port) = address.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_name = host.parse::<std::net::IpAddr>().is_err();
    (!host.is_empty()).then(|| (json!({"socket_address": {"address": host, "port_value": port}}), is_name))
}

/// Whether `--upstream` can take this address.
pub fn is_endpoint(address: &str) -> bool {
    endpoint(address).is_some()
}

/// A cluster with one endpoint.
fn cluster(name: &str, address: &str, http2: bool) -> Value {
    let (endpoint, is_name) = endpoint(address).unwrap_or_else(|| (json!({}), false));
    let protocol = if http2 { "http2_protocol_options" } else { "http_protocol_options" };
    let mut explicit = serde_json::Map::new();
    explicit.insert(protocol.to_owned(), json!({}));
    json!({
        "name": name,
        "type": if is_name { "STRICT_DNS" } else { "STATIC" },
        "connect_timeout": "10s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": endpoint}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": explicit,
            },
        },
    })
}

/// Sets a field of a JSON object.
pub(crate) fn set(object: &mut Value, key: &str, value: Value) {
    if let Value::Object(fields) = object {
        fields.insert(key.to_owned(), value);
    }
}

/// Istio's metadata about the service behind a cluster, which Wasm filters read as `xds.cluster_metadata`.
fn service_metadata(workload: &crate::mesh::workload::Workload) -> Value {
    json!({"filter_metadata": {"istio": {"services": [{
        "host": workload.host(),
        "name": workload.name,
        "namespace": workload.namespace,
    }]}}})
}

/// The node that Envoy says it is. One Envoy stands for all proxies, so it has no workload's labels.
pub(crate) fn node() -> Value {
    json!({
        "id": "sidecar~127.0.0.1~tollgate~cluster.local",
        "cluster": "tollgate",
        "metadata": {"MESH_ID": "cluster.local", "CLUSTER_ID": "tollgate"},
    })
}
