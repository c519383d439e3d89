//! The protocol between workers, checked on the real [`Table`] under every schedule of a few steps, and under many of more.
//!
//! Under Shuttle and not Loom: the host has one lock around its map, so there are no weak orderings to explore, which is
//! what Loom is for; and Shuttle also runs schedules by chance where there are too many to run them all. A call of the
//! store is one step. What a worker does between two calls nobody else sees, so nothing is lost by not switching there.
//!
//! Workers are given the time with each request, and it may be behind another's: so every schedule of the store's calls is
//! also one of clocks that were read long before.

#![cfg(test)]
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails")]

mod world;

use rate_limit::{bucket::Limit, table::Table};
use shuttle::rand::Rng;

use self::world::{History, Op, Start, exhaustively, limit, randomly, take};

fn single(limits: &[Limit]) -> Table {
    Table::single(b"key".to_vec(), limits.to_vec())
}

/// One page of 16 slots.
fn keyed(limit: Limit) -> Table {
    Table::keyed(b"key".to_vec(), vec![limit], 16)
}

fn workers(count: usize, table: &Table) -> Vec<Table> {
    vec![table.clone(); count]
}

/// Every schedule of these scripts. There must be at least so many.
fn check(least: usize, start: Start, scripts: Vec<Vec<Op>>, holds: impl Fn(&mut History) + Send + Sync + 'static) {
    let schedules = exhaustively(move || holds(&mut start.play(scripts.clone())));
    println!("{schedules} schedules");
    assert!(schedules >= least, "{schedules} schedules");
}

#[test]
fn two_that_create_a_bucket_share_it() {
    let start = Start::after(workers(2, &single(&[limit(3, 100, 3)])), &[]);
    check(100, start, vec![vec![take(0, 0); 2]; 2], |history| assert_eq!(history.admitted(0), 3));
}

#[test]
fn two_that_know_a_bucket_share_it() {
    let start = Start::after(workers(2, &single(&[limit(9, 100, 9)])), &[take(0, 0); 4]);
    check(100, start, vec![vec![take(0, 0); 3]; 2], |history| assert_eq!(history.admitted(0), 5));
}

#[test]
fn one_gets_the_last_token() {
    let start = Start::after(workers(2, &single(&[limit(4, 100, 4)])), &[take(0, 0); 3]);
    check(4, start, vec![vec![take(0, 0); 3]; 2], |history| assert_eq!(history.admitted(0), 1));
}

#[test]
fn a_cost_is_charged_to_all_limits_or_to_none() {
    let limits = [limit(5, 100, 5), limit(7, 1_000, 7)];
    let start = Start::after(workers(2, &single(&limits)), &[]);
    let script = vec![Op::Take { key: 0, cost: 2, now: 0 }; 2];
    check(80, start, vec![script; 2], |history| {
        assert_eq!(history.admitted(0), 4);
        assert_eq!(history.remaining(0, 0), 1);
        // The slower limit has been charged for nothing that the other refused: five of seven, and 14 are refilled.
        assert_eq!(history.remaining(0, 100), 2);
    });
}

#[test]
fn moving_clocks_keep_the_bound() {
    let fast = limit(2, 20, 2);
    let start = Start::after(workers(2, &single(&[fast])), &[take(0, 0), take(0, 0)]);
    let scripts = vec![vec![take(0, 10), take(0, 15), take(0, 20)], vec![take(0, 5), take(0, 20), take(0, 29)]];
    check(15, start, scripts, move |history| assert!(history.keeps_the_bound(&fast)));
}

#[test]
fn what_is_given_back_is_there_again_and_no_more() {
    let table = single(&[limit(3, 100, 3)]).giving_back();
    let start = Start::after(workers(2, &table), &[]);
    let scripts = vec![
        vec![Op::Take { key: 0, cost: 2, now: 0 }, Op::GiveBack { now: 0 }],
        vec![take(0, 0), Op::GiveBack { now: 0 }, Op::Take { key: 0, cost: 2, now: 0 }],
    ];
    check(100, start, scripts, |history| {
        let admitted = history.admitted(0);
        assert_eq!(admitted + history.remaining(0, 0), 3);
    });
}

