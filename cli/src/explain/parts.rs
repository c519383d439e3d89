//! The parts of a key in words.

use std::net::IpAddr;

use rate_limit::config::{ClientAddress, Part};

use super::request::Seen;

/// A part as it is written.
pub(super) fn name_of(part: &Part) -> String {
    match part {
        Part::Principal => "principal".into(),
        Part::Namespace => "namespace".into(),
        Part::Host => "host".into(),
        Part::Method => "method".into(),
        Part::ClientAddress(_) => "clientAddress".into(),
        Part::Header(name) => format!("header {name}"),
        Part::Cookie(name) => format!("cookie {name}"),
        Part::Query(name) => format!("query {name}"),
        Part::PathVariable(name) => format!("pathVariable {name}"),
        Part::JwtClaim { name, .. } => format!("jwtClaim {name}"),
        Part::Attribute(path) => format!("attribute {}", path.join(".")),
    }
}

pub(super) fn text_of(part: &Part, value: Vec<u8>) -> String {
    if let Part::ClientAddress(ClientAddress { ipv4, ipv6, .. }) = part {
        if let Ok(bytes) = <[u8; 4]>::try_from(&value[..]) {
            return format!("{}/{}", IpAddr::from(bytes), ipv4.map_or(32, |bits| bits.get()));
        }
        if let Ok(bytes) = <[u8; 16]>::try_from(&value[..]) {
            return format!("{}/{}", IpAddr::from(bytes), ipv6.map_or(64, |bits| bits.get()));
        }
    }
    String::from_utf8_lossy(&value).into_owned()
}

/// What to say of the request, or of the rule, for the part to be there.
pub(super) fn why_missing(part: &Part, request: &Seen<'_>) -> String {
    let why = match part {
        Part::Principal | Part::Namespace => "--principal says who calls",
        Part::ClientAddress(which)
            if which.trusted_hops.is_none_or(|hops| hops.get() == 0) && request.source_is_said() =>
        {
            "a sidecar knows the address only by x-forwarded-for, which counts by trustedHops alone: write 1 behind one \
             gateway"
        }
        Part::ClientAddress(_) if !request.has_source() => "--source says where from",
        Part::JwtClaim { .. } => "--jwt-claim says what a verified token has",
        Part::Attribute(_) => "--attribute says what Envoy has there",
        _ => return String::new(),
    };
    format!(" ({why})")
}
