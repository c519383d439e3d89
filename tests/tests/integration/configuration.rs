//! Configurations that are wrong: refused with a path and a reason, and the former one stays.

use std::time::Duration;

use serde_json::json;
use tollgate_tests::{
    artifacts,
    config::{Discovered, Listener, Plugin, bootstrap},
    envoy::Envoy,
    flood::flood,
};

fn refusals() -> Vec<(&'static str, &'static str, String, String)> {
    let rate_limit =
        |what, configuration: &str, reason: &str| ("rate-limit", what, configuration.to_owned(), reason.to_owned());
    vec![
        rate_limit("not JSON", "rules: []", r#"path="" reason="expected value at line 1 column 1""#),
        rate_limit("cut short", r#"{"rules":["#, r#"path="" reason="EOF while parsing a list at line 1 column 10""#),
        rate_limit("an array", "[]", r#"path="" reason="must be "#),
        rate_limit(
            "of the wrong types",
            r#"{"rules":{"name":1}}"#,
            "path=rules reason=\"must be a list, found an object\"",
        ),
        rate_limit(
            "with an unknown field",
            r#"{"rulez":[]}"#,
            "path=rulez reason=\"unknown field `rulez`, expected one of `rules`, `overall`, `exempt`, `replicas`, `filterState`\"",
        ),
        rate_limit(
            "with a zero deep inside",
            r#"{"rules":[{"name":"a","limits":[{"requests":1,"per":"1s"}]},{"name":"b","limits":[{"requests":0,"per":"1s"}]}]}"#,
            r#"path=rules[1].limits[0].requests reason="must be greater than zero, found 0""#,
        ),
        rate_limit(
            "with a huge number",
            r#"{"rules":[{"name":"a","limits":[{"requests":123456789012345678901234567890,"per":"1s"}]}]}"#,
            r#"path=rules[0].limits[0].requests reason="must be at most 1000000000000"#,
        ),
        rate_limit("deep", &"{\"rules\":".repeat(200), r#"path="" reason="recursion limit exceeded at line 1 column "#),
        rate_limit(
            "huge",
            &format!(r#"{{"rules":[{}]}}"#, "null,".repeat(300_000)),
            r#"path="" reason="must be at most 1048576 bytes, found 1500012""#,
        ),
        (
            "mtls-identity",
            "with a principal that can never match",
            r#"{"rules":[{"name":"a","allow":[{"principals":["cluster.local/ns/a/sa/"]}]}]}"#.to_owned(),
            "path=rules[0].allow[0].principals[0] reason=\"invalid principal `cluster.local/ns/a/sa/`".to_owned(),
        ),
        (
            "route-metrics",
            "with a path that can never match",
            r#"{"routes":[{"name":"a","match":[{"paths":["posts"]}]}]}"#.to_owned(),
            "path=routes[0].match[0].paths[0] reason=\"invalid path `posts`: must start with `/`\"".to_owned(),
        ),
    ]
}

fn assert_refused(log: &str, module: &str, what: &str, reason: &str) {
    let start = format!("event=configuration_refused filter={} plugin={module}", module.replace('-', "_"));
    let mut lines = log.lines().filter(|line| line.contains(&start));
    let line = lines.next().unwrap_or_else(|| panic!("{what}: not refused:\n{log}"));
    assert!(line.contains(reason), "{what}: {line}\n expected {reason}");
    assert!(line.len() < 2000, "{what}: a line of {} characters", line.len());
    assert!(!log.contains("Uncaught RuntimeError") && !log.contains("proxy_on_configure\\n"), "{what}: {log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_configuration_at_a_cold_start_is_refused_with_one_line_that_says_where() {
    let envoys = artifacts::envoys();
    for (index, (module, what, configuration, reason)) in refusals().into_iter().enumerate() {
        // Every case on one of the Envoys, in turn.
        let binary = &envoys[index % envoys.len()];
        let listener = Listener::new("in", [Plugin::new(module, &configuration).filter()]);
        let Err(failed) = Envoy::try_start(binary, 2, &bootstrap(&[listener], vec![])).await else {
            panic!("{what}: Envoy {} started", binary.version);
        };
        assert_refused(&failed.log, module, what, &reason);
        assert_eq!(failed.log.matches("event=configuration_refused").count(), 1, "{what}: {}", failed.log);
    }
}

fn rate_limit(configuration: &str) -> Plugin {
    Plugin::new("rate-limit", configuration)
}

fn limit(requests: u64) -> String {
    json!({"rules": [{"name": "r", "limits": [{"requests": requests, "per": "1h"}]}]}).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_configuration_never_replaces_a_good_one() {
    const FAILED: &str = "extension_config_discovery.http_filter.discovered.config_fail";
    for binary in artifacts::envoys() {
        let filter = Discovered::new(&rate_limit(&limit(100)));
        let listener = Listener::new("in", [filter.filter()]);
        let mut envoy = Envoy::start(&binary, 2, &bootstrap(&[listener], vec![])).await;
        let address = envoy.address("in");
        let before = flood(address, "/", 4, Duration::from_millis(200)).await;
        assert_eq!(before.of(200), 100, "{before:?}");

        for (module, what, configuration, reason) in refusals() {
            if module != "rate-limit" {
                continue;
            }
            let (failed, mark) = (envoy.stat(FAILED).await, envoy.log().len());
            filter.push(&rate_limit(&configuration));
            envoy.wait_until(what, async || envoy.stat(FAILED).await > failed).await;
            assert_refused(&envoy.log()[mark..], module, what, &reason);
            // Still the bucket that was emptied: a new one, or none, would admit.
            let after = flood(address, "/", 4, Duration::from_millis(20)).await;
            assert_eq!(after.of(200), 0, "{what}: {after:?}");
        }

        // Ten times the limit at the same fill ratio, which is empty; then a rule of another name, which is full.
        filter.push_to(&rate_limit(&limit(1000)), &envoy).await;
        let after = flood(address, "/", 4, Duration::from_millis(200)).await;
        assert!(after.of(200) <= 10, "a push is no fresh allowance: {after:?}");
        // A raised limit refills by its own rate at once, also while everybody is being denied.
        let fast = json!({"rules": [{"name": "r", "limits": [{"requests": 6000, "per": "1m", "burst": 10}]}]});
        filter.push_to(&rate_limit(&fast.to_string()), &envoy).await;
        let after = flood(address, "/", 4, Duration::from_secs(1)).await;
        let hundredths = u64::try_from(after.elapsed.as_millis() / 10).expect("short");
        assert!(after.of(200) <= 11 + hundredths && after.of(200) > hundredths / 2, "a hundred a second: {after:?}");
        filter.push_to(&rate_limit(&limit(7).replace("\"r\"", "\"other\"")), &envoy).await;
        let after = flood(address, "/", 4, Duration::from_millis(200)).await;
        assert_eq!(after.of(200), 7, "{after:?}");

        // The rule that went comes back, and so does its bucket.
        filter.push_to(&rate_limit(&limit(100)), &envoy).await;
        let after = flood(address, "/", 4, Duration::from_millis(200)).await;
        // It was a bucket of ten that refilled a hundred times a second, so full when it went.
        assert_eq!(after.of(200), 100, "{after:?}");
        filter.push_to(&rate_limit(&limit(7).replace("\"r\"", "\"other\"")), &envoy).await;
        filter.push_to(&rate_limit(&limit(100)), &envoy).await;
        let after = flood(address, "/", 4, Duration::from_millis(200)).await;
        assert_eq!(after.of(200), 0, "a rule that goes and comes back is no fresh allowance: {after:?}");

        // One configuration is in force, and the metrics say which.
        envoy.wait_until("one config_info is 1", async || envoy.total("tollgate_config_info", &[]).await == 1).await;
        envoy.assert_sound().await;
    }
}
