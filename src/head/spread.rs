//! How wide classes are: the rule for "unknown" where an encoder has no calibration.

use super::Verdict;
use crate::embedding::Embedding;
use crate::pack::Background;
use crate::statistics::{Class, Statistics};

/// The pooled spread of embeddings around their class mean, from the learnt examples and, where
/// those are few, from the encoder's background.
///
/// All embeddings have norm 127, so counts and sums suffice: the squared distances of a class's n
/// examples from their mean add up to n * 127^2 - |sum|^2 / n.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    prior: f32,
    /// The mean squared distance of an example from its class's true mean, in embedding units.
    pub within: f32,
    /// An input is unknown beyond this many times the squared distance expected of a class's own.
    pub limit: f32,
}

/// How many examples the background's spread counts for.
const PRIOR_EXAMPLES: f32 = 4.0;
/// Where the encoder has no background: examples of a class at a cosine of about 0.85.
const DEFAULT_WITHIN: f32 = 0.15 * 127.0 * 127.0;
/// See [`Spread::limit`].
const DEFAULT_LIMIT: f32 = 3.0;
/// Embeddings vary in fewer directions than they have values; a distance counts as this many
/// independent measurements.
pub(super) const EFFECTIVE_RANK: f32 = 8.0;

impl Spread {
    /// Starts from the encoder's background.
    pub fn new(background: Option<Background<'_>>) -> Self {
        let prior = background.map_or(DEFAULT_WITHIN, |b| b.within_total);
        Spread {
            prior,
            within: prior,
            limit: DEFAULT_LIMIT,
        }
    }

    pub(crate) fn fit(&mut self, statistics: &Statistics<'_>) {
        let (mut scatter, mut degrees) = (self.prior * PRIOR_EXAMPLES, PRIOR_EXAMPLES);
        for class in statistics.iter() {
            let n = class.count as f32;
            let within = n * (127.0 * 127.0) - squared_norm(class.sums) / n;
            scatter += within.max(0.0);
            degrees += n - 1.0;
        }
        self.within = (scatter / degrees).max(1.0);
    }

    /// What [`Spread::within`] is before anything was learnt.
    pub(super) fn prior(&self) -> f32 {
        self.prior
    }

    /// The squared distance between an example of a class and the mean of `count` others.
    pub(super) fn expected(&self, count: i32) -> f32 {
        self.within * (1.0 + 1.0 / count as f32)
    }

    /// Known or unknown, by the distance from the class's mean. No rate is promised.
    pub(crate) fn verdict(&self, class: Option<Class<'_>>, e: Embedding<'_>) -> Verdict {
        match class {
            Some(class)
                if squared_distance(&class, e) <= self.limit * self.expected(class.count) =>
            {
                Verdict::Known
            }
            _ => Verdict::Unknown,
        }
    }
}

impl Default for Spread {
    fn default() -> Self {
        Spread::new(None)
    }
}

fn squared_norm(sums: &[i32]) -> f32 {
    sums.iter()
        .map(|&s| i64::from(s) * i64::from(s))
        .sum::<i64>() as f32
}

/// From the embedding to the class's mean, in integers until the last step.
pub(crate) fn squared_distance(class: &Class<'_>, e: Embedding<'_>) -> f32 {
    let products = class
        .sums
        .iter()
        .zip(e.values())
        .map(|(&s, &v)| i64::from(s) * i64::from(v));
    let n = class.count as f32;
    let distance = e.squared_norm() as f32 - 2.0 * products.sum::<i64>() as f32 / n
        + squared_norm(class.sums) / n / n;
    distance.max(0.0)
}
