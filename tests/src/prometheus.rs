//! A running Prometheus that scrapes what it is told to, and what it says when it is asked.

use std::{
    collections::BTreeMap,
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{
    client::{self, Failure},
    registry::free_address,
};

const START: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
/// How often it scrapes and evaluates, unless told otherwise: tests last seconds.
pub const INTERVAL: Duration = Duration::from_millis(250);

/// What a Prometheus is told when it starts.
#[derive(Debug, Clone)]
pub struct Options {
    /// Entries of `scrape_configs`, as Prometheus reads them.
    pub scrapes: Vec<Value>,
    /// Groups of rules, as a rule file or the `spec` of a PrometheusRule has them.
    pub groups: Vec<Value>,
    /// Where alerts go.
    pub alertmanager: Option<SocketAddr>,
    /// How often it scrapes and evaluates.
    pub interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { scrapes: Vec::new(), groups: Vec::new(), alertmanager: None, interval: INTERVAL }
    }
}

/// An entry of `scrape_configs`: targets with the labels that each of their series gets.
pub fn scrape<'a>(
    job: &str,
    path: &str,
    targets: impl IntoIterator<Item = (SocketAddr, &'a [(&'a str, &'a str)])>,
) -> Value {
    let targets = targets.into_iter().map(|(address, labels)| {
        json!({"targets": [address.to_string()], "labels": labels.iter().copied().collect::<BTreeMap<_, _>>()})
    });
    json!({"job_name": job, "metrics_path": path, "static_configs": targets.collect::<Vec<_>>()})
}

/// A series' labels, `__name__` among them, and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Value at the time that was asked for.
    pub value: f64,
}

impl Sample {
    /// A label, empty where there is none, as Prometheus has it.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// A series' labels, and its values by time in seconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct Range {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Times and values.
    pub values: Vec<(f64, f64)>,
}

