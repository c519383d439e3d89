//! What the API server has.

use std::collections::BTreeSet;

use serde_json::Value;

use super::kubectl::Kubectl;
use crate::doctor::checks::selects;
use crate::doctor::facts::{Facts, Pod, ProxyState, Source, Wanted};
use crate::input::Document;
use crate::problem::{Notices, Origin, Problem};
use crate::resources::{ROOT_NAMESPACE, Resources};

const PLUGINS: &str = "wasmplugins.extensions.istio.io";
const RULES: [&str; 2] = ["peerauthentications.security.istio.io", "destinationrules.networking.istio.io"];

/// Reads the resources and pods. Without WasmPlugins there is nothing to say; what else can't be read is a gap.
pub(super) async fn read(kubectl: &Kubectl, namespace: Option<&str>, facts: &mut Facts) -> Result<(), Problem> {
    let mut resources = Resources::default();
    let mut gaps = Vec::new();
    for scope in scopes(namespace) {
        match kubectl.list(PLUGINS, scope).await {
            Ok(items) => add(&mut resources, items, &mut gaps),
            // Who may read one namespace alone still learns of that one.
            Err(problem) if namespace.is_some() && scope != namespace => gaps.push(problem),
            Err(problem) => return Err(problem),
        }
    }
    facts.wanted = Some(Wanted { source: Source::Cluster(kubectl.spelled()), resources });
    facts.only = namespace.map(str::to_owned);
    let homes: BTreeSet<String> = facts.plugins().map(|plugin| plugin.resource.meta.namespace().to_owned()).collect();
    if homes.is_empty() {
        facts.gaps = gaps;
        return Ok(());
    }
    // A plugin of the root namespace is for all of them.
    let everywhere = namespace.is_none() && homes.contains(ROOT_NAMESPACE);
    let homes: Vec<Option<String>> = match namespace {
        _ if everywhere => vec![None],
        Some(namespace) => vec![Some(namespace.to_owned())],
        None => homes.into_iter().map(Some).collect(),
    };
    let mut others: Vec<Value> = Vec::new();
    for kind in RULES {
        for scope in scopes(namespace) {
            keep(kubectl.list(kind, scope).await, &mut others, &mut gaps);
        }
    }
    let mut pods = Vec::new();
    let mut saw_pods = true;
    for home in &homes {
        keep(kubectl.list("services", home.as_deref()).await, &mut others, &mut gaps);
        let before = gaps.len();
        keep(kubectl.list("pods", home.as_deref()).await, &mut pods, &mut gaps);
        saw_pods &= gaps.len() == before;
    }
    if let Some(wanted) = &mut facts.wanted {
        add(&mut wanted.resources, others, &mut gaps);
        let living = pods.iter().filter(|item| pod(item).lives).cloned().collect();
        add(&mut wanted.resources, living, &mut gaps);
    }
    facts.pods = saw_pods.then(|| pods.iter().map(pod).collect());
    facts.gaps = gaps;
    Ok(())
}

/// The pods whose proxies have something to say.
pub(super) fn selected(facts: &Facts) -> impl Iterator<Item = &Pod> {
    let pods = facts.pods.iter().flatten().filter(|pod| pod.lives && pod.proxy != ProxyState::None);
    pods.filter(|pod| facts.plugins().any(|plugin| selects(&plugin, &pod.namespace, &pod.labels)))
}

fn scopes(namespace: Option<&str>) -> Vec<Option<&str>> {
    match namespace {
        None => vec![None],
        Some(ROOT_NAMESPACE) => vec![Some(ROOT_NAMESPACE)],
        Some(namespace) => vec![Some(namespace), Some(ROOT_NAMESPACE)],
    }
}

fn keep(read: Result<Vec<Value>, Problem>, items: &mut Vec<Value>, gaps: &mut Vec<Problem>) {
    match read {
        Ok(more) => items.extend(more),
        Err(problem) => gaps.push(problem),
    }
}

/// Types the resources one by one: one that this program can't read leaves the others readable.
pub(in crate::doctor) fn add(resources: &mut Resources, items: Vec<Value>, gaps: &mut Vec<Problem>) {
    for value in items {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let resource = format!("{} {}/{}", text("/kind"), text("/metadata/namespace"), text("/metadata/name"));
        let origin = Origin { file: "the cluster".to_owned(), line: None, resource };
        // What is not carried out elsewhere is no matter here.
        match Resources::from_documents(vec![Document { origin, value }], &mut Notices::default()) {
            Ok(one) => resources.extend(one),
            Err(problems) => gaps.extend(problems),
        }
    }
}

/// What matters of a pod.
pub(in crate::doctor) fn pod(item: &Value) -> Pod {
    let text = |pointer: &str| item.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let lists = |pointers: [&str; 2]| {
        let found = pointers.into_iter().filter_map(|pointer| item.pointer(pointer)?.as_array());
        found.flatten().collect::<Vec<_>>()
    };
    let is_proxy = |container: &&&Value| container.get("name").and_then(Value::as_str) == Some("istio-proxy");
    let containers = lists(["/spec/containers", "/spec/initContainers"]);
    let statuses = lists(["/status/containerStatuses", "/status/initContainerStatuses"]);
    let status = statuses.iter().find(is_proxy);
    let ready = status.and_then(|status| status.get("ready")?.as_bool());
    // A native sidecar runs before its pod does.
    let proxy_runs = status.is_some_and(|status| status.pointer("/state/running").is_some());
    let phase = text("/status/phase");
    let labels = item.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
    Pod {
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
        labels: labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect(),
        lives: (phase == "Running" || phase == "Pending" && proxy_runs)
            && item.pointer("/metadata/deletionTimestamp").is_none(),
        proxy: match (containers.iter().any(|container| is_proxy(&container)), ready) {
            (false, _) => ProxyState::None,
            (true, Some(true)) => ProxyState::Ready,
            (true, _) => ProxyState::NotReady,
        },
    }
}
