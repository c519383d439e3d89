//! Whether a plugin has reached a proxy: as a Wasm filter, with the right module and the right configuration, taken.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::selection::{has_place, is_for, sides};
use super::{Seen, Taken, some};
use crate::doctor::cures;
use crate::doctor::facts::{Build, Plugin, Source};
use crate::doctor::finding::{Check, Finding};
use crate::doctor::proxy::{Content, Direction, Instance, Listener, Role, Wasm};
use crate::mesh::{plugins, workload};
use crate::problem::Notices;
use crate::resources::kubernetes::ServiceSpec;
use crate::resources::{Resource, is_subset};
use crate::schema::Filter;

pub(super) fn check(seen: &Seen<'_>, findings: &mut Vec<Finding>) {
    let proxy = &seen.proxy.name;
    for plugin in seen.facts.plugins().filter(|plugin| is_for(plugin, seen.proxy)) {
        let is_there = seen.ours.iter().any(|(filter, instance)| {
            // Where nothing names the resource, the filter must do.
            instance.plugin.as_ref().map_or(*filter == plugin.filter, |id| *id == plugin.id())
        });
        if let Some(finding) = taken_for_tcp(seen, &plugin) {
            findings.push(finding.of(plugin.id()).at(proxy));
        } else if !is_there {
            findings.push(missing(seen, &plugin).of(plugin.id()).at(proxy));
        }
    }
    if seen.facts.wanted.is_none() && seen.ours.is_empty() {
        findings.push(
            Finding::error(Check::Delivery, "the proxy has none of Tollgate's filters")
                .at(proxy)
                .because("so nothing is enforced there")
                .cure("kubectl get wasmplugins -A"),
        );
    }
    for (filter, instance) in &seen.ours {
        let mut of_instance = Vec::new();
        match instance.content {
            None => of_instance.push(waiting(seen, instance)),
            Some(Content::Placeholder { denies }) => of_instance.push(placeholder(seen, *filter, instance, *denies)),
            Some(Content::Other) => of_instance.push(
                Finding::error(Check::Module, "another filter has its name")
                    .because("so it is not enforced")
                    .cure(cures::fetch_again(seen.facts, &instance.label())),
            ),
            Some(Content::Wasm(wasm)) => {
                of_instance.extend(unattached(seen, *filter, instance));
                of_instance.extend(digest(seen, *filter, instance, wasm));
                of_instance.extend(stale(seen, *filter, instance, wasm));
                of_instance.extend(refused(seen, *filter, instance, wasm));
            }
        }
        findings.extend(of_instance.into_iter().map(|finding| finding.of(instance.label()).at(proxy)));
        findings.extend(abandoned(seen, instance));
    }
}

fn missing(seen: &Seen<'_>, plugin: &Plugin<'_>) -> Finding {
    let (any, fits) = has_place(plugin, seen.proxy);
    let place = |proxy| is_for(plugin, proxy) && has_place(plugin, proxy).0;
    if !any && seen.proxy.role == Role::Gateway && !seen.facts.proxies.iter().any(place) {
        return Finding::error(Check::Direction, "it is for gateways, and spec.match asks for mode SERVER alone")
            .because("a gateway's listeners count as CLIENT, so it is attached nowhere")
            .cure(cures::change_plugin(seen.facts, plugin, &json!({"match": [{"mode": "CLIENT"}]})));
    }
    if !any {
        return Finding::note(Check::Delivery, "the proxy has no HTTP listener that it could be attached to");
    }
    if !fits {
        return Finding::error(Check::Direction, "the proxy listens on none of the ports that spec.match names")
            .because("on a sidecar's inbound side they are the ports of the container, not those of the Service")
            .cure(cures::change_plugin(seen.facts, plugin, &json!({"match": [{"mode": "SERVER"}]})));
    }
    Finding::error(Check::Delivery, "it has not reached the proxy")
        .because("so it is not enforced there")
        .cure(deliver_again(seen))
}

fn deliver_again(seen: &Seen<'_>) -> String {
    match seen.proxy.name.split_once('/') {
        Some((namespace, pod)) => {
            let restart = format!("{} delete pod {pod} -n {namespace}", cures::kubectl(seen.facts));
            format!("istioctl proxy-status {pod}.{namespace}, and when istiod says SYNCED: {restart}")
        }
        None => "look at the proxy's log for why it has not come".to_owned(),
    }
}

