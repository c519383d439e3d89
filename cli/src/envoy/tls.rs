//! TLS contexts with the mesh's certificates.

use serde_json::{Value, json};

use super::{Settings, set};
use crate::mesh::workload::{ServiceAccount, TRUST_DOMAIN};
use crate::problem::Problem;

/// The server's side: its own certificate, and the callers' checked against the mesh's authority if asked for.
pub(super) fn downstream(
    account: &ServiceAccount,
    require_client_certificate: bool,
    settings: &Settings<'_>,
) -> Result<Value, Problem> {
    let mut common = common(account, settings)?;
    set(&mut common, "alpn_protocols", json!(["h2", "http/1.1"]));
    if require_client_certificate {
        set(
            &mut common,
            "validation_context",
            json!({
                "trusted_ca": authority(settings),
                "match_typed_subject_alt_names": [{
                    "san_type": "URI",
                    "matcher": {"prefix": format!("spiffe://{TRUST_DOMAIN}/")},
                }],
            }),
        );
    }
    Ok(json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": require_client_certificate,
            "common_tls_context": common,
        },
    }))
}

/// The client's side: its own certificate, and the server's identity checked.
pub(super) fn upstream(
    client: &ServiceAccount,
    server: &ServiceAccount,
    sni: &str,
    settings: &Settings<'_>,
) -> Result<Value, Problem> {
    let mut common = common(client, settings)?;
    set(&mut common, "alpn_protocols", json!(["istio"]));
    set(
        &mut common,
        "validation_context",
        json!({
            "trusted_ca": authority(settings),
            "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": server.spiffe_id()}}],
        }),
    );
    Ok(json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": sni,
            "common_tls_context": common,
        },
    }))
}

fn common(account: &ServiceAccount, settings: &Settings<'_>) -> Result<Value, Problem> {
    let (certificate, key) = match settings.certificates.files(account) {
        Some(files) => (json!({"filename": files.certificate}), json!({"filename": files.key})),
        None => {
            let leaf = settings
                .certificates
                .leaf(account)
                .ok_or_else(|| Problem::new(format!("no certificate was issued to {}", account.spiffe_id())))?;
            (json!({"inline_string": leaf.certificate}), json!({"inline_string": leaf.key}))
        }
    };
    Ok(json!({
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificates": [{"certificate_chain": certificate, "private_key": key}],
    }))
}

fn authority(settings: &Settings<'_>) -> Value {
    match settings.certificates.authority_file() {
        Some(file) => json!({"filename": file}),
        None => json!({"inline_string": settings.certificates.authority()}),
    }
}
