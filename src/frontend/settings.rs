//! The front end of an `.onnx`: the JSON under `headstart.frontend`, and what it makes of a signal.

use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Signal;
use crate::encoder::EmbedError;

/// From a signal to a graph's input, as the encoder was pretrained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Settings {
    /// A window of a sensor.
    Sensor(SensorSettings),
}

/// A window of a sensor: input\[t]\[c] = (counts\[t]\[c] * scale\[c] - mean\[c]) / std\[c].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SensorSettings {
    /// Values a time step.
    pub channels: usize,
    /// Time steps a window.
    pub window: usize,
    /// Time steps between two windows.
    pub hop: usize,
    /// Time steps a second.
    pub rate: f32,
    /// Physical units per count, per channel.
    pub scale: Vec<f32>,
    /// In physical units, per channel.
    pub mean: Vec<f32>,
    /// In physical units, per channel.
    pub std: Vec<f32>,
}

/// Why a front end's JSON can't be used, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError(String);

impl core::fmt::Display for SettingsError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for SettingsError {}

impl Settings {
    /// Reads and checks what the metadata holds.
    ///
    /// # Errors
    /// Where it is no JSON of a kind that this version knows, or a number is out of range.
    pub fn parse(json: &str) -> Result<Self, SettingsError> {
        let settings: Settings =
            serde_json::from_str(json).map_err(|e| SettingsError(e.to_string()))?;
        match &settings {
            Settings::Sensor(sensor) => sensor.check()?,
        }
        Ok(settings)
    }

    /// As the metadata holds it.
    pub fn json(&self) -> String {
        // Numbers, lists and fixed names can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Height (1 for a time series), width and channels of one window.
    pub fn shape(&self) -> [usize; 3] {
        match self {
            Settings::Sensor(sensor) => [1, sensor.window, sensor.channels],
        }
    }

    /// Windows that one signal is cut into.
    pub fn windows(&self) -> usize {
        match self {
            Settings::Sensor(_) => 1,
        }
    }

    /// Samples of one signal, channels and time steps together.
    pub fn input_len(&self) -> usize {
        match self {
            Settings::Sensor(sensor) => sensor.window * sensor.channels,
        }
    }

    /// The values of a signal's windows, `[windows][height][width][channels]`.
    ///
    /// # Errors
    /// Where the signal is not of the encoder's kind or length.
    pub fn inputs(&self, signal: Signal<'_>) -> Result<Vec<f32>, EmbedError> {
        let Signal::Samples(counts) = signal else {
            return Err(EmbedError::WrongSignal { takes: "samples" });
        };
        let (expected, got) = (self.input_len(), counts.len());
        if got != expected {
            return Err(EmbedError::InputLength { expected, got });
        }
        match self {
            Settings::Sensor(sensor) => Ok(sensor.input(counts, true)),
        }
    }
}

impl SensorSettings {
    fn check(&self) -> Result<(), SettingsError> {
        let lists = [&self.scale, &self.mean, &self.std];
        let fit = |l: &&Vec<f32>| l.len() == self.channels && l.iter().all(|v| v.is_finite());
        let sized = (1..=4096).contains(&self.channels)
            && (1..=65_535).contains(&self.window)
            && self.channels * self.window <= 1 << 20;
        let wrong = if !sized || !(1..=self.window).contains(&self.hop) || !self.rate.is_finite() {
            "channels, window, hop or rate out of range"
        } else if !lists.iter().all(fit) {
            "scale, mean and std need one number a channel"
        } else if self.scale.iter().chain(&self.std).any(|&v| v <= 0.0) {
            "scale and std must be positive"
        } else {
            return Ok(());
        };
        Err(SettingsError(wrong.into()))
    }

    /// Raw counts from physical units: what the sensor's registers would have held.
    ///
    /// `values` is `[time][channels]`; values beyond the int16 range are clipped, as a sensor does.
    pub fn counts(&self, values: &[f32]) -> Vec<i16> {
        let scaled = values
            .iter()
            .zip(self.scale.iter().cycle())
            .map(|(v, s)| (v / s).round());
        scaled.map(|v| v.clamp(-32768.0, 32767.0) as i16).collect()
    }

    /// The graph's input, `[channels][time]` or as the counts are, from raw counts
    /// `[time][channels]`.
    pub fn input(&self, counts: &[i16], channels_last: bool) -> Vec<f32> {
        let mut input = vec![0.0; counts.len()];
        let steps = counts.len() / self.channels;
        for (t, step) in counts.chunks_exact(self.channels).enumerate() {
            for (c, &count) in step.iter().enumerate() {
                let at = if channels_last {
                    t * self.channels + c
                } else {
                    c * steps + t
                };
                input[at] = (f32::from(count) * self.scale[c] - self.mean[c]) / self.std[c];
            }
        }
        input
    }
}