/// The Services whose workload the proxy is beside.
fn services<'a>(seen: &Seen<'a>) -> impl Iterator<Item = &'a Resource<ServiceSpec>> {
    let proxy = seen.proxy;
    let wanted = seen.facts.wanted.iter().flat_map(|wanted| &wanted.resources.services);
    wanted.filter(move |service| {
        Some(service.meta.namespace()) == proxy.namespace.as_deref()
            && !service.spec.selector.is_empty()
            && is_subset(&service.spec.selector, &proxy.labels)
    })
}

/// A sidecar none of whose ports is HTTP to it: istiod goes by the name and the `appProtocol` of a Service's port.
fn taken_for_tcp(seen: &Seen<'_>, plugin: &Plugin<'_>) -> Option<Finding> {
    if seen.proxy.role != Role::Sidecar || !sides(plugin).0 {
        return None;
    }
    let inbound = |listener: &&Listener| listener.active && listener.direction == Direction::Inbound;
    let inbound: Vec<&Listener> = seen.proxy.listeners.iter().filter(inbound).collect();
    if inbound.iter().any(|listener| !listener.http_ports.is_empty()) {
        return None;
    }
    let ports: BTreeSet<u16> = inbound.iter().flat_map(|listener| &listener.tcp_ports).copied().collect();
    let port = *ports.first()?;
    let names: Vec<String> = ports.iter().map(u16::to_string).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let finding =
        Finding::error(Check::Delivery, format!("the proxy takes {} for TCP, and no port for HTTP", some(&names)))
            .because("TCP has no HTTP filters: requests pass without limit, check and count");
    let resources = &seen.facts.wanted.as_ref()?.resources;
    let workloads = workload::discover(resources, &[], &mut Notices::default());
    let found = services(seen).find_map(|service| {
        let workload = workloads.iter().find(|workload| workload.id() == service.meta.id())?;
        let number = workload.ports.iter().find(|it| it.target == port)?.number;
        Some((service, service.spec.ports.iter().position(|it| it.port == number)?))
    });
    Some(finding.cure(match found {
        Some((service, index)) => {
            let patch = json!([{"op": "add", "path": format!("/spec/ports/{index}/appProtocol"), "value": "http"}]);
            let (name, namespace) = (&service.meta.name, service.meta.namespace());
            let patch = cures::quoted(&patch.to_string());
            let kubectl = cures::kubectl(seen.facts);
            format!("{kubectl} patch service {name} -n {namespace} --type=json -p {patch}   # or the port of a Sidecar's ingress")
        }
        None => "name the Service's port http or http-..., or give it appProtocol: http; so too a Sidecar's ingress".to_owned(),
    }))
}

/// Delivered, and in the way of no request.
fn unattached(seen: &Seen<'_>, filter: Filter, instance: &Instance<'_>) -> Option<Finding> {
    if instance.listeners.iter().any(|listener| listener.active) {
        return None;
    }
    // What was removed stays until the last connection has gone.
    if seen.facts.wanted.is_some() && seen.wanted(filter, instance).is_none() {
        return None;
    }
    let what = match instance.listeners.is_empty() {
        true => "it was delivered, and no listener of the proxy has it",
        false => "the listener that has it takes no connections yet",
    };
    Some(Finding::error(Check::Delivery, what).because("so requests pass without it").cure(deliver_again(seen)))
}

fn waiting(seen: &Seen<'_>, instance: &Instance<'_>) -> Finding {
    let idle = instance.listeners.iter().any(|listener| !listener.active);
    let why = if idle {
        "the listener takes no connection until it comes; a proxy that starts waits for ever for a filter that it refuses"
    } else {
        "so it is not enforced there"
    };
    let finding = Finding::error(Check::Delivery, "the proxy waits for it").because(why);
    Finding { cure: cures::log(seen.facts, &seen.proxy.name, "wasm"), ..finding }
}

