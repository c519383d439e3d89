//! `make dashboards`: every panel of the shipped dashboards as a picture, from what a real Prometheus has of real sidecars.
//!
//! A world runs for about a minute under a load that rises and falls, with a spell of errors and one of logins; then
//! tools/dashboards asks its Prometheus what Grafana would ask, and draws the answers to target/dashboards. A panel that
//! has nothing to show is an error.

use std::{
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tollgate_tests::{
    artifacts, dashboards, monitoring, prometheus,
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
    let out = artifacts::project().join("target/dashboards");
    let drawn = dashboards::drawing(world.prometheus.address(), start, end, TICK, &out).status();
    if drawn.expect("Python runs").success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}
