//! The bucket's arithmetic: the generic cell rate algorithm in whole numbers.
//!
//! Time is counted in *ticks*, of which a limit of L requests per I nanoseconds has L in a nanosecond. A request costs
//! I ticks, so neither the rate nor the cost is ever rounded, and nothing drifts. The bucket is one number, the
//! *theoretical arrival time*: the tick at which it will be full again. With B for the burst, a request is admitted if
//! afterwards that lies no more than B·I ticks ahead. Hence in any window of length Δ at most B + L·Δ/I are admitted.
//!
//! Ranges: L and B up to 10¹² (under 2⁴⁰), I up to 366 days (under 2⁵⁵ ns), the clock under 2⁶⁴ ns. A tick count stays
//! under 2¹⁰⁵, so no sum here can overflow an u128; the operations saturate all the same.

use tollgate::{
    config::Count,
    time::{Duration, Instant},
};

/// A limit: how many requests in how long, and how many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Requests in each `per`.
    pub requests: Count,
    /// The period.
    pub per: Duration,
    /// The bucket's size: requests that are admitted at once after a quiet time.
    pub burst: Count,
}

impl Limit {
    fn ticks(&self, now: Instant) -> u128 {
        u128::from(now.as_nanos()).saturating_mul(u128::from(self.requests.get()))
    }

    const fn cost(&self) -> u128 {
        self.per.as_nanos() as u128
    }

    const fn capacity(&self) -> u128 {
        (self.burst.get() as u128).saturating_mul(self.cost())
    }
}

/// A bucket's level, as the tick at which it will be full again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    theoretical_arrival: u128,
}

/// What a bucket says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Admitted; the level afterwards.
    Admitted(Level),
    /// Not now; the level is as it was.
    Denied {
        /// The first instant at which the request would be admitted if nobody else came.
        not_before: Instant,
    },
}

impl Level {
    /// A full bucket.
    pub const FULL: Self = Self { theoretical_arrival: 0 };

    /// Asks for one request at `now`.
    #[must_use]
    pub fn take(self, limit: &Limit, now: Instant) -> Answer {
        let now_ticks = limit.ticks(now);
        let after = self.theoretical_arrival.max(now_ticks).saturating_add(limit.cost());
        let latest = now_ticks.saturating_add(limit.capacity());
        if after <= latest {
            return Answer::Admitted(Self { theoretical_arrival: after });
        }
        let missing = after.saturating_sub(latest);
        let wait = missing.div_ceil(u128::from(limit.requests.get()));
        let wait = Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX));
        Answer::Denied { not_before: now.plus(wait) }
    }

    /// How many requests would be admitted at `now`, one right after the other.
    #[must_use]
    pub fn remaining(self, limit: &Limit, now: Instant) -> u64 {
        let left = limit.capacity().saturating_sub(self.deficit(limit, now));
        u64::try_from(left.checked_div(limit.cost()).unwrap_or(0)).unwrap_or(u64::MAX)
    }

    /// The level that is as full by `new` as this one is by `old`, rounded to the emptier side.
    #[must_use]
    pub fn carried_over(self, old: &Limit, new: &Limit, now: Instant) -> Self {
        let (mut deficit, mut old_capacity, new_capacity) = (self.deficit(old, now), old.capacity(), new.capacity());
        // 128 bits hold a product of these after both sides of the ratio have lost the same low bits.
        let excess = bits(deficit).saturating_add(bits(new_capacity)).saturating_sub(128);
        let rounded_up = deficit.div_ceil(1_u128.checked_shl(excess).unwrap_or(u128::MAX));
        old_capacity = old_capacity.checked_shr(excess).unwrap_or(0).max(1);
        deficit = rounded_up.saturating_mul(new_capacity).div_ceil(old_capacity).min(new_capacity);
        Self { theoretical_arrival: new.ticks(now).saturating_add(deficit) }
    }

    /// Ticks that are missing to a full bucket, never more than its capacity.
    fn deficit(self, limit: &Limit, now: Instant) -> u128 {
        self.theoretical_arrival.saturating_sub(limit.ticks(now)).min(limit.capacity())
    }

    /// For the store.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.theoretical_arrival.to_le_bytes()
    }

    /// From the store.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self { theoretical_arrival: u128::from_le_bytes(bytes) }
    }
}

const fn bits(number: u128) -> u32 {
    u128::BITS.saturating_sub(number.leading_zeros())
}

#[cfg(test)]
mod tests;
