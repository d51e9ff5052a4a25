//! The nearest examples vote.
//!
//! *Nearest Neighbor Pattern Classification*, Thomas M. Cover, Peter E. Hart, 1967. A neighbour's
//! vote weighs more the nearer it is: *The Distance-Weighted k-Nearest-Neighbor Rule*, Sahibsingh
//! A. Dudani, 1976.

use super::{Evidence, FitError, Head, Spread, Verdict};
use crate::embedding::Embedding;
use crate::pack::Background;

/// The most neighbours that can be asked.
const MAX_NEIGHBOURS: usize = 15;
/// A class without a neighbour has this vote.
const NO_VOTE: f32 = 1e-6;

/// Needs [`Samples`](crate::Samples). A fit costs nothing, a prediction D * examples
/// multiplications in integers.
pub struct KnnHead<'a> {
    spread: Spread,
    votes: &'a mut [f32],
    classes: usize,
    neighbours: usize,
}

impl<'a> KnnHead<'a> {
    /// Words of memory for `classes` classes.
    pub const fn words(classes: usize) -> usize {
        classes
    }

    /// Asks five neighbours.
    pub fn new(background: Option<Background<'_>>, words: &'a mut [f32]) -> Self {
        KnnHead {
            spread: Spread::new(background),
            votes: words,
            classes: 0,
            neighbours: 5,
        }
    }

    /// Sets how many neighbours vote, 1 to 15.
    pub fn with_neighbours(mut self, neighbours: usize) -> Self {
        self.neighbours = neighbours.clamp(1, MAX_NEIGHBOURS);
        self
    }
}

impl Head for KnnHead<'_> {
    fn fit(&mut self, evidence: Evidence<'_>) -> Result<(), FitError> {
        if evidence.samples.is_none_or(|s| s.is_empty()) {
            return Err(FitError::NeedsSamples);
        }
        self.classes = evidence.statistics.classes();
        if self.votes.len() < self.classes {
            let needed = self.classes;
            return Err(FitError::BufferTooSmall { needed });
        }
        self.spread.fit(evidence.statistics);
        Ok(())
    }

    fn logits(&mut self, evidence: Evidence<'_>, e: Embedding<'_>, mut visit: impl FnMut(f32)) {
        // The largest products belong to the nearest, as all embeddings have one norm. Of equals
        // the first counts: samples are sorted, so the order of learning does not matter.
        let mut nearest = [(i32::MIN, 0usize); MAX_NEIGHBOURS];
        let nearest = &mut nearest[..self.neighbours];
        for (class, values) in evidence.samples.iter().flat_map(|s| s.iter()) {
            let product = e
                .values()
                .iter()
                .zip(values)
                .fold(0, |sum, (&a, &b)| sum + i32::from(a) * i32::from(b));
            let at = nearest.partition_point(|&(other, _)| other >= product);
            if let Some(behind) = nearest.get_mut(at..) {
                behind.rotate_right(1.min(behind.len()));
                if let Some(place) = behind.first_mut() {
                    *place = (product, class);
                }
            }
        }
        self.votes.fill(NO_VOTE);
        let size = e.squared_norm() as f32;
        for &(product, class) in nearest.iter().filter(|(product, _)| *product > i32::MIN) {
            let squared_distance = 2.0 * (size - product as f32);
            if let Some(vote) = self.votes.get_mut(class) {
                *vote += libm::expf(-0.5 * squared_distance / self.spread.within);
            }
        }
        for &vote in self.votes.iter().take(self.classes) {
            visit(libm::logf(vote));
        }
    }

    fn verdict(&self, evidence: Evidence<'_>, class: usize, e: Embedding<'_>) -> Verdict {
        self.spread.verdict(evidence.statistics.class(class), e)
    }
}
