//! Any schedule of any workers, against exact fractions.

use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::bucket::tests::oracle::{Admitted, Oracle, Oracles, check_all_windows};

const WORKERS: usize = 4;

/// One request, or two of which the second comes between the first one's read and its write.
#[derive(Debug, Clone)]
struct Event {
    worker: usize,
    key: u64,
    cost: u64,
    /// Since the event before, in quarters of the time that one request takes to refill, and a rest.
    pause: (u64, u64),
    /// How far the worker's clock is behind.
    behind: u64,
    meanwhile: Option<(usize, u64, u64)>,
}

fn any_event(keys: u64, behind: u64) -> impl Strategy<Value = Event> {
    let pause = (prop_oneof![3 => Just(0_u64), 2 => 0..6_u64, 1 => 0..60_u64], 0_u64..2);
    let cost = || prop_oneof![3 => Just(1_u64), 1 => 1_u64..4];
    let meanwhile = prop::option::of((0..WORKERS, 0..keys, cost()));
    let behind = prop_oneof![3 => Just(0_u64), 1 => 0..=behind];
    (0..WORKERS, 0..keys, cost(), pause, behind, meanwhile)
        .prop_map(|(worker, key, cost, pause, behind, meanwhile)| Event { worker, key, cost, pause, behind, meanwhile })
}

fn any_limits() -> impl Strategy<Value = Vec<Limit>> {
    let quick = (1_u64..5, 1_u64..40, 1_u64..7);
    let slow = (1_u64..200, SECOND..100 * SECOND, 1_u64..20);
    let limit = prop_oneof![3 => quick, 1 => slow].prop_map(|(requests, nanos, burst)| limit(requests, nanos, burst));
    prop::collection::vec(limit, 1..4)
}

fn any_events(keys: u64, behind: u64) -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(any_event(keys, behind), 1..60)
}

/// The workers, what each key was admitted and when, and the latest time that anybody has been at.
struct World {
    store: Store,
    limits: Vec<Limit>,
    workers: Vec<Rc<RefCell<Worker>>>,
    admitted: Vec<Admitted>,
    now: u64,
}

/// An answer, by the worker's own clock.
struct Asked {
    key: u64,
    cost: u64,
    now: u64,
    taken: Taken,
}

impl World {
    fn new(limits: &[Limit], keys: u64) -> Self {
        let store = Store::default();
        let worker = Worker::keyed(&store, limits);
        let workers = (0..WORKERS).map(|_| Rc::new(RefCell::new(worker.clone()))).collect();
        let admitted = vec![Vec::new(); usize::try_from(keys).unwrap()];
        Self { store, limits: limits.to_vec(), workers, admitted, now: 1_000 }
    }

    /// The answers, in the order in which they took effect.
    fn play(&mut self, event: &Event) -> Vec<Asked> {
        let limit = self.limits[0];
        let (quarters, rest) = event.pause;
        self.now += limit.per.as_nanos() / limit.requests.get() / 4 * quarters + rest;
        let (time, now) = (self.now, self.now - event.behind);
        // No cost that could never be admitted.
        let most = self.limits.iter().map(|limit| limit.burst.get()).min().unwrap();
        let mut others = None;
        if let Some((worker, key, cost)) = event.meanwhile.filter(|(worker, ..)| *worker != event.worker) {
            let (worker, cost) = (Rc::clone(&self.workers[worker]), cost.min(most));
            others = Some(meanwhile(&self.store, move || {
                let taken = worker.borrow_mut().take_of(key, cost, time);
                Asked { key, cost, now: time, taken }
            }));
        }
        let cost = event.cost.min(most);
        let taken = self.workers[event.worker].borrow_mut().take_of(event.key, cost, now);
        self.store.interfere(|_| {});
        let others = others.and_then(|others| others.take());
        let asked: Vec<_> = others.into_iter().chain([Asked { key: event.key, cost, now, taken }]).collect();
        for asked in asked.iter().filter(|asked| admitted(&asked.taken)) {
            self.admitted[asked.key as usize].push((asked.taken.at, asked.cost));
        }
        asked
    }

    fn check_all_windows(&self) -> Result<(), TestCaseError> {
        for (limit, admitted) in self.limits.iter().flat_map(|limit| self.admitted.iter().map(move |all| (limit, all)))
        {
            check_all_windows(limit, admitted).map_err(TestCaseError::fail)?;
        }
        Ok(())
    }

