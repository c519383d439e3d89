//! `WasmPlugin`: a module, where it goes, and its configuration.

use serde::Deserialize;
use serde_json::Value;

use super::WorkloadSelector;

/// `spec` of a WasmPlugin.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WasmPluginSpec {
    /// Which workloads; all of the namespace without it.
    pub selector: Option<WorkloadSelector>,
    /// Where the module is.
    pub url: String,
    /// Of the module (http, file) or the image (oci).
    #[serde(default)]
    pub sha256: Option<String>,
    /// When to pull; nothing is pulled here, and that is noted once for all.
    pub image_pull_policy: Option<Value>,
    /// Credentials for pulling; nothing is pulled here.
    pub image_pull_secret: Option<Value>,
    /// Handed to the module.
    pub plugin_config: Option<Value>,
    /// The root_id.
    #[serde(default)]
    pub plugin_name: String,
    /// Where in the chain.
    #[serde(default)]
    pub phase: Phase,
    /// What a broken module does to requests.
    #[serde(default)]
    pub fail_strategy: FailStrategy,
    /// Order within the phase, higher first.
    pub priority: Option<i64>,
    /// Environment of the module.
    pub vm_config: Option<VmConfig>,
    /// Which traffic.
    #[serde(default, rename = "match")]
    pub traffic: Vec<TrafficSelector>,
    /// HTTP or NETWORK.
    #[serde(default, rename = "type")]
    pub plugin_type: PluginType,
    /// For waypoints and Gateway API gateways.
    pub target_refs: Option<Value>,
    /// The older spelling.
    pub target_ref: Option<Value>,
}

/// Where in the chain a plugin goes. In this order, UNSPECIFIED last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Phase {
    /// Before Istio's authentication.
    #[serde(rename = "AUTHN")]
    Authn,
    /// After authentication, before authorization.
    #[serde(rename = "AUTHZ")]
    Authz,
    /// After authorization, before Istio's metrics.
    #[serde(rename = "STATS")]
    Stats,
    /// Before the router.
    #[default]
    #[serde(rename = "UNSPECIFIED_PHASE")]
    Unspecified,
}

/// What a module that fails to load or traps does to requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FailStrategy {
    /// They are refused.
    #[default]
    FailClose,
    /// They go through.
    FailOpen,
    /// They are refused until a new VM has started.
    FailReload,
}

/// HTTP or network filter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum PluginType {
    /// HTTP.
    #[default]
    #[serde(rename = "UNSPECIFIED_PLUGIN_TYPE")]
    Unspecified,
    /// HTTP.
    #[serde(rename = "HTTP")]
    Http,
    /// TCP.
    #[serde(rename = "NETWORK")]
    Network,
}

/// Environment of a module.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct VmConfig {
    /// Variables.
    pub env: Vec<EnvVar>,
}

/// One variable.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// From where.
    #[serde(default)]
    pub value_from: EnvSource,
    /// Its value, when it is inline.
    #[serde(default)]
    pub value: String,
}

/// Where a variable's value comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum EnvSource {
    /// From the resource.
    #[default]
    Inline,
    /// From Envoy's own environment.
    Host,
}

/// Which traffic of a proxy a plugin sees.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct TrafficSelector {
    /// Its direction.
    pub mode: TrafficMode,
    /// Its ports: on a sidecar's inbound side the target ports. None means all.
    pub ports: Vec<PortSelector>,
}

/// `{number: ...}`.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct PortSelector {
    /// The port.
    pub number: u16,
}

/// A direction of traffic, seen from the workload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TrafficMode {
    /// Both.
    #[default]
    Undefined,
    /// What the workload, or a gateway, sends on.
    Client,
    /// What the workload receives.
    Server,
    /// Both.
    ClientAndServer,
}
