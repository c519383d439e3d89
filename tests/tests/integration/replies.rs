//! What a caller that is turned away is told, and what its operator is told.

use std::{fs, time::Duration};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use serde_json::json;
use tollgate_tests::{
    artifacts,
    client::{Answer, Connection, get},
    config::{Listener, Plugin, bootstrap},
    envoy::Envoy,
};

async fn grpc(envoy: &Envoy, listener: &str) -> Answer {
    let mut connection = Connection::open(envoy.address(listener)).await.expect("connects");
    let request = Request::post("/pkg.Service/Method")
        .header("host", "tollgate.test")
        .header("content-type", "application/grpc")
        .body(Empty::<Bytes>::new());
    connection.send(request.expect("a request")).await.expect("answers")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_learn_when_to_come_back_and_operators_why() {
    for binary in artifacts::envoys() {
        let directory = tempfile::tempdir().expect("a directory for temporary files");
        let log = directory.path().join("access.log");
        let access_log = json!({"access_log": [{
            "name": "envoy.access_loggers.file",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                "path": log,
                "log_format": {"text_format_source": {"inline_string":
                    "%RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %FILTER_STATE(wasm.tollgate_decision:PLAIN)%\n"}},
            },
        }]});
        let config = json!({"rules": [{"name": "twice", "limits": [
            {"requests": 1, "per": "1s", "burst": 1},
            {"requests": 3600, "per": "1h"},
        ]}]});
        let listeners = [
            Listener::new("limited", [Plugin::new("rate-limit", config.clone()).filter()])
                .connection_manager(access_log.clone()),
            Listener::new("grpc", [Plugin::new("rate-limit", config).named("other").filter()]),
            Listener::new("denied", [Plugin::new("mtls-identity", "").filter()]).connection_manager(access_log),
        ];
        let mut envoy = Envoy::start(&binary, 2, &bootstrap(&listeners, vec![])).await;

        let admitted = get(envoy.address("limited"), "/").await.expect("answers");
        assert_eq!(admitted.status, 200);
        let limited = get(envoy.address("limited"), "/").await.expect("answers");
        assert_eq!(limited.status, 429);
        for (name, value) in [
            ("retry-after", "1"),
            ("ratelimit-policy", r#""twice";q=1;w=1, "twice.1";q=3600;w=3600"#),
            ("ratelimit", r#""twice";r=0;t=1"#),
            ("x-envoy-ratelimited", "true"),
        ] {
            assert_eq!(limited.header(name), Some(value), "{limited:?}");
        }
        assert_eq!(&limited.body[..], b"rate limit exceeded\n");
        // The promise of Retry-After, kept.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(get(envoy.address("limited"), "/").await.expect("answers").status, 200);

        assert_ne!(grpc(&envoy, "grpc").await.header("grpc-status"), Some("8"));
        let limited = grpc(&envoy, "grpc").await;
        assert_eq!((limited.status, limited.header("grpc-status")), (200, Some("8")), "{limited:?}");
        assert_eq!(limited.header("retry-after"), Some("1"));
        let pushback = limited.header("grpc-retry-pushback-ms").and_then(|wait| wait.parse::<u32>().ok());
        assert!(pushback.is_some_and(|wait| (1..=1000).contains(&wait)), "{limited:?}");

        let denied = get(envoy.address("denied"), "/").await.expect("answers");
        assert_eq!((denied.status, &denied.body[..]), (403, &b"forbidden\n"[..]));
        let hints = denied
            .headers
            .iter()
            .filter(|(name, _)| !["content-length", "content-type", "date", "server"].contains(&name.as_str()));
        assert_eq!(hints.count(), 0, "{denied:?}");
        let denied = grpc(&envoy, "denied").await;
        assert_eq!((denied.status, denied.header("grpc-status")), (200, Some("7")), "{denied:?}");

        let expected = [
            "200 direct_response -",
            "429 tollgate_rate_limited tollgate_rate_limited:twice",
            "200 direct_response -",
            "403 tollgate_identity_denied tollgate_identity_denied:no_mtls",
            "200 tollgate_identity_denied tollgate_identity_denied:no_mtls",
        ];
        let lines = || fs::read_to_string(&log).unwrap_or_default();
        envoy.wait_until("the access log is written", async || lines().lines().count() >= expected.len()).await;
        assert_eq!(lines().lines().collect::<Vec<_>>(), expected);

        let log = envoy.log();
        assert!(
            log.contains("event=limited filter=rate_limit rule=twice reason=bucket_empty retry_after_seconds=1"),
            "{log}"
        );
        assert!(log.contains("event=denied filter=mtls_identity rule=__default__ reason=no_mtls peer=-"), "{log}");
        envoy.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_access_log_has_what_is_left_where_it_is_asked_for() {
    let directory = tempfile::tempdir().expect("a directory for temporary files");
    let log = directory.path().join("access.log");
    let access_log = json!({"access_log": [{
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": log,
            "log_format": {"text_format_source": {"inline_string":
                "%FILTER_STATE(wasm.tollgate_decision:PLAIN)% %FILTER_STATE(wasm.tollgate_remaining:PLAIN)%\n"}},
        },
    }]});
    let rules = json!([{"name": "r", "limits": [{"requests": 2, "per": "1h"}, {"requests": 9, "per": "1d"}]}]);
    let listener = |name: &str, told: &str| {
        let config = json!({"filterState": told, "rules": rules});
        Listener::new(name, [Plugin::new("rate-limit", config).named(name).filter()])
            .connection_manager(access_log.clone())
    };
    let listeners = [listener("all", "all"), listener("off", "off")];
    let mut envoy = Envoy::start(&artifacts::newest_envoy(), 2, &bootstrap(&listeners, vec![])).await;
    for listener in ["all", "off"] {
        for status in [200, 200, 429] {
            assert_eq!(get(envoy.address(listener), "/").await.expect("answers").status, status);
        }
    }
    let expected =
        ["tollgate_rate_allowed 1", "tollgate_rate_allowed 0", "tollgate_rate_limited:r -", "- -", "- -", "- -"];
    let lines = || fs::read_to_string(&log).unwrap_or_default();
    envoy.wait_until("the access log is written", async || lines().lines().count() >= expected.len()).await;
    assert_eq!(lines().lines().collect::<Vec<_>>(), expected);
    envoy.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_denials_is_not_a_flood_of_log_lines() {
    let listener = Listener::new("in", [Plugin::new("mtls-identity", "").filter()]);
    let envoy = Envoy::start(&artifacts::newest_envoy(), 1, &bootstrap(&[listener], vec![])).await;
    let flooded = tollgate_tests::flood::flood(envoy.address("in"), "/", 8, Duration::from_millis(1500)).await;
    let lines = envoy.log().matches("event=denied").count();
    assert!(flooded.of(403) > 500 && (2..=3).contains(&lines), "{lines} lines for {flooded:?}");
    // What was not logged is counted, in the log and in the metrics.
    assert!(!envoy.log().contains("suppressed=0\n") || envoy.log().contains("suppressed="), "{}", envoy.log());
    assert_eq!(envoy.total("tollgate_identity_total", &[("reason", "no_mtls")]).await, flooded.of(403));
}
