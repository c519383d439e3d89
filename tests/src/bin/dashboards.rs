//! `make dashboards`: every panel of the shipped dashboards as a picture, from what a real Prometheus has of real sidecars.
//!
//! A world runs for about a minute under a load that rises and falls, with a spell of errors and one of logins; then
//! tools/dashboards asks its Prometheus what Grafana would ask, and draws the answers to target/dashboards. A panel that
//! has nothing to show is an error.

use std::{
    process::{Command, ExitCode},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tollgate_tests::{
    artifacts, monitoring,
    prometheus::{self, Prometheus},
    world::{Options, World, load},
};

/// How often there is new load, and Prometheus scrapes.
const TICK: Duration = Duration::from_secs(1);
const TICKS: usize = 75;
const PODS: usize = 2;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let prometheus =
        prometheus::Options { interval: TICK, groups: monitoring::groups(), ..prometheus::Options::default() };
    let world = World::start(Options { pods: PODS, prometheus, ..Options::default() }).await;
    println!("Two sidecars with the three filters under load, for {TICKS} s ...");
    let start = now();
    let mut sent = 0;
    let mut ticks = tokio::time::interval(TICK);
    for tick in 0..TICKS {
        ticks.tick().await;
        sent += world.load(&calls(tick)).await.total();
    }
    let end = now();
    world.settle(sent).await;
    println!("{sent} requests sent, and all of them are in Prometheus");
    draw(&world.prometheus, start, end)
}

/// What is sent in a tick: mostly what is as it should be, in waves, and some of everything; more errors in the middle, and
/// a burst of logins later.
fn calls(tick: usize) -> Vec<load::Call> {
    let wave = 1.0 + (tick as f64 / 9.0).sin() * 0.6;
    let healthy = load::healthy();
    let mixed = load::mixed();
    let spell = (25..35).contains(&tick);
    let some = if spell { 45 } else { 12 };
    let mut calls: Vec<_> = healthy.iter().cycle().skip(tick * 31).take((90.0 * wave) as usize).cloned().collect();
    calls.extend(mixed.iter().cycle().skip(tick * 37).take(some).cloned());
    if (50..58).contains(&tick) {
        calls.extend(mixed.iter().filter(|call| call.route == "login").take(16).cloned());
    }
    calls
}

fn draw(prometheus: &Prometheus, start: f64, end: f64) -> ExitCode {
    let project = artifacts::project();
    let cache = tollgate_cli::tools::cache().expect("HOME or TOLLGATE_CACHE is set");
    let status = Command::new(cache.join("dashboards/venv/bin/python"))
        .args(["-m", "tollgate_dashboards", "render"])
        .args(["--prometheus", &format!("http://{}", prometheus.address())])
        .args(["--start", &start.to_string(), "--end", &end.to_string()])
        .args(["--scrape-interval", &TICK.as_secs_f64().to_string()])
        .arg("--out")
        .arg(project.join("target/dashboards"))
        .current_dir(project.join("tools/dashboards"))
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: Python does not run ({error}): `make dashboards` installs what it needs");
            ExitCode::FAILURE
        }
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}
