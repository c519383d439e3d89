//! Errors of a configuration, with the path to the culprit, and the one way to parse one.

use core::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, Unexpected, Visitor},
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
        Self {
            path: path.into(),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.reason)
        } else {
            write!(f, "{}: {}", self.path, self.reason)
        }
    }
}

impl core::error::Error for ConfigError {}

/// Parses `bytes` as JSON. Empty input and `null` are the empty object.
///
/// # Errors
/// Names the path to the first value that does not fit and why.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ConfigError> {
    let trimmed = bytes.trim_ascii();
    let bytes = if trimmed.is_empty() || trimmed == b"null" {
        b"{}"
    } else {
        trimmed
    };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        let mut reason = error.to_string();
        if error.is_data() {
            // The position is one in the JSON that Istio made of the manifest: the path says more.
            reason.truncate(reason.rfind(" at line ").unwrap_or(reason.len()));
        }
        ConfigError {
            path: if path == "." { String::new() } else { path },
            reason,
        }
    })?;
    deserializer
        .end()
        .map_err(|error| ConfigError::at("", error.to_string()))?;
    Ok(value)
}

/// A whole number from 1 to 10¹².
///
/// `100.0` counts as whole: a `pluginConfig` goes through protobuf's `Struct`, whose numbers are all floating-point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(u64);

impl Count {
    /// The largest one.
    pub const MAX: Self = Self(1_000_000_000_000);

    /// `number`, if it is in range.
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        if number == 0 || number > Self::MAX.0 {
            None
        } else {
            Some(Self(number))
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CountVisitor;

        impl Visitor<'_> for CountVisitor {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number from 1 to 1000000000000")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Count, E> {
                Count::new(number).ok_or_else(|| match number {
                    0 => E::custom("must be greater than zero, found 0"),
                    _ => E::custom(format_args!("must be at most {}, found {number}", Count::MAX.0)),
                })
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Count, E> {
                u64::try_from(number)
                    .map_err(|_| E::custom(format_args!("must be greater than zero, found {number}")))
                    .and_then(|number| self.visit_u64(number))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Count, E> {
                // Up to 10¹² every whole f64 is an exact u64.
                if number.fract() != 0.0 || !number.is_finite() {
                    return Err(E::invalid_value(Unexpected::Float(number), &self));
                }
                if number > 1e12 {
                    return Err(E::custom(format_args!(
                        "must be at most {}, found {number}",
                        Count::MAX.0
                    )));
                }
                self.visit_i64(number as i64)
            }
        }

        deserializer.deserialize_any(CountVisitor)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Example {
        #[serde(default)]
        limits: Vec<Inner>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        requests: Count,
    }

    fn refusal(json: &str) -> String {
        parse::<Example>(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn nothing_is_the_empty_object() {
        for nothing in ["", "  ", "null", "{}"] {
            assert_eq!(
                parse::<Example>(nothing.as_bytes()),
                Ok(Example { limits: vec![] }),
                "{nothing:?}"
            );
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
            (
                r#"{"limits":[{"requests":1},{"requests":0}]}"#,
                "limits[1].requests: must be greater than zero, found 0",
            ),
            (
                r#"{"limits":[{"requests":-3}]}"#,
                "limits[0].requests: must be greater than zero, found -3",
            ),
            (
                r#"{"limits":[{"requests":1e13}]}"#,
                "limits[0].requests: must be at most 1000000000000, found 10000000000000",
            ),
            (
                r#"{"limits":[{"requests":1.5}]}"#,
                "limits[0].requests: invalid value: floating point `1.5`, expected a whole number from 1 to 1000000000000",
            ),
            (
                r#"{"limits":[{"requests":"1"}]}"#,
                "limits[0].requests: invalid type: string \"1\", expected a whole number from 1 to 1000000000000",
            ),
            (r#"{"limits":[{}]}"#, "limits[0]: missing field `requests`"),
            (
                r#"{"limits":7}"#,
                "limits: invalid type: integer `7`, expected a sequence",
            ),
            (r#"{"limit":[]}"#, "limit: unknown field `limit`, expected `limits`"),
            (r#"{"limits":[],"limits":[]}"#, "duplicate field `limits`"),
            ("[]", "invalid length 0, expected struct Example with 1 element"),
            ("{", "EOF while parsing an object at line 1 column 1"),
            ("{} x", "trailing characters at line 1 column 4"),
            ("\u{feff}{}", "expected value at line 1 column 1"),
        ] {
            assert_eq!(refusal(json), message, "{json}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_not_overflowed() {
        let deep = "[".repeat(100_000);
        assert!(parse::<serde_json::Value>(deep.as_bytes()).is_err());
    }
}
