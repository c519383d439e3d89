//! What a limiter must do, in exact fractions and straight from the definition of a token bucket.

use num_bigint::BigInt;
use num_rational::BigRational;
use proptest::prelude::*;
use tollgate::{
    config::Count,
    time::{Duration, Instant, LONGEST},
};

use crate::bucket::Limit;

pub(crate) fn limit(requests: u64, per: u64, burst: u64) -> Limit {
    let count = |number| Count::new(number).unwrap();
    Limit { requests: count(requests), per: Duration::from_nanos(per), burst: count(burst) }
}

pub(crate) fn ratio(numerator: u128, denominator: u128) -> BigRational {
    BigRational::new(BigInt::from(numerator), BigInt::from(denominator))
}

fn whole(number: u64) -> BigRational {
    ratio(number.into(), 1)
}

/// At most the end of time.
fn as_u64(number: &BigRational) -> u64 {
    u64::try_from(number.to_integer()).unwrap_or(u64::MAX)
}

prop_compose! {
    pub(crate) fn any_limit()(
        requests in prop_oneof![1_u64..10, 1..=Count::MAX.get()],
        per in prop_oneof![1_u64..1_000, 1..=LONGEST.as_nanos()],
        burst in prop_oneof![1_u64..10, 1..=Count::MAX.get()],
    ) -> Limit {
        limit(requests, per, burst)
    }
}

/// A token bucket.
#[derive(Debug, Clone)]
pub(crate) struct Oracle {
    limit: Limit,
    /// Below zero when it owes.
    tokens: BigRational,
    at: u64,
}

impl Oracle {
    pub(crate) fn full(limit: Limit, at: u64) -> Self {
        Self { limit, tokens: whole(limit.burst.get()), at }
    }

    fn rate(&self) -> BigRational {
        ratio(self.limit.requests.get().into(), self.limit.per.as_nanos().into())
    }

    /// Back to an earlier time, too.
    fn refill(&mut self, now: u64) {
        let refilled = &self.tokens + self.rate() * (whole(now) - whole(self.at));
        self.tokens = refilled.min(whole(self.limit.burst.get()));
        self.at = now;
    }

    /// Whether a request of `cost` that leaves `kept` conforms; else when it will.
    pub(crate) fn look(&mut self, now: u64, cost: u64, kept: u64) -> Result<(), u64> {
        self.refill(now);
        let missing = whole(cost) + whole(kept) - &self.tokens;
        if missing <= whole(0) {
            return Ok(());
        }
        Err(now.saturating_add(as_u64(&(missing / self.rate()).ceil())))
    }

    pub(crate) fn charge(&mut self, now: u64, cost: u64) {
        self.refill(now);
        self.tokens -= whole(cost);
    }

    pub(crate) fn take(&mut self, now: u64, cost: u64, kept: u64) -> Result<(), u64> {
        self.look(now, cost, kept)?;
        self.charge(now, cost);
        Ok(())
    }

    pub(crate) fn remaining(&mut self, now: u64) -> u64 {
        self.refill(now);
        as_u64(&self.tokens.floor().max(whole(0)))
    }

    /// As full by the new limit as it is by the old one.
    pub(crate) fn carry_over(&mut self, limit: Limit, now: u64) {
        self.refill(now);
        self.tokens *= ratio(limit.burst.get().into(), self.limit.burst.get().into());
        self.limit = limit;
    }

    /// How long until one more is there than now, or any at all.
    pub(crate) fn until_one_more(&mut self, now: u64) -> Option<u64> {
        self.refill(now);
        let full = whole(self.limit.burst.get());
        let next = (self.tokens.floor() + whole(1)).max(whole(1)).min(full.clone());
        (self.tokens < full).then(|| as_u64(&((next - &self.tokens) / self.rate()).ceil()))
    }
}

/// Several limits on one bucket: all are charged, or none.
#[derive(Debug, Clone)]
pub(crate) struct Oracles(Vec<Oracle>);

impl Oracles {
    pub(crate) fn full(limits: &[Limit], at: u64) -> Self {
        Self(limits.iter().map(|limit| Oracle::full(*limit, at)).collect())
    }

    pub(crate) fn take(&mut self, now: u64, cost: u64) -> Result<(), u64> {
        let waits = self.0.iter_mut().filter_map(|one| one.look(now, cost, 0).err());
        if let Some(not_before) = waits.max() {
            return Err(not_before);
        }
        self.charge(now, cost);
        Ok(())
    }

    pub(crate) fn charge(&mut self, now: u64, cost: u64) {
        for one in &mut self.0 {
            one.charge(now, cost);
        }
    }

    pub(crate) fn remaining(&mut self, now: u64) -> Vec<u64> {
        self.0.iter_mut().map(|one| one.remaining(now)).collect()
    }
}

/// What was admitted: when, and of what cost. The times never fall.
pub(crate) type Admitted = Vec<(Instant, u64)>;

/// Checks B + L·Δ/I in every window, multiplied by I.
pub(crate) fn check_all_windows(limit: &Limit, admitted: &Admitted) -> Result<(), String> {
    let [requests, per, burst] = [limit.requests.get(), limit.per.as_nanos(), limit.burst.get()].map(u128::from);
    for (first, (start, _)) in admitted.iter().enumerate() {
        let mut sum = 0_u128;
        for (last, (end, cost)) in admitted.iter().enumerate().skip(first) {
            sum += u128::from(*cost);
            let length = u128::from(end.as_nanos() - start.as_nanos());
            if sum * per > burst * per + requests * length {
                return Err(format!("{sum} admitted in {length} ns, from number {first} to {last}, by {limit:?}"));
            }
        }
    }
    Ok(())
}
