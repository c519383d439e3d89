//! mtls-identity against Istio: what `tollgate convert` makes of AuthorizationPolicies decides as Istio's own translation
//! of them does in Envoy's own RBAC filter, but for the differences that it announces.
//!
//! Policies, callers and requests are made up from a seed, `TOLLGATE_PARITY_SEED` or 1. Both filters stand in the chain
//! of one listener, so they decide on the very same request.

mod callers;
mod corners;
mod inquiry;
mod mending;
mod paths;
mod policies;
mod requests;
mod tokens;
mod verdict;
mod words;
mod world;

use std::{collections::BTreeMap, sync::Arc};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tollgate_cli::convert::authorization::{self, Authorization, Options};
use tollgate_tests::istio;

use self::{
    callers::{Arrival, Callers},
    inquiry::Inquiry,
    policies::Workload,
    verdict::Verdict,
    world::{Question, Subject, World},
};

const WORKLOADS: usize = 270;
/// For each of them.
const CONNECTIONS: usize = 20;
/// On each of them.
const REQUESTS: usize = 20;
/// How many requests both have to have decided on, at least.
const TRIPLES: usize = 100_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decides_as_istio_does_but_for_what_the_conversion_announces() {
    let seed: u64 = std::env::var("TOLLGATE_PARITY_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let (converted, refusals) = workloads(seed);
    let subjects = translated(converted);
    let callers = Callers::new();
    let mut world = World::start(&subjects, &callers).await;
    let questions = questions(seed, &subjects, &callers);
    let outcomes = world.ask(&questions).await;
    let inquiry = Inquiry { world: &world, subjects: &subjects, callers: &callers };
    let verdict = Verdict::new(&inquiry, &questions, &outcomes).await;
    world.assert_sound().await;
    println!("seed {seed}\n{verdict}\n{refusals}");
    verdict.assert_explained(seed);
    assert!(verdict.decided() >= TRIPLES, "too few: {}", verdict.decided());
}

/// Workloads whose policies are carried over, with what they become; and what was refused on the way.
fn workloads(seed: u64) -> (Vec<(Workload, Authorization)>, Refusals) {
    let mut random = StdRng::seed_from_u64(seed);
    let random = std::iter::repeat_with(|| Workload::new(&mut random));
    let mut refusals = Refusals::default();
    let mut converted = Vec::new();
    for workload in corners::workloads().into_iter().chain(random) {
        let options = Options { trust_domains: workload.domains.clone(), ..Options::default() };
        let authorization = authorization::of_one_workload(&workload.resources(), &options);
        if authorization.problems.is_empty() {
            authorization.check().unwrap_or_else(|problem| panic!("{problem}\n{:?}", workload.resources()));
            converted.push((workload, authorization));
        } else {
            refusals.add(&authorization);
        }
        if converted.len() == WORKLOADS {
            break;
        }
    }
    (converted, refusals)
}

/// The same with what Istio makes of the policies.
fn translated(converted: Vec<(Workload, Authorization)>) -> Vec<Subject> {
    let resources: Vec<_> = converted.iter().map(|(workload, _)| workload.resources()).collect();
    let domains = converted.iter().map(|(workload, _)| workload.domains.as_slice());
    let translations = istio::translate(domains.zip(resources.iter().map(Vec::as_slice)));
    let subject = |((workload, authorization), translation): ((_, Authorization), istio::Translation)| {
        assert!(translation.refused.is_empty(), "Istio refuses what was converted: {:?}", translation.refused);
        let Authorization { plugin_config: config, differences, .. } = authorization;
        Subject { workload, native: translation.filters, config, differences }
    };
    converted.into_iter().zip(translations).map(subject).collect()
}

fn questions(seed: u64, subjects: &[Subject], callers: &Callers) -> Vec<Question> {
    let mut questions = Vec::new();
    for (index, subject) in subjects.iter().enumerate() {
        // Each its own sequence: one subject more changes no other one's requests.
        let mut random = StdRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(index as u64));
        for _ in 0..CONNECTIONS {
            let arrival = Arc::new(Arrival::new(&mut random, callers, &subject.workload.domains));
            questions.extend((0..REQUESTS).map(|_| Question {
                subject: index,
                arrival: Arc::clone(&arrival),
                request: requests::request(&mut random, &subject.workload, arrival.is_http2),
                claims: random.random_ratio(1, 4).then(|| tokens::claims(&mut random)),
            }));
        }
    }
    questions
}

/// What was not converted, and how often for which reason.
#[derive(Default)]
struct Refusals {
    workloads: usize,
    reasons: BTreeMap<String, usize>,
}

impl Refusals {
    fn add(&mut self, authorization: &Authorization) {
        self.workloads += 1;
        for problem in &authorization.problems {
            *self.reasons.entry(problem.reason.clone()).or_default() += 1;
        }
    }
}

impl std::fmt::Display for Refusals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "refused: {} workloads, for", self.workloads)?;
        let mut reasons: Vec<_> = self.reasons.iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        reasons.into_iter().try_for_each(|(reason, count)| write!(f, "\n  {count:5} {reason}"))
    }
}
