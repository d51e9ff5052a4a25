//! Random draws, and means with intervals.

use std::collections::BTreeMap;

/// A mean over episodes, and the half-widths of its 95 % intervals.
pub struct Score {
    /// The mean share, 0 to 1.
    pub mean: f64,
    /// Over the episodes: 1.96 standard errors.
    pub ci95: f64,
    /// Over the subjects: percentile bootstrap. How well so few people speak for others.
    pub ci95_groups: f64,
}

impl Score {
    /// Of each episode's subject and share.
    pub fn over(episodes: &[(u8, f64)]) -> Score {
        let n = episodes.len() as f64;
        let mean = episodes.iter().map(|(_, share)| share).sum::<f64>() / n;
        let squares: f64 = episodes
            .iter()
            .map(|(_, share)| (share - mean).powi(2))
            .sum();
        Score {
            mean,
            ci95: 1.96 * (squares / (n - 1.0) / n).sqrt(),
            ci95_groups: bootstrap(episodes),
        }
    }
}

/// Draws as many subjects as there are, with replacement, each with all its episodes: *Bootstrap
/// methods: another look at the jackknife*, Bradley Efron, 1979.
fn bootstrap(episodes: &[(u8, f64)]) -> f64 {
    const RESAMPLES: usize = 2000;
    let mut subjects: BTreeMap<u8, (f64, f64)> = BTreeMap::new();
    for &(subject, share) in episodes {
        let (sum, count) = subjects.entry(subject).or_default();
        *sum += share;
        *count += 1.0;
    }
    let subjects: Vec<(f64, f64)> = subjects.into_values().collect();
    let mut random = SplitMix64(0);
    let mut resample = || {
        let drawn = (0..subjects.len()).map(|_| subjects[random.below(subjects.len())]);
        let (sum, count) = drawn.fold((0.0, 0.0), |(s, c), (sum, count)| (s + sum, c + count));
        sum / count
    };
    let mut means: Vec<f64> = (0..RESAMPLES).map(|_| resample()).collect();
    means.sort_by(f64::total_cmp);
    let tail = RESAMPLES / 40;
    (means[RESAMPLES - 1 - tail] - means[tail]) / 2.0
}

/// The generator of *Fast splittable pseudorandom number generators*, Guy Steele, Doug Lea,
/// Christine Flood, 2014: small, and good enough to draw windows with.
pub struct SplitMix64(pub u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `end` - 1.
    pub fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    /// `count` of `values`, each at most once.
    pub fn draw<T: Copy>(&mut self, values: &[T], count: usize) -> Vec<T> {
        let mut rest = values.to_vec();
        let count = count.min(rest.len());
        for i in 0..count {
            let j = i + self.below(rest.len() - i);
            rest.swap(i, j);
        }
        rest.truncate(count);
        rest
    }
}
