//! The configuration that the policies of one workload come to.
//!
//! DENY rules first, then those that only count, then ALLOW rules; and what is left is denied if there is any ALLOW
//! policy. Each passes on the requests that it does not decide.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::field::Field;
use super::super::plugin::mtls_identity::{Config, Rule, Source};
use super::super::report::Report;
use super::Options;
use super::difference::Difference;
use super::draft::Draft;
use super::identity::TrustDomains;
use super::policy::{Action, Policy};
use super::rule;

/// What kind of proxy the configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Proxy {
    /// A workload's own.
    Sidecar,
    /// Where traffic comes into the mesh: its listeners are outbound.
    Gateway,
    /// Of an ambient mesh.
    Waypoint,
    /// A Gateway of the Gateway API of which nothing more is known.
    GatewayOrWaypoint,
}

impl Proxy {
    fn source(self) -> Source {
        match self {
            Self::Sidecar | Self::Gateway => Source::Tls,
            Self::Waypoint => Source::PeerPrincipal,
            Self::GatewayOrWaypoint => Source::Either,
        }
    }

    /// How many entries of `X-Forwarded-For` stand between Istio's `remote.ip` and the end.
    fn trusted_hops(self, options: &Options) -> u8 {
        match (self, options.trusted_proxies) {
            (Self::Sidecar | Self::Waypoint, _) => 1,
            (Self::Gateway | Self::GatewayOrWaypoint, 0) => 0,
            // The gateway has put its own peer behind the others.
            (Self::Gateway | Self::GatewayOrWaypoint, proxies) => proxies.saturating_add(1),
        }
    }
}

/// A rule of a policy, and what it came to.
struct Part<'p> {
    policy: &'p Policy<'p>,
    index: usize,
    drafts: Vec<Draft>,
}

/// The configuration for proxies of one kind in `namespace` to which all of these policies apply.
pub(super) fn config(
    policies: &[&Policy<'_>],
    namespace: &str,
    proxy: Proxy,
    trust: &TrustDomains,
    options: &Options,
    report: &mut Report,
) -> Config {
    let mut parts = Vec::new();
    let mut ordered = policies.to_vec();
    ordered.sort_by_key(|policy| policy.action);
    for policy in &ordered {
        report.turn_to(policy.origin);
        announce(policy, proxy, report);
        for (index, field) in policy.rules.iter().enumerate() {
            let drafts = rule::read(field, policy, trust, proxy.trusted_hops(options), report);
            parts.push(Part { policy, index, drafts });
        }
    }
    // What is tried out as a whole is so with its default, as in Istio.
    let in_shadow = !policies.is_empty() && policies.iter().all(|policy| policy.is_dry_run);
    let denies = |policy: &&Policy<'_>| policy.action == Action::Allow && (in_shadow || !policy.is_dry_run);
    let mut names = Names { namespace, taken: BTreeSet::new() };
    let mut config = Config {
        source: proxy.source().to_json(),
        trust_domains: trust.local.clone(),
        federated_trust_domains: trust.federated.clone(),
        check_outbound: matches!(proxy, Proxy::Gateway | Proxy::GatewayOrWaypoint),
        mode: in_shadow.then_some("shadow"),
        rules: Vec::new(),
        exempt: Vec::new(),
        default: if policies.iter().any(denies) { "deny" } else { "allow" },
    };
    let guards: Vec<&Draft> =
        (parts.iter()).filter(|part| part.policy.action != Action::Allow).flat_map(|part| &part.drafts).collect();
    // What denies nobody with an identity becomes no rule, and is for callers without one all the same.
    let is_guarded = parts.iter().any(|part| part.policy.action != Action::Allow && part.drafts.is_empty());
    for part in &parts {
        report.turn_to(part.policy.origin);
        for (split, draft) in part.drafts.iter().enumerate() {
            let field = Field::new(&Value::Null, draft.path.clone());
            let is_allow = part.policy.action == Action::Allow;
            let is_free = !is_guarded && guards.iter().all(|guard| draft.excludes(guard));
            if is_allow && draft.can_be_exempt() && is_free && !part.policy.is_dry_run {
                let why =
                    "it names no peers, and no DENY or AUDIT rule is for these requests: no identity is asked for";
                report.became_so(&field, "exempt", why);
                config.exempt.extend(draft.matches.iter().cloned());
                continue;
            }
            if is_allow && draft.is_for_anybody {
                let how = "names no peers, so that in Istio callers without an identity pass by it; here they are turned away";
                report.differs(&field, Difference::IdentityRequired, how);
            }
            let split = (part.drafts.len() > 1).then_some(split);
            let shadow = part.policy.action == Action::Audit || part.policy.is_dry_run && !in_shadow;
            let name = names.next(part.policy, part.index, split);
            report.became(&field, format!("rule {name}"));
            config.rules.push(rule(name, draft, part.policy.action, shadow));
        }
    }
    for policy in ordered.iter().filter(|policy| policy.is_dry_run && policy.action == Action::Allow && !in_shadow) {
        report.turn_to(policy.origin);
        report.announce(&policy.spec, Difference::DryRunDefault);
    }
    config
}

/// What holds of every policy of its kind.
fn announce(policy: &Policy<'_>, proxy: Proxy, report: &mut Report) {
    if proxy == Proxy::Gateway {
        let how = "is for a gateway, whose callers mostly have no certificate of the mesh: all requests without one will be \
                   turned away there";
        report.differs(&policy.spec, Difference::IdentityRequired, how);
    }
    report.announce(&policy.spec, Difference::IdentityRequired);
    report.announce(&policy.spec, Difference::ForeignTrustDomain);
    report.announce(&policy.spec, Difference::HttpOnly);
    if policy.action == Action::Audit {
        report.announce(&policy.spec, Difference::AuditOrder);
    }
}

fn rule(name: String, draft: &Draft, action: Action, shadow: bool) -> Rule {
    let Draft { matches, when, peers, .. } = draft.clone();
    let rule = Rule { name, matches, when, mode: shadow.then_some("shadow"), ..Rule::default() };
    match (action, peers.is_empty()) {
        (Action::Allow, true) => Rule { otherwise: "allow", ..rule },
        (Action::Allow, false) => Rule { allow: peers, otherwise: "next", ..rule },
        (Action::Deny | Action::Audit, true) => Rule { otherwise: "deny", ..rule },
        (Action::Deny | Action::Audit, false) => Rule { deny: peers, otherwise: "next", ..rule },
    }
}

/// Names of rules, each once.
struct Names<'a> {
    namespace: &'a str,
    taken: BTreeSet<String>,
}

/// The longest name of a rule, in characters.
const LONGEST: usize = 63;

impl Names<'_> {
    /// `POLICY-RULE`, with the policy's namespace before it where that is another, and a number behind it where the rule
    /// comes to several.
    fn next(&mut self, policy: &Policy<'_>, index: usize, split: Option<usize>) -> String {
        let base = match policy.namespace == self.namespace {
            true => policy.name.clone(),
            false => format!("{}.{}", policy.namespace, policy.name),
        };
        let end = split.map_or_else(String::new, |split| format!("-{}", split.saturating_add(1)));
        let mut repeated: usize = 1;
        loop {
            let again = if repeated == 1 { String::new() } else { format!("-{repeated}") };
            let end = format!("-{index}{end}{again}");
            let name = base.chars().take(LONGEST.saturating_sub(end.len())).chain(end.chars()).collect::<String>();
            if self.taken.insert(name.clone()) {
                return name;
            }
            repeated = repeated.saturating_add(1);
        }
    }
}
