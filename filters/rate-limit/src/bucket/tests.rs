use num_rational::BigRational;
use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use self::oracle::{Oracle, any_limit, limit, ratio};
use super::*;

pub(crate) mod oracle;

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

fn take_some(level: &mut Level, limit: &Limit, now: u64, cost: u64, kept: u64) -> Result<(), u64> {
    match level.take(limit, at(now), cost, kept) {
        Answer::Admitted(after) => {
            *level = after;
            Ok(())
        }
        Answer::Denied { not_before } => Err(not_before.as_nanos()),
    }
}

fn take(level: &mut Level, limit: &Limit, now: u64) -> Result<(), u64> {
    take_some(level, limit, now, 1, 0)
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
    let admitted = (year..year + 1_000).filter(|now| take(&mut level, &odd, *now).is_ok()).count();
    // The burst, and 0.7 in each of the 999 steps after the first.
    assert_eq!(admitted, 2 + 699);
}

#[test]
fn the_largest_settings_do_not_overflow() {
    let huge = limit(Count::MAX.get(), tollgate::time::LONGEST.as_nanos(), Count::MAX.get());
    let now = at(u64::MAX);
    let Answer::Admitted(level) = Level::FULL.take(&huge, now, 1, 0) else { panic!("denied by a full bucket") };
    assert_eq!(level.remaining(&huge, now, 0), Count::MAX.get() - 1);
    assert!(level.carried_over(&huge, &huge, now).remaining(&huge, now, 0) < Count::MAX.get());
    let slow = limit(1, tollgate::time::LONGEST.as_nanos(), 1);
    let mut level = Level::FULL;
    assert_eq!(take(&mut level, &slow, 0), Ok(()));
    assert_eq!(take(&mut level, &slow, 1), Err(tollgate::time::LONGEST.as_nanos()));
}

#[test]
fn a_request_may_cost_several_and_gets_all_or_nothing() {
    let ten_a_minute = limit(10, MINUTE, 10);
    let mut level = Level::FULL;
    assert_eq!(take_some(&mut level, &ten_a_minute, 0, 7, 0), Ok(()));
    assert_eq!(level.remaining(&ten_a_minute, at(0), 0), 3);
    assert_eq!(take_some(&mut level, &ten_a_minute, 0, 4, 0), Err(MINUTE / 10));
    assert_eq!(take_some(&mut level, &ten_a_minute, 0, 3, 0), Ok(()));
    assert_eq!(take_some(&mut level, &ten_a_minute, 0, 10, 0), Err(MINUTE));
}

#[test]
fn what_is_kept_stays_for_those_who_may_have_it() {
    let ten_a_minute = limit(10, MINUTE, 10);
    let mut level = Level::FULL;
    let admitted = (0..20).filter(|_| take_some(&mut level, &ten_a_minute, 0, 1, 4).is_ok()).count();
    assert_eq!(admitted, 6);
    assert_eq!(take_some(&mut level, &ten_a_minute, 0, 1, 4), Err(MINUTE / 10));
    let admitted = (0..20).filter(|_| take(&mut level, &ten_a_minute, 0).is_ok()).count();
    assert_eq!(admitted, 4);
    // Then it has to wait until the kept part is there again, and one more.
    assert_eq!(take_some(&mut level, &ten_a_minute, 0, 1, 4), Err(MINUTE / 10 * 5));
}

#[test]
fn a_debt_is_refilled_before_anybody_is_admitted() {
    let ten_a_minute = limit(10, MINUTE, 10);
    let level = Level::FULL.charge(&ten_a_minute, at(0), 13);
    assert_eq!(level.remaining(&ten_a_minute, at(0), 0), 0);
    assert_eq!(level.remaining(&ten_a_minute, at(MINUTE / 10 * 4 - 1), 0), 0);
    assert_eq!(level.remaining(&ten_a_minute, at(MINUTE / 10 * 4), 0), 1);
    let wait = Duration::from_nanos(MINUTE / 10 * 4);
    assert_eq!(level.until_one_more(&ten_a_minute, at(0), 0), Some(wait));
    assert_eq!(take(&mut level.clone(), &ten_a_minute, 0), Err(wait.as_nanos()));
    assert!(!level.is_full(&ten_a_minute, at(MINUTE / 10 * 13 - 1)));
    assert!(level.is_full(&ten_a_minute, at(MINUTE / 10 * 13)));
}

