//! From a request to the bucket that it is charged to.

use std::{hash::Hasher as _, net::IpAddr};

use siphasher::sip128::{Hasher128 as _, SipHasher13};
use tollgate::{
    address::{client_address, masked},
    path::NormalizedPath,
    request::{Attribute, Request},
    route::{self, RouteMatch},
    spiffe::SpiffeId,
};

use crate::{
    config::{ClientAddress, Condition, Expected, KeyPart, Missing, Part, Selector},
    table::BucketId,
};

/// Random bytes that all workers of one proxy share, so that nobody outside can tell which keys meet in one page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seed(pub [u8; 16]);

/// The key of one rule.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    parts: Vec<KeyPart>,
    hasher: SipHasher13,
}

/// What a request's key comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Bucket(BucketId),
    /// The rule is not for a request without the part.
    Skip,
    /// A request without the part is turned away.
    Deny,
}

impl Key {
    pub(crate) fn new(parts: &[KeyPart], seed: Seed) -> Self {
        Self { parts: parts.to_vec(), hasher: SipHasher13::new_with_key(&seed.0) }
    }

    /// The bucket of `request`, which falls under a rule of these `matches`.
    pub(crate) fn find(&self, request: &impl Request, matches: &[RouteMatch]) -> Found {
        if self.parts.is_empty() {
            return Found::Bucket(BucketId::default());
        }
        let mut hasher = self.hasher;
        for KeyPart { part, missing } in &self.parts {
            match (value_of(part, request, matches), missing) {
                (Some(value), _) => {
                    // The length comes first, so no two lists of values can look the same; one more than it is, so
                    // that none looks like no value.
                    hasher.write_u64((value.len() as u64).saturating_add(1));
                    hasher.write(&value);
                }
                (None, Missing::Share) => hasher.write_u64(0),
                (None, Missing::Skip) => return Found::Skip,
                (None, Missing::Deny) => return Found::Deny,
            }
        }
        let hash = hasher.finish128();
        Found::Bucket(BucketId(u128::from(hash.h1) << 64 | u128::from(hash.h2)))
    }
}

/// Whether all conditions of `selector` hold for a request that falls under a rule of these `matches`.
pub fn selects(selector: &Selector, request: &impl Request, matches: &[RouteMatch]) -> bool {
    selector.conditions.iter().all(|Condition { part, expected }| match (part, expected) {
        (Part::ClientAddress(which), Expected::Network(network)) => {
            client(request, which).is_some_and(|address| network.contains(address))
        }
        (part, Expected::Value(expected)) => {
            value_of(part, request, matches).is_some_and(|value| value == expected.as_bytes())
        }
        (_, Expected::Network(_)) => false,
    })
}

/// What a request that falls under a rule of these `matches` has as `part`; addresses as their bytes, cut to the network.
pub fn value_of(part: &Part, request: &impl Request, matches: &[RouteMatch]) -> Option<Vec<u8>> {
    match part {
        Part::Principal => principal(request).map(|id| id.to_string().into_bytes()),
        Part::Namespace => principal(request)?.kubernetes().map(|(namespace, _)| namespace.as_bytes().to_vec()),
        Part::Host => request.authority().map(route::host),
        Part::Method => request.method().map(<[u8]>::to_ascii_uppercase),
        Part::ClientAddress(which) => client(request, which).map(|address| {
            let (ipv4, ipv6) = (which.ipv4.map_or(32, |bits| bits.get()), which.ipv6.map_or(64, |bits| bits.get()));
            let bits = if address.is_ipv4() { ipv4 } else { ipv6 };
            match masked(address, u8::try_from(bits).unwrap_or(u8::MAX)) {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            }
        }),
        Part::Header(name) => {
            let values = request.header(name);
            (!values.is_empty()).then(|| values.join(&b','))
        }
        Part::Cookie(name) => cookie(&request.header("cookie"), name.as_bytes()),
        Part::Query(name) => route::query_parameter(request, name).map(String::into_bytes),
        Part::PathVariable(name) => {
            let path = NormalizedPath::new(request.path()?);
            let mut patterns = matches.iter().flat_map(|matches| &matches.paths);
            patterns.find_map(|pattern| pattern.variable(name, &path)).map(|value| value.as_bytes().to_vec())
        }
        Part::JwtClaim { payload, name } => {
            request.property(&["metadata", "filter_metadata", "envoy.filters.http.jwt_authn", payload, name])
        }
        Part::Attribute(path) => request.property(&path.iter().map(String::as_str).collect::<Vec<_>>()),
    }
}

fn client(request: &impl Request, which: &ClientAddress) -> Option<IpAddr> {
    let hops = usize::try_from(which.trusted_hops.map_or(0, |hops| hops.get())).unwrap_or(usize::MAX);
    client_address(request, hops)
}

/// The identity of the peer's certificate.
fn principal(request: &impl Request) -> Option<SpiffeId<'_>> {
    SpiffeId::parse(request.attribute(Attribute::UriSanPeerCertificate)?).ok()
}

/// The value of the first cookie of that name (RFC 6265).
fn cookie(headers: &[Vec<u8>], name: &[u8]) -> Option<Vec<u8>> {
    let mut pairs = headers.iter().flat_map(|header| header.split(|byte| *byte == b';')).map(<[u8]>::trim_ascii);
    pairs.find_map(|pair| Some(pair.strip_prefix(name)?.strip_prefix(b"=")?.to_vec()))
}

#[cfg(test)]
mod tests;
