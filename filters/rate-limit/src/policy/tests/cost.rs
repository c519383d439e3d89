//! What a request counts as.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn costing(cost: &str) -> Worker {
    worker(&format!(r#"{{"rules":[{{"name":"a","limits":[{{"requests":10,"per":"10s"}}],"cost":{cost}}}]}}"#))
}

#[test]
fn a_fixed_cost_is_that_many_requests() {
    let mut worker = costing("3");
    assert_eq!(worker.admitted(&call("/"), 10, 0), 3);
    assert_eq!(worker.denial(&call("/"), 0), (0, 2 * SECOND), "one is left and two are missing");
    assert!(!worker.admits(&call("/"), 2 * SECOND - 1) && worker.admits(&call("/"), 2 * SECOND));
}

/// What a request with these values of `x-cost` costs.
fn cost_of(cost: &str, values: &[&[u8]]) -> u64 {
    let mut worker = costing(cost);
    let request = values.iter().fold(call("/"), |call, value| call.with_header("x-cost", value));
    assert!(worker.admits(&request, 0), "{values:?}");
    10 - worker.admitted(&call("/").with_header("x-cost", "1"), 20, 0) as u64
}

#[test]
fn a_header_says_the_cost_within_its_bounds() {
    let bounded = r#"{"header":"X-Cost","default":3,"min":1,"max":7}"#;
    for (values, expected) in [
        (&[][..], 3),
        (&[&b"1"[..]], 1),
        (&[b"5"], 5),
        (&[b" 5\t"], 5),
        (&[b"007"], 7),
        (&[b"7"], 7),
        (&[b"8"], 7),
        (&[b"99999999999999999999999999"], 7),
        (&[b"0"], 1),
        (&[b"-5"], 3),
        (&[b"+5"], 3),
        (&[b"5.0"], 3),
        (&[b"5e0"], 3),
        (&[b"0x5"], 3),
        (&[b""], 3),
        (&[b" "], 3),
        (&[b"many"], 3),
        (&[b"\xff"], 3),
        ("５".as_bytes().chunks(9).collect::<Vec<_>>().as_slice(), 3),
        (&[b"2", b"5", b"4"], 5),
        (&[b"2", b"many"], 2),
        (&[b"2, 5", b"4"], 5),
        (&[b"2,,many"], 2),
    ] {
        assert_eq!(cost_of(bounded, values), expected, "{values:?}");
    }
}

#[test]
fn a_header_cost_is_one_at_least_unless_said_otherwise() {
    let plain = r#"{"header":"x-cost","max":7}"#;
    assert_eq!((cost_of(plain, &[]), cost_of(plain, &[b"0"]), cost_of(plain, &[b"4"])), (1, 1, 4));
    let costly = worker(
        r#"{"rules":[{"name":"a","limits":[{"requests":10,"per":"10s"}],"cost":{"header":"x-cost","min":5,"max":7}}]}"#,
    );
    let mut costly = costly;
    assert_eq!(costly.admitted(&call("/").with_header("x-cost", "2"), 10, 0), 2, "five each");
}

const FAILURES: &str = r#"{"response":[{"status":["401","403"],"cost":4},{"status":["4xx"],"cost":1}]}"#;

/// A request comes, and its response.
fn exchange(worker: &mut Worker, status: u16, now: u64) {
    let verdict = worker.decide(&call("/"), now);
    worker.respond(verdict, status, now);
}

#[test]
fn only_the_statuses_that_are_named_cost_something() {
    let mut worker = costing(FAILURES);
    for _ in 0..50 {
        exchange(&mut worker, 200, 0);
        exchange(&mut worker, 503, 0);
        exchange(&mut worker, 0, 0);
    }
    assert_eq!(worker.decided(), [(0, Decided::Allowed)]);
    for status in [401, 403, 404, 429] {
        exchange(&mut worker, status, 0);
    }
    assert_eq!(worker.denial(&call("/"), 0), (0, SECOND), "the first entry that fits counts: 4 + 4 + 1 + 1");
    assert_eq!(worker.decided(), [(0, Decided::Limited)]);
    assert!(!worker.admits(&call("/"), SECOND - 1) && worker.admits(&call("/"), SECOND));
}

#[test]
fn a_request_that_waits_for_its_response_is_charged_nothing() {
    let mut worker = costing(FAILURES);
    let verdicts: Vec<Verdict> = (0..100).map(|_| worker.decide(&call("/"), 0)).collect();
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Admitted(Admitted { matched: true, .. }))));
}

