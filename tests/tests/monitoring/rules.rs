//! Every rule that is shipped asks for series that there are.

use std::time::{Duration, Instant};

use serde_json::Value;
use tollgate_tests::{
    monitoring::{self, expression},
    prometheus::{self, Prometheus},
    queries,
    world::{Options, World, load},
};

/// A world in which everything has happened once, so that every series exists that can.
pub async fn eventful_world() -> World {
    let scraping = prometheus::Options { groups: monitoring::groups(), ..prometheus::Options::default() };
    let world = World::start(Options { untagged_pods: 1, prometheus: scraping, ..Options::default() }).await;
    let mut sent = 0;
    // A rate needs two samples.
    for _ in 0..2 {
        sent += world.load(&load::mixed()).await.total();
        world.settle(sent).await;
    }
    world
}

fn name(rule: &Value) -> &str {
    rule["alert"].as_str().or_else(|| rule["record"].as_str()).expect("a rule has a name")
}

/// What is wrong with these rules here.
async fn complaints(prometheus: &Prometheus, groups: &[Value]) -> Vec<String> {
    let mut all = Vec::new();
    for rule in monitoring::rules(groups) {
        let complaints = queries::complaints(prometheus, expression(rule)).await;
        all.extend(complaints.into_iter().map(|complaint| format!("{}: {complaint}", name(rule))));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_selector_has_series_and_every_renamed_metric_or_label_is_noticed() {
    let world = eventful_world().await;
    let groups = monitoring::groups();
    // Some rules ask for what others have recorded.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let complaints = complaints(&world.prometheus, &groups).await;
        if complaints.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "{complaints:#?}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let mut tried = 0;
    for rule in monitoring::rules(&groups) {
        let asked = queries::asked(expression(rule)).expect("PromQL");
        // What labels a foreign series has is not known here.
        let labels = asked.labels.iter().filter(|_| !asked.is_foreign);
        for word in asked.metrics.iter().chain(labels) {
            let mutant = renamed(expression(rule), word);
            let complaints = queries::complaints(&world.prometheus, &mutant).await;
            assert!(!complaints.is_empty(), "{}: nobody noticed that {word} was renamed in {mutant}", name(rule));
            tried += 1;
        }
    }
    assert!(tried > 150, "only {tried} names were tried");
}

/// A query in which a metric or label has another name.
pub fn renamed(query: &str, word: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut result = String::new();
    let mut rest = query;
    while let Some(start) = rest.find(is_part) {
        let length = rest[start..].find(|c| !is_part(c)).unwrap_or(rest.len() - start);
        let found = &rest[start..start + length];
        result.push_str(&rest[..start + length]);
        if found == word {
            result.push_str("_renamed");
        }
        rest = &rest[start + length..];
    }
    result + rest
}
