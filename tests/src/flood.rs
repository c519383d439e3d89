//! Many requests over many connections, for a while.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::client::Connection;

/// What a flood got for an answer.
#[derive(Debug, Clone)]
pub struct Flooded {
    /// How many answers of each status.
    pub statuses: BTreeMap<u16, u64>,
    /// From before the first request to after the last answer.
    pub elapsed: Duration,
}

impl Flooded {
    /// Answers of a status.
    pub fn of(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }

    /// All answers.
    pub fn total(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// Asserts that the answers of status 200 are what one bucket of `burst` that refills at `requests` a minute
    /// admits in the time, within one.
    pub fn assert_exact(&self, requests: u64, burst: u64) {
        let refilled = u128::from(requests) * self.elapsed.as_nanos() / Duration::from_secs(60).as_nanos();
        let most = burst + u64::try_from(refilled).expect("a test's length");
        let admitted = self.of(200);
        assert!(admitted <= most && admitted + 1 >= most, "admitted {admitted}, a bucket would {most}: {self:?}");
        assert_eq!(self.total(), admitted + self.of(429), "{self:?}");
    }
}

/// Gets `path` over and over for a while.
///
/// # Panics
/// A connection failed.
pub async fn flood(address: SocketAddr, path: &'static str, connections: usize, length: Duration) -> Flooded {
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::open(address).await.expect("connects"));
    }
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for mut connection in open {
        tasks.spawn(async move {
            let mut statuses = BTreeMap::<u16, u64>::new();
            while start.elapsed() < length {
                let answer = connection.get(path).await.expect("answers");
                *statuses.entry(answer.status).or_default() += 1;
            }
            statuses
        });
    }
    let mut statuses = BTreeMap::<u16, u64>::new();
    while let Some(partial) = tasks.join_next().await {
        for (status, count) in partial.expect("no panic") {
            *statuses.entry(status).or_default() += count;
        }
    }
    Flooded { statuses, elapsed: start.elapsed() }
}
