//! Whether callers must present a certificate where identity is checked: PeerAuthentication for what is received,
//! DestinationRule for what callers send.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Seen, some};
use crate::doctor::cures;
use crate::doctor::facts::{Facts, Source};
use crate::doctor::finding::{Check, Finding};
use crate::mesh::plugins::{Side, applies};
use crate::mesh::security;
use crate::mesh::workload::{self, Workload};
use crate::problem::Notices;
use crate::resources::networking::ClientTlsMode;
use crate::resources::security::Mode;
use crate::schema::Filter;

pub(super) fn check(facts: &Facts, findings: &mut Vec<Finding>) {
    let Some(wanted) = &facts.wanted else { return };
    let resources = &wanted.resources;
    let made_up = |workload: &Workload| wanted.source != Source::Files && workload.is_made_up();
    let mut workloads = workload::discover(resources, &[], &mut Notices::default());
    workloads.retain(|workload| !made_up(workload));
    for plugin in facts.plugins().filter(|plugin| plugin.filter == Filter::MtlsIdentity) {
        let mut open: BTreeMap<(&str, String), Vec<String>> = BTreeMap::new();
        let mut plain: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
        for workload in &workloads {
            for port in workload.http_ports() {
                let side = Side::Inbound(port.target);
                if !applies(plugin.resource, &workload.namespace, &workload.labels, side) {
                    continue;
                }
                let (mode, policy) = security::deciding(&resources.peer_authentications, workload, port.target);
                if mode == Mode::Permissive || mode == Mode::Disable {
                    let cure = match policy {
                        Some((policy, path)) => cures::change(facts, "peerauthentication", policy, &at(&path)),
                        None => strict(facts, &workload.namespace),
                    };
                    open.entry((mode.as_str(), cure)).or_default().push(format!("{}:{}", workload.id(), port.target));
                }
                if mode == Mode::Disable {
                    continue;
                }
                let homes = resources.destination_rules.iter().map(|rule| rule.meta.namespace());
                let homes: BTreeSet<&str> = homes.chain([workload.namespace.as_str()]).collect();
                for home in homes {
                    let Some(rule) = security::rule_for(&resources.destination_rules, home, workload) else { continue };
                    let Some(tls) = &rule.spec.traffic_policy.tls else { continue };
                    if !matches!(tls.mode, ClientTlsMode::Disable | ClientTlsMode::Simple) {
                        continue;
                    }
                    let spec = json!({"trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}});
                    let entry = plain.entry(rule.meta.id());
                    let (_, hosts) = entry
                        .or_insert_with(|| (cures::change(facts, "destinationrule", rule, &spec), BTreeSet::new()));
                    hosts.insert(workload.id());
                }
            }
        }
        for ((mode, cure), mut places) in open {
            places.dedup();
            let names: Vec<&str> = places.iter().map(String::as_str).collect();
            let what = format!("mutual TLS is {mode} on {}", some(&names));
            let finding = if mode == Mode::Disable.as_str() {
                Finding::error(Check::Mtls, what)
                    .because("no caller has a certificate: the filter denies every request (no_mtls)")
            } else {
                Finding::warning(Check::Mtls, what).because(
                    "callers without a certificate get in; the filter denies them (no_mtls), but whatever is exempt or in \
                     shadow mode is open to all",
                )
            };
            findings.push(finding.of(plugin.id()).cure(cure));
        }
        for (rule, (cure, hosts)) in plain {
            let names: Vec<&str> = hosts.iter().map(String::as_str).collect();
            findings.push(
                Finding::error(
                    Check::Mtls,
                    format!("DestinationRule {rule} has callers of {} send no certificate", some(&names)),
                )
                .of(plugin.id())
                .because("the filter denies those callers (no_mtls), or STRICT refuses their connections")
                .cure(cure),
            );
        }
    }
}

/// `STRICT` at a path into a PeerAuthentication's spec.
fn at(path: &[&str]) -> Value {
    path.iter().rev().fold(json!({"mode": "STRICT"}), |inner, key| json!({ *key: inner }))
}

/// A PeerAuthentication for a whole namespace.
pub(super) fn strict(facts: &Facts, namespace: &str) -> String {
    let policy = json!({
        // Which every version of Istio takes; v1 is there from 1.22 on.
        "apiVersion": "security.istio.io/v1beta1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": namespace},
        "spec": {"mtls": {"mode": "STRICT"}},
    });
    format!("echo {} | {} apply -f -", cures::quoted(&policy.to_string()), cures::kubectl(facts))
}

/// Whether the resources have been blamed already for what a proxy shows.
pub(super) fn says_so(seen: &Seen<'_>, findings: &[Finding]) -> bool {
    findings.iter().any(|finding| {
        finding.check == Check::Mtls
            && finding.proxy.is_none()
            && seen.ours.iter().any(|(_, instance)| Some(instance.label()) == finding.plugin)
    })
}
