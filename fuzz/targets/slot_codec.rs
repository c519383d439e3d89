//! Whatever bytes a table finds in the store, it does not panic, writes pages of bounded size that it reads as it wrote
//! them, and admits no more than the burst at one instant.
#![no_main]

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use fuzz::Store;
use libfuzzer_sys::fuzz_target;
use rate_limit::{
    bucket::Limit,
    table::{BucketId, Charge, Outcome, Table, Taken},
};
use tollgate::{
    config::Count,
    time::{Duration, Instant},
};

#[derive(Debug, Arbitrary)]
struct Input {
    limits: [LimitInput; 8],
    count: u8,
    is_keyed: bool,
    gives_back: bool,
    values: Vec<Value>,
    now: u64,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
struct LimitInput {
    requests: u64,
    per: u64,
    burst: u64,
    is_small: bool,
}

/// What stands in the store.
#[derive(Debug, Arbitrary)]
enum Value {
    Bytes(Vec<u8>),
    /// A page of these limits, or of others.
    Page {
        others: Option<(u8, [LimitInput; 8])>,
        flags: u8,
        counted: u8,
        as_of: u64,
        slots: Vec<(SlotId, [LevelInput; 8])>,
        more: Vec<u8>,
    },
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum SlotId {
    OfKey(u8),
    Any(u64),
}

/// The tick at which a bucket is full.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum LevelInput {
    Any(u128),
    /// By requests that are missing at the frozen instant.
    Missing(u8),
}

#[derive(Debug, Arbitrary)]
enum Step {
    Take { worker: bool, key: u8, cost: u8, kept_percent: u8 },
    Look { worker: bool, key: u8, cost: u8 },
    WouldDeny { worker: bool, key: u8, cost: u8 },
    GiveBack { worker: bool, taken: u8 },
    Charge { worker: bool, key: u8, cost: u8 },
}

impl LimitInput {
    /// Within what a configuration may have.
    fn limit(&self) -> Limit {
        let (most_requests, longest) =
            if self.is_small { (20, 1_000_000_000) } else { (Count::MAX.get(), 366 * 86_400 * 500 * 1_000_000_000) };
        let count = |number: u64| Count::new(number % most_requests + 1).expect("a count");
        let per = Duration::from_nanos(1_000_000 + self.per % (longest - 1_000_000));
        Limit { requests: count(self.requests), per, burst: count(self.burst) }
    }
}

fn limits(count: u8, inputs: &[LimitInput; 8]) -> Vec<Limit> {
    inputs.iter().take(usize::from(count % 8) + 1).map(LimitInput::limit).collect()
}

impl Value {
    /// The layout is that of `rate_limit::table`'s pages.
    fn bytes(&self, own: &[Limit], now: u64) -> Vec<u8> {
        let (others, flags, counted, as_of, slots, more) = match self {
            Self::Bytes(bytes) => return bytes.clone(),
            Self::Page { others, flags, counted, as_of, slots, more } => (others, flags, counted, as_of, slots, more),
        };
        let limits = others.map_or(own.to_vec(), |(count, others)| limits(count, &others));
        let mut bytes = vec![limits.len() as u8, *flags, *counted];
        bytes.extend(as_of.to_le_bytes());
        for limit in &limits {
            for number in [limit.requests.get(), limit.per.as_nanos(), limit.burst.get()] {
                bytes.extend(number.to_le_bytes());
            }
        }
        for (id, levels) in slots.iter().take(18) {
            let id = match id {
                SlotId::OfKey(key) => slot_of(*key),
                SlotId::Any(id) => *id,
            };
            bytes.extend(id.to_le_bytes());
            for (level, limit) in levels.iter().zip(&limits) {
                let level = match level {
                    LevelInput::Any(level) => *level,
                    LevelInput::Missing(requests) => {
                        u128::from(now.max(*as_of)) * u128::from(limit.requests.get())
                            + u128::from(limit.per.as_nanos()) * u128::from(*requests)
                    }
                };
                bytes.extend(level.to_le_bytes());
            }
        }
        bytes.extend(more.iter().take(40));
        bytes
    }
}

const KEYS: u8 = 24;
const SLOTS: usize = 16;

fn slot_of(key: u8) -> u64 {
    u64::from(key % KEYS)
}

/// All in the same page, so that it runs out of slots.
fn id_of(key: u8, is_keyed: bool) -> BucketId {
    if is_keyed { BucketId(u128::from(slot_of(key)) << 64) } else { BucketId::default() }
}

fuzz_target!(|input: Input| {
    let limits = limits(input.count, &input.limits);
    let now = Instant::from_nanos(input.now);
    let table = || {
        let key = b"k".to_vec();
        let table =
            if input.is_keyed { Table::keyed(key, limits.clone(), 16) } else { Table::single(key, limits.clone()) };
        if input.gives_back { table.giving_back() } else { table }
    };
    let mut workers = [table(), table()];
    let mut store = Store::default();
    let in_the_way: Vec<_> = input.values.iter().take(2).map(|value| value.bytes(&limits, input.now)).collect();
    store.put_in_the_way(in_the_way.clone());
    let longest = 11 + 24 * limits.len() + SLOTS * (8 + 16 * limits.len());
    let check_lengths = |store: &Store| {
        let of_table = |value: &&Vec<u8>| !in_the_way.contains(value);
        assert!(store.values().values().filter(of_table).all(|value| value.len() <= longest));
    };
    let smallest = limits.iter().map(|limit| limit.burst.get()).min().expect("a limit");

    // What was admitted and not given back, by bucket, and from the overflow bucket.
    let mut admitted: BTreeMap<u128, u128> = BTreeMap::new();
    let mut overflowed = 0;
    let mut takings: Vec<(u8, u64, Taken)> = Vec::new();
    for step in input.steps.iter().take(64) {
        match *step {
            Step::Take { worker, key, cost, kept_percent } => {
                let charge = Charge { cost: u64::from(cost), kept_percent: u64::from(kept_percent % 100) };
                let id = id_of(key, input.is_keyed);
                let worker = &mut workers[usize::from(worker)];
                let taken = worker.take(&mut store, id, charge, now).expect("the store answers");
                match &taken.outcome {
                    Outcome::Denied(denied) => {
                        assert!(denied.limit < limits.len() && denied.not_before >= now);
                    }
                    Outcome::Admitted(levels) => {
                        assert_eq!(levels.iter().count(), limits.len());
                        let sum = admitted.entry(id.0).or_default();
                        *sum += u128::from(cost);
                        assert!(*sum <= u128::from(smallest), "admitted {sum} of {smallest} at one instant");
                        overflowed += if taken.overflowed { u128::from(cost) } else { 0 };
                        assert!(overflowed <= u128::from(smallest), "overflow: {overflowed} of {smallest}");
                        if cost > 0 && !taken.overflowed {
                            // Read by one who remembers nothing, it is what was written.
                            let seen = table().look(&mut store, id, Charge { cost: 0, ..Charge::ONE }, now);
                            let seen = seen.expect("the store answers");
                            match seen.outcome {
                                Outcome::Admitted(seen) => assert_eq!(seen, *levels),
                                Outcome::Denied(denied) => panic!("a request of no cost was denied: {denied:?}"),
                            }
                        }
                        takings.push((key, u64::from(cost), taken));
                    }
                }
            }
            Step::Look { worker, key, cost } => {
                let charge = Charge { cost: u64::from(cost), ..Charge::ONE };
                let id = id_of(key, input.is_keyed);
                workers[usize::from(worker)].look(&mut store, id, charge, now).expect("the store answers");
            }
            Step::WouldDeny { worker, key, cost } => {
                let charge = Charge { cost: u64::from(cost), ..Charge::ONE };
                let id = id_of(key, input.is_keyed);
                workers[usize::from(worker)].would_deny(&mut store, id, charge, now).expect("the store answers");
            }
            Step::GiveBack { worker, taken } if input.gives_back && !takings.is_empty() => {
                let (key, cost, taken) = takings.swap_remove(usize::from(taken) % takings.len());
                let id = id_of(key, input.is_keyed);
                let worker = &mut workers[usize::from(worker)];
                worker.give_back(&mut store, id, cost, &taken, now).expect("the store answers");
                *admitted.entry(id.0).or_default() -= u128::from(cost);
                overflowed -= if taken.overflowed { u128::from(cost) } else { 0 };
            }
            Step::GiveBack { .. } => {}
            Step::Charge { worker, key, cost } => {
                let id = id_of(key, input.is_keyed);
                workers[usize::from(worker)].charge(&mut store, id, u64::from(cost), now).expect("the store answers");
            }
        }
        check_lengths(&store);
    }

    // To write what was read changes nothing.
    let id = id_of(0, input.is_keyed);
    for _ in 0..2 {
        table().charge(&mut store, id, 0, now).expect("the store answers");
    }
    let written = store.values();
    table().charge(&mut store, id, 0, now).expect("the store answers");
    assert_eq!(store.values(), written);
    check_lengths(&store);
});
