use std::collections::HashMap;

use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::{config, request::Attribute};

mod doubts;
mod reach;

#[derive(Debug, Default)]
struct Fake {
    path: Option<&'static str>,
    method: Option<&'static str>,
    authority: Option<&'static str>,
    headers: HashMap<&'static str, Vec<&'static str>>,
}

impl Request for Fake {
    fn path(&self) -> Option<&[u8]> {
        self.path.map(str::as_bytes)
    }
    fn method(&self) -> Option<&[u8]> {
        self.method.map(str::as_bytes)
    }
    fn authority(&self) -> Option<&[u8]> {
        self.authority.map(str::as_bytes)
    }
    fn header(&self, name: &str) -> Vec<Vec<u8>> {
        self.headers.get(name).into_iter().flatten().map(|value| value.as_bytes().to_vec()).collect()
    }
    fn attribute(&self, _: Attribute) -> Option<&[u8]> {
        None
    }
}

fn parsed(rules: &Value) -> Vec<Vec<RouteMatch>> {
    let parse = |rule: &Value| match rule {
        Value::Array(alternatives) if alternatives.is_empty() => Vec::new(),
        alternatives => config::parse(alternatives.to_string().as_bytes()).unwrap(),
    };
    rules.as_array().unwrap().iter().map(parse).collect()
}

fn table(rules: Value) -> RouteTable {
    RouteTable::new(parsed(&rules).iter().map(Vec::as_slice))
}

fn rule(table: &RouteTable, path: &'static str) -> Option<usize> {
    table.find(&Fake { path: Some(path), ..Fake::default() }).rule
}

fn refusal(rules: Value) -> String {
    config::parse::<Vec<RouteMatch>>(rules.to_string().as_bytes()).unwrap_err().to_string()
}

#[test]
fn the_first_rule_that_matches_wins() {
    let table = table(json!([
        [{"paths": ["/users/me"]}],
        [{"paths": ["/users/{id}"]}],
        [{"paths": ["/users/*"]}, {"paths": ["/people/{id}/posts/{post}"]}],
        [],
    ]));
    for (path, expected) in [
        ("/users/me", 0),
        ("/users/me/?x=1", 0),
        ("/users/7", 1),
        ("/users", 2),
        ("/users/7/posts", 2),
        ("/people/7/posts/9", 2),
        ("/people/7/posts", 3),
        ("/usersx", 3),
        ("/", 3),
    ] {
        assert_eq!(rule(&table, path), Some(expected), "{path}");
    }
}

#[test]
fn an_earlier_wildcard_beats_a_later_literal() {
    let table = table(json!([[{"paths": ["/{any}/x"]}], [{"paths": ["/a/x"]}]]));
    assert_eq!(rule(&table, "/a/x"), Some(0));
}

#[test]
fn literals_and_variables_are_both_followed() {
    let table = table(json!([[{"paths": ["/a/{x}/c"]}], [{"paths": ["/{x}/b/d"]}], [{"paths": ["/a/b/e"]}]]));
    assert_eq!(rule(&table, "/a/b/c"), Some(0));
    assert_eq!(rule(&table, "/a/b/d"), Some(1));
    assert_eq!(rule(&table, "/a/b/e"), Some(2));
    assert_eq!(rule(&table, "/a/b/f"), None);
}

#[test]
fn an_odd_spelling_falls_under_the_rule_of_its_plain_form() {
    let table = table(json!([[{"paths": ["/api/login"]}], []]));
    for path in ["/api//login", "/api/./login", "/api%2flogin", "/x/../api/login", "/api/login;x", "/api/%6cogin"] {
        assert_eq!(rule(&table, path), Some(0), "{path}");
    }
    let found = table.find(&Fake { path: Some("/api%2flogin"), ..Fake::default() });
    assert_eq!(found.doubt, Some(Doubt::Path(Ambiguity::EscapedSlash)));
}

#[test]
fn hosts_ignore_case_port_and_end_dot() {
    let table = table(json!([[{"hosts": ["API.example.com"]}], [{"hosts": ["*.example.com", "[::1]"]}]]));
    for (authority, expected) in [
        (Some("api.example.com"), Some(0)),
        (Some("Api.Example.COM.:8080"), Some(0)),
        (Some("api.example.com:"), Some(0)),
        (Some("a.b.example.com"), Some(1)),
        (Some("[::1]:80"), Some(1)),
        (Some("[::1]"), Some(1)),
        (Some("example.com"), None),
        (Some(".example.com"), None),
        (Some("api.example.com.evil.org"), None),
        (None, None),
    ] {
        let found = table.find(&Fake { authority, ..Fake::default() });
        assert_eq!((found.rule, found.doubt), (expected, None), "{authority:?}");
    }
}

