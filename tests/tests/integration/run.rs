//! `tollgate run`: manifests in, enforcement out, and edits in force at once.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use serde_json::Value;
use tollgate_tests::{artifacts, client::get, flood::flood};

const PATIENCE: Duration = Duration::from_secs(30);

/// A running `tollgate run -o json`, ended when dropped.
struct Run {
    process: Child,
    events: Receiver<Value>,
}

impl Run {
    fn start(manifests: &Path) -> Self {
        for module in ["rate-limit", "mtls-identity", "route-metrics"] {
            artifacts::module(module);
        }
        let mut process = Command::new(artifacts::tollgate())
            .args(["run", "--listen", "127.0.0.1:0", "-o", "json", "--modules"])
            .arg(artifacts::project().join("dist"))
            .arg("--envoy")
            .arg(artifacts::newest_envoy().path)
            .arg("-f")
            .arg(manifests)
            .stdout(Stdio::piped())
            .spawn()
            .expect("tollgate runs");
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let (sender, events) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
                if sender.send(event).is_err() {
                    break;
                }
            }
        });
        Self { process, events }
    }

    fn wait_for(&self, event: &str) -> Value {
        loop {
            let found = self.events.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no event `{event}`"));
            if found["event"] == event {
                return found;
            }
        }
    }

    fn interrupt(mut self) {
        let kill = Command::new("kill").args(["-INT", &self.process.id().to_string()]).status();
        assert!(kill.expect("kill runs").success());
        let status = self.process.wait().expect("waitable");
        assert_eq!(status.code(), Some(0), "Ctrl-C is how it is meant to end");
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("writable");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("readable").is_dir() {
            copy(&entry.path(), &target)
        } else {
            fs::copy(entry.path(), &target).map(drop).expect("writable")
        }
    }
}

/// What the rule of 100 a minute has refilled since `start`, rounded up.
fn refilled(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis() / 600 + 1).expect("a test's length")
}

/// The address of the ingress gateway.
fn gateway(ready: &Value) -> SocketAddr {
    let listeners = ready["listeners"].as_array().expect("a list");
    let gateway = listeners.iter().find(|listener| listener["kind"] == "gateway").expect("a gateway");
    gateway["address"].as_str().expect("an address").parse().expect("an address")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_rule_is_in_force_without_a_restart_and_a_broken_edit_changes_nothing() {
    let directory = tempfile::tempdir().expect("a directory for temporary files");
    copy(&artifacts::project().join("istio"), &directory.path().join("istio"));
    let rule = directory.path().join("istio/base/rate-limit.yaml");
    let original = fs::read_to_string(&rule).expect("readable");
    let edit = |from: &str, to: &str| {
        assert!(original.contains(from), "{from} is not in the manifest");
        fs::write(&rule, original.replace(from, to)).expect("writable");
    };

    let run = Run::start(&directory.path().join("istio/overlays/local"));
    let ready = run.wait_for("ready");
    let envoy = ready["envoy"]["pid"].as_u64().expect("a pid");
    let address = gateway(&ready);
    // In through the gateway, over mTLS to load-balancer.
    let start = Instant::now();
    let first = get(address, "/").await.expect("answers");
    assert_eq!(first.status, 200, "{first:?}");
    let flooded = flood(address, "/", 8, Duration::from_millis(500)).await;
    let mut admitted = 1 + flooded.of(200);
    assert!((99..=100 + refilled(start)).contains(&admitted) && flooded.of(429) > 0, "{flooded:?}");

    edit("requests: 100", "requests: 0");
    let invalid = run.wait_for("invalid").to_string();
    assert!(invalid.contains("rate-limit.yaml") || invalid.contains("WasmPlugin"), "{invalid}");
    assert!(invalid.contains("rules[0].limits[0].requests: must be greater than zero, found 0"), "{invalid}");
    edit("requests: 100", "requests: [");
    run.wait_for("invalid");
    let flooded = flood(address, "/", 8, Duration::from_millis(200)).await;
    admitted += flooded.of(200);
    assert!(admitted <= 100 + refilled(start) && flooded.of(429) > 0, "the former limit holds: {flooded:?}");

    edit("name: load-balancer", "name: another");
    run.wait_for("inForce");
    let start = Instant::now();
    let flooded = flood(address, "/", 8, Duration::from_millis(500)).await;
    assert!(
        (100..=100 + refilled(start)).contains(&flooded.of(200)),
        "another rule has a bucket of its own: {flooded:?}"
    );

    run.interrupt();
    assert!(!Path::new(&format!("/proc/{envoy}")).exists(), "Envoy is gone with it");
}
