//! The conditions of a rule beside its `match`.

use tollgate::{
    address::Network,
    config::{ConfigError, FromNode, Node, Whole},
    config_struct,
    glob::Glob,
    route::{self, HostPattern, Method, PathPattern},
};

config_struct! {
    /// Conditions on a request, all of which must hold. Of a list one entry is enough, and of a `not` list none may fit.
    #[derive(Default)]
    pub struct When {
        /// Hosts that it must not be for; as in `match`.
        pub not_hosts: Vec<HostPattern> = or_default("notHosts"),
        /// Paths that it must not be for; as in `match`.
        pub not_paths: Vec<PathPattern> = or_default("notPaths"),
        /// Methods that it must not have.
        pub not_methods: Vec<Method> = or_default("notMethods"),
        /// Ports that the connection came to.
        pub ports: Vec<Port> = or_default("ports"),
        /// Ports that the connection must not have come to.
        pub not_ports: Vec<Port> = or_default("notPorts"),
        /// Server names that the client asked for in TLS; case does not count.
        pub sni: Vec<Glob> = or_default("sni"),
        /// Server names that the client must not have asked for; asking for none is fine.
        pub not_sni: Vec<Glob> = or_default("notSni"),
        /// Networks that the client's address is of.
        pub client_addresses: Vec<Network> = or_default("clientAddresses"),
        /// Networks that the client's address must not be of.
        pub not_client_addresses: Vec<Network> = or_default("notClientAddresses"),
        /// For both of them: how many proxies before this one write `X-Forwarded-For` and are trusted to. Unless given, none:
        /// then the address is the connection's own, and unknown where Envoy takes it from that header.
        pub trusted_hops: Option<Whole<0, 32>> = optional("trustedHops"),
        /// Headers.
        pub headers: Vec<HeaderValues> = or_default("headers"),
        /// Claims of a token that Envoy's jwt_authn has verified.
        pub jwt_claims: Vec<Claim> = or_default("jwtClaims"),
        /// Issuer and subject of such a token, as `<issuer>/<subject>`.
        pub request_principals: Vec<Glob> = or_default("requestPrincipals"),
        /// Issuers and subjects that it must not have; having no token is fine.
        pub not_request_principals: Vec<Glob> = or_default("notRequestPrincipals"),
    }
}

/// A TCP port.
pub type Port = Whole<1, 65535>;

config_struct! {
    /// A condition on the values of one header. One that is repeated with values that disagree is turned away.
    pub struct HeaderValues {
        /// The header's name.
        pub name: HeaderName = required("name"),
        /// Values, of which it must have one.
        pub values: Vec<Glob> = or_default("values"),
        /// Values that it must not have; not being there is fine.
        pub not_values: Vec<Glob> = or_default("notValues"),
    }
}

/// The name of a header, in lowercase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderName(String);

impl HeaderName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromNode for HeaderName {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        route::header_name(node.text()?).map(Self).map_err(ConfigError::here)
    }
}

config_struct! {
    /// A condition on one claim. Of a claim that is a list one element is enough.
    pub struct Claim {
        /// The claim: its name, or the names on the way to it.
        pub name: ClaimPath = required("name"),
        /// The key under which jwt_authn keeps the claims: `payload` unless given, which Istio has used since 1.24. Older
        /// ones use the issuer.
        pub payload: Option<String> = optional("payload"),
        /// Values, of which it must have one.
        pub values: Vec<Glob> = or_default("values"),
        /// Values that it must not have; not being there is fine.
        pub not_values: Vec<Glob> = or_default("notValues"),
    }
}

/// The names on the way to a claim: `[realm_access, roles]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath(Vec<String>);

impl ClaimPath {
    /// The names, the outermost first; at least one.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

impl FromNode for ClaimPath {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        let names = match node {
            Node::List(_) => Vec::from_node(node)?,
            name => vec![String::from_node(name)?],
        };
        match names.iter().any(String::is_empty) {
            true => Err(ConfigError::here("must not be empty".to_owned())),
            false => Ok(Self(names)),
        }
    }
}
