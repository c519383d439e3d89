//! A running Promtail that reads containers' logs, and those logs as a container runtime writes them.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::{Value, json};

use crate::{
    client,
    daemon::{Daemon, program},
    loki::Loki,
    registry::free_address,
};

/// What containerd and CRI-O hold of a line before they write it out.
const CHUNK: usize = 16 * 1024;

/// The log of one container.
#[derive(Debug, Clone)]
pub struct Container {
    /// What a scrape configuration makes of the container's pod.
    pub labels: BTreeMap<&'static str, String>,
    /// The file.
    pub path: PathBuf,
}

/// Output of a container as its runtime writes it to a file: each line with a time, the stream's name and a flag that tells
/// the last piece of a line.
pub fn wrapped(stream: &str, output: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let now = time::OffsetDateTime::now_utc();
    let now = format!("{}T{:02}:{:02}:{:02}", now.date(), now.hour(), now.minute(), now.second());
    for (number, line) in output.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut pieces = line.chunks(CHUNK).peekable();
        while let Some(piece) = pieces.next() {
            let flag = if pieces.peek().is_some() { 'P' } else { 'F' };
            file.extend(format!("{now}.{number:09}Z {stream} {flag} ").as_bytes());
            file.extend(piece);
            file.push(b'\n');
        }
    }
    file
}

/// A running Promtail, ended when this is dropped.
#[derive(Debug)]
pub struct Promtail {
    _daemon: Daemon,
}

impl Promtail {
    /// Starts one that sends what is in these logs to Loki through the stages of a pipeline.
    pub async fn start(stages: &Value, containers: &[Container], loki: &Loki) -> Self {
        let directory = tempfile::tempdir().expect("a directory for temporary files");
        let address = free_address();
        let target = |container: &Container| {
            let mut labels = json!(container.labels);
            labels["__path__"] = json!(container.path);
            json!({"targets": ["localhost"], "labels": labels})
        };
        let configuration = json!({
            "server": {
                "http_listen_address": "127.0.0.1", "http_listen_port": address.port(),
                "grpc_listen_address": "127.0.0.1", "grpc_listen_port": 0, "log_level": "warn",
            },
            "positions": {"filename": directory.path().join("positions.yaml")},
            "clients": [{"url": loki.push_url(), "batchwait": "100ms"}],
            "scrape_configs": [{
                "job_name": "containers",
                "static_configs": containers.iter().map(target).collect::<Vec<_>>(),
                "pipeline_stages": stages,
            }],
        });
        std::fs::write(directory.path().join("promtail.json"), configuration.to_string()).expect("writable");
        let ready = async || client::get(address, "/ready").await.is_ok_and(|answer| answer.status == 200);
        let program = program("promtail/bin/promtail", "logs-and-traces");
        let change = |command: &mut tokio::process::Command| {
            command.arg("-config.file=promtail.json");
        };
        let daemon = Daemon::start(&program, directory, change, ready).await;
        Self { _daemon: daemon }
    }
}
