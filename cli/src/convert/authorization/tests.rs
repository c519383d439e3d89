use serde_json::json;

use super::*;

fn policy(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": name, "namespace": "shop"}, "spec": spec,
    })
}

fn converted(policies: &[Value]) -> Authorization {
    let authorization = of_one_workload(policies, &Options::default());
    assert_eq!(authorization.problems, []);
    authorization.check().unwrap();
    authorization
}

/// The rules of an ALLOW or DENY policy with one rule, without what they all have.
fn rules(action: &str, rule: &Value) -> Value {
    let authorization = converted(&[policy("p", json!({"action": action, "rules": [rule]}))]);
    let mut rules = authorization.plugin_config["rules"].clone();
    for rule in rules.as_array_mut().unwrap() {
        let rule = rule.as_object_mut().unwrap();
        rule.remove("name");
        rule.retain(|key, value| key != "otherwise" || value != "next");
    }
    rules
}

fn problems(rule: &Value) -> Vec<String> {
    let policies = [policy("p", json!({"rules": [rule]}))];
    of_one_workload(&policies, &Options::default()).problems.iter().map(ToString::to_string).collect()
}

fn codes(policies: &[Value]) -> Vec<&'static str> {
    converted(policies).differences.into_iter().map(Difference::code).collect()
}

#[test]
fn each_field_of_a_source_becomes_a_peer_or_a_condition() {
    for (source, expected) in [
        (
            json!({"principals": ["cluster.local/ns/a/sa/b"]}),
            json!([{"allow": [{"principals": ["cluster.local/ns/a/sa/b"]}]}]),
        ),
        (
            json!({"notPrincipals": ["cluster.local/ns/a/sa/b"]}),
            json!([{"allow": [{"notPrincipals": ["cluster.local/ns/a/sa/b"]}]}]),
        ),
        (json!({"namespaces": ["a", "b"]}), json!([{"allow": [{"namespaces": ["a", "b"]}]}])),
        (json!({"notNamespaces": ["a"]}), json!([{"allow": [{"namespaces": ["*"], "notNamespaces": ["a"]}]}])),
        (json!({"serviceAccounts": ["b", "a/b"]}), json!([{"allow": [{"serviceAccounts": ["shop/b", "a/b"]}]}])),
        (
            json!({"notServiceAccounts": ["a/b"]}),
            json!([{"allow": [{"namespaces": ["*"], "notServiceAccounts": ["a/b"]}]}]),
        ),
        (json!({"trustDomains": ["cluster.local"]}), json!([{"otherwise": "allow"}])),
        (json!({"trustDomains": ["partner"]}), json!([{"allow": [{"trustDomains": ["partner"]}]}])),
        (json!({"notTrustDomains": ["partner"]}), json!([{"allow": [{"notTrustDomains": ["partner"]}]}])),
        (
            json!({"requestPrincipals": ["i/s"]}),
            json!([{"when": {"jwtClaims": [{"name": "iss", "values": ["i"]}, {"name": "sub", "values": ["s"]}]}, "otherwise": "allow"}]),
        ),
        (json!({"requestPrincipals": ["*"]}), json!([{"when": {"requestPrincipals": ["*"]}, "otherwise": "allow"}])),
        (
            json!({"notRequestPrincipals": ["*"]}),
            json!([{"when": {"notRequestPrincipals": ["*"]}, "otherwise": "allow"}]),
        ),
        (
            json!({"ipBlocks": ["10.1.2.3/8"], "notIpBlocks": ["10.1.2.3"]}),
            json!([{"when": {"clientAddresses": ["10.0.0.0/8"], "notClientAddresses": ["10.1.2.3"]}, "otherwise": "allow"}]),
        ),
        (
            json!({"remoteIpBlocks": ["::1"], "notRemoteIpBlocks": ["::2"]}),
            json!([{"when": {"clientAddresses": ["::1"], "notClientAddresses": ["::2"], "trustedHops": 1}, "otherwise": "allow"}]),
        ),
    ] {
        assert_eq!(rules("ALLOW", &json!({"from": [{"source": source}]})), expected, "{source}");
    }
}

