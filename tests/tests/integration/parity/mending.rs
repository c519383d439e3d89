//! What an announced difference explains: a request on which both disagree, and on which they agree as soon as it has
//! no more what the difference is about.
//!
//! So for each difference this module knows other requests that are like the given one but for that, and what must
//! become of them. What is announced to be taken for the same gets the same answer; where a pattern is announced to mean
//! less or more, what it means both here and there is decided as the pattern's place in the policy says.

mod peers;

use std::sync::Arc;

use serde_json::Value;
use tollgate_cli::convert::authorization::Difference;

use super::{
    callers::{Arrival, Caller, Callers},
    paths::{self, Beside},
    policies::Workload,
    tokens,
    world::{Outcome, Question, Subject},
};

/// A request, with what became of it.
pub(super) struct Case<'a> {
    subject: &'a Subject,
    callers: &'a Callers,
    question: &'a Question,
    outcome: &'a Outcome,
}

/// The request without what a difference is about.
pub(super) struct Mended {
    pub(super) question: Question,
    pub(super) place: Place,
}

/// Where a request was put instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is written in another way.
    Respelled,
    /// It is written as everybody reads it.
    Plain,
    /// Into what a pattern takes, in a list of what is excluded if so said.
    Within { excluded: bool },
    /// Out of all that a pattern takes.
    Beyond { excluded: bool },
}

/// A trust domain, namespace, host and the like that no policy has.
const NOWHERE: &str = "zzz";

impl<'a> Case<'a> {
    /// One of these subjects.
    pub(super) fn new(
        subjects: &'a [Subject],
        callers: &'a Callers,
        question: &'a Question,
        outcome: &'a Outcome,
    ) -> Self {
        Self { subject: &subjects[question.subject], callers, question, outcome }
    }

    /// What was announced.
    pub(super) fn announced(&self) -> impl Iterator<Item = Difference> {
        self.subject.differences.iter().copied()
    }

    /// Whether what became of it shows by itself that it is this difference.
    pub(super) fn shows(&self, difference: Difference) -> bool {
        let id = self.question.arrival.caller.id();
        let reason = self.outcome.reason();
        match difference {
            Difference::IdentityRequired => {
                let has_one = id.is_some_and(|(domain, path)| domain == domain.to_lowercase() && !path.is_empty());
                !has_one && ["no_mtls", "no_san", "several_sans", "other_scheme", "bad_spiffe_id"].contains(&reason)
            }
            Difference::ForeignTrustDomain => {
                let is_known = |domain: &str| self.subject.domains().any(|known| known == domain);
                id.is_some_and(|(domain, _)| !is_known(domain)) && reason == "foreign_trust_domain"
            }
            _ => false,
        }
    }

    /// The request without what this difference is about, in every way that there is.
    pub(super) fn mended(&self, difference: Difference) -> Vec<Mended> {
        let reason = self.outcome.reason();
        let (path, _) = paths::split(&self.outcome.path);
        match difference {
            Difference::TrailingSlash => self.respelled(paths::with_and_without_slash(path)),
            Difference::PathSpelling => self.respelled(paths::spellings(path)),
            Difference::TemplateCharacters => self.respelled(vec![path.replace('[', "x")]),
            Difference::AmbiguousPath => self.targets(vec![paths::plain(path)], Place::Plain),
            Difference::DirectoryItself => self.beside(paths::of_directory),
            Difference::PathDepth => self.beside(paths::of_depth),
            Difference::PartialSegment => {
                let mut all = self.beside(paths::of_stem);
                all.extend(self.whole_hosts());
                all.extend(self.whole_methods());
                all.extend(self.whole_names());
                all
            }
            Difference::HostSpelling => self.host_spellings(),
            // A path that starts with two slashes may name a host as well.
            Difference::AmbiguousHost if reason == "ambiguous_host" && path.starts_with("//") => {
                self.targets(vec![paths::plain(path)], Place::Plain)
            }
            Difference::AmbiguousHost => self.plain_host(),
            Difference::MethodCase => self.capitals(),
            Difference::RepeatedHeader if reason == "ambiguous_header" => self.single_headers(),
            Difference::EmptyHeader => self.without_empty_headers(),
            Difference::PeerAddress if reason == "unknown_address" => vec![self.forwarded(None)],
            Difference::ClientAddress if reason == "unknown_address" => {
                vec![self.forwarded(Some(self.question.arrival.from))]
            }
            Difference::TrustDomainAliases => self.aliases(),
            Difference::FederatedNamespace => self.local_namesakes(),
            Difference::IdentityForm => self.usual_forms(),
            Difference::ClaimTypes => self.textual_claims(),
            _ => vec![],
        }
    }

