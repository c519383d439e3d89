//! Handing configuration to a running Envoy: files that it watches, each complete before it takes its name, and the
//! question whether it has taken them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::admin::Stats;
use crate::certificates::write_private;
use crate::envoy::extensions::file_name;
use crate::envoy::{Configuration, set};
use crate::problem::Problem;

const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

/// The directory that Envoy watches.
pub(super) struct XdsFiles {
    directory: PathBuf,
    version: u64,
    current: Configuration,
}

/// What one writing changed.
#[derive(Debug, Default)]
pub(super) struct Change {
    version: String,
    listeners: bool,
    clusters: bool,
    extensions: Vec<String>,
    /// For people: what takes effect with it.
    pub(super) subjects: Vec<String>,
}

impl Change {
    pub(super) fn is_empty(&self) -> bool {
        !self.listeners && !self.clusters && self.extensions.is_empty()
    }

    /// What Envoy has not taken yet.
    pub(super) fn pending(&self, stats: &Stats) -> Vec<String> {
        let mut pending = Vec::new();
        let at_version = |name: &str| stats.text(name) == Some(self.version.as_str());
        if self.clusters && !at_version("cluster_manager.cds.version_text") {
            pending.push("clusters".to_owned());
        }
        let warming = stats.number("listener_manager.total_listeners_warming") > 0;
        if self.listeners && (!at_version("listener_manager.lds.version_text") || warming) {
            pending.push("listeners".to_owned());
        }
        for name in &self.extensions {
            if !at_version(&format!("extension_config_discovery.http_filter.{name}.version_text")) {
                pending.push(name.clone());
            }
        }
        pending
    }
}

/// The statistics that `Change::pending` asks for.
pub(super) const VERSION_STATS: &str = "version_text|total_listeners_warming";

impl XdsFiles {
    pub(super) fn below(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), version: 0, current: Configuration::default() }
    }

    pub(super) fn current(&self) -> &Configuration {
        &self.current
    }

    /// Writes what differs from what is there: filters and clusters before the listeners that refer to them.
    pub(super) fn write(&mut self, next: Configuration) -> Result<Change, Problem> {
        self.version = self.version.saturating_add(1);
        let first = self.version == 1;
        let mut change = Change { version: self.version.to_string(), ..Change::default() };
        for (name, extension) in &next.extensions {
            if self.current.extensions.get(name).map(|known| &known.resource) == Some(&extension.resource) {
                continue;
            }
            let known = self.current.extensions.contains_key(name);
            let directory = self.directory.join("extensions").join(file_name(name));
            self.replace(&directory, std::iter::once(extension.resource.clone()))?;
            // A filter that nobody had before comes with its listener.
            if known {
                change.extensions.push(name.clone());
                change.subjects.push(format!("WasmPlugin {} at {}", extension.plugin, extension.proxy));
            }
        }
        if first || next.clusters != self.current.clusters {
            self.replace(&self.directory.join("clusters"), typed(&next.clusters, CLUSTER))?;
            change.clusters = true;
            change
                .subjects
                .extend(differing(&self.current.clusters, &next.clusters).map(|name| format!("cluster {name}")));
        }
        if first || next.listeners != self.current.listeners {
            self.replace(&self.directory.join("listeners"), typed(&next.listeners, LISTENER))?;
            change.listeners = true;
            change
                .subjects
                .extend(differing(&self.current.listeners, &next.listeners).map(|name| format!("listener {name}")));
        }
        self.current = next;
        Ok(change)
    }

    fn replace(&self, directory: &Path, resources: impl Iterator<Item = Value>) -> Result<(), Problem> {
        let document = json!({"version_info": self.version.to_string(), "resources": resources.collect::<Vec<_>>()});
        // Outside the watched directory, since Envoy looks at whatever is renamed within it.
        let staged = self.directory.join("next.json");
        write_private(&staged, &document.to_string())?;
        let target = directory.join("config.json");
        fs::create_dir_all(directory)
            .and_then(|()| fs::rename(&staged, &target))
            .map_err(|error| Problem::new(format!("can't write {}: {error}", target.display())))
    }
}

fn typed(resources: &BTreeMap<String, Value>, type_url: &'static str) -> impl Iterator<Item = Value> {
    resources.values().map(move |resource| {
        let mut typed = resource.clone();
        set(&mut typed, "@type", json!(type_url));
        typed
    })
}

fn differing<'a>(
    before: &'a BTreeMap<String, Value>,
    after: &'a BTreeMap<String, Value>,
) -> impl Iterator<Item = &'a String> {
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    after.iter().filter(|(name, value)| before.get(*name) != Some(value)).map(|(name, _)| name).chain(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = XdsFiles::below(directory.path());
        let mut configuration = Configuration::default();
        configuration.clusters.insert("a".into(), json!({"name": "a"}));
        files.write(configuration.clone()).unwrap();
        assert!(files.write(configuration.clone()).unwrap().is_empty());
        configuration.clusters.insert("b".into(), json!({"name": "b"}));
        let change = files.write(configuration).unwrap();
        assert_eq!(change.subjects, ["cluster b"]);
        let text = fs::read_to_string(directory.path().join("clusters/config.json")).unwrap();
        assert!(text.contains("\"version_info\":\"3\""), "{text}");
        let listeners = fs::read_to_string(directory.path().join("listeners/config.json")).unwrap();
        assert!(listeners.contains("\"version_info\":\"1\""), "{listeners}");
    }
}
