//! What a table is asked, and what it says.

use tollgate::time::Instant;

use super::Levels;
use crate::bucket::Limit;

/// Which bucket of a table: the hash of the key's value, zero in a table of one bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BucketId(pub u128);

impl BucketId {
    pub(super) const fn slot(self) -> u64 {
        (self.0 >> 64) as u64
    }
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// Requests that it counts as.
    pub cost: u64,
    /// Percent of each burst that it must leave for others.
    pub kept_percent: u64,
}

impl Charge {
    /// One request, like any other.
    pub const ONE: Self = Self { cost: 1, kept_percent: 0 };

    /// Requests of `limit` that stay for others.
    #[must_use]
    pub fn kept(&self, limit: &Limit) -> u64 {
        limit.burst.get().saturating_mul(self.kept_percent).div_ceil(100)
    }
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Whether it was charged.
    pub outcome: Outcome,
    /// Whether the overflow bucket answered.
    pub overflowed: bool,
    /// By which time: the caller's, or the bucket's own where that is later.
    pub at: Instant,
}

/// Whether a request was charged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// To every limit, which brought the bucket to these levels.
    Admitted(Levels),
    /// To none.
    Denied(Denied),
}

/// A denial, and when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied {
    /// The first instant at which the request would be admitted if nobody else came.
    pub not_before: Instant,
    /// The index of the limit that keeps it waiting longest.
    pub limit: usize,
}

/// What a worker noticed beside its answers, since it was asked last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Noticed {
    /// Writes that came too late and were done again.
    pub conflicts: u32,
    /// Slots that came into use, less those that were freed.
    pub slots: i64,
}
