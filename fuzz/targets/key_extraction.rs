//! A request's bucket depends on the parts of its rule's key, on all of them, and on nothing else; and what a caller
//! writes to the left of what trusted proxies wrote changes nothing.
//!
//! Buckets are told apart by what a decision leaves in the store.
#![no_main]

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
};

use arbitrary::Arbitrary;
use fuzz::{Call, Store};
use libfuzzer_sys::fuzz_target;
use rate_limit::{
    config::Config,
    key::Seed,
    policy::{Policy, Scope, Verdict},
};
use tollgate::{address::masked, request::Attribute, route, time::Instant};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    path: &'a [u8],
    authority: &'a [u8],
    method: &'a [u8],
    header: Option<&'a [u8]>,
    other_header: Option<&'a [u8]>,
    cookies: Vec<&'a [u8]>,
    principal: Option<Principal<'a>>,
    claim: &'a [u8],
    attribute: &'a [u8],
    source: Source<'a>,
    forwarded: Vec<&'a [u8]>,
    forged: Vec<&'a [u8]>,
    trusted: [Entry; 3],
    hops: u8,
    /// Whether this proxy writes its peer down too.
    appends: bool,
}

#[derive(Debug, Arbitrary)]
enum Source<'a> {
    Address(IpAddr, u16),
    Raw(&'a [u8]),
}

#[derive(Debug, Arbitrary)]
enum Principal<'a> {
    Account(u8, u8),
    Raw(&'a [u8]),
}

#[derive(Debug, Arbitrary)]
struct Entry {
    address: IpAddr,
    port: Option<u16>,
    spaced: bool,
}

impl Source<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Address(address, port) => SocketAddr::new(*address, *port).to_string().into_bytes(),
            Self::Raw(raw) => raw.to_vec(),
        }
    }

    /// The peer, which has a port.
    fn peer(&self) -> Option<IpAddr> {
        let text = String::from_utf8(self.bytes()).ok()?;
        text.parse().ok().filter(|source: &SocketAddr| source.port() != 0).map(|source| source.ip().to_canonical())
    }
}

impl Principal<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Account(namespace, account) => format!("spiffe://td/ns/n{namespace}/sa/a{account}").into_bytes(),
            Self::Raw(raw) => raw.to_vec(),
        }
    }
}

impl Entry {
    fn text(&self) -> String {
        let text = match (self.address, self.port) {
            (address, Some(port)) => SocketAddr::new(address, port).to_string(),
            (IpAddr::V6(address), None) if self.spaced => format!("[{address}]"),
            (address, None) => address.to_string(),
        };
        if self.spaced { format!(" {text} ") } else { text }
    }
}

impl Input<'_> {
    fn call(&self) -> Call {
        let mut call = Call::get(self.path, self.authority)
            .with_attribute(Attribute::SourceAddress, &self.source.bytes())
            .with_property(
                &["metadata", "filter_metadata", "envoy.filters.http.jwt_authn", "payload", "sub"],
                self.claim,
            )
            .with_property(&["connection", "requested_server_name"], self.attribute);
        call.method = Some(self.method.to_vec());
        for (name, value) in [("x-api-key", self.header), ("x-tenant", self.other_header)] {
            if let Some(value) = value {
                call = call.with_header(name, value);
            }
        }
        for cookie in &self.cookies {
            call = call.with_header("cookie", cookie);
        }
        for forwarded in &self.forwarded {
            call = call.with_header("x-forwarded-for", forwarded);
        }
        if let Some(principal) = &self.principal {
            call = call.with_attribute(Attribute::UriSanPeerCertificate, &principal.bytes());
        }
        call
    }
}

/// A bucket, by what a first request leaves there. `None` when the request was not charged.
type Bucket = Option<BTreeMap<Vec<u8>, Vec<u8>>>;

