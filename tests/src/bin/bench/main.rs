//! `make bench`: what each filter costs, side by side in one Envoy.
//!
//! Every variant is a listener of the same Envoy with one worker; wrk sends to one after the other, in rounds, so that
//! whatever else the machine does falls on all of them. The cost is the CPU time of the Envoy process for each request,
//! as the kernel counts it, and the median over the rounds. Ratios hold within one run only.

mod tls;
mod variants;

use std::{
    fs, io,
    net::SocketAddr,
    process::{Command, ExitCode},
    time::Instant,
};

use serde_json::{Value, json};
use tollgate_tests::{
    artifacts::{self, EnvoyBinary},
    client,
    config::{Listener, bootstrap},
    envoy::Envoy,
};

use self::{
    tls::Tls,
    variants::{Variant, variants},
};

const ROUNDS: usize = 9;
const SECONDS: u32 = 1;
const CONNECTIONS: u32 = 16;
const STARTS: usize = 7;

/// Microseconds of CPU for a request, one figure for each round.
struct Measured {
    variant: Variant,
    cost: Vec<f64>,
    /// Requests a second.
    rate: Vec<f64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let variants = variants();
    let tls = Tls::new();
    let listeners: Vec<Listener> = variants.iter().map(|variant| tls.listener(variant)).collect();
    let binary = artifacts::newest_envoy();
    let mut envoy = Envoy::start(&binary, 1, &bootstrap(&listeners, vec![])).await;
    let over_tls: Vec<&Variant> = variants.iter().filter(|variant| variant.tls).collect();
    let client = tls.client(&binary, &envoy, &over_tls).await;
    let seconds = variants.len() as u32 * (ROUNDS as u32 + 1) * SECONDS;
    eprintln!("Envoy {}, 1 worker, {CONNECTIONS} connections, {ROUNDS} rounds: about {seconds} s", binary.version);

    let mut measured: Vec<Measured> =
        variants.into_iter().map(|variant| Measured { variant, cost: Vec::new(), rate: Vec::new() }).collect();
    // The first round warms up and does not count.
    for round in 0..=ROUNDS {
        for one in &mut measured {
            let entry = if one.variant.tls { &client } else { &envoy };
            let address = entry.address(one.variant.key);
            let (cost, rate) = match load(&envoy, one.variant.key, address).await {
                Ok(figures) => figures,
                Err(error) => {
                    eprintln!("error: {error}");
                    return ExitCode::FAILURE;
                }
            };
            if round > 0 {
                one.cost.push(cost);
                one.rate.push(rate);
            }
        }
        eprintln!("round {round} of {ROUNDS}");
    }
    for one in &measured {
        let limited = envoy.stat(&format!("http.{}.downstream_rq_4xx", one.variant.key)).await.unwrap_or(0);
        assert!((limited > 1000) == one.variant.rejects, "{} turned {limited} requests away", one.variant.what);
    }
    envoy.assert_sound().await;
    drop(envoy);
    let started = starts(&binary).await;
    let resident = resident(&binary).await;

    let summary = summary(&binary.version, &measured, &started, &resident);
    print_table(&measured);
    for (what, milliseconds) in &started {
        println!("from Envoy's start to its first answer, {what}: {milliseconds:.0} ms");
    }
    for (what, mebibytes) in &resident {
        println!("resident with 2 workers under load, {what}: {mebibytes:.1} MiB");
    }
    let directory = artifacts::project().join("target/bench");
    let written = fs::create_dir_all(&directory)
        .and_then(|()| fs::write(directory.join("summary.json"), format!("{summary:#}\n")));
    if let Err(error) = written {
        eprintln!("error: {}/summary.json: {error}", directory.display());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// How long Envoys with some of the filters take from their start to the first answer, in milliseconds.
async fn starts(binary: &EnvoyBinary) -> Vec<(&'static str, f64)> {
    let variants: Vec<Variant> = variants()
        .into_iter()
        .filter(|variant| ["none", "noop", "rate_limit", "rate_limit_500"].contains(&variant.key))
        .collect();
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); variants.len()];
    for _ in 0..STARTS {
        for (variant, times) in variants.iter().zip(&mut times) {
            let listener = Listener::new(variant.key, variant.filters.clone());
            let start = Instant::now();
            let envoy = Envoy::start(binary, 1, &bootstrap(&[listener], vec![])).await;
            let answer = client::get(envoy.address(variant.key), "/").await;
            assert!(answer.is_ok_and(|answer| answer.status == 200), "{} does not answer", variant.what);
            times.push(start.elapsed().as_secs_f64() * 1000.0);
        }
    }
    variants.iter().zip(times).map(|(variant, times)| (variant.what, median(&times))).collect()
}

