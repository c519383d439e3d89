//! `from.source`, and the conditions of `when` that are about the peer: who, and from where.

use std::collections::BTreeSet;

use super::super::field::Field;
use super::super::report::Report;
use super::bound::{Bound, Refusal, Side, Translated, list, translate_list};
use super::condition::{Addresses, Condition};
use super::difference::Difference;
use super::identity::{Form, Identities, Style, TrustDomains, Who};
use super::{network, principal, token};

/// What conditions on peers are read with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    /// The policy's namespace.
    pub(super) namespace: &'a str,
    pub(super) trust: &'a TrustDomains,
    pub(super) bound: Bound,
    /// Where they go: `allow` or `deny`.
    pub(super) target: &'a str,
}

/// What is asked of a peer; all of it must hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    /// Of each list one entry.
    given: Vec<Vec<Identities>>,
    /// None of these.
    excluded: Vec<Identities>,
    /// Whether all of it is written out, so that callers without an identity are not among them.
    names_peers: bool,
}

impl Asked {
    /// Both at once.
    pub(super) fn and(mut self, other: &Self) -> Self {
        self.given.extend(other.given.iter().cloned());
        self.excluded.extend(other.excluded.iter().cloned());
        self.names_peers |= other.names_peers;
        self
    }

    /// Who that is.
    pub(super) fn who(&self, trust: &TrustDomains) -> Who {
        Who::new(&self.given, &self.excluded, trust)
    }

    /// Whether Istio too asks for an identity.
    pub(super) fn names_peers(&self) -> bool {
        self.names_peers
    }
}

/// The kinds of lists on peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Principals,
    Namespaces,
    ServiceAccounts,
    TrustDomains,
}

/// The fields of a source, each with the one that excludes.
const PEERS: [(&str, &str, Kind); 4] = [
    ("principals", "notPrincipals", Kind::Principals),
    ("namespaces", "notNamespaces", Kind::Namespaces),
    ("serviceAccounts", "notServiceAccounts", Kind::ServiceAccounts),
    ("trustDomains", "notTrustDomains", Kind::TrustDomains),
];
const OTHERS: [&str; 6] =
    ["requestPrincipals", "notRequestPrincipals", "ipBlocks", "notIpBlocks", "remoteIpBlocks", "notRemoteIpBlocks"];

/// Reads a source: who, and alternatives of what else must hold.
pub(super) fn read(field: &Field<'_>, context: &Context<'_>, report: &mut Report) -> (Asked, Vec<Condition>) {
    let known: Vec<&str> = PEERS.iter().flat_map(|(name, not, _)| [*name, *not]).chain(OTHERS).collect();
    field.only(&known, "a source", report);
    if known.iter().all(|name| field.get(name).is_none_or(|list| list.value.as_array().is_some_and(Vec::is_empty))) {
        report.refuse(field, "has no condition", "give it one, or take it out: Istio refuses this");
    }
    let mut asked = Asked::default();
    for (name, not, kind) in PEERS {
        if let Some(field) = list(field, name, report) {
            asked = asked.and(&peers(&field, kind, false, context, report));
        }
        if let Some(field) = list(field, not, report) {
            asked = asked.and(&peers(&field, kind, true, context, report));
        }
    }
    let mut alternatives = vec![Condition {
        peer: addresses(field, "ipBlocks", "notIpBlocks", Difference::PeerAddress, report),
        client: addresses(field, "remoteIpBlocks", "notRemoteIpBlocks", Difference::ClientAddress, report),
        ..Condition::default()
    }];
    for (name, not) in [("requestPrincipals", false), ("notRequestPrincipals", true)] {
        if let Some(list) = list(field, name, report)
            && let Some(found) = token::request_principals(&list, not, report)
        {
            alternatives = product(&alternatives, &found).unwrap_or_else(|refusal| {
                refusal.at(&list, report);
                Vec::new()
            });
        }
    }
    (asked, alternatives)
}

/// Each of these with each of those.
pub(super) fn product(these: &[Condition], those: &[Condition]) -> Result<Vec<Condition>, Refusal> {
    let pairs = these.iter().flat_map(|this| those.iter().map(|that| this.clone().and(that.clone())));
    pairs.collect()
}

