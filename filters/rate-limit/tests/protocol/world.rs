//! The shared store, the workers' scripts and what came of them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rate_limit::{
    bucket::Limit,
    table::{BucketId, Charge, Outcome, Table, Taken},
};
use shuttle::{
    Config, Runner,
    scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Scheduler},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};
use tollgate::{
    config::Count,
    store::{SharedStore, StoreError, Swap, Version},
    time::{Duration, Instant},
};

/// What proxy-wasm-cpp-host keeps: one counter of versions for all keys, of which each write takes the next.
#[derive(Debug, Clone, Default)]
struct Shared {
    values: HashMap<Vec<u8>, (Vec<u8>, Version)>,
    last: u32,
}

/// One worker's view of it. Each call is one step, before which any other worker may come.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    shared: Arc<Mutex<Shared>>,
    /// Shuttle may switch to another thread right before it is touched. `None` outside of Shuttle.
    step: Option<Arc<AtomicUsize>>,
    latest: Option<Version>,
}

impl Store {
    fn new(shared: Shared, step: Option<Arc<AtomicUsize>>) -> Self {
        Self { shared: Arc::new(Mutex::new(shared)), step, latest: None }
    }

    fn call<T>(&self, action: impl FnOnce(&mut Shared) -> T) -> T {
        if let Some(step) = &self.step {
            step.fetch_add(1, Ordering::SeqCst);
        }
        action(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&mut self, key: &[u8], value: &[u8], known: Version, expected: Option<Version>) -> Swap {
        let done = self.call(|shared| {
            if shared.values.get(key).is_some_and(|(_, current)| Some(*current) != expected) {
                return false;
            }
            shared.last += 1;
            shared.values.insert(key.to_vec(), (value.to_vec(), Version(shared.last)));
            true
        });
        if !done {
            return Swap::Conflict;
        }
        // The host doesn't say which number it gave.
        let next = self.latest.map_or(known, |latest| latest.later(known)).next();
        self.latest = Some(next);
        Swap::Done(next)
    }
}

impl SharedStore for Store {
    fn get(&mut self, key: &[u8]) -> Result<Option<(Vec<u8>, Version)>, StoreError> {
        let found = self.call(|shared| shared.values.get(key).cloned());
        self.latest = found.as_ref().map(|(_, version)| *version);
        Ok(found)
    }

    fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<Swap, StoreError> {
        Ok(self.write(key, value, Version(0), None))
    }

    fn compare_and_swap(&mut self, key: &[u8], value: &[u8], version: Version) -> Result<Swap, StoreError> {
        Ok(self.write(key, value, version, Some(version)))
    }
}

pub(crate) fn limit(requests: u64, nanos: u64, burst: u64) -> Limit {
    let count = |number| Count::new(number).unwrap_or(Count::ONE);
    Limit { requests: count(requests), per: Duration::from_nanos(nanos), burst: count(burst) }
}

/// What a worker does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    Take {
        key: u64,
        cost: u64,
        now: u64,
    },
    /// Gives back what it took last, if it got it.
    GiveBack {
        now: u64,
    },
    Charge {
        key: u64,
        cost: u64,
        now: u64,
    },
}

/// A request for one at `now`.
pub(crate) fn take(key: u64, now: u64) -> Op {
    Op::Take { key, cost: 1, now }
}

/// What became of a request.
#[derive(Debug, Clone)]
pub(crate) struct Answered {
    pub(crate) worker: usize,
    pub(crate) key: u64,
    pub(crate) cost: u64,
    pub(crate) taken: Taken,
    pub(crate) given_back: bool,
}

impl Answered {
    pub(crate) fn is_admitted(&self) -> bool {
        matches!(self.taken.outcome, Outcome::Admitted(_))
    }
}

/// A worker at work.
struct Worker {
    number: usize,
    table: Table,
    store: Store,
    answered: Vec<Answered>,
}

fn id(key: u64) -> BucketId {
    // All in the first page.
    BucketId(u128::from(key) << 64)
}

impl Worker {
    fn act(&mut self, op: Op) -> Result<(), StoreError> {
        match op {
            Op::Take { key, cost, now } => {
                let charge = Charge { cost, ..Charge::ONE };
                let taken = self.table.take(&mut self.store, id(key), charge, Instant::from_nanos(now))?;
                self.answered.push(Answered { worker: self.number, key, cost, taken, given_back: false });
            }
            Op::GiveBack { now } => {
                if let Some(last) = self.answered.last_mut().filter(|last| last.is_admitted() && !last.given_back) {
                    let now = Instant::from_nanos(now);
                    self.table.give_back(&mut self.store, id(last.key), last.cost, &last.taken, now)?;
                    last.given_back = true;
                }
            }
            Op::Charge { key, cost, now } => {
                self.table.charge(&mut self.store, id(key), cost, Instant::from_nanos(now))?;
            }
        }
        Ok(())
    }
}

