use tollgate::request::Attribute;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::testing::{Call, GATEWAY, OWN, identify, outcome};

const CALLER: &str = "spiffe://cluster.local/ns/web/sa/shop";

fn reason(config: &str, call: &Call) -> &'static str {
    identify(config, call).unwrap_err().as_str()
}

#[test]
fn the_uri_of_the_certificate_has_to_be_the_spiffe_id_of_a_workload_of_ours() {
    for (uri_san, expected) in [
        ("", "no_san"),
        ("https://cluster.local/ns/a/sa/b", "other_scheme"),
        ("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "other_scheme"),
        ("spiffe://cluster.local/", "bad_spiffe_id"),
        ("spiffe://cluster.local", "bad_spiffe_id"),
        ("spiffe://cluster.local/ns/../sa/b", "bad_spiffe_id"),
        ("spiffe://evil.example/ns/titanium-prod/sa/api-gateway", "foreign_trust_domain"),
        ("spiffe://cluster.local.evil.example/ns/titanium-prod/sa/api-gateway", "foreign_trust_domain"),
    ] {
        let call = Call::by("/", uri_san);
        for config in ["", r#"{"trustDomains":["cluster.local"]}"#] {
            assert_eq!(reason(config, &call), expected, "{uri_san}");
        }
    }
    assert_eq!(identify("", &Call::by("/", GATEWAY)).unwrap(), GATEWAY);
    assert_eq!(reason("", &Call::plain("/")), "no_mtls");
    // A proxy that has no identity of its own has no trust domain of its own.
    assert_eq!(reason("", &Call::by("/", GATEWAY).without(Attribute::UriSanLocalCertificate)), "foreign_trust_domain");
}

#[test]
fn validation_can_be_demanded_of_every_certificate() {
    // Not known to the Envoy, and of a resumed session.
    let unknown = Call::by("/", GATEWAY).without(Attribute::PeerCertificateValid);
    let resumed = Call::by("/", GATEWAY).with(Attribute::PeerCertificateValid, [0]);
    for call in [&unknown, &resumed] {
        assert!(identify("", call).is_ok());
        assert_eq!(reason(r#"{"requireValidated":true}"#, call), "unverified_certificate");
    }
    assert!(identify(r#"{"requireValidated":true}"#, &Call::by("/", GATEWAY)).is_ok());
}

#[test]
fn an_envoy_that_does_not_say_the_certificate_can_not_say_that_it_is_not_expired() {
    assert_eq!(reason(r#"{"requireUnexpired":true}"#, &Call::by("/", GATEWAY)), "unreadable_certificate");
}

#[test]
fn where_older_envoys_write_down_all_sans_there_must_be_one() {
    let digest = format!("digest of {GATEWAY}");
    for (uris, expected) in [
        (format!("URI={GATEWAY}"), Ok(GATEWAY)),
        (format!("URI={GATEWAY};URI={CALLER}"), Err("several_sans")),
        (format!("URI={GATEWAY};URI="), Err("several_sans")),
    ] {
        let own = format!("By={OWN};Hash={digest};Subject=\"\";{uris}");
        for forged in ["", "By=x;Hash=y;URI=z,"] {
            let call = Call::by("/", GATEWAY).header_line("x-forwarded-client-cert", &format!("{forged}{own}"));
            let found = identify("", &call);
            assert_eq!(found.as_deref().map_err(|reason| reason.as_str()), expected, "{forged}{own}");
        }
    }
    // An element that is not Envoy's own says nothing.
    let call = Call::by("/", GATEWAY).header_line("x-forwarded-client-cert", "By=x;Hash=y;URI=z;URI=w");
    assert_eq!(identify("", &call).unwrap(), GATEWAY);
}

const FORWARDED: &str = r#"{"trustDomains":["cluster.local"],"source":["forwarded","tls"],
    "forwarded":{"by":["cluster.local/ns/titanium-prod/sa/api-gateway"]}}"#;

/// By a gateway that says this of its caller.
fn through(gateway: &str, element: &str) -> Call {
    let digest = format!("digest of {gateway}");
    let own = format!("By={OWN};Hash={digest};Subject=\"\";URI={gateway}");
    let elements = if element.is_empty() { own } else { format!("{element},{own}") };
    Call::by("/", gateway).header_line("x-forwarded-client-cert", &elements)
}

#[test]
fn a_listed_forwarder_is_believed_and_speaks_for_its_caller_alone() {
    let said = |uri: &str| format!("By={GATEWAY};Hash=00;URI={uri}");
    let config = FORWARDED;
    assert_eq!(identify(config, &through(GATEWAY, &said(CALLER))).unwrap(), CALLER);
    for (call, expected) in [
        (through(GATEWAY, ""), "no_forwarded_identity"),
        (Call::by("/", GATEWAY), "no_forwarded_identity"),
        (through(GATEWAY, &said("spiffe://evil.example/a")), "foreign_trust_domain"),
        (through(GATEWAY, &said("https://cluster.local/a")), "other_scheme"),
        (through(GATEWAY, &format!("By={OWN};Hash=00;URI={CALLER}")), "bad_forwarded_identity"),
        (through(GATEWAY, &format!("By={GATEWAY};Hash=00;URI={CALLER};URI={CALLER}")), "bad_forwarded_identity"),
        (through(GATEWAY, &format!("{},{}", said(OWN), said(CALLER))), "bad_forwarded_identity"),
    ] {
        assert_eq!(reason(config, &call), expected, "{call:?}");
    }
}

#[test]
fn who_is_no_forwarder_is_judged_by_its_own_certificate_or_not_at_all() {
    let call = through(CALLER, &format!("By={CALLER};Hash=00;URI={GATEWAY}"));
    assert_eq!(identify(FORWARDED, &call).unwrap(), CALLER);
    let alone = FORWARDED.replace(r#"["forwarded","tls"]"#, r#""forwarded""#);
    assert_eq!(reason(&alone, &call), "untrusted_forwarder");
    assert_eq!(reason(&alone, &Call::plain("/").header_line("x-forwarded-client-cert", "By=a;URI=b")), "no_mtls");
}

#[test]
fn several_forwarders_each_have_to_be_listed() {
    let edge = "spiffe://cluster.local/ns/edge/sa/lb";
    let config = |by: &str| {
        format!(r#"{{"trustDomains":["cluster.local"],"source":"forwarded","forwarded":{{"by":[{by}],"hops":2}}}}"#)
    };
    let element = format!("By={edge};Hash=00;URI={CALLER},By={GATEWAY};Hash=01;URI={edge}");
    let call = through(GATEWAY, &element);
    let both = r#""cluster.local/ns/titanium-prod/sa/api-gateway","cluster.local/ns/edge/sa/*""#;
    assert_eq!(identify(&config(both), &call).unwrap(), CALLER);
    let one = r#""cluster.local/ns/titanium-prod/sa/api-gateway""#;
    assert_eq!(reason(&config(one), &call), "bad_forwarded_identity");
    assert_eq!(
        reason(&config(both), &through(GATEWAY, &format!("By={GATEWAY};URI={CALLER}"))),
        "bad_forwarded_identity"
    );
}

#[test]
fn in_an_ambient_mesh_the_tunnel_says_who_calls() {
    let ambient = r#"{"trustDomains":["cluster.local"],"source":"peerPrincipal"}"#;
    let by = |principal: &str| Call::plain("/").with(Attribute::PeerPrincipal, principal);
    assert_eq!(identify(ambient, &by(CALLER)).unwrap(), CALLER);
    assert_eq!(reason(ambient, &by("")), "no_mtls");
    assert_eq!(reason(ambient, &by(&format!("{CALLER},{GATEWAY}"))), "several_sans");
    assert_eq!(reason(ambient, &by("cluster.local/ns/web/sa/shop")), "other_scheme");
    // The connection's own certificate does not count unless it is asked for.
    assert_eq!(reason(ambient, &Call::by("/", GATEWAY)), "no_mtls");
    let both = r#"{"trustDomains":["cluster.local"],"source":["peerPrincipal","tls"]}"#;
    assert_eq!(identify(both, &Call::by("/", GATEWAY)).unwrap(), GATEWAY);
    assert_eq!(identify(both, &Call::by("/", GATEWAY).with(Attribute::PeerPrincipal, CALLER)).unwrap(), CALLER);
}

#[test]
fn a_worse_source_never_mends_what_a_better_one_refuses() {
    let both = r#"{"trustDomains":["cluster.local"],"source":["peerPrincipal","tls"]}"#;
    for bad in ["spiffe://evil.example/a", "nonsense", "a,b"] {
        let call = Call::by("/", GATEWAY).with(Attribute::PeerPrincipal, bad);
        assert!(outcome(both, &call).is_err(), "{bad}");
    }
    assert_eq!(reason(FORWARDED, &through(GATEWAY, "nonsense")), "bad_forwarded_identity");
}

#[test]
fn federated_trust_domains_count_and_are_no_aliases() {
    let config = r#"{"trustDomains":["cluster.local"],"federatedTrustDomains":["partner.example"]}"#;
    let partner = "spiffe://partner.example/ns/web/sa/shop";
    assert_eq!(identify(config, &Call::by("/", partner)).unwrap(), partner);
    assert_eq!(reason(config, &Call::by("/", "spiffe://other.example/a")), "foreign_trust_domain");
    // Beside the proxy's own.
    let config = r#"{"federatedTrustDomains":["partner.example"]}"#;
    assert!(identify(config, &Call::by("/", partner)).is_ok());
    assert!(identify(config, &Call::by("/", GATEWAY)).is_ok());
}
