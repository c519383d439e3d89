//! Certificates of any shape.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::{Value, json};
use tollgate_cli::certificates::Leaf;

/// A certificate authority.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Default for Authority {
    fn default() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        Self { certificate, issuer: Issuer::new(params, key) }
    }
}

impl Authority {
    /// Its own certificate, as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate with these URI SANs.
    pub fn issue(&self, uris: &[&str]) -> Leaf {
        self.issue_so(uris, |_| {})
    }

    /// The same, changed by `change`.
    pub fn issue_so(&self, uris: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let key = KeyPair::generate().expect("a key");
        let params = leaf(uris, change);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Leaf { certificate, key: key.serialize_pem() }
    }

    /// A `DownstreamTlsContext` of a server that asks for certificates of this authority, demands one if `required`,
    /// and with `verified` false takes what it cannot verify as well.
    pub fn server(&self, own: &Leaf, required: bool, verified: bool) -> Value {
        let inline = |pem: &str| json!({"inline_string": pem});
        json!({
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": required,
            "common_tls_context": {
                "tls_certificates": [{"certificate_chain": inline(&own.certificate), "private_key": inline(&own.key)}],
                "validation_context": {
                    "trusted_ca": inline(&self.certificate),
                    "trust_chain_verification": if verified { "VERIFY_TRUST_CHAIN" } else { "ACCEPT_UNTRUSTED" },
                },
            },
        })
    }
}

impl Authority {
    /// The transport socket of a client that presents `own` and takes servers of this authority.
    pub fn client(&self, own: &Leaf) -> Value {
        let inline = |pem: &str| json!({"inline_string": pem});
        json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "common_tls_context": {
                    "tls_certificates":
                        [{"certificate_chain": inline(&own.certificate), "private_key": inline(&own.key)}],
                    "validation_context": {"trusted_ca": inline(&self.certificate)},
                },
            },
        })
    }
}

/// A certificate with these URI SANs that nobody else has signed.
pub fn self_signed(uris: &[&str]) -> Leaf {
    let key = KeyPair::generate().expect("a key");
    let certificate = leaf(uris, |_| {}).self_signed(&key).expect("a certificate").pem();
    Leaf { certificate, key: key.serialize_pem() }
}

fn leaf(uris: &[&str], change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().expect("ASCII"))).collect();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    params
}
