//! One running mesh: Envoy, the applications behind it, certificates, addresses; and how a new version replaces the old.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::addresses::Addresses;
use super::admin::Admin;
use super::delivery::{Change, VERSION_STATS, XdsFiles};
use super::echo::EchoServers;
use super::process::{EnvoyProcess, Launch};
use crate::args::EnvoyArguments;
use crate::certificates::{Certificates, write_private};
use crate::envoy::extensions::module_file;
use crate::envoy::{Configuration, Delivery, Settings, bootstrap};
use crate::mesh::Mesh;
use crate::problem::{Notices, Problem, Problems};
use crate::tools;

/// A module takes a second to compile for each worker on a slow machine, and there may be dozens.
const PATIENCE: Duration = Duration::from_secs(90);
/// For one edit.
const EDIT_PATIENCE: Duration = Duration::from_secs(30);

/// How a session is started.
#[derive(Debug, Clone)]
pub struct Start {
    /// Address of the first listener.
    pub listen: std::net::SocketAddr,
    /// Envoy's worker threads.
    pub workers: u32,
    /// Whether requests are logged to standard output.
    pub access_log: bool,
    /// How Envoy is run.
    pub envoy: EnvoyArguments,
    /// Where certificates, configuration and logs are; a temporary directory unless given.
    pub state: Option<PathBuf>,
}

/// A running mesh.
pub struct Session {
    envoy: EnvoyProcess,
    binary: PathBuf,
    admin: Admin,
    workers: u32,
    access_log: bool,
    stats_config: Value,
    addresses: Addresses,
    echo: EchoServers,
    upstreams: std::collections::BTreeMap<String, String>,
    certificates: Certificates,
    xds: XdsFiles,
    state: State,
}

/// What became of an edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Envoy works with it.
    InForce(String),
    /// Envoy refused it and works on as before.
    Refused(String, String),
    /// It changes nothing of what Envoy does.
    Unchanged,
}

impl Session {
    /// Starts everything and waits until it takes requests.
    pub async fn start(mesh: &Mesh, start: &Start, notices: &mut Notices) -> Result<Self, Problems> {
        let binary = tools::envoy(start.envoy.envoy.as_deref())?;
        let state = State::open(start.state.as_deref())?;
        let mut certificates = Certificates::in_directory(&state.path)?;
        certificates.issue(&mesh.identities)?;
        state.keep_modules(mesh)?;
        let mut addresses = Addresses::from(start.listen);
        addresses.assign(mesh.listener_keys())?;
        let mut echo = EchoServers::default();
        let upstreams = echo.upstreams(mesh).await?;
        let xds_directory = state.path.join("xds");
        let mut xds = XdsFiles::below(&xds_directory);
        let settings = Settings {
            addresses: addresses.all(),
            upstreams: &upstreams,
            certificates: &certificates,
            delivery: state.delivery(),
            access_log: start.access_log,
        };
        xds.write(Configuration::of(mesh, &settings, notices)?)?;
        let bootstrap_file = state.path.join("bootstrap.json");
        let any_port = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        write_private(&bootstrap_file, &bootstrap::watching(mesh, &xds_directory, any_port).to_string())?;
        let admin_file = state.path.join("admin-address");
        write_private(&admin_file, "")?;
        let mut envoy = EnvoyProcess::start(&Launch {
            binary: &binary,
            bootstrap: &bootstrap_file,
            workers: start.workers,
            admin_file: admin_file.clone(),
            log_file: state.path.join("envoy.log"),
            arguments: &start.envoy,
            access_log: start.access_log,
        })?;
        let listeners = xds.current().listeners.len() as u64;
        let admin = match envoy.ready(&admin_file, listeners, PATIENCE).await {
            Ok(admin) => admin,
            Err(problem) => {
                envoy.stop().await;
                return Err(with_log(problem, &state, &envoy).into());
            }
        };
        Ok(Self {
            envoy,
            binary,
            admin,
            workers: start.workers,
            access_log: start.access_log,
            stats_config: bootstrap::stats_config(mesh),
            addresses,
            echo,
            upstreams,
            certificates,
            xds,
            state,
        })
    }

