use serde_json::{Value, json};

use super::super::super::report::Report;
use super::super::policy;
use super::*;
use crate::input::Document;
use crate::problem::Origin;

fn document(kind: &str, namespace: &str, name: &str, spec: Value) -> Document {
    let group = match kind {
        "Deployment" => "apps/v1",
        "Gateway" => "gateway.networking.k8s.io/v1",
        _ => "security.istio.io/v1",
    };
    let value =
        json!({"apiVersion": group, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec});
    Document {
        origin: Origin { file: String::new(), line: None, resource: format!("{kind} {namespace}/{name}") },
        value,
    }
}

fn allow(namespace: &str, name: &str, labels: Value) -> Document {
    document("AuthorizationPolicy", namespace, name, json!({"selector": {"matchLabels": labels}, "rules": [{}]}))
}

fn deny(namespace: &str, name: &str, labels: Value) -> Document {
    let spec = json!({"selector": {"matchLabels": labels}, "action": "DENY", "rules": [{}]});
    document("AuthorizationPolicy", namespace, name, spec)
}

fn pod(namespace: &str, name: &str, labels: Value) -> Document {
    document("Deployment", namespace, name, json!({"template": {"metadata": {"labels": labels}}}))
}

/// Each plan as `name labels policies`, the codes of what was said, and the problems.
fn planned(policies: &[Document], others: Vec<Document>) -> (Vec<String>, Vec<&'static str>, Vec<String>) {
    let mut report = Report::default();
    let policies: Vec<_> = policies.iter().filter_map(|document| policy::read(document, &mut report)).collect();
    let cluster = Cluster::new(others).unwrap();
    let shown = plans(&policies, &cluster, &mut report).into_iter().map(|plan| {
        let names: Vec<_> = plan.policies.iter().map(|index| policies[*index].name.clone()).collect();
        let labels: Vec<_> = plan.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let namespace = plan.namespace.unwrap_or_default();
        format!("{namespace}/{} {:?} [{}] <- {}", plan.name, plan.proxy, labels.join(","), names.join(" "))
    });
    let shown = shown.collect();
    let mut codes: Vec<_> = report.notes.iter().filter_map(|note| note.difference).map(Difference::code).collect();
    codes.sort_unstable();
    codes.dedup();
    (shown, codes, report.problems.iter().map(ToString::to_string).collect())
}

#[test]
fn policies_of_one_selector_are_one_plugin_and_others_have_their_own() {
    let policies =
        [allow("a", "one", json!({"app": "x"})), deny("a", "two", json!({"app": "x"})), deny("a", "three", json!({}))];
    let (plans, codes, problems) = planned(&policies, Vec::new());
    assert_eq!(plans, ["a/x-authorization Sidecar [app=x] <- one two", "a/three Sidecar [] <- three"]);
    assert_eq!((codes, problems), (vec!["gateways"], vec![]));
}

#[test]
fn two_that_allow_for_the_same_pods_are_refused_where_no_pods_are_known() {
    let policies = [allow("a", "wide", json!({})), allow("a", "own", json!({"app": "x"}))];
    let (plans, _, problems) = planned(&policies, Vec::new());
    assert!(plans.is_empty());
    assert_eq!(problems.len(), 2);
    assert!(
        problems[0].contains("AuthorizationPolicy a/own: spec: is for pods that a/wide is for too"),
        "{}",
        problems[0]
    );
    assert!(problems[0].contains("add the Deployments"), "{}", problems[0]);
}

#[test]
fn two_that_allow_for_the_same_pods_become_one_plugin_for_each_workload() {
    let policies = [
        allow("a", "wide", json!({})),
        allow("a", "own", json!({"app": "x"})),
        allow("istio-system", "mesh", json!({"tier": "web"})),
        deny("a", "never", json!({})),
    ];
    let pods = vec![
        pod("a", "x", json!({"app": "x", "tier": "web", "pod-template-hash": "1"})),
        pod("a", "y", json!({"app": "y"})),
        pod("b", "z", json!({"app": "z", "tier": "web"})),
    ];
    let (plans, codes, problems) = planned(&policies, pods);
    assert_eq!(
        plans,
        [
            "a/x-authorization Sidecar [app=x,tier=web] <- wide own mesh",
            "a/wide Sidecar [app=y] <- wide",
            "b/mesh Sidecar [tier=web] <- mesh",
            "a/never Sidecar [] <- never",
        ]
    );
    assert_eq!((codes, problems), (vec!["later_workloads"], vec![]));
}

