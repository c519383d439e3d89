//! What a configuration must be beyond the types of its fields: nothing in it may be without effect, or say less than it
//! seems to.

use tollgate::{
    config::{self, ConfigError},
    name::Name,
    route::RouteMatch,
};

use super::{Config, HandOver, HeaderName, Mode, Otherwise, Peer, Principal, RuleConfig, Source, When};

/// Headers that HTTP itself goes by.
const MEANT_FOR_HTTP: &[&str] = &["host", "connection", "content-length", "transfer-encoding", "te", "upgrade"];

impl Config {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let named: Vec<(&Name, &[RouteMatch])> =
            self.rules.iter().map(|rule| (&rule.name, rule.matches.as_slice())).collect();
        config::check_rules("rules", &named)?;
        config::check_exempt(&self.exempt)?;
        self.check_sources()?;
        if let Some(HandOver { header, filter_state }) = &self.hand_over {
            match header.as_ref().map(HeaderName::as_str) {
                None if !filter_state => {
                    return Err(ConfigError::at("handOver", "must have `header`, `filterState: true` or both"));
                }
                Some(name) if MEANT_FOR_HTTP.contains(&name) => {
                    let reason = format!("`{name}` has a meaning in HTTP: take another name");
                    return Err(ConfigError::at("handOver.header", reason));
                }
                _ => {}
            }
        }
        for (index, domain) in self.federated_trust_domains.iter().enumerate() {
            if self.trust_domains.contains(domain) {
                let reason = format!("`{}` is one of `trustDomains`, whose peers are ours", domain.as_str());
                return Err(ConfigError::at(format!("federatedTrustDomains[{index}]"), reason));
            }
        }
        for (index, rule) in self.rules.iter().enumerate() {
            self.check_rule(rule).map_err(|error| error.under(&format!("rules[{index}]")))?;
        }
        Ok(())
    }

    fn check_sources(&self) -> Result<(), ConfigError> {
        let sources = self.sources.as_slice();
        let forwards = sources.iter().position(|source| *source == Source::Forwarded);
        let tls = sources.iter().position(|source| *source == Source::Tls);
        match (forwards, &self.forwarded) {
            (Some(_), None) => {
                return Err(ConfigError::at("forwarded", "missing: `by` must say whom source `forwarded` believes"));
            }
            (None, Some(_)) => {
                return Err(ConfigError::at("forwarded", "has no effect: `source` does not have `forwarded`"));
            }
            (Some(_), Some(forwarded)) => self.check_principals("forwarded.by", &forwarded.by)?,
            (None, None) => {}
        }
        if let (Some(forwards), Some(tls)) = (forwards, tls)
            && tls < forwards
        {
            let reason = "can never count behind `tls`, which every forwarder has: put `forwarded` first";
            return Err(ConfigError::at(format!("source[{forwards}]"), reason));
        }
        Ok(())
    }

    fn check_rule(&self, rule: &RuleConfig) -> Result<(), ConfigError> {
        for (list, peers) in [("allow", &rule.allow), ("deny", &rule.deny)] {
            for (entry, peer) in peers.iter().enumerate() {
                self.check_peer(peer).map_err(|error| error.under(&format!("{list}[{entry}]")))?;
            }
        }
        if let Some(when) = &rule.when {
            when.check().map_err(|error| error.under("when"))?;
        }
        if rule.otherwise == Some(Otherwise::Allow) && !rule.allow.is_empty() {
            return Err(ConfigError::at("allow", "has no effect: `otherwise: allow` lets everybody pass"));
        }
        if rule.otherwise == Some(Otherwise::Deny) && rule.allow.is_empty() && !rule.deny.is_empty() {
            return Err(ConfigError::at("deny", "has no effect: `otherwise: deny` without `allow` lets nobody pass"));
        }
        if rule.otherwise == Some(Otherwise::Next) && rule.allow.is_empty() && rule.deny.is_empty() {
            return Err(ConfigError::at("otherwise", "`next` without `allow` and `deny` decides nothing"));
        }
        Ok(())
    }

    /// Refuses what would match everybody, or could match nobody.
    fn check_peer(&self, peer: &Peer) -> Result<(), ConfigError> {
        if *peer == Peer::default() {
            return Err(ConfigError::at("", "must have `principals`, `namespaces` or another condition"));
        }
        self.check_principals("principals", &peer.principals)?;
        self.check_principals("notPrincipals", &peer.not_principals)?;
        for (list, domains) in [("trustDomains", &peer.trust_domains), ("notTrustDomains", &peer.not_trust_domains)] {
            for (index, domain) in domains.iter().enumerate() {
                self.check_trust_domain(domain.as_str()).map_err(|error| error.under(&format!("{list}[{index}]")))?;
            }
        }
        Ok(())
    }

    fn check_principals(&self, list: &str, principals: &[Principal]) -> Result<(), ConfigError> {
        for (index, principal) in principals.iter().enumerate() {
            self.check_trust_domain(&principal.trust_domain)
                .map_err(|error| error.under(&format!("{list}[{index}]")))?;
        }
        Ok(())
    }

    /// Which trust domain the proxy's own is, only the proxy knows.
    fn check_trust_domain(&self, name: &str) -> Result<(), ConfigError> {
        let mut known = self.trust_domains.iter().chain(&self.federated_trust_domains);
        if self.trust_domains.is_empty() || known.any(|domain| domain.as_str() == name) {
            return Ok(());
        }
        let reason = format!("can never match: `{name}` is not one of `trustDomains` or `federatedTrustDomains`");
        Err(ConfigError::at("", reason))
    }
}

impl When {
    fn check(&self) -> Result<(), ConfigError> {
        if (Self { trusted_hops: None, ..self.clone() }) == Self::default() {
            return Err(ConfigError::at("", "must have a condition: leave it out instead"));
        }
        if self.trusted_hops.is_some() && self.client_addresses.is_empty() && self.not_client_addresses.is_empty() {
            let reason = "has no effect without `clientAddresses` or `notClientAddresses`";
            return Err(ConfigError::at("trustedHops", reason));
        }
        let missing = ConfigError::at("", "must have `values` or `notValues`");
        let headers = self.headers.iter().position(|header| header.values.is_empty() && header.not_values.is_empty());
        if let Some(index) = headers {
            return Err(missing.under(&format!("headers[{index}]")));
        }
        let claims = self.jwt_claims.iter().position(|claim| claim.values.is_empty() && claim.not_values.is_empty());
        if let Some(index) = claims {
            return Err(missing.under(&format!("jwtClaims[{index}]")));
        }
        Ok(())
    }
}

impl RuleConfig {
    /// Whether no request that its `match` takes gets to the rules behind it.
    pub(super) fn takes_what_it_matches(&self) -> bool {
        self.when.is_none() && self.mode == Mode::Enforce && self.otherwise() != Otherwise::Next
    }
}
