//! The gateways: their ports, the hosts that VirtualServices bind there, and where these lead.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::plugins::{self, Placed, Plugin, Side};
use super::workload::{ServiceAccount, resolve};
use super::{Inbound, default_gateway_identity, security};
use crate::problem::{Notices, Origin};
use crate::resources::networking::{
    ClientTlsMode, DestinationRuleSpec, GatewaySpec, HttpRoute, RouteDestination, Server, VirtualServiceSpec,
};
use crate::resources::{Resource, Resources, is_subset};

/// One port of a gateway.
#[derive(Debug, Clone)]
pub struct GatewayListener {
    /// Who it is towards the workloads.
    pub identity: ServiceAccount,
    /// The Gateway resource that made it, `namespace/name`.
    pub gateway: String,
    /// The port that it would have.
    pub port: u16,
    /// What it demands of callers.
    pub tls: GatewayTls,
    /// Whether plain HTTP is answered with a redirect.
    pub https_redirect: bool,
    /// Its HTTP filters, in order.
    pub plugins: Vec<Arc<Plugin>>,
    /// Routes by domain.
    pub hosts: BTreeMap<String, Vec<BoundRoute>>,
    /// How each workload that it routes to is reached.
    pub clusters: BTreeMap<String, ClientTlsMode>,
}

/// TLS of a gateway's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayTls {
    /// Plaintext.
    None,
    /// The gateway's certificate.
    Simple,
    /// And one of the mesh's from the caller.
    Mutual,
}

impl GatewayTls {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "plaintext",
            Self::Simple => "SIMPLE",
            Self::Mutual => "MUTUAL",
        }
    }
}

/// A route of a VirtualService with its destinations found.
#[derive(Debug, Clone)]
pub struct BoundRoute {
    /// Where the VirtualService came from.
    pub origin: Origin,
    /// `spec.http[i]`.
    pub path: String,
    /// The path under which Istio names it in the route's metadata.
    pub config_path: String,
    /// The route itself.
    pub route: HttpRoute,
    /// Keys of the inbound listeners, with weights; none where the host is no workload of this mesh.
    pub destinations: Vec<(Option<String>, u32)>,
}

impl GatewayListener {
    /// `gateway namespace/name:port`.
    pub fn key(&self) -> String {
        format!("gateway {}:{}", self.gateway, self.port)
    }
}

/// The listeners of all gateways.
pub fn listeners(
    resources: &Resources,
    placed: &[Placed],
    inbound: &[Inbound],
    notices: &mut Notices,
) -> Vec<GatewayListener> {
    let mut listeners: Vec<GatewayListener> = Vec::new();
    for gateway in &resources.gateways {
        let (identity, labels) = proxy_of(gateway, resources, notices);
        for (index, server) in gateway.spec.servers.iter().enumerate() {
            let path = format!("spec.servers[{index}]");
            let Some(tls) = tls_of(server, &gateway.origin, &path, notices) else { continue };
            let hosts = bind(gateway, server, resources, inbound, notices);
            let same = |known: &&mut GatewayListener| {
                known.port == server.port.number && known.identity == identity && known.tls == tls
            };
            if let Some(known) = listeners.iter_mut().find(same) {
                for (domain, routes) in hosts {
                    known.hosts.entry(domain).or_default().extend(routes);
                }
                continue;
            }
            listeners.push(GatewayListener {
                plugins: plugins::chain(placed, &identity.namespace, &labels, Side::Gateway(server.port.number)),
                identity: identity.clone(),
                gateway: gateway.meta.id(),
                port: server.port.number,
                tls,
                https_redirect: server.tls.as_ref().is_some_and(|tls| tls.https_redirect) && tls == GatewayTls::None,
                hosts,
                clusters: BTreeMap::new(),
            });
        }
    }
    for listener in &mut listeners {
        listener.clusters = clusters(listener, &resources.destination_rules, inbound, notices);
        if listener.hosts.is_empty() {
            notices.note(format!("no VirtualService is bound to {}: it answers 404", listener.key()));
        }
    }
    for service in &resources.virtual_services {
        warn_of_unbound(service, resources, notices);
    }
    listeners
}

