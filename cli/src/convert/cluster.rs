//! What else was read beside the resources to convert: pods, which tell whether a selector finds any, and services,
//! which tell the pods' ports.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::input::Document;
use crate::problem::{Notices, Problems};
use crate::resources::kubernetes::{PodTemplate, TargetPort};
use crate::resources::{ROOT_NAMESPACE, Resource, Resources, is_subset};

/// Kinds that are read for what they tell about the workloads.
const KINDS: [&str; 6] = ["Service", "Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"];

/// Pods and services.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    resources: Resources,
}

impl Cluster {
    /// Whether documents of this kind belong to it.
    pub(super) fn takes(document: &Document) -> bool {
        document.value.get("kind").and_then(Value::as_str).is_some_and(|kind| KINDS.contains(&kind))
    }

    /// Types the documents.
    pub(super) fn new(documents: Vec<Document>) -> Result<Self, Problems> {
        // What of a Deployment means nothing to a proxy need not be said here.
        let mut unheard = Notices::default();
        Ok(Self { resources: Resources::from_documents(documents, &mut unheard)? })
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
