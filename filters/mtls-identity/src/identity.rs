//! Who is calling, by what Envoy verified and nothing else.
//!
//! A source either has nothing to say about a request, and then the next one is asked; or what it says is final, good or
//! bad: a worse source never mends what a better one refuses.

use tollgate::{
    request::{Attribute, Request, attribute_bool},
    spiffe::{InvalidSpiffeId, SpiffeId, TrustDomain},
    xfcc::{self, NotForwarded},
};

use crate::{
    certificates::{Certificates, Expiring, Moment},
    config::{Config, Principal, Source},
};

/// A caller whose identity counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller<'a> {
    /// The SPIFFE ID.
    pub id: SpiffeId<'a>,
    /// Whether the trust domain is our own or an alias of it.
    pub is_local: bool,
}

/// Why a caller has no identity that counts here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoIdentity {
    /// No certificate was presented: plaintext, or TLS without one.
    NoMtls,
    /// A certificate was presented but not validated.
    Unverified,
    /// The certificate has no URI SAN.
    NoSan,
    /// The certificate has several URI SANs; a SPIFFE certificate has one.
    SeveralSans,
    /// The URI SAN is empty.
    EmptySan,
    /// The URI is of another scheme than `spiffe`.
    OtherScheme,
    /// The URI is no SPIFFE ID of a workload.
    BadSpiffeId,
    /// The trust domain is not one that counts here.
    ForeignTrustDomain,
    /// The certificate is not valid any more.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// The certificate may sign others; a workload's may not.
    SigningCertificate,
    /// The certificate, or what has to be known of it, can't be read.
    UnreadableCertificate,
    /// `forwarded` is the source, and the peer is none of the forwarders.
    UntrustedForwarder,
    /// A forwarder says nothing of its caller: that one had no certificate.
    NoForwardedIdentity,
    /// What a forwarder says of its caller is malformed, or does not fit to who says it.
    BadForwardedIdentity,
}

impl NoIdentity {
    /// As logs and counters spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoMtls => "no_mtls",
            Self::Unverified => "unverified_certificate",
            Self::NoSan => "no_san",
            Self::SeveralSans => "several_sans",
            Self::EmptySan => "empty_san",
            Self::OtherScheme => "other_scheme",
            Self::BadSpiffeId => "bad_spiffe_id",
            Self::ForeignTrustDomain => "foreign_trust_domain",
            Self::Expired => "expired_certificate",
            Self::NotYetValid => "not_yet_valid_certificate",
            Self::SigningCertificate => "signing_certificate",
            Self::UnreadableCertificate => "unreadable_certificate",
            Self::UntrustedForwarder => "untrusted_forwarder",
            Self::NoForwardedIdentity => "no_forwarded_identity",
            Self::BadForwardedIdentity => "bad_forwarded_identity",
        }
    }

    /// Whether the source has nothing to say, so that the next one is asked.
    const fn is_absence(self) -> bool {
        matches!(self, Self::NoMtls | Self::UntrustedForwarder)
    }
}

/// What was read of the callers.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    certificates: Certificates,
    /// `x-forwarded-client-cert` of the request at hand.
    forwarded: Vec<Vec<u8>>,
}

impl Evidence {
    /// Until when the caller's certificate is valid, if that is to be said now.
    pub fn take_expiring(&mut self) -> Option<Expiring> {
        self.certificates.take_expiring()
    }
}

/// How callers are identified.
#[derive(Debug, Clone)]
pub struct Identification {
    sources: Vec<Source>,
    forwarders: Vec<Principal>,
    hops: usize,
    trust: TrustDomains,
    require_validated: bool,
    require_unexpired: bool,
}

