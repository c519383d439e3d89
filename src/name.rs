//! Names that users give to rules and routes.

use crate::config::{ConfigError, FromNode, Node};

/// A name: 1 to 63 letters, digits, `-`, `_` and `.`, the first a letter or digit. So it can stand in metrics, logs,
/// headers and keys as it is, and never be taken for one of Tollgate's own, such as `__other__`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// `default`, the name of a rule that nobody wrote.
    #[must_use]
    pub fn default_rule() -> Self {
        Self("default".to_owned())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromNode for Name {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        let name = node.text()?;
        let of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let starts_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if !starts_well || name.len() > 63 || !name.bytes().all(of_a_name) {
            let rule = "use 1 to 63 letters, digits, `-`, `_` and `.`, the first a letter or digit";
            return Err(ConfigError::here(format!("invalid name `{name}`: {rule}")));
        }
        Ok(Self(name.to_owned()))
    }
}