#[test]
fn each_key_of_a_condition_becomes_one() {
    let claim = |name: Value| json!({"jwtClaims": [{"name": name, "values": ["a"], "notValues": ["b*"]}]});
    for (key, expected) in [
        ("request.headers[X-Env]", json!({"headers": [{"name": "x-env", "values": ["a"], "notValues": ["b*"]}]})),
        ("connection.sni", json!({"sni": ["a"], "notSni": ["b*"]})),
        ("request.auth.audiences", claim(json!("aud"))),
        ("request.auth.presenter", claim(json!("azp"))),
        ("request.auth.claims[groups]", claim(json!("groups"))),
        ("request.auth.claims[a][b.c]", claim(json!(["a", "b.c"]))),
    ] {
        let rule = json!({"when": [{"key": key, "values": ["a"], "notValues": ["b*"]}]});
        assert_eq!(rules("ALLOW", &rule), json!([{"when": expected, "otherwise": "allow"}]), "{key}");
    }
    let ports = json!({"when": [{"key": "destination.port", "values": ["80", "81"], "notValues": ["82"]}]});
    assert_eq!(rules("ALLOW", &ports), json!([{"when": {"ports": [80, 81], "notPorts": [82]}, "otherwise": "allow"}]));
    let addresses = json!({"when": [{"key": "remote.ip", "values": ["10.0.0.0/8"]}, {"key": "remote.ip", "values": ["10.1.0.0/16"]}]});
    let narrower = json!({"clientAddresses": ["10.1.0.0/16"], "trustedHops": 1});
    assert_eq!(rules("ALLOW", &addresses), json!([{"when": narrower, "otherwise": "allow"}]));
    let present = json!({"to": [{"operation": {"paths": ["/a"]}}], "when": [{"key": "request.headers[x-a]", "values": ["*", "b"]}]});
    let header = json!([{"name": "x-a", "present": true}]);
    assert_eq!(
        rules("DENY", &present),
        json!([{"match": [{"paths": ["/a"], "headers": header}], "otherwise": "deny"}])
    );
    for (key, values, peer) in [
        ("source.principal", "cluster.local/ns/a/*", json!({"principals": ["cluster.local/ns/a/sa/*"]})),
        ("source.namespace", "a", json!({"namespaces": ["a"]})),
        ("source.serviceAccount", "a", json!({"serviceAccounts": ["shop/a"]})),
    ] {
        let rule = json!({"when": [{"key": key, "values": [values]}]});
        assert_eq!(rules("ALLOW", &rule), json!([{"allow": [peer]}]), "{key}");
    }
}

#[test]
fn operations_and_sources_stay_together_unless_they_ask_for_different_things() {
    let together = json!({
        "from": [{"source": {"namespaces": ["a"]}}, {"source": {"principals": ["cluster.local/ns/b/sa/c"]}}],
        "to": [{"operation": {"methods": ["GET"]}}, {"operation": {"paths": ["/x"]}}],
    });
    let expected = json!([{
        "match": [{"methods": ["GET"]}, {"paths": ["/x"]}],
        "allow": [{"namespaces": ["a"]}, {"principals": ["cluster.local/ns/b/sa/c"]}],
    }]);
    assert_eq!(rules("ALLOW", &together), expected);
    let apart = json!({
        "from": [{"source": {"namespaces": ["a"]}}, {"source": {"ipBlocks": ["10.0.0.0/8"]}}],
        "to": [{"operation": {"methods": ["GET"]}}, {"operation": {"ports": ["80"]}}],
    });
    assert_eq!(rules("ALLOW", &apart).as_array().unwrap().len(), 4);
    let authorization = converted(&[policy("p", json!({"rules": [apart]}))]);
    let names = authorization.plugin_config["rules"].as_array().unwrap().iter().map(|rule| &rule["name"]);
    assert_eq!(names.collect::<Vec<_>>(), ["p-0-1", "p-0-2", "p-0-3", "p-0-4"]);
}

#[test]
fn denials_come_first_then_what_only_counts_then_what_allows() {
    let of = |name: &str, action: &str| {
        policy(name, json!({"action": action, "rules": [{"from": [{"source": {"namespaces": ["a"]}}]}]}))
    };
    let config = converted(&[of("x", "ALLOW"), of("y", "AUDIT"), of("z", "DENY")]).plugin_config;
    let shown: Vec<_> = config["rules"].as_array().unwrap().iter().map(|rule| (&rule["name"], &rule["mode"])).collect();
    assert_eq!(
        shown,
        [(&json!("z-0"), &json!(null)), (&json!("y-0"), &json!("shadow")), (&json!("x-0"), &json!(null))]
    );
    assert_eq!(config["default"], "deny");
    assert_eq!(converted(&[of("y", "AUDIT"), of("z", "DENY")]).plugin_config["default"], "allow");
}

