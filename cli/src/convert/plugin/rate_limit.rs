//! The `pluginConfig` of `rate-limit`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::matching::Match;

/// All of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Config {
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
