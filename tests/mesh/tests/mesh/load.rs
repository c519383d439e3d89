//! Requests without a pause, while something else changes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;
use tollgate_mesh::{mesh::Caller, node::Pod};

/// One request of a load.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When it was sent.
    pub sent: Instant,
    /// When it was answered.
    pub answered: Instant,
    /// The status; none where the connection failed.
    pub status: Option<u16>,
    /// The `RateLimit-Policy` of the answer.
    pub policy: Option<String>,
}

/// Requests of one client, one after the other on each of some connections, until it is stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Vec<Sample>>>,
}

impl Load {
    /// Starts it.
    pub async fn start(client: &Pod, connections: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for _ in 0..connections {
            let mut caller = Caller::open(client).await.expect("the client's sidecar listens");
            let stop = Arc::clone(&stop);
            tasks.push(tokio::spawn(async move {
                let mut samples = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let sent = Instant::now();
                    let answer = caller.get("/posts/7").await.ok();
                    let policy = answer.as_ref().and_then(|it| it.header("ratelimit-policy")).map(str::to_owned);
                    let status = answer.map(|answer| answer.status);
                    samples.push(Sample { sent, answered: Instant::now(), status, policy });
                    if status.is_none() {
                        break;
                    }
                }
                samples
            }));
        }
        Self { stop, tasks }
    }

    /// Stops it; all requests, in the order of their answers.
    pub async fn stop(self) -> Vec<Sample> {
        self.stop.store(true, Ordering::Relaxed);
        let mut samples = Vec::new();
        for task in self.tasks {
            samples.extend(task.await.expect("no panic"));
        }
        samples.sort_by_key(|sample| sample.answered);
        samples
    }
}

/// How many have a status.
pub fn count(samples: &[Sample], status: u16) -> u64 {
    let found = samples.iter().filter(|sample| sample.status == Some(status)).count();
    u64::try_from(found).expect("a count")
}

/// From the first sent to the last answered.
pub fn length(samples: &[Sample]) -> Duration {
    let first = samples.iter().map(|sample| sample.sent).min().expect("some requests");
    samples.last().expect("some requests").answered - first
}

/// # Panics
/// A status is neither of these.
pub fn assert_only(samples: &[Sample], statuses: &[u16]) {
    let other = samples.iter().find(|sample| !sample.status.is_some_and(|status| statuses.contains(&status)));
    assert!(other.is_none(), "{other:?} among {} requests", samples.len());
}