#[test]
fn no_rules_allow_nothing_and_an_empty_rule_is_for_everybody() {
    for spec in [json!({}), json!({"rules": []}), json!({"action": "ALLOW"}), json!({"action": 0})] {
        let config = converted(&[policy("p", spec)]).plugin_config;
        assert_eq!((&config["default"], config.get("rules")), (&json!("deny"), None));
    }
    let mut without_spec = policy("p", json!(null));
    without_spec.as_object_mut().unwrap().remove("spec");
    assert_eq!(converted(&[without_spec]).plugin_config["default"], "deny");
    assert_eq!(rules("ALLOW", &json!({})), json!([{"otherwise": "allow"}]));
    assert_eq!(rules("DENY", &json!({})), json!([{"otherwise": "deny"}]));
}

#[test]
fn a_dry_run_counts_and_decides_nothing() {
    let mut dry = policy("dry", json!({"rules": [{"from": [{"source": {"namespaces": ["a"]}}]}]}));
    dry["metadata"]["annotations"] = json!({"istio.io/dry-run": "true"});
    let config = converted(std::slice::from_ref(&dry)).plugin_config;
    assert_eq!((&config["mode"], &config["default"]), (&json!("shadow"), &json!("deny")));
    let enforced = policy("p", json!({"action": "DENY", "rules": [{"from": [{"source": {"namespaces": ["b"]}}]}]}));
    let both = [dry.clone(), enforced];
    let config = converted(&both).plugin_config;
    assert_eq!((config.get("mode"), &config["default"]), (None, &json!("allow")));
    assert_eq!(config["rules"][1]["mode"], "shadow");
    assert!(codes(&both).contains(&"dry_run_default"));
    dry["metadata"]["annotations"] = json!({"istio.io/dry-run": "yes"});
    assert_eq!(converted(&[dry]).plugin_config.get("mode"), None);
}

#[test]
fn exempt_is_what_nobody_is_asked_for_and_nothing_can_deny() {
    let health = json!({"to": [{"operation": {"methods": ["GET"], "paths": ["/health"]}}]});
    let allow = |rule: Value| policy("p", json!({"rules": [rule]}));
    let config = converted(&[allow(health.clone())]).plugin_config;
    assert_eq!(config["exempt"], json!([{"methods": ["GET"], "paths": ["/health"]}]));
    assert_eq!((config.get("rules"), &config["default"]), (None, &json!("deny")));
    let with = |name: &str, value: Value| {
        let mut rule = health.clone();
        rule[name] = value;
        converted(&[allow(rule)]).plugin_config.get("exempt").cloned()
    };
    assert_eq!(with("from", json!([{"source": {"principals": ["*"]}}])), None);
    assert_eq!(with("when", json!([{"key": "destination.port", "values": ["80"]}])), None);
    assert_eq!(with("to", json!([{"operation": {"paths": ["/health"], "notMethods": ["PUT"]}}])), None);
    let deny =
        |paths: &str| policy("q", json!({"action": "DENY", "rules": [{"to": [{"operation": {"paths": [paths]}}]}]}));
    assert!(converted(&[allow(health.clone()), deny("/admin/*")]).plugin_config.get("exempt").is_some());
    assert!(converted(&[allow(health.clone()), deny("/*")]).plugin_config.get("exempt").is_none());
    let nobody = policy("q", json!({"action": "DENY", "rules": [{"from": [{"source": {"notPrincipals": ["*"]}}]}]}));
    assert!(converted(&[allow(health.clone()), nobody]).plugin_config.get("exempt").is_none());
    let audit = policy("q", json!({"action": "AUDIT", "rules": [{}]}));
    assert!(converted(&[allow(health), audit]).plugin_config.get("exempt").is_none());
}

