//! From the raw signal to the encoder's input, in integers: the same bits on host and device.

mod image;
mod log_mel;
mod resample;
mod resize;
mod sensor;
#[cfg(feature = "onnx")]
pub mod settings;
mod signal;
mod spectrum;
#[cfg(all(test, feature = "onnx"))]
mod tests;

pub use image::{Fit, ImageInput, ImageRecord, KIND_IMAGE, LARGEST_INPUT, WHOLE};
pub use log_mel::{Band, DECIBEL, KIND_LOG_MEL, LogMel, LogMelRecord};
pub use resample::{Rates, Resampler};
pub use resize::{Rectangle, Resize};
pub use sensor::{ChannelScale, KIND_SENSOR, SensorRecord, SensorWindow};
#[cfg(feature = "onnx")]
pub use settings::{SensorSettings, Settings, SettingsError};
pub use signal::{Image, Signal};

use core::ops::Range;

use crate::encoder::EmbedError;
use crate::ops::Kernels;
use crate::pack::TensorRecord;

/// The kinds of front end, as [`kernels!`](crate::kernels) spells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrontEndKind {
    /// A window of a sensor.
    Sensor = 29,
    /// A picture.
    Image = 30,
    /// Sound.
    LogMel = 31,
}

impl FrontEndKind {
    /// As `kernels!` spells it.
    pub fn name(self) -> &'static str {
        match self {
            FrontEndKind::Sensor => "Sensor",
            FrontEndKind::Image => "Image",
            FrontEndKind::LogMel => "LogMel",
        }
    }
}

/// What an encoder takes, and how its input is made of it.
#[derive(Clone, Copy, Debug)]
pub enum FrontEnd<'a> {
    /// A window of a sensor.
    Sensor(SensorWindow<'a>),
    /// A picture.
    Image(ImageInput<'a>),
    /// Sound.
    LogMel(LogMel<'a>),
}

impl<'a> FrontEnd<'a> {
    /// Reads and checks the section of a pack whose input is `input`; `None` where it does not fit.
    /// What it asks of the arena is for the pack's plan to check.
    pub(crate) fn read<K: Kernels>(section: &'a [u8], input: &TensorRecord) -> Option<Self> {
        match *section.first()? {
            KIND_SENSOR => SensorWindow::read(section, input).map(FrontEnd::Sensor),
            KIND_IMAGE if K::has_front_end(FrontEndKind::Image) => {
                ImageInput::read(section, input).map(FrontEnd::Image)
            }
            KIND_LOG_MEL if K::has_front_end(FrontEndKind::LogMel) => {
                LogMel::read(section, input).map(FrontEnd::LogMel)
            }
            _ => None,
        }
    }

    /// Which it is.
    pub fn kind(&self) -> FrontEndKind {
        match self {
            FrontEnd::Sensor(_) => FrontEndKind::Sensor,
            FrontEnd::Image(_) => FrontEndKind::Image,
            FrontEnd::LogMel(_) => FrontEndKind::LogMel,
        }
    }

    /// Samples of a signal, channels and time steps together; 0 of a picture.
    pub fn input_len(&self) -> usize {
        match self {
            FrontEnd::Sensor(sensor) => sensor.len(),
            FrontEnd::Image(_) => 0,
            FrontEnd::LogMel(log_mel) => log_mel.len(),
        }
    }

    /// How often the encoder runs for a signal; its raw embedding is the rounded mean.
    pub fn windows(&self) -> usize {
        match self {
            FrontEnd::LogMel(log_mel) => log_mel.windows(),
            _ => 1,
        }
    }

    /// In words.
    pub fn takes(&self) -> &'static str {
        match self {
            FrontEnd::Sensor(_) => "samples of a sensor",
            FrontEnd::Image(_) => "images",
            FrontEnd::LogMel(_) => "samples of sound",
        }
    }

    /// What it keeps in the arena while the layers run: the sums of `dim` embeddings, and the clip's
    /// frames. Empty where there is one window.
    pub(crate) fn kept(&self, dim: usize) -> [Range<usize>; 2] {
        match self {
            FrontEnd::LogMel(log_mel) if log_mel.windows() > 1 => log_mel.kept(dim),
            _ => [0..0, 0..0],
        }
    }

    /// What it needs in the arena before the layers run.
    pub(crate) fn scratch(&self) -> Range<usize> {
        match self {
            FrontEnd::LogMel(log_mel) => log_mel.scratch(),
            _ => 0..0,
        }
    }

    /// Makes the input of the first window, `input` in the arena, and of a clip all frames. A kind
    /// that `K` has not is not in the binary.
    pub(crate) fn start<K: Kernels>(
        &self,
        signal: Signal<'_>,
        arena: &mut [i8],
        input: Range<usize>,
        dim: usize,
    ) -> Result<(), EmbedError> {
        match (self, signal) {
            (FrontEnd::Sensor(sensor), Signal::Samples(counts)) => {
                sized(counts, sensor.len())?;
                sensor.run(counts, &mut arena[input]);
            }
            (FrontEnd::Image(to), Signal::Image(image))
                if K::has_front_end(FrontEndKind::Image) =>
            {
                to.run(image, &mut arena[input])
            }
            (FrontEnd::LogMel(log_mel), Signal::Samples(samples))
                if K::has_front_end(FrontEndKind::LogMel) =>
            {
                sized(samples, log_mel.len())?;
                let [_, clip] = self.kept(dim);
                let frames = if clip.is_empty() { input } else { clip };
                // Checked: they share no byte, and the scratch is aligned.
                if let Ok([scratch, frames]) = arena.get_disjoint_mut([log_mel.scratch(), frames])
                    && let Ok(scratch) = bytemuck::try_cast_slice_mut(scratch)
                {
                    log_mel.run(samples, scratch, frames);
                }
            }
            _ => {
                return Err(EmbedError::WrongSignal {
                    takes: self.takes(),
                });
            }
        }
        Ok(())
    }

    /// Makes the input of window number `window` of several, whose clip lies at `clip`.
    pub(crate) fn select(&self, window: usize, arena: &mut [i8], clip: usize, input: Range<usize>) {
        if let FrontEnd::LogMel(log_mel) = self {
            let from = clip + window * log_mel.step() * log_mel.bands();
            arena.copy_within(from..from + input.len(), input.start);
        }
    }
}

fn sized(samples: &[i16], expected: usize) -> Result<(), EmbedError> {
    if samples.len() == expected {
        Ok(())
    } else {
        let got = samples.len();
        Err(EmbedError::InputLength { expected, got })
    }
}

/// A value as the encoder's int8: `(value * multiplier + bias) / 2^shift`, rounded half up.
/// `value` has at most 16 bits and `scale` is bounded, so nothing overflows.
fn scaled(value: i32, scale: &ChannelScale, shift: u32) -> i8 {
    let value = value * scale.multiplier + scale.bias + (1 << (shift - 1));
    (value >> shift).clamp(-128, 127) as i8
}
