//! What callers' certificates say, read once for each certificate: its digest, which Envoy says of every connection,
//! stands for it from then on.

use std::collections::HashMap;

use tollgate::{
    request::{Attribute, Request},
    time::{Duration, Instant},
    x509::Leaf,
    xfcc::{self, Occurrence},
};

use crate::identity::NoIdentity;

/// How many certificates one worker remembers.
const MOST: usize = 1000;

/// How often the expiry of a certificate in use is said, and how long one is remembered that is not.
const INTERVAL: Duration = Duration::from_nanos(10_000_000_000);
const FORGOTTEN_AFTER: Duration = Duration::from_nanos(60_000_000_000);

/// The time, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The monotonic one.
    pub monotonic: Instant,
    /// Seconds since 1970, by the wall clock.
    pub unix_seconds: i64,
}

/// Certificates by their digest; at most 1,000.
#[derive(Debug, Clone, Default)]
pub struct Certificates {
    known: HashMap<Vec<u8>, Certificate>,
    expiring: Option<Expiring>,
}

/// What one certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// Its only URI SAN.
    pub(crate) uri_san: Result<String, NoIdentity>,
    /// From and until when it is valid, in seconds since 1970. Envoys before `connection.peer_certificate` don't say.
    pub(crate) validity: Option<(i64, i64)>,
    /// Whether it can't look different at the next request.
    is_certain: bool,
    used_at: Instant,
}

/// Until when the certificate of a caller is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiring {
    /// The caller's URI SAN.
    pub uri_san: String,
    /// Seconds since 1970.
    pub not_after: i64,
}

impl Certificates {
    /// The certificate of this digest, which is that of the request's connection.
    pub(crate) fn find(&mut self, digest: &[u8], request: &impl Request, now: Instant) -> Option<&Certificate> {
        if !self.known.get(digest).is_some_and(|known| known.is_certain) {
            self.make_room(now);
            let certificate = Certificate::read(digest, request, now);
            self.expiring = certificate.expiring();
            self.known.insert(digest.to_owned(), certificate);
        } else if let Some(known) = self.known.get_mut(digest)
            && now.since(known.used_at) >= INTERVAL
        {
            known.used_at = now;
            self.expiring = known.expiring();
        }
        self.known.get(digest)
    }

    /// What is to be said of the certificate that was found last: once when it is new, and every ten seconds in use.
    pub fn take_expiring(&mut self) -> Option<Expiring> {
        self.expiring.take()
    }

    fn make_room(&mut self, now: Instant) {
        if self.known.len() < MOST {
            return;
        }
        self.known.retain(|_, known| now.since(known.used_at) < FORGOTTEN_AFTER);
        if self.known.len() >= MOST {
            self.known.clear();
        }
    }
}

impl Certificate {
    fn read(digest: &[u8], request: &impl Request, now: Instant) -> Self {
        let unsaid = Self { uri_san: Err(NoIdentity::NoSan), validity: None, is_certain: true, used_at: now };
        match request.attribute(Attribute::PeerCertificate).map(Leaf::from_url_encoded_pem) {
            Some(Ok(leaf)) => {
                let uri_san = if leaf.may_sign { Err(NoIdentity::SigningCertificate) } else { only(leaf.uri_sans) };
                Self { uri_san, validity: Some((leaf.not_before, leaf.not_after)), ..unsaid }
            }
            Some(Err(_)) => Self { uri_san: Err(NoIdentity::UnreadableCertificate), ..unsaid },
            None => Self::read_from_an_older_envoy(digest, request, unsaid),
        }
    }

    /// Older Envoys say the first URI SAN alone. Whether there are more is in the element of `x-forwarded-client-cert` that
    /// Envoy itself has added, where it does add one: in Istio always.
    fn read_from_an_older_envoy(digest: &[u8], request: &impl Request, unsaid: Self) -> Self {
        let headers = request.header("x-forwarded-client-cert");
        let own = headers.last().map(|value| xfcc::own_element(value, digest));
        let uri_san = match (request.attribute(Attribute::UriSanPeerCertificate), &own) {
            (_, Some(Err(_))) => Err(NoIdentity::BadForwardedIdentity),
            (_, Some(Ok(Some(element)))) if element.uri == Occurrence::Several => Err(NoIdentity::SeveralSans),
            (Some(uri), _) => core::str::from_utf8(uri).map(str::to_owned).map_err(|_| NoIdentity::BadSpiffeId),
            (None, _) => Err(NoIdentity::NoSan),
        };
        Self { uri_san, is_certain: matches!(own, Some(Ok(Some(_)))), ..unsaid }
    }

    fn expiring(&self) -> Option<Expiring> {
        let (uri_san, (_, not_after)) = (self.uri_san.as_ref().ok()?.clone(), self.validity?);
        Some(Expiring { uri_san, not_after })
    }
}

fn only(mut uri_sans: Vec<String>) -> Result<String, NoIdentity> {
    match (uri_sans.pop(), uri_sans.is_empty()) {
        (None, _) => Err(NoIdentity::NoSan),
        (Some(_), false) => Err(NoIdentity::SeveralSans),
        (Some(uri), true) if uri.is_empty() => Err(NoIdentity::EmptySan),
        (Some(uri), true) => Ok(uri),
    }
}

#[cfg(test)]
mod tests;
