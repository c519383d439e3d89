//! The buckets of one rule behind shared values: read, decide, compare-and-swap.
//!
//! Every worker runs the same protocol on the same values, so together they admit exactly what one limiter admits. A
//! failed swap means that another worker succeeded, so some worker always gets on; there is no number of failures
//! after which a request would be let go uncounted.
//!
//! The values are pages ([`page`]), whose number is fixed; a key's hash, under a seed that nobody outside knows, says
//! which page. A key that finds no room there is charged to the table's overflow bucket, which all such keys share, and
//! which sets the level that a key starts with once it gets a slot: so running out of room never gives more.
//!
//! Two things save calls. A page that was read or written is remembered with the version that it has if nobody else wrote
//! since; the store's versions only grow, so a wrong guess never succeeds. And a remembered page that denies is as
//! good as the current one: others can only have pushed the instant further away. (Not so where requests are given
//! back; such a table reads again before it denies.)

mod page;

use std::borrow::Cow;

use tollgate::{
    store::{SharedStore, StoreError, Swap, Version},
    time::{Duration, Instant},
};

use self::page::{Layout, Page, SLOTS};
pub use self::page::Levels;
pub(crate) use self::page::MOST_LIMITS;
use crate::bucket::{Answer, Level, Limit};

/// How long a remembered version is used: far less than the host's counter of 2³² writes needs to come round.
const MEMORY: Duration = Duration::from_nanos(1_000_000_000);

/// How many pages a worker remembers of one table: a power of two, and all pages of a table of the default size.
const MOST_REMEMBERED: usize = 512;

/// How many writes go without a guess after one that was wrong: then others write too, and a guess costs a call.
const WARY: u8 = 8;

/// Which bucket of a table: the hash of the key's value, zero in a table of one bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BucketId(pub u128);

impl BucketId {
    const fn slot(self) -> u64 {
        (self.0 >> 64) as u64
    }
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// Requests that it counts as.
    pub cost: u64,
    /// Percent of each burst that it must leave for others.
    pub kept_percent: u64,
}

impl Charge {
    /// One request, like any other.
    pub const ONE: Self = Self { cost: 1, kept_percent: 0 };

    /// Requests of `limit` that stay for others.
    #[must_use]
    pub fn kept(&self, limit: &Limit) -> u64 {
        limit.burst.get().saturating_mul(self.kept_percent).checked_div(100).unwrap_or(0)
    }
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Whether it was charged.
    pub outcome: Outcome,
    /// Whether the overflow bucket answered.
    pub overflowed: bool,
}

/// Whether a request was charged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// To every limit, which brought the bucket to these levels.
    Admitted(Levels),
    /// To none.
    Denied(Denied),
}

/// A denial, and when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied {
    /// The first instant at which the request would be admitted if nobody else came.
    pub not_before: Instant,
    /// The index of the limit that keeps it waiting longest.
    pub limit: usize,
}

/// What a worker noticed beside its answers, since it was asked last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Noticed {
    /// Writes that came too late and were done again.
    pub conflicts: u32,
    /// Slots that came into use, less those that were freed.
    pub slots: i64,
}

/// A worker's view of one table.
#[derive(Debug, Clone)]
pub struct Table {
    /// Of the values; a page's number follows.
    key: Vec<u8>,
    layout: Layout,
    /// A power of two; zero means one bucket and no pages.
    pages: u64,
    overflow: Option<Box<Self>>,
    /// Whether requests are given back.
    gives_back: bool,
    /// By the last bits of the page's number.
    remembered: Vec<Option<Remembered>>,
    wary: u8,
    noticed: Noticed,
}

#[derive(Debug, Clone)]
struct Remembered {
    number: u64,
    page: Page,
    version: Version,
    is_guess: bool,
    at: Instant,
}

enum Judgement {
    Admitted(Levels),
    Denied(Denied),
    NoSlot,
}

/// A page as the store had it.
struct Found {
    page: Page,
    /// `None` when it was never written.
    version: Option<Version>,
    carried_over: bool,
}

impl Table {
    /// A table of one bucket.
    #[must_use]
    pub fn single(key: Vec<u8>, limits: Vec<Limit>) -> Self {
        Self {
            key,
            layout: Layout::new(limits),
            pages: 0,
            overflow: None,
            gives_back: false,
            remembered: vec![None],
            wary: 0,
            noticed: Noticed::default(),
        }
    }

