//! `match` of a patch: which proxies, listeners and routes. Names that Istio gives to nothing are found out here.

use serde_json::Value;

use super::super::field::Field;
use super::super::report::Report;
use super::Side;
use super::matching::{self, Conditions};
use super::patch::Level;

/// Where a patch applies.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    pub(super) side: Option<Side>,
    pub(super) port: Port,
    pub(super) conditions: Conditions,
    /// Why it applies nowhere.
    pub(super) dead: Option<String>,
}

/// A port, by whose count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Port {
    #[default]
    Any,
    /// The pod's.
    Pod(u16),
    /// The service's.
    Service(u16),
}

const INBOUND_HOST: &str = "inbound|http|";

/// Reads it; none when it can't be carried over.
pub(super) fn read(patch: &Field<'_>, level: Level, namespace: Option<&str>, report: &mut Report) -> Option<Place> {
    let mut place = Place::default();
    let Some(matcher) = patch.get("match") else {
        let implied = Field::new(&Value::Null, format!("{}.match", patch.path));
        report.became_but(&implied, "one WasmPlugin for each direction", NO_CONTEXT);
        return Some(place);
    };
    matcher.only(&["context", "proxy", "listener", "route_configuration", "cluster", "waypoint"], "match", report);
    place.context(&matcher, report);
    if let Some(proxy) = matcher.get("proxy") {
        report.lost(&proxy, "a WasmPlugin applies to all proxies that its selector finds, whatever their version");
    }
    if let Some(cluster) = matcher.get("cluster") {
        report.dropped(&cluster, "means nothing to this kind of patch");
    }
    let refused = report.problems.len();
    if let Some(listener) = matcher.get("listener") {
        if level == Level::Filter {
            place.listener(&listener, report);
        } else {
            report.dropped(&listener, "Istio looks at routeConfiguration for this kind of patch");
        }
    }
    if let Some(routes) = matcher.get("route_configuration") {
        if level == Level::Filter {
            report.lost(&routes, "Istio does not look at it for HTTP_FILTER: the filter is there for all routes");
        } else {
            place.routes(&routes, level, namespace, report);
        }
    }
    (report.problems.len() == refused).then_some(place)
}

const NO_CONTEXT: &str = "no context means every direction: what the workload receives, and what it sends. Delete the \
                          WasmPlugin of the direction that was not meant; a gateway needs the outbound one";

impl Place {
    fn kill(&mut self, reason: impl Into<String>) {
        self.dead.get_or_insert(reason.into());
    }

    fn context(&mut self, matcher: &Field<'_>, report: &mut Report) {
        let context = matcher.get("context");
        let name = context.as_ref().and_then(Field::text).unwrap_or_default();
        self.side = match name {
            "SIDECAR_INBOUND" => Some(Side::Inbound),
            "SIDECAR_OUTBOUND" => Some(Side::Outbound),
            "GATEWAY" => Some(Side::Gateway),
            _ => None,
        };
        let field = context.unwrap_or_else(|| Field::new(&Value::Null, format!("{}.context", matcher.path)));
        match (self.side, name) {
            (Some(side), _) => report.became(&field, format!("match: [{{mode: {}}}]", side.mode())),
            (None, "" | "ANY") => report.became_but(&field, "one WasmPlugin for each direction", NO_CONTEXT),
            (None, other) => {
                let cure =
                    "write SIDECAR_INBOUND, SIDECAR_OUTBOUND or GATEWAY; waypoints take a WasmPlugin's targetRefs";
                report.refuse(&field, format!("{other} is none of the contexts that are converted"), cure);
            }
        }
    }

    fn listener(&mut self, listener: &Field<'_>, report: &mut Report) {
        for (name, member) in listener.members() {
            match name {
                "portNumber" | "port_number" => self.port_number(&member, report),
                "name" if member.text() == Some("virtualInbound") => report.became(&member, "match: [{mode: SERVER}]"),
                "filterChain" | "filter_chain" => self.filter_chain(&member, report),
                _ => report.refuse(&member, "a WasmPlugin can't be bound to it", "choose the listener by portNumber"),
            }
        }
    }

    fn filter_chain(&mut self, chain: &Field<'_>, report: &mut Report) {
        for (name, member) in chain.members() {
            match name {
                "filter" => self.network_filter(&member, report),
                "destinationPort" | "destination_port" => self.port_number(&member, report),
                _ => {
                    let cure = "choose by portNumber, or leave it out: the WasmPlugin applies to all chains of a port";
                    report.refuse(&member, "a WasmPlugin can't be bound to a filter chain", cure);
                }
            }
        }
    }

    fn network_filter(&mut self, filter: &Field<'_>, report: &mut Report) {
        let name = filter.text_of("name");
        if !name.is_empty() && !name.ends_with("http_connection_manager") {
            self.kill(format!("HTTP filters are in envoy.filters.network.http_connection_manager, not in {name}"));
        }
        report.dropped(filter, "a WasmPlugin is always in the chain of HTTP filters; its phase says where");
    }

