//! Istio's patterns on identities: principals, namespaces, service accounts and trust domains.
//!
//! Istio compares them with the whole URI SAN, so that `*` crosses slashes and a namespace is looked for anywhere in it.
//! That is the same for identities of the form `TRUST_DOMAIN/ns/NAMESPACE/sa/ACCOUNT`, which are all that Istio issues;
//! an identity of another form is left out on the inner side and taken in on the outer one.

use std::collections::BTreeSet;

use tollgate::spiffe::SpiffeId;

use super::bound::{Refusal, Side, Translated};
use super::difference::Difference;
use super::identity::{Form, Identities, Segment, Style, TrustDomains, form_of};

/// The name by which policies may mean the local trust domain, whatever it is called.
const LOCAL: &str = "cluster.local";

/// How many segments stand for one `*` at the end of an identity that is not of Kubernetes' form.
const DEEPEST: usize = 8;

type Result = std::result::Result<Translated<Identities>, Refusal>;

/// The trust domain that a principal, or a text that is one itself, names outright. `cluster.local` in a principal of the
/// usual form stands for the local one.
pub(super) fn trust_domain_named(text: &str, is_domain: bool) -> Option<&str> {
    let (domain, path) = if is_domain { (text, "") } else { text.split_once('/')? };
    let is_usual = path.split('/').count() == 4;
    let is_one = SpiffeId::parse_schemeless(&format!("{domain}/x")).is_ok();
    (is_one && !domain.contains('/') && !(is_usual && domain == LOCAL)).then_some(domain)
}

/// `principals` and `source.principal`.
pub(super) fn principal(pattern: &str, trust: &TrustDomains, side: Side) -> Result {
    if pattern == "*" {
        return Ok(Translated::exact(vec![Identities::all(trust)]));
    }
    if pattern.starts_with("spiffe:") {
        let why = "Istio puts spiffe:// before it";
        return Err(Refusal::nothing_is(pattern, why, "take spiffe:// out, if that was meant"));
    }
    if let Some(end) = pattern.strip_prefix('*') {
        return ending(pattern, end, trust, side);
    }
    if let Some(stem) = pattern.strip_suffix('*') {
        return beginning(pattern, stem, trust, side);
    }
    let id = SpiffeId::parse_schemeless(pattern).map_err(|error| {
        let why =
            if pattern.contains('*') { "`*` in the middle is plain text to Istio".into() } else { error.to_string() };
        Refusal::nothing_is(pattern, &why, "write TRUST_DOMAIN/ns/NAMESPACE/sa/ACCOUNT")
    })?;
    let form = form_of(&id);
    let is_usual = matches!(form, Form::Kubernetes { .. });
    let domains = named(id.trust_domain(), is_usual, trust);
    some_domain(pattern, &domains)?;
    let identities = vec![Identities { domains, form, style: Style::Principal }];
    Ok(with_aliases(Translated::exact(identities), id.trust_domain(), is_usual, trust))
}

/// `namespaces` and `source.namespace`.
pub(super) fn namespace(pattern: &str, trust: &TrustDomains, side: Side) -> Result {
    let cure = "name the namespaces";
    let (segment, how) = match pattern {
        "*" => (None, None),
        _ if is_label(pattern) => (Some(pattern.to_owned()), None),
        _ => {
            let stem = pattern.strip_prefix('*').or_else(|| pattern.strip_suffix('*'));
            let stem = stem.filter(|stem| is_label(stem)).ok_or_else(|| {
                let what = if pattern.contains('*') { "a pattern within a name" } else { "no name of a namespace" };
                Refusal::new(format!("`{pattern}` is {what}"), cure)
            })?;
            if side == Side::Outer {
                let reason = format!("`{pattern}` is a pattern within a name: what takes all of it is every namespace");
                return Err(Refusal::new(reason, cure));
            }
            (Some(stem.to_owned()), Some(format!("becomes {stem} alone, without namespaces that are only named alike")))
        }
    };
    let mut translated = kubernetes(segment, None, Style::Namespace, local_or_all(trust, side), trust, side);
    translated.differences.extend(how.map(|how| (Difference::PartialSegment, how)));
    Ok(translated)
}

/// `serviceAccounts` and `source.serviceAccount`: `NAMESPACE/ACCOUNT`, or an account of the policy's own namespace.
pub(super) fn service_account(text: &str, own: &str, trust: &TrustDomains, side: Side) -> Result {
    let (namespace, account) = text.split_once('/').unwrap_or((own, text));
    let is_account = |name: &str| name.split('.').all(is_label) && name.len() <= 253;
    if !is_label(namespace) || !is_account(account) {
        let reason = format!("`{text}` is neither ACCOUNT nor NAMESPACE/ACCOUNT");
        return Err(Refusal::new(reason, "correct it: there are no wildcards here, in Istio neither"));
    }
    let domains = local_or_all(trust, side);
    let (namespace, account) = (Some(namespace.to_owned()), Some(account.to_owned()));
    Ok(kubernetes(namespace, account, Style::ServiceAccount, domains, trust, side))
}

