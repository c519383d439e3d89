#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::testing::{Call, outcome};

/// Whether `peer`, an object, fits the caller `id` with these trust domains.
fn fits(peer: &str, id: &str, domains: &str) -> bool {
    let config = format!(r#"{{{domains},"rules":[{{"name":"a","allow":[{peer}]}}]}}"#);
    outcome(&config, &Call::by("/", &format!("spiffe://{id}"))).is_ok()
}

const OURS: &str = r#""trustDomains":["td"],"federatedTrustDomains":["other"]"#;

#[test]
fn a_wildcard_never_crosses_a_slash() {
    for (principal, expected) in [
        ("td/ns/a/sa/b", true),
        ("spiffe://td/ns/a/sa/b", true),
        ("td/ns/*/sa/b", true),
        ("td/ns/a/sa/*", true),
        ("td/*/*/*/*", true),
        ("td/*", false),
        ("td/ns/*", false),
        ("td/ns/a/sa/b/*", false),
        ("td/ns/a/sa", false),
        ("other/ns/a/sa/b", false),
        ("other/ns/*/sa/b", false),
    ] {
        let peer = format!(r#"{{"principals":["{principal}"]}}"#);
        assert_eq!(fits(&peer, "td/ns/a/sa/b", OURS), expected, "{principal}");
    }
}

#[test]
fn aliases_of_our_trust_domain_are_one_in_both_directions_of_a_migration() {
    let aliases = r#""trustDomains":["new","old"],"federatedTrustDomains":["other"]"#;
    for (named, calling) in [("new", "old"), ("old", "new"), ("old", "old")] {
        let principal = format!(r#"{{"principals":["{named}/ns/a/sa/b"]}}"#);
        let wildcard = format!(r#"{{"principals":["{named}/ns/*/sa/b"]}}"#);
        let domain = format!(r#"{{"trustDomains":["{named}"]}}"#);
        for peer in [&principal, &wildcard, &domain, r#"{"namespaces":["a"]}"#] {
            assert!(fits(peer, &format!("{calling}/ns/a/sa/b"), aliases), "{peer} by {calling}");
            assert!(!fits(peer, "other/ns/a/sa/b", aliases), "{peer} by other");
            assert!(!fits(peer, "unknown/ns/a/sa/b", aliases), "{peer} by unknown");
        }
    }
}

#[test]
fn what_is_of_another_trust_domain_is_not_ours_by_its_name() {
    for (peer, id, expected) in [
        (r#"{"namespaces":["a"]}"#, "td/ns/a/sa/b", true),
        (r#"{"namespaces":["a"]}"#, "other/ns/a/sa/b", false),
        (r#"{"namespaces":["a"],"trustDomains":["other"]}"#, "other/ns/a/sa/b", true),
        (r#"{"namespaces":["a"],"trustDomains":["other"]}"#, "td/ns/a/sa/b", false),
        (r#"{"serviceAccounts":["a/b"]}"#, "td/ns/a/sa/b", true),
        (r#"{"serviceAccounts":["a/b"]}"#, "other/ns/a/sa/b", false),
        (r#"{"serviceAccounts":["*/b"],"trustDomains":["other"]}"#, "other/ns/a/sa/b", true),
        (r#"{"principals":["other/ns/a/sa/b"]}"#, "other/ns/a/sa/b", true),
        (r#"{"trustDomains":["other"]}"#, "other/workload", true),
    ] {
        assert_eq!(fits(peer, id, OURS), expected, "{peer} {id}");
    }
}

#[test]
fn all_fields_of_an_entry_hold_and_of_a_list_one_is_enough() {
    let id = "td/ns/a/sa/b";
    for (peer, expected) in [
        (r#"{"namespaces":["x","a"]}"#, true),
        (r#"{"namespaces":["a"],"serviceAccounts":["a/b"]}"#, true),
        (r#"{"namespaces":["a"],"serviceAccounts":["a/c"]}"#, false),
        (r#"{"namespaces":["a"],"principals":["td/ns/a/sa/c"]}"#, false),
        (r#"{"serviceAccounts":["*/b"]}"#, true),
        (r#"{"serviceAccounts":["a/*"]}"#, true),
        (r#"{"serviceAccounts":["b/*"]}"#, false),
    ] {
        assert_eq!(fits(peer, id, OURS), expected, "{peer}");
    }
}

#[test]
fn none_of_a_not_list_may_fit() {
    for (peer, id, expected) in [
        (r#"{"notNamespaces":["a"]}"#, "td/ns/a/sa/b", false),
        (r#"{"notNamespaces":["a"]}"#, "td/ns/c/sa/b", true),
        (r#"{"notNamespaces":["a"]}"#, "td/workload", true),
        (r#"{"notPrincipals":["td/ns/a/sa/b"]}"#, "td/ns/a/sa/b", false),
        (r#"{"notPrincipals":["td/ns/*/sa/b"]}"#, "td/ns/a/sa/b", false),
        (r#"{"notPrincipals":["td/ns/a/sa/b"]}"#, "td/ns/a/sa/c", true),
        (r#"{"notServiceAccounts":["a/b"]}"#, "td/ns/a/sa/b", false),
        (r#"{"notServiceAccounts":["a/b"]}"#, "td/ns/b/sa/b", true),
        (r#"{"notTrustDomains":["other"]}"#, "other/ns/a/sa/b", false),
        (r#"{"notTrustDomains":["other"]}"#, "td/ns/a/sa/b", true),
        (r#"{"namespaces":["a"],"notServiceAccounts":["a/b"]}"#, "td/ns/a/sa/c", true),
        (r#"{"namespaces":["a"],"notServiceAccounts":["a/b"]}"#, "td/ns/a/sa/b", false),
        (r#"{"trustDomains":["other"],"notNamespaces":["a"]}"#, "other/ns/a/sa/b", false),
    ] {
        assert_eq!(fits(peer, id, OURS), expected, "{peer} {id}");
    }
}
