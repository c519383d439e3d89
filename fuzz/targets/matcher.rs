//! The compiled rules find what checking every rule in its order finds; an exemption takes nothing that can be read in
//! two ways; a header or parameter that is repeated is a doubt exactly where another of its values would lead to another
//! rule; and a rule that is said to be out of reach is never found.
//!
//! The reference here reads the rules as they stand in the input and shares no code with the table but the
//! normalisation of paths and hosts, which have properties of their own.
#![no_main]

use arbitrary::Arbitrary;
use fuzz::Call;
use libfuzzer_sys::fuzz_target;
use tollgate::{
    config::{FromNode, Node},
    path::NormalizedPath,
    request::Request,
    route::{self, Doubt, RouteMatch, RouteTable},
};

#[derive(Debug, Arbitrary)]
struct Input {
    rules: Vec<Vec<Alternative>>,
    first: u8,
    path: Option<RawPath>,
    authority: Option<RawHost>,
    method: Option<MethodName>,
    lowercase_method: bool,
    headers: Vec<(ParameterName, ParameterValue)>,
}

#[derive(Debug, Clone, Arbitrary)]
struct Alternative {
    hosts: Vec<Host>,
    paths: Vec<Pattern>,
    methods: Vec<MethodName>,
    headers: Vec<Condition>,
    query: Vec<Condition>,
}

#[derive(Debug, Clone, Arbitrary)]
enum Host {
    Any,
    Exact(Vec<Label>),
    Below(Vec<Label>),
}

#[derive(Debug, Clone, Copy, PartialEq, Arbitrary)]
enum Label {
    A,
    Example,
    Com,
}

#[derive(Debug, Clone, Arbitrary)]
struct Pattern {
    segments: Vec<Segment>,
    prefix: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Arbitrary)]
enum Segment {
    Word(Word),
    Variable,
}

#[derive(Debug, Clone, Copy, PartialEq, Arbitrary)]
enum Word {
    A,
    B,
    Login,
    Dots,
    Accent,
}

#[derive(Debug, Clone, Copy, PartialEq, Arbitrary)]
enum MethodName {
    Get,
    Post,
    Patch,
}

#[derive(Debug, Clone, Arbitrary)]
struct Condition {
    name: ParameterName,
    value: Expected,
}

#[derive(Debug, Clone, Copy, PartialEq, Arbitrary)]
enum ParameterName {
    X,
    Y,
}

#[derive(Debug, Clone, Arbitrary)]
enum Expected {
    Present,
    Exact(ParameterValue),
    Prefix(ParameterValue),
}

#[derive(Debug, Clone, Copy, PartialEq, Arbitrary)]
enum ParameterValue {
    Empty,
    One,
    OneTwo,
    Space,
}

#[derive(Debug, Arbitrary)]
struct RawPath {
    pieces: Vec<Piece>,
    query: Vec<(ParameterName, ParameterValue)>,
}

#[derive(Debug, Arbitrary)]
enum Piece {
    Slash,
    Word(Word),
    Escaped(Word),
    Byte(u8),
    EscapedByte(u8),
    DoublyEscapedByte(u8),
}

#[derive(Debug, Arbitrary)]
struct RawHost {
    pieces: Vec<HostPiece>,
}

#[derive(Debug, Arbitrary)]
enum HostPiece {
    Label(Label),
    Uppercase(Label),
    Dot,
    Port(u16),
    Byte(u8),
}

impl Label {
    const fn text(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::Example => "example",
            Self::Com => "com",
        }
    }
}

impl Word {
    const fn text(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::Login => "login",
            Self::Dots => "..b",
            Self::Accent => "é",
        }
    }
}

impl MethodName {
    const fn text(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Patch => "PATCH",
        }
    }
}

impl ParameterName {
    const fn text(self) -> &'static str {
        match self {
            Self::X => "x",
            Self::Y => "y",
        }
    }
}

impl ParameterValue {
    const fn text(self) -> &'static str {
        match self {
            Self::Empty => "",
            Self::One => "1",
            Self::OneTwo => "12",
            Self::Space => "a b",
        }
    }
}

fn dotted(labels: &[Label]) -> String {
    labels.iter().map(|label| label.text()).collect::<Vec<_>>().join(".")
}

// As a configuration has it.

fn text(text: impl Into<String>) -> Node {
    Node::Text(text.into())
}

fn object<const N: usize>(fields: [(&str, Node); N]) -> Node {
    Node::Object(fields.map(|(name, value)| (name.to_owned(), value)).to_vec())
}