    /// A table with at least `slots` slots.
    #[must_use]
    pub fn keyed(key: Vec<u8>, limits: Vec<Limit>, slots: u64) -> Self {
        let pages = slots.div_ceil(SLOTS as u64).max(1).checked_next_power_of_two().unwrap_or(1);
        let overflow = Self::single([&key[..], b"/overflow"].concat(), limits.clone());
        Self {
            pages,
            overflow: Some(Box::new(overflow)),
            remembered: vec![None; usize::try_from(pages).unwrap_or(MOST_REMEMBERED).min(MOST_REMEMBERED)],
            ..Self::single([&key[..], b"/page/"].concat(), limits)
        }
    }

    /// Says that requests are given back now and then, so that what was remembered may deny too much.
    #[must_use]
    pub fn giving_back(mut self) -> Self {
        self.gives_back = true;
        self.overflow = self.overflow.map(|overflow| Box::new(overflow.giving_back()));
        self
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> &[Limit] {
        self.layout.limits()
    }

    /// What was noticed since this was asked last.
    pub fn noticed(&mut self) -> Noticed {
        let mut noticed = std::mem::take(&mut self.noticed);
        if let Some(overflow) = &mut self.overflow {
            noticed.conflicts = noticed.conflicts.saturating_add(std::mem::take(&mut overflow.noticed).conflicts);
        }
        noticed
    }

    /// Asks for a request at `now`. It is charged to all limits or to none.
    ///
    /// # Errors
    /// The store refused; nothing was charged.
    pub fn take(
        &mut self,
        store: &mut impl SharedStore,
        id: BucketId,
        charge: Charge,
        now: Instant,
    ) -> Result<Taken, StoreError> {
        if let Some(taken) = self.take_from_memory(store, id, charge, now)? {
            return Ok(taken);
        }
        loop {
            let Found { mut page, version, carried_over } = self.read(store, id, now)?;
            let first = self.first_levels(store, &page, id, now)?;
            match self.judge(&page, id, first.as_ref(), charge, now) {
                Judgement::Admitted(levels) => {
                    page.put(&self.layout, id.slot(), &levels);
                    if self.write(store, id, page, version, now)? {
                        return Ok(Taken { outcome: Outcome::Admitted(levels), overflowed: false });
                    }
                }
                Judgement::Denied(denied) => {
                    // What was carried over must refill by the new limit from now on, so it is written even so.
                    if carried_over {
                        if !self.write(store, id, page, version, now)? {
                            continue;
                        }
                    } else if let Some(version) = version {
                        self.remember(id, page, version, false, now);
                    }
                    return Ok(Taken { outcome: Outcome::Denied(denied), overflowed: false });
                }
                Judgement::NoSlot => {
                    if !page.has_overflowed() {
                        page.set_overflowed();
                        if !self.write(store, id, page, version, now)? {
                            continue;
                        }
                    }
                    return match &mut self.overflow {
                        Some(overflow) => {
                            let taken = overflow.take(store, BucketId::default(), charge, now)?;
                            Ok(Taken { overflowed: true, ..taken })
                        }
                        // A table of one bucket has room for it.
                        None => Err(StoreError(u32::MAX)),
                    };
                }
            }
        }
    }

    /// Answers as [`Table::take`] would, without charging; the levels are those of before.
    ///
    /// # Errors
    /// The store refused.
    pub fn look(
        &mut self,
        store: &mut impl SharedStore,
        id: BucketId,
        charge: Charge,
        now: Instant,
    ) -> Result<Taken, StoreError> {
        loop {
            let Found { page, version, carried_over } = self.read(store, id, now)?;
            let first = self.first_levels(store, &page, id, now)?;
            let outcome = match (self.judge(&page, id, first.as_ref(), charge, now), &mut self.overflow) {
                (Judgement::Denied(denied), _) => Outcome::Denied(denied),
                (Judgement::NoSlot, Some(overflow)) => {
                    let taken = overflow.look(store, BucketId::default(), charge, now)?;
                    return Ok(Taken { overflowed: true, ..taken });
                }
                _ => {
                    let levels = page.levels(&self.layout, id.slot()).or(first);
                    Outcome::Admitted(levels.unwrap_or_else(|| Levels::full(self.limits().len())))
                }
            };
            if carried_over && matches!(outcome, Outcome::Denied(_)) {
                // As in `take`: nobody else may write it while all are denied.
                if !self.write(store, id, page, version, now)? {
                    continue;
                }
            } else if let Some(version) = version {
                self.remember(id, page, version, false, now);
            }
            return Ok(Taken { outcome, overflowed: false });
        }
    }

    /// Whether [`Table::take`] would deny. Where it finds nothing against it in what it remembers it does not ask the
    /// store: `take` will.
    ///
    /// # Errors
    /// The store refused.
    pub fn would_deny(
        &mut self,
        store: &mut impl SharedStore,
        id: BucketId,
        charge: Charge,
        now: Instant,
    ) -> Result<Option<Denied>, StoreError> {
        if let Some(remembered) = self.remembered_page(id)
            && let Judgement::Admitted(_) = self.judge(&remembered.page, id, None, charge, now)
        {
            return Ok(None);
        }
        match self.look(store, id, charge, now)?.outcome {
            Outcome::Admitted(_) => Ok(None),
            Outcome::Denied(denied) => Ok(Some(denied)),
        }
    }

    /// Gives back what [`Table::take`] charged just now.
    ///
    /// # Errors
    /// The store refused; it stays charged.
    pub fn give_back(
        &mut self,
        store: &mut impl SharedStore,
        id: BucketId,
        cost: u64,
        taken: &Taken,
        now: Instant,
    ) -> Result<(), StoreError> {
        let Outcome::Admitted(charged) = &taken.outcome else { return Ok(()) };
        if taken.overflowed
            && let Some(overflow) = &mut self.overflow
        {
            let taken = Taken { overflowed: false, ..taken.clone() };
            return overflow.give_back(store, BucketId::default(), cost, &taken, now);
        }
        self.change(store, id, now, |levels, limits, now| {
            let mut charged = charged.iter();
            levels.map(limits, |level, limit| level.refund(limit, now, cost, charged.next().unwrap_or(Level::FULL)))
        })
    }

    /// Charges a request that has already passed, even if the bucket then owes.
    ///
    /// # Errors
    /// The store refused; nothing was charged.
    pub fn charge(
        &mut self,
        store: &mut impl SharedStore,
        id: BucketId,
        cost: u64,
        now: Instant,
    ) -> Result<(), StoreError> {
        self.change(store, id, now, |levels, limits, now| {
            levels.map(limits, |level, limit| level.charge(limit, now, cost))
        })
    }

    fn change(
        &mut self,
        store: &mut impl SharedStore,
        id: BucketId,
        now: Instant,
        change: impl Fn(Levels, &[Limit], Instant) -> Levels,
    ) -> Result<(), StoreError> {
        loop {
            let Found { mut page, version, .. } = self.read(store, id, now)?;
            let first = self.first_levels(store, &page, id, now)?;
            let levels = match page.levels(&self.layout, id.slot()) {
                Some(levels) => levels,
                None if page.len(&self.layout) < SLOTS => first.unwrap_or_else(|| Levels::full(self.limits().len())),
                None => match &mut self.overflow {
                    Some(overflow) => return overflow.change(store, BucketId::default(), now, change),
                    None => return Ok(()),
                },
            };
            page.put(&self.layout, id.slot(), &change(levels, self.limits(), now.max(page.as_of())));
            if self.write(store, id, page, version, now)? {
                return Ok(());
            }
        }
    }

    /// Answers from the page that was written or read last, if it is the right one and has the answer.
    fn take_from_memory(
        &mut self,
        store: &mut impl SharedStore,
        id: BucketId,
        charge: Charge,
        now: Instant,
    ) -> Result<Option<Taken>, StoreError> {
        let Some(remembered) = self.remembered_page(id) else { return Ok(None) };
        let levels = match self.judge(&remembered.page, id, None, charge, now) {
            Judgement::Admitted(levels) if now.since(remembered.at) < MEMORY => levels,
            Judgement::Denied(denied) if !self.gives_back => {
                return Ok(Some(Taken { outcome: Outcome::Denied(denied), overflowed: false }));
            }
            _ => return Ok(None),
        };
        if remembered.is_guess && self.wary > 0 {
            self.wary = self.wary.saturating_sub(1);
            return Ok(None);
        }
        let Some(Remembered { mut page, version, is_guess, .. }) = self.place(id).and_then(Option::take) else { return Ok(None) };
        page.advance(&self.layout, now);
        page.put(&self.layout, id.slot(), &levels);
        if self.write(store, id, page, Some(version), now)? {
            return Ok(Some(Taken { outcome: Outcome::Admitted(levels), overflowed: false }));
        }
        if is_guess {
            // Not a conflict: nobody was in the way at this very moment.
            self.noticed.conflicts = self.noticed.conflicts.saturating_sub(1);
            self.wary = WARY;
        }
        Ok(None)
    }

    fn remembered_page(&self, id: BucketId) -> Option<&Remembered> {
        let number = self.page_number(id);
        self.remembered.get(self.place_number(id))?.as_ref().filter(|remembered| {
            // Who gets a slot in a page that has overflowed starts from a level that is not in it.
            let needs_overflow = remembered.page.has_overflowed()
                && remembered.page.levels(&self.layout, id.slot()).is_none();
            remembered.number == number && !needs_overflow
        })
    }

    /// What the limits say. `first` are the levels of a key without a slot, unless full.
    fn judge(&self, page: &Page, id: BucketId, first: Option<&Levels>, charge: Charge, now: Instant) -> Judgement {
        let now = now.max(page.as_of());
        let levels = match page.levels(&self.layout, id.slot()) {
            Some(levels) => levels,
            None if page.len(&self.layout) >= SLOTS => return Judgement::NoSlot,
            None => first.copied().unwrap_or_else(|| Levels::full(self.limits().len())),
        };
        let mut denied: Option<Denied> = None;
        let mut index = 0_usize;
        let after = levels.map(self.limits(), |level, limit| {
            let answer = level.take(limit, now, charge.cost, charge.kept(limit));
            let this = index;
            index = index.saturating_add(1);
            match answer {
                Answer::Admitted(after) => after,
                Answer::Denied { not_before } => {
                    if denied.is_none_or(|denied| denied.not_before < not_before) {
                        denied = Some(Denied { not_before, limit: this });
                    }
                    level
                }
            }
        });
        denied.map_or(Judgement::Admitted(after), Judgement::Denied)
    }

    /// The levels that a key starts with in a page that has overflowed: it may have been charged to the overflow bucket.
    fn first_levels(
        &mut self,
        store: &mut impl SharedStore,
        page: &Page,
        id: BucketId,
        now: Instant,
    ) -> Result<Option<Levels>, StoreError> {
        if !page.has_overflowed() || page.levels(&self.layout, id.slot()).is_some() {
            return Ok(None);
        }
        let Some(overflow) = &self.overflow else { return Ok(None) };
        let found = overflow.read(store, BucketId::default(), now)?;
        Ok(found.page.levels(&overflow.layout, 0))
    }

    fn page_number(&self, id: BucketId) -> u64 {
        (id.0 as u64) & self.pages.saturating_sub(1)
    }

    fn key(&self, id: BucketId) -> Cow<'_, [u8]> {
        match self.pages {
            0 => Cow::Borrowed(&self.key),
            _ => Cow::Owned([&self.key[..], &self.page_number(id).to_le_bytes()].concat()),
        }
    }

