//! `make bench`: what each filter costs, side by side in one Envoy.
//!
//! Every variant is a listener of the same Envoy with one worker; wrk sends to one after the other, in rounds, so that
//! whatever else the machine does falls on all of them. The cost is the CPU time of the Envoy process for each request,
//! as the kernel counts it, and the median over the rounds. Ratios hold within one run only.

use std::{
    fs, io,
    net::SocketAddr,
    process::{Command, ExitCode},
};

use serde_json::{Value, json};
use tollgate_tests::{
    artifacts,
    config::{Listener, Plugin, bootstrap},
    envoy::Envoy,
};

const ROUNDS: usize = 9;
const SECONDS: u32 = 1;
const CONNECTIONS: u32 = 16;

/// One listener and how its figure is read.
struct Variant {
    key: &'static str,
    what: &'static str,
    filters: Vec<Value>,
    /// Whether requests are turned away.
    rejects: bool,
}

/// Microseconds of CPU for a request, one figure for each round.
struct Measured {
    variant: Variant,
    cost: Vec<f64>,
    /// Requests a second.
    rate: Vec<f64>,
}

fn variants() -> Vec<Variant> {
    let rate_limit = |key, rules: Value| vec![Plugin::new("rate-limit", json!({"rules": rules})).named(key).filter()];
    let plenty = json!([{"requests": 1_000_000_000, "per": "1s"}]);
    // So slow that a bucket is never full again while the bench runs.
    let slow = json!([{"requests": 1_000_000_000, "per": "366d"}]);
    let one = json!([{"requests": 1, "per": "1d"}]);
    let many: Vec<Value> = (0..500)
        .map(|n| json!({"name": format!("r{n}"), "match": [{"paths": [format!("/r{n}/{{id}}")]}], "limits": plenty}))
        .chain([json!({"name": "rest", "limits": plenty})])
        .collect();
    let route = json!([{"paths": ["/"], "methods": ["GET"]}]);
    let admits = |key, what, filters| Variant { key, what, filters, rejects: false };
    let rejects = |key, what, filters| Variant { key, what, filters, rejects: true };
    vec![
        admits("none", "no filter", vec![]),
        admits("native", "Envoy's local_ratelimit", vec![local_ratelimit(4_000_000_000)]),
        admits("noop", "a no-op filter on the plain SDK", vec![Plugin::of(artifacts::noop(), "noop", "").filter()]),
        admits(
            "rate_limit",
            "rate-limit, one rule for all",
            rate_limit("plain", json!([{"name": "r", "limits": plenty}])),
        ),
        admits(
            "rate_limit_route",
            "rate-limit, one rule by path and method",
            rate_limit("route", json!([{"name": "r", "match": route, "limits": plenty}])),
        ),
        admits("rate_limit_500", "rate-limit, 501 rules", rate_limit("many", Value::Array(many))),
        admits(
            "rate_limit_one_key",
            "rate-limit, by caller's address, one caller",
            rate_limit("address", json!([{"name": "r", "key": ["clientAddress"], "limits": plenty}])),
        ),
        admits(
            "rate_limit_keys",
            "rate-limit, by header, 1,000 callers",
            rate_limit("keys", json!([{"name": "r", "key": [{"header": "x-api-key"}], "limits": slow}])),
        ),
        admits(
            "rate_limit_overall",
            "rate-limit, one rule and an overall limit",
            vec![
                Plugin::new(
                    "rate-limit",
                    json!({"rules": [{"name": "r", "limits": plenty}], "overall": [{"name": "all", "limits": plenty}]}),
                )
                .named("overall")
                .filter(),
            ],
        ),
        admits(
            "rate_limit_response",
            "rate-limit, RateLimit headers on every reply",
            vec![
                Plugin::new(
                    "rate-limit-response",
                    json!({"rules": [{"name": "r", "limits": plenty, "headers": "all"}]}),
                )
                .named("response")
                .filter(),
            ],
        ),
        admits(
            "route_metrics",
            "route-metrics, one route",
            vec![Plugin::new("route-metrics", json!({"routes": [{"name": "r", "match": route}]})).filter()],
        ),
        rejects("native_429", "429 by Envoy's local_ratelimit", vec![local_ratelimit(1)]),
        rejects("rate_limit_429", "429 by rate-limit", rate_limit("empty", json!([{"name": "r", "limits": one}]))),
    ]
}

