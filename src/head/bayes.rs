//! Two-covariance Bayes: what a class's next example is expected to be, given what classes in
//! general are like.
//!
//! *Probabilistic Linear Discriminant Analysis*, Sergey Ioffe, 2006; the name and the scoring:
//! *The Speaker Partitioning Problem*, Niko Brümmer, Edward de Villiers, 2010. In the background's
//! projection both covariances are diagonal, within a class 1 and between classes b: after n
//! examples of mean m the class's own mean is normal around n b / (1 + n b) * m with variance
//! b / (1 + n b), and its next example has that variance plus 1.

use super::prior::ratios;
use super::{Evidence, FitError, Head, Spread, Verdict, products, split, to_floats, typical_count};
use crate::embedding::Embedding;
use crate::pack::Background;
use crate::statistics::Statistics;

/// How many strangers in a hundred are accepted, unless the user says otherwise.
pub(super) const FALSE_ACCEPTS: f32 = 0.05;

/// Needs the background. A fit costs r * D * classes multiplications, a prediction
/// r * (D + 2 * classes).
pub struct BayesHead<'a> {
    spread: Spread,
    classes: Projected<'a>,
}

/// The learnt classes in the background's projection.
pub(super) struct Projected<'a> {
    background: Option<Background<'a>>,
    words: &'a mut [f32],
    dim: usize,
    classes: usize,
    temperature: f32,
    /// Of strangers, 0 to 1.
    pub false_accepts: f32,
}

/// Behind a class's expected mean: ln of how much narrower its next example is expected to be than
/// anyone's, and the score that strangers seldom reach.
const EXTRA: usize = 2;
const LOG_VARIANCE: usize = 0;

impl<'a> Projected<'a> {
    pub const fn words(dim: usize, classes: usize, rank: usize) -> usize {
        dim + 2 * rank + classes * (rank + EXTRA)
    }

    pub fn new(background: Option<Background<'a>>, words: &'a mut [f32]) -> Self {
        Projected {
            background,
            words,
            dim: 0,
            classes: 0,
            temperature: 1.0,
            false_accepts: FALSE_ACCEPTS,
        }
    }

    /// Whether a rate of false accepts can be promised at all.
    pub fn is_calibrated(&self) -> bool {
        self.background.is_some_and(|b| !b.calibration.is_empty())
    }

    pub fn fit(&mut self, statistics: &Statistics<'_>) -> Result<(), FitError> {
        let (dim, classes) = (statistics.dim(), statistics.classes());
        let background = self
            .background
            .filter(|b| b.projection.len() == b.rank * dim)
            .ok_or(FitError::NeedsBackground)?;
        let rank = background.rank;
        (self.dim, self.classes) = (dim, classes);
        let sizes = [dim, rank, rank, classes * (rank + EXTRA)];
        let [values, _, gains, rows] = split(self.words, sizes)?;
        for (gain, &within) in gains.iter_mut().zip(background.within) {
            *gain = 1.0 / libm::sqrtf(within);
        }
        for (class, row) in statistics.iter().zip(rows.chunks_exact_mut(rank + EXTRA)) {
            let count = class.count as f32;
            for (value, &sum) in values.iter_mut().zip(class.sums) {
                *value = sum as f32 / count;
            }
            let (mean, extra) = row.split_at_mut(rank);
            project(&background, values, gains, mean);
            let mut log_variance = 0.0;
            for (value, ratio) in mean.iter_mut().zip(ratios(&background)) {
                *value *= count * ratio / (1.0 + count * ratio);
                log_variance += libm::logf(next_variance(ratio, count) / (1.0 + ratio));
            }
            let calibration = background.calibration;
            let threshold = calibration.threshold(count, self.false_accepts, classes);
            extra[LOG_VARIANCE] = log_variance;
            extra[EXTRA - 1] = threshold.unwrap_or(f32::INFINITY);
        }
        self.temperature = background
            .calibration
            .temperature(typical_count(statistics));
        Ok(())
    }

    /// Brings an embedding into the projection, where the scores are taken.
    pub fn project(&mut self, e: Embedding<'_>) {
        if let Some(background) = self.background
            && let Ok([values, point, gains]) =
                split(self.words, [self.dim, background.rank, background.rank])
        {
            to_floats(e.values(), 1.0, values);
            project(&background, values, gains, point);
        }
    }

