#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::{
    config::{Config, RuleConfig},
    table::{BucketId, Charge, Outcome, Table},
    testing::Store,
};

const SECOND: u64 = 1_000_000_000;

fn rule(limits: &str, fields: &str) -> RuleConfig {
    let json = format!(r#"{{"rules":[{{"name":"login","limits":{limits}{fields}}}]}}"#);
    Config::parse(json.as_bytes()).unwrap().rules.remove(0)
}

fn policy(rule: &RuleConfig) -> Policy {
    Policy::new(&rule.name, &rule.limits, rule.draft03)
}

/// What is said at `now` to the last one of `requests` that came at zero.
fn admitted(rule: &RuleConfig, replicas: u64, requests: u64, now: u64) -> Headers {
    let limits = RuleConfig::limits_of_one(&rule.limits, replicas);
    let mut table = Table::single(b"key".to_vec(), limits.clone());
    let mut store = Store::default();
    let mut headers = Headers::new();
    for request in 1..=requests {
        let taken = table.take(&mut store, BucketId::default(), Charge::ONE, Instant::default()).unwrap();
        let Outcome::Admitted(levels) = taken.outcome else { panic!("request {request} is denied") };
        headers.clear();
        policy(rule).admitted(&levels, &limits, Charge::ONE, Instant::from_nanos(now), &mut headers);
    }
    headers
}

fn pairs(headers: &Headers) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

const TWO: &str = r#"[{"requests":10,"per":"1m","burst":5},{"requests":100,"per":"1h"}]"#;

#[test]
fn a_denial_names_the_policy_and_the_limit_that_denied() {
    let rule = rule(TWO, "");
    for (limit, item) in [(0, "\"login\";r=0;t=6"), (1, "\"login.1\";r=0;t=6")] {
        let mut headers = Headers::new();
        policy(&rule).limited(limit, 6, &mut headers);
        let expected = [("ratelimit-policy", "\"login\";q=10;w=60, \"login.1\";q=100;w=3600"), ("ratelimit", item)];
        assert_eq!(pairs(&headers), expected);
    }
}

#[test]
fn a_window_that_is_not_of_whole_seconds_is_left_out() {
    for (per, expected) in [
        ("250ms", "\"login\";q=10"),
        ("1500ms", "\"login\";q=10"),
        ("1s", "\"login\";q=10;w=1"),
        ("1h30m", "\"login\";q=10;w=5400"),
    ] {
        let rule = rule(&format!(r#"[{{"requests":10,"per":"{per}"}}]"#), "");
        let mut headers = Headers::new();
        policy(&rule).limited(0, 1, &mut headers);
        assert_eq!(headers[0], ("ratelimit-policy".to_owned(), expected.to_owned()), "{per}");
    }
}

#[test]
fn an_admitted_caller_is_told_what_is_left_and_when_there_will_be_more() {
    let rule = rule(TWO, "");
    let policy = ("ratelimit-policy", "\"login\";q=10;w=60, \"login.1\";q=100;w=3600");
    // One in six seconds, and one in 36.
    for (requests, now, ratelimit) in [
        (1, 0, "\"login\";r=4;t=6, \"login.1\";r=99;t=36"),
        (3, 0, "\"login\";r=2;t=6, \"login.1\";r=97;t=36"),
        (5, 0, "\"login\";r=0;t=6, \"login.1\";r=95;t=36"),
        (3, 5 * SECOND, "\"login\";r=2;t=1, \"login.1\";r=97;t=31"),
        (3, 6 * SECOND - 1, "\"login\";r=2;t=1, \"login.1\";r=97;t=31"),
        (3, 6 * SECOND, "\"login\";r=3;t=6, \"login.1\";r=97;t=30"),
        (1, 6 * SECOND, "\"login\";r=5;t=0, \"login.1\";r=99;t=30"),
    ] {
        let headers = admitted(&rule, 1, requests, now);
        assert_eq!(pairs(&headers), [policy, ("ratelimit", ratelimit)], "{requests} {now}");
    }
}

#[test]
fn a_proxy_says_the_whole_quota_and_what_is_left_of_its_own_share() {
    let headers = admitted(&rule(r#"[{"requests":9,"per":"1m"}]"#, ""), 3, 1, 0);
    let expected = [("ratelimit-policy", "\"login\";q=9;w=60"), ("ratelimit", "\"login\";r=2;t=20")];
    assert_eq!(pairs(&headers), expected);
}

#[test]
fn draft03_headers_are_those_of_the_scarcest_limit_as_envoy_writes_them() {
    let rule = rule(
        r#"[{"requests":100,"per":"1m"},{"requests":10,"per":"1h"},{"requests":7,"per":"1500ms"}]"#,
        r#","draft03":true"#,
    );
    let headers = admitted(&rule, 1, 3, 0);
    assert_eq!(
        pairs(&headers)[2..],
        [
            ("x-ratelimit-limit", "7, 100;w=60, 10;w=3600, 7;w=2"),
            ("x-ratelimit-remaining", "4"),
            ("x-ratelimit-reset", "1"),
        ]
    );
    // Seven of each are left: the first of them counts.
    let headers = admitted(&rule, 1, 3, 2 * SECOND);
    assert_eq!(
        pairs(&headers)[2..],
        [
            ("x-ratelimit-limit", "10, 100;w=60, 10;w=3600, 7;w=2"),
            ("x-ratelimit-remaining", "7"),
            ("x-ratelimit-reset", "358"),
        ]
    );
    let mut headers = Headers::new();
    policy(&rule).limited(1, 360, &mut headers);
    assert_eq!(
        pairs(&headers)[2..],
        [
            ("x-ratelimit-limit", "10, 100;w=60, 10;w=3600, 7;w=2"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "360"),
        ]
    );
}

#[test]
fn seconds_are_rounded_up_and_one_at_least() {
    for (nanos, expected) in [(0, 1), (1, 1), (SECOND, 1), (SECOND + 1, 2), (60 * SECOND - 1, 60), (60 * SECOND, 60)] {
        assert_eq!(seconds(Duration::from_nanos(nanos)), expected, "{nanos}");
    }
}

#[test]
fn pushback_is_in_milliseconds_of_31_bits() {
    for (nanos, expected) in [
        (0, "1"),
        (1, "1"),
        (1_000_000, "1"),
        (1_000_001, "2"),
        (SECOND, "1000"),
        (366 * 86_400 * SECOND, "2147483647"),
        (u64::MAX, "2147483647"),
    ] {
        assert_eq!(pushback(Duration::from_nanos(nanos)), expected, "{nanos}");
    }
}
