//! The resources that are carried out, typed; every field that is not is named, never dropped in silence.

pub mod kubernetes;
pub mod networking;
pub mod security;
pub mod wasm_plugin;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::input::Document;
use crate::problem::{Notices, Origin, Problem, Problems};
use kubernetes::{PodTemplate, ServiceSpec};
use networking::{DestinationRuleSpec, GatewaySpec, VirtualServiceSpec};
use security::PeerAuthenticationSpec;
use wasm_plugin::WasmPluginSpec;

/// The namespace whose resources apply to the whole mesh, and in which its gateways run.
pub const ROOT_NAMESPACE: &str = "istio-system";

/// What resources that compete are ordered by: those with a time first, then time, name, namespace.
pub type Age<'a> = (bool, Option<&'a str>, &'a str, &'a str);

/// The part of `metadata` that means something here.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// The resource's name.
    pub name: String,
    /// Its namespace, `default` unless given.
    pub namespace: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Orders resources that are otherwise equal; files mostly have none.
    pub creation_timestamp: Option<String>,
}

impl Metadata {
    /// The namespace, with Kubernetes' default.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }

    /// `namespace/name`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace(), self.name)
    }

    /// Oldest first, then by name: the order in which Istio takes resources that compete.
    pub fn age(&self) -> Age<'_> {
        let created = self.creation_timestamp.as_deref();
        (created.is_none(), created, &self.name, self.namespace())
    }
}

/// One resource.
#[derive(Debug, Clone)]
pub struct Resource<S> {
    /// Where it came from.
    pub origin: Origin,
    /// Name, namespace, labels.
    pub meta: Metadata,
    /// Its `spec`.
    pub spec: S,
}

/// All resources that are carried out.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    /// `WasmPlugin`.
    pub wasm_plugins: Vec<Resource<WasmPluginSpec>>,
    /// `PeerAuthentication`.
    pub peer_authentications: Vec<Resource<PeerAuthenticationSpec>>,
    /// `DestinationRule`.
    pub destination_rules: Vec<Resource<DestinationRuleSpec>>,
    /// Istio's `Gateway`.
    pub gateways: Vec<Resource<GatewaySpec>>,
    /// `VirtualService`.
    pub virtual_services: Vec<Resource<VirtualServiceSpec>>,
    /// `Service`.
    pub services: Vec<Resource<ServiceSpec>>,
    /// `Deployment`, `StatefulSet`, `DaemonSet`, `ReplicaSet` and `Pod`, as the pods that they make.
    pub pods: Vec<Resource<PodTemplate>>,
    /// `ServiceAccount`s, which get certificates of their own.
    pub service_accounts: Vec<Metadata>,
}

/// Kinds that have nothing to do with what a proxy does to a request.
const WITHOUT_EFFECT: [&str; 26] = [
    "AlertmanagerConfig",
    "ClusterRole",
    "ClusterRoleBinding",
    "Component",
    "ConfigMap",
    "CustomResourceDefinition",
    "HorizontalPodAutoscaler",
    "Kustomization",
    "LimitRange",
    "Namespace",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "PodDisruptionBudget",
    "PodMonitor",
    "PriorityClass",
    "PrometheusRule",
    "ResourceQuota",
    "Role",
    "RoleBinding",
    "ScrapeConfig",
    "Secret",
    "ServiceMonitor",
    "StorageClass",
    "AppProject",
    "Application",
    "ApplicationSet",
];

impl Resources {
    /// Types the documents; warns of the kinds and fields that are not carried out.
    pub fn from_documents(documents: Vec<Document>, notices: &mut Notices) -> Result<Self, Problems> {
        let mut resources = Self::default();
        let mut problems = Vec::new();
        for document in documents {
            if let Err(problem) = resources.add(document, notices) {
                problems.push(problem);
            }
        }
        problems.extend(resources.duplicates());
        if problems.is_empty() { Ok(resources) } else { Err(problems) }
    }

    /// Takes over others.
    pub fn extend(&mut self, others: Self) {
        self.wasm_plugins.extend(others.wasm_plugins);
        self.peer_authentications.extend(others.peer_authentications);
        self.destination_rules.extend(others.destination_rules);
        self.gateways.extend(others.gateways);
        self.virtual_services.extend(others.virtual_services);
        self.services.extend(others.services);
        self.pods.extend(others.pods);
        self.service_accounts.extend(others.service_accounts);
    }

