//! One head through the episodes: learn, fit, predict.

use anyhow::Context;
use headstart::head::Head;
use headstart::{Evidence, Prediction, Samples, Statistics};

use super::heads::{AnyHead, HeadKind, Memory, label};
use super::open_set::{Tally, auroc};
use super::parallel::parallel;
use super::progress::Progress;
use super::reliability::Reliability;
use super::space::{Embedded, Space};
use crate::episode::Episode;

/// What came of one episode.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Whether each query was answered right, way by way.
    pub right: Vec<bool>,
    /// Of the queries that carry a signal.
    pub reliability: Reliability,
    /// What became of strangers, and of the queries beside them.
    pub open: Tally,
}

impl Outcome {
    /// The fraction of queries that was answered right.
    pub fn accuracy(&self) -> f64 {
        let right = self.right.iter().filter(|&&right| right).count();
        right as f64 / self.right.len().max(1) as f64
    }
}

/// Runs the episodes, `false_accepts` being what is asked of heads that can promise it.
pub fn outcomes(
    space: &Space,
    embedded: &Embedded,
    kind: HeadKind,
    false_accepts: f32,
    episodes: &[Episode],
    progress: &Progress,
) -> anyhow::Result<Vec<Outcome>> {
    parallel(episodes, |episodes| {
        let ways = episodes.iter().map(|e| e.classes.len()).max().unwrap_or(0);
        let supports = episodes.iter().flat_map(|e| &e.support);
        let shots = supports.map(Vec::len).max().unwrap_or(0);
        let mut memory = Memory::new(space, ways, shots);
        let run = |episode: &Episode| {
            progress.add(1);
            run(space, embedded, kind, false_accepts, episode, &mut memory)
        };
        episodes.iter().map(run).collect()
    })
}

/// A window without a signal can't be learnt, and is answered wrong.
fn run(
    space: &Space,
    embedded: &Embedded,
    kind: HeadKind,
    false_accepts: f32,
    episode: &Episode,
    memory: &mut Memory,
) -> anyhow::Result<Outcome> {
    let (words, labels) = (&mut memory.words, &mut memory.labels);
    let mut statistics = Statistics::with_gram(space.dim, space.artefact, words, labels)?;
    let mut samples = Samples::new(space.dim, &mut memory.samples);
    let taught = || {
        let ways = episode.classes.iter().zip(&episode.support);
        ways.flat_map(|(&class, windows)| windows.iter().map(move |&w| (class, w)))
            .filter_map(|(class, window)| Some((label(class), embedded.get(window)?)))
    };
    for (label, e) in taught() {
        statistics.learn(&label, e)?;
    }
    // Classes stand in the order of names, so their numbers are known only now.
    for (label, e) in taught() {
        let class = statistics.find(&label).context("a class was lost")?;
        samples.insert(class, e)?;
    }
    if statistics.classes() == 0 {
        let asked = episode.query.iter().map(Vec::len).sum();
        return Ok(Outcome {
            right: vec![false; asked],
            ..Outcome::default()
        });
    }
    let evidence = Evidence {
        statistics: &statistics,
        samples: Some(&samples),
    };
    let head = AnyHead::new(kind, space.background.as_ref(), &mut memory.weights);
    let mut head = head.with_false_accepts(false_accepts);
    head.fit(evidence)?;
    Ok(ask(&mut head, evidence, embedded, episode))
}

fn ask(
    head: &mut AnyHead<'_>,
    evidence: Evidence<'_>,
    embedded: &Embedded,
    episode: &Episode,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut answer = |window: usize| -> Option<(Prediction, f32)> {
        let e = embedded.get(window)?;
        let prediction = head.predict(evidence, e)?;
        let score = head.familiarity(evidence, &prediction, e);
        Some((prediction, score))
    };
    let mut scores = Vec::new();
    for (&class, windows) in episode.classes.iter().zip(&episode.query) {
        for &window in windows {
            outcome.open.known += 1;
            let Some((prediction, score)) = answer(window) else {
                outcome.right.push(false);
                continue;
            };
            let right = prediction.label == label(class);
            outcome.right.push(right);
            outcome.reliability.add(prediction.probability, right);
            outcome.open.accepted += u32::from(prediction.is_known());
            outcome.open.verdict(prediction.verdict);
            scores.push((score, true));
        }
    }
    for (class, windows) in &episode.strangers {
        let (mut accepted, mut asked) = (0, 0);
        for (prediction, score) in windows.iter().filter_map(|&w| answer(w)) {
            accepted += u16::from(prediction.is_known());
            asked += 1;
            outcome.open.verdict(prediction.verdict);
            scores.push((score, false));
        }
        outcome
            .open
            .strangers
            .push((*class as u32, accepted, asked));
    }
    outcome.open.auroc = auroc(scores);
    outcome
}
