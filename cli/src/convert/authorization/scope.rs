//! Which policies make one WasmPlugin, and where that goes.
//!
//! To Istio a workload has the union of all policies that select it: its own, its namespace's, the mesh's. WasmPlugins
//! are not united: several at one workload all run, and all must allow. That is the same as long as no more than one of
//! them has ALLOW policies. Where two have, they are told apart by the pods that were read, and each workload gets one
//! WasmPlugin with all that applies to it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::cluster::Cluster;
use super::super::report::Report;
use super::difference::Difference;
use super::plugin::Proxy;
use super::policy::{Policy, Target};
use crate::resources::{ROOT_NAMESPACE, is_kubernetes_name, is_subset};

/// One WasmPlugin to be.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// The policies, by index.
    pub(super) policies: Vec<usize>,
    pub(super) name: String,
    /// None where none was given.
    pub(super) namespace: Option<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) target_refs: Option<Value>,
    pub(super) proxy: Proxy,
}

/// Policies with the same target.
struct Scope<'a> {
    namespace: &'a str,
    target: &'a Target,
    policies: Vec<usize>,
    /// Whether it turns away what nobody has allowed.
    allows: bool,
}

impl Scope<'_> {
    /// What has to be told apart by workload, and what need not be: a denial of a whole namespace stays one, so that it is
    /// for workloads that come later too.
    fn split(&self, policies: &[Policy<'_>]) -> (Self, Self) {
        let is_wide = *self.target == Target::Labels(BTreeMap::new());
        let allows = |index: &usize| policies.get(*index).is_some_and(Policy::allows);
        let (allowing, apart) = self.policies.iter().partition(|index| !is_wide || allows(index));
        let with = |policies, allows| Scope { namespace: self.namespace, target: self.target, policies, allows };
        (with(allowing, self.allows), with(apart, false))
    }
}

/// Whether two scopes select the same pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overlap {
    No,
    /// As far as labels tell.
    Maybe,
    /// Every pod of one is one of the other.
    Contained,
    /// A pod that was read is in both.
    Seen,
}

