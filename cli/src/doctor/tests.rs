//! The checks on what a real mesh said (`testdata/`, captured from `make mesh` and cut down to what is read): each test
//! has the resources as they were when the proxy was looked at.

use serde_json::{Value, json};

use super::checks::all;
use super::collect::cluster::{add, pod};
use super::facts::{Build, Facts, Looks, Source, Unseen, Wanted};
use super::finding::{Check, Finding, Severity};
use super::proxy::{Content, Listener, Proxy, Role};
use super::report;
use super::series::{Counters, Series};
use crate::problem::Problem;
use crate::resources::Resources;
use crate::schema::Filter;

macro_rules! captured {
    ($name:literal) => {
        Capture {
            dump: include_str!(concat!("testdata/", $name, "/config_dump.json")),
            server_info: include_str!(concat!("testdata/", $name, "/server_info.json")),
            metrics: include_str!(concat!("testdata/", $name, "/metrics.txt")),
            counters: include_str!(concat!("testdata/", $name, "/counters.txt")),
        }
        .proxy()
    };
}

struct Capture {
    dump: &'static str,
    server_info: &'static str,
    metrics: &'static str,
    counters: &'static str,
}

impl Capture {
    fn proxy(&self) -> Proxy {
        let json = |text| serde_json::from_str(text).unwrap();
        let mut proxy = Proxy::read(&json(self.dump), &json(self.server_info), "127.0.0.1:15000");
        proxy.looks = Looks { first: Series::parse(self.metrics), second: None };
        proxy.counters = Counters::parse(self.counters);
        proxy
    }
}

/// The resources of the mesh, with merge patches as `kubectl patch` takes them.
fn cluster(patches: &[(&str, &str, Value)]) -> Facts {
    let mut items: Vec<Value> = serde_json::from_str(include_str!("testdata/cluster.json")).unwrap();
    for (kind, name, patch) in patches {
        let is_it =
            |item: &&mut Value| item["kind"] == *kind && item["metadata"]["name"].as_str().unwrap().starts_with(name);
        merge(items.iter_mut().find(is_it).unwrap(), patch);
    }
    let pods = items.iter().filter(|item| item["kind"] == "Pod").map(pod).collect();
    let mut resources = Resources::default();
    let mut gaps = Vec::new();
    let living = items.into_iter().filter(|item| item["kind"] != "Pod" || pod(item).lives).collect();
    add(&mut resources, living, &mut gaps);
    assert_eq!(gaps, []);
    let wanted = Wanted { source: Source::Cluster(" --context prod".to_owned()), resources };
    Facts { wanted: Some(wanted), pods: Some(pods), ..Facts::default() }
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else { return *target = patch.clone() };
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}

fn spec(spec: Value) -> Value {
    json!({ "spec": spec })
}

fn rate_limit(change: Value) -> Facts {
    cluster(&[("WasmPlugin", "rate-limit", spec(change))])
}

/// What people would read, without colours and without what is well.
fn said(facts: &Facts) -> String {
    let findings: Vec<Finding> = all(facts).into_iter().filter(|finding| finding.severity != Severity::Ok).collect();
    anstream::adapter::strip_str(&report::text(facts, &findings)).to_string()
}

fn with(mut facts: Facts, proxies: impl IntoIterator<Item = Proxy>) -> Facts {
    facts.proxies.extend(proxies);
    facts
}

#[test]
fn a_healthy_mesh_has_nothing_wrong_and_says_what_was_seen() {
    let facts = with(cluster(&[]), [captured!("healthy")]);
    let findings = all(&facts);
    assert!(!findings.iter().any(Finding::is_trouble), "{findings:#?}");
    insta::assert_snapshot!(anstream::adapter::strip_str(&report::text(&facts, &findings)).to_string());
}