#[test]
fn a_share_is_slower_and_smaller_but_never_nothing() {
    let share = limit(100, MINUTE, 50).divided(3);
    assert_eq!(share, limit(100, 3 * MINUTE, 16));
    assert_eq!(limit(100, MINUTE, 2).divided(3).burst, Count::ONE);
    assert_eq!(limit(100, MINUTE, 50).divided(1), limit(100, MINUTE, 50));
    assert_eq!(limit(1, u64::MAX / 2, 50).divided(3).per, Duration::from_nanos(u64::MAX));
}

#[test]
fn a_changed_limit_keeps_the_fill_ratio() {
    let (old, new) = (limit(100, MINUTE, 100), limit(1000, MINUTE, 1000));
    let now = at(5 * MINUTE);
    let level = Level::FULL.charge(&old, now, 75);
    let carried = level.carried_over(&old, &new, now);
    assert_eq!(carried.remaining(&new, now, 0), 250);
    assert_eq!(carried.carried_over(&new, &old, now).remaining(&old, now, 0), 25);
}

#[test]
fn a_changed_limit_keeps_the_debt_in_proportion() {
    let (old, new) = (limit(10, MINUTE, 10), limit(20, MINUTE, 40));
    let now = at(7 * MINUTE);
    let owing = Level::FULL.charge(&old, now, 15);
    let carried = owing.carried_over(&old, &new, now);
    // Half a burst is owed: twenty of the new ones, and then one more is needed.
    assert_eq!(carried.until_one_more(&new, now, 0), Some(Duration::from_nanos(MINUTE / 20 * 21)));
    // An empty bucket does not owe anything, however the ratio is rounded.
    let empty = Level::FULL.charge(&limit(3, 10, 3), now, 3);
    let carried = empty.carried_over(&limit(3, 10, 3), &limit(7, 10, 7), now);
    assert_eq!(carried, Level::FULL.charge(&limit(7, 10, 7), now, 7));
}

#[test]
fn a_refund_a_late_one_too_never_gives_what_others_took() {
    // Two are charged at once and the first is given back. By the time that the second one would have been refilled a
    // third comes; the second is then worth nothing any more.
    let one_in_ten = limit(1, 10, 5);
    let mut level = Level::FULL.charge(&one_in_ten, at(0), 1).charge(&one_in_ten, at(0), 1);
    level = level.refund(&one_in_ten, at(0), 1, at(0));
    level = level.charge(&one_in_ten, at(10), 1);
    level = level.refund(&one_in_ten, at(10), 1, at(0));
    assert_eq!(level, Level::FULL.charge(&one_in_ten, at(10), 1));
}

#[test]
fn a_refund_at_once_leaves_no_trace() {
    let odd = limit(7, 10, 20);
    let before = Level::FULL.charge(&odd, at(3), 5);
    assert_eq!(before.charge(&odd, at(4), 9).refund(&odd, at(4), 9, at(4)), before);
    // Between the two somebody else was charged, whose charge stays.
    let both = before.charge(&odd, at(4), 9).charge(&odd, at(4), 2);
    assert_eq!(both.refund(&odd, at(4), 9, at(4)), before.charge(&odd, at(4), 2));
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Take { cost: u64, kept: u64 },
    Charge { cost: u64 },
}

fn any_step() -> impl Strategy<Value = Step> {
    let cost = || prop_oneof![4 => Just(1_u64), 2 => 1_u64..5, 1 => 1..=Count::MAX.get()];
    prop_oneof![
        6 => (cost(), prop_oneof![3 => Just(0_u64), 1 => 0_u64..5]).prop_map(|(cost, kept)| Step::Take { cost, kept }),
        1 => cost().prop_map(|cost| Step::Charge { cost }),
    ]
}

