mod cost;
mod overrides;
mod shares;
mod together;

use tollgate::time::Duration;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::testing::{BROKEN, Call, Store, call};

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;

const SCOPE: Scope<'_> = Scope { plugin: "a", root_id: "" };

/// One worker of a proxy. A clone is another one, with the same store.
#[derive(Clone)]
struct Worker {
    policy: Policy,
    store: Store,
}

fn worker(json: &str) -> Worker {
    worker_at(json, &SCOPE, Store::default())
}

fn worker_at(json: &str, scope: &Scope<'_>, store: Store) -> Worker {
    let config = Config::parse(json.as_bytes()).unwrap_or_else(|error| panic!("{error}: {json}"));
    Worker { policy: Policy::new(&config, scope, Seed::default()), store }
}

/// A configuration of one rule of one a minute, `a`, with these fields.
fn one_rule(fields: &str) -> String {
    format!(r#"{{"rules":[{{"name":"a","limits":[{{"requests":1,"per":"1m"}}],{fields}}}]}}"#)
}

impl Worker {
    fn decide(&mut self, request: &Call, now: u64) -> Verdict {
        self.policy.decide(request, &mut self.store, Instant::from_nanos(now))
    }

    fn admits(&mut self, request: &Call, now: u64) -> bool {
        !matches!(self.decide(request, now), Verdict::Limited(_))
    }

    /// How many of `requests` at `now` pass.
    fn admitted(&mut self, request: &Call, requests: usize, now: u64) -> usize {
        (0..requests).filter(|_| self.admits(request, now)).count()
    }

    /// The rule that turns the request away, and for how many nanoseconds.
    fn denial(&mut self, request: &Call, now: u64) -> (usize, u64) {
        match self.decide(request, now) {
            Verdict::Limited(Limited { rule, reason: Reason::BucketEmpty { wait, .. }, .. }) => (rule, wait.as_nanos()),
            verdict => panic!("{verdict:?}"),
        }
    }

    /// What the rules decided on the last request.
    fn decided(&self) -> Vec<(usize, Decided)> {
        self.policy.decisions().iter().map(|decision| (decision.rule, decision.decision)).collect()
    }

    /// The response to the last request comes.
    fn respond(&mut self, verdict: Verdict, status: u16, now: u64) {
        let Verdict::Admitted(Admitted { afterwards: Some(afterwards), .. }) = verdict else { panic!("{verdict:?}") };
        let charged = self.policy.charge(&afterwards, Some(status), &mut self.store, Instant::from_nanos(now));
        assert!(charged.iter().all(|(_, charged)| charged.is_ok()), "{charged:?}");
    }
}

const PASSED: Verdict = Verdict::Admitted(Admitted { matched: true, remaining: None, afterwards: None });
const UNMATCHED: Verdict = Verdict::Admitted(Admitted { matched: false, remaining: None, afterwards: None });

const fn empty(limit: usize, wait: u64) -> Reason {
    Reason::BucketEmpty { limit, wait: Duration::from_nanos(wait) }
}

fn limited(rule: usize, limit: usize, wait: u64) -> Verdict {
    Verdict::Limited(Limited { rule, exception: None, reason: empty(limit, wait) })
}

const ROUTES: &str = r#"{"rules":[
    {"name":"login","match":[{"paths":["/login"]}],"limits":[{"requests":1,"per":"1m"}]},
    {"name":"users","match":[{"paths":["/users/*"]}],
     "limits":[{"requests":2,"per":"1s"},{"requests":3,"per":"1h"}]}]}"#;

#[test]
fn each_rule_has_its_own_bucket_and_the_rest_passes() {
    let mut worker = worker(ROUTES);
    assert_eq!(worker.decide(&call("/login"), 0), PASSED);
    assert_eq!(worker.decided(), [(0, Decided::Allowed)]);
    assert_eq!(worker.decide(&call("/login"), 0), limited(0, 0, MINUTE));
    assert_eq!(worker.decided(), [(0, Decided::Limited)]);
    assert_eq!(worker.decide(&call("/x/..//login"), 0), limited(0, 0, MINUTE), "another spelling is no other route");
    assert_eq!(worker.decide(&call("/users/1"), 0), PASSED);
    assert_eq!(worker.decided(), [(1, Decided::Allowed)]);
    worker.store.calls();
    assert_eq!(worker.decide(&call("/other"), 0), UNMATCHED);
    assert_eq!((worker.decided(), worker.store.calls()), (vec![], 0));
}

