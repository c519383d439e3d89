use tollgate::request::Attribute;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// A connection and a request on it.
#[derive(Clone, Copy)]
struct Call {
    path: &'static str,
    presented: bool,
    valid: Option<bool>,
    uri_san: &'static str,
}

const GATEWAY: &str = "spiffe://cluster.local/ns/titanium-prod/sa/api-gateway";
const OWN: &str = "spiffe://cluster.local/ns/titanium-prod/sa/load-balancer";

fn call(path: &'static str, uri_san: &'static str) -> Call {
    Call { path, presented: true, valid: Some(true), uri_san }
}

impl Request for Call {
    fn path(&self) -> Option<&[u8]> {
        Some(self.path.as_bytes())
    }
    fn method(&self) -> Option<&[u8]> {
        Some(b"GET")
    }
    fn authority(&self) -> Option<&[u8]> {
        None
    }
    fn header(&self, _: &str) -> Vec<Vec<u8>> {
        Vec::new()
    }
    fn attribute(&self, attribute: Attribute) -> Option<&[u8]> {
        let flag = |value: bool| Some(if value { &[1][..] } else { &[0][..] });
        match attribute {
            Attribute::Mtls => flag(self.presented),
            Attribute::PeerCertificateValid => self.valid.and_then(flag),
            Attribute::UriSanPeerCertificate => Some(self.uri_san.as_bytes()).filter(|uri| !uri.is_empty()),
            Attribute::UriSanLocalCertificate => Some(OWN.as_bytes()),
            _ => None,
        }
    }
}

fn policy(json: &str) -> Policy {
    Policy::new(&Config::parse(json.as_bytes()).unwrap())
}

fn reason(policy: &Policy, call: Call) -> Result<Allowed, &'static str> {
    match policy.decide(&call) {
        Verdict::Allowed(allowed) => Ok(allowed),
        Verdict::Denied { reason, .. } => Err(reason.as_str()),
    }
}

const RULES: &str = r#"{
    "trustDomains": ["cluster.local"],
    "exempt": [{"paths": ["/health"]}],
    "rules": [
        {"name": "admin", "match": [{"paths": ["/admin/*"]}],
         "allow": [{"namespaces": ["titanium-prod"]}],
         "deny": [{"principals": ["cluster.local/ns/titanium-prod/sa/api-gateway"]}]},
        {"name": "users", "match": [{"paths": ["/users/*"]}],
         "allow": [{"principals": ["spiffe://cluster.local/ns/titanium-prod/sa/api-gateway"]},
                   {"namespaces": ["monitoring"]}]},
        {"name": "anybody-verified", "match": [{"paths": ["/public"]}]}
    ]}"#;

#[test]
fn a_listed_peer_passes_and_others_do_not() {
    let policy = policy(RULES);
    for (path, peer, expected) in [
        ("/users/1", GATEWAY, Ok(Allowed::Rule(1))),
        ("/users/1", "spiffe://cluster.local/ns/monitoring/sa/prometheus", Ok(Allowed::Rule(1))),
        ("/users/1", "spiffe://cluster.local/ns/titanium-prod/sa/blog", Err("not_allowed")),
        ("/users/1", "spiffe://cluster.local/ns/titanium-prod/sa/api-gateway/x", Err("not_allowed")),
        ("/users/1", "spiffe://cluster.local/x/ns/monitoring/sa/y", Err("not_allowed")),
        ("/public", "spiffe://cluster.local/ns/x/sa/y", Ok(Allowed::Rule(2))),
        ("/other", GATEWAY, Err("no_rule")),
    ] {
        assert_eq!(reason(&policy, call(path, peer)), expected, "{peer} at {path}");
    }
}

#[test]
fn deny_beats_allow() {
    let policy = policy(RULES);
    assert_eq!(reason(&policy, call("/admin/x", GATEWAY)), Err("denied_by_rule"));
    assert_eq!(
        reason(&policy, call("/admin/x", "spiffe://cluster.local/ns/titanium-prod/sa/auth")),
        Ok(Allowed::Rule(0))
    );
}

#[test]
fn without_a_verified_identity_nothing_passes_but_what_is_exempt() {
    let policy = policy(RULES);
    let good = call("/users/1", GATEWAY);
    for (call, expected) in [
        (Call { presented: false, uri_san: "", valid: None, ..good }, "no_mtls"),
        (Call { uri_san: "", ..good }, "no_san"),
        (Call { uri_san: "https://cluster.local/ns/a/sa/b", ..good }, "bad_spiffe_id"),
        (Call { uri_san: "spiffe://cluster.local/", ..good }, "bad_spiffe_id"),
        (Call { uri_san: "spiffe://evil.example/ns/titanium-prod/sa/api-gateway", ..good }, "foreign_trust_domain"),
    ] {
        assert_eq!(reason(&policy, call), Err(expected));
        assert_eq!(reason(&policy, Call { path: "/health", ..call }), Ok(Allowed::Exempt), "{expected}");
    }
    // A resumed TLS session, and an Envoy that does not know the attribute.
    for valid in [Some(false), None] {
        assert_eq!(reason(&policy, Call { valid, ..good }), Ok(Allowed::Rule(1)));
    }
}

#[test]
fn validation_can_be_demanded_of_every_certificate() {
    let policy = policy(r#"{"requireValidated":true}"#);
    let good = call("/", GATEWAY);
    assert_eq!(reason(&policy, good), Ok(Allowed::Default));
    for valid in [Some(false), None] {
        assert_eq!(reason(&policy, Call { valid, ..good }), Err("unverified_certificate"));
    }
}

#[test]
fn an_ambiguous_path_gets_no_more_than_its_plain_form() {
    let policy = policy(RULES);
    for path in ["/health/..", "/x/../health", "/health%2f..", "//health", "/health;x", "/%2e/health"] {
        let stranger = Call { presented: false, uri_san: "", valid: None, ..call(path, "") };
        assert!(reason(&policy, stranger).is_err(), "{path}");
    }
    for path in ["/users/..%2fadmin", "/public/../users/1", "/users//1", "/users/1;x", "/users\\1"] {
        assert_eq!(reason(&policy, call(path, GATEWAY)), Err("ambiguous_path"), "{path}");
    }
    assert_eq!(reason(&policy, call("/%75sers/1?x=..", GATEWAY)), Ok(Allowed::Rule(1)));
}

#[test]
fn the_empty_configuration_wants_an_identity_of_the_proxys_own_trust_domain() {
    let policy = policy("");
    assert_eq!(reason(&policy, call("/a%2fb", GATEWAY)), Ok(Allowed::Default));
    let foreign = call("/", "spiffe://evil.example/ns/a/sa/b");
    assert_eq!(reason(&policy, foreign), Err("foreign_trust_domain"));
    assert_eq!(reason(&policy, Call { presented: false, uri_san: "", ..foreign }), Err("no_mtls"));
}

#[test]
fn the_default_can_be_said() {
    let allow = policy(
        r#"{"default":"allow","rules":[{"name":"a","match":[{"paths":["/a"]}],"deny":[{"namespaces":["*"]}]}]}"#,
    );
    assert_eq!(reason(&allow, call("/b", GATEWAY)), Ok(Allowed::Default));
    assert_eq!(reason(&allow, call("/a", GATEWAY)), Err("denied_by_rule"));
    assert_eq!(reason(&policy(r#"{"default":"deny"}"#), call("/", GATEWAY)), Err("no_rule"));
}
