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
//! A page has a time of its own, the latest by which it was ever judged. Buckets that were full by then have lost their
//! slots, so a worker whose clock is behind judges by the page's time. Hence every admission has an instant between the
//! clock that its worker read and its return, [`Taken::at`], and by these instants no key gets more than B + L·Δ/I in any
//! window, whatever the schedule.
//!
//! That holds too for a key that moves between a slot and the overflow bucket, which are two values. A key is in the
//! overflow bucket only while its page is full without it. The charge there counts once the page, unchanged meanwhile,
//! has been written again: by then whoever wants to give the key a slot must read the page anew, and after it the charge.
//! If the page has changed, the charge is given back and the request is judged afresh. Such a charge can be seen by others
//! for a moment: in that race they may be denied, or start with, one request less for each worker in it; never more.
//!
//! Two things save calls. A page that was read or written is remembered with the version that it has if nobody else wrote
//! since; the store's versions only grow, so a wrong guess never succeeds. And a remembered page that denies is as
//! good as the current one: others can only have pushed the instant further away. (Not so where requests are given
//! back; such a table reads again before it denies. What the overflow bucket gets back in the race above its own worker
//! asks for again at once.)

mod answer;
mod memory;
mod page;
mod settle;

use std::borrow::Cow;

use tollgate::{
    store::{SharedStore, StoreError, Swap, Version},
    time::Instant,
};

