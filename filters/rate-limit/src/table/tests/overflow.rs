//! More keys are busy than a page has slots.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// Sixteen keys are busy: the even ones until 10, the odd ones until 20.
fn full_page(limits: &[Limit]) -> (Store, Worker) {
    let store = Store::default();
    let mut worker = Worker::keyed(&store, limits);
    assert!((0..16).all(|key| admitted(&worker.take_of(key, 1 + key % 2, 0))));
    store.calls();
    (store, worker)
}

#[test]
fn keys_without_a_slot_share_one_bucket_that_is_never_fresh() {
    let (_, mut worker) = full_page(&[per(4, 40)]);
    let admitted = (100..130).filter(|key| worker.admits_of(*key, 0)).count();
    assert_eq!(admitted, 4);
    let taken = worker.take_of(200, 1, 0);
    assert!(taken.overflowed);
    assert_eq!(denied_until(&taken), Some((10, 0)));
    // The others have theirs.
    assert_eq!(worker.admitted(9, 0, 0), 3);
    assert_eq!(worker.admitted(9, 1, 0), 2);
}

#[test]
fn a_key_that_gets_a_slot_starts_from_the_overflow_bucket_s_level() {
    let (_, mut worker) = full_page(&[per(4, 40)]);
    assert_eq!(worker.admitted(3, 100, 0), 3);
    // Slots are free again at 10. One of three has been refilled by then.
    let taken = worker.take_of(100, 1, 10);
    assert!(!taken.overflowed);
    assert_eq!(remaining(&taken, &[per(4, 40)], 10), [1]);
    assert_eq!(worker.admitted(9, 100, 10), 1);
    // So does one that never came before: it can't be told from those that did.
    assert_eq!(worker.admitted(9, 101, 10), 2);
    assert_eq!(worker.admitted(9, 102, 40), 4, "when that is full again");
}

#[test]
fn a_page_that_never_overflowed_takes_nothing_from_the_overflow_bucket() {
    let store = Store::default();
    let mut table = Table::keyed(b"key".to_vec(), vec![per(4, 40)], 32);
    let mut take = |page: u128, slot: u128| {
        let id = BucketId(slot << 64 | page);
        admitted(&table.take(&mut store.clone(), id, Charge::ONE, at(0)).unwrap())
    };
    assert_eq!((0..30).filter(|slot| take(0, *slot)).count(), 16 + 4);
    assert_eq!((0..9).filter(|_| take(1, 99)).count(), 4);
}

#[test]
fn a_look_finds_the_overflow_bucket_too() {
    let (_, mut worker) = full_page(&[per(4, 40)]);
    assert!(!worker.would_deny(100, 0));
    assert_eq!(remaining(&worker.look_of(100, 0), &[per(4, 40)], 0), [4]);
    assert_eq!(worker.admitted(9, 101, 0), 4);
    assert!(worker.would_deny(100, 0));
    assert_eq!(denied_until(&worker.look_of(100, 0)), Some((10, 0)));
}

#[test]
fn a_charge_at_the_response_follows_its_key_out_of_the_overflow_bucket() {
    let limits = [per(4, 40)];
    let (_, mut worker) = full_page(&limits);
    assert!(worker.look_of(100, 0).overflowed);
    worker.charge_of(100, 4, 0);
    assert_eq!(remaining(&worker.look_of(100, 10), &limits, 10), [1], "in a slot of its own");
    assert_eq!(worker.admitted(9, 100, 10), 1);
}

#[test]
fn what_the_overflow_bucket_was_charged_it_gets_back() {
    let (_, mut worker) = full_page(&[per(4, 40)]);
    let taken = worker.take_of(100, 3, 0);
    worker.give_back_of(100, 3, &taken, 0);
    assert_eq!(worker.admitted(9, 101, 0), 4);
}

