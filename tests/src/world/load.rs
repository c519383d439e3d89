//! What is sent, and the exact account of what came back.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use tokio::task::JoinSet;

use super::{
    CALLERS,
    application::Application,
    caller::{Answer, Caller, Connection},
};

/// How many calls are under way at once.
const AT_ONCE: usize = 8;

/// A request to send.
#[derive(Debug, Clone)]
pub struct Call {
    /// By service account: one of [`CALLERS`].
    pub caller: &'static str,
    /// The route that it belongs to: one of [`super::ROUTES`].
    pub route: &'static str,
    /// Its method.
    pub method: &'static str,
    /// Its path.
    pub path: String,
    /// Its headers, which the application goes by.
    pub headers: Vec<(&'static str, String)>,
    /// Bytes of its body.
    pub size: usize,
    /// Whether it is a call of gRPC.
    pub grpc: bool,
}

impl Call {
    /// A GET of a route's path, which the application answers with 200.
    pub fn new(caller: &'static str, route: &'static str) -> Self {
        let path = paths(route)[0].replace("{id}", "7").replace('*', "Write");
        Self { caller, route, method: "GET", path, headers: Vec::new(), size: 0, grpc: false }
    }

    /// A POST with a body.
    pub fn post(self, size: usize) -> Self {
        Self { method: "POST", size, ..self }
    }

    /// With a header.
    pub fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// A call of gRPC that the application answers with this status.
    pub fn grpc(self, status: u32) -> Self {
        let call = self.post(5).header("x-grpc-status", status);
        Self { grpc: true, ..call.header("content-type", "application/grpc").header("te", "trailers") }
    }

    fn is_abandoned(&self) -> bool {
        self.headers.iter().any(|(name, _)| *name == "x-hold")
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let uri = if self.grpc { format!("https://tollgate.test{}", self.path) } else { self.path.clone() };
        let mut request = Request::builder().method(self.method).uri(uri);
        if !self.grpc {
            request = request.header("host", "tollgate.test");
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request.body(Full::new(Bytes::from(vec![0; self.size]))).expect("a request")
    }
}

/// The paths of a route.
pub fn paths(route: &str) -> &'static [&'static str] {
    match route {
        "login" => &["/login"],
        "register" => &["/register"],
        "users" => &["/users"],
        "user" => &["/users/{id}"],
        "posts" => &["/posts"],
        "post" => &["/posts/{id}"],
        "health" => &["/health"],
        "home" => &["/"],
        "search" => &["/search"],
        "audit" => &["/titanium.Audit/*"],
        _ => panic!("no route {route}"),
    }
}

/// One of everything: statuses from 200 to 504, slow answers, limits that are reached, who is denied and who would be, gRPC
/// with its statuses, streams that the application resets and requests that their callers give up.
pub fn mixed() -> Vec<Call> {
    let mut calls = Vec::new();
    for caller in CALLERS {
        let call = |route| Call::new(caller, route);
        let answers =
            |route, statuses: &[u16]| statuses.iter().map(|it| call(route).header("x-answer", it)).collect::<Vec<_>>();
        calls.extend((0..8).map(|_| call("login").post(120)));
        calls.extend(answers("register", &[201, 201, 409, 400]).into_iter().map(|call| call.post(300)));
        calls.extend(answers("users", &[200, 200, 200, 206, 500]));
        calls.extend(answers("user", &[200, 200, 404, 401]));
        // Each under another key, more than the table has slots for.
        calls.extend((0..20).map(|n| {
            call("posts")
                .header("x-delay-ms", n * 9)
                .header("x-api-key", format!("{caller}-{n}"))
                .header("x-size", 2000)
        }));
        calls.extend(answers("post", &[200, 200, 502, 503, 504]));
        calls.extend(answers("health", &[200, 200]));
        calls.extend(answers("home", &[200, 200, 301, 302]));
        calls.extend(answers("search", &[200, 200, 429, 403]));
        calls.extend([0, 0, 0, 5, 14].map(|status| call("audit").grpc(status)));
    }
    for caller in &CALLERS[..3] {
        calls.push(Call::new(caller, "users").header("x-reset", 1));
        calls.push(Call::new(caller, "post").header("x-hold", 1));
    }
    // The same order each time, with everything spread over all of the load.
    calls.shuffle(&mut StdRng::seed_from_u64(1));
    // But for one of each end of gRPC, first: the limit of their route turns most of the others away.
    [14, 5, 0].map(|status| Call::new(CALLERS[0], "audit").grpc(status)).into_iter().chain(calls).collect()
}

/// What nobody needs to be woken for: every limit, every peer and every status is as it should be.
pub fn healthy() -> Vec<Call> {
    let mut calls = Vec::new();
    for caller in &CALLERS[..4] {
        for route in ["register", "users", "user", "posts", "post", "home", "health"] {
            calls.extend((0..4).map(|n| Call::new(caller, route).header("x-delay-ms", n)));
        }
    }
    calls
}

/// By what requests are told apart in the account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The route.
    pub route: &'static str,
    /// The method.
    pub method: &'static str,
    /// The status, 0 where the caller did not wait for any.
    pub response_code: u16,
    /// gRPC's status, `-` where there is none.
    pub grpc_status: String,
    /// What Tollgate decided.
    pub decision: &'static str,
    /// The caller.
    pub caller: &'static str,
}

