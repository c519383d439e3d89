//! The WasmPlugin that comes out, in the order in which people write one.

pub mod matching;
pub mod mtls_identity;
pub mod rate_limit;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::problem::{Origin, Problem};

/// A WasmPlugin with one of the filters and its configuration.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WasmPlugin {
    api_version: &'static str,
    kind: &'static str,
    /// Name, namespace, labels.
    pub metadata: Metadata,
    /// The rest.
    pub spec: Spec,
}

/// Name, namespace, labels.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Metadata {
    /// The name.
    pub name: String,
    /// The namespace, where one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// `spec`, as in the manifests of `istio/base`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// Which workloads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// For waypoints and gateways of the Gateway API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_refs: Option<Value>,
    url: String,
    image_pull_policy: &'static str,
    /// Where in the chain.
    pub phase: String,
    /// Order within the phase, higher first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    fail_strategy: &'static str,
    /// Which traffic; none means all.
    #[serde(rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<Traffic>,
    /// What the module reads.
    pub plugin_config: PluginConfig,
}

/// `matchLabels`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// All of these must be there.
    pub match_labels: BTreeMap<String, String>,
}

/// A direction, and maybe a port.
#[derive(Debug, Clone, Serialize)]
pub struct Traffic {
    /// SERVER or CLIENT.
    pub mode: &'static str,
    /// None means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
}

/// `{number: ...}`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Port {
    /// The port.
    pub number: u16,
}

/// What a filter reads.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)] // Only ever written: the module named by the URL says which it is.
pub enum PluginConfig {
    /// Of `rate-limit`.
    RateLimit(rate_limit::Config),
    /// Of `mtls-identity`.
    MtlsIdentity(mtls_identity::Config),
}

impl WasmPlugin {
    /// One with everything that `istio/base/rate-limit.yaml` says beside its configuration.
    pub(super) fn rate_limit(metadata: Metadata, phase: &str, traffic: Traffic, config: rate_limit::Config) -> Self {
        let spec = Spec {
            selector: None,
            target_refs: None,
            url: url("rate-limit"),
            image_pull_policy: "IfNotPresent",
            phase: phase.to_owned(),
            priority: None,
            // A limiter that breaks must not take the service with it.
            fail_strategy: "FAIL_OPEN",
            traffic: vec![traffic],
            plugin_config: PluginConfig::RateLimit(config),
        };
        Self { api_version: API_VERSION, kind: "WasmPlugin", metadata, spec }
    }

    /// One with everything that `istio/base/mtls-identity.yaml` says beside its configuration.
    pub(super) fn mtls_identity(metadata: Metadata, traffic: Vec<Traffic>, config: mtls_identity::Config) -> Self {
        let spec = Spec {
            selector: None,
            target_refs: None,
            url: url("mtls-identity"),
            image_pull_policy: "IfNotPresent",
            // Behind jwt_authn, whose claims it may ask for, and before Istio's own authorization.
            phase: "AUTHZ".to_owned(),
            priority: Some(100),
            // An authorization that opens when it breaks is none.
            fail_strategy: "FAIL_CLOSE",
            traffic,
            plugin_config: PluginConfig::MtlsIdentity(config),
        };
        Self { api_version: API_VERSION, kind: "WasmPlugin", metadata, spec }
    }

    /// Has the filter's own parser read the configuration.
    pub(super) fn check(&self, origin: &Origin) -> Result<(), Problem> {
        let config = serde_json::to_vec(&self.spec.plugin_config)
            .map_err(|error| Problem::at(origin, "", format!("can't print the pluginConfig: {error}")))?;
        let (filter, read) = match &self.spec.plugin_config {
            PluginConfig::RateLimit(_) => ("rate-limit", ::rate_limit::config::Config::parse(&config).map(drop)),
            PluginConfig::MtlsIdentity(_) => {
                ("mtls-identity", ::mtls_identity::config::Config::parse(&config).map(drop))
            }
        };
        read.map_err(|error| {
            Problem::at(origin, "", format!("would become a pluginConfig that {filter} refuses: {error}"))
                .cure("take out of it what that comes from, and write that part by hand: docs/configuration.md")
        })
    }
}

const API_VERSION: &str = "extensions.istio.io/v1alpha1";

/// The image that the manifests in `istio/` name.
fn url(filter: &str) -> String {
    format!("oci://ghcr.io/tollgate/{filter}:{}", env!("CARGO_PKG_VERSION"))
}
