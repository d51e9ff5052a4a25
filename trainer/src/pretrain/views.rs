//! The windows that training sees: real recordings, cut and augmented anew in every step.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::settings::Settings;
use crate::augment::{self, Common, stream};
use crate::dataset::{Dataset, Window};

/// What a random stream is for.
pub mod purpose {
    /// Initial weights.
    pub const WEIGHTS: u64 = 1;
    /// The order of windows in an epoch.
    pub const ORDER: u64 = 2;
    /// The views of a step.
    pub const VIEWS: u64 = 3;
    /// The views that quality and background are measured on.
    pub const PROBE: u64 = 4;
}

/// Fewer recordings than this say little about how recordings differ.
const FEW_RECORDINGS: usize = 8;

/// Recordings cut into windows, in units of each sensor's RMS.
pub struct Windows<'a> {
    data: &'a Dataset,
    settings: &'a Settings,
    windows: Vec<Window>,
    /// RMS of each channel's sensor over all windows, in physical units, one value a channel.
    pub std: Vec<f32>,
}

impl<'a> Windows<'a> {
    /// Cuts the data.
    pub fn new(data: &'a Dataset, settings: &'a Settings) -> Self {
        let windows = data.windows(settings.window as usize, settings.hop as usize);
        let std = sensor_rms(data);
        Windows {
            data,
            settings,
            windows,
            std,
        }
    }

    /// For each window another one of its recording that shares no sample with it; `None` where
    /// fewer than [`FEW_RECORDINGS`] recordings are long enough.
    pub fn pairs(&self) -> Option<Vec<(usize, usize)>> {
        let mut rng = stream(self.settings.seed, purpose::PROBE, 0, u64::MAX);
        let mut pairs = Vec::new();
        let mut recordings = 0;
        let mut first = 0;
        for own in self.windows.chunk_by(|a, b| a.recording == b.recording) {
            let before = pairs.len();
            for (i, window) in own.iter().enumerate() {
                let length = self.settings.window as usize;
                let apart = |&j: &usize| own[j].start.abs_diff(window.start) >= length;
                let others: Vec<usize> = (0..own.len()).filter(apart).collect();
                if !others.is_empty() {
                    pairs.push((first + i, first + others[rng.random_range(0..others.len())]));
                }
            }
            recordings += usize::from(pairs.len() > before);
            first += own.len();
        }
        (recordings >= FEW_RECORDINGS).then_some(pairs)
    }

    /// Which recording each window is of; `None` where there are fewer than [`FEW_RECORDINGS`].
    pub fn recordings(&self) -> Option<Vec<usize>> {
        let enough = self.data.recordings.len() >= FEW_RECORDINGS;
        enough.then(|| self.windows.iter().map(|w| w.recording).collect())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.windows.len()
    }

    /// Values in one window.
    pub fn size(&self) -> usize {
        self.data.channels * self.settings.window as usize
    }

    /// The order in which an epoch visits the windows.
    pub fn order(&self, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.shuffle(&mut stream(self.settings.seed, purpose::ORDER, epoch, 0));
        order
    }

    /// The windows as they are, [channels, window] each.
    pub fn plain(&self, picked: &[usize]) -> Vec<f32> {
        let channels = self.data.channels;
        let length = self.settings.window as usize;
        let mut out = vec![0.0; picked.len() * self.size()];
        for (out, &i) in out.chunks_exact_mut(self.size()).zip(picked) {
            let rows = self.data.window(self.windows[i].start, length);
            for (t, row) in rows.chunks_exact(channels).enumerate() {
                for (c, v) in row.iter().enumerate() {
                    out[c * length + t] = v / self.std[c];
                }
            }
        }
        out
    }

    /// Two views of each picked window: all first views, then all second ones. They depend on
    /// seed, purpose and step alone, not on threads.
    pub fn views(&self, picked: &[usize], purpose: u64, step: u64) -> Vec<f32> {
        let mut out = vec![0.0; 2 * picked.len() * self.size()];
        out.par_chunks_exact_mut(self.size())
            .enumerate()
            .for_each(|(i, out)| {
                let (item, second) = (i % picked.len(), i >= picked.len());
                let named = |item| stream(self.settings.seed, purpose, step, item as u64);
                let common = Common::new(&self.settings.augment, &mut named(item));
                let window = self.windows[picked[item]];
                self.view(window, second, &common, &mut named(picked.len() + i), out);
            });
        out
    }

    fn view(
        &self,
        window: Window,
        second: bool,
        common: &Common,
        rng: &mut ChaCha8Rng,
        out: &mut [f32],
    ) {
        let rows = self.data.recordings[window.recording].rows.clone();
        let recording = self.data.window(rows.start, rows.len());
        let mut start = (window.start - rows.start) as f32;
        if second {
            let hop = self.settings.positive_hop as f32;
            start += hop * (2.0 * rng.random::<f32>() - 1.0);
        }
        augment::view(
            &self.settings.augment,
            common,
            rng,
            recording,
            start,
            &self.std,
            out,
        );
    }
}

/// Root mean square over all rows of each sensor's channels together, so that turning a sensor
/// commutes with dividing by it.
fn sensor_rms(data: &Dataset) -> Vec<f32> {
    let width = augment::sensor_width(data.channels);
    let mut squares = vec![0.0f64; data.channels / width];
    for row in data.x.chunks_exact(data.channels) {
        for (sum, sensor) in squares.iter_mut().zip(row.chunks_exact(width)) {
            *sum += sensor
                .iter()
                .map(|&v| f64::from(v) * f64::from(v))
                .sum::<f64>();
        }
    }
    let count = (data.rows() * width).max(1) as f64;
    let rms = squares
        .iter()
        .map(|s| ((s / count).sqrt() as f32).max(1e-6));
    rms.flat_map(|v| std::iter::repeat_n(v, width)).collect()
}