#[test]
fn a_workload_that_no_selector_is_for_alone_is_refused() {
    let policies = [allow("a", "wide", json!({})), allow("a", "own", json!({"version": "v2"}))];
    let pods = vec![pod("a", "x", json!({"app": "x"})), pod("a", "x2", json!({"app": "x", "version": "v2"}))];
    let (_, _, problems) = planned(&policies, pods);
    assert!(problems[0].contains("no selector is for the one workload alone"), "{problems:?}");
}

#[test]
fn selectors_that_may_overlap_are_announced_and_those_that_cannot_are_not() {
    let (plans, codes, _) =
        planned(&[allow("a", "one", json!({"app": "x"})), allow("a", "two", json!({"version": "v1"}))], Vec::new());
    assert_eq!((plans.len(), codes), (2, vec!["several_plugins"]));
    for other in [allow("a", "two", json!({"app": "y"})), allow("b", "two", json!({"app": "x"}))] {
        let (plans, codes, problems) = planned(&[allow("a", "one", json!({"app": "x"})), other], Vec::new());
        assert_eq!((plans.len(), codes.len(), problems.len()), (2, 0, 0));
    }
    let apart = vec![pod("a", "x", json!({"app": "x"})), pod("a", "y", json!({"version": "v1"}))];
    let (_, codes, _) =
        planned(&[allow("a", "one", json!({"app": "x"})), allow("a", "two", json!({"version": "v1"}))], apart);
    assert_eq!(codes, [""; 0]);
}

#[test]
fn gateways_get_a_plugin_for_their_side() {
    let gateway = || pod("istio-system", "gw", json!({"app": "istio-ingressgateway", "istio": "ingressgateway"}));
    let (plans, ..) = planned(&[deny("istio-system", "edge", json!({"istio": "ingressgateway"}))], Vec::new());
    assert_eq!(plans, ["istio-system/edge Gateway [istio=ingressgateway] <- edge"]);
    let mesh = [deny("istio-system", "all", json!({}))];
    let (plans, codes, _) = planned(&mesh, vec![gateway()]);
    assert_eq!(
        plans,
        [
            "istio-system/all Sidecar [] <- all",
            "istio-system/all-istio-ingressgateway Gateway [app=istio-ingressgateway,istio=ingressgateway] <- all",
        ]
    );
    assert_eq!(codes, [""; 0]);
    assert_eq!(planned(&mesh, Vec::new()).1, ["gateways"]);
    let by_resource = Document {
        origin: Origin::default(),
        value: json!({"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "spec": {"selector": {"edge": "yes"}}}),
    };
    let (plans, ..) = planned(&[deny("a", "edge", json!({"edge": "yes", "app": "x"}))], vec![by_resource]);
    assert_eq!(plans, ["a/edge Gateway [app=x,edge=yes] <- edge"]);
}

#[test]
fn targets_of_the_gateway_api_are_carried_over() {
    let to = |kind: &str, group: &str, name: &str| {
        let spec = json!({"targetRefs": [{"kind": kind, "group": group, "name": name}], "rules": [{}]});
        document("AuthorizationPolicy", "a", "p", spec)
    };
    let class = |name: &str, class: &str| document("Gateway", "a", name, json!({"gatewayClassName": class}));
    let known = || vec![class("way", "istio-waypoint"), class("edge", "istio")];
    for (policy, proxy) in [
        (to("Service", "", "x"), "Waypoint"),
        (to("ServiceEntry", "networking.istio.io", "x"), "Waypoint"),
        (to("GatewayClass", "gateway.networking.k8s.io", "istio-waypoint"), "Waypoint"),
        (to("Gateway", "gateway.networking.k8s.io", "way"), "Waypoint"),
        (to("Gateway", "gateway.networking.k8s.io", "edge"), "Gateway"),
        (to("Gateway", "gateway.networking.k8s.io", "unknown"), "GatewayOrWaypoint"),
    ] {
        let (plans, _, problems) = planned(&[policy], known());
        assert_eq!((plans, problems), (vec![format!("a/p {proxy} [] <- p")], vec![]));
    }
    let (plans, _, problems) = planned(&[to("Deployment", "apps", "x")], Vec::new());
    assert!(plans.is_empty() && problems[0].contains("`Deployment` of group `apps`"), "{problems:?}");
}
