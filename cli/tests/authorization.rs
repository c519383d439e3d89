//! What AuthorizationPolicies become, decided by the filter's own code, against what Istio would have decided.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends by panicking")]

#[path = "support/held.rs"]
mod held;
#[path = "support/istio.rs"]
mod istio;

use held::{Tally, converted};
use istio::Call;
use serde_json::{Value, json};
use tollgate_cli::convert::authorization::Difference;

fn policy(action: &str, rule: Value) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": "p", "namespace": "shop"}, "spec": {"action": action, "rules": [rule]},
    })
}

/// A request that everybody reads alike.
fn plain() -> Call {
    Call {
        method: "GET".into(),
        authority: "a.example".into(),
        path: "/".into(),
        peer: Some("spiffe://cluster.local/ns/shop/sa/cart".into()),
        address: "10.1.2.3".into(),
        port: 8080,
        ..Call::default()
    }
}

/// A field with this value, asked for and excluded, allowed and denied.
fn in_all_places(wrap: impl Fn(&str, &Value) -> Value, name: &str, value: &Value) -> Vec<Vec<Value>> {
    let mut not = name.to_owned();
    not.replace_range(..1, &name[..1].to_ascii_uppercase());
    let not = format!("not{not}");
    let mut places = Vec::new();
    for action in ["ALLOW", "DENY"] {
        places.push(vec![policy(action, wrap(name, value))]);
        places.push(vec![policy(action, wrap(&not, value))]);
    }
    places
}

fn operation(name: &str, value: &Value) -> Value {
    json!({"to": [{"operation": {name: value}}]})
}

fn source(name: &str, value: &Value) -> Value {
    json!({"from": [{"source": {name: value}}]})
}

#[test]
fn paths_are_never_wider_but_for_their_spelling() {
    let patterns = [
        "*",
        "/",
        "/*",
        "/a",
        "/a*",
        "/a/*",
        "/a/b",
        "/a/b*",
        "/a/b/*",
        "*/b",
        "*/a/b",
        "*b",
        "/{*}",
        "/a/{*}",
        "/a/{**}",
        "/{**}",
        "/{**}/b",
        "/a/{**}/c",
        "/a/{*}/c",
        "/{*}/b/{**}",
        "/a%20b",
        "/ab",
    ];
    let call = |path: &str| Call { path: path.into(), ..plain() };
    let plain: Vec<Call> = [
        "/",
        "/a",
        "/b",
        "/ab",
        "/a/b",
        "/a/c",
        "/a/bc",
        "/a/b/c",
        "/a/b/c/d",
        "/b/b",
        "/c/a/b",
        "/a/a/a/b",
        "/abc/b",
        "/a?x=/b",
        "/x/y/z/a/b/c",
        "/a/x/y/z/c",
    ]
    .map(call)
    .to_vec();
    let spelled: Vec<Call> =
        ["/a/", "/a/b/", "//a", "/a//b", "/%61", "/a/%62", "/a%20b", "/a/../b", "/a;x/b", "/a/b=c", "/a%2fb", "/A"]
            .map(call)
            .to_vec();
    let mut tally = Tally::default();
    let reasons = [Difference::DirectoryItself, Difference::PartialSegment, Difference::PathDepth];
    for one in patterns {
        for other in ["/b", one] {
            for policies in in_all_places(operation, "paths", &json!([one, other])) {
                tally.hold(&policies, &plain, &spelled, &reasons);
            }
        }
    }
    let all = [plain, spelled].concat();
    // What only has a slash at its end in Istio is a matter of spelling as a whole.
    for pattern in ["/a/", "/a/{**}/", "/a/{*}/"] {
        for policies in in_all_places(operation, "paths", &json!([pattern])) {
            tally.hold(&policies, &[], &all, &reasons);
        }
    }
    assert!(tally.same > 2000 && tally.stricter > 50 && (20..60).contains(&tally.refused), "{tally:?}");
}

