//! Sound.

use std::f64::consts::TAU;
use std::vec;
use std::vec::Vec;

use serde::{Deserialize, Serialize};

use super::place::{Arena, Places};
use super::{SettingsError, check_spread, require, scales, section_of};
use crate::frontend::{Band, ChannelScale, DECIBEL, KIND_LOG_MEL, LogMel, LogMelRecord};
use crate::pack::{MAX_ARENA, TensorRecord};

/// Sound as log-mel frames, `input[frame][band] = (dB - mean) / std`. A frame is weighted with a
/// periodic Hann window in the middle of the transform's samples, which count as they are (-32768 to
/// 32767).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogMelSettings {
    /// Samples a second.
    pub rate: u32,
    /// Samples of the window, 2 to `fft`.
    pub frame: u16,
    /// Samples of the transform: a power of two, 16 to 4,096.
    pub fft: u16,
    /// Samples between the starts of two frames.
    pub hop: u16,
    /// Bands.
    pub bands: u16,
    /// Where the lowest triangle starts, Hz.
    pub low_hz: f64,
    /// Where the highest ends, Hz; at most half the rate.
    pub high_hz: f64,
    /// What the bands are spaced by.
    pub mel: MelScale,
    /// How high the triangles are.
    pub norm: Norm,
    /// The least power of a band, above 0: 10^-25 to 10^25.
    pub floor: f64,
    /// Nor is a band quieter than the clip's loudest by more than this; 0 to 500 dB.
    pub range_db: f64,
    /// Frames that the encoder sees at once.
    pub frames: u16,
    /// Frames between the starts of two windows, 1 to `frames`.
    pub step: u16,
    /// Windows of a clip; their mean embedding is the clip's.
    pub windows: u8,
    /// In dB, one number.
    pub mean: Vec<f32>,
    /// In dB, one number.
    pub std: Vec<f32>,
}

/// Frequencies by how the ear tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MelScale {
    /// 2595 log10(1 + f / 700): O'Shaughnessy, *Speech Communication*, 1987; as in HTK.
    Htk,
    /// Linear to 1 kHz, then logarithmic: Slaney, *Auditory Toolbox*, 1998.
    Slaney,
}

/// The height of a band's triangle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// 1.
    None,
    /// 2 / its width in Hz: all triangles have one area.
    Slaney,
}

impl MelScale {
    fn mel(self, hz: f64) -> f64 {
        match self {
            MelScale::Htk => 2595.0 * libm::log10(1.0 + hz / 700.0),
            MelScale::Slaney if hz < 1000.0 => hz * 3.0 / 200.0,
            MelScale::Slaney => 15.0 + 27.0 * libm::log(hz / 1000.0) / libm::log(6.4),
        }
    }

    fn hz(self, mel: f64) -> f64 {
        match self {
            MelScale::Htk => 700.0 * (libm::pow(10.0, mel / 2595.0) - 1.0),
            MelScale::Slaney if mel < 15.0 => mel * 200.0 / 3.0,
            MelScale::Slaney => 1000.0 * libm::exp((mel - 15.0) * libm::log(6.4) / 27.0),
        }
    }
}

impl LogMelSettings {
    /// What goes before `speech_embedding.onnx`: `speech_melspectrogram.onnx` at 16 kHz, and its
    /// `dB / 10 + 2`. Nine windows of 76 frames, 8 apart: 1.42 s of sound.
    pub fn speech_embedding() -> Self {
        LogMelSettings {
            rate: 16_000,
            frame: 400,
            fft: 512,
            hop: 160,
            bands: 32,
            low_hz: 60.0,
            high_hz: 3800.0,
            mel: MelScale::Slaney,
            norm: Norm::Slaney,
            floor: 1e-10,
            range_db: 80.0,
            frames: 76,
            step: 8,
            windows: 9,
            mean: vec![-20.0],
            std: vec![10.0],
        }
    }

