//! Time as the filters see it: monotonic instants and the durations of a configuration.

use core::fmt;

use crate::config::{ConfigError, FromNode, Node};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The longest duration that a configuration may give: 366 days.
pub const LONGEST: Duration = Duration::from_nanos(366 * 86_400 * NANOS_PER_SECOND);

/// A point on the host's monotonic clock, in nanoseconds since an arbitrary start. All workers of one proxy share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Instant(u64);

impl Instant {
    /// The instant `nanos` nanoseconds after the clock's start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This instant plus `duration`; the end of time when that is past it.
    #[must_use]
    pub const fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.0))
    }

    /// The time since `earlier`, zero when that is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }
}

/// A length of time in whole nanoseconds.
///
/// In a configuration: whole numbers with a unit, from the largest to the smallest, as Go writes them: `250ms`, `1m`,
/// `1h30m`, `1d`. Units: `ns`, `us`, `ms`, `s`, `m`, `h`, `d`. At least one nanosecond, at most 366 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(u64);

impl Duration {
    /// `nanos` nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The number of nanoseconds.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole seconds, rounded up.
    #[must_use]
    pub const fn as_seconds_rounded_up(self) -> u64 {
        self.0.div_ceil(NANOS_PER_SECOND)
    }

    /// Whole seconds, or `None` when there is a rest.
    #[must_use]
    pub const fn as_whole_seconds(self) -> Option<u64> {
        match self.0.is_multiple_of(NANOS_PER_SECOND) {
            true => Some(self.0 / NANOS_PER_SECOND),
            false => None,
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let invalid = || format!("invalid duration `{text}`: write numbers with a unit, such as 250ms, 1m or 1h30m");
        let mut rest = text;
        let mut total = 0_u64;
        let mut previous_unit = u64::MAX;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(invalid)?;
            let (number, tail) = rest.split_at(digits);
            let unit_length = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit_length);
            let nanos = match unit {
                "ns" => 1,
                "us" => 1_000,
                "ms" => 1_000_000,
                "s" => NANOS_PER_SECOND,
                "m" => 60 * NANOS_PER_SECOND,
                "h" => 3_600 * NANOS_PER_SECOND,
                "d" => 86_400 * NANOS_PER_SECOND,
                _ => return Err(invalid()),
            };
            if number.is_empty() || nanos >= previous_unit {
                return Err(invalid());
            }
            previous_unit = nanos;
            total = number
                .parse::<u64>()
                .ok()
                .and_then(|number| number.checked_mul(nanos))
                .and_then(|part| total.checked_add(part))
                .filter(|total| *total <= LONGEST.0)
                .ok_or_else(|| format!("must be at most 366 days, found {text}"))?;
            rest = tail;
        }
        if total == 0 {
            return Err(if text.is_empty() { invalid() } else { format!("must be longer than zero, found {text}") });
        }
        Ok(Self(total))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [
            (86_400 * NANOS_PER_SECOND, "d"),
            (3_600 * NANOS_PER_SECOND, "h"),
            (60 * NANOS_PER_SECOND, "m"),
            (NANOS_PER_SECOND, "s"),
            (1_000_000, "ms"),
            (1_000, "us"),
            (1, "ns"),
        ];
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (nanos, unit) in units {
            let (number, remainder) = (rest.checked_div(nanos).unwrap_or(0), rest.checked_rem(nanos).unwrap_or(0));
            if number > 0 {
                write!(f, "{number}{unit}")?;
            }
            rest = remainder;
        }
        Ok(())
    }
}

impl FromNode for Duration {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        Self::parse(node.text()?).map_err(ConfigError::here)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn parses_what_kubernetes_users_write() {
        for (text, nanos) in [
            ("1ns", 1),
            ("250ms", 250_000_000),
            ("1m", 60_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("366d", 366 * 86_400 * NANOS_PER_SECOND),
            ("1d2h3m4s5ms6us7ns", 93_784_005_006_007),
        ] {
            assert_eq!(Duration::parse(text), Ok(Duration(nanos)), "{text}");
            assert_eq!(Duration::parse(&Duration(nanos).to_string()), Ok(Duration(nanos)), "{text}");
        }
    }

    #[test]
    fn refuses_what_could_mean_two_things() {
        for text in ["", "1", "m", "1.5s", "-1s", "1m1h", "1s1s", "1 m", "1M", "0s", "0m0s", "367d", "1minute", "é"] {
            assert!(Duration::parse(text).is_err(), "{text}");
        }
        assert!(Duration::parse("99999999999999999999d").is_err());
    }

    #[test]
    fn rounds_seconds_up() {
        assert_eq!(Duration(1).as_seconds_rounded_up(), 1);
        assert_eq!(Duration(NANOS_PER_SECOND).as_seconds_rounded_up(), 1);
        assert_eq!(Duration(NANOS_PER_SECOND + 1).as_seconds_rounded_up(), 2);
        assert_eq!(Duration(NANOS_PER_SECOND + 1).as_whole_seconds(), None);
        assert_eq!(Duration(60 * NANOS_PER_SECOND).as_whole_seconds(), Some(60));
    }
}
