//! A caller that may not, and thousands of spellings of what it may not: no application that reads one of them in its own
//! way gives away what the policy has closed.
//!
//! Behind Envoy an application takes what arrives byte by byte, and says for each of many lax readers which resource and
//! host it is for (`readers`). The spellings (`spellings`) are what has got past others before, by name, and what comes of
//! trying each trick at each place. The same spellings get past Envoy's own RBAC by the dozen: else they would prove
//! nothing.

mod generated;
mod policies;
mod readers;
mod spellings;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tollgate_tests::{
    application::{Application, Received},
    artifacts,
    certificates::Authority,
    client::Identity,
    config::{Listener, bootstrap},
    envoy::Envoy,
    wire::{Reply, Wire},
};

use self::{
    policies::Shape,
    readers::{Reading, readings},
    spellings::{CALLER, Spelling},
};

/// How a connection manager treats paths and hosts.
fn modes() -> Vec<(&'static str, Value)> {
    let escaped = |action: &str| json!({"normalize_path": true, "merge_slashes": true, "path_with_escaped_slashes_action": action});
    vec![
        ("as it comes", json!({"normalize_path": false})),
        ("slashes merged", json!({"normalize_path": false, "merge_slashes": true})),
        ("normalized", json!({"normalize_path": true})),
        ("normalized and merged", escaped("KEEP_UNCHANGED")),
        ("escaped slashes rejected", escaped("REJECT_REQUEST")),
        ("escaped slashes redirected", escaped("UNESCAPE_AND_REDIRECT")),
        ("escaped slashes unescaped", escaped("UNESCAPE_AND_FORWARD")),
        (
            "hosts stripped, escaped slashes unescaped alone",
            json!({
                "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD",
                "strip_any_host_port": true,
                "strip_trailing_host_dot": true,
            }),
        ),
    ]
}

/// Takes all that Envoy can be told to take.
fn listener(name: &str, mode: &Value, filter: &Value, tls: &Value) -> Listener {
    let mut manager = json!({
        "http_protocol_options": {"accept_http_10": true, "allow_absolute_url": true},
        "http2_protocol_options": {"allow_connect": true, "override_stream_error_on_invalid_http_message": true},
        "upgrade_configs": [{"upgrade_type": "CONNECT"}],
        "delayed_close_timeout": "0.05s",
        "route_config": {"virtual_hosts": [{
            "name": "all",
            "domains": ["*"],
            "routes": [
                {"match": {"connect_matcher": {}}, "route": {"cluster": "application"}},
                {"match": {"prefix": ""}, "route": {"cluster": "application"}},
            ],
        }]},
    });
    manager.as_object_mut().expect("an object").extend(mode.as_object().expect("an object").clone());
    Listener::new(name, [filter.clone()]).tls(tls.clone()).connection_manager(manager)
}

/// A listener and its policy.
struct Front {
    listener: String,
    shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Protocol {
    Http1,
    Http2,
}

use Protocol::{Http1, Http2};

/// What became of one spelling.
struct Outcome {
    spelling: usize,
    protocol: Protocol,
    status: Option<u16>,
    breach: Option<Reading>,
}

impl Outcome {
    /// Whether Envoy's own parsers have turned it away, before any filter.
    fn is_refused(&self) -> bool {
        matches!(self.status, None | Some(400))
    }

