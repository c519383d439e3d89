//! The way to the listeners that ask for a certificate: an Envoy of its own, whose CPU does not count, takes plaintext and
//! passes it on over mTLS.

use serde_json::{Value, json};
use tollgate_cli::certificates::Leaf;
use tollgate_tests::{
    artifacts::EnvoyBinary,
    certificates::Authority,
    config::{Listener, bootstrap},
    envoy::Envoy,
};

use crate::variants::{CALLER, Variant};

const SERVER: &str = "spiffe://cluster.local/ns/bench/sa/server";

/// The certificates of both ends.
pub struct Tls {
    authority: Authority,
    server: Leaf,
    caller: Leaf,
}

impl Tls {
    pub fn new() -> Self {
        let authority = Authority::default();
        let caller = authority.issue(&[&format!("spiffe://{CALLER}")]);
        Self { server: authority.issue(&[SERVER]), caller, authority }
    }

    /// The listener of a variant.
    pub fn listener(&self, variant: &Variant) -> Listener {
        let listener = Listener::new(variant.key, variant.filters.clone());
        if variant.tls { listener.tls(self.authority.server(&self.server, true, true)) } else { listener }
    }

    /// The Envoy before the variants over TLS: a listener of the same name for each.
    pub async fn client(&self, binary: &EnvoyBinary, server: &Envoy, variants: &[&Variant]) -> Envoy {
        let listeners: Vec<Listener> = variants.iter().map(|variant| Listener::to_tcp(variant.key)).collect();
        let clusters = variants.iter().map(|variant| self.cluster(variant.key, server)).collect();
        Envoy::start(binary, 1, &bootstrap(&listeners, clusters)).await
    }

    fn cluster(&self, key: &str, server: &Envoy) -> Value {
        let address = server.address(key);
        let inline = |pem: &str| json!({"inline_string": pem});
        let certificate =
            json!({"certificate_chain": inline(&self.caller.certificate), "private_key": inline(&self.caller.key)});
        let endpoint = json!({"address": {"socket_address": {"address": address.ip(), "port_value": address.port()}}});
        json!({
            "name": key,
            "type": "STATIC",
            "load_assignment": {"cluster_name": key, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
            "transport_socket": {
                "name": "envoy.transport_sockets.tls",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                    "common_tls_context": {"tls_certificates": [certificate]},
                },
            },
        })
    }
}
