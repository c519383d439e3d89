//! Whether a caller is among those that a rule names. What a rule costs does not depend on how many principals it names.

use std::collections::{HashMap, HashSet};

use tollgate::spiffe::TrustDomain;

use crate::{
    config::{Account, Peer, Principal, Segment},
    identity::{Caller, TrustDomains},
};

/// A rule's `allow` or `deny`.
#[derive(Debug, Clone)]
pub(crate) struct Peers(Vec<Entry>);

#[derive(Debug, Clone)]
struct Entry {
    principals: Option<Principals>,
    not_principals: Principals,
    namespaces: Vec<Segment>,
    not_namespaces: Vec<Segment>,
    accounts: Vec<Account>,
    not_accounts: Vec<Account>,
    trust_domains: Vec<TrustDomain>,
    not_trust_domains: Vec<TrustDomain>,
}

impl Peers {
    pub(crate) fn new(peers: &[Peer], trust: &TrustDomains) -> Self {
        let entry = |peer: &Peer| Entry {
            principals: Some(&peer.principals).filter(|list| !list.is_empty()).map(|list| Principals::new(list, trust)),
            not_principals: Principals::new(&peer.not_principals, trust),
            namespaces: peer.namespaces.clone(),
            not_namespaces: peer.not_namespaces.clone(),
            accounts: peer.service_accounts.clone(),
            not_accounts: peer.not_service_accounts.clone(),
            trust_domains: peer.trust_domains.clone(),
            not_trust_domains: peer.not_trust_domains.clone(),
        };
        Self(peers.iter().map(entry).collect())
    }

    pub(crate) fn have(&self, caller: Caller<'_>, trust: &TrustDomains) -> bool {
        self.0.iter().any(|entry| entry.fits(caller, trust))
    }
}

impl Entry {
    fn fits(&self, caller: Caller<'_>, trust: &TrustDomains) -> bool {
        let is_of_one = |domains: &[TrustDomain]| domains.iter().any(|domain| trust.is_of(caller, domain.as_str()));
        // Another trust domain's namespaces are not ours, unless the entry is about that trust domain.
        let is_asked_for = caller.is_local || !self.trust_domains.is_empty();
        let kubernetes = caller.id.kubernetes().filter(|_| is_asked_for);
        let in_one = |namespaces: &[Segment]| {
            kubernetes.is_some_and(|(namespace, _)| namespaces.iter().any(|pattern| pattern.fits(namespace)))
        };
        let has_one = |accounts: &[Account]| {
            kubernetes.is_some_and(|(namespace, name)| {
                accounts.iter().any(|account| account.namespace.fits(namespace) && account.name.fits(name))
            })
        };
        (self.trust_domains.is_empty() || is_of_one(&self.trust_domains))
            && !is_of_one(&self.not_trust_domains)
            && self.principals.as_ref().is_none_or(|principals| principals.have(caller, trust))
            && !self.not_principals.have(caller, trust)
            && (self.namespaces.is_empty() || in_one(&self.namespaces))
            && !in_one(&self.not_namespaces)
            && (self.accounts.is_empty() || has_one(&self.accounts))
            && !has_one(&self.not_accounts)
    }
}

/// Principals, those without a wildcard by their path.
#[derive(Debug, Clone)]
struct Principals {
    /// Of our own trust domain, by whichever of its names.
    local: HashSet<String>,
    /// By trust domain.
    others: HashMap<String, HashSet<String>>,
    wildcards: Vec<Principal>,
}

impl Principals {
    fn new(principals: &[Principal], trust: &TrustDomains) -> Self {
        let mut compiled = Self { local: HashSet::new(), others: HashMap::new(), wildcards: Vec::new() };
        for principal in principals {
            if principal.has_wildcard {
                compiled.wildcards.push(principal.clone());
            } else if trust.is_alias(&principal.trust_domain) {
                compiled.local.insert(principal.path.clone());
            } else {
                let others = compiled.others.entry(principal.trust_domain.clone()).or_default();
                others.insert(principal.path.clone());
            }
        }
        compiled
    }

    fn have(&self, caller: Caller<'_>, trust: &TrustDomains) -> bool {
        let (trust_domain, path) = (caller.id.trust_domain(), caller.id.path());
        caller.is_local && self.local.contains(path)
            || self.others.get(trust_domain).is_some_and(|paths| paths.contains(path))
            || self.wildcards.iter().any(|principal| trust.is(caller, principal))
    }
}
