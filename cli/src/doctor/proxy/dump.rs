//! What Envoy's admin interface says, as JSON, read into a [`Proxy`].

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Chain, Content, Direction, Listener, Proxy, Role, Tls, Wasm};

const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
const RBAC: &str = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC";
/// What Istio's agent puts where a module could not be fetched (`pkg/wasm/convert.go`), from 1.28 on by these names.
const DENY_ALL: &str = "wasm-default-deny";
const ALLOW_ALL: &str = "wasm-default-allow";
/// Of a filter chain.
const DESTINATION_PORT: &str = "/filter_chain_match/destination_port";

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
    use serde_json::json;

    use super::*;

    #[test]
    fn each_istio_has_a_stand_in_of_its_own_for_a_module() {
        let of = |more: Value| {
            let mut typed = json!({"@type": RBAC});
            typed.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            delivered(&typed)
        };
        assert_eq!(of(json!({"rules_stat_prefix": DENY_ALL})), Content::Placeholder { denies: true });
        assert_eq!(of(json!({"rules_stat_prefix": ALLOW_ALL})), Content::Placeholder { denies: false });
        // 1.25 to 1.27, and the second before as well.
        assert_eq!(of(json!({"rules": {}})), Content::Placeholder { denies: true });
        assert_eq!(of(json!({})), Content::Placeholder { denies: false });
    }

    #[test]
    fn a_port_is_tcp_where_no_chain_of_it_is_http() {
        let tcp = json!([{"typed_config":
            {"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"}}]);
        let http = json!([{"typed_config": {"http_filters": []}}]);
        let chain = |port: u16, filters: &Value| match port {
            0 => json!({"filters": filters}),
            port => json!({"filter_chain_match": {"destination_port": port}, "filters": filters}),
        };
        let of = |name: &str, port: u16, chains: Vec<Value>| {
            let address = json!({"socket_address": {"port_value": port}});
            listener(&json!({"name": name, "address": address, "filter_chains": chains}), true).tcp_ports
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
}
