//! Log lines as `key=value` pairs, for people and Loki's `logfmt` alike.

use core::fmt::{self, Write};

/// A line under construction: `event=denied filter=rate_limit rule=login`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line(String);

impl Line {
    /// A line that starts with the event and the filter that it happened in.
    #[must_use]
    pub fn new(event: &str, filter: &str) -> Self {
        Self(String::new()).field("event", event).field("filter", filter)
    }

    /// Adds `key=value`. A value with spaces, quotes, `=` or control characters is quoted and escaped, so that no
    /// value can forge a field or a line.
    #[must_use]
    pub fn field(self, key: &str, value: impl fmt::Display) -> Self {
        self.with(key, &value)
    }

    /// Not generic, so that a module has it once.
    fn with(mut self, key: &str, value: &dyn fmt::Display) -> Self {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        self.0.push_str(key);
        self.0.push('=');
        let value = value.to_string();
        let plain = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '"' | '\\' | '=');
        if !value.is_empty() && value.chars().all(plain) {
            self.0.push_str(&value);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(self.0, "{}", Quoted(&value));
        }
        self
    }

    /// The finished line, without a line feed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A string between quotes, with quotes, backslashes and control characters escaped.
#[derive(Debug, Clone, Copy)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                '\n' => f.write_str("\\n")?,
                c if c.is_control() => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn leaves_plain_values_bare_and_quotes_the_rest() {
        let line = Line::new("denied", "rate_limit").field("rule", "log in").field("wait", 3).field("empty", "");
        assert_eq!(line.as_str(), r#"event=denied filter=rate_limit rule="log in" wait=3 empty="""#);
    }

    #[test]
    fn a_value_cannot_forge_a_field_or_a_line() {
        let line = Line::new("denied", "x").field("peer", "a\nevent=allowed \"b\" \u{1b}[31m");
        assert_eq!(line.as_str(), "event=denied filter=x peer=\"a\\nevent=allowed \\\"b\\\" \\u{1b}[31m\"");
    }
}