    /// All of it, for people.
    pub(super) fn describe(&self) -> String {
        let Self { subject, question, outcome, .. } = self;
        let specs: Vec<_> =
            subject.workload.resources().into_iter().map(|mut resource| resource["spec"].take()).collect();
        format!(
            "{}\n{outcome:?}\n{:?}\n{:?}\nclaims: {:?}\npolicies in {:?}: {}\nbecame: {}\nannounced: {:?}",
            outcome.says(),
            question.arrival,
            question.request,
            question.claims,
            subject.workload.domains,
            Value::from(specs),
            subject.config,
            self.announced().map(Difference::code).collect::<Vec<_>>(),
        )
    }
}

/// Whether the first outcome is explained, if it is the second one without what the differences are about that put the
/// request into these places.
pub(super) fn explain(places: &[Place], before: &Outcome, after: &Outcome) -> bool {
    if after.is_undecided() {
        return false;
    }
    let is_beside = |place: &&Place| matches!(place, Place::Within { .. } | Place::Beyond { .. });
    let allows = match (places.iter().rfind(is_beside), before.reason()) {
        // What is not a matter of spelling is announced to be stricter, and never lets anybody pass.
        _ if before.tollgate_allows() && places.iter().any(|place| *place != Place::Respelled) => return false,
        // ALLOW rules: they did not take the request.
        (Some(Place::Within { excluded }), "no_rule") => Some(!excluded),
        (Some(Place::Beyond { excluded: true }), "no_rule") => Some(true),
        // Istio's rule did because of the pattern alone.
        (Some(Place::Beyond { excluded: false }), "no_rule") => {
            return !after.tollgate_allows() && after.allowed_by() != before.allowed_by();
        }
        // DENY rules: they did.
        (Some(Place::Within { excluded }), "denied_by_rule" | "not_allowed") => Some(*excluded),
        (Some(Place::Beyond { excluded }), "denied_by_rule" | "not_allowed") => Some(!excluded),
        _ if places.iter().all(|place| *place == Place::Respelled) => Some(before.tollgate_allows()),
        (None, "no_rule") => Some(true),
        _ => None,
    };
    after.agrees() && allows.is_none_or(|allows| after.tollgate_allows() == allows)
}

impl Subject {
    /// The trust domains whose peers count: those of the mesh, and others that the policies name.
    fn domains(&self) -> impl Iterator<Item = &str> {
        let list = |name: &str| self.config[name].as_array().into_iter().flatten().filter_map(Value::as_str);
        list("trustDomains").chain(list("federatedTrustDomains"))
    }
}

/// The lists of a policy in which a pattern can be, for what is meant and for what is excluded.
const PATHS: [&str; 2] = ["paths", "notPaths"];
const HOSTS: [&str; 2] = ["hosts", "notHosts"];
const METHODS: [&str; 2] = ["methods", "notMethods"];

impl Workload {
    /// The values of such lists in all rules, and whether they are excluded; those of conditions with this key too.
    fn patterns<'a>(&'a self, lists: [&'a str; 2], key: &'a str) -> impl Iterator<Item = (&'a str, bool)> {
        self.rules().flat_map(move |rule| {
            let fields = rule.from.iter().map(|from| &from.source).chain(rule.to.iter().map(|to| &to.operation));
            let fields = fields.flatten().filter_map(move |(name, values)| {
                lists.iter().position(|list| list == name).map(|at| (values, at == 1))
            });
            let conditions = rule.when.iter().filter(move |condition| condition.key == key);
            let conditions = conditions.flat_map(|one| [(&one.values, false), (&one.not_values, true)]);
            fields.chain(conditions).flat_map(|(values, excluded)| values.iter().map(move |value| (&**value, excluded)))
        })
    }
}

/// The same request with one thing changed.
impl Case<'_> {
    fn with(&self, place: Place, change: impl FnOnce(&mut Question)) -> Mended {
        let mut question = self.question.clone();
        change(&mut question);
        Mended { question, place }
    }

    fn with_authority(&self, authority: String, place: Place) -> Mended {
        self.with(place, |question| question.request.authority = authority)
    }

    fn with_method(&self, method: &str, place: Place) -> Mended {
        self.with(place, |question| question.request.method = method.to_owned())
    }

    fn with_caller(&self, caller: Caller, place: Place) -> Mended {
        self.with(place, |question| {
            question.arrival = Arc::new(Arrival { caller, ..Arrival::clone(&question.arrival) })
        })
    }

    /// With `x-forwarded-for` of one address, or without.
    fn forwarded(&self, address: Option<&str>) -> Mended {
        self.with(Place::Plain, |question| {
            question.request.headers.retain(|(name, _)| name != "x-forwarded-for");
            let line = address.map(|address| ("x-forwarded-for".to_owned(), address.to_owned()));
            question.request.headers.extend(line);
        })
    }
}

