//! The rules that the patches of one side come to.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::super::field::Field;
use super::super::plugin::matching::Match;
use super::super::plugin::rate_limit::{Config, Rule};
use super::super::plugin::{Port as PluginPort, Traffic};
use super::super::report::Report;
use super::actions;
use super::limiter::{self, Descriptor, Limiter};
use super::patch::{Level, Patch};
use super::place::Port;
use super::selection::{Actions, Found, select};
use super::{Filters, Side, Workload};

/// What tells it from its siblings, its phase, its traffic and its configuration.
pub(super) type Plugin = (String, &'static str, Traffic, Config);

/// A message and where it applies.
struct Source<'p, 'a> {
    patch: &'p Patch<'a>,
    message: Field<'a>,
    port: Option<u16>,
}

/// The WasmPlugins of one side.
pub(super) fn plugins(
    side: Side,
    patches: &[Patch<'_>],
    filters: &Filters,
    workload: &Workload<'_>,
    report: &mut Report,
) -> Vec<Plugin> {
    let here = || patches.iter().filter(|patch| patch.side.is_none_or(|of| of == side));
    let mut sources = Vec::new();
    for patch in here() {
        let Some(message) = patch.message.clone() else { continue };
        if message.get("token_bucket").is_none() && message.get("descriptors").is_none() {
            report.dropped(&message, "limits nothing by itself: it was there for the routes' own limits");
            continue;
        }
        if patch.level != Level::Filter && !filters.has(side, &patch.filter) {
            let reason = format!(
                "nothing that was read puts a filter named {} into the chain of the {} side; unless another \
                 EnvoyFilter does, this did nothing, and its rules will be the first to limit anybody",
                patch.filter,
                side.name()
            );
            report.became_but(&message, "rules all the same", reason);
        }
        sources.push(Source { patch, message, port: None });
    }
    let mut sides_actions = Vec::new();
    for patch in here() {
        if let Some(list) = &patch.rate_limits {
            sides_actions.push(Actions { patch, entries: actions::read(list, report) });
        }
    }
    resolve_ports(side, &mut sources, workload, report);
    let ports: BTreeSet<Option<u16>> = sources.iter().map(|source| source.port).collect();
    if ports.len() > 1 && ports.contains(&None) {
        let fields = sources.iter().filter(|source| source.port.is_some()).map(|source| &source.patch.field);
        for field in fields.collect::<Vec<_>>() {
            let reason = "is for one port, and another patch is for all others: a WasmPlugin can't say `all but this`";
            report.refuse(field, reason, "give each port a patch of its own, with match.listener.portNumber");
        }
        return Vec::new();
    }
    let mut plugins = Vec::new();
    for port in &ports {
        let of_port: Vec<_> = sources.iter().filter(|source| source.port == *port).collect();
        let phase = of_port.iter().find_map(|source| source.patch.phase).unwrap_or("STATS");
        let config = config(of_port, &sides_actions, report);
        let traffic =
            Traffic { mode: side.mode(), ports: port.iter().map(|port| PluginPort { number: *port }).collect() };
        let suffix = match port {
            Some(port) if ports.len() > 1 => format!("{}-{port}", side.name()),
            _ => side.name().to_owned(),
        };
        plugins.push((suffix, phase, traffic, config));
    }
    plugins
}

/// A WasmPlugin counts a workload's own ports, a virtual host's name those of the service in front of it.
fn resolve_ports(side: Side, sources: &mut [Source<'_, '_>], workload: &Workload<'_>, report: &mut Report) {
    let alone = {
        let ports: Vec<Port> = sources.iter().map(|source| source.patch.port).collect();
        ports.windows(2).all(|pair| matches!(pair, [a, b] if a == b))
    };
    for source in sources {
        source.port = match source.patch.port {
            Port::Any => None,
            Port::Pod(port) => Some(port),
            Port::Service(port) if side != Side::Inbound => Some(port),
            Port::Service(port) => {
                let target = workload.cluster.target_port(workload.namespace, workload.labels, port);
                if target.is_none() && !alone {
                    let cure = "add the workload's Service with -f, and its Deployment where targetPort is a name";
                    let reason = format!("is for the service's port {port}, and a WasmPlugin needs the pods' port");
                    report.refuse(&source.patch.field, reason, cure);
                } else if target.is_none() {
                    let reason = format!(
                        "the service's port {port} may be another one at the pods, and no Service was read that tells. \
                         So the rules are for every port of the workload; add the Service with -f for that port alone"
                    );
                    report.became_but(&source.patch.field, "rules for every port", reason);
                }
                target
            }
        };
    }
}

fn config(mut sources: Vec<&Source<'_, '_>>, actions: &[Actions<'_, '_>], report: &mut Report) -> Config {
    // Of the routes that patches add in front, the last one ends up first.
    sources.reverse();
    sources.sort_by_key(|source| source.patch.level);
    if sources.iter().any(|source| source.patch.dead.is_none()) {
        sources.retain(|source| {
            if let Some(dead) = &source.patch.dead {
                report.lost(&source.message, format!("THIS DID NOTHING: {dead}. Its limits are not in the result"));
            }
            source.patch.dead.is_none()
        });
    }
    let alone = sources.len() == 1;
    let mut writer = Writer { config: Config::default(), names: BTreeSet::new(), is_closed: false };
    for source in sources {
        if writer.is_closed {
            let reason = "more specific patches replace it everywhere, and Envoy goes by the most specific one";
            report.dropped(&source.message, reason);
            continue;
        }
        let limiter = limiter::read(&source.message, source.patch.dead.as_deref(), report);
        writer.add(source.patch, &limiter, actions, alone, report);
    }
    for actions in actions {
        if let Some(list) = &actions.patch.rate_limits {
            report.became_so(
                list,
                "the match and key of rules",
                "where a descriptor is for them; else they did nothing",
            );
        }
    }
    writer.config
}

/// Whether the default bucket is charged for requests of descriptors as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// It was not.
    Not,
    /// It was, and is.
    Overall,
    /// It was, and is not.
    Lost,
}

struct Writer {
    config: Config,
    names: BTreeSet<String>,
    /// Whether a rule takes every request that is left.
    is_closed: bool,
}

impl Writer {
    fn add(
        &mut self,
        patch: &Patch<'_>,
        limiter: &Limiter<'_>,
        actions: &[Actions<'_, '_>],
        alone: bool,
        report: &mut Report,
    ) {
        let mut chosen = Vec::new();
        for descriptor in &limiter.descriptors {
            match select(descriptor, limiter, patch, actions) {
                Ok(found) => chosen.push((descriptor, found)),
                Err((at, reason, cure)) => report.refuse(&at, reason, cure),
            }
        }
        let beside = self.charge_beside(&mut chosen, patch, limiter, alone, report);
        // Fixed values before any value, as Envoy has it; then those that ask for more.
        chosen.sort_by_key(|(_, found)| {
            (!found.selection.key.is_empty(), Reverse(weight(&found.selection.conditions.matches)))
        });
        let mut earlier: Vec<(Match, String)> = Vec::new();
        for (descriptor, found) in &chosen {
            let mut remarks = found.selection.conditions.remarks.clone();
            if let Some(dead) = &found.dead {
                remarks.insert(
                    0,
                    format!("mode: shadow, as THIS DID NOTHING: the rate_limits for it did not apply, {dead}"),
                );
            }
            let matches = found.selection.conditions.matches.clone();
            if earlier.iter().any(|(other, of)| *of != found.entry && !matches.excludes(other)) {
                remarks.push(
                    "a request of an earlier rule as well was charged to both; here the first rule counts".into(),
                );
            }
            earlier.push((matches, found.entry.clone()));
            self.descriptor(descriptor, found, limiter, &remarks, report);
        }
        let Some(bucket) = limiter.bucket.clone() else { return };
        let path = format!("{}.token_bucket", limiter.field.path);
        let field = Field::new(limiter.field.value, path);
        let mut rule = Rule { limits: vec![bucket], ..Rule::default() };
        rule.matches = Some(patch.conditions.matches.clone()).filter(|matches| !matches.is_any()).into_iter().collect();
        limiter.share.apply(false, &mut rule);
        rule.draft03 = limiter.draft03;
        rule.when_limited = limiter.when_limited.clone();
        rule.name = self.name(
            rule.matches.first().and_then(|m| m.hosts.first().or(m.paths.first())).map_or("default", String::as_str),
        );
        let note = "Envoy keeps one bucket for each listener's filter chain (each port; plaintext and TLS apart) and for \
                    each route that has its own; here it is one for the proxy, whatever the port";
        if beside == Beside::Overall {
            let what = format!("overall {}, which every request is charged to beside its rule", rule.name);
            report.became_so(&field, what, format!("{note}. A request that one limit denies is charged to none"));
            self.config.overall.push(rule);
            self.is_closed = true;
            return;
        }
        if self.is_closed {
            report.dropped(&field, "a descriptor is for every request, so no request is left for it");
            return;
        }
        let what = format!("rule {}", rule.name);
        if beside == Beside::Lost {
            let reason = "requests of a descriptor were charged to this bucket as well; here only to their own rule";
            report.became_but(&field, what, format!("{reason}. {note}"));
        } else {
            report.became_so(&field, what, note);
        }
        self.is_closed = rule.matches.is_empty();
        self.config.rules.push(rule);
    }

    /// Whether requests of a descriptor are charged to the default bucket as well. Those descriptors that never
    /// applied are taken out where their rules would keep requests from the rule that did.
    fn charge_beside(
        &self,
        chosen: &mut Vec<(&Descriptor<'_>, Found)>,
        patch: &Patch<'_>,
        limiter: &Limiter<'_>,
        alone: bool,
        report: &mut Report,
    ) -> Beside {
        let is_whole = alone && patch.conditions.matches.is_any();
        let all_dead = chosen.iter().all(|(_, found)| found.dead.is_some());
        let has_bucket = limiter.bucket.is_some();
        if has_bucket && !(is_whole && (limiter.always_default || all_dead)) {
            chosen.retain(|(descriptor, found)| {
                if let Some(dead) = &found.dead {
                    report.forget_below(&descriptor.field);
                    let reason = "the rate_limits for it did not apply";
                    report.lost(
                        &descriptor.field,
                        format!("THIS DID NOTHING: {reason}, {dead}. It is not in the result"),
                    );
                }
                found.dead.is_none()
            });
        }
        match (chosen.is_empty() || !has_bucket, is_whole, limiter.always_default) {
            (true, _, _) => Beside::Not,
            (_, true, always) if always || all_dead => Beside::Overall,
            (_, _, true) => Beside::Lost,
            _ => Beside::Not,
        }
    }

    fn descriptor(
        &mut self,
        descriptor: &Descriptor<'_>,
        found: &Found,
        limiter: &Limiter<'_>,
        remarks: &[String],
        report: &mut Report,
    ) {
        let words: Vec<&str> =
            descriptor.entries.iter().map(|(key, value)| if value.is_empty() { *key } else { *value }).collect();
        let selection = &found.selection;
        let matches = &selection.conditions.matches;
        if self.is_closed {
            report.forget_below(&descriptor.field);
            report.dropped(&descriptor.field, "an earlier rule takes every request of it");
            return;
        }
        let mut rule =
            Rule { name: self.name(&words.join("-")), limits: vec![descriptor.limit.clone()], ..Rule::default() };
        rule.matches = Some(matches.clone()).filter(|matches| !matches.is_any()).into_iter().collect();
        rule.key.clone_from(&selection.key);
        rule.slots = limiter.slots.filter(|_| !rule.key.is_empty());
        limiter.share.apply(descriptor.is_shadow || found.dead.is_some(), &mut rule);
        rule.draft03 = limiter.draft03;
        rule.when_limited = limiter.when_limited.clone();
        let may_skip = rule.key.iter().any(|key| key.get("missing").is_some());
        self.is_closed = rule.matches.is_empty() && !may_skip;
        let entries = descriptor.field.get("entries").unwrap_or_else(|| descriptor.field.clone());
        let json = |value: serde_json::Result<String>| value.unwrap_or_default();
        let mut what = format!("rule {}", rule.name);
        if !rule.matches.is_empty() {
            what.push_str(&format!(", match {}", json(serde_json::to_string(&rule.matches))));
        }
        if !rule.key.is_empty() {
            what.push_str(&format!(", key {}", json(serde_json::to_string(&rule.key))));
        }
        if remarks.is_empty() {
            report.became(&entries, what);
        } else {
            report.became_but(&entries, what, remarks.join("; "));
        }
        self.config.rules.push(rule);
    }

    /// A name that Tollgate takes and that no other rule has.
    fn name(&mut self, text: &str) -> String {
        let clean = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '_' { c } else { '-' };
        let cleaned: String = text.chars().map(clean).take(56).collect();
        let mut base = cleaned.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
        if !base.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            base = format!("rule{base}");
        }
        let mut name = base.clone();
        let mut count = 2_u32;
        while !self.names.insert(name.clone()) {
            name = format!("{base}-{count}");
            count = count.saturating_add(1);
        }
        name
    }
}

/// How much a match asks for.
fn weight(matches: &Match) -> usize {
    let lists = [&matches.hosts, &matches.paths, &matches.methods];
    lists
        .iter()
        .filter(|list| !list.is_empty())
        .count()
        .saturating_add(matches.headers.len())
        .saturating_add(matches.query.len())
}
