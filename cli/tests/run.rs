//! `tollgate run` as a program drives it: ready, edited, wrongly edited, ended.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test ends by panicking")]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

const PLAIN: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: users, namespace: prod}
spec: {selector: {app: users}, ports: [{name: http, port: 80}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: all, namespace: prod}
spec: {mtls: {mode: DISABLE}}
---
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: nothing, namespace: prod}
spec: {url: "oci://registry.example.com/nothing:1", pluginConfig: {value: 1}}
"#;

struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    fn start(file: &Path, modules: &Path) -> (Self, Value) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["run", "-o", "json", "--listen", "127.0.0.1:0", "-f"])
            .arg(file)
            .arg("--modules")
            .arg(modules)
            .arg("--envoy")
            .arg(support::envoy())
            // A killed program leaves its temporary directory behind.
            .env("TMPDIR", file.parent().unwrap())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut running = Self { child, lines };
        let ready = running.next();
        (running, ready)
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"GET /x HTTP/1.1\r\nhost: users\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn edits_take_effect_and_broken_ones_are_named() {
    let modules = support::modules(&["nothing"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mesh.yaml");
    std::fs::write(&file, PLAIN).unwrap();
    let (mut running, ready) = Running::start(&file, modules.path());
    assert_eq!(ready["event"], "ready");
    let address = ready["listeners"][0]["address"].as_str().unwrap().to_owned();
    assert!(get(&address).contains("x-echo-service: users"));

    std::fs::write(&file, PLAIN.replace("value: 1", "value: 2")).unwrap();
    let event = running.next();
    assert_eq!(event["event"], "inForce", "{event}");
    assert_eq!(event["what"], "WasmPlugin prod/nothing at prod/users");

    std::fs::write(&file, PLAIN.replace("DISABLE", "DISABEL")).unwrap();
    let event = running.next();
    assert_eq!(event["event"], "invalid", "{event}");
    assert!(event["problems"][0].as_str().unwrap().contains("spec.mtls.mode: unknown variant `DISABEL`"), "{event}");
    assert!(get(&address).starts_with("HTTP/1.1 200"));
}

#[test]
fn envoy_refusing_a_module_is_told_with_its_reason() {
    let modules = support::modules(&["nothing"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mesh.yaml");
    std::fs::write(&file, PLAIN).unwrap();
    let (mut running, ready) = Running::start(&file, modules.path());
    let staged = modules.path().join("staged");
    std::fs::write(&staged, b"\0asm\x01\0\0\0garbage").unwrap();
    std::fs::rename(&staged, modules.path().join("nothing.wasm")).unwrap();
    let event = running.next();
    assert_eq!(event["event"], "refused", "{event}");
    assert!(event["reason"].as_str().unwrap().contains("corrupted Wasm module"), "{event}");
    assert!(get(ready["listeners"][0]["address"].as_str().unwrap()).starts_with("HTTP/1.1 200"));
}

#[test]
fn envoy_does_not_outlive_a_killed_parent() {
    let modules = support::modules(&["nothing"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mesh.yaml");
    std::fs::write(&file, PLAIN).unwrap();
    let (mut running, ready) = Running::start(&file, modules.path());
    let envoy = format!("/proc/{}", ready["envoy"]["pid"]);
    assert!(Path::new(&envoy).exists());
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    for _ in 0..100 {
        // A process that ended and waits for its parent to ask has no command line any more.
        if std::fs::read(format!("{envoy}/cmdline")).unwrap_or_default().is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("Envoy lives on");
}
