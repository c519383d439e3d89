//! What is known when the checks begin. Whatever could not be found out is said here too, so that no check takes a gap
//! for health.

use std::collections::BTreeMap;

use super::proxy::Proxy;
use super::series::Series;
use crate::mesh::plugins::filter_of;
use crate::problem::{Origin, Problem};
use crate::resources::{Resource, Resources, wasm_plugin::WasmPluginSpec};
use crate::schema::Filter;

/// Everything.
#[derive(Debug, Default)]
pub struct Facts {
    /// The resources that are to be in force; none when proxies are looked at alone.
    pub wanted: Option<Wanted>,
    /// The pods of the plugins' namespaces, or of the only one that was looked at; none where nobody could say.
    pub pods: Option<Vec<Pod>>,
    /// The only namespace that was looked at, beside the mesh's root, where the user named one.
    pub only: Option<String>,
    /// The proxies that were looked at.
    pub proxies: Vec<Proxy>,
    /// Proxies that should have been, and why they were not.
    pub unseen: Vec<Unseen>,
    /// Proxies that the user named, and that do not answer.
    pub dead: Vec<Problem>,
    /// What else could not be read.
    pub gaps: Vec<Problem>,
    /// Modules that the user says are the right ones.
    pub modules: Vec<Build>,
}

impl Facts {
    /// The plugins that are to be in force and are Tollgate's: by the last name of their urls, else by their own.
    pub fn plugins(&self) -> impl Iterator<Item = Plugin<'_>> {
        let resources = self.wanted.iter().flat_map(|wanted| &wanted.resources.wasm_plugins);
        resources.filter_map(|resource| {
            let by_name = || Filter::of_module(&resource.meta.name);
            Some(Plugin { filter: filter_of(&resource.spec).or_else(by_name)?, resource })
        })
    }

    /// The others.
    pub fn foreign_plugins(&self) -> impl Iterator<Item = &Resource<WasmPluginSpec>> {
        let resources = self.wanted.iter().flat_map(|wanted| &wanted.resources.wasm_plugins);
        resources.filter(|resource| !self.plugins().any(|plugin| std::ptr::eq(plugin.resource, *resource)))
    }
}

/// Resources and where they came from.
#[derive(Debug)]
pub struct Wanted {
    /// Where from.
    pub source: Source,
    /// The resources; pods are not among them when they come from a cluster.
    pub resources: Resources,
}

/// Where resources came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An API server; with the arguments that kubectl needs to reach it.
    Cluster(String),
    /// Files.
    Files,
}

/// One of Tollgate's plugins.
#[derive(Debug, Clone, Copy)]
pub struct Plugin<'a> {
    /// What it is.
    pub filter: Filter,
    /// Its resource.
    pub resource: &'a Resource<WasmPluginSpec>,
}

impl Plugin<'_> {
    /// `namespace/name`.
    pub fn id(&self) -> String {
        self.resource.meta.id()
    }

    /// Where to mend it, for people.
    pub fn origin(&self) -> &Origin {
        &self.resource.origin
    }
}

/// A pod, as far as it matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it runs, and is not about to end.
    pub lives: bool,
    /// Whether it has a proxy, and that one is ready.
    pub proxy: ProxyState,
}

impl Pod {
    /// `namespace/name`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// The proxy of a pod.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProxyState {
    /// There is none.
    #[default]
    None,
    /// There is one that is not ready.
    NotReady,
    /// There is one that is ready.
    Ready,
}

/// A proxy that was not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen {
    /// `namespace/pod`.
    pub proxy: String,
    /// Why.
    pub reason: String,
    /// Whether the user chose other proxies to be looked at.
    pub by_choice: bool,
}

/// A module of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The file.
    pub path: String,
    /// Which filter it is, by its name.
    pub filter: Option<Filter>,
    /// Of its bytes, in hexadecimal: what `sha256` is for http urls.
    pub module: String,
    /// Of the images that `tollgate push` makes of it: what `sha256` is for oci urls.
    pub images: Vec<String>,
}

/// What the metrics of a proxy were, once or twice.
#[derive(Debug, Clone, Default)]
pub struct Looks {
    /// The first time.
    pub first: Series,
    /// The second time.
    pub second: Option<Series>,
}

impl Looks {
    /// The newest.
    pub fn now(&self) -> &Series {
        self.second.as_ref().unwrap_or(&self.first)
    }

    /// What a sum has grown by between the two; none where there was one look, or nothing to see.
    pub fn growth(&self, sum: impl Fn(&Series) -> Option<f64>) -> Option<f64> {
        let now = sum(self.second.as_ref()?)?;
        Some((now - sum(&self.first).unwrap_or(0.0)).max(0.0))
    }
}
