//! Least squares with a penalty and a constant term, and how sure it is.
//!
//! *Bayesian Interpolation*, David J. C. MacKay, 1992; the penalty: *Ridge Regression: Biased
//! Estimation for Nonorthogonal Problems*, Arthur E. Hoerl, Robert W. Kennard, 1970. With M and r
//! the moments around the means, weights are (M + penalty)^-1 r, and each output takes the penalty
//! under which its own targets are most probable. A new target varies by the noise, by how
//! uncertain the mean is and by how far x lies from what was learnt:
//! noise * (1 + 1 / n + x' (M + penalty)^-1 x).

use super::NormalEquations;
use crate::embedding::Embedding;
use crate::head::FitError;
use crate::head::cholesky::{self, triangle};
use crate::head::vector::dot;

/// Tried, times the mean variance of a direction.
const PENALTIES: [f32; 5] = [0.0003, 0.003, 0.03, 0.1, 0.3];
/// Less noise than this part of the targets' variance is rounding.
const LEAST_NOISE: f32 = 1e-6;

/// What the head says of one input: target = `value`, give or take `deviation`, in the unit of the
/// targets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The expected target.
    pub value: f32,
    /// The standard deviation of the target around it; infinite before there are two examples.
    pub deviation: f32,
}

/// Solves [`NormalEquations`]. A fit costs at most 5 D^3 / 6 + 5 K D^2 multiplications, a value D,
/// a deviation D^2 / 2; where outputs chose different penalties, asking for another's deviation
/// costs D^3 / 6 more.
pub struct RegressionHead<'a> {
    words: &'a mut [f32],
    dim: usize,
    outputs: usize,
    /// Whose penalty the factor in memory has.
    factored: usize,
}

/// Behind an output's D weights: its constant, the variance of its noise and the number of its
/// penalty.
const EXTRA: usize = 3;
const CONSTANT: usize = 0;
const NOISE: usize = 1;
const PENALTY: usize = 2;

impl<'a> RegressionHead<'a> {
    /// Words of memory for `outputs` outputs of embeddings of length `dim`.
    pub const fn words(dim: usize, outputs: usize) -> usize {
        outputs * (dim + EXTRA) + dim + triangle(dim)
    }

    /// `words` is [`RegressionHead::words`] long.
    pub fn new(words: &'a mut [f32]) -> Self {
        RegressionHead {
            words,
            dim: 0,
            outputs: 0,
            factored: 0,
        }
    }

    /// Brings the head up to date with the equations.
    pub fn fit(&mut self, equations: &NormalEquations<'_>) -> Result<(), FitError> {
        let (dim, outputs) = (equations.dim(), equations.outputs());
        let needed = Self::words(dim, outputs);
        if self.words.len() < needed {
            return Err(FitError::BufferTooSmall { needed });
        }
        (self.dim, self.outputs) = (dim, outputs);
        for number in 0..PENALTIES.len() {
            let complexity = self.factor(equations, number);
            let (rows, vector, factor) = self.parts();
            for (output, row) in rows.chunks_exact_mut(dim + EXTRA).enumerate() {
                let (_, squares) = equations.centred_targets(output, vector);
                cholesky::forward(factor, vector);
                let unexplained = squares - dot(vector, vector);
                let (evidence, noise) = judge(equations, squares, unexplained, complexity);
                let (weights, extra) = row.split_at_mut(dim);
                // Until all are tried, the best evidence is where the constant goes.
                if number == 0 || evidence > extra[CONSTANT] {
                    weights.copy_from_slice(vector);
                    cholesky::backward(factor, weights);
                    extra.copy_from_slice(&[evidence, noise, number as f32]);
                }
            }
        }
        self.set_constants(equations);
        Ok(())
    }

    /// The expected target of an output; `None` where there is no such output, or the embedding has
    /// another length. For a label, how much it looks as if it held: see [`RegressionHead::score`].
    pub fn value(&self, output: usize, e: Embedding<'_>) -> Option<f32> {
        let (weights, extra) = self.row(output, e)?;
        let products = weights.iter().zip(e.values());
        let sum = products.fold(0.0, |sum, (&w, &x)| sum + w * f32::from(x));
        Some(sum + extra[CONSTANT])
    }

