//! SPIFFE IDs to the letter of the SPIFFE standard (SPIFFE-ID.md).
//!
//! Only the one form that the standard lets be issued is accepted, byte by byte: a scheme or a trust domain in capitals,
//! which it says to read in any case, is refused as everywhere else in a mesh.

use core::fmt;

use crate::config::{ConfigError, FromNode, Node};

const SCHEME: &str = "spiffe://";
const LONGEST_ID: usize = 2048;
const LONGEST_TRUST_DOMAIN: usize = 255;

/// Why something is not a SPIFFE ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidSpiffeId {
    /// Longer than 2,048 bytes.
    TooLong,
    /// Has another scheme than `spiffe`, or none.
    Scheme,
    /// Has the scheme, but does not start with `spiffe://`: `SPIFFE://`, `spiffe:/`.
    Start,
    /// The trust domain is empty, longer than 255 bytes or has characters outside `a-z0-9._-`.
    TrustDomain,
    /// No path: it names a trust domain, not a workload.
    NoPath,
    /// A path segment is empty, `.`, `..` or has characters outside `A-Za-z0-9._-`.
    PathSegment,
}

impl fmt::Display for InvalidSpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "longer than 2048 bytes",
            Self::Scheme => "has another scheme than spiffe",
            Self::Start => "does not start with spiffe://",
            Self::TrustDomain => "the trust domain must be 1 to 255 characters of a-z, 0-9, `.`, `_`, `-`",
            Self::NoPath => "has no path",
            Self::PathSegment => {
                "a path segment must be characters of A-Z, a-z, 0-9, `.`, `_`, `-`, and not `.` or `..`"
            }
        })
    }
}

impl core::error::Error for InvalidSpiffeId {}

/// The SPIFFE ID of a workload: `spiffe://<trust domain>/<path>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpiffeId<'a> {
    trust_domain: &'a str,
    path: &'a str,
}

impl<'a> SpiffeId<'a> {
    /// Parses a URI SAN.
    ///
    /// # Errors
    /// It is not the SPIFFE ID of a workload.
    pub fn parse(uri: &'a [u8]) -> Result<Self, InvalidSpiffeId> {
        let Some(principal) = uri.strip_prefix(SCHEME.as_bytes()) else {
            let scheme = uri.split(|byte| *byte == b':').next().filter(|scheme| scheme.len() < uri.len());
            let is_spiffe = scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"spiffe"));
            return Err(if is_spiffe { InvalidSpiffeId::Start } else { InvalidSpiffeId::Scheme });
        };
        parse(principal)
    }

    /// Parses a principal as Istio writes it: a SPIFFE ID without `spiffe://`.
    ///
    /// # Errors
    /// It is not the SPIFFE ID of a workload.
    pub fn parse_schemeless(principal: &'a str) -> Result<Self, InvalidSpiffeId> {
        parse(principal.as_bytes())
    }

    /// The trust domain, such as `cluster.local`.
    #[must_use]
    pub const fn trust_domain(&self) -> &'a str {
        self.trust_domain
    }

    /// The path without its first slash, such as `ns/blog/sa/posts`.
    #[must_use]
    pub const fn path(&self) -> &'a str {
        self.path
    }

    /// Namespace and service account, when the path is Kubernetes' `ns/<namespace>/sa/<service account>`.
    #[must_use]
    pub fn kubernetes(&self) -> Option<(&'a str, &'a str)> {
        let mut segments = self.path.split('/');
        match [(); 5].map(|()| segments.next()) {
            [Some("ns"), Some(namespace), Some("sa"), Some(service_account), None] => {
                Some((namespace, service_account))
            }
            _ => None,
        }
    }
}

impl fmt::Display for SpiffeId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.trust_domain, self.path)
    }
}

/// Parses what is behind `spiffe://`.
fn parse(principal: &[u8]) -> Result<SpiffeId<'_>, InvalidSpiffeId> {
    if principal.len() > LONGEST_ID.saturating_sub(SCHEME.len()) {
        return Err(InvalidSpiffeId::TooLong);
    }
    let slash = principal.iter().position(|byte| *byte == b'/').ok_or(InvalidSpiffeId::NoPath)?;
    let (trust_domain, path) = principal.split_at_checked(slash).ok_or(InvalidSpiffeId::NoPath)?;
    let path = path.get(1..).unwrap_or_default();
    // What is not UTF-8 has bytes that are allowed nowhere.
    let trust_domain = core::str::from_utf8(trust_domain).ok().filter(|name| is_trust_domain(name));
    let path = core::str::from_utf8(path).ok().filter(|path| path.split('/').all(is_path_segment));
    Ok(SpiffeId {
        trust_domain: trust_domain.ok_or(InvalidSpiffeId::TrustDomain)?,
        path: path.ok_or(InvalidSpiffeId::PathSegment)?,
    })
}

fn is_trust_domain(text: &str) -> bool {
    (1..=LONGEST_TRUST_DOMAIN).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
}

fn is_path_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// A trust domain of a configuration, such as `cluster.local`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustDomain(String);

impl TrustDomain {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromNode for TrustDomain {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        let name = node.text()?;
        if !is_trust_domain(name) {
            return Err(ConfigError::here(format!("invalid trust domain `{name}`: {}", InvalidSpiffeId::TrustDomain)));
        }
        Ok(Self(name.to_owned()))
    }
}

#[cfg(test)]
mod tests;
