//! Metrics as Prometheus sees them.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use serde_json::{Value, json};
use tollgate_tests::{
    artifacts,
    certificates::Authority,
    client::{Connection, Identity},
    config::{Listener, Plugin, bootstrap},
    envoy::Envoy,
};

const OWN: &str = "spiffe://cluster.local/ns/titanium-prod/sa/load-balancer";
const GATEWAY: &str = "spiffe://cluster.local/ns/titanium-prod/sa/api-gateway";

fn routes() -> Value {
    json!({"routes": [
        {"name": "posts", "match": [{"paths": ["/posts/{id}"], "methods": ["POST", "GET"]}]},
        {"name": "silent", "match": [{"paths": ["/never"]}]},
    ]})
}

/// A cluster as Istio describes it: whose service it is stands in its metadata.
fn cluster(port: u16) -> Value {
    let service = json!({"host": "load-balancer.titanium-prod.svc.cluster.local", "name": "load-balancer"});
    json!({
        "name": "inbound|8080||",
        "type": "STATIC",
        "metadata": {"filter_metadata": {"istio": {"services": [service]}}},
        "load_assignment": {"cluster_name": "inbound|8080||", "endpoints": [{"lb_endpoints": [{"endpoint": {
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        }}]}]},
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_counted_once_with_labels_that_mean_something() {
    let mesh = Authority::default();
    let own = mesh.issue(&[OWN]);
    let limits = json!({"rules": [{"name": "five", "limits": [{"requests": 5, "per": "1h"}]}]});
    for binary in artifacts::envoys() {
        let application = Envoy::start(&binary, 1, &bootstrap(&[Listener::new("app", [])], vec![])).await;
        let chain = [
            Plugin::new("route-metrics", routes()).filter(),
            Plugin::new("mtls-identity", json!({"exempt": [{"paths": ["/posts/*"]}]})).filter(),
            Plugin::new("rate-limit", limits.clone()).filter(),
        ];
        let listener = Listener::new("in", chain).tls(mesh.server(&own, false, true)).to_cluster("inbound|8080||");
        let clusters = vec![cluster(application.address("app").port())];
        let mut envoy = Envoy::start(&binary, 2, &bootstrap(&[listener], clusters)).await;

        // Zero from the start, under the names that dashboards ask for.
        for route in ["posts", "silent"] {
            let series = envoy.prometheus("tollgate_requests_total", &[("route", route)]).await;
            assert!(matches!(&series[..], [(_, 0)]), "{series:?}");
        }
        assert_eq!(
            envoy.prometheus("tollgate_rate_limit_total", &[("rule", "five"), ("decision", "limited")]).await.len(),
            1
        );

        let gateway = mesh.issue(&[GATEWAY]);
        for (leaf, count) in [(Some(&gateway), 4), (None, 3)] {
            for number in 0..count {
                let identity = Identity::new(leaf);
                let mut connection = Connection::open_tls(envoy.address("in"), &identity).await.expect("connects");
                let path = format!("/posts/{number}?hunter2={number}");
                let request = Request::post(&path).header("host", "tollgate.test").body(Empty::<Bytes>::new());
                connection.send(request.expect("a request")).await.expect("answers");
                connection.get(&format!("/unlisted/{number}")).await.expect("answers");
            }
        }
        // Bucket of five: 4 + 1 posts and none of the unlisted ones beyond it; who has no certificate is denied first.
        let requests = async |labels: &[(&str, &str)]| envoy.total("tollgate_requests_total", labels).await;
        envoy.wait_until("all is counted", async || requests(&[]).await == 14).await;
        let from_gateway =
            [("source_workload", "api-gateway"), ("source_principal", GATEWAY), ("direction", "inbound")];
        let of_gateway = requests(&from_gateway).await;
        assert_eq!(of_gateway, 8, "{:#?}", envoy.prometheus("tollgate_requests_total", &[]).await);
        assert_eq!(requests(&[("route", "posts"), ("method", "POST")]).await, 7);
        assert_eq!(requests(&[("route", "default"), ("method", "GET")]).await, 7);
        let code = async |code| requests(&[("response_code", code)]).await;
        assert_eq!((code("200").await, code("429").await, code("403").await), (5, 6, 3));
        // A request that was turned away has no upstream; one that was not has the service that Istio named.
        let service = "load-balancer.titanium-prod.svc.cluster.local";
        let answered = [("response_code", "200"), ("destination_service", service), ("response_flags", "-")];
        assert_eq!(requests(&answered).await, 5, "{:?}", envoy.prometheus("tollgate_requests_total", &[]).await);

        let text = envoy.admin_text("/stats/prometheus").await;
        assert!(text.contains("# TYPE tollgate_requests_total counter"), "{text}");
        assert!(text.contains("# TYPE tollgate_request_duration_milliseconds histogram"), "{text}");
        let mangled = |line: &&str| line.contains("tollgate") && (line.starts_with("envoy_") || line.contains("___"));
        assert_eq!(text.lines().find(mangled), None);
        assert!(!text.contains("hunter2") && !text.contains("unlisted"), "{text}");
        // Histograms are merged when Envoy flushes its stats.
        let durations =
            async || envoy.total("tollgate_request_duration_milliseconds_count", &[("route", "posts")]).await;
        envoy.wait_until("seven durations are counted", async || durations().await == 7).await;
        for filter in ["route_metrics", "mtls_identity", "rate_limit"] {
            let info = envoy.prometheus("tollgate_config_info", &[("filter", filter), ("version", "0.1.0")]).await;
            assert!(matches!(&info[..], [(_, 1)]), "{info:?}");
        }
        envoy.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn series_are_bounded_and_what_is_over_is_counted() {
    let config = json!({"maxSeries": 3});
    let listener = Listener::new("in", [Plugin::new("route-metrics", config).filter()]);
    let mut envoy = Envoy::start(&artifacts::newest_envoy(), 1, &bootstrap(&[listener], vec![])).await;
    let mut connection = Connection::open(envoy.address("in")).await.expect("connects");
    for _ in 0..2 {
        for method in ["GET", "PUT", "POST", "PATCH", "DELETE", "PURGE"] {
            let request = Request::builder().method(method).uri("/").header("host", "tollgate.test");
            connection.send(request.body(Empty::<Bytes>::new()).expect("a request")).await.expect("answers");
        }
    }
    let total = async |labels: &[(&str, &str)]| envoy.total("tollgate_requests_total", labels).await;
    envoy.wait_until("all is counted", async || total(&[]).await == 12).await;
    assert_eq!(total(&[("route", "__other__")]).await, 6);
    assert_eq!(total(&[("method", "GET")]).await, 2);
    assert_eq!(envoy.total("tollgate_series_dropped_total", &[("filter", "route_metrics")]).await, 6);
    envoy.assert_sound().await;
}