/// A list of peers, or of those that are none of them.
pub(super) fn peers(field: &Field<'_>, kind: Kind, not: bool, context: &Context<'_>, report: &mut Report) -> Asked {
    let trust = context.trust;
    let bound = if not { context.bound.inverted() } else { context.bound };
    let translate = |text: &str, side: Side| -> Result<Translated<Identities>, Refusal> {
        match kind {
            Kind::Principals => principal::principal(text, trust, side),
            Kind::Namespaces => principal::namespace(text, trust, side),
            Kind::ServiceAccounts => principal::service_account(text, context.namespace, trust, side),
            Kind::TrustDomains => principal::trust_domain(text, trust),
        }
    };
    let Some(identities) = translate_list(field, bound, report, translate) else { return Asked::default() };
    announce(field, kind, bound, &identities, context, report);
    let texts: Vec<&str> = field.items().iter().filter_map(Field::text).collect();
    if !not {
        let others = match identities.iter().any(|one| one.form == Form::Other) {
            true => ", and identities of another form than ns/NAMESPACE/sa/ACCOUNT (notNamespaces: \"*\")",
            false => "",
        };
        report.became(field, format!("{}: {}{others}", context.target, texts.join(", ")));
        return Asked { given: vec![identities], excluded: Vec::new(), names_peers: true };
    }
    report.became(field, format!("{}, without {}", context.target, texts.join(", ")));
    // What is of no form that can be excluded must not be there at all.
    let (others, excluded): (Vec<_>, Vec<_>) = identities.into_iter().partition(|one| one.form == Form::Other);
    let given = others.iter().map(|one| {
        let style = if trust.federated.is_empty() { Style::Namespace } else { Style::Principal };
        let form = Form::Kubernetes { namespace: None, account: None };
        let kubernetes = Identities { domains: trust.all(), form, style };
        let rest: BTreeSet<usize> = trust.all().difference(&one.domains).copied().collect();
        let rest = Some(Identities { domains: rest, form: Form::Any, style: Style::Principal });
        [kubernetes].into_iter().chain(rest.filter(|rest| !rest.domains.is_empty())).collect()
    });
    Asked { given: given.collect(), excluded, names_peers: false }
}

fn announce(
    field: &Field<'_>,
    kind: Kind,
    bound: Bound,
    identities: &[Identities],
    context: &Context<'_>,
    report: &mut Report,
) {
    let is_exact = |text: &str| match kind {
        Kind::Principals => !text.contains('*') || text == "*",
        Kind::Namespaces | Kind::ServiceAccounts => false,
        Kind::TrustDomains => true,
    };
    if field.items().iter().filter_map(Field::text).any(|text| !is_exact(text)) {
        report.announce(field, Difference::IdentityForm);
    }
    let is_local = identities.iter().any(|one| one.style != Style::Principal) && bound == Bound::Inner;
    if is_local && !context.trust.federated.is_empty() {
        report.announce(field, Difference::FederatedNamespace);
    }
}

/// Where an address must be.
fn addresses(object: &Field<'_>, name: &str, not: &str, difference: Difference, report: &mut Report) -> Addresses {
    let mut addresses = Addresses::default();
    if let Some(field) = list(object, name, report) {
        addresses.within = networks(&field, "when.clientAddresses", difference, report);
    }
    if let Some(field) = list(object, not, report) {
        addresses.without = networks(&field, "when.notClientAddresses", difference, report).unwrap_or_default();
    }
    addresses
}

/// The networks of a list.
pub(super) fn networks(
    field: &Field<'_>,
    target: &str,
    difference: Difference,
    report: &mut Report,
) -> Option<Vec<ipnet::IpNet>> {
    let networks = network::read(field, report)?;
    let hops = if difference == Difference::ClientAddress { ", with trustedHops" } else { "" };
    report.became(field, format!("{target}{hops}: {}", network::print(&networks).join(", ")));
    report.announce(field, difference);
    Some(networks)
}
