//! Windows of sensor recordings, cut and augmented anew in every step.

use std::borrow::Cow;
use std::ops::Range;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{Kind, Source, purpose};
use crate::augment::{self, Common, Recording, Strengths, stream};
use crate::dataset::{Dataset, Window};
use crate::spool::Spool;
use headstart::frontend::settings::{SensorSettings, Settings as FrontEnd};

/// Fewer recordings than this say little about how recordings differ.
const FEW_RECORDINGS: usize = 8;

/// Rows that are looked at together.
const PIECE: usize = 1 << 14;

/// How recordings are cut and what views differ in.
#[derive(Debug, Clone)]
pub struct Cut {
    /// Samples in a window.
    pub window: usize,
    /// Samples from one window to the next.
    pub hop: usize,
    /// Samples a second.
    pub rate: f32,
    /// The second view's window lies at most so many samples from the first's.
    pub positive_hop: usize,
    /// What views differ in.
    pub augment: Strengths,
}

/// Recordings cut into windows, in units of each sensor's RMS.
pub struct Windows {
    /// Without its samples.
    data: Dataset,
    samples: Spool<f32>,
    cut: Cut,
    windows: Vec<Window>,
    /// RMS of each channel's sensor over all windows, in physical units, one value a channel.
    pub std: Vec<f32>,
}

impl Windows {
    /// Cuts the data.
    pub fn new(mut data: Dataset, cut: Cut) -> Self {
        let samples = std::mem::take(&mut data.x).into();
        Windows::apart(data, samples, cut)
    }

    /// Cuts data whose samples are elsewhere: where the recordings say, [rows, channels].
    pub fn apart(data: Dataset, samples: Spool<f32>, cut: Cut) -> Self {
        let windows = data.windows(cut.window, cut.hop);
        let std = sensor_rms(&data, &samples);
        Windows {
            data,
            samples,
            cut,
            windows,
            std,
        }
    }

    fn rows(&self, rows: Range<usize>) -> Cow<'_, [f32]> {
        let channels = self.data.channels;
        self.samples.get(rows.start * channels..rows.end * channels)
    }
}

impl Source for Windows {
    fn kind(&self) -> Kind {
        Kind::Sensor
    }

    fn shape(&self) -> [usize; 3] {
        [self.data.channels, 1, self.cut.window]
    }

    fn len(&self) -> usize {
        self.windows.len()
    }

    fn plain(&self, i: usize, out: &mut [f32]) {
        let (channels, length) = (self.data.channels, self.cut.window);
        let start = self.windows[i].start;
        let rows = self.rows(start..start + length);
        for (t, row) in rows.chunks_exact(channels).enumerate() {
            for (c, v) in row.iter().enumerate() {
                out[c * length + t] = v / self.std[c];
            }
        }
    }

    fn view(
        &self,
        i: usize,
        second: bool,
        mut common: ChaCha8Rng,
        mut private: ChaCha8Rng,
        out: &mut [f32],
    ) {
        let window = self.windows[i];
        let common = Common::new(&self.cut.augment, &mut common);
        let rows = self.data.recordings[window.recording].rows.clone();
        let recording = Recording {
            rows: rows.len(),
            read: &|some| self.rows(rows.start + some.start..rows.start + some.end),
        };
        let mut start = (window.start - rows.start) as f32;
        if second {
            let hop = self.cut.positive_hop as f32;
            start += hop * (2.0 * private.random::<f32>() - 1.0);
        }
        augment::view(
            &self.cut.augment,
            &common,
            &mut private,
            &recording,
            start,
            &self.std,
            out,
        );
    }

    fn group(&self, i: usize) -> u32 {
        self.data.recordings[self.windows[i].recording].group
    }

    fn class(&self, i: usize) -> Option<usize> {
        self.data.recordings[self.windows[i].recording].class
    }

    fn labels(&self) -> &[String] {
        &self.data.labels
    }

    fn recordings(&self) -> Option<Vec<usize>> {
        let enough = self.data.recordings.len() >= FEW_RECORDINGS;
        enough.then(|| self.windows.iter().map(|w| w.recording).collect())
    }

    fn pairs(&self, seed: u64) -> Option<Vec<(usize, usize)>> {
        let mut rng = stream(seed, purpose::PROBE, 0, u64::MAX);
        let mut pairs = Vec::new();
        let mut recordings = 0;
        let mut first = 0;
        for own in self.windows.chunk_by(|a, b| a.recording == b.recording) {
            let before = pairs.len();
            for (i, window) in own.iter().enumerate() {
                let apart = |&j: &usize| own[j].start.abs_diff(window.start) >= self.cut.window;
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

    fn next(&self, i: usize) -> Option<usize> {
        let next = i + self.cut.window.div_ceil(self.cut.hop);
        let found = self.windows.get(next)?;
        (found.recording == self.windows[i].recording).then_some(next)
    }

    fn frontend(&self) -> Option<FrontEnd> {
        let channels = self.data.channels;
        let scale = self.data.scale.clone();
        Some(FrontEnd::Sensor(SensorSettings {
            channels,
            window: self.cut.window,
            hop: self.cut.hop,
            rate: self.cut.rate,
            scale: scale.unwrap_or_else(|| vec![1.0; channels]),
            mean: vec![0.0; channels],
            std: self.std.clone(),
        }))
    }
}

/// Root mean square over all rows of each sensor's channels together, so that turning a sensor
/// commutes with dividing by it.
fn sensor_rms(data: &Dataset, samples: &Spool<f32>) -> Vec<f32> {
    let width = augment::sensor_width(data.channels);
    let mut squares = vec![0.0f64; data.channels / width];
    let mut rows = 0;
    for recording in &data.recordings {
        for start in recording.rows.clone().step_by(PIECE) {
            let end = recording.rows.end.min(start + PIECE);
            let piece = samples.get(start * data.channels..end * data.channels);
            for row in piece.chunks_exact(data.channels) {
                for (sum, sensor) in squares.iter_mut().zip(row.chunks_exact(width)) {
                    *sum += sensor
                        .iter()
                        .map(|&v| f64::from(v) * f64::from(v))
                        .sum::<f64>();
                }
            }
        }
        rows += recording.rows.len();
    }
    let count = (rows * width).max(1) as f64;
    let rms = squares
        .iter()
        .map(|s| ((s / count).sqrt() as f32).max(1e-6));
    rms.flat_map(|v| std::iter::repeat_n(v, width)).collect()
}
