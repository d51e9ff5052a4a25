//! The final linear layer, fine-tuned by gradient descent from what Bayes says.
//!
//! Multinomial logistic regression, full batch with momentum (*Some methods of speeding up the
//! convergence of iteration methods*, Boris Polyak, 1964). Two-covariance Bayes with one covariance
//! is a linear layer, and so is a nearest-mean rule, which stands in where the encoder has no
//! background: descent starts there and is held there by the penalty, so that with few labels it
//! stays close.

use super::prior::{self, Prior};
use super::spread::EFFECTIVE_RANK;
use super::{
    Evidence, FitError, Head, Spread, Verdict, add_scaled, dot, linear, split, to_floats,
    typical_count,
};
use crate::embedding::Embedding;
use crate::pack::Background;
use crate::samples::Samples;
use crate::statistics::Statistics;

/// Weights and momentum in memory of the caller's. Needs [`Samples`]. A fit costs about
/// 2 * steps * examples * classes * D multiplications.
pub struct SoftmaxHead<'a> {
    background: Option<Background<'a>>,
    spread: Spread,
    dim: usize,
    classes: usize,
    /// D weights and a bias for each class; where they started; momentum; a logit for each class;
    /// an example.
    words: &'a mut [f32],
    /// Steps of gradient descent.
    pub steps: usize,
    /// Weight of the squared distance from the start.
    pub penalty: f32,
}

const STEPS: usize = 100;
const PENALTY: f32 = 0.001;
const MOMENTUM: f32 = 0.9;
/// Inputs have norm 1 and a bias input of 1: the loss curves by at most 1/2 * 2 in any direction.
const RATE: f32 = 1.0;

impl<'a> SoftmaxHead<'a> {
    /// Words of memory for `classes` classes of embeddings of length `dim` and a background of
    /// `rank` directions, 0 without.
    pub const fn words(dim: usize, classes: usize, rank: usize) -> usize {
        classes * (3 * (dim + 1) + 1) + dim + Prior::words(rank)
    }

    /// Starts from the encoder's background.
    pub fn new(background: Option<Background<'a>>, words: &'a mut [f32]) -> Self {
        SoftmaxHead {
            background,
            spread: Spread::new(background),
            dim: 0,
            classes: 0,
            words,
            steps: STEPS,
            penalty: PENALTY,
        }
    }

    /// Sets rows and start to the linear layer that decides as Bayes does.
    fn start(&mut self, statistics: &Statistics<'_>) -> Result<(), FitError> {
        let (dim, size) = (self.dim, self.classes * (self.dim + 1));
        let rank = self.background.map_or(0, |b| b.rank);
        let sizes = [size, size, size, self.classes, dim, Prior::words(rank)];
        let [rows, start, momenta, _, _, words] = split(self.words, sizes)?;
        let mut prior = match self.background {
            Some(background) => Prior::new(background, dim, words)?,
            None => None,
        };
        let scale = prior::scale(&self.spread);
        let gain = self.background.map_or(1.0, |b| {
            let count = typical_count(statistics);
            b.calibration.temperature(count) / (scale * (1.0 + 1.0 / count))
        });
        for (class, row) in statistics.iter().zip(start.chunks_exact_mut(dim + 1)) {
            let Some((bias, weights)) = row.split_last_mut() else {
                continue;
            };
            let count = class.count as f32;
            for (weight, &sum) in weights.iter_mut().zip(class.sums) {
                *weight = sum as f32 / count;
            }
            match &mut prior {
                Some(prior) => {
                    prior.shrink(weights, count, scale);
                    let before = rows.get_mut(..dim).unwrap_or(&mut []);
                    before.copy_from_slice(weights);
                    prior.apply_precision(weights);
                    *bias = -0.5 * gain * dot(weights, before);
                    weights.iter_mut().for_each(|w| *w *= 127.0 * gain);
                }
                None => {
                    let gain = EFFECTIVE_RANK / self.spread.expected(class.count);
                    *bias = -0.5 * gain * dot(weights, weights);
                    weights.iter_mut().for_each(|w| *w *= 127.0 * gain);
                }
            }
        }
        rows.copy_from_slice(start);
        momenta.fill(0.0);
        Ok(())
    }

    fn step(&mut self, samples: &Samples<'_>) {
        let size = self.classes * (self.dim + 1);
        let sizes = [size, size, size, self.classes, self.dim];
        let Ok([rows, start, momenta, logits, values]) = split(self.words, sizes) else {
            return;
        };
        for ((momentum, weight), start) in momenta.iter_mut().zip(&*rows).zip(&*start) {
            *momentum = *momentum * MOMENTUM - RATE * self.penalty * (weight - start);
        }
        descend(rows, momenta, logits, values, samples);
        for (weight, momentum) in rows.iter_mut().zip(&*momenta) {
            *weight += momentum;
        }
    }
}

/// Adds a step down the loss to the momenta.
fn descend(
    rows: &[f32],
    momenta: &mut [f32],
    logits: &mut [f32],
    values: &mut [f32],
    samples: &Samples<'_>,
) {
    let share = RATE / samples.len() as f32;
    for (label, example) in samples.iter() {
        to_floats(example, 1.0 / 127.0, values);
        let mut places = logits.iter_mut();
        let mut top = f32::NEG_INFINITY;
        linear(rows, values, |logit| {
            top = top.max(logit);
            if let Some(place) = places.next() {
                *place = logit;
            }
        });
        let mut total = 0.0;
        for logit in logits.iter_mut() {
            *logit = libm::expf(*logit - top);
            total += *logit;
        }
        let momenta = momenta.chunks_exact_mut(values.len() + 1);
        for (class, (momentum, &odds)) in momenta.zip(logits.iter()).enumerate() {
            let target = if class == label { 1.0 } else { 0.0 };
            let step = share * (odds / total - target);
            add_scaled(momentum, -step, values);
            if let Some(bias) = momentum.last_mut() {
                *bias -= step;
            }
        }
    }
}

impl Head for SoftmaxHead<'_> {
    fn fit(&mut self, evidence: Evidence<'_>) -> Result<(), FitError> {
        let statistics = evidence.statistics;
        let samples = evidence
            .samples
            .filter(|s| !s.is_empty())
            .ok_or(FitError::NeedsSamples)?;
        (self.dim, self.classes) = (statistics.dim(), statistics.classes());
        self.spread.fit(statistics);
        self.start(statistics)?;
        for _ in 0..self.steps {
            self.step(samples);
        }
        Ok(())
    }

    fn logits(&mut self, _: Evidence<'_>, e: Embedding<'_>, visit: impl FnMut(f32)) {
        let size = self.classes * (self.dim + 1);
        // Where the momenta were.
        if let Ok([rows, _, values]) = split(self.words, [size, size, self.dim]) {
            to_floats(e.values(), 1.0 / 127.0, values);
            linear(rows, values, visit);
        }
    }

    fn verdict(&self, evidence: Evidence<'_>, class: usize, e: Embedding<'_>) -> Verdict {
        self.spread.verdict(evidence.statistics.class(class), e)
    }
}
