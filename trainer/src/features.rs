//! What an encoder has to beat: the window itself, and statistics made by hand.

use crate::dataset::{Dataset, Window};

/// A feature that needs no training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feature {
    /// The window's samples, flattened: [length x channels], time-major.
    RawWindow,
    /// Mean, standard deviation, mean absolute difference of neighbours, minimum and maximum of
    /// each channel: [channels x 5].
    HandMade,
}

impl Feature {
    /// One vector for each window of `length` rows. They are in physical units: standardise them
    /// ([`Standardisation`]) before distances are taken.
    ///
    /// # Panics
    /// Where a window is not inside the data; those of [`Dataset::windows`] are.
    pub fn extract(self, data: &Dataset, windows: &[Window], length: usize) -> Vec<Vec<f32>> {
        let vector = |window: &Window| {
            let x = data.window(window.start, length);
            match self {
                Feature::RawWindow => x.to_vec(),
                Feature::HandMade => (0..data.channels)
                    .flat_map(|c| statistics(x.iter().skip(c).step_by(data.channels).copied()))
                    .collect(),
            }
        };
        windows.iter().map(vector).collect()
    }
}

/// The five statistics of one channel; zeros where it has no samples. Sums are taken in f64, in
/// order.
fn statistics(channel: impl Iterator<Item = f32> + Clone) -> [f32; 5] {
    let n = channel.clone().count().max(1) as f64;
    let mean = channel.clone().map(f64::from).sum::<f64>() / n;
    let squares: f64 = channel.clone().map(|v| (f64::from(v) - mean).powi(2)).sum();
    let steps = channel.clone().zip(channel.clone().skip(1));
    let differences: f64 = steps
        .map(|(a, b)| (f64::from(b) - f64::from(a)).abs())
        .sum();
    let least = channel.clone().reduce(f32::min).unwrap_or(0.0);
    let most = channel.reduce(f32::max).unwrap_or(0.0);
    let deviation = (squares / n).sqrt();
    let difference = differences / (n - 1.0).max(1.0);
    [
        mean as f32,
        deviation as f32,
        difference as f32,
        least,
        most,
    ]
}

/// Mean and standard deviation of each dimension over background data, which are taken out of
/// vectors so that all dimensions weigh the same. Fit it on pretraining data only.
#[derive(Debug, Clone, PartialEq)]
pub struct Standardisation {
    /// Per dimension.
    pub mean: Vec<f32>,
    /// Per dimension; 1 where the background does not vary.
    pub deviation: Vec<f32>,
}

impl Standardisation {
    /// Mean and standard deviation of `background`; `None` where there are no vectors or they
    /// have different lengths.
    pub fn fit(background: &[Vec<f32>]) -> Option<Standardisation> {
        let width = background.first()?.len();
        if background.iter().any(|v| v.len() != width) {
            return None;
        }
        let n = background.len() as f64;
        let average = |of: &dyn Fn(usize, f64) -> f64| -> Vec<f64> {
            let dimension = |d| {
                background
                    .iter()
                    .map(|v| of(d, f64::from(v[d])))
                    .sum::<f64>()
                    / n
            };
            (0..width).map(dimension).collect()
        };
        let mean = average(&|_, v| v);
        let variance = average(&|d, v| (v - mean[d]).powi(2));
        let deviation = |v: f64| if v > 0.0 { v.sqrt() as f32 } else { 1.0 };
        Some(Standardisation {
            deviation: variance.into_iter().map(deviation).collect(),
            mean: mean.into_iter().map(|m| m as f32).collect(),
        })
    }

    /// (value - mean) / deviation in each dimension.
    pub fn apply(&self, vectors: &mut [Vec<f32>]) {
        for vector in vectors {
            let background = self.mean.iter().zip(&self.deviation);
            for (value, (mean, deviation)) in vector.iter_mut().zip(background) {
                *value = (*value - mean) / deviation;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Recording;

    fn data() -> Dataset {
        Dataset {
            channels: 2,
            x: vec![1.0, -1.0, 3.0, -1.0, 2.0, -1.0, 2.0, -1.0],
            scale: None,
            rate_hz: None,
            recordings: vec![Recording {
                rows: 0..4,
                class: None,
                group: 0,
                id: 0,
                side: None,
            }],
            labels: vec![],
            sha256: [0; 32],
        }
    }

    #[test]
    fn hand_made_statistics_are_those_of_each_channel() {
        let data = data();
        let features = Feature::HandMade.extract(&data, &data.windows(4, 1), 4);
        let expected = [
            2.0,
            0.5f32.sqrt(),
            1.0,
            1.0,
            3.0,
            -1.0,
            0.0,
            0.0,
            -1.0,
            -1.0,
        ];
        assert_eq!(features, [expected]);
    }

    #[test]
    fn a_raw_window_is_its_samples() {
        let data = data();
        let features = Feature::RawWindow.extract(&data, &data.windows(2, 2), 2);
        assert_eq!(features, [[1.0, -1.0, 3.0, -1.0], [2.0, -1.0, 2.0, -1.0]]);
    }

    #[test]
    fn standardised_vectors_have_mean_0_and_deviation_1() {
        let mut vectors = vec![vec![1.0, 7.0], vec![5.0, 7.0]];
        let fitted = Standardisation::fit(&vectors).expect("vectors");
        assert_eq!(
            (&fitted.mean, &fitted.deviation),
            (&vec![3.0, 7.0], &vec![2.0, 1.0])
        );
        fitted.apply(&mut vectors);
        assert_eq!(vectors, [[-1.0, 0.0], [1.0, 0.0]]);
    }

    #[test]
    fn nothing_can_be_fitted_on_nothing() {
        assert_eq!(Standardisation::fit(&[]), None);
        assert_eq!(Standardisation::fit(&[vec![1.0], vec![]]), None);
    }
}