fn local_ratelimit(tokens: u64) -> Value {
    let always = json!({"default_value": {"numerator": 100, "denominator": "HUNDRED"}});
    json!({
        "name": "envoy.filters.http.local_ratelimit",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
            "stat_prefix": "native",
            "token_bucket": {"max_tokens": tokens, "tokens_per_fill": tokens, "fill_interval": "86400s"},
            "filter_enabled": always,
            "filter_enforced": always,
        },
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let variants = variants();
    let listeners: Vec<Listener> =
        variants.iter().map(|variant| Listener::new(variant.key, variant.filters.clone())).collect();
    let binary = artifacts::newest_envoy();
    let mut envoy = Envoy::start(&binary, 1, &bootstrap(&listeners, vec![])).await;
    let seconds = variants.len() as u32 * (ROUNDS as u32 + 1) * SECONDS;
    eprintln!("Envoy {}, 1 worker, {CONNECTIONS} connections, {ROUNDS} rounds: about {seconds} s", binary.version);

    let mut measured: Vec<Measured> =
        variants.into_iter().map(|variant| Measured { variant, cost: Vec::new(), rate: Vec::new() }).collect();
    // The first round warms up and does not count.
    for round in 0..=ROUNDS {
        for one in &mut measured {
            let address = envoy.address(one.variant.key);
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

    let summary = summary(&binary.version, &measured);
    print_table(&measured);
    let directory = artifacts::project().join("target/bench");
    let written = fs::create_dir_all(&directory)
        .and_then(|()| fs::write(directory.join("summary.json"), format!("{summary:#}\n")));
    if let Err(error) = written {
        eprintln!("error: {}/summary.json: {error}", directory.display());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
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

fn summary(version: &str, measured: &[Measured]) -> Value {
    let (none, noop) = (by_key(measured, "none"), by_key(measured, "noop"));
    let rows = measured.iter().map(|one| {
        json!({
            "key": one.variant.key,
            "what": one.variant.what,
            "cpu_us_per_request": median(&one.cost),
            "cpu_us_per_request_rounds": one.cost,
            "requests_per_second": median(&one.rate),
            "added_us": added(one, none),
            "added_to_noop_ratio": added(one, none) / added(noop, none),
        })
    });
    let native = by_key(measured, "native_429");
    json!({
        "envoy": version,
        "rounds": ROUNDS,
        "variants": rows.collect::<Vec<_>>(),
        "rejecting_to_native_throughput_ratio": median(&by_key(measured, "rate_limit_429").rate) / median(&native.rate),
    })
}

fn print_table(measured: &[Measured]) {
    let (none, noop) = (by_key(measured, "none"), by_key(measured, "noop"));
    println!("{:40} {:>11} {:>8} {:>16} {:>11}", "", "CPU/request", "added", "of no-op's added", "requests/s");
    for one in measured {
        let (cost, added_cost) = (median(&one.cost), added(one, none));
        let ratio = match one.variant.key {
            "none" => "-".to_owned(),
            _ if one.variant.rejects => "-".to_owned(),
            _ => format!("{:.2}", added_cost / added(noop, none)),
        };
        println!("{:40} {cost:>8.2} us {added_cost:>5.2} us {ratio:>16} {:>11.0}", one.variant.what, median(&one.rate));
    }
    let ratio = median(&by_key(measured, "rate_limit_429").rate) / median(&by_key(measured, "native_429").rate);
    println!("turning away: {ratio:.2} of native's throughput");
}
