//! What is wrong with the WasmPlugins themselves, whatever the proxies say.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::selection::{selects, sides, targets};
use super::some;
use crate::doctor::cures;
use crate::doctor::facts::{Facts, Plugin, Pod, ProxyState};
use crate::doctor::finding::{Check, Finding};
use crate::mesh::{modules, plugins};
use crate::problem::Notices;
use crate::resources::ROOT_NAMESPACE;
use crate::resources::wasm_plugin::{FailStrategy, PluginType};
use crate::schema::Filter;

pub(super) fn check(facts: &Facts, findings: &mut Vec<Finding>) {
    let Some(wanted) = &facts.wanted else { return };
    if facts.plugins().next().is_none() {
        let others = wanted.resources.wasm_plugins.len();
        let what = match others {
            0 => "there is no WasmPlugin".to_owned(),
            n => format!("of {n} WasmPlugins none has a url that ends in rate-limit, mtls-identity or route-metrics"),
        };
        findings.push(
            Finding::error(Check::Plugin, what)
                .because("so nothing limits, checks or counts anything")
                .cure(format!("{} apply -k istio/base", cures::kubectl(facts))),
        );
    }
    let foreign: Vec<String> = facts.foreign_plugins().map(|plugin| plugin.meta.id()).collect();
    if !foreign.is_empty() {
        let names: Vec<&str> = foreign.iter().map(String::as_str).collect();
        let what = format!("not looked at, being none of Tollgate's by url or name: {}", some(&names));
        findings.push(Finding::note(Check::Plugin, what));
    }
    for plugin in facts.plugins() {
        let mut of_plugin = Vec::new();
        selector(facts, &plugin, &mut of_plugin);
        direction(facts, &plugin, &mut of_plugin);
        plugin_config(facts, &plugin, &mut of_plugin);
        fail_strategy(facts, &plugin, &mut of_plugin);
        if plugin.resource.spec.sha256.as_deref().unwrap_or_default().is_empty()
            && !plugin.resource.spec.url.contains("@sha256:")
        {
            of_plugin.push(
                Finding::note(Check::Digest, "spec.sha256 is not set: the proxy takes whatever the url has").cure(
                    format!(
                        "tollgate push MODULE.wasm {} --update DIR",
                        plugin.resource.spec.url.replace("oci://", "")
                    ),
                ),
            );
        }
        findings.extend(of_plugin.into_iter().map(|finding| finding.of(plugin.id())));
    }
    order(facts, findings);
}

/// The classic: a selector that fits no pod, and no error anywhere.
fn selector(facts: &Facts, plugin: &Plugin<'_>, findings: &mut Vec<Finding>) {
    let Some(pods) = &facts.pods else { return };
    let home = plugin.resource.meta.namespace();
    if home == ROOT_NAMESPACE && facts.only.as_deref().is_some_and(|only| only != home) {
        // It is for all namespaces, and one of them says nothing.
        return;
    }
    let selected: Vec<&Pod> = pods.iter().filter(|pod| selects(plugin, &pod.namespace, &pod.labels)).collect();
    let living: Vec<&&Pod> = selected.iter().filter(|pod| pod.lives).collect();
    if living.iter().any(|pod| pod.proxy != ProxyState::None) {
        let waiting: Vec<String> =
            living.iter().filter(|pod| pod.proxy == ProxyState::NotReady).map(|pod| pod.id()).collect();
        if !waiting.is_empty() {
            let names: Vec<&str> = waiting.iter().map(String::as_str).collect();
            let finding = Finding::warning(Check::Selector, format!("the proxy is not ready in {}", some(&names)))
                .because("a proxy that starts waits for ever for a filter whose configuration it refuses");
            let log = names.first().and_then(|proxy| cures::log(facts, proxy, "configuration_refused"));
            findings.push(Finding { cure: log, ..finding });
        }
        return;
    }
    let namespace = plugin.resource.meta.namespace();
    let kubectl = cures::kubectl(facts);
    let why = "so it is in force nowhere, and Istio reports no error";
    if let Some(first) = living.first() {
        findings.push(
            Finding::error(Check::Selector, format!("the {} pods that it selects have no sidecar", living.len()))
                .because(why)
                .cure(format!(
                    "{kubectl} label namespace {0} istio-injection=enabled --overwrite && {kubectl} rollout restart deployment -n {0}",
                    first.namespace
                )),
        );
        return;
    }
    if !selected.is_empty() {
        findings.push(
            Finding::warning(Check::Selector, format!("none of the {} pods that it selects runs", selected.len()))
                .because("so whether it is enforced can't be seen yet")
                .cure(format!("{kubectl} get pods -n {namespace}")),
        );
        return;
    }
    if targets(plugin).is_some() {
        findings.push(
            Finding::error(Check::Selector, "no gateway or waypoint of spec.targetRefs is there")
                .because("sidecars ignore targetRefs: it is in force nowhere, and Istio reports no error")
                .cure(cures::change_plugin(
                    facts,
                    plugin,
                    &json!({"targetRefs": null, "selector": {"matchLabels": {"app": "APP"}}}),
                )),
        );
        return;
    }
    let labels: BTreeMap<String, String> =
        plugin.resource.spec.selector.as_ref().map(|it| it.match_labels.clone()).unwrap_or_default();
    let here: Vec<&Pod> = pods.iter().filter(|pod| pod.namespace == namespace && pod.lives).collect();
    let spelled: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let what = match here.len() {
        0 => format!("no pod runs in its namespace {namespace}"),
        n => format!("the selector {} fits none of the {n} pods that run in {namespace}", spelled.join(",")),
    };
    let elsewhere = pods.iter().find(|pod| pod.lives && labels.iter().all(|(k, v)| pod.labels.get(k) == Some(v)));
    let cure = match (elsewhere, closest(&labels, &here)) {
        (Some(pod), _) if !labels.is_empty() => format!(
            "the pods are in {0}, and a WasmPlugin selects in its own namespace alone: {kubectl} get wasmplugin {1} -n {namespace} \
             -o yaml | sed 's/namespace: {namespace}/namespace: {0}/' | {kubectl} apply -f -",
            pod.namespace, plugin.resource.meta.name
        ),
        (_, Some((key, value))) => {
            cures::change_plugin(facts, plugin, &json!({"selector": {"matchLabels": {key: value}}}))
        }
        _ => format!("{kubectl} get pods -A --show-labels"),
    };
    findings.push(Finding::error(Check::Selector, what).because(why).cure(cure));
}

