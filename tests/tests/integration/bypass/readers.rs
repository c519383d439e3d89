//! How applications read what arrives: each in one lax way of its own, as some real one does.

use std::fmt;

use serde_json::{Value, json};
use tollgate_tests::application::Received;

/// What a reader takes a request for. What it does not look at is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub reader: String,
    pub method: Option<String>,
    pub host: Option<String>,
    pub path: Option<String>,
    /// The reader goes by headers of which a policy must know that it does.
    pub overrides: bool,
}

impl Reading {
    fn of(reader: &str) -> Self {
        Self { reader: reader.to_owned(), method: None, host: None, path: None, overrides: false }
    }

    pub fn to_json(&self) -> Value {
        json!([self.reader, self.method, self.host, self.path, self.overrides])
    }

    pub fn from_json(value: &Value) -> Option<Self> {
        let text = |index: usize| value.get(index)?.as_str().map(str::to_owned);
        Some(Self {
            reader: text(0)?,
            method: text(1),
            host: text(2),
            path: text(3),
            overrides: value.get(4)?.as_bool()?,
        })
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |part: &Option<String>| part.as_deref().unwrap_or("-").escape_debug().to_string();
        write!(f, "`{}`: {} {} {}", self.reader, part(&self.method), part(&self.host), part(&self.path))
    }
}

/// All that a request may be taken for.
pub fn readings(request: &Received) -> Vec<Reading> {
    let target = origin_form(&request.target);
    let mut all: Vec<Reading> = PATHS
        .iter()
        .map(|(reader, steps)| Reading { path: Some(path(target, steps)), ..Reading::of(reader) })
        .collect();
    let hosts = hosts(request);
    for (reader, read) in HOSTS {
        for host in &hosts {
            all.push(Reading { host: Some(text(&read(host)).to_lowercase()), ..Reading::of(reader) });
        }
    }
    if let Some((host, rest)) = network_path(&request.target) {
        let reader = Reading::of("resolves the target as a URL (CVE-2026-26205)");
        let path = path(rest, &[CutQuery, Decode, Dots, Merge]);
        all.push(Reading { host: Some(text(&plain_host(host)).to_lowercase()), path: Some(path), ..reader });
    }
    let method = text(request.method.trim_ascii()).to_uppercase();
    all.push(Reading { method: Some(method), ..Reading::of("method in any case") });
    all.extend(overrides(request));
    all
}

/// What applications and frameworks read that have proxies of their own in mind.
fn overrides(request: &Received) -> Vec<Reading> {
    let mut all = Vec::new();
    for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
        for value in request.values(name) {
            all.push(Reading { method: Some(text(value).to_uppercase()), overrides: true, ..Reading::of(name) });
        }
    }
    for name in ["x-forwarded-host", "x-host", "x-original-host", "forwarded"] {
        for value in request.values(name) {
            let value = value.strip_prefix(b"host=").unwrap_or(value);
            let host = Some(text(&plain_host(value)).to_lowercase());
            all.push(Reading { host, overrides: true, ..Reading::of(name) });
        }
    }
    for name in ["x-envoy-original-path", "x-original-url", "x-rewrite-url", "x-forwarded-prefix"] {
        for value in request.values(name) {
            let path = Some(path(value, &[CutQuery, Decode]));
            all.push(Reading { path, overrides: true, ..Reading::of(name) });
        }
    }
    all
}

#[derive(Debug, Clone, Copy)]
enum Step {
    CutQuery,
    CutFragment,
    CutNul,
    Decode,
    /// `%u0061`, as IIS has it.
    DecodeWide,
    /// Overlong UTF-8: two to four bytes for one of ASCII.
    Shorten,
    DropWhatIsNotUtf8,
    Backslash,
    /// `;` ends a segment's name, as in Tomcat.
    SegmentParameters,
    /// `;` ends the path.
    CutParameters,
    Merge,
    Dots,
    /// As the WHATWG's URLs: tabs and line ends do not count.
    DropControls,
    TrimControls,
}

use Step::*;

