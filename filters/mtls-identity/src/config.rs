//! The `pluginConfig` of `mtls-identity`.

mod check;
mod peer;
#[cfg(feature = "schema")]
mod schema;
#[cfg(test)]
mod tests;
mod when;

use tollgate::{
    config::{self, ConfigError, FromNode, Node, Warning, Whole},
    config_enum, config_struct,
    name::Name,
    route::RouteMatch,
    spiffe::TrustDomain,
};

pub use self::{
    peer::{Account, Peer, Principal, Segment},
    when::{Claim, ClaimPath, HeaderName, HeaderValues, Port, When},
};

config_struct! {
    /// Who may call, by the caller's SPIFFE ID. Without any field every verified peer of the proxy's own trust domain may.
    pub struct Config {
        /// Where the identity comes from: one source, or several in order of preference, of which the first that a request
        /// has counts. `tls` unless given.
        pub sources: Sources = or_default("source"),
        /// Whom the source `forwarded` believes; needed there, and nowhere else.
        pub forwarded: Option<Forwarded> = optional("forwarded"),
        /// Trust domains whose peers count as ours; all of them are taken for one. The proxy's own unless given; naming it
        /// spares a look at the proxy's certificate at each request.
        pub trust_domains: Vec<TrustDomain> = or_default("trustDomains"),
        /// Trust domains whose peers count as well, each for itself: their namespaces and service accounts are not ours.
        pub federated_trust_domains: Vec<TrustDomain> = or_default("federatedTrustDomains"),
        /// Demands that Envoy says of each certificate that it was validated. `false` unless given. For listeners that
        /// accept others too, which Istio never makes; they must not resume TLS sessions, and Envoy must know
        /// `connection.peer_certificate_valid`.
        pub require_validated: bool = or_default("requireValidated"),
        /// Demands at each request that the peer's certificate is not expired, not only when the connection was made.
        /// `false` unless given: Envoy keeps connections for longer than Istio's certificates live. Needs an Envoy that
        /// knows `connection.peer_certificate`.
        pub require_unexpired: bool = or_default("requireUnexpired"),
        /// Checks on outbound listeners as well, gateways among them. `false` unless given.
        pub check_outbound: bool = or_default("checkOutbound"),
        /// Tells the application and the other filters who calls.
        pub hand_over: Option<HandOver> = optional("handOver"),
        /// Whether denials are carried out, or only counted and logged. `enforce` unless given.
        pub mode: Mode = or_default("mode"),
        /// The first rule whose `match` and `when` a request fits decides, unless it passes the request on; at most 2000.
        pub rules: Vec<RuleConfig> = or_default("rules"),
        /// Requests that need no identity at all: one entry must hold. An ambiguous path or host is never exempt.
        pub exempt: Vec<RouteMatch> = or_default("exempt"),
        /// What becomes of a verified peer where no rule decides. `deny` unless given; without `rules` `allow`.
        pub default: Option<Default> = optional("default"),
    }
}

/// Sources in order of preference, each once; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources(Vec<Source>);

impl Sources {
    /// All of them, the preferred one first.
    #[must_use]
    pub fn as_slice(&self) -> &[Source] {
        &self.0
    }
}

impl core::default::Default for Sources {
    fn default() -> Self {
        Self(vec![Source::Tls])
    }
}

impl FromNode for Sources {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        if !matches!(node, Node::List(_)) {
            return Source::from_node(node).map(|source| Self(vec![source]));
        }
        let sources = Vec::<Source>::from_node(node)?;
        for (index, source) in sources.iter().enumerate() {
            if sources.iter().take(index).any(|earlier| earlier == source) {
                return Err(ConfigError::here("is there already".to_owned()).under(&format!("[{index}]")));
            }
        }
        Ok(Self(sources))
    }
}

config_enum! {
    /// Where the identity comes from.
    pub enum Source {
        /// The connection's own client certificate.
        Tls = "tls",
        /// `x-forwarded-client-cert`, by which a gateway says who called it.
        Forwarded = "forwarded",
        /// `io.istio.peer_principal` in the filter state: the caller in an ambient mesh, as its HBONE tunnel has proved.
        PeerPrincipal = "peerPrincipal",
    }
}

config_struct! {
    /// Whom to believe about their callers.
    pub struct Forwarded {
        /// The forwarders: SPIFFE IDs of the gateways between the caller and this proxy.
        pub by: Vec<Principal> = required("by"),
        /// How many forwarders a request passes. 1 unless given.
        pub hops: Option<Whole<1, 16>> = optional("hops"),
    }
}

config_struct! {
    /// Where the caller's SPIFFE ID goes.
    pub struct HandOver {
        /// A request header. What the client sent under this name, or one that an application may take for it, is gone.
        pub header: Option<HeaderName> = optional("header"),
        /// Whether it goes into the filter state as `wasm.tollgate_identity`, for access logs and other filters. `false`
        /// unless given.
        pub filter_state: bool = or_default("filterState"),
    }
}

config_enum! {
    /// Whether denials are carried out.
    #[derive(Default)]
    pub enum Mode {
        /// They are.
        #[default]
        Enforce = "enforce",
        /// They are only counted and logged.
        Shadow = "shadow",
    }
}

config_enum! {
    /// What becomes of a verified peer where no rule decides.
    pub enum Default {
        /// It is turned away.
        Deny = "deny",
        /// It passes.
        Allow = "allow",
    }
}

config_struct! {
    /// A rule: which requests, and whose.
    pub struct RuleConfig {
        /// Its name in metrics and logs: 1 to 63 letters, digits, `-`, `_` and `.`, each name once.
        pub name: Name = required("name"),
        /// Alternatives, of which one must hold. Every request unless given.
        pub matches: Vec<RouteMatch> = or_default("match"),
        /// More conditions, all of which must hold.
        pub when: Option<When> = optional("when"),
        /// Who may pass, unless `deny` has them: one entry must fit.
        pub allow: Vec<Peer> = or_default("allow"),
        /// Who may not, even if `allow` has them.
        pub deny: Vec<Peer> = or_default("deny"),
        /// What becomes of a verified peer that neither has. `deny` unless given; without `allow` `allow`.
        pub otherwise: Option<Otherwise> = optional("otherwise"),
        /// Whether the rule decides, or only counts what it would have decided. `enforce` unless given.
        pub mode: Mode = or_default("mode"),
    }
}

config_enum! {
    /// What a rule does with a peer that neither its `deny` nor its `allow` has.
    pub enum Otherwise {
        /// It is turned away.
        Deny = "deny",
        /// It passes.
        Allow = "allow",
        /// The next rule is asked.
        Next = "next",
    }
}

impl RuleConfig {
    /// What becomes of a peer that neither `deny` nor `allow` has.
    #[must_use]
    pub fn otherwise(&self) -> Otherwise {
        let unless_given = if self.allow.is_empty() { Otherwise::Allow } else { Otherwise::Deny };
        self.otherwise.unwrap_or(unless_given)
    }
}

impl Config {
    /// Parses the `pluginConfig` JSON as Envoy hands it over. The empty one allows every verified SPIFFE identity of the
    /// proxy's own trust domain.
    ///
    /// # Errors
    /// Names the path to what is wrong and why.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let config: Self = config::parse(bytes)?;
        config.check()?;
        Ok(config)
    }

    /// Rules that no request can reach.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let rules: Vec<_> = self.rules.iter().enumerate().filter(|(_, rule)| rule.takes_what_it_matches()).collect();
        let named: Vec<_> = rules.iter().map(|(index, rule)| (*index, &rule.name, rule.matches.as_slice())).collect();
        config::unreachable_among("rules", &named)
    }
}
