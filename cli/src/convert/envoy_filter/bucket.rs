//! `TokenBucket`, as a limit.

use super::super::field::Field;
use super::super::plugin::rate_limit::Limit;
use super::super::report::Report;
use super::share::{Share, WHOLE};

const REFUSED: &str = "correct it: Envoy refuses this";

/// The least `fill_interval` that Envoy takes, in nanoseconds.
const LEAST_INTERVAL: u128 = 50_000_000;

/// Reads one. Where only a share of the requests is charged in Envoy, the limit grows accordingly.
pub(super) fn read(field: &Field<'_>, share: &Share, report: &mut Report) -> Option<Limit> {
    field.only(&["max_tokens", "tokens_per_fill", "fill_interval"], "TokenBucket", report);
    let (Some(max), Some(interval)) = (field.get("max_tokens"), field.get("fill_interval")) else {
        report.refuse(field, "needs max_tokens and fill_interval", REFUSED);
        return None;
    };
    let per_fill = field.get("tokens_per_fill");
    let most = max.need_number(report)?;
    let tokens = per_fill.as_ref().map_or(Some(1), |tokens| tokens.need_number(report))?;
    let Some(nanos) = nanoseconds(&interval) else {
        let reason = format!("must be a duration in seconds, such as \"60s\" or \"0.5s\", found {}", interval.value);
        report.refuse(&interval, reason, REFUSED);
        return None;
    };
    if most == 0 || tokens == 0 {
        report.refuse(field, "a bucket without tokens admits nobody, and Envoy refuses it", REFUSED);
        return None;
    }
    let (requests, nanos) = scale(tokens, nanos, share.charged)?;
    let burst = u64::try_from(u128::from(most).checked_mul(WHOLE.into())?.div_ceil(share.charged.into())).ok()?;
    let limit = Limit { requests, per: duration(nanos), burst: Some(burst).filter(|burst| *burst != requests) };
    match limit.burst {
        Some(burst) => report.became(&max, format!("burst: {burst}")),
        None => report.became(&max, format!("the default: burst {requests}")),
    }
    let what = format!("requests: {requests}");
    let reason = "tokens come back evenly over `per`, one by one; older Envoys add all of them at its end";
    match &per_fill {
        Some(per_fill) => report.became_so(per_fill, what, reason),
        None => {
            let implied = Field::new(&serde_json::Value::Null, format!("{}.tokens_per_fill", field.path));
            report.became_but(&implied, what, "Envoy's default, as it is left out: one token for each fill_interval");
        }
    }
    if nanos < LEAST_INTERVAL {
        let reason = "Envoy takes no fill_interval below 50ms, so this was never in force";
        report.became_but(&interval, format!("per: {}", limit.per), reason);
    } else {
        report.became(&interval, format!("per: {}", limit.per));
    }
    Some(limit)
}

/// The rate over the share of the requests that is charged, as whole numbers.
fn scale(tokens: u64, nanos: u128, charged: u64) -> Option<(u64, u128)> {
    let requests = u128::from(tokens).checked_mul(WHOLE.into())?;
    if let Some(0) = requests.checked_rem(charged.into()) {
        return Some((u64::try_from(requests.checked_div(charged.into())?).ok()?, nanos));
    }
    let percent = u128::from(charged).checked_div(u128::from(WHOLE / 100))?.max(1);
    let exact = u128::from(charged) == percent.checked_mul(u128::from(WHOLE / 100))?;
    let (times, over) = if exact { (100, percent) } else { (u128::from(WHOLE), u128::from(charged)) };
    Some((u64::try_from(u128::from(tokens).checked_mul(times)?).ok()?, nanos.checked_mul(over)?))
}

/// A protobuf duration in JSON: seconds, with an `s`.
fn nanoseconds(field: &Field<'_>) -> Option<u128> {
    let text = field.text()?;
    let seconds = text.strip_suffix('s')?;
    let is_plain = seconds.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let nanos = crate::duration::parse(text).filter(|_| is_plain)?.as_nanos();
    (nanos > 0).then_some(nanos)
}

/// As Tollgate writes durations.
fn duration(nanos: u128) -> String {
    let mut rest = nanos;
    let mut text = String::new();
    for (unit, name) in [
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
        (1, "ns"),
    ] {
        let count = rest.checked_div(unit).unwrap_or_default();
        if count > 0 {
            text.push_str(&format!("{count}{name}"));
            rest = rest.checked_rem(unit).unwrap_or_default();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_are_protobufs_and_come_out_as_tollgates() {
        for (given, expected) in [("60s", "1m"), ("90s", "1m30s"), ("0.25s", "250ms"), ("86400s", "24h")] {
            assert_eq!(duration(nanoseconds(&Field::new(&json!(given), "")).unwrap()), expected);
        }
        for wrong in [json!("1m"), json!(60), json!("0s"), json!("-1s")] {
            assert_eq!(nanoseconds(&Field::new(&wrong, "")), None, "{wrong}");
        }
    }

    #[test]
    fn a_share_of_the_requests_makes_the_limit_as_much_larger() {
        assert_eq!(scale(100, 60, WHOLE), Some((100, 60)));
        assert_eq!(scale(100, 60, WHOLE / 2), Some((200, 60)));
        assert_eq!(scale(100, 60, 300_000), Some((10_000, 1800)));
    }
}
