//! The workloads of the mesh: what Services and Deployments say about names, labels, identities and ports.

use std::collections::{BTreeMap, BTreeSet};

use crate::problem::{Notices, Origin};
use crate::resources::kubernetes::{PodTemplate, ServicePort, TargetPort};
use crate::resources::{Resource, Resources, is_subset};

/// The trust domain of the simulated mesh, and the domain of its services' names.
pub const TRUST_DOMAIN: &str = "cluster.local";

/// A service account, the identity that certificates are made out to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ServiceAccount {
    /// A service account.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The SPIFFE ID that Istio gives it.
    pub fn spiffe_id(&self) -> String {
        format!("spiffe://{TRUST_DOMAIN}/ns/{}/sa/{}", self.namespace, self.name)
    }
}

/// A service with the pods behind it, which are taken to be alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Its namespace.
    pub namespace: String,
    /// The Service's name, or the Deployment's where it has no Service.
    pub name: String,
    /// The pods' labels.
    pub labels: BTreeMap<String, String>,
    /// The pods' annotations.
    pub annotations: BTreeMap<String, String>,
    /// The pods' service account.
    pub service_account: String,
    /// Its ports.
    pub ports: Vec<Port>,
}

/// One port of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Number on the Service.
    pub number: u16,
    /// Number on the pod.
    pub target: u16,
    /// The Service's name for it.
    pub name: String,
    /// What is spoken there.
    pub protocol: Protocol,
}

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 towards the application.
    Http,
    /// HTTP/2 towards the application.
    Http2,
    /// Anything that is not HTTP.
    Tcp,
}

impl Workload {
    /// `namespace/name`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The name by which the mesh knows its service.
    pub fn host(&self) -> String {
        format!("{}.{}.svc.{TRUST_DOMAIN}", self.name, self.namespace)
    }

    /// Who it is.
    pub fn identity(&self) -> ServiceAccount {
        ServiceAccount::new(&self.namespace, &self.service_account)
    }

    /// Whether no resource declares it, and others only speak of it.
    pub fn is_made_up(&self) -> bool {
        self.annotations.contains_key(MADE_UP)
    }

    /// Its ports that speak HTTP.
    pub fn http_ports(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter().filter(|port| port.protocol != Protocol::Tcp)
    }
}

/// A name's service, when it can be one of this mesh: `name` in `namespace`, or `name.ns.svc.cluster.local`.
pub fn resolve(host: &str, namespace: &str) -> Option<(String, String)> {
    let valid = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if !host.contains('.') {
        return valid(host).then(|| (namespace.to_owned(), host.to_owned()));
    }
    let service = host.strip_suffix(TRUST_DOMAIN)?.strip_suffix(".svc.")?;
    let (name, namespace) = service.split_once('.')?;
    (valid(name) && valid(namespace)).then(|| (namespace.to_owned(), name.to_owned()))
}

/// The workloads that Services and pods make, and those that are only spoken of.
pub fn discover(resources: &Resources, upstreams: &[String], notices: &mut Notices) -> Vec<Workload> {
    let mut workloads = Vec::new();
    let mut used = BTreeSet::new();
    for service in &resources.services {
        let namespace = service.meta.namespace();
        let pods: Vec<&Resource<PodTemplate>> = resources
            .pods
            .iter()
            .filter(|pod| {
                pod.meta.namespace() == namespace
                    && !service.spec.selector.is_empty()
                    && is_subset(&service.spec.selector, &pod.spec.metadata.labels)
            })
            .collect();
        used.extend(pods.iter().map(|pod| pod.origin.resource.clone()));
        if let [first, _, ..] = pods.as_slice() {
            let others = pods.len().saturating_sub(1);
            notices.note(format!(
                "{}: selects {} and {others} more: simulated as one workload like the first",
                service.origin, first.origin.resource
            ));
        }
        if service.spec.selector.is_empty() {
            notices.warn(format!("{}: has no selector, so no workload is behind it", service.origin));
            continue;
        }
        workloads.push(of_service(service, pods.first().copied(), notices));
    }
    for pod in resources.pods.iter().filter(|pod| !used.contains(&pod.origin.resource)) {
        workloads.push(of_pod(pod));
    }
    add_spoken_of(&mut workloads, resources, upstreams, notices);
    let tcp = workloads.iter().flat_map(|workload| {
        let ports = workload.ports.iter().filter(|port| port.protocol == Protocol::Tcp);
        ports.map(|port| format!("{}:{}", workload.id(), port.number))
    });
    let tcp: Vec<String> = tcp.collect();
    if !tcp.is_empty() {
        notices.note(format!("TCP gets no HTTP filters and is left out: {}", tcp.join(", ")));
    }
    workloads
}