#[test]
fn a_refund_that_comes_late_gives_nothing_away() {
    let fast = limit(1, 10, 3);
    let start = Start::after(workers(2, &single(&[fast]).giving_back()), &[take(0, 0)]);
    let scripts =
        vec![vec![take(0, 0), Op::GiveBack { now: 0 }, take(0, 10)], vec![take(0, 0), Op::GiveBack { now: 0 }]];
    check(100, start, scripts, |history| {
        // The burst and one refill, less the one of before.
        assert!(history.admitted(0) + history.remaining(0, 10) <= 3);
    });
}

#[test]
fn no_charge_at_a_response_is_lost() {
    let slow = limit(3, 30, 3);
    let start = Start::after(workers(2, &single(&[slow])), &[]);
    let scripts = vec![
        vec![Op::Charge { key: 0, cost: 2, now: 0 }, take(0, 0)],
        vec![take(0, 0), Op::Charge { key: 0, cost: 3, now: 0 }],
    ];
    check(100, start, scripts, |history| {
        let owed = 5 + history.admitted(0) - 3;
        assert_eq!(history.remaining(0, 10 * owed + 9), 0);
        assert_eq!(history.remaining(0, 10 * owed + 10), 1);
    });
}

#[test]
fn two_configurations_share_one_bucket_by_its_fill_ratio() {
    // Twelve of twenty are left, and one of these is worth half a one of ten.
    let (old, new) = (single(&[limit(20, 100, 20)]), single(&[limit(10, 100, 10)]));
    let start = Start::after(vec![old, new], &[take(0, 0); 15]);
    check(100, start, vec![vec![take(0, 0); 3], vec![take(0, 0); 2]], |history| {
        let spent = history.admitted_to(0) + 2 * history.admitted_to(1);
        let left = history.remaining(0, 0);
        assert!(spent + left == 5 || left == 0 && spent == 4, "{spent} spent and {left} left of five");
    });
}

/// Fifteen keys are busy until 10.
fn one_slot_is_left(limit: Limit) -> Vec<Op> {
    assert_eq!((limit.requests.get(), limit.per.as_nanos()), (1, 10));
    (100..115).map(|key| take(key, 0)).collect()
}

/// All sixteen slots are in use, half of them until 10 and half until 20; the overflow bucket is known.
fn no_slot_is_left(limit: Limit) -> Vec<Op> {
    assert_eq!((limit.requests.get(), limit.per.as_nanos()), (1, 10));
    let busy = (100..116).map(|key| Op::Take { key, cost: 1 + key % 2, now: 0 });
    busy.chain([take(200, 0)]).collect()
}

const ONE_IN_TEN: fn(u64) -> Limit = |burst| limit(1, 10, burst);

#[test]
fn one_of_two_new_keys_gets_the_last_slot_and_the_other_one_overflows() {
    let limit = ONE_IN_TEN(2);
    let start = Start::after(workers(2, &keyed(limit)), &one_slot_is_left(limit));
    check(500, start, vec![vec![take(1, 0); 3], vec![take(2, 0); 3]], |history| {
        assert_eq!([history.admitted(1), history.admitted(2)], [2, 2]);
        assert_ne!(history.was_overflow_used(1), history.was_overflow_used(2));
        assert_eq!(history.slots, 1);
    });
}

#[test]
fn two_that_bring_one_key_to_a_full_page_share_the_overflow_bucket() {
    let limit = ONE_IN_TEN(3);
    let start = Start::after(workers(2, &keyed(limit)), &no_slot_is_left(limit));
    check(100, start, vec![vec![take(1, 0)]; 2], |history| {
        assert_eq!([history.admitted(1), history.remaining(1, 0)], [2, 0]);
        assert!(history.was_overflow_used(1));
        assert_eq!(history.slots, 0);
    });
}

#[test]
fn a_slot_that_is_free_again_is_used_by_one() {
    let limit = ONE_IN_TEN(2);
    let start = Start::after(workers(2, &keyed(limit)), &one_slot_is_left(limit));
    // The one whose slot was freed comes back, while a new one comes.
    let scripts =
        vec![vec![take(100, 10), take(100, 10), take(100, 10)], vec![take(1, 10), take(100, 15), take(100, 20)]];
    check(50, start, scripts, move |history| {
        assert!(history.keeps_the_bound(&limit));
        assert!(!history.was_overflow_used(1) && !history.was_overflow_used(100));
        assert!([1 - 15, 2 - 15].contains(&history.slots));
    });
}

