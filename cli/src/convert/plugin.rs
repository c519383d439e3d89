//! The WasmPlugin that comes out, in the order in which people write one.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::problem::{Origin, Problem};

/// A WasmPlugin with a `rate-limit` configuration.
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

/// `spec`, as in `istio/base/rate-limit.yaml`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// Which workloads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// For waypoints and gateways of the Gateway API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_refs: Option<Value>,
    url: &'static str,
    image_pull_policy: &'static str,
    /// Where in the chain.
    pub phase: String,
    fail_strategy: &'static str,
    /// Which traffic.
    #[serde(rename = "match")]
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

/// The `pluginConfig` of `rate-limit`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PluginConfig {
    /// What every request is held to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overall: Vec<Rule>,
    /// First match wins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Identifies its bucket.
    pub name: String,
    /// None means every request.
    #[serde(rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Match>,
    /// One bucket for each value; none means one bucket for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<Value>,
    /// The limit.
    pub limits: Vec<Limit>,
    /// Left out where it is `enforce`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<&'static str>,
    /// Left out where it is 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforce_percent: Option<u64>,
    /// Left out where it is the module's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<u64>,
    /// `x-ratelimit-*` as Envoy writes them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub draft03: bool,
    /// The reply, where it is not the usual one.
    #[serde(skip_serializing_if = "WhenLimited::is_usual")]
    pub when_limited: WhenLimited,
}

/// Conditions, all of which must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Match {
    /// Any of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Any of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Any of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// All of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderCondition>,
}

impl Match {
    /// Whether it takes every request.
    pub(super) fn is_any(&self) -> bool {
        *self == Self::default()
    }

    /// Both conditions at once; none where one match can't say so.
    pub(super) fn and(mut self, other: &Self) -> Option<Self> {
        for (mine, theirs) in
            [(&mut self.hosts, &other.hosts), (&mut self.paths, &other.paths), (&mut self.methods, &other.methods)]
        {
            if mine.is_empty() {
                mine.clone_from(theirs);
            } else if !theirs.is_empty() && mine != theirs {
                return None;
            }
        }
        for header in &other.headers {
            if !self.headers.contains(header) {
                self.headers.push(header.clone());
            }
        }
        Some(self)
    }

    /// Whether no request can satisfy both, as far as exact values tell.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        let apart = |mine: &[String], theirs: &[String]| {
            let exact = |list: &[String]| !list.is_empty() && list.iter().all(|value| !value.contains(['*', '{']));
            exact(mine) && exact(theirs) && mine.iter().all(|value| !theirs.contains(value))
        };
        apart(&self.hosts, &other.hosts)
            || apart(&self.paths, &other.paths)
            || apart(&self.methods, &other.methods)
            || self.headers.iter().any(|mine| {
                let differs = |theirs: &HeaderCondition| theirs.exact.is_some() && theirs.exact != mine.exact;
                mine.exact.is_some() && other.headers.iter().any(|theirs| theirs.name == mine.name && differs(theirs))
            })
    }
}

/// A condition on a header.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct HeaderCondition {
    /// The header.
    pub name: String,
    /// Its whole value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// How its value begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// That it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
}

/// A limit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Limit {
    /// Requests in each `per`.
    pub requests: u64,
    /// The period.
    pub per: String,
    /// Left out where it is `requests`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
}

/// The reply to who is limited.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct WhenLimited {
    /// Left out where it is 429.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u64>,
    /// Headers of the reply.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

impl WhenLimited {
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// The image that the manifests in `istio/` name.
const URL: &str = concat!("oci://ghcr.io/tollgate/rate-limit:", env!("CARGO_PKG_VERSION"));

impl WasmPlugin {
    /// One with everything that `istio/base/rate-limit.yaml` says beside its configuration.
    pub(super) fn new(metadata: Metadata, phase: &str, traffic: Traffic, plugin_config: PluginConfig) -> Self {
        let spec = Spec {
            selector: None,
            target_refs: None,
            url: URL,
            image_pull_policy: "IfNotPresent",
            phase: phase.to_owned(),
            fail_strategy: "FAIL_OPEN",
            traffic: vec![traffic],
            plugin_config,
        };
        Self { api_version: "extensions.istio.io/v1alpha1", kind: "WasmPlugin", metadata, spec }
    }

    /// Has the filter's own parser read the configuration.
    pub(super) fn check(&self, origin: &Origin) -> Result<(), Problem> {
        let config = serde_json::to_vec(&self.spec.plugin_config)
            .map_err(|error| Problem::at(origin, "", format!("can't print the pluginConfig: {error}")))?;
        check(&config).map_err(|error| {
            Problem::at(origin, "", format!("would become a pluginConfig that rate-limit refuses: {error}"))
                .cure("take out of it what that comes from, and write that part by hand: docs/configuration.md")
        })
    }
}

/// Whether `rate-limit` takes this `pluginConfig`.
fn check(config: &[u8]) -> Result<(), tollgate::config::ConfigError> {
    rate_limit::config::Config::parse(config).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(paths: &[&str]) -> Match {
        Match { paths: paths.iter().map(|path| (*path).to_owned()).collect(), ..Match::default() }
    }

    #[test]
    fn exact_values_tell_matches_apart_and_wildcards_do_not() {
        assert!(paths(&["/a"]).excludes(&paths(&["/b"])));
        assert!(!paths(&["/a"]).excludes(&paths(&["/a"])));
        assert!(!paths(&["/a"]).excludes(&paths(&["/*"])));
        assert!(!paths(&["/a"]).excludes(&Match::default()));
    }

    #[test]
    fn two_lists_of_paths_are_not_one() {
        assert_eq!(paths(&["/a"]).and(&paths(&["/b"])), None);
        assert_eq!(Match::default().and(&paths(&["/b"])), Some(paths(&["/b"])));
    }
}