#[test]
fn a_host_pattern_matches_by_itself_what_a_rule_with_it_matches() {
    let patterns: Vec<HostPattern> = config::parse(br#"["api.example.com", "*.example.com", "*"]"#).unwrap();
    for (authority, expected, is_ambiguous) in [
        ("API.example.com.:8443", [true, true, true], false),
        ("a.b.example.com", [false, true, true], false),
        ("example.com", [false, false, true], false),
        ("user@api.example.com", [true, true, true], true),
        ("", [false, false, true], true),
    ] {
        let host = NormalizedHost::new(authority.as_bytes());
        let matches: Vec<bool> = patterns.iter().map(|pattern| pattern.matches(&host)).collect();
        assert_eq!((&matches[..], host.is_ambiguous()), (&expected[..], is_ambiguous), "{authority}");
    }
}

#[test]
fn a_host_is_the_one_that_the_rules_see() {
    for (authority, name) in [("API.example.com.:8443", "api.example.com"), ("[::1]:80", "[::1]"), ("", "")] {
        assert_eq!(host(authority.as_bytes()), name.as_bytes(), "{authority}");
    }
}

#[test]
fn a_method_in_another_case_is_no_other_method() {
    let table = table(json!([[{"methods": ["DELETE"]}], []]));
    for method in ["DELETE", "delete", "Delete"] {
        assert_eq!(table.find(&Fake { method: Some(method), ..Fake::default() }).rule, Some(0), "{method}");
    }
}

#[test]
fn all_conditions_of_one_match_must_hold() {
    let table = table(json!([[{
        "paths": ["/a"],
        "methods": ["POST", "PUT"],
        "headers": [{"name": "X-Tenant", "exact": "acme"}, {"name": "x-trace", "present": true}],
    }]]));
    let request = |method, tenants: &[&'static str]| Fake {
        path: Some("/a"),
        method: Some(method),
        headers: [("x-tenant", tenants.to_vec()), ("x-trace", vec![""])].into(),
        ..Fake::default()
    };
    assert_eq!(table.find(&request("PUT", &["acme"])).rule, Some(0));
    assert_eq!(table.find(&request("GET", &["acme"])).rule, None);
    assert_eq!(table.find(&request("PUT", &["other"])).rule, None);
    assert_eq!(table.find(&request("PUT", &[])).rule, None);
    assert_eq!(table.find(&request("PUT", &["acme", "other"])).rule, None, "a second value may not be smuggled in");
}

#[test]
fn a_query_condition_sees_decoded_names_and_values() {
    let table = table(json!([
        [{"query": [{"name": "tenant id", "exact": "a&b"}]}],
        [{"query": [{"name": "q", "prefix": "caf\u{e9}"}]}],
        [{"query": [{"name": "debug", "present": true}]}],
    ]));
    for (path, expected) in [
        ("/?tenant%20id=a%26b", Some(0)),
        ("/?tenant+id=a%26b&x", Some(0)),
        ("/?tenant+id=a&b", None),
        ("/?Tenant+id=a%26b", None),
        ("/?q=caf%C3%A9s", Some(1)),
        ("/?q=caf%25C3%25A9", None),
        ("/?x=1&debug", Some(2)),
        ("/?debug=", Some(2)),
        ("/?xdebug", None),
        ("/debug", None),
        ("/?", None),
        ("/", None),
    ] {
        assert_eq!(rule(&table, path), expected, "{path}");
    }
    assert_eq!(table.find(&Fake::default()).rule, None, "a request without a path has no query");
}

#[test]
fn every_value_of_a_repeated_parameter_must_satisfy_the_condition() {
    let table = table(json!([[{"query": [{"name": "plan", "exact": "gold"}, {"name": "v", "prefix": "2"}]}]]));
    for (path, expected) in [
        ("/?plan=gold&v=2", Some(0)),
        ("/?v=2.1&plan=gold&v=22&plan=gold", Some(0)),
        ("/?plan=gold&v=2&plan=free", None),
        ("/?plan=free&v=2&plan=gold", None),
        ("/?plan=gold&v=2&%70lan=free", None),
        ("/?plan=gold&v=1", None),
        ("/?plan=gold", None),
    ] {
        assert_eq!(rule(&table, path), expected, "{path}");
    }
}

#[test]
fn a_variable_is_the_segment_in_its_place() {
    let value = |pattern: &str, name: &str, raw: &'static str| {
        let [pattern]: [PathPattern; 1] =
            config::parse::<Vec<_>>(json!([pattern]).to_string().as_bytes()).unwrap().try_into().unwrap();
        let value = pattern.variable(name, &NormalizedPath::new(raw.as_bytes())).map(str::to_owned);
        assert!(value.is_none() || pattern.has_variable(name), "{pattern:?} has no {name}");
        value
    };
    let some = |value: &str| Some(value.to_owned());
    assert_eq!(value("/users/{id}", "id", "/users/7"), some("7"));
    assert_eq!(value("/users/{id}", "id", "/users/caf%C3%A9/?id=8"), some("caf\u{e9}"));
    assert_eq!(value("/{a}/{b}/*", "b", "/x/y/z/{b}"), some("y"));
    assert_eq!(value("/users/{id}/*", "id", "/users/7"), some("7"));
    assert_eq!(value("/users/{id}", "id", "/users/7/posts"), None);
    assert_eq!(value("/users/{id}", "id", "/users"), None);
    assert_eq!(value("/users/{id}", "id", "/people/7"), None);
    assert_eq!(value("/users/{id}", "user", "/users/7"), None);
    assert_eq!(value("/users/id", "id", "/users/id"), None);
}

