//! Where a filter stands in a proxy: its place in the chain, the side it is on, and what callers must present there.

use serde_json::{Value, json};

use super::Seen;
use crate::doctor::cures;
use crate::doctor::finding::{Check, Finding};
use crate::doctor::proxy::{Chain, Direction, Instance, Listener, Role, Tls};
use crate::mesh::plugins;
use crate::schema::Filter;

/// Why `first` must not come before `second`, and which of them is to be changed to what.
pub(super) fn wrong(first: Filter, second: Filter) -> Option<(&'static str, (Value, Filter))> {
    match (first, second) {
        (Filter::RateLimit | Filter::MtlsIdentity, Filter::RouteMetrics) => Some((
            "what the other turns away is not counted, or by the route `default`",
            (json!({"phase": "AUTHN", "priority": 1000}), Filter::RouteMetrics),
        )),
        (Filter::RateLimit, Filter::MtlsIdentity) => Some((
            "who may not call at all uses up the limit of those who may",
            (json!({"phase": "STATS", "priority": null}), Filter::RateLimit),
        )),
        _ => None,
    }
}

pub(super) fn check(seen: &Seen<'_>, findings: &mut Vec<Finding>) {
    order(seen, findings);
    for (filter, instance) in &seen.ours {
        direction(seen, *filter, instance, findings);
    }
    for instance in seen.of_filter(Filter::MtlsIdentity) {
        certificates(seen, instance, findings);
    }
}

fn order(seen: &Seen<'_>, findings: &mut Vec<Finding>) {
    let chains: Vec<&Chain> = seen.proxy.listeners.iter().flat_map(|listener| &listener.chains).collect();
    for (first_filter, first) in &seen.ours {
        for (second_filter, second) in &seen.ours {
            let Some((why, (spec, changed))) = wrong(*first_filter, *second_filter) else { continue };
            let is_wrong = |chain: &&Chain| {
                let at = |instance: &Instance<'_>| chain.filters.iter().position(|name| name == instance.name);
                at(first).zip(at(second)).is_some_and(|(first, second)| first < second)
            };
            if !chains.iter().copied().any(|chain| is_wrong(&chain)) {
                continue;
            }
            let wanted = (seen.wanted(*first_filter, first), seen.wanted(*second_filter, second));
            if let (Some(a), Some(b)) = &wanted {
                let mut pair = [b.resource, a.resource];
                plugins::sort(&mut pair);
                if pair.first().is_some_and(|it| std::ptr::eq(*it, a.resource)) {
                    // The resources say so, and have been blamed.
                    continue;
                }
            }
            let mend = if changed == *first_filter { first } else { second };
            let finding = Finding::warning(Check::Order, format!("a request meets it after {}", first.label()))
                .of(second.label())
                .at(&seen.proxy.name)
                .because(why);
            let cure = match &mend.plugin {
                Some(id) => cures::patch(seen.facts, "wasmplugin", id, &spec),
                None => format!(
                    "put {} {} in the chain",
                    mend.label(),
                    if changed == *first_filter { "later" } else { "first" }
                ),
            };
            findings.push(finding.cure(cure));
        }
    }
}

fn direction(seen: &Seen<'_>, filter: Filter, instance: &Instance<'_>, findings: &mut Vec<Finding>) {
    // Where the resource is known, it has been blamed.
    if seen.proxy.role != Role::Sidecar || seen.wanted(filter, instance).is_some() {
        return;
    }
    let on = |direction: Direction| instance.listeners.iter().any(|listener| listener.direction == direction);
    if !on(Direction::Outbound) {
        return;
    }
    let why = match filter {
        Filter::RateLimit => "requests that the workload sends use up the same bucket as those that it receives",
        Filter::MtlsIdentity => "without checkOutbound it enforces nothing there",
        Filter::RouteMetrics => "each request is counted twice, where it is sent and where it is received",
    };
    let finding = Finding::warning(Check::Direction, "it is attached to what the workload sends")
        .of(instance.label())
        .at(&seen.proxy.name)
        .because(why);
    let spec = json!({"match": [{"mode": "SERVER"}]});
    let cure = instance.plugin.as_ref().map(|id| cures::patch(seen.facts, "wasmplugin", id, &spec));
    findings.push(Finding { cure, ..finding });
}

/// Chains with the filter that ask nothing of a caller.
fn certificates(seen: &Seen<'_>, instance: &Instance<'_>, findings: &mut Vec<Finding>) {
    let is_open = |listener: &&Listener| {
        listener.direction != Direction::Outbound
            && listener
                .chains
                .iter()
                .any(|chain| chain.tls != Tls::Mutual && chain.filters.iter().any(|name| name == instance.name))
    };
    let open: Vec<String> = seen
        .proxy
        .listeners
        .iter()
        .filter(is_open)
        .map(|listener| listener.port.map_or_else(|| listener.name.clone(), |port| port.to_string()))
        .collect();
    // The tunnel of an ambient mesh ends before a waypoint's chains.
    let has_tls = !matches!(seen.proxy.role, Role::Gateway | Role::Waypoint);
    let config =
        instance.wasm().and_then(|wasm| mtls_identity::config::Config::parse(wasm.configuration.as_bytes()).ok());
    let by_connection =
        config.is_none_or(|config| config.sources.as_slice().contains(&mtls_identity::config::Source::Tls));
    let by_resources = seen.facts.wanted.is_some() && super::mtls::says_so(seen, findings);
    if open.is_empty() || !has_tls || !by_connection || by_resources {
        return;
    }
    let (namespace, _) = seen.proxy.name.split_once('/').unwrap_or(("NAMESPACE", ""));
    findings.push(
        Finding::warning(Check::Mtls, format!("callers without a certificate get in on {}", open.join(", ")))
            .of(instance.label())
            .at(&seen.proxy.name)
            .because("the filter denies them (no_mtls), but whatever is exempt or in shadow mode is open to all")
            .cure(super::mtls::strict(seen.facts, namespace)),
    );
}
