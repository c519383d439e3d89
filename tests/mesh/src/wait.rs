//! Waiting until something holds, never for a time.

use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(50);

/// What `found` finds, as soon as it does, and how long that took.
///
/// # Panics
/// It finds nothing within `patience`.
pub async fn until<T>(what: &str, patience: Duration, mut found: impl AsyncFnMut() -> Option<T>) -> (T, Duration) {
    let start = Instant::now();
    loop {
        if let Some(found) = found().await {
            return (found, start.elapsed());
        }
        assert!(start.elapsed() < patience, "not within {} s: {what}", patience.as_secs());
        tokio::time::sleep(POLL).await;
    }
}
