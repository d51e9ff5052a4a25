//! Heads: from evidence to a prediction. Floats appear here and nowhere below; they are evaluated
//! in one fixed order, without fused multiply-add, `exp` from libm, so every machine gives the same
//! bits.

mod prototype;
mod softmax;

pub use prototype::PrototypeHead;
pub use softmax::SoftmaxHead;

use crate::embedding::Embedding;
use crate::pack::EncoderPack;
use crate::samples::Samples;
use crate::statistics::{Label, Statistics};

/// What a head says of one input.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The most probable class's number, in the order of names.
    pub class: usize,
    /// Its name.
    pub label: Label,
    /// Its probability among the learnt classes, 0 to 1.
    pub probability: f32,
    /// How far its probability is ahead of the second's, 0 to 1.
    pub margin: f32,
    /// The input is farther from the class than its examples are from each other: probably none
    /// of the learnt classes.
    pub unknown: bool,
}

/// A head can't be fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FitError {
    /// The weights' buffer is too small.
    BufferTooSmall {
        /// Words that it needs.
        needed: usize,
    },
    /// The head needs [`Samples`] and there are none.
    NeedsSamples,
}

impl core::fmt::Display for FitError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            FitError::BufferTooSmall { needed } => write!(f, "the head needs {needed} words"),
            FitError::NeedsSamples => {
                f.write_str("this head needs the samples: Learner::with_samples")
            }
        }
    }
}

impl core::error::Error for FitError {}

/// Turns evidence into logits.
pub trait Head {
    /// Brings the head up to date with the evidence.
    fn fit(
        &mut self,
        statistics: &Statistics<'_>,
        samples: Option<&Samples<'_>>,
    ) -> Result<(), FitError>;

    /// The logit of class number `class`; finite.
    fn logit(&self, statistics: &Statistics<'_>, class: usize, e: Embedding<'_>) -> f32;

    /// How wide the classes are.
    fn spread(&self) -> &Spread;

    /// The prediction for one embedding; `None` where nothing was learnt.
    fn predict(&self, statistics: &Statistics<'_>, e: Embedding<'_>) -> Option<Prediction> {
        // Softmax in one pass: `total` is relative to the best logit so far.
        let (mut best, mut top, mut second, mut total) =
            (0, f32::NEG_INFINITY, f32::NEG_INFINITY, 0.0f32);
        for class in 0..statistics.classes() {
            let logit = self.logit(statistics, class, e);
            if logit > top {
                total = total * libm::expf(top - logit) + 1.0;
                (best, top, second) = (class, logit, top);
            } else {
                total += libm::expf(logit - top);
                second = second.max(logit);
            }
        }
        let class = statistics.class(best)?;
        let probability = 1.0 / total;
        Some(Prediction {
            class: best,
            label: class.label.clone(),
            probability,
            margin: probability - libm::expf(second - top) / total,
            unknown: self
                .spread()
                .is_unknown(squared_distance(&class, e), class.count),
        })
    }
}

/// The pooled spread of embeddings around their class mean, from the learnt examples and, where
/// those are few, from the encoder's background.
///
/// All embeddings have norm 127, so counts and sums suffice: the squared distances of a class's n
/// examples from their mean add up to n * 127^2 - |sum|^2 / n.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    prior: f32,
    /// The mean squared distance of an example from its class's true mean, in embedding units.
    pub within: f32,
    /// An input is unknown beyond this many times the squared distance expected of a class's own.
    pub limit: f32,
}

/// How many examples the background's spread counts for.
const PRIOR_EXAMPLES: f32 = 4.0;
/// Where the encoder has no background: examples of a class at a cosine of about 0.85.
const DEFAULT_WITHIN: f32 = 0.15 * 127.0 * 127.0;
/// See [`Spread::limit`].
const DEFAULT_LIMIT: f32 = 3.0;
/// Embeddings vary in fewer directions than they have values; a distance counts as this many
/// independent measurements.
pub(crate) const EFFECTIVE_RANK: f32 = 8.0;

impl Spread {
    /// Starts from the encoder's background.
    pub fn new(pack: &EncoderPack<'_>) -> Self {
        let prior = pack.background().map_or(DEFAULT_WITHIN, |b| b.within_total);
        Spread {
            prior,
            within: prior,
            limit: DEFAULT_LIMIT,
        }
    }

    fn fit(&mut self, statistics: &Statistics<'_>) {
        let (mut scatter, mut degrees) = (self.prior * PRIOR_EXAMPLES, PRIOR_EXAMPLES);
        for class in statistics.iter() {
            let n = class.count as f32;
            let within = n * (127.0 * 127.0) - squared_norm(class.sums) / n;
            scatter += within.max(0.0);
            degrees += n - 1.0;
        }
        self.within = (scatter / degrees).max(1.0);
    }

    /// The squared distance between an example of a class and the mean of `count` others.
    fn expected(&self, count: i32) -> f32 {
        self.within * (1.0 + 1.0 / count as f32)
    }

    fn is_unknown(&self, squared_distance: f32, count: i32) -> bool {
        squared_distance > self.limit * self.expected(count)
    }
}

impl Default for Spread {
    fn default() -> Self {
        Spread {
            prior: DEFAULT_WITHIN,
            within: DEFAULT_WITHIN,
            limit: DEFAULT_LIMIT,
        }
    }
}

fn squared_norm(sums: &[i32]) -> f32 {
    sums.iter()
        .map(|&s| i64::from(s) * i64::from(s))
        .sum::<i64>() as f32
}

/// From the embedding to the class's mean, in integers until the last step.
pub(crate) fn squared_distance(class: &crate::statistics::Class<'_>, e: Embedding<'_>) -> f32 {
    let products = class
        .sums
        .iter()
        .zip(e.values())
        .map(|(&s, &v)| i64::from(s) * i64::from(v));
    let n = class.count as f32;
    let distance = e.squared_norm() as f32 - 2.0 * products.sum::<i64>() as f32 / n
        + squared_norm(class.sums) / n / n;
    distance.max(0.0)
}
