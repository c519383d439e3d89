//! Every request is in Prometheus exactly once, under the right labels: held against the account of who sent it.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_tests::{
    artifacts,
    prometheus::Prometheus,
    world::{Options, World, load, load::Load, principal},
};

/// All metrics there are, with all labels that they have, beside those of the scrape.
const METRICS: [(&str, &[&str]); 13] = [
    (
        "tollgate_requests_total",
        &[
            "route",
            "method",
            "response_code",
            "response_flags",
            "grpc_status",
            "decision",
            "source_workload",
            "source_principal",
            "destination_service",
            "direction",
        ],
    ),
    ("tollgate_request_duration_milliseconds", OF_HISTOGRAMS),
    ("tollgate_request_bytes", OF_HISTOGRAMS),
    ("tollgate_response_bytes", OF_HISTOGRAMS),
    ("tollgate_requests_in_flight", &["route", "direction"]),
    ("tollgate_rate_limit_total", &["rule", "decision"]),
    ("tollgate_rate_limit_contention_total", &["rule"]),
    ("tollgate_rate_limit_slots", &["rule"]),
    ("tollgate_rate_limit_capacity", &["rule"]),
    ("tollgate_identity_total", &["rule", "decision", "reason"]),
    ("tollgate_peer_certificate_expiry_timestamp_seconds", &["source_principal"]),
    ("tollgate_config_info", &["filter", "version", "config_hash", "plugin"]),
    ("tollgate_series_dropped_total", &["filter"]),
];
const OF_HISTOGRAMS: &[&str] =
    &["route", "method", "response_code", "source_workload", "destination_service", "direction"];
