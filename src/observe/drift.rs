//! Whether today's inputs are still what the encoder knows.
//!
//! A background stores the r directions in which things differ most. Every embedding has norm 127,
//! so what lies in those directions is missing outside them: an input that the encoder can't place
//! has less in them than those it grew up with. The part of the squared norm inside a subspace
//! against its expectation is the reconstruction error of *Control Procedures for Residuals
//! Associated with Principal Component Analysis*, J. Edward Jackson, Govind S. Mudholkar, 1979,
//! turned round; it does not depend on which classes come, and how often, as a mean does.

use super::Observations;
use crate::head::cholesky::{self, triangle};
use crate::head::vector::dot;

/// Why there is no such figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriftError {
    /// The memory is too small.
    BufferTooSmall {
        /// Words that it needs.
        needed: usize,
    },
    /// The encoder has no background statistics of this D.
    NeedsBackground,
    /// Nothing was observed yet.
    NothingObserved,
}

impl core::fmt::Display for DriftError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            DriftError::BufferTooSmall { needed } => write!(f, "drift needs {needed} words"),
            DriftError::NeedsBackground => f.write_str(
                "drift needs the encoder's background statistics, which were left out of the pack",
            ),
            DriftError::NothingObserved => f.write_str("nothing was observed yet"),
        }
    }
}

impl core::error::Error for DriftError {}

impl Observations<'_> {
    /// Words of memory for [`Observations::drift`], for embeddings of length `dim` and a background
    /// of `rank` directions.
    pub const fn drift_words(dim: usize, rank: usize) -> usize {
        dim + rank + triangle(rank)
    }

    /// How much less of the observations lies in the directions that the encoder tells things apart
    /// by than lay there when it was made: the expected share of the squared norm over the
    /// observed one. About 1 where nothing changed. `words` is [`Observations::drift_words`] long.
    ///
    /// Other people and other things raise it a little, a turned sensor or heavy noise more:
    /// compare with the figure of the day when the classes were taught. The contract test
    /// `tests/tests/observe.rs` turns the sensor.
    ///
    /// Costs r^2 D / 2 + r^3 / 2 multiplications, and r D + r^2 / 2 for each observation.
    pub fn drift(&self, words: &mut [f32]) -> Result<f32, DriftError> {
        let dim = self.dim;
        let background = self
            .background
            .filter(|b| (1..=dim).contains(&b.rank) && b.projection.len() == b.rank * dim)
            .ok_or(DriftError::NeedsBackground)?;
        let rank = background.rank;
        let needed = Self::drift_words(dim, rank);
        let words = words
            .get_mut(..needed)
            .ok_or(DriftError::BufferTooSmall { needed })?;
        if self.is_empty() {
            return Err(DriftError::NothingObserved);
        }
        let (values, rest) = words.split_at_mut(dim);
        let (point, factor) = rest.split_at_mut(rank);
        // With P P' = L L' the part of x in the rows of P has the squared norm |L^-1 P x|^2.
        let row = |i: usize| &background.projection[i * dim..(i + 1) * dim];
        for i in 0..rank {
            for j in 0..=i {
                factor[triangle(i) + j] = dot(row(i), row(j));
            }
        }
        cholesky::factor(factor, rank, f32::MIN_POSITIVE);
        let mut expected = 0.0;
        for (i, (within, between)) in background.within.iter().zip(background.between).enumerate() {
            point.fill(0.0);
            point[i] = 1.0;
            cholesky::forward(factor, point);
            expected += (within + between) * dot(point, point);
        }
        let mut inside = 0.0;
        for e in self.iter() {
            for (value, &own) in values.iter_mut().zip(e.values()) {
                *value = f32::from(own);
            }
            for (i, value) in point.iter_mut().enumerate() {
                *value = dot(row(i), values);
            }
            cholesky::forward(factor, point);
            inside += dot(point, point);
        }
        let count = self.len() as f32;
        // Nothing inside at all must stay a number.
        Ok(expected * count / inside.max(count))
    }
}