/// A Prometheus, ended when this is dropped.
#[derive(Debug)]
pub struct Prometheus {
    process: Child,
    directory: TempDir,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts one and waits until it is ready. It scrapes for the first time within one interval.
    ///
    /// # Panics
    /// It did not start: with its log.
    pub async fn start(options: &Options) -> Self {
        let directory = tempfile::tempdir().expect("a directory for temporary files");
        let path = |name: &str| directory.path().join(name);
        let interval = format!("{}ms", options.interval.as_millis());
        let alertmanagers: Vec<_> = options.alertmanager.iter().map(SocketAddr::to_string).collect();
        let configuration = json!({
            "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
            "rule_files": ["rules.json"],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": alertmanagers}]}]},
            "scrape_configs": options.scrapes,
        });
        std::fs::write(path("prometheus.json"), configuration.to_string()).expect("writable");
        std::fs::write(path("rules.json"), json!({"groups": options.groups}).to_string()).expect("writable");
        let address = free_address();
        let process = Command::new(program("prometheus"))
            .arg(format!("--config.file={}", path("prometheus.json").display()))
            .arg(format!("--storage.tsdb.path={}", path("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(path("log")).expect("writable"))
            .kill_on_drop(true)
            .spawn()
            .expect("prometheus runs");
        let mut prometheus = Self { process, directory, address };
        let deadline = Instant::now() + START;
        while !client::get(address, "/-/ready").await.is_ok_and(|answer| answer.status == 200) {
            let ended = prometheus.process.try_wait().expect("waitable").is_some();
            assert!(!ended && Instant::now() < deadline, "Prometheus did not start:\n{}", prometheus.log());
            tokio::time::sleep(POLL).await;
        }
        prometheus
    }

    /// Where its API is.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What an instant query gives now.
    ///
    /// # Panics
    /// Prometheus refuses it.
    pub async fn query(&self, query: &str) -> Vec<Sample> {
        self.try_query(query).await.unwrap_or_else(|error| panic!("{query}: {error}\n{}", self.log()))
    }

    /// The same.
    ///
    /// # Errors
    /// Why Prometheus refuses it.
    pub async fn try_query(&self, query: &str) -> Result<Vec<Sample>, Failure> {
        let data = self.api("query", &[("query", query)]).await?;
        match data["resultType"].as_str() {
            Some("scalar") => Ok(vec![Sample { labels: BTreeMap::new(), value: number(&data["result"][1])? }]),
            Some("vector") => {
                let results = data["result"].as_array().ok_or("no list")?;
                results
                    .iter()
                    .map(|result| Ok(Sample { labels: labels(result), value: number(&result["value"][1])? }))
                    .collect()
            }
            _ => Err(format!("unexpected answer: {data}").into()),
        }
    }

    /// The only value of an instant query; zero if there is no series.
    ///
    /// # Panics
    /// Prometheus refuses it, or it gives several.
    pub async fn value(&self, query: &str) -> f64 {
        match &self.query(query).await[..] {
            [] => 0.0,
            [sample] => sample.value,
            several => panic!("{query}: {} series", several.len()),
        }
    }

    /// What a range query gives for the time `back` from now, at steps of `step`.
    ///
    /// # Panics
    /// Prometheus refuses it.
    pub async fn query_range(&self, query: &str, back: Duration, step: Duration) -> Vec<Range> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
        let (start, end, step) = (now - back.as_secs_f64(), now, step.as_secs_f64());
        let parameters =
            [("query", query), ("start", &start.to_string()), ("end", &end.to_string()), ("step", &step.to_string())];
        let data = self.api("query_range", &parameters).await;
        let data = data.unwrap_or_else(|error| panic!("{query}: {error}\n{}", self.log()));
        let point = |point: &Value| Some((point[0].as_f64()?, number(&point[1]).ok()?));
        let results = data["result"].as_array().into_iter().flatten();
        results
            .map(|result| Range {
                labels: labels(result),
                values: result["values"].as_array().into_iter().flatten().filter_map(point).collect(),
            })
            .collect()
    }

    /// `data` of an answer of `/api/v1/`.
    ///
    /// # Errors
    /// There is no answer, or it is an error.
    pub async fn api(&self, endpoint: &str, parameters: &[(&str, &str)]) -> Result<Value, Failure> {
        let parameters = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let answer = client::get(self.address, &format!("/api/v1/{endpoint}?{parameters}")).await?;
        let mut answer: Value = serde_json::from_slice(&answer.body)?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].take()),
            _ => Err(answer["error"].as_str().unwrap_or("no error").to_owned().into()),
        }
    }

    /// Waits until `holds`.
    ///
    /// # Panics
    /// It did not within `patience`: with `what` and the log.
    pub async fn wait_until(&self, what: &str, patience: Duration, holds: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + patience;
        while !holds().await {
            assert!(Instant::now() < deadline, "never: {what}\n{}", self.log());
            tokio::time::sleep(POLL).await;
        }
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

fn labels(result: &Value) -> BTreeMap<String, String> {
    let labels = result["metric"].as_object().into_iter().flatten();
    labels.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

/// Prometheus writes numbers as strings, as JSON has no NaN.
fn number(value: &Value) -> Result<f64, Failure> {
    Ok(value.as_str().ok_or("no string")?.parse()?)
}

/// One of the programs that `make monitoring` installed: `prometheus`, `promtool`, `alertmanager` or `amtool`.
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian's name for Alertmanager.
    let names = [name.to_owned(), format!("prometheus-{name}")];
    let mut found = std::env::split_paths(&path).flat_map(|directory| names.clone().map(|name| directory.join(name)));
    found.find(|path| path.is_file()).unwrap_or_else(|| panic!("{name} is missing: run `make monitoring`"))
}

/// What `promtool` or `amtool` says.
///
/// # Panics
/// It finds something wrong: with what it says.
pub fn check(name: &str, arguments: &[&str], directory: &Path) -> String {
    let output =
        std::process::Command::new(program(name)).args(arguments).current_dir(directory).output().expect("runs");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} {arguments:?}: {said}");
    said
}