/// What the shipped scrape configuration adds.
const OF_SCRAPE: [&str; 5] = ["app", "instance", "job", "namespace", "pod"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_counter_is_what_the_callers_counted() {
    for envoy in [artifacts::envoys().remove(0), artifacts::newest_envoy()] {
        let knows_certificates = envoy.version == artifacts::newest_envoy().version;
        let world = World::start(Options { envoy, ..Options::default() }).await;
        let load = world.load(&load::mixed()).await;
        world.settle(load.total()).await;
        let prometheus = &world.prometheus;
        requests_are_exact(prometheus, &load).await;
        decisions_are_exact(prometheus, &load).await;
        histograms_are_true(prometheus, &load).await;
        names_and_labels_are_those_of_the_contract(prometheus, knows_certificates).await;
    }
}

/// How many there are of each, by these labels.
async fn counted<const N: usize>(
    prometheus: &Prometheus,
    metric: &str,
    labels: [&str; N],
) -> BTreeMap<[String; N], u64> {
    let query = format!("sum by ({}) ({metric}) > 0", labels.join(", "));
    let samples = prometheus.query(&query).await;
    samples.iter().map(|it| (labels.map(|label| it.label(label).to_owned()), it.value.round() as u64)).collect()
}

async fn requests_are_exact(prometheus: &Prometheus, load: &Load) {
    let labels = ["route", "method", "response_code", "grpc_status", "decision", "source_workload", "source_principal"];
    let sent = load.by(|key| {
        let code = key.response_code.to_string();
        let caller = key.caller.to_owned();
        [
            key.route.to_owned(),
            key.method.to_owned(),
            code,
            key.grpc_status.clone(),
            key.decision.to_owned(),
            caller,
            principal(key.caller),
        ]
    });
    assert_eq!(counted(prometheus, "tollgate_requests_total", labels).await, sent);
    assert_eq!(prometheus.value("sum(tollgate_requests_total)").await as u64, load.total());
    assert_eq!(prometheus.value("sum(tollgate_requests_in_flight)").await, 0.0, "all have ended");
    // The account is worth something only if it has all of this in it.
    for code in [0, 200, 201, 206, 301, 302, 400, 401, 403, 404, 409, 429, 500, 502, 503, 504] {
        assert!(load.count(|key| key.response_code == code) > 0, "no {code}");
    }
    for decision in ["allowed", "limited", "denied", "shadow_denied"] {
        assert!(load.count(|key| key.decision == decision) > 0, "no {decision}");
    }
    for status in ["0", "5", "8", "14"] {
        assert!(load.count(|key| key.grpc_status == status) > 0, "no grpc-status {status}");
    }
}

/// The other filters' own counters fit to that: whom the one turns away, the next one never sees.
async fn decisions_are_exact(prometheus: &Prometheus, load: &Load) {
    let of = |name: &'static str| load.count(move |key| key.decision == name);
    let value = async |query: &str| prometheus.value(&format!("sum({query})")).await as u64;
    let denied = of("denied");
    assert_eq!(value(r#"tollgate_identity_total{decision="denied"}"#).await, denied);
    assert_eq!(
        value(r#"tollgate_identity_total{decision="shadow_denied"}"#).await,
        of("shadow_denied") + shadow_and_denied(load)
    );
    assert_eq!(value(r#"tollgate_identity_total{decision=~"allowed|denied"}"#).await, load.total());
    assert_eq!(value(r#"tollgate_rate_limit_total{decision="limited"}"#).await, of("limited"));
    assert_eq!(value(r#"tollgate_rate_limit_total{decision!="overflow"}"#).await, load.total() - denied);
    assert_eq!(value(r#"tollgate_rate_limit_total{rule="__exempt__"}"#).await, load.count(|key| key.route == "health"));
}

/// Those whom a rule in shadow mode would have denied, and the next one did.
fn shadow_and_denied(load: &Load) -> u64 {
    load.count(|key| key.route == "search" && key.decision == "denied")
}

async fn histograms_are_true(prometheus: &Prometheus, load: &Load) {
    for metric in ["tollgate_request_duration_milliseconds", "tollgate_request_bytes", "tollgate_response_bytes"] {
        let counts =
            counted(prometheus, &format!("{metric}_count"), ["route", "response_code", "source_workload"]).await;
        let sent = load.by(|key| [key.route.to_owned(), key.response_code.to_string(), key.caller.to_owned()]);
        assert_eq!(counts, sent, "{metric}");
    }
    let bounds = prometheus.query("count by (le) (tollgate_request_duration_milliseconds_bucket)").await;
    let mut bounds: Vec<f64> = bounds.iter().map(|bucket| bucket.label("le").parse().expect("a number")).collect();
    bounds.sort_by(f64::total_cmp);
    let bucket = |milliseconds: f64| bounds.iter().position(|bound| milliseconds <= *bound).expect("+Inf is the last");
    let mut durations = load.durations["posts"].clone();
    durations.sort();
    let percentile = durations[durations.len() * 95 / 100].as_secs_f64() * 1000.0;
    let query =
        r#"histogram_quantile(0.95, sum by (le) (tollgate_request_duration_milliseconds_bucket{route="posts"}))"#;
    let told = prometheus.value(query).await;
    assert!(
        bucket(told).abs_diff(bucket(percentile)) <= 1,
        "P95 was {percentile} ms, Prometheus says {told}: {bounds:?}"
    );
    // Envoy keeps sums no more exactly than to within some percent.
    for (metric, sent) in [("tollgate_request_bytes", &load.sent), ("tollgate_response_bytes", &load.received)] {
        let told = prometheus.value(&format!("sum({metric}_sum{{route=\"posts\"}})")).await;
        let sent = sent["posts"] as f64;
        assert!((told - sent).abs() <= sent * 0.1, "{metric}: {sent} bytes, Prometheus says {told}");
    }
}

async fn names_and_labels_are_those_of_the_contract(prometheus: &Prometheus, knows_certificates: bool) {
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    for sample in prometheus.query(r#"{__name__=~".*tollgate.*"}"#).await {
        let name = sample.label("__name__");
        let suffix = ["_bucket", "_sum", "_count"].into_iter().find(|suffix| name.ends_with(suffix));
        let name = name.strip_suffix(suffix.unwrap_or_default()).expect("just found").to_owned();
        let labels = sample.labels.into_keys().filter(|label| !OF_SCRAPE.contains(&label.as_str()));
        found.entry(name).or_default().extend(labels.filter(|label| label != "__name__" && label != "le"));
    }
    let contract: BTreeMap<_, BTreeSet<_>> = METRICS
        .into_iter()
        // Older Envoys do not say until when a certificate is valid.
        .filter(|(name, _)| knows_certificates || !name.starts_with("tollgate_peer_certificate"))
        .map(|(name, labels)| (name.to_owned(), labels.iter().copied().map(str::to_owned).collect()))
        .collect();
    assert_eq!(found, contract);
    assert_eq!(prometheus.query(r#"{__name__=~".*___.*"}"#).await, []);
}