/// The proxy that carries a Gateway: the pods that its selector names, or one as Istio installs it.
fn proxy_of(
    gateway: &Resource<GatewaySpec>,
    resources: &Resources,
    notices: &mut Notices,
) -> (ServiceAccount, BTreeMap<String, String>) {
    let selector = &gateway.spec.selector;
    let pod = resources.pods.iter().find(|pod| !selector.is_empty() && is_subset(selector, &pod.spec.metadata.labels));
    if let Some(pod) = pod {
        let account = pod.spec.spec.service_account_name.as_deref().unwrap_or("default");
        return (ServiceAccount::new(pod.meta.namespace(), account), pod.spec.metadata.labels.clone());
    }
    let identity = default_gateway_identity();
    notices.note(format!(
        "{}: no pod here matches its selector; simulated as a gateway that Istio installs, {}",
        gateway.origin,
        identity.spiffe_id()
    ));
    (identity, selector.clone())
}

fn tls_of(server: &Server, origin: &Origin, path: &str, notices: &mut Notices) -> Option<GatewayTls> {
    let protocol = server.port.protocol.to_ascii_uppercase();
    if !["HTTP", "HTTPS", "HTTP2", "GRPC", "GRPC-WEB"].contains(&protocol.as_str()) {
        notices.warn_at(origin, &format!("{path}.port.protocol"), format!("{protocol} is not carried out"));
        return None;
    }
    let Some(tls) = server.tls.as_ref().filter(|tls| !tls.mode.is_empty()) else {
        if protocol == "HTTPS" {
            notices.warn_at(origin, &format!("{path}.tls"), "HTTPS without a TLS mode is not carried out");
            return None;
        }
        return Some(GatewayTls::None);
    };
    let mode = match tls.mode.as_str() {
        "SIMPLE" => GatewayTls::Simple,
        "MUTUAL" | "ISTIO_MUTUAL" => GatewayTls::Mutual,
        other => {
            notices.warn_at(origin, &format!("{path}.tls.mode"), format!("{other} is not carried out"));
            return None;
        }
    };
    let secret = tls.credential_name.as_deref().map_or(String::new(), |name| format!(" in place of {name}"));
    notices.warn_at(origin, &format!("{path}.tls"), format!("served with a certificate of the mesh's CA{secret}"));
    Some(mode)
}

/// The VirtualServices bound to one server of a gateway, oldest first, by domain.
fn bind(
    gateway: &Resource<GatewaySpec>,
    server: &Server,
    resources: &Resources,
    inbound: &[Inbound],
    notices: &mut Notices,
) -> BTreeMap<String, Vec<BoundRoute>> {
    let mut services: Vec<&Resource<VirtualServiceSpec>> =
        resources.virtual_services.iter().filter(|service| is_bound(service, gateway)).collect();
    services.sort_by(|a, b| a.meta.age().cmp(&b.meta.age()));
    let mut domains: BTreeMap<String, Vec<BoundRoute>> = BTreeMap::new();
    for service in services {
        let routes: Vec<BoundRoute> = service
            .spec
            .http
            .iter()
            .enumerate()
            .map(|(index, route)| BoundRoute {
                origin: service.origin.clone(),
                path: format!("spec.http[{index}]"),
                config_path: format!(
                    "/apis/networking.istio.io/v1/namespaces/{}/virtual-service/{}",
                    service.meta.namespace(),
                    service.meta.name
                ),
                route: route.clone(),
                destinations: destinations(route, index, service, inbound, notices),
            })
            .collect();
        for host in &service.spec.hosts {
            for domain in server.hosts.iter().filter_map(|served| common_domain(served, gateway, host, service)) {
                domains.entry(domain).or_default().extend(routes.iter().cloned());
            }
        }
    }
    domains
}

fn is_bound(service: &Resource<VirtualServiceSpec>, gateway: &Resource<GatewaySpec>) -> bool {
    service.spec.gateways.iter().any(|name| match name.split_once('/') {
        Some(_) => *name == gateway.meta.id(),
        None => *name == gateway.meta.name && service.meta.namespace() == gateway.meta.namespace(),
    })
}

