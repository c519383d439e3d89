//! Which WasmPlugins a proxy runs, in which order, and with what: as Istio decides it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Number, Value};
use tollgate::config::{ConfigError, Warning};

use super::modules::{self, Module};
use crate::problem::{Notices, Origin, Problem, Problems};
use crate::resources::wasm_plugin::{EnvSource, FailStrategy, Phase, PluginType, TrafficMode, WasmPluginSpec};
use crate::resources::{Age, ROOT_NAMESPACE, Resource};
use crate::schema::Filter;

/// A WasmPlugin with its module at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The module.
    pub module: Module,
    /// Handed to the module as it is here; none when the resource has none.
    pub configuration: Option<String>,
    /// `pluginName`.
    pub root_id: String,
    /// What a broken module does to requests.
    pub fail_strategy: FailStrategy,
    /// Variables with their values.
    pub env: BTreeMap<String, String>,
    /// Variables taken from Envoy's environment.
    pub host_env: Vec<String>,
}

impl Plugin {
    /// `namespace/name`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// A plugin and where it goes.
#[derive(Debug, Clone)]
pub struct Placed {
    source: Resource<WasmPluginSpec>,
    plugin: Arc<Plugin>,
}

/// The side of a proxy that a chain is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What a workload receives on a target port.
    Inbound(u16),
    /// What a gateway sends on, having received it on a port.
    Gateway(u16),
}