    /// Hands a new version of the mesh to Envoy, and says what became of it.
    pub async fn apply(&mut self, mesh: &Mesh, notices: &mut Notices) -> Result<Vec<Outcome>, Problems> {
        if bootstrap::stats_config(mesh) != self.stats_config {
            notices.warn("changed extraStatTags or histogram buckets take effect at the next start, as in Istio");
        }
        self.certificates.issue(&mesh.identities)?;
        self.state.keep_modules(mesh)?;
        self.addresses.assign(mesh.listener_keys())?;
        self.upstreams = self.echo.upstreams(mesh).await?;
        let settings = Settings {
            addresses: self.addresses.all(),
            upstreams: &self.upstreams,
            certificates: &self.certificates,
            delivery: self.state.delivery(),
            access_log: self.access_log,
        };
        let next = Configuration::of(mesh, &settings, notices)?;
        let former = self.xds.current().clone();
        let mark = self.envoy.log.mark();
        let change = self.xds.write(next)?;
        if change.is_empty() {
            return Ok(vec![Outcome::Unchanged]);
        }
        let outcomes = self.settled(&change, mark).await?;
        if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Refused(..))) {
            // What Envoy keeps is the former configuration; so must the files, for the next edit and the next start.
            self.xds.write(former)?;
        }
        Ok(outcomes)
    }

    async fn settled(&mut self, change: &Change, mark: super::log::Mark) -> Result<Vec<Outcome>, Problem> {
        let deadline = Instant::now().checked_add(EDIT_PATIENCE);
        let subjects = || change.subjects.join(", ");
        loop {
            let refusals = self.envoy.log.refusals(mark);
            if !refusals.is_empty() {
                tokio::time::sleep(Duration::from_millis(300)).await;
                let reason = self.envoy.log.refusals(mark).join("; ");
                return Ok(vec![Outcome::Refused(subjects(), reason)]);
            }
            let stats = self.admin.stats(VERSION_STATS).await?;
            let pending = change.pending(&stats);
            if pending.is_empty() {
                return Ok(change.subjects.iter().cloned().map(Outcome::InForce).collect());
            }
            if deadline.is_none_or(|deadline| Instant::now() > deadline) {
                let waiting = pending.join(", ");
                let reason = format!("not taken within {} s: {waiting}", EDIT_PATIENCE.as_secs());
                return Ok(vec![Outcome::Refused(subjects(), reason)]);
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Waits until Envoy ends by itself.
    pub async fn envoy_ended(&mut self) -> std::io::Result<ExitStatus> {
        self.envoy.ended().await
    }

    /// Why Envoy ended, with the end of its log.
    pub fn post_mortem(&self, status: &std::io::Result<ExitStatus>) -> Problem {
        let problem = match status {
            Ok(status) => self.envoy.post_mortem(status),
            Err(error) => Problem::new(format!("lost sight of Envoy: {error}")),
        };
        with_log(problem, &self.state, &self.envoy)
    }

    /// Ends Envoy and the echo servers and removes what was temporary.
    pub async fn stop(mut self) {
        self.envoy.stop().await;
    }

    /// Envoy's admin interface.
    pub fn admin(&self) -> Admin {
        self.admin
    }

    /// Envoy's binary.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Envoy's process id.
    pub fn envoy_id(&self) -> Option<u32> {
        self.envoy.id()
    }

    /// How many workers Envoy has.
    pub fn workers(&self) -> u32 {
        self.workers
    }

    /// Where a listener listens.
    pub fn address(&self, key: &str) -> Option<std::net::SocketAddr> {
        self.addresses.all().get(key).copied()
    }

    /// Where the application behind a listener is.
    pub fn upstream(&self, key: &str) -> Option<&str> {
        self.upstreams.get(key).map(String::as_str)
    }

    /// The mesh's certificates.
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Where certificates, configuration and the log are.
    pub fn state(&self) -> &Path {
        &self.state.path
    }
}

/// The directory of one session.
struct State {
    path: PathBuf,
    temporary: Option<TempDir>,
}

impl State {
    fn open(asked: Option<&Path>) -> Result<Self, Problem> {
        let Some(asked) = asked else {
            let directory = tempfile::Builder::new()
                .prefix("tollgate-")
                .tempdir()
                .map_err(|error| Problem::new(format!("can't make a temporary directory: {error}")))?;
            return Ok(Self { path: directory.path().to_owned(), temporary: Some(directory) });
        };
        let failed = |error: std::io::Error| Problem::new(format!("--state {}: {error}", asked.display()));
        std::fs::create_dir_all(asked).map_err(failed)?;
        Ok(Self { path: std::fs::canonicalize(asked).map_err(failed)?, temporary: None })
    }

    fn delivery(&self) -> Delivery {
        Delivery::Files { xds: self.path.join("xds"), modules: self.path.join("modules") }
    }

    /// Copies the modules, so that a build in progress can't change what Envoy reads.
    fn keep_modules(&self, mesh: &Mesh) -> Result<(), Problem> {
        let plugins = mesh.inbound.iter().map(|i| &i.plugins).chain(mesh.gateways.iter().map(|g| &g.plugins)).flatten();
        for plugin in plugins {
            let target = module_file(&plugin.module, &self.delivery());
            if !target.exists() {
                plugin.module.copy_to(&target)?;
            }
        }
        Ok(())
    }
}

/// Names the whole log, which outlives a temporary directory.
fn with_log(mut problem: Problem, state: &State, envoy: &EnvoyProcess) -> Problem {
    let mut path = envoy.log_file.clone();
    if state.temporary.is_some() {
        let kept = std::env::temp_dir().join(format!("tollgate-envoy-{}.log", std::process::id()));
        if std::fs::copy(&path, &kept).is_ok() {
            path = kept;
        }
    }
    problem.reason.push_str(&format!("\n  The whole log: {}", path.display()));
    problem
}