    pub(super) fn check(&self) -> Result<(), SettingsError> {
        require(
            (16..=4096).contains(&self.fft) && self.fft.is_power_of_two(),
            "`fft` may be a power of two, 16 to 4096",
        )?;
        require(
            (2..=self.fft).contains(&self.frame) && self.hop >= 1 && self.rate >= 1,
            "`frame` may be 2 to `fft`, `hop` and `rate` at least 1",
        )?;
        require(
            0.0 <= self.low_hz
                && self.low_hz < self.high_hz
                && self.high_hz * 2.0 <= self.rate.into(),
            "`low_hz` may be 0 or more, `high_hz` more than that and at most half of `rate`",
        )?;
        require(
            (1e-25..=1e25).contains(&self.floor) && (0.0..=500.0).contains(&self.range_db),
            "`floor` may be 1e-25 to 1e25, `range_db` 0 to 500",
        )?;
        require(
            self.bands >= 1 && self.windows >= 1 && (1..=self.frames).contains(&self.step),
            "`bands`, `frames` and `windows` may be 1 or more, `step` 1 to `frames`",
        )?;
        let frames = u64::from(self.windows) * u64::from(self.step) + u64::from(self.frames);
        require(
            frames * u64::from(self.hop) <= 1 << 24
                && frames * u64::from(self.bands) <= MAX_ARENA.into(),
            "a clip may have 2^24 samples and 2^26 values",
        )?;
        check_spread(1, &self.mean, &self.std)?;
        let (bands, _, _) = self.bands();
        require(
            bands.iter().all(|band| (1..=512).contains(&band.bins)),
            "a band has no bin of the transform, or more than 512: take fewer or more `bands`, or another `fft`",
        )
    }

    pub(super) fn input_len(&self) -> usize {
        (self.clip_frames() - 1) * usize::from(self.hop) + usize::from(self.fft)
    }

    fn clip_frames(&self) -> usize {
        (usize::from(self.windows) - 1) * usize::from(self.step) + usize::from(self.frames)
    }

    /// The triangles: which bins, their weights in integers, and what power of two those are over.
    fn bands(&self) -> (Vec<Band>, Vec<u32>, u8) {
        let (low, high) = (self.mel.mel(self.low_hz), self.mel.mel(self.high_hz));
        let corner = |i: usize| {
            let part = i as f64 / (f64::from(self.bands) + 1.0);
            self.mel.hz(low + (high - low) * part)
        };
        let bin_hz = f64::from(self.rate) / f64::from(self.fft);
        let weights = |band: usize| {
            let [left, top, right] = [band, band + 1, band + 2].map(corner);
            let height = match self.norm {
                Norm::None => 1.0,
                Norm::Slaney => 2.0 / (right - left),
            };
            (0..=usize::from(self.fft) / 2).map(move |bin| {
                let hz = bin as f64 * bin_hz;
                let side = f64::min((hz - left) / (top - left), (right - hz) / (right - top));
                side.max(0.0) * height
            })
        };
        let all: Vec<Vec<f64>> = (0..self.bands.into())
            .map(|b| weights(b).collect())
            .collect();
        let largest = all.iter().flatten().fold(0.0f64, |m, &w| m.max(w));
        let fits = |shift: &u8| largest * (1u64 << shift) as f64 <= f64::from(1 << 24);
        let shift = (0..=63).rev().find(fits).unwrap_or(0);
        let unit = (1u64 << shift) as f64;
        let (mut bands, mut integers) = (Vec::new(), Vec::new());
        for weights in &all {
            let first = weights.iter().position(|&w| w > 0.0).unwrap_or(0);
            let own = weights.iter().skip(first).take_while(|&&w| w > 0.0);
            let before = integers.len();
            integers.extend(own.map(|w| libm::round(w * unit) as u32));
            bands.push(Band {
                first: first as u16,
                bins: (integers.len() - before) as u16,
            });
        }
        (bands, integers, shift)
    }