#[test]
fn hosts_and_methods_are_never_wider_but_for_their_spelling() {
    let call = |authority: &str| Call { authority: authority.into(), ..plain() };
    let plain_calls: Vec<Call> =
        ["a.example", "b.example", "x.a.example", "xa.example", "a.example.org", "example", "y.x.a.example"]
            .map(call)
            .to_vec();
    let spelled: Vec<Call> =
        ["a.example:80", "A.Example", "a.example.", "x.a.example:80", "u@a.example", ""].map(call).to_vec();
    let mut tally = Tally::default();
    for pattern in [
        "*",
        "a.example",
        "A.EXAMPLE",
        "*.a.example",
        "*a.example",
        "a.example*",
        "a.*",
        "*.example",
        "a.example:80",
        "*:80",
    ] {
        for policies in in_all_places(operation, "hosts", &json!([pattern])) {
            tally.hold(&policies, &plain_calls, &spelled, &[Difference::PartialSegment, Difference::HostSpelling]);
        }
    }
    // What has a port in Istio is a matter of spelling as a whole, unless the host without one is there as well.
    for policies in in_all_places(operation, "hosts", &json!(["a.example:*"])) {
        tally.hold(&policies, &[], &[plain_calls.clone(), spelled.clone()].concat(), &[]);
    }
    for policies in in_all_places(operation, "hosts", &json!(["a.example", "a.example:*", "a.example:80"])) {
        tally.hold(&policies, &plain_calls, &spelled, &[]);
    }
    let call = |method: &str| Call { method: method.into(), ..plain() };
    for pattern in ["*", "GET", "P*", "*T", "PURGE"] {
        for policies in in_all_places(operation, "methods", &json!([pattern])) {
            let (plain, spelled) = (["GET", "POST", "PUT", "PATCH", "PURGE"].map(call), ["get", "Post"].map(call));
            tally.hold(&policies, &plain, &spelled, &[Difference::PartialSegment]);
        }
    }
    assert!(tally.same > 300 && tally.stricter > 5 && (10..30).contains(&tally.refused), "{tally:?}");
}

/// Peers of every kind: of Kubernetes' form in the local trust domain, of another one, and of other forms.
fn peers() -> Vec<Call> {
    let ids = [
        "cluster.local/ns/shop/sa/cart",
        "cluster.local/ns/shop/sa/cart2",
        "cluster.local/ns/shop2/sa/cart",
        "cluster.local/ns/dev/sa/cart",
        "cluster.local/ns/dev/sa/web",
        "partner/ns/shop/sa/cart",
        "partner/ns/dev/sa/web",
        "cluster.local/web",
        "cluster.local/web/one",
        "cluster.local/x/ns/shop/sa/cart",
        "cluster.local/ns/shop/x/sa/cart",
        "cluster.local/ns/shop/sa/cart/y",
        "partner/x/ns/dev/sa/web",
    ];
    ids.map(|id| Call { peer: Some(format!("spiffe://{id}")), ..plain() }).to_vec()
}

const OF_PEERS: [Difference; 5] = [
    Difference::IdentityForm,
    Difference::PartialSegment,
    Difference::FederatedNamespace,
    Difference::PathDepth,
    Difference::ForeignTrustDomain,
];

#[test]
fn peers_are_never_taken_in_whom_istio_leaves_out() {
    let mut callers = peers();
    callers.push(Call { peer: None, ..plain() });
    callers.push(Call { peer: Some("spiffe://stranger/ns/shop/sa/cart".into()), ..plain() });
    let mut tally = Tally::default();
    let reasons = [&OF_PEERS[..], &[Difference::IdentityRequired]].concat();
    for (name, values) in [
        (
            "principals",
            vec![
                "*",
                "cluster.local/ns/shop/sa/cart",
                "cluster.local/ns/shop/*",
                "cluster.local/ns/shop*",
                "cluster.local/*",
                "cluster.local/ns/shop/sa/cart*",
                "*/sa/cart",
                "*/ns/shop/sa/cart",
                "*/cart",
                "cluster.local/web",
                "cluster.local/web/*",
                "partner/ns/shop/sa/cart",
                "partner/*",
                "cluster*",
            ],
        ),
        ("namespaces", vec!["shop", "dev", "*", "shop*", "*shop"]),
        ("serviceAccounts", vec!["shop/cart", "cart", "dev/web"]),
        ("trustDomains", vec!["cluster.local", "partner", "*", "clu*"]),
    ] {
        for value in &values {
            for other in [*value, "partner"] {
                // A second value that names another trust domain, where one can.
                let list = match name {
                    "principals" if other == "partner" => json!([value, "partner/ns/dev/sa/web"]),
                    "trustDomains" if other == "partner" => json!([value, "partner"]),
                    _ => json!([value]),
                };
                for policies in in_all_places(source, name, &list) {
                    tally.hold(&policies, &callers, &[], &reasons);
                }
            }
        }
    }
    assert!(tally.same > 1000 && tally.stricter > 100 && (4..40).contains(&tally.refused), "{tally:?}");
}

