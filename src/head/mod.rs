//! Heads: from evidence to a prediction. Floats appear here and nowhere below; they are evaluated
//! in one fixed order, without fused multiply-add, `exp` and `ln` from libm, so every machine gives
//! the same bits.
//!
//! | head | learns from | linear | state, D = 64, 8 classes |
//! |---|---|---|---|
//! | [`AutoHead`] | counts, sums, moments, background | yes | [`AutoHead::words`] |
//! | [`PrototypeHead`] | counts, sums | yes | none |
//! | [`BayesHead`] | counts, sums, background | no | [`BayesHead::words`] |
//! | [`RidgeHead`] | counts, sums, moments | yes | [`RidgeHead::words`] |
//! | [`SldaHead`] | counts, sums, moments, background | yes | [`SldaHead::words`] |
//! | [`SoftmaxHead`] | samples, background | yes | [`SoftmaxHead::words`] |
//! | [`MlpHead`] | samples | no | [`MlpHead::words`] |
//! | [`KnnHead`] | samples | no | [`KnnHead::words`] |

mod auto;
mod bayes;
pub mod calibration;
pub(crate) mod cholesky;
mod knn;
mod mlp;
mod prior;
mod prototype;
mod ridge;
mod slda;
mod softmax;
mod spread;
#[cfg(test)]
mod tests;
pub(crate) mod vector;

pub use auto::{AutoHead, Choice};
pub use bayes::BayesHead;
pub use knn::KnnHead;
pub use mlp::MlpHead;
pub use prototype::PrototypeHead;
pub use ridge::RidgeHead;
pub use slda::SldaHead;
pub use softmax::SoftmaxHead;
pub use spread::Spread;
pub(crate) use spread::squared_distance;

use vector::{add_scaled, dot, dot_square, linear, products, to_floats};

use crate::embedding::Embedding;
use crate::samples::Samples;
use crate::statistics::{Label, Statistics};

/// What was learnt.
#[derive(Clone, Copy)]
pub struct Evidence<'s> {
    /// Counts and sums, and in the gram tier the moments.
    pub statistics: &'s Statistics<'s>,
    /// The examples themselves, where they are kept.
    pub samples: Option<&'s Samples<'s>>,
}

/// Whether an input is of one of the learnt classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// It is.
    Known = 0,
    /// Probably of none.
    Unknown = 1,
    /// There are not enough examples, here or behind the encoder's calibration, to promise the
    /// rate of false accepts that was asked for.
    NotEnoughExamples = 2,
}

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
    /// Whether it is one of the learnt classes at all.
    pub verdict: Verdict,
}

impl Prediction {
    /// Whether the verdict is [`Verdict::Known`].
    pub fn is_known(&self) -> bool {
        self.verdict == Verdict::Known
    }
}

/// A head can't be fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FitError {
    /// The head's buffer is too small.
    BufferTooSmall {
        /// Words that it needs.
        needed: usize,
    },
    /// The head needs [`Samples`] and there are none.
    NeedsSamples,
    /// The head needs the moments: [`Statistics::with_gram`].
    NeedsGram,
    /// The head needs background statistics of this D, and the encoder has none.
    NeedsBackground,
}

impl core::fmt::Display for FitError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            FitError::BufferTooSmall { needed } => write!(f, "the head needs {needed} words"),
            FitError::NeedsSamples => {
                f.write_str("this head needs the samples: Learner::with_samples")
            }
            FitError::NeedsGram => {
                f.write_str("this head needs second moments: Statistics::with_gram")
            }
            FitError::NeedsBackground => f.write_str(
                "this head needs the encoder's background statistics, which were left out of the pack",
            ),
        }
    }
}

impl core::error::Error for FitError {}

/// Differences of logits stay finite, and a background that makes no sense, out of a pack whose
/// checksum is right, gives bad predictions and no NaN.
const LARGEST_LOGIT: f32 = 1e30;

/// Turns evidence into logits.
pub trait Head {
    /// Brings the head up to date with the evidence.
    fn fit(&mut self, evidence: Evidence<'_>) -> Result<(), FitError>;

    /// Gives `visit` the logit of each class, in order.
    fn logits(&mut self, evidence: Evidence<'_>, e: Embedding<'_>, visit: impl FnMut(f32));

    /// Whether the embedding whose logits were asked for last belongs to class number `class`.
    fn verdict(&self, evidence: Evidence<'_>, class: usize, e: Embedding<'_>) -> Verdict;

    /// The prediction for one embedding; `None` where nothing was learnt.
    fn predict(&mut self, evidence: Evidence<'_>, e: Embedding<'_>) -> Option<Prediction> {
        // Softmax in one pass: `total` is relative to the best logit so far.
        let (mut best, mut top, mut second, mut total) =
            (0, f32::NEG_INFINITY, f32::NEG_INFINITY, 0.0f32);
        let mut class = 0;
        self.logits(evidence, e, |logit| {
            // `clamp` would let a NaN through.
            #[allow(clippy::manual_clamp)]
            let logit = logit.max(-LARGEST_LOGIT).min(LARGEST_LOGIT);
            if logit > top {
                total = total * libm::expf(top - logit) + 1.0;
                (best, top, second) = (class, logit, top);
            } else {
                total += libm::expf(logit - top);
                second = second.max(logit);
            }
            class += 1;
        });
        let label = evidence.statistics.class(best)?.label.clone();
        let probability = 1.0 / total;
        Some(Prediction {
            class: best,
            label,
            probability,
            margin: probability - libm::expf(second - top) / total,
            verdict: self.verdict(evidence, best, e),
        })
    }
}

/// The first `sizes[0]` words, then `sizes[1]`, and so on.
fn split<const N: usize>(
    words: &mut [f32],
    sizes: [usize; N],
) -> Result<[&mut [f32]; N], FitError> {
    let needed = sizes.iter().sum();
    if words.len() < needed {
        return Err(FitError::BufferTooSmall { needed });
    }
    let mut rest = words;
    Ok(sizes.map(|size| {
        let (part, behind) = core::mem::take(&mut rest).split_at_mut(size);
        rest = behind;
        part
    }))
}

/// The harmonic mean of the classes' counts.
fn typical_count(statistics: &Statistics<'_>) -> f32 {
    let inverse: f32 = statistics.iter().map(|c| 1.0 / c.count as f32).sum();
    statistics.classes() as f32 / inverse
}
