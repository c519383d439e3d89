//! Errors of a configuration, with the path to the culprit, and the one way to parse one.

use core::fmt;

use serde::de::DeserializeOwned;

/// Why a `pluginConfig` was refused, and where in it.
///
/// Displays as `rules[2].limits[0].requests: must be greater than zero, found 0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Path from the root of `pluginConfig`, such as `rules[2].limits[0].requests`; empty for the root itself.
    pub path: String,
    /// What is wrong there: lowercase, without a full stop.
    pub reason: String,
}

impl ConfigError {
    /// An error at `path`.
    pub fn at(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), reason: reason.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.reason) } else { write!(f, "{}: {}", self.path, self.reason) }
    }
}

impl core::error::Error for ConfigError {}

/// Parses `bytes` as JSON. Empty input and `null` are the empty object.
///
/// # Errors
/// Names the path to the first value that does not fit and why.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ConfigError> {
    let trimmed = bytes.trim_ascii();
    let bytes = if trimmed.is_empty() || trimmed == b"null" { b"{}" } else { trimmed };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        ConfigError { path: if path == "." { String::new() } else { path }, reason: error.into_inner().to_string() }
    })?;
    deserializer.end().map_err(|error| ConfigError::at("", error.to_string()))?;
    Ok(value)
}
