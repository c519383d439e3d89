//! A running Jaeger, and the spans that it has.

use std::{collections::BTreeMap, net::SocketAddr};

use serde_json::Value;

use crate::{
    client,
    daemon::{Daemon, program},
    registry::free_address,
};

/// Everything it listens on beside [`Jaeger::otlp`] and the query API, none of which is used.
const OTHERS: [&str; 10] = [
    "admin.http.host-port",
    "collector.grpc-server.host-port",
    "collector.http-server.host-port",
    "collector.otlp.http.host-port",
    "http-server.host-port",
    "processor.jaeger-binary.server-host-port",
    "processor.jaeger-compact.server-host-port",
    "processor.zipkin-compact.server-host-port",
    "query.grpc-server.host-port",
    "collector.zipkin.host-port",
];

/// A Jaeger in one process with its spans in memory, ended when this is dropped.
#[derive(Debug)]
pub struct Jaeger {
    daemon: Daemon,
    otlp: SocketAddr,
    query: SocketAddr,
}

/// One span.
#[derive(Debug, Clone)]
pub struct Span {
    /// The trace it belongs to.
    pub trace: String,
    /// Its tags, values as text.
    pub tags: BTreeMap<String, String>,
}

impl Jaeger {
    /// Starts one and waits until it takes spans and answers queries.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory for temporary files");
        let (otlp, query) = (free_address(), free_address());
        let ready = async || {
            tokio::net::TcpStream::connect(otlp).await.is_ok()
                && client::get(query, "/api/services").await.is_ok_and(|answer| answer.status == 200)
        };
        let change = |command: &mut tokio::process::Command| {
            command
                .env("COLLECTOR_OTLP_ENABLED", "true")
                .arg(format!("--collector.otlp.grpc.host-port={otlp}"))
                .arg(format!("--query.http-server.host-port={query}"))
                .arg("--log-level=warn")
                .args(OTHERS.map(|name| format!("--{name}={}", free_address())));
        };
        let daemon =
            Daemon::start(&program("jaeger/bin/all-in-one", "logs-and-traces"), directory, change, ready).await;
        Self { daemon, otlp, query }
    }

    /// Where it takes OTLP over gRPC.
    pub const fn otlp(&self) -> SocketAddr {
        self.otlp
    }

    /// All spans of a service, up to a thousand traces.
    pub async fn spans(&self, service: &str) -> Vec<Span> {
        let path = format!("/api/traces?service={service}&limit=1000");
        let answer = client::get(self.query, &path).await.expect("Jaeger answers");
        let answer: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let traces = answer["data"].as_array().into_iter().flatten();
        let spans = traces.flat_map(|trace| trace["spans"].as_array().into_iter().flatten());
        spans.map(|span| Span { trace: text(&span["traceID"]), tags: tags(&span["tags"]) }).collect()
    }

    /// Waits until `holds`.
    ///
    /// # Panics
    /// It does not.
    pub async fn wait_until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        self.daemon.wait_until(what, holds).await;
    }
}

fn tags(list: &Value) -> BTreeMap<String, String> {
    list.as_array().into_iter().flatten().map(|tag| (text(&tag["key"]), text(&tag["value"]))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
