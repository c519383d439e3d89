//! Processes that end with this one, each with its own group and log.
//!
//! Dropped, a process and all that it started are killed. Killed itself, this program takes them along: each was
//! started through this very program, which asks the kernel for that and then becomes the process. The kernel means
//! the thread, so processes are to be started on the main one.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, getppid, kill_process_group, set_parent_process_death_signal};

/// By this name the program is found even when it was built anew meanwhile.
const SELF: &str = "/proc/self/exe";
const WITH_PARENT: &str = "run-until-the-parent-ends";
const ASKED: &str = "asked";
const KILLED: &str = "killed";

/// To be called first in `main`: becomes the program that [`Process::start`] asks for, if it does.
pub fn become_if_asked() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != WITH_PARENT) {
        return;
    }
    let parent = getppid();
    let asked = arguments.next().is_some_and(|ending| ending == ASKED);
    set_parent_process_death_signal(Some(if asked { Signal::TERM } else { Signal::KILL })).expect("Linux can do this");
    if getppid() != parent {
        std::process::exit(1);
    }
    let arguments: Vec<OsString> = arguments.collect();
    let (program, arguments) = arguments.split_first().expect("a program to become");
    let error = Command::new(program).args(arguments).exec();
    eprintln!("{}: {error}", program.to_string_lossy());
    std::process::exit(1);
}

/// What another's process is to be started through, to end with this one too.
pub fn through() -> Vec<OsString> {
    [SELF, WITH_PARENT, KILLED].map(OsString::from).to_vec()
}

/// A running process, killed with its group when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    ended: bool,
}

impl Process {
    /// Starts a program; what it writes goes to `NAME.log` in `logs`, after what is there.
    ///
    /// # Panics
    /// It can't be started.
    pub fn start(name: &str, logs: &Path, program: &Path, prepare: impl FnOnce(&mut Command)) -> Self {
        Self::start_with(name, logs, program, KILLED, prepare)
    }

    /// The same for a program that has children of its own, and ends them when it is asked to end.
    pub fn start_parent(name: &str, logs: &Path, program: &Path, prepare: impl FnOnce(&mut Command)) -> Self {
        Self::start_with(name, logs, program, ASKED, prepare)
    }

    fn start_with(name: &str, logs: &Path, program: &Path, ending: &str, prepare: impl FnOnce(&mut Command)) -> Self {
        let log = logs.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).expect("writable");
        let mut command = Command::new(SELF);
        command.args([WITH_PARENT, ending]).arg(program);
        prepare(&mut command);
        command.stdin(Stdio::null()).stdout(file.try_clone().expect("one more")).stderr(file).process_group(0);
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        Self { name: name.to_owned(), child, log, ended: false }
    }

    /// Its id, which is that of its group.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// # Panics
    /// It has ended: with its log.
    pub fn assert_runs(&mut self) {
        if let Some(status) = self.child.try_wait().expect("waitable") {
            panic!("{} has ended ({status}):\n{}", self.name, tail(&self.log()));
        }
    }

    /// What it has written.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Kills it and all that it started, and waits for its end.
    ///
    /// # Panics
    /// It can't be killed.
    pub fn end(&mut self) {
        self.kill().unwrap_or_else(|error| panic!("{} could not be stopped: {error}", self.name));
    }

    fn kill(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        match kill_process_group(pid, Signal::KILL) {
            // It has ended by itself, and left nobody.
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
        self.child.wait().map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("{} could not be stopped: {error}", self.name);
        }
    }
}

/// The last lines of a log.
pub fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
