//! The request that is explained, as the filters would see it.

use std::net::SocketAddr;

use serde::Serialize;
use tollgate::path::{Ambiguity, NormalizedPath};
use tollgate::request::{Attribute, Request};
use tollgate::route;

use super::curl::Curl;
use crate::args::ExplainArguments;

/// What was said of the request.
#[derive(Debug, Clone)]
pub struct Call {
    method: String,
    authority: Option<String>,
    path: String,
    headers: Vec<(String, String)>,
    principal: Option<String>,
    source: Option<SocketAddr>,
    claims: Vec<(String, String)>,
    attributes: Vec<(String, String)>,
    /// Parts of a curl command that say nothing of it.
    pub(super) ignored: Vec<String>,
}

impl Call {
    /// Reads the command line.
    ///
    /// # Errors
    /// Says what of it can't be read.
    pub fn of(arguments: &ExplainArguments) -> Result<Self, String> {
        let curl = match &arguments.url {
            Some(url) => Curl { method: "GET".into(), url: url.clone(), ..Curl::default() },
            None => Curl::parse(&arguments.curl)?,
        };
        let (mut headers, ignored) = (curl.headers, curl.ignored);
        headers.extend(arguments.headers.iter().cloned());
        let (mut authority, path) = split(&curl.url, &mut headers)?;
        headers.retain(|(name, value)| {
            if name == "host" {
                authority = Some(value.clone());
            }
            name != "host"
        });
        let method = arguments.method.clone().unwrap_or(curl.method);
        let is_token = |text: &str| route::header_name(text).is_ok();
        if !is_token(&method) {
            return Err(format!("{method:?} is not a method"));
        }
        Ok(Self {
            method,
            authority,
            path,
            headers,
            principal: arguments.principal.clone(),
            source: arguments.source,
            claims: arguments.claims.clone(),
            attributes: arguments.attributes.clone(),
            ignored,
        })
    }

    /// As people write it.
    pub(super) fn line(&self) -> String {
        format!("{} {}{}", self.method, self.authority.as_deref().unwrap_or_default(), self.path)
    }

    /// As a proxy's filters see it. `is_inbound` is a sidecar's inbound side; `local` the proxy's own identity.
    pub(super) fn at(&self, is_inbound: bool, local: &str) -> Seen<'_> {
        let said = self.headers.iter().rev().find(|(name, _)| name == "x-forwarded-for");
        let said = said.and_then(|(_, value)| value.rsplit(',').next()?.trim().parse().ok());
        let source = match said.filter(|_| is_inbound) {
            Some(address) => Some(SocketAddr::new(address, 0)),
            None => self.source,
        };
        let port = self.attributes.iter().find(|(name, _)| name == "destination.port");
        Seen {
            call: self,
            source: source.map(|source| source.to_string()),
            local: local.to_owned(),
            port: port.and_then(|(_, port)| port.parse().ok()).map(u64::to_le_bytes),
            is_inbound,
        }
    }
}

/// Host and path of a URL; a user in it becomes a header.
fn split(url: &str, headers: &mut Vec<(String, String)>) -> Result<(Option<String>, String), String> {
    let url = url.split_once('#').map_or(url, |(url, _)| url);
    if url.starts_with('/') {
        return Ok((None, url.to_owned()));
    }
    let rest = match url.split_once("://") {
        Some(("http" | "https", rest)) => rest,
        Some((scheme, _)) => return Err(format!("{scheme}:// is neither http:// nor https://")),
        None => url,
    };
    let (authority, path) = match rest.find(['/', '?']) {
        Some(end) => rest.split_at_checked(end).unwrap_or((rest, "")),
        None => (rest, ""),
    };
    let authority = match authority.rsplit_once('@') {
        Some((user, host)) => {
            use base64::Engine as _;
            let credentials = base64::engine::general_purpose::STANDARD.encode(user);
            headers.push(("authorization".into(), format!("Basic {credentials}")));
            host
        }
        None => authority,
    };
    if authority.is_empty() {
        return Err(format!("{url:?} has no host: write https://host/path, or /path alone"));
    }
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok((Some(authority.to_owned()), path))
}

/// The request at one proxy.
#[derive(Debug, Clone)]
pub(super) struct Seen<'a> {
    call: &'a Call,
    source: Option<String>,
    local: String,
    /// As the attribute has it.
    port: Option<[u8; 8]>,
    is_inbound: bool,
}

