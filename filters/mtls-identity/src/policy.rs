//! The decision on one request. Denies unless something says otherwise.

use tollgate::{
    request::Request,
    route::{Doubt, RouteTable},
    spiffe::TrustDomain,
};

use crate::{
    config::{Config, Default, PeerMatch},
    identity::{self, NoIdentity},
};

/// All rules of one configuration.
#[derive(Debug, Clone)]
pub struct Policy {
    trust_domains: Vec<TrustDomain>,
    require_validated: bool,
    exempt: RouteTable,
    routes: RouteTable,
    rules: Vec<Rule>,
    default: Default,
}

#[derive(Debug, Clone)]
struct Rule {
    /// Everybody, if not given.
    allow: Option<Vec<PeerMatch>>,
    deny: Vec<PeerMatch>,
}

/// What is to be done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It passes.
    Allowed(Allowed),
    /// It is turned away.
    Denied {
        /// The rule that denied, if one was for the request.
        rule: Option<usize>,
        /// Why.
        reason: Reason,
    },
}

/// What let a request pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// It needs no identity.
    Exempt,
    /// The rule of this index.
    Rule(usize),
    /// The default.
    Default,
}

/// Why a request is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The peer has no identity that counts here.
    NoIdentity(NoIdentity),
    /// Two readers may take the path for different ones, and the rules go by path.
    AmbiguousPath,
    /// The host is no plain host name, and the rules go by host.
    AmbiguousHost,
    /// The rule's `deny` has the peer.
    DeniedByRule,
    /// The rule's `allow` does not have the peer.
    NotAllowed,
    /// No rule is for the request.
    NoRule,
}

impl Reason {
    /// As logs and counters spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoIdentity(reason) => reason.as_str(),
            Self::AmbiguousPath => "ambiguous_path",
            Self::AmbiguousHost => "ambiguous_host",
            Self::DeniedByRule => "denied_by_rule",
            Self::NotAllowed => "not_allowed",
            Self::NoRule => "no_rule",
        }
    }
}

impl Policy {
    /// Compiles a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let otherwise = if config.rules.is_empty() { Default::Allow } else { Default::Deny };
        Self {
            trust_domains: config.trust_domains.clone(),
            require_validated: config.require_validated,
            exempt: RouteTable::of_exemptions(&config.exempt),
            routes: RouteTable::new(config.rules.iter().map(|rule| rule.matches.as_slice())),
            rules: config
                .rules
                .iter()
                .map(|rule| Rule { allow: rule.allow.clone(), deny: rule.deny.clone() })
                .collect(),
            default: config.default.unwrap_or(otherwise),
        }
    }

    /// Decides on a request.
    pub fn decide(&self, request: &impl Request) -> Verdict {
        let denied = |rule, reason| Verdict::Denied { rule, reason };

        if self.exempt.takes_for_certain(request) {
            return Verdict::Allowed(Allowed::Exempt);
        }
        let found = self.routes.find(request);
        let id = match identity::peer(request, &self.trust_domains, self.require_validated) {
            Ok(id) => id,
            Err(reason) => return denied(found.rule, Reason::NoIdentity(reason)),
        };
        match found.doubt {
            None => {}
            Some(Doubt::Host) => return denied(found.rule, Reason::AmbiguousHost),
            Some(Doubt::Path(_)) => return denied(found.rule, Reason::AmbiguousPath),
        }
        let Some((index, rule)) = found.rule.and_then(|index| Some((index, self.rules.get(index)?))) else {
            return match self.default {
                Default::Allow => Verdict::Allowed(Allowed::Default),
                Default::Deny => denied(None, Reason::NoRule),
            };
        };
        let has = |peers: &[PeerMatch]| peers.iter().any(|peer| peer.matches(&id, &self.trust_domains));
        if has(&rule.deny) {
            return denied(Some(index), Reason::DeniedByRule);
        }
        if rule.allow.as_deref().is_some_and(|allow| !has(allow)) {
            return denied(Some(index), Reason::NotAllowed);
        }
        Verdict::Allowed(Allowed::Rule(index))
    }
}

#[cfg(test)]
mod tests;