pub(crate) use self::page::MOST_LIMITS;
pub use self::{
    answer::{BucketId, Charge, Denied, Noticed, Outcome, Taken},
    page::Levels,
};
use self::{
    memory::Remembered,
    page::{Layout, Page, SLOTS},
};
use crate::bucket::{Answer, Limit};

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
    /// By the last bits of the page's number; empty until something is remembered.
    remembered: Vec<Option<Remembered>>,
    wary: u8,
    noticed: Noticed,
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
            remembered: Vec::new(),
            wary: 0,
            noticed: Noticed::default(),
        }
    }

    /// A table with at least `slots` slots.
    #[must_use]
    pub fn keyed(key: Vec<u8>, limits: Vec<Limit>, slots: u64) -> Self {
        let pages = slots.div_ceil(SLOTS as u64).max(1).checked_next_power_of_two().unwrap_or(1);
        let overflow = Self::single([&key[..], b"/overflow"].concat(), limits.clone());
        Self { pages, overflow: Some(Box::new(overflow)), ..Self::single([&key[..], b"/page/"].concat(), limits) }
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
            let first = self.first_levels(store, &mut page, id, now)?;
            let at = page.as_of();
            match self.judge(&page, id, first.as_ref(), charge, now) {
                Judgement::Admitted(levels) => {
                    page.put(&self.layout, id.slot(), &levels);
                    if self.write(store, id, page, version, now)? {
                        return Ok(Taken { outcome: Outcome::Admitted(levels), overflowed: false, at });
                    }
                }
                Judgement::Denied(denied) => {
                    // What was carried over must refill by the new limit from now on, so it is written even so.
                    if carried_over {
                        if !self.write(store, id, page, version, now)? {
                            continue;
                        }
                    } else if let Some(version) = version {
                        self.remember(id, page, Some(version), false, now);
                    }
                    return Ok(Taken { outcome: Outcome::Denied(denied), overflowed: false, at });
                }
                Judgement::NoSlot if carried_over || !page.has_overflowed() => {
                    page.set_overflowed();
                    self.write(store, id, page, version, now)?;
                }
                Judgement::NoSlot => {
                    // A table of one bucket has room for it.
                    let Some(overflow) = &mut self.overflow else { return Err(StoreError(u32::MAX)) };
                    let taken = overflow.take(store, BucketId::default(), charge, at)?;
                    let taken = Taken { overflowed: true, ..taken };
                    // Nobody may have given the key a slot meanwhile, from a level without this charge.
                    let denied = matches!(taken.outcome, Outcome::Denied(_));
                    if denied || self.write(store, id, page, version, now)? {
                        return Ok(taken);
                    }
                    self.give_back(store, id, charge.cost, &taken, at)?;
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
            let Found { mut page, version, carried_over } = self.read(store, id, now)?;
            let first = self.first_levels(store, &mut page, id, now)?;
            let at = page.as_of();
            let outcome = match (self.judge(&page, id, first.as_ref(), charge, now), &mut self.overflow) {
                (Judgement::Denied(denied), _) => Outcome::Denied(denied),
                (Judgement::NoSlot, Some(overflow)) => {
                    let taken = overflow.look(store, BucketId::default(), charge, at)?;
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
                self.remember(id, page, Some(version), false, now);
            }
            return Ok(Taken { outcome, overflowed: false, at });
        }
    }

    /// Whether [`Table::take`] would deny, and whether the overflow bucket says so. Where it finds nothing against it in what it remembers it does not ask the
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
    ) -> Result<Option<(Denied, bool)>, StoreError> {
        if let Some(remembered) = self.remembered_page(id)
            && let Judgement::Admitted(_) = self.judge(&remembered.page, id, None, charge, now)
        {
            return Ok(None);
        }
        let Taken { outcome, overflowed, .. } = self.look(store, id, charge, now)?;
        match outcome {
            Outcome::Admitted(_) => Ok(None),
            Outcome::Denied(denied) => Ok(Some((denied, overflowed))),
        }
    }

    /// What the limits say. `first` are the levels of a key without a slot, unless full.
    fn judge(&self, page: &Page, id: BucketId, first: Option<&Levels>, charge: Charge, now: Instant) -> Judgement {
        let now = now.max(page.as_of());
        let levels = match page.levels(&self.layout, id.slot()) {
            Some(levels) => levels,
            None if page.is_full(&self.layout) => return Judgement::NoSlot,
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
    /// Nor may it start at a time before that bucket's own.
    fn first_levels(
        &mut self,
        store: &mut impl SharedStore,
        page: &mut Page,
        id: BucketId,
        now: Instant,
    ) -> Result<Option<Levels>, StoreError> {
        if !page.has_overflowed() || page.is_full(&self.layout) || page.levels(&self.layout, id.slot()).is_some() {
            return Ok(None);
        }
        let Some(overflow) = &mut self.overflow else { return Ok(None) };
        let found = overflow.read(store, BucketId::default(), now)?;
        page.advance(&self.layout, found.page.as_of());
        let levels = found.page.levels(&overflow.layout, 0);
        if found.carried_over {
            overflow.write(store, BucketId::default(), found.page, found.version, now)?;
        }
        Ok(levels)
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
        let (mut page, version, mut carried_over) = match store.get(&self.key(id))? {
            None => (Page::empty(&self.layout), None, false),
            Some((value, version)) => {
                let (page, carried_over) = Page::decode(value, &self.layout, now);
                (page, Some(version), carried_over)
            }
        };
        page.advance(&self.layout, now);
        // A table of one bucket has no other: slots that leave it no room were not written by a table.
        if self.overflow.is_none() && page.is_full(&self.layout) && page.levels(&self.layout, id.slot()).is_none() {
            page = Page::empty(&self.layout);
            page.advance(&self.layout, now);
            carried_over = true;
        }
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
        let is_first = version.is_none();
        let key = self.key(id);
        let swap = match version {
            Some(version) => store.compare_and_swap(&key, page.as_bytes(), version)?,
            None => store.insert(&key, page.as_bytes())?,
        };
        match swap {
            Swap::Done(version) => {
                self.noticed.slots = self.noticed.slots.saturating_add(slots);
                // Which number a first value got can't be guessed: nothing was read.
                self.remember(id, page, (!is_first).then_some(version), true, now);
                Ok(true)
            }
            Swap::Conflict => {
                self.noticed.conflicts = self.noticed.conflicts.saturating_add(1);
                Ok(false)
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
