//! Augmentations for sensors that are worn: each one is a claim about what does not matter.
//!
//! *Private* strengths are drawn anew for each of a window's two views, and the network learns to
//! look past them. *Common* ones are drawn once for both: they claim nothing, but make new wearers
//! and new movements out of the few that were recorded.
//!
//! A view is cut out of a recording at a moved and warped time axis, then its channels are scaled,
//! turned, mirrored, masked and made noisy. Channels that come in threes (acceleration, rotation
//! rate) are vectors of one sensor frame: a turn acts on all of them alike. Other channels have no
//! frame, so turning and mirroring leave them alone.
//!
//! Source of the family: *Data Augmentation of Wearable Sensor Data for Parkinson's Disease
//! Monitoring using Convolutional Neural Networks*, Um et al., 2017; of contrasting views of one
//! window: *Exploring Contrastive Learning in Human Activity Recognition for Healthcare*, Tang et
//! al., 2020.

use std::borrow::Cow;
use std::f32::consts::TAU;
use std::ops::Range;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// How strong each augmentation is; 0 switches it off. The common ones are at the end.
#[derive(Debug, Clone, PartialEq, clap::Args, Serialize, Deserialize)]
pub struct Strengths {
    /// Noise: its standard deviation, as a part of the channel's RMS over the data
    #[arg(long, default_value_t = 0.02, value_name = "PART")]
    pub jitter: f32,
    /// Amplitude: standard deviation of the logarithm of each sensor's gain
    #[arg(long, default_value_t = 0.2, value_name = "LOG")]
    pub scale: f32,
    /// Turn of the sensor frame about a random axis: the largest angle in radians
    #[arg(long, default_value_t = 0.3, value_name = "RAD")]
    pub rotation: f32,
    /// Mirrored frame, as on the other wrist: the probability
    #[arg(long, default_value_t = 0.5, value_name = "PROBABILITY")]
    pub mirror: f32,
    /// Tempo: standard deviation of the logarithm of the speed, with a slow wave on top
    #[arg(long, default_value_t = 0.2, value_name = "LOG")]
    pub warp: f32,
    /// Moved in time: at most so many samples either way
    #[arg(long, default_value_t = 16.0, value_name = "SAMPLES")]
    pub shift: f32,
    /// One sensor silent (all three of its channels): the probability
    #[arg(long, default_value_t = 0.0, value_name = "PROBABILITY")]
    pub mask: f32,
    /// Turn of the sensor frame, the same for both views: the largest angle in radians
    #[arg(long, default_value_t = 0.5, value_name = "RAD")]
    pub common_rotation: f32,
    /// Amplitude, the same for both views: standard deviation of the gain's logarithm
    #[arg(long, default_value_t = 0.3, value_name = "LOG")]
    pub common_scale: f32,
    /// Tempo, the same for both views: standard deviation of the speed's logarithm
    #[arg(long, default_value_t = 0.2, value_name = "LOG")]
    pub common_warp: f32,
}

/// What a view is cut out of.
pub struct Recording<'a> {
    /// How many there are.
    pub rows: usize,
    /// Some of them, [rows, channels].
    pub read: &'a dyn Fn(Range<usize>) -> Cow<'a, [f32]>,
}

/// What both views of a window share.
pub struct Common {
    turn: Turn,
    gain: f32,
    speed: f32,
}

impl Common {
    /// Drawn once a window.
    pub fn new(strengths: &Strengths, rng: &mut ChaCha8Rng) -> Self {
        Common {
            turn: random_turn(strengths.common_rotation, rng),
            gain: (strengths.common_scale * normal(rng)).exp(),
            speed: (strengths.common_warp * normal(rng)).exp(),
        }
    }
}

/// A rotation matrix.
type Turn = [[f32; 3]; 3];

