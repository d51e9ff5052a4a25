//! Nearest class mean with a soft decision.
//!
//! *Prototypical Networks for Few-shot Learning*, Jake Snell, Kevin Swersky, Richard Zemel, 2017:
//! logit = -|e - mean|^2 / (2 * variance). The variance is the spread of the examples themselves,
//! widened for a mean of few examples, so that probabilities mean something at one shot too.

use super::{EFFECTIVE_RANK, FitError, Head, Spread, squared_distance};
use crate::embedding::Embedding;
use crate::pack::EncoderPack;
use crate::samples::Samples;
use crate::statistics::Statistics;

/// Needs no memory beyond the statistics. A prediction costs about 2 * D * classes
/// multiplications.
#[derive(Clone, Copy, Debug, Default)]
pub struct PrototypeHead {
    spread: Spread,
}

impl PrototypeHead {
    /// Starts from the encoder's background.
    pub fn new(pack: &EncoderPack<'_>) -> Self {
        PrototypeHead {
            spread: Spread::new(pack),
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
    fn fit(
        &mut self,
        statistics: &Statistics<'_>,
        _: Option<&Samples<'_>>,
    ) -> Result<(), FitError> {
        self.spread.fit(statistics);
        Ok(())
    }

    fn logit(&self, statistics: &Statistics<'_>, class: usize, e: Embedding<'_>) -> f32 {
        statistics.class(class).map_or(f32::MIN, |class| {
            let variance = 2.0 * self.spread.expected(class.count) / EFFECTIVE_RANK;
            -squared_distance(&class, e) / variance
        })
    }

    fn spread(&self) -> &Spread {
        &self.spread
    }
}
