//! AuthorizationPolicies at random.

use std::collections::BTreeMap;

use rand::{RngExt as _, rngs::StdRng};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::words::{self, any, some};

/// A workload with all of its policies.
#[derive(Debug, Clone)]
pub(super) struct Workload {
    /// The mesh's trust domain, then its aliases.
    pub(super) domains: Vec<String>,
    /// Its policies.
    pub(super) policies: Vec<Policy>,
}

/// An AuthorizationPolicy.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    name: String,
    namespace: &'static str,
    action: &'static str,
    /// Only tried out.
    is_dry_run: bool,
    /// Without any the policy never matches.
    rules: Vec<Rule>,
}

/// Fields of a source or an operation, with their values.
pub(super) type Fields = BTreeMap<String, Vec<String>>;

/// One of a policy's rules; without anything it matches every request.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Rule {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) from: Vec<From>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) to: Vec<To>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) when: Vec<Condition>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct From {
    pub(super) source: Fields,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct To {
    pub(super) operation: Fields,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition {
    pub(super) key: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) values: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) not_values: Vec<String>,
}

impl Workload {
    /// One with up to three policies.
    pub(super) fn new(random: &mut StdRng) -> Self {
        let domains = any(random, &words::MESHES).iter().map(|domain| (*domain).to_owned()).collect();
        let mut actions = vec![any(random, &["ALLOW", "ALLOW", "DENY"])];
        if random.random_bool(0.6) {
            actions.push(any(random, &["ALLOW", "DENY", "DENY"]));
        }
        if random.random_bool(0.1) {
            actions.push(any(random, &["ALLOW", "DENY", "AUDIT"]));
        }
        let policies =
            actions.into_iter().enumerate().map(|(index, action)| Policy::new(random, index, action)).collect();
        Self { domains, policies }
    }

    /// The policies as they are applied to a cluster.
    pub(super) fn resources(&self) -> Vec<Value> {
        self.policies.iter().map(Policy::resource).collect()
    }

    /// All rules of all policies.
    pub(super) fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.policies.iter().flat_map(|policy| &policy.rules)
    }
}

impl Policy {
    fn new(random: &mut StdRng, index: usize, action: &'static str) -> Self {
        // Istio refuses a DENY policy without rules.
        let rules = match random.random_range(0..20) {
            0 if action == "ALLOW" => 0,
            0..10 => 1,
            10..17 => 2,
            _ => 3,
        };
        let name = format!("{}-{index}", action.to_ascii_lowercase());
        let namespace = any(random, &words::NAMESPACES_OF_POLICIES);
        // Istio refuses to try out AUDIT.
        let is_dry_run = action != "AUDIT" && random.random_ratio(1, 20);
        Self { name, namespace, action, is_dry_run, rules: (0..rules).map(|_| Rule::new(random)).collect() }
    }

    /// One of the workload's own namespace that is enforced.
    pub(super) fn enforced(index: usize, action: &'static str, rules: Vec<Rule>) -> Self {
        let name = format!("{}-{index}", action.to_ascii_lowercase());
        Self { name, namespace: words::NAMESPACES_OF_POLICIES[0], action, is_dry_run: false, rules }
    }

    fn resource(&self) -> Value {
        let mut spec = json!({"action": self.action});
        if !self.rules.is_empty() {
            spec["rules"] = json!(self.rules);
        }
        let mut metadata = json!({"name": self.name, "namespace": self.namespace});
        if self.is_dry_run {
            metadata["annotations"] = json!({"istio.io/dry-run": "true"});
        }
        json!({
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": metadata,
            "spec": spec,
        })
    }
}

impl Rule {
    fn new(random: &mut StdRng) -> Self {
        let how_many = |random: &mut StdRng| any(random, &[0, 0, 1, 1, 1, 2]);
        let sources = how_many(random);
        let operations = how_many(random);
        let conditions = any(random, &[0, 0, 0, 0, 1, 1, 2]);
        Self {
            from: (0..sources).map(|_| From { source: source(random) }).collect(),
            to: (0..operations).map(|_| To { operation: operation(random) }).collect(),
            when: (0..conditions).map(|_| condition(random)).collect(),
        }
    }
}

fn source(random: &mut StdRng) -> Fields {
    let mut fields = Fields::new();
    for _ in 0..any(random, &[1, 1, 1, 2]) {
        let (field, words) = match random.random_range(0..22) {
            0..8 => ("principals", words::PRINCIPALS),
            8..10 => ("notPrincipals", words::PRINCIPALS),
            10..13 => ("namespaces", words::NAMESPACES),
            13 => ("notNamespaces", words::NAMESPACES),
            14 => ("serviceAccounts", words::SERVICE_ACCOUNTS),
            15 => ("notServiceAccounts", words::SERVICE_ACCOUNTS),
            16 => ("trustDomains", words::TRUST_DOMAINS),
            17 => ("notTrustDomains", words::TRUST_DOMAINS),
            18 => (any(random, &["ipBlocks", "notIpBlocks"]), words::BLOCKS),
            19 => (any(random, &["remoteIpBlocks", "notRemoteIpBlocks"]), words::BLOCKS),
            20 => ("requestPrincipals", words::REQUEST_PRINCIPALS),
            _ => ("notRequestPrincipals", words::REQUEST_PRINCIPALS),
        };
        fields.insert(field.to_owned(), some(random, words));
    }
    // Istio refuses accounts beside what an account implies.
    if fields.keys().any(|field| field.ends_with("erviceAccounts")) {
        let implied = ["principals", "notPrincipals", "namespaces", "notNamespaces"];
        fields.retain(|field, _| !implied.contains(&&**field));
    }
    fields
}

fn operation(random: &mut StdRng) -> Fields {
    let mut fields = Fields::new();
    for _ in 0..any(random, &[1, 1, 2, 2, 3]) {
        let (field, words) = match random.random_range(0..20) {
            0..8 => ("paths", words::PATHS),
            8..10 => ("notPaths", words::PATHS),
            10..13 => ("methods", words::METHODS),
            13 => ("notMethods", words::METHODS),
            14..17 => ("hosts", words::HOSTS),
            17 => ("notHosts", words::HOSTS),
            18 => ("ports", words::PORTS),
            _ => ("notPorts", words::PORTS),
        };
        fields.insert(field.to_owned(), some(random, words));
    }
    fields
}

fn condition(random: &mut StdRng) -> Condition {
    let (key, patterns) = any(random, &words::CONDITIONS);
    let (mut values, mut not_values) = (some(random, patterns), vec![]);
    match random.random_range(0..10) {
        0..6 => {}
        6..9 => std::mem::swap(&mut values, &mut not_values),
        _ => not_values = some(random, patterns),
    }
    Condition { key: key.to_owned(), values, not_values }
}
