//! What was observed against what the rules promise, line by line.

use super::caller::Tally;
use super::rule::Rule;
use crate::output::{self, BAD, GOOD, STRONG, styled};

/// All that was observed.
pub(super) struct Observation {
    pub(super) friend: Tally,
    pub(super) stranger: Tally,
    pub(super) forged: Tally,
    pub(super) bare: Tally,
    pub(super) plain: Tally,
    /// The friend's connections, by worker.
    pub(super) connections: Vec<u64>,
    /// Lines of the Prometheus page.
    pub(super) metrics: Vec<String>,
}

/// The table and the checks below it.
pub(super) struct Verdict {
    rows: Vec<(Vec<String>, bool)>,
    checks: Vec<(String, bool)>,
    headers: Vec<(String, String)>,
    metrics: Vec<String>,
    others: Vec<String>,
}

impl Verdict {
    /// Judges.
    pub(super) fn of(seen: &Observation, rule: &Rule, workers: u32) -> Self {
        let friend = &seen.friend;
        let (least, most) = rule.admitted(friend.sent, friend.elapsed);
        let range = if least == most { least.to_string() } else { format!("{least} to {most}") };
        let as_promised =
            (least..=most).contains(&friend.ok) && friend.limited == friend.sent.saturating_sub(friend.ok);
        let all_forbidden = |tally: &Tally| tally.forbidden == tally.sent && tally.sent > 0;
        let all_refused = |tally: &Tally| tally.refused == tally.sent && tally.sent > 0;
        let expected = format!("200: {range} ({:.1} s), else 429", friend.elapsed.as_secs_f64());
        let rows = vec![
            row("api-gateway", friend, &expected, as_promised),
            row("stranger, valid certificate", &seen.stranger, "all 403", all_forbidden(&seen.stranger)),
            row("forged api-gateway", &seen.forged, "all refused", all_refused(&seen.forged)),
            row("no certificate", &seen.bare, "all refused", all_refused(&seen.bare)),
            row("plaintext", &seen.plain, "all refused", all_refused(&seen.plain)),
        ];
        let mut tallies = [friend, &seen.stranger, &seen.forged, &seen.bare, &seen.plain].into_iter();
        let others = tallies.by_ref().flat_map(|tally| tally.others.iter().cloned()).collect();
        Self {
            rows,
            checks: checks(seen, workers),
            headers: friend.limited_headers.clone(),
            metrics: interesting(&seen.metrics),
            others,
        }
    }

    /// Whether every line is as it should be.
    pub(super) fn is_as_it_should_be(&self) -> bool {
        self.rows.iter().all(|(_, good)| *good) && self.checks.iter().all(|(_, good)| *good)
    }

    /// Prints everything.
    pub(super) fn print(&self) {
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|(cells, good)| cells.iter().cloned().chain(std::iter::once(mark(*good))).collect())
            .collect();
        let header = ["caller", "sent", "200", "403", "429", "refused", "other", "expected", ""];
        output::line(output::table(&header, &rows));
        for other in self.others.iter().take(3) {
            output::line(format!("  other: {other}"));
        }
        if !self.headers.is_empty() {
            output::line(format!("\n{}", styled(STRONG, "One 429, with its headers:")));
            for (name, value) in &self.headers {
                output::line(format!("  {name}: {value}"));
            }
        }
        output::line(format!("\n{}", styled(STRONG, "As Prometheus sees it:")));
        for line in &self.metrics {
            output::line(format!("  {line}"));
        }
        if self.metrics.is_empty() {
            output::line("  nothing of Tollgate's");
        }
        output::line("");
        for (what, good) in &self.checks {
            output::line(format!("  {} {what}", mark(*good)));
        }
        let (style, words) = if self.is_as_it_should_be() {
            (GOOD, "Everything is as it should be.")
        } else {
            (BAD, "Not everything is as it should be: see the lines that are NOT ok.")
        };
        output::line(format!("\n{}", styled(style, words)));
    }
}

fn mark(good: bool) -> String {
    if good { styled(GOOD, "ok") } else { styled(BAD, "NOT ok") }
}

