//! A running Alertmanager, and somebody to be told.

use std::{
    fs::File,
    net::SocketAddr,
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::{Request, Response, body::Incoming, client::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    task::JoinHandle,
};

use crate::{client, prometheus::program, registry::free_address};

const START: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// An Alertmanager, ended when this is dropped.
#[derive(Debug)]
pub struct Alertmanager {
    process: Child,
    directory: TempDir,
    address: SocketAddr,
}

impl Alertmanager {
    /// Starts one with a configuration, and files beside it that it names, and waits until it is ready.
    ///
    /// # Panics
    /// It did not start: with its log.
    pub async fn start(configuration: &Value, files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory for temporary files");
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("alertmanager.json"), configuration.to_string()).expect("writable");
        for (name, text) in files {
            std::fs::write(path(name), text).expect("writable");
        }
        let address = free_address();
        let process = Command::new(program("alertmanager"))
            .arg(format!("--config.file={}", path("alertmanager.json").display()))
            .arg(format!("--storage.path={}", path("data").display()))
            .arg(format!("--web.listen-address={address}"))
            // Alone: no port for others of its kind.
            .arg("--cluster.listen-address=")
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(path("log")).expect("writable"))
            .kill_on_drop(true)
            .spawn()
            .expect("alertmanager runs");
        let mut alertmanager = Self { process, directory, address };
        let deadline = Instant::now() + START;
        while !client::get(address, "/-/ready").await.is_ok_and(|answer| answer.status == 200) {
            let ended = alertmanager.process.try_wait().expect("waitable").is_some();
            assert!(!ended && Instant::now() < deadline, "Alertmanager did not start:\n{}", alertmanager.log());
            tokio::time::sleep(POLL).await;
        }
        alertmanager
    }

    /// Where alerts go.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells it of an alert with these labels, as Prometheus would.
    ///
    /// # Panics
    /// It takes none.
    pub async fn alert(&self, labels: &Value) {
        let stream = TcpStream::connect(self.address).await.expect("connects");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("speaks HTTP");
        tokio::spawn(connection);
        let body = Full::new(Bytes::from(json!([{"labels": labels}]).to_string()));
        let request =
            Request::post("/api/v2/alerts").header("host", "alertmanager").header("content-type", "application/json");
        let response = sender.send_request(request.body(body).expect("a request")).await.expect("an answer");
        assert_eq!(response.status(), 200, "{labels}");
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

/// A notification as a webhook gets it.
#[derive(Debug, Clone)]
pub struct Notification {
    /// The path that it was posted to.
    pub path: String,
    /// Its body.
    pub body: Value,
}

impl Notification {
    /// Its alerts that fire.
    pub fn firing(&self) -> impl Iterator<Item = &Value> {
        let alerts = self.body["alerts"].as_array().into_iter().flatten();
        alerts.filter(|alert| alert["status"] == "firing")
    }
}

/// A webhook that keeps what it is sent, ended when this is dropped.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Notification>>>,
    task: JoinHandle<()>,
}

impl Receiver {
    /// Starts one.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let received = Arc::<Mutex<Vec<_>>>::default();
        let kept = Arc::clone(&received);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                let service = service_fn(move |request| keep(request, Arc::clone(&kept)));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { address, received, task }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What came so far.
    pub fn received(&self) -> Vec<Notification> {
        self.received.lock().expect("no panic").clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep(
    request: Request<Incoming>,
    kept: Arc<Mutex<Vec<Notification>>>,
) -> Result<Response<Empty<&'static [u8]>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    kept.lock().expect("no panic").push(Notification { path, body });
    Ok(Response::new(Empty::new()))
}
