//! What is read of Kubernetes' own kinds: labels, service accounts, ports, annotations. The rest of them (images,
//! replicas, probes) means nothing to a proxy.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Metadata;

/// `spec` of a Deployment and its like.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct DeploymentSpec {
    /// The pods that it makes.
    pub template: PodTemplate,
}

/// A pod, or the template of one.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PodTemplate {
    /// Labels and annotations.
    pub metadata: Metadata,
    /// What runs in it.
    pub spec: PodSpec,
}

/// `spec` of a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// Part of the pod's identity; `default` unless given.
    pub service_account_name: Option<String>,
    /// For their ports.
    pub containers: Vec<Container>,
}

/// A container's ports.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Container {
    /// The ports.
    pub ports: Vec<ContainerPort>,
}

/// A port that a container listens on.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// Services may refer to it by name.
    pub name: Option<String>,
    /// The number.
    pub container_port: u16,
    /// TCP unless given.
    pub protocol: Option<String>,
}

/// `spec` of a Service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ServiceSpec {
    /// The pods behind it.
    pub selector: BTreeMap<String, String>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
}

/// One port of a Service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// Says the protocol to Istio by its prefix.
    pub name: Option<String>,
    /// Number on the Service.
    pub port: u16,
    /// Number or name on the pod; as on the Service unless given.
    pub target_port: Option<TargetPort>,
    /// Says the protocol outright.
    pub app_protocol: Option<String>,
    /// TCP unless given.
    pub protocol: Option<String>,
}

/// A pod's port by number or by name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)] // Kubernetes' IntOrString
pub enum TargetPort {
    /// The number.
    Number(u16),
    /// The name of a container port.
    Name(String),
}
