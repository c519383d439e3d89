//! AuthorizationPolicies, as WasmPlugins with `mtls-identity`.
//!
//! What comes out means the same, or the policy is refused with the reason. Where Tollgate deliberately differs it is
//! stricter, or takes other spellings of a request for the same; each way has a code (see [`Difference`]) and is said.
//!
//! Read against Istio's own translation (`pilot/pkg/security/authz`) and Envoy's RBAC filter, which carries it out.

mod bound;
mod condition;
mod difference;
mod draft;
mod host;
mod identity;
mod network;
mod operation;
mod path;
mod plugin;
mod policy;
mod principal;
mod rule;
mod scope;
mod source;
mod token;
mod when;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

pub use self::difference::{Difference, Effect};
use self::identity::TrustDomains;
use self::plugin::Proxy;
use self::policy::{Policy, Target};
use super::cluster::Cluster;
use super::field::Field;
use super::plugin::{Metadata, Selector, Traffic, WasmPlugin};
use super::report::Report;
use crate::input::Document;
use crate::problem::{Origin, Problem, Problems};

/// What the mesh is like, which no policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The local trust domain, then its aliases; `cluster.local` if there is none.
    pub trust_domains: Vec<String>,
    /// `numTrustedProxies` of the gateways.
    pub trusted_proxies: u8,
}

impl Default for Options {
    fn default() -> Self {
        Self { trust_domains: vec!["cluster.local".to_owned()], trusted_proxies: 0 }
    }
}

/// What policies came to that all apply to one workload.
#[derive(Debug, Clone)]
pub struct Authorization {
    /// The `pluginConfig`; of no use where there are problems.
    pub plugin_config: Value,
    /// In what it deliberately differs from what Istio does with the policies.
    pub differences: BTreeSet<Difference>,
    /// What can't be carried over.
    pub problems: Problems,
}

/// Converts AuthorizationPolicies that all apply to one workload's sidecar, whatever they select.
#[must_use]
pub fn of_one_workload(policies: &[Value], options: &Options) -> Authorization {
    let named = policies.iter().enumerate().map(|(index, value)| {
        let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let resource = format!("AuthorizationPolicy {name}");
        Document { origin: Origin { file: format!("policies[{index}]"), line: None, resource }, value: value.clone() }
    });
    let documents: Vec<Document> = named.collect();
    let mut report = Report::default();
    let policies: Vec<Policy<'_>> =
        documents.iter().filter_map(|document| policy::read(document, &mut report)).collect();
    let trust = trust_domains(&policies, options);
    let namespace = policies.first().map_or("default", |policy| policy.namespace.as_str());
    let all: Vec<&Policy<'_>> = policies.iter().collect();
    let config = plugin::config(&all, namespace, Proxy::Sidecar, &trust, options, &mut report);
    Authorization {
        plugin_config: serde_json::to_value(&config).unwrap_or_default(),
        differences: report.notes.iter().filter_map(|note| note.difference).collect(),
        problems: report.problems,
    }
}

/// Converts all policies that were read; what can't be is in the report, and nothing comes out for the workloads that it
/// is about.
pub(super) fn convert(
    documents: &[&Document],
    cluster: &Cluster,
    options: &Options,
    report: &mut Report,
) -> Vec<(Vec<Origin>, WasmPlugin)> {
    let mut policies = Vec::new();
    let mut refused: Vec<&Document> = Vec::new();
    for document in documents {
        match policy::read(document, report) {
            Some(policy) => policies.push(policy),
            // An external authorizer is asked apart from all other policies, and stays where it is.
            None if is_custom(&document.value) => {}
            None => refused.push(document),
        }
    }
    let trust = trust_domains(&policies, options);
    let mut plugins = Vec::new();
    for plan in scope::plans(&policies, cluster, report) {
        let members: Vec<&Policy<'_>> = plan.policies.iter().filter_map(|index| policies.get(*index)).collect();
        let namespace = plan.namespace.as_deref().unwrap_or("default");
        let before = report.problems.len();
        let config = plugin::config(&members, namespace, plan.proxy, &trust, options, report);
        let is_incomplete = refused.iter().any(|document| members.iter().any(|policy| is_beside(document, policy)));
        if report.problems.len() > before || is_incomplete {
            leave_out(&members, report);
            continue;
        }
        describe(&members, &plan.labels, cluster, report);
        let labels = match members.as_slice() {
            [only] => only.labels.clone(),
            _ => BTreeMap::new(),
        };
        let metadata = Metadata { name: plan.name, namespace: plan.namespace, labels };
        let mut plugin = WasmPlugin::mtls_identity(metadata, traffic(plan.proxy), config);
        plugin.spec.selector =
            Some(Selector { match_labels: plan.labels }).filter(|selector| !selector.match_labels.is_empty());
        plugin.spec.target_refs = plan.target_refs;
        plugins.push((members.iter().map(|policy| policy.origin.clone()).collect(), plugin));
    }
    plugins
}

