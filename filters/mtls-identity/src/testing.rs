//! A request for tests, and the way from it to a decision.

use tollgate::{
    request::{Attribute, Request},
    time::Instant,
};

use crate::{
    certificates::Moment,
    config::Config,
    identity::{Evidence, Identification, NoIdentity},
    policy::{Allowed, Decision, Policy, Verdict},
};

pub(crate) const GATEWAY: &str = "spiffe://cluster.local/ns/titanium-prod/sa/api-gateway";
pub(crate) const OWN: &str = "spiffe://cluster.local/ns/titanium-prod/sa/load-balancer";
pub(crate) const NOW: Moment = Moment { monotonic: Instant::from_nanos(1), unix_seconds: 1_800_000_000 };

/// A connection and a request on it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Call {
    path: String,
    authority: Option<String>,
    headers: Vec<(String, String)>,
    attributes: Vec<(Attribute, Vec<u8>)>,
    properties: Vec<(String, String)>,
}

impl Call {
    /// In plaintext.
    pub(crate) fn plain(path: &str) -> Self {
        let attributes = vec![(Attribute::UriSanLocalCertificate, OWN.into())];
        Self { path: path.to_owned(), attributes, ..Self::default() }
    }

    /// With a certificate of which an Envoy of before `connection.peer_certificate` knows this URI SAN.
    pub(crate) fn by(path: &str, uri_san: &str) -> Self {
        let call = Self::plain(path).with(Attribute::PeerCertificateDigest, format!("digest of {uri_san}"));
        call.with(Attribute::PeerCertificateValid, [1]).with(Attribute::UriSanPeerCertificate, uri_san)
    }

    pub(crate) fn with(mut self, attribute: Attribute, value: impl Into<Vec<u8>>) -> Self {
        self.attributes.retain(|(known, _)| *known != attribute);
        self.attributes.push((attribute, value.into()));
        self
    }

    pub(crate) fn without(mut self, attribute: Attribute) -> Self {
        self.attributes.retain(|(known, _)| *known != attribute);
        self
    }

    pub(crate) fn at(mut self, authority: &str) -> Self {
        self.authority = Some(authority.to_owned());
        self
    }

    pub(crate) fn header_line(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A property beside the attributes, its path joined by dots.
    pub(crate) fn knows(mut self, path: &str, value: &str) -> Self {
        self.properties.push((path.to_owned(), value.to_owned()));
        self
    }
}

impl Request for Call {
    fn path(&self) -> Option<&[u8]> {
        Some(self.path.as_bytes())
    }
    fn method(&self) -> Option<&[u8]> {
        Some(b"GET")
    }
    fn authority(&self) -> Option<&[u8]> {
        self.authority.as_deref().map(str::as_bytes)
    }
    fn header(&self, name: &str) -> Vec<Vec<u8>> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_bytes().to_vec()).collect()
    }
    fn attribute(&self, attribute: Attribute) -> Option<&[u8]> {
        let found = self.attributes.iter().find(|(known, _)| *known == attribute);
        found.map(|(_, value)| value.as_slice()).filter(|value| !value.is_empty())
    }
    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        let found = self.properties.iter().find(|(known, _)| *known == path.join("."));
        found.map(|(_, value)| value.as_bytes().to_vec())
    }
    /// Elements of a list are known by their index at the end of the path, and what can't be read by `!`.
    fn values(&self, path: &[&str]) -> Option<Vec<Vec<u8>>> {
        let path = path.join(".");
        let at = |index: usize| self.properties.iter().find(|(known, _)| *known == format!("{path}.{index}"));
        let elements: Vec<_> = (0..).map_while(at).map(|(_, value)| value.as_bytes().to_vec()).collect();
        let found =
            self.properties.iter().find(|(known, _)| *known == path).map(|(_, value)| value.as_bytes().to_vec());
        match found {
            Some(value) if value == b"!" => None,
            Some(value) => Some(vec![value]),
            None => Some(elements),
        }
    }
}

/// Who sends it, as a SPIFFE ID, under a configuration.
pub(crate) fn identify(config: &str, call: &Call) -> Result<String, NoIdentity> {
    let config = Config::parse(config.as_bytes()).unwrap();
    let mut evidence = Evidence::default();
    let caller = Identification::new(&config).caller(call, &mut evidence, NOW);
    caller.map(|caller| caller.id.to_string())
}

/// All that is decided of it.
pub(crate) fn decide(config: &str, call: &Call) -> Decision {
    let config = Config::parse(config.as_bytes()).unwrap();
    let mut evidence = Evidence::default();
    Policy::new(&config).decide(call, || Identification::new(&config).caller(call, &mut evidence, NOW))
}

/// What lets it pass, or the reason why nothing does.
pub(crate) fn outcome(config: &str, call: &Call) -> Result<Allowed, &'static str> {
    match decide(config, call).verdict {
        Verdict::Allowed(allowed) => Ok(allowed),
        Verdict::Denied { reason, .. } => Err(reason.as_str()),
    }
}