#[test]
fn a_request_is_charged_to_all_limits_or_to_none() {
    let mut worker = worker(ROUTES);
    let users = call("/users/1");
    assert_eq!(worker.admitted(&users, 10, 0), 2);
    assert_eq!(worker.decide(&users, 0), limited(1, 0, SECOND / 2));
    // What the first limit turned away is not taken from the second, which has one left.
    assert_eq!(worker.admitted(&users, 10, SECOND), 1);
    assert_eq!(worker.decide(&users, SECOND), limited(1, 1, 20 * MINUTE - SECOND));
}

#[test]
fn the_default_is_a_hundred_a_minute_for_all_together() {
    let mut worker = worker("");
    let (one, other) = (call("/a").with_source("192.0.2.1:5"), call("/b").with_source("192.0.2.2:5"));
    assert_eq!(worker.admitted(&one, 60, 0) + worker.admitted(&other, 60, 0), 100);
    assert_eq!(worker.denial(&one, 0), (0, 600 * SECOND / 1000));
}

#[test]
fn workers_of_one_proxy_share_the_buckets() {
    let one = worker(ROUTES);
    let mut workers = vec![one; 4];
    let admitted = (0..40).filter(|n| workers[n % 4].admits(&call("/login"), 0)).count();
    assert_eq!(admitted, 1);
}

#[test]
fn what_is_exempt_is_not_charged_and_an_odd_spelling_of_it_is() {
    let mut worker = worker(
        r#"{"exempt":[{"paths":["/health"]}],"rules":[{"name":"a","limits":[{"requests":1,"per":"1m"}]}],
            "overall":[{"name":"total","limits":[{"requests":2,"per":"1m"}]}]}"#,
    );
    for path in ["/health", "/health?x", "/health/"] {
        assert_eq!(worker.decide(&call(path), 0), Verdict::Exempt, "{path}");
    }
    assert_eq!((worker.decided(), worker.store.calls()), (vec![], 0));
    assert_eq!(worker.decide(&call("/x/../health"), 0), PASSED);
    assert_eq!(worker.denial(&call("//health"), 0).0, 0);
}

#[test]
fn the_first_rule_that_matches_decides_alone() {
    let limits = r#""limits":[{"requests":1,"per":"1m"}]"#;
    let mut worker = worker(&format!(
        r#"{{"rules":[{{"name":"a","match":[{{"paths":["/a/*"]}}],{limits}}},{{"name":"b",{limits}}}]}}"#
    ));
    assert_eq!(worker.admitted(&call("/a/1"), 5, 0), 1);
    assert_eq!(worker.decided(), [(0, Decided::Limited)]);
    assert_eq!(worker.admitted(&call("/b"), 5, 0), 1, "nothing was charged to the second");
    assert_eq!(worker.decided(), [(1, Decided::Limited)]);
}

#[test]
fn each_value_of_a_key_has_a_bucket_of_its_own() {
    let mut worker = worker(&one_rule(r#""key":[{"header":"x-api-key"}]"#));
    let with = |key: &str| call("/").with_header("x-api-key", key);
    for request in [with("a"), with("b"), with(""), call("/")] {
        assert_eq!(worker.admitted(&request, 3, 0), 1, "{request:?}");
        assert_eq!(worker.denial(&request, 0), (0, MINUTE));
    }
}

#[test]
fn a_rule_that_skips_a_request_leaves_it_to_the_next() {
    let limits = r#""limits":[{"requests":1,"per":"1m"}]"#;
    let mut worker = worker(&format!(
        r#"{{"rules":[{{"name":"a","key":[{{"header":"x","missing":"skip"}}],{limits}}},
                      {{"name":"other","match":[{{"paths":["/other"]}}],{limits}}},
                      {{"name":"b","key":[{{"header":"y","missing":"skip"}}],"match":[{{"paths":["/y"]}}],{limits}}},
                      {{"name":"c","match":[{{"paths":["/y"]}}],{limits}}}]}}"#
    ));
    let mut decided = |request: Call| {
        let verdict = worker.decide(&request, 0);
        (verdict == UNMATCHED, worker.decided().first().map(|(rule, _)| *rule))
    };
    assert_eq!(decided(call("/y").with_header("x", "1")), (false, Some(0)));
    assert_eq!(decided(call("/y").with_header("y", "1")), (false, Some(2)));
    assert_eq!(decided(call("/y")), (false, Some(3)));
    assert_eq!(decided(call("/z")), (true, None), "no other is for it");
}

