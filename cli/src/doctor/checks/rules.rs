//! Whether rules meet requests, and decide about them.

use std::collections::BTreeMap;

use super::Seen;
use crate::doctor::cures;
use crate::doctor::finding::{Check, Finding};
use crate::doctor::proxy::Instance;
use crate::schema::Filter;

/// Requests from which on a rule without any is worth a word.
const ENOUGH: f64 = 100.0;
/// Requests from which on rules that none of them met are a mistake. Fewer may be a probe, or a replica that is new.
const TOO_MANY: f64 = 20.0;

pub(super) fn check(seen: &Seen<'_>, findings: &mut Vec<Finding>) {
    for (filter, instance) in &seen.ours {
        let mut found = Vec::new();
        match filter {
            Filter::RateLimit => rate_limit(seen, instance, &mut found),
            Filter::MtlsIdentity => identity(seen, instance, &mut found),
            Filter::RouteMetrics => {}
        }
        findings.extend(found.into_iter().map(|finding| finding.of(instance.label()).at(&seen.proxy.name)));
    }
}

fn rate_limit(seen: &Seen<'_>, instance: &Instance<'_>, findings: &mut Vec<Finding>) {
    use rate_limit::config::{Config, Mode};
    let config = instance.wasm().and_then(|wasm| Config::parse(wasm.configuration.as_bytes()).ok());
    let Some(config) = config else { return };
    for rule in config.rules.iter().chain(&config.overall) {
        let what = match rule.mode {
            Mode::Enforce if rule.enforce_percent.is_some_and(|percent| percent.get() < 100) => {
                "is enforced for a share of requests"
            }
            Mode::Enforce => continue,
            Mode::Shadow => "is in shadow mode: it counts, and turns nobody away",
            Mode::Off => "is off: it neither counts nor limits",
        };
        findings.push(Finding::note(Check::Rules, format!("the rule {} {what}", rule.name.as_str())));
    }
    let names: Vec<&str> = config.rules.iter().map(|rule| rule.name.as_str()).collect();
    unmet(seen, instance, "tollgate_rate_limit_total", &names, "__unmatched__", "and are not limited", findings);
}

fn identity(seen: &Seen<'_>, instance: &Instance<'_>, findings: &mut Vec<Finding>) {
    use mtls_identity::config::{Config, Mode};
    let now = seen.proxy.looks.now();
    let inactive = now.sum("tollgate_identity_total", &[("rule", "__outbound__")]).unwrap_or(0.0);
    if inactive > 0.0 {
        let finding =
            Finding::warning(Check::Direction, format!("{inactive} requests passed it on an outbound listener"))
                .because("without checkOutbound it enforces nothing there");
        let spec = serde_json::json!({"match": [{"mode": "SERVER"}]});
        let cure = instance.plugin.as_ref().map(|id| cures::patch(seen.facts, "wasmplugin", id, &spec));
        findings.push(Finding { cure, ..finding });
    }
    let config = instance.wasm().and_then(|wasm| Config::parse(wasm.configuration.as_bytes()).ok());
    let Some(config) = config else { return };
    if config.mode == Mode::Shadow {
        findings.push(Finding::note(Check::Rules, "it is in shadow mode: it counts, and turns nobody away"));
    }
    for rule in config.rules.iter().filter(|rule| rule.mode == Mode::Shadow) {
        findings.push(Finding::note(Check::Rules, format!("the rule {} is in shadow mode", rule.name.as_str())));
    }
    let names: Vec<&str> = config.rules.iter().map(|rule| rule.name.as_str()).collect();
    unmet(seen, instance, "tollgate_identity_total", &names, "__default__", "and get what `default` says", findings);
}

/// Rules that no request was for, while requests came.
fn unmet(
    seen: &Seen<'_>,
    instance: &Instance<'_>,
    metric: &str,
    names: &[&str],
    rest: &str,
    fate: &str,
    findings: &mut Vec<Finding>,
) {
    let counts: BTreeMap<String, f64> = seen.proxy.looks.now().by(metric, "rule", &[]);
    let of = |name: &str| counts.get(name).copied().unwrap_or(0.0);
    let left = of(rest);
    let met: f64 = names.iter().map(|name| of(name)).sum();
    if names.is_empty() {
        return;
    }
    let grown = seen.proxy.looks.growth(|series| series.sum(metric, &[("rule", rest)])).unwrap_or(0.0);
    let elsewhere = seen.facts.proxies.iter().filter(|proxy| {
        instance.plugin.is_some() && proxy.instances().iter().any(|other| other.plugin == instance.plugin)
    });
    let met_elsewhere = elsewhere.flat_map(|proxy| proxy.looks.now().by(metric, "rule", &[]));
    let met_somewhere = met_elsewhere.into_iter().any(|(rule, count)| count > 0.0 && names.contains(&rule.as_str()));
    if met == 0.0 && left >= TOO_MANY && !met_somewhere {
        let cure = format!(
            "tollgate explain -f DIR {}URL   # says of one request which rule it meets, and why not the others",
            instance.plugin.as_ref().map(|id| format!("--plugin {id} ")).unwrap_or_default()
        );
        findings.push(
            Finding::error(Check::Rules, format!("no rule has ever met a request, while {left} met none {fate}"))
                .because("the rules' match fits nothing that comes: a path, host or method is spelled another way")
                .cure(cure),
        );
        return;
    }
    if left > 0.0 && metric == "tollgate_rate_limit_total" {
        let growing = if grown > 0.0 { format!(", {grown} of them while doctor looked") } else { String::new() };
        findings.push(Finding::note(Check::Rules, format!("{left} requests met no rule{growing} {fate}")));
    }
    let idle: Vec<&str> = names.iter().copied().filter(|name| of(name) == 0.0).collect();
    if met + left >= ENOUGH && !idle.is_empty() {
        let what = format!("of {} requests none met: {}", met + left, super::some(&idle));
        findings.push(Finding::note(Check::Rules, what));
    }
}
