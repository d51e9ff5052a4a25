//! The default head: what the evidence at hand supports, and a word on why.
//!
//! It is [`SldaHead`](super::SldaHead)'s discriminant with the prior that made the learnt classes'
//! scatter more probable, the background's or none: the marginal likelihood of the scatter under an
//! inverse Wishart prior, in closed form. "Unknown" comes from two-covariance Bayes in the
//! background's projection, at the rate of false accepts that the user sets.

use super::bayes::Projected;
use super::slda::{Model, Shape};
use super::{Evidence, FitError, Head, Spread, Verdict};
use crate::embedding::Embedding;
use crate::pack::Background;
use crate::statistics::Statistics;

/// Needs neither the gram tier nor a background, and gets better with each. A fit costs at most
/// three times that of [`SldaHead`](super::SldaHead), a prediction D * (classes + r).
pub struct AutoHead<'a> {
    background: Option<Background<'a>>,
    spread: Spread,
    model: Model<'a>,
    projected: Projected<'a>,
    choice: Choice,
}

/// What [`AutoHead`] decided when it was fitted, and why. Its text is one sentence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
    /// The encoder has no background statistics: directions count as they vary in the examples.
    NoBackground,
    /// Nothing speaks about the scatter within classes: one example each, or no moments. The
    /// background decides which directions count.
    BackgroundAlone,
    /// The scatter fits the background's better than none, by so much (in nats).
    BackgroundFits(f32),
    /// The scatter does not fit the background's, by so much (in nats): all directions start alike.
    BackgroundMisfits(f32),
}

impl core::fmt::Display for Choice {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Choice::NoBackground => f.write_str(
                "discriminant from the examples alone: the encoder has no background statistics",
            ),
            Choice::BackgroundAlone => f.write_str(
                "discriminant from the background: the examples say nothing yet about scatter",
            ),
            Choice::BackgroundFits(nats) => write!(
                f,
                "discriminant from background and examples: the background explains their scatter {nats:.0} nats better than nothing does"
            ),
            Choice::BackgroundMisfits(nats) => write!(
                f,
                "discriminant from the examples alone: the background explains their scatter {nats:.0} nats worse than nothing does"
            ),
        }
    }
}

impl<'a> AutoHead<'a> {
    /// Words of memory for `classes` classes of embeddings of length `dim` and a background of
    /// `rank` directions, 0 without.
    pub const fn words(dim: usize, classes: usize, rank: usize) -> usize {
        let projected = match rank {
            0 => 0,
            _ => Projected::words(dim, classes, rank),
        };
        Model::words(dim, classes, rank) + projected
    }

    /// Starts from the encoder's background. `words` is [`AutoHead::words`] long: for as many
    /// classes as there will be.
    pub fn new(background: Option<Background<'a>>, words: &'a mut [f32]) -> Self {
        // The projection comes first, as large as all these words can make use of.
        let rank = background.map_or(0, |b| b.rank);
        let dim = background.map_or(0, |b| b.projection.len() / b.rank.max(1));
        let fixed = Self::words(dim, 0, rank);
        let class = Self::words(dim, 1, rank) - fixed;
        let classes = words.len().saturating_sub(fixed) / class.max(1);
        let at = match rank {
            0 => 0,
            _ => Projected::words(dim, classes, rank).min(words.len()),
        };
        let (first, rest) = words.split_at_mut(at);
        AutoHead {
            background,
            spread: Spread::new(background),
            model: Model::new(rest),
            projected: Projected::new(background, first),
            choice: Choice::NoBackground,
        }
    }

    /// Sets how many of the inputs that are of no learnt class may be taken for one, as a
    /// fraction: 0.05 unless said otherwise. It is kept where the encoder's calibration reaches
    /// that far, else the verdict is [`Verdict::NotEnoughExamples`]; without a calibration no rate
    /// is promised and the verdict is by the classes' own spread.
    pub fn with_false_accepts(mut self, rate: f32) -> Self {
        self.projected.false_accepts = rate;
        self
    }

    /// How much more probable `e` is as an example of class number `class` than as anyone's: a
    /// log-likelihood ratio; 0 without a background.
    pub fn score(&mut self, evidence: Evidence<'_>, class: usize, e: Embedding<'_>) -> f32 {
        self.projected.project(e);
        self.projected.score(evidence.statistics, class)
    }

    /// What was decided at the last fit.
    pub fn choice(&self) -> Choice {
        self.choice
    }

    fn choose(&mut self, statistics: &Statistics<'_>) -> Result<Choice, FitError> {
        let mut fit = |shape| {
            self.model
                .fit(statistics, self.background, shape, &self.spread)
        };
        if self.background.is_none() {
            fit(Shape::Isotropic)?;
            return Ok(Choice::NoBackground);
        }
        if statistics.gram().is_none() || statistics.examples() == statistics.classes() as i64 {
            fit(Shape::Background)?;
            return Ok(Choice::BackgroundAlone);
        }
        let none = fit(Shape::Isotropic)?;
        let nats = fit(Shape::Background)? - none;
        if nats >= 0.0 {
            return Ok(Choice::BackgroundFits(nats));
        }
        fit(Shape::Isotropic)?;
        Ok(Choice::BackgroundMisfits(-nats))
    }
}

impl Head for AutoHead<'_> {
    fn fit(&mut self, evidence: Evidence<'_>) -> Result<(), FitError> {
        self.spread.fit(evidence.statistics);
        self.choice = self.choose(evidence.statistics)?;
        if self.background.is_some() {
            self.projected.fit(evidence.statistics)?;
        }
        Ok(())
    }

    fn logits(&mut self, _: Evidence<'_>, e: Embedding<'_>, visit: impl FnMut(f32)) {
        self.model.logits(e, visit);
        if self.projected.is_calibrated() {
            self.projected.project(e);
        }
    }

    fn verdict(&self, evidence: Evidence<'_>, class: usize, e: Embedding<'_>) -> Verdict {
        if self.projected.is_calibrated() {
            self.projected.verdict(evidence.statistics, class)
        } else {
            self.spread.verdict(evidence.statistics.class(class), e)
        }
    }
}
