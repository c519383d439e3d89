//! Requests that several rules are for: all of them are charged, or none.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// Rules 0 and 1 for `/a` and `/b`, and rule 2 for both.
fn three(a: &str, b: &str, total: &str) -> String {
    let limits = |limit: &str| match limit.split_once('/') {
        Some((requests, rest)) => {
            let (per, fields) = rest.split_once(' ').unwrap_or((rest, ""));
            format!(r#""limits":[{{"requests":{requests},"per":"{per}"}}]{fields}"#)
        }
        None => panic!("{limit}"),
    };
    format!(
        r#"{{"rules":[{{"name":"a","match":[{{"paths":["/a"]}}],{}}},{{"name":"b","match":[{{"paths":["/b"]}}],{}}}],
            "overall":[{{"name":"total",{}}}]}}"#,
        limits(a),
        limits(b),
        limits(total)
    )
}

#[test]
fn every_request_must_pass_the_overall_limits_as_well() {
    let mut worker = worker(&three("5/1m", "5/1m", "7/1m"));
    assert_eq!(worker.admitted(&call("/a"), 10, 0), 5);
    assert_eq!(worker.admitted(&call("/b"), 1, 0), 1);
    assert_eq!(worker.decided(), [(1, Decided::Allowed), (2, Decided::Allowed)]);
    assert_eq!(worker.decide(&call("/c"), 0), UNMATCHED);
    assert_eq!(worker.decided(), [(2, Decided::Allowed)], "also those that no rule is for");
    assert_eq!(worker.admitted(&call("/b"), 10, 0) + worker.admitted(&call("/c"), 10, 0), 0);
    assert_eq!(worker.decided(), [(2, Decided::Limited)]);
}

#[test]
fn what_a_rule_denies_is_not_charged_to_the_overall_limit() {
    let mut worker = worker(&three("2/1m", "9/1m", "5/1m"));
    assert_eq!(worker.admitted(&call("/a"), 100, 0), 2);
    assert_eq!(worker.decided(), [(0, Decided::Limited)]);
    assert_eq!(worker.admitted(&call("/b"), 100, 0), 3, "three of five are left");
}

#[test]
fn what_an_overall_limit_denies_is_not_charged_to_the_rule() {
    let mut worker = worker(&three("9/1m", "5/1d", "3/1m"));
    assert_eq!(worker.admitted(&call("/a"), 2, 0), 2);
    assert_eq!(worker.admitted(&call("/b"), 100, 0), 1);
    assert_eq!(worker.decided(), [(2, Decided::Limited)]);
    // Four of five are left, and the overall limit gives one in twenty seconds.
    for turn in 1..=4 {
        assert_eq!(worker.admitted(&call("/b"), 100, turn * 20 * SECOND), 1, "{turn}");
    }
    assert_eq!(worker.admitted(&call("/b"), 100, 5 * 20 * SECOND), 0);
    assert_eq!(worker.decided(), [(1, Decided::Limited)]);
}

#[test]
fn the_longer_wait_counts() {
    for (a, rule, wait) in [("1/1h", 0, 60 * MINUTE - SECOND), ("1/1m", 2, 10 * MINUTE - SECOND)] {
        let mut worker = worker(&three(a, "1/1s", "1/10m"));
        assert!(worker.admits(&call("/a"), 0));
        assert_eq!(worker.denial(&call("/a"), SECOND), (rule, wait));
        assert_eq!(worker.decided(), [(0, Decided::Limited), (2, Decided::Limited)]);
    }
}

