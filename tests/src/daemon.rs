//! A program of other makers beside Envoy: in a directory of its own, ended with its handle.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::process::{Child, Command};

const START: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// A running program, ended when this is dropped.
#[derive(Debug)]
pub struct Daemon {
    process: Child,
    directory: TempDir,
}

impl Daemon {
    /// Starts a program as `change` completes its command line, and waits until `is_ready`.
    ///
    /// # Panics
    /// It does not start: with what it wrote.
    pub async fn start(
        program: &Path,
        directory: TempDir,
        change: impl FnOnce(&mut Command),
        is_ready: impl AsyncFn() -> bool,
    ) -> Self {
        let log = File::create(directory.path().join("log")).expect("writable");
        let mut command = Command::new(program);
        command
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("one more"))
            .stderr(log)
            .kill_on_drop(true);
        change(&mut command);
        let process = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut daemon = Self { process, directory };
        let deadline = Instant::now() + START;
        while !is_ready().await {
            let ended = daemon.process.try_wait().expect("waitable").is_some();
            assert!(!ended && Instant::now() < deadline, "{} did not start:\n{}", program.display(), daemon.log());
            tokio::time::sleep(POLL).await;
        }
        daemon
    }

    /// Waits until `holds`.
    ///
    /// # Panics
    /// It did not within half a minute: with `what` and what it wrote.
    pub async fn wait_until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !holds().await {
            assert!(Instant::now() < deadline, "never: {what}\n{}", self.log());
            tokio::time::sleep(POLL).await;
        }
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.directory.path().join("log")).unwrap_or_default()).into_owned()
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

/// A program in make's cache, which a target of the Makefile put there.
///
/// # Panics
/// It is missing: with that target.
pub fn program(path: &str, target: &str) -> PathBuf {
    let cache = tollgate_cli::tools::cache().expect("HOME or TOLLGATE_CACHE is set");
    let path = cache.join(path);
    assert!(path.is_file(), "{} is missing: run `make {target}`", path.display());
    path
}
