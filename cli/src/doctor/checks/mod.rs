//! What can be wrong, decided from the facts alone.

mod chain;
mod delivery;
mod mtls;
mod resources;
mod rules;
mod selection;
mod traffic;

use std::collections::BTreeMap;

pub use selection::selects;

use super::facts::{Facts, Plugin, Unseen};
use super::finding::{Check, Finding};
use super::proxy::{Instance, Proxy};
use crate::schema::Filter;

/// Everything that was found, the worst first.
pub fn all(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    access(facts, &mut findings);
    resources::check(facts, &mut findings);
    mtls::check(facts, &mut findings);
    for proxy in &facts.proxies {
        let seen = Seen::of(facts, proxy);
        delivery::check(&seen, &mut findings);
        chain::check(&seen, &mut findings);
        rules::check(&seen, &mut findings);
        traffic::check(&seen, &mut findings);
        healthy(&seen, &mut findings);
    }
    findings.sort();
    findings.dedup();
    findings
}

/// A proxy and what is known of its plugins.
struct Seen<'a> {
    facts: &'a Facts,
    proxy: &'a Proxy,
    /// Tollgate's, with the filter that each is.
    ours: Vec<(Filter, Instance<'a>)>,
}

impl<'a> Seen<'a> {
    fn of(facts: &'a Facts, proxy: &'a Proxy) -> Self {
        let known = |instance: Instance<'a>| {
            let by_name = facts.plugins().find(|plugin| Some(plugin.id()) == instance.plugin);
            let filter = by_name.map(|plugin| plugin.filter).or_else(|| instance.filter());
            Some((filter.or_else(|| by_hash(proxy, &instance))?, instance))
        };
        Self { facts, proxy, ours: proxy.instances().into_iter().filter_map(known).collect() }
    }

    /// The resource behind an instance: by its name in Istio, else the only one of its filter.
    fn wanted(&self, filter: Filter, instance: &Instance<'_>) -> Option<Plugin<'a>> {
        if let Some(id) = &instance.plugin {
            return self.facts.plugins().find(|plugin| plugin.id() == *id);
        }
        let mut alike = self.facts.plugins().filter(|plugin| plugin.filter == filter);
        alike.next().filter(|_| alike.next().is_none())
    }

    fn of_filter(&self, filter: Filter) -> impl Iterator<Item = &Instance<'a>> {
        self.ours.iter().filter(move |(of, _)| *of == filter).map(|(_, instance)| instance)
    }
}

/// The filter that says that it has this very configuration in force.
fn by_hash(proxy: &Proxy, instance: &Instance<'_>) -> Option<Filter> {
    let hash = tollgate::stats::config_hash(instance.wasm()?.configuration.as_bytes());
    let mut filters = [Filter::RateLimit, Filter::MtlsIdentity, Filter::RouteMetrics].into_iter();
    filters.find(|filter| Taken::of(proxy, *filter).has(&hash))
}

/// The configurations that a filter has taken in a proxy, by their hashes.
struct Taken<'a> {
    now: Vec<&'a str>,
    ever: Vec<&'a str>,
}

impl<'a> Taken<'a> {
    fn of(proxy: &'a Proxy, filter: Filter) -> Self {
        let name = filter.name().replace('-', "_");
        let all = proxy.looks.now().values("tollgate_config_info", "config_hash", &[("filter", &name)]);
        let is_now = |(hash, value): &(&'a str, f64)| (*value == 1.0).then_some(*hash);
        Self { now: all.iter().filter_map(is_now).collect(), ever: all.iter().map(|(hash, _)| *hash).collect() }
    }

    /// Whether this one is in force. A module that is replaced by another build of its version, with the configuration as
    /// it was, says 0 of it as its last word; what is refused, no gauge was ever made for.
    fn has(&self, hash: &str) -> bool {
        self.now.contains(&hash) || (self.now.is_empty() && self.ever.contains(&hash))
    }
}

/// What could not be looked at.
fn access(facts: &Facts, findings: &mut Vec<Finding>) {
    for gap in &facts.gaps {
        let mut what = gap.clone();
        let cure = what.cure.take();
        let finding =
            Finding::warning(Check::Access, what.to_string()).because("so what depends on it was not checked");
        findings.push(Finding { cure, ..finding });
    }
    for problem in &facts.dead {
        let finding = Finding::error(Check::Access, problem.reason.clone()).because("so nothing is known of it");
        findings.push(Finding { cure: problem.cure.clone(), ..finding });
    }
    let mut reasons: BTreeMap<(&str, bool), Vec<&str>> = BTreeMap::new();
    for Unseen { proxy, reason, by_choice } in &facts.unseen {
        reasons.entry((reason, *by_choice)).or_default().push(proxy);
    }
    let is_seen = |plugin: Plugin<'_>| facts.proxies.iter().any(|proxy| selection::is_for(&plugin, proxy));
    for ((reason, by_choice), proxies) in reasons {
        let what = format!("not looked at: {}: {reason}", some(&proxies));
        // One proxy of each plugin is what somebody may well content himself with.
        let finding = if by_choice && facts.plugins().all(is_seen) {
            Finding::note(Check::Access, what)
        } else {
            Finding::warning(Check::Access, what)
        };
        let port_forward = proxies.first().and_then(|proxy| proxy.split_once('/')).map(|(namespace, pod)| {
            format!(
                "{} port-forward {pod} -n {namespace} 15000, and in another terminal: tollgate doctor --admin \
                 127.0.0.1:15000 -n {namespace}",
                super::cures::kubectl(facts)
            )
        });
        findings.push(Finding { cure: port_forward, ..finding.because("what a proxy really does, only it can say") });
    }
}

/// Says what is well of each plugin of a proxy with which nothing is wrong.
fn healthy(seen: &Seen<'_>, findings: &mut Vec<Finding>) {
    for (filter, instance) in &seen.ours {
        let label = instance.label();
        let is_about = |finding: &Finding| {
            let here = finding.proxy.as_deref().is_none_or(|proxy| proxy == seen.proxy.name);
            here && finding.is_trouble() && finding.plugin.as_deref() == Some(&label)
        };
        let Some(wasm) = instance.wasm() else { continue };
        let hash = tollgate::stats::config_hash(wasm.configuration.as_bytes());
        if findings.iter().any(is_about) || !Taken::of(seen.proxy, *filter).has(&hash) {
            continue;
        }
        let mut parts = vec!["the Wasm filter is there".to_owned()];
        match wasm.agents_digest().or(wasm.file_sha256.as_deref()).and_then(|digest| digest.get(..12)) {
            Some(digest) => parts.push(format!("digest {digest}...")),
            None => parts.push("digest unknown".to_owned()),
        }
        parts.push(format!("configuration {hash} in force"));
        let counted = traffic::met(*filter, seen.proxy.looks.now()).unwrap_or(0.0);
        parts.push(match seen.proxy.looks.growth(|series| traffic::met(*filter, series)) {
            Some(0.0) => format!("{counted} requests counted, none while doctor looked"),
            Some(new) => format!("{counted} requests counted, {new} of them while doctor looked"),
            None => format!("{counted} requests counted"),
        });
        findings.push(Finding::ok(Check::InForce, parts.join(", ")).of(label).at(&seen.proxy.name));
    }
}

/// The first few of many.
fn some(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [a] => (*a).to_owned(),
        [a, b] => format!("{a} and {b}"),
        [a, b, c] => format!("{a}, {b} and {c}"),
        [a, b, c, rest @ ..] => format!("{a}, {b}, {c} and {} more", rest.len()),
    }
}
