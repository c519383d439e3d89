//! What else was read beside the resources to convert: pods, which tell whether a selector finds any, services, which
//! tell the pods' ports, and gateways.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::input::Document;
use crate::problem::{Notices, Problems};
use crate::resources::kubernetes::{PodTemplate, TargetPort};
use crate::resources::{ROOT_NAMESPACE, Resource, Resources, is_subset};

/// Kinds that are read for what they tell about the workloads.
const KINDS: [&str; 6] = ["Service", "Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"];

/// Labels that pods of one workload do not share.
const OF_ONE_POD: [&str; 5] = [
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
];

/// Pods and services.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    resources: Resources,
    /// Labels that Istio's Gateways select.
    gateways: Vec<BTreeMap<String, String>>,
    /// Gateways of the Gateway API, by namespace and name: whether they are waypoints.
    is_waypoint: BTreeMap<(String, String), bool>,
}

impl Cluster {
    /// Whether documents of this kind belong to it.
    pub(super) fn takes(document: &Document) -> bool {
        is_gateway(document) || KINDS.contains(&text(&document.value, "/kind"))
    }

    /// Types the documents.
    pub(super) fn new(documents: Vec<Document>) -> Result<Self, Problems> {
        let (gateways, others): (Vec<_>, Vec<_>) = documents.into_iter().partition(is_gateway);
        // What of a Deployment means nothing to a proxy need not be said here.
        let mut unheard = Notices::default();
        let resources = Resources::from_documents(others, &mut unheard)?;
        let mut cluster = Self { resources, ..Self::default() };
        for Document { value, .. } in gateways {
            let labels = value.pointer("/spec/selector").and_then(Value::as_object).into_iter().flatten();
            let labels = labels.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()));
            if text(&value, "/apiVersion").starts_with("networking.istio.io/") {
                cluster.gateways.push(labels.collect());
                continue;
            }
            let namespace = Some(text(&value, "/metadata/namespace")).filter(|text| !text.is_empty());
            let key = (namespace.unwrap_or("default").to_owned(), text(&value, "/metadata/name").to_owned());
            cluster.is_waypoint.insert(key, text(&value, "/spec/gatewayClassName") == "istio-waypoint");
        }
        Ok(cluster)
    }

    /// The workloads of a namespace whose pods have these labels, by namespace and labels; each once.
    pub(super) fn workloads(
        &self,
        namespace: &str,
        selector: &BTreeMap<String, String>,
    ) -> BTreeSet<(String, BTreeMap<String, String>)> {
        let pods = self.pods(namespace).filter(|pod| is_subset(selector, &pod.spec.metadata.labels));
        let of_all = |labels: &BTreeMap<String, String>| {
            let kept = labels.iter().filter(|(key, _)| !OF_ONE_POD.contains(&key.as_str()));
            kept.map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        pods.map(|pod| (pod.meta.namespace().to_owned(), of_all(&pod.spec.metadata.labels))).collect()
    }

    /// Whether pods with these labels are a gateway: one that a Gateway selects, or one by its labels.
    pub(super) fn is_gateway(&self, labels: &BTreeMap<String, String>) -> bool {
        let selects = |gateway: &BTreeMap<String, String>| !gateway.is_empty() && is_subset(gateway, labels);
        Self::names_gateway(labels) || self.gateways.iter().any(selects)
    }

    /// Whether labels are those that Istio's own charts give to gateways.
    pub(super) fn names_gateway(labels: &BTreeMap<String, String>) -> bool {
        let is_named = |key: &str| labels.get(key).is_some_and(|value| value.ends_with("gateway"));
        is_named("istio") || is_named("app") || labels.contains_key("gateway.networking.k8s.io/gateway-name")
    }

    /// Whether the targets of a policy are waypoints: services are served by one, and so is the class.
    pub(super) fn serves_waypoints(&self, namespace: &str, targets: &Value) -> Option<bool> {
        let targets = targets.as_array().map(Vec::as_slice).unwrap_or_default();
        let known = targets.iter().map(|target| match text(target, "/kind") {
            "Gateway" => self.is_waypoint.get(&(namespace.to_owned(), text(target, "/name").to_owned())).copied(),
            "GatewayClass" => Some(text(target, "/name") == "istio-waypoint"),
            _ => Some(true),
        });
        let known: Vec<Option<bool>> = known.collect();
        let first = known.first().copied().flatten();
        first.filter(|_| known.iter().all(|one| *one == first))
    }

    /// Whether a selector finds a pod in the namespace; none when no pod of that namespace was read.
    pub(super) fn finds(&self, namespace: &str, selector: &BTreeMap<String, String>) -> Option<bool> {
        let mut pods = self.pods(namespace).peekable();
        pods.peek()?;
        Some(pods.any(|pod| is_subset(selector, &pod.spec.metadata.labels)))
    }

    /// The labels of the pods of a namespace, for a message.
    pub(super) fn labels(&self, namespace: &str, key: &str) -> Vec<&str> {
        let pods = self.pods(namespace);
        let mut values: Vec<_> = pods.filter_map(|pod| pod.spec.metadata.labels.get(key)).map(String::as_str).collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    /// The pods' port behind a service's port, if all services that it may be agree on it.
    pub(super) fn target_port(&self, namespace: &str, workload: &BTreeMap<String, String>, port: u16) -> Option<u16> {
        let agrees = |selector: &BTreeMap<String, String>| {
            selector.iter().all(|(key, value)| workload.get(key).is_none_or(|other| other == value))
        };
        let mut found = Vec::new();
        for service in self.resources.services.iter().filter(|service| service.meta.namespace() == namespace) {
            if !agrees(&service.spec.selector) {
                continue;
            }
            for candidate in service.spec.ports.iter().filter(|candidate| candidate.port == port) {
                found.push(match &candidate.target_port {
                    None => port,
                    Some(TargetPort::Number(number)) => *number,
                    Some(TargetPort::Name(name)) => self.named_port(namespace, &service.spec.selector, name)?,
                });
            }
        }
        found.dedup();
        match found.as_slice() {
            [one] => Some(*one),
            _ => None,
        }
    }

    /// The pods of a namespace; all of them for the root namespace, whose resources apply everywhere.
    fn pods(&self, namespace: &str) -> impl Iterator<Item = &Resource<PodTemplate>> {
        let is_in = move |of: &str| namespace == ROOT_NAMESPACE || of == namespace;
        self.resources.pods.iter().filter(move |pod| is_in(pod.meta.namespace()))
    }

    fn named_port(&self, namespace: &str, selector: &BTreeMap<String, String>, name: &str) -> Option<u16> {
        let selected = self.pods(namespace).filter(|pod| is_subset(selector, &pod.spec.metadata.labels));
        let mut ports = selected.flat_map(|pod| &pod.spec.spec.containers).flat_map(|container| &container.ports);
        ports.find(|port| port.name.as_deref() == Some(name)).map(|port| port.container_port)
    }
}

/// Istio's Gateway, or the Gateway API's.
fn is_gateway(document: &Document) -> bool {
    let group = text(&document.value, "/apiVersion");
    let of_either = group.starts_with("networking.istio.io/") || group.starts_with("gateway.networking.k8s.io/");
    text(&document.value, "/kind") == "Gateway" && of_either
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