#[test]
fn an_overall_rule_in_shadow_is_charged_with_the_others_and_denies_nothing() {
    let mut worker = worker(&three("3/1m", "9/1m", r#"2/1m ,"mode":"shadow""#));
    for expected in [Decided::Allowed, Decided::Allowed, Decided::ShadowLimited(empty(0, 30 * SECOND))] {
        assert_eq!(worker.decide(&call("/a"), 0), PASSED);
        assert_eq!(worker.decided(), [(0, Decided::Allowed), (2, expected)]);
    }
    assert_eq!(worker.denial(&call("/a"), 0), (0, 20 * SECOND));
    assert_eq!(worker.decided(), [(0, Decided::Limited)], "what is turned away is no matter for the shadow");
}

#[test]
fn what_is_turned_away_is_not_charged_to_a_rule_in_shadow() {
    let mut worker = worker(&three("1/1m", "9/1m", r#"3/1d ,"mode":"shadow""#));
    assert_eq!(worker.admitted(&call("/a"), 100, 0), 1);
    for _ in 0..2 {
        worker.decide(&call("/b"), 0);
        assert_eq!(worker.decided(), [(1, Decided::Allowed), (2, Decided::Allowed)]);
    }
    worker.decide(&call("/b"), 0);
    assert!(matches!(worker.decided()[1], (2, Decided::ShadowLimited(_))));
}

#[test]
fn a_rule_in_shadow_leaves_the_overall_limit_in_force() {
    let mut worker = worker(&three(r#"1/1h ,"mode":"shadow""#, "9/1m", "3/1m"));
    assert_eq!(worker.admitted(&call("/a"), 10, 0), 3);
    assert_eq!(worker.decided(), [(2, Decided::Limited)]);
    assert!(worker.admits(&call("/a"), MINUTE));
    assert_eq!(worker.decided(), [(2, Decided::Allowed), (0, Decided::ShadowLimited(empty(0, 59 * MINUTE)))]);
}

#[test]
fn a_request_that_a_percentage_lets_pass_is_charged_to_the_others() {
    let mut worker = worker(&three(r#"1/1m ,"enforcePercent":50"#, "9/1m", "4/1m"));
    let verdicts: Vec<bool> = (0..8).map(|_| worker.admits(&call("/a"), 0)).collect();
    // One by the rule, then every other one until the overall limit is used up.
    assert_eq!(verdicts, [true, true, false, true, false, true, false, false]);
    assert_eq!(worker.decided(), [(2, Decided::Limited)]);
}

#[test]
fn a_request_without_its_key_is_charged_to_nobody() {
    let mut worker = worker(&three(r#"9/1m ,"key":[{"header":"x","missing":"deny"}]"#, "9/1m", "2/1m"));
    for _ in 0..10 {
        let expected = Limited { rule: 0, exception: None, reason: Reason::KeyMissing };
        assert_eq!(worker.decide(&call("/a"), 0), Verdict::Limited(expected));
        assert_eq!(worker.decided(), [(0, Decided::Limited)]);
    }
    assert_eq!(worker.admitted(&call("/b"), 10, 0), 2);
}

#[test]
fn an_overall_rule_may_demand_or_skip_too() {
    let mut strict = worker(&three("9/1m", "9/1m", r#"2/1m ,"key":[{"header":"x","missing":"deny"}]"#));
    let expected = Limited { rule: 2, exception: None, reason: Reason::KeyMissing };
    assert_eq!(strict.decide(&call("/a"), 0), Verdict::Limited(expected));
    let mut behind =
        worker(&three(r#"9/1m ,"mode":"off""#, "9/1m", r#"2/1m ,"key":[{"header":"x","missing":"deny"}]"#));
    assert_eq!(behind.decide(&call("/a"), 0), Verdict::Limited(expected));
    assert_eq!(behind.decided(), [(2, Decided::Limited)], "what the others said does not count");
    let mut lax = worker(&three("9/1m", "9/1m", r#"2/1m ,"key":[{"header":"x","missing":"skip"}]"#));
    assert_eq!(lax.admitted(&call("/a"), 20, 0), 9);
    assert_eq!(lax.decided(), [(0, Decided::Limited)]);
}

#[test]
fn rules_that_ask_nothing_leave_the_others() {
    let mut worker =
        worker(&three(r#"1/1m ,"mode":"off""#, r#"1/1m ,"overrides":[{"host":"free","limits":"unlimited"}]"#, "4/1m"));
    assert_eq!(worker.admitted(&call("/a"), 2, 0), 2);
    assert_eq!(worker.decided(), [(0, Decided::Allowed), (2, Decided::Allowed)]);
    assert_eq!(worker.admitted(&call("/b").with_authority("free"), 9, 0), 2);
    assert_eq!(worker.decided(), [(2, Decided::Limited)]);
}

#[test]
fn several_overall_limits_are_one_condition() {
    let mut worker = worker(
        r#"{"overall":[{"name":"total","limits":[{"requests":5,"per":"1m"}]},
                       {"name":"each","key":["host"],"limits":[{"requests":3,"per":"1m"}]}]}"#,
    );
    let host = |host: &str| call("/").with_authority(host);
    assert_eq!(worker.admitted(&host("a"), 100, 0), 3);
    assert_eq!(worker.admitted(&host("b"), 100, 0), 2, "what the host's own limit denied took nothing from all");
    assert_eq!(worker.admitted(&host("b"), 100, 12 * SECOND), 1);
}

#[test]
fn what_was_charged_is_given_back_when_another_worker_was_quicker() {
    let json = three("2/1d", "9/1m", "1/1m");
    let mut one = worker(&json);
    let mut other = one.clone();
    // Between the look and the charge the other takes the last one of all.
    one.store.interfere(move |_| assert!(other.admits(&call("/b"), 0)));
    assert_eq!(one.denial(&call("/a"), 0), (2, MINUTE));
    assert_eq!(one.decided(), [(2, Decided::Limited)]);
    for turn in 1..=2 {
        assert_eq!(one.admitted(&call("/a"), 10, turn * MINUTE), 1, "two were left");
    }
    assert_eq!(one.denial(&call("/a"), 3 * MINUTE).0, 0);
}

#[test]
fn workers_admit_exactly_the_overall_limit_together() {
    let one = worker(&three("30/1m", "80/1m", "100/1m"));
    let mut workers = vec![one; 4];
    let mut admitted = [0, 0];
    for request in 0..800 {
        let which = request / 4 % 2;
        admitted[which] += usize::from(workers[request % 4].admits(&call(["/a", "/b"][which]), 0));
    }
    assert_eq!(admitted, [30, 70]);
}

#[test]
fn a_store_that_fails_lets_requests_pass_all_rules() {
    let mut worker = worker(&three("1/1m", "1/1m", "1/1m"));
    worker.store.set_broken(true);
    assert_eq!(worker.decide(&call("/a"), 0), PASSED);
    assert_eq!(worker.decided(), [(0, Decided::Failed(BROKEN)), (2, Decided::Failed(BROKEN))]);
    worker.store.set_broken(false);
    assert_eq!(worker.admitted(&call("/a"), 3, 0), 1);
}

#[test]
fn a_raised_limit_refills_at_once_among_several() {
    let mut old = worker(&three("10/1h", "1/1m", "100/1m"));
    assert_eq!(old.admitted(&call("/a"), 20, 0), 10);
    let mut new = worker_at(&three("10/1s", "1/1m", "100/1m"), &SCOPE, old.store);
    assert_eq!(new.denial(&call("/a"), 0), (0, SECOND / 10));
    assert_eq!(new.denial(&call("/a"), SECOND / 20), (0, SECOND / 20), "asking does not put it off");
    assert!(new.admits(&call("/a"), SECOND / 10), "as it was told");
}

#[test]
fn failures_may_cost_while_all_requests_count_overall() {
    let mut worker = worker(&three(r#"2/1m ,"cost":{"response":[{"status":["401"],"cost":1}]}"#, "9/1m", "4/1m"));
    for status in [401, 200, 401] {
        let verdict = worker.decide(&call("/a"), 0);
        worker.respond(verdict, status, 0);
    }
    assert_eq!(worker.denial(&call("/a"), 0), (0, 30 * SECOND), "two failures");
    assert_eq!(worker.admitted(&call("/b"), 9, 0), 1, "three requests");
}

#[test]
fn what_was_not_charged_yet_is_not_given_back() {
    let json = three(r#"2/1d ,"cost":{"response":[{"status":["401"],"cost":1}]}"#, "9/1m", "1/1m");
    let mut one = worker(&json);
    let verdict = one.decide(&call("/a"), 0);
    one.respond(verdict, 401, 0);
    let mut other = one.clone();
    one.store.interfere(move |_| assert!(other.admits(&call("/b"), MINUTE)));
    assert_eq!(one.denial(&call("/a"), MINUTE), (2, MINUTE), "the other was quicker");
    let verdict = one.decide(&call("/a"), 2 * MINUTE);
    one.respond(verdict, 401, 2 * MINUTE);
    assert_eq!(one.denial(&call("/a"), 3 * MINUTE).0, 0, "two failures");
}