    fn port_number(&mut self, field: &Field<'_>, report: &mut Report) {
        match field.need_number(report).and_then(|number| u16::try_from(number).ok()) {
            Some(number) => {
                self.port = Port::Pod(number);
                report.became(field, format!("match: [{{ports: [{{number: {number}}}]}}]"));
            }
            None => report.refuse(field, "is no port", "write a number from 1 to 65535"),
        }
    }

    fn routes(&mut self, routes: &Field<'_>, level: Level, namespace: Option<&str>, report: &mut Report) {
        let is_inbound = self.side == Some(Side::Inbound);
        for (name, member) in routes.members() {
            let text = member.text().unwrap_or_default();
            match name {
                "portNumber" | "port_number" => self.port_number(&member, report),
                "vhost" => self.virtual_host(&member, level, namespace, report),
                "name" if is_inbound => match text.strip_prefix("inbound|").and_then(|rest| rest.split('|').next()) {
                    Some(port) if port.parse::<u16>().is_ok() => {
                        self.port = port.parse().map_or(Port::Any, Port::Pod);
                        report.became(&member, format!("match: [{{ports: [{{number: {port}}}]}}]"));
                    }
                    _ => self.nowhere(&member, "a sidecar's inbound routes are named inbound|PORT||", report),
                },
                "name" if text.parse::<u16>().is_ok() => {
                    self.port = text.parse().map_or(Port::Any, Port::Service);
                    report.became(&member, format!("match: [{{ports: [{{number: {text}}}]}}]"));
                }
                _ if is_inbound => report.dropped(&member, "Istio looks at it for gateways only"),
                _ => report.refuse(&member, "a WasmPlugin can't be bound to it", "choose by portNumber or by vhost"),
            }
        }
    }

    /// A name that Istio gives to nothing.
    fn nowhere(&mut self, field: &Field<'_>, names: &str, report: &mut Report) {
        let given = field.text().unwrap_or_default();
        report.lost(field, format!("MATCHES NOTHING: {names}, and none is named {given:?}"));
        self.kill(format!("{names}, and none is named {given:?}, so Istio applied it nowhere"));
    }

    fn virtual_host(&mut self, host: &Field<'_>, level: Level, namespace: Option<&str>, report: &mut Report) {
        for (key, member) in host.members() {
            let name = member.text().unwrap_or_default();
            match key {
                "name" if name.is_empty() => report.dropped(&member, "every virtual host"),
                "name" if self.side == Some(Side::Inbound) => {
                    match name.strip_prefix(INBOUND_HOST).map(str::parse::<u16>) {
                        Some(Ok(port)) => {
                            self.port = Port::Service(port);
                            report.became(&member, format!("the pods' port behind the service's port {port}"));
                        }
                        _ => {
                            let names = "the one virtual host of a sidecar's inbound routes is named \
                                         inbound|http|PORT, PORT being the service's";
                            self.nowhere(&member, names, report);
                        }
                    }
                }
                "name" => self.named_host(&member, name, namespace, report),
                "route" if level == Level::Route => self.route(&member, report),
                "route" => report.dropped(&member, "Istio looks at it for HTTP_ROUTE only"),
                _ => report.refuse(&member, "is not looked at here", "choose the virtual host by its name"),
            }
        }
    }

    fn named_host(&mut self, field: &Field<'_>, name: &str, namespace: Option<&str>, report: &mut Report) {
        let host = matching::without_port(name);
        if host == name {
            return self.nowhere(field, "virtual hosts there are named HOST:PORT", report);
        }
        if host == "*" {
            return report.became_but(field, "every host", "with Envoy only hosts without a virtual host of their own");
        }
        let mut hosts = vec![host.to_owned()];
        if let Some((service, _)) = host.split_once(".svc.").filter(|_| self.side == Some(Side::Outbound)) {
            hosts.extend([format!("{service}.svc"), service.to_owned()]);
            let short = service.split_once('.').filter(|(_, of)| Some(*of) == namespace);
            hosts.extend(short.map(|(short, _)| short.to_owned()));
        }
        report.became_so(field, format!("match: [{{hosts: [{}]}}]", hosts.join(", ")), "on every port");
        self.conditions.matches.hosts = hosts;
    }

    fn route(&mut self, route: &Field<'_>, report: &mut Report) {
        route.only(&["name", "action"], "a route match", report);
        if let Some(name) = route.get("name") {
            match (name.text().unwrap_or_default(), self.side) {
                ("" | "default", _) => report.became(&name, "every route of the virtual host"),
                (_, Some(Side::Inbound)) => {
                    let names = "the one route of a sidecar's inbound virtual host is named default (what a \
                                 VirtualService names is at the caller's side and at gateways)";
                    self.nowhere(&name, names, report);
                }
                (given, _) => report.refuse(
                    &name,
                    format!("is the route {given:?} of a VirtualService, whose conditions are not in here"),
                    "take the patch out, and write a rule with the hosts and paths of that route",
                ),
            }
        }
        if let Some(action) = route.get("action") {
            let kind = action.text().unwrap_or("ANY");
            if self.side == Some(Side::Inbound) && !matches!(kind, "ANY" | "ROUTE") {
                self.kill(format!("a sidecar's inbound side has no route whose action is {kind}"));
            }
            report.dropped(&action, "a filter that limits before the route's action needs no word about it");
        }
    }
}
