//! Placement of plugins, as Istio does it.

use super::*;
use crate::resources::Metadata;
use serde_json::json;

fn placed(namespace: &str, name: &str, spec: Value) -> Placed {
    let mut spec = spec;
    spec["url"] = json!("oci://x/y");
    let source = Resource {
        origin: Origin::file("f.yaml"),
        meta: Metadata { name: name.into(), namespace: Some(namespace.into()), ..Default::default() },
        spec: serde_json::from_value(spec).unwrap(),
    };
    let plugin = Plugin {
        namespace: namespace.into(),
        name: name.into(),
        module: Module { path: "/x.wasm".into(), sha256: String::new() },
        configuration: None,
        root_id: String::new(),
        fail_strategy: FailStrategy::FailClose,
        env: BTreeMap::new(),
        host_env: Vec::new(),
    };
    Placed { source, plugin: Arc::new(plugin) }
}

fn names(placed: &[Placed], side: Side) -> Vec<String> {
    let labels = BTreeMap::from([("app".to_owned(), "users".to_owned())]);
    chain(placed, "prod", &labels, side).iter().map(|plugin| plugin.name.clone()).collect()
}

#[test]
fn phases_come_before_priorities_before_names() {
    let plugins = [
        placed("prod", "last", json!({"priority": 1000})),
        placed("prod", "stats", json!({"phase": "STATS"})),
        placed("prod", "authz", json!({"phase": "AUTHZ"})),
        placed("prod", "authn-unset", json!({"phase": "AUTHN"})),
        placed("prod", "authn-b", json!({"phase": "AUTHN", "priority": 10})),
        placed("prod", "authn-a", json!({"phase": "AUTHN", "priority": 10})),
        placed("prod", "authn-minus", json!({"phase": "AUTHN", "priority": -1})),
        placed("prod", "authn-first", json!({"phase": "AUTHN", "priority": 20})),
    ];
    assert_eq!(
        names(&plugins, Side::Inbound(80)),
        ["authn-first", "authn-a", "authn-b", "authn-minus", "authn-unset", "authz", "stats", "last"]
    );
}

#[test]
fn a_plugin_applies_to_its_namespace_and_the_root_namespaces_to_all() {
    let plugins = [
        placed("prod", "own", json!({})),
        placed("other", "other", json!({})),
        placed(ROOT_NAMESPACE, "root", json!({})),
    ];
    assert_eq!(names(&plugins, Side::Inbound(80)), ["own", "root"]);
}

#[test]
fn selectors_choose_workloads() {
    let plugins = [
        placed("prod", "users", json!({"selector": {"matchLabels": {"app": "users"}}})),
        placed("prod", "blog", json!({"selector": {"matchLabels": {"app": "blog"}}})),
    ];
    assert_eq!(names(&plugins, Side::Inbound(80)), ["users"]);
}

#[test]
fn match_chooses_direction_and_port() {
    let plugins = [
        placed("prod", "a-all", json!({"match": []})),
        placed("prod", "b-server", json!({"match": [{"mode": "SERVER"}]})),
        placed("prod", "c-client", json!({"match": [{"mode": "CLIENT"}]})),
        placed("prod", "d-both", json!({"match": [{"mode": "CLIENT_AND_SERVER"}]})),
        placed("prod", "e-port", json!({"match": [{"ports": [{"number": 8080}]}]})),
        placed(
            "prod",
            "f-either",
            json!({"match": [{"mode": "CLIENT"}, {"mode": "SERVER", "ports": [{"number": 80}]}]}),
        ),
    ];
    assert_eq!(names(&plugins, Side::Inbound(80)), ["a-all", "b-server", "d-both", "f-either"]);
    assert_eq!(names(&plugins, Side::Inbound(8080)), ["a-all", "b-server", "d-both", "e-port"]);
    assert_eq!(names(&plugins, Side::Gateway(80)), ["a-all", "c-client", "d-both", "f-either"]);
}

#[test]
fn target_refs_are_not_for_sidecars() {
    let plugins = [placed("prod", "waypoint", json!({"targetRefs": [{"kind": "Gateway", "name": "x"}]}))];
    assert!(names(&plugins, Side::Inbound(80)).is_empty());
}

#[test]
fn a_rule_that_no_request_can_reach_is_a_warning_with_its_place_and_a_cure() {
    let config = json!({"rules": [{"name": "a"}, {"name": "b"}]});
    let plugin = placed("prod", "identity", json!({"pluginConfig": config})).source;
    let mut ours = plugin.clone();
    ours.spec.url = "file://mtls-identity.wasm".into();
    let mut notices = Notices::default();
    assert!(validate(&[plugin, ours], &mut notices).is_empty());
    let warnings: Vec<String> = notices.warnings().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["f.yaml: spec.pluginConfig.rules[1]: can never match: rule `a` before it takes all that it would\n  \
          to mend it: move it before rule `a`, or delete it"]
    );
}

#[test]
fn numbers_come_out_of_a_struct_as_doubles() {
    let mut notices = Notices::default();
    let config = json!({"b": 1.0, "a": 100, "c": 0.5, "d": 9_007_199_254_740_993_u64});
    let through = through_struct(&config, &Origin::file("f"), &mut notices);
    assert_eq!(through.to_string(), r#"{"a":100,"b":1,"c":0.5,"d":9007199254740992}"#);
    assert_eq!(notices.iter().count(), 1);
}