/// What all have done, and what is left.
pub(crate) struct History {
    pub(crate) answered: Vec<Answered>,
    /// Slots that came into use since the start, as the workers noticed.
    pub(crate) slots: i64,
    store: Store,
    table: Table,
}

impl History {
    pub(crate) fn admitted(&self, key: u64) -> u64 {
        let of_key = self.answered.iter().filter(|one| one.key == key && one.is_admitted() && !one.given_back);
        of_key.map(|one| one.cost).sum()
    }

    pub(crate) fn admitted_to(&self, worker: usize) -> u64 {
        self.answered.iter().filter(|one| one.worker == worker && one.is_admitted()).map(|one| one.cost).sum()
    }

    pub(crate) fn was_overflow_used(&self, key: u64) -> bool {
        self.answered.iter().any(|one| one.key == key && one.taken.overflowed)
    }

    /// How many requests of one key are admitted at `now`, after all is over.
    pub(crate) fn remaining(&mut self, key: u64, now: u64) -> u64 {
        let mut admits = || {
            let taken = self.table.take(&mut self.store, id(key), Charge::ONE, Instant::from_nanos(now));
            taken.is_ok_and(|taken| matches!(taken.outcome, Outcome::Admitted(_)))
        };
        (0..100).take_while(|_| admits()).count() as u64
    }

    /// Whether no window saw more of any key than B + L·Δ/I.
    pub(crate) fn keeps_the_bound(&self, limit: &Limit) -> bool {
        let [requests, per, burst] = [limit.requests.get(), limit.per.as_nanos(), limit.burst.get()].map(u128::from);
        let admitted = || self.answered.iter().filter(|one| one.is_admitted() && !one.given_back);
        let at = |one: &Answered| u128::from(one.taken.at.as_nanos());
        admitted().all(|first| {
            let since = || admitted().filter(|one| one.key == first.key && at(one) >= at(first));
            since().all(|last| {
                let sum: u64 = since().filter(|one| at(one) <= at(last)).map(|one| one.cost).sum();
                u128::from(sum) * per <= burst * per + requests * (at(last) - at(first))
            })
        })
    }
}

/// A store that has been used, and the workers that go on.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    shared: Shared,
    pub(crate) workers: Vec<Table>,
}

impl Start {
    /// After the first worker has done `before`.
    pub(crate) fn after(mut workers: Vec<Table>, before: &[Op]) -> Self {
        let store = Store::new(Shared::default(), None);
        let mut worker = Worker { number: 0, table: workers.remove(0), store, answered: Vec::new() };
        assert!(before.iter().all(|op| worker.act(*op).is_ok()));
        assert!(worker.answered.iter().all(Answered::is_admitted));
        worker.table.noticed();
        workers.insert(0, worker.table);
        let shared = worker.store.call(|shared| shared.clone());
        Self { shared, workers }
    }

    /// Lets every worker follow its script, with switches where Shuttle wants them.
    pub(crate) fn play(&self, scripts: Vec<Vec<Op>>) -> History {
        let store = Store::new(self.shared.clone(), Some(Arc::new(AtomicUsize::new(0))));
        let work = |number: usize, table: &Table, script: Vec<Op>| {
            let mut worker = Worker {
                number,
                table: table.clone(),
                store: store.clone(),
                answered: Vec::with_capacity(script.len()),
            };
            move || {
                assert!(script.iter().all(|op| worker.act(*op).is_ok()), "the store never refuses");
                worker
            }
        };
        let mut scripts = self.workers.iter().zip(scripts).enumerate();
        let first = scripts.next().map(|(number, (table, script))| work(number, table, script));
        let threads: Vec<_> =
            scripts.map(|(number, (table, script))| thread::spawn(work(number, table, script))).collect();
        // The first works here: fewer threads, fewer schedules.
        let mut workers: Vec<_> = first.map(|first| first()).into_iter().collect();
        workers.extend(threads.into_iter().filter_map(|thread| thread.join().ok()));
        assert_eq!(workers.len(), self.workers.len());
        let slots = workers.iter_mut().map(|worker| worker.table.noticed().slots).sum();
        let answered = workers.into_iter().flat_map(|worker| worker.answered).collect();
        let store = Store { step: None, ..store };
        History { answered, slots, store, table: self.workers[0].clone() }
    }
}

/// Every schedule there is. How many.
pub(crate) fn exhaustively(scenario: impl Fn() + Send + Sync + 'static) -> usize {
    run(DfsScheduler::new(None, false), scenario)
}

/// So many schedules by chance, and as many with few switches at unlikely places.
pub(crate) fn randomly(schedules: usize, scenario: impl Fn() + Send + Sync + Clone + 'static) {
    run(RandomScheduler::new_from_seed(7, schedules), scenario.clone());
    run(PctScheduler::new_from_seed(7, 3, schedules), scenario);
}

fn run(scheduler: impl Scheduler + 'static, scenario: impl Fn() + Send + Sync + 'static) -> usize {
    let mut config = Config::new();
    config.stack_size = 0x4_0000;
    Runner::new(scheduler, config).run(scenario)
}