const PATHS: &[(&str, &[Step])] = &[
    ("as it should be", &[CutQuery, Decode]),
    ("decodes twice", &[CutQuery, Decode, Decode, Dots, Merge]),
    ("decodes three times", &[CutQuery, Decode, Decode, Decode, Dots, Merge]),
    ("decodes twice, backslashes between", &[CutQuery, Decode, Backslash, Decode, Backslash, Dots, Merge]),
    ("merges slashes", &[CutQuery, Merge, Decode]),
    ("resolves dots, then decodes", &[CutQuery, Dots, Decode]),
    ("decodes, then resolves dots", &[CutQuery, Decode, Dots]),
    ("decodes, merges, then resolves dots", &[CutQuery, Decode, Merge, Dots]),
    ("a backslash is a slash", &[CutQuery, Backslash, Decode, Backslash, Dots, Merge]),
    ("segments have parameters, then decodes", &[CutQuery, SegmentParameters, Decode, Dots, Merge]),
    ("decodes, then segments have parameters", &[CutQuery, Decode, SegmentParameters, Dots, Merge]),
    ("`;` ends the path, then decodes", &[CutQuery, CutParameters, Decode]),
    ("`;` ends the path, then resolves dots", &[CutQuery, CutParameters, Decode, Dots]),
    ("decodes, then `;` ends the path", &[CutQuery, Decode, CutParameters]),
    ("decodes before it looks for a query", &[Decode, CutQuery, CutFragment, Dots]),
    ("decodes twice before it looks for a query", &[Decode, Decode, CutQuery, CutFragment, Dots]),
    ("strings of C", &[CutQuery, Decode, CutNul]),
    ("cuts a fragment", &[CutFragment, CutQuery, Decode, Dots]),
    ("takes overlong UTF-8", &[CutQuery, Decode, Shorten, Dots, Merge]),
    ("drops what is not UTF-8", &[CutQuery, Decode, DropWhatIsNotUtf8, Dots, Merge]),
    ("drops control characters", &[DropControls, CutQuery, CutFragment, Backslash, Decode, DropControls, Dots]),
    ("overlooks a line feed at the end", &[CutQuery, Decode, TrimControls]),
    ("decodes %u as IIS", &[CutQuery, DecodeWide, Decode, Backslash, Dots]),
    (
        "all at once",
        &[
            CutFragment,
            CutQuery,
            DecodeWide,
            Decode,
            Decode,
            Shorten,
            CutNul,
            DropControls,
            DropWhatIsNotUtf8,
            Backslash,
            SegmentParameters,
            Merge,
            Dots,
        ],
    ),
];