/// A list, or nothing where it is empty.
fn list<T>(values: &[T], node: impl Fn(&T) -> Node) -> Node {
    if values.is_empty() { Node::Null } else { Node::List(values.iter().map(node).collect()) }
}

impl Alternative {
    /// Keeps it small, and what a configuration may hold.
    fn trim(&mut self) {
        self.hosts.retain(|host| !matches!(host, Host::Exact(labels) | Host::Below(labels) if labels.is_empty()));
        self.hosts.truncate(3);
        self.paths.truncate(4);
        self.paths.iter_mut().for_each(|path| path.segments.truncate(6));
        self.methods.truncate(2);
        self.headers.truncate(2);
        self.query.truncate(2);
    }

    fn node(&self) -> Node {
        let condition = |condition: &Condition| {
            let value = match condition.value {
                Expected::Present => ("present", Node::Bool(true)),
                Expected::Exact(value) => ("exact", text(value.text())),
                Expected::Prefix(value) => ("prefix", text(value.text())),
            };
            object([("name", text(condition.name.text())), value])
        };
        object([
            (
                "hosts",
                list(&self.hosts, |host| match host {
                    Host::Any => text("*"),
                    Host::Exact(labels) => text(dotted(labels)),
                    Host::Below(labels) => text(format!("*.{}", dotted(labels))),
                }),
            ),
            ("paths", list(&self.paths, |path| text(path.text()))),
            ("methods", list(&self.methods, |method| text(method.text()))),
            ("headers", list(&self.headers, condition)),
            ("query", list(&self.query, condition)),
        ])
    }
}

impl Pattern {
    fn text(&self) -> String {
        let mut path = String::new();
        for (index, segment) in self.segments.iter().enumerate() {
            match segment {
                Segment::Word(word) => path.push_str(&format!("/{}", word.text())),
                Segment::Variable => path.push_str(&format!("/{{v{index}}}")),
            }
        }
        path.push_str(if self.prefix { "/*" } else { "" });
        if path.is_empty() { "/".to_owned() } else { path }
    }
}

// As a client sends it.

impl RawPath {
    fn bytes(&self) -> Vec<u8> {
        let mut path = b"/".to_vec();
        for piece in self.pieces.iter().take(24) {
            match piece {
                Piece::Slash => path.push(b'/'),
                Piece::Word(word) => path.extend(word.text().bytes()),
                Piece::Escaped(word) => path.extend(word.text().bytes().flat_map(|b| format!("%{b:02x}").into_bytes())),
                Piece::Byte(byte) => path.push(*byte),
                Piece::EscapedByte(byte) => path.extend(format!("%{byte:02X}").bytes()),
                Piece::DoublyEscapedByte(byte) => path.extend(format!("%25{byte:02x}").bytes()),
            }
        }
        for (index, (name, value)) in self.query.iter().take(4).enumerate() {
            path.push(if index == 0 { b'?' } else { b'&' });
            path.extend(format!("{}={}", name.text(), value.text().replace(' ', "+")).bytes());
        }
        path
    }
}

impl RawHost {
    fn bytes(&self) -> Vec<u8> {
        let mut host = Vec::new();
        for piece in self.pieces.iter().take(12) {
            match piece {
                HostPiece::Label(label) => host.extend(label.text().bytes()),
                HostPiece::Uppercase(label) => host.extend(label.text().to_ascii_uppercase().bytes()),
                HostPiece::Dot => host.push(b'.'),
                HostPiece::Port(port) => host.extend(format!(":{port}").bytes()),
                HostPiece::Byte(byte) => host.push(*byte),
            }
        }
        host
    }
}

// The reference.

/// The parameters of a query, read anew.
fn parameters(raw: &[u8]) -> Vec<(String, String)> {
    let Some(start) = raw.iter().position(|byte| *byte == b'?') else { return Vec::new() };
    let mut parameters = Vec::new();
    for parameter in raw[start + 1..].split(|byte| *byte == b'&').filter(|parameter| !parameter.is_empty()) {
        let equals = parameter.iter().position(|byte| *byte == b'=').unwrap_or(parameter.len());
        let value = parameter.get(equals + 1..).unwrap_or_default();
        parameters.push((decoded(&parameter[..equals], true), decoded(value, true)));
    }
    parameters
}

fn decoded(raw: &[u8], plus_is_space: bool) -> String {
    String::from_utf8_lossy(&decoded_bytes(raw, plus_is_space)).into_owned()
}

