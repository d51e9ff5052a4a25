//! Linear discriminant analysis whose covariance goes on growing with the evidence.
//!
//! *Lifelong Machine Learning with Deep Streaming Linear Discriminant Analysis*, Tyler L. Hayes,
//! Christopher Kanan, 2020: class means and one covariance, shared. Here neither starts from
//! nothing. The covariance within a class has the background's as its prior, an inverse Wishart
//! worth D examples or what the calibration says; the means have the background's covariance between classes as theirs. So one
//! example gives what two-covariance Bayes gives, and many give Fisher's discriminant.

use super::calibration::Calibration;
use super::cholesky::{self, triangle};
use super::prior::{self, Prior};
use super::{
    Evidence, FitError, Head, Spread, Verdict, dot, linear, split, to_floats, typical_count,
};
use crate::embedding::Embedding;
use crate::pack::Background;
use crate::statistics::Statistics;

/// Needs the gram tier to go beyond its prior, and the background to start from more than equal
/// directions; it works without either. A fit costs about D^3 / 6 + classes * D^2 multiplications
/// and, with a background, r D (r + D / 2); a prediction D * classes.
pub struct SldaHead<'a> {
    background: Option<Background<'a>>,
    spread: Spread,
    model: Model<'a>,
}

/// How many examples the covariance within a class rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Balance {
    /// What its prior counts for.
    pub prior: f32,
    /// Examples less classes: one of each says where a class is, and nothing of its scatter.
    pub learnt: f32,
}

/// A linear layer that Gaussian classes with one covariance lead to.
pub(super) struct Model<'a> {
    words: &'a mut [f32],
    dim: usize,
    classes: usize,
}

impl<'a> Model<'a> {
    pub const fn words(dim: usize, classes: usize, rank: usize) -> usize {
        classes * (dim + 1) + dim + triangle(dim) + Prior::words(rank)
    }

    pub fn new(words: &'a mut [f32]) -> Self {
        Model {
            words,
            dim: 0,
            classes: 0,
        }
    }

    /// Solves for the weights, and returns what the prior of the covariance counted for.
    pub fn fit(
        &mut self,
        statistics: &Statistics<'_>,
        background: Option<Background<'_>>,
        spread: &Spread,
    ) -> Result<Balance, FitError> {
        let (dim, classes) = (statistics.dim(), statistics.classes());
        let rank = background.map_or(0, |b| b.rank);
        let [weights, vector, covariance, words] = split(
            self.words,
            [classes * (dim + 1), dim, triangle(dim), Prior::words(rank)],
        )?;
        (self.dim, self.classes) = (dim, classes);
        let degrees = within_scatter(statistics, vector, covariance);
        // The prior's examples and the spread that they have, with the learnt classes' own size.
        let outlook = background
            .map_or(Calibration::default(), |b| b.calibration)
            .outlook();
        let (examples, scale) = (outlook.examples * dim as f32, prior::scale(spread));
        let variance = spread.within / dim as f32;
        let mut prior = match background {
            Some(background) => Prior::new(background, dim, words)?,
            None => None,
        };
        match &mut prior {
            Some(prior) => prior.add_within(examples * scale, covariance),
            None => (0..dim).for_each(|i| covariance[triangle(i) + i] += examples * variance),
        }
        let total = examples + degrees;
        cholesky::factor(covariance, dim, 1e-4 * examples * variance);
        let sharpness = total * sharpness(statistics, background);
        for (class, row) in statistics.iter().zip(weights.chunks_exact_mut(dim + 1)) {
            let Some((bias, weights)) = row.split_last_mut() else {
                continue;
            };
            let count = class.count as f32;
            for (value, &sum) in vector.iter_mut().zip(class.sums) {
                *value = sum as f32 / count;
            }
            if let Some(prior) = &mut prior {
                prior.shrink(vector, count, scale);
            }
            weights.copy_from_slice(vector);
            cholesky::solve(covariance, weights);
            weights.iter_mut().for_each(|w| *w *= sharpness);
            *bias = -0.5 * dot(weights, vector);
        }
        Ok(Balance {
            prior: examples,
            learnt: degrees,
        })
    }

    pub fn logits(&mut self, e: Embedding<'_>, visit: impl FnMut(f32)) {
        let sizes = [self.classes * (self.dim + 1), self.dim];
        if let Ok([weights, values]) = split(self.words, sizes) {
            to_floats(e.values(), 1.0, values);
            linear(weights, values, visit);
        }
    }
}

/// The sum over classes of the examples' squared deviations from their mean, as a packed triangle,
/// and how many free examples that stands for; zeros in the means tier.
fn within_scatter(statistics: &Statistics<'_>, mean: &mut [f32], scatter: &mut [f32]) -> f32 {
    let Some(gram) = statistics.gram() else {
        scatter.fill(0.0);
        return 0.0;
    };
    for (value, &moment) in scatter.iter_mut().zip(gram) {
        *value = moment as f32;
    }
    let mut degrees = 0.0;
    for class in statistics.iter() {
        let count = class.count as f32;
        for (value, &sum) in mean.iter_mut().zip(class.sums) {
            *value = sum as f32;
        }
        let mut rest = &mut *scatter;
        for i in 0..mean.len() {
            let (row, below) = rest.split_at_mut(i + 1);
            super::add_scaled(row, -mean[i] / count, mean);
            rest = below;
        }
        degrees += count - 1.0;
    }
    degrees
}

/// What the log-likelihoods are multiplied with: less for means of few examples, and less than 1
/// as they are surer than they should be.
fn sharpness(statistics: &Statistics<'_>, background: Option<Background<'_>>) -> f32 {
    let count = typical_count(statistics);
    let calibration = background.map_or(Calibration::default(), |b| b.calibration);
    calibration.temperature(count) / (1.0 + 1.0 / count)
}

impl<'a> SldaHead<'a> {
    /// Words of memory for `classes` classes of embeddings of length `dim` and a background of
    /// `rank` directions, 0 without.
    pub const fn words(dim: usize, classes: usize, rank: usize) -> usize {
        Model::words(dim, classes, rank)
    }

    /// Starts from the encoder's background.
    pub fn new(background: Option<Background<'a>>, words: &'a mut [f32]) -> Self {
        SldaHead {
            background,
            spread: Spread::new(background),
            model: Model::new(words),
        }
    }
}

impl Head for SldaHead<'_> {
    fn fit(&mut self, evidence: Evidence<'_>) -> Result<(), FitError> {
        let statistics = evidence.statistics;
        self.spread.fit(statistics);
        self.model.fit(statistics, self.background, &self.spread)?;
        Ok(())
    }

    fn logits(&mut self, _: Evidence<'_>, e: Embedding<'_>, visit: impl FnMut(f32)) {
        self.model.logits(e, visit);
    }

    fn verdict(&self, evidence: Evidence<'_>, class: usize, e: Embedding<'_>) -> Verdict {
        self.spread.verdict(evidence.statistics.class(class), e)
    }
}