proptest! {
    #[test]
    fn answers_as_exact_fractions_do(
        limit in any_limit(),
        start in 0..u64::MAX / 4,
        // Pauses in parts of the time that one request takes to refill, so that they matter at every rate.
        steps in prop::collection::vec((0_u64..4, 0_u64..3, any_step()), 1..100),
    ) {
        let mut level = Level::FULL;
        let mut oracle = Oracle::full(limit, start);
        let mut now = start;
        for (quarters, rest, step) in steps {
            let pause = limit.per.as_nanos() / limit.requests.get() / 4 * quarters + rest;
            let Some(next) = now.checked_add(pause).filter(|next| *next < u64::MAX / 2) else { break };
            now = next;
            match step {
                Step::Take { cost, kept } => {
                    // What can never be admitted is refused by the configuration.
                    let kept = kept.min(limit.burst.get() - 1);
                    let cost = cost.min(limit.burst.get() - kept);
                    let expected = oracle.take(now, cost, kept);
                    let answer = take_some(&mut level, &limit, now, cost, kept);
                    prop_assert_eq!(answer, expected);
                    if let Err(not_before) = answer
                        && not_before < u64::MAX
                    {
                        let admits = |then| matches!(level.take(&limit, at(then), cost, kept), Answer::Admitted(_));
                        prop_assert!(admits(not_before) && !admits(not_before - 1));
                    }
                }
                Step::Charge { cost } => {
                    // Debts from charges add up, but not without end.
                    let cost = cost.min(limit.burst.get()).min(u64::MAX / 8 / limit.per.as_nanos() + 1);
                    level = level.charge(&limit, at(now), cost);
                    oracle.charge(now, cost);
                }
            }
            prop_assert_eq!(level.remaining(&limit, at(now), 0), oracle.remaining(now));
            let wait = level.until_one_more(&limit, at(now), 0).map(Duration::as_nanos);
            prop_assert_eq!(wait, oracle.until_one_more(now));
            prop_assert_eq!(wait.is_none(), level.is_full(&limit, at(now)));
        }
    }

    #[test]
    fn one_more_is_admitted_exactly_when_it_says(
        limit in any_limit(), start in 0..u64::MAX / 4, taken in 0_u64..12, owed in 0_u64..3, rest in 0_u64..1_000,
    ) {
        let mut level = Level::FULL;
        for _ in 0..taken {
            let _ = take(&mut level, &limit, start);
        }
        level = level.charge(&limit, at(start), owed);
        let now = start + rest;
        let remaining = level.remaining(&limit, at(now), 0);
        if let Some(wait) = level.until_one_more(&limit, at(now), 0) {
            let then = now.saturating_add(wait.as_nanos());
            prop_assert_eq!(level.remaining(&limit, at(then - 1), 0), remaining);
            prop_assert!(level.remaining(&limit, at(then), 0) > remaining);
        } else {
            prop_assert_eq!(remaining, limit.burst.get());
        }
    }

    /// With whatever was given back never charged at all, the bucket would be at least as full at every moment.
    #[test]
    fn a_refund_never_gives_more_than_was_charged_and_not_yet_refilled(
        limit in (1_u64..5, 1_u64..20, 1_u64..10).prop_map(|(requests, per, burst)| limit(requests, per, burst)),
        steps in prop::collection::vec((0_u64..8, 1_u64..4, prop::option::of(0_usize..6)), 1..24),
    ) {
        let mut level = Level::FULL;
        let mut now = 0;
        // What was charged, when, and whether it was given back.
        let mut charges: Vec<(u64, u64, bool)> = Vec::new();
        for (pause, cost, given_back) in steps {
            now += pause;
            match given_back.and_then(|index| charges.get_mut(index)).filter(|(_, _, given_back)| !given_back) {
                Some((then, cost, given_back)) => {
                    level = level.refund(&limit, at(now), *cost, at(*then));
                    *given_back = true;
                }
                None => {
                    level = level.charge(&limit, at(now), cost);
                    charges.push((now, cost, false));
                }
            }
            let kept = charges.iter().filter(|(_, _, given_back)| !given_back);
            let without = kept.fold(Level::FULL, |level, (then, cost, _)| level.charge(&limit, at(*then), *cost));
            let (missing, at_least) = (level.missing(&limit, at(now)), without.missing(&limit, at(now)));
            prop_assert!(missing >= at_least, "{} of {} at {} after {:?}", missing, at_least, now, charges);
        }
    }

    #[test]
    fn carrying_over_never_gives_and_hardly_takes(
        old in any_limit(), new in any_limit(), taken in 0_u64..50, owed in 0_u64..3, now in 0..u64::MAX / 2,
    ) {
        let mut level = Level::FULL;
        for _ in 0..taken {
            let _ = take(&mut level, &old, now);
        }
        level = level.charge(&old, at(now), owed);
        let carried = level.carried_over(&old, &new, at(now));
        let fill = |level: Level, limit: &Limit| ratio(level.missing(limit, at(now)), limit.capacity());
        let (before, after) = (fill(level, &old), fill(carried, &new));
        prop_assert!(after >= before, "gave {} for {}", after, before);
        let tolerance: BigRational = ratio(1, new.capacity()) + ratio(1, 1 << 20);
        prop_assert!(after <= before + tolerance);
    }
}