fn policy(key: &str) -> Policy {
    let json = format!(
        r#"{{"rules":[{{"name":"a","match":[{{"paths":["/users/{{id}}","/teams/{{id}}/*"]}},{{"headers":[{{"name":"x-any","present":true}}]}},{{"hosts":["*"]}}],
            "key":[{key}],"slots":16,"limits":[{{"requests":9,"per":"1m"}}],
            "overrides":[{{"header":{{"x-api-key":"gold"}},"limits":"unlimited"}}]}}]}}"#
    );
    let config = Config::parse(json.as_bytes()).unwrap_or_else(|error| panic!("{error}: {json}"));
    Policy::new(&config, &Scope { plugin: "tollgate", root_id: "fuzz" }, Seed(*b"sixteen bytes  !"))
}

fn bucket(key: &str, call: &Call) -> Bucket {
    thread_local! {
        static POLICIES: RefCell<HashMap<String, Policy>> = RefCell::default();
    }
    let mut policy = POLICIES.with_borrow_mut(|policies| match policies.get(key) {
        Some(policy) => policy.clone(),
        None => policies.entry(key.to_owned()).or_insert(policy(key)).clone(),
    });
    let mut store = Store::default();
    match policy.decide(call, &mut store, Instant::from_nanos(1)) {
        Verdict::Admitted(_) if store.values().is_empty() => None,
        Verdict::Admitted(_) => Some(store.values()),
        Verdict::Limited(_) => None,
        Verdict::Exempt => panic!("nothing is exempt"),
    }
}

const KEYS: &[&str] = &[
    r#""principal""#,
    r#""namespace""#,
    r#""host""#,
    r#""method""#,
    r#""clientAddress""#,
    r#"{"clientAddress":{"ipv4":24,"ipv6":56,"trustedHops":2}}"#,
    r#"{"header":"x-api-key"}"#,
    r#"{"cookie":"session"}"#,
    r#"{"query":"api_key"}"#,
    r#"{"pathVariable":"id"}"#,
    r#"{"jwtClaim":"sub"}"#,
    r#"{"attribute":["connection","requested_server_name"]}"#,
];

/// Those that no client can choose by what it sends.
const VERIFIED: &[&str] = &[
    r#""principal""#,
    r#""namespace""#,
    r#""clientAddress""#,
    r#"{"jwtClaim":"sub"}"#,
    r#"{"attribute":["connection","requested_server_name"]}"#,
];

/// The network of which a bucket is, by default.
fn network(address: IpAddr) -> IpAddr {
    let address = address.to_canonical();
    masked(address, if address.is_ipv4() { 32 } else { 64 })
}

