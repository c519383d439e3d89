//! The shipped dashboards' queries, out of the JSON files themselves, as Grafana sends them before anybody has chosen anything.

use std::{fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use serde_json::Value;

use crate::artifacts;

/// A query of a panel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The dashboard's title, the panel's, and the query's letter.
    pub place: String,
    /// What the data source is asked, with Grafana's variables filled in.
    pub expression: String,
    /// Whose metrics it asks for, if they are not of a sidecar under test: istiod's, say.
    pub elsewhere: Option<String>,
}

/// The contents of every dashboard that is shipped.
///
/// # Panics
/// There is none.
pub fn shipped() -> Vec<String> {
    let directory = artifacts::project().join("istio/monitoring/dashboards");
    let files = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let paths = files.map(|file| file.expect("readable").path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|it| it == "json")).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{}: no dashboards", directory.display());
    paths.iter().map(|path| fs::read_to_string(path).expect("readable")).collect()
}

/// The queries of a dashboard, of which every window is `window`.
///
/// # Panics
/// It is not a dashboard, or uses a variable that it does not have.
pub fn queries(dashboard: &str, window: Duration) -> Vec<Query> {
    let dashboard: Value = serde_json::from_str(dashboard).expect("JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned();
    let window = format!("{}ms", window.as_millis());
    let mut variables: Vec<_> =
        ["__rate_interval", "__interval", "__range", "__auto"].map(|name| (name.to_owned(), window.clone())).into();
    for variable in list(&dashboard["templating"]["list"]) {
        let current = &variable["current"]["value"];
        let is_all = current[0] == "$__all";
        let value = if is_all { text(&variable["allValue"]) } else { current.as_str().unwrap_or_default().to_owned() };
        variables.push((text(&variable["name"]), value));
    }
    // The longest name first: $namespace is not $name.
    variables.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    let mut queries = Vec::new();
    for panel in list(&dashboard["panels"]) {
        for target in list(&panel["targets"]) {
            let mut expression = text(&target["expr"]);
            for (name, value) in &variables {
                expression = expression.replace(&format!("${name}"), value);
            }
            let place = [&dashboard["title"], &panel["title"], &target["refId"]].map(text).join(", ");
            // ${1} is PromQL's own.
            assert!(!expression.replace("${1}", "").contains('$'), "{place}: no such variable: {expression}");
            let elsewhere = elsewhere(&text(&target["datasource"]["type"]), &expression);
            queries.push(Query { place, expression, elsewhere });
        }
    }
    queries
}

/// What draws every dashboard from what a Prometheus has, from `start` to `end` in seconds since 1970, and fails if a panel has
/// nothing to show.
///
/// # Panics
/// What it needs is not installed.
pub fn drawing(prometheus: SocketAddr, start: f64, end: f64, scrape_interval: Duration, out: &Path) -> Command {
    let cache = tollgate_cli::tools::cache().expect("HOME or TOLLGATE_CACHE is set");
    let python = cache.join("dashboards/venv/bin/python");
    assert!(python.is_file(), "{} is missing: run `tools/setup.sh dashboards`", python.display());
    let mut command = Command::new(python);
    command
        .args(["-m", "tollgate_dashboards", "render", "--prometheus", &format!("http://{prometheus}")])
        .args(["--start", &start.to_string(), "--end", &end.to_string()])
        .args(["--scrape-interval", &scrape_interval.as_secs_f64().to_string()])
        .arg("--out")
        .arg(out)
        .current_dir(artifacts::project().join("tools/dashboards"))
        // Nothing is written beside the source.
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Whose a metric is that no sidecar under test has: the list that tools/dashboards draws by.
fn elsewhere(source: &str, expression: &str) -> Option<String> {
    let list = fs::read(artifacts::project().join("tools/dashboards/elsewhere.json")).expect("readable");
    let list: Value = serde_json::from_slice(&list).expect("JSON");
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == ':';
    let words = || expression.split(|character| !is_name(character)).chain([source]);
    let found = list.as_object()?.iter().find(|(prefix, _)| words().any(|word| word.starts_with(prefix.as_str())))?;
    found.1.as_str().map(str::to_owned)
}
