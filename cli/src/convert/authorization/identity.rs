//! Sets of SPIFFE IDs: what Istio's patterns on identities stand for, and what several of them have in common.
//!
//! Istio compares the text of the URI SAN. Here an identity is a trust domain and a path, and the trust domains are a
//! closed set: the local one with its aliases, and those that policies name. Peers of others are turned away before any
//! rule is looked at.

use std::collections::BTreeSet;

use tollgate::spiffe::SpiffeId;

use super::super::plugin::mtls_identity::Peer;

/// The trust domains whose peers count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TrustDomains {
    /// The local one first, then its aliases; never empty.
    pub(super) local: Vec<String>,
    /// Others, as themselves.
    pub(super) federated: Vec<String>,
}

impl TrustDomains {
    /// Those that count for one: the local ones are 0, federated ones 1 and up.
    pub(super) fn all(&self) -> BTreeSet<usize> {
        (0..=self.federated.len()).collect()
    }

    /// Those whose name satisfies the condition.
    pub(super) fn matching(&self, is_one: impl Fn(&str) -> bool) -> BTreeSet<usize> {
        let local = self.local.iter().any(|name| is_one(name)).then_some(0);
        let federated = self.federated.iter().enumerate().filter(|(_, name)| is_one(name));
        local.into_iter().chain(federated.map(|(index, _)| index.saturating_add(1))).collect()
    }

    fn name(&self, domain: usize) -> &str {
        match domain.checked_sub(1) {
            None => self.local.first().map_or("cluster.local", String::as_str),
            Some(index) => self.federated.get(index).map_or("", String::as_str),
        }
    }
}

/// One segment of a path; none is any.
pub(super) type Segment = Option<String>;

/// What an identity's path looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// In any way.
    Any,
    /// `ns/NAMESPACE/sa/ACCOUNT`.
    Kubernetes { namespace: Segment, account: Segment },
    /// In any other way than that.
    Other,
    /// These segments, which are not of Kubernetes' form.
    Path(Vec<Segment>),
}

/// How the user has written it, and will want to read it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Style {
    Principal,
    Namespace,
    ServiceAccount,
}

/// The identities of some trust domains that have a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identities {
    pub(super) domains: BTreeSet<usize>,
    pub(super) form: Form,
    pub(super) style: Style,
}

impl Identities {
    /// All that there are.
    pub(super) fn all(trust: &TrustDomains) -> Self {
        Self { domains: trust.all(), form: Form::Any, style: Style::Principal }
    }

    /// What is in both.
    pub(super) fn and(&self, other: &Self) -> Option<Self> {
        let domains: BTreeSet<usize> = self.domains.intersection(&other.domains).copied().collect();
        let form = self.form.and(&other.form).filter(|_| !domains.is_empty())?;
        let style = match (&self.form, &other.form) {
            (Form::Any, _) => other.style,
            (_, Form::Any) => self.style,
            _ => self.style.min(other.style),
        };
        Some(Self { domains, form, style })
    }
}

impl Form {
    fn and(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Any, form) | (form, Self::Any) => Some(form.clone()),
            (
                Self::Kubernetes { namespace, account },
                Self::Kubernetes { namespace: other_namespace, account: other_account },
            ) => Some(Self::Kubernetes {
                namespace: common(namespace, other_namespace)?,
                account: common(account, other_account)?,
            }),
            (Self::Other, Self::Other) => Some(Self::Other),
            (Self::Other, Self::Path(path)) | (Self::Path(path), Self::Other) => Some(Self::Path(path.clone())),
            (Self::Path(path), Self::Path(other)) if path.len() == other.len() => {
                let segments = path.iter().zip(other).map(|(this, that)| common(this, that));
                segments.collect::<Option<_>>().map(Self::Path)
            }
            _ => None,
        }
    }
}

fn common(this: &Segment, that: &Segment) -> Option<Segment> {
    match (this, that) {
        (None, segment) | (segment, None) => Some(segment.clone()),
        (Some(this), Some(that)) => (this == that).then(|| Some(this.clone())),
    }
}

/// The form of a path that is written out.
pub(super) fn form_of(principal: &SpiffeId<'_>) -> Form {
    match principal.kubernetes() {
        Some((namespace, account)) => {
            Form::Kubernetes { namespace: Some(namespace.to_owned()), account: Some(account.to_owned()) }
        }
        None => Form::Path(principal.path().split('/').map(|segment| Some(segment.to_owned())).collect()),
    }
}

/// Who is meant by a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Who {
    /// Whoever has an identity.
    Everyone,
    /// Nobody that has one.
    Nobody,
    /// These.
    Peers(Vec<Peer>),
}

