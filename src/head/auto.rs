//! The default head: it blends what the encoder's background says with what was learnt, by how many
//! examples stand behind each, and says so.
//!
//! It is [`SldaHead`](super::SldaHead)'s discriminant: two-covariance Bayes at one example, Fisher's
//! discriminant at many. "Unknown" comes from two-covariance Bayes in the background's projection,
//! at the rate of false accepts that the user sets.

use super::bayes::Projected;
use super::slda::{Balance, Model};
use super::{Evidence, FitError, Head, Spread, Verdict};
use crate::embedding::Embedding;
use crate::pack::Background;

/// Needs neither the gram tier nor a background, and gets better with each. A fit costs as much
/// as [`SldaHead`](super::SldaHead)'s, a prediction D * (classes + r).
pub struct AutoHead<'a> {
    background: Option<Background<'a>>,
    spread: Spread,
    model: Model<'a>,
    projected: Projected<'a>,
    choice: Choice,
}

/// What [`AutoHead`] went by at its last fit. Its text is one sentence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
    /// The background alone says which directions count: there is one example of each class, or
    /// the statistics are of the means tier.
    Background,
    /// Both do, weighted by these numbers of examples.
    Blend {
        /// What the background counts for.
        background: f32,
        /// Examples learnt, less one for each class.
        learnt: f32,
    },
    /// The encoder has no background. All directions start alike.
    Learnt {
        /// What that start counts for.
        start: f32,
        /// Examples learnt, less one for each class.
        learnt: f32,
    },
}

impl core::fmt::Display for Choice {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Choice::Background => f.write_str(
                "the encoder's background says which directions count: nothing was learnt yet of how examples of one class scatter",
            ),
            Choice::Blend { background, learnt } => write!(
                f,
                "which directions count: {:.0} % from the encoder's background, the rest from {learnt:.0} examples more than classes",
                100.0 * background / (background + learnt)
            ),
            Choice::Learnt { start, learnt } => write!(
                f,
                "the encoder has no background: all directions start alike, which counts for {:.0} %, the rest comes from {learnt:.0} examples more than classes",
                100.0 * start / (start + learnt)
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
            choice: Choice::Background,
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

    /// What the last fit went by.
    pub fn choice(&self) -> Choice {
        self.choice
    }
}

impl Head for AutoHead<'_> {
    fn fit(&mut self, evidence: Evidence<'_>) -> Result<(), FitError> {
        self.spread.fit(evidence.statistics);
        let Balance { prior, learnt } =
            self.model
                .fit(evidence.statistics, self.background, &self.spread)?;
        self.choice = match self.background {
            Some(_) if learnt == 0.0 => Choice::Background,
            Some(_) => Choice::Blend {
                background: prior,
                learnt,
            },
            None => Choice::Learnt {
                start: prior,
                learnt,
            },
        };
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
