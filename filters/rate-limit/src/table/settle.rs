//! What is changed about a request that was already answered.

use tollgate::{
    store::{SharedStore, StoreError},
    time::Instant,
};

use super::{BucketId, Found, Levels, Outcome, Table, Taken};

impl Table {
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
        if matches!(taken.outcome, Outcome::Denied(_)) {
            return Ok(());
        }
        if taken.overflowed
            && let Some(overflow) = &mut self.overflow
        {
            return overflow.refund(store, BucketId::default(), cost, taken.at, now);
        }
        self.refund(store, id, cost, taken.at, now)
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
        loop {
            let Found { mut page, version, carried_over } = self.read(store, id, now)?;
            let first = self.first_levels(store, &mut page, id, now)?;
            let at = page.as_of();
            let levels = page.levels(&self.layout, id.slot());
            if levels.is_none()
                && page.is_full(&self.layout)
                && let Some(overflow) = &mut self.overflow
            {
                if carried_over || !page.has_overflowed() {
                    page.set_overflowed();
                    self.write(store, id, page, version, now)?;
                    continue;
                }
                overflow.charge(store, BucketId::default(), cost, at)?;
                // As in `take`.
                if self.write(store, id, page, version, now)? {
                    return Ok(());
                }
                if let Some(overflow) = &mut self.overflow {
                    overflow.refund(store, BucketId::default(), cost, at, at)?;
                }
                continue;
            }
            let levels = levels.or(first).unwrap_or_else(|| Levels::full(self.limits().len()));
            let charged = levels.map(self.limits(), |level, limit| level.charge(limit, at, cost));
            page.put(&self.layout, id.slot(), &charged);
            if self.write(store, id, page, version, now)? {
                return Ok(());
            }
        }
    }

    fn refund(
        &mut self,
        store: &mut impl SharedStore,
        id: BucketId,
        cost: u64,
        charged_at: Instant,
        now: Instant,
    ) -> Result<(), StoreError> {
        loop {
            let Found { mut page, version, .. } = self.read(store, id, now)?;
            // Without a slot it is full again.
            let Some(levels) = page.levels(&self.layout, id.slot()) else { return Ok(()) };
            let at = page.as_of();
            let refunded = levels.map(self.limits(), |level, limit| level.refund(limit, at, cost, charged_at));
            page.put(&self.layout, id.slot(), &refunded);
            page.advance(&self.layout, at);
            if self.write(store, id, page, version, now)? {
                return Ok(());
            }
        }
    }
}