#[test]
fn programs_get_the_same_in_one_object() {
    let facts = with(rate_limit(json!({"sha256": "0".repeat(64)})), [captured!("wrong-digest-open")]);
    insta::assert_snapshot!(format!("{:#}", report::object(&facts, &all(&facts))));
}

#[test]
fn a_module_that_could_not_be_fetched_has_a_filter_in_its_place() {
    let zeros = json!({"sha256": "0".repeat(64), "failStrategy": "FAIL_CLOSE"});
    insta::assert_snapshot!(said(&with(rate_limit(zeros), [captured!("wrong-digest-close")])));
}

#[test]
fn a_refused_configuration_is_told_from_one_in_force_by_its_hash() {
    let bad = json!({"pluginConfig": {"rules": [{"name": "bad", "limits": [{"requests": 0, "per": "1m"}]}]}});
    insta::assert_snapshot!(said(&with(rate_limit(bad), [captured!("refused")])));
}

#[test]
fn a_proxy_alone_is_judged_by_what_it_says_of_itself() {
    insta::assert_snapshot!(said(&with(Facts::default(), [captured!("refused"), captured!("wrong-phase")])));
}

#[test]
fn a_configuration_that_did_not_arrive_is_named_by_where_it_differs() {
    let other =
        json!({"pluginConfig": {"rules": [{"name": "load-balancer", "limits": [{"requests": 50, "per": "1m"}]}]}});
    insta::assert_snapshot!(said(&with(rate_limit(other), [captured!("healthy")])));
}

#[test]
fn a_selector_that_fits_no_pod_is_an_error_with_the_label_that_was_meant() {
    insta::assert_snapshot!(said(&rate_limit(json!({"selector": {"matchLabels": {"app": "load-balancr"}}}))));
}

#[test]
fn pods_without_a_sidecar_and_in_another_namespace_are_not_selected() {
    let bare = json!({"spec": {"initContainers": []}, "status": {"initContainerStatuses": []}});
    let facts = cluster(&[("Pod", "load-balancer", bare)]);
    assert!(said(&facts).contains("the 1 pods that it selects have no sidecar"), "{}", said(&facts));
    let facts = cluster(&[("WasmPlugin", "rate-limit", json!({"metadata": {"namespace": "elsewhere"}}))]);
    assert!(said(&facts).contains("no pod runs in its namespace elsewhere"), "{}", said(&facts));
    assert!(said(&facts).contains("the pods are in titanium-prod"), "{}", said(&facts));
}

#[test]
fn a_plugin_of_the_whole_mesh_is_not_judged_by_one_namespace() {
    let root = json!({"metadata": {"namespace": "istio-system"}, "spec": {"selector": {"matchLabels": {"app": "x"}}}});
    let mut facts = cluster(&[("WasmPlugin", "rate-limit", root)]);
    assert!(all(&facts).iter().any(|finding| finding.check == Check::Selector));
    facts.only = Some("titanium-prod".to_owned());
    assert!(!all(&facts).iter().any(|finding| finding.check == Check::Selector));
}

#[test]
fn a_plugin_for_gateways_that_are_not_there_is_in_force_nowhere() {
    let targets = json!({"selector": null, "targetRefs": [{"kind": "Gateway", "name": "waypoint"}]});
    assert!(said(&rate_limit(targets)).contains("no gateway or waypoint of spec.targetRefs is there"));
}

#[test]
fn a_sidecar_that_is_not_ready_may_be_waiting_for_its_filter() {
    let status = json!({"status": {"initContainerStatuses": [{"name": "istio-proxy", "ready": false}]}});
    let facts = cluster(&[("Pod", "load-balancer", status)]);
    assert!(said(&facts).contains("the proxy is not ready in titanium-prod/load-balancer-"), "{}", said(&facts));
}

#[test]
fn the_wrong_phase_is_blamed_once_and_mended_in_the_resource() {
    let facts = cluster(&[
        ("WasmPlugin", "rate-limit", spec(json!({"phase": "AUTHN", "priority": 2000}))),
        ("WasmPlugin", "mtls-identity", spec(json!({"match": null}))),
    ]);
    insta::assert_snapshot!(said(&with(facts, [captured!("wrong-phase")])));
}