    /// The graph's input, `[windows][frames][bands]`, by the device's integers.
    pub(super) fn inputs(&self, samples: &[i16]) -> Vec<f32> {
        let clip = self.decibels(samples);
        let (mean, std) = (self.mean[0], self.std[0]);
        let (bands, step) = (usize::from(self.bands), usize::from(self.step));
        let windows = clip
            .windows(usize::from(self.frames) * bands)
            .step_by(step * bands);
        let input = |&value: &i16| (f32::from(value) / DECIBEL as f32 - mean) / std;
        windows
            .take(self.windows.into())
            .flatten()
            .map(input)
            .collect()
    }

    /// All frames of a clip, `[frames][bands]`, in units of 1 / [`DECIBEL`] dB, cut off at the
    /// floor and the range; nothing where `samples` has another length than a clip.
    pub fn decibels(&self, samples: &[i16]) -> Vec<i16> {
        let nothing = ChannelScale {
            multiplier: 0,
            bias: 0,
        };
        let places = Places {
            scratch: 0,
            kept: 0,
            arena: 0,
        };
        let section = self.tables(nothing, 1, places);
        // Aligned, as in a pack.
        let mut words = vec![0u32; section.len() / 4];
        bytemuck::cast_slice_mut(&mut words).copy_from_slice(&section);
        let mut values = Vec::new();
        if let Some(device) = LogMel::read(bytemuck::cast_slice(&words), &self.input_tensor())
            && samples.len() == device.len()
        {
            let mut scratch = vec![0; device.scratch_words()];
            device.decibels(samples, &mut scratch, |value| values.push(value));
            let loudest = values.iter().copied().max().unwrap_or(0);
            let least = device.least(loudest);
            values
                .iter_mut()
                .for_each(|value| *value = least.max(*value));
        }
        values
    }

    fn input_tensor(&self) -> TensorRecord {
        TensorRecord {
            offset: 0,
            height: self.frames,
            width: self.bands,
            channels: 1,
            element: 1,
            zero_point: 0,
            scale: 1.0,
        }
    }

    /// The section, and the bytes of the arena.
    pub(super) fn section(
        &self,
        step: f64,
        zero_point: i32,
        arena: Arena,
    ) -> Result<(Vec<u8>, usize), SettingsError> {
        let channel = [
            1.0 / f64::from(DECIBEL),
            self.mean[0].into(),
            self.std[0].into(),
        ];
        let (scales, shift) = scales([channel].into_iter(), step, zero_point)?;
        let clip = self.clip_frames() * usize::from(self.bands);
        let scratch = 4 * (usize::from(self.fft) + 2);
        let places = Places::new(&arena, self.windows.into(), scratch, clip);
        Ok((self.tables(scales[0], shift, places), places.arena))
    }

    fn tables(&self, scale: ChannelScale, shift: u8, places: Places) -> Vec<u8> {
        let (bands, weights, weight_shift) = self.bands();
        let unit = f64::from(DECIBEL);
        let head = LogMelRecord {
            kind: KIND_LOG_MEL,
            shift,
            weight_shift,
            windows: self.windows,
            rate_hz: self.rate,
            frame: self.frame,
            fft: self.fft,
            hop: self.hop,
            bands: self.bands,
            frames: self.frames,
            step: self.step,
            floor: libm::round(10.0 * libm::log10(self.floor) * unit) as i16,
            range: libm::round(self.range_db * unit) as u16,
            scratch_at: places.scratch as u32,
            kept_at: places.kept as u32,
            reserved: 0,
            scale,
        };
        let one = f64::from(1 << 30);
        let hann = |i: u16| 0.5 - 0.5 * libm::cos(TAU * f64::from(i) / f64::from(self.frame));
        let sine = |k: u16| libm::sin(TAU * f64::from(k) / f64::from(self.fft));
        let integer = |v: f64| libm::round(v * one) as i32;
        let window: Vec<i32> = (0..=self.frame / 2).map(|i| integer(hann(i))).collect();
        let sines: Vec<i32> = (0..=self.fft / 4).map(|k| integer(sine(k))).collect();
        section_of(&[
            bytemuck::bytes_of(&head),
            bytemuck::cast_slice(&window),
            bytemuck::cast_slice(&sines),
            bytemuck::cast_slice(&bands),
            bytemuck::cast_slice(&weights),
        ])
    }
}
