//! The files that are shipped, and each alert by itself, in promtool and amtool.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tollgate_tests::{
    artifacts::project,
    monitoring::{self, expression},
    prometheus::check,
    queries,
};

/// A directory with the shipped rules as promtool reads them, and the tests of `tests/alerts`.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory for temporary files");
    let rules = json!({"groups": monitoring::groups()}).to_string();
    std::fs::write(directory.path().join("rules.json"), rules).expect("writable");
    for name in FILES {
        std::fs::copy(project().join("tests/alerts").join(name), directory.path().join(name)).expect("copied");
    }
    directory
}

/// What goes wrong, each trouble with its alert; and what it looks like when nothing does.
const FILES: [&str; 2] = ["troubles.yaml", "healthy.yaml"];

fn tests(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(project().join("tests/alerts").join(file)).expect("readable");
    let mut file: Value = serde_saphyr::from_str(&text).expect("YAML");
    let Value::Array(tests) = file["tests"].take() else { panic!("no tests") };
    tests
}

fn series(test: &Value) -> impl Iterator<Item = &str> {
    test["input_series"].as_array().into_iter().flatten().filter_map(|series| series["series"].as_str())
}

#[test]
fn every_alert_fires_in_its_trouble_and_rests_while_all_is_well() {
    check("promtool", &["test", "rules", FILES[0], FILES[1]], directory().path());

    let groups = monitoring::groups();
    let alerts: BTreeMap<_, _> = monitoring::alerts(&groups).collect();
    let troubles = tests(FILES[0]);
    for alert in alerts.keys() {
        let asks = format!("ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}}");
        let mut expressions =
            troubles.iter().flat_map(|test| test["promql_expr_test"].as_array().into_iter().flatten());
        let fires = expressions.any(|it| {
            let expression = it["expr"].as_str().unwrap_or_default();
            expression.contains(&asks) && it["exp_samples"].as_array().is_some_and(|samples| !samples.is_empty())
        });
        assert!(fires, "no test of {} makes {alert} fire", FILES[0]);
    }
    // All of them rest in the healthy test, and not for want of anything to read.
    let healthy = tests(FILES[1]);
    let [healthy] = &healthy[..] else { panic!("one healthy test") };
    let rests = healthy["promql_expr_test"].as_array().expect("a list").iter().any(|test| {
        test["expr"] == "ALERTS{alertstate=\"firing\"}" && test["exp_samples"].as_array().is_none_or(Vec::is_empty)
    });
    assert!(rests, "{} does not say that nothing fires", FILES[1]);
    let names: BTreeSet<_> = series(healthy).map(|series| series.split('{').next().expect("a name")).collect();
    let recorded: BTreeSet<_> = monitoring::rules(&groups).filter_map(|rule| rule["record"].as_str()).collect();
    for (alert, rule) in &alerts {
        for metric in queries::asked(expression(rule)).expect("PromQL").metrics {
            let is_there = names.contains(metric.as_str()) || recorded.contains(metric.as_str());
            assert!(is_there, "{alert} asks for {metric}, of which {} has no series", FILES[1]);
        }
    }
}

#[test]
fn every_alert_says_how_bad_it_is_and_where_to_read_on() {
    let groups = monitoring::groups();
    let mut pages = BTreeSet::new();
    for (alert, rule) in monitoring::alerts(&groups) {
        assert!(matches!(rule["labels"]["severity"].as_str(), Some("page" | "ticket")), "{alert} has no severity");
        for annotation in ["summary", "description"] {
            assert!(
                rule["annotations"][annotation].as_str().is_some_and(|text| !text.is_empty()),
                "{alert}: {annotation}"
            );
        }
        let url = rule["annotations"]["runbook_url"].as_str().expect("a runbook");
        assert!(url.ends_with(&format!("/docs/runbooks/{alert}.md")), "{alert}: {url}");
        let page = project().join(format!("docs/runbooks/{alert}.md"));
        let text = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        for part in [&format!("# {alert}"), "## Meaning", "## Impact", "## Look", "## Cure"] {
            assert!(text.lines().any(|line| line == part), "{}: no line `{part}`", page.display());
        }
        pages.insert(format!("{alert}.md"));
    }
    for page in std::fs::read_dir(project().join("docs/runbooks")).expect("a directory") {
        let name = page.expect("readable").file_name().into_string().expect("text");
        assert!(pages.contains(&name), "{name} is the runbook of no alert");
    }
}

