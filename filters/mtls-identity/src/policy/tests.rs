#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::testing::{Call, GATEWAY, decide, outcome};

mod peers;
mod when;

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
    for (path, peer, expected) in [
        ("/users/1", GATEWAY, Ok(Allowed::Rule(1))),
        ("/users/1", "spiffe://cluster.local/ns/monitoring/sa/prometheus", Ok(Allowed::Rule(1))),
        ("/users/1", "spiffe://cluster.local/ns/titanium-prod/sa/blog", Err("not_allowed")),
        ("/users/1", "spiffe://cluster.local/ns/titanium-prod/sa/api-gateway/x", Err("not_allowed")),
        ("/users/1", "spiffe://cluster.local/x/ns/monitoring/sa/y", Err("not_allowed")),
        ("/public", "spiffe://cluster.local/ns/x/sa/y", Ok(Allowed::Rule(2))),
        ("/other", GATEWAY, Err("no_rule")),
    ] {
        assert_eq!(outcome(RULES, &Call::by(path, peer)), expected, "{peer} at {path}");
    }
}

#[test]
fn deny_beats_allow() {
    assert_eq!(outcome(RULES, &Call::by("/admin/x", GATEWAY)), Err("denied_by_rule"));
    let other = Call::by("/admin/x", "spiffe://cluster.local/ns/titanium-prod/sa/auth");
    assert_eq!(outcome(RULES, &other), Ok(Allowed::Rule(0)));
}

#[test]
fn without_an_identity_nothing_passes_but_what_is_exempt() {
    for (call, reason) in [
        (Call::plain("/users/1"), "no_mtls"),
        (Call::by("/users/1", ""), "no_san"),
        (Call::by("/users/1", "spiffe://evil.example/ns/titanium-prod/sa/api-gateway"), "foreign_trust_domain"),
    ] {
        let decision = decide(RULES, &call);
        let Verdict::Denied { rule: Some(1), reason: found } = decision.verdict else { panic!("{decision:?}") };
        assert_eq!(found.as_str(), reason);
    }
    let at_admin = decide(RULES, &Call::plain("/admin/x")).verdict;
    assert!(matches!(at_admin, Verdict::Denied { rule: Some(0), .. }), "{at_admin:?}");
    assert_eq!(outcome(RULES, &Call::plain("/health")), Ok(Allowed::Exempt));
}

#[test]
fn an_ambiguous_path_gets_no_more_than_its_plain_form() {
    for path in ["/health/..", "/x/../health", "/health%2f..", "//health", "/health;x", "/%2e/health"] {
        assert!(outcome(RULES, &Call::plain(path)).is_err(), "{path}");
    }
    for path in ["/users/..%2fadmin", "/public/../users/1", "/users//1", "/users/1;x", "/users\\1"] {
        assert_eq!(outcome(RULES, &Call::by(path, GATEWAY)), Err("ambiguous_path"), "{path}");
    }
    assert_eq!(outcome(RULES, &Call::by("/%75sers/1?x=..", GATEWAY)), Ok(Allowed::Rule(1)));
}

#[test]
fn the_empty_configuration_wants_an_identity_of_the_proxys_own_trust_domain() {
    assert_eq!(outcome("", &Call::by("/a%2fb", GATEWAY)), Ok(Allowed::Default));
    assert_eq!(outcome("", &Call::by("/", "spiffe://evil.example/ns/a/sa/b")), Err("foreign_trust_domain"));
    assert_eq!(outcome("", &Call::plain("/")), Err("no_mtls"));
}