fn decoded_bytes(raw: &[u8], plus_is_space: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut index = 0;
    while index < raw.len() {
        let digits = raw.get(index + 1..index + 3).and_then(|digits| core::str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match (raw[index], digits) {
            (b'%', Some(digits)) => {
                bytes.push(u8::from_str_radix(digits, 16).expect("two digits"));
                index += 2;
            }
            (b'+', _) if plus_is_space => bytes.push(b' '),
            (byte, _) => bytes.push(byte),
        }
        index += 1;
    }
    bytes
}

/// Whether a path, without its query, has only one reading.
fn has_one_reading(path: &[u8]) -> bool {
    let once = decoded_bytes(path, false);
    let Ok(text) = core::str::from_utf8(&once) else { return false };
    let new = |byte: u8| once.iter().filter(|b| **b == byte).count() != path.iter().filter(|b| **b == byte).count();
    text.starts_with('/')
        && path.starts_with(b"/")
        && !text.contains(['%', '\\', ';', '#', '?'])
        && !text.bytes().any(|byte| byte.is_ascii_control())
        && !new(b'/')
        && !text.contains("//")
        && !text.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// Whether an authority is a host name, perhaps with one dot at its end and a port.
fn is_plain_host(authority: &[u8]) -> bool {
    let Ok(text) = core::str::from_utf8(authority) else { return false };
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').unwrap_or(("", "?")),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = port.strip_prefix('.').unwrap_or(port);
    let port_is_plain =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
    let of_a_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    port_is_plain && !host.is_empty() && host.bytes().all(of_a_host) && text.len() <= 255
}

impl Expected {
    fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(exact) => value == exact.text().as_bytes(),
            Self::Prefix(prefix) => value.starts_with(prefix.text().as_bytes()),
        }
    }
}

/// Whether a condition holds by each of the values, taken for the only one.
fn answers(values: &[Vec<u8>], expected: &Expected) -> Vec<bool> {
    if values.is_empty() { vec![false] } else { values.iter().map(|value| expected.holds(value)).collect() }
}

impl Alternative {
    fn holds(&self, call: &Call) -> bool {
        self.answers(call).is_some_and(|answers| answers.iter().flatten().all(|holds| *holds))
    }

    /// Whether it does not hold, but would if some of what is repeated were not there.
    fn might_hold(&self, call: &Call) -> bool {
        !self.holds(call)
            && self.answers(call).is_some_and(|answers| answers.iter().all(|by_value| by_value.contains(&true)))
    }

    /// What each condition on a header and a parameter says by each value; `None` if another condition does not hold.
    fn answers(&self, call: &Call) -> Option<Vec<Vec<bool>>> {
        let values_in_query = |name: ParameterName| {
            let parameters = parameters(call.path().unwrap_or_default());
            let values = parameters.into_iter().filter(|(other, _)| *other == name.text());
            values.map(|(_, value)| value.into_bytes()).collect::<Vec<_>>()
        };
        let others = (self.hosts.is_empty()
            || call.authority().is_some_and(|authority| {
                let host = String::from_utf8(route::host(authority)).expect("a host is text");
                self.hosts.iter().any(|pattern| match pattern {
                    Host::Any => true,
                    Host::Exact(labels) => host == dotted(labels),
                    Host::Below(labels) => {
                        host.strip_suffix(&dotted(labels)).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
                    }
                })
            }))
            && (self.paths.is_empty()
                || call.path().is_some_and(|raw| {
                    let path = NormalizedPath::new(raw);
                    let segments: Vec<&str> = path.as_str().split('/').filter(|segment| !segment.is_empty()).collect();
                    self.paths.iter().any(|pattern| pattern.holds(&segments))
                }))
            && (self.methods.is_empty()
                || call.method().is_some_and(|method| {
                    self.methods.iter().any(|name| name.text().as_bytes() == method.to_ascii_uppercase())
                }));
        let headers = self.headers.iter().map(|header| answers(&call.header(header.name.text()), &header.value));
        let query = self.query.iter().map(|query| answers(&values_in_query(query.name), &query.value));
        others.then(|| headers.chain(query).collect())
    }
}

impl Pattern {
    fn holds(&self, path: &[&str]) -> bool {
        (if self.prefix { path.len() >= self.segments.len() } else { path.len() == self.segments.len() })
            && self.segments.iter().zip(path).all(|(segment, found)| match segment {
                Segment::Word(word) => word.text() == *found,
                Segment::Variable => true,
            })
    }
}