#[test]
fn a_key_that_moves_from_the_overflow_bucket_to_a_slot_gains_nothing() {
    let limit = ONE_IN_TEN(2);
    let start = Start::after(workers(2, &keyed(limit)), &no_slot_is_left(limit));
    // One of them is behind: it finds the page full, and the other one finds a slot.
    check(500, start, vec![vec![take(1, 5); 2], vec![take(1, 10); 3]], move |history| {
        assert!(history.keeps_the_bound(&limit));
        // A charge that is taken back from the overflow bucket may be in the level that the slot starts with.
        assert!(history.admitted(1) >= 1);
    });
}

#[test]
fn a_key_that_moves_to_the_overflow_bucket_and_back_gains_nothing() {
    let limit = ONE_IN_TEN(2);
    // The key has had a slot since 10. At 20 it is full again, and one slot is left for it or for another one.
    let others = (300..315).map(|key| Op::Take { key, cost: 2, now: 20 });
    let before: Vec<_> = no_slot_is_left(limit).into_iter().chain([take(1, 10)]).chain(others).collect();
    let start = Start::after(workers(2, &keyed(limit)), &before);
    let scripts = vec![vec![take(400, 20), take(1, 20)], vec![take(1, 19)]];
    check(100, start, scripts, move |history| {
        assert!(history.keeps_the_bound(&limit));
        // The burst at 20, and one more.
        assert!(history.admitted(1) + history.remaining(1, 30) <= 3);
    });
}

#[test]
fn a_charge_at_a_response_is_not_lost_between_the_overflow_bucket_and_a_slot() {
    let limit = ONE_IN_TEN(2);
    let start = Start::after(workers(2, &keyed(limit)), &no_slot_is_left(limit));
    let scripts = vec![vec![Op::Charge { key: 1, cost: 2, now: 5 }], vec![take(1, 10); 3]];
    check(100, start, scripts, |history| {
        // At 10 the bucket had two: so with the charge it is empty at least, and full no earlier than at 30.
        assert_eq!(history.remaining(1, 10), 0);
        assert!(history.remaining(1, 29) <= 1);
    });
}

#[test]
fn three_and_four_share_a_bucket_exactly() {
    for count in [3, 4] {
        for table in [single(&[limit(9, 100, 9)]), keyed(limit(9, 100, 9))] {
            let start = Start::after(workers(count, &table), &[]);
            randomly(1_000, move || {
                let history = start.play(vec![vec![take(1, 0); 5]; count]);
                assert_eq!(history.admitted(1), 9);
            });
        }
    }
}

#[test]
fn three_and_four_share_the_overflow_bucket_exactly() {
    let limit = ONE_IN_TEN(9);
    for count in [3, 4] {
        let start = Start::after(workers(count, &keyed(limit)), &no_slot_is_left(limit));
        randomly(1_000, move || {
            let history = start.play((1..).take(count).map(|key| vec![take(key, 0); 4]).collect());
            let admitted: u64 = (1..=4).map(|key| history.admitted(key)).sum();
            assert_eq!(admitted, 8);
        });
    }
}

/// Many keys, costs, refunds, charges and clocks that differ.
#[test]
fn whatever_three_and_four_do_keeps_the_bound() {
    let limit = ONE_IN_TEN(3);
    for count in [3, 4] {
        let start = Start::after(workers(count, &keyed(limit).giving_back()), &no_slot_is_left(limit));
        randomly(1_500, move || {
            let mut rng = shuttle::rand::thread_rng();
            let mut script = || {
                let mut now = 0;
                let ops = (0..8).map(|_| {
                    now += rng.gen_range(0..8);
                    // A few keys that matter, and many that take their slots.
                    let key = if rng.gen_bool(0.5) { rng.gen_range(1..4) } else { rng.gen_range(100..124) };
                    match rng.gen_range(0..10) {
                        0 => Op::GiveBack { now },
                        1 => Op::Charge { key: rng.gen_range(300..303), cost: 3, now },
                        2 => Op::Take { key, cost: 2, now },
                        _ => take(key, now),
                    }
                });
                ops.collect::<Vec<_>>()
            };
            let history = start.play((0..count).map(|_| script()).collect());
            assert!(history.keeps_the_bound(&limit));
            assert!((-16..=0).contains(&history.slots));
        });
    }
}
