//! Envoy's message `LocalRateLimit`.

use serde_json::Value;

use super::super::field::Field;
use super::super::plugin::rate_limit::{Limit, WhenLimited};
use super::super::report::Report;
use super::actions::{self, RateLimit};
use super::share::{self, Share};
use super::{bucket, reply};

/// A local rate limit, in Tollgate's terms as far as it has them.
#[derive(Debug, Clone)]
pub(super) struct Limiter<'a> {
    pub(super) field: Field<'a>,
    pub(super) bucket: Option<Limit>,
    pub(super) descriptors: Vec<Descriptor<'a>>,
    pub(super) share: Share,
    pub(super) draft03: bool,
    pub(super) when_limited: WhenLimited,
    pub(super) slots: Option<u64>,
    pub(super) stage: u64,
    pub(super) virtual_host_limits: VirtualHostLimits,
    /// Whether requests of a descriptor are charged to the default bucket as well.
    pub(super) always_default: bool,
    /// `rate_limits` of the message itself, in place of the route's.
    pub(super) actions: Vec<RateLimit<'a>>,
}

/// A limit for the requests that produce these entries.
#[derive(Debug, Clone)]
pub(super) struct Descriptor<'a> {
    pub(super) field: Field<'a>,
    pub(super) entries: Vec<(&'a str, &'a str)>,
    pub(super) limit: Limit,
    pub(super) is_shadow: bool,
}

/// Whether a virtual host's `rate_limits` count beside the route's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum VirtualHostLimits {
    #[default]
    Override,
    Include,
    Ignore,
}

const KNOWN: [&str; 18] = [
    "@type",
    "stat_prefix",
    "status",
    "token_bucket",
    "filter_enabled",
    "filter_enforced",
    "request_headers_to_add_when_not_enforced",
    "response_headers_to_add",
    "descriptors",
    "stage",
    "local_rate_limit_per_downstream_connection",
    "local_cluster_rate_limit",
    "enable_x_ratelimit_headers",
    "vh_rate_limits",
    "always_consume_default_token_bucket",
    "rate_limited_as_resource_exhausted",
    "rate_limits",
    "max_dynamic_descriptors",
];

/// The message inside of a `typed_config`, in plain or in `TypedStruct` form; none when it is another one.
pub(super) fn message<'a>(typed_config: &Field<'a>) -> Option<Field<'a>> {
    let is_ours = |url: &str| url.ends_with("envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit");
    let url = typed_config.text_of("@type");
    if url.ends_with("udpa.type.v1.TypedStruct") || url.ends_with("xds.type.v3.TypedStruct") {
        return typed_config.get("value").filter(|_| is_ours(typed_config.text_of("type_url")));
    }
    Some(typed_config.clone()).filter(|_| is_ours(url))
}

/// Reads the message. `dead` tells why Istio or Envoy never put it in force, if that can be seen.
pub(super) fn read<'a>(field: &Field<'a>, dead: Option<&str>, report: &mut Report) -> Limiter<'a> {
    field.only(&KNOWN, "LocalRateLimit", report);
    if let Some(prefix) = field.get("stat_prefix") {
        let name = prefix.text().unwrap_or_default();
        report.became_so(
            &prefix,
            "the metric tollgate_rate_limit_total",
            format!(
                "{name}.http_local_rate_limit.rate_limited is its decision=\"limited\": mend dashboards and alerts"
            ),
        );
    }
    let share = share::read(field, dead, report);
    let bucket = field.get("token_bucket").and_then(|tokens| bucket::read(&tokens, &share, report));
    let descriptors = field.get("descriptors").map(|list| list.items()).unwrap_or_default();
    let descriptors = descriptors.iter().filter_map(|one| descriptor(one, &share, report)).collect::<Vec<_>>();
    let has_dynamic = descriptors.iter().any(|one| one.entries.iter().any(|(_, value)| value.is_empty()));
    refuse_other_scopes(field, report);
    Limiter {
        bucket,
        share,
        when_limited: reply::read(field, report),
        draft03: reply::draft03(field, report),
        slots: slots(field, has_dynamic, report),
        stage: stage(field, report),
        virtual_host_limits: virtual_host_limits(field, report),
        always_default: always_default(field, !descriptors.is_empty(), report),
        actions: field.get("rate_limits").map(|list| actions::read(&list, report)).unwrap_or_default(),
        descriptors,
        field: field.clone(),
    }
}

