//! Shared data that nobody shares.

use std::collections::HashMap;

use tollgate::store::{SharedStore, StoreError, Swap, Version};

/// A store that is empty at first.
#[derive(Debug, Default)]
pub(super) struct Memory(HashMap<Vec<u8>, (Vec<u8>, Version)>);

impl SharedStore for Memory {
    fn get(&mut self, key: &[u8]) -> Result<Option<(Vec<u8>, Version)>, StoreError> {
        Ok(self.0.get(key).cloned())
    }

    fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<Swap, StoreError> {
        if self.0.contains_key(key) {
            return Ok(Swap::Conflict);
        }
        let version = Version(1);
        self.0.insert(key.to_vec(), (value.to_vec(), version));
        Ok(Swap::Done(version))
    }

    fn compare_and_swap(&mut self, key: &[u8], value: &[u8], version: Version) -> Result<Swap, StoreError> {
        match self.0.get_mut(key) {
            Some((there, current)) if *current == version => {
                *there = value.to_vec();
                *current = version.next();
                Ok(Swap::Done(*current))
            }
            _ => Ok(Swap::Conflict),
        }
    }
}
