//! The pages that a worker remembers, and what it answers from them.

use tollgate::{
    store::{SharedStore, StoreError, Version},
    time::{Duration, Instant},
};

use super::{BucketId, Charge, Judgement, Outcome, Table, Taken, page::Page};

/// How long a remembered version is used: far less than the host's counter of 2³² writes needs to come round.
const MEMORY: Duration = Duration::from_nanos(1_000_000_000);

/// How many writes go without a guess after one that was wrong: then others write too, and a guess costs a call.
const WARY: u8 = 8;

#[derive(Debug, Clone)]
pub(super) struct Remembered {
    number: u64,
    pub(super) page: Page,
    /// `None` when it can't be known.
    version: Option<Version>,
    is_guess: bool,
    at: Instant,
}

impl Table {
    /// Answers from the page that was written or read last, if it is the right one and has the answer.
    pub(super) fn take_from_memory(
        &mut self,
        store: &mut impl SharedStore,
        id: BucketId,
        charge: Charge,
        now: Instant,
    ) -> Result<Option<Taken>, StoreError> {
        let Some(remembered) = self.remembered_page(id) else { return Ok(None) };
        let at = now.max(remembered.page.as_of());
        let levels = match self.judge(&remembered.page, id, None, charge, now) {
            Judgement::Admitted(levels) if now.since(remembered.at) < MEMORY => levels,
            Judgement::Denied(denied) if !self.gives_back => {
                return Ok(Some(Taken { outcome: Outcome::Denied(denied), overflowed: false, at }));
            }
            _ => return Ok(None),
        };
        if remembered.version.is_none() {
            return Ok(None);
        }
        if remembered.is_guess && self.wary > 0 {
            self.wary = self.wary.saturating_sub(1);
            return Ok(None);
        }
        let Some(Remembered { mut page, version, is_guess, .. }) = self.place(id).and_then(Option::take) else {
            return Ok(None);
        };
        page.advance(&self.layout, now);
        page.put(&self.layout, id.slot(), &levels);
        if self.write(store, id, page, version, now)? {
            return Ok(Some(Taken { outcome: Outcome::Admitted(levels), overflowed: false, at }));
        }
        if is_guess {
            // Not a conflict: nobody was in the way at this very moment.
            self.noticed.conflicts = self.noticed.conflicts.saturating_sub(1);
            self.wary = WARY;
        }
        Ok(None)
    }

    pub(super) fn remembered_page(&self, id: BucketId) -> Option<&Remembered> {
        let number = self.page_number(id);
        self.remembered.get(self.place_number(id))?.as_ref().filter(|remembered| {
            // Who gets a slot in a page that has overflowed starts from a level that is not in it.
            let needs_overflow =
                remembered.page.has_overflowed() && remembered.page.levels(&self.layout, id.slot()).is_none();
            remembered.number == number && !needs_overflow
        })
    }

    pub(super) fn remember(&mut self, id: BucketId, page: Page, version: Option<Version>, is_guess: bool, at: Instant) {
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
