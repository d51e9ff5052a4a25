//! A window of a sensor.

use std::vec;
use std::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{SettingsError, check_spread, require, scales, section_of};
use crate::frontend::{KIND_SENSOR, SensorRecord};

/// A window of a sensor: `input[t][c] = (counts[t][c] * scale[c] - mean[c]) / std[c]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SensorSettings {
    /// Values a time step, 1 to 4,096.
    pub channels: usize,
    /// Time steps a window, 1 to 65,535; times channels at most 2^20.
    pub window: usize,
    /// Time steps between two windows, 1 to `window`.
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

impl SensorSettings {
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let sized = (1..=4096).contains(&self.channels)
            && (1..=65_535).contains(&self.window)
            && self.channels * self.window <= 1 << 20;
        require(
            sized && (1..=self.window).contains(&self.hop) && self.rate.is_finite(),
            "`channels` may be 1 to 4096, `window` 1 to 65535, `hop` 1 to `window`, `rate` any number",
        )?;
        let scaled = self.scale.len() == self.channels
            && self.scale.iter().all(|&v| v.is_finite() && v > 0.0);
        require(scaled, "`scale` needs one number above 0 a channel")?;
        check_spread(self.channels, &self.mean, &self.std)
    }

    /// Raw counts from physical units: what the sensor's registers would have held.
    ///
    /// `values` is `[time][channels]`; values beyond the int16 range are clipped, as a sensor does.
    pub fn counts(&self, values: &[f32]) -> Vec<i16> {
        let scaled = values
            .iter()
            .zip(self.scale.iter().cycle())
            .map(|(v, s)| libm::roundf(v / s));
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

    pub(super) fn section(&self, step: f64, zero_point: i32) -> Result<Vec<u8>, SettingsError> {
        let channel = |c: usize| [self.scale[c], self.mean[c], self.std[c]].map(f64::from);
        let (scales, shift) = scales((0..self.channels).map(channel), step, zero_point)?;
        // Checked: all below 2^16.
        let head = SensorRecord {
            kind: KIND_SENSOR,
            shift,
            channels: self.channels as u16,
            window: self.window as u16,
            hop: self.hop as u16,
            rate_hz: self.rate,
            reserved: 0,
        };
        Ok(section_of(&[
            bytemuck::bytes_of(&head),
            bytemuck::cast_slice(&scales),
        ]))
    }
}
