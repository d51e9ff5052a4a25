//! Accuracy over episodes, with intervals.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::below;

const RESAMPLES: usize = 2000;
/// Of the bootstrap: the same figures give the same interval.
const SEED: u64 = 0;

/// What was measured over some episodes. All are fractions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// The mean over the episodes.
    pub accuracy: f64,
    /// Half the width of the 95 % interval over the episodes: 1.96 standard errors. It says how
    /// well this many episodes pin the mean down for these subjects.
    pub ci95: f64,
    /// Half the width of the 95 % percentile bootstrap over the query subjects (B. Efron,
    /// "Bootstrap methods: another look at the jackknife", 1979). It says how well these subjects
    /// pin it down for a new one; `None` where there is one subject only.
    pub ci95_groups: Option<f64>,
    /// The number of episodes.
    pub episodes: usize,
}

impl Score {
    /// Sums up `results`: an episode's query subject and the fraction of its queries that were
    /// answered right. Differences of two such fractions (paired heads or features) do as well.
    /// `None` where there are no episodes.
    pub fn over(results: &[(u32, f64)]) -> Option<Score> {
        let n = results.len() as f64;
        let accuracy = results.iter().map(|(_, a)| a).sum::<f64>() / n;
        let squares: f64 = results.iter().map(|(_, a)| (a - accuracy).powi(2)).sum();
        // One episode alone has no spread; 0 would claim certainty, infinity is the truth.
        let deviation = if n > 1.0 {
            (squares / (n - 1.0)).sqrt()
        } else {
            f64::INFINITY
        };
        (!results.is_empty()).then(|| Score {
            accuracy,
            ci95: 1.96 * deviation / n.sqrt(),
            ci95_groups: bootstrap(results),
            episodes: results.len(),
        })
    }
}

/// Draws as many subjects as there are, with replacement, each with all its episodes.
fn bootstrap(results: &[(u32, f64)]) -> Option<f64> {
    let mut subjects: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    for &(subject, accuracy) in results {
        let (sum, count) = subjects.entry(subject).or_default();
        *sum += accuracy;
        *count += 1.0;
    }
    let subjects: Vec<(f64, f64)> = subjects.into_values().collect();
    if subjects.len() < 2 {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut resample = || {
        let drawn = (0..subjects.len()).map(|_| subjects[below(subjects.len(), &mut rng)]);
        let (sum, count) = drawn.fold((0.0, 0.0), |(s, c), (sum, count)| (s + sum, c + count));
        sum / count
    };
    let mut means: Vec<f64> = (0..RESAMPLES).map(|_| resample()).collect();
    means.sort_by(f64::total_cmp);
    let tail = RESAMPLES / 40;
    Some((means[RESAMPLES - 1 - tail] - means[tail]) / 2.0)
}