    /// How probable a label is, 0 to 1: a label holds above 0.5. Several may hold, or none.
    pub fn score(&self, label: usize, e: Embedding<'_>) -> Option<f32> {
        self.value(label, e).map(|value| value.clamp(0.0, 1.0))
    }

    /// The expected target of an output and how sure that is. The equations are those that the head
    /// was fitted to.
    pub fn predict(
        &mut self,
        equations: &NormalEquations<'_>,
        output: usize,
        e: Embedding<'_>,
    ) -> Option<Estimate> {
        let value = self.value(output, e)?;
        let (_, extra) = self.row(output, e)?;
        let (noise, number) = (extra[NOISE], extra[PENALTY] as usize);
        if equations.dim() != self.dim {
            return None;
        }
        if number != self.factored {
            self.factor(equations, number);
        }
        let (_, vector, factor) = self.parts();
        for (at, (value, &x)) in vector.iter_mut().zip(e.values()).enumerate() {
            *value = f32::from(x) - equations.mean(at);
        }
        cholesky::forward(factor, vector);
        let far = dot(vector, vector) + 1.0 / equations.examples().max(1) as f32;
        Some(Estimate {
            value,
            deviation: libm::sqrtf(noise * (1.0 + far)),
        })
    }

    /// Factors the moments with a penalty; returns the logarithm of their determinant over that of
    /// the penalty alone.
    fn factor(&mut self, equations: &NormalEquations<'_>, number: usize) -> f32 {
        let dim = self.dim;
        self.factored = number;
        // All embeddings have norm 127: the mean variance needs no look at the moments.
        let unit = 127.0 * 127.0 * equations.examples().max(1) as f32 / dim as f32;
        let penalty = unit * PENALTIES.get(number).copied().unwrap_or(1.0);
        let (_, _, matrix) = self.parts();
        equations.centred_moments(matrix);
        (0..dim).for_each(|i| matrix[triangle(i) + i] += penalty);
        cholesky::factor(matrix, dim, 1e-3 * penalty) - dim as f32 * libm::logf(penalty)
    }

    fn set_constants(&mut self, equations: &NormalEquations<'_>) {
        let dim = self.dim;
        let (rows, vector, _) = self.parts();
        for (output, row) in rows.chunks_exact_mut(dim + EXTRA).enumerate() {
            let (weights, extra) = row.split_at_mut(dim);
            let (target, _) = equations.centred_targets(output, vector);
            for (at, value) in vector.iter_mut().enumerate() {
                *value = equations.mean(at);
            }
            extra[CONSTANT] = target - dot(weights, vector);
        }
    }

    fn row(&self, output: usize, e: Embedding<'_>) -> Option<(&[f32], &[f32])> {
        let rows = self.words.chunks_exact(self.dim + EXTRA);
        let row = rows.take(self.outputs).nth(output)?;
        (e.dim() == self.dim).then(|| row.split_at(self.dim))
    }

    /// The outputs, D values of scratch and the factor.
    fn parts(&mut self) -> (&mut [f32], &mut [f32], &mut [f32]) {
        let (rows, rest) = self.words.split_at_mut(self.outputs * (self.dim + EXTRA));
        let (vector, rest) = rest.split_at_mut(self.dim);
        (rows, vector, &mut rest[..triangle(self.dim)])
    }
}

/// How probable the targets are under a penalty, as a logarithm and up to a constant, and the
/// variance of the noise that is most probable with it.
fn judge(
    equations: &NormalEquations<'_>,
    squares: f32,
    unexplained: f32,
    complexity: f32,
) -> (f32, f32) {
    let free = equations.examples() - 1;
    if free < 1 {
        return (0.0, f32::INFINITY);
    }
    let least = (LEAST_NOISE * squares).max(f32::MIN_POSITIVE);
    let noise = unexplained.max(least) / free as f32;
    (-0.5 * (free as f32 * libm::logf(noise) + complexity), noise)
}
