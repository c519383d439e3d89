//! Watching files for edits, the way editors make them: written in place, or replaced by renaming.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use crate::problem::Problem;

/// An editor's several steps count as one edit.
const QUIET: Duration = Duration::from_millis(150);

/// Watches directories, since a file that is replaced is a new file.
pub(super) struct Watch {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    files: BTreeSet<PathBuf>,
    events: mpsc::UnboundedReceiver<Vec<PathBuf>>,
}

impl Watch {
    pub(super) fn new() -> Result<Self, Problem> {
        let (sender, events) = mpsc::unbounded_channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if let Ok(event) = event
                && !matches!(event.kind, EventKind::Access(_))
            {
                // Nobody listens only when the program ends.
                let _ = sender.send(event.paths);
            }
        })
        .map_err(|error| Problem::new(format!("can't watch files: {error}")))?;
        Ok(Self { watcher, watched: BTreeSet::new(), files: BTreeSet::new(), events })
    }

    /// Watches exactly these files and directories from now on.
    pub(super) fn set(&mut self, paths: &[PathBuf]) -> Result<(), Problem> {
        let mut directories = BTreeSet::new();
        self.files.clear();
        for path in paths {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            let directory = if path.is_dir() { Some(path.as_path()) } else { path.parent() };
            directories.extend(directory.map(Path::to_owned));
            self.files.insert(path);
        }
        for gone in self.watched.difference(&directories) {
            // A directory that is no more is not watched any more, either.
            let _ = self.watcher.unwatch(gone);
        }
        let mut watched = BTreeSet::new();
        for directory in directories {
            if !self.watched.contains(&directory) {
                self.watcher
                    .watch(&directory, RecursiveMode::NonRecursive)
                    .map_err(|error| Problem::new(format!("can't watch {}: {error}", directory.display())))?;
            }
            watched.insert(directory);
        }
        self.watched = watched;
        Ok(())
    }

    /// Waits for an edit, and for the quiet after it.
    pub(super) async fn changed(&mut self) {
        loop {
            let Some(paths) = self.events.recv().await else { return std::future::pending().await };
            if !self.concerns(&paths) {
                continue;
            }
            while let Ok(Some(_)) = tokio::time::timeout(QUIET, self.events.recv()).await {}
            return;
        }
    }

    fn concerns(&self, paths: &[PathBuf]) -> bool {
        paths
            .iter()
            .any(|path| self.files.contains(path) || path.parent().is_some_and(|parent| self.files.contains(parent)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_replaced_file_is_an_edit_and_its_neighbour_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.yaml");
        std::fs::write(&file, "1").unwrap();
        let mut watch = Watch::new().unwrap();
        watch.set(std::slice::from_ref(&file)).unwrap();
        std::fs::write(directory.path().join("b.yaml"), "1").unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(400), watch.changed()).await.is_err());
        std::fs::write(directory.path().join("new"), "2").unwrap();
        std::fs::rename(directory.path().join("new"), &file).unwrap();
        tokio::time::timeout(Duration::from_secs(5), watch.changed()).await.unwrap();
    }
}