fn placeholder(seen: &Seen<'_>, filter: Filter, instance: &Instance<'_>, denies: bool) -> Finding {
    let id = instance.label();
    let (what, why) = if denies {
        ("its module could not be fetched: a filter that denies all stands in its place", "every request gets 403")
    } else {
        ("its module could not be fetched: a filter that lets all through stands in its place", "nothing is enforced")
    };
    let mut cure = Vec::new();
    if let Some(log) = cures::log(seen.facts, &seen.proxy.name, "wasm") {
        cure.push(format!("{log}   # says why: url, sha256, pull secret, registry"));
    }
    if let Some(plugin) = seen.wanted(filter, instance) {
        let spec = &plugin.resource.spec;
        let sum = spec.sha256.as_deref().unwrap_or("any digest");
        cure.push(format!("# it asks for {} with {sum}; where that is what is wrong:", spec.url));
        cure.push(format!("tollgate push MODULE.wasm {} --update DIR", spec.url.trim_start_matches("oci://")));
    }
    cure.push(format!("{}   # the agent does not try again by itself", cures::fetch_again(seen.facts, &id)));
    Finding::error(Check::Module, what)
        .because(format!("{why}, and nothing in the Kubernetes API says so"))
        .cure(cure.join("\n"))
}

/// Whether the module is the one that the resource, or the user, names.
fn digest(seen: &Seen<'_>, filter: Filter, instance: &Instance<'_>, wasm: &Wasm) -> Option<Finding> {
    let builds: Vec<&Build> = seen.facts.modules.iter().filter(|build| build.filter == Some(filter)).collect();
    let plugin = seen.wanted(filter, instance);
    let spec = plugin.as_ref().map(|plugin| &plugin.resource.spec);
    let (found, of_file) = match (wasm.agents_digest(), wasm.file_sha256.as_deref()) {
        (Some(digest), _) => (digest, false),
        (None, Some(digest)) => (digest, true),
        (None, None) => {
            return (!builds.is_empty()).then(|| {
                let file = wasm.file.as_deref().unwrap_or("no file");
                Finding::note(Check::Digest, format!("the module's digest is unknown: the proxy only says {file}"))
            });
        }
    };
    let found = found.to_ascii_lowercase();
    if !builds.is_empty() {
        let is_one = builds.iter().any(|build| build.module == found || build.images.contains(&found));
        if is_one {
            return None;
        }
        let names: Vec<&str> = builds.iter().map(|build| build.path.as_str()).collect();
        let reference = spec.map_or("REGISTRY/REPOSITORY:TAG", |spec| spec.url.trim_start_matches("oci://"));
        return Some(
            Finding::error(
                Check::Digest,
                format!("the proxy runs a module of digest {found}, which is not {}", names.join(" or ")),
            )
            .because(
                "another version, or another program, decides about requests; an image with annotations of your \
                          own has another digest too",
            )
            .cure(format!(
                "tollgate push {} {reference} --update DIR && {} apply -k DIR",
                names.join(" "),
                cures::kubectl(seen.facts)
            )),
        );
    }
    let spec = spec?;
    let in_url = spec.url.split_once("@sha256:").map(|(_, digest)| digest);
    let wanted = spec.sha256.as_deref().filter(|sum| !sum.is_empty()).or(in_url)?;
    // A file here is not an image, whose digest is another.
    if (of_file && spec.url.starts_with("oci://")) || wanted.eq_ignore_ascii_case(&found) {
        return None;
    }
    Some(
        Finding::error(Check::Digest, format!("the proxy runs a module of digest {found}, spec.sha256 is {wanted}"))
            .because("the new module has not reached the proxy")
            .cure(cures::fetch_again(seen.facts, &instance.label())),
    )
}

/// Whether the proxy was sent another configuration than the resource has.
fn stale(seen: &Seen<'_>, filter: Filter, instance: &Instance<'_>, wasm: &Wasm) -> Option<Finding> {
    let plugin = seen.wanted(filter, instance)?;
    let wanted = plugins::handed_over(plugin.resource);
    let sent: Value = serde_json::from_str(&wasm.configuration).unwrap_or(Value::Null);
    if wanted == sent || (is_empty(&wanted) && is_empty(&sent)) {
        return None;
    }
    let cure = match seen.facts.wanted.as_ref().map(|wanted| &wanted.source) {
        Some(Source::Files) => format!("kubectl apply -f {}", plugin.origin().file),
        _ => "istioctl proxy-status   # then, if istiod is in sync and this stays, restart the pod".to_owned(),
    };
    Some(
        Finding::error(
            Check::Configuration,
            format!("the proxy has another pluginConfig: {}", difference(&wanted, &sent)),
        )
        .because("what the resource says is not what decides")
        .cure(cure),
    )
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty)
}

