//! Every panel of the shipped dashboards has something to show.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tollgate_tests::{
    dashboards::{self, Query},
    prometheus::{self, Prometheus},
    queries,
};

use super::rules::{eventful_world, renamed};

/// Long enough for all of the test's load to be in it.
const WINDOW: Duration = Duration::from_secs(120);

/// What is wrong with a query here.
async fn complaints(prometheus: &Prometheus, query: &str) -> Vec<String> {
    // Zeros stand in for what is not there, so an answer alone proves nothing: each selector must have one.
    let mut complaints = queries::complaints(prometheus, query).await;
    if complaints.is_empty() && !prometheus.query(query).await.iter().any(|sample| sample.value.is_finite()) {
        complaints.push(format!("no number: {query}"));
    }
    complaints
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_panel_has_something_to_show_and_every_renamed_metric_or_label_is_noticed() {
    let world = eventful_world().await;
    let queries = shipped_queries().into_iter().filter(|query| query.elsewhere.is_none());
    let queries: Vec<_> = queries.collect();
    // Some ask for what the rules record, a while later; and a machine that is busy may miss a scrape.
    let deadline = Instant::now() + Duration::from_secs(60);
    for Query { place, expression, .. } in &queries {
        loop {
            let complaints = complaints(&world.prometheus, expression).await;
            if complaints.is_empty() {
                break;
            }
            assert!(Instant::now() < deadline, "{place}: {complaints:#?}");
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
    let mut tried = 0;
    for Query { place, expression, .. } in &queries {
        let asked = queries::asked(expression).expect("PromQL");
        // A label that label_replace makes may have any name.
        let is_made = |word: &&String| expression.contains(&format!("\"{word}\""));
        for word in asked.metrics.iter().chain(&asked.labels).filter(|word| !is_made(word)) {
            let mutant = renamed(expression, word);
            let complaints = complaints(&world.prometheus, &mutant).await;
            assert!(!complaints.is_empty(), "{place}: nobody noticed that {word} was renamed in {mutant}");
            tried += 1;
        }
    }
    assert!(tried > 300, "only {tried} names were tried");
}

fn shipped_queries() -> Vec<Query> {
    dashboards::shipped().iter().flat_map(|dashboard| dashboards::queries(dashboard, WINDOW)).collect()
}

#[tokio::test]
async fn a_panel_without_anything_to_show_is_an_error_that_names_it() {
    let prometheus = Prometheus::start(&prometheus::Options::default()).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let pictures = tempfile::tempdir().expect("a directory for temporary files");
    let mut drawing =
        dashboards::drawing(prometheus.address(), now - 60.0, now, Duration::from_secs(1), pictures.path());
    let output = drawing.output().expect("Python runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for query in shipped_queries() {
        let (panel, reference) = query.place.rsplit_once(", ").expect("a letter");
        let line = format!("error: nothing to show: {panel} ({reference}): ");
        assert_eq!(said.contains(&line), query.elsewhere.is_none(), "{line}\n{said}");
    }
}

#[test]
fn what_nothing_here_can_answer_is_istiods_the_kubelets_kube_state_metrics_or_lokis() {
    let queries = shipped_queries();
    let elsewhere = queries.iter().filter(|query| query.elsewhere.is_some()).count();
    let ours = |query: &&Query| query.expression.contains("tollgate_") && query.elsewhere.is_some();
    let ours: Vec<_> = queries.iter().filter(ours).map(|query| &query.place).collect();
    assert_eq!(ours, Vec::<&String>::new(), "queries of Tollgate's own metrics that no test asks");
    assert!(elsewhere < queries.len() / 2, "{elsewhere} of {} queries are left to others", queries.len());
}