#[test]
fn promtool_and_amtool_take_what_is_shipped() {
    let directory = directory();
    check("promtool", &["check", "rules", "rules.json"], directory.path());
    // Debian's promtool is built without service discovery in Kubernetes, so that section is left out.
    let mut scrape = monitoring::file("scrape.yaml");
    for job in scrape["scrape_configs"].as_array_mut().expect("a list") {
        job.as_object_mut().expect("an object").remove("kubernetes_sd_configs").expect("every job has one");
    }
    std::fs::write(directory.path().join("scrape.json"), scrape.to_string()).expect("writable");
    check("promtool", &["check", "config", "scrape.json"], directory.path());
    let alertmanager = project().join("istio/monitoring/alertmanager.yaml");
    let alertmanager = alertmanager.to_str().expect("text");
    check("amtool", &["check-config", alertmanager], directory.path());
    for (severity, receiver) in [("page", "tollgate-page"), ("ticket", "tollgate-ticket")] {
        let severity = format!("severity={severity}");
        let arguments = ["config", "routes", "test", "--config.file", alertmanager, "--verify.receivers", receiver];
        check("amtool", &[&arguments[..], &["alertname=Any", &severity]].concat(), directory.path());
    }
}

/// The operator's field names are Prometheus' own in camel case.
#[test]
fn the_monitors_and_the_plain_scrape_configuration_do_the_same() {
    let endpoints = |file: &str, field: &str| monitoring::file(file)["spec"][field].as_array().expect("a list").clone();
    let endpoints =
        [endpoints("pod-monitor.yaml", "podMetricsEndpoints"), endpoints("service-monitor.yaml", "endpoints")].concat();
    let jobs = monitoring::file("scrape.yaml")["scrape_configs"].as_array().expect("a list").clone();
    assert_eq!(endpoints.len(), jobs.len());
    for (endpoint, job) in endpoints.iter().zip(&jobs) {
        assert_eq!(endpoint["path"], job["metrics_path"]);
        assert_eq!(endpoint["interval"], job["scrape_interval"]);
        for (ours, theirs) in [("relabelings", "relabel_configs"), ("metricRelabelings", "metric_relabel_configs")] {
            // What the operator says by selectors and ports, the job says by keeping and dropping.
            let is_own = |step: &&Value| {
                theirs == "metric_relabel_configs" || !matches!(step["action"].as_str(), Some("keep" | "drop"))
            };
            let of_job: Vec<_> = job[theirs].as_array().into_iter().flatten().filter(is_own).cloned().collect();
            let of_monitor: Vec<_> = endpoint[ours].as_array().into_iter().flatten().map(snake_case).collect();
            assert_eq!(of_monitor, of_job, "{}", job["job_name"]);
        }
        let sets_job = |step: &Value| step["targetLabel"] == "job" && step["replacement"] == job["job_name"];
        assert!(endpoint["relabelings"].as_array().expect("a list").iter().any(sets_job), "{}", job["job_name"]);
    }
}

fn snake_case(step: &Value) -> Value {
    let fields = step.as_object().expect("an object").iter();
    fields
        .map(|(name, value)| {
            let name = match name.as_str() {
                "sourceLabels" => "source_labels",
                "targetLabel" => "target_label",
                name => name,
            };
            (name.to_owned(), value.clone())
        })
        .collect()
}