#[test]
fn fields_of_a_source_and_conditions_on_peers_hold_at_once() {
    let mut tally = Tally::default();
    let fields: [Value; 7] = [
        json!({"principals": ["cluster.local/ns/shop/*"], "namespaces": ["shop", "dev"]}),
        json!({"principals": ["*"], "notPrincipals": ["cluster.local/ns/shop/sa/cart"]}),
        json!({"namespaces": ["shop"], "notPrincipals": ["*/sa/cart"]}),
        json!({"serviceAccounts": ["shop/cart", "dev/web"], "notServiceAccounts": ["cart"]}),
        json!({"trustDomains": ["partner"], "notNamespaces": ["dev"]}),
        json!({"notNamespaces": ["shop"], "notTrustDomains": ["partner"]}),
        json!({"notPrincipals": ["*"]}),
    ];
    let conditions: [Value; 5] = [
        json!([]),
        json!([{"key": "source.namespace", "values": ["shop"]}]),
        json!([{"key": "source.principal", "notValues": ["cluster.local/ns/dev/*"]}]),
        json!([{"key": "source.serviceAccount", "values": ["dev/web", "cart"]}]),
        json!([{"key": "source.namespace", "values": ["*"], "notValues": ["dev"]}]),
    ];
    for action in ["ALLOW", "DENY"] {
        for (index, this) in fields.iter().enumerate() {
            for that in &fields[index..] {
                for when in &conditions {
                    let rule = json!({"from": [{"source": this}, {"source": that}], "when": when});
                    tally.hold(&[policy(action, rule)], &peers(), &[], &OF_PEERS);
                }
            }
        }
        for when in &conditions[1..] {
            tally.hold(&[policy(action, json!({"when": when}))], &peers(), &[], &OF_PEERS);
        }
    }
    assert!(tally.same > 2000 && tally.refused == 0, "{tally:?}");
}

#[test]
fn tokens_headers_addresses_and_connections_decide_as_they_do_in_istio() {
    let token = |issuer: &str, subject: &str, groups: &[&str]| Call {
        claims: vec![
            ("iss".into(), vec![issuer.into()]),
            ("sub".into(), vec![subject.into()]),
            ("groups".into(), groups.iter().map(|group| (*group).to_owned()).collect()),
            ("realm.roles".into(), vec!["one".into(), "two".into()]),
        ],
        ..plain()
    };
    let mut calls = vec![
        plain(),
        token("https://i", "alice", &["staff"]),
        token("https://i", "bob", &["staff", "admin-1"]),
        token("https://i/x", "alice", &["guest"]),
        token("https://i", "x/alice", &["guest", "x"]),
        token("https://j", "alice", &["admin-2"]),
    ];
    for header in ["prod", "test", "production", ""] {
        calls.push(Call { headers: vec![("x-env".into(), header.into())], ..plain() });
    }
    for (address, said, port, sni) in [
        ("10.1.2.3", None, 80, "a.example"),
        ("192.168.0.1", Some("10.1.2.3"), 81, ""),
        ("10.2.0.1", Some("1.2.3.4, 10.9.9.9"), 80, "b.x"),
    ] {
        let forwarded_for = said.map(str::to_owned);
        calls.push(Call { address: address.into(), forwarded_for, port, sni: sni.into(), ..plain() });
    }
    let repeated = |values: &[&str]| Call {
        headers: values.iter().map(|value| ("X-Env".to_owned(), (*value).to_owned())).collect(),
        ..plain()
    };
    let spelled = [repeated(&["prod", "prod"]), repeated(&["prod", "test"]), repeated(&["", "test"])];
    let lists: [(&str, &[&str]); 11] = [
        (
            "request.auth.principal",
            &["*", "https://i/alice", "https://i/*", "*/alice", "*alice", "https://i/al*", "https://i/x/alice"],
        ),
        ("request.auth.claims[groups]", &["staff", "admin-*", "*", "*t"]),
        ("request.auth.claims[realm][roles]", &["two", "t*", "three"]),
        ("request.auth.audiences", &["api"]),
        ("request.headers[x-env]", &["prod", "prod*", "*", "*t"]),
        ("source.ip", &["10.0.0.0/8", "10.1.2.3", "192.168.0.0/16"]),
        ("remote.ip", &["10.0.0.0/8", "10.9.9.9", "1.2.3.4"]),
        ("destination.port", &["80", "81"]),
        ("connection.sni", &["a.example", "*.x", "a*", "*"]),
        ("source.namespace", &["shop"]),
        ("source.principal", &["cluster.local/ns/shop/sa/cart"]),
    ];
    let mut tally = Tally::default();
    let reasons = [Difference::PeerAddress, Difference::EmptyHeader];
    for (key, values) in lists {
        for this in values {
            for that in values {
                for action in ["ALLOW", "DENY"] {
                    for list in ["values", "notValues"] {
                        let rule = json!({"when": [{"key": key, list: [this, that]}]});
                        tally.hold(&[policy(action, rule)], &calls, &spelled, &reasons);
                    }
                    let rule = json!({"when": [{"key": key, "values": [this]}, {"key": key, "notValues": [that]}]});
                    tally.hold(&[policy(action, rule)], &calls, &spelled, &reasons);
                }
            }
        }
    }
    assert!(tally.same > 5000 && tally.stricter > 20 && tally.refused < 40, "{tally:?}");
}