fn row(caller: &str, tally: &Tally, expected: &str, good: bool) -> (Vec<String>, bool) {
    let counts = [tally.sent, tally.ok, tally.forbidden, tally.limited, tally.refused, tally.others.len() as u64];
    let mut cells = vec![caller.to_owned()];
    cells.extend(counts.iter().map(u64::to_string));
    cells.push(expected.to_owned());
    (cells, good)
}

fn checks(seen: &Observation, workers: u32) -> Vec<(String, bool)> {
    let mut checks = Vec::new();
    let shares: Vec<String> = seen.connections.iter().map(u64::to_string).collect();
    let took_part = seen.connections.iter().filter(|count| **count > 0).count();
    checks.push((
        format!("one bucket over {workers} workers: they took {} of api-gateway's connections", shares.join(" and ")),
        took_part >= usize::try_from(workers.min(2)).unwrap_or(2),
    ));
    let header = |name: &str| seen.friend.limited_headers.iter().find(|(known, _)| known == name).map(|(_, v)| v);
    if seen.friend.limited > 0 {
        let after = header("retry-after").and_then(|value| value.parse::<u64>().ok()).is_some_and(|after| after >= 1);
        let named = ["ratelimit-policy", "ratelimit", "x-envoy-ratelimited"].iter().all(|name| header(name).is_some());
        checks.push(("a 429 says when to come back and what the policy is".into(), after && named));
    }
    let counted = |decision: &str| sum(&seen.metrics, "tollgate_rate_limit_total", &[("decision", decision)]);
    let (allowed, limited) = (counted("allowed"), counted("limited"));
    checks.push((
        format!("rate-limit counted {allowed} allowed and {limited} limited: nobody who was denied was charged"),
        allowed == seen.friend.ok && limited == seen.friend.limited,
    ));
    let denied = sum(&seen.metrics, "tollgate_identity_total", &[("decision", "denied")]);
    checks.push((format!("mtls-identity counted {denied} denied"), denied == seen.stranger.forbidden));
    let requests = |code: &str| sum(&seen.metrics, "tollgate_requests_total", &[("response_code", code)]);
    let (ok, forbidden, too_many) = (requests("200"), requests("403"), requests("429"));
    checks.push((
        format!("route-metrics counted {ok} times 200, {forbidden} times 403, {too_many} times 429"),
        ok == seen.friend.ok && forbidden == seen.stranger.forbidden && too_many == seen.friend.limited,
    ));
    checks
}

/// The sum of a metric over all series that have these labels.
fn sum(metrics: &[String], name: &str, labels: &[(&str, &str)]) -> u64 {
    let matching = metrics.iter().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let rest = series.strip_prefix(name)?;
        let inner = rest.strip_prefix('{')?.strip_suffix('}')?;
        let has = |(key, value): &(&str, &str)| {
            inner.starts_with(&format!("{key}=\"{value}\"")) || inner.contains(&format!(",{key}=\"{value}\""))
        };
        labels.iter().all(has).then(|| value.parse::<u64>().ok()).flatten()
    });
    matching.fold(0, u64::saturating_add)
}

/// Counters that counted something.
fn interesting(metrics: &[String]) -> Vec<String> {
    let counters = ["tollgate_rate_limit_total{", "tollgate_identity_total{", "tollgate_requests_total{"];
    let counted = |line: &&String| !line.ends_with(" 0") && counters.iter().any(|name| line.starts_with(name));
    metrics.iter().filter(counted).take(8).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_label() {
        let lines: Vec<String> = [
            "# TYPE tollgate_rate_limit_total counter",
            "tollgate_rate_limit_total{rule=\"a\",decision=\"allowed\"} 2",
            "tollgate_rate_limit_total{decision=\"allowed\",rule=\"b\"} 3",
            "tollgate_rate_limit_total{decision=\"shadow_limited\"} 7",
            "tollgate_rate_limit_total_other{decision=\"allowed\"} 7",
        ]
        .map(str::to_owned)
        .to_vec();
        assert_eq!(sum(&lines, "tollgate_rate_limit_total", &[("decision", "allowed")]), 5);
        assert_eq!(sum(&lines, "tollgate_rate_limit_total", &[("decision", "limited")]), 0);
    }
}
