use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn with_headers(values: &[&'static str]) -> Fake {
    Fake { headers: HashMap::from([("x-env", values.to_vec())]), ..Fake::default() }
}

#[test]
fn what_is_no_plain_host_is_ambiguous_and_falls_under_the_rule_of_the_host_in_it() {
    let table = table(json!([[{"hosts": ["api.example.com"]}], []]));
    for (authority, rule) in [
        ("api.example.com..", 0),
        ("api.example.com.:443.", 0),
        ("user@api.example.com", 0),
        ("API.example.com:80:80", 1),
        ("%61pi.example.com", 1),
        ("", 1),
        ("[::1", 1),
        ("[]", 1),
        ("[api]", 1),
    ] {
        let found = table.find(&Fake { authority: Some(authority), ..Fake::default() });
        assert_eq!(found, Found { rule: Some(rule), doubt: Some(Doubt::Host) }, "{authority:?}");
    }
    let long: &'static str = String::leak("a".repeat(60_000));
    assert_eq!(table.find(&Fake { authority: Some(long), ..Fake::default() }).doubt, Some(Doubt::Host));
}

#[test]
fn a_path_that_may_name_a_host_makes_the_host_ambiguous_where_a_rule_looks_at_it() {
    let by_host = table(json!([[{"hosts": ["api.example.com"]}], []]));
    let by_method = table(json!([[{"methods": ["GET"]}], []]));
    for path in ["//admin.example.com/x", "/\\admin.example.com", "/%2fadmin.example.com", "http://admin.example.com/x"]
    {
        let request = Fake { path: Some(path), authority: Some("api.example.com"), ..Fake::default() };
        assert_eq!(by_host.find(&request), Found { rule: Some(0), doubt: Some(Doubt::Host) }, "{path}");
        assert_eq!(by_method.find(&request), Found { rule: Some(1), doubt: None }, "{path}");
    }
    for path in ["/", "/x//y", "/?//admin.example.com", "*"] {
        let request = Fake { path: Some(path), authority: Some("api.example.com"), ..Fake::default() };
        assert_eq!(by_host.find(&request), Found { rule: Some(0), doubt: None }, "{path}");
    }
}

#[test]
fn an_ipv6_address_is_the_same_in_every_spelling() {
    let table = table(json!([[{"hosts": ["[2001:DB8:0::1]"]}], []]));
    for (authority, rule) in
        [("[2001:db8::1]", 0), ("[2001:0db8:0:0:0:0:0:0001]:8443", 0), ("[2001:DB8::0.0.0.1]", 0), ("[2001:db8::2]", 1)]
    {
        let found = table.find(&Fake { authority: Some(authority), ..Fake::default() });
        assert_eq!(found, Found { rule: Some(rule), doubt: None }, "{authority}");
    }
    let scoped = table.find(&Fake { authority: Some("[2001:db8::1%25eth0]"), ..Fake::default() });
    assert_eq!(scoped.doubt, Some(Doubt::Host));
}

#[test]
fn an_exemption_takes_what_has_one_reading_and_none_takes_nothing() {
    let exempt = parsed(&json!([[{"paths": ["/health"]}, {"hosts": ["a.example.com"]}]])).remove(0);
    for (path, host, of_exempt) in [
        ("/health", "b.example.com", true),
        ("/other", "A.example.com:80", true),
        ("/other", "b.example.com", false),
        ("//health", "b.example.com", false),
        ("//other", "b.example.com", false),
        ("/other", "x@a.example.com", false),
    ] {
        let request = Fake { path: Some(path), authority: Some(host), ..Fake::default() };
        assert_eq!(RouteTable::of_exemptions(&exempt).takes_for_certain(&request), of_exempt, "{host}{path}");
        assert!(!RouteTable::of_exemptions(&[]).takes_for_certain(&request), "{host}{path}");
    }
}

#[test]
fn a_repeated_header_whose_values_disagree_holds_no_condition_and_is_a_doubt() {
    let table = table(json!([
        [{"headers": [{"name": "x-env", "exact": "prod"}]}],
        [{"headers": [{"name": "x-env", "prefix": "p"}]}],
        [],
    ]));
    for (values, rule, doubt) in [
        (&["prod"][..], 0, None),
        (&["prod", "prod"], 0, None),
        (&["prod", "pre"], 1, Some(Doubt::Header)),
        (&["pre", "prod", "x"], 2, Some(Doubt::Header)),
        (&["x", "y"], 2, None),
        (&[], 2, None),
    ] {
        assert_eq!(table.find(&with_headers(values)), Found { rule: Some(rule), doubt }, "{values:?}");
    }
}

#[test]
fn a_doubt_counts_only_where_all_else_holds() {
    let both = json!([[{"headers": [{"name": "x-env", "exact": "prod"}, {"name": "x-other", "present": true}]}], []]);
    assert_eq!(table(both).find(&with_headers(&["prod", "pre"])), Found { rule: Some(1), doubt: None });
    let method = json!([[{"methods": ["PUT"], "headers": [{"name": "x-env", "exact": "prod"}]}], []]);
    let get = Fake { method: Some("GET"), ..with_headers(&["prod", "pre"]) };
    assert_eq!(table(method).find(&get), Found { rule: Some(1), doubt: None });
}

#[test]
fn a_doubt_counts_only_where_another_rule_would_be_found() {
    let in_env = |value: &str| json!({"headers": [{"name": "x-env", "exact": value}]});
    let request = Fake { path: Some("/a"), ..with_headers(&["prod", "pre"]) };
    for (rules, rule, doubt) in [
        (json!([[in_env("prod"), {"paths": ["/a"]}], []]), 0, None),
        (json!([[{"paths": ["/a"]}, in_env("prod")], []]), 0, None),
        (json!([[{"paths": ["/a"]}], [in_env("prod")], []]), 0, None),
        (json!([[in_env("prod")], [in_env("pre"), {"paths": ["/a"]}]]), 1, Some(Doubt::Header)),
        (json!([[in_env("prod"), {"paths": ["/b"]}], []]), 1, Some(Doubt::Header)),
    ] {
        assert_eq!(table(rules.clone()).find(&request), Found { rule: Some(rule), doubt }, "{rules}");
    }
    let exempt = parsed(&json!([[in_env("prod"), {"paths": ["/a"]}], [in_env("prod")]]));
    assert!(RouteTable::of_exemptions(&exempt[0]).takes_for_certain(&request));
    assert!(!RouteTable::of_exemptions(&exempt[1]).takes_for_certain(&request));
}

#[test]
fn a_rule_is_not_asked_about_what_is_in_doubt() {
    let rules = json!([[{"headers": [{"name": "x-env", "exact": "prod"}]}], [{"paths": ["/a"]}], []]);
    let request = Fake { path: Some("/a"), ..with_headers(&["prod", "pre"]) };
    let mut asked = Vec::new();
    let found = table(rules).find_where(&request, |rule| {
        asked.push(rule);
        rule == 2
    });
    assert_eq!((found, asked), (Found { rule: Some(2), doubt: Some(Doubt::Header) }, vec![1, 2]));
}

#[test]
fn a_header_and_a_parameter_may_both_be_in_doubt() {
    let condition = |name: &str| json!([{"name": name, "exact": "prod"}]);
    let table = table(json!([[{"headers": condition("x-env"), "query": condition("env")}], []]));
    for (headers, path, doubt) in [
        (&["prod"][..], "/?env=prod&env=pre", Some(Doubt::Query)),
        (&["prod", "pre"], "/?env=prod", Some(Doubt::Header)),
        (&["prod", "pre"], "/?env=prod&env=pre", Some(Doubt::Header)),
        (&["prod", "pre"], "/?env=pre", None),
        (&["pre"], "/?env=prod&env=pre", None),
    ] {
        let request = Fake { path: Some(path), ..with_headers(headers) };
        assert_eq!(table.find(&request), Found { rule: Some(1), doubt }, "{headers:?} {path}");
    }
}

#[test]
fn nor_does_a_repeated_parameter() {
    let table = table(json!([[{"query": [{"name": "tenant", "exact": "a"}]}], []]));
    for (path, rule, doubt) in [
        ("/?tenant=a", 0, None),
        ("/?tenant=a&tenant=a", 0, None),
        ("/?tenant=a&tenant=b", 1, Some(Doubt::Query)),
        ("/?tenant=b&t%65nant=a", 1, Some(Doubt::Query)),
        ("/?tenant=b", 1, None),
    ] {
        let request = Fake { path: Some(path), ..Fake::default() };
        assert_eq!(table.find(&request), Found { rule: Some(rule), doubt }, "{path}");
    }
}