    /// A new worker on a copy of everything that is stored.
    fn copy(&self) -> Worker {
        let copy = Store::default();
        for (key, value) in self.store.values() {
            copy.overwrite(&key, &value);
        }
        Worker::keyed(&copy, &self.limits)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(target_arch = "wasm32") { 64 } else { 256 }))]

    /// With one clock, and a slot for each key, every answer is the oracle's, and says the same.
    #[test]
    fn workers_together_are_one_exact_limiter(limits in any_limits(), events in any_events(4, 0)) {
        let mut world = World::new(&limits, 4);
        let mut oracles = vec![Oracles::full(&limits, world.now); 4];
        for event in &events {
            for Asked { key, cost, now, taken } in world.play(event) {
                let expected = oracles[key as usize].take(now, cost);
                match (denied_until(&taken), expected) {
                    (None, Ok(())) => {
                        prop_assert_eq!(remaining(&taken, &limits, now), oracles[key as usize].remaining(now));
                    }
                    // What a worker remembers can only be too early, as when others came since.
                    (Some((not_before, _)), Err(exact)) => prop_assert!(now < not_before && not_before <= exact),
                    (found, expected) => prop_assert!(false, "{:?} and not {:?} for {}", found, expected, cost),
                }
            }
        }
        world.check_all_windows()?;
    }

    #[test]
    fn coming_back_exactly_when_told_is_admitted_and_no_nanosecond_earlier(
        limits in any_limits(), events in any_events(3, 0),
    ) {
        let mut world = World::new(&limits, 3);
        for event in &events {
            world.play(event);
            let look = world.copy().take_of(event.key, 1, world.now);
            if let Some((not_before, _)) = denied_until(&look) {
                prop_assert!(!world.copy().admits_of(event.key, not_before - 1));
                prop_assert!(world.copy().admits_of(event.key, not_before));
                prop_assert!(!admitted(&world.copy().look_of(event.key, not_before - 1)));
                prop_assert!(admitted(&world.copy().look_of(event.key, not_before)));
            }
        }
    }

    /// With clocks that differ, what conforms by a worker's own clock passes. What passes does so at an instant between the
    /// one that its worker read and now, and by these instants no window ever sees too much.
    #[test]
    fn clocks_that_differ_give_nothing_and_take_nothing(limits in any_limits(), events in any_events(4, 100)) {
        let mut world = World::new(&limits, 4);
        let mut oracles = vec![Oracles::full(&limits, 0); 4];
        for event in &events {
            for Asked { key, cost, now, taken } in world.play(event) {
                let oracle = &mut oracles[key as usize];
                let mut by_own_clock = oracle.clone();
                if by_own_clock.take(now, cost).is_ok() {
                    prop_assert!(admitted(&taken), "denied {} to {} at {}", cost, key, now);
                }
                if admitted(&taken) {
                    prop_assert!(at(now) <= taken.at && taken.at <= at(world.now));
                    prop_assert!(oracle.take(taken.at.as_nanos(), cost).is_ok());
                }
            }
        }
        world.check_all_windows()?;
    }

    /// More keys than slots: a key gets no more from its own slots and the overflow bucket together than from one bucket.
    #[test]
    fn a_key_that_moves_to_the_overflow_bucket_and_back_gains_nothing(
        limits in any_limits(), events in prop::collection::vec(any_event(20, 100), 1..250),
    ) {
        let mut world = World::new(&limits, 20);
        for event in &events {
            world.play(event);
        }
        world.check_all_windows()?;
    }

    /// While no limit changes every window keeps the bound, and a push itself gives nothing: what is admitted after it, the
    /// oracle admits that was carried over exactly.
    #[test]
    fn a_push_gives_nothing(
        epochs in prop::collection::vec((any_limits(), 0..SECOND, any_events(1, 0)), 1..5),
    ) {
        let mut world = World::new(&epochs[0].0[..1], 1);
        let mut oracle = Oracle::full(world.limits[0], 0);
        for (limits, pause, events) in epochs {
            world.now += pause;
            world.limits.truncate(0);
            world.limits.push(limits[0]);
            for worker in &world.workers {
                worker.replace(Worker::keyed(&world.store, &world.limits));
            }
            world.admitted = vec![Vec::new()];
            // The bucket learns of it when the next request comes.
            let mut pushed = Some(limits[0]);
            for event in &events {
                for Asked { now, cost, taken, .. } in world.play(event) {
                    if let Some(limit) = pushed.take() {
                        oracle.carry_over(limit, now);
                    }
                    if admitted(&taken) {
                        prop_assert!(oracle.take(now, cost, 0).is_ok(), "{} too many", cost);
                    }
                }
            }
            world.check_all_windows()?;
        }
    }
}
