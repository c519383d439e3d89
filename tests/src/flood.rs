//! Many requests over many connections, for a while.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use http_body_util::Empty;
use hyper::Request;
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

/// What one caller of many got.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// Answers of status 200.
    pub admitted: u64,
    /// All answers.
    pub total: u64,
    first_sent: Instant,
    first_answered: Instant,
    last_sent: Instant,
    last_answered: Instant,
}

impl Caller {
    /// Asserts that what was admitted is what a bucket of `burst` that refills `per_second` admits between the first
    /// and the last request, within one; of when exactly those came nobody knows more than when they were sent and
    /// answered.
    pub fn assert_exact(&self, what: &str, burst: u64, per_second: u64) {
        let refilled = |time: Duration| u128::from(per_second) * time.as_nanos();
        let second = Duration::from_secs(1).as_nanos();
        let whole = |number: u128| u64::try_from(number).expect("a test's length");
        let most = burst + whole(refilled(self.last_answered - self.first_sent).div_ceil(second));
        let least = burst + whole(refilled(self.last_sent.saturating_duration_since(self.first_answered)) / second);
        let admitted = self.admitted;
        assert!(
            admitted <= most && admitted + 1 >= least,
            "{what}: admitted {admitted} of {least} to {most}: {self:?}"
        );
    }
}

/// Many callers, told apart by a header, who take turns on some connections for a while. Answers of 503 are not
/// counted against anybody: they are those of a VM that is gone.
///
/// # Panics
/// A connection could not be opened, or an answer was neither 200 nor 429 nor 503.
pub async fn flood_of_callers(
    address: SocketAddr,
    path: &'static str,
    header: &'static str,
    callers: usize,
    connections: usize,
    length: Duration,
) -> Vec<Caller> {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..connections {
        tasks.spawn(async move {
            let mut connection = Connection::open(address).await.expect("connects");
            let mut answers: BTreeMap<usize, Caller> = BTreeMap::new();
            // Every connection has callers that others have too.
            for caller in (0..callers).cycle().skip(number * callers / connections) {
                let sent = Instant::now();
                if sent - start >= length {
                    break;
                }
                let request =
                    Request::get(path).header("host", "tollgate.test").header(header, format!("caller-{caller}"));
                let request = request.body(Empty::new()).expect("a request");
                let Ok(answer) = connection.send(request).await else {
                    connection = Connection::open(address).await.expect("connects");
                    continue;
                };
                assert!(matches!(answer.status, 200 | 429 | 503), "{answer:?}");
                let admitted = u64::from(answer.status == 200);
                let answered = Instant::now();
                let one = Caller {
                    admitted,
                    total: 1,
                    first_sent: sent,
                    first_answered: answered,
                    last_sent: sent,
                    last_answered: answered,
                };
                answers.entry(caller).and_modify(|caller| *caller = caller.and(&one)).or_insert(one);
            }
            answers
        });
    }
    let mut all: BTreeMap<usize, Caller> = BTreeMap::new();
    while let Some(answers) = tasks.join_next().await {
        for (number, one) in answers.expect("no panic") {
            all.entry(number).and_modify(|caller| *caller = caller.and(&one)).or_insert(one);
        }
    }
    all.into_values().collect()
}

impl Caller {
    fn and(&self, other: &Self) -> Self {
        Self {
            admitted: self.admitted + other.admitted,
            total: self.total + other.total,
            first_sent: self.first_sent.min(other.first_sent),
            first_answered: self.first_answered.min(other.first_answered),
            last_sent: self.last_sent.max(other.last_sent),
            last_answered: self.last_answered.max(other.last_answered),
        }
    }
}
