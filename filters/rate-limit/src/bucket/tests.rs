use num_bigint::BigInt;
use num_rational::BigRational;
use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn limit(requests: u64, per: u64, burst: u64) -> Limit {
    let count = |number| Count::new(number).unwrap();
    Limit { requests: count(requests), per: Duration::from_nanos(per), burst: count(burst) }
}

fn take(level: &mut Level, limit: &Limit, now: u64) -> Result<(), u64> {
    match level.take(limit, Instant::from_nanos(now)) {
        Answer::Admitted(after) => {
            *level = after;
            Ok(())
        }
        Answer::Denied { not_before } => Err(not_before.as_nanos()),
    }
}

const MINUTE: u64 = 60_000_000_000;

#[test]
fn admits_the_burst_at_once_and_then_one_for_each_refill() {
    let hundred_a_minute = limit(100, MINUTE, 100);
    let mut level = Level::FULL;
    let start = 12_345;
    for _ in 0..100 {
        assert_eq!(take(&mut level, &hundred_a_minute, start), Ok(()));
    }
    assert_eq!(take(&mut level, &hundred_a_minute, start), Err(start + MINUTE / 100));
    assert_eq!(take(&mut level, &hundred_a_minute, start + MINUTE / 100 - 1), Err(start + MINUTE / 100));
    assert_eq!(take(&mut level, &hundred_a_minute, start + MINUTE / 100), Ok(()));
    assert!(take(&mut level, &hundred_a_minute, start + MINUTE / 100).is_err());
}

#[test]
fn a_third_of_a_nanosecond_is_not_lost_in_a_year() {
    // Seven requests in ten nanoseconds: no period between requests is a whole number.
    let odd = limit(7, 10, 2);
    let mut level = Level::FULL;
    let year = 366 * 86_400 * 1_000_000_000;
    let mut admitted = 0;
    for now in year..year + 1_000 {
        admitted += u64::from(take(&mut level, &odd, now).is_ok());
    }
    // The burst, and 0.7 in each of the 999 steps after the first.
    assert_eq!(admitted, 2 + 699);
}

#[test]
fn the_largest_settings_do_not_overflow() {
    let huge = limit(Count::MAX.get(), tollgate::time::LONGEST.as_nanos(), Count::MAX.get());
    let now = Instant::from_nanos(u64::MAX);
    let Answer::Admitted(level) = Level::FULL.take(&huge, now) else { panic!("denied by a full bucket") };
    assert_eq!(level.remaining(&huge, now), Count::MAX.get() - 1);
    assert!(level.carried_over(&huge, &huge, now).remaining(&huge, now) < Count::MAX.get());
    let slow = limit(1, tollgate::time::LONGEST.as_nanos(), 1);
    let Answer::Admitted(level) = Level::FULL.take(&slow, Instant::from_nanos(0)) else { panic!("denied") };
    assert_eq!(
        level.take(&slow, Instant::from_nanos(1)),
        Answer::Denied { not_before: Instant::from_nanos(tollgate::time::LONGEST.as_nanos()) }
    );
}

#[test]
fn a_changed_limit_keeps_the_fill_ratio() {
    let (old, new) = (limit(100, MINUTE, 100), limit(1000, MINUTE, 1000));
    let mut level = Level::FULL;
    let now = 5 * MINUTE;
    for _ in 0..75 {
        take(&mut level, &old, now).unwrap();
    }
    let carried = level.carried_over(&old, &new, Instant::from_nanos(now));
    assert_eq!(carried.remaining(&new, Instant::from_nanos(now)), 250);
    let back = carried.carried_over(&new, &old, Instant::from_nanos(now));
    assert_eq!(back.remaining(&old, Instant::from_nanos(now)), 25);
}

/// The same limiter in exact fractions, straight from the definition of a token bucket.
struct Oracle {
    tokens: BigRational,
    at: u64,
}

impl Oracle {
    fn refill(&mut self, limit: &Limit, now: u64) {
        let rate = ratio(limit.requests.get(), limit.per.as_nanos());
        self.tokens += rate * ratio(now - self.at, 1);
        self.tokens = self.tokens.clone().min(ratio(limit.burst.get(), 1));
        self.at = now;
    }

    fn take(&mut self, limit: &Limit, now: u64) -> Result<(), u64> {
        self.refill(limit, now);
        let one = ratio(1, 1);
        if self.tokens >= one {
            self.tokens -= one;
            return Ok(());
        }
        let wait = (one - self.tokens.clone()) / ratio(limit.requests.get(), limit.per.as_nanos());
        Err(now + u64::try_from(wait.ceil().to_integer()).unwrap())
    }
}

fn ratio(numerator: u64, denominator: u64) -> BigRational {
    BigRational::new(BigInt::from(numerator), BigInt::from(denominator))
}

prop_compose! {
    fn any_limit()(
        requests in prop_oneof![1_u64..10, 1..=Count::MAX.get()],
        per in prop_oneof![1_u64..1_000, 1..=tollgate::time::LONGEST.as_nanos()],
        burst in prop_oneof![1_u64..10, 1..=Count::MAX.get()],
    ) -> Limit {
        limit(requests, per, burst)
    }
}

proptest! {
    #[test]
    fn answers_as_exact_fractions_do(
        limit in any_limit(),
        start in 0..u64::MAX / 4,
        // Steps in parts of the time that one request takes to refill, so that they matter at every rate.
        steps in prop::collection::vec((0_u64..4, 0_u64..3), 1..200),
    ) {
        let mut level = Level::FULL;
        let mut oracle = Oracle { tokens: ratio(limit.burst.get(), 1), at: start };
        let mut now = start;
        for (quarters, rest) in steps {
            let step = limit.per.as_nanos() / limit.requests.get() / 4 * quarters + rest;
            let Some(next) = now.checked_add(step).filter(|next| *next < u64::MAX / 2) else { break };
            now = next;
            prop_assert_eq!(take(&mut level, &limit, now), oracle.take(&limit, now));
            let remaining = u64::try_from(oracle.tokens.floor().to_integer()).unwrap();
            prop_assert_eq!(level.remaining(&limit, Instant::from_nanos(now)), remaining);
        }
    }

    #[test]
    fn carrying_over_never_gives_and_hardly_takes(old in any_limit(), new in any_limit(), taken in 0_u64..50, now in 0..u64::MAX / 2) {
        let instant = Instant::from_nanos(now);
        let mut level = Level::FULL;
        for _ in 0..taken {
            let _ = take(&mut level, &old, now);
        }
        let carried = level.carried_over(&old, &new, instant);
        let before = BigRational::new(BigInt::from(level.deficit(&old, instant)), BigInt::from(old.capacity()));
        let after = BigRational::new(BigInt::from(carried.deficit(&new, instant)), BigInt::from(new.capacity()));
        prop_assert!(after >= before, "gave {} for {}", after, before);
        let tolerance = BigRational::new(BigInt::from(1), BigInt::from(new.capacity())) + ratio(1, 1 << 24);
        prop_assert!(after <= before + tolerance);
    }
}