#[test]
fn permissive_mutual_tls_is_seen_in_the_resources_and_in_the_proxy() {
    let facts = cluster(&[("PeerAuthentication", "default-mtls", spec(json!({"mtls": {"mode": "PERMISSIVE"}})))]);
    insta::assert_snapshot!(said(&with(facts, [captured!("permissive")])));
    // The resources say STRICT, the proxy does otherwise.
    let text = said(&with(cluster(&[]), [captured!("permissive")]));
    assert!(text.contains("callers without a certificate get in on 8080"), "{text}");
}

#[test]
fn without_mutual_tls_nobody_gets_in_and_callers_may_be_told_not_to_use_it() {
    let facts = cluster(&[("PeerAuthentication", "default-mtls", spec(json!({"mtls": {"mode": "DISABLE"}})))]);
    assert!(said(&facts).contains("mutual TLS is DISABLE on titanium-prod/load-balancer:8080"), "{}", said(&facts));
    let plain = json!({"trafficPolicy": {"tls": {"mode": "DISABLE"}}});
    let facts = cluster(&[("DestinationRule", "load-balancer", spec(plain))]);
    insta::assert_snapshot!(said(&facts));
}

#[test]
fn a_vm_that_was_started_again_is_in_envoys_counters() {
    let facts = with(Facts::default(), [captured!("trap-reload")]);
    let text = said(&facts);
    assert!(
        text.contains("its VM has trapped since the proxy started: 2 new ones were started, 6 requests came meanwhile"),
        "{text}"
    );
}

/// One more look, with some series of the first grown.
fn grown(proxy: Proxy, text: &str, growth: &[(&str, u64)]) -> Proxy {
    let mut later = text.to_owned();
    for (series, by) in growth {
        let line = text.lines().find(|line| line.starts_with(series)).unwrap();
        let (name, value) = line.rsplit_once(' ').unwrap();
        later = later.replace(line, &format!("{name} {}", value.parse::<u64>().unwrap() + by));
    }
    Proxy { looks: Looks { second: Some(Series::parse(&later)), ..proxy.looks }, ..proxy }
}

#[test]
fn a_trapped_vm_shows_by_the_requests_that_only_the_others_count() {
    let text = include_str!("testdata/trap-close/metrics.txt");
    let refused = "tollgate_requests_total{route=\"post\",method=\"GET\",response_code=\"503\"";
    let identity = "tollgate_identity_total{rule=\"callers\",decision=\"allowed\"";
    let blind = grown(captured!("trap-close"), text, &[(refused, 20), (identity, 20)]);
    insta::assert_snapshot!(said(&with(Facts::default(), [blind])));
    let limit = "tollgate_rate_limit_total{rule=\"load-balancer\",decision=\"allowed\"";
    let sees = grown(captured!("trap-close"), text, &[(refused, 20), (identity, 20), (limit, 20)]);
    assert_eq!(all(&with(Facts::default(), [sees])).iter().filter(|finding| finding.is_trouble()).count(), 0);
    let few = grown(captured!("trap-close"), text, &[(refused, 4), (identity, 4)]);
    assert_eq!(all(&with(Facts::default(), [few])).iter().filter(|finding| finding.is_trouble()).count(), 0);
}

#[test]
fn what_identity_denies_need_not_reach_the_limits() {
    let text = include_str!("testdata/healthy/metrics.txt");
    let denied = "tollgate_identity_total{rule=\"callers\",decision=\"denied\"";
    let counted = "tollgate_requests_total{route=\"post\",method=\"GET\",response_code=\"403\"";
    let proxy = grown(captured!("healthy"), text, &[(denied, 50), (counted, 50)]);
    let findings = all(&with(Facts::default(), [proxy]));
    assert!(!findings.iter().any(Finding::is_trouble), "{findings:#?}");
}

