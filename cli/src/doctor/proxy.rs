//! A proxy as its admin interface shows it: `/config_dump`, `/server_info`, metrics.
//!
//! What Envoy lists as a filter's configuration (ECDS) is what it was sent last, also when it refused that: whether it is
//! in force can't be seen there, but by the hash in `tollgate_config_info`.

mod dump;

use std::collections::BTreeMap;

use super::facts::Looks;
use super::series::Counters;
use crate::mesh::modules::module_name;
use crate::schema::Filter;

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
    fn only_where_istios_agent_keeps_modules_a_files_name_is_a_digest() {
        let digest = "a".repeat(64);
        let wasm = |file: String| Wasm { file: Some(file), ..Wasm::default() };
        assert_eq!(wasm(format!("/var/lib/istio/data/{digest}/{digest}.wasm")).agents_digest(), Some(&*digest));
        assert_eq!(wasm(format!("/tmp/modules/{digest}.wasm")).agents_digest(), None);
        assert_eq!(wasm("/dist/rate-limit.wasm".into()).agents_digest(), None);
    }
}