    fn passed(&self) -> bool {
        self.status.is_some_and(|status| status < 300)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_spelling_of_what_is_closed_gets_past_any_policy_in_any_mode() {
    let named = spellings::named();
    let (singles, pairs) = generated::paths(2000);
    let few = named.len();
    let spellings: Arc<Vec<_>> = Arc::new([named, singles, generated::hosts(), pairs].concat());
    let count = spellings.len();
    let everything = || (0..count).flat_map(|spelling| [(spelling, Http1), (spelling, Http2)]);
    let (shapes, modes) = (policies::guarded(), modes());

    let mesh = Authority::default();
    let tls = mesh.server(&mesh.issue(&["spiffe://cluster.local/ns/shop/sa/own"]), true, true);
    let identity = Identity::new(Some(&mesh.issue(&[CALLER])));
    let application = Application::start(|request| {
        Value::Array(readings(request).iter().map(Reading::to_json).collect()).to_string()
    })
    .await;
    let mut listeners = Vec::new();
    let mut front = |name: &str, mode: &Value, shape: &Shape| {
        listeners.push(listener(name, mode, &shape.filter, &tls));
        Arc::new(Front { listener: name.to_owned(), shape: shape.clone() })
    };
    let naive: Vec<_> = policies::naive().iter().map(|shape| front(shape.name, &modes[0].1, shape)).collect();
    let guarded: Vec<Vec<_>> = modes
        .iter()
        .map(|(mode, fields)| {
            shapes.iter().map(|shape| front(&format!("{}, {mode}", shape.name), fields, shape)).collect()
        })
        .collect();

    for (turn, binary) in artifacts::envoys().into_iter().enumerate() {
        let bootstrap = bootstrap(&listeners, vec![application.cluster("application")]);
        let mut envoy = Envoy::start(&binary, 2, &bootstrap).await;
        let what = format!("Envoy {}", binary.version);

        let attacks = naive
            .iter()
            .map(|front| {
                let sent = everything().filter(|(spelling, protocol)| *spelling < few || *protocol == Http1);
                (Arc::clone(front), sent.collect())
            })
            .collect();
        let outcomes = attack(&envoy, attacks, &spellings, &identity).await;
        let refused: BTreeSet<_> = outcomes
            .iter()
            .filter(|(_, outcome)| outcome.is_refused())
            .map(|(_, outcome)| (outcome.spelling, outcome.protocol))
            .collect();
        assert_biting(&what, &spellings, &outcomes);

        let mut attacks = Vec::new();
        for (mode, fronts) in guarded.iter().enumerate() {
            for (position, front) in fronts.iter().enumerate() {
                // What has a name goes everywhere, of the rest each to every other mode; what Envoy does not take anyway,
                // to each mode.
                let is_next = |spelling: usize| (spelling + mode) % shapes.len() == position;
                let is_in_turn = |spelling: usize| (spelling + mode + turn).is_multiple_of(2);
                let is_for = |(spelling, protocol): &(usize, Protocol)| match *spelling {
                    spelling if spelling >= few && refused.contains(&(spelling, Http1)) => false,
                    spelling if refused.contains(&(spelling, *protocol)) => is_next(spelling),
                    spelling if spelling < few => *protocol == Http1 || is_next(spelling / 2),
                    spelling if *protocol == Http1 => is_in_turn(spelling) && is_next(spelling / 2),
                    spelling => spelling % 8 == mode && is_next(spelling / 8),
                };
                attacks.push((Arc::clone(front), everything().filter(is_for).collect()));
            }
        }
        let outcomes = attack(&envoy, attacks, &spellings, &identity).await;
        let mut tally: BTreeMap<_, usize> = BTreeMap::new();
        for (_, outcome) in &outcomes {
            *tally.entry((outcome.protocol, outcome.status)).or_default() += 1;
        }
        eprintln!("{what}: {count} spellings, {} refused by it, answers to the rest {tally:?}", refused.len());
        let breaches: Vec<_> = outcomes
            .iter()
            .filter_map(|(front, outcome)| {
                let (spelling, reading) = (&spellings[outcome.spelling], outcome.breach.as_ref()?);
                Some(format!("{} by {:?}: {spelling} as read by {reading}", front.listener, outcome.protocol))
            })
            .collect();
        assert!(breaches.is_empty(), "{what}: {} breaches:\n{}", breaches.len(), breaches.join("\n"));
        envoy.assert_sound().await;
    }
}

/// What none of these spellings does in any of these Envoys is to get past them.
const REFUSED: [&str; 14] = [
    "CVE-2019-9900 NUL",
    "CVE-2021-32779 #",
    "CVE-2021-39156 #",
    "absolute form of another scheme",
    "asterisk",
    "authority form",
    "control characters, bare",
    "host in quotes",
    "host not UTF-8",
    "host with NUL",
    "no host",
    "no slash at the start",
    "pseudo-header twice",
    "OPTIONS *",
];

/// What these mean is plain to Envoy itself.
const PLAIN: [&str; 8] = [
    "plain",
    "odd versions",
    "spaces",
    "host with spaces",
    "method with a space",
    "method with a tab",
    "absolute form without a path",
    "CVE-2023-35944 scheme in another case",
];

/// Asserts that every trick gets past the naive policies, but for those that Envoy refuses or reads itself as what they
/// mean.
fn assert_biting(what: &str, spellings: &[Spelling], outcomes: &[(Arc<Front>, Outcome)]) {
    let trick = |outcome: &Outcome| spellings[outcome.spelling].trick.as_str();
    let of = |meant: &dyn Fn(&Outcome) -> bool| -> BTreeSet<&str> {
        outcomes.iter().filter(|(_, outcome)| meant(outcome)).map(|(_, outcome)| trick(outcome)).collect()
    };
    let (bites, passes) = (of(&|outcome| outcome.breach.is_some()), of(&Outcome::passed));
    for spelling in spellings.iter().filter(|spelling| !spelling.is_pair()) {
        let trick = spelling.trick.as_str();
        if REFUSED.contains(&trick) {
            assert!(!passes.contains(trick), "{what} takes {spelling}");
        } else {
            let of_it = outcomes.iter().filter(|(_, outcome)| spellings[outcome.spelling].trick == trick);
            let of_it: Vec<_> =
                of_it.map(|(_, outcome)| (outcome.spelling, outcome.protocol, outcome.status)).collect();
            assert_ne!(bites.contains(trick), PLAIN.contains(&trick), "{what}: naive policies, and {trick}: {of_it:?}");
        }
    }
    let pairs =
        outcomes.iter().filter(|(_, outcome)| spellings[outcome.spelling].is_pair() && outcome.breach.is_some());
    assert!(pairs.count() > 100, "{what}: pairs of tricks get past a naive policy");
}

/// What a front is sent.
type Attack = (Arc<Front>, Vec<(usize, Protocol)>);

/// All at once.
async fn attack(
    envoy: &Envoy,
    attacks: Vec<Attack>,
    spellings: &Arc<Vec<Spelling>>,
    identity: &Identity,
) -> Vec<(Arc<Front>, Outcome)> {
    let mut tasks = JoinSet::new();
    for (front, sent) in attacks {
        let (address, identity) = (envoy.address(&front.listener), identity.clone());
        let spellings = Arc::clone(spellings);
        tasks.spawn(async move {
            let wire = || Wire::new(address, Some(identity.clone()));
            let outcomes = front.attack(&spellings, sent, wire(), wire()).await;
            outcomes.into_iter().map(move |outcome| (Arc::clone(&front), outcome)).collect::<Vec<_>>()
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

impl Front {
    async fn attack(
        &self,
        spellings: &[Spelling],
        sent: Vec<(usize, Protocol)>,
        mut http1: Wire,
        mut http2: Wire,
    ) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for (index, protocol) in sent {
            let spelling = &spellings[index];
            let reply = match protocol {
                Http1 => follow(&mut http1, spelling).await,
                Http2 => http2.http2(&spelling.http2()).await,
            };
            let mut outcome =
                Outcome { spelling: index, protocol, status: reply.as_ref().map(|reply| reply.status), breach: None };
            if let Some(reply) = reply.filter(|_| outcome.passed()) {
                let read = if spelling.method == "CONNECT" { read_tunnel(spelling) } else { read_reply(&reply) };
                outcome.breach = read.into_iter().find(|reading| self.shape.is_breached_by(reading));
            }
            outcomes.push(outcome);
        }
        // Whoever may do something is not kept from it.
        let open = format!("GET {} HTTP/1.1\r\nhost: public.example\r\n\r\n", self.shape.open_path);
        let reply = http1.http1(open.as_bytes()).await.expect("an answer");
        assert_eq!(reply.status, 200, "{}: {}", self.listener, self.shape.open_path);
        outcomes
    }
}

/// The answer, where a redirect leads once.
async fn follow(wire: &mut Wire, spelling: &Spelling) -> Option<Reply> {
    let reply = wire.http1(&spelling.http1()).await?;
    match &reply.location {
        Some(location) => wire.http1(&Spelling { target: location.clone(), ..spelling.clone() }.http1()).await,
        None => Some(reply),
    }
}

fn read_reply(reply: &Reply) -> Vec<Reading> {
    let all: Value = serde_json::from_slice(&reply.body).expect("what the application says");
    all.as_array().into_iter().flatten().map(|reading| Reading::from_json(reading).expect("a reading")).collect()
}

/// What goes through a tunnel is for whom the tunnel was asked.
fn read_tunnel(spelling: &Spelling) -> Vec<Reading> {
    let headers = spelling.hosts.iter().map(|host| (b"host".to_vec(), host.clone())).collect();
    let request = Received { method: spelling.method.into(), target: spelling.target.clone(), headers };
    readings(&request).into_iter().filter(|reading| reading.path.is_none()).collect()
}