#[test]
fn rules_that_meet_nothing_are_told_from_rules_that_meet_little() {
    let of = |unmatched: u32, met: u32| {
        let mut proxy = captured!("healthy");
        let text = format!(
            "tollgate_config_info{{filter=\"rate_limit\",config_hash=\"1c139ac948768f3c\"}} 1\n\
             tollgate_rate_limit_total{{rule=\"__unmatched__\",decision=\"allowed\"}} {unmatched}\n\
             tollgate_rate_limit_total{{rule=\"load-balancer\",decision=\"allowed\"}} {met}\n"
        );
        proxy.looks.first = Series::parse(&text);
        let findings = all(&with(Facts::default(), [proxy]));
        let rules = findings.into_iter().filter(|finding| finding.check == Check::Rules);
        rules.map(|finding| (finding.severity, finding.what)).collect::<Vec<_>>()
    };
    let never = "no rule has ever met a request, while 20 met none and are not limited".to_owned();
    assert_eq!(of(20, 0), [(Severity::Error, never)]);
    assert_eq!(of(19, 0), [(Severity::Note, "19 requests met no rule and are not limited".to_owned())]);
    assert_eq!(of(7, 1), [(Severity::Note, "7 requests met no rule and are not limited".to_owned())]);
    assert_eq!(of(0, 0), []);
}

#[test]
fn labels_in_names_hide_whether_a_configuration_is_in_force() {
    let mut proxy = captured!("healthy");
    proxy.looks.first =
        Series::parse("filter___rate_limit___version___0_1_0___config_hash___1c___tollgate_config_info 1\n");
    let text = said(&with(Facts::default(), [proxy]));
    assert!(text.contains("labels are left in the names of metrics: filter___rate_limit"), "{text}");
    assert!(text.contains("whether its configuration is in force is unknown without stats tags"), "{text}");
    assert!(text.contains("istio/components/stats-tags"), "{text}");
}

#[test]
fn a_module_on_the_command_line_is_what_must_run() {
    let build = |digest: &str| Build {
        path: "dist/rate-limit.wasm".to_owned(),
        filter: Some(Filter::RateLimit),
        module: "1".repeat(64),
        images: vec![digest.to_owned()],
    };
    let running = "d1f6a6dfcf345cd8ff7d35be9534757f7c3ec004c1a3d150276fb19ac2c45b40";
    let mut facts = with(cluster(&[]), [captured!("healthy")]);
    facts.modules = vec![build(running)];
    assert!(!all(&facts).iter().any(Finding::is_trouble));
    facts.modules = vec![build(&"2".repeat(64))];
    let text = said(&facts);
    assert!(
        text.contains(&format!("the proxy runs a module of digest {running}, which is not dist/rate-limit.wasm")),
        "{text}"
    );
    // A file whose name says nothing: unknown, and said to be.
    let Some(Content::Wasm(wasm)) = facts.proxies[0]
        .extensions
        .values_mut()
        .find(|it| matches!(it, Content::Wasm(wasm) if wasm.name.contains("rate-limit")))
    else {
        panic!("it is there")
    };
    wasm.file = Some("/modules/rate-limit.wasm".to_owned());
    assert!(said(&facts).contains("the module's digest is unknown"), "{}", said(&facts));
}

#[test]
fn a_plugin_that_has_not_arrived_is_an_error_where_it_has_a_place_and_a_note_where_it_has_none() {
    let mut proxy = captured!("healthy");
    proxy.extensions.clear();
    proxy.listeners[0].chains[0].filters.retain(|name| !name.contains("titanium-prod"));
    let text = said(&with(cluster(&[]), [proxy.clone()]));
    assert!(text.contains("titanium-prod/rate-limit at titanium-prod/load-balancer"), "{text}");
    assert!(text.contains("it has not reached the proxy"), "{text}");
    let ports = json!({"match": [{"mode": "SERVER", "ports": [{"number": 80}]}]});
    let text = said(&with(rate_limit(ports), [proxy.clone()]));
    assert!(text.contains("the proxy listens on none of the ports that spec.match names"), "{text}");
    proxy.listeners.clear();
    let findings = all(&with(cluster(&[]), [proxy]));
    assert!(!findings.iter().any(Finding::is_trouble), "{findings:#?}");
}

