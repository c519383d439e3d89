//! Patterns of values, as the conditions of Istio's AuthorizationPolicy have them.

use crate::config::{ConfigError, FromNode, Node};

/// A pattern: a value, `x*`, `*x`, or `*` for anything that is there and not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Glob {
    /// Any value but the empty one.
    Any,
    /// This one.
    Exact(String),
    /// Every value that starts with this.
    Prefix(String),
    /// Every value that ends with this.
    Suffix(String),
}

impl Glob {
    /// Whether it matches `value`.
    #[must_use]
    pub fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Any => !value.is_empty(),
            Self::Exact(exact) => value == exact.as_bytes(),
            Self::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
            Self::Suffix(suffix) => value.ends_with(suffix.as_bytes()),
        }
    }

    /// The same, for values whose case does not count.
    #[must_use]
    pub fn matches_in_any_case(&self, value: &[u8]) -> bool {
        let (start, end) = (|length| value.get(..length), |length| value.get(value.len().checked_sub(length)?..));
        match self {
            Self::Any => !value.is_empty(),
            Self::Exact(exact) => value.eq_ignore_ascii_case(exact.as_bytes()),
            Self::Prefix(prefix) => {
                start(prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
            }
            Self::Suffix(suffix) => end(suffix.len()).is_some_and(|end| end.eq_ignore_ascii_case(suffix.as_bytes())),
        }
    }
}

impl FromNode for Glob {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        let text = node.text()?;
        let (glob, rest) = match (text.strip_prefix('*'), text.strip_suffix('*')) {
            _ if text == "*" => (Self::Any, ""),
            (Some(suffix), _) => (Self::Suffix(suffix.to_owned()), suffix),
            (None, Some(prefix)) => (Self::Prefix(prefix.to_owned()), prefix),
            (None, None) => (Self::Exact(text.to_owned()), text),
        };
        if text.is_empty() {
            return Err(ConfigError::here("must not be empty".to_owned()));
        }
        if rest.contains('*') {
            let rule = "`*` may stand at one end of it, or be all of it";
            return Err(ConfigError::here(format!("invalid pattern `{text}`: {rule}")));
        }
        Ok(glob)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn glob(text: &str) -> Result<Glob, String> {
        Glob::from_node(&Node::Text(text.to_owned())).map_err(|error| error.to_string())
    }

    #[test]
    fn a_star_stands_at_one_end() {
        for (pattern, value, matches) in [
            ("prod", "prod", true),
            ("prod", "Prod", false),
            ("prod", "prod1", false),
            ("pro*", "prod", true),
            ("pro*", "pro", true),
            ("pro*", "apro", false),
            ("pro*", "pr", false),
            ("pro*", "", false),
            ("*od", "prod", true),
            ("*od", "od", true),
            ("*od", "ods", false),
            ("*od", "d", false),
            ("*od", "oD", false),
            ("*", "x", true),
            ("*", "*", true),
            ("*", "", false),
            ("prod", "", false),
            ("a/b*", "a/b/c", true),
            ("?", "x", false),
        ] {
            assert_eq!(glob(pattern).unwrap().matches(value.as_bytes()), matches, "{pattern} {value}");
        }
        assert!(glob("a*").unwrap().matches(b"a\xff") && glob("*a").unwrap().matches(b"\xffa"));
        assert!(glob("*").unwrap().matches(b"\xff"));
    }

    #[test]
    fn case_may_not_count() {
        for (pattern, value, matches) in [
            ("A.Example", "a.example", true),
            ("A*", "ab", true),
            ("*LE", "example", true),
            ("*LE", "e", false),
            ("*LE", "lea", false),
            ("A*", "ba", false),
            ("A.Example", "a.example.", false),
            ("\u{e9}*", "\u{c9}", false),
            ("*", "x", true),
            ("AB*", "a", false),
            ("*", "", false),
        ] {
            assert_eq!(glob(pattern).unwrap().matches_in_any_case(value.as_bytes()), matches, "{pattern} {value}");
        }
    }

    #[test]
    fn anywhere_else_it_is_refused() {
        for pattern in ["a*b", "*a*", "**", "a**", "**a", "***", "*a*b"] {
            let reason = format!("invalid pattern `{pattern}`: `*` may stand at one end of it, or be all of it");
            assert_eq!(glob(pattern), Err(reason));
        }
        assert_eq!(glob(""), Err("must not be empty".to_owned()));
        assert_eq!(Glob::from_node(&Node::Bool(true)).unwrap_err().reason, "must be a string, found true");
    }
}
