//! The commands that mend what was found, spelled for where the resources came from.

use serde_json::{Value, json};

use super::facts::{Facts, Plugin, Source};
use crate::resources::Resource;

/// `kubectl` with what it needs to reach the cluster that was looked at.
pub fn kubectl(facts: &Facts) -> String {
    match facts.wanted.as_ref().map(|wanted| &wanted.source) {
        Some(Source::Cluster(arguments)) => format!("kubectl{arguments}"),
        _ => "kubectl".to_owned(),
    }
}

/// Changes fields of a resource's spec.
pub fn change<S>(facts: &Facts, kind: &str, resource: &Resource<S>, spec: &Value) -> String {
    if is_files(facts) {
        return format!("write {spec} into spec of {}, and apply it", resource.origin);
    }
    patch(facts, kind, &resource.meta.id(), spec)
}

/// Changes fields of a WasmPlugin.
pub fn change_plugin(facts: &Facts, plugin: &Plugin<'_>, spec: &Value) -> String {
    change(facts, "wasmplugin", plugin.resource, spec)
}

/// Changes fields of whatever has this `namespace/name`.
pub fn patch(facts: &Facts, kind: &str, id: &str, spec: &Value) -> String {
    let (namespace, name) = id.split_once('/').unwrap_or(("default", id));
    let patch = json!({ "spec": spec });
    format!("{} patch {kind} {name} -n {namespace} --type=merge -p {}", kubectl(facts), quoted(&patch.to_string()))
}

/// Has Istio's agent fetch a module again, which it does not by itself. Before 1.30 istiod passes on a change of spec, or of
/// a resource with a label or annotation of `istio.io` (`pilot/pkg/bootstrap/config_compare.go`).
pub fn fetch_again(facts: &Facts, id: &str) -> String {
    let (namespace, name) = id.split_once('/').unwrap_or(("default", id));
    format!(
        "{} annotate wasmplugin {name} -n {namespace} --overwrite tollgate.istio.io/fetch=$(date +%s)",
        kubectl(facts)
    )
}

/// Reads a proxy's log.
pub fn log(facts: &Facts, proxy: &str, of: &str) -> Option<String> {
    let (namespace, pod) = proxy.split_once('/')?;
    Some(format!("{} logs {pod} -n {namespace} -c istio-proxy | grep -i {of}", kubectl(facts)))
}

/// Whether resources are to be mended in files.
pub fn is_files(facts: &Facts) -> bool {
    facts.wanted.as_ref().is_some_and(|wanted| wanted.source == Source::Files)
}

/// One word for a shell.
pub fn quoted(text: &str) -> String {
    shlex::try_quote(text).map_or_else(|_| text.to_owned(), std::borrow::Cow::into_owned)
}
