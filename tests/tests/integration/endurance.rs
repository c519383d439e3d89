//! Half a minute at many times the limit, with a push and a crash in it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::join;
use tollgate_tests::{
    artifacts::{self, EnvoyBinary},
    client::raw,
    config::{Discovered, Listener, Plugin, bootstrap},
    envoy::Envoy,
    flood::{Caller, flood_of_callers},
};

const LENGTH: Duration = Duration::from_secs(30);
const CALLERS: usize = 1000;

/// Two rules: one bucket for all, and one for each caller. `extra` makes another configuration of it.
fn plugin(extra: Option<Value>) -> Plugin {
    let rules = [
        json!({"name": "one", "match": [{"paths": ["/one"]}],
            "limits": [{"requests": 600, "per": "1m", "burst": 50}]}),
        json!({"name": "each", "match": [{"paths": ["/each"]}], "key": [{"header": "x-caller"}],
            "limits": [{"requests": 60, "per": "1m", "burst": 5}]}),
    ];
    let rules: Vec<Value> = rules.into_iter().chain(extra).collect();
    Plugin::of(artifacts::crash(), "rate-limit", json!({"rules": rules})).reloading()
}

async fn endure(binary: &EnvoyBinary, workers: usize) {
    let filter = Discovered::new(&plugin(None));
    let route = |prefix, status| json!({"match": {"prefix": prefix}, "direct_response": {"status": status}});
    let routes = json!({"virtual_hosts": [{
        "name": "all", "domains": ["*"], "routes": [route("/crash", 418), route("/", 200)],
    }]});
    let listener = Listener::new("in", [filter.filter()]).connection_manager(json!({"route_config": routes}));
    let envoy = Envoy::start(binary, workers, &bootstrap(&[listener], vec![])).await;
    let address = envoy.address("in");
    let disturb = async {
        tokio::time::sleep(LENGTH / 3).await;
        // Another configuration with the same limits: the buckets are the same ones.
        let more = json!({"name": "more", "match": [{"paths": ["/more"]}], "limits": [{"requests": 1, "per": "1s"}]});
        filter.push_to(&plugin(Some(more)), &envoy).await;
        tokio::time::sleep(LENGTH / 3).await;
        let request = b"GET /crash HTTP/1.1\r\nhost: tollgate.test\r\nconnection: close\r\n\r\n";
        let answer = raw(address, request, false).await.expect("answers or closes");
        assert!(envoy.log().contains("unreachable"), "no crash: {answer:?}\n{}", envoy.log());
    };
    let one = flood_of_callers(address, "/one", "x-other", 1, 8, LENGTH);
    let each = flood_of_callers(address, "/each", "x-caller", CALLERS, 24, LENGTH);
    let (one, each, ()) = join!(one, each, disturb);

    let requests = |callers: &[Caller]| callers.iter().map(|caller| caller.total).sum::<u64>();
    let admitted = |callers: &[Caller]| callers.iter().map(|caller| caller.admitted).sum::<u64>();
    eprintln!(
        "Envoy {}, {workers} workers: one bucket {} of {}; {CALLERS} buckets {} of {}",
        binary.version,
        admitted(&one),
        requests(&one),
        admitted(&each),
        requests(&each),
    );
    assert_eq!((one.len(), each.len()), (1, CALLERS));
    assert!(requests(&one) > 10 * admitted(&one), "no flood");
    assert!(requests(&each) > 2 * admitted(&each), "no flood");
    one[0].assert_exact("one bucket", 50, 10);
    for (number, caller) in each.iter().enumerate() {
        caller.assert_exact(&format!("caller {number}"), 5, 1);
    }
    assert_eq!(envoy.total("tollgate_rate_limit_total", &[("decision", "overflow")]).await, 0);
    assert_eq!(envoy.total("tollgate_rate_limit_total", &[("decision", "error")]).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_flood_is_admitted_to_the_letter_through_a_push_and_a_crash_whatever_the_number_of_workers() {
    for workers in [1, 2, 8, 16] {
        endure(&artifacts::newest_envoy(), workers).await;
    }
    endure(&artifacts::envoys()[0], 2).await;
}