fn check_path(raw: &[u8]) {
    let path = NormalizedPath::new(raw);
    let text = path.as_str();
    assert!(text.starts_with('/') && (text == "/" || !text.ends_with('/')), "{text:?}");
    assert!(path.segments().all(|segment| !matches!(segment, "" | "." | "..") && !segment.contains([';', '\\'])));
    assert_eq!(path.segments().map(|segment| format!("/{segment}")).collect::<String>(), text.trim_end_matches('/'));
    // What is left of more escapes than anybody undoes, and the ends that were escaped, mean something else as they stand.
    if !text.contains(['%', '?', '#']) {
        assert_eq!(NormalizedPath::new(text.as_bytes()).as_str(), text, "normalising twice");
    }
    let path_alone = raw.split(|byte| *byte == b'?').next().unwrap_or_default();
    assert_eq!(path.ambiguity().is_none(), has_one_reading(path_alone), "{:?}", path.ambiguity());
    if path.ambiguity().is_none() {
        assert_eq!(text.trim_end_matches('/'), decoded(path_alone, false).trim_end_matches('/'));
    }
}

fuzz_target!(|input: Input| {
    let mut rules = input.rules;
    rules.truncate(80);
    for rule in &mut rules {
        rule.truncate(4);
        rule.iter_mut().for_each(Alternative::trim);
    }
    let method = |name: MethodName| {
        let name = if input.lowercase_method { name.text().to_ascii_lowercase() } else { name.text().to_owned() };
        name.into_bytes()
    };
    let header = |(name, value): &(ParameterName, ParameterValue)| (name.text().to_owned(), value.text().into());
    let call = Call {
        path: input.path.as_ref().map(RawPath::bytes),
        authority: input.authority.as_ref().map(RawHost::bytes),
        method: input.method.map(method),
        headers: input.headers.iter().take(4).map(header).collect(),
        ..Call::default()
    };
    if let Some(path) = call.path() {
        check_path(path);
    }

    let parse = |alternative: &Alternative| RouteMatch::from_node(&alternative.node()).expect("a sound rule");
    let parsed: Vec<Vec<RouteMatch>> = rules.iter().map(|rule| rule.iter().map(parse).collect()).collect();
    let table = RouteTable::new(parsed.iter().map(Vec::as_slice));
    let holds = |rule: &Vec<Alternative>| rule.is_empty() || rule.iter().any(|alternative| alternative.holds(&call));

    let found = table.find(&call);
    assert_eq!(found.rule, rules.iter().position(holds), "{call:?}");
    let first = usize::from(input.first) % (rules.len() + 1);
    let expected = rules.iter().skip(first).position(holds).map(|rule| rule + first);
    assert_eq!(table.find_where(&call, |rule| rule >= first).rule, expected, "from {first}");

    let slices: Vec<&[RouteMatch]> = parsed.iter().map(Vec::as_slice).collect();
    for unreachable in route::unreachable(&slices) {
        assert_ne!(found.rule, Some(unreachable.rule), "{unreachable:?}");
    }

    for (rule, exempt) in rules.iter().zip(&parsed) {
        let exemptions = RouteTable::of_exemptions(exempt);
        let takes = exemptions.takes_for_certain(&call);
        assert!(!takes || holds(rule), "an exemption that does not hold");
        if !takes || exempt.iter().any(RouteMatch::takes_everything) {
            continue;
        }
        if rule.iter().any(|alternative| !alternative.paths.is_empty())
            && let Some(path) = call.path()
        {
            assert!(has_one_reading(path.split(|byte| *byte == b'?').next().unwrap_or_default()), "{path:?}");
        }
        let without_host = |alternative: &Alternative| alternative.hosts.is_empty() && alternative.holds(&call);
        if !rule.iter().any(without_host)
            && let Some(host) = call.authority()
        {
            assert!(is_plain_host(host), "{:?}", String::from_utf8_lossy(host));
        }
    }
    let before = rules.iter().take(found.rule.unwrap_or(rules.len()));
    let might_be_another = before.flatten().any(|alternative| alternative.might_hold(&call));
    match found.doubt {
        Some(Doubt::Path(ambiguity)) => {
            assert_eq!(NormalizedPath::new(call.path().unwrap_or_default()).ambiguity(), Some(ambiguity));
        }
        // The reference takes hosts for plain that the table does not, such as one with two dots at its end.
        Some(Doubt::Host) => {}
        doubt => assert_eq!(doubt.is_some(), might_be_another, "{doubt:?}"),
    }
});
