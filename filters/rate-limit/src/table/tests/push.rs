//! A push changes the limits of buckets that are in use.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

#[test]
fn a_push_keeps_the_fill_ratio_and_a_limit_that_comes_back_is_not_fresh() {
    let store = Store::default();
    let (hundred, thousand) = ([per(100, MINUTE)], [per(1000, MINUTE)]);
    assert_eq!(Worker::single(&store, &hundred).admitted(80, 0, 0), 80);
    assert_eq!(Worker::single(&store, &thousand).admitted(900, 0, 0), 200);
    assert_eq!(Worker::single(&store, &hundred).admitted(200, 0, 0), 0);
}

#[test]
fn a_push_keeps_the_fill_ratio_of_every_key() {
    let store = Store::default();
    let mut old = Worker::keyed(&store, &[per(10, MINUTE)]);
    for key in 0..10 {
        assert_eq!(old.admitted(key, key, 0), key as usize);
    }
    let mut new = Worker::keyed(&store, &[per(30, MINUTE)]);
    for key in 0..12 {
        let spent = if key < 10 { key as usize } else { 0 };
        assert_eq!(new.admitted(100, key, 0), 30 - 3 * spent, "{key}");
    }
}

#[test]
fn a_push_keeps_the_overflow_bucket_s_level_and_that_it_was_used() {
    let store = Store::default();
    let mut old = Worker::keyed(&store, &[per(4, MINUTE)]);
    for key in 0..16 {
        assert_eq!(old.admitted(if key < 8 { 1 } else { 4 }, key, 0), if key < 8 { 1 } else { 4 });
    }
    assert_eq!(old.admitted(3, 99, 0), 3, "from the overflow bucket");
    let mut new = Worker::keyed(&store, &[per(8, MINUTE)]);
    // The eight that had taken one are full again by the push's limit too; the key starts from the overflow's level.
    assert_eq!(new.admitted(20, 99, 15 * SECOND), 4);
}

#[test]
fn a_raised_limit_refills_at_once_though_everybody_is_denied() {
    let (slow, fast) = ([per(10, 60 * MINUTE)], [per(10, SECOND)]);
    let take: fn(&mut Worker, u64) -> bool = |worker, now| worker.admits(now);
    let look: fn(&mut Worker, u64) -> bool = |worker, now| admitted(&worker.look_of(0, now));
    let would_deny: fn(&mut Worker, u64) -> bool = |worker, now| !worker.would_deny(0, now);
    for (asks, left) in [(take, 0), (look, 1), (would_deny, 1)] {
        let store = Store::default();
        assert_eq!(Worker::single(&store, &slow).admitted(20, 0, 0), 10);
        let mut new = vec![Worker::single(&store, &fast); 2];
        assert!(!asks(&mut new[0], 0) && !asks(&mut new[1], 0));
        assert!(asks(&mut new[0], SECOND / 10), "ten a second");
        assert_eq!(new[1].admitted(5, 0, SECOND / 10 * 2 - 1), left);
    }
}

#[test]
fn a_raised_limit_refills_at_once_though_another_worker_writes_first() {
    let (slow, fast) = ([per(10, 60 * MINUTE)], [per(10, SECOND)]);
    let take: fn(&mut Worker, u64) -> bool = |worker, now| worker.admits(now);
    let look: fn(&mut Worker, u64) -> bool = |worker, now| admitted(&worker.look_of(0, now));
    for asks in [take, look] {
        let store = Store::default();
        assert_eq!(Worker::single(&store, &slow).admitted(20, 0, 0), 10);
        let [(key, value)] = &store.values()[..] else { panic!() };
        let (key, value) = (key.clone(), value.clone());
        store.interfere(move |store| store.overwrite(&key, &value));
        assert!(!asks(&mut Worker::single(&store, &fast), 0));
        assert!(asks(&mut Worker::single(&store, &fast), SECOND / 10), "ten a second");
    }
}

#[test]
fn a_look_writes_only_a_denial_after_a_push() {
    let (slow, fast) = ([per(10, 60 * MINUTE)], [per(10, SECOND)]);
    for (spent, same, pushed) in [(9, 1, 1), (10, 1, 2)] {
        let store = Store::default();
        assert_eq!(Worker::single(&store, &slow).admitted(spent, 0, 0), spent as usize);
        store.calls();
        Worker::single(&store, &slow).look_of(0, 0);
        assert_eq!(store.calls(), same, "{spent} spent");
        Worker::single(&store, &fast).look_of(0, 0);
        assert_eq!(store.calls(), pushed, "{spent} spent");
    }
}

#[test]
fn a_raised_limit_refills_the_overflow_bucket_at_once_too() {
    let (slow, fast) = ([per(10, 60 * MINUTE)], [per(10, SECOND)]);
    let filled = || {
        let store = Store::default();
        let mut old = Worker::keyed(&store, &slow);
        assert!((0..16).all(|key| old.admits_of(key, 0)));
        assert_eq!(old.admitted(20, 99, 0), 10, "from the overflow bucket");
        store
    };
    let mut new = Worker::keyed(&filled(), &fast);
    assert!(!new.admits_of(99, 0), "still from there");
    assert_eq!(new.admitted(20, 99, SECOND / 10), 1, "in a slot of its own");

    // When the first one comes the page is empty, and the overflow bucket has one.
    let mut new = Worker::keyed(&filled(), &fast);
    assert_eq!(new.admitted(20, 98, 6 * MINUTE), 1);
    assert_eq!(new.admitted(20, 99, 6 * MINUTE + SECOND / 10 * 3), 4);
}

