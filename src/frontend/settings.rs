//! The front end as an encoder's ONNX file describes it, in JSON under `headstart.frontend`; feature
//! `onnx`.
//!
//! What a float runtime is given, [`Settings::inputs`], is made by the integer code of the device and
//! only then turned into numbers; what a pack holds is [`Settings::section`].

mod image;
mod log_mel;
mod place;
mod sensor;

use std::string::String;
use std::vec::Vec;

use serde::{Deserialize, Serialize};

pub use image::{FitSetting, ImageSettings, Order};
pub use log_mel::{LogMelSettings, MelScale, Norm};
pub use place::Arena;
pub use sensor::SensorSettings;

use super::{ChannelScale, Signal};
use crate::encoder::EmbedError;

/// One of the kinds of front end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Settings {
    /// A window of a sensor.
    Sensor(SensorSettings),
    /// A picture.
    Image(ImageSettings),
    /// Sound.
    LogMel(LogMelSettings),
}

/// A pack's front end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The section.
    pub bytes: Vec<u8>,
    /// Bytes of the arena, now that the front end has its place in it.
    pub arena_bytes: usize,
}

/// What is wrong with a front end's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingsError {
    /// No JSON, or not of a known kind: what the parser said.
    Json(String),
    /// A number is out of range: which, and what it may be.
    Range(&'static str),
    /// The encoder's int8 input can't be reached from the signal: `mean` or `std` are too far from
    /// it.
    Scale,
}

impl core::fmt::Display for SettingsError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            SettingsError::Json(why) => write!(f, "the front end can't be read: {why}"),
            SettingsError::Range(what) => write!(f, "the front end's settings are refused: {what}"),
            SettingsError::Scale => f.write_str(
                "the signal's scale is too far from the encoder's: check `scale`, `mean` and `std`",
            ),
        }
    }
}

impl core::error::Error for SettingsError {}

impl Settings {
    /// Reads JSON and checks every number.
    ///
    /// ```
    /// use headstart::frontend::settings::Settings;
    /// let json = r#"{"kind":"image","height":96,"width":96,"channels":1,"order":"rgb",
    ///     "fit":"crop","crop":0.875,"mean":[127.5],"std":[127.5]}"#;
    /// assert_eq!(Settings::parse(json)?.shape(), [96, 96, 1]);
    /// # Ok::<(), headstart::frontend::settings::SettingsError>(())
    /// ```
    pub fn parse(json: &str) -> Result<Self, SettingsError> {
        let settings: Settings =
            serde_json::from_str(json).map_err(|e| SettingsError::Json(std::format!("{e}")))?;
        settings.check()?;
        Ok(settings)
    }

    /// As [`Settings::parse`] reads them.
    pub fn json(&self) -> String {
        // Strings, numbers and lists always have a JSON.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether every number is in range.
    pub fn check(&self) -> Result<(), SettingsError> {
        match self {
            Settings::Sensor(sensor) => sensor.check(),
            Settings::Image(image) => image.check(),
            Settings::LogMel(log_mel) => log_mel.check(),
        }
    }

    /// Height, width and channels of one window of the graph's input.
    pub fn shape(&self) -> [usize; 3] {
        match self {
            Settings::Sensor(s) => [1, s.window, s.channels],
            Settings::Image(s) => [s.height.into(), s.width.into(), s.channels.into()],
            Settings::LogMel(s) => [s.frames.into(), s.bands.into(), 1],
        }
    }

    /// How often the encoder runs for a signal; its raw embedding is the mean.
    pub fn windows(&self) -> usize {
        match self {
            Settings::LogMel(s) => s.windows.into(),
            _ => 1,
        }
    }

    /// Samples of a signal, channels and time steps together; 0 of a picture.
    pub fn input_len(&self) -> usize {
        match self {
            Settings::Sensor(s) => s.window * s.channels,
            Settings::Image(_) => 0,
            Settings::LogMel(s) => s.input_len(),
        }
    }

    /// In words.
    pub fn takes(&self) -> &'static str {
        match self {
            Settings::Sensor(_) => "samples of a sensor",
            Settings::Image(_) => "images",
            Settings::LogMel(_) => "samples of sound",
        }
    }

    /// The graph's input, window by window, `[windows][height][width][channels]`.
    pub fn inputs(&self, signal: Signal<'_>) -> Result<Vec<f32>, EmbedError> {
        match (self, signal) {
            (Settings::Sensor(s), Signal::Samples(counts)) => {
                self.sized(counts)?;
                Ok(s.input(counts, true))
            }
            (Settings::Image(s), Signal::Image(image)) => Ok(s.input(image)),
            (Settings::LogMel(s), Signal::Samples(samples)) => {
                self.sized(samples)?;
                Ok(s.inputs(samples))
            }
            _ => Err(EmbedError::WrongSignal {
                takes: self.takes(),
            }),
        }
    }

    fn sized(&self, samples: &[i16]) -> Result<(), EmbedError> {
        super::sized(samples, self.input_len())
    }

    /// The pack's section for an encoder whose int8 input is `step * (integer - zero_point)`, and
    /// the arena that is needed with it. `arena` is what layers and tensors take.
    pub fn section(
        &self,
        step: f64,
        zero_point: i32,
        arena: Arena,
    ) -> Result<Section, SettingsError> {
        self.check()?;
        let (bytes, arena_bytes) = match self {
            Settings::Sensor(s) => (s.section(step, zero_point)?, arena.bytes),
            Settings::Image(s) => (s.section(step, zero_point)?, arena.bytes),
            Settings::LogMel(s) => s.section(step, zero_point, arena)?,
        };
        Ok(Section { bytes, arena_bytes })
    }
}

fn require(fits: bool, what: &'static str) -> Result<(), SettingsError> {
    if fits {
        Ok(())
    } else {
        Err(SettingsError::Range(what))
    }
}

/// One finite number a channel, and spreads above 0.
fn check_spread(channels: usize, mean: &[f32], std: &[f32]) -> Result<(), SettingsError> {
    let sized = |list: &[f32]| list.len() == channels && list.iter().all(|v| v.is_finite());
    require(
        sized(mean) && sized(std) && std.iter().all(|&v| v > 0.0),
        "`mean` and `std` need one finite number a channel, and `std` more than 0",
    )
}

/// The integers for `input = (value * scale - mean) / std` in int8, for each channel, over a common
/// power of two: with as many bits as [`ChannelScale`] allows.
fn scales(
    channels: impl Iterator<Item = [f64; 3]>,
    step: f64,
    zero_point: i32,
) -> Result<(Vec<ChannelScale>, u8), SettingsError> {
    let wanted: Vec<(f64, f64)> = channels
        .map(|[scale, mean, std]| {
            let unit = std * step;
            (scale / unit, f64::from(zero_point) - mean / unit)
        })
        .collect();
    let fits = |shift: u8| {
        let unit = f64::from(1u32 << shift);
        let mut all = wanted.iter();
        all.all(|(m, b)| m * unit <= 32_768.0 && (b * unit).abs() <= f64::from(1 << 29))
    };
    let shift = (1..=24)
        .rev()
        .find(|&s| fits(s))
        .ok_or(SettingsError::Scale)?;
    let unit = f64::from(1u32 << shift);
    let scale = |&(m, b): &(f64, f64)| ChannelScale {
        multiplier: libm::round(m * unit) as i32,
        bias: libm::round(b * unit) as i32,
    };
    Ok((wanted.iter().map(scale).collect(), shift))
}

fn section_of(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

#[cfg(test)]
mod tests;