#[test]
fn failures_at_the_same_time_make_the_bucket_owe_until_it_is_refilled() {
    let mut worker = costing(FAILURES);
    let verdicts: Vec<Verdict> = (0..5).map(|_| worker.decide(&call("/"), 0)).collect();
    for verdict in verdicts {
        worker.respond(verdict, 401, 0);
    }
    // 20 of 10: ten are owed, and one is needed.
    assert_eq!(worker.denial(&call("/"), 0), (0, 11 * SECOND));
    assert_eq!(worker.denial(&call("/"), 5 * SECOND), (0, 6 * SECOND));
    assert!(!worker.admits(&call("/"), 11 * SECOND - 1));
    assert!(worker.admits(&call("/"), 11 * SECOND));
    exchange(&mut worker, 404, 11 * SECOND);
    assert_eq!(worker.denial(&call("/"), 11 * SECOND), (0, SECOND));
}

#[test]
fn what_is_charged_by_status_is_charged_to_the_callers_own_bucket() {
    let mut worker = worker(&format!(
        r#"{{"rules":[{{"name":"a","key":[{{"header":"x"}}],"limits":[{{"requests":4,"per":"4s"}}],"cost":{FAILURES},
                        "overrides":[{{"header":{{"x":"big"}},"limits":[{{"requests":8,"per":"4s"}}]}}]}}]}}"#
    ));
    let with = |key: &str| call("/").with_header("x", key);
    let mut fails = |key| {
        let verdict = worker.decide(&with(key), 0);
        worker.respond(verdict, 401, 0);
        ["a", "b", "big"].map(|key| worker.admits(&with(key), 0))
    };
    assert_eq!(fails("a"), [false, true, true]);
    assert_eq!(fails("big"), [false, true, true], "four of eight");
    assert_eq!(fails("big"), [false, true, false]);
}

#[test]
fn a_response_that_cannot_be_charged_is_reported() {
    let mut worker = costing(FAILURES);
    let Verdict::Admitted(Admitted { afterwards: Some(afterwards), .. }) = worker.decide(&call("/"), 0) else {
        panic!()
    };
    worker.store.set_broken(true);
    let Worker { policy, store } = &mut worker;
    assert_eq!(policy.charge(&afterwards, Some(401), store, Instant::default()), [(0, Err(BROKEN))]);
    assert_eq!(policy.charge(&afterwards, Some(200), store, Instant::default()), [(0, Ok(()))], "that costs nothing");
}

#[test]
fn in_shadow_failures_are_counted_and_nobody_is_turned_away() {
    let mut worker = worker(&one_rule(&format!(r#""mode":"shadow","cost":{FAILURES}"#)));
    exchange(&mut worker, 404, 0);
    assert_eq!(worker.decide(&call("/"), 0), PASSED);
    assert_eq!(worker.decided(), [(0, Decided::ShadowLimited(empty(0, MINUTE)))]);
}

#[test]
fn a_raised_limit_refills_at_once_where_failures_cost() {
    let json = |per: &str| {
        format!(r#"{{"rules":[{{"name":"a","limits":[{{"requests":4,"per":"{per}"}}],"cost":{FAILURES}}}]}}"#)
    };
    let mut old = worker(&json("1h"));
    exchange(&mut old, 401, 0);
    assert!(!old.admits(&call("/"), 0));
    let mut new = worker_at(&json("4s"), &SCOPE, old.store);
    assert_eq!(new.denial(&call("/"), 0), (0, SECOND));
    assert_eq!(new.denial(&call("/"), SECOND / 2), (0, SECOND / 2), "asking does not put it off");
    assert!(new.admits(&call("/"), SECOND), "as it was told");
}

#[test]
fn a_request_whose_response_never_comes_costs_the_most_that_it_could() {
    let mut worker =
        worker(&one_rule(r#""cost":{"response":[{"status":["2xx"],"cost":1},{"status":["5xx"],"cost":3}]}"#));
    let Verdict::Admitted(Admitted { afterwards: Some(afterwards), .. }) = worker.decide(&call("/"), 0) else {
        panic!()
    };
    let charged = worker.policy.charge(&afterwards, None, &mut worker.store, Instant::default());
    assert_eq!(charged, [(0, Ok(()))]);
    assert!(!worker.admits(&call("/"), 3 * MINUTE - 1));
    assert!(worker.admits(&call("/"), 3 * MINUTE));
}