/// The first place in which two configurations differ.
fn difference(wanted: &Value, sent: &Value) -> String {
    let path = first_difference(wanted, sent, String::new());
    let of = |value: &Value| {
        let found = value.pointer(&path).map_or_else(|| "nothing".to_owned(), ToString::to_string);
        if found.chars().count() > 60 { format!("{}...", found.chars().take(60).collect::<String>()) } else { found }
    };
    let place = if path.is_empty() { "as a whole".to_owned() } else { path.trim_start_matches('/').replace('/', ".") };
    format!("{place} is {} there, {} in the resource", of(sent), of(wanted))
}

fn first_difference(a: &Value, b: &Value, path: String) -> String {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let mut keys = x.keys().chain(y.keys());
            let differing = keys.find(|key| x.get(*key) != y.get(*key));
            let Some(key) = differing else { return path };
            let next = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
            first_difference(x.get(key).unwrap_or(&Value::Null), y.get(key).unwrap_or(&Value::Null), next)
        }
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => match x.iter().zip(y).position(|(x, y)| x != y) {
            Some(at) => {
                let of = |list: &[Value]| list.get(at).cloned().unwrap_or(Value::Null);
                first_difference(&of(x), &of(y), format!("{path}/{at}"))
            }
            None => path,
        },
        _ => path,
    }
}

/// Whether the filter took what the proxy has for it. Envoy lists what it was sent last, refused or not.
fn refused(seen: &Seen<'_>, filter: Filter, instance: &Instance<'_>, wasm: &Wasm) -> Option<Finding> {
    let now = seen.proxy.looks.now();
    let taken = Taken::of(seen.proxy, filter);
    let sent = tollgate::stats::config_hash(wasm.configuration.as_bytes());
    if taken.has(&sent) {
        return None;
    }
    if now.mangled().is_some() && taken.ever.is_empty() {
        // Which is said on its own.
        return Some(Finding::note(
            Check::InForce,
            "whether its configuration is in force is unknown without stats tags",
        ));
    }
    let reason = match plugins::read(filter, wasm.configuration.as_bytes()) {
        Err(error) => format!(": {}: {}", plugins::in_resource(&error.path), error.reason),
        Ok(_) => String::new(),
    };
    let cure = match (reason.is_empty(), instance.plugin.as_deref().and_then(|id| id.split_once('/'))) {
        (false, Some((namespace, name))) => Some(format!(
            "{} edit wasmplugin {name} -n {namespace}   # and before the next time: tollgate validate -f DIR",
            cures::kubectl(seen.facts)
        )),
        (false, None) => {
            Some("mend the configuration; tollgate validate -f DIR says what is wrong before it is pushed".to_owned())
        }
        (true, _) => cures::log(seen.facts, &seen.proxy.name, "wasm"),
    };
    let (what, why) = match taken.now.as_slice() {
        [] => (
            format!("no configuration of it is in force{reason}"),
            "a proxy that starts waits for ever for a filter that refuses its configuration, and is never ready",
        ),
        [former, ..] => (
            format!("it refused the configuration {sent} and goes by the former, {former}{reason}"),
            "the former rules decide, and the next proxy that starts will not become ready",
        ),
    };
    let finding = Finding::error(Check::InForce, what).because(why);
    Some(Finding { cure, ..finding })
}

/// A plugin that no resource asks for any more.
fn abandoned(seen: &Seen<'_>, instance: &Instance<'_>) -> Option<Finding> {
    let wanted = seen.facts.wanted.as_ref()?;
    let id = instance.plugin.as_ref()?;
    if wanted.resources.wasm_plugins.iter().any(|plugin| plugin.meta.id() == *id) {
        return None;
    }
    let what = "the proxy has it, and no resource that was read asks for it";
    Some(
        Finding::note(Check::Delivery, what)
            .of(id)
            .at(&seen.proxy.name)
            .because("it was deleted just now, or is of a namespace or a file that was not read"),
    )
}
