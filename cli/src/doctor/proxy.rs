//! A proxy as its admin interface shows it: `/config_dump`, `/server_info`, metrics.
//!
//! What Envoy lists as a filter's configuration (ECDS) is what it was sent last, also when it refused that: whether it is
//! in force can't be seen there, but by the hash in `tollgate_config_info`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::facts::Looks;
use super::series::Counters;
use crate::mesh::modules::module_name;
use crate::schema::Filter;

const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
const RBAC: &str = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC";
/// What Istio's agent puts where a module could not be fetched (`pkg/wasm/convert.go`), from 1.28 on by these names.
const DENY_ALL: &str = "wasm-default-deny";
const ALLOW_ALL: &str = "wasm-default-allow";
/// Of a filter chain.
const DESTINATION_PORT: &str = "/filter_chain_match/destination_port";
/// Istio's names of the filters: from 1.21 on, from 1.26 on, and from 1.30 on. In 1.20 they have none.
const NAME_PREFIXES: [&str; 3] =
    ["extenstions.istio.io/wasmplugin/", "extensions.istio.io/wasmplugin/", "extensions.istio.io/trafficextension/"];

/// A proxy.
#[derive(Debug, Clone, Default)]
pub struct Proxy {
    /// `namespace/pod`, else the address that it was asked at.
    pub name: String,
    /// Of the pod, where it is one of a mesh.
    pub namespace: Option<String>,
    /// The pod's labels.
    pub labels: BTreeMap<String, String>,
    /// What it is in the mesh.
    pub role: Role,
    /// Envoy's version.
    pub envoy: String,
    /// Istio's version, where it is one of a mesh.
    pub istio: Option<String>,
    /// What it listens for.
    pub listeners: Vec<Listener>,
    /// Filters that are delivered apart from listeners, by their names.
    pub extensions: BTreeMap<String, Content>,
    /// Its metrics.
    pub looks: Looks,
    /// Envoy's own counters.
    pub counters: Counters,
}

/// What a proxy is in the mesh.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// Beside an application.
    Sidecar,
    /// A gateway, whose own listeners are outbound.
    Gateway,
    /// A waypoint of an ambient mesh.
    Waypoint,
    /// None that Istio knows.
    #[default]
    Other,
}

/// A listener.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// Its port.
    pub port: Option<u16>,
    /// Whether it receives what is for the application, or what the application sends.
    pub direction: Direction,
    /// Whether it takes connections; else it waits for something.
    pub active: bool,
    /// Its chains.
    pub chains: Vec<Chain>,
    /// The ports of the application whose connections may be HTTP to it.
    pub http_ports: Vec<u16>,
    /// Those whose connections it passes on as TCP alone.
    pub tcp_ports: Vec<u16>,
}

/// Of a listener.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Direction {
    /// To the application.
    Inbound,
    /// From it.
    Outbound,
    /// Not said.
    #[default]
    Unsaid,
}

/// What becomes of some of a listener's connections, as HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    /// The port that it is for, where the listener has several.
    pub port: Option<u16>,
    /// What is asked of a client before.
    pub tls: Tls,
    /// The names of its HTTP filters, in the order in which a request meets them.
    pub filters: Vec<String>,
    /// Those that are part of the listener, by their names.
    pub inline: BTreeMap<String, Content>,
}

/// What a chain asks of a client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tls {
    /// Nothing: plaintext.
    #[default]
    None,
    /// TLS, and a certificate if the client likes.
    WithoutCertificate,
    /// TLS and a certificate.
    Mutual,
}

/// What a filter is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A Wasm module.
    Wasm(Wasm),
    /// What Istio's agent puts where it has no module.
    Placeholder {
        /// Whether it denies every request, or lets every one through.
        denies: bool,
    },
    /// Another filter.
    Other,
}

/// A module and its configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wasm {
    /// The plugin's name in Envoy.
    pub name: String,
    /// The module's file.
    pub file: Option<String>,
    /// Of the file, where it could be read here.
    pub file_sha256: Option<String>,
    /// What the module is handed.
    pub configuration: String,
    /// What a broken module does to requests.
    pub failure_policy: String,
}

