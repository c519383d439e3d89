//! What doctor found: how bad, what, where, why it matters, and what mends it.

use serde::Serialize;

/// How bad a finding is. The first two make the exit code 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Something that was asked for is not enforced.
    Error,
    /// It is enforced less surely, or by another way, than one would think; or it could not be looked at.
    Warning,
    /// Worth knowing.
    Note,
    /// As it should be.
    Ok,
}

/// What was looked at. The names are stable: `docs/operations.md` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// Whether there is a plugin at all.
    Plugin,
    /// Whether it selects a workload that lives.
    Selector,
    /// Which direction and ports of traffic it is attached to.
    Direction,
    /// Whether its configuration is one that the filter takes.
    PluginConfig,
    /// Whether it has reached the proxy.
    Delivery,
    /// Whether the module is there, or what Istio's agent puts in its place.
    Module,
    /// Whether the module is the expected one.
    Digest,
    /// Whether the configuration in the proxy is that of the resource.
    Configuration,
    /// Whether the filter took the configuration that the proxy has for it.
    InForce,
    /// Whether its place in the chain is the right one.
    Order,
    /// Whether labels come out of the metrics' names.
    StatsTags,
    /// Whether rules meet requests.
    Rules,
    /// Whether the filter sees the requests that pass the proxy.
    Traffic,
    /// What happens to requests when the filter breaks, or already has.
    FailStrategy,
    /// Whether callers must present a certificate where identity is checked.
    Mtls,
    /// What could not be looked at.
    Access,
}

impl Check {
    /// As in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plugin => "plugin",
            Self::Selector => "selector",
            Self::Direction => "direction",
            Self::PluginConfig => "plugin-config",
            Self::Delivery => "delivery",
            Self::Module => "module",
            Self::Digest => "digest",
            Self::Configuration => "configuration",
            Self::InForce => "in-force",
            Self::Order => "order",
            Self::StatsTags => "stats-tags",
            Self::Rules => "rules",
            Self::Traffic => "traffic",
            Self::FailStrategy => "fail-strategy",
            Self::Mtls => "mtls",
            Self::Access => "access",
        }
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// What was looked at.
    pub check: Check,
    /// The WasmPlugin, `namespace/name`, where it is about one.
    pub plugin: Option<String>,
    /// The proxy, as `namespace/pod` or by its address, where it is about one.
    pub proxy: Option<String>,
    /// What is so: lower case, without a full stop.
    pub what: String,
    /// Why it matters; empty where all is well.
    pub why: String,
    /// What to run, or to write where.
    pub cure: Option<String>,
}

impl Finding {
    fn new(severity: Severity, check: Check, what: impl Into<String>) -> Self {
        Self { severity, check, plugin: None, proxy: None, what: what.into(), why: String::new(), cure: None }
    }

    /// An error.
    pub fn error(check: Check, what: impl Into<String>) -> Self {
        Self::new(Severity::Error, check, what)
    }

    /// A warning.
    pub fn warning(check: Check, what: impl Into<String>) -> Self {
        Self::new(Severity::Warning, check, what)
    }

    /// A note.
    pub fn note(check: Check, what: impl Into<String>) -> Self {
        Self::new(Severity::Note, check, what)
    }

    /// All is well.
    pub fn ok(check: Check, what: impl Into<String>) -> Self {
        Self::new(Severity::Ok, check, what)
    }

    /// About a WasmPlugin.
    #[must_use]
    pub fn of(mut self, plugin: impl Into<String>) -> Self {
        self.plugin = Some(plugin.into());
        self
    }

    /// At a proxy.
    #[must_use]
    pub fn at(mut self, proxy: impl Into<String>) -> Self {
        self.proxy = Some(proxy.into());
        self
    }

    /// Why it matters.
    #[must_use]
    pub fn because(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    /// What mends it.
    #[must_use]
    pub fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }

    /// Whether something is wrong.
    pub fn is_trouble(&self) -> bool {
        self.severity <= Severity::Warning
    }
}
