//! What came of all requests.

use std::{collections::BTreeMap, fmt};

use tollgate_cli::convert::authorization::{Difference, Effect};

use super::{
    inquiry::{Disagreement, Inquiry},
    world::{Outcome, Question},
};

/// How many disagreements are shown that nothing explains.
const EXAMPLES: usize = 8;

/// Differences that no request to one workload's sidecar can show.
const ELSEWHERE: [Difference; 1] = [Difference::SeveralPlugins];

/// What came of all requests.
#[derive(Default)]
pub(super) struct Verdict {
    /// How often Istio and mtls-identity let pass and turned away.
    decisions: BTreeMap<(bool, bool), usize>,
    /// Requests that Envoy itself turned away.
    undecided: usize,
    /// How many disagreements each difference explains, by itself or with others.
    explained: BTreeMap<&'static str, usize>,
    /// How many more requests it took to explain them.
    tried: usize,
    /// Disagreements that nothing explains.
    unexplained: usize,
    /// Some of them.
    examples: Vec<String>,
}

impl Verdict {
    /// Counts, and explains every disagreement.
    pub(super) async fn new(inquiry: &Inquiry<'_>, questions: &[Question], outcomes: &[Outcome]) -> Self {
        let mut verdict = Self::default();
        let mut disagreements = Vec::new();
        for (question, outcome) in questions.iter().zip(outcomes) {
            if outcome.is_undecided() {
                verdict.undecided += 1;
                continue;
            }
            let decisions = (outcome.istio_allows(), outcome.tollgate_allows());
            *verdict.decisions.entry(decisions).or_default() += 1;
            if !outcome.agrees() {
                disagreements.push((question, outcome));
            }
        }
        let mut unexplained: Vec<Disagreement<'_>> = Vec::new();
        for disagreement in inquiry.explain(disagreements).await {
            verdict.tried += disagreement.tried;
            match &disagreement.explanation {
                None => unexplained.push(disagreement),
                Some(differences) => {
                    let mut codes: Vec<_> = differences.iter().map(|difference| difference.code()).collect();
                    codes.sort_unstable();
                    codes.dedup();
                    codes.into_iter().for_each(|code| *verdict.explained.entry(code).or_default() += 1);
                }
            }
        }
        verdict.unexplained = unexplained.len();
        // One for each subject tells more than all of the first one's.
        unexplained.dedup_by_key(|disagreement| disagreement.question.subject);
        verdict.examples = unexplained.iter().take(EXAMPLES).map(|unexplained| inquiry.describe(unexplained)).collect();
        verdict
    }

    /// On how many requests both decided.
    pub(super) fn decided(&self) -> usize {
        self.decisions.values().sum()
    }

    /// How many disagreements a difference explains.
    fn explained_by(&self, difference: Difference) -> usize {
        self.explained.get(difference.code()).copied().unwrap_or_default()
    }

    /// # Panics
    /// Something is not explained, or a difference was never seen.
    pub(super) fn assert_explained(&self, seed: u64) {
        let (count, some) = (self.unexplained, self.examples.join("\n\n"));
        assert!(count == 0, "{count} disagreements are not explained by what was announced, seed {seed}:\n\n{some}");
        for difference in visible() {
            assert!(
                self.explained_by(difference) > 0,
                "{} was never seen: the requests are too tame",
                difference.code()
            );
        }
    }
}

/// The differences that a request can show.
fn visible() -> impl Iterator<Item = Difference> {
    let decides = |difference: &Difference| matches!(difference.effect(), Effect::Stricter | Effect::Spelling);
    Difference::ALL.iter().copied().filter(decides).filter(|difference| !ELSEWHERE.contains(difference))
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |istio, tollgate| self.decisions.get(&(istio, tollgate)).copied().unwrap_or_default();
        writeln!(f, "triples: {}, and {} that Envoy itself turned away", self.decided(), self.undecided)?;
        writeln!(f, "both allow {}, both deny {}", count(true, true), count(false, false))?;
        writeln!(f, "only Istio allows {}, only mtls-identity allows {}", count(true, false), count(false, true))?;
        writeln!(f, "explained, with {} more requests, by", self.tried)?;
        for difference in visible() {
            writeln!(f, "  {:6} {}", self.explained_by(difference), difference.code())?;
        }
        write!(f, "not explained: {}", self.unexplained)
    }
}
