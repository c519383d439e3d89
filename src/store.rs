//! A key-value store that all workers of one proxy share, with compare-and-swap.
//!
//! It has the shape of Proxy-Wasm's shared data. Keys cannot be deleted, so a client must never be able to choose one.

/// The number that the store gave a value when it was written. Every write in the process takes the next one, so a
/// number is never given to the same key twice within 2³² writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version(pub u32);

impl Version {
    /// The number that the next write gets if nobody writes in between.
    #[must_use]
    pub const fn next(self) -> Self {
        // Zero is skipped: to the store it means "overwrite whatever is there".
        Self(match self.0.wrapping_add(1) {
            0 => 1,
            next => next,
        })
    }

    /// The later of two numbers that were given within 2³¹ writes of each other.
    #[must_use]
    pub const fn later(self, other: Self) -> Self {
        if self.0.wrapping_sub(other.0) < 1 << 31 { self } else { other }
    }
}

/// What became of a conditional write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    /// The value was written. It has this number if nobody in the process has written anything meanwhile, and a later
    /// one otherwise, so that a swap which expects this number can never succeed wrongly.
    Done(Version),
    /// Somebody else wrote first; nothing was changed.
    Conflict,
}

/// A failure of the store itself, with the host's status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreError(pub u32);

/// The store, as one worker sees it.
pub trait SharedStore {
    /// The value of `key` and its version, `None` when it was never written.
    ///
    /// # Errors
    /// The host refused.
    fn get(&mut self, key: &[u8]) -> Result<Option<(Vec<u8>, Version)>, StoreError>;

    /// Writes `value` if `key` was never written.
    ///
    /// # Errors
    /// The host refused.
    fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<Swap, StoreError>;

    /// Writes `value` if the version of `key` is still `version`.
    ///
    /// # Errors
    /// The host refused.
    fn compare_and_swap(&mut self, key: &[u8], value: &[u8], version: Version) -> Result<Swap, StoreError>;
}