/// The label of a pod that comes closest to one that was asked for: the same key, and the most alike value.
fn closest(wanted: &BTreeMap<String, String>, pods: &[&Pod]) -> Option<(String, String)> {
    let mut best: Option<(usize, String, String)> = None;
    for (key, value) in wanted {
        let values: BTreeSet<&String> = pods.iter().filter_map(|pod| pod.labels.get(key)).collect();
        if values.contains(value) {
            continue;
        }
        for candidate in values {
            let shared = alike(value, candidate);
            if best.as_ref().is_none_or(|(most, ..)| shared > *most) {
                best = Some((shared, key.clone(), candidate.clone()));
            }
        }
    }
    best.map(|(_, key, value)| (key, value))
}

/// How many bytes two words have in common at their beginnings and ends.
fn alike(a: &str, b: &str) -> usize {
    let from_start = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    let from_end = a.bytes().rev().zip(b.bytes().rev()).take_while(|(x, y)| x == y).count();
    from_start.saturating_add(from_end)
}

fn direction(facts: &Facts, plugin: &Plugin<'_>, findings: &mut Vec<Finding>) {
    // A gateway's own traffic is outbound to Istio.
    if targets(plugin).is_some() || selects_gateways(facts, plugin) {
        return;
    }
    let (inbound, outbound) = sides(plugin);
    let cure = || cures::change_plugin(facts, plugin, &json!({"match": [{"mode": "SERVER"}]}));
    if outbound && inbound {
        let why = match plugin.filter {
            Filter::RateLimit => {
                "both directions share one bucket, so requests that the workload sends use up its limit"
            }
            Filter::MtlsIdentity => {
                "what the workload sends has no caller's certificate: the filter enforces nothing there"
            }
            Filter::RouteMetrics => "each request is counted twice, where it is sent and where it is received",
        };
        findings.push(
            Finding::warning(Check::Direction, "spec.match lets it into both directions of the traffic")
                .because(why)
                .cure(cure()),
        );
    }
    if !inbound && plugin.filter == Filter::MtlsIdentity {
        let checks = config_of::<mtls_identity::config::Config>(plugin).is_some_and(|config| config.check_outbound);
        if !checks {
            findings.push(
                Finding::error(
                    Check::Direction,
                    "spec.match attaches it to what workloads send, not to what they receive",
                )
                .because("without checkOutbound it enforces nothing there")
                .cure(cure()),
            );
        }
    }
}

/// Whether all that it selects are gateways.
fn selects_gateways(facts: &Facts, plugin: &Plugin<'_>) -> bool {
    use crate::doctor::proxy::Role;
    let mut proxies = facts.proxies.iter().filter(|proxy| super::selection::is_for(plugin, proxy)).peekable();
    let labels = plugin.resource.spec.selector.as_ref().map(|selector| &selector.match_labels);
    let by_label = labels.is_some_and(|labels| labels.get("istio").is_some_and(|value| value.ends_with("gateway")));
    by_label || (proxies.peek().is_some() && proxies.all(|proxy| proxy.role == Role::Gateway))
}