/// How much memory Envoys with two workers hold after some load, in mebibytes.
async fn resident(binary: &EnvoyBinary) -> Vec<(&'static str, f64)> {
    let variants: Vec<Variant> =
        variants().into_iter().filter(|variant| ["none", "noops", "all"].contains(&variant.key)).collect();
    let mut sizes: Vec<Vec<f64>> = vec![Vec::new(); variants.len()];
    for _ in 0..STARTS {
        for (variant, sizes) in variants.iter().zip(&mut sizes) {
            let listener = Listener::new(variant.key, variant.filters.clone());
            let envoy = Envoy::start(binary, 2, &bootstrap(&[listener], vec![])).await;
            load(&envoy, variant.key, envoy.address(variant.key)).await.expect("answers");
            sizes.push(resident_mebibytes(envoy.pid()));
        }
    }
    variants.iter().zip(sizes).map(|(variant, sizes)| (variant.what, median(&sizes))).collect()
}

fn resident_mebibytes(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("Envoy runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says it");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}

/// Sends for a while; microseconds of Envoy's CPU for each request, and requests a second.
async fn load(envoy: &Envoy, key: &str, address: SocketAddr) -> Result<(f64, f64), String> {
    let name = format!("http.{key}.downstream_rq_total");
    let requests = async || envoy.stat(&name).await.ok_or(format!("Envoy has no stat {name}"));
    let before = (requests().await?, cpu_nanos(envoy.pid()).map_err(|error| error.to_string())?);
    let wrk = Command::new("wrk")
        .args(["--threads", "1", "--connections", &CONNECTIONS.to_string()])
        .args(["--duration", &format!("{SECONDS}s"), "--script"])
        .arg(artifacts::project().join("tests/src/bin/callers.lua"))
        .arg(format!("http://{address}/"))
        .output()
        .map_err(|error| format!("wrk does not run ({error}): `make bench` installs it"))?;
    if !wrk.status.success() {
        return Err(format!("wrk failed: {}", String::from_utf8_lossy(&wrk.stderr)));
    }
    let after = (requests().await?, cpu_nanos(envoy.pid()).map_err(|error| error.to_string())?);
    let count = (after.0 - before.0) as f64;
    Ok(((after.1 - before.1) as f64 / 1000.0 / count, count / f64::from(SECONDS)))
}

/// CPU time of all threads of a process so far.
fn cpu_nanos(pid: u32) -> io::Result<u64> {
    let mut total = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let schedstat = fs::read_to_string(thread?.path().join("schedstat"))?;
        total += schedstat.split(' ').next().and_then(|nanos| nanos.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(total)
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The median over the rounds of what a variant adds to another in the same round.
fn added(variant: &Measured, base: &Measured) -> f64 {
    median(&variant.cost.iter().zip(&base.cost).map(|(with, without)| with - without).collect::<Vec<_>>())
}

fn by_key<'a>(measured: &'a [Measured], key: &str) -> &'a Measured {
    measured.iter().find(|one| one.variant.key == key).expect("a variant")
}

/// What a variant adds to no filter at all, and the no-op filter, over the same kind of connection.
fn compared(one: &Measured, measured: &[Measured]) -> (f64, f64) {
    let (none, noop) = if one.variant.tls { ("tls", "tls_noop") } else { ("none", "noop") };
    let none = by_key(measured, none);
    (added(one, none), added(by_key(measured, noop), none))
}

fn summary(version: &str, measured: &[Measured], started: &[(&str, f64)], resident: &[(&str, f64)]) -> Value {
    let rows = measured.iter().map(|one| {
        let (added_us, noop_us) = compared(one, measured);
        json!({
            "key": one.variant.key,
            "what": one.variant.what,
            "cpu_us_per_request": median(&one.cost),
            "cpu_us_per_request_rounds": one.cost,
            "requests_per_second": median(&one.rate),
            "added_us": added_us,
            "added_to_noop_ratio": added_us / noop_us,
        })
    });
    let native = by_key(measured, "native_429");
    json!({
        "envoy": version,
        "rounds": ROUNDS,
        "variants": rows.collect::<Vec<_>>(),
        "start_to_first_answer_ms": started.iter().map(|(what, time)| json!({"what": what, "ms": time})).collect::<Vec<_>>(),
        "resident_mebibytes_two_workers": resident.iter().map(|(what, size)| json!({"what": what, "mebibytes": size})).collect::<Vec<_>>(),
        "rejecting_to_native_throughput_ratio": median(&by_key(measured, "rate_limit_429").rate) / median(&native.rate),
    })
}

fn print_table(measured: &[Measured]) {
    println!("{:44} {:>11} {:>8} {:>16} {:>11}", "", "CPU/request", "added", "of no-op's added", "requests/s");
    for one in measured {
        let (cost, (added_cost, noop_cost)) = (median(&one.cost), compared(one, measured));
        let ratio = match one.variant.key {
            "none" | "tls" => "-".to_owned(),
            _ if one.variant.rejects => "-".to_owned(),
            _ => format!("{:.2}", added_cost / noop_cost),
        };
        println!("{:44} {cost:>8.2} us {added_cost:>5.2} us {ratio:>16} {:>11.0}", one.variant.what, median(&one.rate));
    }
    let ratio = median(&by_key(measured, "rate_limit_429").rate) / median(&by_key(measured, "native_429").rate);
    println!("turning away: {ratio:.2} of native's throughput");
}