/// The narrower of what the server serves and what the service asks for, if they meet.
fn common_domain(
    served: &str,
    gateway: &Resource<GatewaySpec>,
    asked: &str,
    service: &Resource<VirtualServiceSpec>,
) -> Option<String> {
    let served = match served.split_once('/') {
        Some(("*", host)) => host,
        Some((".", host)) if service.meta.namespace() == gateway.meta.namespace() => host,
        Some((namespace, host)) if namespace == service.meta.namespace() => host,
        Some(_) => return None,
        None => served,
    };
    if covers(served, asked) {
        Some(asked.to_owned())
    } else if covers(asked, served) {
        Some(served.to_owned())
    } else {
        None
    }
}

fn covers(wide: &str, narrow: &str) -> bool {
    wide == narrow || wide.strip_prefix('*').is_some_and(|suffix| narrow.ends_with(suffix))
}

fn destinations(
    route: &HttpRoute,
    index: usize,
    service: &Resource<VirtualServiceSpec>,
    inbound: &[Inbound],
    notices: &mut Notices,
) -> Vec<(Option<String>, u32)> {
    let alone = route.route.len() == 1;
    let found = route.route.iter().enumerate().map(|(position, to)| {
        let key = find(to, service.meta.namespace(), inbound);
        if key.is_none() {
            let path = format!("spec.http[{index}].route[{position}].destination");
            let host = &to.destination.host;
            let port = to.destination.port.map_or(String::new(), |port| format!(" with port {}", port.number));
            notices.warn_at(
                &service.origin,
                &path,
                format!("{host} is no HTTP service of this mesh{port}: requests to it get 503"),
            );
        }
        // Istio: a single destination gets everything, and beside others one without a weight gets nothing.
        (key, to.weight.unwrap_or(if alone { 100 } else { 0 }))
    });
    found.collect()
}

fn find(to: &RouteDestination, namespace: &str, inbound: &[Inbound]) -> Option<String> {
    let (namespace, name) = resolve(&to.destination.host, namespace)?;
    let mut candidates =
        inbound.iter().filter(|inbound| inbound.workload.namespace == namespace && inbound.workload.name == name);
    let found = match to.destination.port {
        None => candidates.next(),
        Some(wanted) => candidates.find(|inbound| {
            let ports = &inbound.workload.ports;
            ports.iter().any(|port| port.number == wanted.number && port.target == inbound.port.target)
        }),
    };
    found.map(Inbound::key)
}

fn clusters(
    listener: &GatewayListener,
    rules: &[Resource<DestinationRuleSpec>],
    inbound: &[Inbound],
    notices: &mut Notices,
) -> BTreeMap<String, ClientTlsMode> {
    let keys = listener.hosts.values().flatten().flat_map(|route| &route.destinations);
    let mut clusters = BTreeMap::new();
    for key in keys.filter_map(|(key, _)| key.as_ref()) {
        if let Some(to) = inbound.iter().find(|inbound| inbound.key() == *key) {
            let tls = security::outbound_tls(rules, &listener.identity.namespace, &to.workload, to.mode, notices);
            clusters.insert(key.clone(), tls);
        }
    }
    clusters
}

fn warn_of_unbound(service: &Resource<VirtualServiceSpec>, resources: &Resources, notices: &mut Notices) {
    let mesh = service.spec.gateways.is_empty() || service.spec.gateways.iter().any(|gateway| gateway == "mesh");
    if mesh {
        notices.warn_at(
            &service.origin,
            "spec.gateways",
            "routes for sidecars' outbound side (mesh) are not carried out: only gateways' are",
        );
    }
    for name in service.spec.gateways.iter().filter(|name| *name != "mesh") {
        let known = resources.gateways.iter().any(|gateway| {
            let id = if name.contains('/') { name.clone() } else { format!("{}/{name}", service.meta.namespace()) };
            gateway.meta.id() == id
        });
        if !known {
            notices.warn_at(&service.origin, "spec.gateways", format!("there is no Gateway {name} here"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_as_narrow_as_the_narrower_side() {
        assert!(covers("*", "a.example.com"));
        assert!(covers("*.example.com", "a.example.com"));
        assert!(!covers("*.example.com", "example.com"));
        assert!(!covers("a.example.com", "*"));
    }
}
