//! Errors of a configuration, with the path to the culprit, and the one way to parse one.
//!
//! serde_json reads JSON into a small tree, and the types are read from that. Types that serde derives, and a crate that
//! follows the path, made the modules half as large again (docs/adr/0003).

mod node;
mod number;
#[cfg(feature = "schema")]
pub mod schema;

use core::fmt;

pub use self::{
    node::{Fields, FromNode, Node, Slot},
    number::{Count, Whole},
};
use crate::{
    name::Name,
    route::{self, RouteMatch, Unreachable},
};

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

    /// The error that the field `name` is not there.
    #[must_use]
    pub fn missing(name: &str) -> Self {
        Self::here(format!("missing field `{name}`"))
    }

    /// An error at the value that is being read.
    #[must_use]
    pub const fn here(reason: String) -> Self {
        Self { path: String::new(), reason }
    }

    /// The same error, seen from one level further out.
    #[must_use]
    #[inline(never)]
    pub fn under(mut self, segment: &str) -> Self {
        let separator = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = [segment, separator, &self.path].concat();
        self
    }

    /// The same error, seen from the list in which it happened.
    #[inline(never)]
    fn under_index(self, index: usize) -> Self {
        self.under(&format!("[{index}]"))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.reason) } else { write!(f, "{}: {}", self.path, self.reason) }
    }
}

impl core::error::Error for ConfigError {}

/// The largest `pluginConfig`, in bytes.
const LARGEST: usize = 1 << 20;

/// The longest path and reason, in characters: what is quoted in one may be as long as the configuration.
const LONGEST_TEXT: usize = 512;

/// The most rules or routes.
pub const MOST_RULES: usize = 2000;

/// Parses a `pluginConfig` of at most 1 MiB. Empty input and `null` are the empty object.
///
/// # Errors
/// Names the path to the first value that does not fit and why.
pub fn parse<T: FromNode>(bytes: &[u8]) -> Result<T, ConfigError> {
    if bytes.len() > LARGEST {
        return Err(ConfigError::at("", format!("must be at most {LARGEST} bytes, found {}", bytes.len())));
    }
    let bytes = match bytes.trim_ascii() {
        b"" | b"null" => b"{}",
        json => json,
    };
    let node: Node = serde_json::from_slice(bytes).map_err(|error| ConfigError::at("", error.to_string()))?;
    T::from_node(&node).map_err(|mut error| {
        shorten(&mut error.path);
        shorten(&mut error.reason);
        error
    })
}

fn shorten(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(LONGEST_TEXT) {
        text.truncate(end);
        text.push_str("...");
    }
}

/// Checks that no entry of `exempt` takes every request.
///
/// # Errors
/// Names the first one that does.
pub fn check_exempt(exempt: &[RouteMatch]) -> Result<(), ConfigError> {
    match exempt.iter().position(RouteMatch::takes_everything) {
        Some(index) => {
            Err(ConfigError::at(format!("exempt[{index}]"), "must have a condition: it would exempt everything"))
        }
        None => Ok(()),
    }
}

/// Checks what a list of rules must be: not too long, and each name once. `list` is the list's name.
///
/// # Errors
/// Names the first rule that is not so.
pub fn check_rules(list: &str, rules: &[(&Name, &[RouteMatch])]) -> Result<(), ConfigError> {
    if rules.len() > MOST_RULES {
        return Err(ConfigError::at(list, format!("must have at most {MOST_RULES} entries, found {}", rules.len())));
    }
    for (index, (name, _)) in rules.iter().enumerate() {
        if rules.iter().take(index).any(|(earlier, _)| earlier == name) {
            let reason = format!("`{}` is the name of an earlier one", name.as_str());
            return Err(ConfigError::at(format!("{list}[{index}].name"), reason));
        }
    }
    Ok(())
}

/// What somebody should mend, though the filters can do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// As in [`ConfigError`].
    pub path: String,
    /// As in [`ConfigError`].
    pub reason: String,
    /// The name of what stands in the way.
    pub taker: String,
}

impl Warning {
    /// What to do about it.
    #[must_use]
    pub fn cure(&self) -> String {
        format!("move it before {}, or delete it", self.taker)
    }
}

/// Finds the rules that no request can reach, as far as [`route::unreachable`] does. `list` is the list's name, a plural.
#[must_use]
pub fn unreachable_rules(list: &str, rules: &[(&Name, &[RouteMatch])]) -> Vec<Warning> {
    let numbered: Vec<_> = rules.iter().enumerate().map(|(index, (name, matches))| (index, *name, *matches)).collect();
    unreachable_among(list, &numbered)
}