fn check_forwarded(input: &Input<'_>, call: &Call) {
    let hops = usize::from(input.hops % 4);
    let key = format!(r#"{{"clientAddress":{{"trustedHops":{hops}}}}}"#);
    let peer = input.source.peer();
    let mut trusted: Vec<String> = input.trusted[..hops].iter().map(Entry::text).collect();
    // Whether the last entry is this proxy's own, or that of a proxy before it, nobody can tell when they are the same.
    let last = hops.checked_sub(1).map(|last| input.trusted[last].address.to_canonical());
    if input.appends
        && let Some(peer) = peer
    {
        trusted.push(peer.to_string());
    } else if peer.is_some() && peer == last {
        return;
    }

    let of_forwarded = |entries: &[Vec<u8>]| {
        let mut call = call.clone();
        call.headers.retain(|(name, _)| name != "x-forwarded-for");
        entries.iter().fold(call, |call, entry| call.with_header("x-forwarded-for", entry))
    };
    let alone = of_forwarded(&trusted.iter().map(|entry| entry.clone().into_bytes()).collect::<Vec<_>>());
    let honest = bucket(&key, &alone);

    // In headers of their own, and in the one that the proxies add to.
    let honest_part = trusted.join(",").into_bytes();
    let mut apart: Vec<Vec<u8>> = input.forged.iter().map(|forged| forged.to_vec()).collect();
    let mut together = apart.clone();
    if !honest_part.is_empty() {
        apart.push(honest_part.clone());
        together.push(honest_part);
    }
    if hops == 0 || !trusted.is_empty() {
        assert_eq!(bucket(&key, &of_forwarded(&apart)), honest, "forged: {:?}", input.forged);
        assert_eq!(bucket(&key, &of_forwarded(&[together.join(&b',')])), honest, "forged: {:?}", input.forged);
    }
    // It is the bucket of the one who came to the first of the trusted proxies.
    if let Some(first) = input.trusted[..hops].first() {
        let mut direct = call.clone();
        direct.attributes.retain(|(attribute, _)| *attribute != Attribute::SourceAddress);
        let source = SocketAddr::new(first.address, 1).to_string();
        let direct = direct.with_attribute(Attribute::SourceAddress, source.as_bytes());
        assert_eq!(honest, bucket(r#""clientAddress""#, &direct));
    }
}

fn check_same(key: &str, one: &Call, other: &Call, are_same: bool) {
    let (one, other) = (bucket(key, one), bucket(key, other));
    if one.is_some() && other.is_some() {
        assert_eq!(one == other, are_same, "{key}");
    }
}

fuzz_target!(|input: Input<'_>| {
    let call = input.call();
    for key in KEYS {
        assert_eq!(bucket(key, &call), bucket(key, &call.clone()), "{key}");
    }
    bucket(&KEYS.join(","), &call);

    // What a client sends moves it to no other bucket of a verified part.
    let mut bare = call.clone();
    bare.headers.clear();
    bare.path = Some(b"/".to_vec());
    bare.method = None;
    for key in VERIFIED {
        check_same(key, &call, &bare, true);
    }

    // Each part matters.
    let with = |name: &str, value: &[u8]| {
        let mut call = call.clone();
        call.headers.retain(|(other, _)| other != name);
        call.with_header(name, value)
    };
    let (one, other) = (input.header.unwrap_or_default(), input.other_header.unwrap_or_default());
    check_same(KEYS[6], &with("x-api-key", one), &with("x-api-key", other), one == other);
    let both = r#"{"header":"x-api-key"},{"header":"x-tenant"}"#;
    let swapped = with("x-api-key", other).with_header("x-tenant", one);
    let mut straight = with("x-api-key", one);
    straight.headers.retain(|(name, _)| name != "x-tenant");
    let straight = straight.with_header("x-tenant", other);
    let mut swapped = swapped;
    swapped.headers.retain(|(name, value)| name != "x-tenant" || value == one);
    if one != other {
        check_same(both, &straight, &swapped, false);
    }
    let split = |at: usize| {
        let (left, right) = one.split_at(at.min(one.len()));
        let mut call = with("x-api-key", left);
        call.headers.retain(|(name, _)| name != "x-tenant");
        call.with_header("x-tenant", right)
    };
    if !one.is_empty() {
        check_same(both, &split(usize::from(input.hops) % one.len()), &split(one.len()), false);
    }
    let is_cookie = |value: &[u8]| !value.contains(&b';') && value.trim_ascii() == value;
    if is_cookie(one) && is_cookie(other) {
        let cookie = |value: &[u8]| with("cookie", &[b"a=b; session=", value, b"; z"].concat());
        check_same(KEYS[7], &cookie(one), &cookie(other), one == other);
    }
    let at = |authority: &[u8]| Call { authority: Some(authority.to_vec()), ..call.clone() };
    let same_host = route::host(one) == route::host(other);
    check_same(KEYS[2], &at(one), &at(other), same_host);

    // Addresses by their networks.
    let [first, second, _] = &input.trusted;
    let from = |entry: &Entry| {
        let mut call = call.clone();
        call.attributes.retain(|(attribute, _)| *attribute != Attribute::SourceAddress);
        let source = SocketAddr::new(entry.address, entry.port.unwrap_or(0).max(1)).to_string();
        call.with_attribute(Attribute::SourceAddress, source.as_bytes())
    };
    check_same(KEYS[4], &from(first), &from(second), network(first.address) == network(second.address));
    check_forwarded(&input, &call);
});