    fn read(&self, store: &mut impl SharedStore, id: BucketId, now: Instant) -> Result<Found, StoreError> {
        let (mut page, version, carried_over) = match store.get(&self.key(id))? {
            None => (Page::empty(&self.layout), None, false),
            Some((value, version)) => {
                let (page, carried_over) = Page::decode(value, &self.layout, now);
                (page, Some(version), carried_over)
            }
        };
        page.advance(&self.layout, now);
        Ok(Found { page, version, carried_over })
    }

    /// Writes `page` if it still has `version`. Whether it had.
    fn write(
        &mut self,
        store: &mut impl SharedStore,
        id: BucketId,
        mut page: Page,
        version: Option<Version>,
        now: Instant,
    ) -> Result<bool, StoreError> {
        let slots = page.count_slots(&self.layout);
        let key = self.key(id);
        let swap = match version {
            Some(version) => store.compare_and_swap(&key, page.as_bytes(), version)?,
            None => store.insert(&key, page.as_bytes())?,
        };
        match swap {
            Swap::Done(version) => {
                self.noticed.slots = self.noticed.slots.saturating_add(slots);
                self.remember(id, page, version, true, now);
                Ok(true)
            }
            Swap::Conflict => {
                self.noticed.conflicts = self.noticed.conflicts.saturating_add(1);
                Ok(false)
            }
        }
    }

    fn remember(&mut self, id: BucketId, page: Page, version: Version, is_guess: bool, at: Instant) {
        let number = self.page_number(id);
        if let Some(place) = self.place(id) {
            *place = Some(Remembered { number, page, version, is_guess, at });
        }
    }

    fn place(&mut self, id: BucketId) -> Option<&mut Option<Remembered>> {
        let number = self.place_number(id);
        self.remembered.get_mut(number)
    }

    fn place_number(&self, id: BucketId) -> usize {
        (self.page_number(id) as usize) & self.remembered.len().saturating_sub(1)
    }
}

#[cfg(test)]
pub(crate) mod tests;
