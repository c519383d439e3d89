use super::super::identity::Who;
use super::*;

fn trust() -> TrustDomains {
    TrustDomains { local: vec!["new".into(), "old".into()], federated: vec!["partner.example".into()] }
}

fn peers(pattern: &str, side: Side) -> serde_json::Value {
    peers_of(principal(pattern, &trust(), side).unwrap())
}

fn peers_of(translated: Translated<Identities>) -> serde_json::Value {
    match Who::new(&[translated.values], &[], &trust()) {
        Who::Peers(peers) => serde_json::to_value(peers).unwrap(),
        who => serde_json::Value::String(format!("{who:?}")),
    }
}

fn codes(pattern: &str, side: Side) -> Vec<&'static str> {
    principal(pattern, &trust(), side).unwrap().differences.iter().map(|(difference, _)| difference.code()).collect()
}

#[test]
fn a_principal_is_that_of_its_trust_domain_and_cluster_local_is_the_local_one() {
    for (pattern, principal) in [
        ("old/ns/a/sa/b", "new/ns/a/sa/b"),
        ("cluster.local/ns/a/sa/b", "new/ns/a/sa/b"),
        ("partner.example/ns/a/sa/b", "partner.example/ns/a/sa/b"),
        ("partner.example/web", "partner.example/web"),
    ] {
        for side in [Side::Inner, Side::Outer] {
            assert_eq!(peers(pattern, side), serde_json::json!([{"principals": [principal]}]), "{pattern}");
        }
    }
    assert_eq!(peers("*", Side::Inner), "Everyone");
    assert_eq!(codes("old/web", Side::Inner), ["trust_domain_aliases"]);
    assert_eq!(codes("old/ns/a/sa/b", Side::Inner), [""; 0]);
}

#[test]
fn patterns_become_whole_segments_on_the_inner_side() {
    for (pattern, expected) in [
        ("new/ns/a/*", r#"[{"principals":["new/ns/a/sa/*"]}]"#),
        ("new/ns/a/sa/*", r#"[{"principals":["new/ns/a/sa/*"]}]"#),
        ("new/ns/*", r#"[{"principals":["new/ns/*/sa/*"]}]"#),
        ("new/*", r#"[{"trustDomains":["new"]}]"#),
        ("partner*", r#"[{"trustDomains":["partner.example"]}]"#),
        ("new/ns/a/sa/b*", r#"[{"principals":["new/ns/a/sa/b"]}]"#),
        ("new/ns/a*", r#"[{"principals":["new/ns/a/sa/*"]}]"#),
        ("*/ns/a/sa/b", r#"[{"principals":["new/ns/a/sa/b","partner.example/ns/a/sa/b"]}]"#),
        ("*example/ns/a/sa/b", r#"[{"principals":["partner.example/ns/a/sa/b"]}]"#),
        ("*/a/sa/b", r#"[{"principals":["new/ns/a/sa/b","partner.example/ns/a/sa/b"]}]"#),
        ("*/sa/b", r#"[{"principals":["new/ns/*/sa/b","partner.example/ns/*/sa/b"]}]"#),
        ("*/b", r#"[{"principals":["new/ns/*/sa/b","partner.example/ns/*/sa/b"]}]"#),
    ] {
        let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
        assert_eq!(peers(pattern, Side::Inner), expected, "{pattern}");
    }
    let deep = peers("new/web/*", Side::Inner);
    assert_eq!(deep[0]["principals"].as_array().unwrap().len(), 8);
    assert_eq!(deep[0]["principals"][1], "new/web/*/*");
}

#[test]
fn on_the_outer_side_identities_of_another_form_are_among_them() {
    let other = serde_json::json!({"trustDomains": ["new"], "notNamespaces": ["*"]});
    let expected = serde_json::json!([{"principals": ["new/ns/a/sa/*"]}, other]);
    assert_eq!(peers("new/ns/a/*", Side::Outer), expected);
    assert_eq!(peers("new/ns/a/sa/b*", Side::Outer), expected);
    let all = namespace("a", &trust(), Side::Outer).unwrap();
    let expected = serde_json::json!([
        {"principals": ["new/ns/a/sa/*", "partner.example/ns/a/sa/*"]},
        {"trustDomains": ["new", "partner.example"], "notNamespaces": ["*"]},
    ]);
    assert_eq!(peers_of(all), expected);
}

#[test]
fn namespaces_and_service_accounts_of_allow_rules_are_local_and_stay_what_they_are() {
    let namespace = |text: &str| peers_of(namespace(text, &trust(), Side::Inner).unwrap());
    assert_eq!(namespace("a"), serde_json::json!([{"namespaces": ["a"]}]));
    assert_eq!(namespace("*"), serde_json::json!([{"namespaces": ["*"]}]));
    assert_eq!(namespace("team*"), serde_json::json!([{"namespaces": ["team"]}]));
    let account = |text: &str| peers_of(service_account(text, "own", &trust(), Side::Inner).unwrap());
    assert_eq!(account("a/b.c"), serde_json::json!([{"serviceAccounts": ["a/b.c"]}]));
    assert_eq!(account("b"), serde_json::json!([{"serviceAccounts": ["own/b"]}]));
}

#[test]
fn what_no_identity_is_like_is_refused() {
    for pattern in [
        "spiffe://new/ns/a/sa/b",
        "new",
        "new/ns/*/sa/b",
        "New/ns/a/sa/b",
        "*/ns/*/sa/b",
        "new/ns/a/sa/b/*",
        "*/x/ns/a/sa/b",
        "*-gateway",
        "unknown/*",
        "*/ns/a//b",
        "new/web*",
        "*y/sa/b",
    ] {
        assert!(principal(pattern, &trust(), Side::Inner).is_err(), "{pattern}");
    }
    for pattern in ["new/ns/a*", "new/web/*"] {
        assert!(principal(pattern, &trust(), Side::Outer).is_err(), "{pattern}");
    }
    assert!(namespace("team-*", &trust(), Side::Inner).is_err());
    assert!(namespace("team*", &trust(), Side::Outer).is_err());
    assert!(namespace("Team", &trust(), Side::Inner).is_err());
    for text in ["a/b/c", "*", "a/", "/b", "a/*"] {
        assert!(service_account(text, "own", &trust(), Side::Inner).is_err(), "{text}");
    }
}

#[test]
fn patterns_of_trust_domains_are_those_that_are_known() {
    let domains = |pattern: &str| trust_domain(pattern, &trust()).map(peers_of);
    assert_eq!(domains("old"), Ok(serde_json::json!([{"trustDomains": ["new"]}])));
    assert_eq!(domains("*.example"), Ok(serde_json::json!([{"trustDomains": ["partner.example"]}])));
    assert_eq!(domains("*"), Ok("Everyone".into()));
    assert!(domains("unknown").is_err() && domains("a/b").is_err());
}
