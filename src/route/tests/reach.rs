//! Rules that no request can reach.

use core::ops::Range;

use proptest::{collection::vec, option, prelude::*, sample::select};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn found(rules: Value) -> Vec<Unreachable> {
    let rules = parsed(&rules);
    unreachable(&rules.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// Whether a rule of one alternative hides another behind it.
fn hides(earlier: Value, later: Value) -> bool {
    !found(json!([[earlier], [later]])).is_empty()
}

#[test]
fn what_takes_every_request_hides_all_behind_it() {
    let behind = |rule| Unreachable { rule, taker: 1, alone: true };
    for everything in [json!([]), json!([{}]), json!([{"paths": ["/b"]}, {}])] {
        let rules = json!([[{"paths": ["/a"]}], everything, [{"paths": ["/b"]}], [], [{"methods": ["GET"]}]]);
        assert_eq!(found(rules), [behind(2), behind(3), behind(4)]);
    }
    assert_eq!(found(json!([[{"paths": ["/a"]}], []])), []);
    assert_eq!(found(json!([])), []);
}

#[test]
fn several_rules_can_hide_one_together() {
    let rules = json!([
        [{"paths": ["/a/*"]}],
        [{"paths": ["/b/*"]}, {"hosts": ["x"]}],
        [{"paths": ["/b/1"]}, {"paths": ["/a/1"], "methods": ["GET"]}],
        [{"paths": ["/b/1"]}, {"paths": ["/c"]}],
        [{"paths": ["/b/2"]}, {"hosts": ["x"]}],
    ]);
    let [together, alone] =
        [(2, 0, false), (4, 1, true)].map(|(rule, taker, alone)| Unreachable { rule, taker, alone });
    assert_eq!(found(rules), [together, alone]);
}

#[test]
fn of_several_paths_each_must_be_covered() {
    for (of_earlier, of_later) in [("/a", "/a/*"), ("/a", "/a/b"), ("/a/{x}", "/a/b/c"), ("/a/b", "/a")] {
        let hides_both = hides(json!({"paths": ["/x", of_earlier]}), json!({"paths": ["/x", of_later]}));
        assert!(!hides_both, "{of_earlier} {of_later}");
    }
    assert!(hides(json!({"paths": ["/x", "/a/*"]}), json!({"paths": ["/a/b", "/x", "/a"]})));
}

#[test]
fn a_wider_path_hides_a_narrower_one() {
    for (earlier, later, expected) in [
        ("/a", "/a", true),
        ("/a", "/a/", true),
        ("/a", "/b", false),
        ("/{x}", "/a", true),
        ("/a", "/{x}", false),
        ("/{x}/b", "/a/{y}", false),
        ("/{x}/{y}", "/a/{z}", true),
        ("/a/*", "/a", true),
        ("/a/*", "/a/{x}/*", true),
        ("/a/{x}/*", "/a/*", false),
        ("/a", "/a/*", false),
        ("/{x}", "/{x}/*", false),
        ("/{x}", "/a/b", false),
        ("*", "/", true),
        ("/", "*", false),
    ] {
        assert_eq!(hides(json!({"paths": [earlier]}), json!({"paths": [later]})), expected, "{earlier} {later}");
    }
    assert!(hides(json!({"paths": ["/x", "/a/*", "/b"]}), json!({"paths": ["/b", "/a/1", "/a/2"]})));
    assert!(!hides(json!({"paths": ["/x", "/a/*"]}), json!({"paths": ["/a/1", "/b"]})));
    assert!(!hides(json!({"paths": ["*"]}), json!({"methods": ["CONNECT"]})), "CONNECT has no path");
}

#[test]
fn a_wider_host_hides_a_narrower_one() {
    for (earlier, later, expected) in [
        ("a.b", "A.b.", true),
        ("*.b", "a.b", true),
        ("*.b", "b", false),
        ("*.b", "*.b", true),
        ("*.b", "*.a.b", true),
        ("*.a.b", "*.b", false),
        ("*.b", "*.ab", false),
        ("*", "*.b", true),
        ("*.b", "*", false),
        ("a.b", "*.b", false),
    ] {
        assert_eq!(hides(json!({"hosts": [earlier]}), json!({"hosts": [later]})), expected, "{earlier} {later}");
    }
    assert!(!hides(json!({"hosts": ["*"]}), json!({"methods": ["GET"]})), "a request may have no host");
}

#[test]
fn methods_headers_and_query_hide_what_asks_for_more() {
    assert!(hides(json!({"methods": ["GET", "PUT"]}), json!({"methods": ["PUT"]})));
    assert!(!hides(json!({"methods": ["GET"]}), json!({"methods": ["GET", "PUT"]})));
    assert!(!hides(json!({"methods": ["GET"]}), json!({"paths": ["/"]})));
    for list in ["headers", "query"] {
        let hides = |earlier: Value, later: Value| hides(json!({list: earlier}), json!({list: later}));
        let [present, prefix, longer, exact] = [
            json!({"name": "a", "present": true}),
            json!({"name": "a", "prefix": "x"}),
            json!({"name": "a", "prefix": "xy"}),
            json!({"name": "a", "exact": "xy"}),
        ];
        let other = json!({"name": "b", "present": true});
        for (wider, narrower) in [(&present, &prefix), (&prefix, &longer), (&longer, &exact), (&present, &exact)] {
            assert!(hides(json!([wider]), json!([narrower])), "{wider} {narrower}");
            assert!(!hides(json!([narrower]), json!([wider])), "{narrower} {wider}");
            assert!(hides(json!([wider]), json!([other, narrower])), "{narrower} and more");
            assert!(!hides(json!([wider, other]), json!([narrower])), "{wider} and more");
        }
    }
    assert!(hides(
        json!({"headers": [{"name": "A", "present": true}]}),
        json!({"headers": [{"name": "a", "exact": "x"}]})
    ));
}

#[test]
fn a_huge_configuration_is_given_up_on() {
    let hosts = |range: Range<usize>| range.map(|n| json!({"hosts": [n.to_string()]})).collect::<Value>();
    assert_eq!(found(json!([hosts(0..10_000), hosts(0..10_000), hosts(10_000..20_000)])), []);
    // A pair that takes too long does not keep others from being found.
    let paths = |range: Range<usize>| range.map(|n| format!("/{n}")).collect::<Vec<_>>();
    let rules = json!([[{"paths": paths(0..3000)}], [{"paths": paths(0..3000)}], [{"paths": ["/7"]}]]);
    assert_eq!(found(rules), [Unreachable { rule: 2, taker: 0, alone: true }]);
}

fn condition(name: &'static str) -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"name": name, "present": true})),
        select(vec!["", "x", "xy"]).prop_map(move |value| json!({"name": name, "exact": value})),
        select(vec!["", "x", "xy"]).prop_map(move |value| json!({"name": name, "prefix": value})),
    ]
}

fn alternative() -> impl Strategy<Value = Value> {
    let list = |values: Vec<&'static str>| option::weighted(0.3, vec(select(values), 1..3));
    (
        list(vec!["*", "*.b", "*.a.b", "a.b", "b"]),
        option::weighted(0.7, vec("(/(a|b|\\{\\*\\})){0,2}(/\\*)?", 1..3)),
        list(vec!["GET", "PUT"]),
        option::weighted(0.3, vec(prop_oneof![condition("p"), condition("q")], 1..3)),
        option::weighted(0.3, vec(prop_oneof![condition("p"), condition("q")], 1..3)),
    )
        .prop_map(|(hosts, paths, methods, headers, query)| {
            let rooted = |path: String| if path.is_empty() { "/".to_owned() } else { path };
            let paths = paths.map(|paths| paths.into_iter().map(rooted).collect::<Vec<_>>());
            json!({"hosts": hosts, "paths": paths, "methods": methods, "headers": headers, "query": query})
        })
}

fn rules() -> impl Strategy<Value = Value> {
    vec(vec(alternative(), 1..4), 1..6).prop_map(|rules| json!(rules))
}

fn request() -> impl Strategy<Value = Fake> {
    let values = || vec(select(vec!["", "x", "xy", "xyz"]), 1..3);
    (
        option::weighted(0.9, select(vec!["b", "a.b", "A.b:80", "x.a.b", "c"])),
        option::weighted(0.9, ("(/(a|b|c)){0,3}/?", vec("(p|q)=(|x|xy|xyz)", 0..3))),
        option::weighted(0.9, select(vec!["GET", "PUT", "get"])),
        (option::of(values()), option::of(values())),
    )
        .prop_map(|(authority, path, method, (p, q))| Fake {
            path: path.map(|(path, query)| &*String::leak(format!("{path}?{}", query.join("&")))),
            method,
            authority,
            headers: [("p", p), ("q", q)].into_iter().filter_map(|(name, values)| Some((name, values?))).collect(),
        })
}

proptest! {
    #[test]
    fn no_request_falls_under_a_rule_that_is_found_unreachable(rules in rules(), requests in vec(request(), 20)) {
        let unreachable = found(rules.clone());
        let table = table(rules);
        for request in requests {
            let rule = table.find(&request).rule;
            prop_assert!(unreachable.iter().all(|found| Some(found.rule) != rule), "{request:?}");
        }
    }

    /// The tree against the obvious: compare every pair.
    #[test]
    fn finds_what_comparing_every_pair_finds(rules in rules()) {
        let parsed = parsed(&rules);
        let taker = |rule: usize, later: &RouteMatch| {
            let covers = |earlier: &RouteMatch| earlier.covers(later, &mut usize::MAX.clone());
            parsed[..rule].iter().position(|alternatives| alternatives.iter().any(covers))
        };
        let mut expected = Vec::new();
        for (rule, alternatives) in parsed.iter().enumerate() {
            let takers: Option<Vec<usize>> = alternatives.iter().map(|later| taker(rule, later)).collect();
            if let Some(takers) = takers {
                let first = takers.iter().copied().min().unwrap();
                expected.push(Unreachable { rule, taker: first, alone: takers.iter().all(|taker| *taker == first) });
            }
        }
        prop_assert_eq!(found(rules), expected);
    }
}
