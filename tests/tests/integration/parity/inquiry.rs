//! Which announced differences explain that both disagree on a request.

use std::collections::BTreeSet;

use tollgate_cli::convert::authorization::Difference;

use super::{
    callers::Callers,
    mending::{self, Case, Mended, Place},
    world::{Outcome, Question, Subject, World},
};

/// How many differences at once may stand between a request and one that both decide alike.
const DEEPEST: usize = 4;
/// How many requests are tried for each one at each depth.
const WIDEST: usize = 500;

/// What it takes to ask further.
pub(super) struct Inquiry<'a> {
    pub(super) world: &'a World,
    pub(super) subjects: &'a [Subject],
    pub(super) callers: &'a Callers,
}

/// A request on which both disagree.
pub(super) struct Disagreement<'a> {
    pub(super) question: &'a Question,
    outcome: &'a Outcome,
    /// What explains it.
    pub(super) explanation: Option<Vec<Difference>>,
    /// Without what those are about, Istio's DENY and ALLOW policies each would let it pass.
    halves: [Option<Vec<Difference>>; 2],
    /// What was tried last.
    attempts: Vec<Attempt>,
    /// How many requests it took so far.
    pub(super) tried: usize,
    /// The first of them, for people.
    log: String,
}

/// The request without what some differences are about.
struct Attempt {
    without: Vec<Difference>,
    places: Vec<Place>,
    question: Question,
    outcome: Outcome,
}

impl<'a> Inquiry<'a> {
    /// Looks for what explains each of the disagreements.
    pub(super) async fn explain(&self, cases: Vec<(&'a Question, &'a Outcome)>) -> Vec<Disagreement<'a>> {
        let mut all: Vec<_> =
            cases.into_iter().map(|(question, outcome)| self.disagreement(question, outcome)).collect();
        for _ in 0..DEEPEST {
            let open = || all.iter().filter(|disagreement| disagreement.explanation.is_none());
            let further: Vec<_> = open().map(|disagreement| self.further(disagreement)).collect();
            let questions: Vec<_> = further.iter().flatten().map(|attempt| attempt.question.clone()).collect();
            let mut outcomes = self.world.ask(&questions).await.into_iter();
            let open = all.iter_mut().filter(|disagreement| disagreement.explanation.is_none());
            for (disagreement, mut attempts) in open.zip(further) {
                for (attempt, outcome) in attempts.iter_mut().zip(&mut outcomes) {
                    attempt.outcome = outcome;
                }
                disagreement.take(attempts);
            }
        }
        all
    }

    fn disagreement(&self, question: &'a Question, outcome: &'a Outcome) -> Disagreement<'a> {
        let case = Case::new(self.subjects, self.callers, question, outcome);
        let shown = case.announced().find(|difference| case.shows(*difference));
        let (question_of, outcome_of) = (question.clone(), outcome.clone());
        let untouched = Attempt { without: vec![], places: vec![], question: question_of, outcome: outcome_of };
        Disagreement {
            question,
            outcome,
            explanation: shown.map(|difference| vec![difference]),
            halves: [0, 1].map(|half| outcome.passes(half).then(Vec::new)),
            attempts: vec![untouched],
            tried: 0,
            log: String::new(),
        }
    }

    /// What there is to be tried next.
    fn further(&self, disagreement: &Disagreement<'_>) -> Vec<Attempt> {
        let mut further = Vec::new();
        // What differences are about is taken away in any order, with one result.
        let mut known = BTreeSet::new();
        for attempt in &disagreement.attempts {
            let case = Case::new(self.subjects, self.callers, &attempt.question, &attempt.outcome);
            for difference in case.announced().filter(|difference| !attempt.without.contains(difference)) {
                let mended = case.mended(difference).into_iter().map(|mended| attempt.without(difference, mended));
                further.extend(
                    mended.filter(|attempt| known.insert(format!("{:?} {:?}", attempt.question, attempt.places))),
                );
            }
        }
        further.truncate(WIDEST);
        further
    }

    /// All that is known of one that nothing explains.
    pub(super) fn describe(&self, disagreement: &Disagreement<'_>) -> String {
        let Disagreement { question, outcome, log, .. } = disagreement;
        Case::new(self.subjects, self.callers, question, outcome).describe() + log
    }
}

impl Attempt {
    /// The same without what another difference is about.
    fn without(&self, difference: Difference, mended: Mended) -> Self {
        let Mended { question, place } = mended;
        let without = self.without.iter().copied().chain([difference]).collect();
        let places = self.places.iter().copied().chain([place]).collect();
        Self { without, places, question, outcome: Outcome::default() }
    }
}

impl Disagreement<'_> {
    /// Sees whether one of the attempts explains it.
    fn take(&mut self, attempts: Vec<Attempt>) {
        self.tried += attempts.len();
        for Attempt { without, places, question, outcome } in &attempts {
            if mending::explain(places, self.outcome, outcome) {
                self.explanation = Some(without.clone());
                return;
            }
            // One spelling may be what the DENY policies let pass, and another one what the ALLOW policies take.
            if places.iter().all(|place| *place == Place::Respelled) && outcome.tollgate_allows() {
                for (half, passes) in self.halves.iter_mut().enumerate() {
                    if passes.is_none() && outcome.passes(half) {
                        *passes = Some(without.clone());
                    }
                }
            }
            if without.len() == 1 {
                let line = format!("\ntried: {without:?} {places:?} {}: {:?}", outcome.says(), question.request);
                self.log.push_str(&line);
            }
        }
        if let [Some(deny), Some(allow)] = &self.halves
            && self.outcome.tollgate_allows()
        {
            self.explanation = Some(deny.iter().chain(allow).copied().collect());
        }
        self.attempts = attempts;
    }
}
