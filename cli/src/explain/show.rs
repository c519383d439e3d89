//! The answer for people.

use std::fmt::Display;

use super::identity::Identity;
use super::metrics::{Metrics, Passed};
use super::rate_limit::{Charged, Exempt, Explained, PassedOver, ReplyShown};
use super::routes::Miss;
use super::{Answer, Explanation, Plugin};
use crate::output::{BAD, DOUBTFUL, FAINT, GOOD, STRONG, styled};

/// Lines, each with a label of one width.
#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, depth: usize, label: &str, text: impl Display) {
        let indent = "  ".repeat(depth);
        let width = 14_usize.saturating_sub(indent.len());
        self.0.push_str(&format!("{indent}{label:width$} {text}\n"));
    }

    fn more(&mut self, text: impl Display) {
        self.0.push_str(&format!("{:16} {}\n", "", styled(FAINT, text)));
    }

    fn misses(&mut self, misses: &[Miss]) {
        misses.iter().for_each(|miss| self.more(miss.text()));
    }
}

/// All of it.
pub(super) fn text(explanation: &Explanation) -> String {
    let mut page = Page::default();
    page.0.push_str(&format!("{}\n", styled(STRONG, &explanation.request)));
    page.line(1, "path", explanation.path.text());
    if !explanation.ignored.is_empty() {
        page.line(1, "ignored", format!("{} (nothing that a filter sees)", explanation.ignored.join(", ")));
    }
    for plugin in &explanation.plugins {
        page.plugin(plugin);
    }
    page.0
}

impl Page {
    fn plugin(&mut self, plugin: &Plugin) {
        let name = styled(STRONG, format!("{} {}", plugin.filter, plugin.name));
        self.0.push_str(&format!("\n{name} {}\n", styled(FAINT, &plugin.file)));
        if let Some(by) = &plugin.not_reached {
            self.line(1, "not reached", format!("{} turns the request away before; if it did not:", styled(BAD, by)));
        }
        match &plugin.answer {
            Answer::RateLimit(explained) => self.rate_limit(explained),
            Answer::Identity(identity) => self.identity(identity),
            Answer::Metrics(metrics) => self.metrics(metrics),
            Answer::Inactive(why) => self.line(1, "inactive", why),
        }
    }

    fn rate_limit(&mut self, explained: &Explained) {
        let Explained { decision, exempt, passed_over, charged, when_admitted } = explained;
        self.exempt(exempt);
        if exempt.is {
            return self.line(1, "decision", styled(GOOD, "passes, exempt: no limit is asked"));
        }
        passed_over.iter().for_each(|rule| self.passed_over(rule));
        charged.iter().for_each(|rule| self.charged(rule));
        let decision = match *decision {
            "unmatched" => styled(DOUBTFUL, "passes: no rule is for it, and nothing is charged"),
            "limited" => styled(BAD, "turned away, whatever the buckets hold: a part of the key is missing"),
            _ if charged.iter().all(|rule| rule.unlimited.is_some()) => {
                styled(GOOD, "passes, and is charged to nothing")
            }
            _ => styled(GOOD, "passes while the buckets have enough"),
        };
        self.line(1, "decision", decision);
        if !when_admitted.is_empty() {
            self.line(1, "when admitted", "its response gets, from full buckets");
            self.headers(when_admitted);
        }
        for rule in charged {
            if let Some(reply) = &rule.when_limited {
                self.reply(rule, reply);
            }
        }
    }

    fn exempt(&mut self, exempt: &Exempt) {
        match (&exempt.doubt, exempt.is) {
            (_, true) => self.line(1, "exempt", "yes"),
            (Some(doubt), _) => self.line(1, "exempt", format!("no, though an entry fits: {doubt}")),
            (None, _) if !exempt.misses.is_empty() => {
                self.line(1, "exempt", "no");
                self.misses(&exempt.misses);
            }
            _ => {}
        }
    }

    fn passed_over(&mut self, rule: &PassedOver) {
        let name = format!("{} {}", rule.at, rule.rule);
        match &rule.lacks {
            Some(part) => self.line(1, "passed over", format!("{name}: not for a request without {part}")),
            None => self.line(1, "passed over", name),
        }
        self.misses(&rule.misses);
    }

    fn charged(&mut self, rule: &Charged) {
        self.line(1, "rule", styled(STRONG, format!("{} {}", rule.at, rule.rule)));
        self.line(2, "mode", &rule.mode);
        if let Some(exception) = &rule.r#override {
            self.line(2, "override", exception);
        }
        if let Some(why) = rule.unlimited {
            return self.line(2, "limits", format!("none: {why}"));
        }
        if rule.key.is_empty() {
            self.line(2, "key", "none: one bucket for all requests of the rule");
        }
        for part in &rule.key {
            let name = &part.part;
            match (&part.value, &part.missing) {
                (Some(value), _) => self.line(2, "key", format!("{name} = {value}")),
                (None, missing) => {
                    let missing = missing.as_deref().unwrap_or_default();
                    self.line(2, "key", format!("{name} {}: {missing}", styled(DOUBTFUL, "is missing")));
                }
            }
        }
        for limit in &rule.limits {
            let share = limit.of_one_proxy.as_ref().map(|share| format!("; each proxy {share}")).unwrap_or_default();
            self.line(2, "limit", format!("{} per {}, burst {}{share}", limit.requests, limit.per, limit.burst));
        }
        self.line(2, "cost", &rule.cost);
        if let Some(reserve) = &rule.reserve {
            self.line(2, "reserve", reserve);
        }
    }

    fn reply(&mut self, rule: &Charged, reply: &ReplyShown) {
        let grpc = reply.grpc_status.map(|status| format!(", grpc-status {status}")).unwrap_or_default();
        let shadow = if rule.mode.starts_with("enforce") { "" } else { ", were it enforced" };
        self.line(1, "when limited", format!("{} by {}{grpc}{shadow}", reply.status, rule.rule));
        self.headers(&reply.headers);
        self.more(format!("{:?}", reply.body));
    }

    fn headers(&mut self, headers: &[(String, String)]) {
        headers.iter().for_each(|(name, value)| self.more(format!("{name}: {value}")));
    }

    fn identity(&mut self, identity: &Identity) {
        self.line(1, "caller", identity.principal.as_deref().unwrap_or("no certificate"));
        self.passed(&identity.passed_over);
        let decision = match (identity.decision, identity.reason) {
            ("denied", reason) => styled(BAD, format!("denied, {}", reason.unwrap_or_default())),
            (shadowed, Some(reason)) => styled(DOUBTFUL, format!("{shadowed}, {reason}")),
            (passes, None) => styled(GOOD, passes),
        };
        self.line(1, "decision", format!("{decision}: {}", identity.why));
    }

    fn metrics(&mut self, metrics: &Metrics) {
        self.passed(&metrics.passed_over);
        let route = metrics.route.as_ref().map(|route| styled(GOOD, route));
        self.line(1, "route", route.unwrap_or_else(|| "the proxy's own route name".to_owned()));
    }

    fn passed(&mut self, rules: &[Passed]) {
        for rule in rules {
            self.line(1, "passed over", format!("{} {}", rule.at, rule.rule));
            self.misses(&rule.misses);
            rule.because.iter().for_each(|because| self.more(because));
        }
    }
}