#[test]
fn a_refund_to_a_key_that_is_full_again_is_nothing() {
    let (store, mut worker) = full_page(&[per(4, 40)]);
    let taken = worker.take_of(0, 1, 0);
    let overflow: Vec<_> = (100..108).map(|key| worker.take_of(key, 1, 5)).collect();
    assert_eq!(overflow.iter().filter(|taken| admitted(taken)).count(), 4);
    // The page is full without it when the refund comes, by a clock that is behind.
    assert!((300..320).all(|key| worker.take_of(key, 1, 20).overflowed == (key >= 316)));
    store.calls();
    worker.give_back_of(0, 1, &taken, 0);
    assert_eq!(store.calls(), 1, "nothing is written");
    assert_eq!(worker.admitted(9, 400, 20), 0, "nor does the overflow bucket get it");
}

#[test]
fn calls_of_a_key_without_a_slot() {
    let (store, mut worker) = full_page(&[per(5, 50)]);
    let calls = (0..8).map(|_| {
        worker.take_of(100, 1, 0);
        store.calls()
    });
    // First the page is marked. Admitted: read the page, read and write the overflow bucket, write the page; one wrong
    // guess is among them. Denied: read the page.
    assert_eq!(calls.collect::<Vec<_>>(), [2 + 4, 4, 1 + 4, 4, 4, 1, 1, 1]);
}

/// The clock of one worker is ahead of the other's, and between the other's read of the full page and its charge to the
/// overflow bucket slots become free.
#[test]
fn a_key_gets_nothing_twice_from_a_slot_that_becomes_free_between_two_steps() {
    let limits = [per(4, 40)];
    for marked in [true, false] {
        let (store, mut slow) = full_page(&limits);
        if marked {
            assert!(slow.take_of(100, 1, 0).overflowed);
        }
        let mut quick = slow.clone();
        let others = meanwhile(&store, move || quick.admitted(9, 7_000, 10));
        let own = slow.admitted(9, 7_000, 5);
        assert_eq!(others.take(), Some(4));
        assert_eq!(own, 0, "{marked}");
        // What was charged to the overflow bucket in vain is there again.
        assert!((300..307).all(|key| slow.admits_of(key, 10)));
        assert_eq!((400..420).filter(|key| slow.admits_of(*key, 10)).count(), 4);
    }
}

#[test]
fn a_charge_at_the_response_is_not_lost_to_a_slot_that_becomes_free_between_two_steps() {
    let (store, mut slow) = full_page(&[per(4, 40)]);
    assert!(slow.take_of(100, 1, 0).overflowed);
    let mut quick = slow.clone();
    let others = meanwhile(&store, move || quick.admitted(2, 7_000, 10));
    slow.charge_of(7_000, 2, 5);
    assert_eq!(others.take(), Some(2));
    assert!(!slow.admits_of(7_000, 10));
}

/// The overflow bucket is full by a clock that is ahead of the page's.
#[test]
fn an_older_clock_gets_nothing_from_an_overflow_bucket_that_is_full_only_later() {
    let store = Store::default();
    let table = Table::keyed(b"key".to_vec(), vec![per(4, 40)], 32);
    let [mut quick, mut slow] = [(); 2].map(|()| Worker { store: store.clone(), table: table.clone() });
    let of = |page: u64, slot: u64| BucketId(u128::from(slot) << 64 | u128::from(page));
    let take = |worker: &mut Worker, id, now| {
        let taken = worker.table.take(&mut worker.store, id, Charge::ONE, at(now)).unwrap();
        (admitted(&taken), taken.overflowed)
    };
    for page in [0, 1] {
        assert!((0..16).all(|slot| take(&mut slow, of(page, slot), 0) == (true, false)));
    }
    assert_eq!((0..9).filter(|_| take(&mut slow, of(0, 99), 0) == (true, true)).count(), 4);
    // Another page brings the overflow bucket's time to 50, when it is full again.
    assert!((16..32).all(|slot| take(&mut quick, of(1, slot), 50) == (true, false)));
    assert_eq!(take(&mut quick, of(1, 99), 50), (true, true));
    assert_eq!((0..9).filter(|_| take(&mut slow, of(0, 99), 20) == (true, false)).count(), 3);
    assert_eq!(take(&mut quick, of(0, 99), 59), (false, false));
    assert_eq!(take(&mut quick, of(0, 99), 60), (true, false));
}
