//! Whom a selector selects.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn selected(selector: &str, request: &Call) -> bool {
    let rule = rule(&format!(r#""match":[{{"paths":["/a/{{id}}"]}}],"reserve":{{"percent":1,"for":[{selector}]}}"#));
    selects(&rule.reserve.unwrap().callers[0], request, &rule.matches)
}

#[test]
fn a_selector_takes_those_with_its_value() {
    let claim = ["metadata", "filter_metadata", "envoy.filters.http.jwt_authn", "payload", "sub"];
    let peer = |uri: &str| call("/").with_principal(uri);
    for (selector, taken, others) in [
        (r#"{"principal":"td/a"}"#, peer("spiffe://td/a"), peer("spiffe://td/a/b")),
        (r#"{"principal":"spiffe://td/a"}"#, peer("spiffe://td/a"), peer("spiffe://td2/a")),
        (r#"{"namespace":"blog"}"#, peer("spiffe://td/ns/blog/sa/x"), peer("spiffe://td/ns/Blog/sa/x")),
        (r#"{"host":"A.com."}"#, call("/").with_authority("a.COM:80"), call("/").with_authority("b.a.com")),
        (r#"{"method":"POST"}"#, call("/").with_method("post"), call("/")),
        (r#"{"header":{"X":"a"}}"#, call("/").with_header("x", "a"), call("/").with_header("x", "A")),
        (r#"{"cookie":{"c":"1"}}"#, call("/").with_header("cookie", "c=1"), call("/").with_header("cookie", "c=2")),
        (r#"{"query":{"q":"a b"}}"#, call("/?q=a+b"), call("/?q=a%2Bb")),
        (r#"{"pathVariable":{"id":"1"}}"#, call("/a/%31"), call("/a/2")),
        (r#"{"jwtClaim":{"sub":"me"}}"#, call("/").with_property(&claim, "me"), call("/").with_property(&claim, "you")),
        (
            r#"{"attribute":{"a.b":"1"}}"#,
            call("/").with_property(&["a", "b"], "1"),
            call("/").with_property(&["a.b"], "1"),
        ),
    ] {
        assert!(selected(selector, &taken), "{selector}: {taken:?}");
        assert!(!selected(selector, &others), "{selector}: {others:?}");
        assert!(!selected(selector, &Call::default()), "{selector}: a request without anything");
    }
}

#[test]
fn a_repeated_header_is_not_one_of_its_values() {
    let twice = call("/").with_header("x", "a").with_header("x", "b");
    assert!(!selected(r#"{"header":{"x":"a"}}"#, &twice) && !selected(r#"{"header":{"x":"b"}}"#, &twice));
}

#[test]
fn all_conditions_must_hold() {
    let selector = r#"{"method":"POST","header":{"x":"a","y":"b"}}"#;
    let all = call("/").with_method("POST").with_header("x", "a").with_header("y", "b");
    assert!(selected(selector, &all));
    assert!(!selected(selector, &all.clone().with_method("PUT")));
    assert!(!selected(selector, &call("/").with_method("POST").with_header("x", "a")));
    assert!(!selected(selector, &call("/").with_method("POST").with_header("y", "b")));
}

#[test]
fn an_address_is_selected_by_its_network() {
    for (network, address, expected) in [
        ("10.0.0.0/8", "10.255.1.2", true),
        ("10.0.0.0/8", "11.0.0.1", false),
        ("10.1.2.3/8", "10.255.1.2", true),
        ("10.1.2.3", "10.1.2.3", true),
        ("10.1.2.3", "10.1.2.4", false),
        ("10.1.2.2/31", "10.1.2.3", true),
        ("10.1.2.2/31", "10.1.2.4", false),
        ("0.0.0.0/0", "203.0.113.7", true),
        ("0.0.0.0/0", "[2001:db8::1]", false),
        ("0.0.0.0/0", "[::ffff:203.0.113.7]", true),
        ("::/0", "203.0.113.7", false),
        ("::/0", "[2001:db8::1]", true),
        ("2001:db8::/32", "[2001:db8:ffff::1]", true),
        ("2001:db8::/32", "[2001:db9::1]", false),
        ("2001:db8::1", "[2001:db8::1]", true),
        ("2001:db8::1", "[2001:db8::2]", false),
    ] {
        let selector = format!(r#"{{"clientAddress":"{network}"}}"#);
        let from = |port: u16| call("/").with_source(&format!("{address}:{port}"));
        assert_eq!(selected(&selector, &from(5)), expected, "{network} {address}");
        assert!(!selected(&selector, &from(0)), "what a header says selects nobody");
    }
}

#[test]
fn networks_are_refused_that_are_none() {
    for network in ["", "10.0.0.0/", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/-1", "10.0.0.0/8/8", "a", "[::1]"] {
        let json = format!(
            r#"{{"rules":[{{"name":"a","limits":[{{"requests":10,"per":"1m"}}],"overrides":[{{"clientAddress":"{network}","limits":"unlimited"}}]}}]}}"#
        );
        let error = Config::parse(json.as_bytes()).unwrap_err();
        assert_eq!(error.path, "rules[0].overrides[0].clientAddress", "{network}");
    }
}