/// Resolves every plugin's module and configuration.
pub fn resolve(
    plugins: &[Resource<WasmPluginSpec>],
    directory: &Path,
    notices: &mut Notices,
) -> Result<Vec<Placed>, Problems> {
    let mut placed = Vec::new();
    let mut problems = Vec::new();
    for source in plugins {
        warn_of_what_is_left_out(source, notices);
        if source.spec.plugin_type == PluginType::Network {
            notices.warn_at(&source.origin, "spec.type", "NETWORK plugins are not carried out");
            continue;
        }
        match resolve_one(source, directory, notices) {
            Ok(plugin) => placed.push(Placed { source: source.clone(), plugin: Arc::new(plugin) }),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(placed) } else { Err(problems) }
}

fn resolve_one(source: &Resource<WasmPluginSpec>, directory: &Path, notices: &mut Notices) -> Result<Plugin, Problem> {
    let module = modules::resolve(source, directory, notices)?;
    let variables = source.spec.vm_config.iter().flat_map(|vm| &vm.env);
    let (host, inline): (Vec<_>, Vec<_>) = variables.partition(|variable| variable.value_from == EnvSource::Host);
    Ok(Plugin {
        namespace: source.meta.namespace().to_owned(),
        name: source.meta.name.clone(),
        module,
        configuration: source
            .spec
            .plugin_config
            .as_ref()
            .map(|config| through_struct(config, &source.origin, notices).to_string()),
        root_id: source.spec.plugin_name.clone(),
        fail_strategy: source.spec.fail_strategy,
        env: inline.into_iter().map(|variable| (variable.name.clone(), variable.value.clone())).collect(),
        host_env: host.into_iter().map(|variable| variable.name.clone()).collect(),
    })
}

fn warn_of_what_is_left_out(source: &Resource<WasmPluginSpec>, notices: &mut Notices) {
    let spec = &source.spec;
    for (field, value) in [("spec.targetRefs", &spec.target_refs), ("spec.targetRef", &spec.target_ref)] {
        if value.is_some() {
            notices.warn_at(&source.origin, field, "is not carried out: sidecars ignore it");
        }
    }
    if !spec.traffic.is_empty() && spec.traffic.iter().all(|selector| selector.mode == TrafficMode::Client) {
        notices.warn_at(
            &source.origin,
            "spec.match",
            "CLIENT is carried out at gateways only: sidecars' outbound side is not simulated",
        );
    }
}

/// The configuration as it comes out of the protobuf `Struct` in which Istio hands it on: every number is a double.
pub fn through_struct(value: &Value, origin: &Origin, notices: &mut Notices) -> Value {
    match value {
        Value::Number(number) => Value::Number(through_double(number, origin, notices)),
        Value::Array(items) => items.iter().map(|item| through_struct(item, origin, notices)).collect(),
        Value::Object(object) => object
            .iter()
            .map(|(key, value)| (key.clone(), through_struct(value, origin, notices)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

fn through_double(number: &Number, origin: &Origin, notices: &mut Notices) -> Number {
    let Some(double) = number.as_f64() else { return number.clone() };
    let is_whole = double.fract() == 0.0 && double.abs() < 1e21;
    let text = if is_whole { format!("{double:.0}") } else { String::new() };
    let exact = text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from));
    let through = exact.ok().or_else(|| Number::from_f64(double)).unwrap_or_else(|| number.clone());
    if number.as_f64() == Some(double) && (number.is_i64() || number.is_u64()) && through != *number {
        notices.warn_at(
            origin,
            "spec.pluginConfig",
            format!("{number} is over 2^53: Istio hands it on as {through}, and so does this"),
        );
    }
    through
}

/// The plugins of one side of a proxy in the order in which a request meets them.
pub fn chain(placed: &[Placed], namespace: &str, labels: &BTreeMap<String, String>, side: Side) -> Vec<Arc<Plugin>> {
    let mut matching: Vec<&Placed> =
        placed.iter().filter(|placed| applies(&placed.source, namespace, labels, side)).collect();
    matching.sort_by(|a, b| order(&a.source).cmp(&order(&b.source)));
    matching.into_iter().map(|placed| Arc::clone(&placed.plugin)).collect()
}

/// Phase, then priority (none given is below every number, as in Istio's own sorting), then age and name.
fn order(plugin: &Resource<WasmPluginSpec>) -> (Phase, Reverse<i64>, Age<'_>) {
    (plugin.spec.phase, Reverse(plugin.spec.priority.unwrap_or(i64::MIN)), plugin.meta.age())
}

/// Brings plugins into the order in which a request meets them.
pub fn sort(plugins: &mut [&Resource<WasmPluginSpec>]) {
    plugins.sort_by(|a, b| order(a).cmp(&order(b)));
}

/// Whether a proxy of this namespace and these labels runs the plugin on this side.
pub fn applies(
    plugin: &Resource<WasmPluginSpec>,
    namespace: &str,
    labels: &BTreeMap<String, String>,
    side: Side,
) -> bool {
    let in_scope = [namespace, ROOT_NAMESPACE].contains(&plugin.meta.namespace());
    // One with targetRefs is for waypoints and Gateway API gateways alone.
    let is_for_others = plugin.spec.target_refs.is_some() || plugin.spec.target_ref.is_some();
    let selects = plugin.spec.selector.as_ref().is_none_or(|selector| selector.matches(labels));
    in_scope && !is_for_others && selects && matches_traffic(&plugin.spec, side)
}

fn matches_traffic(spec: &WasmPluginSpec, side: Side) -> bool {
    let (port, other_side) = match side {
        Side::Inbound(port) => (port, TrafficMode::Client),
        Side::Gateway(port) => (port, TrafficMode::Server),
    };
    spec.traffic.is_empty()
        || spec.traffic.iter().any(|selector| {
            let ports = &selector.ports;
            selector.mode != other_side && (ports.is_empty() || ports.iter().any(|wanted| wanted.number == port))
        })
}

/// Has the filters' own parsers read the configurations of those plugins that are Tollgate's, and warns of what they would.
pub fn validate(plugins: &[Resource<WasmPluginSpec>], notices: &mut Notices) -> Problems {
    plugins.iter().filter_map(|source| validate_as(filter_of(&source.spec)?, source, notices)).collect()
}

/// The same of one, whose module is known to be this filter.
pub fn validate_as(filter: Filter, source: &Resource<WasmPluginSpec>, notices: &mut Notices) -> Option<Problem> {
    let at = |path: &str, reason| Problem::at(&source.origin, in_resource(path), reason);
    match read(filter, handed_over(source).to_string().as_bytes()) {
        Ok(warnings) => {
            for warning in warnings {
                let cure = warning.cure();
                notices.warn_of(at(&warning.path, warning.reason).cure(cure));
            }
            None
        }
        Err(error) => Some(at(&error.path, error.reason)),
    }
}

/// What a filter's own parser says of a configuration.
pub fn read(filter: Filter, configuration: &[u8]) -> Result<Vec<Warning>, ConfigError> {
    match filter {
        Filter::RateLimit => rate_limit::config::Config::parse(configuration).map(|config| config.warnings()),
        Filter::MtlsIdentity => mtls_identity::config::Config::parse(configuration).map(|config| config.warnings()),
        Filter::RouteMetrics => route_metrics::config::Config::parse(configuration).map(|config| config.warnings()),
    }
}

/// The configuration as the module gets it; null where there is none.
pub fn handed_over(plugin: &Resource<WasmPluginSpec>) -> Value {
    let mut unheard = Notices::default();
    let config = plugin.spec.plugin_config.as_ref();
    config.map_or(Value::Null, |config| through_struct(config, &plugin.origin, &mut unheard))
}

/// A path into a configuration as one into its WasmPlugin.
pub fn in_resource(path: &str) -> String {
    match path {
        "" => "spec.pluginConfig".to_owned(),
        path if path.starts_with('[') => format!("spec.pluginConfig{path}"),
        path => format!("spec.pluginConfig.{path}"),
    }
}

/// Whether the filters' own parser has read this plugin's configuration.
pub fn is_ours(plugin: &WasmPluginSpec) -> bool {
    filter_of(plugin).is_some()
}

/// The filter of Tollgate's that this plugin's module is.
pub fn filter_of(plugin: &WasmPluginSpec) -> Option<Filter> {
    modules::module_name(&plugin.url).and_then(Filter::of_module)
}

#[cfg(test)]
#[path = "plugins_tests.rs"]
mod tests;
