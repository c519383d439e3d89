//! One bucket, however many workers.

use std::time::Duration;

use serde_json::json;
use tollgate_tests::{
    artifacts,
    config::{Listener, Plugin, bootstrap},
    envoy::Envoy,
    flood::flood,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flooded_bucket_admits_its_burst_and_what_refills_whatever_the_number_of_workers() {
    for envoy in artifacts::envoys() {
        for workers in [1, 2, 8] {
            let listener = Listener::new("in", [Plugin::new("rate-limit", "").filter()]);
            let mut running = Envoy::start(&envoy, workers, &bootstrap(&[listener], vec![])).await;
            let flooded = flood(running.address("in"), "/", 32, Duration::from_secs(2)).await;
            eprintln!("Envoy {}, {workers} workers: {flooded:?}", envoy.version);
            flooded.assert_exact(100, 100);
            assert!(flooded.total() > 1000, "no flood: {flooded:?}");

            let busy = busy_workers(&running, workers).await;
            assert!(workers == 1 || busy > 1, "only {busy} of {workers} workers took connections");
            for (decision, status) in [("allowed", 200), ("limited", 429)] {
                let labels = [("rule", "default"), ("decision", decision)];
                assert_eq!(running.total("tollgate_rate_limit_total", &labels).await, flooded.of(status));
            }
            running.assert_sound().await;
        }
    }
}

async fn busy_workers(envoy: &Envoy, workers: usize) -> usize {
    let stats = envoy.admin_text("/stats?filter=worker_.*downstream_cx_total").await;
    let busy = stats.lines().filter(|line| line.contains("listener.") && !line.ends_with(": 0")).count();
    assert!(busy <= workers, "{stats}");
    busy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fast_bucket_is_exact_too() {
    let config = json!({"rules": [{"name": "fast", "limits": [{"requests": 60_000, "per": "1m", "burst": 7}]}]});
    let listener = Listener::new("in", [Plugin::new("rate-limit", config).filter()]);
    let mut envoy = Envoy::start(&artifacts::newest_envoy(), 2, &bootstrap(&[listener], vec![])).await;
    let flooded = flood(envoy.address("in"), "/", 32, Duration::from_secs(3)).await;
    let refilled = u64::try_from(flooded.elapsed.as_millis()).expect("short");
    let admitted = flooded.of(200);
    // One a millisecond: between two requests the bucket may fill up and run over, so only the upper bound is sharp.
    assert!(admitted <= 7 + refilled, "{flooded:?}");
    assert!(admitted > refilled / 2, "{flooded:?}");
    envoy.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_rule_counts_whom_it_would_turn_away_and_what_is_exempt_is_not_charged() {
    let limits = json!([{"requests": 5, "per": "1h"}]);
    let shadow = json!({"rules": [{"name": "shadow", "mode": "shadow", "limits": limits}]});
    let exempt = json!({"exempt": [{"paths": ["/health"]}], "rules": [{"name": "five", "limits": limits}]});
    let listeners = [
        Listener::new("shadow", [Plugin::new("rate-limit", shadow).named("shadow").filter()]),
        Listener::new("exempt", [Plugin::new("rate-limit", exempt).named("exempt").filter()]),
    ];
    let mut envoy = Envoy::start(&artifacts::newest_envoy(), 2, &bootstrap(&listeners, vec![])).await;
    let decisions = async |rule, decision| {
        envoy.total("tollgate_rate_limit_total", &[("rule", rule), ("decision", decision)]).await
    };
    let flooded = flood(envoy.address("shadow"), "/", 4, Duration::from_millis(200)).await;
    assert_eq!(flooded.of(200), flooded.total());
    assert_eq!(decisions("shadow", "allowed").await, 5);
    assert_eq!(decisions("shadow", "shadow_limited").await, flooded.total() - 5);
    assert!(envoy.log().contains("event=would_limit filter=rate_limit rule=shadow"), "{}", envoy.log());

    let flooded = flood(envoy.address("exempt"), "/health", 4, Duration::from_millis(100)).await;
    assert_eq!((flooded.of(200), decisions("__exempt__", "allowed").await), (flooded.total(), flooded.total()));
    let flooded = flood(envoy.address("exempt"), "/%2e/health", 4, Duration::from_millis(100)).await;
    assert_eq!(flooded.of(200), 5, "an odd spelling is not exempt");
    envoy.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_and_vms_are_told_apart_and_instances_of_one_plugin_are_not() {
    let config = |requests: u64| json!({"rules": [{"name": "r", "limits": [{"requests": requests, "per": "1h"}]}]});
    let listeners = [
        Listener::new("one", [Plugin::new("rate-limit", config(5)).named("a").filter()]),
        // The same plugin once more: it is one policy, so it is one bucket.
        Listener::new("same", [Plugin::new("rate-limit", config(5)).named("a").filter()]),
        Listener::new("name", [Plugin::new("rate-limit", config(5)).named("b").filter()]),
        Listener::new("root", [Plugin::new("rate-limit", config(5)).named("a").root_id("r").filter()]),
        Listener::new("vm", [Plugin::new("rate-limit", config(5)).named("a").vm_id("other").filter()]),
        // Two in one chain, with names and configurations of their own.
        Listener::new(
            "chain",
            [
                Plugin::new("rate-limit", config(7)).named("outer").filter(),
                Plugin::new("rate-limit", config(3)).named("inner").filter(),
            ],
        ),
        // Two in one chain that only the configuration tells apart.
        Listener::new(
            "twins",
            [
                Plugin::new("rate-limit", json!({"rules": [{"name": "x", "limits": [{"requests": 2, "per": "1h"}]}]}))
                    .named("")
                    .filter(),
                Plugin::new("rate-limit", json!({"rules": [{"name": "y", "limits": [{"requests": 9, "per": "1h"}]}]}))
                    .named("")
                    .filter(),
            ],
        ),
    ];
    let mut envoy = Envoy::start(&artifacts::newest_envoy(), 2, &bootstrap(&listeners, vec![])).await;
    for (listener, expected) in
        [("one", 5), ("same", 0), ("name", 5), ("root", 5), ("vm", 5), ("chain", 3), ("twins", 2)]
    {
        let flooded = flood(envoy.address(listener), "/", 4, Duration::from_millis(200)).await;
        assert_eq!(flooded.of(200), expected, "{listener}: {flooded:?}");
    }
    envoy.assert_sound().await;
}
