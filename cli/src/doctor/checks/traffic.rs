//! Whether a filter sees the requests that pass the proxy.
//!
//! Envoy has no counter of a VM that trapped (but for those that it starts again): it goes on without it, or answers 503.
//! What gives it away is that the other filters of the chain count requests, and this one none.

use super::Seen;
use crate::doctor::cures;
use crate::doctor::finding::{Check, Finding};
use crate::doctor::proxy::{Chain, Content, Instance};
use crate::doctor::series::Series;
use crate::schema::Filter;

/// Fewer than these say nothing.
const ENOUGH: f64 = 5.0;
/// The share of the requests that a filter may have missed, for those that are on their way when metrics are read.
const SLACK: f64 = 0.2;

/// How many requests a filter says that it met, at most.
pub(super) fn met(filter: Filter, series: &Series) -> Option<f64> {
    match filter {
        Filter::RateLimit => series.sum("tollgate_rate_limit_total", &[]),
        Filter::MtlsIdentity => series.sum("tollgate_identity_total", &[]),
        Filter::RouteMetrics => series.sum("tollgate_requests_total", &[]),
    }
}

/// How many requests have passed a filter on their way to the next, at least: of those that it counted with a 3xx or 4xx,
/// some may have been turned away in between.
fn passed(filter: Filter, series: &Series) -> Option<f64> {
    match filter {
        Filter::RateLimit => series.sum("tollgate_rate_limit_total", &[("decision", "allowed")]).map(|_| 0.0),
        Filter::MtlsIdentity => {
            let by = series.by("tollgate_identity_total", "decision", &[]);
            (!by.is_empty()).then(|| by.iter().filter(|(name, _)| *name != "denied").map(|(_, count)| count).sum())
        }
        Filter::RouteMetrics => {
            let by = series.by("tollgate_requests_total", "response_code", &[]);
            let went_on = |code: &str| !code.starts_with(['3', '4']);
            (!by.is_empty()).then(|| by.iter().filter(|(code, _)| went_on(code)).map(|(_, count)| count).sum())
        }
    }
}

/// How many requests a filter has met at least: one may be charged to several rules.
fn reached(filter: Filter, series: &Series) -> Option<f64> {
    match filter {
        Filter::RateLimit => {
            let by = series.by("tollgate_rate_limit_total", "rule", &[]);
            by.into_values().reduce(f64::max)
        }
        other => met(other, series),
    }
}

pub(super) fn check(seen: &Seen<'_>, findings: &mut Vec<Finding>) {
    stats_tags(seen, findings);
    for (filter, instance) in &seen.ours {
        reloads(seen, instance, findings);
        if matches!(instance.content, Some(Content::Wasm(_))) {
            blind(seen, *filter, instance, findings);
        }
    }
    for (metric, filter) in
        [("tollgate_series_dropped_total", Filter::RouteMetrics), ("tollgate_rate_limit_total", Filter::RateLimit)]
    {
        let now = seen.proxy.looks.now();
        let (count, what, why, cure) = match filter {
            Filter::RouteMetrics => (
                now.sum(metric, &[]).unwrap_or(0.0),
                "requests were counted under the label __other__",
                "there are more sets of labels than maxSeries",
                "raise maxSeries in pluginConfig, or have fewer routes",
            ),
            _ => (
                now.sum(metric, &[("decision", "error")]).unwrap_or(0.0),
                "requests passed because the host's store failed",
                "they were not limited",
                "raise the sidecar's memory, and look for event=store_failed in its log",
            ),
        };
        for instance in seen.of_filter(filter).filter(|_| count > 0.0) {
            findings.push(
                Finding::warning(Check::Traffic, format!("{count} {what}"))
                    .of(instance.label())
                    .at(&seen.proxy.name)
                    .because(why)
                    .cure(cure),
            );
        }
    }
}

fn stats_tags(seen: &Seen<'_>, findings: &mut Vec<Finding>) {
    let Some(name) = seen.proxy.looks.now().mangled() else { return };
    let short: String = name.chars().take(80).collect();
    let finding = Finding::error(Check::StatsTags, format!("labels are left in the names of metrics: {short}"))
        .at(&seen.proxy.name)
        .because("no query, alert or dashboard finds them; the proxy started without the stats tags");
    findings.push(finding.cure(match seen.proxy.name.split_once('/') {
        Some((namespace, _)) if seen.proxy.namespace.is_some() => format!(
            "add istio/components/stats-tags to the components of the kustomization that has the workload, and then: {0} apply -k DIR \
             && {0} rollout restart deployment -n {namespace}",
            cures::kubectl(seen.facts)
        ),
        _ => "add stats_config.stats_tags to the bootstrap (docs/operations.md, Stats tags), and restart Envoy".to_owned(),
    }));
}

