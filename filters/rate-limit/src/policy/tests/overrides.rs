//! Other limits for some callers.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const OVERRIDES: &str = r#"{"rules":[{
    "name":"a","key":[{"header":"x"}],"limits":[{"requests":2,"per":"1m"}],
    "overrides":[
        {"header":{"x":"gold"},"limits":[{"requests":5,"per":"1m"},{"requests":6,"per":"1h"}]},
        {"namespace":"ops","limits":"unlimited"},
        {"header":{"x":"silver"},"host":"a","limits":[{"requests":3,"per":"1m"}]}]}]}"#;

fn with(key: &str) -> Call {
    call("/").with_header("x", key)
}

#[test]
fn a_caller_with_limits_of_its_own_goes_by_those_alone() {
    let mut worker = worker(OVERRIDES);
    assert_eq!(worker.admitted(&with("other"), 10, 0), 2);
    assert_eq!(worker.admitted(&with("gold"), 10, 0), 5);
    assert_eq!(worker.admitted(&with("silver"), 10, 0), 2, "both conditions must hold");
    assert_eq!(worker.admitted(&with("silver").with_authority("a"), 10, 0), 3, "from a bucket of its own");
}

#[test]
fn callers_without_limits_are_charged_nothing() {
    let mut worker = worker(OVERRIDES);
    let ops = with("bronze").with_principal("spiffe://td/ns/ops/sa/x");
    for _ in 0..10 {
        assert_eq!(worker.decide(&ops, 0), PASSED);
        assert_eq!(worker.decided(), [(0, Decided::Allowed)]);
    }
    assert_eq!(worker.store.calls(), 0);
    assert_eq!(worker.admitted(&with("bronze"), 10, 0), 2);
}

#[test]
fn the_first_override_that_fits_counts() {
    let mut worker = worker(OVERRIDES);
    let ops = with("gold").with_principal("spiffe://td/ns/ops/sa/x");
    assert_eq!(worker.admitted(&ops, 10, 0), 5, "though it is one of those without limits");
}

#[test]
fn a_caller_is_told_the_limits_that_are_its_own() {
    let mut worker = worker(OVERRIDES);
    assert_eq!(worker.admitted(&with("gold"), 5, 0), 5);
    let Verdict::Limited(limited) = worker.decide(&with("gold"), 0) else { panic!() };
    assert_eq!(limited, Limited { rule: 0, exception: Some(0), reason: empty(0, 12 * SECOND) });
    let reply = worker.policy.reply(&limited, Protocol::Http, &call("/")).unwrap();
    assert!(reply.headers.contains(&("ratelimit-policy".to_owned(), "\"a\";q=5;w=60, \"a.1\";q=6;w=3600".to_owned())));
    assert!(reply.headers.contains(&("ratelimit".to_owned(), "\"a\";r=0;t=12".to_owned())));
    assert_eq!(worker.admitted(&with("gold"), 5, MINUTE), 1, "six an hour");
    let Verdict::Limited(limited) = worker.decide(&with("gold"), MINUTE) else { panic!() };
    let reply = worker.policy.reply(&limited, Protocol::Http, &call("/")).unwrap();
    assert!(reply.headers.contains(&("ratelimit".to_owned(), "\"a.1\";r=0;t=540".to_owned())), "{reply:?}");
}

#[test]
fn an_override_keeps_its_buckets_wherever_it_stands_in_the_list() {
    let overrides = |list: &str| {
        format!(r#"{{"rules":[{{"name":"a","limits":[{{"requests":2,"per":"1m"}}],"overrides":[{list}]}}]}}"#)
    };
    let of = |host: &str| format!(r#"{{"host":"{host}","limits":[{{"requests":3,"per":"1m"}}]}}"#);
    let mut old = worker(&overrides(&of("a")));
    let a = call("/").with_authority("a");
    assert_eq!(old.admitted(&a, 10, 0), 3);
    let mut new = worker_at(&overrides(&format!("{},{}", of("b"), of("a"))), &SCOPE, old.store);
    assert_eq!(new.admitted(&a, 10, 0), 0);
    assert_eq!(new.admitted(&call("/").with_authority("b"), 10, 0), 3);
}

#[test]
fn an_address_is_the_one_that_the_key_counts_by() {
    let mut worker = worker(&one_rule(
        r#""key":[{"clientAddress":{"trustedHops":1}}],
           "overrides":[{"clientAddress":"203.0.113.0/24","limits":"unlimited"}]"#,
    ));
    let client = |address: &str| call("/").with_source("10.0.0.1:5").with_header("x-forwarded-for", address);
    assert_eq!(worker.admitted(&client("203.0.113.7"), 5, 0), 5);
    assert_eq!(worker.admitted(&client("203.0.113.7, 198.51.100.1"), 5, 0), 1, "what it says itself is no matter");
}

#[test]
fn those_without_limits_need_no_key() {
    let mut worker = worker(&one_rule(
        r#""key":[{"header":"x","missing":"deny"}],"overrides":[{"host":"free","limits":"unlimited"}]"#,
    ));
    assert_eq!(worker.admitted(&call("/").with_authority("free"), 3, 0), 3);
    assert_eq!(worker.admitted(&call("/"), 3, 0), 0);
}

#[test]
fn the_slots_of_overrides_are_counted_with_the_others() {
    let mut worker =
        worker(&one_rule(r#""key":[{"header":"x"}],"overrides":[{"host":"a","limits":[{"requests":3,"per":"1m"}]}]"#));
    worker.admitted(&with("1"), 1, 0);
    worker.admitted(&with("1").with_authority("a"), 1, 0);
    worker.admitted(&with("2").with_authority("a"), 1, 0);
    assert_eq!(worker.policy.noticed(0).slots, 3);
}

#[test]
fn whom_a_rule_is_not_for_the_next_one_is_even_if_it_is_off_or_he_has_no_limits_there() {
    for first in [
        r#""mode":"off","#,
        r#""mode":"shadow","#,
        r#""overrides":[{"header":{"x-plan":"gold"},"limits":"unlimited"}],"#,
    ] {
        let mut worker = worker(&format!(
            r#"{{"rules":[
                {{"name":"keys",{first}"key":[{{"header":"x-key","missing":"skip"}}],"limits":[{{"requests":9,"per":"1m"}}]}},
                {{"name":"rest","limits":[{{"requests":1,"per":"1m"}}]}}]}}"#
        ));
        assert_eq!(worker.admitted(&call("/").with_header("x-plan", "gold"), 10, 0), 1, "{first}");
    }
}
