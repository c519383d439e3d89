//! Numbers of a configuration.

use super::{ConfigError, FromNode, Node};

/// A whole number from 1 to 10¹².
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(u64);

impl Count {
    /// The smallest one.
    pub const ONE: Self = Self(1);
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

impl FromNode for Count {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        node.whole(1..=Self::MAX.0).map(Self)
    }
}

/// A whole number from `LEAST` to `MOST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Whole<const LEAST: u64, const MOST: u64>(u64);

impl<const LEAST: u64, const MOST: u64> Whole<LEAST, MOST> {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl<const LEAST: u64, const MOST: u64> FromNode for Whole<LEAST, MOST> {
    fn from_node(node: &Node) -> Result<Self, ConfigError> {
        node.whole(LEAST..=MOST).map(Self)
    }
}