/// VMs that trapped and were started again, which Envoy counts where failStrategy is FAIL_RELOAD.
fn reloads(seen: &Seen<'_>, instance: &Instance<'_>, findings: &mut Vec<Finding>) {
    let Some(wasm) = instance.wasm() else { return };
    let counter = |of: &str| seen.proxy.counters.get(&format!("wasm.{}.vm_reload{of}", wasm.name));
    let (again, waiting, failed) = (counter("_success"), counter("_backoff"), counter("_failure"));
    if again == 0 && waiting == 0 && failed == 0 {
        return;
    }
    let what = format!(
        "its VM has trapped since the proxy started: {again} new ones were started, {waiting} requests came meanwhile, {failed} \
         starts failed"
    );
    let finding = Finding::warning(Check::FailStrategy, what)
        .of(instance.label())
        .at(&seen.proxy.name)
        .because("until a new VM has started, requests of that worker are refused with 503");
    let cure = cures::log(seen.facts, &seen.proxy.name, "'wasm.*\\(runtimeerror\\|panick\\)'");
    findings.push(Finding { cure, ..finding });
}

/// Whether a filter that is not Tollgate's may answer a request instead of passing it on: an AuthorizationPolicy, say.
fn may_answer(name: &str) -> bool {
    !(name.starts_with("istio.") || matches!(name, "istio_authn" | "envoy.filters.http.grpc_stats"))
}

/// A filter that counts nothing while the others of its chain do.
fn blind(seen: &Seen<'_>, filter: Filter, instance: &Instance<'_>, findings: &mut Vec<Finding>) {
    let looks = &seen.proxy.looks;
    let Some(own) = looks.growth(|series| met(filter, series)) else { return };
    let chains: Vec<&Chain> = instance.listeners.iter().flat_map(|listener| &listener.chains).collect();
    let place =
        |it: &Instance<'_>| chains.iter().find_map(|chain| chain.filters.iter().position(|name| name == it.name));
    let shares_chains = |other: &Instance<'_>| {
        let has = |chain: &Chain, it: &Instance<'_>| chain.filters.iter().any(|name| name == it.name);
        other.listeners == instance.listeners && chains.iter().all(|chain| has(chain, instance) == has(chain, other))
    };
    // What several plugins count together can't be told apart.
    let is_one = |filter: Filter| seen.of_filter(filter).count() == 1;
    let mut expected = 0.0_f64;
    let mut nearest: Option<(usize, f64)> = None;
    let others = seen.ours.iter().filter(|(other, it)| *other != filter && shares_chains(it));
    for (other_filter, other) in others.filter(|(other, _)| is_one(*other) && is_one(filter)) {
        let Some((at, own_place)) = place(other).zip(place(instance)) else { continue };
        if at > own_place {
            // What came to a later one has passed here.
            expected = expected.max(looks.growth(|series| reached(*other_filter, series)).unwrap_or(0.0));
        } else if nearest.is_none_or(|(before, _)| before < at) {
            let mut between =
                chains.iter().filter_map(|chain| chain.filters.get(at.saturating_add(1)..own_place)).flatten();
            let foreign = |name: &String| !seen.ours.iter().any(|(_, it)| it.name == name) && may_answer(name);
            let is_open = !between.any(foreign);
            let passed = looks.growth(|series| passed(*other_filter, series)).filter(|_| is_open);
            nearest = Some((at, passed.unwrap_or(0.0)));
        }
    }
    expected = expected.max(nearest.map_or(0.0, |(_, growth)| growth));
    if expected < ENOUGH || own >= expected * (1.0 - SLACK) {
        return;
    }
    let policy = instance.wasm().map_or("", |wasm| wasm.failure_policy.as_str());
    let why = match policy {
        "FAIL_OPEN" => {
            "most likely its VM has trapped, in one worker or all: the requests of that worker pass without it"
        }
        _ => "most likely its VM has trapped, in one worker or all: the requests of that worker are refused with 503",
    };
    let id = instance.label();
    let mut cure: Vec<String> =
        cures::log(seen.facts, &seen.proxy.name, "'runtimeerror\\|panick'").into_iter().collect();
    match seen.proxy.name.split_once('/') {
        Some((namespace, pod)) => {
            cure.push(format!("{} delete pod {pod} -n {namespace}   # new VMs", cures::kubectl(seen.facts)));
        }
        None => cure.push("restart Envoy, and report what its log says of the trap".to_owned()),
    }
    let what = format!("it saw {own} of at least {expected} requests while doctor looked");
    let finding = match filter {
        Filter::RouteMetrics => Finding::warning(Check::FailStrategy, format!("{what}; it counts them when they end")),
        Filter::RateLimit | Filter::MtlsIdentity => Finding::error(Check::FailStrategy, what),
    };
    findings.push(finding.of(id).at(&seen.proxy.name).because(why).cure(cure.join("\n")));
}
