use std::{cell::RefCell, rc::Rc};

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::{
    bucket::tests::oracle::limit,
    testing::{BROKEN, Store},
};

mod keyed;
mod overflow;
mod properties;
mod push;

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

/// So many in a time, and so many at once.
fn per(requests: u64, nanos: u64) -> Limit {
    limit(requests, nanos, requests)
}

/// A worker's view of the store and of one table.
#[derive(Clone)]
struct Worker {
    store: Store,
    table: Table,
}

impl Worker {
    fn single(store: &Store, limits: &[Limit]) -> Self {
        Self { store: store.clone(), table: Table::single(b"key".to_vec(), limits.to_vec()) }
    }

    /// One page.
    fn keyed(store: &Store, limits: &[Limit]) -> Self {
        Self { store: store.clone(), table: Table::keyed(b"key".to_vec(), limits.to_vec(), SLOTS as u64) }
    }

    fn take_of(&mut self, key: u64, cost: u64, now: u64) -> Taken {
        let charge = Charge { cost, ..Charge::ONE };
        self.table.take(&mut self.store, id(key), charge, at(now)).unwrap()
    }

    fn take(&mut self, now: u64) -> Taken {
        self.take_of(0, 1, now)
    }

    fn look_of(&mut self, key: u64, now: u64) -> Taken {
        self.table.look(&mut self.store, id(key), Charge::ONE, at(now)).unwrap()
    }

    fn would_deny(&mut self, key: u64, now: u64) -> bool {
        self.table.would_deny(&mut self.store, id(key), Charge::ONE, at(now)).unwrap().is_some()
    }

    fn charge_of(&mut self, key: u64, cost: u64, now: u64) {
        self.table.charge(&mut self.store, id(key), cost, at(now)).unwrap();
    }

    fn give_back_of(&mut self, key: u64, cost: u64, taken: &Taken, now: u64) {
        self.table.give_back(&mut self.store, id(key), cost, taken, at(now)).unwrap();
    }

    fn admits(&mut self, now: u64) -> bool {
        admitted(&self.take(now))
    }

    fn admits_of(&mut self, key: u64, now: u64) -> bool {
        admitted(&self.take_of(key, 1, now))
    }

    /// How many of `tries` requests are admitted.
    fn admitted(&mut self, tries: u64, key: u64, now: u64) -> usize {
        (0..tries).filter(|_| self.admits_of(key, now)).count()
    }
}

/// A key; those in one table of several pages are spread over them.
fn id(key: u64) -> BucketId {
    BucketId(u128::from(key) << 64 | u128::from(key))
}

fn admitted(taken: &Taken) -> bool {
    matches!(taken.outcome, Outcome::Admitted(_))
}

fn denied_until(taken: &Taken) -> Option<(u64, usize)> {
    match &taken.outcome {
        Outcome::Admitted(_) => None,
        Outcome::Denied(denied) => Some((denied.not_before.as_nanos(), denied.limit)),
    }
}

fn remaining(taken: &Taken, limits: &[Limit], now: u64) -> Vec<u64> {
    let Outcome::Admitted(levels) = &taken.outcome else { return Vec::new() };
    levels.iter().zip(limits).map(|(level, limit)| level.remaining(limit, at(now), 0)).collect()
}

#[test]
fn workers_share_one_allowance() {
    let store = Store::default();
    let mut workers = vec![Worker::single(&store, &[per(100, MINUTE)]); 4];
    let admitted = (0..400).filter(|n| workers[n % 4].admits(1)).count();
    assert_eq!(admitted, 100);
}

#[test]
fn an_undisturbed_worker_needs_one_call_for_a_request_and_none_for_a_denial() {
    let store = Store::default();
    for mut worker in [Worker::single(&store, &[per(4, MINUTE)]), Worker::keyed(&store, &[per(4, MINUTE)])] {
        let calls = (0..7).map(|_| {
            worker.take(7);
            store.calls()
        });
        // Create: get and insert. Get and swap. Then guesses. Then what was written says no.
        assert_eq!(calls.collect::<Vec<_>>(), [2, 2, 1, 1, 0, 0, 0]);
        assert!(worker.admits(7 + 15 * SECOND));
        assert_eq!(worker.table.noticed().conflicts, 0);
        store.calls();
    }
}

#[test]
fn after_a_wrong_guess_it_reads_for_a_while() {
    let store = Store::default();
    let mut one = Worker::single(&store, &[per(100, SECOND)]);
    let mut calls = |disturb: bool| {
        if disturb {
            store.overwrite(b"another key", b"");
        }
        assert!(one.admits(5));
        store.calls()
    };
    assert_eq!([calls(false), calls(false), calls(false)], [2, 2, 1]);
    // The store numbers this write higher than it knows. So next comes a wrong guess, then get and swap; and then it
    // does not guess for eight times, whoever else writes.
    assert_eq!([calls(true), calls(false)], [1, 3]);
    for n in 0..8 {
        assert_eq!(calls(n % 2 == 0), 2, "{n}");
    }
    assert_eq!([calls(false), calls(false)], [1, 1]);
    assert_eq!(one.table.noticed().conflicts, 0, "nobody was in the way");
}

