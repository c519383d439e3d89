//! One shared value: the buckets of up to [`SLOTS`] keys, each in a slot of its own.
//!
//! A key whose bucket is full again has no slot: it is as good as one that never came. So a page is never longer than
//! what is in use needs, and a slot is free as soon as its bucket is full.
//!
//! The bytes: how many limits; flags; how many slots the gauge was told; the page's time; each limit; then the slots,
//! each the key's id and one level for each limit. Numbers are little-endian.

use tollgate::{
    config::Count,
    time::{Duration, Instant},
};

use crate::bucket::{Level, Limit};

/// How many limits one bucket may have.
pub(crate) const MOST_LIMITS: usize = 8;
/// How many keys one page has room for.
pub(crate) const SLOTS: usize = 16;

const FIXED: usize = 11;
const LIMIT: usize = 24;
const ID: usize = 8;
const LEVEL: usize = 16;

/// Set when a key found no slot, for good: from then on, who gets one starts from the overflow bucket's level.
const OVERFLOWED: u8 = 1;

/// One level for each limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Levels {
    levels: [Level; MOST_LIMITS],
    count: usize,
}

impl Levels {
    pub(crate) fn full(count: usize) -> Self {
        Self { levels: [Level::FULL; MOST_LIMITS], count: count.min(MOST_LIMITS) }
    }

    /// The levels, in the order of the limits.
    pub fn iter(&self) -> impl Iterator<Item = Level> {
        self.levels.iter().take(self.count).copied()
    }

    pub(crate) fn map(mut self, limits: &[Limit], mut change: impl FnMut(Level, &Limit) -> Level) -> Self {
        for (level, limit) in self.levels.iter_mut().zip(limits) {
            *level = change(*level, limit);
        }
        self
    }
}

/// What the pages of one table have in common.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    limits: Vec<Limit>,
    /// The limits as they stand in a page.
    header: Vec<u8>,
    slot: usize,
}

impl Layout {
    pub(crate) fn new(limits: Vec<Limit>) -> Self {
        let mut header = Vec::with_capacity(LIMIT.saturating_mul(limits.len()));
        for limit in &limits {
            header.extend(limit.requests.get().to_le_bytes());
            header.extend(limit.per.as_nanos().to_le_bytes());
            header.extend(limit.burst.get().to_le_bytes());
        }
        let slot = LEVEL.saturating_mul(limits.len()).saturating_add(ID);
        Self { limits, header, slot }
    }

    pub(crate) fn limits(&self) -> &[Limit] {
        &self.limits
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    bytes: Vec<u8>,
    /// Where the slots start.
    slots: usize,
}

impl Page {
    pub(crate) fn empty(layout: &Layout) -> Self {
        let mut bytes = Vec::with_capacity(FIXED.saturating_add(layout.header.len()).saturating_add(layout.slot));
        bytes.push(u8::try_from(layout.limits.len()).unwrap_or(u8::MAX));
        bytes.resize(FIXED, 0);
        bytes.extend(&layout.header);
        let slots = bytes.len();
        Self { bytes, slots }
    }

    /// The page in `bytes`, and whether its levels had to be carried over from other limits.
    ///
    /// A limit that was changed by a push keeps its buckets' fill ratio, wherever it stands in the list; one that is new
    /// starts full. Bytes that nobody could have written are an empty page.
    pub(crate) fn decode(bytes: Vec<u8>, layout: &Layout, now: Instant) -> (Self, bool) {
        let slots = FIXED.saturating_add(layout.header.len());
        if bytes.get(FIXED..slots).is_some_and(|header| *header == *layout.header)
            && bytes.first().is_some_and(|count| usize::from(*count) == layout.limits.len())
            && is_whole(bytes.len(), slots, layout.slot)
        {
            return (Self { bytes, slots }, false);
        }
        (Self::carried_over(&bytes, layout, now), true)
    }