#[test]
fn a_filter_that_was_delivered_and_is_in_no_requests_way_is_an_error() {
    let mut proxy = captured!("healthy");
    let former = proxy.listeners[0].clone();
    proxy.listeners[0].chains[0].filters.retain(|name| !name.contains("rate-limit"));
    let text = said(&with(cluster(&[]), [proxy.clone()]));
    assert!(text.contains("it was delivered, and no listener of the proxy has it"), "{text}");
    proxy.listeners.push(Listener { active: false, ..former });
    let text = said(&with(cluster(&[]), [proxy.clone()]));
    assert!(text.contains("the listener that has it takes no connections yet"), "{text}");
    // One that was removed goes when its last connection does.
    let mut facts = with(cluster(&[]), [proxy]);
    facts.wanted.as_mut().unwrap().resources.wasm_plugins.retain(|plugin| plugin.meta.name != "rate-limit");
    assert!(!all(&facts).iter().any(Finding::is_trouble), "{}", said(&facts));
}

#[test]
fn a_port_that_is_not_called_http_has_no_filters() {
    let mut proxy = captured!("healthy");
    proxy.listeners[0].chains[0].port = None;
    proxy.listeners[0].http_ports.clear();
    proxy.listeners[0].tcp_ports = vec![8080];
    insta::assert_snapshot!(said(&with(cluster(&[]), [proxy.clone()])));
    // What has HTTP as well may have a database beside it.
    proxy.listeners[0].http_ports = vec![9000];
    assert!(!all(&with(cluster(&[]), [proxy])).iter().any(Finding::is_trouble));
}

#[test]
fn what_an_authorization_policy_denies_need_not_reach_the_limits() {
    let text = include_str!("testdata/healthy/metrics.txt");
    let allowed = "tollgate_identity_total{rule=\"callers\",decision=\"allowed\"";
    let counted = "tollgate_requests_total{route=\"post\",method=\"GET\",response_code=\"403\"";
    let mut proxy = grown(captured!("healthy"), text, &[(allowed, 20), (counted, 20)]);
    assert!(said(&with(Facts::default(), [proxy.clone()])).contains("it saw 0 of at least 20 requests"));
    let filters = &mut proxy.listeners[0].chains[0].filters;
    let limit = filters.iter().position(|name| name.contains("rate-limit")).unwrap();
    filters.insert(limit, "envoy.filters.http.rbac".to_owned());
    let findings = all(&with(Facts::default(), [proxy]));
    assert!(!findings.iter().any(Finding::is_trouble), "{findings:#?}");
}

#[test]
fn a_plugin_is_known_by_its_name_where_its_image_has_another() {
    let renamed = json!({
        "url": "oci://registry.example.com/team/limiter:1",
        "selector": {"matchLabels": {"app": "x"}},
        "pluginConfig": {"rules": 1},
    });
    let text = said(&rate_limit(renamed.clone()));
    assert!(text.contains("error [selector] titanium-prod/rate-limit"), "{text}");
    assert!(text.contains("error [plugin-config] titanium-prod/rate-limit: spec.pluginConfig.rules:"), "{text}");
    let both = json!({"metadata": {"name": "limiter"}, "spec": renamed});
    let text = said(&cluster(&[("WasmPlugin", "rate-limit", both)]));
    assert!(text.contains("not looked at, being none of Tollgate's by url or name: titanium-prod/limiter"), "{text}");
}

