//! Numbers of a configuration.

use core::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, Unexpected, Visitor},
};

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
        if number == 0 || number > Self::MAX.0 { None } else { Some(Self(number)) }
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
                // Up to 10¹² every whole f64 is an exact i64; what is beyond i64 saturates and is refused as well.
                if number.fract() != 0.0 {
                    return Err(E::invalid_value(Unexpected::Float(number), &self));
                }
                self.visit_i64(number as i64)
            }
        }

        deserializer.deserialize_any(CountVisitor)
    }
}
