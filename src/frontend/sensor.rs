//! A window of raw sensor counts, as the chip's registers give them.

use bytemuck::{Pod, Zeroable};

use super::scaled;
use crate::pack::TensorRecord;

/// How one channel's counts become int8: `(count * multiplier + bias) / 2^shift`, rounded half up.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct ChannelScale {
    /// At most 2^15 in size, so that no int16 count overflows.
    pub multiplier: i32,
    /// Zero point and mean, at most 2^29 in size.
    pub bias: i32,
}

impl ChannelScale {
    pub(super) fn bounded(&self) -> bool {
        self.multiplier.unsigned_abs() <= 1 << 15 && self.bias.unsigned_abs() <= 1 << 29
    }
}

/// The first 16 bytes of the section; a [`ChannelScale`] for each channel follows.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct SensorRecord {
    /// 1.
    pub kind: u8,
    /// 1 to 24.
    pub shift: u8,
    /// Counts a time step.
    pub channels: u16,
    /// Time steps.
    pub window: u16,
    /// 1 to `window`.
    pub hop: u16,
    /// Time steps a second.
    pub rate_hz: f32,
    /// Zero.
    pub reserved: u32,
}

/// The value of [`SensorRecord::kind`].
pub const KIND_SENSOR: u8 = 1;

/// Windows of int16 samples: `window` time steps of `channels` counts, time-major.
#[derive(Clone, Copy, Debug)]
pub struct SensorWindow<'a> {
    /// Counts a time step.
    pub channels: usize,
    /// Time steps.
    pub window: usize,
    /// Time steps between the starts of two windows of a stream.
    pub hop: usize,
    /// Time steps a second.
    pub rate_hz: f32,
    shift: u32,
    scales: &'a [ChannelScale],
}

impl<'a> SensorWindow<'a> {
    /// Reads and checks the section of a pack whose input is `input`.
    pub(crate) fn read(section: &'a [u8], input: &TensorRecord) -> Option<Self> {
        let (head, scales) = section.split_at_checked(size_of::<SensorRecord>())?;
        let head: &SensorRecord = bytemuck::try_from_bytes(head).ok()?;
        let scales: &[ChannelScale] = bytemuck::try_cast_slice(scales).ok()?;
        let fits = head.kind == KIND_SENSOR
            && head.reserved == 0
            && (1..=24).contains(&head.shift)
            && (1..=head.window).contains(&head.hop)
            && head.rate_hz.is_finite()
            && scales.len() == usize::from(head.channels)
            && scales.iter().all(ChannelScale::bounded)
            && u32::from(input.height) * u32::from(input.width) == u32::from(head.window)
            && input.channels == head.channels
            && input.element == 1;
        fits.then_some(SensorWindow {
            channels: usize::from(head.channels),
            window: usize::from(head.window),
            hop: usize::from(head.hop),
            rate_hz: head.rate_hz,
            shift: u32::from(head.shift),
            scales,
        })
    }

    /// Counts in a window: `window * channels`.
    pub fn len(&self) -> usize {
        self.window * self.channels
    }

    /// Whether a window holds nothing (a checked pack's never does).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills the encoder's input, `[window][channels]`, from counts of the same shape.
    pub fn run(&self, counts: &[i16], input: &mut [i8]) {
        let steps = counts
            .chunks_exact(self.channels)
            .zip(input.chunks_exact_mut(self.channels));
        for (from, to) in steps {
            for ((&count, out), scale) in from.iter().zip(to).zip(self.scales) {
                *out = scaled(count.into(), scale, self.shift);
            }
        }
    }
}
