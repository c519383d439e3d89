//! Metrics as Prometheus sees them.

use std::{fmt::Write as _, net::SocketAddr, ops::Range};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tollgate_tests::{
    artifacts,
    certificates::Authority,
    client::{self, Connection, Identity},
    config::{self, Listener, Plugin, bootstrap},
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
async fn what_was_decided_is_a_label_of_the_route() {
    let own = Authority::default();
    for binary in artifacts::envoys() {
        let limits = json!({"rules": [{"name": "two", "limits": [{"requests": 2, "per": "1h"}]}]});
        let chain = [
            Plugin::new("route-metrics", routes()).filter(),
            Plugin::new("mtls-identity", json!({"exempt": [{"paths": ["/posts/*"]}]})).filter(),
            Plugin::new("rate-limit", limits).filter(),
        ];
        let listener = Listener::new("in", chain).tls(own.server(&own.issue(&[OWN]), false, true));
        let mut envoy = Envoy::start(&binary, 1, &bootstrap(&[listener], vec![])).await;
        let mut connection =
            Connection::open_tls(envoy.address("in"), &Identity::new(None)).await.expect("connects without one");
        for path in ["/posts/1", "/posts/2", "/posts/3", "/unlisted"] {
            for content_type in ["text/plain", "application/grpc"] {
                let request = Request::post(path).header("host", "tollgate.test").header("content-type", content_type);
                connection.send(request.body(Empty::<Bytes>::new()).expect("a request")).await.expect("answers");
            }
        }
        let total = async |labels: &[(&str, &str)]| envoy.total("tollgate_requests_total", labels).await;
        envoy.wait_until("all is counted", async || total(&[]).await == 8).await;
        let posts = async |decision, code, status| {
            total(&[("route", "posts"), ("decision", decision), ("response_code", code), ("grpc_status", status)]).await
        };
        assert_eq!(posts("allowed", "200", "-").await, 1);
        // The answer of a listener that speaks no gRPC is one without a status, which stands for an unknown one.
        assert_eq!(total(&[("route", "posts"), ("decision", "allowed")]).await, 2);
        assert_eq!(posts("limited", "429", "-").await, 2);
        assert_eq!(posts("limited", "200", "8").await, 2, "{}", envoy.admin_text("/stats/prometheus").await);
        let denied = async |code, status| {
            let labels =
                [("route", "default"), ("decision", "denied"), ("response_code", code), ("grpc_status", status)];
            total(&labels).await
        };
        assert_eq!((denied("403", "-").await, denied("200", "7").await), (1, 1));
        envoy.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_is_counted_up_and_down() {
    // Connections to it are taken by the system, and never answered.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    for binary in artifacts::envoys() {
        let listener = Listener::new("in", [Plugin::new("route-metrics", routes()).filter()]).to_cluster("silent");
        let clusters = vec![config::cluster("silent", silent.local_addr().expect("bound"))];
        let mut envoy = Envoy::start(&binary, 2, &bootstrap(&[listener], clusters)).await;
        let in_flight =
            async || envoy.total("tollgate_requests_in_flight", &[("route", "posts"), ("direction", "inbound")]).await;
        // Some that wait for an answer, and whose client goes away before it comes.
        let mut waiting = Vec::new();
        for number in 0..4 {
            let mut stream = TcpStream::connect(envoy.address("in")).await.expect("connects");
            let request = format!("GET /posts/{number} HTTP/1.1\r\nhost: tollgate.test\r\n\r\n");
            stream.write_all(request.as_bytes()).await.expect("writable");
            waiting.push(stream);
        }
        envoy.wait_until("four are in flight", async || in_flight().await == 4).await;
        waiting.truncate(1);
        envoy.wait_until("one is in flight", async || in_flight().await == 1).await;
        waiting.clear();
        envoy.wait_until("none is in flight", async || in_flight().await == 0).await;
        // Three bytes of garbage, and one whose headers are never complete: neither was ever in flight.
        for garbage in ["\x00\x01\x02\r\n\r\n", "GET /posts/9 HTTP/1.1\r\nhost: "] {
            let mut stream = TcpStream::connect(envoy.address("in")).await.expect("connects");
            stream.write_all(garbage.as_bytes()).await.expect("writable");
        }
        let broken = [("route", "posts"), ("response_code", "0"), ("response_flags", "DC")];
        let total = async || envoy.total("tollgate_requests_total", &broken).await;
        envoy.wait_until("each that was left is counted", async || total().await == 4).await;
        assert_eq!(in_flight().await, 0);
        envoy.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compact_output_needs_nothing_but_the_tags_that_istio_has() {
    for binary in artifacts::envoys() {
        let config = json!({"output": "compact", "routes": routes()["routes"]});
        let listener = Listener::new("in", [Plugin::new("route-metrics", config).filter()]);
        let mut bootstrap = bootstrap(&[listener], vec![]);
        bootstrap["stats_config"] = json!({"use_all_default_tags": false, "stats_tags": [
            {"tag_name": "response_code", "regex": "_rq(_(\\d{3}))$"},
            {"tag_name": "component", "regex": "(component\\.(.+?)\\.)"},
            {"tag_name": "tag", "regex": "(tag\\.(.+?);\\.)"},
            {"tag_name": "wasm_filter", "regex": "(wasm_filter\\.(.+?)\\.)"},
        ]});
        let mut envoy = Envoy::start(&binary, 1, &bootstrap).await;
        let mut connection = Connection::open(envoy.address("in")).await.expect("connects");
        for number in 0..3 {
            connection.get(&format!("/posts/{number}")).await.expect("answers");
        }
        let labels = [
            ("component", "posts"),
            ("tag", "inbound:allowed:unknown"),
            ("response_code", "200"),
            ("wasm_filter", "route_metrics"),
        ];
        envoy.wait_until("three are counted", async || envoy.total("tollgate_rq", &labels).await == 3).await;
        let durations = async || envoy.total("tollgate_rq_time_count", &[("component", "posts")]).await;
        envoy.wait_until("three durations are counted", async || durations().await == 3).await;
        envoy.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn says_at_the_start_which_stats_tags_an_istio_proxy_lacks() {
    for binary in artifacts::envoys() {
        for (tags, missing) in [(&tollgate::stats::LABELS[..], 0), (&["route", "method"], 14), (&[], 16)] {
            let listener = Listener::new("in", [Plugin::new("route-metrics", "{}").filter()]);
            let mut bootstrap = bootstrap(&[listener], vec![]);
            bootstrap["node"]["metadata"] = json!({"ISTIO_VERSION": "1.30.0", "PROXY_CONFIG": {"extraStatTags": tags}});
            let mut envoy = Envoy::start(&binary, 2, &bootstrap).await;
            let gauge = envoy.prometheus("tollgate_stats_tags_missing", &[]).await;
            assert!(matches!(&gauge[..], [(_, number)] if *number == missing), "{missing}: {gauge:?}\n{}", envoy.log());
            let warnings = envoy.log().matches("event=stats_tags_missing").count();
            assert_eq!(warnings, usize::from(missing > 0), "{}", envoy.log());
            envoy.assert_sound().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_out_is_neither_a_label_nor_a_metric() {
    let config = json!({"omit": ["source", "direction", "bytes", "in_flight", "response_flags"]});
    let listener = Listener::new("in", [Plugin::new("route-metrics", config).filter()]);
    let mut envoy = Envoy::start(&artifacts::newest_envoy(), 1, &bootstrap(&[listener], vec![])).await;
    client::get(envoy.address("in"), "/").await.expect("answers");
    let all = async || envoy.prometheus("tollgate_requests_total", &[("route", "default")]).await;
    envoy.wait_until("it is counted", async || !all().await.is_empty()).await;
    let text = envoy.admin_text("/stats/prometheus").await;
    for absent in ["source_", "direction=", "response_flags", "tollgate_request_bytes", "tollgate_requests_in_flight"] {
        let line = text.lines().find(|line| line.contains("tollgate_") && line.contains(absent));
        assert_eq!(line, None, "{absent}");
    }
    envoy.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn series_are_bounded_and_what_is_over_is_counted() {
    let of = |name: &str, series: u32| {
        let plugin = Plugin::new("route-metrics", json!({ "maxSeries": series })).named(name).root_id(name);
        Listener::new(name, [plugin.filter()])
    };
    // Where nobody listens, Envoy says UNAVAILABLE to gRPC.
    let nowhere = vec![config::cluster("nowhere", SocketAddr::from(([127, 0, 0, 1], 1)))];
    let listeners = [of("in", 3), of("dead", 1).to_cluster("nowhere")];
    let mut envoy = Envoy::start(&artifacts::newest_envoy(), 1, &bootstrap(&listeners, nowhere)).await;
    let mut connection = Connection::open(envoy.address("in")).await.expect("connects");
    for _ in 0..2 {
        for method in ["GET", "PUT", "POST", "PATCH", "DELETE", "PURGE"] {
            let request = Request::builder().method(method).uri("/").header("host", "tollgate.test");
            connection.send(request.body(Empty::<Bytes>::new()).expect("a request")).await.expect("answers");
        }
    }
    let total = async |labels: &[(&str, &str)]| envoy.total("tollgate_requests_total", labels).await;
    envoy.wait_until("all is counted", async || total(&[]).await == 12).await;
    // Its route, its class of status and what was decided are still told apart.
    let shared = [("route", "default"), ("method", "__other__"), ("response_code", "2xx"), ("decision", "allowed")];
    assert_eq!(total(&shared).await, 6);
    assert_eq!(total(&[("method", "GET")]).await, 2);
    assert_eq!(envoy.total("tollgate_series_dropped_total", &[("filter", "route_metrics")]).await, 6);

    // So is a gRPC server that fails: its HTTP status is 200.
    let mut connection = Connection::open(envoy.address("dead")).await.expect("connects");
    for method in ["POST", "PUT", "PATCH"] {
        let request = Request::builder().method(method).uri("/a.B/C").header("content-type", "application/grpc");
        let request = request.header("host", "tollgate.test").body(Empty::<Bytes>::new()).expect("a request");
        assert_eq!(connection.send(request).await.expect("answers").status, 200);
    }
    envoy.wait_until("all is counted", async || total(&[]).await == 15).await;
    assert_eq!(total(&[shared[0], shared[1], shared[2], shared[3], ("grpc_status", "14")]).await, 2);
    envoy.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_hostile_requests_make_neither_series_nor_memory() {
    const CONNECTIONS: usize = 8;
    const EACH: usize = 125_000;
    let listener = Listener::new("in", [Plugin::new("route-metrics", routes()).filter()])
        .connection_manager(json!({"http_protocol_options": {"allow_custom_methods": true}}));
    let mut envoy = Envoy::start(&artifacts::newest_envoy(), 2, &bootstrap(&[listener], vec![])).await;
    let address = envoy.address("in");
    let series = async || {
        let text = envoy.admin_text("/stats/prometheus").await;
        text.lines().filter(|line| line.starts_with("tollgate_")).count()
    };
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", envoy.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says it");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
    };
    // The first tenth warms everything up.
    let mut before = None;
    for (from, to) in [(0, EACH / 10), (EACH / 10, EACH)] {
        let mut tasks = tokio::task::JoinSet::new();
        for connection in 0..CONNECTIONS {
            tasks.spawn(send_hostile(address, connection, from..to));
        }
        while let Some(sent) = tasks.join_next().await {
            sent.expect("all are answered");
        }
        if before.is_none() {
            before = Some((series().await, resident()));
        }
    }
    let total = async || envoy.total("tollgate_requests_total", &[]).await;
    envoy.wait_until("all are counted", async || total().await == (CONNECTIONS * EACH) as u64).await;
    let (series_before, resident_before) = before.expect("measured");
    assert_eq!(series().await, series_before);
    let grown = resident().saturating_sub(resident_before);
    assert!(grown < 4096, "resident memory grew by {grown} KiB, from {resident_before}");
    assert_eq!(envoy.total("tollgate_requests_total", &[("method", "OTHER")]).await, total().await);
    assert_eq!(envoy.total("tollgate_series_dropped_total", &[]).await, 0);
    envoy.assert_sound().await;
}

/// Sends a request with a method, a path and a host of its own for each number, many at a time, and reads all answers.
async fn send_hostile(address: SocketAddr, connection: usize, numbers: Range<usize>) {
    const AT_ONCE: usize = 1;
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let numbers: Vec<usize> = numbers.collect();
    for batch in numbers.chunks(AT_ONCE) {
        let mut requests = String::new();
        for number in batch {
            let own = format!("{connection}-{number}");
            let _ = write!(requests, "M{own} /{own}/../%2e/{own};a=b?{own} HTTP/1.1\r\nhost: {own}.example\r\n\r\n");
        }
        stream.write_all(requests.as_bytes()).await.expect("writable");
        let (mut answers, mut bytes) = (0, Vec::new());
        while answers < batch.len() {
            assert!(stream.read_buf(&mut bytes).await.expect("readable") > 0, "closed after {answers} answers");
            // Every answer ends in the body.
            answers += bytes.windows(7).filter(|window| window == b"\r\n\r\nok\n").count();
            bytes.drain(..bytes.len().saturating_sub(6));
        }
    }
}