/// A random stream of its own for each (seed, purpose, step, item): nothing has to be remembered
/// between steps, and work can be split over threads in any way.
pub fn stream(seed: u64, purpose: u64, step: u64, item: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (bytes, word) in key.chunks_exact_mut(8).zip([seed, purpose, step, item]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    rand::SeedableRng::from_seed(key)
}

/// How many neighbouring channels belong to one sensor: three where they divide so, else one.
pub fn sensor_width(channels: usize) -> usize {
    if channels.is_multiple_of(3) { 3 } else { 1 }
}

/// Writes one view of a window, [channels, length] with channels outermost, in the recording's
/// units divided by `std` (one value a channel).
///
/// `recording` has at least `length` rows; the window begins at row `start`. A view that would leave
/// the recording is moved back inside.
pub fn view(
    strengths: &Strengths,
    common: &Common,
    rng: &mut ChaCha8Rng,
    recording: &Recording<'_>,
    start: f32,
    std: &[f32],
    out: &mut [f32],
) {
    let length = out.len() / std.len();
    let rows = recording.rows;
    let times = time_axis(strengths, common.speed, rng, length, start, rows);
    sample(recording, &times, std, out);
    let width = sensor_width(std.len());
    for sensor in out.chunks_exact_mut(width * length) {
        let gain = common.gain * (strengths.scale * normal(rng)).exp();
        sensor.iter_mut().for_each(|v| *v *= gain);
    }
    if width == 3 {
        let private = random_turn(strengths.rotation, rng);
        let mirrored = rng.random::<f32>() < strengths.mirror;
        turn(&common.turn, false, out, length);
        turn(&private, mirrored, out, length);
    }
    mask(strengths.mask, rng, out, width * length);
    if strengths.jitter > 0.0 {
        out.iter_mut()
            .for_each(|v| *v += strengths.jitter * normal(rng));
    }
}

/// The rows at which a view is sampled: `speed * (t + wave)`, centred on the window, all inside
/// 0..=rows - 1.
fn time_axis(
    strengths: &Strengths,
    speed: f32,
    rng: &mut ChaCha8Rng,
    length: usize,
    start: f32,
    rows: usize,
) -> Vec<f32> {
    let half = (length - 1) as f32 / 2.0;
    let speed = speed * (strengths.warp * normal(rng)).exp();
    let height = strengths.warp * normal(rng) * length as f32 / 25.0;
    let phase = rng.random::<f32>() * TAU;
    let offset = strengths.shift * (2.0 * rng.random::<f32>() - 1.0);
    let mut times: Vec<f32> = (0..length)
        .map(|t| {
            let wave = height * (t as f32 / length as f32 * TAU + phase).sin();
            start + offset + half + speed * (t as f32 - half + wave)
        })
        .collect();
    let last = (rows - 1) as f32;
    let low = times.iter().copied().fold(f32::INFINITY, f32::min);
    let high = times.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let back = (-low).max(0.0) - (high - last).max(0.0);
    times
        .iter_mut()
        .for_each(|t| *t = (*t + back).clamp(0.0, last));
    times
}

/// Linear interpolation of each channel at `times`.
fn sample(recording: &Recording<'_>, times: &[f32], std: &[f32], out: &mut [f32]) {
    let channels = std.len();
    let after = |row: usize| (row + 1).min(recording.rows - 1);
    let rows = || times.iter().map(|&time| time as usize);
    let first = rows().min().unwrap_or(0);
    let last = rows().max().map_or(first, after);
    let values = (recording.read)(first..last + 1);
    let value = |row: usize, c: usize| values[(row - first) * channels + c];
    for (t, &time) in times.iter().enumerate() {
        let row = time as usize;
        let part = time - row as f32;
        let next = after(row);
        for (c, s) in std.iter().enumerate() {
            let (a, b) = (value(row, c), value(next, c));
            out[c * times.len() + t] = (a + (b - a) * part) / s;
        }
    }
}

/// A turn about a random axis by at most `angle` (Rodrigues' formula).
fn random_turn(angle: f32, rng: &mut ChaCha8Rng) -> Turn {
    let axis = [normal(rng), normal(rng), normal(rng)];
    let norm = axis.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-12);
    let [x, y, z] = axis.map(|v| v / norm);
    let (sin, cos) = (angle * (2.0 * rng.random::<f32>() - 1.0)).sin_cos();
    let rest = 1.0 - cos;
    [
        [
            cos + x * x * rest,
            x * y * rest - z * sin,
            x * z * rest + y * sin,
        ],
        [
            y * x * rest + z * sin,
            cos + y * y * rest,
            y * z * rest - x * sin,
        ],
        [
            z * x * rest - y * sin,
            z * y * rest + x * sin,
            cos + z * z * rest,
        ],
    ]
}

/// Turns every sensor's vectors. In a mirrored frame (x to -x) the first sensor's vectors change x;
/// the others are rotation rates, which are axial: they change y and z.
fn turn(turn: &Turn, mirrored: bool, out: &mut [f32], length: usize) {
    for (sensor, xyz) in out.chunks_exact_mut(3 * length).enumerate() {
        let signs = match (mirrored, sensor) {
            (false, _) => [1.0, 1.0, 1.0],
            (true, 0) => [-1.0, 1.0, 1.0],
            (true, _) => [1.0, -1.0, -1.0],
        };
        for t in 0..length {
            let v = [xyz[t], xyz[length + t], xyz[2 * length + t]];
            for (axis, row) in turn.iter().enumerate() {
                let turned: f32 = row.iter().zip(&v).map(|(m, v)| m * v).sum();
                xyz[axis * length + t] = signs[axis] * turned;
            }
        }
    }
}

/// Silences one sensor, never the only one.
fn mask(probability: f32, rng: &mut ChaCha8Rng, out: &mut [f32], sensor: usize) {
    let sensors = out.len() / sensor;
    let silent = rng.random_range(0..sensors);
    if rng.random::<f32>() < probability && sensors > 1 {
        out[silent * sensor..(silent + 1) * sensor].fill(0.0);
    }
}

/// A standard normal value (Box and Muller, 1958).
pub fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
    radius * (TAU * rng.random::<f32>()).cos()
}