/// The same among those that are given, each with its index in the list. Leave out those that pass on requests which
/// they match.
#[must_use]
pub fn unreachable_among(list: &str, rules: &[(usize, &Name, &[RouteMatch])]) -> Vec<Warning> {
    let one = list.strip_suffix('s').unwrap_or(list);
    let matches: Vec<_> = rules.iter().map(|(_, _, matches)| *matches).collect();
    let warning = |found: &Unreachable| {
        let name = rules.get(found.taker).map_or("", |(_, name, _)| name.as_str());
        let index = rules.get(found.rule).map_or(found.rule, |(index, _, _)| *index);
        let taker = [one, " `", name, "`"].concat();
        let takes = if found.alone { " before it takes" } else { " and others before it take" };
        let reason = ["can never match: ", &taker, takes, " all that it would"].concat();
        let ConfigError { path, reason } = ConfigError::here(reason).under_index(index).under(list);
        Warning { path, reason, taker }
    };
    route::unreachable(&matches).iter().map(warning).collect()
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::{config_enum, config_struct};

    config_struct! {
        struct Example {
            limits: Vec<Inner> = or_default("limits"),
            mode: Option<Mode> = optional("mode"),
        }
    }

    config_struct! {
        struct Inner {
            requests: Count = required("requests"),
        }
    }

    config_enum! {
        enum Mode {
            Enforce = "enforce",
            Shadow = "shadow",
        }
    }

    fn refusal(json: &str) -> String {
        parse::<Example>(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn nothing_is_the_empty_object() {
        for nothing in ["", "  ", "null", "{}"] {
            assert_eq!(parse::<Example>(nothing.as_bytes()), Ok(Example { limits: vec![], mode: None }), "{nothing:?}");
        }
    }

    #[test]
    fn takes_whole_numbers_however_a_struct_prints_them() {
        for number in ["100", "100.0", "1e2", "1.00e+02"] {
            let config: Example = parse(format!(r#"{{"limits":[{{"requests":{number}}}]}}"#).as_bytes()).unwrap();
            assert_eq!(config.limits[0].requests.get(), 100);
        }
    }

    #[test]
    fn every_error_says_where_and_why() {
        for (json, message) in [
            (r#"{"limits":[{"requests":1},{"requests":0}]}"#, "limits[1].requests: must be greater than zero, found 0"),
            (r#"{"limits":[{"requests":-3}]}"#, "limits[0].requests: must be greater than zero, found -3"),
            (
                r#"{"limits":[{"requests":1e13}]}"#,
                "limits[0].requests: must be at most 1000000000000, found 10000000000000",
            ),
            (
                r#"{"limits":[{"requests":1.5}]}"#,
                "limits[0].requests: must be a whole number from 1 to 1000000000000, found a fraction",
            ),
            (
                r#"{"limits":[{"requests":"1"}]}"#,
                "limits[0].requests: must be a whole number from 1 to 1000000000000, found \"1\"",
            ),
            (r#"{"limits":[{}]}"#, "limits[0]: missing field `requests`"),
            (r#"{"limits":7}"#, "limits: must be a list, found 7"),
            (r#"{"limit":[]}"#, "limit: unknown field `limit`, expected `limits` or `mode`"),
            (r#"{"limits":[]}"#, "limits: must not be empty: leave it out instead"),
            (r#"{"limits":[{"requests":1}],"limits":[]}"#, "duplicate field `limits`"),
            (r#"{"mode":"Shadow"}"#, "mode: unknown value `Shadow`, expected `enforce` or `shadow`"),
            (r#"{"mode":true}"#, "mode: must be a string, found true"),
            ("[]", "must be an object, found a list"),
            ("7", "must be an object, found 7"),
            (r#"{"limits":[[1]]}"#, "limits[0]: must be an object, found a list"),
            ("{", "EOF while parsing an object at line 1 column 1"),
            ("{} x", "trailing characters at line 1 column 4"),
            ("\u{feff}{}", "expected value at line 1 column 1"),
        ] {
            assert_eq!(refusal(json), message, "{json}");
        }
    }

    #[test]
    fn a_rule_behind_one_that_takes_all_it_would_is_a_warning_with_a_cure() {
        let names: Vec<Name> = parse(br#"["a", "b", "c"]"#).unwrap();
        let [users, user]: [Vec<RouteMatch>; 2] =
            [r#"[{"paths":["/users/*"]}]"#, r#"[{"paths":["/users/{id}"]}, {"paths":["/people"]}]"#]
                .map(|json| parse(json.as_bytes()).unwrap());
        let warnings = unreachable_rules("rules", &[(&names[0], &users), (&names[1], &user), (&names[2], &user[..1])]);
        let [warning] = &warnings[..] else { panic!("{warnings:?}") };
        assert_eq!(warning.path, "rules[2]");
        assert_eq!(warning.reason, "can never match: rule `a` before it takes all that it would");
        assert_eq!(warning.cure(), "move it before rule `a`, or delete it");
        let people: Vec<RouteMatch> = parse(br#"[{"paths":["/people"]}]"#).unwrap();
        let warnings = unreachable_rules("routes", &[(&names[0], &users), (&names[1], &people), (&names[2], &user)]);
        assert_eq!(warnings[0].reason, "can never match: route `a` and others before it take all that it would");
    }

    #[cfg(feature = "schema")]
    #[test]
    fn a_schema_has_what_is_read() {
        let schema = schemars::schema_for!(Example);
        let count = serde_json::json!({"type": "integer", "minimum": 1, "maximum": Count::MAX.get()});
        assert_eq!(schema.get("required"), None);
        assert_eq!(schema.pointer("/additionalProperties"), Some(&false.into()));
        assert_eq!(schema.pointer("/properties/limits/minItems"), Some(&1.into()));
        assert_eq!(schema.pointer("/$defs/Inner/required"), Some(&serde_json::json!(["requests"])));
        assert_eq!(schema.pointer("/$defs/Inner/properties/requests"), Some(&count));
        assert_eq!(schema.pointer("/$defs/Mode/enum"), Some(&serde_json::json!(["enforce", "shadow"])));
    }

    #[test]
    fn deep_nesting_is_refused_not_overflowed() {
        assert!(parse::<Example>("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn what_is_long_makes_no_long_error() {
        let long = "é".repeat(100_000);
        for json in [format!(r#"{{"limits":"{long}"}}"#), format!(r#"{{"{long}":7}}"#)] {
            assert!(refusal(&json).len() < 5 * LONGEST_TEXT);
        }
    }

    #[test]
    fn a_huge_configuration_is_refused_before_it_is_read() {
        let huge = " ".repeat(LARGEST + 1);
        assert_eq!(
            parse::<Example>(huge.as_bytes()).unwrap_err().reason,
            "must be at most 1048576 bytes, found 1048577"
        );
    }
}
