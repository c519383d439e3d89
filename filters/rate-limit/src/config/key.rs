//! What sets callers apart: the parts of a key, and conditions on them.

use tollgate::{
    address::Network,
    config::{ConfigError, Fields, FromNode, Node, Whole},
    config_enum, config_struct,
    route::{HostPattern, Method, header_name},
    spiffe::SpiffeId,
};

/// Where Envoy's jwt_authn keeps the claims that it has verified, and the name that Istio (since 1.24) tells it to use.
const JWT_PAYLOAD: &str = "payload";

/// One part of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPart {
    /// What is looked at.
    pub part: Part,
    /// What happens when a request does not have it.
    pub missing: Missing,
}

/// What is looked at in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The SPIFFE ID of the peer's certificate.
    Principal,
    /// Its Kubernetes namespace.
    Namespace,
    /// The host, in lowercase and without port.
    Host,
    /// The method.
    Method,
    /// The client's address, or its network.
    ClientAddress(ClientAddress),
    /// All values of a header.
    Header(String),
    /// A cookie's value.
    Cookie(String),
    /// A parameter of the query, decoded.
    Query(String),
    /// What the path has in place of a variable of the rule's path patterns.
    PathVariable(String),
    /// A claim of a token that jwt_authn has verified.
    JwtClaim {
        /// Where jwt_authn keeps them.
        payload: String,
        /// The claim.
        name: String,
    },
    /// Any attribute, by its path.
    Attribute(Vec<String>),
}

config_enum! {
    /// What happens when a request does not have a part of the key.
    #[derive(Default)]
    pub enum Missing {
        /// All such requests share one bucket.
        #[default]
        Share = "share",
        /// The rule is not for it; the next one is tried.
        Skip = "skip",
        /// It is turned away.
        Deny = "deny",
    }
}

config_struct! {
    /// Which address, and how much of it.
    #[derive(Default)]
    pub struct ClientAddress {
        /// How many bits of an IPv4 address count. 32 unless given.
        pub ipv4: Option<Whole<1, 32>> = optional("ipv4"),
        /// How many bits of an IPv6 address count. 64 unless given: that is what one subscriber gets at least.
        pub ipv6: Option<Whole<1, 128>> = optional("ipv6"),
        /// How many proxies before this one write `X-Forwarded-For` and are trusted to: 1 on a sidecar behind one gateway,
        /// and one more than `numTrustedProxies` on an Istio gateway that has it. Unless given, none: then the address is the connection's own, and missing where Envoy takes it from that header.
        pub trusted_hops: Option<Whole<0, 32>> = optional("trustedHops"),
    }
}

config_struct! {
    /// A claim, and where jwt_authn keeps it.
    pub(super) struct JwtClaim {
        /// The claim. An override compares strings alone; in a key numbers and booleans will do.
        name: NonEmpty = required("name"),
        /// The key under which jwt_authn keeps the claims: `payload` unless given, which Istio has used since 1.24. Older
        /// ones use the issuer.
        payload: Option<NonEmpty> = optional("payload"),
    }
}

/// A name that is not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NonEmpty(String);

impl FromNode for NonEmpty {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        match node.text()? {
            "" => Err(ConfigError::here("must not be empty".to_owned())),
            name => Ok(Self(name.to_owned())),
        }
    }
}

const KINDS: &[&str] = &[
    "principal",
    "namespace",
    "host",
    "method",
    "clientAddress",
    "header",
    "cookie",
    "query",
    "pathVariable",
    "jwtClaim",
    "attribute",
];

impl FromNode for KeyPart {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        if let Node::Text(_) = node {
            let kind = node.one_of(&KINDS.iter().map(|kind| (*kind, *kind)).collect::<Vec<_>>())?;
            return match Part::plain(kind) {
                Some(part) => Ok(Self { part, missing: Missing::Share }),
                None => Err(ConfigError::here(format!("must say which: {{{kind}: ...}}"))),
            };
        }
        let fields = node.fields(&[KINDS, &["missing"]].concat())?;
        let mut kinds = KINDS.iter().filter_map(|kind| fields.node(kind).map(|node| (*kind, node)));
        let (Some((kind, argument)), None) = (kinds.next(), kinds.next()) else {
            return Err(ConfigError::here("must have exactly one part, such as `header`, beside `missing`".to_owned()));
        };
        let part = Part::read(kind, argument).map_err(|error| error.under(kind))?;
        Ok(Self { part, missing: fields.or_default("missing")? })
    }
}

impl Part {
    /// The part that needs no argument.
    fn plain(kind: &str) -> Option<Self> {
        Some(match kind {
            "principal" => Self::Principal,
            "namespace" => Self::Namespace,
            "host" => Self::Host,
            "method" => Self::Method,
            "clientAddress" => Self::ClientAddress(ClientAddress::default()),
            _ => return None,
        })
    }

