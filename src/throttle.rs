//! Keeps log lines from becoming a flood.

use crate::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_nanos(1_000_000_000);

/// Admits one event a second and counts the rest.
#[derive(Debug, Clone, Default)]
pub struct Throttle {
    admitted: Option<Instant>,
    suppressed: u64,
}

impl Throttle {
    /// Whether an event at `now` may be logged: then the number of those that were not since the last one.
    pub fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.admitted.is_some_and(|admitted| now < admitted.plus(INTERVAL)) {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.admitted = Some(now);
        Some(core::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn admits_one_a_second_and_counts_the_rest() {
        let mut throttle = Throttle::default();
        let answers =
            [0, 1, 999_999_999, 1_000_000_000, 5_000_000_000].map(|at| throttle.admit(Instant::from_nanos(at)));
        assert_eq!(answers, [Some(0), None, None, Some(2), Some(0)]);
    }
}
