//! Who gets how much: proxies that share a limit, callers with a reserve, and what is said of the rest.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

#[test]
fn three_replicas_together_admit_no_more_than_the_limit() {
    let json = r#"{"replicas":3,"rules":[{"name":"a","limits":[{"requests":100,"per":"1m"}]}]}"#;
    // Each has shared data of its own.
    let mut proxies: Vec<Worker> = (0..3).map(|_| worker(json)).collect();
    let admitted = |proxies: &mut [Worker], now| -> Vec<usize> {
        proxies.iter_mut().map(|proxy| proxy.admitted(&call("/"), 100, now)).collect()
    };
    assert_eq!(admitted(&mut proxies, 0), [33, 33, 33]);
    assert_eq!(proxies[0].denial(&call("/"), 0), (0, 1_800_000_000), "a third of the rate");
    let mut in_a_minute = 0;
    for tenth in 1..=600 {
        in_a_minute += admitted(&mut proxies, tenth * SECOND / 10).iter().sum::<usize>();
    }
    assert_eq!(in_a_minute, 99, "one in 1.8 s each");
}

#[test]
fn overall_limits_and_overrides_are_divided_too() {
    let json = r#"{"replicas":2,
        "rules":[{"name":"a","limits":[{"requests":4,"per":"1m"}],
                  "overrides":[{"host":"big","limits":[{"requests":20,"per":"1m"}]}]}],
        "overall":[{"name":"total","limits":[{"requests":12,"per":"1m"}]}]}"#;
    let mut proxy = worker(json);
    assert_eq!(proxy.admitted(&call("/"), 100, 0), 2);
    assert_eq!(proxy.admitted(&call("/").with_authority("big"), 100, 0), 4, "six of twelve, two are gone");
    assert_eq!(proxy.denial(&call("/").with_authority("big"), 0), (1, 10 * SECOND));
}

const RESERVE: &str = r#""reserve":{"percent":20,"for":[{"namespace":"ops"},{"host":"admin"}]}"#;

