//! Envoy configurations, piece by piece.

use std::{net::SocketAddr, path::PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{artifacts, envoy::Envoy};

/// One of our filters in a chain, as Istio would put it there.
#[derive(Debug, Clone)]
pub struct Plugin {
    module: PathBuf,
    name: String,
    root_id: String,
    vm_id: String,
    failure_policy: &'static str,
    configuration: String,
}

impl Plugin {
    /// The filter of a module, with a configuration.
    pub fn new(module: &'static str, configuration: impl ToString) -> Self {
        Self::of(artifacts::module(module), module, configuration)
    }

    /// The filter of any module.
    pub fn of(module: PathBuf, name: &str, configuration: impl ToString) -> Self {
        let (root_id, vm_id) = (String::new(), String::new());
        let (name, configuration) = (name.to_owned(), configuration.to_string());
        Self { module, name, root_id, vm_id, failure_policy: "FAIL_CLOSED", configuration }
    }

    /// Under another name.
    pub fn named(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// With a root id.
    pub fn root_id(mut self, root_id: &str) -> Self {
        self.root_id = root_id.to_owned();
        self
    }

    /// In a VM, and a space of shared data, of its own.
    pub fn vm_id(mut self, vm_id: &str) -> Self {
        self.vm_id = vm_id.to_owned();
        self
    }

    /// With a new VM after a crash, instead of none.
    pub fn reloading(mut self) -> Self {
        self.failure_policy = "FAIL_RELOAD";
        self
    }

    /// With requests that pass without the filter once its VM has crashed.
    pub fn failing_open(mut self) -> Self {
        self.failure_policy = "FAIL_OPEN";
        self
    }

    /// The `Wasm` message.
    pub fn wasm(&self) -> Value {
        json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": self.name,
                "root_id": self.root_id,
                "failure_policy": self.failure_policy,
                "vm_config": {
                    "vm_id": self.vm_id,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": self.module}},
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": self.configuration,
                },
            },
        })
    }

    /// The entry in a chain of HTTP filters.
    pub fn filter(&self) -> Value {
        json!({"name": format!("wasm-{}", self.name), "typed_config": self.wasm()})
    }
}

/// A filter whose configuration Envoy reads from a file whenever that changes, as pilot-agent hands over a WasmPlugin's.
#[derive(Debug)]
pub struct Discovered {
    name: String,
    directory: TempDir,
}

impl Discovered {
    /// Starts with `plugin`.
    pub fn new(plugin: &Plugin) -> Self {
        Self::named("discovered", plugin)
    }

    /// The same, of a name by which Envoy's stats tell it from others.
    pub fn named(name: &str, plugin: &Plugin) -> Self {
        let directory = tempfile::tempdir().expect("a directory for temporary files");
        let discovered = Self { name: name.to_owned(), directory };
        discovered.push(plugin);
        discovered
    }

    /// Replaces the file.
    pub fn push(&self, plugin: &Plugin) {
        let extension = json!({
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": self.name,
            "typed_config": plugin.wasm(),
        });
        let path = |name: &str| self.directory.path().join(name);
        std::fs::write(path("extension.new"), json!({"resources": [extension]}).to_string()).expect("writable");
        std::fs::rename(path("extension.new"), path("extension.json")).expect("renamed");
    }

    /// Replaces the file and waits until Envoy has taken it.
    pub async fn push_to(&self, plugin: &Plugin, envoy: &Envoy) {
        let reloaded = format!("extension_config_discovery.http_filter.{}.config_reload", self.name);
        let before = envoy.stat(&reloaded).await;
        self.push(plugin);
        envoy.wait_until("the configuration is taken", async || envoy.stat(&reloaded).await > before).await;
    }

    /// The entry in a chain of HTTP filters.
    pub fn filter(&self) -> Value {
        json!({
            "name": self.name,
            "config_discovery": {
                "config_source": {
                    "path_config_source": {
                        "path": self.directory.path().join("extension.json"),
                        "watched_directory": {"path": self.directory.path()},
                    },
                    "resource_api_version": "V3",
                },
                "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"],
            },
        })
    }
}

/// The last filter of every chain.
fn router() -> Value {
    json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
    })
}

/// A listener on a port that the system chooses.
#[derive(Debug, Clone)]
pub struct Listener {
    name: String,
    filters: Vec<Value>,
    route: Value,
    tls: Option<Value>,
    plaintext_too: bool,
    direction: &'static str,
    connection_manager: Value,
    network_filters: Vec<Value>,
    listener_filters: Vec<Value>,
    tcp: bool,
}

