//! Peers, as a rule's `allow` and `deny` name them.

use tollgate::{
    config::{ConfigError, FromNode, Node},
    config_struct,
    spiffe::{SpiffeId, TrustDomain},
};

config_struct! {
    /// A peer. All that is given must hold; of a list one entry is enough, and of a `not` list none may fit.
    #[derive(Default)]
    pub struct Peer {
        /// SPIFFE IDs.
        pub principals: Vec<Principal> = or_default("principals"),
        /// SPIFFE IDs that it must not have.
        pub not_principals: Vec<Principal> = or_default("notPrincipals"),
        /// Kubernetes namespaces: of peers whose SPIFFE ID has the form `ns/<namespace>/sa/<account>` and is of our own trust
        /// domain, or of one of `trustDomains` here.
        pub namespaces: Vec<Segment> = or_default("namespaces"),
        /// Kubernetes namespaces that it must not be of.
        pub not_namespaces: Vec<Segment> = or_default("notNamespaces"),
        /// Kubernetes service accounts, of the same peers.
        pub service_accounts: Vec<Account> = or_default("serviceAccounts"),
        /// Kubernetes service accounts that it must not have.
        pub not_service_accounts: Vec<Account> = or_default("notServiceAccounts"),
        /// Trust domains; an alias of our own stands for all of them.
        pub trust_domains: Vec<TrustDomain> = or_default("trustDomains"),
        /// Trust domains that it must not be of.
        pub not_trust_domains: Vec<TrustDomain> = or_default("notTrustDomains"),
    }
}

/// A SPIFFE ID, with or without `spiffe://`. `*` stands for one whole segment of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub(crate) trust_domain: String,
    /// Without its first slash.
    pub(crate) path: String,
    pub(crate) has_wildcard: bool,
}

impl Principal {
    fn parse(text: &str) -> Result<Self, String> {
        let principal = text.strip_prefix("spiffe://").unwrap_or(text);
        // Nothing but `*` may deviate from the standard.
        let concrete = principal.split('/').map(|segment| if segment == "*" { "x" } else { segment });
        let concrete = concrete.collect::<Vec<_>>().join("/");
        SpiffeId::parse_schemeless(&concrete).map_err(|error| format!("invalid principal `{text}`: {error}"))?;
        let (trust_domain, path) = principal.split_once('/').unwrap_or((principal, ""));
        if trust_domain == "*" {
            return Err(format!("invalid principal `{text}`: the trust domain cannot be `*`"));
        }
        let has_wildcard = path.split('/').any(|segment| segment == "*");
        Ok(Self { trust_domain: trust_domain.to_owned(), path: path.to_owned(), has_wildcard })
    }

    /// Whether the path of a SPIFFE ID, without its first slash, fits.
    #[must_use]
    pub fn fits_path(&self, path: &str) -> bool {
        if !self.has_wildcard {
            return self.path == path;
        }
        let mut segments = path.split('/');
        let fits = |pattern: &str, segment: &str| pattern == "*" || pattern == segment;
        self.path.split('/').all(|pattern| segments.next().is_some_and(|segment| fits(pattern, segment)))
            && segments.next().is_none()
    }
}

impl FromNode for Principal {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        Self::parse(node.text()?).map_err(ConfigError::here)
    }
}

/// A Kubernetes name, or any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Any one.
    Any,
    /// This one.
    Exact(String),
}

impl Segment {
    /// Whether it is `name`.
    #[must_use]
    pub fn fits(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact == name,
        }
    }

    fn parse(text: &str, is_name: fn(&str) -> bool) -> Option<Self> {
        match text {
            "*" => Some(Self::Any),
            name if is_name(name) => Some(Self::Exact(name.to_owned())),
            _ => None,
        }
    }
}

impl FromNode for Segment {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        let text = node.text()?;
        Self::parse(text, is_label).ok_or_else(|| {
            let rule = "use 1 to 63 of a-z, 0-9 and `-`, not at an end, or `*` for any";
            ConfigError::here(format!("invalid namespace `{text}`: {rule}"))
        })
    }
}

/// A service account in its namespace: `<namespace>/<account>`, either of which may be `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub(crate) namespace: Segment,
    pub(crate) name: Segment,
}

impl FromNode for Account {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        let text = node.text()?;
        let parts = text.split_once('/').and_then(|(namespace, name)| {
            Some(Self { namespace: Segment::parse(namespace, is_label)?, name: Segment::parse(name, is_subdomain)? })
        });
        parts.ok_or_else(|| {
            let rule = "write `<namespace>/<account>`, with `*` for any";
            ConfigError::here(format!("invalid service account `{text}`: {rule}"))
        })
    }
}

/// RFC 1123's label, as Kubernetes has it.
fn is_label(name: &str) -> bool {
    let of_a_label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good_ends = !name.starts_with('-') && !name.ends_with('-');
    (1..=63).contains(&name.len()) && good_ends && name.bytes().all(of_a_label)
}

/// RFC 1123's subdomain, as Kubernetes has it.
fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(feature = "schema")]
tollgate::text_schema! {
    Principal = "principal", "", "a SPIFFE ID with or without `spiffe://`; `*` stands for one segment of its path";
    Segment = "namespace", "^(\\*|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)$", "a Kubernetes namespace, or `*` for any";
    Account = "service account", "^[^/]+/[^/]+$", "`<namespace>/<account>`; either may be `*` for any";
}