#[test]
fn a_lowered_limit_is_not_refilled_by_the_old_one() {
    let store = Store::default();
    assert_eq!(Worker::single(&store, &[per(1000, SECOND)]).admitted(2000, 0, 0), 1000);
    let lowered = [per(1000, 86_400 * SECOND)];
    assert!(!Worker::single(&store, &lowered).admits(0));
    assert_eq!(Worker::single(&store, &lowered).admitted(2000, 0, SECOND), 0, "one in 86.4 s");
}

#[test]
fn limits_keep_their_levels_when_they_move_or_go() {
    let (minute, day) = (per(100, MINUTE), per(50, 86_400 * SECOND));
    for pushed in [vec![day], vec![day, minute], vec![per(7, SECOND), minute, day]] {
        let store = Store::default();
        assert_eq!(Worker::single(&store, &[minute, day]).admitted(200, 0, 0), 50);
        assert_eq!(Worker::single(&store, &pushed).admitted(200, 0, 1), 0, "{pushed:?}");
    }
}

/// Where carrying over would round: its numbers are as large as a configuration may have.
#[test]
fn a_limit_that_stays_keeps_its_level_exactly() {
    const MOST: u64 = 1_000_000_000_000;
    let store = Store::default();
    let large = limit(MOST, 366 * 24 * 60 * MINUTE, MOST);
    let mut old = Worker::single(&store, &[large, per(MOST, SECOND)]);
    assert!(admitted(&old.take_of(0, MOST / 10 + 7, 0)));
    let limits = [large, per(MOST, MINUTE)];
    let looked = Worker::single(&store, &limits).look_of(0, 0);
    assert_eq!(remaining(&looked, &limits, 0)[0], MOST - MOST / 10 - 7);
}

#[test]
fn a_limit_that_is_new_starts_full() {
    let store = Store::default();
    assert_eq!(Worker::single(&store, &[per(100, MINUTE)]).admitted(90, 0, 0), 90);
    let mut more = Worker::single(&store, &[per(5, SECOND), per(100, MINUTE)]);
    assert_eq!(more.admitted(20, 0, 0), 5);
    assert_eq!(more.admitted(20, 0, SECOND), 5);
    assert_eq!(more.admitted(20, 0, 2 * SECOND), 3, "a hundred a minute");
}

#[test]
fn a_debt_goes_along() {
    let store = Store::default();
    Worker::single(&store, &[per(10, MINUTE)]).charge_of(0, 15, 0);
    let mut new = Worker::single(&store, &[per(20, MINUTE)]);
    // Half a burst is owed: ten of twenty, and one more is needed.
    assert_eq!(denied_until(&new.take(0)), Some((33 * SECOND, 0)));
}

#[test]
fn old_and_new_configuration_side_by_side_give_nothing_away() {
    let store = Store::default();
    let mut old = Worker::single(&store, &[per(9, MINUTE)]);
    let mut new = Worker::single(&store, &[per(7, 2 * MINUTE)]);
    let [mut by_old, mut by_new] = [0; 2];
    for _ in 0..20 {
        by_old += u32::from(old.admits(0));
        by_new += u32::from(new.admits(0));
    }
    assert!(by_old * 7 + by_new * 9 <= 63, "{by_old} of 9 and {by_new} of 7");
    assert!(by_old + by_new >= 6);
}

#[test]
fn a_changed_limit_goes_on_from_its_own_level_not_from_another_ones() {
    let store = Store::default();
    let burst = |requests, period, burst| Limit {
        burst: tollgate::config::Count::new(burst).unwrap(),
        ..per(requests, period)
    };
    // The period of the second limit before is that of the first one afterwards.
    let (minutes, spread) = ([per(100, MINUTE), per(400, 5 * MINUTE)], [per(100, 5 * MINUTE), per(400, 25 * MINUTE)]);
    assert_eq!(Worker::single(&store, &minutes).admitted(500, 0, 0), 100);
    assert_eq!(Worker::single(&store, &spread).admitted(500, 0, 0), 0);
    // Two of one period, of which the first stays.
    let store = Store::default();
    let (old, new) = ([burst(1000, MINUTE, 2), per(50, MINUTE)], [burst(1000, MINUTE, 2), per(51, MINUTE)]);
    let mut worker = Worker::single(&store, &old);
    let admitted: usize = (0..60).map(|tenth| worker.admitted(2, 0, tenth * SECOND / 10)).sum();
    assert_eq!(admitted, 50 + 4, "the second is empty");
    let mut worker = Worker::single(&store, &new);
    let admitted: usize = (60..120).map(|tenth| worker.admitted(2, 0, tenth * SECOND / 10)).sum();
    assert!(admitted <= 6, "what refills in six seconds: {admitted}");
}
