//! The bucket's arithmetic: the generic cell rate algorithm in whole numbers.
//!
//! Time is counted in *ticks*, of which a limit of L requests per I nanoseconds has L in a nanosecond. A request costs
//! I ticks, so neither the rate nor the cost is ever rounded, and nothing drifts. The bucket is one number, the
//! *theoretical arrival time*: the tick at which it will be full again. With B for the burst, a request is admitted if
//! afterwards that lies no more than B·I ticks ahead. Hence in any window of length Δ at most B + L·Δ/I are admitted.
//! docs/guarantee.md has the proof.
//!
//! Ranges: L and B up to 10¹² (under 2⁴⁰), I up to 366 days times 500 replicas (under 2⁶⁴ ns), the clock under 2⁶⁴ ns.
//! A tick count stays under 2¹⁰⁶, so no sum here can overflow an u128; the operations saturate all the same.

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

    /// Ticks that `requests` cost.
    const fn cost(&self, requests: u64) -> u128 {
        (self.per.as_nanos() as u128).saturating_mul(requests as u128)
    }

    const fn capacity(&self) -> u128 {
        self.cost(self.burst.get())
    }

    fn refill_time(&self, ticks: u128) -> Duration {
        let nanos = ticks.div_ceil(u128::from(self.requests.get()));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The share of this limit that one of `replicas` proxies enforces: a slower rate, and its part of the burst, but
    /// one request at least.
    #[must_use]
    pub fn divided(self, replicas: u64) -> Self {
        let per = Duration::from_nanos(self.per.as_nanos().saturating_mul(replicas));
        let burst = self.burst.get().checked_div(replicas).and_then(Count::new).unwrap_or(Count::ONE);
        Self { per, burst, ..self }
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

    /// Asks for a request of `cost` at `now`, that leaves at least `kept` requests in the bucket.
    #[must_use]
    pub fn take(self, limit: &Limit, now: Instant, cost: u64, kept: u64) -> Answer {
        let now_ticks = limit.ticks(now);
        let after = self.theoretical_arrival.max(now_ticks).saturating_add(limit.cost(cost));
        let latest = now_ticks.saturating_add(limit.cost(limit.burst.get().saturating_sub(kept)));
        if after <= latest {
            return Answer::Admitted(Self { theoretical_arrival: after });
        }
        let missing = after.saturating_sub(latest);
        Answer::Denied { not_before: now.plus(limit.refill_time(missing)) }
    }

    /// Charges a request of `cost` that has already passed. The bucket may owe afterwards: then it admits nobody until
    /// that is refilled too.
    #[must_use]
    pub fn charge(self, limit: &Limit, now: Instant, cost: u64) -> Self {
        Self { theoretical_arrival: self.theoretical_arrival.max(limit.ticks(now)).saturating_add(limit.cost(cost)) }
    }

    /// Gives back a `cost` that was charged at `charged_at`, but for what may have been refilled since: more would be a
    /// gift. What others were charged or given back meanwhile makes no difference to that.
    #[must_use]
    pub fn refund(self, limit: &Limit, now: Instant, cost: u64, charged_at: Instant) -> Self {
        let refilled = limit.ticks(now).saturating_sub(limit.ticks(charged_at));
        let unrefilled = limit.cost(cost).saturating_sub(refilled);
        Self { theoretical_arrival: self.theoretical_arrival.saturating_sub(unrefilled) }
    }

    /// How many requests of cost one would be admitted at `now`, one right after the other, that leave `kept` in the bucket.
    #[must_use]
    pub fn remaining(self, limit: &Limit, now: Instant, kept: u64) -> u64 {
        let left = limit.capacity().saturating_sub(self.missing(limit, now));
        let left = u64::try_from(left.checked_div(limit.cost(1)).unwrap_or(0)).unwrap_or(u64::MAX);
        left.saturating_sub(kept)
    }

    /// How long until one more of those than at `now` would be admitted; `None` when there can't be more.
    #[must_use]
    pub fn until_one_more(self, limit: &Limit, now: Instant, kept: u64) -> Option<Duration> {
        let more = self.remaining(limit, now, kept).saturating_add(1);
        if more > limit.burst.get().saturating_sub(kept) {
            return None;
        }
        match self.take(limit, now, more, kept) {
            Answer::Admitted(_) => None,
            Answer::Denied { not_before } => Some(not_before.since(now)),
        }
    }

    /// Whether the bucket is full at `now`: then it is as good as one that was never used.
    #[must_use]
    pub fn is_full(self, limit: &Limit, now: Instant) -> bool {
        self.theoretical_arrival <= limit.ticks(now)
    }

    /// The level that is as full by `new` as this one is by `old`, rounded to the emptier side.
    #[must_use]
    pub fn carried_over(self, old: &Limit, new: &Limit, now: Instant) -> Self {
        let (mut deficit, mut old_capacity, new_capacity) = (self.missing(old, now), old.capacity(), new.capacity());
        // Rounding makes no debt, but one that is there goes along.
        let most = if deficit <= old_capacity { new_capacity } else { u128::MAX };
        // 128 bits hold a product of these after both sides of the ratio have lost the same low bits.
        let excess = bits(deficit).saturating_add(bits(new_capacity)).saturating_sub(128);
        let rounded_up = deficit.div_ceil(1_u128.checked_shl(excess).unwrap_or(u128::MAX));
        old_capacity = old_capacity.checked_shr(excess).unwrap_or(0).max(1);
        deficit = rounded_up.saturating_mul(new_capacity).div_ceil(old_capacity).min(most);
        Self { theoretical_arrival: new.ticks(now).saturating_add(deficit) }
    }

    /// Ticks that are missing to a full bucket; more than its capacity when it owes.
    fn missing(self, limit: &Limit, now: Instant) -> u128 {
        self.theoretical_arrival.saturating_sub(limit.ticks(now))
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
pub(crate) mod tests;
