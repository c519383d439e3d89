//! mtls-identity decides as a plain reading of its rules does, rule after rule; another spelling of a path never gets more
//! than the plain one; a peer more in a rule's `deny` never lets anybody in; and nobody passes without an identity.
//!
//! The reference reads the rules as the input has them and shares no code with the policy.
#![no_main]

use arbitrary::Arbitrary;
use fuzz::Call;
use libfuzzer_sys::fuzz_target;
use mtls_identity::{
    certificates::Moment,
    config::Config,
    identity::{Evidence, Identification},
    policy::{Allowed, Policy, Verdict},
};
use tollgate::{request::Attribute, time::Instant};

#[derive(Debug, Arbitrary)]
struct Input {
    rules: Vec<Rule>,
    default_allows: bool,
    caller: Caller,
    path: [Word; 2],
    spelling: Spelling,
    method: Method,
    port: Port,
}

#[derive(Debug, Clone, Arbitrary)]
struct Rule {
    /// No condition, or a path: two segments, each a word or a variable; or one segment and all below.
    path: Option<(Option<Word>, Option<Word>, bool)>,
    method: Option<Method>,
    not_path: Option<Word>,
    not_method: Option<Method>,
    ports: Option<(Port, bool)>,
    deny: Option<Peer>,
    allow: Option<Peer>,
    otherwise: Option<Otherwise>,
    shadow: bool,
}

/// Its positive and its negative conditions.
#[derive(Debug, Clone, Copy, Arbitrary)]
struct Peer {
    is: Option<Condition>,
    is_not: Option<Condition>,
    of_partner: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Arbitrary)]
enum Condition {
    Principal(Domain, Name, Name),
    AnyAccountOf(Domain, Name),
    Namespace(Name),
    Account(Name, Name),
}

#[derive(Debug, Clone, Copy, PartialEq, Arbitrary)]
enum Domain {
    New,
    Old,
    Partner,
    Foreign,
}

#[derive(Debug, Clone, Copy, PartialEq, Arbitrary)]
enum Name {
    A,
    B,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Caller {
    Nobody,
    Workload(Domain, Name, Name),
    /// Not of the form that Kubernetes has.
    Other(Domain),
}

#[derive(Debug, Clone, Copy, PartialEq, Arbitrary)]
enum Word {
    X,
    Admin,
}

#[derive(Debug, Clone, Copy, PartialEq, Arbitrary)]
enum Method {
    Get,
    Post,
}

#[derive(Debug, Clone, Copy, PartialEq, Arbitrary)]
enum Port {
    Http,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Arbitrary)]
enum Otherwise {
    Deny,
    Allow,
    Next,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Spelling {
    TwoSlashes,
    EscapedSlash,
    Dots,
    Backslash,
    Parameters,
    Escaped,
    EndSlash,
}

impl Domain {
    const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Old => "old",
            Self::Partner => "partner.example",
            Self::Foreign => "evil.example",
        }
    }

    /// The aliases are one.
    const fn canonical(self) -> Self {
        match self {
            Self::Old => Self::New,
            other => other,
        }
    }
}