    fn read(kind: &str, argument: &Node) -> Result<Self, ConfigError> {
        let named = |name: &Node| NonEmpty::from_node(name).map(|name| name.0);
        Ok(match kind {
            "clientAddress" => Self::ClientAddress(ClientAddress::from_node(argument)?),
            "header" => Self::Header(header_name(argument.text()?).map_err(ConfigError::here)?),
            "cookie" => Self::Cookie(named(argument)?),
            "query" => Self::Query(named(argument)?),
            "pathVariable" => Self::PathVariable(named(argument)?),
            "jwtClaim" => match argument {
                Node::Object(_) => {
                    let JwtClaim { name, payload } = JwtClaim::from_node(argument)?;
                    let payload = payload.unwrap_or_else(|| NonEmpty(JWT_PAYLOAD.to_owned()));
                    Self::JwtClaim { payload: payload.0, name: name.0 }
                }
                text => Self::JwtClaim { payload: JWT_PAYLOAD.to_owned(), name: named(text)? },
            },
            "attribute" => {
                Self::Attribute(Vec::from_node(argument)?.into_iter().map(|NonEmpty(segment)| segment).collect())
            }
            plain => {
                argument.fields(&[])?;
                Self::plain(plain).ok_or_else(|| argument.refuse("a string"))?
            }
        })
    }
}

impl Part {
    /// Looks where the key looks: at the address behind the same proxies, at the claims of the same payload.
    pub(super) fn follow(&mut self, key: &[KeyPart]) {
        for of_key in key.iter().map(|of_key| &of_key.part) {
            match (&mut *self, of_key) {
                (Self::ClientAddress(own), Self::ClientAddress(of_key)) => *own = of_key.clone(),
                (Self::JwtClaim { payload, .. }, Self::JwtClaim { payload: of_key, .. }) => payload.clone_from(of_key),
                _ => {}
            }
        }
    }
}

/// Conditions on a caller; all must hold. An address and a claim are read where the rule's key reads them, if it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// The conditions.
    pub conditions: Vec<Condition>,
    /// What tells this selector from others, whatever its place.
    pub identity: String,
}

/// A part of the request, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// What is looked at.
    pub part: Part,
    /// What it must be.
    pub expected: Expected,
}

/// What a part must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// This value.
    Value(String),
    /// An address in this network.
    Network(Network),
}

impl FromNode for Selector {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        Self::read(node, &[]).map(|(selector, _)| selector)
    }
}

impl Selector {
    /// Reads the conditions among the fields of `node`, which may have `others` too.
    pub(super) fn read<'a>(node: &'a Node, others: &[&str]) -> Result<(Self, Fields<'a>), ConfigError> {
        let fields = node.fields(&[KINDS, others].concat())?;
        let mut selector = Self { conditions: Vec::new(), identity: String::new() };
        for kind in KINDS {
            if let Some(node) = fields.node(kind) {
                selector.read_kind(kind, node).map_err(|error| error.under(kind))?;
            }
        }
        if selector.conditions.is_empty() {
            return Err(ConfigError::here("must say for whom, such as by `principal`".to_owned()));
        }
        Ok((selector, fields))
    }

    fn read_kind(&mut self, kind: &str, node: &Node) -> Result<(), ConfigError> {
        if let Some(part) = Part::plain(kind) {
            let text = node.text()?;
            let expected = part.expect(text).map_err(ConfigError::here)?;
            self.push(kind, "", text, part, expected);
            return Ok(());
        }
        let Node::Object(entries) = node else {
            return Err(node.refuse("an object of names and values, such as {name: value}"));
        };
        for (name, value) in entries {
            let argument = match kind {
                "attribute" => Node::List(name.split('.').map(|part| Node::Text(part.to_owned())).collect()),
                _ => Node::Text(name.clone()),
            };
            let value = value.text().map_err(|error| error.under(name))?;
            self.push(kind, name, value, Part::read(kind, &argument)?, Expected::Value(value.to_owned()));
        }
        Ok(())
    }

    fn push(&mut self, kind: &str, name: &str, value: &str, part: Part, expected: Expected) {
        self.conditions.push(Condition { part, expected });
        self.identity.push_str(&format!("{kind} {}:{name} {}:{value} ", name.len(), value.len()));
    }
}

impl Part {
    /// The condition that a part without argument is what `text` says.
    fn expect(&self, text: &str) -> Result<Expected, String> {
        Ok(match self {
            Self::Principal => {
                let principal = text.strip_prefix("spiffe://").unwrap_or(text);
                let invalid = |error| format!("invalid principal `{text}`: {error}");
                SpiffeId::parse_schemeless(principal).map_err(invalid)?;
                Expected::Value(format!("spiffe://{principal}"))
            }
            Self::ClientAddress(_) => {
                let network = Network::from_node(&Node::Text(text.to_owned()));
                Expected::Network(network.map_err(|error| error.reason)?)
            }
            Self::Host => match HostPattern::from_node(&Node::Text(text.to_owned())).map_err(|error| error.reason)? {
                HostPattern::Exact(host) => Expected::Value(host),
                _ => return Err(format!("must be one host, found `{text}`")),
            },
            Self::Method => {
                let method = Method::from_node(&Node::Text(text.to_owned())).map_err(|error| error.reason)?;
                Expected::Value(method.as_str().to_owned())
            }
            _ => Expected::Value(text.to_owned()),
        })
    }
}
