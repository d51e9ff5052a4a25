//! Least squares with a penalty, in closed form from the moments; the penalty by marginal
//! likelihood.
//!
//! *Ridge Regression: Biased Estimation for Nonorthogonal Problems*, Arthur E. Hoerl, Robert W.
//! Kennard, 1970; the choice: *Bayesian Interpolation*, David J. C. MacKay, 1992. With the centred
//! moments M of the examples and r = sum of x over a class minus its share of the sum over all,
//! weights are (M + penalty)^-1 r, and r' (M + penalty)^-1 r is what they explain.

use super::cholesky::{self, triangle};
use super::{Evidence, FitError, Head, Spread, Verdict, dot, linear, split, to_floats};
use crate::embedding::Embedding;
use crate::statistics::Statistics;

/// Tried, times the mean variance of a direction.
const PENALTIES: [f32; 5] = [0.03, 0.1, 0.3, 1.0, 3.0];
/// Fitted scores differ by at most 1 between classes; divided by the unexplained variance they are
/// log-likelihoods, up to this much.
const SHARPEST: f32 = 30.0;

/// Needs the gram tier. A fit costs six times D^3 / 6 + classes * D^2 / 2 multiplications, a
/// prediction D * classes.
pub struct RidgeHead<'a> {
    spread: Spread,
    words: &'a mut [f32],
    dim: usize,
    classes: usize,
    penalty: f32,
    fixed: bool,
}

impl<'a> RidgeHead<'a> {
    /// Words of memory for `classes` classes of embeddings of length `dim`.
    pub const fn words(dim: usize, classes: usize) -> usize {
        classes * (dim + 1) + dim + triangle(dim)
    }

    /// `words` is [`RidgeHead::words`] long.
    pub fn new(words: &'a mut [f32]) -> Self {
        RidgeHead {
            spread: Spread::default(),
            words,
            dim: 0,
            classes: 0,
            penalty: 0.0,
            fixed: false,
        }
    }

    /// Fits with this penalty instead of choosing one, in units of the embedding's squares: a fit
    /// then costs a fifth.
    pub fn with_penalty(mut self, penalty: f32) -> Self {
        (self.penalty, self.fixed) = (penalty, true);
        self
    }

    /// The penalty that the last fit chose, in units of the embedding's squares.
    pub fn penalty(&self) -> f32 {
        self.penalty
    }

    /// D weights and a bias for each class; the mean; the moments, then their factor.
    fn parts(&mut self) -> Result<[&mut [f32]; 3], FitError> {
        let (dim, classes) = (self.dim, self.classes);
        split(self.words, [classes * (dim + 1), dim, triangle(dim)])
    }

    /// Factors the moments with a penalty and solves half of the equations, L y = r for each class.
    /// Returns the penalty's log evidence, up to a constant, and the variance that is left
    /// unexplained.
    fn try_penalty(
        &mut self,
        statistics: &Statistics<'_>,
        penalty: f32,
    ) -> Result<(f32, f32), FitError> {
        let (dim, classes) = (self.dim, self.classes as f32);
        let [rows, mean, matrix] = self.parts()?;
        let examples = statistics.examples() as f32;
        centred_moments(statistics, mean, matrix);
        (0..dim).for_each(|i| matrix[triangle(i) + i] += penalty);
        let log_determinant = cholesky::factor(matrix, dim, 1e-3 * penalty);
        for (class, row) in statistics.iter().zip(rows.chunks_exact_mut(dim + 1)) {
            let count = class.count as f32;
            for ((value, &sum), &mean) in row.iter_mut().zip(class.sums).zip(mean.iter()) {
                *value = sum as f32 - count * mean;
            }
        }
        for pair in rows.chunks_mut(2 * (dim + 1)) {
            match pair.split_at_mut(dim + 1) {
                (y, []) => cholesky::forward(matrix, &mut y[..dim]),
                (y, z) => cholesky::forward_pair(matrix, &mut y[..dim], &mut z[..dim]),
            }
        }
        let mut unexplained = 0.0;
        for (class, y) in statistics.iter().zip(rows.chunks_exact(dim + 1)) {
            let count = class.count as f32;
            unexplained += count * (1.0 - count / examples) - dot(&y[..dim], &y[..dim]);
        }
        let free = (examples - 1.0).max(1.0);
        let variance = (unexplained / (classes * free)).max(1e-6);
        let complexity = log_determinant - dim as f32 * libm::logf(penalty);
        Ok((
            -0.5 * classes * (free * libm::logf(variance) + complexity),
            variance,
        ))
    }