impl Wasm {
    /// `dd../d1...wasm`: the digest that Istio's agent checked, of the image where the url is `oci://`.
    pub fn agents_digest(&self) -> Option<&str> {
        let file = self.file.as_deref()?;
        let (directory, name) = file.rsplit_once('/')?;
        let (_, directory) = directory.rsplit_once('/')?;
        let stem = name.strip_suffix(".wasm")?;
        (is_digest(stem) && is_digest(directory)).then_some(stem)
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A plugin in a proxy.
#[derive(Debug, Clone)]
pub struct Instance<'a> {
    /// The filter's name in Envoy.
    pub name: &'a str,
    /// `namespace/name` of the WasmPlugin, where the name says it.
    pub plugin: Option<String>,
    /// What it is; none where it has not come yet.
    pub content: Option<&'a Content>,
    /// The listeners that have it.
    pub listeners: Vec<&'a Listener>,
}

impl Instance<'_> {
    /// What stands in findings.
    pub fn label(&self) -> String {
        self.plugin.clone().unwrap_or_else(|| self.name.to_owned())
    }

    /// The module, where it is one.
    pub fn wasm(&self) -> Option<&Wasm> {
        match self.content {
            Some(Content::Wasm(wasm)) => Some(wasm),
            _ => None,
        }
    }

    /// Tollgate's filter, by what the module or the plugin is called.
    pub fn filter(&self) -> Option<Filter> {
        let wasm = self.wasm();
        let file = wasm.and_then(|wasm| wasm.file.as_deref()).and_then(module_name).and_then(Filter::of_module);
        let by_plugin = || self.plugin.as_deref().and_then(|id| Filter::of_module(id.rsplit('/').next()?));
        let by_name = || wasm.and_then(|wasm| Filter::of_module(&wasm.name));
        file.or_else(by_plugin).or_else(by_name)
    }
}

impl Proxy {
    /// Reads `/config_dump`, and the node from `/server_info`; `address` is the name of one that has none.
    pub fn read(dump: &Value, server_info: &Value, address: &str) -> Self {
        let mut proxy = Self { name: address.to_owned(), ..Self::default() };
        proxy.read_node(server_info);
        for section in list(dump, "/configs") {
            match text(section, "/@type").rsplit('.').next() {
                Some("ListenersConfigDump") => proxy.read_listeners(section),
                Some("EcdsConfigDump") => {
                    for extension in list(section, "/ecds_filters") {
                        let filter = extension.pointer("/ecds_filter").unwrap_or(&Value::Null);
                        let content = delivered(filter.pointer("/typed_config").unwrap_or(&Value::Null));
                        proxy.extensions.insert(text(filter, "/name").to_owned(), content);
                    }
                }
                _ => {}
            }
        }
        proxy
    }

    fn read_node(&mut self, server_info: &Value) {
        // `commit/1.40.0/Clean/RELEASE/BoringSSL`
        self.envoy = text(server_info, "/version").split('/').nth(1).unwrap_or("unknown").to_owned();
        let metadata = server_info.pointer("/node/metadata").unwrap_or(&Value::Null);
        let mut id = text(server_info, "/node/id").split('~');
        self.role = match id.next() {
            Some("sidecar") => Role::Sidecar,
            Some("router") => Role::Gateway,
            Some("waypoint") => Role::Waypoint,
            _ => Role::Other,
        };
        if self.role == Role::Other {
            return;
        }
        let pod = id.nth(1).unwrap_or_default();
        let named = pod.rsplit_once('.').map(|(pod, namespace)| (namespace.to_owned(), pod.to_owned()));
        if let Some((namespace, pod)) = named {
            self.name = format!("{namespace}/{pod}");
            self.namespace = Some(namespace);
        }
        self.istio = Some(text(metadata, "/ISTIO_VERSION").to_owned()).filter(|version| !version.is_empty());
        let labels = metadata.pointer("/LABELS").and_then(Value::as_object).into_iter().flatten();
        self.labels = labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
    }

    fn read_listeners(&mut self, section: &Value) {
        for entry in list(section, "/static_listeners") {
            self.listeners.extend(entry.pointer("/listener").map(|found| listener(found, true)));
        }
        for entry in list(section, "/dynamic_listeners") {
            // The one that takes connections, and what is to follow it.
            self.listeners.extend(entry.pointer("/active_state/listener").map(|found| listener(found, true)));
            self.listeners.extend(entry.pointer("/warming_state/listener").map(|found| listener(found, false)));
        }
    }

