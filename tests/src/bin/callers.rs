//! `make bench-memory`: what memory ten million different callers take.
//!
//! One Envoy with one worker and a rate limit by header; wrk sends each request with another value. Resident memory is
//! printed along the way; what it has grown by at the end is compared with what the table of buckets may take.

use std::{
    fs,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;
use tollgate_tests::{
    artifacts,
    config::{Listener, Plugin, bootstrap},
    envoy::Envoy,
};

const CALLERS: u64 = 10_000_000;
/// Before memory is looked at first: buffers, connections and JIT-compiled code have come by then.
const WARM_UP: u64 = 100_000;
const MOST_MEBIBYTES: f64 = 8.0;
const LONGEST: Duration = Duration::from_secs(3600);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // So slow that no bucket is ever full again meanwhile: every slot stays in use.
    let config = json!({"rules": [{
        "name": "r", "key": [{"header": "x-api-key"}], "limits": [{"requests": 2, "per": "30d"}],
    }]});
    let listener = Listener::new("in", [Plugin::new("rate-limit", config).filter()]);
    let binary = artifacts::newest_envoy();
    let mut envoy = Envoy::start(&binary, 1, &bootstrap(&[listener], vec![])).await;
    let wrk = Command::new("wrk")
        .args(["--threads", "1", "--connections", "16", "--duration", "3600s", "--script"])
        .arg(artifacts::project().join("tests/src/bin/strangers.lua"))
        .arg(format!("http://{}/", envoy.address("in")))
        .stdout(Stdio::null())
        .spawn();
    let mut wrk = match wrk {
        Ok(wrk) => wrk,
        Err(error) => {
            eprintln!("error: wrk does not run ({error}): `make bench-memory` installs it");
            return ExitCode::FAILURE;
        }
    };
    let start = Instant::now();
    let (mut first, mut next) = (None, WARM_UP);
    let grown = loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let requests = envoy.stat("http.in.downstream_rq_total").await.unwrap_or(0);
        if requests < next {
            assert!(start.elapsed() < LONGEST, "only {requests} requests in {LONGEST:?}");
            continue;
        }
        let resident = resident_mebibytes(envoy.pid());
        let grown = resident - *first.get_or_insert(resident);
        println!("{requests:>9} callers, {resident:.1} MiB resident, {grown:+.1} MiB since the first line");
        if requests >= CALLERS {
            break grown;
        }
        next = (requests + CALLERS / 20).min(CALLERS);
    };
    let _ = wrk.kill();
    let _ = wrk.wait();
    envoy.assert_sound().await;
    let total = async |decision| envoy.total("tollgate_rate_limit_total", &[("decision", decision)]).await;
    println!(
        "allowed {}, limited {}, judged by the overflow bucket {}; slots in use {}",
        total("allowed").await,
        total("limited").await,
        total("overflow").await,
        envoy.total("tollgate_rate_limit_slots", &[]).await,
    );
    if grown > MOST_MEBIBYTES {
        eprintln!("error: resident memory has grown by {grown:.1} MiB, more than {MOST_MEBIBYTES} MiB");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn resident_mebibytes(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("Envoy runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says it");
    line.trim().trim_end_matches(" kB").trim().parse::<f64>().expect("a number") / 1024.0
}