    fn add(&mut self, document: Document, notices: &mut Notices) -> Result<(), Problem> {
        let Document { origin, value } = document;
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, api_version) = (text("kind"), text("apiVersion"));
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        let meta: Metadata = match value.get("metadata") {
            Some(metadata) => untracked(metadata.clone(), &origin, "metadata")?,
            None => Metadata::default(),
        };
        let named = || {
            if meta.name.is_empty() {
                return Err(Problem::at(&origin, "metadata.name", "is missing"));
            }
            for (path, name) in [("metadata.name", meta.name.as_str()), ("metadata.namespace", meta.namespace())] {
                if !is_kubernetes_name(name) {
                    return Err(Problem::at(&origin, path, format!("{name:?} is not a name that Kubernetes takes")));
                }
            }
            Ok(())
        };
        match (group, kind.as_str()) {
            ("extensions.istio.io", "WasmPlugin") => {
                named()?;
                let spec = tracked(value, &origin, notices)?;
                self.wasm_plugins.push(Resource { origin, meta, spec });
            }
            ("security.istio.io", "PeerAuthentication") => {
                named()?;
                let spec = tracked(value, &origin, notices)?;
                self.peer_authentications.push(Resource { origin, meta, spec });
            }
            ("networking.istio.io", "DestinationRule") => {
                named()?;
                let spec = tracked(value, &origin, notices)?;
                self.destination_rules.push(Resource { origin, meta, spec });
            }
            ("networking.istio.io", "Gateway") => {
                named()?;
                let spec = tracked(value, &origin, notices)?;
                self.gateways.push(Resource { origin, meta, spec });
            }
            ("networking.istio.io", "VirtualService") => {
                named()?;
                let spec = tracked(value, &origin, notices)?;
                self.virtual_services.push(Resource { origin, meta, spec });
            }
            ("", "Service") => {
                named()?;
                let spec = untracked(spec_of(value), &origin, "spec")?;
                self.services.push(Resource { origin, meta, spec });
            }
            ("", "Pod") => {
                named()?;
                let spec = untracked(spec_of(value), &origin, "spec")?;
                let template = PodTemplate { metadata: meta.clone(), spec };
                self.pods.push(Resource { origin, meta, spec: template });
            }
            ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") => {
                named()?;
                let spec: kubernetes::DeploymentSpec = untracked(spec_of(value), &origin, "spec")?;
                self.pods.push(Resource { origin, meta, spec: spec.template });
            }
            ("", "ServiceAccount") => self.service_accounts.push(meta),
            (_, known) if WITHOUT_EFFECT.contains(&known) => {}
            _ => notices.warn(format!("{origin}: {api_version} {kind} is not carried out")),
        }
        Ok(())
    }

    fn duplicates(&self) -> Problems {
        let mut seen: BTreeMap<String, &Origin> = BTreeMap::new();
        let mut problems = Vec::new();
        let all = (self.wasm_plugins.iter().map(|r| ("WasmPlugin", &r.meta, &r.origin)))
            .chain(self.peer_authentications.iter().map(|r| ("PeerAuthentication", &r.meta, &r.origin)))
            .chain(self.destination_rules.iter().map(|r| ("DestinationRule", &r.meta, &r.origin)))
            .chain(self.gateways.iter().map(|r| ("Gateway", &r.meta, &r.origin)))
            .chain(self.virtual_services.iter().map(|r| ("VirtualService", &r.meta, &r.origin)))
            .chain(self.services.iter().map(|r| ("Service", &r.meta, &r.origin)));
        for (kind, meta, origin) in all {
            if let Some(first) = seen.insert(format!("{kind} {}", meta.id()), origin) {
                problems.push(Problem::at(origin, "", format!("is there twice: also in {}", first.file)));
            }
        }
        problems
    }
}

fn spec_of(mut value: Value) -> Value {
    match value.get_mut("spec").map(Value::take) {
        None | Some(Value::Null) => Value::Object(serde_json::Map::new()),
        Some(spec) => spec,
    }
}