/// `trustDomains` and `source.trustDomain`.
pub(super) fn trust_domain(pattern: &str, trust: &TrustDomains) -> Result {
    let domains = match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(""), _) => trust.all(),
        (Some(end), _) => trust.matching(|name| name.ends_with(end)),
        (None, Some(begin)) => trust.matching(|name| name.starts_with(begin)),
        (None, None) => trust.matching(|name| name == pattern),
    };
    if pattern.contains('/') || pattern.matches('*').count() > 1 {
        return Err(Refusal::new(format!("`{pattern}` is no trust domain"), "correct it: Istio refuses this"));
    }
    some_domain(pattern, &domains)?;
    let is_one = |name: &str| match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), _) => name.ends_with(end),
        (None, Some(begin)) => name.starts_with(begin),
        (None, None) => true,
    };
    let translated = Translated::exact(vec![Identities { domains, form: Form::Any, style: Style::Principal }]);
    Ok(with_other_aliases(translated, is_one, trust))
}

/// `*END`.
fn ending(pattern: &str, end: &str, trust: &TrustDomains, side: Side) -> Result {
    let parts: Vec<&str> = end.split('/').collect();
    let name_them = "name the principals, or use serviceAccounts or namespaces";
    let within = || Refusal::new(format!("`{pattern}` begins in the middle of a segment"), name_them);
    let segment = |text: &str| match text {
        "" => Err(Refusal::new(format!("`{pattern}` has an empty segment"), name_them)),
        _ if text.contains('*') => Err(Refusal::nothing_is(pattern, "a second `*` is plain text to Istio", name_them)),
        _ => Ok(Some(text.to_owned())),
    };
    let (domains, namespace, account) = match parts.as_slice() {
        [domain, "ns", namespace, "sa", account] => {
            (trust.matching(|name| name.ends_with(domain)), segment(namespace)?, segment(account)?)
        }
        ["" | "s" | "ns", namespace, "sa", account] => (trust.all(), segment(namespace)?, segment(account)?),
        ["", "sa", account] | ["" | "a" | "sa", account] => (trust.all(), None, segment(account)?),
        [_, "sa", _] | [_] => return Err(within()),
        _ => {
            let why = "no identity of the form TRUST_DOMAIN/ns/NAMESPACE/sa/ACCOUNT ends so";
            return Err(Refusal::nothing_is(pattern, why, name_them));
        }
    };
    some_domain(pattern, &domains)?;
    Ok(kubernetes(namespace, account, Style::Principal, domains, trust, side))
}

/// `STEM*`.
fn beginning(pattern: &str, stem: &str, trust: &TrustDomains, side: Side) -> Result {
    let name_them = "name the principals, or use serviceAccounts or namespaces";
    if stem.contains('*') {
        return Err(Refusal::nothing_is(pattern, "a second `*` is plain text to Istio", name_them));
    }
    let Some((domain, rest)) = stem.split_once('/') else {
        let domains = trust.matching(|name| name.starts_with(stem));
        some_domain(pattern, &domains)?;
        let translated = Translated::exact(vec![Identities { domains, form: Form::Any, style: Style::Principal }]);
        return Ok(with_other_aliases(translated, |name| name.starts_with(stem), trust));
    };
    let parts: Vec<&str> = rest.split('/').collect();
    let is_usual = parts.len() == 4;
    let domains = named(domain, is_usual, trust);
    some_domain(pattern, &domains)?;
    let whole = |namespace: Segment| kubernetes(namespace, None, Style::Principal, domains.clone(), trust, side);
    let translated = match parts.as_slice() {
        [""] => Translated::exact(vec![Identities { domains, form: Form::Any, style: Style::Principal }]),
        ["n" | "ns"] | ["ns", ""] => whole(None),
        ["ns", namespace, "" | "s" | "sa"] | ["ns", namespace, "sa", ""] if is_label(namespace) => {
            whole(Some((*namespace).to_owned()))
        }
        ["ns", begin] => match side {
            Side::Inner if is_label(begin) => {
                let how = format!("becomes namespace {begin} alone, without those that are only named alike");
                also(whole(Some((*begin).to_owned())), Difference::PartialSegment, how)
            }
            _ => {
                let reason = format!("`{pattern}` ends in the middle of a namespace's name");
                return Err(Refusal::new(reason, name_them));
            }
        },
        ["ns", namespace, "sa", begin] if is_label(namespace) => {
            let (account, how) = match side {
                Side::Inner => (Some((*begin).to_owned()), format!("becomes service account {begin} alone")),
                Side::Outer => (None, format!("becomes every service account of namespace {namespace}")),
            };
            let namespace = Some((*namespace).to_owned());
            let translated = kubernetes(namespace, account, Style::Principal, domains.clone(), trust, side);
            also(translated, Difference::PartialSegment, how)
        }
        ["ns", ..] => {
            let why = "no identity of the form TRUST_DOMAIN/ns/NAMESPACE/sa/ACCOUNT begins so";
            return Err(Refusal::nothing_is(pattern, why, name_them));
        }
        [segments @ .., ""] if side == Side::Inner => {
            let fixed: Vec<Segment> = segments.iter().map(|segment| Some((*segment).to_owned())).collect();
            let at_depth = |depth| fixed.iter().cloned().chain(std::iter::repeat_n(None, depth)).collect();
            let form = |depth| Form::Path(at_depth(depth));
            let deep = (1..=DEEPEST).map(|depth| Identities {
                domains: domains.clone(),
                form: form(depth),
                style: Style::Principal,
            });
            let how = format!("becomes a principal for each number of segments behind it, up to {DEEPEST}");
            Translated::but(deep.collect(), Difference::PathDepth, how)
        }
        _ => return Err(Refusal::new(format!("`{pattern}` stands for any number of segments"), name_them)),
    };
    Ok(with_aliases(translated, domain, is_usual, trust))
}

