//! Envoy's own output: kept in a file, the last of it in memory, and shown where the user asked for it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

use crate::args::{EnvoyArguments, LogLevel};
use crate::output;
use crate::problem::Problem;

/// How Envoy is told to write its lines: time, level, component, message.
pub(super) const FORMAT: &str = "%Y-%m-%dT%T.%e %l %n %v";
const KEPT: usize = 2000;

/// The log so far.
#[derive(Clone)]
pub(super) struct Log {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    lines: VecDeque<String>,
    dropped: u64,
    file: File,
}

/// A place in the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark(u64);

impl Log {
    pub(super) fn create(path: &Path) -> Result<Self, Problem> {
        let file =
            File::create(path).map_err(|error| Problem::new(format!("can't write {}: {error}", path.display())))?;
        Ok(Self { inner: Arc::new(Mutex::new(Inner { lines: VecDeque::new(), dropped: 0, file })) })
    }

    /// Reads until Envoy closes it.
    pub(super) async fn follow(self, stream: impl AsyncRead + Unpin, shown: EnvoyArguments) {
        let mut reader = BufReader::new(stream);
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            match reader.read_until(b'\n', &mut bytes).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            show(&line, &shown);
            self.push(line);
        }
    }

    fn push(&self, line: String) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk must not end what runs.
        let _ = writeln!(inner.file, "{line}");
        if inner.lines.len() == KEPT {
            inner.lines.pop_front();
            inner.dropped = inner.dropped.saturating_add(1);
        }
        inner.lines.push_back(line);
    }

    /// The end, for looking at what comes after it.
    pub(super) fn mark(&self) -> Mark {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        Mark(inner.dropped.saturating_add(inner.lines.len() as u64))
    }

    /// The messages since a mark in which Envoy refuses a configuration.
    pub(super) fn refusals(&self, since: Mark) -> Vec<String> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let skip = usize::try_from(since.0.saturating_sub(inner.dropped)).unwrap_or(usize::MAX);
        let mut refusals: Vec<String> = Vec::new();
        let mut in_refusal = false;
        for line in inner.lines.iter().skip(skip) {
            match parse(line) {
                Some(entry) => {
                    in_refusal = is_refusal(&entry);
                    if in_refusal {
                        refusals.push(entry.message.to_owned());
                    }
                }
                // A message of several lines goes on.
                None if in_refusal => {
                    if let Some(last) = refusals.last_mut() {
                        last.push(' ');
                        last.push_str(line.trim());
                    }
                }
                None => {}
            }
        }
        refusals.dedup();
        refusals
    }

    /// The last lines, for people; warnings and errors rather than anything else.
    pub(super) fn tail(&self, count: usize) -> String {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let serious = |line: &&String| parse(line).is_none_or(|entry| entry.level >= LogLevel::Warning);
        let mut lines: Vec<&String> = inner.lines.iter().rev().filter(serious).take(count).collect();
        if lines.is_empty() {
            lines = inner.lines.iter().rev().take(count).collect();
        }
        lines.reverse();
        lines.into_iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
    }
}

struct Entry<'a> {
    level: LogLevel,
    component: &'a str,
    message: &'a str,
}

fn parse(line: &str) -> Option<Entry<'_>> {
    let mut parts = line.splitn(4, ' ');
    let time = parts.next()?;
    let level = match parts.next()? {
        "trace" => LogLevel::Trace,
        "debug" => LogLevel::Debug,
        "info" => LogLevel::Info,
        "warning" => LogLevel::Warning,
        "error" | "critical" => LogLevel::Error,
        _ => return None,
    };
    let (component, message) = (parts.next()?, parts.next().unwrap_or_default());
    (time.len() > 10).then_some(Entry { level, component, message })
}

fn is_refusal(entry: &Entry<'_>) -> bool {
    let says = |words: &[&str]| words.iter().any(|words| entry.message.contains(words));
    let about = says(&["rejected", "Unable to", "error adding"]);
    // A module that fails open is taken even if it can't be loaded; only its log tells.
    let failed_vm = entry.component == "wasm" && entry.level >= LogLevel::Error && says(&["failed to", "Failed to"]);
    (entry.level >= LogLevel::Warning && about) || failed_vm
}

fn show(line: &str, shown: &EnvoyArguments) {
    let entry = parse(line);
    let is_wasm = entry.as_ref().is_some_and(|entry| entry.component == "wasm");
    let wanted = shown.envoy_log.is_some_and(|from| entry.as_ref().is_none_or(|entry| entry.level >= from));
    if wanted || (shown.verbose && is_wasm) {
        let text = entry.filter(|_| shown.envoy_log.is_none()).map_or(line, |entry| entry.message);
        output::aside(output::styled(output::FAINT, text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_found_with_all_their_lines() {
        let directory = tempfile::tempdir().unwrap();
        let log = Log::create(&directory.path().join("log")).unwrap();
        log.push("2026-01-01T00:00:00.000 warning config config rejected: before".into());
        let mark = log.mark();
        log.push("2026-01-01T00:00:00.000 info config all good".into());
        log.push("2026-01-01T00:00:00.000 warning config config update rejected: one".into());
        log.push("two".into());
        log.push("2026-01-01T00:00:00.000 info config all good".into());
        log.push("stray".into());
        assert_eq!(log.refusals(mark), ["config update rejected: one two"]);
    }
}
