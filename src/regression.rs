//! Numbers and sets of labels instead of one class: K outputs, linear in the embedding, learnt from
//! exact sums.
//!
//! [`NormalEquations`] are to numbers what [`Statistics`](crate::Statistics) are to classes: any
//! order of learning gives the same bits, forgetting undoes it to the bit, two devices merge into
//! one. [`RegressionHead`] solves them. A target is an i16 in whatever fixed-point unit the caller
//! likes; where an input may have several labels at once, each label is an output whose target is 0
//! or 1. Outputs do not touch each other: one more leaves the bits of the others as they were.
//!
//! **No sum can overflow.** With |x| <= 2^7, |t| <= 2^15 and at most [`MAX_GRAM_COUNT`] = 2^17 - 1
//! examples, sums of x x' stay below 2^31, of x below 2^24; sums of t stay below 2^32, of x t below
//! 2^39 and of t^2 below 2^47, so those are 64 bits wide. One more example is an error, and so is a
//! merge that would end beyond.
//!
//! ```
//! use headstart::regression::{NormalEquations, RegressionHead};
//! use headstart::Embedding;
//! let mut words = [0; NormalEquations::words(2)]; // D = 2
//! let mut sums = [0; NormalEquations::sums(2, 1)]; // one output
//! let mut equations = NormalEquations::new(2, 1, [0; 32], &mut words, &mut sums)?;
//! for (x, y) in [(100, 78), (78, 100), (-100, 78), (0, 127), (127, 0)] {
//!     equations.learn(Embedding::new(&[x, y])?, &[3 * i16::from(x) + 20])?;
//! }
//! let mut weights = [0.0; RegressionHead::words(2, 1)];
//! let mut head = RegressionHead::new(&mut weights);
//! head.fit(&equations)?;
//! let estimate = head.predict(&equations, 0, Embedding::new(&[50, 117])?).unwrap();
//! assert!((estimate.value - 170.0).abs() < 3.0 * estimate.deviation);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod head;
#[cfg(test)]
mod tests;

use crate::embedding::Embedding;
use crate::pack::Artefact;
use crate::statistics::{MAX_GRAM_COUNT, gram};

pub use head::{Estimate, RegressionHead};

/// Counts, sums and products of embeddings and their targets, in memory of the caller's: all that
/// least squares needs to know of its examples.
///
/// The normal equations: *Nouvelles méthodes pour la détermination des orbites des comètes*,
/// Adrien-Marie Legendre, 1805.
pub struct NormalEquations<'a> {
    dim: usize,
    outputs: usize,
    artefact: Artefact,
    examples: i32,
    /// Sum of x x': the lower triangle, row by row.
    gram: &'a mut [i32],
    /// Sum of x.
    inputs: &'a mut [i32],
    /// For each output the sum of t, of t^2, and D sums of x t.
    targets: &'a mut [i64],
}

/// Of each output, the sums before those of x t.
const TOTALS: usize = 2;

/// Why an example was not taken or given back. The state is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegressionError {
    /// The embedding has another length.
    Dim {
        /// D of the equations.
        expected: usize,
        /// Of what was given.
        got: usize,
    },
    /// There is another number of targets.
    Outputs {
        /// K of the equations.
        expected: usize,
        /// Of what was given.
        got: usize,
    },
    /// The memory is too small.
    BufferTooSmall {
        /// 32-bit words that are needed.
        words: usize,
        /// 64-bit sums that are needed.
        sums: usize,
    },
    /// There are [`MAX_GRAM_COUNT`] examples.
    TooManyExamples,
    /// This example can't have been learnt: taking it away leaves an impossible sum.
    NeverLearnt,
    /// The other equations come from another encoder file.
    OtherArtefact,
}

impl core::fmt::Display for RegressionError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            RegressionError::Dim { expected, got } => {
                write!(
                    f,
                    "embeddings have {expected} values here, this one has {got}"
                )
            }
            RegressionError::Outputs { expected, got } => {
                write!(
                    f,
                    "examples have {expected} targets here, this one has {got}"
                )
            }
            RegressionError::BufferTooSmall { words, sums } => {
                write!(f, "the equations need {words} words and {sums} sums")
            }
            RegressionError::TooManyExamples => {
                f.write_str("there are as many examples as the sums can take")
            }
            RegressionError::NeverLearnt => f.write_str("this example was never learnt"),
            RegressionError::OtherArtefact => {
                f.write_str("learnt with another encoder file: embeddings do not compare")
            }
        }
    }
}