#[test]
fn a_pattern_has_the_variables_that_it_names() {
    let has = |pattern: &str, name: &str| {
        let patterns: Vec<PathPattern> = config::parse(json!([pattern]).to_string().as_bytes()).unwrap();
        patterns[0].has_variable(name)
    };
    assert!(has("/users/{id}/posts/{post}", "id") && has("/users/{id}/posts/{post}", "post"));
    for pattern in ["/users/id", "/users/{ID}", "/users/*", "*", "/"] {
        assert!(!has(pattern, "id"), "{pattern}");
    }
}

#[test]
fn reads_nothing_when_the_first_rule_takes_everything() {
    struct Untouchable;
    impl Request for Untouchable {
        fn path(&self) -> Option<&[u8]> {
            panic!("read the path")
        }
        fn method(&self) -> Option<&[u8]> {
            panic!("read the method")
        }
        fn authority(&self) -> Option<&[u8]> {
            panic!("read the authority")
        }
        fn header(&self, _: &str) -> Vec<Vec<u8>> {
            panic!("read a header")
        }
        fn attribute(&self, _: Attribute) -> Option<&[u8]> {
            panic!("read an attribute")
        }
    }
    assert_eq!(table(json!([[], [{"paths": ["/a"]}]])).find(&Untouchable).rule, Some(0));
    assert_eq!(table(json!([])).find(&Untouchable).rule, None);
}

#[test]
fn a_variable_has_a_name_of_letters_and_digits() {
    for path in ["/{}", "/{a b}", "/{é}"] {
        let refused = refusal(json!([{"paths": [path]}]));
        let hint = "a variable is letters, digits, `_` and `-` in braces, such as `{id}`";
        assert_eq!(refused, format!("[0].paths[0]: invalid path `{path}`: {hint}"));
    }
}

#[test]
fn a_pattern_may_be_as_long_and_as_deep_as_is_said() {
    let of_bytes = |bytes: usize| format!("{:a<bytes$}", "/");
    let of_segments = |segments: usize| "/a".repeat(segments);
    for path in [of_bytes(2048), of_segments(64)] {
        assert_eq!(parsed(&json!([[{"paths": [path]}]])).len(), 1);
    }
    let too_long = refusal(json!([{"paths": [of_bytes(2049)]}]));
    assert_eq!(too_long, "[0].paths[0]: must be at most 2048 bytes, found 2049");
    let too_deep = refusal(json!([{"paths": [of_segments(65)]}]));
    assert_eq!(too_deep, "[0].paths[0]: must have at most 64 segments, found 65");
}

