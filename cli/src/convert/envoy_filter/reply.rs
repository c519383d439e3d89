//! What a limited caller is told.

use std::collections::btree_map::Entry;

use super::super::field::Field;
use super::super::plugin::rate_limit::WhenLimited;
use super::super::report::Report;

/// Envoy's status, and the least that it takes in place of it.
const USUAL: u64 = 429;
const LEAST: u64 = 400;

/// `status`, the headers of the reply, and what a gRPC caller gets.
pub(super) fn read(field: &Field<'_>, report: &mut Report) -> WhenLimited {
    let mut when_limited = WhenLimited { status: status(field, report), ..WhenLimited::default() };
    for header in field.get("response_headers_to_add").map(|list| list.items()).unwrap_or_default() {
        header.only(&["header", "append", "append_action", "keep_empty_value"], "HeaderValueOption", report);
        let Some(pair) = header.get("header") else {
            report.refuse(&header, "has no header", "correct it: Envoy refuses this");
            continue;
        };
        let (name, value) = (pair.text_of("key").to_ascii_lowercase(), pair.text_of("value"));
        let plain = value.replace("%%", "");
        if plain.contains('%') {
            report
                .lost(&header, format!("{name}: {value:?} is a substitution of Envoy's, which a Wasm filter has not"));
            continue;
        }
        match when_limited.headers.entry(name) {
            Entry::Occupied(there) => {
                report.lost(&header, format!("{} is there already, and a reply has it once", there.key()));
            }
            Entry::Vacant(free) => {
                let value = value.replace("%%", "%");
                report.became(&header, format!("whenLimited.headers: {}: {value}", free.key()));
                free.insert(value);
            }
        }
    }
    if let Some(list) = field.get("request_headers_to_add_when_not_enforced") {
        report.lost(
            &list,
            "a rule in shadow mode adds nothing to the request; decision=\"shadow_limited\" of \
             tollgate_rate_limit_total and the log's event=would_limit tell whom it would have limited",
        );
    }
    match field.get("rate_limited_as_resource_exhausted") {
        Some(flag) if flag.need_flag(report) == Some(true) => {
            report.became(&flag, "what gRPC callers always get: RESOURCE_EXHAUSTED");
        }
        Some(flag) => report.lost(&flag, "gRPC callers get RESOURCE_EXHAUSTED, no longer UNAVAILABLE"),
        None => {
            let implied =
                Field::new(&serde_json::Value::Null, format!("{}.rate_limited_as_resource_exhausted", field.path));
            report.dropped(
                &implied,
                "left out, so gRPC callers got UNAVAILABLE; they get RESOURCE_EXHAUSTED now. The body is `rate limit \
                 exceeded`, no longer `local_rate_limited`, and the reply says in retry-after when to come back",
            );
        }
    }
    when_limited
}

fn status(field: &Field<'_>, report: &mut Report) -> Option<u64> {
    let code = field.find(&["status", "code"])?;
    let number = match code.text() {
        Some("TooManyRequests") => USUAL,
        Some("ServiceUnavailable") => 503,
        _ => match code.number() {
            Some(number) => number,
            None => {
                report.refuse(
                    &code,
                    format!("{} is no number", code.value),
                    "write the status as a number, such as 429",
                );
                return None;
            }
        },
    };
    if number == USUAL {
        report.became(&code, "the default: 429");
        return None;
    }
    if number < LEAST {
        report.became_but(&code, "the default: 429", "Envoy answers 429 where less than 400 is asked for");
        return None;
    }
    report.became(&code, format!("whenLimited.status: {number}"));
    Some(number)
}

/// Whether replies have `x-ratelimit-limit`, `-remaining` and `-reset`.
pub(super) fn draft03(field: &Field<'_>, report: &mut Report) -> bool {
    let Some(version) = field.get("enable_x_ratelimit_headers") else { return false };
    match (version.text(), version.number()) {
        (Some("OFF"), _) | (_, Some(0)) => {
            report.became(&version, "the default: none");
            false
        }
        (Some("DRAFT_VERSION_03"), _) | (_, Some(1)) => {
            let reason = "Envoy puts them on admitted replies as well; for that add `headers: all` to the rule, which \
                          needs the module rate-limit-response";
            report.became_but(&version, "draft03: true", reason);
            true
        }
        _ => {
            report.refuse(&version, "must be OFF or DRAFT_VERSION_03", "correct it: Envoy refuses this");
            false
        }
    }
}
