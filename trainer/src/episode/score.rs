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
    /// Half the width of the 95 % interval over the episodes: 1.96 standard errors, more where they
    /// are few (Student, "The Probable Error of a Mean", 1908). It says how
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
        let means: Vec<f64> = results.iter().map(|r| r.1).collect();
        Score::of(&means, results.iter().copied())
    }

    /// The same where an episode's queries are of several groups: `means` has the fraction of each
    /// episode, `parts` the group of each query and whether it was answered right, 0 or 1.
    pub fn of(means: &[f64], parts: impl Iterator<Item = (u32, f64)>) -> Option<Score> {
        let n = means.len() as f64;
        let accuracy = means.iter().sum::<f64>() / n;
        let squares: f64 = means.iter().map(|a| (a - accuracy).powi(2)).sum();
        // One episode alone has no spread; 0 would claim certainty, infinity is the truth.
        let deviation = if n > 1.0 {
            (squares / (n - 1.0)).sqrt()
        } else {
            f64::INFINITY
        };
        (!means.is_empty()).then(|| Score {
            accuracy,
            ci95: quantile(means.len()) * deviation / n.sqrt(),
            ci95_groups: interval(parts).map(|(low, high)| (high - low) / 2.0),
            episodes: means.len(),
        })
    }
}

/// Standard errors in half a 95 % interval of the mean of `n` values.
fn quantile(n: usize) -> f64 {
    const STUDENT: [f64; 19] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145, 2.131, 2.120, 2.110, 2.101, 2.093,
    ];
    let of = |free: usize| STUDENT.get(free.saturating_sub(1)).copied();
    of(n.saturating_sub(1)).unwrap_or(1.96)
}

/// The 95 % percentile bootstrap of a mean over units that are drawn whole: `parts` has the unit
/// and the value of each measurement. It draws as many units as there are, with replacement, each
/// with all its measurements. `None` where there is one unit only.
pub fn interval(parts: impl Iterator<Item = (u32, f64)>) -> Option<(f64, f64)> {
    let mut units: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    for (unit, value) in parts {
        let (sum, count) = units.entry(unit).or_default();
        *sum += value;
        *count += 1.0;
    }
    let units: Vec<(f64, f64)> = units.into_values().collect();
    if units.len() < 2 {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut resample = || {
        let drawn = (0..units.len()).map(|_| units[below(units.len(), &mut rng)]);
        let (sum, count) = drawn.fold((0.0, 0.0), |(s, c), (sum, count)| (s + sum, c + count));
        sum / count
    };
    let mut means: Vec<f64> = (0..RESAMPLES).map(|_| resample()).collect();
    means.sort_by(f64::total_cmp);
    let tail = RESAMPLES / 40;
    Some((means[tail], means[RESAMPLES - 1 - tail]))
}
