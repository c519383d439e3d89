//! Who the peer is, from what Envoy verified of its certificate.

use tollgate::{
    request::{Attribute, Request, attribute_bool},
    spiffe::{SpiffeId, TrustDomain},
};

/// Why a peer has no identity that counts here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoIdentity {
    /// No certificate was presented: plaintext, or TLS without one.
    NoMtls,
    /// A certificate was presented but not validated.
    Unverified,
    /// The certificate has no URI SAN.
    NoSan,
    /// The URI SAN is no SPIFFE ID of a workload.
    BadSpiffeId,
    /// The trust domain is not one of ours.
    ForeignTrustDomain,
}

impl NoIdentity {
    /// As logs and counters spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoMtls => "no_mtls",
            Self::Unverified => "unverified_certificate",
            Self::NoSan => "no_san",
            Self::BadSpiffeId => "bad_spiffe_id",
            Self::ForeignTrustDomain => "foreign_trust_domain",
        }
    }
}

/// The peer's SPIFFE ID, if it is of one of `trust_domains`; of the proxy's own where none are given. That the listener
/// validates certificates is taken for granted unless `require_validated`.
///
/// # Errors
/// Why there is none.
pub fn peer<'a>(
    request: &'a impl Request,
    trust_domains: &[TrustDomain],
    require_validated: bool,
) -> Result<SpiffeId<'a>, NoIdentity> {
    let Some(uri_san) = request.attribute(Attribute::UriSanPeerCertificate) else {
        let presented = request.attribute(Attribute::Mtls).and_then(attribute_bool);
        return Err(if presented == Some(true) { NoIdentity::NoSan } else { NoIdentity::NoMtls });
    };
    // Not by default: of a resumed TLS session Envoy says that its certificate was not validated
    // (envoyproxy/envoy#21235), and a listener that validates lets no other certificate through anyway.
    if require_validated && request.attribute(Attribute::PeerCertificateValid).and_then(attribute_bool) != Some(true) {
        return Err(NoIdentity::Unverified);
    }
    let id = SpiffeId::parse(uri_san).map_err(|_| NoIdentity::BadSpiffeId)?;
    let ours = if trust_domains.is_empty() {
        let own = request.attribute(Attribute::UriSanLocalCertificate).and_then(|uri| SpiffeId::parse(uri).ok());
        own.is_some_and(|own| own.trust_domain() == id.trust_domain())
    } else {
        trust_domains.iter().any(|domain| domain.as_str() == id.trust_domain())
    };
    if ours { Ok(id) } else { Err(NoIdentity::ForeignTrustDomain) }
}