/// Read by the filter's own parser.
trait Parsed: Sized {
    fn parsed(bytes: &[u8]) -> Option<Self>;
}

impl Parsed for mtls_identity::config::Config {
    fn parsed(bytes: &[u8]) -> Option<Self> {
        Self::parse(bytes).ok()
    }
}

fn config_of<C: Parsed>(plugin: &Plugin<'_>) -> Option<C> {
    C::parsed(plugins::handed_over(plugin.resource).to_string().as_bytes())
}

fn plugin_config(facts: &Facts, plugin: &Plugin<'_>, findings: &mut Vec<Finding>) {
    if plugin.resource.spec.plugin_type == PluginType::Network {
        findings.push(
            Finding::error(Check::PluginConfig, "spec.type is NETWORK")
                .because("Tollgate's modules are HTTP filters: they get no request there")
                .cure(cures::change_plugin(facts, plugin, &json!({"type": "HTTP"}))),
        );
    }
    let mut notices = Notices::default();
    if let Some(problem) = plugins::validate_as(plugin.filter, plugin.resource, &mut notices) {
        let cure = match cures::is_files(facts) {
            true => format!("mend {} of {}, and apply it", problem.path, plugin.origin()),
            false => format!(
                "{} edit wasmplugin {} -n {}   # mend {}",
                cures::kubectl(facts),
                plugin.resource.meta.name,
                plugin.resource.meta.namespace(),
                problem.path
            ),
        };
        findings.push(
            Finding::error(Check::PluginConfig, format!("{}: {}", problem.path, problem.reason))
                .because("running proxies keep the former configuration; one that starts never becomes ready")
                .cure(cure),
        );
    }
    modules::check_build(plugin.resource, &mut notices);
    for problem in notices.warnings() {
        let finding = Finding::warning(Check::PluginConfig, format!("{}: {}", problem.path, problem.reason));
        findings.push(Finding { cure: problem.cure.clone(), ..finding });
    }
}

fn fail_strategy(facts: &Facts, plugin: &Plugin<'_>, findings: &mut Vec<Finding>) {
    if plugin.filter == Filter::MtlsIdentity && plugin.resource.spec.fail_strategy == FailStrategy::FailOpen {
        let mode = plugin.resource.spec.plugin_config.as_ref().and_then(|config| config.get("mode"));
        if mode.is_some_and(|mode| mode == "shadow") {
            let note = Finding::note(Check::FailStrategy, "failStrategy is FAIL_OPEN, as it decides nothing yet");
            findings.push(note.because("without shadow mode it should be FAIL_CLOSE"));
            return;
        }
        findings.push(
            Finding::warning(Check::FailStrategy, "failStrategy is FAIL_OPEN")
                .because("while its module can't be fetched, or has failed, everybody is let in")
                .cure(cures::change_plugin(facts, plugin, &json!({"failStrategy": "FAIL_CLOSE"}))),
        );
    }
}

/// The order in which a request meets the plugins of one workload; proxies that were looked at speak for themselves.
fn order(facts: &Facts, findings: &mut Vec<Finding>) {
    let all: Vec<Plugin<'_>> = facts.plugins().collect();
    for first in &all {
        for second in &all {
            let Some((why, spec)) = super::chain::wrong(first.filter, second.filter) else { continue };
            // `first` comes first, and should not.
            let mut pair = [second.resource, first.resource];
            plugins::sort(&mut pair);
            let is_first = pair.first().is_some_and(|it| std::ptr::eq(*it, first.resource));
            if !is_first || !meet(facts, first, second) {
                continue;
            }
            let mend = if spec.1 == first.filter { first } else { second };
            findings.push(
                Finding::warning(Check::Order, format!("a request meets it after {}", first.id()))
                    .of(second.id())
                    .because(why)
                    .cure(cures::change_plugin(facts, mend, &spec.0)),
            );
        }
    }
}

/// Whether two plugins are for the same workload.
fn meet(facts: &Facts, a: &Plugin<'_>, b: &Plugin<'_>) -> bool {
    let both = |namespace: &str, labels| selects(a, namespace, labels) && selects(b, namespace, labels);
    let pods = facts.pods.iter().flatten().filter(|pod| pod.lives);
    let mut pods = pods.map(|pod| (pod.namespace.as_str(), &pod.labels)).peekable();
    if pods.peek().is_some() {
        return pods.any(|(namespace, labels)| both(namespace, labels));
    }
    // Without pods to try, what each selects must at least not exclude the other.
    let labels = |plugin: &Plugin<'_>| {
        plugin.resource.spec.selector.as_ref().map(|it| it.match_labels.clone()).unwrap_or_default()
    };
    let (mut joined, other) = (labels(a), labels(b));
    joined.extend(other);
    both(b.resource.meta.namespace(), &joined) || both(a.resource.meta.namespace(), &joined)
}