impl Identification {
    /// Compiles a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let forwarded = config.forwarded.as_ref();
        let hops = forwarded.and_then(|forwarded| forwarded.hops).map_or(1, |hops| hops.get());
        Self {
            sources: config.sources.as_slice().to_vec(),
            forwarders: forwarded.map(|forwarded| forwarded.by.clone()).unwrap_or_default(),
            hops: usize::try_from(hops).unwrap_or(1),
            trust: TrustDomains::new(config),
            require_validated: config.require_validated,
            require_unexpired: config.require_unexpired,
        }
    }

    /// Who sends the request.
    ///
    /// # Errors
    /// Why that can't be told, or does not count.
    pub fn caller<'a>(
        &self,
        request: &'a impl Request,
        evidence: &'a mut Evidence,
        now: Moment,
    ) -> Result<Caller<'a>, NoIdentity> {
        let Evidence { certificates, forwarded } = evidence;
        let tls = self.tls(request, certificates, now);
        let mut absent = NoIdentity::NoMtls;
        for source in &self.sources {
            let found = match source {
                Source::Tls => tls,
                Source::Forwarded => match tls.and_then(|peer| self.is_forwarder(peer)) {
                    Err(reason) => Err(reason),
                    Ok(peer) => {
                        *forwarded = request.header("x-forwarded-client-cert");
                        return self.forwarded(request, peer, forwarded);
                    }
                },
                Source::PeerPrincipal => self.peer_principal(request),
            };
            match found {
                Err(reason) if reason.is_absence() => absent = reason,
                found => return found,
            }
        }
        Err(absent)
    }

    /// The peer of the connection.
    fn tls<'a>(
        &self,
        request: &'a impl Request,
        certificates: &'a mut Certificates,
        now: Moment,
    ) -> Result<Caller<'a>, NoIdentity> {
        if !self.sources.iter().any(|source| matches!(source, Source::Tls | Source::Forwarded)) {
            return Err(NoIdentity::NoMtls);
        }
        let digest = request.attribute(Attribute::PeerCertificateDigest).ok_or(NoIdentity::NoMtls)?;
        // Not by default: of a resumed TLS session Envoy says that its certificate was not validated
        // (envoyproxy/envoy#21235), and a listener that validates lets no other certificate through anyway.
        let is_valid = || request.attribute(Attribute::PeerCertificateValid).and_then(attribute_bool) == Some(true);
        if self.require_validated && !is_valid() {
            return Err(NoIdentity::Unverified);
        }
        let certificate = certificates.find(digest, request, now.monotonic).ok_or(NoIdentity::UnreadableCertificate)?;
        if self.require_unexpired {
            match certificate.validity {
                None => return Err(NoIdentity::UnreadableCertificate),
                Some((_, not_after)) if not_after < now.unix_seconds => return Err(NoIdentity::Expired),
                Some((not_before, _)) if not_before > now.unix_seconds => return Err(NoIdentity::NotYetValid),
                Some(_) => {}
            }
        }
        let uri = certificate.uri_san.as_ref().map_err(|reason| *reason)?;
        self.trust.caller(uri.as_bytes(), request)
    }

    /// The peer again, if it is a forwarder.
    fn is_forwarder<'a>(&self, peer: Caller<'a>) -> Result<Caller<'a>, NoIdentity> {
        let is_one = self.forwarders.iter().any(|forwarder| self.trust.is(peer, forwarder));
        if is_one { Ok(peer) } else { Err(NoIdentity::UntrustedForwarder) }
    }

    /// The caller of the forwarder `peer`.
    fn forwarded<'a>(
        &self,
        request: &impl Request,
        peer: Caller<'_>,
        headers: &'a [Vec<u8>],
    ) -> Result<Caller<'a>, NoIdentity> {
        let own = request.attribute(Attribute::UriSanLocalCertificate).and_then(|uri| core::str::from_utf8(uri).ok());
        let digest = request.attribute(Attribute::PeerCertificateDigest);
        let is_forwarder = |uri: &str| {
            self.trust.caller(uri.as_bytes(), request).and_then(|forwarder| self.is_forwarder(forwarder)).is_ok()
        };
        let own = own.ok_or(NoIdentity::BadForwardedIdentity)?;
        match xfcc::forwarded(headers, own, &peer.id.to_string(), digest, self.hops, is_forwarder) {
            Ok(uri) => self.trust.caller(uri.as_bytes(), request),
            Err(NotForwarded::Nothing) => Err(NoIdentity::NoForwardedIdentity),
            Err(_) => Err(NoIdentity::BadForwardedIdentity),
        }
    }

    /// The caller in an ambient mesh. Several URI SANs would come joined by commas.
    fn peer_principal<'a>(&self, request: &'a impl Request) -> Result<Caller<'a>, NoIdentity> {
        let principal = request.attribute(Attribute::PeerPrincipal).ok_or(NoIdentity::NoMtls)?;
        if principal.contains(&b',') {
            return Err(NoIdentity::SeveralSans);
        }
        self.trust.caller(principal, request)
    }
}

/// The trust domains that count.
#[derive(Debug, Clone)]
pub(crate) struct TrustDomains {
    /// Our own and its aliases; the proxy's own if there are none.
    local: Vec<TrustDomain>,
    federated: Vec<TrustDomain>,
}

impl TrustDomains {
    pub(crate) fn new(config: &Config) -> Self {
        Self { local: config.trust_domains.clone(), federated: config.federated_trust_domains.clone() }
    }

    /// Whether it is said to be our own or an alias of it.
    pub(crate) fn is_alias(&self, trust_domain: &str) -> bool {
        self.local.iter().any(|alias| alias.as_str() == trust_domain)
    }

    /// The caller with this URI.
    fn caller<'a>(&self, uri: &'a [u8], request: &impl Request) -> Result<Caller<'a>, NoIdentity> {
        let id = SpiffeId::parse(uri).map_err(|error| match error {
            InvalidSpiffeId::Scheme => NoIdentity::OtherScheme,
            _ => NoIdentity::BadSpiffeId,
        })?;
        let is_own = || {
            let own = request.attribute(Attribute::UriSanLocalCertificate).and_then(|uri| SpiffeId::parse(uri).ok());
            own.is_some_and(|own| own.trust_domain() == id.trust_domain())
        };
        let is_local = if self.local.is_empty() { is_own() } else { self.is_alias(id.trust_domain()) };
        if is_local || self.federated.iter().any(|domain| domain.as_str() == id.trust_domain()) {
            return Ok(Caller { id, is_local });
        }
        Err(NoIdentity::ForeignTrustDomain)
    }

    /// Whether `principal` fits a caller.
    pub(crate) fn is(&self, caller: Caller<'_>, principal: &Principal) -> bool {
        self.is_of(caller, &principal.trust_domain) && principal.fits_path(caller.id.path())
    }

    /// Whether a caller is of a trust domain; our own and its aliases are one.
    pub(crate) fn is_of(&self, caller: Caller<'_>, trust_domain: &str) -> bool {
        caller.id.trust_domain() == trust_domain || caller.is_local && self.is_alias(trust_domain)
    }
}

#[cfg(test)]
mod tests;
