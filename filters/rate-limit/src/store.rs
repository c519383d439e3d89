//! One bucket behind one shared value: read, decide, compare-and-swap.
//!
//! Every worker runs the same protocol on the same key, so together they admit exactly what one bucket admits. A
//! failed swap means that another worker succeeded, so some worker always gets on; there is no number of failures
//! after which a request would be let go uncounted.
//!
//! Two things save calls. After a write the next one is tried with the version that the value has if nobody else wrote
//! since; the store's versions only grow, so a wrong guess never succeeds. And after a denial the bucket answers by
//! itself until the instant that it was told: others can only push that instant further away.

use tollgate::{
    store::{SharedStore, StoreError, Swap, Version},
    time::{Duration, Instant},
};

use crate::bucket::{Answer, Level, Limit};

/// How long a guessed version is used: far less than the host's counter of 2³² writes needs to come round.
const GUESS_LIFETIME: Duration = Duration::from_nanos(1_000_000_000);

/// Bytes of one limit in the shared value: requests, period, burst, level.
const ENTRY: usize = 40;

/// A worker's view of one shared bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    key: Vec<u8>,
    limits: Vec<Limit>,
    written: Option<Written>,
    denied: Option<Denied>,
}

#[derive(Debug, Clone)]
struct Written {
    levels: Vec<Level>,
    guess: Version,
    at: Instant,
}

/// What the store had.
struct Found {
    levels: Vec<Level>,
    version: Option<Version>,
    /// Whether the levels are those of other limits, carried over.
    carried_over: bool,
}

/// A denial, and when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied {
    /// The first instant at which a request would be admitted if nobody else came.
    pub not_before: Instant,
    /// The index of the limit that keeps it waiting longest.
    pub limit: usize,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Charged to every limit.
    Admitted,
    /// Charged to none.
    Denied(Denied),
}

impl Bucket {
    /// The bucket under `key`. All of its limits share one value, so a request is charged to all of them or to none.
    #[must_use]
    pub const fn new(key: Vec<u8>, limits: Vec<Limit>) -> Self {
        Self { key, limits, written: None, denied: None }
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// Asks for one request at `now`.
    ///
    /// # Errors
    /// The store refused; nothing was charged.
    pub fn take(&mut self, store: &mut impl SharedStore, now: Instant) -> Result<Taken, StoreError> {
        if let Some(denied) = self.denied {
            if now < denied.not_before {
                return Ok(Taken::Denied(denied));
            }
            self.denied = None;
        }
        if let Some(Written { levels, guess, at }) = self.written.take()
            && now.since(at) < GUESS_LIFETIME
            && let Ok(after) = self.decide(&levels, now)
            && self.write(store, after, Some(guess), now)? == Swap::Done
        {
            return Ok(Taken::Admitted);
        }
        loop {
            let found = self.read(store, now)?;
            match self.decide(&found.levels, now) {
                Ok(after) => {
                    if self.write(store, after, found.version, now)? == Swap::Done {
                        return Ok(Taken::Admitted);
                    }
                }
                // What was carried over must refill by the new limit from now on, so it is written even so.
                Err(_) if found.carried_over && self.write(store, found.levels, found.version, now)? != Swap::Done => {}
                Err(denied) => {
                    self.denied = Some(denied);
                    return Ok(Taken::Denied(denied));
                }
            }
        }
    }

    /// The levels after one request, or when the last of the limits would admit it.
    fn decide(&self, levels: &[Level], now: Instant) -> Result<Vec<Level>, Denied> {
        let mut after = Vec::with_capacity(levels.len());
        let mut denied: Option<Denied> = None;
        for (index, (level, limit)) in levels.iter().zip(&self.limits).enumerate() {
            match level.take(limit, now) {
                Answer::Admitted(level) => after.push(level),
                Answer::Denied { not_before } if denied.is_none_or(|denied| denied.not_before < not_before) => {
                    denied = Some(Denied { not_before, limit: index });
                }
                Answer::Denied { .. } => {}
            }
        }
        denied.map_or(Ok(after), Err)
    }

    fn read(&self, store: &mut impl SharedStore, now: Instant) -> Result<Found, StoreError> {
        Ok(match store.get(&self.key)? {
            None => Found { levels: vec![Level::FULL; self.limits.len()], version: None, carried_over: false },
            Some((value, version)) => {
                let (levels, carried_over) = self.decode(&value, now);
                Found { levels, version: Some(version), carried_over }
            }
        })
    }

    fn write(
        &mut self,
        store: &mut impl SharedStore,
        levels: Vec<Level>,
        version: Option<Version>,
        now: Instant,
    ) -> Result<Swap, StoreError> {
        let value = self.encode(&levels);
        let Some(version) = version else { return store.insert(&self.key, &value) };
        let swap = store.compare_and_swap(&self.key, &value, version)?;
        if swap == Swap::Done {
            self.written = Some(Written { levels, guess: version.next(), at: now });
        }
        Ok(swap)
    }

    fn encode(&self, levels: &[Level]) -> Vec<u8> {
        let mut value = Vec::with_capacity(ENTRY.saturating_mul(levels.len()));
        for (level, limit) in levels.iter().zip(&self.limits) {
            value.extend(limit.requests.get().to_le_bytes());
            value.extend(limit.per.as_nanos().to_le_bytes());
            value.extend(limit.burst.get().to_le_bytes());
            value.extend(level.to_bytes());
        }
        value
    }

    /// The levels in `value`, and whether they are those of other limits. A limit that was changed by a push keeps its
    /// bucket's fill ratio, wherever it stands in the list; one that is new starts full.
    fn decode(&self, value: &[u8], now: Instant) -> (Vec<Level>, bool) {
        let entries: Vec<(Limit, Level)> = value.chunks_exact(ENTRY).filter_map(decode_entry).collect();
        if entries.len() == self.limits.len() && entries.iter().zip(&self.limits).all(|((old, _), new)| old == new) {
            return (entries.into_iter().map(|(_, level)| level).collect(), false);
        }
        let same_place = |index| entries.get(index).filter(|_| entries.len() == self.limits.len());
        let levels = self.limits.iter().enumerate().map(|(index, limit)| {
            let same = entries.iter().find(|(old, _)| old == limit);
            let same_period = || entries.iter().find(|(old, _)| old.per == limit.per);
            match same.or_else(same_period).or_else(|| same_place(index)) {
                Some((old, level)) if old == limit => *level,
                Some((old, level)) => level.carried_over(old, limit, now),
                None => Level::FULL,
            }
        });
        (levels.collect(), true)
    }
}

fn decode_entry(entry: &[u8]) -> Option<(Limit, Level)> {
    let (requests, rest) = entry.split_first_chunk()?;
    let (per, rest) = rest.split_first_chunk()?;
    let (burst, rest) = rest.split_first_chunk()?;
    let count = |bytes: &[u8; 8]| tollgate::config::Count::new(u64::from_le_bytes(*bytes));
    let per = Duration::from_nanos(u64::from_le_bytes(*per));
    let limit = Limit { requests: count(requests)?, per, burst: count(burst)? };
    Some((limit, Level::from_bytes(*rest.first_chunk()?)))
}

#[cfg(test)]
pub(crate) mod tests;
