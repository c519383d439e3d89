//! What `mtls-identity` decides of a request, and why.

use mtls_identity::certificates::Moment;
use mtls_identity::conditions;
use mtls_identity::config::{Config, Mode, RuleConfig, When};
use mtls_identity::identity::{Evidence, Identification};
use mtls_identity::policy::{Allowed, Decision, Policy, Reason, Verdict};
use serde::Serialize;
use serde_json::Value;
use tollgate::config::{ConfigError, FromNode, Node};
use tollgate::request::{Attribute, Request as _};
use tollgate::time::Instant;

use super::metrics::Passed;
use super::request::Seen;
use super::routes;

/// What `mtls-identity` decides.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Identity {
    pub(super) decision: &'static str,
    /// As the log and the metrics spell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
    /// What let it pass, or why not.
    pub(super) why: String,
    /// The caller, also one whose identity does not count.
    pub(super) principal: Option<String>,
    pub(super) passed_over: Vec<Passed>,
}

/// Explains a decision of `mtls-identity`.
pub(super) fn identity(configuration: &Value, request: &Seen<'_>) -> Result<Identity, ConfigError> {
    let config = Config::parse(configuration.to_string().as_bytes())?;
    let name = |index: usize| config.rules.get(index).map_or("", |rule| rule.name.as_str());
    let mut evidence = Evidence::default();
    // Nobody knows the certificate, so there is nothing that the time could matter to.
    let now = Moment { monotonic: Instant::default(), unix_seconds: 0 };
    let mut principal = None;
    let Decision { verdict, shadowed } = Policy::new(&config).decide(request, || {
        let caller = Identification::new(&config).caller(request, &mut evidence, now);
        principal = caller.ok().map(|caller| caller.id.to_string());
        caller
    });
    let presented = request.attribute(Attribute::UriSanPeerCertificate);
    let principal = principal.or_else(|| presented.map(|uri| String::from_utf8_lossy(uri).into_owned()));
    let shadow = config.mode == Mode::Shadow;
    let (decision, reason, why) = match verdict {
        Verdict::Allowed(Allowed::Exempt) => ("exempt", None, "an entry of exempt holds".to_owned()),
        Verdict::Allowed(Allowed::Rule(index)) => {
            ("allowed", None, format!("rules[{index}] {} lets this caller pass", name(index)))
        }
        Verdict::Allowed(Allowed::Default) => {
            ("allowed", None, "no rule decides, and then every verified peer passes".to_owned())
        }
        Verdict::Denied { rule, reason } => {
            let rule = rule.map(|index| format!("rules[{index}] {}: ", name(index))).unwrap_or_default();
            let passes = if shadow { ", and passes for `mode: shadow`" } else { "" };
            let decision = if shadow { "shadow denied" } else { "denied" };
            (decision, Some(reason.as_str()), format!("{rule}{}{passes}", describe(reason)))
        }
    };
    let decider = match verdict {
        Verdict::Allowed(Allowed::Exempt) => 0,
        Verdict::Allowed(Allowed::Rule(index)) | Verdict::Denied { rule: Some(index), .. } => index,
        Verdict::Allowed(Allowed::Default) | Verdict::Denied { rule: None, .. } => config.rules.len(),
    };
    let earlier = config.rules.iter().enumerate().take(decider);
    let passed_over = earlier.map(|(index, rule)| {
        let at = format!("rules[{index}]");
        let written = configuration.get("rules").and_then(|rules| rules.get(index));
        let misses = match routes::holds(&rule.matches, request) {
            true => Vec::new(),
            false => {
                let matches = written.and_then(|rule| rule.get("match"));
                routes::misses(&rule.matches, matches, &format!("{at}.match"), request)
            }
        };
        let outcome = shadowed.iter().find(|(shadowed, _)| *shadowed == index).map(|(_, outcome)| *outcome);
        let because = if misses.is_empty() { passed_on(rule, written, outcome, request) } else { None };
        Passed { rule: rule.name.as_str().to_owned(), misses, because, at }
    });
    Ok(Identity { decision, reason, why, principal, passed_over: passed_over.collect() })
}

/// Why a rule whose `match` holds has not decided.
fn passed_on(
    rule: &RuleConfig,
    written: Option<&Value>,
    shadowed: Option<Result<(), Reason>>,
    request: &Seen<'_>,
) -> Option<String> {
    match shadowed {
        Some(Ok(())) => return Some("mode: shadow; it would have let the caller pass".into()),
        Some(Err(reason)) => return Some(format!("mode: shadow; it would have denied: {}", describe(reason))),
        None => {}
    }
    if let Some(when) = &rule.when
        && conditions::hold(when, request) == Ok(false)
    {
        let failing = failing(written.and_then(|rule| rule.get("when")), when, request);
        return Some(format!("its when does not hold: {}", failing.join(", ")));
    }
    Some("neither its deny nor its allow has the caller, and otherwise: next".into())
}

/// The conditions that fail, each asked by itself.
fn failing(written: Option<&Value>, when: &When, request: &Seen<'_>) -> Vec<String> {
    let fields = written.and_then(Value::as_object).into_iter().flatten();
    let mut failing = Vec::new();
    for (field, value) in fields {
        let alone = serde_json::json!({ field: value }).to_string();
        let alone = serde_json::from_str::<Node>(&alone).ok().and_then(|node| When::from_node(&node).ok());
        let alone = alone.map(|alone| When { trusted_hops: when.trusted_hops, ..alone });
        if alone.is_some_and(|alone| conditions::hold(&alone, request) == Ok(false)) {
            failing.push(format!("{field} {value}"));
        }
    }
    failing
}

fn describe(reason: Reason) -> &'static str {
    match reason.as_str() {
        "no_mtls" => "the caller has no certificate; --principal says who calls",
        "foreign_trust_domain" => "the caller is of a trust domain that does not count here",
        "other_scheme" => "the caller's URI is of another scheme than spiffe",
        "bad_spiffe_id" => "the caller's URI is no SPIFFE ID of a workload",
        "unreadable_certificate" => "the rules ask for what only the caller's certificate says, and explain has none",
        "untrusted_forwarder" => "the source is forwarded, and the peer is none of the forwarders",
        "no_forwarded_identity" => "the forwarder says nothing of its caller: that one had no certificate",
        "bad_forwarded_identity" => "what x-forwarded-client-cert says does not fit to who forwards it",
        "several_sans" => "the caller has several URIs",
        "ambiguous_path" => "two readers may understand the path differently, and rules look at paths",
        "ambiguous_host" => "two readers may understand the host differently, and rules look at hosts",
        "ambiguous_header" => "a header that rules look at is repeated, and its values disagree",
        "ambiguous_query" => "a parameter that rules look at is repeated, and its values disagree",
        "unknown_address" => "rules look at the client's address, and it is not known; --source says it",
        "unreadable_claim" => "a claim that rules look at can't be read",
        "denied_by_rule" => "its deny has the caller",
        "not_allowed" => "its allow does not have the caller",
        "no_rule" => "no rule decides, and the default is deny",
        _ => "the caller's certificate has no identity that counts",
    }
}