#[test]
fn the_default_can_be_said() {
    let allow =
        r#"{"default":"allow","rules":[{"name":"a","match":[{"paths":["/a"]}],"deny":[{"namespaces":["*"]}]}]}"#;
    assert_eq!(outcome(allow, &Call::by("/b", GATEWAY)), Ok(Allowed::Default));
    assert_eq!(outcome(allow, &Call::by("/a", GATEWAY)), Err("denied_by_rule"));
    assert_eq!(outcome(r#"{"default":"deny"}"#, &Call::by("/", GATEWAY)), Err("no_rule"));
}

#[test]
fn a_rule_passes_on_whom_it_does_not_name_if_it_says_so() {
    let config = r#"{"trustDomains": ["cluster.local"], "rules": [
        {"name": "never", "deny": [{"namespaces": ["banned"]}], "otherwise": "next"},
        {"name": "readers", "match": [{"paths": ["/posts/*"]}], "allow": [{"namespaces": ["web"]}], "otherwise": "next"},
        {"name": "writers", "match": [{"paths": ["/posts/{id}"]}], "allow": [{"namespaces": ["editors"]}],
         "otherwise": "next"},
        {"name": "closed", "match": [{"paths": ["/closed"]}], "otherwise": "deny"}],
        "default": "deny"}"#;
    for (namespace, path, expected) in [
        ("banned", "/posts/1", Err("denied_by_rule")),
        ("web", "/posts/1", Ok(Allowed::Rule(1))),
        ("editors", "/posts/1", Ok(Allowed::Rule(2))),
        ("editors", "/posts/1/comments", Err("no_rule")),
        ("web", "/closed", Err("not_allowed")),
        ("web", "/other", Err("no_rule")),
    ] {
        let peer = format!("spiffe://cluster.local/ns/{namespace}/sa/a");
        assert_eq!(outcome(config, &Call::by(path, &peer)), expected, "{namespace} at {path}");
    }
}

#[test]
fn a_rule_in_shadow_mode_is_as_if_it_were_not_there_and_says_what_it_would_have_done() {
    let config = r#"{"trustDomains": ["cluster.local"], "rules": [
        {"name": "a", "match": [{"paths": ["/a/*"]}, {"paths": ["/a/b"]}], "mode": "shadow",
         "deny": [{"namespaces": ["titanium-prod"]}]},
        {"name": "b", "mode": "shadow", "allow": [{"namespaces": ["titanium-prod"]}]},
        {"name": "c", "allow": [{"namespaces": ["titanium-prod"]}]},
        {"name": "d", "mode": "shadow", "otherwise": "deny"}]}"#;
    let decision = decide(config, &Call::by("/a/b", GATEWAY));
    assert_eq!(decision.verdict, Verdict::Allowed(Allowed::Rule(2)));
    assert_eq!(decision.shadowed, [(0, Err(Reason::DeniedByRule)), (1, Ok(()))]);
    // Not by a path that it alone looks at.
    let decision = decide(config, &Call::by("/a%2fb", GATEWAY));
    assert_eq!(decision.verdict, Verdict::Allowed(Allowed::Rule(2)));
    let ambiguous = Err(Reason::AmbiguousPath);
    assert_eq!(decision.shadowed, [(0, ambiguous), (1, ambiguous)]);
}

#[test]
fn with_rules_in_shadow_mode_alone_every_verified_peer_passes() {
    let config = r#"{"rules": [{"name": "a", "mode": "shadow", "otherwise": "deny"}]}"#;
    let decision = decide(config, &Call::by("/", GATEWAY));
    assert_eq!(decision.verdict, Verdict::Allowed(Allowed::Default));
    assert_eq!(decision.shadowed, [(0, Err(Reason::NotAllowed))]);
    assert_eq!(outcome(config, &Call::plain("/")), Err("no_mtls"));
}

#[test]
fn a_header_with_a_second_value_breaks_no_rule() {
    let config = r#"{"rules": [{"name": "a", "match": [{"headers": [{"name": "x-env", "exact": "prod"}]}],
        "otherwise": "deny"}], "default": "allow"}"#;
    let call = Call::by("/", GATEWAY).header_line("x-env", "prod");
    assert_eq!(outcome(config, &call), Err("not_allowed"));
    assert_eq!(outcome(config, &call.header_line("x-env", "dev")), Err("ambiguous_header"));
    let dev = Call::by("/", GATEWAY).header_line("x-env", "dev");
    assert_eq!(outcome(config, &dev), Ok(Allowed::Default));
}