/// Puts policies together. What can't be is in the report, and in no plan.
pub(super) fn plans(policies: &[Policy<'_>], cluster: &Cluster, report: &mut Report) -> Vec<Plan> {
    let scopes = scopes(policies);
    let mut united: Vec<usize> = (0..scopes.len()).collect();
    let mut is_refused = vec![false; scopes.len()];
    for (index, scope) in scopes.iter().enumerate() {
        for (earlier, other) in scopes.iter().enumerate().take(index) {
            if !(scope.allows && other.allows) {
                continue;
            }
            match overlap(scope, other, cluster) {
                Overlap::No => {}
                Overlap::Maybe => several(scope, other, policies, report),
                Overlap::Seen => unite(&mut united, index, earlier),
                Overlap::Contained => {
                    refuse(scope, other, policies, report);
                    for refused in [index, earlier] {
                        if let Some(refused) = is_refused.get_mut(refused) {
                            *refused = true;
                        }
                    }
                }
            }
        }
    }
    let mut plans = Vec::new();
    for index in 0..scopes.len() {
        let group = united.get(index).copied().unwrap_or(index);
        let members: Vec<&Scope<'_>> =
            scopes.iter().zip(&united).filter(|(_, of)| **of == group).map(|(scope, _)| scope).collect();
        let is_first = united.iter().position(|of| *of == group) == Some(index);
        if is_refused.get(index).copied().unwrap_or_default() || !is_first {
            continue;
        }
        if let [only] = members.as_slice() {
            plans.extend(own(only, policies, cluster, report));
            continue;
        }
        let (allowing, apart): (Vec<_>, Vec<_>) = members.iter().map(|scope| scope.split(policies)).unzip();
        plans.extend(by_workload(&allowing, policies, cluster, report));
        for scope in apart.iter().filter(|scope| !scope.policies.is_empty()) {
            plans.extend(own(scope, policies, cluster, report));
        }
    }
    name(&mut plans, policies);
    plans
}

fn scopes<'a>(policies: &'a [Policy<'_>]) -> Vec<Scope<'a>> {
    let mut scopes: Vec<Scope<'a>> = Vec::new();
    for (index, policy) in policies.iter().enumerate() {
        let allows = policy.allows();
        let same = |scope: &&mut Scope<'_>| scope.namespace == policy.namespace && *scope.target == policy.target;
        match scopes.iter_mut().find(same) {
            Some(scope) => {
                scope.policies.push(index);
                scope.allows |= allows;
            }
            None => scopes.push(Scope {
                namespace: &policy.namespace,
                target: &policy.target,
                policies: vec![index],
                allows,
            }),
        }
    }
    scopes
}

fn overlap(these: &Scope<'_>, those: &Scope<'_>, cluster: &Cluster) -> Overlap {
    let (this, that) = match (these.target, those.target) {
        (Target::Labels(this), Target::Labels(that)) => (this, that),
        (Target::References(this), Target::References(that)) => {
            let shared = [this, that].map(|list| list.as_array().map(Vec::as_slice).unwrap_or_default());
            let [this, that] = shared;
            let same = these.namespace == those.namespace && this.iter().any(|one| that.contains(one));
            let is_mesh_wide =
                [this, that].into_iter().flatten().any(|one| one.get("kind") == Some(&"GatewayClass".into()));
            return if same || is_mesh_wide { Overlap::Maybe } else { Overlap::No };
        }
        // A gateway of the Gateway API has both, a waypoint never labels, a sidecar never references.
        (Target::References(_), Target::Labels(labels)) | (Target::Labels(labels), Target::References(_)) => {
            return if Cluster::names_gateway(labels) { Overlap::Maybe } else { Overlap::No };
        }
    };
    let wide = |namespace: &str| namespace == ROOT_NAMESPACE;
    if these.namespace != those.namespace && !wide(these.namespace) && !wide(those.namespace) {
        return Overlap::No;
    }
    if this.iter().any(|(key, value)| that.get(key).is_some_and(|other| other != value)) {
        return Overlap::No;
    }
    let narrower = if wide(these.namespace) { those.namespace } else { these.namespace };
    let mut both = this.clone();
    both.extend(that.clone());
    match cluster.finds(narrower, &both) {
        Some(true) => Overlap::Seen,
        Some(false) => Overlap::No,
        None if is_subset(this, that) || is_subset(that, this) => Overlap::Contained,
        None => Overlap::Maybe,
    }
}

fn unite(united: &mut [usize], one: usize, other: usize) {
    let of = |index: usize, united: &[usize]| united.get(index).copied().unwrap_or(index);
    let (from, to) = (of(one, united), of(other, united));
    for group in united.iter_mut().filter(|group| **group == from) {
        *group = to;
    }
}

fn several(scope: &Scope<'_>, other: &Scope<'_>, policies: &[Policy<'_>], report: &mut Report) {
    for (of, with) in [(scope, other), (other, scope)] {
        for policy in of.policies.iter().filter_map(|index| policies.get(*index)) {
            report.turn_to(policy.origin);
            let others = names_of(with, policies);
            let how = format!(
                "a pod that this policy and {others} select gets both WasmPlugins, and both must allow; add the \
                 Deployments with -f to see whether there is one, and to have one WasmPlugin for it"
            );
            report.differs(&policy.spec, Difference::SeveralPlugins, how);
        }
    }
}

fn refuse(scope: &Scope<'_>, other: &Scope<'_>, policies: &[Policy<'_>], report: &mut Report) {
    for (of, with) in [(scope, other), (other, scope)] {
        for policy in of.policies.iter().filter_map(|index| policies.get(*index)) {
            report.turn_to(policy.origin);
            let others = names_of(with, policies);
            let reason = format!(
                "is for pods that {others} is for too: Istio allows what any of them allows, and of two WasmPlugins both \
                 would have to allow"
            );
            let cure = "add the Deployments, StatefulSets and DaemonSets with -f, so that each workload gets one WasmPlugin \
                        with all that applies to it";
            report.refuse(&policy.spec, reason, cure);
        }
    }
}

fn names_of(scope: &Scope<'_>, policies: &[Policy<'_>]) -> String {
    let policies = scope.policies.iter().filter_map(|index| policies.get(*index));
    policies.map(|policy| format!("{}/{}", policy.namespace, policy.name)).collect::<Vec<_>>().join(", ")
}

/// The WasmPlugin of a scope; and one more for each gateway that was read in it, whose listeners are of another kind.
fn own(scope: &Scope<'_>, policies: &[Policy<'_>], cluster: &Cluster, report: &mut Report) -> Vec<Plan> {
    let plan = |labels: &BTreeMap<String, String>, target_refs: Option<Value>, proxy: Proxy| Plan {
        policies: scope.policies.clone(),
        name: String::new(),
        namespace: scope.policies.first().and_then(|index| policies.get(*index)).and_then(Policy::given_namespace),
        labels: labels.clone(),
        target_refs,
        proxy,
    };
    let labels = match scope.target {
        Target::References(references) => {
            let proxy = match cluster.serves_waypoints(scope.namespace, references) {
                Some(true) => Proxy::Waypoint,
                Some(false) => Proxy::Gateway,
                None => Proxy::GatewayOrWaypoint,
            };
            return vec![plan(&BTreeMap::new(), Some(references.clone()), proxy)];
        }
        Target::Labels(labels) => labels,
    };
    if !labels.is_empty() && cluster.is_gateway(labels) {
        return vec![plan(labels, None, Proxy::Gateway)];
    }
    let mut plans = vec![plan(labels, None, Proxy::Sidecar)];
    let gateways: Vec<_> = cluster
        .workloads(scope.namespace, labels)
        .into_iter()
        .filter(|(_, labels)| cluster.is_gateway(labels))
        .collect();
    if gateways.is_empty() && labels.is_empty() {
        for policy in scope.policies.iter().filter_map(|index| policies.get(*index)) {
            report.turn_to(policy.origin);
            let how = "is for the whole mesh, and this WasmPlugin is for sidecars alone: add the Deployments of the gateways \
                       with -f to get one for each of them";
            match scope.namespace == ROOT_NAMESPACE {
                true => report.differs(&policy.spec, Difference::Gateways, how),
                false if cluster.finds(scope.namespace, labels).is_none() => {
                    report.announce(&policy.spec, Difference::Gateways);
                }
                false => {}
            }
        }
    }
    for (namespace, labels) in gateways {
        plans.push(Plan { namespace: Some(namespace), ..plan(&labels, None, Proxy::Gateway) });
    }
    plans
}

/// One WasmPlugin for each workload that any of the scopes selects.
fn by_workload(scopes: &[Scope<'_>], all: &[Policy<'_>], cluster: &Cluster, report: &mut Report) -> Vec<Plan> {
    let mut plans: Vec<Plan> = Vec::new();
    let mut workloads = BTreeSet::new();
    for scope in scopes {
        if let Target::Labels(labels) = scope.target {
            workloads.extend(cluster.workloads(scope.namespace, labels));
        }
    }
    let applied = |namespace: &str, pod: &BTreeMap<String, String>| -> Vec<&Scope<'_>> {
        let applies = |scope: &&Scope<'_>| {
            let here = scope.namespace == ROOT_NAMESPACE || scope.namespace == namespace;
            here && matches!(scope.target, Target::Labels(labels) if is_subset(labels, pod))
        };
        scopes.iter().filter(applies).collect()
    };
    for (namespace, pod) in &workloads {
        let of_pod = applied(namespace, pod);
        let policies: Vec<usize> = of_pod.iter().flat_map(|scope| scope.policies.iter().copied()).collect();
        let proxy = if cluster.is_gateway(pod) { Proxy::Gateway } else { Proxy::Sidecar };
        // As short as it can be: other workloads to which the same applies may share it.
        let mut labels: BTreeMap<String, String> = BTreeMap::new();
        for scope in &of_pod {
            if let Target::Labels(wanted) = scope.target {
                labels.extend(wanted.clone());
            }
        }
        let is_theirs = |labels: &BTreeMap<String, String>| {
            let others = workloads.iter().filter(|(of, other)| of == namespace && is_subset(labels, other));
            let mut same = others.map(|(_, other)| {
                let theirs: Vec<usize> =
                    applied(namespace, other).iter().flat_map(|scope| scope.policies.iter().copied()).collect();
                theirs == policies && cluster.is_gateway(other) == (proxy == Proxy::Gateway)
            });
            same.all(|same| same)
        };
        if labels.is_empty() || !is_theirs(&labels) {
            labels = pod.clone();
        }
        if !is_theirs(&labels) {
            refuse_indistinct(namespace, &labels, &of_pod, all, report);
            continue;
        }
        let plan = Plan {
            policies,
            name: String::new(),
            namespace: Some(namespace.clone()),
            labels,
            target_refs: None,
            proxy,
        };
        let same = |other: &Plan| {
            (&other.namespace, &other.labels, &other.policies) == (&plan.namespace, &plan.labels, &plan.policies)
        };
        if !plans.iter().any(same) {
            plans.push(plan);
        }
    }
    for scope in scopes {
        let has_own = |plan: &Plan| {
            let same = matches!(scope.target, Target::Labels(labels) if *labels == plan.labels);
            same && plan.namespace.as_deref() == Some(scope.namespace)
        };
        if plans.iter().any(has_own) {
            continue;
        }
        for policy in scope.policies.iter().filter_map(|index| all.get(*index)) {
            report.turn_to(policy.origin);
            report.differs(&policy.spec, Difference::LaterWorkloads, Difference::LaterWorkloads.reason());
        }
    }
    plans
}