fn is_custom(value: &Value) -> bool {
    value.pointer("/spec/action").is_some_and(|action| action == "CUSTOM" || action == 3)
}

/// Whether a policy that could not be read selects what another one does.
fn is_beside(document: &Document, policy: &Policy<'_>) -> bool {
    let root = Field::new(&document.value, "");
    let namespace = root.find(&["metadata", "namespace"]).and_then(|field| field.text()).unwrap_or("default");
    let target = |spec: Option<Field<'_>>| {
        let of = |names: &[&str]| spec.as_ref().and_then(|spec| spec.find(names)).map(|field| field.value.clone());
        (of(&["selector", "matchLabels"]), of(&["targetRefs"]), of(&["targetRef"]))
    };
    namespace == policy.namespace && target(root.get("spec")) == target(Some(policy.spec.clone()))
}

/// Says of policies that nothing came of them because another one is refused.
fn leave_out(members: &[&Policy<'_>], report: &mut Report) {
    for policy in members {
        report.turn_to(policy.origin);
        let root = Field::new(&Value::Null, "");
        report.lost(&root, "not converted: another policy for the same workloads is refused, and one without the other would mean something else");
    }
}

/// Says what became of where a policy applies.
fn describe(members: &[&Policy<'_>], labels: &BTreeMap<String, String>, cluster: &Cluster, report: &mut Report) {
    for policy in members {
        report.turn_to(policy.origin);
        let Target::Labels(wanted) = &policy.target else { continue };
        let Some(field) = policy.spec.find(&["selector", "matchLabels"]) else {
            let implied = Field::new(&Value::Null, "spec.selector");
            let what = if labels.is_empty() { "no selector" } else { "spec.selector.matchLabels of each workload" };
            let everywhere = policy.namespace == crate::resources::ROOT_NAMESPACE;
            let whose = if everywhere { "the mesh".to_owned() } else { format!("namespace {}", policy.namespace) };
            report.became_so(&implied, what, format!("applies to every workload of {whose}"));
            continue;
        };
        let what = "spec.selector.matchLabels";
        match cluster.finds(&policy.namespace, wanted) {
            Some(true) => report.became(&field, what),
            Some(false) => {
                let reason = "MATCHES NOTHING: no pod that was read has these labels, so this policy did nothing, and the \
                              WasmPlugin will do nothing until the labels are right";
                report.became_but(&field, what, reason);
            }
            None => report.became_so(
                &field,
                what,
                "no pod of that namespace was read: add the Deployments with -f to see whether the labels find any",
            ),
        }
    }
}

/// Which listeners: what comes to a workload or a waypoint is SERVER, what comes to a gateway CLIENT.
fn traffic(proxy: Proxy) -> Vec<Traffic> {
    let mode = match proxy {
        Proxy::Sidecar | Proxy::Waypoint => "SERVER",
        Proxy::Gateway => "CLIENT",
        Proxy::GatewayOrWaypoint => return Vec::new(),
    };
    vec![Traffic { mode, ports: Vec::new() }]
}

/// The trust domains whose peers count: those of the mesh, and others that policies name.
fn trust_domains(policies: &[Policy<'_>], options: &Options) -> TrustDomains {
    let mut local = options.trust_domains.clone();
    if local.is_empty() {
        local.push("cluster.local".to_owned());
    }
    let mut federated: Vec<String> = Vec::new();
    for policy in policies {
        for name in policy.rules.iter().flat_map(rule::trust_domains) {
            if !local.iter().chain(&federated).any(|known| known == name) {
                federated.push(name.to_owned());
            }
        }
    }
    federated.sort();
    TrustDomains { local, federated }
}

impl Authorization {
    /// Has the filter's own parser read the configuration.
    ///
    /// # Errors
    /// It is refused, which would be a mistake in the conversion.
    pub fn check(&self) -> Result<(), Problem> {
        let config = self.plugin_config.to_string();
        let read = ::mtls_identity::config::Config::parse(config.as_bytes());
        read.map(drop).map_err(|error| Problem::new(format!("pluginConfig: {error}")))
    }
}

#[cfg(test)]
mod tests;
