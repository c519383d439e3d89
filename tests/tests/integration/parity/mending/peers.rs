//! Requests of other callers.

use super::{super::words, Case, Mended, NOWHERE, Place};

/// The lists of a policy in which patterns on callers can be, for what is meant and for what is excluded.
const NAMESPACES: [&str; 2] = ["namespaces", "notNamespaces"];
const PRINCIPALS: [&str; 2] = ["principals", "notPrincipals"];

impl Case<'_> {
    fn is_local(&self, domain: &str) -> bool {
        self.subject.workload.domains.iter().any(|local| local == domain)
    }

    /// The caller by the other names of its trust domain.
    pub(super) fn aliases(&self) -> Vec<Mended> {
        let Some((domain, path)) = self.question.arrival.caller.id().filter(|(domain, _)| self.is_local(domain)) else {
            return vec![];
        };
        let others = self.subject.workload.domains.iter().filter(|other| *other != domain);
        others.map(|other| self.with_caller(self.callers.of(other, path), Place::Respelled)).collect()
    }

    /// Who is called as the caller in the mesh itself, and one in its trust domain that is in no namespace.
    pub(super) fn local_namesakes(&self) -> Vec<Mended> {
        let Some((domain, path)) = self.question.arrival.caller.id().filter(|(domain, _)| !self.is_local(domain))
        else {
            return vec![];
        };
        let local = self.callers.of(&self.subject.workload.domains[0], path);
        let beyond = self.callers.of(domain, NOWHERE);
        vec![self.with_caller(local, Place::Plain), self.with_caller(beyond, Place::Beyond { excluded: false })]
    }

    /// For a caller whose identity is not of the form that Istio gives, some of that form.
    pub(super) fn usual_forms(&self) -> Vec<Mended> {
        let Some((domain, path)) = self.question.arrival.caller.id() else { return vec![] };
        if matches!(path.split('/').collect::<Vec<_>>()[..], ["ns", _, "sa", _]) {
            return vec![];
        }
        let nobody = self.callers.of(domain, &format!("ns/{NOWHERE}/sa/{NOWHERE}"));
        let usual = words::ACCOUNTS.iter().map(|account| self.callers.of(domain, account));
        let plain = usual.chain([nobody.clone()]).map(|caller| self.with_caller(caller, Place::Plain));
        plain.chain([self.with_caller(nobody, Place::Beyond { excluded: false })]).collect()
    }

    /// Where a pattern that ends within a name takes the caller's, or is carried over as one that does: the name itself,
    /// and another one.
    pub(super) fn whole_names(&self) -> Vec<Mended> {
        let Some((domain, path)) = self.question.arrival.caller.id() else { return vec![] };
        let ["ns", namespace, "sa", account] = path.split('/').collect::<Vec<_>>()[..] else { return vec![] };
        let mut mended = vec![];
        let mut add = |within: String, beyond: String, excluded| {
            mended.push(self.with_caller(self.callers.of(domain, &within), Place::Within { excluded }));
            mended.push(self.with_caller(self.callers.of(domain, &beyond), Place::Beyond { excluded }));
        };
        let of_namespace = |namespace: &str| format!("ns/{namespace}/sa/{account}");
        let workload = &self.subject.workload;
        for (pattern, excluded) in workload.patterns(NAMESPACES, "source.namespace") {
            let stem = pattern.strip_suffix('*').or_else(|| pattern.strip_prefix('*')).filter(|stem| !stem.is_empty());
            let takes = |stem: &&str| namespace != *stem && (namespace.starts_with(stem) || namespace.ends_with(stem));
            if let Some(stem) = stem.filter(takes) {
                add(of_namespace(stem), of_namespace(NOWHERE), excluded);
            }
        }
        for (pattern, excluded) in workload.patterns(PRINCIPALS, "source.principal") {
            let Some((_, stem)) = pattern.strip_suffix('*').and_then(|stem| stem.split_once('/')) else { continue };
            match stem.split('/').collect::<Vec<_>>()[..] {
                ["ns", begin] if !begin.is_empty() && namespace.starts_with(begin) && namespace != begin => {
                    add(of_namespace(begin), of_namespace(NOWHERE), excluded);
                }
                ["ns", whose, "sa", begin] if !begin.is_empty() && whose == namespace && account != begin => {
                    add(format!("ns/{namespace}/sa/{begin}"), of_namespace(NOWHERE), excluded);
                }
                _ => {}
            }
        }
        mended
    }
}
