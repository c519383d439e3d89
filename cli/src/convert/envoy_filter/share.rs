//! `filter_enabled` and `filter_enforced`: the share of requests that the filter looks at, and of those over the limit
//! the share that it turns away. Both are 0 % unless given, and then the filter does nothing.

use serde_json::Value;

use super::super::field::Field;
use super::super::plugin::rate_limit::Rule;
use super::super::report::Report;

/// The whole, in the unit in which shares are counted here.
pub(super) const WHOLE: u64 = 1_000_000;

/// What becomes of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// Millionths of the requests that are charged; never zero, as there would be nothing to scale.
    pub(super) charged: u64,
    /// Percent of those over the limit that are turned away; none for shadow mode.
    percent: Option<u64>,
}

impl Share {
    /// Writes it into a rule.
    pub(super) fn apply(self, is_shadow: bool, rule: &mut Rule) {
        match self.percent.filter(|_| !is_shadow) {
            None => rule.mode = Some("shadow"),
            Some(100) => {}
            Some(percent) => rule.enforce_percent = Some(percent),
        }
    }
}

/// Reads both. `dead` tells why the message was never in force.
pub(super) fn read(field: &Field<'_>, dead: Option<&str>, report: &mut Report) -> Share {
    let shadow = Share { charged: WHOLE, percent: None };
    let enabled = millionths(field, "filter_enabled", report);
    let enforced = millionths(field, "filter_enforced", report);
    if let Some(dead) = dead {
        report.became_but(
            field,
            "mode: shadow",
            format!(
                "THIS DID NOTHING: {dead}. In shadow mode it counts whom it would limit; take `mode` out to enforce it"
            ),
        );
        return shadow;
    }
    let (Some((enabled, of_requests)), Some((enforced, of_limited))) = (enabled, enforced) else { return shadow };
    let left_out = |field: &Field<'_>| if field.value.is_null() { " (Envoy's default, as it is left out)" } else { "" };
    if of_requests == 0 {
        let reason = format!(
            "THIS FILTER DID NOTHING: it is enabled for 0 % of the requests{}, so nobody was ever limited. In shadow \
             mode it counts whom it would limit; take `mode` out to enforce it",
            left_out(&enabled)
        );
        report.became_but(&enabled, "mode: shadow", reason);
        return shadow;
    }
    if of_limited == 0 {
        let reason = format!(
            "THIS FILTER TURNED NOBODY AWAY: it is enforced for 0 %{}. Shadow mode is the same; take `mode` out to \
             enforce it",
            left_out(&enforced)
        );
        report.became_but(&enforced, "mode: shadow", reason);
    }
    let product = of_requests.saturating_mul(of_limited).checked_div(WHOLE).unwrap_or_default();
    let percent = product.checked_div(WHOLE / 100).unwrap_or_default();
    if percent.saturating_mul(WHOLE / 100) != product || of_requests.saturating_mul(of_limited) % WHOLE != 0 {
        let reason = "with filter_enabled makes a share that is no whole percent, and enforcePercent is one";
        report.refuse(&enforced, reason, "choose shares whose product is a whole percent");
        return shadow;
    }
    if of_requests < WHOLE {
        let reason = "Envoy asked the bucket about a share of the requests; here every request is charged, so the \
                      limits are as much larger, and of those over them the same share is turned away";
        report.became_but(&enabled, "larger limits, and enforcePercent", reason);
    } else {
        report.became(&enabled, "the default: every request is charged");
    }
    match of_limited {
        0 => {}
        WHOLE if of_requests == WHOLE => report.became(&enforced, "the default: enforce"),
        _ => report.became(&enforced, format!("enforcePercent: {percent}")),
    }
    Share { charged: of_requests, percent: Some(percent).filter(|_| of_limited > 0) }
}

/// `RuntimeFractionalPercent`, with the field that it was read from, or the one that was left out.
fn millionths<'a>(field: &Field<'a>, name: &str, report: &mut Report) -> Option<(Field<'a>, u64)> {
    let Some(share) = field.get(name) else {
        return Some((Field::new(&Value::Null, format!("{}.{name}", field.path)), 0));
    };
    share.only(&["default_value", "runtime_key"], "RuntimeFractionalPercent", report);
    if let Some(key) = share.get("runtime_key") {
        report.dropped(
            &key,
            "there is no runtime to override the value with; edit the WasmPlugin, it takes effect at once",
        );
    }
    let Some(value) = share.get("default_value") else { return Some((share, 0)) };
    value.only(&["numerator", "denominator"], "FractionalPercent", report);
    let numerator = match value.get("numerator") {
        Some(numerator) => numerator.need_number(report)?,
        None => 0,
    };
    let unit = match value.get("denominator") {
        None => WHOLE / 100,
        Some(denominator) => match (denominator.text(), denominator.number()) {
            (Some("HUNDRED"), _) | (_, Some(0)) => WHOLE / 100,
            (Some("TEN_THOUSAND"), _) | (_, Some(1)) => WHOLE / 10_000,
            (Some("MILLION"), _) | (_, Some(2)) => 1,
            _ => {
                let reason = "must be HUNDRED, TEN_THOUSAND or MILLION";
                report.refuse(&denominator, reason, "correct it: Envoy refuses this");
                return None;
            }
        },
    };
    Some((share, numerator.saturating_mul(unit).min(WHOLE)))
}
