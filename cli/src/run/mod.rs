//! `tollgate run`: the mesh in a local Envoy, which follows the edits of the files that it was made of.

pub mod addresses;
pub mod admin;
pub mod delivery;
pub mod echo;
mod log;
pub mod process;
mod report;
mod session;
mod watch;

use std::path::{Path, PathBuf};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::{ReportFormat, RunArguments};
use crate::input::Inputs;
use crate::plan::{options, plan};
use crate::problem::{Notices, Problem, Problems};
use report::Reporter;
pub use session::{Outcome, Session, Start};
use watch::Watch;

/// Runs until Ctrl-C; true when it ended because it was told to.
pub fn run(arguments: &RunArguments) -> Result<bool, Problems> {
    let inputs = Inputs::open(&arguments.mesh.input.files)?;
    runtime()?.block_on(follow(&inputs, arguments))
}

/// The runtime for everything that waits. Envoy is started from the thread that blocks on it, and dies with it.
pub fn runtime() -> Result<tokio::runtime::Runtime, Problem> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Problem::new(format!("can't start threads: {error}")))
}

async fn follow(inputs: &Inputs, arguments: &RunArguments) -> Result<bool, Problems> {
    let mut interrupts = Interrupts::new()?;
    let options = options(&arguments.mesh)?;
    let reporter = Reporter::new(arguments.output);
    // Watching begins before reading: an edit in between must not be lost.
    let mut watch = Watch::new()?;
    watch.set(&watched(inputs, &options.modules))?;
    let mut plan = plan(inputs, &options)?;
    if inputs.has_stdin() {
        plan.notices.note("standard input is read once: edits of what it came from are not followed");
    }
    let start = Start {
        listen: arguments.mesh.listen,
        workers: arguments.mesh.workers,
        access_log: arguments.mesh.access_log,
        envoy: arguments.envoy.clone(),
        state: arguments.state.clone(),
    };
    let started = tokio::select! {
        started = Session::start(&plan.mesh, &start, &mut plan.notices) => started,
        () = interrupts.next() => return Ok(true),
    };
    let mut session = started?;
    reporter.ready(&session, &plan.mesh, &plan.notices);
    let mut seen = plan.notices;
    loop {
        tokio::select! {
            () = interrupts.next() => {
                reporter.aside("ending Envoy");
                session.stop().await;
                return Ok(true);
            }
            status = session.envoy_ended() => {
                let problem = session.post_mortem(&status);
                session.stop().await;
                return Err(problem.into());
            }
            () = watch.changed() => {
                // A failed watch of a file that is just being replaced mends itself with the next event.
                watch.set(&watched(inputs, &options.modules))?;
                reload(inputs, &options, &mut session, &mut seen, &reporter).await;
            }
        }
    }
}

async fn reload(
    inputs: &Inputs,
    options: &crate::mesh::Options,
    session: &mut Session,
    seen: &mut Notices,
    reporter: &Reporter,
) {
    let mut changed = match plan(inputs, options) {
        Ok(changed) => changed,
        Err(problems) => return reporter.refused(&problems),
    };
    match session.apply(&changed.mesh, &mut changed.notices).await {
        Ok(outcomes) => {
            reporter.news(&changed.notices, seen);
            *seen = changed.notices;
            reporter.outcomes(&outcomes);
        }
        Err(problems) => reporter.refused(&problems),
    }
}

fn watched(inputs: &Inputs, modules: &Path) -> Vec<PathBuf> {
    let mut paths = inputs.watched();
    paths.extend(modules.is_dir().then(|| modules.to_owned()));
    paths
}

/// Ctrl-C and its like.
pub struct Interrupts {
    signals: [Signal; 3],
}

impl Interrupts {
    /// From now on these don't end the process by themselves.
    pub fn new() -> Result<Self, Problem> {
        let listen = |kind| signal(kind).map_err(|error| Problem::new(format!("can't listen for signals: {error}")));
        let signals =
            [listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?];
        Ok(Self { signals })
    }

    /// Waits for the next.
    pub async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Whether a report is for programs.
fn is_json(format: ReportFormat) -> bool {
    format == ReportFormat::Json
}