fn path(target: &[u8], steps: &[Step]) -> String {
    let path = steps.iter().fold(target.to_vec(), |path, step| step.apply(path));
    let path = text(&path);
    let path = path.strip_suffix('/').filter(|shorter| !shorter.is_empty()).unwrap_or(&path);
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

impl Step {
    fn apply(self, path: Vec<u8>) -> Vec<u8> {
        match self {
            CutQuery => cut(&path, b"?"),
            CutFragment => cut(&path, b"#"),
            CutNul => cut(&path, b"\0"),
            CutParameters => cut(&path, b";"),
            Decode => decode(&path),
            DecodeWide => decode_wide(&path),
            Shorten => shorten(&path),
            DropWhatIsNotUtf8 => {
                String::from_utf8_lossy(&path).chars().filter(|char| *char != '\u{fffd}').collect::<String>().into()
            }
            Backslash => path.into_iter().map(|byte| if byte == b'\\' { b'/' } else { byte }).collect(),
            SegmentParameters => {
                path.split(|byte| *byte == b'/').map(|segment| cut(segment, b";")).collect::<Vec<_>>().join(&b'/')
            }
            Merge => {
                let mut merged = path;
                merged.dedup_by(|next, last| (*next, *last) == (b'/', b'/'));
                merged
            }
            Dots => resolve_dots(&path),
            DropControls => path.into_iter().filter(|byte| !byte.is_ascii_control()).collect(),
            TrimControls => {
                let end = path.iter().rposition(|byte| *byte > b' ').map_or(0, |last| last + 1);
                path[..end].to_vec()
            }
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn cut(path: &[u8], at: &[u8]) -> Vec<u8> {
    path.split(|byte| at.contains(byte)).next().unwrap_or_default().to_vec()
}

fn hex(digits: Option<&[u8]>) -> Option<u32> {
    let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn decode(path: &[u8]) -> Vec<u8> {
    let (mut decoded, mut at) = (Vec::new(), 0);
    while let Some(byte) = path.get(at) {
        match hex(path.get(at + 1..at + 3)).filter(|_| *byte == b'%') {
            Some(value) => {
                decoded.push(u8::try_from(value).expect("two digits"));
                at += 3;
            }
            None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    decoded
}

fn decode_wide(path: &[u8]) -> Vec<u8> {
    let (mut decoded, mut at) = (Vec::new(), 0);
    while let Some(byte) = path.get(at) {
        let wide = path[at..].starts_with(b"%u").then(|| hex(path.get(at + 2..at + 6))).flatten();
        match wide.and_then(char::from_u32) {
            Some(value) => {
                decoded.extend(value.to_string().bytes());
                at += 6;
            }
            None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    decoded
}

fn shorten(path: &[u8]) -> Vec<u8> {
    let (mut short, mut at) = (Vec::new(), 0);
    while let Some(byte) = path.get(at) {
        let low = |index: usize| path.get(at + index).map_or(0, |byte| byte & 0x3f);
        let (value, length) = match byte {
            0xc0 | 0xc1 => ((byte & 1) << 6 | low(1), 2),
            0xe0 if path.get(at + 1).is_some_and(|byte| matches!(byte, 0x80 | 0x81)) => ((low(1) & 1) << 6 | low(2), 3),
            0xf0 if path.get(at + 1) == Some(&0x80) => ((low(2) & 1) << 6 | low(3), 4),
            byte => (*byte, 1),
        };
        short.push(value);
        at += length;
    }
    short
}

fn resolve_dots(path: &[u8]) -> Vec<u8> {
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in path.strip_prefix(b"/").unwrap_or(path).split(|byte| *byte == b'/') {
        match segment {
            b"." => {}
            b".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    [b"/", segments.join(&b'/').as_slice()].concat()
}

/// The target less scheme and host, if it has them.
fn origin_form(target: &[u8]) -> &[u8] {
    let Some(rest) = after_scheme(target) else { return target };
    let path = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#' | b'\\'));
    path.map_or(b"/", |path| &rest[path..])
}

fn after_scheme(target: &[u8]) -> Option<&[u8]> {
    let colon = target.iter().position(|byte| *byte == b':')?;
    let scheme = &target[..colon];
    let is_scheme = !scheme.is_empty() && scheme.iter().all(u8::is_ascii_alphanumeric);
    target[colon + 1..].strip_prefix(b"//").filter(|_| is_scheme)
}

/// Host and rest of `//host/rest`, in the eyes of who resolves the target against a base.
fn network_path(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let [first, second, rest @ ..] = target else { return None };
    let is_slash = |byte: &u8| matches!(byte, b'/' | b'\\');
    if !is_slash(first) || !is_slash(second) {
        return None;
    }
    let rest = &rest[rest.iter().take_while(|byte| is_slash(byte)).count()..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'\\' | b'?' | b'#')).unwrap_or(rest.len());
    Some(rest.split_at(end))
}

/// Whatever may count as the request's host: each `Host`, all of them in one, and that of an absolute target or of CONNECT.
fn hosts(request: &Received) -> Vec<Vec<u8>> {
    let values = request.values("host");
    let mut hosts: Vec<Vec<u8>> = values.iter().map(|value| value.to_vec()).collect();
    if values.len() > 1 {
        hosts.push(values.join(&b','));
    }
    if let Some(rest) = after_scheme(&request.target) {
        hosts.push(cut(rest, b"/?#\\"));
    } else if request.method == b"CONNECT" {
        hosts.push(request.target.clone());
    }
    hosts
}

type HostReader = fn(&[u8]) -> Vec<u8>;

const HOSTS: &[(&str, HostReader)] = &[
    ("host as it should be", plain_host),
    ("host up to the first colon", |host| plain_host(&cut(host, b":"))),
    ("host behind the last @", |host| plain_host(host.rsplit(|byte| *byte == b'@').next().unwrap_or_default())),
    ("host behind the first @", |host| plain_host(host.splitn(2, |byte| *byte == b'@').last().unwrap_or_default())),
    ("first of several hosts", |host| plain_host(cut(host, b",").trim_ascii())),
    ("last of several hosts", |host| {
        plain_host(host.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii())
    }),
    ("host up to what is none of a host", |host| plain_host(&cut(host, b"/\\?#;,|<>\"'`^{}()* \t\0"))),
    ("host decoded", |host| plain_host(&decode(host))),
    ("host without spaces and controls", |host| {
        plain_host(&host.iter().copied().filter(|byte| *byte > b' ').collect::<Vec<_>>())
    }),
    ("host decoded, without spaces and controls", |host| {
        plain_host(&decode(host).into_iter().filter(|byte| *byte > b' ').collect::<Vec<_>>())
    }),
    ("no host is the first one", |host| if host.is_empty() { b"admin.example".to_vec() } else { plain_host(host) }),
    ("host as an address", |host| {
        let host = plain_host(host);
        let address = host.strip_prefix(b"[").and_then(|host| std::str::from_utf8(host.strip_suffix(b"]")?).ok());
        let address = address.and_then(|address| address.parse::<std::net::Ipv6Addr>().ok());
        address.map_or(host, |address| format!("[{address}]").into_bytes())
    }),
    ("host in quotes", |host| plain_host(&host.iter().copied().filter(|byte| *byte != b'"').collect::<Vec<_>>())),
    ("host without what is not UTF-8", |host| plain_host(&DropWhatIsNotUtf8.apply(host.to_vec()))),
];

/// Without port and dots at the end.
fn plain_host(host: &[u8]) -> Vec<u8> {
    let host = match host.iter().rposition(|byte| *byte == b':') {
        Some(colon) if host[colon + 1..].iter().all(u8::is_ascii_digit) => &host[..colon],
        _ => host,
    };
    let end = host.iter().rposition(|byte| *byte != b'.').map_or(0, |last| last + 1);
    host[..end].to_vec()
}
