//! What doctor says: for people the worst first, the same finding at many proxies once; for programs each by itself.

use serde_json::{Value, json};

use super::facts::{Facts, Source};
use super::finding::{Finding, Severity};
use crate::args::ReportFormat;
use crate::output::{self, BAD, DOUBTFUL, FAINT, GOOD, STRONG, styled};

/// Prints it.
pub(super) fn print(facts: &Facts, findings: &[Finding], format: ReportFormat) {
    match format {
        ReportFormat::Json => output::line(format!("{:#}", object(facts, findings))),
        ReportFormat::Text => output::write(&text(facts, findings)),
    }
}

/// The form for programs; `docs/operations.md` describes it.
pub(super) fn object(facts: &Facts, findings: &[Finding]) -> Value {
    let resources = match facts.wanted.as_ref().map(|wanted| &wanted.source) {
        Some(Source::Cluster(_)) => "cluster",
        Some(Source::Files) => "files",
        None => "none",
    };
    let proxies =
        facts.proxies.iter().map(|proxy| json!({"name": proxy.name, "envoy": proxy.envoy, "istio": proxy.istio}));
    json!({
        "healthy": !findings.iter().any(Finding::is_trouble),
        "resources": resources,
        "plugins": facts.plugins().map(|plugin| plugin.id()).collect::<Vec<_>>(),
        "proxies": proxies.collect::<Vec<_>>(),
        "unseen": facts.unseen.iter().map(|unseen| unseen.proxy.as_str()).collect::<Vec<_>>(),
        "findings": findings,
    })
}

/// The form for people.
pub(super) fn text(facts: &Facts, findings: &[Finding]) -> String {
    let mut text = String::new();
    let mut left: Vec<&Finding> = findings.iter().collect();
    while let Some(first) = left.first().copied() {
        let is_same = |other: &&Finding| {
            (first.severity, first.check, &first.plugin, &first.what)
                == (other.severity, other.check, &other.plugin, &other.what)
        };
        let (same, others): (Vec<&Finding>, Vec<&Finding>) = left.into_iter().partition(is_same);
        left = others;
        one(&mut text, first, &same);
    }
    text.push_str(&summary(facts, findings));
    text
}

fn one(text: &mut String, first: &Finding, same: &[&Finding]) {
    let tag = match first.severity {
        Severity::Error => styled(BAD, "error"),
        Severity::Warning => styled(DOUBTFUL, "warning"),
        Severity::Note => styled(FAINT, "note"),
        Severity::Ok => styled(GOOD, "ok"),
    };
    let mut place: Vec<String> = first.plugin.iter().map(|plugin| styled(STRONG, plugin)).collect();
    let mut proxies = same.iter().filter_map(|finding| finding.proxy.as_deref());
    if let Some(proxy) = proxies.next() {
        let more = proxies.count();
        place.push(if more == 0 { format!("at {proxy}") } else { format!("at {proxy} and {more} more") });
    }
    let place = if place.is_empty() { String::new() } else { format!("{}: ", place.join(" ")) };
    text.push_str(&format!("{tag} {} {place}{}\n", styled(FAINT, format!("[{}]", first.check.name())), first.what));
    if !first.why.is_empty() {
        text.push_str(&format!("  {}\n", first.why));
    }
    for line in first.cure.iter().flat_map(|cure| cure.lines()) {
        text.push_str(&format!("  {} {line}\n", styled(GOOD, ">")));
    }
    if first.severity <= Severity::Note {
        text.push('\n');
    }
}

fn summary(facts: &Facts, findings: &[Finding]) -> String {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let many = |count: usize, one: &str, more: &str| format!("{count} {}", if count == 1 { one } else { more });
    let proxies = format!("{} looked at", many(facts.proxies.len(), "proxy", "proxies"));
    let looked = match &facts.wanted {
        Some(_) => format!("{}, {proxies}", many(facts.plugins().count(), "WasmPlugin", "WasmPlugins")),
        None => format!("{proxies}, and compared with no resources"),
    };
    if errors == 0 && warnings == 0 {
        return format!("{} {looked}\n", styled(GOOD, "nothing wrong:"));
    }
    let bad = styled(BAD, "not as it should be:");
    format!("{bad} {looked}: {}, {}\n", many(errors, "error", "errors"), many(warnings, "warning", "warnings"))
}