#[test]
fn a_native_sidecar_that_runs_before_its_pod_does_is_looked_at() {
    let waits = |state: &str| {
        let status = json!([{"name": "istio-proxy", "ready": false, "state": {state: {}}}]);
        let status = json!({"status": {"phase": "Pending", "initContainerStatuses": status}});
        cluster(&[("Pod", "load-balancer", status)])
    };
    assert!(said(&waits("running")).contains("the proxy is not ready in titanium-prod/load-balancer-"));
    assert!(said(&waits("waiting")).contains("none of the 1 pods that it selects runs"));
}

#[test]
fn a_listener_that_waits_for_a_filter_is_said_to() {
    let mut proxy = captured!("healthy");
    proxy.extensions.clear();
    proxy.listeners[0].active = false;
    let text = said(&with(cluster(&[]), [proxy]));
    assert!(text.contains("the proxy waits for it"), "{text}");
    assert!(text.contains("the listener takes no connection until it comes"), "{text}");
}

#[test]
fn what_could_not_be_looked_at_is_a_warning_and_never_health() {
    let unseen = |by_choice| Unseen { proxy: "prod/a-1".into(), reason: "no way".into(), by_choice };
    let mut facts = cluster(&[]);
    facts.unseen = vec![unseen(false)];
    facts.gaps = vec![Problem::new("pods is forbidden").cure("ask")];
    insta::assert_snapshot!(said(&facts));
    // One proxy of each plugin was looked at, and the others were left out on purpose.
    let mut facts = with(cluster(&[]), [captured!("healthy")]);
    facts.unseen = vec![unseen(true)];
    assert!(!all(&facts).iter().any(Finding::is_trouble));
    let mut facts = cluster(&[]);
    facts.unseen = vec![unseen(true)];
    assert!(all(&facts).iter().any(Finding::is_trouble));
}

#[test]
fn without_any_plugin_nothing_is_enforced() {
    let mut facts = cluster(&[]);
    facts.wanted.as_mut().unwrap().resources.wasm_plugins.clear();
    assert!(said(&facts).starts_with("error [plugin] there is no WasmPlugin\n"), "{}", said(&facts));
    let bare = Proxy { name: "127.0.0.1:15000".into(), ..Proxy::default() };
    assert!(said(&with(Facts::default(), [bare])).contains("the proxy has none of Tollgate's filters"));
}

#[test]
fn an_authorization_that_opens_when_it_breaks_and_what_is_only_tried_are_said() {
    let facts = cluster(&[("WasmPlugin", "mtls-identity", spec(json!({"failStrategy": "FAIL_OPEN"})))]);
    assert!(said(&facts).contains("failStrategy is FAIL_OPEN"), "{}", said(&facts));
    let tried = json!({"failStrategy": "FAIL_OPEN", "pluginConfig": {"mode": "shadow", "source": "tls"}});
    let tried = said(&cluster(&[("WasmPlugin", "mtls-identity", spec(tried))]));
    assert!(tried.contains("note [fail-strategy]"), "{tried}");
    let mut proxy = captured!("healthy");
    for content in proxy.extensions.values_mut() {
        if let Content::Wasm(wasm) = content {
            wasm.configuration =
                wasm.configuration.replace("\"source\":\"tls\"", "\"mode\":\"shadow\",\"source\":\"tls\"");
        }
    }
    assert!(said(&with(Facts::default(), [proxy])).contains("it is in shadow mode: it counts, and turns nobody away"));
}

#[test]
fn a_captured_node_says_whose_proxy_it_is() {
    let proxy = captured!("healthy");
    assert_eq!(proxy.role, Role::Sidecar);
    assert_eq!(proxy.namespace.as_deref(), Some("titanium-prod"));
    assert_eq!(proxy.labels.get("app").map(String::as_str), Some("load-balancer"));
    assert_eq!(proxy.envoy, "1.40.0");
}