fn of_service(
    service: &Resource<crate::resources::kubernetes::ServiceSpec>,
    pod: Option<&Resource<PodTemplate>>,
    notices: &mut Notices,
) -> Workload {
    if pod.is_none() {
        notices.note(format!(
            "{}: no Deployment or Pod matches its selector; simulated with the selector as labels and the service \
             account {}",
            service.origin, service.meta.name
        ));
    }
    let template = pod.map(|pod| &pod.spec);
    let mut ports = Vec::new();
    for port in &service.spec.ports {
        if port.protocol.as_deref().is_some_and(|protocol| protocol != "TCP") {
            notices.note(format!("{}: port {} is not TCP and left alone", service.origin, port.port));
            continue;
        }
        ports.push(Port {
            number: port.port,
            target: target_port(port, template, &service.origin, notices),
            name: port.name.clone().unwrap_or_default(),
            protocol: protocol(port.app_protocol.as_deref(), port.name.as_deref(), port.port),
        });
    }
    let labels = template.map_or_else(|| service.spec.selector.clone(), |template| template.metadata.labels.clone());
    let service_account = match template {
        Some(template) => account(template),
        None => service.meta.name.clone(),
    };
    Workload {
        namespace: service.meta.namespace().to_owned(),
        name: service.meta.name.clone(),
        labels,
        annotations: template.map(|template| template.metadata.annotations.clone()).unwrap_or_default(),
        service_account,
        ports,
    }
}

fn of_pod(pod: &Resource<PodTemplate>) -> Workload {
    let container_ports = pod.spec.spec.containers.iter().flat_map(|container| &container.ports);
    let ports = container_ports
        .filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"))
        .map(|port| Port {
            number: port.container_port,
            target: port.container_port,
            name: port.name.clone().unwrap_or_default(),
            protocol: protocol(None, port.name.as_deref(), port.container_port),
        })
        .collect();
    Workload {
        namespace: pod.meta.namespace().to_owned(),
        name: pod.meta.name.clone(),
        labels: pod.spec.metadata.labels.clone(),
        annotations: pod.spec.metadata.annotations.clone(),
        service_account: account(&pod.spec),
        ports,
    }
}

fn account(template: &PodTemplate) -> String {
    template.spec.service_account_name.clone().unwrap_or_else(|| "default".into())
}

fn target_port(port: &ServicePort, pod: Option<&PodTemplate>, origin: &Origin, notices: &mut Notices) -> u16 {
    match &port.target_port {
        None => port.port,
        Some(TargetPort::Number(number)) => *number,
        Some(TargetPort::Name(name)) => {
            let named = pod
                .into_iter()
                .flat_map(|pod| &pod.spec.containers)
                .flat_map(|container| &container.ports)
                .find(|candidate| candidate.name.as_deref() == Some(name));
            if named.is_none() {
                notices.warn_at(
                    origin,
                    "spec.ports[].targetPort",
                    format!("no container has a port named {name}; taken for {}", port.port),
                );
            }
            named.map_or(port.port, |port| port.container_port)
        }
    }
}

/// The protocol as Istio tells it: from appProtocol, else the name's first part, else a well-known number. Where
/// Istio would look at the first bytes, HTTP is assumed.
fn protocol(app_protocol: Option<&str>, name: Option<&str>, number: u16) -> Protocol {
    let declared = app_protocol.or(name).unwrap_or_default().to_ascii_lowercase();
    if declared.starts_with("grpc-web") {
        return Protocol::Http;
    }
    let first = if app_protocol.is_some() { declared.as_str() } else { declared.split('-').next().unwrap_or_default() };
    match first {
        "http" => Protocol::Http,
        "grpc" | "http2" | "kubernetes.io/h2c" => Protocol::Http2,
        "tcp" | "tls" | "https" | "redis" | "mysql" | "mongo" | "postgres" | "postgresql" | "amqp" | "kafka" => {
            Protocol::Tcp
        }
        _ if [3306, 5432, 5672, 6379, 9092, 27017].contains(&number) => Protocol::Tcp,
        _ => Protocol::Http,
    }
}

