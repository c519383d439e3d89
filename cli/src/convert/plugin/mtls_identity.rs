//! The `pluginConfig` of `mtls-identity`.

use serde::Serialize;
use serde_json::{Value, json};

use super::matching::Match;

/// All of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// Where the identity comes from: one source, or a list of them in order of preference.
    pub source: Value,
    /// The local one and its aliases.
    pub trust_domains: Vec<String>,
    /// Others whose peers count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub federated_trust_domains: Vec<String>,
    /// For gateways, whose listeners are outbound.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub check_outbound: bool,
    /// Left out where it is `enforce`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<&'static str>,
    /// The first one that decides does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// What needs no identity.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exempt: Vec<Match>,
    /// `deny` or `allow`.
    pub default: &'static str,
}

/// Where a proxy finds out who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A sidecar or a gateway: the connection's certificate.
    Tls,
    /// A waypoint: what ztunnel has seen.
    PeerPrincipal,
    /// Whichever of both there is.
    Either,
}

impl Source {
    /// As the module reads it.
    pub(in super::super) fn to_json(self) -> Value {
        match self {
            Self::Tls => json!("tls"),
            Self::PeerPrincipal => json!("peerPrincipal"),
            Self::Either => json!(["tls", "peerPrincipal"]),
        }
    }
}

/// One rule.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// In metrics and logs.
    pub name: String,
    /// None means every request.
    #[serde(rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Match>,
    /// What else must hold.
    #[serde(skip_serializing_if = "Conditions::is_empty")]
    pub when: Conditions,
    /// Who may not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<Peer>,
    /// Who may.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Peer>,
    /// What becomes of those in neither list.
    pub otherwise: &'static str,
    /// Left out where it is `enforce`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<&'static str>,
}

/// `when`: all that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Conditions {
    /// None of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_hosts: Vec<String>,
    /// None of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_paths: Vec<String>,
    /// None of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_methods: Vec<String>,
    /// One of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// None of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_ports: Vec<u16>,
    /// One of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sni: Vec<String>,
    /// None of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_sni: Vec<String>,
    /// In one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub client_addresses: Vec<String>,
    /// In none of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_client_addresses: Vec<String>,
    /// Whose word both of them are: none is the connection's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_hops: Option<u8>,
    /// All of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderCondition>,
    /// All of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jwt_claims: Vec<ClaimCondition>,
    /// One of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub request_principals: Vec<String>,
    /// None of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_request_principals: Vec<String>,
}

impl Conditions {
    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A condition on a header.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderCondition {
    /// The header.
    pub name: String,
    /// One of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// None of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_values: Vec<String>,
}

/// A condition on a claim of a verified token.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimCondition {
    /// The claim, or the keys that lead to it.
    pub name: Value,
    /// One of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// None of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_values: Vec<String>,
}

/// Peers: all given fields must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// One of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub principals: Vec<String>,
    /// None of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_principals: Vec<String>,
    /// One of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// None of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_namespaces: Vec<String>,
    /// One of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub service_accounts: Vec<String>,
    /// None of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_service_accounts: Vec<String>,
    /// One of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trust_domains: Vec<String>,
    /// None of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_trust_domains: Vec<String>,
}
