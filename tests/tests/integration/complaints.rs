//! What people complain of in Envoy's local rate limit, each by its issue, and that it does not happen here.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate_tests::{
    artifacts,
    client::{Answer, Connection, get},
    config::{Listener, Plugin, bootstrap},
    envoy::Envoy,
    flood::{flood, flood_of_callers},
};

async fn start(listeners: &[Listener]) -> Envoy {
    Envoy::start(&artifacts::newest_envoy(), 2, &bootstrap(listeners, vec![])).await
}

fn limited_by(name: &str, config: Value) -> Listener {
    Listener::new(name, [Plugin::new("rate-limit", config).named(name).filter()])
}

/// Gets `path` so many times; how many answers were 200.
async fn admitted(envoy: &Envoy, listener: &str, path: &str, times: usize) -> usize {
    let mut connection = Connection::open(envoy.address(listener)).await.expect("connects");
    let mut admitted = 0;
    for _ in 0..times {
        admitted += usize::from(connection.get(path).await.expect("answers").status == 200);
    }
    admitted
}

async fn with_header(envoy: &Envoy, listener: &str, name: &str, value: &str) -> Answer {
    let mut connection = Connection::open(envoy.address(listener)).await.expect("connects");
    let request = hyper::Request::get("/").header("host", "tollgate.test").header(name, value);
    connection.send(request.body(Default::default()).expect("a request")).await.expect("answers")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_24682_what_one_limit_denies_is_not_taken_from_the_others() {
    let hour = |requests: u64| json!({"requests": requests, "per": "1h"});
    let envoy = start(&[
        limited_by("limits", json!({"rules": [{"name": "r", "limits": [hour(2), hour(5)]}]})),
        limited_by(
            "overall",
            json!({
                "rules": [
                    {"name": "a", "match": [{"paths": ["/a"]}], "limits": [hour(2)]},
                    {"name": "b", "match": [{"paths": ["/b"]}], "limits": [hour(9)]},
                ],
                "overall": [{"name": "all", "limits": [hour(5)]}],
            }),
        ),
    ])
    .await;
    assert_eq!(admitted(&envoy, "limits", "/", 50).await, 2);
    // Fifty requests to /a take two of the overall five, so /b has the other three.
    assert_eq!(admitted(&envoy, "overall", "/a", 50).await, 2);
    assert_eq!(admitted(&envoy, "overall", "/b", 50).await, 3);
    let decisions = async |rule, decision| {
        envoy.total("tollgate_rate_limit_total", &[("rule", rule), ("decision", decision)]).await
    };
    assert_eq!((decisions("a", "limited").await, decisions("b", "limited").await), (48, 0));
    assert_eq!((decisions("all", "allowed").await, decisions("all", "limited").await), (5, 47));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_28469_a_request_that_a_rule_is_for_takes_nothing_from_the_default() {
    let envoy = start(&[limited_by(
        "in",
        json!({"rules": [
            {"name": "login", "match": [{"paths": ["/login"]}], "limits": [{"requests": 20, "per": "1h"}]},
            {"name": "default", "limits": [{"requests": 3, "per": "1h"}]},
        ]}),
    )])
    .await;
    assert_eq!(admitted(&envoy, "in", "/login", 30).await, 20);
    assert_eq!(admitted(&envoy, "in", "/other", 30).await, 3);
}

/// Dynamic descriptors are a list of 20 by default, and who falls out of it comes back to a full bucket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateway_9973_no_crowd_of_callers_gives_anyone_a_fresh_bucket() {
    let envoy = start(&[limited_by(
        "in",
        json!({"rules": [{
            "name": "r", "key": [{"header": "x-caller"}], "slots": 16, "limits": [{"requests": 2, "per": "1h"}],
        }]}),
    )])
    .await;
    for status in [200, 200, 429] {
        assert_eq!(with_header(&envoy, "in", "x-caller", "the-first").await.status, status);
    }
    let crowd = flood_of_callers(envoy.address("in"), "/", "x-caller", 2000, 8, Duration::from_secs(2)).await;
    let crowd: u64 = crowd.iter().map(|caller| caller.admitted).sum();
    // Fifteen slots were left, of two requests each, and the bucket that the rest of the crowd shares.
    assert_eq!(crowd, 15 * 2 + 2);
    assert_eq!(with_header(&envoy, "in", "x-caller", "the-first").await.status, 429, "still empty");
    assert!(envoy.total("tollgate_rate_limit_total", &[("decision", "overflow")]).await > 1000);
    assert!(envoy.log().contains("event=overflow filter=rate_limit rule=r reason=no_free_slot"), "{}", envoy.log());
    assert_eq!(envoy.total("tollgate_rate_limit_slots", &[("rule", "r")]).await, 16);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_39273_and_43113_metrics_and_replies_name_the_rule_that_limited() {
    let envoy = start(&[limited_by(
        "in",
        json!({"rules": [
            {"name": "login", "match": [{"paths": ["/login"]}], "limits": [{"requests": 1, "per": "1h"}]},
            {"name": "users", "match": [{"paths": ["/users/*"]}],
             "limits": [{"requests": 9, "per": "1h"}, {"requests": 2, "per": "1m"}]},
        ]}),
    )])
    .await;
    assert_eq!(admitted(&envoy, "in", "/login", 3).await, 1);
    assert_eq!(admitted(&envoy, "in", "/users/7", 3).await, 2);
    for (rule, allowed, limited) in [("login", 1, 2), ("users", 2, 1)] {
        let of =
            async |decision| envoy.total("tollgate_rate_limit_total", &[("rule", rule), ("decision", decision)]).await;
        assert_eq!((of("allowed").await, of("limited").await), (allowed, limited), "{rule}");
    }
    let limited = get(envoy.address("in"), "/login").await.expect("answers");
    assert!(limited.header("ratelimit").is_some_and(|value| value.starts_with(r#""login";r=0;"#)), "{limited:?}");
    let limited = get(envoy.address("in"), "/users/7").await.expect("answers");
    assert!(limited.header("ratelimit").is_some_and(|value| value.starts_with(r#""users.1";r=0;"#)), "{limited:?}");
}

/// filter_enabled and filter_enforced are 0 % unless said otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_is_enforced_without_being_told_so() {
    let envoy = start(&[
        limited_by("nothing", json!({})),
        limited_by("least", json!({"rules": [{"name": "r", "limits": [{"requests": 7, "per": "1h"}]}]})),
    ])
    .await;
    let flooded = flood(envoy.address("nothing"), "/", 4, Duration::from_millis(500)).await;
    flooded.assert_exact(100, 100);
    assert_eq!(admitted(&envoy, "least", "/", 20).await, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ratelimit_377_and_envoy_34230_a_limit_can_be_divided_among_replicas() {
    let config = json!({"replicas": 3, "rules": [{"name": "r", "limits": [{"requests": 60, "per": "1h"}]}]});
    let mut total = 0;
    for _ in 0..3 {
        let envoy = start(&[limited_by("in", config.clone())]).await;
        total += admitted(&envoy, "in", "/", 100).await;
    }
    assert_eq!(total, 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn istio_42664_and_49432_and_52088_a_limit_by_path_limits_that_path_and_what_matches_nothing_shows() {
    let envoy = start(&[limited_by(
        "in",
        json!({"rules": [{"name": "wrong", "match": [{"paths": ["/lgoin"]}], "limits": [{"requests": 1, "per": "1h"}]},
            {"name": "right", "match": [{"paths": ["/login"]}], "limits": [{"requests": 2, "per": "1h"}]}]}),
    )])
    .await;
    assert_eq!(admitted(&envoy, "in", "/login", 5).await, 2);
    assert_eq!(admitted(&envoy, "in", "/other", 5).await, 5);
    // A rule that was for nobody is there with zero, and traffic that no rule is for is counted.
    let of = async |rule| envoy.prometheus("tollgate_rate_limit_total", &[("rule", rule)]).await;
    assert!(!of("wrong").await.is_empty() && of("wrong").await.iter().all(|(_, value)| *value == 0));
    assert_eq!(envoy.total("tollgate_rate_limit_total", &[("rule", "__unmatched__")]).await, 5);
}

/// No IETF RateLimit fields; a body of one's own was refused (envoy#26850).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_26850_the_reply_is_ones_own_and_says_when_to_come_back() {
    let envoy = start(&[limited_by(
        "in",
        json!({"rules": [{
            "name": "r",
            "limits": [{"requests": 1, "per": "1h"}],
            "draft03": true,
            "whenLimited": {
                "status": 503,
                "body": "{\"error\":\"slow down\"}",
                "headers": {"content-type": "application/json", "x-shed": "yes"},
                "cors": {"origins": ["https://app.example.com"], "credentials": true},
            },
        }]}),
    )])
    .await;
    assert_eq!(get(envoy.address("in"), "/").await.expect("answers").status, 200);
    let limited = with_header(&envoy, "in", "origin", "https://app.example.com").await;
    assert_eq!((limited.status, &limited.body[..]), (503, &br#"{"error":"slow down"}"#[..]));
    for (name, value) in [
        ("retry-after", "3600"),
        ("ratelimit-policy", r#""r";q=1;w=3600"#),
        ("ratelimit", r#""r";r=0;t=3600"#),
        ("x-ratelimit-limit", "1, 1;w=3600"),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "3600"),
        ("content-type", "application/json"),
        ("x-shed", "yes"),
        ("access-control-allow-origin", "https://app.example.com"),
        ("access-control-allow-credentials", "true"),
        ("vary", "origin"),
    ] {
        assert_eq!(limited.header(name), Some(value), "{name}: {limited:?}");
    }
    let other = with_header(&envoy, "in", "origin", "https://evil.example").await;
    assert_eq!((other.status, other.header("access-control-allow-origin")), (503, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_36442_some_callers_and_some_paths_can_be_let_off() {
    let envoy = start(&[limited_by(
        "in",
        json!({
            "exempt": [{"paths": ["/health"]}],
            "rules": [{
                "name": "r",
                "key": [{"header": "x-api-key"}],
                "limits": [{"requests": 1, "per": "1h"}],
                "overrides": [
                    {"header": {"x-api-key": "batch"}, "limits": "unlimited"},
                    {"header": {"x-api-key": "partner"}, "limits": [{"requests": 3, "per": "1h"}]},
                ],
            }],
        }),
    )])
    .await;
    assert_eq!(admitted(&envoy, "in", "/health", 10).await, 10);
    for (caller, expected) in [("batch", 10), ("partner", 3), ("anyone", 1)] {
        let mut admitted = 0;
        for _ in 0..10 {
            admitted += u32::from(with_header(&envoy, "in", "x-api-key", caller).await.status == 200);
        }
        assert_eq!(admitted, expected, "{caller}");
    }
}
