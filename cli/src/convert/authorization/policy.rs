//! An AuthorizationPolicy: where it applies, and what it is for.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::field::Field;
use super::super::report::Report;
use crate::input::Document;
use crate::problem::Origin;

/// What becomes of a request that a policy matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    /// It is turned away.
    Deny,
    /// It is counted.
    Audit,
    /// It passes; and where there is such a policy, what none of them matches is turned away.
    Allow,
}

/// What a policy applies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// Pods that have all of these labels; without any, every pod of the namespace.
    Labels(BTreeMap<String, String>),
    /// Gateways and services of the Gateway API.
    References(Value),
}

/// A policy.
#[derive(Debug, Clone)]
pub(super) struct Policy<'a> {
    pub(super) origin: &'a Origin,
    pub(super) name: String,
    /// `default` unless given.
    pub(super) namespace: String,
    has_namespace: bool,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) action: Action,
    /// Only tried out.
    pub(super) is_dry_run: bool,
    pub(super) target: Target,
    pub(super) spec: Field<'a>,
    pub(super) rules: Vec<Field<'a>>,
}

impl Policy<'_> {
    /// Whether it turns away what no such policy matches.
    pub(super) fn allows(&self) -> bool {
        self.action == Action::Allow && !self.is_dry_run
    }

    /// The namespace, if one was given.
    pub(super) fn given_namespace(&self) -> Option<String> {
        self.has_namespace.then(|| self.namespace.clone())
    }
}

/// `metadata.annotations` that makes a policy be tried out only.
const DRY_RUN: &str = "istio.io/dry-run";

/// Reads a policy; none where it can't be carried over, and the report says why.
pub(super) fn read<'a>(document: &'a Document, report: &mut Report) -> Option<Policy<'a>> {
    report.turn_to(&document.origin);
    let before = report.problems.len();
    let root = Field::new(&document.value, "");
    root.only(&["apiVersion", "kind", "metadata", "spec", "status"], "an AuthorizationPolicy", report);
    let metadata = metadata(&root, report);
    // `spec` may be left out as a whole: that is the policy without rules.
    let spec = root.get("spec").unwrap_or_else(|| Field::new(&Value::Null, "spec"));
    if !spec.value.is_null() {
        let known = ["selector", "targetRef", "targetRefs", "rules", "action", "provider"];
        spec.only(&known, "an AuthorizationPolicy", report);
    }
    let action = action(&spec, report);
    let target = target(&spec, report);
    let rules = rules(&spec, action, report);
    if report.problems.len() > before {
        return None;
    }
    let Metadata { name, namespace, labels, is_dry_run } = metadata;
    Some(Policy {
        origin: &document.origin,
        name,
        has_namespace: namespace.is_some(),
        namespace: namespace.unwrap_or_else(|| "default".to_owned()),
        labels,
        action: action?,
        is_dry_run,
        target,
        spec,
        rules,
    })
}

#[derive(Default)]
struct Metadata {
    name: String,
    namespace: Option<String>,
    labels: BTreeMap<String, String>,
    is_dry_run: bool,
}

fn metadata(root: &Field<'_>, report: &mut Report) -> Metadata {
    let mut metadata = Metadata::default();
    for (name, member) in root.get("metadata").map(|metadata| metadata.members()).unwrap_or_default() {
        let text = member.text().map(str::to_owned);
        match name {
            "name" => metadata.name = text.unwrap_or_default(),
            "namespace" => metadata.namespace = text,
            "labels" => {
                let labels = member.members().into_iter();
                let text = |value: &Field<'_>| value.text().unwrap_or_default().to_owned();
                metadata.labels = labels.map(|(key, value)| (key.to_owned(), text(&value))).collect();
            }
            "annotations" => metadata.is_dry_run = annotations(&member, report),
            _ => report.dropped(&member, "the cluster's own"),
        }
    }
    if !crate::resources::is_kubernetes_name(&metadata.name) {
        report.refuse(root, "has no metadata.name that Kubernetes takes", "give it one");
    }
    metadata
}

/// Whether the policy is only tried out.
fn annotations(field: &Field<'_>, report: &mut Report) -> bool {
    let mut is_dry_run = false;
    for (name, member) in field.members() {
        if name != DRY_RUN {
            report.dropped(&member, "belongs to the old resource");
            continue;
        }
        // What Go's strconv.ParseBool takes; anything else is no dry run to Istio.
        is_dry_run = member.text().is_some_and(|text| ["1", "t", "T", "true", "TRUE", "True"].contains(&text));
        match is_dry_run {
            true => report.became_so(&member, "mode: shadow", "counted, and nobody is turned away by it"),
            false => report.dropped(&member, "is not true, so the policy is enforced"),
        }
    }
    is_dry_run
}