#[test]
fn trust_domains_that_policies_name_are_federated_and_the_local_ones_are_not() {
    let principals = ["cluster.local/ns/a/sa/b", "partner/ns/a/sa/b", "old/ns/*", "*/ns/x/sa/y"];
    let spec = json!({"rules": [{"from": [{"source": {"principals": principals}}]}]});
    let options = Options { trust_domains: vec!["new".into(), "old".into()], trusted_proxies: 0 };
    let authorization = of_one_workload(&[policy("p", spec)], &options);
    assert_eq!(authorization.problems, []);
    authorization.check().unwrap();
    let config = authorization.plugin_config;
    assert_eq!(
        (&config["trustDomains"], &config["federatedTrustDomains"]),
        (&json!(["new", "old"]), &json!(["partner"]))
    );
    let expected = ["new/ns/a/sa/b", "partner/ns/a/sa/b", "new/ns/*/sa/*", "new/ns/x/sa/y", "partner/ns/x/sa/y"];
    assert_eq!(config["rules"][0]["allow"], json!([{"principals": expected}]));
    let codes: Vec<_> = authorization.differences.into_iter().map(Difference::code).collect();
    assert!(codes.contains(&"trust_domain_aliases") && codes.contains(&"identity_form"), "{codes:?}");
}

#[test]
fn names_fit_and_are_there_once() {
    let long = "a".repeat(80);
    let named = |name: &str, namespace: &str| {
        let mut policy = policy(name, json!({"rules": [{}, {}]}));
        policy["metadata"]["namespace"] = namespace.into();
        policy
    };
    let policies =
        [named(&long, "shop"), named(&format!("{long}b"), "shop"), named("p", "shop"), named("p", "istio-system")];
    let config = converted(&policies).plugin_config;
    let names: Vec<_> = config["rules"].as_array().unwrap().iter().map(|rule| rule["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 8);
    assert_eq!(names[0], format!("{}-0", &long[..61]));
    assert_eq!(names[2], format!("{}-0-2", &long[..59]));
    assert_eq!(names[4..], ["p-0", "p-1", "istio-system.p-0", "istio-system.p-1"]);
}

#[test]
fn what_differs_is_said_where_it_comes_up_and_nowhere_else() {
    let allow = |rule: Value| policy("p", json!({"rules": [rule]}));
    let always = ["identity_required", "foreign_trust_domain", "http_only"];
    let more = |rule: Value| -> Vec<&str> {
        codes(&[allow(rule)]).into_iter().filter(|code| !always.contains(code)).collect()
    };
    for (rule, expected) in [
        (json!({}), vec![]),
        (json!({"from": [{"source": {"principals": ["cluster.local/ns/a/sa/b", "*"]}}]}), vec![]),
        (json!({"from": [{"source": {"namespaces": ["a"]}}]}), vec!["identity_form"]),
        (json!({"from": [{"source": {"ipBlocks": ["10.0.0.0/8"]}}]}), vec!["peer_address"]),
        (json!({"from": [{"source": {"remoteIpBlocks": ["10.0.0.0/8"]}}]}), vec!["client_address"]),
        (json!({"to": [{"operation": {"ports": ["80"]}}]}), vec![]),
        (json!({"to": [{"operation": {"methods": ["GET"]}}]}), vec!["method_case"]),
        (json!({"to": [{"operation": {"hosts": ["*"]}}]}), vec!["ambiguous_host"]),
        (json!({"to": [{"operation": {"hosts": ["a.b"]}}]}), vec!["ambiguous_host", "host_spelling"]),
        (json!({"to": [{"operation": {"paths": ["/*"]}}]}), vec!["ambiguous_path"]),
        (json!({"when": [{"key": "request.headers[x-a]", "values": ["a"]}]}), vec!["repeated_header"]),
        (json!({"when": [{"key": "request.headers[x-a]", "values": ["*"]}]}), vec![]),
        (json!({"when": [{"key": "request.auth.claims[a]", "values": ["a"]}]}), vec![]),
        (json!({"when": [{"key": "request.auth.claims[a]", "values": ["*"]}]}), vec!["claim_types"]),
    ] {
        assert_eq!(more(rule.clone()), expected, "{rule}");
    }
}

#[test]
fn what_cannot_be_carried_over_is_refused_with_its_place() {
    for (rule, message) in [
        (json!({"from": []}), "spec.rules[0].from: must be a list that is not empty"),
        (json!({"from": [{}]}), "spec.rules[0].from[0]: has no source"),
        (json!({"from": [{"source": {}}]}), "spec.rules[0].from[0].source: has no condition"),
        (json!({"from": [{"source": {"principal": ["a"]}}]}), "from[0].source.principal: is not a field of a source"),
        (
            json!({"from": [{"source": {"ipBlocks": ["10.0.0.1"], "remoteIpBlocks": ["10.0.0.1"]}}]}),
            "spec.rules[0]: asks for the peer's address and the client's in one rule",
        ),
        (json!({"when": [{"values": ["a"]}]}), "spec.rules[0].when[0]: has no key"),
        (json!({"when": [{"key": "source.ip"}]}), "spec.rules[0].when[0]: has neither values nor notValues"),
        (json!({"when": [{"key": "destination.ip", "values": ["10.0.0.1"]}]}), "`destination.ip` is the address that"),
        (
            json!({"when": [{"key": "destination.labels[a]", "values": ["b"]}]}),
            "`destination.labels[a]` is no attribute",
        ),
        (
            json!({"when": [{"key": "experimental.envoy.filters.a.b[c]", "values": ["b"]}]}),
            "is another filter's metadata",
        ),
        (json!({"when": [{"key": "request.headers[host]", "values": ["b"]}]}), "`request.headers[host]` is a part of"),
        (json!({"when": [{"key": "request.auth.claims", "values": ["b"]}]}), "needs the claim's name in brackets"),
        (
            json!({"when": [{"key": "request.auth.claims[a]", "values": ["b*c"]}]}),
            "when[0].values[0]: `b*c`: Istio takes",
        ),
        (json!({"when": [{"key": "request.headers[x-a]", "notValues": ["*"]}]}), "asks that x-a is not there"),
        (
            json!({"when": [{"key": "connection.sni", "values": ["a*"]}, {"key": "connection.sni", "values": ["*b"]}]}),
            "asks twice for connection.sni",
        ),
        (json!({"if": []}), "spec.rules[0].if: is not a field of a rule"),
    ] {
        let problems = problems(&rule);
        assert!(problems.iter().any(|problem| problem.contains(message)), "{rule}: {problems:?}");
        assert!(problems.iter().all(|problem| problem.contains("to mend it: ")), "{problems:?}");
    }
}

#[test]
fn what_is_for_callers_without_an_identity_alone_comes_to_nothing() {
    let nobody = json!({"from": [{"source": {"notPrincipals": ["*"]}}]});
    for (action, default) in [("ALLOW", "deny"), ("DENY", "allow")] {
        let authorization = converted(&[policy("p", json!({"action": action, "rules": [nobody]}))]);
        let config = authorization.plugin_config;
        assert_eq!((config.get("rules"), &config["default"]), (None, &json!(default)));
    }
    let contradiction =
        json!({"to": [{"operation": {"ports": ["80"]}}], "when": [{"key": "destination.port", "values": ["81"]}]});
    assert_eq!(converted(&[policy("p", json!({"rules": [contradiction]}))]).plugin_config.get("rules"), None);
}

/// Every place in a value, as a pointer.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    let members: Vec<(String, &Value)> = match value {
        Value::Object(object) => {
            object.iter().map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        Value::Array(list) => list.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (step, value) in members {
        places(value, &format!("{at}/{step}"), found);
    }
}

#[test]
fn whatever_stands_anywhere_is_refused_or_comes_to_what_the_filter_takes() {
    let whole = policy(
        "p",
        json!({
            "selector": {"matchLabels": {"app": "a"}},
            "rules": [{
                "from": [{"source": {
                    "principals": ["cluster.local/ns/a/sa/b"], "notNamespaces": ["c"], "requestPrincipals": ["i/s"],
                    "ipBlocks": ["10.0.0.1"],
                }}],
                "to": [{"operation": {"hosts": ["a.b"], "ports": ["80"], "methods": ["GET"], "paths": ["/a"]}}],
                "when": [{"key": "request.headers[x-a]", "values": ["a"]}, {"key": "source.namespace", "notValues": ["b"]}],
            }],
        }),
    );
    let mut all = Vec::new();
    places(&whole, "", &mut all);
    assert!(all.len() > 40, "{all:?}");
    let odd = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1e300),
        json!(""),
        json!("x"),
        json!("*"),
        json!("**"),
        json!("/"),
        json!("a*b"),
        json!("\u{0}"),
        json!("%"),
        json!("[::1]:x"),
        json!("a/b/c/d/e/f"),
        json!([]),
        json!({}),
        json!([null]),
        json!([{}]),
        json!([[]]),
        json!({"": ""}),
        json!("x".repeat(5000)),
    ];
    for place in &all {
        for value in &odd {
            let mut policy = whole.clone();
            *policy.pointer_mut(place).unwrap() = value.clone();
            let authorization = of_one_workload(&[policy], &Options::default());
            let taken = authorization.check();
            assert!(!authorization.problems.is_empty() || taken.is_ok(), "{place} {value}: {taken:?}");
        }
    }
}