    fn carried_over(bytes: &[u8], layout: &Layout, now: Instant) -> Self {
        let mut page = Self::empty(layout);
        let Some(old) = OldPage::decode(bytes) else { return page };
        page.bytes.splice(1..FIXED, bytes.get(1..FIXED).unwrap_or_default().iter().copied());
        let now = now.max(page.as_of());
        for slot in old.slots.chunks_exact(old.slot) {
            let (Some((id, levels)), true) = (slot.split_first_chunk(), page.len(layout) < SLOTS) else { break };
            let old_level =
                |index: usize| levels.chunks_exact(LEVEL).nth(index).and_then(|level| level.first_chunk().copied());
            let mut index = 0_usize;
            let carried = Levels::full(layout.limits.len()).map(&layout.limits, |full, limit| {
                let source = old.source_of(&layout.limits, index);
                index = index.saturating_add(1);
                match source.and_then(|(source, was)| Some((Level::from_bytes(old_level(source)?), was))) {
                    Some((level, was)) if was == *limit => level,
                    Some((level, was)) => level.carried_over(&was, limit, now),
                    None => full,
                }
            });
            page.put(layout, u64::from_le_bytes(*id), &carried);
        }
        page
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The page's time: nobody may judge by an earlier one, because buckets that are full by now have lost their slots.
    pub(crate) fn as_of(&self) -> Instant {
        let time = self.bytes.get(3..FIXED).and_then(<[u8]>::first_chunk).copied();
        Instant::from_nanos(u64::from_le_bytes(time.unwrap_or_default()))
    }

    pub(crate) fn has_overflowed(&self) -> bool {
        self.bytes.get(1).is_some_and(|flags| flags & OVERFLOWED != 0)
    }

    pub(crate) fn set_overflowed(&mut self) {
        if let Some(flags) = self.bytes.get_mut(1) {
            *flags |= OVERFLOWED;
        }
    }

    /// How many slots there are more than when this was asked last.
    pub(crate) fn count_slots(&mut self, layout: &Layout) -> i64 {
        let slots = u8::try_from(self.len(layout)).unwrap_or(u8::MAX);
        let counted = self.bytes.get_mut(2).map_or(0, |counted| std::mem::replace(counted, slots));
        i64::from(slots).saturating_sub(i64::from(counted))
    }

    pub(crate) fn len(&self, layout: &Layout) -> usize {
        self.bytes.len().saturating_sub(self.slots).checked_div(layout.slot).unwrap_or(0)
    }

    pub(crate) fn is_full(&self, layout: &Layout) -> bool {
        self.len(layout) >= SLOTS
    }

    pub(crate) fn levels(&self, layout: &Layout, id: u64) -> Option<Levels> {
        let at = self.find(layout, id)?;
        let bytes = self.bytes.get(at.checked_add(ID)?..at.checked_add(layout.slot)?)?;
        let mut levels = Levels::full(layout.limits.len());
        for (level, bytes) in levels.levels.iter_mut().zip(bytes.chunks_exact(LEVEL)) {
            *level = Level::from_bytes(*bytes.first_chunk()?);
        }
        Some(levels)
    }

    /// Sets the levels of `id`, which gets a slot if it has none.
    pub(crate) fn put(&mut self, layout: &Layout, id: u64, levels: &Levels) {
        let at = self.find(layout, id).unwrap_or_else(|| {
            let at = self.bytes.len();
            self.bytes.extend(id.to_le_bytes());
            self.bytes.resize(at.saturating_add(layout.slot), 0);
            at
        });
        let end = at.saturating_add(layout.slot);
        if let Some(bytes) = self.bytes.get_mut(at.saturating_add(ID)..end) {
            for (bytes, level) in bytes.chunks_exact_mut(LEVEL).zip(levels.iter()) {
                bytes.copy_from_slice(&level.to_bytes());
            }
        }
    }

    /// Brings the page to `now`: frees the slots of buckets that are full.
    pub(crate) fn advance(&mut self, layout: &Layout, now: Instant) {
        let now = now.max(self.as_of());
        if let Some(time) = self.bytes.get_mut(3..FIXED) {
            time.copy_from_slice(&now.as_nanos().to_le_bytes());
        }
        let mut at = self.slots;
        while let Some(levels) = self.bytes.get(at.saturating_add(ID)..at.saturating_add(layout.slot)) {
            let mut levels = levels.chunks_exact(LEVEL).zip(&layout.limits);
            let is_full = levels.all(|(level, limit)| {
                level.first_chunk().is_some_and(|level| Level::from_bytes(*level).is_full(limit, now))
            });
            if is_full {
                // The last slot takes its place.
                let last = self.bytes.len().saturating_sub(layout.slot);
                self.bytes.copy_within(last.., at);
                self.bytes.truncate(last);
            } else {
                at = at.saturating_add(layout.slot);
            }
        }
    }

    fn find(&self, layout: &Layout, id: u64) -> Option<usize> {
        let slots = self.bytes.get(self.slots..)?;
        let index = slots.chunks_exact(layout.slot).position(|slot| slot.first_chunk() == Some(&id.to_le_bytes()))?;
        index.checked_mul(layout.slot)?.checked_add(self.slots)
    }
}

/// Whether `length` is a header of `slots` bytes and no more slots than there may be.
fn is_whole(length: usize, slots: usize, slot: usize) -> bool {
    let rest = length.saturating_sub(slots);
    length >= slots && rest.is_multiple_of(slot) && rest <= slot.saturating_mul(SLOTS)
}

/// A page that was written for other limits.
struct OldPage<'a> {
    limits: Vec<Limit>,
    slot: usize,
    slots: &'a [u8],
}

impl<'a> OldPage<'a> {
    fn decode(bytes: &'a [u8]) -> Option<Self> {
        let count = usize::from(*bytes.first()?);
        let end = FIXED.checked_add(LIMIT.checked_mul(count)?)?;
        let limits: Vec<Limit> = bytes.get(FIXED..end)?.chunks_exact(LIMIT).map_while(decode_limit).collect();
        let slot = LEVEL.checked_mul(count)?.checked_add(ID)?;
        let sound = (1..=MOST_LIMITS).contains(&count) && limits.len() == count && is_whole(bytes.len(), end, slot);
        sound.then_some(Self { limits, slot, slots: bytes.get(end..)? })
    }

    /// Which of the old limits the one at `index` of `limits` goes on from: itself, else the one in its place, else one of
    /// the same period; but none that is there still.
    fn source_of(&self, limits: &[Limit], index: usize) -> Option<(usize, Limit)> {
        let limit = limits.get(index)?;
        let gone = |old: &&Limit| !limits.contains(old);
        let in_place = || self.limits.get(index).filter(gone).filter(|_| self.limits.len() == limits.len());
        let of_period = || self.limits.iter().filter(gone).find(|old| old.per == limit.per);
        let old = self.limits.iter().find(|old| *old == limit).or_else(in_place).or_else(of_period)?;
        let source = self.limits.iter().position(|other| core::ptr::eq(other, old))?;
        Some((source, *old))
    }
}

fn decode_limit(bytes: &[u8]) -> Option<Limit> {
    let (requests, rest) = bytes.split_first_chunk()?;
    let (per, rest) = rest.split_first_chunk()?;
    let count = |bytes: &[u8; 8]| Count::new(u64::from_le_bytes(*bytes));
    let per = Duration::from_nanos(u64::from_le_bytes(*per));
    Some(Limit { requests: count(requests)?, per, burst: count(rest.first_chunk()?)? })
}
