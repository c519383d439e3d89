//! `DestinationRule`, `Gateway` and `VirtualService`, as far as they are carried out.

use std::collections::BTreeMap;

use serde::Deserialize;

/// `spec` of a DestinationRule.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DestinationRuleSpec {
    /// A service, or a wildcard.
    pub host: String,
    /// How to reach it.
    #[serde(default)]
    pub traffic_policy: TrafficPolicy,
}

/// How to reach a service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct TrafficPolicy {
    /// TLS towards it.
    pub tls: Option<ClientTls>,
}

/// TLS towards a service.
#[derive(Debug, Clone, Deserialize)]
pub struct ClientTls {
    /// The mode.
    #[serde(default)]
    pub mode: ClientTlsMode,
}

/// Modes of TLS towards a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClientTlsMode {
    /// Plaintext.
    #[default]
    Disable,
    /// TLS without a client certificate.
    Simple,
    /// Mutual TLS with certificates of the user's.
    Mutual,
    /// Mutual TLS with the mesh's certificates.
    IstioMutual,
}

/// `spec` of a Gateway.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct GatewaySpec {
    /// Labels of the gateway's pods.
    pub selector: BTreeMap<String, String>,
    /// What it listens for.
    pub servers: Vec<Server>,
}

/// One port of a gateway.
#[derive(Debug, Clone, Deserialize)]
pub struct Server {
    /// The port.
    pub port: ServerPort,
    /// Hosts served there, each maybe with a namespace before a slash.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Its TLS.
    pub tls: Option<ServerTls>,
}

/// The port of a server.
#[derive(Debug, Clone, Deserialize)]
pub struct ServerPort {
    /// The number.
    pub number: u16,
    /// HTTP, HTTPS, GRPC, HTTP2, TCP, TLS, MONGO.
    pub protocol: String,
    /// For people.
    #[serde(default)]
    pub name: String,
}

/// TLS of a server.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerTls {
    /// SIMPLE, MUTUAL, PASSTHROUGH, ISTIO_MUTUAL, AUTO_PASSTHROUGH, OPTIONAL_MUTUAL.
    pub mode: String,
    /// Name of a secret with the certificate.
    pub credential_name: Option<String>,
    /// Whether plain HTTP is answered with a redirect.
    pub https_redirect: bool,
}

/// `spec` of a VirtualService.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct VirtualServiceSpec {
    /// Hosts whose traffic it routes.
    pub hosts: Vec<String>,
    /// Gateways that it is bound to; `mesh` stands for all sidecars.
    pub gateways: Vec<String>,
    /// Routes, first match wins.
    pub http: Vec<HttpRoute>,
}

/// One HTTP route.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRoute {
    /// For logs and metrics.
    pub name: String,
    /// Any of these; everything when there is none.
    #[serde(rename = "match")]
    pub matches: Vec<HttpMatch>,
    /// Where to.
    pub route: Vec<RouteDestination>,
    /// Answered by the proxy.
    pub direct_response: Option<DirectResponse>,
    /// Answered with a redirect.
    pub redirect: Option<Redirect>,
    /// Rewrites before sending on.
    pub rewrite: Option<Rewrite>,
    /// None unless given.
    pub timeout: Option<String>,
    /// Istio's two unless given.
    pub retries: Option<Retries>,
    /// Headers set and removed.
    pub headers: Option<HeaderRules>,
}

/// What a request must have; all fields must match.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpMatch {
    /// For logs.
    pub name: String,
    /// The path.
    pub uri: Option<StringMatch>,
    /// The method.
    pub method: Option<StringMatch>,
    /// The host.
    pub authority: Option<StringMatch>,
    /// Headers.
    pub headers: BTreeMap<String, StringMatch>,
    /// Headers that must not match.
    pub without_headers: BTreeMap<String, StringMatch>,
    /// Query parameters.
    pub query_params: BTreeMap<String, StringMatch>,
    /// Whether the path's case counts.
    pub ignore_uri_case: bool,
}

/// Exact, prefix or regular expression; empty means that it must be there.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct StringMatch {
    /// The whole of it.
    pub exact: Option<String>,
    /// How it begins.
    pub prefix: Option<String>,
    /// RE2, for the whole of it.
    pub regex: Option<String>,
}

/// A destination and its share.
#[derive(Debug, Clone, Deserialize)]
pub struct RouteDestination {
    /// The service.
    pub destination: Destination,
    /// Its share of the whole.
    pub weight: Option<u32>,
}

/// A service.
#[derive(Debug, Clone, Deserialize)]
pub struct Destination {
    /// Its name.
    pub host: String,
    /// Its port; may be left out where it has one only.
    pub port: Option<DestinationPort>,
}

/// `{number: ...}`.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct DestinationPort {
    /// The port.
    pub number: u16,
}

/// Answered by the proxy.
#[derive(Debug, Clone, Deserialize)]
pub struct DirectResponse {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Option<DirectBody>,
}

/// The body of a direct response.
#[derive(Debug, Clone, Deserialize)]
pub struct DirectBody {
    /// As text.
    pub string: Option<String>,
}

/// A redirect.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Redirect {
    /// The new path.
    pub uri: Option<String>,
    /// The new host.
    pub authority: Option<String>,
    /// The new scheme.
    pub scheme: Option<String>,
    /// 301 unless given.
    pub redirect_code: Option<u16>,
}

/// A rewrite.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Rewrite {
    /// In place of the matched path or prefix.
    pub uri: Option<String>,
    /// The new host.
    pub authority: Option<String>,
}

/// Retries.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Retries {
    /// How many, beside the first try.
    pub attempts: u32,
    /// Of each try.
    pub per_try_timeout: Option<String>,
    /// Envoy's conditions.
    pub retry_on: Option<String>,
}

/// Headers of requests and responses.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct HeaderRules {
    /// Before sending on.
    pub request: Option<HeaderOperations>,
    /// Before answering.
    pub response: Option<HeaderOperations>,
}

/// Headers set, added and removed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct HeaderOperations {
    /// In place of what is there.
    pub set: BTreeMap<String, String>,
    /// Beside what is there.
    pub add: BTreeMap<String, String>,
    /// Removed.
    pub remove: Vec<String>,
}
