//! One Envoy that decides on every request twice: by Istio's filters, which turn nobody away, and by mtls-identity.

use std::{cell::Cell, collections::BTreeSet, net::SocketAddr, path::PathBuf, sync::Arc};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{sync::Semaphore, task::JoinSet};
use tollgate_cli::convert::authorization::Difference;
use tollgate_tests::{
    artifacts,
    config::{Listener, Plugin, bootstrap},
    conversation::{Line, Message},
    envoy::Envoy,
};

use super::{
    callers::{Arrival, Callers},
    policies::Workload,
    tokens,
};

/// How many connections there are at a time.
const CONNECTIONS: usize = 8;

/// `meshConfig.pathNormalization`, as istiod writes it down for Envoy: `merge_slashes` and
/// `path_with_escaped_slashes_action`. Half of the workloads have the default.
const NORMALIZATIONS: [(bool, &str); 4] =
    [(false, "KEEP_UNCHANGED"), (true, "KEEP_UNCHANGED"), (false, "KEEP_UNCHANGED"), (true, "UNESCAPE_AND_FORWARD")];

/// A workload whose policies both Istio and mtls-identity carry out.
pub(super) struct Subject {
    /// The policies.
    pub(super) workload: Workload,
    /// What Istio makes of them.
    pub(super) native: Vec<Value>,
    /// What the conversion makes of them.
    pub(super) config: Value,
    /// In what that differs.
    pub(super) differences: BTreeSet<Difference>,
}

/// A request to one of the workloads.
#[derive(Debug, Clone)]
pub(super) struct Question {
    /// The index of the subject.
    pub(super) subject: usize,
    /// On which connection.
    pub(super) arrival: Arc<Arrival>,
    /// What.
    pub(super) request: Message,
    /// The claims of its token, if it has one.
    pub(super) claims: Option<Value>,
}

impl Question {
    /// The request, with its token, and a number by which the access log tells which one it was.
    fn numbered(&self, number: usize) -> Message {
        let mut message = self.request.clone();
        message.headers.push(("x-number".to_owned(), number.to_string()));
        let token = self.claims.as_ref().map(tokens::authorization);
        message.headers.extend(token.map(|token| ("authorization".to_owned(), token)));
        message
    }
}

/// What became of a request.
#[derive(Debug, Clone, Default)]
pub(super) struct Outcome {
    /// The answer's status.
    status: u64,
    /// Why that, in Envoy's words.
    details: String,
    /// The path as the filters saw it.
    pub(super) path: String,
    /// Whether Istio's DENY and ALLOW filters would let it pass.
    native: [Option<bool>; 2],
    /// Which rules of theirs decided that.
    native_rules: [Option<String>; 2],
    /// What mtls-identity wrote down.
    decision: String,
}

impl Outcome {
    /// Whether Envoy itself turned it away, so that no filter saw it.
    pub(super) fn is_undecided(&self) -> bool {
        self.status == 400 && self.details != "tollgate_identity_denied"
    }

    /// Whether Istio would let it pass.
    pub(super) fn istio_allows(&self) -> bool {
        self.passes(0) && self.passes(1)
    }

    /// Whether Istio's DENY policies would, which are 0, or its ALLOW policies, which are 1.
    pub(super) fn passes(&self, half: usize) -> bool {
        self.native[half].unwrap_or(true)
    }

    /// The rule of Istio's ALLOW policies that took it.
    pub(super) fn allowed_by(&self) -> Option<&str> {
        self.native_rules[1].as_deref()
    }

    /// Whether mtls-identity let it pass.
    pub(super) fn tollgate_allows(&self) -> bool {
        self.status == 200
    }

    /// Why mtls-identity turned it away, or nothing.
    pub(super) fn reason(&self) -> &str {
        self.decision.strip_prefix("tollgate_identity_denied:").unwrap_or_default()
    }

    /// Both decisions, for people.
    pub(super) fn says(&self) -> String {
        let says = |allows| if allows { "allows" } else { "denies" };
        format!("Istio {}, mtls-identity {}", says(self.istio_allows()), says(self.tollgate_allows()))
    }

    /// Whether both decide alike.
    pub(super) fn agrees(&self) -> bool {
        self.istio_allows() == self.tollgate_allows()
    }
}

/// The Envoy with a listener for each subject.
pub(super) struct World {
    envoy: Envoy,
    directory: TempDir,
    /// Of requests so far.
    count: Cell<usize>,
    /// Bytes of the access log that are read.
    read: Cell<usize>,
}

impl World {
    /// Starts it.
    pub(super) async fn start(subjects: &[Subject], callers: &Callers) -> Self {
        let directory = tempfile::tempdir().expect("a directory for temporary files");
        let log = directory.path().join("access.log");
        let listener = |(index, subject)| listener(index, subject, callers, &log);
        let listeners: Vec<_> = subjects.iter().enumerate().map(listener).collect();
        let envoy = Envoy::start(&artifacts::newest_envoy(), 2, &bootstrap(&listeners, vec![])).await;
        Self { envoy, directory, count: Cell::new(0), read: Cell::new(0) }
    }