impl core::error::Error for RegressionError {}

impl<'a> NormalEquations<'a> {
    /// 32-bit words of memory for embeddings of length `dim`: D (D + 1) / 2 + D, 8,576 bytes for
    /// D = 64.
    pub const fn words(dim: usize) -> usize {
        gram::triangle(dim) + dim
    }

    /// 64-bit sums of memory for `outputs` outputs: D + 2 each, 528 bytes for D = 64.
    pub const fn sums(dim: usize, outputs: usize) -> usize {
        outputs * (dim + TOTALS)
    }

    /// No examples yet.
    pub fn new(
        dim: usize,
        outputs: usize,
        artefact: Artefact,
        words: &'a mut [i32],
        sums: &'a mut [i64],
    ) -> Result<Self, RegressionError> {
        if dim == 0 {
            return Err(RegressionError::Dim {
                expected: 1,
                got: 0,
            });
        }
        let needed = (Self::words(dim), Self::sums(dim, outputs));
        let buffers = (words.get_mut(..needed.0), sums.get_mut(..needed.1));
        let (Some(words), Some(targets)) = buffers else {
            let (words, sums) = needed;
            return Err(RegressionError::BufferTooSmall { words, sums });
        };
        words.fill(0);
        targets.fill(0);
        let (gram, inputs) = words.split_at_mut(gram::triangle(dim));
        Ok(NormalEquations {
            dim,
            outputs,
            artefact,
            examples: 0,
            gram,
            inputs,
            targets,
        })
    }

    /// D.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// K.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The encoder file whose embeddings these are.
    pub fn artefact(&self) -> Artefact {
        self.artefact
    }

    /// Examples.
    pub fn examples(&self) -> i32 {
        self.examples
    }

    /// Adds an example with its K targets. Costs D (D + 1) / 2 + K D multiplications.
    pub fn learn(&mut self, e: Embedding<'_>, targets: &[i16]) -> Result<(), RegressionError> {
        self.add(e, targets.iter().map(|&t| i64::from(t)))
    }

    /// Adds an example of which each of K labels holds or does not.
    pub fn learn_labels(
        &mut self,
        e: Embedding<'_>,
        labels: &[bool],
    ) -> Result<(), RegressionError> {
        self.add(e, labels.iter().map(|&t| i64::from(t)))
    }

    /// Takes an example back: the state is, to the bit, what it would be without.
    pub fn forget(&mut self, e: Embedding<'_>, targets: &[i16]) -> Result<(), RegressionError> {
        self.subtract(e, targets.iter().map(|&t| i64::from(t)))
    }

    /// Takes an example of labels back: see [`NormalEquations::forget`].
    pub fn forget_labels(
        &mut self,
        e: Embedding<'_>,
        labels: &[bool],
    ) -> Result<(), RegressionError> {
        self.subtract(e, labels.iter().map(|&t| i64::from(t)))
    }

    /// Adds what another device learnt with the same encoder file: the same bits as if this one had
    /// learnt it all.
    pub fn merge(&mut self, other: &NormalEquations<'_>) -> Result<(), RegressionError> {
        if self.artefact != other.artefact {
            return Err(RegressionError::OtherArtefact);
        }
        self.check(other.dim, other.outputs)?;
        if self.examples > MAX_GRAM_COUNT - other.examples {
            return Err(RegressionError::TooManyExamples);
        }
        self.examples += other.examples;
        for (sum, &more) in self.gram.iter_mut().zip(&*other.gram) {
            *sum += more;
        }
        for (sum, &more) in self.inputs.iter_mut().zip(&*other.inputs) {
            *sum += more;
        }
        for (sum, &more) in self.targets.iter_mut().zip(&*other.targets) {
            *sum += more;
        }
        Ok(())
    }

    fn check(&self, dim: usize, outputs: usize) -> Result<(), RegressionError> {
        let (expected, got) = (self.dim, dim);
        if expected != got {
            return Err(RegressionError::Dim { expected, got });
        }
        let (expected, got) = (self.outputs, outputs);
        if expected != got {
            return Err(RegressionError::Outputs { expected, got });
        }
        Ok(())
    }

    fn add(
        &mut self,
        e: Embedding<'_>,
        targets: impl ExactSizeIterator<Item = i64>,
    ) -> Result<(), RegressionError> {
        self.check(e.dim(), targets.len())?;
        if self.examples >= MAX_GRAM_COUNT {
            return Err(RegressionError::TooManyExamples);
        }
        gram::add(self.gram, e.values());
        self.examples += 1;
        self.move_sums(e, targets, 1);
        Ok(())
    }

