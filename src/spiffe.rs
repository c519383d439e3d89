//! SPIFFE IDs to the letter of the SPIFFE standard (SPIFFE-ID.md).

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
    /// Does not start with `spiffe://`.
    Scheme,
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
            Self::Scheme => "does not start with spiffe://",
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
        if uri.len() > LONGEST_ID {
            return Err(InvalidSpiffeId::TooLong);
        }
        let uri = core::str::from_utf8(uri).map_err(|_| InvalidSpiffeId::Scheme)?;
        Self::parse_schemeless(uri.strip_prefix(SCHEME).ok_or(InvalidSpiffeId::Scheme)?)
    }

    /// Parses a principal as Istio writes it: a SPIFFE ID without `spiffe://`.
    ///
    /// # Errors
    /// It is not the SPIFFE ID of a workload.
    pub fn parse_schemeless(principal: &'a str) -> Result<Self, InvalidSpiffeId> {
        let (trust_domain, path) = principal.split_once('/').ok_or(InvalidSpiffeId::NoPath)?;
        if !is_trust_domain(trust_domain) {
            return Err(InvalidSpiffeId::TrustDomain);
        }
        if !path.split('/').all(is_path_segment) {
            return Err(InvalidSpiffeId::PathSegment);
        }
        Ok(Self { trust_domain, path })
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
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn takes_a_workload_apart() {
        let id = SpiffeId::parse(b"spiffe://cluster.local/ns/blog/sa/posts").unwrap();
        assert_eq!((id.trust_domain(), id.path()), ("cluster.local", "ns/blog/sa/posts"));
        assert_eq!(id.kubernetes(), Some(("blog", "posts")));
        assert_eq!(id.to_string(), "spiffe://cluster.local/ns/blog/sa/posts");
    }

    #[test]
    fn only_the_exact_kubernetes_form_has_a_namespace() {
        for path in ["ns/a/sa", "ns/a/sa/b/c", "ns/a/b/sa/c", "x/ns/a/sa/b", "sa/b/ns/a", "workload"] {
            let uri = format!("spiffe://td/{path}");
            assert_eq!(SpiffeId::parse(uri.as_bytes()).unwrap().kubernetes(), None, "{path}");
        }
    }

    #[test]
    fn refuses_what_the_standard_refuses() {
        use InvalidSpiffeId::*;
        for (uri, reason) in [
            ("", Scheme),
            ("https://td/a", Scheme),
            ("SPIFFE://td/a", Scheme),
            ("spiffe:/td/a", Scheme),
            ("spiffe://td", NoPath),
            ("spiffe:///a", TrustDomain),
            ("spiffe://TD/a", TrustDomain),
            ("spiffe://td:443/a", TrustDomain),
            ("spiffe://user@td/a", TrustDomain),
            ("spiffe://t%64/a", TrustDomain),
            ("spiffe://td/", PathSegment),
            ("spiffe://td/a/", PathSegment),
            ("spiffe://td//a", PathSegment),
            ("spiffe://td/a/../b", PathSegment),
            ("spiffe://td/./a", PathSegment),
            ("spiffe://td/a?q", PathSegment),
            ("spiffe://td/a#f", PathSegment),
            ("spiffe://td/%61", PathSegment),
            ("spiffe://td/é", PathSegment),
            ("spiffe://td/a,spiffe://td/b", PathSegment),
        ] {
            assert_eq!(SpiffeId::parse(uri.as_bytes()), Err(reason), "{uri}");
        }
        assert_eq!(SpiffeId::parse(b"spiffe://td/\xff"), Err(Scheme));
    }

    #[test]
    fn holds_the_lengths() {
        let id = |domain: usize, path: usize| format!("spiffe://{}/{}", "d".repeat(domain), "p".repeat(path));
        assert!(SpiffeId::parse(id(255, 2048 - 9 - 255 - 1).as_bytes()).is_ok());
        assert_eq!(SpiffeId::parse(id(255, 2048 - 9 - 255).as_bytes()), Err(InvalidSpiffeId::TooLong));
        assert_eq!(SpiffeId::parse(id(256, 1).as_bytes()), Err(InvalidSpiffeId::TrustDomain));
    }
}
