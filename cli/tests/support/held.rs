//! What AuthorizationPolicies become, decided by the filter's own code, and held against what Istio would have decided.

use std::collections::BTreeSet;

use mtls_identity::{
    config::Config,
    identity::{Caller, NoIdentity},
    policy::{Policy, Verdict},
};
use serde_json::Value;
use tollgate::{
    request::{Attribute, Request},
    spiffe::SpiffeId,
};
use tollgate_cli::convert::authorization::{Difference, Effect, Options, of_one_workload};

use super::istio::{self, Call};

struct Seen<'a> {
    call: &'a Call,
    address: String,
    port: [u8; 8],
}

impl<'a> Seen<'a> {
    /// At a sidecar, where Envoy takes the address from the header whenever there is one.
    fn new(call: &'a Call) -> Self {
        let address = match &call.forwarded_for {
            Some(said) => format!("{}:0", said.rsplit(',').next().unwrap().trim()),
            None => format!("{}:40000", call.address),
        };
        Self { call, address, port: u64::from(call.port).to_le_bytes() }
    }
}

impl Request for Seen<'_> {
    fn path(&self) -> Option<&[u8]> {
        Some(self.call.path.as_bytes())
    }
    fn method(&self) -> Option<&[u8]> {
        Some(self.call.method.as_bytes())
    }
    fn authority(&self) -> Option<&[u8]> {
        Some(self.call.authority.as_bytes())
    }
    fn header(&self, name: &str) -> Vec<Vec<u8>> {
        let forwarded = self.call.forwarded_for.iter().filter(|_| name == "x-forwarded-for");
        let others = self.call.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        forwarded.chain(others.map(|(_, value)| value)).map(|value| value.as_bytes().to_vec()).collect()
    }
    fn attribute(&self, attribute: Attribute) -> Option<&[u8]> {
        match attribute {
            Attribute::SourceAddress => Some(self.address.as_bytes()),
            Attribute::DestinationPort => Some(&self.port),
            Attribute::RequestedServerName => Some(self.call.sni.as_bytes()).filter(|sni| !sni.is_empty()),
            _ => None,
        }
    }
    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        self.values(path)?.into_iter().next()
    }
    fn values(&self, path: &[&str]) -> Option<Vec<Vec<u8>>> {
        let names = path.strip_prefix(&["metadata", "filter_metadata", "envoy.filters.http.jwt_authn", "payload"])?;
        let found = self.call.claims.iter().find(|(known, _)| *known == names.join("."));
        let values = found.map(|(_, values)| values.iter().map(|value| value.as_bytes().to_vec()).collect());
        Some(values.unwrap_or_default())
    }
}

pub struct Converted {
    policy: Policy,
    config: Value,
    trust_domains: BTreeSet<String>,
    differences: BTreeSet<Difference>,
}

/// What the policies become; none where they are refused.
pub fn converted(policies: &[Value]) -> Option<Converted> {
    let authorization = of_one_workload(policies, &Options::default());
    if !authorization.problems.is_empty() {
        return None;
    }
    authorization.check().unwrap();
    let config = authorization.plugin_config;
    let names = ["trustDomains", "federatedTrustDomains"]
        .into_iter()
        .flat_map(|key| config[key].as_array().into_iter().flatten());
    Some(Converted {
        policy: Policy::new(&Config::parse(config.to_string().as_bytes()).unwrap()),
        trust_domains: names.map(|name| name.as_str().unwrap().to_owned()).collect(),
        config,
        differences: authorization.differences,
    })
}

impl Converted {
    pub fn allows(&self, call: &Call) -> bool {
        let peer = call.peer.clone().unwrap_or_default();
        let identify = || {
            let id = SpiffeId::parse(peer.as_bytes()).map_err(|_| NoIdentity::NoMtls)?;
            match self.trust_domains.contains(id.trust_domain()) {
                true => Ok(Caller { id, is_local: id.trust_domain() == "cluster.local" }),
                false => Err(NoIdentity::ForeignTrustDomain),
            }
        };
        matches!(self.policy.decide(&Seen::new(call), identify).verdict, Verdict::Allowed(_))
    }

    fn announces(&self, effect: Effect) -> bool {
        self.differences.iter().any(|difference| difference.effect() == effect)
    }
}

/// How often both said the same, and how many policies were refused.
#[derive(Debug, Default)]
pub struct Tally {
    pub same: usize,
    pub stricter: usize,
    pub refused: usize,
}

impl Tally {
    /// Holds each policy against each call. `plain` are calls that no spelling makes a difference for: there it must never
    /// be wider, and stricter only for a reason that was announced.
    pub fn hold(&mut self, policies: &[Value], plain: &[Call], spelled: &[Call], reasons: &[Difference]) {
        let Some(converted) = converted(policies) else {
            self.refused += 1;
            return;
        };
        for (call, is_plain) in plain.iter().map(|call| (call, true)).chain(spelled.iter().map(|call| (call, false))) {
            let (istio, here) = (istio::allows(policies, call), converted.allows(call));
            let shown = || format!("{policies:#?}\n{:#}\n{call:?}\n{:?}", converted.config, converted.differences);
            match (istio, here) {
                (true, true) | (false, false) => self.same += 1,
                (true, false) => {
                    let announced = converted.differences.iter().any(|difference| reasons.contains(difference));
                    assert!(announced || !is_plain, "stricter without a word: {}", shown());
                    self.stricter += 1;
                }
                (false, true) => {
                    assert!(!is_plain, "wider: {}", shown());
                    assert!(converted.announces(Effect::Spelling), "wider without a word: {}", shown());
                }
            }
        }
    }
}
