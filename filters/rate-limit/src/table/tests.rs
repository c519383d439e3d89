use std::{cell::RefCell, collections::HashMap, rc::Rc};

use proptest::prelude::*;
use tollgate::config::Count;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// The host's shared data, as proxy-wasm-cpp-host has it: one counter of versions for all keys.
#[derive(Default)]
struct Shared {
    values: HashMap<Vec<u8>, (Vec<u8>, Version)>,
    last: u32,
    calls: u32,
    broken: bool,
    /// What another worker does right before the next write.
    interference: Option<Interference>,
}

type Interference = Box<dyn FnOnce(&Store)>;

#[derive(Clone, Default)]
pub(crate) struct Store(Rc<RefCell<Shared>>);

impl Store {
    fn call(&self) -> Result<(), StoreError> {
        let mut shared = self.0.borrow_mut();
        shared.calls += 1;
        if shared.broken { Err(StoreError(10)) } else { Ok(()) }
    }

    fn interfere(&self) {
        let interference = self.0.borrow_mut().interference.take();
        if let Some(interference) = interference {
            interference(self);
        }
    }

    fn calls(&self) -> u32 {
        std::mem::take(&mut self.0.borrow_mut().calls)
    }
}

impl SharedStore for Store {
    fn get(&mut self, key: &[u8]) -> Result<Option<(Vec<u8>, Version)>, StoreError> {
        self.call()?;
        Ok(self.0.borrow().values.get(key).cloned())
    }

    fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<Swap, StoreError> {
        self.compare_and_swap(key, value, Version(u32::MAX))
    }

    fn compare_and_swap(&mut self, key: &[u8], value: &[u8], version: Version) -> Result<Swap, StoreError> {
        self.call()?;
        self.interfere();
        let shared = &mut *self.0.borrow_mut();
        if shared.values.get(key).is_some_and(|(_, current)| *current != version) {
            return Ok(Swap::Conflict);
        }
        shared.last += 1;
        shared.values.insert(key.to_vec(), (value.to_vec(), Version(shared.last)));
        Ok(Swap::Done)
    }
}

const SECOND: u64 = 1_000_000_000;

fn limit(requests: u64, per: u64) -> Limit {
    let requests = Count::new(requests).unwrap();
    Limit { requests, per: Duration::from_nanos(per), burst: requests }
}

fn bucket(limits: &[Limit]) -> Bucket {
    Bucket::new(b"key".to_vec(), limits.to_vec())
}

fn admits(bucket: &mut Bucket, store: &Store, now: u64) -> bool {
    bucket.take(&mut store.clone(), Instant::from_nanos(now)) == Ok(Taken::Admitted)
}

#[test]
fn workers_share_one_allowance() {
    let store = Store::default();
    let mut workers = vec![bucket(&[limit(100, 60 * SECOND)]); 4];
    let admitted = (0..400).filter(|n| admits(&mut workers[n % 4], &store, 1)).count();
    assert_eq!(admitted, 100);
}

#[test]
fn an_undisturbed_worker_needs_one_call_for_a_request_and_none_for_a_denial() {
    let store = Store::default();
    let mut worker = bucket(&[limit(3, 60 * SECOND)]);
    let calls = (0..6).map(|_| {
        admits(&mut worker, &store, 7);
        store.calls()
    });
    // Create: get and insert. Get and swap. Then the guess. Then a read that says no, remembered from there.
    assert_eq!(calls.collect::<Vec<_>>(), [2, 2, 1, 1, 0, 0]);
    assert!(admits(&mut worker, &store, 7 + 20 * SECOND));
}

#[test]
fn a_denial_says_exactly_when_to_come_back() {
    let store = Store::default();
    let mut worker = bucket(&[limit(2, 10 * SECOND), limit(3, 60 * SECOND)]);
    assert!(admits(&mut worker, &store, 0) && admits(&mut worker, &store, 0));
    let denied = |instant, limit| Ok(Taken::Denied(Denied { not_before: Instant::from_nanos(instant), limit }));
    assert_eq!(worker.take(&mut store.clone(), Instant::from_nanos(0)), denied(5 * SECOND, 0));
    assert!(!admits(&mut worker, &store, 5 * SECOND - 1));
    assert!(admits(&mut worker, &store, 5 * SECOND));
    // Now the slower limit is the one that denies, and the faster one is not charged for it.
    assert_eq!(worker.take(&mut store.clone(), Instant::from_nanos(10 * SECOND)), denied(20 * SECOND, 1));
    assert!(admits(&mut worker, &store, 20 * SECOND));
}

#[test]
fn another_workers_write_between_read_and_write_is_not_lost() {
    let store = Store::default();
    let (mut one, other) = (bucket(&[limit(2, 60 * SECOND)]), bucket(&[limit(2, 60 * SECOND)]));
    // Both create the bucket; then the last token goes to the other while this one is about to take it.
    for expected in [true, false] {
        let mut other = other.clone();
        store.0.borrow_mut().interference = Some(Box::new(move |store| {
            admits(&mut other, store, 0);
        }));
        assert_eq!(admits(&mut one, &store, 0), expected);
    }
}