impl Who {
    /// Those of all that are given but those that are excluded.
    pub(super) fn new(given: &[Vec<Identities>], excluded: &[Identities], trust: &TrustDomains) -> Self {
        let mut found = vec![Identities::all(trust)];
        for union in given {
            let pairs = found.iter().flat_map(|this| union.iter().filter_map(|that| this.and(that)));
            found = pairs.collect();
        }
        if excluded
            .iter()
            .any(|identities| *identities == Identities { style: identities.style, ..Identities::all(trust) })
        {
            found.clear();
        }
        if found.is_empty() {
            return Self::Nobody;
        }
        let is_everyone = found.iter().any(|one| one.form == Form::Any && one.domains == trust.all());
        if is_everyone && excluded.is_empty() {
            return Self::Everyone;
        }
        let mut exclusions = Peer::default();
        for identities in excluded {
            exclude(identities, trust, &mut exclusions);
        }
        let mut peers: Vec<Peer> = Vec::new();
        let found = if is_everyone { vec![Identities::all(trust)] } else { found };
        for identities in &found {
            include(identities, trust, &mut peers);
        }
        for peer in &mut peers {
            peer.not_principals.clone_from(&exclusions.not_principals);
            peer.not_namespaces.extend(exclusions.not_namespaces.iter().cloned());
            peer.not_service_accounts.clone_from(&exclusions.not_service_accounts);
            peer.not_trust_domains.clone_from(&exclusions.not_trust_domains);
        }
        Self::Peers(peers)
    }
}

/// Adds the peers that have one of the identities: to an entry of the same kind, where there is one.
fn include(identities: &Identities, trust: &TrustDomains, peers: &mut Vec<Peer>) {
    let names = || identities.domains.iter().map(|domain| trust.name(*domain));
    let is_local = identities.domains.iter().eq(&[0]);
    let mut add = |fresh: Peer, list: fn(&mut Peer) -> &mut Vec<String>| {
        let mut fresh = fresh;
        let kind = Peer { ..without(&fresh, list) };
        let same = peers.iter_mut().find(|peer| !list(&mut (**peer).clone()).is_empty() && without(peer, list) == kind);
        match same {
            Some(peer) => push_new(list(peer), std::mem::take(list(&mut fresh))),
            None => peers.push(fresh),
        }
    };
    match &identities.form {
        Form::Any if identities.domains == trust.all() => peers.push(Peer::default()),
        Form::Any => {
            let trust_domains = names().map(str::to_owned).collect();
            add(Peer { trust_domains, ..Peer::default() }, |peer| &mut peer.trust_domains);
        }
        Form::Other => {
            let all = identities.domains == trust.all() && trust.federated.is_empty();
            let trust_domains = names().filter(|_| !all).map(str::to_owned).collect();
            peers.push(Peer { trust_domains, not_namespaces: vec!["*".to_owned()], ..Peer::default() });
        }
        Form::Kubernetes { namespace, account } => match (is_local, identities.style, account) {
            (true, Style::Namespace, None) => {
                add(Peer { namespaces: vec![text(namespace)], ..Peer::default() }, |peer| &mut peer.namespaces);
            }
            (true, Style::ServiceAccount, _) => {
                let service_accounts = vec![format!("{}/{}", text(namespace), text(account))];
                add(Peer { service_accounts, ..Peer::default() }, |peer| &mut peer.service_accounts);
            }
            _ => {
                add(Peer { principals: principals(identities, trust), ..Peer::default() }, |peer| &mut peer.principals)
            }
        },
        Form::Path(_) => {
            add(Peer { principals: principals(identities, trust), ..Peer::default() }, |peer| &mut peer.principals);
        }
    }
}

/// Adds the identities to what a peer must not be. Those of another form than Kubernetes' can't be written so; whoever
/// excludes them asks for Kubernetes' form instead.
fn exclude(identities: &Identities, trust: &TrustDomains, exclusions: &mut Peer) {
    // `notNamespaces` and `notServiceAccounts` speak of local peers alone.
    let says_all = trust.federated.is_empty() || identities.domains.iter().eq(&[0]);
    match (&identities.form, identities.style) {
        (Form::Any, _) => {
            let names = identities.domains.iter().map(|domain| trust.name(*domain).to_owned());
            push_new(&mut exclusions.not_trust_domains, names.collect());
        }
        (Form::Kubernetes { namespace, account: None }, Style::Namespace) if says_all => {
            push_new(&mut exclusions.not_namespaces, vec![text(namespace)]);
        }
        (Form::Kubernetes { namespace, account }, Style::ServiceAccount) if says_all => {
            push_new(&mut exclusions.not_service_accounts, vec![format!("{}/{}", text(namespace), text(account))]);
        }
        (Form::Other, _) => {}
        (Form::Kubernetes { .. } | Form::Path(_), _) => {
            push_new(&mut exclusions.not_principals, principals(identities, trust));
        }
    }
}

/// The identities as principals, one for each trust domain.
fn principals(identities: &Identities, trust: &TrustDomains) -> Vec<String> {
    let path = match &identities.form {
        Form::Kubernetes { namespace, account } => format!("ns/{}/sa/{}", text(namespace), text(account)),
        Form::Path(segments) => segments.iter().map(text).collect::<Vec<_>>().join("/"),
        Form::Any | Form::Other => return Vec::new(),
    };
    identities.domains.iter().map(|domain| format!("{}/{path}", trust.name(*domain))).collect()
}

fn text(segment: &Segment) -> String {
    segment.clone().unwrap_or_else(|| "*".to_owned())
}

/// The peer without one of its lists: what must be the same for two entries to become one.
fn without(peer: &Peer, list: fn(&mut Peer) -> &mut Vec<String>) -> Peer {
    let mut rest = peer.clone();
    list(&mut rest).clear();
    rest
}

fn push_new(list: &mut Vec<String>, values: Vec<String>) {
    for value in values {
        if !list.contains(&value) {
            list.push(value);
        }
    }
}
