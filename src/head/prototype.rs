//! Nearest class mean with a soft decision.
//!
//! *Prototypical Networks for Few-shot Learning*, Jake Snell, Kevin Swersky, Richard Zemel, 2017:
//! logit = -|e - mean|^2 / (2 * variance). Embeddings come centred and normalised, as *SimpleShot:
//! Revisiting Nearest-Neighbor Classification for Few-Shot Learning*, Yan Wang et al., 2019, has
//! it. The variance is the spread of the examples themselves, widened for a mean of few examples,
//! so that probabilities mean something at one shot too.

use super::spread::{EFFECTIVE_RANK, squared_distance};
use super::{Evidence, FitError, Head, Spread, Verdict};
use crate::embedding::Embedding;
use crate::pack::Background;

/// Needs no memory beyond the statistics. A prediction costs about 2 * D * classes
/// multiplications.
#[derive(Clone, Copy, Debug, Default)]
pub struct PrototypeHead {
    spread: Spread,
}

impl PrototypeHead {
    /// Starts from the encoder's background.
    pub fn new(background: Option<Background<'_>>) -> Self {
        PrototypeHead {
            spread: Spread::new(background),
        }
    }

    /// Sets how far from its class an input may be before it is unknown: `limit` times the
    /// squared distance that the class's own examples have on average. 3 by default.
    pub fn with_limit(mut self, limit: f32) -> Self {
        self.spread.limit = limit;
        self
    }
}

impl Head for PrototypeHead {
    fn fit(&mut self, evidence: Evidence<'_>) -> Result<(), FitError> {
        self.spread.fit(evidence.statistics);
        Ok(())
    }

    fn logits(&mut self, evidence: Evidence<'_>, e: Embedding<'_>, mut visit: impl FnMut(f32)) {
        for class in evidence.statistics.iter() {
            let variance = 2.0 * self.spread.expected(class.count) / EFFECTIVE_RANK;
            visit(-squared_distance(&class, e) / variance);
        }
    }

    fn verdict(&self, evidence: Evidence<'_>, class: usize, e: Embedding<'_>) -> Verdict {
        self.spread.verdict(evidence.statistics.class(class), e)
    }
}
