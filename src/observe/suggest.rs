//! Whose label is worth most.
//!
//! The first step of *Clustering by Means of Medoids*, Leonard Kaufman, Peter J. Rousseeuw, 1987,
//! with the classes learnt so far in the place of the medoids chosen so far: the observation that
//! brings most others nearer to something with a name. Those that the head does not know count in
//! full, the rest a quarter. Where it brings none nearer by more than half of what classes spread,
//! the one with the smallest margin: *A Sequential Algorithm for Training Text Classifiers*, David
//! D. Lewis, William A. Gale, 1994.

use super::Observations;
use crate::embedding::Embedding;
use crate::head::{Evidence, Head, Spread, squared_distance};

/// The squared distance to the nearest class's mean; embeddings are at most 2 * 127 apart.
const NEAREST: usize = 0;
/// 1 where the head does not know it.
const UNKNOWN: usize = 1;

/// The squared distance of two embeddings that have nothing to do with each other, each of norm 127.
const UNRELATED: f32 = 2.0 * 127.0 * 127.0;

/// How much more an unknown observation counts than a known one.
const UNKNOWN_WEIGHT: i64 = 4;

/// The observation to ask about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Suggestion<'s> {
    /// Its number: [`Observations::remove`] it once it has its label.
    pub index: usize,
    /// The observation.
    pub embedding: Embedding<'s>,
    /// How many others are much nearer to it than to anything that was learnt.
    pub stands_for: usize,
    /// Why this one.
    pub reason: Reason,
}

/// Why an observation's label is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It, and those it stands for, are unlike anything that was learnt.
    Unlike,
    /// It is the one that the head hesitates about most.
    Unsure,
}

impl Observations<'_> {
    /// The one observation whose label is worth most; `None` where there is none. The head is
    /// fitted to the evidence, where anything was learnt. Until three exercises on either wrist were
    /// all known, some met six times as often as others, it took 13 labels, and 27 asked for at
    /// random (tests/tests/observe.rs).
    pub fn suggest(
        &mut self,
        head: &mut impl Head,
        evidence: Evidence<'_>,
    ) -> Option<Suggestion<'_>> {
        let unsure = self.judge(head, evidence);
        let mut spread = Spread::new(self.background);
        spread.fit(evidence.statistics);
        let margin = (0.5 * spread.within) as i32;
        let mut best = (0, 0, 0);
        for index in 0..self.len() {
            let (gain, others) = self.gain(index, margin);
            if gain > best.0 {
                best = (gain, index, others);
            }
        }
        let (gain, index, stands_for) = best;
        let (index, reason) = match gain {
            0 => (unsure, Reason::Unsure),
            _ => (index, Reason::Unlike),
        };
        Some(Suggestion {
            index,
            embedding: self.get(index)?,
            stands_for,
            reason,
        })
    }

    /// Notes of each observation how far it is from what was learnt and whether it is known;
    /// returns the one with the smallest margin.
    fn judge(&mut self, head: &mut impl Head, evidence: Evidence<'_>) -> usize {
        let mut unsure = (f32::INFINITY, 0);
        for index in 0..self.len() {
            let Some(e) = self.get(index) else { continue };
            let classes = evidence.statistics.iter();
            let nearest = classes
                .map(|class| squared_distance(&class, e))
                .fold(UNRELATED, f32::min);
            let prediction = match evidence.statistics.classes() {
                0 => None,
                _ => head.predict(evidence, e),
            };
            let known = prediction.as_ref().is_some_and(|p| p.is_known());
            self.set_note(index, NEAREST, nearest as u16);
            self.set_note(index, UNKNOWN, u16::from(!known));
            if let Some(p) = prediction.filter(|p| p.margin < unsure.0) {
                unsure = (p.margin, index);
            }
        }
        unsure.1
    }

    /// How much nearer all observations come to something with a name where this one gets a label,
    /// and how many others do.
    fn gain(&self, index: usize, margin: i32) -> (i64, usize) {
        let Some(centre) = self.values(index) else {
            return (0, 0);
        };
        let (mut gain, mut others) = (0, 0);
        for other in 0..self.len() {
            let Some(values) = self.values(other) else {
                continue;
            };
            let nearer = i32::from(self.note(other, NEAREST)) - distance(centre, values) - margin;
            if nearer > 0 {
                let unknown = self.note(other, UNKNOWN) == 1;
                gain += i64::from(nearer) * if unknown { UNKNOWN_WEIGHT } else { 1 };
                others += usize::from(other != index);
            }
        }
        (gain, others)
    }
}

/// The squared distance.
fn distance(a: &[i8], b: &[i8]) -> i32 {
    a.iter()
        .zip(b)
        .map(|(&a, &b)| (i32::from(a) - i32::from(b)).pow(2))
        .sum()
}