#[test]
fn says_what_is_wrong_and_where() {
    for (rules, message) in [
        (json!([{"paths": []}]), "[0].paths: must not be empty: leave it out instead"),
        (json!([{"paths": ["/a".repeat(65)]}]), "[0].paths[0]: must have at most 64 segments, found 65"),
        (
            json!([{"paths": ["/".to_owned() + &"a".repeat(2048)]}]),
            "[0].paths[0]: must be at most 2048 bytes, found 2049",
        ),
        (json!([{"paths": ["login"]}]), "[0].paths[0]: invalid path `login`: must start with `/`"),
        (
            json!([{}, {"paths": ["/", "/a/*/b"]}]),
            "[1].paths[1]: invalid path `/a/*/b`: `*` and `{**}` may only be the last segment",
        ),
        (
            json!([{"paths": ["/a%2fb"]}]),
            "[0].paths[0]: invalid path `/a%2fb`: it is matched after decoding, without query: write the plain characters",
        ),
        (json!([{"methods": ["get"]}]), "[0].methods[0]: invalid method `get`: write it in capitals, such as GET"),
        (
            json!([{"hosts": ["a:80"]}]),
            "[0].hosts[0]: invalid host `a:80`: write a host name without a port, `*.` and a host name, or `*`",
        ),
        (
            json!([{"headers": [{"name": "a", "exact": "x", "prefix": "y"}]}]),
            "[0].headers[0]: must have one of `exact`, `prefix` and `present: true` beside `name`",
        ),
        (json!([{"query": [{"exact": "x"}]}]), "[0].query[0]: missing field `name`"),
        (
            json!([{"query": [{"name": "a", "present": false}]}]),
            "[0].query[0]: must have one of `exact`, `prefix` and `present: true` beside `name`",
        ),
        (
            json!([{"headers": [{"name": ":path", "present": true}]}]),
            "[0].headers[0]: invalid header name `:path`: use hosts, paths and methods for those",
        ),
        (
            json!([{"path": ["/"]}]),
            "[0].path: unknown field `path`, expected one of `hosts`, `paths`, `methods`, `headers`, `query`",
        ),
    ] {
        assert_eq!(refusal(rules), message);
    }
}

proptest::proptest! {
    /// The tree against the obvious: try every rule in order.
    #[test]
    fn finds_what_trying_every_rule_in_order_finds(
        patterns in proptest::collection::vec("(/(a|b|\\{x\\})){1,3}(/\\*)?", 1..8),
        path in "(/(a|b|c)){0,4}",
    ) {
        // A variable may stand in a pattern only once.
        let patterns: Vec<String> = patterns.iter().map(|pattern| pattern.replace("{x}", "{*}")).collect();
        let rules: Vec<Value> = patterns.iter().map(|pattern| json!([{"paths": [pattern]}])).collect();
        let table = table(Value::Array(rules));
        let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
        let expected = patterns.iter().position(|pattern| {
            let prefix = pattern.ends_with("/*");
            let pattern: Vec<&str> = pattern.trim_end_matches("/*").split('/').filter(|s| !s.is_empty()).collect();
            (pattern.len() == segments.len() || prefix && pattern.len() < segments.len())
                && pattern.iter().zip(&segments).all(|(p, s)| *p == "{*}" || p == s)
        });
        let one_by_one: Vec<PathPattern> = config::parse(json!(patterns).to_string().as_bytes()).unwrap();
        let normalized = NormalizedPath::new(path.as_bytes());
        assert_eq!(one_by_one.iter().position(|pattern| pattern.matches(&normalized)), expected);
        let path: &'static str = String::leak(path);
        assert_eq!(rule(&table, path), expected);
    }
}

#[test]
fn a_parameter_is_found_by_its_decoded_name() {
    for (path, name, value) in [
        ("/?a=1&b=2", "b", Some("2")),
        ("/?a=1&%62=2", "b", Some("2")),
        ("/?%62x=1&b=2&b=3", "b", Some("2")),
        ("/?a+b=%31", "a b", Some("1")),
        ("/?b", "b", Some("")),
        ("/?%62=1", "%62", None),
        ("/?a+b=1", "a+b", None),
        ("/?c=b", "b", None),
        ("/b", "b", None),
    ] {
        let request = Fake { path: Some(path), ..Fake::default() };
        assert_eq!(query_parameter(&request, name).as_deref(), value, "{path} {name}");
    }
}
