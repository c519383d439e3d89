//! A running Loki, and what it says when it is asked.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::{
    client::{self, Failure},
    daemon::{Daemon, program},
    registry::free_address,
};

/// A Loki in one process that keeps everything in a directory, ended when this is dropped.
#[derive(Debug)]
pub struct Loki {
    daemon: Daemon,
    address: SocketAddr,
}

/// One series of a metric query.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// One line of a log query.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The labels of its stream, with structured metadata and what the query's parsers found.
    pub labels: BTreeMap<String, String>,
    /// The line.
    pub text: String,
}

impl Loki {
    /// Starts one and waits until it is ready.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory for temporary files");
        let (address, grpc) = (free_address(), free_address());
        let data = directory.path().join("data");
        let configuration = json!({
            "auth_enabled": false,
            "analytics": {"reporting_enabled": false},
            "server": {
                "http_listen_address": "127.0.0.1", "http_listen_port": address.port(),
                "grpc_listen_address": "127.0.0.1", "grpc_listen_port": grpc.port(), "log_level": "warn",
            },
            "common": {
                "instance_addr": "127.0.0.1",
                "path_prefix": data,
                "replication_factor": 1,
                "ring": {"instance_addr": "127.0.0.1", "kvstore": {"store": "inmemory"}},
                "storage":
                    {"filesystem": {"chunks_directory": data.join("chunks"), "rules_directory": data.join("rules")}},
            },
            "schema_config": {"configs": [{
                "from": "2024-01-01", "store": "tsdb", "object_store": "filesystem", "schema": "v13",
                "index": {"prefix": "index_", "period": "24h"},
            }]},
            // Alone, it need not wait for others. The parts that answer queries find each other by address: through the
            // ring that takes them ten seconds.
            "ingester": {
                "lifecycler": {"min_ready_duration": "0s", "join_after": "0s", "final_sleep": "0s"},
                "wal": {"enabled": false},
            },
            "query_scheduler": {"use_scheduler_ring": false},
            "frontend": {"scheduler_address": grpc.to_string(), "scheduler_dns_lookup_period": "100ms"},
            "frontend_worker": {"scheduler_address": grpc.to_string(), "dns_lookup_duration": "100ms"},
        });
        std::fs::write(directory.path().join("loki.json"), configuration.to_string()).expect("writable");
        let ready = async || client::get(address, "/ready").await.is_ok_and(|answer| answer.status == 200);
        let program = program("loki/bin/loki", "logs-and-traces");
        let change = |command: &mut tokio::process::Command| {
            command.arg("-config.file=loki.json");
        };
        let daemon = Daemon::start(&program, directory, change, ready).await;
        Self { daemon, address }
    }

    /// Where Promtail sends lines.
    pub fn push_url(&self) -> String {
        format!("http://{}/loki/api/v1/push", self.address)
    }

    /// What a metric query gives now.
    ///
    /// # Panics
    /// Loki refuses it.
    pub async fn samples(&self, query: &str) -> Vec<Sample> {
        let data = self.api("query", query).await;
        assert_eq!(data["resultType"], "vector", "{query}");
        let results = data["result"].as_array().into_iter().flatten();
        let value = |result: &Value| result["value"][1].as_str().and_then(|text| text.parse().ok()).expect("a number");
        results.map(|result| Sample { labels: labels(&result["metric"]), value: value(result) }).collect()
    }

    /// The lines that a log query gives of the last hour, the newest first; a thousand at most.
    ///
    /// # Panics
    /// Loki refuses it.
    pub async fn lines(&self, query: &str) -> Vec<Line> {
        let data = self.api("query_range", query).await;
        assert_eq!(data["resultType"], "streams", "{query}");
        let mut lines = Vec::new();
        for result in data["result"].as_array().into_iter().flatten() {
            for value in result["values"].as_array().into_iter().flatten() {
                let text = value[1].as_str().expect("a line").to_owned();
                lines.push(Line { labels: labels(&result["stream"]), text });
            }
        }
        lines
    }

    /// The names of all labels of the streams that a selector finds, which is what Loki indexes.
    pub async fn label_names(&self, selector: &str) -> Vec<String> {
        let data = self.api("labels", selector).await;
        data.as_array().into_iter().flatten().filter_map(|name| Some(name.as_str()?.to_owned())).collect()
    }

    async fn api(&self, endpoint: &str, query: &str) -> Value {
        let refused = |error: Failure| panic!("{query}: {error}\n{}", self.daemon.log());
        self.try_api(endpoint, query).await.unwrap_or_else(refused)
    }

    async fn try_api(&self, endpoint: &str, query: &str) -> Result<Value, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let (start, end) = ((now - 3600).to_string(), (now + 60).to_string());
        let parameters = [("query", query), ("limit", "1000"), ("start", &start), ("end", &end)];
        let parameters = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let answer = client::get(self.address, &format!("/loki/api/v1/{endpoint}?{parameters}")).await?;
        if answer.status != 200 {
            return Err(String::from_utf8_lossy(&answer.body).into_owned().into());
        }
        let mut answer: Value = serde_json::from_slice(&answer.body)?;
        Ok(answer["data"].take())
    }

    /// Waits until `holds`.
    ///
    /// # Panics
    /// It does not.
    pub async fn wait_until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        self.daemon.wait_until(what, holds).await;
    }
}

fn labels(object: &Value) -> BTreeMap<String, String> {
    let labels = object.as_object().into_iter().flatten();
    labels.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}
