//! One rule of a policy, as the rules of Tollgate that it comes to.
//!
//! Istio's rule holds for any of its sources with any of its operations, under all of its conditions. Of Tollgate's,
//! `match` has alternatives of hosts, paths and methods, and `allow` or `deny` alternatives of peers; whatever else is
//! asked is in `when`, which has none. So sources and operations that ask for the same in `when` stay together, and the
//! others become rules of their own.

use super::super::field::Field;
use super::super::plugin::matching::{Match, ValueCondition};
use super::super::plugin::mtls_identity::{Conditions, Peer};
use super::super::report::Report;
use super::bound::Bound;
use super::condition::Condition;
use super::difference::Difference;
use super::draft::Draft;
use super::identity::{TrustDomains, Who};
use super::operation::{self, Operation};
use super::policy::{Action, Policy};
use super::source::{self, Asked, Context};
use super::{principal, when};

/// What of a rule goes into one rule of Tollgate's.
struct Group<T> {
    condition: Condition,
    members: Vec<T>,
}

/// How many rules one may come to.
const MOST: usize = 64;

/// Reads one rule; what can't be carried over is in the report.
pub(super) fn read(
    field: &Field<'_>,
    policy: &Policy<'_>,
    trust: &TrustDomains,
    hops: u8,
    report: &mut Report,
) -> Vec<Draft> {
    field.only(&["from", "to", "when"], "a rule", report);
    let (bound, target) = match policy.action {
        Action::Allow => (Bound::Inner, "allow"),
        Action::Deny => (Bound::Outer, "deny"),
        Action::Audit => (Bound::Near, "deny"),
    };
    let context = Context { namespace: &policy.namespace, trust, bound, target };
    let before = report.problems.len();
    let (asked, conditions) = match field.get("when") {
        Some(list) => when::read(&list, &context, report),
        None => (Asked::default(), vec![Condition::default()]),
    };
    let sources = sources(field, &asked, &context, report);
    let operations = operations(field, bound, report);
    if report.problems.len() > before {
        return Vec::new();
    }
    let mut drafts = Vec::new();
    for condition in &conditions {
        for source in &sources {
            for operation in &operations {
                let all = condition.clone().and(source.condition.clone());
                let all = all.and_then(|both| both.and(operation.condition.clone()));
                let printed = all.and_then(|all| match all.is_never() {
                    true => Ok(None),
                    false => Ok(Some((all.present.clone(), all.print(hops)?))),
                });
                match printed {
                    Ok(None) => {}
                    Ok(Some((present, when))) => {
                        drafts.push(draft(&operation.members, &source.members, &present, when, &field.path));
                    }
                    Err(refusal) => refusal.at(field, report),
                }
            }
        }
    }
    if drafts.len() > MOST {
        let reason = format!("would come to {} rules", drafts.len());
        report.refuse(field, reason, "write a rule for each of its sources or operations");
    }
    if drafts.is_empty() && report.problems.len() == before {
        report.lost(field, nothing_left(policy.action, &sources));
    }
    drafts
}

fn nothing_left(action: Action, sources: &[Group<Source>]) -> &'static str {
    match (action, sources.is_empty()) {
        (_, false) => "MATCHES NOTHING: its conditions contradict each other",
        (Action::Allow, true) => {
            "it is for callers without an identity, or for nobody, and callers without an identity are turned away"
        }
        (Action::Deny | Action::Audit, true) => {
            "it is for callers without an identity, or for nobody, and callers without an identity are turned away \
             without it"
        }
    }
}

/// The trust domains that a rule names outright.
pub(super) fn trust_domains<'a>(field: &Field<'a>) -> Vec<&'a str> {
    let mut named = Vec::new();
    let mut take = |list: Option<Field<'a>>, are_domains: bool| {
        for item in list.map(|list| list.items()).unwrap_or_default() {
            named.extend(item.text().and_then(|text| principal::trust_domain_named(text, are_domains)));
        }
    };
    let lists = [("principals", false), ("notPrincipals", false), ("trustDomains", true), ("notTrustDomains", true)];
    for source in field.get("from").map(|from| from.items()).unwrap_or_default() {
        for (name, are_domains) in lists {
            take(source.find(&["source", name]), are_domains);
        }
    }
    for entry in field.get("when").map(|when| when.items()).unwrap_or_default() {
        let are_domains = match entry.text_of("key") {
            "source.principal" => false,
            "source.trustDomain" => true,
            _ => continue,
        };
        take(entry.get("values"), are_domains);
        take(entry.get("notValues"), are_domains);
    }
    named
}