    /// The log-likelihood of the projected embedding under class number `class`, up to a term that
    /// all classes share.
    fn likelihood(&self, statistics: &Statistics<'_>, class: usize) -> f32 {
        let (Some(background), Some(learnt)) = (&self.background, statistics.class(class)) else {
            return 0.0;
        };
        let Some((mean, extra)) = self.row(class).split_at_checked(background.rank) else {
            return 0.0;
        };
        let count = learnt.count as f32;
        let point = &self.words[self.dim..];
        let mut squares = 0.0;
        for ((&p, &m), ratio) in point.iter().zip(mean).zip(ratios(background)) {
            squares += (p - m) * (p - m) / next_variance(ratio, count);
        }
        -0.5 * (squares + extra[LOG_VARIANCE])
    }

    /// How much more probable the projected embedding is as one of the class than as anyone's: a
    /// log-likelihood ratio.
    pub fn score(&self, statistics: &Statistics<'_>, class: usize) -> f32 {
        let mut squares = 0.0;
        if let Some(background) = &self.background {
            let point = &self.words[self.dim..];
            for (&p, ratio) in point.iter().zip(ratios(background)) {
                squares += p * p / (1.0 + ratio);
            }
        }
        self.likelihood(statistics, class) + 0.5 * squares
    }

    /// Whether the score is one that strangers seldom reach.
    pub fn verdict(&self, statistics: &Statistics<'_>, class: usize) -> Verdict {
        match self.row(class).last() {
            Some(&threshold) if threshold == f32::INFINITY => Verdict::NotEnoughExamples,
            Some(&threshold) if self.score(statistics, class) > threshold => Verdict::Known,
            _ => Verdict::Unknown,
        }
    }

    fn row(&self, class: usize) -> &[f32] {
        let rank = self.background.map_or(0, |b| b.rank);
        let rows = self.words.get(self.dim + 2 * rank..).unwrap_or(&[]);
        rows.chunks_exact(rank + EXTRA)
            .take(self.classes)
            .nth(class)
            .unwrap_or(&[])
    }
}

/// The variance of a class's next example, in a direction in which that within a class is 1.
fn next_variance(ratio: f32, count: f32) -> f32 {
    1.0 + ratio / (1.0 + count * ratio)
}

/// Into the background's directions; the gains make the variance within a class 1 in each.
fn project(background: &Background<'_>, values: &[f32], gains: &[f32], out: &mut [f32]) {
    let mut out = out.iter_mut().zip(gains);
    products(background.projection, values.len(), values, |_, product| {
        if let Some((value, gain)) = out.next() {
            *value = gain * product;
        }
    });
}

impl<'a> BayesHead<'a> {
    /// Words of memory for `classes` classes of embeddings of length `dim` and a background of
    /// `rank` directions.
    pub const fn words(dim: usize, classes: usize, rank: usize) -> usize {
        Projected::words(dim, classes, rank)
    }

    /// Starts from the encoder's background.
    pub fn new(background: Option<Background<'a>>, words: &'a mut [f32]) -> Self {
        BayesHead {
            spread: Spread::new(background),
            classes: Projected::new(background, words),
        }
    }

    /// Sets how many of the inputs that are of no learnt class may be taken for one, as a
    /// fraction: 0.05 unless said otherwise.
    pub fn with_false_accepts(mut self, rate: f32) -> Self {
        self.classes.false_accepts = rate;
        self
    }

    /// How much more probable `e` is as an example of class number `class` than as anyone's: a
    /// log-likelihood ratio.
    pub fn score(&mut self, evidence: Evidence<'_>, class: usize, e: Embedding<'_>) -> f32 {
        self.classes.project(e);
        self.classes.score(evidence.statistics, class)
    }
}

impl Head for BayesHead<'_> {
    fn fit(&mut self, evidence: Evidence<'_>) -> Result<(), FitError> {
        self.spread.fit(evidence.statistics);
        self.classes.fit(evidence.statistics)
    }

    fn logits(&mut self, evidence: Evidence<'_>, e: Embedding<'_>, mut visit: impl FnMut(f32)) {
        self.classes.project(e);
        for class in 0..self.classes.classes {
            let likelihood = self.classes.likelihood(evidence.statistics, class);
            visit(self.classes.temperature * likelihood);
        }
    }

    fn verdict(&self, evidence: Evidence<'_>, class: usize, e: Embedding<'_>) -> Verdict {
        if self.classes.is_calibrated() {
            self.classes.verdict(evidence.statistics, class)
        } else {
            self.spread.verdict(evidence.statistics.class(class), e)
        }
    }
}
