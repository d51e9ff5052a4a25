//! The encoder's background as a model of the whole embedding space.
//!
//! A pack stores r directions in which both covariances are diagonal; of the rest it knows the
//! total variance alone. With rows P scaled so that the variance within a class is 1,
//!
//! ```text
//! G = P P'        within = P' G^-2 P + s (I - P' G^-1 P)        between = ratio * within
//! ```
//!
//! with the ratio of each stored direction, and outside what the calibration says, else half the
//! smallest of them. Low rank plus
//! isotropic rest: *Mixtures of Probabilistic Principal Component Analysers*, Michael E. Tipping,
//! Christopher M. Bishop, 1999.

use super::cholesky::{self, triangle};
use super::spread::Spread;
use super::{FitError, add_scaled, dot, split};
use crate::pack::Background;

/// See [`Prior::new`].
const SAME: f32 = 1e-6;

/// In memory of the caller's.
pub(super) struct Prior<'p, 'w> {
    background: Background<'p>,
    dim: usize,
    /// r: what a row of the projection is multiplied with.
    gains: &'w mut [f32],
    /// r x r: G^-1, whole rows.
    inverse: &'w mut [f32],
    /// r, twice.
    scratch: [&'w mut [f32]; 2],
    /// The variance within a class in each direction outside.
    outside: f32,
    /// Between over within, outside.
    ratio_outside: f32,
}

impl<'p, 'w> Prior<'p, 'w> {
    /// Words of memory for `rank` directions.
    pub const fn words(rank: usize) -> usize {
        3 * rank + rank * rank + triangle(rank)
    }

    /// `None` where the background is not one of embeddings of length `dim`. Costs
    /// r^2 D / 2 + r^3 multiplications.
    pub fn new(
        background: Background<'p>,
        dim: usize,
        words: &'w mut [f32],
    ) -> Result<Option<Self>, FitError> {
        let rank = background.rank;
        if background.projection.len() != rank * dim || rank == 0 || rank > dim {
            return Ok(None);
        }
        let [gains, inverse, first, second, gram] =
            split(words, [rank, rank * rank, rank, rank, triangle(rank)])?;
        for (gain, &within) in gains.iter_mut().zip(background.within) {
            *gain = 1.0 / libm::sqrtf(within);
        }
        let row = |i: usize| &background.projection[i * dim..(i + 1) * dim];
        for i in 0..rank {
            for j in 0..=i {
                gram[triangle(i) + j] = gains[i] * gains[j] * dot(row(i), row(j));
            }
        }
        // Directions that hardly differ from each other count as one and a little.
        let size = (0..rank).fold(0.0, |sum, i| sum + gram[triangle(i) + i]);
        let floor = (SAME * size / rank as f32).max(f32::MIN_POSITIVE);
        cholesky::factor(gram, rank, floor);
        let mut trace = 0.0;
        for (i, column) in inverse.chunks_exact_mut(rank).enumerate() {
            column.fill(0.0);
            column[i] = 1.0;
            cholesky::solve(gram, column);
            trace += column[i];
        }
        let left = (dim - rank).max(1) as f32;
        let floor = 0.01 * background.within_total / dim as f32;
        let outlook = background.calibration.outlook();
        let outside = outlook.variance * ((background.within_total - trace) / left).max(floor);
        let smallest = ratios(&background).fold(f32::INFINITY, f32::min);
        Ok(Some(Prior {
            dim,
            outside,
            ratio_outside: outlook.ratio * smallest,
            background,
            gains,
            inverse,
            scratch: [first, second],
        }))
    }

    /// Adds `weight` times the covariance within a class to a packed triangle. Costs
    /// r D (r + D / 2) multiplications.
    pub fn add_within(&mut self, weight: f32, packed: &mut [f32]) {
        let (dim, rank) = (self.dim, self.background.rank);
        let [point, mixed] = &mut self.scratch;
        let mut rest = packed;
        for j in 0..dim {
            let Some((row, below)) = rest.split_at_mut_checked(j + 1) else {
                return;
            };
            rest = below;
            // Column j of P, then of (G^-2 - s G^-1) P.
            for (k, value) in point.iter_mut().enumerate() {
                *value = self.gains[k] * self.background.projection[k * dim + j];
            }
            for (value, inverse) in mixed.iter_mut().zip(self.inverse.chunks_exact(rank)) {
                *value = dot(inverse, point);
            }
            for (k, inverse) in self.inverse.chunks_exact(rank).enumerate() {
                let twice = dot(inverse, mixed);
                let value = weight * self.gains[k] * (twice - self.outside * mixed[k]);
                add_scaled(row, value, &self.background.projection[k * dim..]);
            }
            row[j] += weight * self.outside;
        }
    }

    /// What a class's mean is expected to be, seen the mean of `count` examples whose covariance
    /// is `scale` times the background's: drawn towards the background's mean, most where classes
    /// hardly differ. Costs 2 r D + r^2 multiplications.
    pub fn shrink(&mut self, mean: &mut [f32], count: f32, scale: f32) {
        let (dim, rank) = (self.dim, self.background.rank);
        let keep = |ratio: f32| ratio / (ratio + scale / count);
        let outside = keep(self.ratio_outside);
        let [point, mixed] = &mut self.scratch;
        let projection = self.background.projection.chunks_exact(dim);
        for (((value, row), gain), ratio) in point
            .iter_mut()
            .zip(projection.clone())
            .zip(self.gains.iter())
            .zip(ratios(&self.background))
        {
            *value = gain * dot(row, mean) * (keep(ratio) - outside);
        }
        for (value, inverse) in mixed.iter_mut().zip(self.inverse.chunks_exact(rank)) {
            *value = dot(inverse, point);
        }
        for value in mean.iter_mut() {
            *value *= outside;
        }
        for ((row, gain), &value) in projection.zip(self.gains.iter()).zip(mixed.iter()) {
            add_scaled(mean, gain * value, row);
        }
    }

