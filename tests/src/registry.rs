//! A container registry, and crane, a client of other makers.

use std::{
    ffi::OsString,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate_cli::certificates::Leaf;

use crate::client;

/// The user that a registry with passwords knows.
pub const USER: &str = "pusher";
/// Its password.
pub const PASSWORD: &str = "s3cret";
/// The same as htpasswd keeps it: bcrypt of the least cost.
const HTPASSWD: &str = "pusher:$2b$05$abcdefghijklmnopqrstuuLK7U1u6pVRmL7L1BBM2aS35PSZnDXlK\n";

const START: Duration = Duration::from_secs(30);

/// A registry to start.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether it asks for [`USER`] and [`PASSWORD`].
    pub password: bool,
    /// Its certificate, where it speaks TLS.
    pub certificate: Option<Leaf>,
    /// Where it listens; on a free port of 127.0.0.1 unless said.
    pub address: Option<SocketAddr>,
    /// What it says its realm is. Istio's agent takes this for a URL, and pulls from no registry where it is none.
    pub realm: Option<String>,
    /// A program with arguments that becomes the registry, to bind its life to somebody's; none unless said.
    pub through: Vec<OsString>,
}

/// A running CNCF Distribution registry, ended when dropped.
#[derive(Debug)]
pub struct Registry {
    process: Child,
    address: SocketAddr,
    directory: TempDir,
}

impl Registry {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// It does not start: with what it wrote.
    pub async fn start(options: &Options) -> Self {
        let directory = tempfile::tempdir().expect("a directory for temporary files");
        let path = |name: &str| directory.path().join(name);
        let address = options.address.unwrap_or_else(free_address);
        let mut http = json!({ "addr": address.to_string() });
        if let Some(leaf) = &options.certificate {
            std::fs::write(path("certificate.pem"), &leaf.certificate).expect("writable");
            std::fs::write(path("key.pem"), &leaf.key).expect("writable");
            http["tls"] = json!({ "certificate": path("certificate.pem"), "key": path("key.pem") });
        }
        let mut configuration = json!({
            "version": "0.1",
            "log": { "level": "warn" },
            "storage": { "filesystem": { "rootdirectory": path("storage") } },
            "http": http,
        });
        if options.password {
            std::fs::write(path("htpasswd"), HTPASSWD).expect("writable");
            let realm = options.realm.as_deref().unwrap_or("tollgate.test");
            configuration["auth"] = json!({ "htpasswd": { "realm": realm, "path": path("htpasswd") } });
        }
        std::fs::write(path("configuration.yml"), configuration.to_string()).expect("writable");
        let log = std::fs::File::create(path("log")).expect("writable");
        let command = options.through.iter().cloned().chain([program("registry").into_os_string()]).collect::<Vec<_>>();
        let process = Command::new(&command[0])
            .args(&command[1..])
            .arg("serve")
            .arg(path("configuration.yml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("one more"))
            .stderr(log)
            .spawn()
            .expect("the registry runs");
        let mut registry = Self { process, address, directory };
        let deadline = Instant::now() + START;
        while !registry.answers(options.certificate.is_some()).await {
            let ended = registry.process.try_wait().expect("waitable").is_some();
            assert!(!ended && Instant::now() < deadline, "the registry did not start:\n{}", registry.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        registry
    }

    async fn answers(&self, tls: bool) -> bool {
        if tls {
            return tokio::net::TcpStream::connect(self.address).await.is_ok();
        }
        client::get(self.address, "/v2/").await.is_ok_and(|answer| matches!(answer.status, 200 | 401))
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An address of 127.0.0.1 that nobody listened on just now.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

/// `crane` or `registry`, as `make registry` built them.
pub fn program(name: &str) -> PathBuf {
    let cache = tollgate_cli::tools::cache().expect("HOME or TOLLGATE_CACHE is set");
    let path = cache.join("registry/bin").join(name);
    assert!(path.is_file(), "{} is missing: run `make registry`", path.display());
    path
}

/// What crane prints, with the credentials of a directory like `~/.docker`.
///
/// # Panics
/// It fails: with what it says.
pub fn crane(docker: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program("crane"))
        .arg("--insecure")
        .args(arguments)
        .env("DOCKER_CONFIG", docker)
        .output()
        .expect("crane runs");
    assert!(output.status.success(), "crane {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The manifest that a reference has, as crane gets it.
pub fn manifest(docker: &Path, reference: &str) -> Value {
    serde_json::from_slice(&crane(docker, &["manifest", reference])).expect("JSON")
}
