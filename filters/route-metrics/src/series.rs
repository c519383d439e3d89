//! A bounded number of series.
//!
//! A table has room for a number of whole sets of label values. What comes when it is full is not lost and not lumped
//! together at once: it is counted by its route, class of status and decision alone, so that rates and error ratios by
//! route stay right. Room for these is bounded as well, and what is over that shares one last series.

use std::hash::Hash;

use rustc_hash::FxHashMap;

/// A key that has a coarser one.
pub trait Coarse: Copy + Eq + Hash {
    /// The key by which this one is counted when there is no room for it. The coarse key of a coarse key is itself.
    #[must_use]
    fn coarse(&self) -> Self;
}

/// Handles by key.
#[derive(Debug)]
pub struct SeriesTable<K, H> {
    whole: Share<K, H>,
    coarse: Share<K, H>,
    other: H,
}

#[derive(Debug)]
struct Share<K, H> {
    handles: FxHashMap<K, H>,
    capacity: usize,
}

/// A handle, and whether it is the key's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<H> {
    /// The key's own.
    Own(H),
    /// One that it shares with others.
    Shared(H),
}

impl<K: Coarse, H: Copy> SeriesTable<K, H> {
    /// An empty table with room for `capacity` keys and, beyond these, for `coarse` coarse ones. `other` is for the rest.
    #[must_use]
    pub fn new(capacity: usize, coarse: usize, other: H) -> Self {
        let share = |capacity| Share { handles: FxHashMap::default(), capacity };
        Self { whole: share(capacity), coarse: share(coarse), other }
    }

    /// The handle for `key`. `define` makes one, for `key` or for its coarse one, the first time.
    pub fn find(&mut self, key: K, define: impl FnOnce(K) -> H) -> Found<H> {
        if let Some(handle) = self.whole.handles.get(&key) {
            return Found::Own(*handle);
        }
        if self.whole.has_room() {
            return Found::Own(self.whole.insert(key, define));
        }
        let coarse = key.coarse();
        let handle = match self.coarse.handles.get(&coarse) {
            Some(handle) => *handle,
            None if self.coarse.has_room() => self.coarse.insert(coarse, define),
            None => self.other,
        };
        Found::Shared(handle)
    }
}

impl<K: Coarse, H: Copy> Share<K, H> {
    fn has_room(&self) -> bool {
        self.handles.len() < self.capacity
    }

    fn insert(&mut self, key: K, define: impl FnOnce(K) -> H) -> H {
        let handle = define(key);
        self.handles.insert(key, handle);
        handle
    }
}

/// Numbers for texts, so that a key is small: the same text has the same number, and only so many have one at all.
#[derive(Debug)]
pub struct Numbers {
    numbers: FxHashMap<Vec<u8>, u32>,
    texts: Vec<Vec<u8>>,
    capacity: usize,
}

impl Numbers {
    /// Room for `capacity` texts.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { numbers: FxHashMap::default(), texts: Vec::new(), capacity }
    }

    /// The number of `text`. `None` when it has none and there is no room for another.
    pub fn number(&mut self, text: &[u8]) -> Option<u32> {
        if let Some(number) = self.numbers.get(text) {
            return Some(*number);
        }
        if self.texts.len() >= self.capacity {
            return None;
        }
        let number = u32::try_from(self.texts.len()).ok()?;
        self.texts.push(text.to_vec());
        self.numbers.insert(text.to_vec(), number);
        Some(number)
    }

    /// The text that has this number.
    #[must_use]
    pub fn text(&self, number: u32) -> Option<&[u8]> {
        self.texts.get(usize::try_from(number).ok()?).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    impl Coarse for (char, u8) {
        fn coarse(&self) -> Self {
            (self.0, 0)
        }
    }

    #[test]
    fn what_is_over_is_counted_coarsely_and_then_together() {
        let mut table = SeriesTable::new(2, 1, ('_', 9));
        let keys = [('a', 1), ('b', 1), ('a', 1), ('a', 2), ('a', 3), ('b', 2), ('b', 1), ('a', 2)];
        let found = keys.map(|key| table.find(key, |key| key));
        use Found::*;
        let own = |key| Own(key);
        let (coarse, other) = (Shared(('a', 0)), Shared(('_', 9)));
        assert_eq!(found, [own(('a', 1)), own(('b', 1)), own(('a', 1)), coarse, coarse, other, own(('b', 1)), coarse]);
    }

    #[test]
    fn a_text_keeps_its_number() {
        let mut numbers = Numbers::new(2);
        let found = ["x", "y", "x", "z", "y"].map(|text| numbers.number(text.as_bytes()));
        assert_eq!(found, [Some(0), Some(1), Some(0), None, Some(1)]);
        assert_eq!((numbers.text(1), numbers.text(2)), (Some(&b"y"[..]), None));
    }

    proptest! {
        #[test]
        fn never_defines_more_than_there_is_room_for(
            keys in prop::collection::vec(prop::char::range('a', 'z').prop_flat_map(|c| (Just(c), any::<u8>())), 0..400),
            capacity in 0_usize..40,
            coarse in 0_usize..20,
        ) {
            let mut table = SeriesTable::new(capacity, coarse, 0);
            let mut handles = 1..;
            for key in keys {
                let first = table.find(key, |_| handles.next().unwrap());
                prop_assert_eq!(first, table.find(key, |_| unreachable!("it was found before")));
            }
            prop_assert!(handles.start <= capacity.saturating_add(coarse).saturating_add(1));
        }
    }
}