    fn subtract(
        &mut self,
        e: Embedding<'_>,
        targets: impl ExactSizeIterator<Item = i64> + Clone,
    ) -> Result<(), RegressionError> {
        self.check(e.dim(), targets.len())?;
        if !self.can_subtract(e, targets.clone()) {
            return Err(RegressionError::NeverLearnt);
        }
        gram::subtract(self.gram, e.values());
        self.examples -= 1;
        self.move_sums(e, targets, -1);
        Ok(())
    }

    /// Whether the sums without this example can be those of one example less.
    fn can_subtract(&self, e: Embedding<'_>, targets: impl Iterator<Item = i64>) -> bool {
        let left = i64::from(self.examples) - 1;
        if left < 0 || !gram::can_subtract(self.gram, e.values(), left) {
            return false;
        }
        let within = |sum: i64, gone: i64, largest: i64| (sum - gone).abs() <= left * largest;
        let mut inputs = self.inputs.iter().zip(e.values());
        let outputs = self.targets.chunks_exact(self.dim + TOTALS);
        inputs.all(|(&sum, &x)| within(sum.into(), x.into(), LARGEST_INPUT))
            && outputs.zip(targets).all(|(sums, t)| {
                let (totals, products) = sums.split_at(TOTALS);
                let mut products = products.iter().zip(e.values());
                within(totals[0], t, LARGEST_TARGET)
                    && (0..=left * LARGEST_TARGET.pow(2)).contains(&(totals[1] - t * t))
                    && products.all(|(&sum, &x)| {
                        within(sum, i64::from(x) * t, LARGEST_INPUT * LARGEST_TARGET)
                    })
            })
    }

    fn move_sums(&mut self, e: Embedding<'_>, targets: impl Iterator<Item = i64>, sign: i32) {
        for (sum, &x) in self.inputs.iter_mut().zip(e.values()) {
            *sum += sign * i32::from(x);
        }
        let sign = i64::from(sign);
        let outputs = self.targets.chunks_exact_mut(self.dim + TOTALS);
        for (sums, t) in outputs.zip(targets) {
            let (totals, products) = sums.split_at_mut(TOTALS);
            totals[0] += sign * t;
            totals[1] += sign * t * t;
            for (sum, &x) in products.iter_mut().zip(e.values()) {
                *sum += sign * t * i64::from(x);
            }
        }
    }

    /// The mean of x in direction `at`.
    fn mean(&self, at: usize) -> f32 {
        let sum = self.inputs.get(at).copied().unwrap_or(0);
        sum as f32 / self.examples.max(1) as f32
    }

    /// The sum of (x - mean) (x - mean)' as a packed triangle, exact until the last step.
    fn centred_moments(&self, packed: &mut [f32]) {
        let count = i64::from(self.examples.max(1));
        let products = self.inputs.iter().enumerate().flat_map(|(i, &a)| {
            let row = self.inputs.iter().take(i + 1);
            row.map(move |&b| i64::from(a) * i64::from(b))
        });
        for ((value, &moment), product) in packed.iter_mut().zip(&*self.gram).zip(products) {
            *value = (count * i64::from(moment) - product) as f32 / count as f32;
        }
    }

    /// Of one output: the mean of t, the sum of (t - mean)^2, and the sum of (x - mean) (t - mean)
    /// into `products`; exact until the last step.
    fn centred_targets(&self, output: usize, products: &mut [f32]) -> (f32, f32) {
        let size = self.dim + TOTALS;
        let (Some(&[total, squares]), Some(sums)) = (
            self.targets.get(output * size..output * size + TOTALS),
            self.targets
                .get(output * size + TOTALS..(output + 1) * size),
        ) else {
            return (0.0, 0.0);
        };
        let count = i64::from(self.examples.max(1));
        for ((value, &sum), &input) in products.iter_mut().zip(sums).zip(&*self.inputs) {
            *value = (count * sum - i64::from(input) * total) as f32 / count as f32;
        }
        // Both are below 2^64.
        let squares = (count as u64).wrapping_mul(squares as u64);
        let squares = squares.wrapping_sub(total.unsigned_abs().pow(2));
        (total as f32 / count as f32, squares as f32 / count as f32)
    }
}

/// The size of the largest value of an embedding.
const LARGEST_INPUT: i64 = 1 << 7;
/// The size of the largest target.
const LARGEST_TARGET: i64 = 1 << 15;