/// A workload whose labels another one has too, to which other policies apply.
fn refuse_indistinct(
    namespace: &str,
    labels: &BTreeMap<String, String>,
    scopes: &[&Scope<'_>],
    policies: &[Policy<'_>],
    report: &mut Report,
) {
    let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    for index in scopes.iter().flat_map(|scope| &scope.policies) {
        let Some(policy) = policies.get(*index) else { continue };
        report.turn_to(policy.origin);
        let reason = format!(
            "other policies apply to pods of {namespace} that have all of the labels {} and more, so that no selector is \
             for the one workload alone",
            labels.join(", ")
        );
        report.refuse(&policy.spec, reason, "give the pods a label that tells them apart");
    }
}

/// Gives each plan the name of its policy, or of what it is for, and each name once in a namespace.
fn name(plans: &mut [Plan], policies: &[Policy<'_>]) {
    let app = |plan: &Plan| {
        let known = ["app", "app.kubernetes.io/name"].iter().find_map(|key| plan.labels.get(*key));
        known.or_else(|| plan.labels.values().next()).map(|value| value.to_ascii_lowercase())
    };
    let base = |plan: &Plan| match (plan.policies.as_slice(), app(plan)) {
        ([only], _) => policies.get(*only).map(|policy| policy.name.clone()).unwrap_or_default(),
        (_, Some(app)) => format!("{app}-authorization"),
        (_, None) => "authorization".to_owned(),
    };
    let bases: Vec<_> = plans.iter().map(|plan| (plan.namespace.clone(), base(plan))).collect();
    let mut taken = BTreeSet::new();
    for (plan, key) in plans.iter_mut().zip(&bases) {
        let (namespace, base) = key;
        // Several of one policy, for several workloads.
        let is_shared = bases.iter().filter(|other| *other == key).count() > 1;
        let name = match app(plan).filter(|_| is_shared) {
            Some(app) => format!("{base}-{app}"),
            None => base.clone(),
        };
        let stem = if is_kubernetes_name(&name) { name } else { "authorization".to_owned() };
        let mut number: usize = 1;
        plan.name.clone_from(&stem);
        while !taken.insert((namespace.clone(), plan.name.clone())) {
            number = number.saturating_add(1);
            plan.name = format!("{stem}-{number}");
        }
    }
}

#[cfg(test)]
mod tests;
