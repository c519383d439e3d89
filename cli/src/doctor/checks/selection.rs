//! Which proxies a WasmPlugin is for, and which side of them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::doctor::facts::Plugin;
use crate::doctor::proxy::{Direction, Proxy, Role};
use crate::resources::ROOT_NAMESPACE;
use crate::resources::wasm_plugin::TrafficMode;

/// The label by which Gateway API's gateways, waypoints among them, are known.
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// Whether a plugin is for a workload of this namespace and these labels.
pub fn selects(plugin: &Plugin<'_>, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
    let own = plugin.resource.meta.namespace();
    if own != namespace && own != ROOT_NAMESPACE {
        return false;
    }
    match targets(plugin) {
        Some(targets) => {
            let gateway = labels.get(GATEWAY_NAME);
            // A Service's waypoint, or a class of gateways, is not known by a label.
            gateway.is_some() && targets.iter().any(|target| target.is_none() || target.as_ref() == gateway)
        }
        None => plugin.resource.spec.selector.as_ref().is_none_or(|selector| selector.matches(labels)),
    }
}

/// What `targetRefs` names: gateways by their names, and others as none.
pub(super) fn targets(plugin: &Plugin<'_>) -> Option<Vec<Option<String>>> {
    let spec = &plugin.resource.spec;
    let one = spec.target_ref.iter();
    let many = spec.target_refs.iter().filter_map(Value::as_array).flatten();
    let all: Vec<&Value> = one.chain(many).collect();
    if all.is_empty() {
        return None;
    }
    let text = |target: &Value, key: &str| target.get(key).and_then(Value::as_str).map(str::to_owned);
    let named = |target: &&Value| {
        let is_gateway = text(target, "kind").as_deref() == Some("Gateway");
        text(target, "name").filter(|_| is_gateway)
    };
    Some(all.iter().map(named).collect())
}

/// Whether a plugin is for a proxy. All of them are for one of which nobody knows whose it is.
pub(super) fn is_for(plugin: &Plugin<'_>, proxy: &Proxy) -> bool {
    match &proxy.namespace {
        Some(namespace) => {
            // Waypoints have no workload to be selected by.
            let by_selector = proxy.role != Role::Waypoint || targets(plugin).is_some();
            by_selector && selects(plugin, namespace, &proxy.labels)
        }
        None => true,
    }
}

/// Which directions `match` asks for: to the application, and from it.
pub(super) fn sides(plugin: &Plugin<'_>) -> (bool, bool) {
    let traffic = &plugin.resource.spec.traffic;
    let any = |other: TrafficMode| traffic.is_empty() || traffic.iter().any(|one| one.mode != other);
    (any(TrafficMode::Client), any(TrafficMode::Server))
}

/// Whether a proxy has HTTP listeners in the directions that a plugin asks for, and whether any has a port that it does.
pub(super) fn has_place(plugin: &Plugin<'_>, proxy: &Proxy) -> (bool, bool) {
    let (inbound, outbound) = sides(plugin);
    let wanted = proxy.listeners.iter().filter(|listener| match (listener.direction, proxy.role) {
        (_, Role::Other | Role::Waypoint) => true,
        (Direction::Inbound, _) => inbound,
        (Direction::Outbound, _) => outbound,
        // Of a sidecar those for its own metrics and readiness.
        (Direction::Unsaid, _) => false,
    });
    let ports: Vec<Option<u16>> =
        wanted.flat_map(|listener| listener.chains.iter().map(|chain| chain.port.or(listener.port))).collect();
    let traffic = &plugin.resource.spec.traffic;
    let takes = |port: &Option<u16>| {
        let is = |number: u16| port.is_none_or(|port| port == number);
        traffic.is_empty()
            || traffic.iter().any(|one| one.ports.is_empty() || one.ports.iter().any(|wanted| is(wanted.number)))
    };
    (!ports.is_empty(), ports.iter().any(takes))
}