fn action(spec: &Field<'_>, report: &mut Report) -> Option<Action> {
    let field = spec.get("action");
    // As protobuf's JSON form has enumerations: by name or by number.
    let name = match field.as_ref().map(|field| field.value) {
        None => "ALLOW",
        Some(Value::String(name)) => name.as_str(),
        Some(number) => match number.as_u64() {
            Some(0) => "ALLOW",
            Some(1) => "DENY",
            Some(2) => "AUDIT",
            Some(3) => "CUSTOM",
            _ => "",
        },
    };
    let field = field.unwrap_or_else(|| Field::new(&Value::Null, "spec.action"));
    if let Some(provider) = spec.get("provider").filter(|_| name != "CUSTOM") {
        report.refuse(&provider, "goes with action: CUSTOM alone", "take it out: Istio refuses this");
    }
    let action = match name {
        "ALLOW" => Action::Allow,
        "DENY" => Action::Deny,
        "AUDIT" => Action::Audit,
        "CUSTOM" => {
            let reason = "CUSTOM asks an external authorizer, which mtls-identity can't";
            let cure = "keep this AuthorizationPolicy beside the WasmPlugins: Istio asks the authorizer before any of them, \
                        and a request must pass both";
            report.refuse(&field, reason, cure);
            return None;
        }
        _ => {
            let reason = format!("must be ALLOW, DENY, AUDIT or CUSTOM, found {}", field.value);
            report.refuse(&field, reason, "correct it: Istio refuses this");
            return None;
        }
    };
    let what = match action {
        Action::Deny => "rules before all others, with deny",
        Action::Audit => "rules with mode: shadow, with deny",
        Action::Allow => "rules with allow, and default: deny",
    };
    report.became(&field, what);
    Some(action)
}

/// What a targetRefs entry may be, in a WasmPlugin as in an AuthorizationPolicy.
const KINDS: [(&str, &str); 4] = [
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
    ("", "Service"),
    ("networking.istio.io", "ServiceEntry"),
];

fn target(spec: &Field<'_>, report: &mut Report) -> Target {
    let references = [spec.get("targetRefs"), spec.get("targetRef")].into_iter().flatten();
    let references: Vec<_> = references.filter(|field| !field.value.as_array().is_some_and(Vec::is_empty)).collect();
    let selector = spec.get("selector");
    if references.len() + usize::from(selector.is_some()) > 1 {
        report.refuse(
            spec,
            "has more than one of selector, targetRefs and targetRef",
            "choose one: Istio refuses this",
        );
    }
    if let Some(field) = references.first() {
        let entries = if field.value.is_array() { field.items() } else { vec![field.clone()] };
        for entry in &entries {
            check_reference(entry, report);
        }
        report.became(field, "spec.targetRefs");
        return Target::References(entries.iter().map(|entry| entry.value.clone()).collect());
    }
    let Some(selector) = selector else { return Target::Labels(BTreeMap::new()) };
    selector.only(&["matchLabels"], "a selector", report);
    let labels = selector.get("matchLabels");
    let members = labels.as_ref().map(Field::members).unwrap_or_default().into_iter();
    let mut found = BTreeMap::new();
    for (key, value) in members {
        match value.text().filter(|text| !key.is_empty() && !key.contains('*') && !text.contains('*')) {
            Some(text) => {
                found.insert(key.to_owned(), text.to_owned());
            }
            None => {
                report.refuse(&value, "must be a label and its value, without `*`", "correct it: Istio refuses this")
            }
        }
    }
    Target::Labels(found)
}

fn check_reference(entry: &Field<'_>, report: &mut Report) {
    entry.only(&["group", "kind", "name", "namespace"], "a targetRef", report);
    let (group, kind) = (entry.text_of("group"), entry.text_of("kind"));
    let group = if group == "core" { "" } else { group };
    if !KINDS.contains(&(group, kind)) {
        let reason = format!("`{kind}` of group `{group}` is none that a WasmPlugin can be for");
        report.refuse(entry, reason, "name a Gateway, GatewayClass, Service or ServiceEntry: Istio refuses others too");
    }
    if entry.text_of("name").is_empty() {
        report.refuse(entry, "has no name", "give it one: Istio refuses this");
    }
    if let Some(namespace) = entry.get("namespace").filter(|namespace| namespace.text() != Some("")) {
        report.refuse(&namespace, "must not be there", "put the policy into that namespace: Istio refuses this");
    }
}

fn rules<'a>(spec: &Field<'a>, action: Option<Action>, report: &mut Report) -> Vec<Field<'a>> {
    let field = spec.get("rules");
    if let Some(field) = field.as_ref().filter(|field| !field.value.is_array()) {
        report.refuse(field, format!("must be a list, found {}", field.value), "correct it: Istio refuses this");
    }
    let rules = field.as_ref().map(Field::items).unwrap_or_default();
    for rule in rules.iter().filter(|rule| !rule.value.is_object()) {
        report.refuse(rule, format!("must be an object, found {}", rule.value), "write {} for every request");
    }
    if rules.is_empty() {
        let field = field.unwrap_or_else(|| Field::new(&Value::Null, "spec.rules"));
        match action {
            Some(Action::Allow) => report.became_so(&field, "default: deny, without a rule", "no rules allow nothing"),
            Some(Action::Deny | Action::Audit) => {
                report.lost(&field, "MATCHES NOTHING: without rules there is nothing to deny or count");
            }
            None => {}
        }
    }
    rules
}