    /// The plugins that it has, in a chain or delivered for one.
    pub fn instances(&self) -> Vec<Instance<'_>> {
        let mut instances: BTreeMap<&str, Instance<'_>> = BTreeMap::new();
        for (name, content) in &self.extensions {
            let listeners = Vec::new();
            // Istio delivers nothing but plugins in this way.
            let plugin = plugin_of(name).or_else(|| plain(name));
            instances.insert(name, Instance { name, plugin, content: Some(content), listeners });
        }
        for listener in &self.listeners {
            for chain in &listener.chains {
                for name in &chain.filters {
                    let inline = chain.inline.get(name);
                    if inline.is_some_and(|content| *content == Content::Other) {
                        continue;
                    }
                    let instance = instances.entry(name).or_insert_with(|| Instance {
                        name,
                        plugin: plugin_of(name),
                        content: inline,
                        listeners: Vec::new(),
                    });
                    if !instance.listeners.contains(&listener) {
                        instance.listeners.push(listener);
                    }
                }
            }
        }
        instances.into_values().filter(|it| it.plugin.is_some() || it.filter().is_some()).collect()
    }
}

/// `namespace/name` of Istio's `prefix/namespace.name~suffix`; a namespace has no dot.
fn plugin_of(name: &str) -> Option<String> {
    let rest = NAME_PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix))?;
    plain(rest.split('~').next()?)
}

/// `namespace/name` of `namespace.name`.
fn plain(name: &str) -> Option<String> {
    let (namespace, name) = name.split_once('.').filter(|(namespace, _)| !namespace.contains('/'))?;
    Some(format!("{namespace}/{name}"))
}

fn listener(value: &Value, active: bool) -> Listener {
    let port = port_at(value, "/address/socket_address/port_value");
    let mut chains: Vec<Chain> = list(value, "/filter_chains").filter_map(chain).collect();
    chains.extend(value.pointer("/default_filter_chain").and_then(chain));
    // Where connections for any port are redirected to, its own port is nobody's.
    let takes_all = value.pointer("/use_original_dst").and_then(Value::as_bool) == Some(true)
        || text(value, "/name") == "virtualInbound";
    let of_chain = |chain: Option<u16>| match takes_all {
        true => chain.filter(|chain| Some(*chain) != port),
        false => chain.or(port),
    };
    let http_ports: BTreeSet<u16> = chains.iter().filter_map(|chain| of_chain(chain.port)).collect();
    let raw = list(value, "/filter_chains").filter(|chain| list(chain, "/filters").any(is_tcp_proxy));
    let raw: BTreeSet<u16> = raw.filter_map(|chain| of_chain(port_at(chain, DESTINATION_PORT))).collect();
    let tcp_ports = raw.difference(&http_ports).copied().collect();
    Listener {
        name: text(value, "/name").to_owned(),
        port,
        direction: match text(value, "/traffic_direction") {
            "INBOUND" => Direction::Inbound,
            "OUTBOUND" => Direction::Outbound,
            _ => Direction::Unsaid,
        },
        active,
        chains,
        http_ports: http_ports.into_iter().collect(),
        tcp_ports,
    }
}

fn is_tcp_proxy(filter: &Value) -> bool {
    text(filter, "/typed_config/@type").ends_with(".tcp_proxy.v3.TcpProxy")
}

fn port_at(value: &Value, pointer: &str) -> Option<u16> {
    u16::try_from(value.pointer(pointer)?.as_u64()?).ok()
}

/// A chain that ends in HTTP.
fn chain(value: &Value) -> Option<Chain> {
    let manager = list(value, "/filters").find(|filter| filter.pointer("/typed_config/http_filters").is_some())?;
    let mut chain = Chain {
        port: port_at(value, DESTINATION_PORT),
        tls: match value.pointer("/transport_socket/typed_config") {
            None => Tls::None,
            Some(socket) if text(socket, "/@type").ends_with(".DownstreamTlsContext") => {
                let required = socket.pointer("/require_client_certificate").and_then(Value::as_bool);
                if required == Some(true) { Tls::Mutual } else { Tls::WithoutCertificate }
            }
            // Raw buffers by name, or what is wrapped around TLS in an ambient mesh.
            Some(socket) if text(socket, "/@type").ends_with(".RawBuffer") => Tls::None,
            Some(_) => Tls::Mutual,
        },
        ..Chain::default()
    };
    for filter in list(manager, "/typed_config/http_filters") {
        let name = text(filter, "/name").to_owned();
        if filter.pointer("/config_discovery").is_none() {
            let typed = filter.pointer("/typed_config").unwrap_or(&Value::Null);
            chain.inline.insert(name.clone(), content(typed));
        }
        chain.filters.push(name);
    }
    Some(chain)
}

/// What stands for a plugin that is delivered apart. Before Istio 1.28 the stand-in for a module is an RBAC filter without a
/// name; and it is nothing else that Istio delivers.
fn delivered(typed: &Value) -> Content {
    match content(typed) {
        Content::Other if text(typed, "/@type") == RBAC => {
            Content::Placeholder { denies: typed.pointer("/rules").is_some_and(Value::is_object) }
        }
        other => other,
    }
}

