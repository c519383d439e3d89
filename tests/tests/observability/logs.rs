//! From Envoy's access log to the answers that panels show.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde_json::{Value, json};
use tollgate_tests::{
    artifacts::{self, EnvoyBinary},
    envoy::Envoy,
    loki::Loki,
    promtail::{Container, Promtail, wrapped},
    telemetry,
};

use crate::load::{DELAY, FOREIGNER, FRIEND, OTHER, SECRET, SERVICE, STRANGER, Sidecar, request, times};

/// Lines that are nothing that a stage knows: cut off, of another format, no text at all, one that pretends, and one that
/// the container runtime cuts.
fn others() -> [Vec<u8>; 6] {
    [
        br#"{"decision":"tollgate_rate_limited:login","response_co"#.to_vec(),
        br#"{"decision":null,"message":"of another program"}"#.to_vec(),
        b"[2026-11-23T08:00:00.000Z] \"GET /plain HTTP/1.1\" 200 - via_upstream".to_vec(),
        b"no UTF-8: \xff\xfe".to_vec(),
        b"warning\tenvoy main\tsaid event=limited filter=rate_limit rule=forged".to_vec(),
        b"long ".repeat(8000),
    ]
}

/// A pod: what was sent to it, and what it wrote.
struct Pod {
    namespace: String,
    /// The lines of its access log.
    access: Vec<Value>,
    /// What its filters wrote.
    said: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_shipped_query_gives_what_was_sent() {
    let directory = tempfile::tempdir().expect("a directory for temporary files");
    let loki = Loki::start().await;
    let namespace = |binary: &EnvoyBinary| format!("titanium-{}", binary.version.replace('.', "-"));
    let container = |binary: &EnvoyBinary| {
        let path = directory.path().join(format!("{}.log", binary.version));
        std::fs::write(&path, "").expect("writable");
        let labels = [("namespace", &namespace(binary)[..]), ("app", "load-balancer"), ("container", "istio-proxy")];
        Container { labels: labels.map(|(name, value)| (name, value.to_owned())).into(), path }
    };
    let containers: Vec<Container> = artifacts::envoys().iter().map(container).collect();
    let values = telemetry::shipped("promtail-values.yaml");
    let stages = &values["config"]["snippets"]["pipelineStages"];
    let run = async {
        let mut pods = Vec::new();
        for (binary, container) in artifacts::envoys().iter().zip(&containers) {
            let access_log = directory.path().join(format!("access-{}", binary.version));
            pods.push(run(binary, namespace(binary), &access_log, container).await);
        }
        pods
    };
    let (_promtail, pods) = tokio::join!(Promtail::start(stages, &containers, &loki), run);
    for pod in &pods {
        let total = format!("sum(count_over_time({{namespace=\"{}\"}} [1h]))", pod.namespace);
        let lines = pod.access.len() + pod.said.lines().count() + others().len();
        let have = async || loki.samples(&total).await.first().map(|sample| sample.value) == Some(lines as f64);
        loki.wait_until(&format!("{lines} lines of {} are in Loki", pod.namespace), have).await;
        nothing_is_lost_or_betrayed(&loki, pod).await;
        the_queries_agree(&loki, pod).await;
    }
}

/// Sends what there is to send, and writes what comes of it to the container's log.
async fn run(binary: &EnvoyBinary, namespace: String, access_log: &Path, container: &Container) -> Pod {
    let telemetry = telemetry::resource("telemetry");
    let manager = json!({"access_log": [telemetry::access_log(&telemetry, &access_log.display().to_string())]});
    let mut sidecar = Sidecar::start(binary, manager, vec![]).await;
    assert_eq!(sidecar.send(FRIEND, &times(5, "GET", "/login")).await, [200, 200, 200, 429, 429]);
    assert_eq!(sidecar.send(OTHER, &times(2, "POST", "/login")).await, [429; 2]);
    assert_eq!(sidecar.send(STRANGER, &times(4, "GET", "/users")).await, [403; 4]);
    assert_eq!(sidecar.send(FOREIGNER, &times(3, "GET", "/users")).await, [403; 3]);
    assert_eq!(sidecar.send(OTHER, &times(2, "GET", "/search")).await, [200; 2]);
    assert_eq!(sidecar.send(FRIEND, &times(3, "GET", "/down")).await, [503; 3]);
    let slow = request("GET", "/slow", &[("x-envoy-fault-delay-request", &DELAY.as_millis().to_string())]);
    assert_eq!(sidecar.send(FRIEND, &[slow]).await, [200]);
    let grpc = request("POST", "/titanium.Audit/Write", &[("content-type", "application/grpc")]);
    assert_eq!(sidecar.send(FRIEND, &[grpc.clone(), grpc]).await, [200; 2]);
    send_hostile(&sidecar).await;
    sidecar.push_mistake().await;

    let envoy = &sidecar.envoy;
    let logged = async || envoy.stat("http.inbound.downstream_rq_total").await == Some(lines(access_log).len() as u64);
    envoy.wait_until("every request is in the access log", logged).await;
    let access = lines(access_log);
    let said = filters_lines(envoy);
    sidecar.envoy.assert_sound().await;
    let mut output = wrapped("stdout", &std::fs::read(access_log).expect("readable"));
    output.extend(wrapped("stderr", said.as_bytes()));
    output.extend(wrapped("stdout", &others().join(&b'\n')));
    std::fs::write(&container.path, output).expect("writable");
    Pod { namespace, access, said }
}

/// Requests whose parts try to end a value, a line, or the text. By HTTP/2 a method can be any word.
async fn send_hostile(sidecar: &Sidecar) {
    let long = format!("/{}", "\"".repeat(30_000));
    for (path, header) in [
        (r#"/a"b\"},{"decision":"x"#.as_bytes(), &b"plain"[..]),
        (b"/a%0a%00%22", b"\"quoted\\"),
        (b"/a\xff\xfe\xe4\xbd\xa0", b"\xff\xfe\xe4"),
        (b"/a#S3CRET\\\"#S3CRET", b"x"),
        (b"/a\x7f\x01", b"x"),
        (long.as_bytes(), b"x"),
        (b"http://user:S3CRET@load-balancer/absolute", b"x"),
    ] {
        let mut request =
            [b"GET ", path, b"?token=S3CRET HTTP/1.1\r\nhost: load-balancer\r\nx-request-id: ", header].concat();
        request.extend(b"\r\ncookie: S3CRET\r\n\r\n");
        sidecar.wire(FRIEND).http1(&request).await;
    }
    let headers: [(&[u8], &[u8]); 5] = [
        (b":method", b"DECISION"),
        (b":scheme", b"https"),
        (b":authority", b"load-balancer"),
        (b":path", b"/a\"b?token=S3CRET"),
        (b"x-request-id", b"\xff\"\\"),
    ];
    sidecar.wire(FRIEND).http2(&headers).await;
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read(file).unwrap_or_default();
    let whole = text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    whole.map(|line| serde_json::from_slice(line).unwrap_or_else(|e| panic!("{e}: {}", line.escape_ascii()))).collect()
}

/// What Envoy wrote of its filters, each in a line.
fn filters_lines(envoy: &Envoy) -> String {
    envoy.log().lines().filter(|line| line.contains(" filter=")).map(|line| format!("{line}\n")).collect()
}

/// Every line is there as it was, labels are few, and what clients meant for nobody else is nowhere.
async fn nothing_is_lost_or_betrayed(loki: &Loki, pod: &Pod) {
    let all = loki.lines(&format!("{{namespace=\"{}\"}}", pod.namespace)).await;
    for line in &all {
        assert!(!line.text.contains(SECRET) && !format!("{:?}", line.labels).contains(SECRET), "{line:?}");
    }
    for other in others() {
        let text = String::from_utf8_lossy(&other);
        let found = all.iter().find(|line| line.text == text).unwrap_or_else(|| panic!("lost: {text}"));
        assert!(!found.labels.contains_key("log") && !found.labels.contains_key("decision"), "{found:?}");
    }
    let mut indexed = loki.label_names(&format!("{{namespace=\"{}\"}}", pod.namespace)).await;
    indexed.retain(|name| !["__stream_shard__", "filename", "service_name", "stream"].contains(&name.as_str()));
    assert_eq!(
        indexed,
        ["app", "container", "decision", "event", "filter", "log", "namespace", "response_code", "route"]
    );
    // What one line says, field by field.
    let limited = pod.access.iter().find(|line| line["grpc_status"] == 8).expect("a limited call");
    for (field, value) in [
        ("method", "POST"),
        ("path", "/titanium.Audit/Write"),
        ("authority", "load-balancer"),
        ("response_code_details", "tollgate_rate_limited"),
        ("decision", "tollgate_rate_limited:audit"),
        ("source_principal", FRIEND),
        ("source_address", "127.0.0.1"),
        ("destination_service", SERVICE),
        // The proxy's own route, as route-metrics has none for it.
        ("route", "default"),
        ("direction", "inbound"),
    ] {
        assert_eq!(limited[field], value, "{limited}");
    }
    assert!(limited["duration_ms"].is_u64() && limited["bytes_sent"].is_u64() && limited["request_id"].is_string());
    let longest = pod.access.iter().map(|line| line.to_string().len()).max();
    assert!(longest.is_some_and(|longest| longest < 16 * 1024), "a line that a container runtime cuts: {longest:?}");
}

/// Runs every query of `logql.yaml`, and holds it against the account of what was sent.
async fn the_queries_agree(loki: &Loki, pod: &Pod) {
    let by = |labels: &[&str], decision: &str| -> BTreeMap<Vec<String>, f64> {
        let mut counts = BTreeMap::new();
        for line in &pod.access {
            let of = line["decision"].as_str().and_then(|of| of.strip_prefix("tollgate_")).unwrap_or("");
            let (kind, detail) = of.split_once(':').unwrap_or((of, ""));
            if kind != decision {
                continue;
            }
            let text = |label: &&str| match *label {
                "rule" | "reason" => detail.to_owned(),
                label => line[label].as_str().map_or_else(|| line[label].to_string(), str::to_owned),
            };
            *counts.entry(labels.iter().map(text).collect()).or_default() += 1.0;
        }
        counts
    };
    let table = |rows: &[(&[&str], f64)]| -> BTreeMap<Vec<String>, f64> {
        rows.iter().map(|(labels, value)| (labels.iter().map(|label| (*label).to_owned()).collect(), *value)).collect()
    };
    let mut durations: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for line in &pod.access {
        let route = line["route"].as_str().unwrap_or_default().to_owned();
        durations.entry(route).or_default().extend(line["duration_ms"].as_f64());
    }
    let shipped = telemetry::shipped("logql.yaml");
    let queries = shipped["queries"].as_array().expect("queries");
    assert!(queries.len() >= 11, "{queries:?}");
    for query in queries {
        let (name, text) = (query["name"].as_str().expect("a name"), query["query"].as_str().expect("a query"));
        let text = text.replace("$namespace", &pod.namespace).replace("$threshold", "399");
        let text = text.replace("$__auto", "1h").replace("$__range", "1h");
        assert!(!text.contains('$'), "{text}");
        let got = async |labels: &[&str]| -> BTreeMap<Vec<String>, f64> {
            let samples = loki.samples(&text).await.into_iter();
            let row = |labels: &[&str], of: &BTreeMap<String, String>| {
                labels.iter().map(|label| of.get(*label).cloned().unwrap_or_default()).collect::<Vec<_>>()
            };
            samples.map(|sample| (row(labels, &sample.labels), sample.value)).collect()
        };
        match name {
            "requests_by_decision" => {
                let counts: BTreeMap<_, _> =
                    got(&["decision"]).await.into_iter().map(|(of, rate)| (of, (rate * 3600.0).round())).collect();
                let allowed = pod.access.len() as f64 - 5.0 - 7.0 - 2.0;
                let expected: [(&[&str], f64); 4] =
                    [(&["allowed"], allowed), (&["denied"], 7.0), (&["limited"], 5.0), (&["shadow_denied"], 2.0)];
                assert_eq!(counts, table(&expected), "{name}");
            }
            "denied_by_reason_and_caller" => {
                let rows = got(&["reason", "source_principal"]).await;
                let expected: [(&[&str], f64); 2] =
                    [(&["foreign_trust_domain", FOREIGNER], 3.0), (&["not_allowed", STRANGER], 4.0)];
                assert_eq!(rows, table(&expected), "{name}");
                assert_eq!(rows, by(&["reason", "source_principal"], "identity_denied"), "{name}");
            }
            "shadow_denied_by_reason_and_caller" => {
                let rows = got(&["reason", "source_principal"]).await;
                assert_eq!(rows, table(&[(&["not_allowed", OTHER], 2.0)]), "{name}");
            }
            "limited_by_rule_and_caller" => {
                let rows = got(&["rule", "source_principal"]).await;
                let expected: [(&[&str], f64); 3] =
                    [(&["audit", FRIEND], 1.0), (&["login", FRIEND], 2.0), (&["login", OTHER], 2.0)];
                assert_eq!(rows, table(&expected), "{name}");
                assert_eq!(rows, by(&["rule", "source_principal"], "rate_limited"), "{name}");
            }
            "server_errors_by_route" => {
                let rows = got(&["route", "response_code"]).await;
                assert_eq!(rows, table(&[(&["down", "503"], 3.0)]), "{name}");
            }
            "p95_by_route" => {
                let rows = got(&["route"]).await;
                assert_eq!(rows.len(), durations.len(), "{name}: {rows:?}");
                assert!(["login", "users", "default"].iter().all(|route| durations.contains_key(*route)), "{rows:?}");
                for (route, durations) in &durations {
                    let (value, p95) = (rows[&vec![route.clone()]], percentile(durations, 0.95));
                    assert!((value - p95).abs() < 1e-6, "{route}: {value}, not {p95}");
                }
            }
            "slowest_routes" => {
                let rows = got(&["route", "method"]).await;
                let slowest = rows[&vec!["slow".to_owned(), "GET".to_owned()]];
                assert!(slowest >= DELAY.as_millis() as f64, "{name}: {rows:?}");
                assert_eq!(Some(slowest), durations["slow"].iter().copied().reduce(f64::max), "{name}: {rows:?}");
            }
            "slow_requests" => {
                let lines = loki.lines(&text).await;
                assert!(matches!(&lines[..], [line] if line.text.contains(" ms 200 GET /slow ")), "{name}: {lines:?}");
            }
            "turned_away" => {
                let lines = loki.lines(&text).await;
                assert_eq!(lines.len(), 14, "{name}: {lines:?}");
                let one = format!("limited login POST /login {OTHER} trace=");
                assert_eq!(lines.iter().filter(|line| line.text.starts_with(&one)).count(), 2, "{name}: {lines:?}");
            }
            "filter_events" => {
                let mut expected = BTreeMap::new();
                for line in pod.said.lines() {
                    let field = |name: &str| {
                        let (_, rest) = line.split_once(name).expect("a field");
                        rest.split([' ', '\t']).next().unwrap_or_default().to_owned()
                    };
                    *expected.entry(vec![field(" filter="), field(" event=")]).or_default() += 1.0;
                }
                let rows = got(&["filter", "event"]).await;
                assert_eq!(rows, expected, "{name}");
                let limited = rows.get(&vec!["rate_limit".to_owned(), "limited".to_owned()]);
                assert!(limited.is_some_and(|count| *count > 0.0), "{rows:?}");
            }
            "filter_trouble" => {
                let lines = loki.lines(&text).await;
                for (event, path) in
                    [("configuration_refused", "rules[0].limits[0].requests"), ("unreachable_rule", "rules[2]")]
                {
                    let of = lines.iter().find(|line| line.labels["event"] == event);
                    let of = of.unwrap_or_else(|| panic!("{event}: {lines:?}"));
                    assert_eq!(of.labels.get("path").map(String::as_str), Some(path), "{of:?}");
                }
            }
            name => panic!("nothing is known about {name}: say here what it must give"),
        }
    }
}

/// As Loki has it: between the two values that are nearest.
fn percentile(values: &[f64], of: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let rank = of * (values.len() as f64 - 1.0);
    let (below, above) = (rank.floor() as usize, rank.ceil() as usize);
    values[below] + (values[above] - values[below]) * rank.fract()
}

#[test]
fn the_dashboard_of_logs_asks_what_was_tried_and_nothing_else() {
    let shipped = telemetry::shipped("logql.yaml");
    let tried: BTreeSet<&str> =
        shipped["queries"].as_array().expect("a list").iter().filter_map(|query| query["query"].as_str()).collect();
    let path = artifacts::project().join("istio/monitoring/dashboards/tollgate-logs.json");
    let dashboard = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let dashboard: Value = serde_json::from_str(&dashboard).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let asked: BTreeSet<&str> = targets.filter_map(|target| target["expr"].as_str()).collect();
    assert_eq!(asked, tried);
}