    /// Sends the requests, consecutive ones of one arrival over one connection, and says what became of each.
    pub(super) async fn ask(&self, questions: &[Question]) -> Vec<Outcome> {
        let first = self.count.replace(self.count.get() + questions.len());
        let mut conversations = JoinSet::new();
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let mut number = first;
        let same = |a: &Question, b: &Question| a.subject == b.subject && Arc::ptr_eq(&a.arrival, &b.arrival);
        for group in questions.chunk_by(same) {
            let messages: Vec<_> = (number..).zip(group).map(|(number, question)| question.numbered(number)).collect();
            number += group.len();
            let Question { subject, arrival, .. } = &group[0];
            let line = self.line(*subject, arrival);
            let (slots, arrival) = (Arc::clone(&slots), Arc::clone(arrival));
            conversations.spawn(async move {
                let _slot = slots.acquire().await.expect("never closed");
                line.exchange(&messages).await.map_err(|error| format!("{arrival:?}: {error}"))
            });
        }
        while let Some(conversation) = conversations.join_next().await {
            if let Err(failure) = conversation.expect("no panic") {
                panic!("{failure}\n{}", self.envoy.log());
            }
        }
        let path = self.log();
        let fresh = || std::fs::read_to_string(&path).unwrap_or_default().split_off(self.read.get());
        let lines = async || fresh().matches('\n').count() >= questions.len();
        self.envoy.wait_until("all is in the access log", lines).await;
        let fresh = fresh();
        self.read.set(self.read.get() + fresh.len());
        outcomes(&fresh, first, questions.len())
    }

    /// That no module failed, and that Envoy still runs.
    pub(super) async fn assert_sound(&mut self) {
        self.envoy.assert_sound().await;
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("access.log")
    }

    fn line(&self, subject: usize, arrival: &Arrival) -> Line {
        let Arrival { caller, from, port, sni, is_http2 } = arrival;
        let tls = caller.identity().map(|identity| (identity.clone(), sni.map(str::to_owned)));
        let address = self.envoy.address(&subject.to_string());
        let (from, to) = (from.parse().expect("an address"), SocketAddr::from(([203, 0, 113, 1], *port)));
        Line { address, from, to, tls, is_http2: *is_http2 }
    }
}

/// What verifies tokens, Istio's filters without effect, then ours.
fn listener(index: usize, subject: &Subject, callers: &Callers, log: &std::path::Path) -> Listener {
    let (merge_slashes, escaped_slashes) = NORMALIZATIONS[index % NORMALIZATIONS.len()];
    let plugin = Plugin::new("mtls-identity", &subject.config).filter();
    let access_log = json!({
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": log,
            "log_format": {"json_format": {
                "number": "%REQ(x-number)%",
                "path": "%REQ(:path)%",
                "status": "%RESPONSE_CODE%",
                "details": "%RESPONSE_CODE_DETAILS%",
                "native": "%DYNAMIC_METADATA(envoy.filters.http.rbac)%",
                "decision": "%FILTER_STATE(wasm.tollgate_decision:PLAIN)%",
            }},
        },
    });
    let native = subject.native.iter().filter_map(without_effect);
    Listener::new(&index.to_string(), [tokens::filter()].into_iter().chain(native).chain([plugin]))
        .tls(callers.server.clone())
        .proxy_protocol()
        .plaintext_too()
        .connection_manager(json!({
            "normalize_path": true,
            "merge_slashes": merge_slashes,
            "path_with_escaped_slashes_action": escaped_slashes,
            "access_log": [access_log],
        }))
}

/// The same filter with its rules looked at and written down alone; without those that only count in Istio.
fn without_effect(filter: &Value) -> Option<Value> {
    let config = &filter["typed_config"];
    let rules = config.get("rules")?;
    let action = rules["action"].as_str().unwrap_or("ALLOW");
    Some(json!({
        "name": filter["name"],
        "typed_config": {
            "@type": config["@type"],
            "shadow_rules": rules,
            "shadow_rules_stat_prefix": format!("{action}_"),
        },
    }))
}

/// Reads the log of the requests that start with the number `first`.
fn outcomes(log: &str, first: usize, count: usize) -> Vec<Outcome> {
    let mut outcomes = vec![None; count];
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let number = text(&entry["number"]).parse::<usize>().ok().and_then(|number| number.checked_sub(first));
        let place = number.and_then(|number| outcomes.get_mut(number)).unwrap_or_else(|| panic!("not asked: {line}"));
        let native = |action: &str, what: &str| entry["native"][format!("{action}_shadow_{what}")].as_str();
        let outcome = Outcome {
            status: entry["status"].as_u64().unwrap_or_default(),
            details: text(&entry["details"]),
            path: text(&entry["path"]),
            native: ["DENY", "ALLOW"].map(|action| native(action, "engine_result").map(|result| result == "allowed")),
            native_rules: ["DENY", "ALLOW"].map(|action| native(action, "effective_policy_id").map(str::to_owned)),
            decision: text(&entry["decision"]),
        };
        assert!(place.replace(outcome).is_none(), "logged twice: {line}");
    }
    let logged = |(number, outcome): (usize, Option<_>)| outcome.unwrap_or_else(|| panic!("{number} is not logged"));
    outcomes.into_iter().enumerate().map(logged).collect()
}