/// Paths.
impl Case<'_> {
    fn targets(&self, paths: Vec<String>, place: Place) -> Vec<Mended> {
        let (path, query) = paths::split(&self.outcome.path);
        let others = paths.into_iter().filter(|other| other != path);
        others.map(|other| self.with(place, |question| question.request.target = format!("{other}{query}"))).collect()
    }

    fn respelled(&self, paths: Vec<String>) -> Vec<Mended> {
        self.targets(paths, Place::Respelled)
    }

    fn beside(&self, of: impl Fn(&str, &str) -> Option<Beside>) -> Vec<Mended> {
        let (path, _) = paths::split(&self.outcome.path);
        let found =
            self.subject.workload.patterns(PATHS, "").filter_map(|(p, excluded)| Some((of(p, path)?, excluded)));
        let mut mended = vec![];
        for (beside, excluded) in found {
            mended.extend(self.targets(beside.within, Place::Within { excluded }));
            mended.extend(self.targets(beside.beyond, Place::Beyond { excluded }));
        }
        mended
    }
}

/// Hosts, methods, headers and tokens.
impl Case<'_> {
    fn host_spellings(&self) -> Vec<Mended> {
        let authority = &self.question.request.authority;
        let host =
            authority.rsplit_once(':').filter(|_| !authority.ends_with(']')).map_or(&**authority, |(host, _)| host);
        let host = host.trim_end_matches('.');
        let spellings = ["", ".", ":8080", ":443"].map(|end| format!("{host}{end}"));
        let others = spellings.into_iter().filter(|spelling| spelling != authority);
        others.map(|spelling| self.with_authority(spelling, Place::Respelled)).collect()
    }

    fn plain_host(&self) -> Vec<Mended> {
        let (host, port) =
            self.question.request.authority.split_once(':').unwrap_or((&self.question.request.authority, "80"));
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        match host.bytes().all(is_plain) && port.bytes().all(|byte| byte.is_ascii_digit()) {
            true => vec![],
            false => vec![self.with_authority("shop.example".to_owned(), Place::Plain)],
        }
    }

    /// Where a pattern that ends within a label takes the host.
    fn whole_hosts(&self) -> Vec<Mended> {
        let host = self.question.request.authority.to_lowercase();
        let mut mended = vec![];
        for (pattern, excluded) in self.subject.workload.patterns(HOSTS, "") {
            let (end, begin) = (pattern.strip_prefix('*'), pattern.strip_suffix('*'));
            let end = end.filter(|end| !end.is_empty() && !end.starts_with('.') && host.ends_with(end));
            let begin = begin.filter(|begin| !begin.is_empty() && !begin.ends_with(':') && host.starts_with(begin));
            if let Some(part) = end.or(begin).filter(|part| *part != host) {
                mended.push(self.with_authority(part.to_owned(), Place::Within { excluded }));
                mended.push(self.with_authority(format!("{NOWHERE}.test"), Place::Beyond { excluded }));
            }
        }
        mended
    }

    /// Where a pattern takes a method that is none of HTTP's own.
    fn whole_methods(&self) -> Vec<Mended> {
        const USUAL: [&str; 6] = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];
        let method = self.question.request.method.as_str();
        let mut mended = vec![];
        for (pattern, excluded) in self.subject.workload.patterns(METHODS, "") {
            let takes = |method: &str| match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
                (Some(end), _) => method.ends_with(end),
                (None, Some(begin)) => method.starts_with(begin),
                (None, None) => false,
            };
            if !USUAL.contains(&method) && takes(method) {
                mended.extend(USUAL.iter().map(|usual| match takes(usual) {
                    true => self.with_method(usual, Place::Within { excluded }),
                    false => self.with_method(usual, Place::Beyond { excluded }),
                }));
            }
        }
        mended
    }

    fn capitals(&self) -> Vec<Mended> {
        let method = &self.question.request.method;
        let capitals = Some(method.to_uppercase()).filter(|capitals| capitals != method);
        capitals.into_iter().map(|method| self.with_method(&method, Place::Respelled)).collect()
    }

    /// With one of the values of each header: the first ones, or the last ones.
    fn single_headers(&self) -> Vec<Mended> {
        let keep = |last: bool| {
            self.with(Place::Plain, |question| {
                let headers = std::mem::take(&mut question.request.headers);
                for (at, (name, value)) in headers.iter().enumerate() {
                    let others = if last { &headers[at + 1..] } else { &headers[..at] };
                    if !others.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
                        question.request.headers.push((name.clone(), value.clone()));
                    }
                }
            })
        };
        vec![keep(false), keep(true)]
    }

    fn textual_claims(&self) -> Vec<Mended> {
        let claims = self.question.claims.as_ref();
        let texts = claims.map(tokens::of_texts).filter(|texts| Some(texts) != claims);
        let with = |texts| self.with(Place::Respelled, |question| question.claims = Some(texts));
        texts.into_iter().map(with).collect()
    }

    fn without_empty_headers(&self) -> Vec<Mended> {
        let headers = &self.question.request.headers;
        let is_empty = headers.iter().any(|(_, value)| value.is_empty());
        let without =
            || self.with(Place::Plain, |question| question.request.headers.retain(|(_, value)| !value.is_empty()));
        is_empty.then(without).into_iter().collect()
    }
}