    /// The penalty under which the labels are most probable.
    fn choose(&mut self, statistics: &Statistics<'_>) -> Result<f32, FitError> {
        // All embeddings have norm 127: the mean variance needs no look at the moments.
        let unit = 127.0 * 127.0 * statistics.examples() as f32 / self.dim as f32;
        let (mut best, mut evidence) = (0.0, f32::NEG_INFINITY);
        for factor in PENALTIES {
            let (found, _) = self.try_penalty(statistics, factor * unit)?;
            if found > evidence {
                (best, evidence) = (factor * unit, found);
            }
        }
        Ok(best)
    }

    /// Solves the other half of the equations.
    fn solve(&mut self, gain: f32) -> Result<(), FitError> {
        let (dim, share) = (self.dim, 1.0 / self.classes as f32);
        let [rows, mean, factor] = self.parts()?;
        for row in rows.chunks_exact_mut(dim + 1) {
            let Some((bias, weights)) = row.split_last_mut() else {
                continue;
            };
            cholesky::backward(factor, weights);
            weights.iter_mut().for_each(|w| *w *= gain);
            // Every class weighs the same, however often it was shown.
            *bias = gain * share - dot(weights, mean);
        }
        Ok(())
    }
}

/// The moments around the mean of all examples, and that mean.
fn centred_moments(statistics: &Statistics<'_>, mean: &mut [f32], matrix: &mut [f32]) {
    let examples = statistics.examples() as f32;
    mean.fill(0.0);
    for class in statistics.iter() {
        for (value, &sum) in mean.iter_mut().zip(class.sums) {
            *value += sum as f32 / examples;
        }
    }
    let mut moments = statistics.gram().unwrap_or(&[]);
    let mut rest = matrix;
    for (i, &value) in mean.iter().enumerate() {
        let (row, below) = rest.split_at_mut(i + 1);
        let Some((own, others)) = moments.split_at_checked(i + 1) else {
            return;
        };
        (rest, moments) = (below, others);
        let shift = -value * examples;
        for ((value, &moment), &mean) in row.iter_mut().zip(own).zip(mean.iter()) {
            *value = moment as f32 + shift * mean;
        }
    }
}

impl Head for RidgeHead<'_> {
    fn fit(&mut self, evidence: Evidence<'_>) -> Result<(), FitError> {
        let statistics = evidence.statistics;
        if statistics.gram().is_none() {
            return Err(FitError::NeedsGram);
        }
        (self.dim, self.classes) = (statistics.dim(), statistics.classes());
        self.spread.fit(statistics);
        if !self.fixed {
            self.penalty = self.choose(statistics)?;
        }
        let (_, variance) = self.try_penalty(statistics, self.penalty)?;
        self.solve((1.0 / variance).min(SHARPEST))
    }

    fn logits(&mut self, _: Evidence<'_>, e: Embedding<'_>, visit: impl FnMut(f32)) {
        // Fitted, the weights do not need the mean any more.
        if let Ok([rows, values, _]) = self.parts() {
            to_floats(e.values(), 1.0, values);
            linear(rows, values, visit);
        }
    }

    fn verdict(&self, evidence: Evidence<'_>, class: usize, e: Embedding<'_>) -> Verdict {
        self.spread.verdict(evidence.statistics.class(class), e)
    }
}