#[test]
fn sources_operations_and_policies_are_united() {
    let mut calls = Vec::new();
    for peer in ["cluster.local/ns/shop/sa/cart", "cluster.local/ns/dev/sa/web"] {
        for (method, path) in [("GET", "/a"), ("POST", "/a"), ("GET", "/b"), ("PUT", "/b/c")] {
            for (port, groups) in [(80, vec![]), (81, vec!["staff".to_owned()])] {
                let claims = vec![("groups".to_owned(), groups)];
                let peer = Some(format!("spiffe://{peer}"));
                calls.push(Call { method: method.into(), path: path.into(), peer, port, claims, ..plain() });
            }
        }
    }
    let rules = [
        json!({}),
        json!({"from": [{"source": {"namespaces": ["shop"]}}, {"source": {"namespaces": ["dev"], "ipBlocks": ["10.0.0.0/8"]}}]}),
        json!({"to": [{"operation": {"methods": ["GET"], "paths": ["/a"]}}, {"operation": {"paths": ["/b"], "notPorts": ["80"]}}]}),
        json!({
            "from": [{"source": {"namespaces": ["shop"]}}],
            "to": [{"operation": {"ports": ["81"]}}, {"operation": {"methods": ["POST"]}}, {"operation": {"notMethods": ["GET"]}}],
            "when": [{"key": "request.auth.claims[groups]", "notValues": ["staff"]}],
        }),
        json!({"to": [{"operation": {"paths": ["/a"]}}]}),
    ];
    let mut tally = Tally::default();
    for (index, this) in rules.iter().enumerate() {
        for that in &rules[index..] {
            for (first, second) in
                [("ALLOW", "ALLOW"), ("ALLOW", "DENY"), ("DENY", "ALLOW"), ("DENY", "DENY"), ("AUDIT", "ALLOW")]
            {
                let mut second = policy(second, that.clone());
                second["metadata"]["name"] = "q".into();
                tally.hold(&[policy(first, this.clone()), second], &calls, &[], &[]);
            }
        }
    }
    assert!(tally.same > 500 && tally.refused == 0, "{tally:?}");
}

#[test]
fn callers_without_an_identity_pass_where_istio_asks_for_none_and_nothing_can_deny_them() {
    let anybody = |path: &str| Call { peer: None, path: path.into(), ..plain() };
    let health = policy("ALLOW", json!({"to": [{"operation": {"methods": ["GET"], "paths": ["/health"]}}]}));
    let open = converted(std::slice::from_ref(&health)).unwrap();
    assert!(open.allows(&anybody("/health")) && !open.allows(&anybody("/other")));
    let elsewhere = policy("DENY", json!({"to": [{"operation": {"paths": ["/admin/*"]}}]}));
    assert!(converted(&[health.clone(), elsewhere]).unwrap().allows(&anybody("/health")));
    let here = policy("DENY", json!({"from": [{"source": {"namespaces": ["dev"]}}]}));
    assert!(!converted(&[health, here]).unwrap().allows(&anybody("/health")));
}
