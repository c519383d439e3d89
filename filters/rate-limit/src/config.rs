//! Configuration of the filter.
use tollgate::config::ConfigError;

/// The parsed `pluginConfig`.
#[derive(Debug, Clone)]
pub struct Config {}

impl Config {
    /// Parses the `pluginConfig` JSON as Envoy hands it over.
    pub fn parse(_bytes: &[u8]) -> Result<Self, ConfigError> {
        Ok(Self {})
    }
}
