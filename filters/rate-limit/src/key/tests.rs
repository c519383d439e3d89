mod addresses;
mod selectors;

use tollgate::request::Attribute;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::{
    config::{Config, RuleConfig},
    testing::{Call, call},
};

const SEED: Seed = Seed([7; 16]);

fn rule(fields: &str) -> RuleConfig {
    let json = format!(r#"{{"rules":[{{"name":"a","limits":[{{"requests":10,"per":"1m"}}],{fields}}}]}}"#);
    Config::parse(json.as_bytes()).unwrap().rules.remove(0)
}

fn find_by(seed: Seed, rule: &RuleConfig, request: &Call) -> Found {
    Key::new(&rule.key, seed).find(request, &rule.matches)
}

/// The bucket of `request` by a key of these parts, in JSON.
fn bucket(key: &str, request: &Call) -> u128 {
    bucket_of(&rule(&format!(r#""key":[{key}]"#)), request)
}

fn bucket_of(rule: &RuleConfig, request: &Call) -> u128 {
    match find_by(SEED, rule, request) {
        Found::Bucket(id) => id.0,
        other => panic!("{other:?} for {request:?}"),
    }
}

/// All of `same` share a bucket, and none of `others` shares it with them, nor does a request without anything.
fn share(key: &str, same: &[Call], others: &[Call]) {
    let expected = bucket(key, &same[0]);
    for request in same {
        assert_eq!(bucket(key, request), expected, "{key}: {request:?} and {:?}", same[0]);
    }
    for request in others.iter().chain([&Call::default()]) {
        assert_ne!(bucket(key, request), expected, "{key}: {request:?} and {:?}", same[0]);
    }
}

/// `request` lacks the part.
fn lacks(key: &str, request: &Call) {
    let part = key.strip_suffix('}').unwrap();
    let with = |missing: &str| rule(&format!(r#""key":[{part},"missing":"{missing}"}}]"#));
    assert_eq!(bucket(key, request), bucket(key, &Call::default()), "{key}: {request:?} shares with those without");
    assert_eq!(find_by(SEED, &with("skip"), request), Found::Skip, "{key}: {request:?}");
    assert_eq!(find_by(SEED, &with("deny"), request), Found::Deny, "{key}: {request:?}");
}

#[test]
fn without_a_key_all_share_one_bucket() {
    let rule = rule(r#""draft03":false"#);
    assert_eq!(find_by(SEED, &rule, &call("/a")), Found::Bucket(BucketId(0)));
    assert_eq!(find_by(SEED, &rule, &call("/b").with_authority("x")), Found::Bucket(BucketId(0)));
}

#[test]
fn a_seed_decides_on_the_buckets() {
    let (rule, request) = (rule(r#""key":["host"]"#), call("/").with_authority("a"));
    assert_eq!(find_by(SEED, &rule, &request), find_by(SEED, &rule, &request));
    assert_ne!(find_by(SEED, &rule, &request), find_by(Seed([8; 16]), &rule, &request));
    let Found::Bucket(BucketId(id)) = find_by(SEED, &rule, &request) else { panic!() };
    assert!(id >> 64 != 0 && id as u64 != 0, "both halves are used");
}

#[test]
fn different_lists_of_values_never_share_a_bucket() {
    let key = r#"{"header":"a"},{"header":"b"}"#;
    let with = |values: [Option<&str>; 2]| {
        let headers = ["a", "b"].into_iter().zip(values);
        headers.fold(call("/"), |call, (name, value)| match value {
            Some(value) => call.with_header(name, value),
            None => call,
        })
    };
    let values = [None, Some(""), Some("a"), Some("b"), Some("bc"), Some("ab"), Some("c"), Some("\0"), Some("a,b")];
    let mut buckets: Vec<(u128, _)> = Vec::new();
    for first in values {
        for second in values {
            let bucket = bucket(key, &with([first, second]));
            let same = buckets.iter().find(|(other, _)| *other == bucket);
            assert_eq!(same, None, "and {:?}", [first, second]);
            buckets.push((bucket, [first, second]));
        }
    }
}

#[test]
fn a_principal_is_a_valid_spiffe_id() {
    let peer = |uri: &str| call("/").with_principal(uri);
    share(
        r#""principal""#,
        &[peer("spiffe://td/ns/a/sa/b"), peer("spiffe://td/ns/a/sa/b")],
        &[peer("spiffe://td/ns/a/sa/c"), peer("spiffe://td2/ns/a/sa/b")],
    );
    for uri in ["", "td/ns/a/sa/b", "https://td/ns/a/sa/b", "spiffe://TD/a", "spiffe://td", "spiffe://td/a/../b"] {
        lacks(r#"{"principal":{}}"#, &peer(uri));
    }
    lacks(r#"{"principal":{}}"#, &call("/").with_attribute(Attribute::UriSanPeerCertificate, b"spiffe://td/\xff"));
}

#[test]
fn a_namespace_is_that_of_the_peers_service_account() {
    let peer = |uri: &str| call("/").with_principal(uri);
    share(
        r#""namespace""#,
        &[peer("spiffe://td/ns/a/sa/b"), peer("spiffe://td/ns/a/sa/c"), peer("spiffe://td2/ns/a/sa/b")],
        &[peer("spiffe://td/ns/b/sa/a")],
    );
    lacks(r#"{"namespace":{}}"#, &peer("spiffe://td/workload"));
    lacks(r#"{"namespace":{}}"#, &peer("spiffe://td/x/ns/a/sa/b"));
}

#[test]
fn a_host_counts_without_case_port_and_dot() {
    let host = |host: &str| call("/").with_authority(host);
    share(
        r#""host""#,
        &[host("api.example.com"), host("API.Example.COM"), host("api.example.com:8080"), host("api.example.com.:80")],
        &[host("www.example.com"), host("example.com"), host("")],
    );
    lacks(r#"{"host":{}}"#, &Call::default());
}

#[test]
fn a_method_counts_without_case() {
    let method = |method: &str| call("/").with_method(method);
    share(r#""method""#, &[method("GET"), method("get"), call("/")], &[method("POST")]);
    lacks(r#"{"method":{}}"#, &Call::default());
}

#[test]
fn a_repeated_header_is_the_list_of_its_values() {
    let with = |values: &[&str]| values.iter().fold(call("/"), |call, value| call.with_header("x-api-key", value));
    share(
        r#"{"header":"X-Api-Key"}"#,
        &[with(&["a", "b"]), with(&["a,b"])],
        &[with(&["a"]), with(&["b"]), with(&["b", "a"]), with(&["a", "b", ""]), with(&[""])],
    );
    lacks(r#"{"header":"x-api-key"}"#, &call("/").with_header("x-api", "a"));
    let empty = bucket(r#"{"header":"x-api-key"}"#, &with(&[""]));
    assert_ne!(empty, bucket(r#"{"header":"x-api-key"}"#, &call("/")), "an empty value is one");
}

#[test]
fn a_header_need_not_be_text() {
    let with = |value: &[u8]| call("/").with_header("x", value);
    share(
        r#"{"header":"x"}"#,
        &[with(b"\xff\xfe")],
        &[with(b"\xff"), with(b"\xfe\xff"), with("\u{fffd}\u{fffd}".as_bytes())],
    );
}

#[test]
fn a_cookie_is_found_wherever_it_stands() {
    let with = |cookies: &[&str]| cookies.iter().fold(call("/"), |call, value| call.with_header("cookie", value));
    share(
        r#"{"cookie":"sid"}"#,
        &[
            with(&["sid=1"]),
            with(&["a=b; sid=1; c=d"]),
            with(&["a=b;sid=1"]),
            with(&["  sid=1  ;x"]),
            with(&["a=b", "c=d; sid=1"]),
            with(&["sid; sid=1"]),
            with(&["sid=1; sid=2"]),
        ],
        &[with(&["sid=2; sid=1"]), with(&["sid=11"]), with(&["sid="]), with(&["sid=1=2"])],
    );
    for cookies in ["", ";", "=", "sid", "sid ", "SID=1", "xsid=1", "sidx=1", "a=sid=1", "sid =1"] {
        lacks(r#"{"cookie":"sid"}"#, &with(&[cookies]));
    }
}

#[test]
fn a_parameter_of_the_query_is_decoded() {
    share(
        r#"{"query":"te nant"}"#,
        &[call("/?te+nant=a%2Bb"), call("/other?x=y&te%20nant=a%2bb&z"), call("/?te+nant=a%2Bb&te+nant=c")],
        &[call("/?te+nant=a+b"), call("/?te+nant="), call("/?te+nant=c&te+nant=a%2Bb"), call("/?te+nant=a%2Bb%26")],
    );
    for path in ["/", "/?", "/?tenant=a", "/te nant=a", "/?Te+nant=a"] {
        lacks(r#"{"query":"te nant"}"#, &call(path));
    }
    lacks(r#"{"query":"t"}"#, &Call::default());
}

#[test]
fn a_path_variable_counts_in_its_normalised_form() {
    let rule = rule(
        r#""match":[{"paths":["/health","/users/{id}"]},{"paths":["/v2/{x}/users/{id}/*"]}],
           "key":[{"pathVariable":"id"}]"#,
    );
    let bucket = |path: &str| bucket_of(&rule, &call(path));
    for same in [
        "/users/1?a=b",
        "/users/1/",
        "/users/%31",
        "//users/./1",
        "/users/2/../1",
        "/v2/a/users/1",
        "/v2/b/users/1/c/d",
    ] {
        assert_eq!(bucket(same), bucket("/users/1"), "{same}");
    }
    for other in ["/users/2", "/users/11", "/health", "/v2/1/users/2"] {
        assert_ne!(bucket(other), bucket("/users/1"), "{other}");
    }
    assert_eq!(bucket("/health"), bucket_of(&rule, &Call::default()), "those without it share a bucket");
}

#[test]
fn a_claim_is_one_that_jwt_authn_has_verified() {
    let claims = ["metadata", "filter_metadata", "envoy.filters.http.jwt_authn"];
    let with = |payload: &str, name: &str, value: &str| {
        call("/").with_property(&[&claims[..], &[payload, name]].concat(), value)
    };
    share(
        r#"{"jwtClaim":"sub"}"#,
        &[with("payload", "sub", "me"), with("payload", "sub", "me").with_header("authorization", "Bearer x")],
        &[with("payload", "sub", "you"), with("payload", "iss", "me"), with("other", "sub", "me")],
    );
    share(
        r#"{"jwtClaim":{"name":"sub","payload":"other"}}"#,
        &[with("other", "sub", "me")],
        &[with("payload", "sub", "me")],
    );
    lacks(r#"{"jwtClaim":"sub"}"#, &with("payload", "iss", "me"));
}

#[test]
fn any_attribute_can_set_callers_apart() {
    let with = |path: &[&str], value: &str| call("/").with_property(path, value);
    let sni = ["connection", "requested_server_name"];
    share(
        r#"{"attribute":["connection","requested_server_name"]}"#,
        &[with(&sni, "a")],
        &[with(&sni, "b"), with(&sni[..1], "a"), with(&["connection.requested_server_name"], "a")],
    );
}

#[test]
fn the_first_part_that_is_missing_decides() {
    let rule = rule(r#""key":[{"header":"a"},{"header":"b","missing":"skip"},{"header":"c","missing":"deny"}]"#);
    let find = |request: Call| find_by(SEED, &rule, &request);
    assert_eq!(find(call("/")), Found::Skip);
    assert_eq!(find(call("/").with_header("c", "1")), Found::Skip);
    assert_eq!(find(call("/").with_header("b", "1")), Found::Deny);
    assert!(matches!(find(call("/").with_header("b", "1").with_header("c", "1")), Found::Bucket(_)));
}