#[test]
fn a_denial_says_exactly_when_to_come_back() {
    let store = Store::default();
    let mut worker = Worker::single(&store, &[per(2, 10 * SECOND), per(3, MINUTE)]);
    assert!(worker.admits(0) && worker.admits(0));
    assert_eq!(denied_until(&worker.take(0)), Some((5 * SECOND, 0)));
    assert!(!worker.admits(5 * SECOND - 1));
    assert!(worker.admits(5 * SECOND));
    // Now the slower limit is the one that denies, and the faster one is not charged for it.
    assert_eq!(denied_until(&worker.take(10 * SECOND)), Some((20 * SECOND, 1)));
    assert!(worker.admits(20 * SECOND));
}

#[test]
fn of_several_limits_that_deny_the_one_that_denies_longest_is_blamed_or_the_first() {
    for (limits, blamed) in [
        ([per(1, 10 * SECOND), per(1, MINUTE)], 1),
        ([per(1, MINUTE), per(1, 10 * SECOND)], 0),
        ([per(1, MINUTE), per(1, MINUTE)], 0),
    ] {
        let mut worker = Worker::single(&Store::default(), &limits);
        assert!(worker.admits(0));
        assert_eq!(denied_until(&worker.take(0)), Some((MINUTE, blamed)), "{limits:?}");
    }
}

#[test]
fn a_cost_is_charged_to_all_limits_or_to_none() {
    let store = Store::default();
    let limits = [per(10, MINUTE), per(6, MINUTE)];
    let mut worker = Worker::single(&store, &limits);
    assert_eq!(remaining(&worker.take_of(0, 4, 0), &limits, 0), [6, 2]);
    assert_eq!(denied_until(&worker.take_of(0, 3, 0)), Some((10 * SECOND, 1)));
    assert_eq!(remaining(&worker.take_of(0, 2, 0), &limits, 0), [4, 0]);
}

#[test]
fn what_is_kept_is_a_percentage_of_each_burst() {
    let store = Store::default();
    let mut worker = Worker::single(&store, &[per(10, MINUTE), per(100, MINUTE)]);
    let common = Charge { cost: 1, kept_percent: 35 };
    assert_eq!([common.kept(&per(10, MINUTE)), common.kept(&per(100, MINUTE))], [4, 35]);
    let admitted = (0..20).filter(|_| {
        let taken = worker.table.take(&mut worker.store, id(0), common, at(0)).unwrap();
        admitted(&taken)
    });
    // Rounded up: a reserve that keeps nothing would be none.
    assert_eq!(admitted.count(), 6);
    assert_eq!(worker.admitted(20, 0, 0), 4, "for those who may have it");
}

#[test]
fn another_workers_write_between_read_and_write_is_not_lost() {
    let store = Store::default();
    let [mut one, other] = [(); 2].map(|()| Worker::single(&store, &[per(3, MINUTE)]));
    // Both create the bucket; then the last token goes to the other while this one is about to take it.
    for expected in [true, false] {
        let mut other = other.clone();
        let others = meanwhile(&store, move || other.admits(0));
        assert_eq!(one.admits(0), expected);
        assert_eq!(others.take(), Some(true));
    }
    assert_eq!(one.table.noticed().conflicts, 1);
}

#[test]
fn a_guess_is_not_used_after_a_second() {
    let store = Store::default();
    let mut worker = Worker::single(&store, &[per(10, SECOND)]);
    for (now, calls) in [(0, 2), (0, 2), (SECOND - 1, 1), (2 * SECOND - 1, 2), (2 * SECOND, 1)] {
        assert!(worker.admits(now));
        assert_eq!(store.calls(), calls, "at {now}");
    }
}

#[test]
fn a_broken_store_is_an_error_and_charges_nothing() {
    let store = Store::default();
    let mut worker = Worker::single(&store, &[per(1, MINUTE)]);
    store.set_broken(true);
    let Worker { store: view, table } = &mut worker;
    assert_eq!(table.take(view, id(0), Charge::ONE, at(0)), Err(BROKEN));
    assert_eq!(table.look(view, id(0), Charge::ONE, at(0)), Err(BROKEN));
    assert_eq!(table.would_deny(view, id(0), Charge::ONE, at(0)), Err(BROKEN));
    assert_eq!(table.charge(view, id(0), 1, at(0)), Err(BROKEN));
    store.set_broken(false);
    assert!(worker.admits(0));
}

#[test]
fn a_look_charges_nothing() {
    let store = Store::default();
    let limits = [per(2, MINUTE)];
    let mut worker = Worker::single(&store, &limits);
    for expected in [2, 1] {
        assert!(!worker.would_deny(0, 0));
        assert_eq!(remaining(&worker.look_of(0, 0), &limits, 0), [expected]);
        assert_eq!(remaining(&worker.look_of(0, 0), &limits, 0), [expected]);
        assert!(worker.admits(0));
    }
    assert!(worker.would_deny(0, 0));
    assert_eq!(denied_until(&worker.look_of(0, 0)), Some((30 * SECOND, 0)));
}

