//! A picture.

use std::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{SettingsError, check_spread, require, scales, section_of};
use crate::frontend::{Image, ImageInput, ImageRecord, KIND_IMAGE, LARGEST_INPUT, WHOLE};

/// A picture of any size: `input[y][x][c] = (pixel - mean[c]) / std[c]`, pixels 0 to 255.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageSettings {
    /// Rows of the input, 2 to 2,048.
    pub height: u16,
    /// Columns, the same.
    pub width: u16,
    /// 1 (grey) or 3.
    pub channels: u16,
    /// Which of three colours comes first; of grey `rgb`.
    #[serde(default)]
    pub order: Order,
    /// Which part of a picture the encoder sees.
    pub fit: FitSetting,
    /// Of a crop: the part of the largest rectangle's sides, above 0 and at most 1; kept to 15 bits.
    #[serde(default = "whole")]
    pub crop: f64,
    /// A number a channel, in the input's order.
    pub mean: Vec<f32>,
    /// The same, above 0.
    pub std: Vec<f32>,
}

/// The order of three colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Red first.
    #[default]
    Rgb,
    /// Blue first.
    Bgr,
}

/// Which part of a picture the encoder sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FitSetting {
    /// All of it, each side by its own factor.
    Stretch,
    /// The largest rectangle in the middle that has the input's sides, times `crop`.
    Crop,
}

fn whole() -> f64 {
    1.0
}

impl ImageSettings {
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let side = |n: u16| (2..=LARGEST_INPUT).contains(&n);
        require(
            side(self.height) && side(self.width) && matches!(self.channels, 1 | 3),
            "`height` and `width` may be 2 to 2048, `channels` 1 or 3",
        )?;
        require(
            self.channels == 3 || self.order == Order::Rgb,
            "`order` of one channel is rgb",
        )?;
        let part = (1..=u32::from(WHOLE)).contains(&(self.part() as u32));
        require(
            self.crop <= 1.0 && part && (self.fit == FitSetting::Crop || self.crop == 1.0),
            "`crop` may be above 0 and at most 1, and 1 of a stretch",
        )?;
        check_spread(self.channels.into(), &self.mean, &self.std)
    }

    fn part(&self) -> f64 {
        libm::round(self.crop * f64::from(WHOLE))
    }

    pub(super) fn input(&self, image: Image<'_>) -> Vec<f32> {
        let record = self.record(1);
        let device = ImageInput::of(&record);
        let spreads = self.mean.iter().zip(&self.std).cycle();
        let bytes = device.bytes(image).zip(spreads);
        bytes
            .map(|(byte, (mean, std))| (f32::from(byte) - mean) / std)
            .collect()
    }

    pub(super) fn section(&self, step: f64, zero_point: i32) -> Result<Vec<u8>, SettingsError> {
        let spreads = self.mean.iter().zip(&self.std);
        let channels = spreads.map(|(&mean, &std)| [1.0, mean.into(), std.into()]);
        let (scales, shift) = scales(channels, step, zero_point)?;
        let head = self.record(shift);
        Ok(section_of(&[
            bytemuck::bytes_of(&head),
            bytemuck::cast_slice(&scales),
        ]))
    }

    fn record(&self, shift: u8) -> ImageRecord {
        let (fit, crop) = match self.fit {
            FitSetting::Stretch => (0, 0),
            FitSetting::Crop => (1, self.part() as u16),
        };
        ImageRecord {
            kind: KIND_IMAGE,
            shift,
            fit,
            blue_first: u8::from(self.order == Order::Bgr),
            height: self.height,
            width: self.width,
            channels: self.channels,
            crop,
            reserved: 0,
        }
    }
}