/// In place of the digest of a certificate that nobody has seen.
const DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

const FORWARDED: &str = "x-forwarded-client-cert";

impl Seen<'_> {
    /// Whether Envoy would know the address only from a header.
    pub(super) fn source_is_said(&self) -> bool {
        self.source.as_ref().is_some_and(|source| source.ends_with(":0"))
    }

    pub(super) fn has_source(&self) -> bool {
        self.source.is_some()
    }
}

impl Request for Seen<'_> {
    fn path(&self) -> Option<&[u8]> {
        Some(self.call.path.as_bytes())
    }

    fn method(&self) -> Option<&[u8]> {
        Some(self.call.method.as_bytes())
    }

    fn authority(&self) -> Option<&[u8]> {
        self.call.authority.as_deref().map(str::as_bytes)
    }

    fn header(&self, name: &str) -> Vec<Vec<u8>> {
        let named = self.call.headers.iter().filter(|(there, _)| there == name);
        let mut values: Vec<Vec<u8>> = named.map(|(_, value)| value.as_bytes().to_vec()).collect();
        // A sidecar adds its own peer to what that one says of its caller.
        if name == FORWARDED
            && self.is_inbound
            && let Some(principal) = &self.call.principal
        {
            values.push(format!("By={};Hash={DIGEST};URI={principal}", self.local).into_bytes());
            values = vec![values.join(&b',')];
        }
        values
    }

    fn attribute(&self, attribute: Attribute) -> Option<&[u8]> {
        let principal = self.call.principal.as_deref().map(str::as_bytes);
        match attribute {
            Attribute::SourceAddress => self.source.as_deref().map(str::as_bytes),
            Attribute::UriSanPeerCertificate => principal,
            Attribute::Mtls | Attribute::PeerCertificateValid => Some(if principal.is_some() { &[1] } else { &[0] }),
            Attribute::UriSanLocalCertificate => Some(self.local.as_bytes()),
            Attribute::PeerCertificateDigest => principal.map(|_| DIGEST.as_bytes()),
            Attribute::RequestMethod => self.method(),
            Attribute::DestinationPort => self.port.as_ref().map(|port| &port[..]),
            Attribute::PeerPrincipal | Attribute::RequestedServerName => {
                let path = attribute.path().join(".");
                self.call.attributes.iter().find(|(name, _)| *name == path).map(|(_, value)| value.as_bytes())
            }
            _ => None,
        }
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        let find = |list: &[(String, String)], name: &str| {
            list.iter().find(|(there, _)| there == name).map(|(_, value)| value.as_bytes().to_vec())
        };
        if let ["metadata", "filter_metadata", "envoy.filters.http.jwt_authn", _, claim] = path {
            return find(&self.call.claims, claim);
        }
        find(&self.call.attributes, &path.join("."))
    }
}

/// The path as the rules see it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Path {
    /// Normalised.
    normalized: String,
    /// Why two readers may understand it differently.
    #[serde(skip_serializing_if = "Option::is_none")]
    ambiguity: Option<&'static str>,
}

impl Path {
    pub(super) fn of(call: &Call) -> Self {
        let path = NormalizedPath::new(call.path.as_bytes());
        Self { normalized: path.as_str().to_owned(), ambiguity: path.ambiguity().map(describe) }
    }

    pub(super) fn text(&self) -> String {
        match self.ambiguity {
            Some(why) => format!("{}, ambiguous: it {why}", self.normalized),
            None => self.normalized.clone(),
        }
    }
}

/// What makes a path ambiguous, after "it".
pub(super) const fn describe(ambiguity: Ambiguity) -> &'static str {
    match ambiguity {
        Ambiguity::NotAbsolute => "does not start with a slash",
        Ambiguity::Fragment => "has a #",
        Ambiguity::NotText => "has bytes that are not UTF-8, or control characters",
        Ambiguity::BrokenEscape => "has a % without two hexadecimal digits",
        Ambiguity::DoubleEscape => "is escaped twice or more",
        Ambiguity::EscapedSlash => "has an escaped slash or backslash",
        Ambiguity::EscapedEnd => "has an escaped ? or #",
        Ambiguity::Backslash => "has a backslash",
        Ambiguity::Parameters => "has a ;",
        Ambiguity::EmptySegment => "has two slashes in a row",
        Ambiguity::DotSegment => "has . or .. as a segment",
    }
}
