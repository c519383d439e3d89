//! EnvoyFilters with `envoy.filters.http.local_ratelimit`, as WasmPlugins with `rate-limit`.

mod actions;
mod bucket;
mod limiter;
mod matching;
mod patch;
mod place;
mod reply;
mod rules;
mod selection;
mod share;

use std::collections::BTreeMap;

use serde_json::Value;

use self::patch::{Level, Patch};
use super::cluster::Cluster;
use super::field::Field;
use super::plugin::{Metadata, Selector, WasmPlugin};
use super::report::Report;
use crate::input::Document;

/// The side of a proxy that a patch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Inbound,
    Outbound,
    Gateway,
}

impl Side {
    fn mode(self) -> &'static str {
        match self {
            Self::Inbound => "SERVER",
            Self::Outbound | Self::Gateway => "CLIENT",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
            Self::Gateway => "gateway",
        }
    }
}

/// The local rate limit filters that all EnvoyFilters together put into chains: a route's configuration needs one.
#[derive(Debug, Default)]
pub(super) struct Filters {
    inserted: Vec<(Option<Side>, String)>,
}

impl Filters {
    /// Looks for them.
    pub(super) fn of(documents: &[Document]) -> Self {
        let mut unheard = Report::default();
        let mut filters = Self::default();
        for document in documents {
            let root = Field::new(&document.value, "");
            let patches = root.find(&["spec", "config_patches"]).map(|patches| patches.items()).unwrap_or_default();
            let patches = patches.iter().filter_map(|field| patch::read(field, None, &mut unheard));
            let inserts = patches.filter(|patch| patch.level == Level::Filter && patch.dead.is_none());
            filters.inserted.extend(inserts.map(|patch| (patch.side, patch.filter)));
        }
        filters
    }

    /// Whether there is one of this name on this side.
    fn has(&self, side: Side, name: &str) -> bool {
        self.inserted.iter().any(|(of, inserted)| of.is_none_or(|of| of == side) && inserted == name)
    }
}

/// Converts one; what can't be is in the report.
pub(super) fn convert(
    document: &Document,
    filters: &Filters,
    cluster: &Cluster,
    report: &mut Report,
) -> Vec<WasmPlugin> {
    let root = Field::new(&document.value, "");
    root.only(&["apiVersion", "kind", "metadata", "spec", "status"], "an EnvoyFilter", report);
    let metadata = metadata(&root, report);
    let namespace = metadata.namespace.clone();
    let Some(spec) = root.get("spec") else {
        report.refuse(&root, "has no spec", "correct it: Istio refuses this");
        return Vec::new();
    };
    spec.only(&["workload_selector", "config_patches", "priority", "target_refs"], "an EnvoyFilter", report);
    let selector = selector(&spec, namespace.as_deref().unwrap_or("default"), cluster, report);
    if let Some(priority) = spec.get("priority") {
        report.dropped(&priority, "ordered patches; a WasmPlugin's own priority orders it within its phase");
    }
    let target_refs = spec.get("target_refs");
    if let Some(target_refs) = &target_refs {
        report.became(target_refs, "spec.targetRefs");
    }
    let fields = spec.get("config_patches").map(|patches| patches.items()).unwrap_or_default();
    let refused = report.problems.len();
    let patches: Vec<Patch<'_>> =
        fields.iter().filter_map(|field| patch::read(field, namespace.as_deref(), report)).collect();
    if patches.is_empty() && report.problems.len() == refused {
        report.lost(&root, "nothing in it is converted");
    }
    if report.problems.len() > refused {
        return Vec::new();
    }
    let workload = Workload { namespace: namespace.as_deref().unwrap_or("default"), labels: &selector, cluster };
    let mut sides: Vec<Side> = patches.iter().filter_map(|patch| patch.side).collect();
    if patches.iter().any(|patch| patch.side.is_none() && patch.message.is_some()) {
        sides.extend([Side::Inbound, Side::Outbound]);
    }
    sides.sort_unstable();
    sides.dedup();
    let mut plugins = Vec::new();
    for side in sides {
        plugins.extend(rules::plugins(side, &patches, filters, &workload, report));
    }
    let several = plugins.len() > 1;
    let named = plugins.into_iter().map(|(suffix, phase, traffic, config)| {
        let name = if several { format!("{}-{suffix}", metadata.name) } else { metadata.name.clone() };
        let mut plugin = WasmPlugin::rate_limit(Metadata { name, ..metadata.clone() }, phase, traffic, config);
        plugin.spec.selector =
            Some(Selector { match_labels: selector.clone() }).filter(|selector| !selector.match_labels.is_empty());
        plugin.spec.target_refs = target_refs.as_ref().map(|refs| refs.value.clone());
        plugin
    });
    named.collect()
}

/// The workload that an EnvoyFilter is for, and what else is known of it.
struct Workload<'a> {
    namespace: &'a str,
    labels: &'a BTreeMap<String, String>,
    cluster: &'a Cluster,
}

fn metadata(root: &Field<'_>, report: &mut Report) -> Metadata {
    let mut metadata = Metadata::default();
    for (name, member) in root.get("metadata").map(|metadata| metadata.members()).unwrap_or_default() {
        let text = member.text().map(str::to_owned);
        match name {
            "name" => metadata.name = text.unwrap_or_default(),
            "namespace" => metadata.namespace = text,
            "labels" => {
                metadata.labels = labels(&member);
                report.became(&member, "metadata.labels");
            }
            "annotations" => report.dropped(&member, "belong to the old resource"),
            _ => report.dropped(&member, "the cluster's own"),
        }
    }
    if metadata.name.is_empty() {
        report.refuse(root, "has no metadata.name", "give it one");
    }
    metadata
}

fn labels(field: &Field<'_>) -> BTreeMap<String, String> {
    let members = field.members().into_iter();
    members.map(|(key, value)| (key.to_owned(), value.text().unwrap_or_default().to_owned())).collect()
}

fn selector(spec: &Field<'_>, namespace: &str, cluster: &Cluster, report: &mut Report) -> BTreeMap<String, String> {
    let Some(field) = spec.find(&["workload_selector", "labels"]) else {
        if spec.get("target_refs").is_none() {
            let implied = Field::new(&Value::Null, format!("{}.workloadSelector", spec.path));
            report.became_but(&implied, "no selector", format!("applies to every workload of namespace {namespace}"));
        }
        return BTreeMap::new();
    };
    let selector = labels(&field);
    let what = "spec.selector.matchLabels";
    match cluster.finds(namespace, &selector) {
        Some(true) => report.became(&field, what),
        Some(false) => {
            let (key, value) =
                selector.first_key_value().map_or(("", ""), |(key, value)| (key.as_str(), value.as_str()));
            let others = cluster.labels(namespace, key).join(", ");
            let reason = format!(
                "MATCHES NOTHING: no pod that was read has these labels (of {key}, {namespace} has: {others}; not \
                 {value}), so this EnvoyFilter did nothing, and the WasmPlugin will do nothing until the labels are right"
            );
            report.became_but(&field, what, reason);
        }
        None => report.became_so(
            &field,
            what,
            "no pod of that namespace was read: add the Deployments with -f to see whether the labels find any",
        ),
    }
    selector
}