fn reserved() -> Worker {
    worker(&format!(r#"{{"rules":[{{"name":"a","limits":[{{"requests":10,"per":"10s"}}],{RESERVE}}}]}}"#))
}

#[test]
fn a_reserve_is_for_those_named_alone() {
    let mut worker = reserved();
    let ops = call("/").with_principal("spiffe://td/ns/ops/sa/x");
    assert_eq!(worker.admitted(&call("/"), 20, 0), 8);
    assert_eq!(worker.admitted(&call("/").with_principal("spiffe://td/ns/blog/sa/x"), 20, 0), 0);
    assert_eq!(worker.admitted(&ops, 1, 0), 1);
    assert_eq!(worker.admitted(&call("/").with_authority("admin"), 20, 0), 1, "the last one");
    assert_eq!(worker.admitted(&ops, 20, 0), 0);
}

#[test]
fn others_wait_until_the_reserve_is_full_again() {
    let mut worker = reserved();
    let ops = call("/").with_authority("admin");
    assert_eq!(worker.admitted(&call("/"), 8, 0), 8);
    assert_eq!(worker.denial(&call("/"), 0), (0, SECOND), "one over the reserve");
    assert_eq!(worker.admitted(&ops, 20, 0), 2);
    assert_eq!(worker.denial(&call("/"), 0), (0, 3 * SECOND), "the reserve, and one");
    assert_eq!(worker.denial(&ops, 0), (0, SECOND));
    assert_eq!(worker.admitted(&call("/"), 20, 3 * SECOND - 1), 0);
    assert_eq!(worker.admitted(&call("/"), 20, 3 * SECOND), 1);
    assert_eq!(worker.admitted(&ops, 20, 3 * SECOND), 2);
}

#[test]
fn those_named_use_the_rest_as_well() {
    let mut worker = reserved();
    assert_eq!(worker.admitted(&call("/").with_authority("admin"), 20, 0), 10);
}

#[test]
fn a_reserve_is_of_each_callers_bucket() {
    let mut worker = worker(&format!(
        r#"{{"rules":[{{"name":"a","key":[{{"header":"x"}}],"limits":[{{"requests":10,"per":"10s"}}],{RESERVE}}}]}}"#
    ));
    for caller in ["a", "b"] {
        let request = call("/").with_header("x", caller);
        assert_eq!(worker.admitted(&request, 20, 0), 8);
        assert_eq!(worker.admitted(&request.with_authority("admin"), 20, 0), 2);
    }
}

#[test]
fn what_is_left_is_noted_when_that_is_asked_for() {
    let mut worker = worker(
        r#"{"filterState":"all",
            "rules":[{"name":"a","limits":[{"requests":5,"per":"1m"},{"requests":3,"per":"1h"}],
                      "overrides":[{"host":"free","limits":"unlimited"}]}],
            "overall":[{"name":"total","limits":[{"requests":100,"per":"1m"}]}]}"#,
    );
    assert_eq!(worker.policy.told(), Which::All);
    let mut remaining = |request: &Call| match worker.decide(request, 0) {
        Verdict::Admitted(admitted) => admitted.remaining,
        verdict => panic!("{verdict:?}"),
    };
    assert_eq!([remaining(&call("/")), remaining(&call("/"))], [Some(2), Some(1)], "the fewest of all");
    assert_eq!(remaining(&call("/").with_authority("free")), Some(97), "overall");
    assert_eq!(remaining(&call("/")), Some(0));
}

#[test]
fn headers_for_all_replies_wait_for_the_response() {
    let mut worker = worker(
        r#"{"rules":[{"name":"a","headers":"all","draft03":true,"limits":[{"requests":5,"per":"1m"}]}],
            "overall":[{"name":"total","limits":[{"requests":100,"per":"1m"}]}]}"#,
    );
    let Verdict::Admitted(Admitted { afterwards: Some(afterwards), .. }) = worker.decide(&call("/"), 0) else {
        panic!()
    };
    let headers: Vec<_> = afterwards.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        headers,
        [
            ("ratelimit-policy", "\"a\";q=5;w=60"),
            ("ratelimit", "\"a\";r=4;t=12"),
            ("x-ratelimit-limit", "5, 5;w=60"),
            ("x-ratelimit-remaining", "4"),
            ("x-ratelimit-reset", "12"),
        ]
    );
    worker.store.calls();
    worker.respond(Verdict::Admitted(Admitted { afterwards: Some(afterwards), ..Admitted::default() }), 500, 0);
    assert_eq!(worker.store.calls(), 0, "there is nothing to charge");
}

#[test]
fn what_is_left_is_said_as_it_is_for_this_caller_and_this_cost() {
    let mut worker = worker(
        r#"{"filterState":"all","rules":[{"name":"a","headers":"all","cost":2,"limits":[{"requests":10,"per":"1m"}],
            "reserve":{"percent":40,"for":[{"host":"named"}]}}]}"#,
    );
    let mut said = |request: &Call| match worker.decide(request, 0) {
        Verdict::Admitted(Admitted { remaining, afterwards: Some(afterwards), .. }) => {
            let header = afterwards.headers.iter().find(|(name, _)| name == "ratelimit").unwrap().1.clone();
            (remaining.unwrap(), header)
        }
        verdict => panic!("{verdict:?}"),
    };
    // Of ten, four are kept for others.
    assert_eq!(said(&call("/")), (2, "\"a\";r=4;t=6".to_owned()));
    assert_eq!(said(&call("/")), (1, "\"a\";r=2;t=6".to_owned()));
    assert_eq!(said(&call("/")), (0, "\"a\";r=0;t=6".to_owned()));
    assert_eq!(said(&call("/").with_authority("named")), (1, "\"a\";r=2;t=6".to_owned()));
    assert!(!worker.admits(&call("/"), 0));
}
