//! A running Envoy.

use std::{
    collections::BTreeMap,
    fs::File,
    net::SocketAddr,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{artifacts::EnvoyBinary, client};

const START: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// An Envoy process, ended when this is dropped.
#[derive(Debug)]
pub struct Envoy {
    process: Child,
    directory: TempDir,
    admin: SocketAddr,
    listeners: BTreeMap<String, SocketAddr>,
}

/// An Envoy that did not start.
#[derive(Debug)]
pub struct StartFailed {
    /// What it wrote.
    pub log: String,
}

impl Envoy {
    /// Starts one and waits until it takes requests.
    ///
    /// # Panics
    /// It did not start: with its log.
    pub async fn start(binary: &EnvoyBinary, workers: usize, bootstrap: &Value) -> Self {
        match Self::try_start(binary, workers, bootstrap).await {
            Ok(envoy) => envoy,
            Err(StartFailed { log }) => panic!("Envoy {} did not start:\n{log}", binary.version),
        }
    }

    /// Starts one and waits until it takes requests, or ends.
    pub async fn try_start(binary: &EnvoyBinary, workers: usize, bootstrap: &Value) -> Result<Self, StartFailed> {
        let directory = tempfile::tempdir().expect("a directory for temporary files");
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("bootstrap.json"), bootstrap.to_string()).expect("writable");
        let log = File::create(path("log")).expect("writable");
        let process = Command::new(&binary.path)
            .args([
                "--use-dynamic-base-id",
                "--disable-hot-restart",
                "--log-level",
                "warning",
                "--component-log-level",
                "wasm:info",
                "--file-flush-interval-msec",
                "100",
            ])
            .arg("--concurrency")
            .arg(workers.to_string())
            .arg("--config-path")
            .arg(path("bootstrap.json"))
            .arg("--admin-address-path")
            .arg(path("admin"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", binary.path.display()));
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut envoy = Self { process, directory, admin: nowhere, listeners: BTreeMap::new() };
        let deadline = Instant::now() + START;
        while !envoy.is_ready().await {
            if envoy.process.try_wait().expect("waitable").is_some() || Instant::now() > deadline {
                return Err(StartFailed { log: envoy.log() });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(envoy)
    }

    async fn is_ready(&mut self) -> bool {
        let Ok(Ok(admin)) = std::fs::read_to_string(self.directory.path().join("admin")).map(|text| text.parse())
        else {
            return false;
        };
        self.admin = admin;
        if !client::get(admin, "/ready").await.is_ok_and(|answer| answer.status == 200) {
            return false;
        }
        let Ok(answer) = client::get(admin, "/listeners?format=json").await else { return false };
        let Ok(listeners) = serde_json::from_slice::<Value>(&answer.body) else { return false };
        for listener in listeners["listener_statuses"].as_array().into_iter().flatten() {
            let address = &listener["local_address"]["socket_address"];
            if let (Some(name), Some(ip), Some(port)) =
                (listener["name"].as_str(), address["address"].as_str(), address["port_value"].as_u64())
                && let Ok(address) = format!("{ip}:{port}").parse()
            {
                self.listeners.insert(name.to_owned(), address);
            }
        }
        self.stat("listener_manager.workers_started").await == Some(1)
    }

    /// Where a listener takes requests.
    pub fn address(&self, listener: &str) -> SocketAddr {
        *self.listeners.get(listener).unwrap_or_else(|| panic!("no listener {listener}: {:?}", self.listeners))
    }

    /// Where the admin server is.
    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.process.id().expect("not waited for yet")
    }

    /// What the admin server says at a path.
    pub async fn admin_text(&self, path: &str) -> String {
        let answer =
            client::get(self.admin, path).await.unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.log()));
        String::from_utf8_lossy(&answer.body).into_owned()
    }

    /// The value of one stat, by Envoy's own name.
    pub async fn stat(&self, name: &str) -> Option<u64> {
        let answer = client::get(self.admin, &format!("/stats?filter=^{name}$")).await.ok()?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.trim().parse().ok())
    }

    /// The lines of `/stats/prometheus` that start with `metric` and have all of `labels`, with their values.
    pub async fn prometheus(&self, metric: &str, labels: &[(&str, &str)]) -> Vec<(String, u64)> {
        let text = self.admin_text("/stats/prometheus").await;
        let wanted: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        text.lines()
            .filter(|line| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(['{', ' '])))
            .filter(|line| wanted.iter().all(|label| line.contains(label.as_str())))
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(series, value)| (series.to_owned(), value.parse().unwrap_or_else(|_| panic!("{series} {value}"))))
            .collect()
    }

    /// The sum of those values.
    pub async fn total(&self, metric: &str, labels: &[(&str, &str)]) -> u64 {
        self.prometheus(metric, labels).await.iter().map(|(_, value)| value).sum()
    }

    /// Waits until `holds`.
    ///
    /// # Panics
    /// It did not within ten seconds: with `what` and the log.
    pub async fn wait_until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !holds().await {
            assert!(Instant::now() < deadline, "never: {what}\n{}", self.log());
            tokio::time::sleep(POLL).await;
        }
    }

    /// What Envoy has written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.directory.path().join("log")).unwrap_or_default()).into_owned()
    }

    /// A directory for files that this Envoy reads.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Whether any VM has trapped, or the process is gone.
    pub async fn assert_sound(&mut self) {
        assert!(self.process.try_wait().expect("waitable").is_none(), "Envoy has ended:\n{}", self.log());
        let stats = self.admin_text("/stats?filter=wasm").await;
        let log = self.log();
        for trouble in ["Function: proxy_on", "Uncaught RuntimeError", "wasm trap", "panicked"] {
            assert!(!log.contains(trouble), "{trouble}:\n{log}");
        }
        for line in stats.lines() {
            let (name, value) = line.rsplit_once(": ").unwrap_or((line, ""));
            let failure = name.contains("runtime_error") || name.contains("vm_failed") || name.contains("vm_reload");
            assert!(!failure || value == "0", "{line}\n{log}");
        }
    }
}