impl Listener {
    /// One that answers 200 by itself.
    pub fn new(name: &str, filters: impl IntoIterator<Item = Value>) -> Self {
        Self {
            name: name.to_owned(),
            filters: filters.into_iter().collect(),
            route: json!({"direct_response": {"status": 200, "body": {"inline_string": "ok\n"}}}),
            tls: None,
            plaintext_too: false,
            direction: "INBOUND",
            connection_manager: json!({}),
            network_filters: Vec::new(),
            listener_filters: Vec::new(),
            tcp: false,
        }
    }

    /// One that passes bytes on to the cluster of its own name.
    pub fn to_tcp(name: &str) -> Self {
        Self { tcp: true, ..Self::new(name, []) }
    }

    /// Forwards to a cluster instead.
    pub fn to_cluster(mut self, cluster: &str) -> Self {
        self.route = json!({"route": {"cluster": cluster}});
        self
    }

    /// Speaks TLS: a `DownstreamTlsContext`.
    pub fn tls(mut self, context: Value) -> Self {
        self.tls = Some(context);
        self
    }

    /// Takes callers in plaintext beside those with TLS, as a sidecar whose mTLS is PERMISSIVE does.
    pub fn plaintext_too(mut self) -> Self {
        self.plaintext_too = true;
        self.inspects_tls()
    }

    /// `INBOUND`, `OUTBOUND` or `UNSPECIFIED`.
    pub fn direction(mut self, direction: &'static str) -> Self {
        self.direction = direction;
        self
    }

    /// Takes the client's address, and the port that it called, from the PROXY protocol.
    pub fn proxy_protocol(self) -> Self {
        self.listener_filter("envoy.filters.listener.proxy_protocol", "proxy_protocol.v3.ProxyProtocol")
    }

    /// Reads the server name that a client asks for before the handshake, as Istio's listeners do.
    pub fn inspects_tls(self) -> Self {
        self.listener_filter("envoy.filters.listener.tls_inspector", "tls_inspector.v3.TlsInspector")
    }

    fn listener_filter(mut self, name: &str, message: &str) -> Self {
        let message = format!("type.googleapis.com/envoy.extensions.filters.listener.{message}");
        self.listener_filters.push(json!({"name": name, "typed_config": {"@type": message}}));
        self
    }

    /// With a network filter before the connection manager.
    pub fn network_filter(mut self, filter: Value) -> Self {
        self.network_filters.push(filter);
        self
    }

    /// More fields of the connection manager.
    pub fn connection_manager(mut self, fields: Value) -> Self {
        self.connection_manager = fields;
        self
    }

    fn to_json(&self) -> Value {
        let mut route = json!({"name": "default", "match": {"prefix": "/"}});
        extend(&mut route, &self.route);
        let mut manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": self.name,
            "codec_type": "AUTO",
            "http_filters": self.filters.iter().cloned().chain([router()]).collect::<Vec<_>>(),
            "route_config": {"virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                "routes": [route],
            }]},
        });
        extend(&mut manager, &self.connection_manager);
        let filter = match self.tcp {
            true => json!({
                "name": "envoy.filters.network.tcp_proxy",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                    "stat_prefix": self.name,
                    "cluster": self.name,
                },
            }),
            false => json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}),
        };
        let mut chain = json!({"filters": self.network_filters.iter().cloned().chain([filter]).collect::<Vec<_>>()});
        let mut chains = Vec::new();
        if self.plaintext_too {
            let mut plaintext = chain.clone();
            plaintext["filter_chain_match"] = json!({"transport_protocol": "raw_buffer"});
            chain["filter_chain_match"] = json!({"transport_protocol": "tls"});
            chains.push(plaintext);
        }
        if let Some(tls) = &self.tls {
            chain["transport_socket"] = json!({"name": "envoy.transport_sockets.tls", "typed_config": tls});
        }
        chains.push(chain);
        json!({
            "name": self.name,
            "listener_filters": self.listener_filters,
            "traffic_direction": self.direction,
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "filter_chains": chains,
        })
    }
}

/// A cluster of one address.
pub fn cluster(name: &str, address: SocketAddr) -> Value {
    let socket = json!({"address": address.ip().to_string(), "port_value": address.port()});
    json!({
        "name": name,
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": socket}}}]}],
        },
    })
}

/// A bootstrap with these listeners and clusters, and an admin server on a port that the system chooses.
pub fn bootstrap(listeners: &[Listener], clusters: Vec<Value>) -> Value {
    let tag = |label: &str| json!({"tag_name": label, "regex": format!("({label}=\\.=(.*?);\\.;)")});
    json!({
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "stats_flush_interval": "0.1s",
        "stats_config": {"stats_tags": tollgate::stats::LABELS.map(tag)},
        "static_resources": {
            "listeners": listeners.iter().map(Listener::to_json).collect::<Vec<_>>(),
            "clusters": clusters,
        },
    })
}

fn extend(object: &mut Value, more: &Value) {
    if let (Some(object), Some(more)) = (object.as_object_mut(), more.as_object()) {
        object.extend(more.clone());
    }
}
