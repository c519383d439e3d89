//! The Envoy process: started so that it ends with this one, watched, ended.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use super::admin::Admin;
use super::log::{self, Log, Mark};
use crate::args::{EnvoyArguments, LogLevel};
use crate::problem::{Problem, Problems};

/// What `exec-envoy` does: asks the kernel to end this process with its parent, and becomes the program.
pub fn exec(command: &[OsString]) -> Result<bool, Problems> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Problem::new("no program to run").into());
    };
    #[cfg(target_os = "linux")]
    {
        let parent = rustix::process::getppid();
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
            .map_err(|error| Problem::new(format!("can't bind Envoy's life to its parent's: {error}")))?;
        // The parent may have died in between.
        if rustix::process::getppid() != parent {
            return Ok(false);
        }
    }
    let error = std::process::Command::new(program).args(arguments).exec();
    Err(Problem::new(format!("can't run {}: {error}", program.to_string_lossy())).into())
}

/// How an Envoy is started.
pub(super) struct Launch<'a> {
    pub(super) binary: &'a Path,
    pub(super) bootstrap: &'a Path,
    pub(super) workers: u32,
    /// Where it writes the address of its admin interface.
    pub(super) admin_file: PathBuf,
    pub(super) log_file: PathBuf,
    pub(super) arguments: &'a EnvoyArguments,
    pub(super) access_log: bool,
}

/// A running Envoy.
pub(super) struct EnvoyProcess {
    child: Child,
    pub(super) log: Log,
    pub(super) log_file: PathBuf,
    pub(super) started: Mark,
}

impl EnvoyProcess {
    /// Starts one. To be called on the thread that lives as long as the program: the kernel ends Envoy with it.
    pub(super) fn start(launch: &Launch<'_>) -> Result<Self, Problem> {
        let log = Log::create(&launch.log_file)?;
        let this = std::env::current_exe()
            .map_err(|error| Problem::new(format!("can't find this program's own file: {error}")))?;
        let level = launch.arguments.envoy_log.map_or(LogLevel::Info, |level| level.min(LogLevel::Info));
        let mut child = Command::new(this)
            .arg("exec-envoy")
            .arg("--")
            .arg(launch.binary)
            .arg("-c")
            .arg(launch.bootstrap)
            .args(["--concurrency", &launch.workers.to_string()])
            // Its shared memory would collide with other Envoys' on this machine.
            .arg("--disable-hot-restart")
            .arg("--admin-address-path")
            .arg(&launch.admin_file)
            .args(["-l", level.as_str(), "--log-format", log::FORMAT])
            .args(["--file-flush-interval-msec", "100"])
            .stdin(Stdio::null())
            .stdout(if launch.access_log { Stdio::inherit() } else { Stdio::null() })
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Problem::new(format!("can't run {}: {error}", launch.binary.display())))?;
        let started = log.mark();
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(log.clone().follow(stderr, launch.arguments.clone()));
        }
        Ok(Self { child, log, log_file: launch.log_file.clone(), started })
    }

    /// Waits until it has read everything and its workers take connections.
    pub(super) async fn ready(
        &mut self,
        admin_file: &Path,
        listeners: u64,
        patience: Duration,
    ) -> Result<Admin, Problem> {
        let deadline = Instant::now().checked_add(patience);
        let mut admin = None;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                // Its last words may still be on their way.
                tokio::time::sleep(Duration::from_millis(100)).await;
                return Err(self.post_mortem(&status));
            }
            if admin.is_none() {
                let text = std::fs::read_to_string(admin_file).unwrap_or_default();
                admin = text.trim().parse::<SocketAddr>().ok().map(|address| Admin { address });
            }
            let ready = match admin {
                Some(admin) => is_ready(admin, listeners).await,
                None => false,
            };
            let refusals = self.log.refusals(self.started);
            if !refusals.is_empty() {
                // More may follow that says more.
                tokio::time::sleep(Duration::from_millis(300)).await;
                let refusals = self.log.refusals(self.started).join("\n  ");
                return Err(Problem::new(format!("Envoy refuses the configuration:\n  {refusals}")));
            }
            // A listener goes on without a filter that was refused, so refusals are looked for first.
            if let Some(admin) = admin.filter(|_| ready) {
                return Ok(admin);
            }
            if deadline.is_none_or(|deadline| Instant::now() > deadline) {
                return Err(Problem::new(format!(
                    "Envoy is not ready after {} s; its log ends:\n{}",
                    patience.as_secs(),
                    self.log.tail(15)
                )));
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Its process id while it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until it ends by itself.
    pub(super) async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// What it said before it died.
    pub(super) fn post_mortem(&self, status: &ExitStatus) -> Problem {
        Problem::new(format!("Envoy ended by itself ({status}); its log ends:\n{}", self.log.tail(15)))
    }

    /// Ends it: politely, then not.
    pub(super) async fn stop(&mut self) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(id) = id {
            // It may have ended in this moment; then there is nothing to do.
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
            if tokio::time::timeout(Duration::from_secs(3), self.child.wait()).await.is_ok() {
                return;
            }
        }
        let _ = self.child.kill().await;
    }
}

async fn is_ready(admin: Admin, listeners: u64) -> bool {
    if !matches!(admin.get("/ready").await, Ok((200, _))) {
        return false;
    }
    let Ok(stats) = admin.stats("^listener_manager.|update_rejected").await else { return false };
    let refused = stats.numbers().any(|(name, count)| name.ends_with(".update_rejected") && count > 0);
    !refused
        && stats.number("listener_manager.workers_started") == 1
        && stats.number("listener_manager.total_listeners_active") >= listeners
        && stats.number("listener_manager.total_listeners_warming") == 0
}
