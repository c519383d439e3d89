//! `tollgate demo`: the local overlay enforced by a real Envoy, called by friend and foe, and what came of it in a table.

mod caller;
mod rule;
mod verdict;

use std::net::SocketAddr;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::args::DemoArguments;
use crate::certificates::Authority;
use crate::input::{DEFAULT_INPUT, Inputs};
use crate::mesh::workload::ServiceAccount;
use crate::mesh::{Inbound, Mesh, Options, stranger};
use crate::output::{self, FAINT, STRONG, styled};
use crate::plan::{Plan, plan};
use crate::problem::{Problem, Problems, Severity};
use crate::run::{Interrupts, Session, Start, runtime};
use caller::{Caller, Tally};
use rule::Rule;
use verdict::{Observation, Verdict};

/// What the demo calls.
const WORKLOAD: &str = "load-balancer";
const FRIEND: &str = "api-gateway";
const PATH: &str = "/api/posts";
/// 120 requests over 24 connections: however the kernel spreads these, each worker gets some.
const CONNECTIONS: u32 = 24;
const REQUESTS_EACH: u32 = 5;

/// Runs it; true when everything was as it should be.
pub fn demo(arguments: &DemoArguments) -> Result<bool, Problems> {
    let inputs = Inputs::open(&arguments.input.files)?;
    runtime()?.block_on(async {
        let mut interrupts = Interrupts::new()?;
        tokio::select! {
            result = show(&inputs, arguments) => result,
            () = interrupts.next() => Err(Problem::new("interrupted").into()),
        }
    })
}

async fn show(inputs: &Inputs, arguments: &DemoArguments) -> Result<bool, Problems> {
    let options = Options { modules: arguments.modules.clone(), ..Options::default() };
    let Plan { resources, mesh, mut notices } = plan(inputs, &options)?;
    let target = mesh.inbound.iter().find(|inbound| inbound.workload.name == WORKLOAD).ok_or_else(|| {
        Problem::new(format!("the demo calls a workload named {WORKLOAD}, and there is none"))
            .cure(format!("run it on {DEFAULT_INPUT}, or try your own manifests with `tollgate run`"))
    })?;
    let rule = Rule::of(&resources, target)?;
    let start = Start {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        workers: arguments.workers,
        access_log: false,
        envoy: arguments.envoy.clone(),
        state: None,
    };
    let progress = progress("starting Envoy: each worker compiles each filter");
    let started = Session::start(&mesh, &start, &mut notices).await;
    progress.finish_and_clear();
    let session = started?;
    output::notices(notices.iter().filter(|notice| notice.severity == Severity::Warning));
    introduce(&session, &mesh, target, &rule);
    let observed = observe(&session, target).await;
    let verdict = match observed {
        Ok(observation) => Verdict::of(&observation, &rule, session.workers()),
        Err(problem) => {
            session.stop().await;
            return Err(problem.into());
        }
    };
    session.stop().await;
    verdict.print();
    how_to_go_on(&rule);
    Ok(verdict.is_as_it_should_be())
}

fn introduce(session: &Session, mesh: &Mesh, target: &Inbound, rule: &Rule) {
    let filters: Vec<&str> = target.plugins.iter().map(|plugin| plugin.name.as_str()).collect();
    output::line(format!(
        "{} {} proxies in one Envoy with {} workers; the one called is {}, mTLS {}, behind {}",
        styled(STRONG, "Running:"),
        mesh.inbound.len().saturating_add(mesh.gateways.len()),
        session.workers(),
        target.workload.id(),
        target.mode.as_str(),
        filters.join(", ")
    ));
    output::line(format!("{} {}\n", styled(STRONG, "The rule:"), rule.sentence()));
}

/// Calls as everybody. The friend comes last: what the others were denied must not have been charged.
async fn observe(session: &Session, target: &Inbound) -> Result<Observation, Problem> {
    let address =
        session.address(&target.key()).ok_or_else(|| Problem::new(format!("{} has no address", target.key())))?;
    let certificates = session.certificates();
    let friend = ServiceAccount::new(&target.workload.namespace, FRIEND);
    let leaf = |account: &ServiceAccount| {
        let missing = || Problem::new(format!("there is no certificate of {}", account.spiffe_id()));
        certificates.leaf(account).cloned().ok_or_else(missing)
    };
    let server = leaf(&target.workload.identity())?;
    let forged = Authority::new()?.issue(&friend)?;
    let caller = |client| Caller::new(address, certificates.authority(), &server, client);

    let stranger_tally =
        call("a stranger with a certificate of the mesh", caller(Some(leaf(&stranger())?))?, 2, 5).await;
    let forged_tally = call("a forger: api-gateway's name, another authority", caller(Some(forged))?, 5, 1).await;
    let bare_tally = call("somebody without a certificate", caller(None)?, 5, 1).await;
    let plain_tally = call("somebody in plaintext", Caller::plaintext(address), 5, 1).await;
    let before = connections(session, address).await?;
    let friend_tally = call("api-gateway", caller(Some(leaf(&friend)?))?, CONNECTIONS, REQUESTS_EACH).await;
    let after = connections(session, address).await?;
    output::line("");
    // The workers hand their counts to the statistics every so often; the admin page merges them when it is asked.
    let (_, metrics) = session.admin().get("/stats/prometheus?filter=tollgate").await?;
    Ok(Observation {
        friend: friend_tally,
        stranger: stranger_tally,
        forged: forged_tally,
        bare: bare_tally,
        plain: plain_tally,
        connections: after.iter().zip(&before).map(|(after, before)| after.saturating_sub(*before)).collect(),
        metrics: metrics.lines().map(str::to_owned).collect(),
    })
}

async fn call(who: &str, caller: Caller, connections: u32, requests_each: u32) -> Tally {
    let total = connections.saturating_mul(requests_each);
    let progress = progress(&format!("{total} requests as {who}"));
    let tally = caller.call(PATH, connections, requests_each).await;
    progress.finish_and_clear();
    output::line(format!("  {total:>3} requests as {who}: {}", styled(FAINT, tally.summary())));
    tally
}

/// Connections that each worker has accepted for the listener.
async fn connections(session: &Session, address: SocketAddr) -> Result<Vec<u64>, Problem> {
    let stats = session.admin().stats("worker_.*downstream_cx_total").await?;
    let prefix = format!("listener.{}_{}.", address.ip(), address.port());
    let of = |worker: u32| stats.number(&format!("{prefix}worker_{worker}.downstream_cx_total"));
    Ok((0..session.workers()).map(of).collect())
}

fn progress(message: &str) -> ProgressBar {
    // Draws on a terminal only.
    let bar = ProgressBar::new_spinner().with_message(message.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn how_to_go_on(rule: &Rule) {
    output::line(format!("\n{}", styled(STRONG, "To go on:")));
    // As it was called, so that the line can be pasted.
    let program = std::env::args().next().unwrap_or_else(|| "tollgate".into());
    output::line(format!("  {program} run"));
    output::line("      the same, to call yourself: it prints addresses, certificates and a curl line");
    output::line(format!("  the rule is in {}: change `requests: {}` while it runs", rule.file, rule.requests));
    output::line(format!("  {program} validate"));
    output::line("      says where a rule is wrong");
}
