//! One bucket for each key, in pages.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

#[test]
fn every_key_has_a_bucket_of_its_own() {
    let store = Store::default();
    let mut workers = vec![Worker::keyed(&store, &[per(3, MINUTE)]); 2];
    for key in 0..16 {
        let admitted = (0..10).filter(|n| workers[n % 2].admits_of(key, 0)).count();
        assert_eq!(admitted, 3, "{key}");
    }
    assert!((0..16).all(|key| !workers[0].admits_of(key, 0)));
}

#[test]
fn keys_are_spread_over_the_pages_and_no_key_is_made_by_a_client() {
    let store = Store::default();
    let limits = vec![per(1, MINUTE)];
    // Rounded up to four pages.
    let mut table = Table::keyed(b"key".to_vec(), limits, 33);
    for key in 0..1_000 {
        let _ = table.take(&mut store.clone(), id(key), Charge::ONE, at(0)).unwrap();
    }
    let mut keys: Vec<_> = store.values().into_iter().map(|(key, _)| key).collect();
    keys.sort();
    let page = |number: u64| [b"key/page/", &number.to_le_bytes()[..]].concat();
    assert_eq!(keys, [b"key/overflow".to_vec(), page(0), page(1), page(2), page(3)]);
    let longest = store.values().into_iter().map(|(_, value)| value.len()).max();
    assert_eq!(longest, Some(11 + 24 + SLOTS * 24), "a page does not grow without end");
}

#[test]
fn a_slot_is_freed_when_its_bucket_is_full_again_and_not_before() {
    let store = Store::default();
    let mut worker = Worker::keyed(&store, &[per(2, 20)]);
    for key in 0..16 {
        assert!(!worker.take_of(key, 1 + key % 2, 0).overflowed);
    }
    assert!(worker.take_of(16, 1, 9).overflowed);
    assert!(!worker.take_of(16, 1, 10).overflowed);
    // The eight that had taken two have still their slots, and the levels that they had.
    for key in (1..16).step_by(2) {
        assert_eq!(worker.admitted(5, key, 19), 1, "{key}");
    }
}

#[test]
fn a_slot_with_several_limits_is_freed_when_all_are_full() {
    let store = Store::default();
    let limits = [per(2, 20), per(5, 500)];
    let mut worker = Worker::keyed(&store, &limits);
    assert!((0..16).all(|key| worker.admits_of(key, 0)));
    assert!(worker.take_of(16, 1, 99).overflowed);
    assert!(!worker.take_of(16, 1, 100).overflowed);
}

#[test]
fn the_levels_stay_with_their_keys_when_slots_are_freed() {
    let store = Store::default();
    let limits = [per(32, 32)];
    let mut worker = Worker::keyed(&store, &limits);
    // The longer they need the earlier they come, and the other way round.
    for order in [[1, 5, 3, 16, 2, 9], [16, 1, 9, 2, 5, 3]] {
        let start = 1_000 * order[0];
        for key in order {
            worker.take_of(key, key, start);
        }
        for key in order {
            let left = remaining(&worker.take_of(key, 1, start + 4), &limits, start + 4);
            assert_eq!(left, [32 - 1 - key.saturating_sub(4)], "{key}");
        }
    }
}

/// Two workers read the clock one after the other and reach the store the other way round.
#[test]
fn an_older_clock_gets_nothing_from_a_slot_that_was_freed_meanwhile() {
    let store = Store::default();
    let [mut quick, mut slow] = [(); 2].map(|()| Worker::keyed(&store, &[per(5, 50)]));
    assert_eq!(quick.admitted(9, 1, 0), 5);
    // Key 1 is full again at 50, and its slot goes when somebody else comes.
    assert!(quick.admits_of(2, 50));
    let taken = slow.take_of(1, 1, 20);
    assert_eq!(taken.at, at(50), "it goes by the page's time");
    assert_eq!(slow.admitted(9, 1, 20), 4);
    assert_eq!(quick.admitted(9, 1, 59), 0);
    assert_eq!(quick.admitted(9, 1, 69), 1);
    assert!(!slow.admits_of(1, 30) && !slow.admits_of(1, 69));
}

#[test]
fn a_clock_that_is_behind_takes_nothing_away_either() {
    let store = Store::default();
    let [mut quick, mut slow] = [(); 2].map(|()| Worker::single(&store, &[per(5, 50)]));
    assert_eq!(quick.admitted(2, 0, 100), 2);
    assert_eq!(slow.admitted(9, 0, 90), 3);
    assert_eq!(quick.admitted(9, 0, 110), 1);
}

#[test]
fn a_charge_and_a_refund_find_their_key() {
    let store = Store::default();
    let limits = [per(5, MINUTE)];
    let mut worker = Worker::keyed(&store, &limits);
    worker.charge_of(3, 4, 0);
    let taken = worker.take_of(4, 5, 0);
    assert_eq!(worker.admitted(9, 3, 0), 1);
    worker.give_back_of(4, 5, &taken, 0);
    assert_eq!(worker.admitted(9, 4, 0), 5);
    assert_eq!(worker.admitted(9, 3, 0), 0);
}

#[test]
fn a_key_that_has_everything_back_gives_up_its_slot() {
    let store = Store::default();
    let mut worker = Worker::keyed(&store, &[per(5, MINUTE)]);
    assert!((0..15).all(|key| worker.admits_of(key, 0)));
    let taken = worker.take_of(15, 2, 0);
    assert!(worker.take_of(16, 1, 0).overflowed);
    worker.give_back_of(15, 2, &taken, 0);
    assert_eq!(worker.table.noticed().slots, 15);
    assert!(!worker.take_of(16, 1, 0).overflowed);
}

#[test]
fn a_worker_remembers_many_pages() {
    let store = Store::default();
    // There are more than it remembers; each has a place all the same.
    let mut worker = Worker {
        store: store.clone(),
        table: Table::keyed(b"key".to_vec(), vec![per(2, MINUTE)], 1024 * SLOTS as u64),
    };
    let keys = [3, 5, 6, 1000];
    for key in keys {
        assert_eq!(worker.admitted(3, key, 0), 2);
    }
    store.calls();
    assert!(keys.into_iter().all(|key| !worker.admits_of(key, 0)));
    assert_eq!(store.calls(), 0);
    // In the places of the first and the last.
    assert!(worker.admits_of(3 + 512, 0) && worker.admits_of(1000 - 512, 0));
    store.calls();
    assert!(keys.into_iter().all(|key| !worker.admits_of(key, 0)));
    assert_eq!(store.calls(), 2);
}

#[test]
fn a_key_that_is_new_in_a_remembered_page_costs_one_call() {
    let store = Store::default();
    let mut worker = Worker::keyed(&store, &[per(9, MINUTE)]);
    assert_eq!(worker.admitted(3, 1, 0), 3);
    store.calls();
    assert!(worker.admits_of(2, 0));
    assert_eq!(store.calls(), 1);
}
