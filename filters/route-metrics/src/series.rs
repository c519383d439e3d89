//! A bounded number of series.

use std::collections::HashMap;

/// Handles by key. Once there are `capacity` keys, every new one gets the handle that all of the rest share.
#[derive(Debug)]
pub struct SeriesTable<H> {
    handles: HashMap<Vec<u8>, H>,
    capacity: usize,
    other: H,
}

/// A handle, and whether it is the shared one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<H> {
    /// The key's own.
    Own(H),
    /// The one that all keys over the capacity share.
    Other(H),
}

impl<H: Copy> SeriesTable<H> {
    /// An empty table.
    #[must_use]
    pub fn new(capacity: usize, other: H) -> Self {
        Self { handles: HashMap::new(), capacity, other }
    }

    /// The handle of `key`, which `define` makes the first time.
    pub fn find(&mut self, key: &[u8], define: impl FnOnce() -> H) -> Found<H> {
        if let Some(handle) = self.handles.get(key) {
            return Found::Own(*handle);
        }
        if self.handles.len() >= self.capacity {
            return Found::Other(self.other);
        }
        let handle = define();
        self.handles.insert(key.to_vec(), handle);
        Found::Own(handle)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn the_first_keys_have_their_own_and_the_rest_share_one() {
        let mut table = SeriesTable::new(2, 0);
        let mut handles = 1..;
        let mut find = |key: &str| table.find(key.as_bytes(), || handles.next().unwrap());
        assert_eq!(["a", "b", "a", "c", "d", "b"].map(&mut find), {
            use Found::*;
            [Own(1), Own(2), Own(1), Other(0), Other(0), Own(2)]
        });
        assert_eq!(handles.start, 3, "one was defined for each key of its own");
    }
}