#[test]
fn a_request_without_what_the_rule_demands_is_turned_away_without_a_time() {
    let mut worker = worker(&one_rule(r#""key":[{"header":"x","missing":"deny"}]"#));
    let verdict = worker.decide(&call("/"), 0);
    let expected = Limited { rule: 0, exception: None, reason: Reason::KeyMissing };
    assert_eq!((verdict, worker.decided()), (Verdict::Limited(expected), vec![(0, Decided::Limited)]));
    assert_eq!(worker.store.calls(), 0);
    let reply = worker.policy.reply(&expected, Protocol::Http, &call("/")).unwrap();
    assert!(reply.headers.iter().all(|(name, _)| name != "retry-after" && name != "ratelimit"), "{reply:?}");
    assert!(worker.admits(&call("/").with_header("x", "1"), 0));
}

#[test]
fn a_shadow_rule_demands_nothing() {
    let mut worker = worker(&one_rule(r#""mode":"shadow","key":[{"header":"x","missing":"deny"}]"#));
    assert_eq!(worker.decide(&call("/"), 0), PASSED);
    assert_eq!(worker.decided(), [(0, Decided::ShadowLimited(Reason::KeyMissing))]);
}

#[test]
fn a_shadow_rule_turns_nobody_away_and_says_whom_it_would() {
    let mut worker = worker(&one_rule(r#""mode":"shadow""#));
    assert_eq!(worker.decide(&call("/"), 0), PASSED);
    assert_eq!(worker.decided(), [(0, Decided::Allowed)]);
    for _ in 0..3 {
        assert_eq!(worker.decide(&call("/"), 0), PASSED);
        assert_eq!(worker.decided(), [(0, Decided::ShadowLimited(empty(0, MINUTE)))]);
    }
    assert_eq!(worker.decide(&call("/"), MINUTE), PASSED);
    assert_eq!(worker.decided(), [(0, Decided::Allowed)], "what would have been turned away is not charged");
}

#[test]
fn a_rule_that_is_off_takes_its_requests_and_asks_nothing() {
    let limits = r#""limits":[{"requests":1,"per":"1m"}]"#;
    let mut worker = worker(&format!(
        r#"{{"rules":[{{"name":"a","mode":"off","key":[{{"header":"x","missing":"deny"}}],
                        "match":[{{"paths":["/a"]}}],{limits}}},{{"name":"b",{limits}}}]}}"#
    ));
    for _ in 0..3 {
        assert_eq!(worker.decide(&call("/a"), 0), PASSED);
        assert_eq!(worker.decided(), [(0, Decided::Allowed)]);
    }
    assert_eq!(worker.store.calls(), 0);
    assert_eq!(worker.admitted(&call("/b"), 3, 0), 1);
}

#[test]
fn of_the_requests_over_the_limit_so_many_in_a_hundred_are_turned_away_evenly() {
    for percent in [0_usize, 1, 30, 50, 99, 100] {
        let mut worker = worker(&one_rule(&format!(r#""enforcePercent":{percent}"#)));
        assert!(worker.admits(&call("/"), 0));
        let mut turned_away = Vec::new();
        for _ in 0..100 {
            turned_away.push(!worker.admits(&call("/"), 0));
            let decision = match turned_away.last() {
                Some(true) => Decided::Limited,
                _ => Decided::ShadowLimited(empty(0, MINUTE)),
            };
            assert_eq!(worker.decided(), [(0, decision)]);
        }
        let count = |of: &[bool]| of.iter().filter(|turned_away| **turned_away).count();
        assert_eq!(count(&turned_away), percent);
        for ten in turned_away.windows(10) {
            assert!((percent / 10..=percent.div_ceil(10)).contains(&count(ten)), "{percent}: {ten:?}");
        }
    }
}

#[test]
fn a_limited_caller_is_told_when_to_come_back() {
    let mut worker = worker(ROUTES);
    worker.decide(&call("/login"), 0);
    let Verdict::Limited(limited) = worker.decide(&call("/login"), 1) else { panic!() };
    assert_eq!(limited.reason, empty(0, MINUTE - 1));
    let reply = worker.policy.reply(&limited, Protocol::Http, &call("/login")).unwrap();
    assert_eq!(reply.headers[0], ("retry-after".to_owned(), "60".to_owned()));
    assert!(!worker.admits(&call("/login"), MINUTE - 1) && worker.admits(&call("/login"), MINUTE));
    let unknown = Limited { rule: 9, ..limited };
    assert_eq!(worker.policy.reply(&unknown, Protocol::Http, &call("/")), None);
}

#[test]
fn replies_depend_on_the_caller_only_with_cors() {
    let with = worker(&one_rule(r#""whenLimited":{"cors":{"origins":["*"]}}"#));
    assert!(with.policy.reply_depends_on_caller(0) && !with.policy.reply_depends_on_caller(1));
    assert!(!worker("").policy.reply_depends_on_caller(0));
}

#[test]
fn a_store_that_fails_lets_requests_pass_and_is_reported() {
    let mut worker = worker(&one_rule(r#""headers":"off""#));
    worker.store.set_broken(true);
    for _ in 0..3 {
        assert_eq!(worker.decide(&call("/"), 0), PASSED);
        assert_eq!(worker.decided(), [(0, Decided::Failed(BROKEN))]);
    }
    worker.store.set_broken(false);
    assert_eq!(worker.admitted(&call("/"), 3, 0), 1, "nothing was charged");
}

#[test]
fn callers_without_a_slot_share_the_overflow_bucket_and_are_reported() {
    let mut worker = worker(&one_rule(r#""slots":16,"key":[{"header":"x"}]"#));
    let mut overflowed = Vec::new();
    for caller in 0..20 {
        let admits = worker.admits(&call("/").with_header("x", caller.to_string()), 0);
        overflowed.push(worker.policy.decisions()[0].overflowed);
        assert_eq!(admits, caller <= 16, "{caller}: the first in the overflow bucket is the last that passes");
    }
    assert_eq!(overflowed, (0..20).map(|caller| caller >= 16).collect::<Vec<_>>());
    assert_eq!(worker.policy.noticed(0).slots, 16);
    assert_eq!(worker.policy.noticed(0), Noticed::default(), "it is said once");
    assert_eq!(worker.policy.noticed(7), Noticed::default());
}

#[test]
fn conflicts_between_workers_are_noticed() {
    let mut one = worker(&one_rule(r#""headers":"off""#));
    let mut other = one.clone();
    one.store.interfere(move |_| {
        other.decide(&call("/"), 0);
    });
    assert!(!one.admits(&call("/"), 0), "the other was quicker");
    assert_eq!(one.policy.noticed(0).conflicts, 1);
}

#[test]
fn plugins_and_rules_of_different_names_share_nothing() {
    let store = Store::default();
    let rule = |name: &str| format!(r#"{{"rules":[{{"name":"{name}","limits":[{{"requests":1,"per":"1m"}}]}}]}}"#);
    for (plugin, root_id, name) in [
        ("a", "", "r"),
        ("b", "", "r"),
        ("", "a", "r"),
        ("a", "r", "r"),
        ("a", "", "s"),
        ("a/0:/1:r", "", "r"),
        ("a", "0:/1:r", "r"),
        ("", "", "a"),
    ] {
        let scope = Scope { plugin, root_id };
        let mut workers = [(); 2].map(|()| worker_at(&rule(name), &scope, store.clone()));
        let admitted: usize = workers.iter_mut().map(|worker| worker.admitted(&call("/"), 2, 0)).sum();
        assert_eq!(admitted, 1, "{scope:?} {name}");
    }
    let key = |plugin, root_id| Scope { plugin, root_id }.key("r", None);
    assert_ne!(key("a/1:b", ""), key("a", "b/0:"));
    let announced = |plugin, root_id| Scope { plugin, root_id }.announcement_key();
    assert_ne!(announced("a", "b"), announced("b", "a"));
    assert_ne!(announced("a", "b"), key("a", "b"));
    let values = store.values();
    assert!(values.len() == 8 && values.iter().all(|(key, _)| key.starts_with(b"tollgate/rate-limit/2/")));
}

#[test]
fn no_number_of_callers_makes_more_values_than_the_table_has() {
    let mut worker = worker(&one_rule(r#""slots":64,"key":[{"header":"x"}]"#));
    for caller in 0..1000 {
        worker.decide(&call("/").with_header("x", caller.to_string()), caller);
    }
    assert!(worker.store.values().len() <= 64 / 16 + 1, "{} values", worker.store.values().len());
}

#[test]
fn a_value_that_nobody_could_have_written_is_a_full_bucket() {
    let worker = worker(&one_rule(r#""headers":"off""#));
    for value in [&b""[..], b"x", &[0; 40], &[0xff; 40]] {
        worker.store.overwrite(&SCOPE.key("a", None), value);
        let mut worker = worker.clone();
        assert_eq!(worker.admitted(&call("/"), 3, 0), 1, "{value:?}");
    }
}
