//! One hidden layer and an output layer, trained by backpropagation on the stored embeddings.
//!
//! *Learning representations by back-propagating errors*, David E. Rumelhart, Geoffrey E. Hinton,
//! Ronald J. Williams, 1986. Full batch, with momentum and weight decay, from weights that are the
//! same on every machine.

use super::{Evidence, FitError, Head, Spread, Verdict, add_scaled, dot, split, to_floats};
use crate::embedding::Embedding;
use crate::pack::Background;
use crate::samples::Samples;

const STEPS: usize = 150;
const RATE: f32 = 0.1;
const MOMENTUM: f32 = 0.9;
const DECAY: f32 = 0.001;

/// Needs [`Samples`]. A fit costs about 4 * steps * examples * hidden * (D + classes)
/// multiplications, a prediction hidden * (D + classes).
pub struct MlpHead<'a> {
    spread: Spread,
    words: &'a mut [f32],
    hidden: usize,
    dim: usize,
    classes: usize,
    /// Steps of gradient descent.
    pub steps: usize,
}

impl<'a> MlpHead<'a> {
    /// Words of memory for `hidden` units and `classes` classes of embeddings of length `dim`.
    pub const fn words(dim: usize, classes: usize, hidden: usize) -> usize {
        2 * weights(dim, classes, hidden) + dim + 2 * hidden + classes
    }

    /// `words` is [`MlpHead::words`] long.
    pub fn new(background: Option<Background<'_>>, hidden: usize, words: &'a mut [f32]) -> Self {
        MlpHead {
            spread: Spread::new(background),
            words,
            hidden: hidden.max(1),
            dim: 0,
            classes: 0,
            steps: STEPS,
        }
    }

    fn parts(&mut self) -> Result<Parts<'_>, FitError> {
        let (dim, classes, hidden) = (self.dim, self.classes, self.hidden);
        let all = weights(dim, classes, hidden);
        let [weights, momenta, input, active, blame, logits] =
            split(self.words, [all, all, dim, hidden, hidden, classes])?;
        let (lower, upper) = weights.split_at_mut(hidden * (dim + 1));
        Ok(Parts {
            lower,
            upper,
            momenta,
            input,
            active,
            blame,
            logits,
        })
    }
}

/// D weights and a bias for each hidden unit, as many as there are hidden units for each class.
const fn weights(dim: usize, classes: usize, hidden: usize) -> usize {
    hidden * (dim + 1) + classes * (hidden + 1)
}

struct Parts<'w> {
    lower: &'w mut [f32],
    upper: &'w mut [f32],
    momenta: &'w mut [f32],
    input: &'w mut [f32],
    active: &'w mut [f32],
    blame: &'w mut [f32],
    logits: &'w mut [f32],
}

impl Parts<'_> {
    /// Weights of a size that keeps activations alive (*Delving Deep into Rectifiers*, Kaiming He
    /// et al., 2015), from a linear congruential sequence.
    fn initialise(&mut self) {
        let mut state = 1u32;
        for (weights, fan) in [
            (&mut *self.lower, self.input.len() + 1),
            (&mut *self.upper, self.active.len() + 1),
        ] {
            let size = libm::sqrtf(6.0 / fan as f32) / 2_147_483_648.0;
            for row in weights.chunks_exact_mut(fan) {
                for weight in row.iter_mut() {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    *weight = size * (state as i32) as f32;
                }
                row[fan - 1] = 0.0;
            }
        }
        self.momenta.fill(0.0);
    }

    fn forward(&mut self, values: &[i8]) {
        // A value of about 1 each.
        let size = libm::sqrtf(values.len() as f32) / 127.0;
        to_floats(values, size, self.input);
        for (active, row) in self
            .active
            .iter_mut()
            .zip(self.lower.chunks_exact(self.input.len() + 1))
        {
            *active = (dot(row, self.input) + row[self.input.len()]).max(0.0);
        }
        for (logit, row) in self
            .logits
            .iter_mut()
            .zip(self.upper.chunks_exact(self.active.len() + 1))
        {
            *logit = dot(row, self.active) + row[self.active.len()];
        }
    }

    /// Adds one example's step down the loss to the momenta.
    fn backward(&mut self, label: usize, step: f32) {
        let top = self.logits.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        let mut total = 0.0;
        for logit in self.logits.iter_mut() {
            *logit = libm::expf(*logit - top);
            total += *logit;
        }
        self.blame.fill(0.0);
        let (dim, hidden) = (self.input.len(), self.active.len());
        let (lower, upper) = self.momenta.split_at_mut(hidden * (dim + 1));
        let rows = self.upper.chunks_exact(hidden + 1);
        for (class, (momentum, row)) in upper.chunks_exact_mut(hidden + 1).zip(rows).enumerate() {
            let target = if class == label { 1.0 } else { 0.0 };
            let error = step * (self.logits[class] / total - target);
            add_scaled(momentum, -error, self.active);
            momentum[hidden] -= error;
            add_scaled(self.blame, error, row);
        }
        for ((momentum, &blame), &active) in lower
            .chunks_exact_mut(dim + 1)
            .zip(&*self.blame)
            .zip(&*self.active)
        {
            if active > 0.0 {
                add_scaled(momentum, -blame, self.input);
                momentum[dim] -= blame;
            }
        }
    }

    fn descend(&mut self, samples: &Samples<'_>) {
        let weights = self.lower.iter().chain(&*self.upper);
        for (momentum, weight) in self.momenta.iter_mut().zip(weights) {
            *momentum = *momentum * MOMENTUM - RATE * DECAY * weight;
        }
        for (label, values) in samples.iter() {
            self.forward(values);
            self.backward(label, RATE / samples.len() as f32);
        }
        let weights = self.lower.iter_mut().chain(&mut *self.upper);
        for (weight, momentum) in weights.zip(&*self.momenta) {
            *weight += momentum;
        }
    }
}

impl Head for MlpHead<'_> {
    fn fit(&mut self, evidence: Evidence<'_>) -> Result<(), FitError> {
        let samples = evidence
            .samples
            .filter(|s| !s.is_empty())
            .ok_or(FitError::NeedsSamples)?;
        self.dim = evidence.statistics.dim();
        self.classes = evidence.statistics.classes();
        self.spread.fit(evidence.statistics);
        let steps = self.steps;
        let mut parts = self.parts()?;
        parts.initialise();
        for _ in 0..steps {
            parts.descend(samples);
        }
        Ok(())
    }

    fn logits(&mut self, _: Evidence<'_>, e: Embedding<'_>, visit: impl FnMut(f32)) {
        if let Ok(mut parts) = self.parts() {
            parts.forward(e.values());
            parts.logits.iter().copied().for_each(visit);
        }
    }

    fn verdict(&self, evidence: Evidence<'_>, class: usize, e: Embedding<'_>) -> Verdict {
        self.spread.verdict(evidence.statistics.class(class), e)
    }
}