fn descriptor<'a>(field: &Field<'a>, share: &Share, report: &mut Report) -> Option<Descriptor<'a>> {
    field.only(&["entries", "token_bucket", "shadow_mode"], "LocalRateLimitDescriptor", report);
    let entries = field.get("entries").map(|entries| entries.items()).unwrap_or_default();
    let entries: Vec<_> = entries.iter().map(|entry| (entry.text_of("key"), entry.text_of("value"))).collect();
    let Some(tokens) = field.get("token_bucket").filter(|_| !entries.is_empty()) else {
        report.refuse(field, "needs entries and a token_bucket", "correct it: Envoy refuses this");
        return None;
    };
    let is_shadow = field.get("shadow_mode").is_some_and(|shadow| {
        let is_shadow = shadow.need_flag(report) == Some(true);
        report.became(&shadow, if is_shadow { "mode: shadow" } else { "the default: enforce" });
        is_shadow
    });
    Some(Descriptor { field: field.clone(), entries, limit: bucket::read(&tokens, share, report)?, is_shadow })
}

/// Buckets that are neither the proxy's nor the route's.
fn refuse_other_scopes(field: &Field<'_>, report: &mut Report) {
    if let Some(each) = field.get("local_rate_limit_per_downstream_connection") {
        match each.need_flag(report) {
            Some(true) => report.refuse(
                &each,
                "gives each connection a bucket of its own, and Tollgate has no such bucket: whoever opens more \
                 connections would get more",
                "set it to false for one bucket for all, and give the rule a key afterwards: [principal] or \
                 [clientAddress] hold a caller to one bucket whatever the number of its connections",
            ),
            _ => report.became(&each, "the default: one bucket for the proxy"),
        }
    }
    if let Some(cluster) = field.get("local_cluster_rate_limit") {
        report.refuse(
            &cluster,
            "divides the limit among the members of the proxy's own cluster, whose number is not in here",
            "take it out here, and write `replicas: N` beside `rules` in the result",
        );
    }
}

fn slots(field: &Field<'_>, has_dynamic: bool, report: &mut Report) -> Option<u64> {
    const USUAL: u64 = 8192;
    let most = field.get("max_dynamic_descriptors");
    let wanted = most.as_ref().and_then(|most| most.need_number(report));
    let slots = wanted.filter(|wanted| has_dynamic && *wanted > USUAL);
    let reason = "Envoy gives a caller a full bucket when it had to forget the old one; a full table here falls to one \
                  bucket that those without a slot share";
    match (most, slots) {
        (Some(most), Some(slots)) => report.became_so(&most, format!("slots: {slots}"), reason),
        (Some(most), None) => report.dropped(&most, format!("a table has {USUAL} slots anyhow; {reason}")),
        (None, _) if has_dynamic => {
            let implied = Field::new(&Value::Null, format!("{}.max_dynamic_descriptors", field.path));
            report.dropped(&implied, format!("20 by default, {USUAL} here; {reason}"));
        }
        (None, _) => {}
    }
    slots
}

fn stage(field: &Field<'_>, report: &mut Report) -> u64 {
    let Some(stage) = field.get("stage") else { return 0 };
    let number = stage.need_number(report).unwrap_or_default();
    report.became_so(&stage, "the choice of rules", format!("only the rate_limits of stage {number} were looked at"));
    number
}

fn virtual_host_limits(field: &Field<'_>, report: &mut Report) -> VirtualHostLimits {
    let Some(option) = field.get("vh_rate_limits") else { return VirtualHostLimits::Override };
    let (limits, what) = match (option.text(), option.number()) {
        (Some("OVERRIDE"), _) | (_, Some(0)) => {
            (VirtualHostLimits::Override, "the virtual host's rate_limits count where the route has none")
        }
        (Some("INCLUDE"), _) | (_, Some(1)) => {
            (VirtualHostLimits::Include, "the virtual host's rate_limits count beside the route's")
        }
        (Some("IGNORE"), _) | (_, Some(2)) => {
            (VirtualHostLimits::Ignore, "the virtual host's rate_limits do not count")
        }
        _ => {
            report.refuse(&option, "must be OVERRIDE, INCLUDE or IGNORE", "correct it: Envoy refuses this");
            return VirtualHostLimits::Override;
        }
    };
    report.became_so(&option, "the choice of rules", what);
    limits
}

fn always_default(field: &Field<'_>, has_descriptors: bool, report: &mut Report) -> bool {
    let always = field.get("always_consume_default_token_bucket");
    let Some(always) = always else { return true };
    let flag = always.need_flag(report).unwrap_or(true);
    match (has_descriptors, flag) {
        (false, _) => report.dropped(&always, "means nothing without descriptors"),
        (true, true) => report.became(&always, "the token_bucket as an `overall` limit, beside the rules"),
        (true, false) => report.became(&always, "the token_bucket as the last rule, for what no descriptor is for"),
    }
    flag
}
