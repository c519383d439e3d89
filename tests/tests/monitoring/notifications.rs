//! From a real Envoy in trouble, over Prometheus and Alertmanager with what is shipped, to the webhook that is called.
//!
//! Times are the shipped ones, divided: nobody waits an hour here.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tollgate_tests::{
    alertmanager::{Alertmanager, Receiver},
    monitoring, prometheus,
    world::{
        Chain, Options, World,
        load::{self, Call},
    },
};

/// Five minutes are a second and a half.
const FACTOR: u64 = 200;
const PATIENCE: Duration = Duration::from_secs(60);

/// A world whose alerts arrive at a webhook.
struct Watched {
    world: World,
    receiver: Receiver,
    alertmanager: Alertmanager,
}

impl Watched {
    async fn start(options: Options) -> Self {
        let receiver = Receiver::start().await;
        let alertmanager = Alertmanager::start(&monitoring::alertmanager(receiver.address(), FACTOR), &[]).await;
        let prometheus = prometheus::Options {
            groups: monitoring::hastened(monitoring::groups(), FACTOR),
            alertmanager: Some(alertmanager.address()),
            ..options.prometheus.clone()
        };
        let world = World::start(Options { prometheus, ..options }).await;
        Self { world, receiver, alertmanager }
    }

    /// The alerts that the webhook was told of. Each of them came where its severity belongs, with its runbook.
    fn told(&self) -> BTreeSet<String> {
        let groups = monitoring::groups();
        let mut told = BTreeSet::new();
        for notification in self.receiver.received() {
            for alert in notification.firing() {
                let name = alert["labels"]["alertname"].as_str().expect("a name");
                let (_, rule) = monitoring::alerts(&groups).find(|(other, _)| *other == name).expect("a shipped one");
                assert_eq!(alert["labels"]["severity"], rule["labels"]["severity"], "{alert}");
                assert_eq!(alert["annotations"]["runbook_url"], rule["annotations"]["runbook_url"], "{alert}");
                let severity = rule["labels"]["severity"].as_str().expect("a severity");
                assert_eq!(notification.path, format!("/{severity}"), "{name}");
                for annotation in ["summary", "description"] {
                    let text = alert["annotations"][annotation].as_str().expect("text");
                    let is_whole = !text.contains("<no value>") && !text.contains("error") && !text.contains(" /");
                    assert!(is_whole || text.contains("error budget"), "{name}: {text}");
                }
                told.insert(name.to_owned());
            }
        }
        told
    }

    /// Keeps up the load until the webhook was told of all of these.
    async fn until_told(&self, alerts: &[&str], calls: &[Call]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if calls.is_empty() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            } else {
                self.world.load(calls).await;
            }
            let told = self.told();
            let missing: Vec<_> = alerts.iter().filter(|alert| !told.contains(**alert)).collect();
            if missing.is_empty() {
                return;
            }
            if Instant::now() > deadline {
                let pending = self.world.prometheus.query("ALERTS").await;
                panic!("nobody was told of {missing:?}: {pending:#?}\n{}", self.alertmanager.log());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_is_told_of_errors_limits_denials_and_refused_configurations() {
    let options = Options { certificates_last: Duration::from_secs(3600), ..Options::default() };
    let watched = Watched::start(options).await;
    watched.world.push("rate-limit", &json!({"rules": [{"name": "login", "limits": [{"requests": 0, "per": "1m"}]}]}));
    let alerts = [
        "TollgateCertificateExpiring",
        "TollgateConfigRefused",
        "TollgateErrorBudgetBurnFast",
        "TollgateIdentityDenialsSpike",
        "TollgateLimitBitesCallers",
        "TollgateLimitOverflow",
    ];
    watched.until_told(&alerts, &load::mixed()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_is_told_of_filters_that_do_nothing_in_silence() {
    // What the platform's EnvoyFilter did: it was there, and matched nothing.
    let limits = json!({"rules": [{"name": "nowhere", "match": [{"paths": ["/elsewhere"]}],
        "limits": [{"requests": 100, "per": "1m"}]}]});
    let chain = Chain { mtls_identity: None, rate_limit: Some(limits), rate_limit_crashes: true, ..Chain::default() };
    let mut watched = Watched::start(Options { chain, ..Options::default() }).await;
    watched.until_told(&["TollgateFilterAbsent", "TollgateTrafficUnmatched"], &load::healthy()).await;

    // Each worker's VM ends, and requests pass without it.
    let teapots: Vec<_> = (0..64).map(|_| Call::new("api-gateway", "home").header("x-answer", 418)).collect();
    watched.world.load(&teapots).await;
    watched.until_told(&["TollgateFilterSkipped"], &load::healthy()).await;

    watched.world.pods.clear();
    watched.until_told(&["TollgateTargetDown"], &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_anything_while_all_is_well() {
    let watched = Watched::start(Options { chain: Chain::healthy(), pods: 2, ..Options::default() }).await;
    let start = Instant::now();
    // The longest `for` is an hour.
    let length = Duration::from_secs(75 * 60 / FACTOR);
    while start.elapsed() < length {
        watched.world.load(&load::healthy()).await;
    }
    let alerts =
        watched.world.prometheus.query_range("ALERTS{alertstate=\"firing\"}", length, Duration::from_millis(250));
    assert_eq!(alerts.await, []);
    assert_eq!(watched.told(), BTreeSet::new());
    assert!(watched.world.prometheus.value("sum(rate(tollgate_requests_total[2s]))").await > 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_from_something_worse_is_held_back() {
    let receiver = Receiver::start().await;
    let configuration = monitoring::alertmanager(receiver.address(), FACTOR);
    let alertmanager = Alertmanager::start(&configuration, &[]).await;
    let rules = configuration["inhibit_rules"].as_array().expect("a list");
    assert!(!rules.is_empty());
    for (number, rule) in rules.iter().enumerate() {
        let alert = |of: &str, place: &str| {
            let matcher = rule[of][0].as_str().expect("one matcher");
            let name =
                matcher.strip_prefix("alertname=\"").and_then(|name| name.strip_suffix('"')).expect("by its name");
            let mut labels = json!({"alertname": name, "severity": "ticket"});
            for label in rule["equal"].as_array().expect("a list") {
                labels[label.as_str().expect("a name")] = json!(format!("{place}-{number}"));
            }
            labels
        };
        let until_told = async |labels: &Value| {
            let deadline = Instant::now() + PATIENCE;
            while !is_told(&receiver, labels) {
                assert!(Instant::now() < deadline, "nobody was told of {labels}\n{}", alertmanager.log());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let (source, here, elsewhere) =
            (alert("source_matchers", "here"), alert("target_matchers", "here"), alert("target_matchers", "elsewhere"));
        alertmanager.alert(&source).await;
        until_told(&source).await;
        alertmanager.alert(&here).await;
        alertmanager.alert(&elsewhere).await;
        until_told(&elsewhere).await;
        assert!(!is_told(&receiver, &here), "{rule}");
    }
}

fn is_told(receiver: &Receiver, labels: &Value) -> bool {
    receiver.received().iter().any(|notification| notification.firing().any(|alert| alert["labels"] == *labels))
}
