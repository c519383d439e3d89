//! The patterns of a route match, parsed from the configuration.

use std::net::Ipv6Addr;

use crate::{
    config::{ConfigError, FromNode, Node},
    path::NormalizedPath,
};

/// The longest path pattern, in bytes, and the most segments: a tree of them is as deep as the longest one.
const LONGEST_PATTERN: usize = 2048;
const MOST_SEGMENTS: usize = 64;

/// The longest host name (RFC 1035).
const LONGEST_HOST: usize = 255;

/// A host: `api.example.com`, `*.example.com` (any host below it, at any depth) or `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// Every host.
    Any,
    /// This one, in lowercase.
    Exact(String),
    /// Every host that ends with this, which starts with a dot.
    Suffix(String),
}

impl HostPattern {
    /// Whether it matches `host`; if that is ambiguous, as a lax reader may see it.
    #[must_use]
    pub fn matches(&self, host: &NormalizedHost) -> bool {
        self.matches_name(&host.name)
    }

    fn matches_name(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            // An IPv6 address has many spellings.
            Self::Exact(exact) => host == exact || ipv6(exact).is_some_and(|exact| ipv6(host) == Some(exact)),
            Self::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
        }
    }

    /// Whether this matches every host that `other` matches.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Suffix(suffix), Self::Suffix(longer)) => longer.ends_with(suffix.as_str()),
            (_, Self::Exact(host)) => self.matches_name(host),
            _ => false,
        }
    }
}

impl FromNode for HostPattern {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        let text = node.text()?;
        if text == "*" {
            return Ok(Self::Any);
        }
        let (name, wildcard) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        if !is_host_name(&name) || wildcard && name.starts_with('[') {
            let hint = "write a host name without a port, `*.` and a host name, or `*`";
            return Err(ConfigError::here(format!("invalid host `{text}`: {hint}")));
        }
        Ok(if wildcard { Self::Suffix(format!(".{name}")) } else { Self::Exact(name) })
    }
}

/// A request's host in the form that patterns are matched against: in lowercase, without port and dots at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NormalizedHost {
    name: String,
    is_ambiguous: bool,
}

impl NormalizedHost {
    /// Normalises `:authority`. What is no host is ambiguous, and its name the host that a lax reader may see in it.
    #[must_use]
    pub fn new(authority: &[u8]) -> Self {
        let Some(text) = core::str::from_utf8(authority).ok().filter(|text| text.len() <= LONGEST_HOST) else {
            return Self { name: String::new(), is_ambiguous: true };
        };
        let host = text.rsplit_once('@').map_or(text, |(_, host)| host);
        let host = host.trim_end_matches('.');
        let name = match host.rsplit_once(':') {
            // Of an IPv6 address only `[::1]:80` has a port.
            Some((name, port)) if is_port(port) && (!name.contains(':') || name.ends_with(']')) => name,
            _ => host,
        };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let plain = is_host_name(&name) && {
            let rest = text.get(name.len()..).unwrap_or_default();
            let port = rest.strip_prefix('.').unwrap_or(rest);
            port.is_empty() || port.strip_prefix(':').is_some_and(is_port)
        };
        Self { name, is_ambiguous: !plain }
    }

    /// Whether two readers may take it for different hosts.
    #[must_use]
    pub const fn is_ambiguous(&self) -> bool {
        self.is_ambiguous
    }

