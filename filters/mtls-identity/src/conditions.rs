//! Whether the conditions of a rule's `when` hold.
//!
//! What two readers may understand differently, or what can't be known, neither holds nor fails: it is a doubt, which
//! denies, unless another condition fails for certain.

use std::net::IpAddr;

use tollgate::{
    address::{Network, plain_client_address},
    glob::Glob,
    path::{NormalizedPath, may_name_a_host},
    request::{Attribute, Request, attribute_u64},
    route::NormalizedHost,
};

use crate::{
    config::{Claim, HeaderValues, When},
    policy::Reason,
};

/// jwt_authn's place in the metadata.
const JWT_AUTHN: [&str; 3] = ["metadata", "filter_metadata", "envoy.filters.http.jwt_authn"];

/// Whether all of `when` holds.
///
/// # Errors
/// A doubt.
pub fn hold(when: &When, request: &impl Request) -> Result<bool, Reason> {
    let conditions: [&dyn Fn() -> Result<bool, Reason>; 9] = [
        &|| Ok(method_holds(when, request)),
        &|| Ok(ports_hold(when, request)),
        &|| host_holds(when, request),
        &|| path_holds(when, request),
        &|| Ok(sni_holds(when, request)),
        &|| addresses_hold(when, request),
        &|| all(when.headers.iter().map(|header| header_holds(header, request))),
        &|| all(when.jwt_claims.iter().map(|claim| claim_holds(claim, request))),
        &|| Ok(request_principal_holds(when, request)),
    ];
    all(conditions.iter().map(|holds| holds()))
}

/// Whether all hold: what fails for certain counts more than a doubt.
fn all(conditions: impl Iterator<Item = Result<bool, Reason>>) -> Result<bool, Reason> {
    let mut doubt = None;
    for condition in conditions {
        match condition {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(reason) => doubt = doubt.or(Some(reason)),
        }
    }
    doubt.map_or(Ok(true), Err)
}

fn method_holds(when: &When, request: &impl Request) -> bool {
    let method = request.method().filter(|_| !when.not_methods.is_empty()).unwrap_or_default();
    !when.not_methods.iter().any(|not| not.as_str().as_bytes().eq_ignore_ascii_case(method))
}

fn ports_hold(when: &When, request: &impl Request) -> bool {
    if when.ports.is_empty() && when.not_ports.is_empty() {
        return true;
    }
    let port = request.attribute(Attribute::DestinationPort).and_then(attribute_u64);
    let is_one = |port: u64, ports: &[crate::config::Port]| ports.iter().any(|known| known.get() == port);
    (when.ports.is_empty() || port.is_some_and(|port| is_one(port, &when.ports)))
        && !port.is_some_and(|port| is_one(port, &when.not_ports))
}

fn host_holds(when: &When, request: &impl Request) -> Result<bool, Reason> {
    if when.not_hosts.is_empty() {
        return Ok(true);
    }
    let host = NormalizedHost::new(request.authority().unwrap_or_default());
    if host.is_ambiguous() || request.path().is_some_and(may_name_a_host) {
        return Err(Reason::AmbiguousHost);
    }
    Ok(!when.not_hosts.iter().any(|pattern| pattern.matches(&host)))
}

fn path_holds(when: &When, request: &impl Request) -> Result<bool, Reason> {
    if when.not_paths.is_empty() {
        return Ok(true);
    }
    let path = NormalizedPath::new(request.path().unwrap_or_default());
    match path.ambiguity() {
        Some(_) => Err(Reason::AmbiguousPath),
        None => Ok(!when.not_paths.iter().any(|pattern| pattern.matches(&path))),
    }
}

fn sni_holds(when: &When, request: &impl Request) -> bool {
    if when.sni.is_empty() && when.not_sni.is_empty() {
        return true;
    }
    let sni = request.attribute(Attribute::RequestedServerName).unwrap_or_default();
    let is_one = |names: &[Glob]| names.iter().any(|name| name.matches_in_any_case(sni));
    (when.sni.is_empty() || is_one(&when.sni)) && !is_one(&when.not_sni)
}

fn addresses_hold(when: &When, request: &impl Request) -> Result<bool, Reason> {
    if when.client_addresses.is_empty() && when.not_client_addresses.is_empty() {
        return Ok(true);
    }
    let hops = when.trusted_hops.map_or(0, |hops| hops.get());
    // Not to know it must not let anybody past a rule that denies.
    let hops = usize::try_from(hops).unwrap_or(usize::MAX);
    let client = plain_client_address(request, hops).ok_or(Reason::UnknownAddress)?;
    let is_in_one = |networks: &[Network], client: IpAddr| networks.iter().any(|network| network.contains(client));
    Ok((when.client_addresses.is_empty() || is_in_one(&when.client_addresses, client))
        && !is_in_one(&when.not_client_addresses, client))
}

/// Each value of a repeated header must say the same: the application may take any of them.
fn header_holds(header: &HeaderValues, request: &impl Request) -> Result<bool, Reason> {
    let values = request.header(header.name.as_str());
    let mut said = values.iter().map(|value| holds(&header.values, &header.not_values, std::slice::from_ref(value)));
    let Some(first) = said.next() else { return Ok(holds(&header.values, &header.not_values, &[])) };
    if said.all(|other| other == first) { Ok(first) } else { Err(Reason::AmbiguousHeader) }
}

fn claim_holds(claim: &Claim, request: &impl Request) -> Result<bool, Reason> {
    let payload = claim.payload.as_deref().unwrap_or("payload");
    let names = claim.name.names().iter().map(String::as_str);
    let path: Vec<&str> = JWT_AUTHN.into_iter().chain([payload]).chain(names).collect();
    let values = request.values(&path).ok_or(Reason::UnreadableClaim)?;
    Ok(holds(&claim.values, &claim.not_values, &values))
}

fn request_principal_holds(when: &When, request: &impl Request) -> bool {
    if when.request_principals.is_empty() && when.not_request_principals.is_empty() {
        return true;
    }
    let claim = |name| request.property(&JWT_AUTHN.into_iter().chain(["payload", name]).collect::<Vec<_>>());
    let principal = claim("iss").zip(claim("sub")).map(|(issuer, subject)| [issuer, subject].join(&b'/'));
    holds(&when.request_principals, &when.not_request_principals, principal.as_slice())
}

/// Whether one of `values` is wanted, if any are, and none is unwanted.
fn holds(wanted: &[Glob], unwanted: &[Glob], values: &[Vec<u8>]) -> bool {
    let have = |globs: &[Glob]| globs.iter().any(|glob| values.iter().any(|value| glob.matches(value)));
    (wanted.is_empty() || have(wanted)) && !have(unwanted)
}