#[test]
fn what_is_given_back_others_can_have_at_once() {
    let store = Store::default();
    let [mut one, mut other, mut third] = [(); 3].map(|()| {
        let worker = Worker::single(&store, &[per(2, MINUTE)]);
        Worker { table: worker.table.giving_back(), ..worker }
    });
    let taken = one.take_of(0, 2, 0);
    // They remember that there is nothing, and must not go by that.
    assert!(!other.admits(0) && third.would_deny(0, 0));
    one.give_back_of(0, 2, &taken, 0);
    assert!(!third.would_deny(0, 0));
    assert_eq!(other.admitted(5, 0, 0), 2);
    // A denied one has nothing to give back.
    let denied = one.take(0);
    assert!(!admitted(&denied));
    one.give_back_of(0, 1, &denied, 0);
    assert!(!one.admits(0));
}

#[test]
fn what_has_been_refilled_meanwhile_is_not_given_back() {
    let store = Store::default();
    let mut worker = Worker::single(&store, &[per(2, 20)]);
    let taken = worker.take_of(0, 2, 0);
    assert!(worker.admits(10));
    // One of the two was refilled by then, and is taken again.
    worker.give_back_of(0, 2, &taken, 10);
    assert_eq!(worker.admitted(5, 0, 10), 1);
    worker.give_back_of(0, 2, &taken, 100);
    assert_eq!(worker.admitted(5, 0, 100), 2);
}

#[test]
fn a_charge_at_the_response_may_leave_a_debt() {
    let store = Store::default();
    let mut worker = Worker::single(&store, &[per(2, 20)]);
    worker.charge_of(0, 5, 0);
    assert_eq!(denied_until(&worker.take(0)), Some((40, 0)));
    assert!(!worker.admits(39));
    assert!(worker.admits(40));
}

#[test]
fn a_charge_is_not_lost_to_a_write_in_between() {
    let store = Store::default();
    let [mut one, other] = [(); 2].map(|()| Worker::single(&store, &[per(5, MINUTE)]));
    for _ in 0..2 {
        let mut other = other.clone();
        store.interfere(move |_| assert!(other.admits(0)));
        one.charge_of(0, 1, 0);
    }
    assert_eq!(one.admitted(5, 0, 0), 1);
}

#[test]
fn a_value_that_nobody_could_have_written_is_a_full_bucket() {
    let whole = Page::empty(&Layout::new(vec![per(1, SECOND)]));
    let too_short = [whole.as_bytes(), &[0; 23]].concat();
    let too_many = [whole.as_bytes(), &[0xff; 24 * (SLOTS + 1)]].concat();
    let no_room = [whole.as_bytes(), &[0xff; 24 * SLOTS]].concat();
    let no_limits = [&[0][..], &[0; 10]].concat();
    let of_nothing = [&[1][..], &[0; 10], &[0; 24]].concat();
    let others = [&too_short, &too_many, &no_room, &no_limits, &of_nothing];
    let all = [&b""[..], b"x", &[0; 40], &[0xff; 400], &[9; 500]].into_iter().chain(others.map(Vec::as_slice));
    for value in all {
        let store = Store::default();
        store.overwrite(b"key", value);
        let mut worker = Worker::single(&store, &[per(1, SECOND)]);
        assert!(worker.admits(0), "{value:?}");
        assert!(!worker.admits(0), "{value:?}");
        worker.charge_of(0, 1, 0);
        let written: Vec<usize> = store.values().iter().map(|(_, value)| value.len()).collect();
        assert_eq!(written, [whole.as_bytes().len() + 24], "{value:?}");
    }
}

#[test]
fn slots_and_conflicts_are_noticed_once() {
    let store = Store::default();
    let [mut one, mut other] = [(); 2].map(|()| Worker::keyed(&store, &[per(1, SECOND)]));
    let mut rival = other.clone();
    store.interfere(move |_| assert!(rival.admits_of(9, 0)));
    assert!(one.admits_of(1, 0) && one.admits_of(2, 0));
    assert_eq!(one.table.noticed(), Noticed { conflicts: 1, slots: 2 });
    assert_eq!(one.table.noticed(), Noticed::default());
    // The three are full again when another worker comes to use one.
    assert!(other.admits_of(3, SECOND));
    assert_eq!(other.table.noticed(), Noticed { conflicts: 0, slots: -2 });
}

/// What one worker does while another one is between its read and its write.
fn meanwhile<T: 'static>(store: &Store, action: impl FnOnce() -> T + 'static) -> Rc<RefCell<Option<T>>> {
    let outcome = Rc::new(RefCell::new(None));
    let told = Rc::clone(&outcome);
    store.interfere(move |_| *told.borrow_mut() = Some(action()));
    outcome
}