    pub(super) fn into_name(self) -> String {
        self.name
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn ipv6(name: &str) -> Option<Ipv6Addr> {
    name.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Whether it is a host name or an IPv6 address in brackets.
fn is_host_name(name: &str) -> bool {
    let of_a_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    ipv6(name).is_some() || !name.is_empty() && name.bytes().all(of_a_host)
}

/// A path, in the form that [`crate::path`] brings requests to.
///
/// `/login` is that path; `/api/*` is `/api` and all below it; `/users/{id}` has any one segment in place of `{id}`;
/// `/files/{**}` is the same as `/files/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    pub(super) segments: Vec<Segment>,
    /// Whether all below matches as well.
    pub(super) prefix: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    Literal(String),
    /// With its name, which is `*` when it has none.
    Variable(String),
}

impl PathPattern {
    /// Whether it matches `path`.
    #[must_use]
    pub fn matches(&self, path: &NormalizedPath<'_>) -> bool {
        let mut segments = path.segments();
        let segments_fit = self.segments.iter().all(|pattern| match (pattern, segments.next()) {
            (Segment::Literal(literal), Some(segment)) => literal == segment,
            (Segment::Variable(_), Some(_)) => true,
            (_, None) => false,
        });
        segments_fit && (self.prefix || segments.next().is_none())
    }

    /// What `path` has in place of the variable `name`. `None` when the pattern does not match or has no such variable.
    #[must_use]
    pub fn variable<'a>(&self, name: &str, path: &'a NormalizedPath<'_>) -> Option<&'a str> {
        let mut segments = path.segments();
        let mut value = None;
        for pattern in &self.segments {
            let segment = segments.next()?;
            match pattern {
                Segment::Literal(literal) if literal == segment => {}
                Segment::Literal(_) => return None,
                Segment::Variable(variable) if variable == name => value = Some(segment),
                Segment::Variable(_) => {}
            }
        }
        value.filter(|_| self.prefix || segments.next().is_none())
    }

    /// Whether it has the variable `name`.
    #[must_use]
    pub fn has_variable(&self, name: &str) -> bool {
        self.segments.iter().any(|segment| matches!(segment, Segment::Variable(variable) if variable == name))
    }

    /// Whether this matches every path that `other` matches.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let mut segments = other.segments.iter();
        let segments_fit = self.segments.iter().all(|segment| match (segment, segments.next()) {
            (Segment::Literal(literal), Some(Segment::Literal(other))) => literal == other,
            (Segment::Variable(_), Some(_)) => true,
            _ => false,
        });
        segments_fit && (self.prefix || !other.prefix && segments.next().is_none())
    }

    fn parse(text: &str) -> Result<Self, String> {
        let invalid = |why: &str| format!("invalid path `{text}`: {why}");
        if text == "*" {
            return Ok(Self { segments: Vec::new(), prefix: true });
        }
        if text.len() > LONGEST_PATTERN {
            return Err(format!("must be at most {LONGEST_PATTERN} bytes, found {}", text.len()));
        }
        let path = text.strip_prefix('/').ok_or_else(|| invalid("must start with `/`"))?;
        if path.split('/').count() > MOST_SEGMENTS {
            return Err(format!("must have at most {MOST_SEGMENTS} segments, found {}", path.split('/').count()));
        }
        let mut pattern = Self { segments: Vec::new(), prefix: false };
        let path = path.strip_suffix('/').unwrap_or(path);
        if path.is_empty() {
            return Ok(pattern);
        }
        let mut variables = Vec::new();
        for segment in path.split('/') {
            if pattern.prefix {
                return Err(invalid("`*` and `{**}` may only be the last segment"));
            }
            if matches!(segment, "*" | "{**}") {
                pattern.prefix = true;
            } else if let Some(name) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                let of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
                if name != "*" && (name.is_empty() || !name.bytes().all(of_a_name)) {
                    return Err(invalid("a variable is letters, digits, `_` and `-` in braces, such as `{id}`"));
                }
                if name != "*" && variables.contains(&name) {
                    return Err(invalid("a variable may stand in it only once"));
                }
                variables.push(name);
                pattern.segments.push(Segment::Variable(name.to_owned()));
            } else if matches!(segment, "" | "." | "..") {
                return Err(invalid("it is matched after normalisation, so it has no empty, `.` or `..` segment"));
            } else if segment.contains(['*', '{', '}']) {
                return Err(invalid("`*` and `{variable}` stand for whole segments"));
            } else if segment.contains(['%', '\\', ';', '?', '#']) || segment.chars().any(char::is_control) {
                return Err(invalid("it is matched after decoding, without query: write the plain characters"));
            } else {
                pattern.segments.push(Segment::Literal(segment.to_owned()));
            }
        }
        Ok(pattern)
    }
}