/// Who a source is for.
struct Source {
    who: Who,
    names_peers: bool,
}

fn draft(operations: &[Match], sources: &[Source], present: &[String], when: Conditions, path: &str) -> Draft {
    let mut matches = operations.to_vec();
    for name in present {
        let header = ValueCondition { name: name.clone(), present: Some(true), ..ValueCondition::default() };
        for alternative in &mut matches {
            alternative.headers.push(header.clone());
        }
    }
    if matches.iter().any(Match::is_any) {
        matches.clear();
    }
    let everyone = sources.iter().any(|source| source.who == Who::Everyone);
    let is_for_anybody = sources.iter().any(|source| source.who == Who::Everyone && !source.names_peers);
    let mut peers: Vec<Peer> = Vec::new();
    for source in sources {
        if let Who::Peers(more) = &source.who
            && !everyone
        {
            peers.extend(more.iter().filter(|peer| !peers.contains(peer)).cloned().collect::<Vec<_>>());
        }
    }
    Draft { matches, when, peers, is_for_anybody, path: path.to_owned() }
}

/// The sources, those together that ask for the same beside who it is.
fn sources(field: &Field<'_>, asked: &Asked, context: &Context<'_>, report: &mut Report) -> Vec<Group<Source>> {
    let mut groups: Vec<Group<Source>> = Vec::new();
    let mut add = |asked: &Asked, condition: Condition| {
        let source = Source { who: asked.who(context.trust), names_peers: asked.names_peers() };
        if source.who != Who::Nobody {
            join(&mut groups, condition, source);
        }
    };
    let Some(from) = field.get("from") else {
        add(asked, Condition::default());
        return groups;
    };
    for entry in entries(&from, "source", report) {
        let (own, alternatives) = source::read(&entry, context, report);
        let both = own.and(asked);
        if both.who(context.trust) == Who::Nobody {
            let reason = "nobody with an identity is such a source, and callers without one are turned away anyway";
            report.differs(&entry, Difference::IdentityRequired, reason);
        }
        for condition in alternatives {
            add(&both, condition);
        }
    }
    groups
}

/// The operations, those together that ask for the same beside hosts, paths and methods.
fn operations(field: &Field<'_>, bound: Bound, report: &mut Report) -> Vec<Group<Match>> {
    let mut groups = Vec::new();
    let Some(to) = field.get("to") else {
        join(&mut groups, Condition::default(), Match::default());
        return groups;
    };
    for entry in entries(&to, "operation", report) {
        let Operation { matches, condition } = operation::read(&entry, bound, report);
        join(&mut groups, condition, matches);
    }
    groups
}

fn join<T>(groups: &mut Vec<Group<T>>, condition: Condition, member: T) {
    match groups.iter_mut().find(|group| group.condition == condition) {
        Some(group) => group.members.push(member),
        None => groups.push(Group { condition, members: vec![member] }),
    }
}

/// The objects of a list such as `[{source: {...}}]`.
fn entries<'a>(list: &Field<'a>, name: &str, report: &mut Report) -> Vec<Field<'a>> {
    let items = list.items();
    if items.is_empty() {
        report.refuse(list, "must be a list that is not empty", "take it out for no condition: Istio refuses this");
    }
    let mut found = Vec::new();
    for item in items {
        item.only(&[name], &format!("an entry of {}", list.path), report);
        match item.get(name) {
            Some(entry) => found.push(entry),
            None => report.refuse(&item, format!("has no {name}"), "correct it: Istio refuses this"),
        }
    }
    found
}