/// Identities of Kubernetes' form, and on the outer side those of others too.
fn kubernetes(
    namespace: Segment,
    account: Segment,
    style: Style,
    domains: BTreeSet<usize>,
    trust: &TrustDomains,
    side: Side,
) -> Translated<Identities> {
    let form = Form::Kubernetes { namespace, account };
    let mut values = vec![Identities { domains: domains.clone(), form, style }];
    if side == Side::Outer {
        let domains = if style == Style::Principal { domains } else { trust.all() };
        values.push(Identities { domains, form: Form::Other, style });
    }
    Translated { values, differences: Vec::new() }
}

/// Whose namespaces and service accounts are meant.
fn local_or_all(trust: &TrustDomains, side: Side) -> BTreeSet<usize> {
    match side {
        Side::Inner => BTreeSet::from([0]),
        Side::Outer => trust.all(),
    }
}

/// The trust domain of this name. Of the usual form, `cluster.local` is the local one, whatever it is called, and never
/// another one of that name.
fn named(domain: &str, is_usual: bool, trust: &TrustDomains) -> BTreeSet<usize> {
    match is_usual && domain == LOCAL {
        true => trust.matching(|name| trust.local.iter().any(|local| local == name)),
        false => trust.matching(|name| name == domain),
    }
}

/// In patterns of another form than the usual one, Istio tells the local trust domain from its aliases.
fn with_aliases(
    translated: Translated<Identities>,
    domain: &str,
    is_usual: bool,
    trust: &TrustDomains,
) -> Translated<Identities> {
    if is_usual { translated } else { with_other_aliases(translated, |name| name == domain, trust) }
}

/// Says so where some names of the local trust domain are meant, and not all.
fn with_other_aliases(
    translated: Translated<Identities>,
    is_meant: impl Fn(&str) -> bool,
    trust: &TrustDomains,
) -> Translated<Identities> {
    let (meant, others): (Vec<&String>, Vec<_>) = trust.local.iter().partition(|name| is_meant(name));
    let (Some(meant), false) = (meant.first(), others.is_empty()) else { return translated };
    let others = others.into_iter().cloned().collect::<Vec<_>>().join(", ");
    also(translated, Difference::TrustDomainAliases, format!("{meant} and {others} are one here"))
}

fn also(mut translated: Translated<Identities>, difference: Difference, how: String) -> Translated<Identities> {
    translated.differences.push((difference, how));
    translated
}

fn some_domain(pattern: &str, domains: &BTreeSet<usize>) -> std::result::Result<(), Refusal> {
    if domains.is_empty() {
        let reason = format!("`{pattern}` is for no trust domain that is known here");
        return Err(Refusal::new(reason, "name the local trust domain and its aliases with --trust-domain"));
    }
    Ok(())
}

/// RFC 1123.
fn is_label(name: &str) -> bool {
    let of_a_label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && !name.starts_with('-') && !name.ends_with('-') && name.bytes().all(of_a_label)
}

#[cfg(test)]
mod tests;