impl Name {
    const fn text(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

impl Word {
    const fn text(self) -> &'static str {
        match self {
            Self::X => "x",
            Self::Admin => "admin",
        }
    }
}

impl Method {
    const fn text(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

impl Port {
    const fn number(self) -> u64 {
        match self {
            Self::Http => 80,
            Self::Other => 8080,
        }
    }
}

impl Condition {
    fn field(self, not: bool) -> String {
        let (name, value) = match self {
            Self::Principal(domain, namespace, account) => {
                ("principals", format!("{}/ns/{}/sa/{}", domain.name(), namespace.text(), account.text()))
            }
            Self::AnyAccountOf(domain, namespace) => {
                ("principals", format!("spiffe://{}/ns/{}/sa/*", domain.name(), namespace.text()))
            }
            Self::Namespace(namespace) => ("namespaces", namespace.text().to_owned()),
            Self::Account(namespace, account) => {
                ("serviceAccounts", format!("{}/{}", namespace.text(), account.text()))
            }
        };
        let name = if not { format!("not{}{}", name[..1].to_uppercase(), &name[1..]) } else { name.to_owned() };
        format!(r#""{name}":["{value}"]"#)
    }

    /// `of_partner`: whether the entry is about the partner's workloads.
    fn fits(self, caller: Caller, of_partner: bool) -> bool {
        let Caller::Workload(domain, namespace, account) = caller else { return false };
        let counts = domain.canonical() == Domain::New || of_partner;
        match self {
            Self::Principal(named, ns, sa) => {
                named.canonical() == domain.canonical() && (ns, sa) == (namespace, account)
            }
            Self::AnyAccountOf(named, ns) => named.canonical() == domain.canonical() && ns == namespace,
            Self::Namespace(ns) => counts && ns == namespace,
            Self::Account(ns, sa) => counts && (ns, sa) == (namespace, account),
        }
    }

    fn names_a_foreigner(self) -> bool {
        matches!(self, Self::Principal(Domain::Foreign, ..) | Self::AnyAccountOf(Domain::Foreign, _))
    }
}

impl Peer {
    fn is_usable(&self) -> bool {
        let conditions = [self.is, self.is_not];
        let usable = !conditions.iter().flatten().any(|condition| condition.names_a_foreigner());
        usable && (self.of_partner || conditions.iter().any(Option::is_some))
    }

    fn text(&self) -> String {
        let partner = self.of_partner.then(|| r#""trustDomains":["partner.example"]"#.to_owned());
        let fields = [self.is.map(|is| is.field(false)), self.is_not.map(|not| not.field(true)), partner];
        format!("{{{}}}", fields.into_iter().flatten().collect::<Vec<_>>().join(","))
    }

    fn fits(&self, caller: Caller) -> bool {
        let is_partner = matches!(caller, Caller::Workload(Domain::Partner, ..) | Caller::Other(Domain::Partner));
        (!self.of_partner || is_partner)
            && self.is.is_none_or(|is| is.fits(caller, self.of_partner))
            && !self.is_not.is_some_and(|not| not.fits(caller, self.of_partner))
    }
}

impl Rule {
    /// Without what the configuration would refuse.
    fn usable(mut self) -> Self {
        self.deny = self.deny.filter(Peer::is_usable);
        self.allow = self.allow.filter(Peer::is_usable);
        self.otherwise = match (self.otherwise, self.deny.is_some(), self.allow.is_some()) {
            (Some(Otherwise::Allow), _, true) => None,
            (Some(Otherwise::Deny), true, false) => None,
            (Some(Otherwise::Next), false, false) => None,
            (otherwise, ..) => otherwise,
        };
        self
    }

    fn text(&self, name: usize) -> String {
        let mut fields = vec![format!(r#""name":"r{name}""#)];
        let mut matches = Vec::new();
        if let Some((first, second, below)) = self.path {
            let segment =
                |word: Option<Word>, variable: &str| word.map_or(variable.to_owned(), |w| w.text().to_owned());
            let path = match below {
                true => format!("/{}/*", segment(first, "{a}")),
                false => format!("/{}/{}", segment(first, "{a}"), segment(second, "{b}")),
            };
            matches.push(format!(r#""paths":["{path}"]"#));
        }
        if let Some(method) = self.method {
            matches.push(format!(r#""methods":["{}"]"#, method.text()));
        }
        if !matches.is_empty() {
            fields.push(format!(r#""match":[{{{}}}]"#, matches.join(",")));
        }
        let mut when = Vec::new();
        if let Some(word) = self.not_path {
            when.push(format!(r#""notPaths":["/{}/*"]"#, word.text()));
        }
        if let Some(method) = self.not_method {
            when.push(format!(r#""notMethods":["{}"]"#, method.text()));
        }
        if let Some((port, not)) = self.ports {
            when.push(format!(r#""{}":[{}]"#, if not { "notPorts" } else { "ports" }, port.number()));
        }
        if !when.is_empty() {
            fields.push(format!(r#""when":{{{}}}"#, when.join(",")));
        }
        for (list, peer) in [("deny", &self.deny), ("allow", &self.allow)] {
            fields.extend(peer.as_ref().map(|peer| format!(r#""{list}":[{}]"#, peer.text())));
        }
        if let Some(otherwise) = self.otherwise {
            fields.push(format!(r#""otherwise":"{}""#, format!("{otherwise:?}").to_lowercase()));
        }
        if self.shadow {
            fields.push(r#""mode":"shadow""#.to_owned());
        }
        format!("{{{}}}", fields.join(","))
    }

    /// What it makes of the plain request; `None` if it passes it on.
    fn judge(&self, input: &Input) -> Option<bool> {
        let is = |word: Option<Word>, there: Word| word.is_none_or(|word| word == there);
        let path = self
            .path
            .is_none_or(|(first, second, below)| is(first, input.path[0]) && (below || is(second, input.path[1])));
        let ports = self.ports.is_none_or(|(port, not)| (port == input.port) != not);
        let takes = path
            && self.method.is_none_or(|method| method == input.method)
            && self.not_path != Some(input.path[0])
            && self.not_method != Some(input.method)
            && ports;
        if !takes {
            return None;
        }
        if self.deny.is_some_and(|deny| deny.fits(input.caller)) {
            return Some(false);
        }
        if self.allow.is_some_and(|allow| allow.fits(input.caller)) {
            return Some(true);
        }
        match self.otherwise {
            Some(Otherwise::Next) => None,
            Some(Otherwise::Allow) => Some(true),
            Some(Otherwise::Deny) => Some(false),
            None => Some(self.allow.is_none()),
        }
    }
}

/// The rule that decides and how, in the plain reading; and what rules in shadow mode before it would have done.
fn expected(rules: &[Rule], input: &Input) -> (Option<usize>, bool, Vec<(usize, bool)>) {
    let mut shadowed = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        match rule.judge(input) {
            Some(outcome) if rule.shadow => shadowed.push((index, outcome)),
            Some(outcome) => return (Some(index), outcome, shadowed),
            None => {}
        }
    }
    (None, input.default_allows, shadowed)
}

fn configuration(rules: &[Rule], input: &Input) -> String {
    let rules: Vec<String> = rules.iter().enumerate().map(|(index, rule)| rule.text(index)).collect();
    let rules = if rules.is_empty() { String::new() } else { format!(r#""rules":[{}],"#, rules.join(",")) };
    let default = if input.default_allows { "allow" } else { "deny" };
    format!(
        r#"{{"trustDomains":["new","old"],"federatedTrustDomains":["partner.example"],{rules}"default":"{default}"}}"#
    )
}

fn call(path: &str, input: &Input) -> Call {
    let call = Call { method: Some(input.method.text().into()), ..Call::get(path.as_bytes(), b"host.example") };
    let call = call.with_attribute(Attribute::DestinationPort, &input.port.number().to_le_bytes());
    let uri = match input.caller {
        Caller::Nobody => return call,
        Caller::Workload(domain, namespace, account) => {
            format!("spiffe://{}/ns/{}/sa/{}", domain.name(), namespace.text(), account.text())
        }
        Caller::Other(domain) => format!("spiffe://{}/workload", domain.name()),
    };
    call.with_attribute(Attribute::PeerCertificateDigest, b"digest")
        .with_attribute(Attribute::UriSanPeerCertificate, uri.as_bytes())
}

fn spelled(path: [Word; 2], spelling: Spelling) -> String {
    let [first, second] = path.map(Word::text);
    match spelling {
        Spelling::TwoSlashes => format!("//{first}/{second}"),
        Spelling::EscapedSlash => format!("/{first}%2F{second}"),
        Spelling::Dots => format!("/y/../{first}/./{second}"),
        Spelling::Backslash => format!("/{first}\\{second}"),
        Spelling::Parameters => format!("/{first};p/{second}"),
        Spelling::Escaped => format!("/%{:02x}{}/{second}", first.as_bytes()[0], &first[1..]),
        Spelling::EndSlash => format!("/{first}/{second}/?q"),
    }
}

fn decide(config: &Config, call: &Call) -> mtls_identity::policy::Decision {
    let mut evidence = Evidence::default();
    let now = Moment { monotonic: Instant::default(), unix_seconds: 0 };
    Policy::new(config).decide(call, || Identification::new(config).caller(call, &mut evidence, now))
}

fn passes(config: &Config, call: &Call) -> bool {
    matches!(decide(config, call).verdict, Verdict::Allowed(_))
}

fuzz_target!(|input: Input| {
    let rules: Vec<Rule> = input.rules.iter().take(6).cloned().map(Rule::usable).collect();
    let text = configuration(&rules, &input);
    let config = Config::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"));
    let [first, second] = input.path.map(Word::text);
    let plain = call(&format!("/{first}/{second}"), &input);
    let found = decide(&config, &plain);

    let is_known = match input.caller {
        Caller::Nobody => false,
        Caller::Workload(domain, ..) | Caller::Other(domain) => domain != Domain::Foreign,
    };
    if is_known {
        let (rule, allowed, shadowed) = expected(&rules, &input);
        let (found_rule, found_allowed) = match found.verdict {
            Verdict::Allowed(Allowed::Rule(rule)) => (Some(rule), true),
            Verdict::Allowed(Allowed::Default) => (None, true),
            Verdict::Allowed(Allowed::Exempt) => panic!("nothing is exempt"),
            Verdict::Denied { rule, .. } => (rule, false),
        };
        assert_eq!((found_rule, found_allowed), (rule, allowed), "{text}");
        let found: Vec<(usize, bool)> = found.shadowed.iter().map(|(rule, outcome)| (*rule, outcome.is_ok())).collect();
        assert_eq!(found, shadowed, "{text}");
    } else {
        assert!(matches!(found.verdict, Verdict::Denied { .. }), "{text}");
    }

    let other = call(&spelled(input.path, input.spelling), &input);
    assert!(!passes(&config, &other) || passes(&config, &plain), "{:?}: {text}", input.spelling);

    // Whoever is denied stays so, if every rule denies one peer more.
    let stricter: Vec<Rule> = rules
        .iter()
        .cloned()
        .map(|rule| {
            let more = Peer { is: Some(Condition::Namespace(Name::A)), is_not: None, of_partner: false };
            // Not where that would take the place of another one, or change what `otherwise` means.
            if rule.deny.is_none() && rule.otherwise != Some(Otherwise::Deny) {
                Rule { deny: Some(more), ..rule }
            } else {
                rule
            }
        })
        .collect();
    let config = Config::parse(configuration(&stricter, &input).as_bytes()).expect("as good as before");
    assert!(!passes(&config, &plain) || is_known && expected(&rules, &input).1, "{text}");
});
