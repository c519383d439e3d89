//! `PeerAuthentication`: whether callers must come with a certificate.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::WorkloadSelector;

/// `spec` of a PeerAuthentication.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerAuthenticationSpec {
    /// Which workloads; without it the namespace, or the mesh when in the root namespace.
    pub selector: Option<WorkloadSelector>,
    /// The mode.
    pub mtls: Option<MutualTls>,
    /// Modes for single ports, which count only beside a selector.
    pub port_level_mtls: BTreeMap<String, MutualTls>,
}

/// `{mode: ...}`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub struct MutualTls {
    /// The mode.
    pub mode: Mode,
}

/// What a workload does about callers' certificates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Mode {
    /// As the wider resource says.
    #[default]
    Unset,
    /// Plaintext.
    Disable,
    /// Both.
    Permissive,
    /// Mutual TLS alone.
    Strict,
}

impl Mode {
    /// As it is spelled in the resource.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unset => "UNSET",
            Self::Disable => "DISABLE",
            Self::Permissive => "PERMISSIVE",
            Self::Strict => "STRICT",
        }
    }
}