#[test]
fn a_guess_is_not_used_after_a_second() {
    let store = Store::default();
    let mut worker = bucket(&[limit(10, SECOND)]);
    for now in [0, 0, SECOND] {
        assert!(admits(&mut worker, &store, now));
        assert_eq!(store.calls(), 2, "at {now}");
    }
}

#[test]
fn a_broken_store_is_an_error_and_charges_nothing() {
    let store = Store::default();
    let mut worker = bucket(&[limit(1, 60 * SECOND)]);
    store.0.borrow_mut().broken = true;
    assert_eq!(worker.take(&mut store.clone(), Instant::default()), Err(StoreError(10)));
    store.0.borrow_mut().broken = false;
    assert!(admits(&mut worker, &store, 0));
}

#[test]
fn a_push_keeps_the_fill_ratio_and_a_limit_that_comes_back_is_not_fresh() {
    let store = Store::default();
    let (hundred, thousand) = (limit(100, 60 * SECOND), limit(1000, 60 * SECOND));
    let mut old = bucket(&[hundred]);
    assert_eq!((0..80).filter(|_| admits(&mut old, &store, 0)).count(), 80);
    let mut new = bucket(&[thousand]);
    assert_eq!((0..900).filter(|_| admits(&mut new, &store, 0)).count(), 200);
    let mut back = bucket(&[hundred]);
    assert_eq!((0..200).filter(|_| admits(&mut back, &store, 0)).count(), 0);
}

#[test]
fn a_raised_limit_refills_at_once_though_everybody_is_denied() {
    let store = Store::default();
    let (slow, fast) = (limit(10, 3600 * SECOND), limit(10, SECOND));
    let mut old = bucket(&[slow]);
    assert_eq!((0..20).filter(|_| admits(&mut old, &store, 0)).count(), 10);
    let mut new = vec![bucket(&[fast]); 2];
    assert!(!admits(&mut new[0], &store, 0) && !admits(&mut new[1], &store, 0));
    assert!(admits(&mut new[0], &store, SECOND / 10), "ten a second");
    assert!(!admits(&mut new[1], &store, SECOND / 10));
}

#[test]
fn a_lowered_limit_is_not_refilled_by_the_old_one() {
    let store = Store::default();
    let mut old = bucket(&[limit(1000, SECOND)]);
    assert_eq!((0..2000).filter(|_| admits(&mut old, &store, 0)).count(), 1000);
    let lowered = limit(1000, 86_400 * SECOND);
    assert!(!admits(&mut bucket(&[lowered]), &store, 0));
    let later = (0..2000).filter(|_| admits(&mut bucket(&[lowered]), &store, SECOND)).count();
    assert_eq!(later, 0, "one in 86.4 s");
}

#[test]
fn limits_keep_their_levels_when_they_move_or_go() {
    let (minute, day) = (limit(100, 60 * SECOND), limit(50, 86_400 * SECOND));
    for pushed in [vec![day], vec![day, minute], vec![limit(7, SECOND), minute, day]] {
        let store = Store::default();
        let mut old = bucket(&[minute, day]);
        assert_eq!((0..200).filter(|_| admits(&mut old, &store, 0)).count(), 50);
        let after = (0..200).filter(|_| admits(&mut bucket(&pushed), &store, 1)).count();
        assert_eq!(after, 0, "{pushed:?}");
    }
}

#[test]
fn a_value_that_nobody_could_have_written_is_a_full_bucket() {
    let store = Store::default();
    for value in [&b""[..], b"x", &[0; ENTRY], &[0xff; ENTRY - 1]] {
        store.0.borrow_mut().values.insert(b"key".to_vec(), (value.to_vec(), Version(7)));
        assert!(admits(&mut bucket(&[limit(1, SECOND)]), &store, 0), "{value:?}");
    }
}

proptest! {
    /// Any interleaving of workers, with writes in between, admits what one bucket alone admits at those times.
    #[test]
    fn workers_together_admit_what_one_would(
        requests in 1_u64..20,
        schedule in prop::collection::vec((0_usize..4, 0_u64..SECOND / 4, prop::option::of(0_usize..4)), 1..200),
    ) {
        let limit = limit(requests, SECOND);
        let store = Store::default();
        let workers: Vec<_> = (0..4).map(|_| Rc::new(RefCell::new(bucket(&[limit])))).collect();
        let alone = Store::default();
        let mut single = bucket(&[limit]);
        let (mut together, mut expected, mut now) = (0, 0, 0);
        for (worker, step, meanwhile) in schedule {
            now += step;
            let extra = Rc::new(RefCell::new(0));
            if let Some(other) = meanwhile.filter(|other| *other != worker) {
                let (other, extra) = (Rc::clone(&workers[other]), Rc::clone(&extra));
                store.0.borrow_mut().interference = Some(Box::new(move |store| {
                    *extra.borrow_mut() += 1 + u32::from(admits(&mut other.borrow_mut(), store, now)) * 1000;
                }));
            }
            together += u32::from(admits(&mut workers[worker].borrow_mut(), &store, now));
            store.0.borrow_mut().interference = None;
            let (tried, admitted) = (*extra.borrow() % 1000, *extra.borrow() / 1000);
            together += admitted;
            for _ in 0..=tried {
                expected += u32::from(admits(&mut single, &alone, now));
            }
            prop_assert_eq!(together, expected);
        }
    }
}