/// What was sent and what came back.
#[derive(Debug, Clone, Default)]
pub struct Load {
    /// Requests.
    pub counts: BTreeMap<Key, u64>,
    /// How long the answers took, by route, as their callers saw it.
    pub durations: BTreeMap<&'static str, Vec<Duration>>,
    /// Bytes of the bodies that were sent, by route.
    pub sent: BTreeMap<&'static str, u64>,
    /// Bytes of the bodies that came back, by route.
    pub received: BTreeMap<&'static str, u64>,
}

impl Load {
    /// How many requests there were.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// How many of which `holds`.
    pub fn count(&self, holds: impl Fn(&Key) -> bool) -> u64 {
        self.counts.iter().filter(|(key, _)| holds(key)).map(|(_, count)| count).sum()
    }

    /// How many of each of what `by` tells apart.
    pub fn by<K: Ord>(&self, by: impl Fn(&Key) -> K) -> BTreeMap<K, u64> {
        let mut counts = BTreeMap::new();
        for (key, count) in &self.counts {
            *counts.entry(by(key)).or_default() += count;
        }
        counts
    }

    /// Adds another account to this one.
    pub fn add(&mut self, other: Self) {
        for (key, count) in other.counts {
            *self.counts.entry(key).or_default() += count;
        }
        for (route, durations) in other.durations {
            self.durations.entry(route).or_default().extend(durations);
        }
        for (bytes, more) in [(&mut self.sent, other.sent), (&mut self.received, other.received)] {
            for (route, count) in more {
                *bytes.entry(route).or_default() += count;
            }
        }
    }

    fn record(&mut self, call: &Call, answer: Option<&Answer>) {
        let header = |name: &str| answer.and_then(|answer| answer.headers.get(name)?.to_str().ok());
        let response_code = answer.map_or(0, |answer| answer.status);
        let grpc_status = header("grpc-status").unwrap_or("-").to_owned();
        // What has no mark of the application is the proxy's own answer.
        let is_own = answer.is_some() && header("x-application").is_none();
        let decision = match (response_code, grpc_status.as_str()) {
            (429, _) | (200, "8") if is_own => "limited",
            (403, _) | (200, "7") if is_own => "denied",
            _ => "allowed",
        };
        let key =
            Key { route: call.route, method: call.method, response_code, grpc_status, decision, caller: call.caller };
        *self.counts.entry(key).or_default() += 1;
        *self.sent.entry(call.route).or_default() += call.size as u64;
        if let Some(answer) = answer {
            self.durations.entry(call.route).or_default().push(answer.took);
            *self.received.entry(call.route).or_default() += answer.size as u64;
        }
    }
}

/// Sends the calls to the pods in turn. Those that are given up come last, one after the other.
pub(super) async fn run(
    pods: Vec<SocketAddr>,
    callers: &[Arc<Caller>],
    application: &Application,
    calls: &[Call],
) -> Load {
    let by_name = |name: &str| callers.iter().find(|caller| caller.name == name).expect("one of CALLERS").clone();
    let (abandoned, answered): (Vec<_>, Vec<_>) = calls.iter().cloned().partition(Call::is_abandoned);
    let queue: VecDeque<_> = answered.into_iter().map(|call| (by_name(call.caller), call)).collect();
    let queue = Arc::new(Mutex::new(queue));
    let mut tasks = JoinSet::new();
    for task in 0..AT_ONCE {
        let pod = pods[task % pods.len()];
        let queue = Arc::clone(&queue);
        tasks.spawn(async move {
            let mut load = Load::default();
            let mut connections = BTreeMap::<_, Connection>::new();
            loop {
                let Some((caller, call)) = queue.lock().expect("no panic").pop_front() else { return load };
                let key = (call.caller, call.grpc);
                let mut connection = match connections.remove(&key) {
                    Some(connection) => connection,
                    None => caller.open(pod, call.grpc).await.expect("connects"),
                };
                let answer = connection.send(call.request()).await;
                let answer = answer.unwrap_or_else(|error| panic!("{call:?}: {error}"));
                if answer.headers.get("connection").is_none_or(|value| value != "close") {
                    connections.insert(key, connection);
                }
                load.record(&call, Some(&answer));
            }
        });
    }
    let mut load = Load::default();
    while let Some(part) = tasks.join_next().await {
        load.add(part.expect("no panic"));
    }
    for (call, pod) in abandoned.iter().zip(pods.iter().cycle()) {
        abandon(by_name(call.caller), *pod, application, call, &mut load).await;
    }
    load
}

/// Sends a call, and closes the connection once it has reached the application, or takes the proxy's answer.
async fn abandon(caller: Arc<Caller>, pod: SocketAddr, application: &Application, call: &Call, load: &mut Load) {
    let mut held = application.held();
    held.mark_unchanged();
    let mut connection = caller.open(pod, call.grpc).await.expect("connects");
    let answer = tokio::select! {
        answer = connection.send(call.request()) => Some(answer.unwrap_or_else(|error| panic!("{call:?}: {error}"))),
        changed = held.changed() => { changed.expect("the application runs"); None }
    };
    load.record(call, answer.as_ref());
}
