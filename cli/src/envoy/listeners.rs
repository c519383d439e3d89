//! Listeners: the inbound side of each workload's sidecar, and the gateways.

use serde_json::{Value, json};

use super::{Configuration, Settings, cluster, extensions, routes, service_metadata, set, socket_address, tls};
use crate::mesh::gateway::{GatewayListener, GatewayTls};
use crate::mesh::workload::Protocol;
use crate::mesh::{Inbound, Mesh};
use crate::problem::{Notices, Problem};
use crate::resources::security::Mode;

const HTTP_CONNECTION_MANAGER: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// The inbound listener of a workload's port, and the cluster of the application behind it.
pub(super) fn inbound(
    inbound: &Inbound,
    settings: &Settings<'_>,
    configuration: &mut Configuration,
) -> Result<(), Problem> {
    let key = inbound.key();
    let workload = &inbound.workload;
    let name = cluster_name(inbound);
    let upstream = settings.upstreams.get(&key).ok_or_else(|| Problem::new(format!("{key} has no upstream")))?;
    let mut application = cluster(&name, upstream, inbound.port.protocol == Protocol::Http2);
    set(&mut application, "metadata", service_metadata(workload));
    configuration.clusters.insert(name.clone(), application);

    let proxy = workload.id();
    let filters = extensions::http_filters(&inbound.plugins, &proxy, settings, configuration);
    let manager = json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": HTTP_CONNECTION_MANAGER,
            "stat_prefix": format!("inbound_{}_{}", workload.name, inbound.port.target),
            "server_name": "istio-envoy",
            "route_config": {
                "name": name,
                "virtual_hosts": [{
                    "name": format!("inbound|http|{}", inbound.port.number),
                    "domains": ["*"],
                    "routes": [{
                        "name": "default",
                        "match": {"prefix": "/"},
                        "route": {"cluster": name, "timeout": "0s", "max_stream_duration": {
                            "max_stream_duration": "0s", "grpc_timeout_header_max": "0s",
                        }},
                        "decorator": {"operation": format!("{}:{}/*", workload.host(), inbound.port.number)},
                    }],
                }],
                "validate_clusters": false,
            },
            "forward_client_cert_details": "APPEND_FORWARD",
            "set_current_client_cert_details": {"subject": true, "uri": true, "dns": true},
            "normalize_path": true,
            "merge_slashes": false,
            "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
            "stream_idle_timeout": "0s",
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "access_log": access_log(&key, settings),
            "http_filters": filters,
        },
    });
    let chain = |name: &str, encrypted: bool| -> Result<Value, Problem> {
        let mut chain = json!({"name": name, "filters": [manager]});
        if encrypted {
            set(&mut chain, "transport_socket", tls::downstream(&workload.identity(), true, settings)?);
        }
        Ok(chain)
    };
    let mut listener = listener(&key, "INBOUND", settings)?;
    match inbound.mode {
        Mode::Disable => set(&mut listener, "filter_chains", json!([chain("plaintext", false)?])),
        Mode::Strict => set(&mut listener, "filter_chains", json!([chain("mtls", true)?])),
        Mode::Permissive | Mode::Unset => {
            // Istio lets TLS that is not the mesh's own through to the application, telling it by ALPN. The echo
            // servers here speak no TLS and people try things with curl, so all TLS is taken for the mesh's.
            let mut encrypted = chain("mtls", true)?;
            set(&mut encrypted, "filter_chain_match", json!({"transport_protocol": "tls"}));
            let mut plain = chain("plaintext", false)?;
            set(&mut plain, "filter_chain_match", json!({"transport_protocol": "raw_buffer"}));
            set(&mut listener, "filter_chains", json!([encrypted, plain]));
            set(
                &mut listener,
                "listener_filters",
                json!([{
                    "name": "envoy.filters.listener.tls_inspector",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
                    },
                }]),
            );
        }
    }
    configuration.listeners.insert(key, listener);
    Ok(())
}

/// One port of a gateway.
pub(super) fn gateway(
    gateway: &GatewayListener,
    mesh: &Mesh,
    settings: &Settings<'_>,
    configuration: &mut Configuration,
    notices: &mut Notices,
) -> Result<(), Problem> {
    let key = gateway.key();
    let proxy = format!("{}/gateway-{}", gateway.identity.namespace, gateway.identity.name);
    let filters = extensions::http_filters(&gateway.plugins, &proxy, settings, configuration);
    let manager = json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": HTTP_CONNECTION_MANAGER,
            "stat_prefix": format!("outbound_gateway_{}", gateway.port),
            "server_name": "istio-envoy",
            "route_config": routes::configuration(gateway, mesh, notices),
            "use_remote_address": true,
            "forward_client_cert_details": "SANITIZE_SET",
            "set_current_client_cert_details": {"subject": true, "cert": true, "uri": true, "dns": true},
            "normalize_path": true,
            "merge_slashes": false,
            "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
            "stream_idle_timeout": "0s",
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "access_log": access_log(&key, settings),
            "http_filters": filters,
        },
    });
    let mut chain = json!({"name": gateway.tls.as_str(), "filters": [manager]});
    if gateway.tls != GatewayTls::None {
        set(
            &mut chain,
            "transport_socket",
            tls::downstream(&gateway.identity, gateway.tls == GatewayTls::Mutual, settings)?,
        );
    }
    let mut listener = listener(&key, "OUTBOUND", settings)?;
    set(&mut listener, "filter_chains", json!([chain]));
    configuration.listeners.insert(key, listener);
    Ok(())
}

/// Istio's name for the application's cluster, which is the same in every sidecar. Here the sidecars share one Envoy, so
/// the service's name is added where Istio's last part is empty.
pub(super) fn cluster_name(inbound: &Inbound) -> String {
    format!("inbound|{}||{}", inbound.port.target, inbound.workload.host())
}

fn listener(key: &str, direction: &str, settings: &Settings<'_>) -> Result<Value, Problem> {
    let address = settings.addresses.get(key).ok_or_else(|| Problem::new(format!("{key} has no address")))?;
    Ok(json!({
        "name": key,
        "address": socket_address(*address),
        "traffic_direction": direction,
        // Each worker accepts for itself; whoever starts Envoy makes sure that nobody else has the port.
        "enable_reuse_port": true,
    }))
}

fn access_log(listener: &str, settings: &Settings<'_>) -> Value {
    if !settings.access_log {
        return json!([]);
    }
    json!([{
        "name": "envoy.access_loggers.stdout",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {"json_format": {
                "event": "access",
                "start_time": "%START_TIME%",
                "listener": listener,
                "peer": "%DOWNSTREAM_PEER_URI_SAN%",
                "authority": "%REQ(:AUTHORITY)%",
                "method": "%REQ(:METHOD)%",
                "path": "%REQ(:PATH)%",
                "response_code": "%RESPONSE_CODE%",
                "response_code_details": "%RESPONSE_CODE_DETAILS%",
                "response_flags": "%RESPONSE_FLAGS%",
                "decision": "%FILTER_STATE(wasm.tollgate_decision:PLAIN)%",
                "duration": "%DURATION%",
            }},
        },
    }])
}