    /// Multiplies a vector with the inverse of the covariance within a class. Costs 2 r D + r^2
    /// multiplications.
    pub fn apply_precision(&mut self, vector: &mut [f32]) {
        let (dim, rank) = (self.dim, self.background.rank);
        let [point, mixed] = &mut self.scratch;
        let projection = self.background.projection.chunks_exact(dim);
        for ((value, row), gain) in point
            .iter_mut()
            .zip(projection.clone())
            .zip(self.gains.iter())
        {
            *value = gain * dot(row, vector);
        }
        for (value, inverse) in mixed.iter_mut().zip(self.inverse.chunks_exact(rank)) {
            *value = dot(inverse, point);
        }
        for value in vector.iter_mut() {
            *value /= self.outside;
        }
        for (k, row) in projection.enumerate() {
            let value = point[k] - mixed[k] / self.outside;
            add_scaled(vector, self.gains[k] * value, row);
        }
    }
}

/// Between over within, direction by direction.
pub(super) fn ratios<'b>(background: &'b Background<'_>) -> impl Iterator<Item = f32> + 'b {
    let both = background.between.iter().zip(background.within);
    both.map(|(&between, &within)| between / within)
}

/// The variance within a class over that of the background, from the learnt classes' spread.
pub(super) fn scale(spread: &Spread) -> f32 {
    spread.within / spread.prior()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::calibration::Calibration;
    use std::vec;
    use std::vec::Vec;

    /// Two stored directions of four, not orthogonal to each other.
    const PROJECTION: [f32; 8] = [0.5, 0.1, 0.0, 0.0, 0.2, 0.25, 0.0, 0.0];

    fn background() -> Background<'static> {
        Background {
            rank: 2,
            projection: &PROJECTION,
            within: &[1.0, 4.0],
            between: &[10.0, 8.0],
            within_total: 200.0,
            calibration: Calibration::default(),
        }
    }

    fn whole(packed: &[f32]) -> impl Fn(usize, usize) -> f32 {
        |i, j| packed[triangle(i.max(j)) + i.min(j)]
    }

    #[test]
    fn the_covariance_has_the_stored_variances_and_its_precision_is_its_inverse() {
        let mut words = vec![0.0; Prior::words(2)];
        let mut prior = Prior::new(background(), 4, &mut words).unwrap().unwrap();
        let mut packed = vec![0.0; triangle(4)];
        prior.add_within(1.0, &mut packed);
        let at = whole(&packed);
        let trace: f32 = (0..4).map(|i| at(i, i)).sum();
        assert!((trace - 200.0).abs() < 1e-2, "{trace}");
        // In the stored directions: the stored variances, and no covariance.
        let product = |a: usize, b: usize| -> f32 {
            let row = |k: usize| &PROJECTION[4 * k..4 * k + 4];
            (0..16)
                .map(|ij| row(a)[ij / 4] * at(ij / 4, ij % 4) * row(b)[ij % 4])
                .sum()
        };
        for (a, b, expected) in [(0, 0, 1.0), (1, 1, 4.0), (0, 1, 0.0)] {
            assert!(
                (product(a, b) - expected).abs() < 1e-3,
                "{a}{b}: {}",
                product(a, b)
            );
        }
        for i in 0..4 {
            let mut unit: Vec<f32> = (0..4).map(|j| f32::from(u8::from(i == j))).collect();
            prior.apply_precision(&mut unit);
            for j in 0..4 {
                let value: f32 = (0..4).map(|k| at(j, k) * unit[k]).sum();
                assert!(
                    (value - f32::from(u8::from(i == j))).abs() < 1e-3,
                    "{i}{j} {value}"
                );
            }
        }
    }

    #[test]
    fn means_of_many_examples_are_believed() {
        let mut words = vec![0.0; Prior::words(2)];
        let mut prior = Prior::new(background(), 4, &mut words).unwrap().unwrap();
        let mean = [30.0, -20.0, 10.0, 5.0];
        let mut shrunk = mean;
        prior.shrink(&mut shrunk, 1e6, 1.0);
        for (a, b) in shrunk.iter().zip(&mean) {
            assert!((a - b).abs() < 1e-2, "{shrunk:?}");
        }
        // One example: along the stored directions as their ratios 10 and 2 say, outside as 1.
        let mut shrunk = mean;
        prior.shrink(&mut shrunk, 1.0, 1.0);
        let along = |v: &[f32], k: usize| dot(&PROJECTION[4 * k..4 * k + 4], v);
        assert!((along(&shrunk, 0) / along(&mean, 0) - 10.0 / 11.0).abs() < 1e-4);
        assert!((along(&shrunk, 1) / along(&mean, 1) - 2.0 / 3.0).abs() < 1e-4);
        assert!((shrunk[2] - 5.0).abs() < 1e-3 && (shrunk[3] - 2.5).abs() < 1e-3);
    }
}
