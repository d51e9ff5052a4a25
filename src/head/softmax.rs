//! The final linear layer, fine-tuned by gradient descent from the prototypes.
//!
//! Multinomial logistic regression, full batch with momentum (*Some methods of speeding up the
//! convergence of iteration methods*, Boris Polyak, 1964). A nearest-mean rule is a linear layer,
//! so descent starts there and is held there by the penalty: with few labels it stays close.

use super::{EFFECTIVE_RANK, FitError, Head, Spread};
use crate::embedding::Embedding;
use crate::pack::EncoderPack;
use crate::samples::Samples;
use crate::statistics::Statistics;

/// Weights and momentum in memory of the caller's. Needs [`Samples`]. A fit costs about
/// 2 * steps * examples * classes * D multiplications.
pub struct SoftmaxHead<'a> {
    spread: Spread,
    dim: usize,
    /// D weights and a bias for each class; as much momentum; a logit for each class.
    words: &'a mut [f32],
    /// Steps of gradient descent.
    pub steps: usize,
    /// Weight of the squared distance from the prototypes' solution.
    pub penalty: f32,
}

const STEPS: usize = 100;
const PENALTY: f32 = 0.001;
const MOMENTUM: f32 = 0.9;
/// Inputs have norm 1 and a bias input of 1: the loss curves by at most 1/2 * 2 in any direction.
const RATE: f32 = 1.0;

impl<'a> SoftmaxHead<'a> {
    /// Words of memory for `classes` classes of embeddings of length `dim`.
    pub const fn words(dim: usize, classes: usize) -> usize {
        classes * (2 * (dim + 1) + 1)
    }

    /// Starts from the encoder's background.
    pub fn new(pack: &EncoderPack<'_>, words: &'a mut [f32]) -> Self {
        Self::with_spread(Spread::new(pack), words)
    }

    /// Starts from a spread of the caller's.
    pub fn with_spread(spread: Spread, words: &'a mut [f32]) -> Self {
        SoftmaxHead {
            spread,
            dim: 0,
            words,
            steps: STEPS,
            penalty: PENALTY,
        }
    }

    fn descend(&mut self, statistics: &Statistics<'_>, samples: &Samples<'_>) {
        let (classes, row) = (statistics.classes(), self.dim + 1);
        let share = RATE / samples.len() as f32;
        let (rows, rest) = self.words.split_at_mut(classes * row);
        let (momenta, logits) = rest.split_at_mut(classes * row);
        for (label, values) in samples.iter() {
            let mut top = f32::NEG_INFINITY;
            for (logit, weights) in logits.iter_mut().zip(rows.chunks_exact(row)) {
                *logit = linear(weights, values);
                top = top.max(*logit);
            }
            let mut total = 0.0;
            for logit in logits[..classes].iter_mut() {
                *logit = libm::expf(*logit - top);
                total += *logit;
            }
            for (class, (momentum, &odds)) in
                momenta.chunks_exact_mut(row).zip(logits.iter()).enumerate()
            {
                let target = if class == label { 1.0 } else { 0.0 };
                let step = share * (odds / total - target);
                for (m, &v) in momentum.iter_mut().zip(values) {
                    *m -= step * (f32::from(v) / 127.0);
                }
                momentum[row - 1] -= step;
            }
        }
    }
}

/// Visits the linear layer that decides as the prototypes do, weight by weight: with inputs x of
/// norm 1 and class means m, weights gain * m and bias -gain / 2 * |m|^2.
fn prototypes(spread: &Spread, statistics: &Statistics<'_>, mut visit: impl FnMut(usize, f32)) {
    let row = statistics.dim() + 1;
    for (index, class) in statistics.iter().enumerate() {
        let gain = EFFECTIVE_RANK * 127.0 * 127.0 / spread.expected(class.count);
        let (mut at, mut squares) = (index * row, 0.0f32);
        for &sum in class.sums {
            let mean = sum as f32 / (127.0 * class.count as f32);
            squares += mean * mean;
            visit(at, gain * mean);
            at += 1;
        }
        visit(at, -0.5 * gain * squares);
    }
}

/// Weights times x = values / 127, plus the bias at their end.
fn linear(weights: &[f32], values: &[i8]) -> f32 {
    let dot = weights
        .iter()
        .zip(values)
        .fold(0.0f32, |sum, (&w, &v)| sum + w * f32::from(v));
    dot / 127.0 + weights.last().copied().unwrap_or(0.0)
}

impl Head for SoftmaxHead<'_> {
    fn fit(
        &mut self,
        statistics: &Statistics<'_>,
        samples: Option<&Samples<'_>>,
    ) -> Result<(), FitError> {
        let samples = samples
            .filter(|s| !s.is_empty())
            .ok_or(FitError::NeedsSamples)?;
        let (dim, classes) = (statistics.dim(), statistics.classes());
        let needed = Self::words(dim, classes);
        if self.words.len() < needed {
            return Err(FitError::BufferTooSmall { needed });
        }
        self.dim = dim;
        self.spread.fit(statistics);
        let (spread, penalty, size) = (self.spread, self.penalty, classes * (dim + 1));
        self.words.fill(0.0);
        let words = &mut *self.words;
        prototypes(&spread, statistics, |i, start| words[i] = start);
        for _ in 0..self.steps {
            let words = &mut *self.words;
            prototypes(&spread, statistics, |i, start| {
                let pull = words[i] - start;
                words[size + i] = words[size + i] * MOMENTUM - RATE * penalty * pull;
            });
            self.descend(statistics, samples);
            for i in 0..size {
                self.words[i] += self.words[size + i];
            }
        }
        Ok(())
    }

    fn logit(&self, _: &Statistics<'_>, class: usize, e: Embedding<'_>) -> f32 {
        let weights = self
            .words
            .chunks_exact(self.dim + 1)
            .nth(class)
            .unwrap_or(&[]);
        linear(weights, e.values())
    }

    fn spread(&self) -> &Spread {
        &self.spread
    }
}