fn content(typed: &Value) -> Content {
    match text(typed, "/@type") {
        WASM => Content::Wasm(wasm(typed.pointer("/config").unwrap_or(&Value::Null))),
        RBAC => match text(typed, "/rules_stat_prefix") {
            DENY_ALL => Content::Placeholder { denies: true },
            ALLOW_ALL => Content::Placeholder { denies: false },
            _ => Content::Other,
        },
        _ => Content::Other,
    }
}

fn wasm(config: &Value) -> Wasm {
    let configuration = match config.pointer("/configuration/value") {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    Wasm {
        name: text(config, "/name").to_owned(),
        file: config.pointer("/vm_config/code/local/filename").and_then(Value::as_str).map(str::to_owned),
        file_sha256: None,
        configuration,
        failure_policy: text(config, "/failure_policy").to_owned(),
    }
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_istio_has_names_of_its_own_for_the_same_plugin() {
        for name in [
            "extenstions.istio.io/wasmplugin/shop.rate.limit",
            "extensions.istio.io/wasmplugin/shop.rate.limit",
            "extensions.istio.io/wasmplugin/shop.rate.limit~shop/users",
            "extensions.istio.io/trafficextension/shop.rate.limit~istio-translated-wasmplugin",
        ] {
            assert_eq!(plugin_of(name).as_deref(), Some("shop/rate.limit"), "{name}");
        }
        assert_eq!(plugin_of("envoy.filters.http.router"), None);
        let mut proxy = Proxy::default();
        proxy.extensions.insert("shop.rate-limit".to_owned(), Content::Placeholder { denies: true });
        let plugins: Vec<_> = proxy.instances().into_iter().map(|instance| instance.plugin).collect();
        assert_eq!(plugins, [Some("shop/rate-limit".to_owned())]);
    }

    #[test]
    fn each_istio_has_a_stand_in_of_its_own_for_a_module() {
        let of = |more: Value| {
            let mut typed = serde_json::json!({"@type": RBAC});
            typed.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            delivered(&typed)
        };
        assert_eq!(of(serde_json::json!({"rules_stat_prefix": DENY_ALL})), Content::Placeholder { denies: true });
        assert_eq!(of(serde_json::json!({"rules_stat_prefix": ALLOW_ALL})), Content::Placeholder { denies: false });
        // 1.25 to 1.27, and the second before as well.
        assert_eq!(of(serde_json::json!({"rules": {}})), Content::Placeholder { denies: true });
        assert_eq!(of(serde_json::json!({})), Content::Placeholder { denies: false });
    }

    #[test]
    fn a_port_is_tcp_where_no_chain_of_it_is_http() {
        let tcp = serde_json::json!([{"typed_config":
            {"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"}}]);
        let http = serde_json::json!([{"typed_config": {"http_filters": []}}]);
        let chain = |port: u16, filters: &Value| match port {
            0 => serde_json::json!({"filters": filters}),
            port => serde_json::json!({"filter_chain_match": {"destination_port": port}, "filters": filters}),
        };
        let of = |name: &str, port: u16, chains: Vec<Value>| {
            let address = serde_json::json!({"socket_address": {"port_value": port}});
            listener(&serde_json::json!({"name": name, "address": address, "filter_chains": chains}), true).tcp_ports
        };
        let all = vec![
            chain(0, &tcp),
            chain(0, &http),
            chain(15006, &tcp),
            chain(8080, &http),
            chain(8080, &tcp),
            chain(6379, &tcp),
            chain(6379, &tcp),
        ];
        assert_eq!(of("virtualInbound", 15006, all), [6379]);
        assert_eq!(of("10.0.0.7_8080", 8080, vec![chain(0, &tcp)]), [8080]);
        assert!(of("10.0.0.7_8080", 8080, vec![chain(0, &http), chain(8080, &tcp)]).is_empty());
    }

    #[test]
    fn only_where_istios_agent_keeps_modules_a_files_name_is_a_digest() {
        let digest = "a".repeat(64);
        let wasm = |file: String| Wasm { file: Some(file), ..Wasm::default() };
        assert_eq!(wasm(format!("/var/lib/istio/data/{digest}/{digest}.wasm")).agents_digest(), Some(&*digest));
        assert_eq!(wasm(format!("/tmp/modules/{digest}.wasm")).agents_digest(), None);
        assert_eq!(wasm("/dist/rate-limit.wasm".into()).agents_digest(), None);
    }
}
