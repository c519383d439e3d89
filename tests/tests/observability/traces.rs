//! Spans that tell what the filters decided.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tollgate_tests::{
    artifacts::{self, EnvoyBinary},
    config,
    jaeger::{Jaeger, Span},
    telemetry,
};

use crate::load::{FRIEND, SECRET, STRANGER, Sidecar, request, times};

type Spans = BTreeMap<String, Vec<Span>>;

/// Sends, with the tracing and the access log of a kustomization, three requests that are admitted, one that is limited
/// and one that is denied; returns their spans by status, and the lines of the log by trace.
async fn spans(jaeger: &Jaeger, binary: &EnvoyBinary, kustomization: &str) -> (Spans, BTreeMap<String, Value>) {
    let service = format!("load-balancer.{kustomization}.{}", binary.version);
    let telemetry = telemetry::resource(kustomization);
    let mut tracing = telemetry::tracing(&telemetry, &service, "jaeger");
    assert!(tracing["random_sampling"]["value"].as_f64().is_some_and(|percent| percent > 0.0), "{tracing}");
    // All of them, not the share that is shipped.
    tracing["random_sampling"]["value"] = json!(100.0);
    let mut collector = config::cluster("jaeger", jaeger.otlp());
    collector["typed_extension_protocol_options"] = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }});
    let directory = tempfile::tempdir().expect("a directory for temporary files");
    let log = directory.path().join("access.log");
    let access_log = telemetry::access_log(&telemetry, &log.display().to_string());
    let manager = json!({"tracing": tracing, "access_log": [access_log]});
    let mut sidecar = Sidecar::start(binary, manager, vec![collector]).await;
    assert_eq!(sidecar.send(FRIEND, &times(4, "GET", "/login")).await, [200, 200, 200, 429]);
    assert_eq!(sidecar.send(STRANGER, &[request("GET", "/users", &[])]).await, [403]);
    jaeger.wait_until("all spans are there", async || jaeger.spans(&service).await.len() == 5).await;
    sidecar.envoy.assert_sound().await;
    let lines = || std::fs::read_to_string(&log).unwrap_or_default();
    sidecar.envoy.wait_until("the access log is written", async || lines().lines().count() == 5).await;
    let mut by_status = Spans::new();
    for span in jaeger.spans(&service).await {
        assert!(!format!("{span:?}").contains(SECRET), "{span:?}");
        by_status.entry(span.tags["http.status_code"].clone()).or_default().push(span);
    }
    assert_eq!(by_status.values().map(Vec::len).collect::<Vec<_>>(), [3, 1, 1], "{by_status:?}");
    let lines = lines();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    (by_status, lines.map(|line| (line["trace_id"].as_str().expect("a trace").to_owned(), line)).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_span_tells_the_decision() {
    let jaeger = Jaeger::start().await;
    let (spans, lines) = spans(&jaeger, &artifacts::newest_envoy(), "telemetry").await;
    for (status, decision, route) in [
        ("200", None, "login"),
        ("403", Some("tollgate_identity_denied:not_allowed"), "users"),
        ("429", Some("tollgate_rate_limited:login"), "login"),
    ] {
        for span in &spans[status] {
            assert_eq!(span.tags.get("tollgate.decision").map(String::as_str), decision, "{span:?}");
            assert_eq!(span.tags["tollgate.route"], route, "{span:?}");
            assert_eq!(span.tags["http.url"], format!("https://load-balancer/{route}"), "{span:?}");
            assert_eq!(lines[&span.trace]["decision"].as_str(), decision, "{lines:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_istio_traces_without_urls_and_the_access_log_has_the_decision() {
    let oldest = artifacts::envoys().remove(0);
    let jaeger = Jaeger::start().await;
    let (spans, lines) = spans(&jaeger, &oldest, "telemetry-before-1.29").await;
    let limited = &lines[&spans["429"][0].trace];
    assert_eq!(limited["decision"], "tollgate_rate_limited:login");
    for span in spans.values().flatten() {
        assert!(!span.tags.contains_key("tollgate.decision"), "{span:?}");
        assert!(span.tags["http.url"].starts_with("left out"), "{span:?}");
    }
}

/// Istio's own metrics come from a filter that a stock Envoy lacks, but their labels are expressions that it can evaluate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_labels_of_istios_metrics_are_expressions_that_envoy_can_evaluate() {
    let labels = telemetry::metric_labels(&telemetry::resource("telemetry"));
    assert!(labels.contains_key("decision") && labels.contains_key("route"), "{labels:?}");
    let format: serde_json::Map<String, Value> = labels
        .iter()
        .map(|(label, expression)| (label.clone(), json!(format!("%CEL({})%", expression.as_str().expect("text")))))
        .collect();
    for binary in artifacts::envoys() {
        let directory = tempfile::tempdir().expect("a directory for temporary files");
        let log = directory.path().join("access.log");
        let access_log = json!({"access_log": [{
            "name": "envoy.access_loggers.file",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                "path": log,
                "log_format": {"json_format": format},
            },
        }]});
        let sidecar = Sidecar::start(&binary, access_log, vec![]).await;
        sidecar.send(FRIEND, &times(4, "GET", "/login")).await;
        sidecar.send(STRANGER, &times(1, "GET", "/users")).await;
        let lines = || std::fs::read_to_string(&log).unwrap_or_default();
        sidecar.envoy.wait_until("the access log is written", async || lines().lines().count() == 5).await;
        let lines: Vec<Value> =
            lines().lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect();
        let of = |label: &str| lines.iter().map(|line| line[label].clone()).collect::<Vec<_>>();
        assert_eq!(of("decision"), ["allowed", "allowed", "allowed", "limited", "denied"]);
        assert_eq!(of("route"), ["login", "login", "login", "login", "users"]);
    }
}