impl FromNode for PathPattern {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        Self::parse(node.text()?).map_err(ConfigError::here)
    }
}

/// An HTTP method, such as `GET`. Case matters, as in RFC 9110.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method(String);

impl Method {
    /// The method's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromNode for Method {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        let text = node.text()?;
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
            return Err(ConfigError::here(format!("invalid method `{text}`: write it in capitals, such as GET")));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A condition on a header. When the header is repeated, every value must satisfy it; if some do and some don't, that is
/// a doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderMatch {
    name: String,
    value: ValueMatch,
}

impl HeaderMatch {
    /// The header's name, in lowercase.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `None` when the values disagree.
    pub(super) fn matches(&self, values: &[Vec<u8>]) -> Option<bool> {
        agreed(values.iter().map(|value| self.value.matches(value)))
    }

    /// Whether this holds for every request that `other` holds for.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.name == other.name && self.value.covers(&other.value)
    }
}

impl FromNode for HeaderMatch {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        let (name, value) = ValueMatch::named(node)?;
        Ok(Self { name: header_name(&name).map_err(ConfigError::here)?, value })
    }
}

/// A header's name in lowercase.
///
/// # Errors
/// It is none, or that of a pseudo-header.
pub fn header_name(text: &str) -> Result<String, String> {
    let of_a_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || !text.bytes().all(of_a_token) {
        return Err(format!("invalid header name `{text}`: use hosts, paths and methods for those"));
    }
    Ok(text.to_ascii_lowercase())
}

/// A condition on a parameter of the query, whose name and value are decoded. When it is repeated, every value must
/// satisfy it; if some do and some don't, that is a doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryMatch {
    name: String,
    value: ValueMatch,
}

impl QueryMatch {
    /// `None` when the values disagree.
    pub(super) fn matches(&self, parameters: &[(String, String)]) -> Option<bool> {
        let values = parameters.iter().filter(|(name, _)| *name == self.name);
        agreed(values.map(|(_, value)| self.value.matches(value.as_bytes())))
    }

    /// Whether this holds for every request that `other` holds for.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.name == other.name && self.value.covers(&other.value)
    }
}

impl FromNode for QueryMatch {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        let (name, value) = ValueMatch::named(node)?;
        Ok(Self { name, value })
    }
}

/// What all say; no if there are none, and `None` when they disagree.
fn agreed(mut answers: impl Iterator<Item = bool>) -> Option<bool> {
    let Some(first) = answers.next() else { return Some(false) };
    answers.all(|answer| answer == first).then_some(first)
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum ValueMatch {
    Present,
    Exact(String),
    Prefix(String),
}

impl ValueMatch {
    fn named(node: &Node) -> Result<(String, Self), ConfigError> {
        let fields = node.fields(&["name", "exact", "prefix", "present"])?;
        let name = fields.required("name")?;
        match (fields.optional("exact")?, fields.optional("prefix")?, fields.optional("present")?) {
            (Some(exact), None, None) => Ok((name, Self::Exact(exact))),
            (None, Some(prefix), None) => Ok((name, Self::Prefix(prefix))),
            (None, None, Some(true)) => Ok((name, Self::Present)),
            _ => {
                let reason = "must have one of `exact`, `prefix` and `present: true` beside `name`";
                Err(ConfigError::here(reason.to_owned()))
            }
        }
    }

    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(exact) => value == exact.as_bytes(),
            Self::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
        }
    }

    /// Whether this matches every value that `other` matches.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Present, _) => true,
            (Self::Prefix(prefix), Self::Prefix(longer)) => longer.starts_with(prefix.as_str()),
            (_, Self::Exact(value)) => self.matches(value.as_bytes()),
            _ => false,
        }
    }
}