/// Makes workloads of services that a resource names and no Service declares, so that the mesh's own resources can be
/// tried without the application's.
fn add_spoken_of(workloads: &mut Vec<Workload>, resources: &Resources, upstreams: &[String], notices: &mut Notices) {
    let mut wanted: Vec<(String, String, u16, String)> = Vec::new();
    for service in &resources.virtual_services {
        for destination in service.spec.http.iter().flat_map(|http| &http.route).map(|route| &route.destination) {
            if let Some((namespace, name)) = resolve(&destination.host, service.meta.namespace()) {
                let port = destination.port.map_or(80, |port| port.number);
                wanted.push((namespace, name, port, service.origin.resource.clone()));
            }
        }
    }
    for rule in &resources.destination_rules {
        if let Some((namespace, name)) = resolve(&rule.spec.host, rule.meta.namespace()) {
            wanted.push((namespace, name, 80, rule.origin.resource.clone()));
        }
    }
    let home = workloads.first().map(|workload| workload.namespace.clone());
    let home = home.or_else(|| wanted.first().map(|(namespace, ..)| namespace.clone()));
    for host in upstreams {
        let (namespace, name) = upstream_service(host, home.as_deref().unwrap_or("default"));
        let there = workloads.iter().any(|w| w.name == name && (w.namespace == namespace || !host.contains('.')));
        if !there && !wanted.iter().any(|(_, wanted, ..)| *wanted == name) {
            wanted.push((namespace, name, 80, format!("--upstream {host}")));
        }
    }
    for (namespace, name, port, by) in wanted {
        if let Some(workload) = workloads.iter_mut().find(|w| w.namespace == namespace && w.name == name) {
            let made_up = workload.annotations.contains_key(MADE_UP);
            if made_up && !workload.ports.iter().any(|known| known.number == port) && port != 80 {
                workload.ports.push(spoken_of_port(&name, port));
            }
            continue;
        }
        let port_made = spoken_of_port(&name, port);
        let spoken = if port_made.protocol == Protocol::Tcp { "TCP" } else { "HTTP" };
        notices.note(format!(
            "{namespace}/{name} has no Service here: made up for {by}, with the label app={name}, the service account \
             {name} and {spoken} port {port}"
        ));
        workloads.push(Workload {
            labels: BTreeMap::from([("app".to_owned(), name.clone())]),
            annotations: BTreeMap::from([(MADE_UP.to_owned(), by)]),
            service_account: name.clone(),
            ports: vec![port_made],
            namespace,
            name,
        });
    }
}

/// Marks workloads that no resource declares.
const MADE_UP: &str = "tollgate.dev/made-up-for";

fn spoken_of_port(name: &str, port: u16) -> Port {
    Port { number: port, target: port, name: String::new(), protocol: protocol(None, Some(name), port) }
}

/// `name`, `name.namespace` or the full name, as `--upstream` takes them.
pub fn upstream_service(host: &str, home: &str) -> (String, String) {
    match host.split_once('.') {
        None => (home.to_owned(), host.to_owned()),
        Some((name, rest)) => (rest.split('.').next().unwrap_or(home).to_owned(), name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_belong_to_the_resources_namespace() {
        assert_eq!(resolve("users", "prod"), Some(("prod".into(), "users".into())));
        assert_eq!(resolve("users.other.svc.cluster.local", "prod"), Some(("other".into(), "users".into())));
        assert_eq!(resolve("*.prod.svc.cluster.local", "prod"), None);
        assert_eq!(resolve("example.com", "prod"), None);
        assert_eq!(resolve("*", "prod"), None);
    }

    #[test]
    fn protocols_are_told_from_app_protocol_name_and_number() {
        assert_eq!(protocol(Some("tcp"), Some("http"), 80), Protocol::Tcp);
        assert_eq!(protocol(None, Some("grpc-users"), 9000), Protocol::Http2);
        assert_eq!(protocol(None, Some("grpc-web"), 9000), Protocol::Http);
        assert_eq!(protocol(None, Some("redis"), 80), Protocol::Tcp);
        assert_eq!(protocol(None, None, 5432), Protocol::Tcp);
        assert_eq!(protocol(None, None, 8080), Protocol::Http);
    }

    #[test]
    fn a_named_service_without_a_declaration_is_made_up_and_said_so() {
        let mut resources = Resources::default();
        resources.destination_rules.push(Resource {
            origin: Origin { file: "f".into(), line: None, resource: "DestinationRule prod/users".into() },
            meta: crate::resources::Metadata {
                name: "users".into(),
                namespace: Some("prod".into()),
                ..Default::default()
            },
            spec: serde_json::from_value(serde_json::json!({"host": "users"})).unwrap(),
        });
        let mut notices = Notices::default();
        let workloads = discover(&resources, &["blog=x".split('=').next().unwrap().to_owned()], &mut notices);
        let ids: Vec<String> = workloads.iter().map(Workload::id).collect();
        assert_eq!(ids, ["prod/users", "prod/blog"]);
        assert_eq!(workloads[0].identity().spiffe_id(), "spiffe://cluster.local/ns/prod/sa/users");
        assert_eq!(notices.iter().count(), 2);
    }
}