/// Reads `spec` and warns of whatever is not read, there and beside it.
fn tracked<T: DeserializeOwned>(value: Value, origin: &Origin, notices: &mut Notices) -> Result<T, Problem> {
    if let Some(object) = value.as_object() {
        for key in object.keys() {
            if !["apiVersion", "kind", "metadata", "spec", "status"].contains(&key.as_str()) {
                notices.warn_at(origin, key, "is not a field of this kind, and not carried out");
            }
        }
    }
    let mut track = serde_path_to_error::Track::new();
    let deserializer = serde_path_to_error::Deserializer::new(spec_of(value), &mut track);
    let mut ignored = Vec::new();
    let result: Result<T, serde_json::Error> =
        serde_ignored::deserialize(deserializer, |path| ignored.push(path_of(&path)));
    let spec = result.map_err(|error| Problem::at(origin, join("spec", &track.path()), error.to_string()))?;
    for path in ignored {
        notices.warn_at(origin, &format!("spec{path}"), "is not carried out");
    }
    Ok(spec)
}

/// Reads the few fields that matter of a kind that is not Istio's.
fn untracked<T: DeserializeOwned>(value: Value, origin: &Origin, root: &str) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| Problem::at(origin, join(root, error.path()), error.into_inner().to_string()))
}

fn join(root: &str, path: &serde_path_to_error::Path) -> String {
    let path = path.to_string();
    if path == "." {
        root.to_owned()
    } else if path.starts_with('[') {
        format!("{root}{path}")
    } else {
        format!("{root}.{path}")
    }
}

fn path_of(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", path_of(parent)),
        Path::Map { parent, key } => format!("{}.{key}", path_of(parent)),
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => path_of(parent),
    }
}

/// Whether this can be a name in Kubernetes: lowercase letters, digits, `-` and `.` inside.
pub fn is_kubernetes_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    let outer = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = name.as_bytes();
    bytes.len() <= 253 && bytes.iter().copied().all(inner) && outer(bytes.first()) && outer(bytes.last())
}

/// A selector of labels: `{matchLabels: {...}}`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSelector {
    /// All of these must be there.
    pub match_labels: BTreeMap<String, String>,
}

impl WorkloadSelector {
    /// Whether `labels` has all of them. An empty selector matches everything.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        is_subset(&self.match_labels, labels)
    }
}

/// Whether `labels` has everything that `wanted` asks for.
pub fn is_subset(wanted: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: Value) -> (Result<Resources, Problems>, Vec<String>) {
        let mut notices = Notices::default();
        let resource = format!("{} {}", value["kind"].as_str().unwrap(), value["metadata"]["name"].as_str().unwrap());
        let origin = Origin { file: "f.yaml".into(), line: None, resource };
        let resources = Resources::from_documents(vec![Document { origin, value }], &mut notices);
        (resources, notices.iter().map(|notice| notice.text.clone()).collect())
    }

    #[test]
    fn fields_that_are_not_carried_out_are_named_with_their_path() {
        let (resources, notices) = read(serde_json::json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "v"},
            "spec": {"hosts": ["*"], "http": [{"mirror": {"host": "x"}, "route": [{"destination": {"host": "a"}}]}]},
        }));
        assert_eq!(resources.unwrap().virtual_services.len(), 1);
        assert_eq!(notices, ["f.yaml: VirtualService v: spec.http[0].mirror: is not carried out"]);
    }

    #[test]
    fn a_wrong_value_is_named_with_its_path() {
        let (resources, _) = read(serde_json::json!({
            "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {"name": "p"},
            "spec": {"mtls": {"mode": "STRIKT"}},
        }));
        let problem = resources.unwrap_err().remove(0).to_string();
        assert!(
            problem.starts_with("f.yaml: PeerAuthentication p: spec.mtls.mode: unknown variant `STRIKT`"),
            "{problem}"
        );
    }

    #[test]
    fn kinds_that_are_not_carried_out_are_named() {
        let (_, notices) = read(serde_json::json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "g"},
        }));
        assert_eq!(notices, ["f.yaml: Gateway g: gateway.networking.k8s.io/v1 Gateway is not carried out"]);
        let (_, notices) =
            read(serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}));
        assert!(notices.is_empty());
    }
}
