//! Sound as the logarithm of its power in bands of equal width on the mel scale, in integers.
//!
//! A frame of samples is weighted with a window, its power spectrum summed up in triangles, and each
//! sum given in decibels: Davis and Mermelstein, *Comparison of Parametric Representations for
//! Monosyllabic Word Recognition in Continuously Spoken Sentences*, 1980, without the cosine
//! transform.

use core::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::spectrum::{self, QuarterSine};
use super::{ChannelScale, scaled};
use crate::pack::TensorRecord;

/// The first 44 bytes of the section. Behind it: `frame / 2 + 1` i32 of the window, `fft / 4 + 1` i32
/// of a sine, `bands` [`Band`]s, and their weights.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct LogMelRecord {
    /// 3.
    pub kind: u8,
    /// Of the scale, 1 to 24.
    pub shift: u8,
    /// A band's weight is its integer / 2^this; 0 to 63.
    pub weight_shift: u8,
    /// How many windows make a clip, 1 to 255.
    pub windows: u8,
    /// Samples a second.
    pub rate_hz: u32,
    /// Samples that the window weighs, 2 to `fft`; they lie in the middle of `fft` samples.
    pub frame: u16,
    /// Samples of a transform, a power of two, 16 to 4,096.
    pub fft: u16,
    /// Samples between the starts of two frames, at least 1.
    pub hop: u16,
    /// Bands, at least 1.
    pub bands: u16,
    /// Frames that the encoder sees at once, at least 1.
    pub frames: u16,
    /// Frames between the starts of two windows, 1 to `frames`.
    pub step: u16,
    /// No band is quieter; in units of 1 / [`DECIBEL`] dB.
    pub floor: i16,
    /// Nor quieter than the clip's loudest band by more than this; the same unit.
    pub range: u16,
    /// Where in the arena the scratch lies, 4 bytes for each of `fft` + 2 words; a multiple of 4.
    pub scratch_at: u32,
    /// Of more than one window: where the sums of embeddings lie, 4 bytes each, and behind them the
    /// clip's frames, a byte a band; a multiple of 4. Else 0.
    pub kept_at: u32,
    /// Zero.
    pub reserved: u32,
    /// From 1 / [`DECIBEL`] dB to int8; the multiplier is not negative.
    pub scale: ChannelScale,
}

/// A band's part of the spectrum: 4 bytes.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Band {
    /// The first bin.
    pub first: u16,
    /// Bins, at most 512; their weights, u32 of at most 2^24, stand behind those of the band before.
    pub bins: u16,
}

/// The value of [`LogMelRecord::kind`].
pub const KIND_LOG_MEL: u8 = 3;

/// The unit of a band's power is 1/128 dB above a power of 1, samples counted as they are: int16
/// holds -256 to 256 dB.
pub const DECIBEL: i32 = 128;

/// More samples are no clip for a device.
const LONGEST_CLIP: u64 = 1 << 24;

/// Frames of log-mel bands, from int16 samples of sound: `[frames][bands]`.
#[derive(Clone, Copy, Debug)]
pub struct LogMel<'a> {
    record: &'a LogMelRecord,
    tables: &'a [i32],
}

/// What stands behind the record.
struct Tables<'a> {
    window: &'a [i32],
    sines: QuarterSine<'a>,
    bands: &'a [Band],
    weights: &'a [u32],
}

impl<'a> LogMel<'a> {
    /// Reads and checks the section of a pack whose input is `input`. Where its memory lies in the
    /// arena is for the pack's plan to check.
    pub(crate) fn read(section: &'a [u8], input: &TensorRecord) -> Option<Self> {
        let (head, tables) = section.split_at_checked(size_of::<LogMelRecord>())?;
        let log_mel = LogMel {
            record: bytemuck::try_from_bytes(head).ok()?,
            tables: bytemuck::try_cast_slice(tables).ok()?,
        };
        let r = log_mel.record;
        let fits = log_mel.sized() && log_mel.tables()?.fit(r) && input.is([r.frames, r.bands, 1]);
        fits.then_some(log_mel)
    }

    fn sized(&self) -> bool {
        let r = self.record;
        let frames = u64::from(r.windows) * u64::from(r.step) + u64::from(r.frames);
        r.reserved == 0
            && (1..=24).contains(&r.shift)
            && r.weight_shift <= 63
            && r.windows >= 1
            && (16..=4096).contains(&r.fft)
            && r.fft.is_power_of_two()
            && (2..=r.fft).contains(&r.frame)
            && r.hop >= 1
            && (1..=r.frames).contains(&r.step)
            && r.scale.bounded()
            && r.scale.multiplier >= 0
            && (r.scratch_at | r.kept_at).is_multiple_of(4)
            && (r.windows > 1 || r.kept_at == 0)
            && frames * u64::from(r.hop) <= LONGEST_CLIP
    }

    /// `None` where there are too few words.
    fn tables(&self) -> Option<Tables<'a>> {
        let r = self.record;
        let (window, rest) = self.tables.split_at_checked(usize::from(r.frame) / 2 + 1)?;
        let (sines, rest) = rest.split_at_checked(usize::from(r.fft) / 4 + 1)?;
        let (bands, weights) = rest.split_at_checked(r.bands.into())?;
        Some(Tables {
            window,
            sines: QuarterSine::new(sines),
            bands: bytemuck::cast_slice(bands),
            weights: bytemuck::cast_slice(weights),
        })
    }

    /// Samples a second.
    pub fn rate_hz(&self) -> u32 {
        self.record.rate_hz
    }

    /// Values of a frame.
    pub fn bands(&self) -> usize {
        self.record.bands.into()
    }

    /// Frames that the encoder sees at once.
    pub fn frames(&self) -> usize {
        self.record.frames.into()
    }

    /// Windows of a clip, `step` frames apart; where there are several, their raw embeddings'
    /// rounded mean is the clip's.
    pub fn windows(&self) -> usize {
        self.record.windows.into()
    }

    /// Frames between the starts of two windows.
    pub fn step(&self) -> usize {
        self.record.step.into()
    }

    /// Frames of a clip.
    pub fn clip_frames(&self) -> usize {
        (self.windows() - 1) * self.step() + self.frames()
    }

    /// Samples of a clip: `(clip_frames - 1) * hop + fft`.
    pub fn len(&self) -> usize {
        (self.clip_frames() - 1) * usize::from(self.record.hop) + usize::from(self.record.fft)
    }

    /// Whether a clip holds nothing (a checked pack's never does).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Words of scratch: `fft + 2`.
    pub fn scratch_words(&self) -> usize {
        usize::from(self.record.fft) + 2
    }

    pub(crate) fn scratch(&self) -> Range<usize> {
        let from = self.record.scratch_at as usize;
        from..from.saturating_add(4 * self.scratch_words())
    }

    /// What is kept in the arena while the layers run, where there are several windows: the sums of
    /// `dim` embeddings and the clip's frames.
    pub(crate) fn kept(&self, dim: usize) -> [Range<usize>; 2] {
        let from = self.record.kept_at as usize;
        let middle = from.saturating_add(4 * dim);
        let clip = self.clip_frames().saturating_mul(self.bands());
        [from..middle, middle..middle.saturating_add(clip)]
    }

    /// All frames of a clip as int8, `[clip_frames][bands]`; `samples` is [`LogMel::len`] long,
    /// `scratch` [`LogMel::scratch_words`].
    ///
    /// A frame costs `fft / 4 * (log2 fft + 1)` complex products of 32 bits, a multiplication for each
    /// weight and 16 for each band.
    pub fn run(&self, samples: &[i16], scratch: &mut [i32], clip: &mut [i8]) {
        let (scale, shift) = (&self.record.scale, self.record.shift.into());
        let mut loudest = i16::MIN;
        let mut out = clip.iter_mut();
        self.decibels(samples, scratch, |value| {
            loudest = loudest.max(value);
            if let Some(out) = out.next() {
                *out = scaled(value.into(), scale, shift);
            }
        });
        // The scale keeps order: limits may come behind it.
        let least = scaled(self.least(loudest).into(), scale, shift);
        clip.iter_mut().for_each(|value| *value = least.max(*value));
    }

    /// The least that a clip's bands count for, given its loudest.
    pub fn least(&self, loudest: i16) -> i16 {
        let least = i32::from(loudest) - i32::from(self.record.range);
        least.max(i16::MIN.into()) as i16
    }

    /// Shows each band of each frame, in units of 1 / [`DECIBEL`] dB, not below the floor. What is
    /// out of the clip's range is not yet cut off.
    pub fn decibels(&self, samples: &[i16], scratch: &mut [i32], mut see: impl FnMut(i16)) {
        // Checked: they are there.
        let Some(tables) = self.tables() else {
            return;
        };
        let (fft, hop) = (usize::from(self.record.fft), usize::from(self.record.hop));
        for samples in samples.windows(fft).step_by(hop).take(self.clip_frames()) {
            let exponent = self.load(tables.window, samples, scratch);
            spectrum::power(scratch, tables.sines);
            let mut weights = tables.weights;
            for band in tables.bands {
                let (own, rest) = weights.split_at(band.bins.into());
                weights = rest;
                see(self.band(band, own, scratch, exponent));
            }
        }
    }

    /// Weighs a frame with the window and brings it to 29 bits; the powers of its spectrum are then
    /// to be taken times 2 to the number that comes back.
    fn load(&self, window: &[i32], samples: &[i16], scratch: &mut [i32]) -> i32 {
        let (frame, fft) = (usize::from(self.record.frame), samples.len());
        let samples = &samples[(fft - frame) / 2..][..frame];
        let weighed = samples.iter().enumerate().map(|(i, &sample)| {
            let weight = window[i.min(frame - i)];
            i64::from(sample) * i64::from(weight)
        });
        let bits = weighed.clone().fold(0, |bits, v| bits | v.unsigned_abs());
        let shift = 64 - 29 - bits.leading_zeros() as i32;
        let half = 1i64 << shift.max(1) >> 1;
        scratch.fill(0);
        for (i, value) in weighed.enumerate() {
            let value = if shift > 0 {
                // Rounding may reach 2^29 itself.
                ((value + half) >> shift).min((1 << 29) - 1)
            } else {
                value << -shift
            };
            scratch[spectrum::place(i, fft)] = value as i32;
        }
        // The window counts in 2^-30, and the spectrum is 2^(2 - log2 fft) times the samples'.
        2 * (shift - 30 + fft.trailing_zeros() as i32 - 2)
    }

    fn band(&self, band: &Band, weights: &[u32], spectrum: &[i32], exponent: i32) -> i16 {
        let first = usize::from(band.first);
        let powers = (first..first + weights.len()).map(|k| spectrum::power_at(spectrum, k));
        let bits = powers.clone().fold(0, |bits, power| bits | power);
        // 31 bits of the loudest bin, 24 of a weight and 512 bins fit 64 bits.
        let shift = 33u32.saturating_sub(bits.leading_zeros());
        let part = |(power, &weight): (u64, &u32)| (power >> shift) * u64::from(weight);
        let sum: u64 = powers.zip(weights).map(part).sum();
        if sum == 0 {
            return self.record.floor;
        }
        let exponent = exponent + shift as i32 - i32::from(self.record.weight_shift);
        let log = i64::from(log2(sum)) + (i64::from(exponent) << 16);
        // 10 log10(2) dB for each doubling.
        const OCTAVE: i64 = 25_252_226;
        let value = (log * OCTAVE + (1 << 31)) >> 32;
        value.clamp(self.record.floor.into(), i16::MAX.into()) as i16
    }
}

impl Tables<'_> {
    fn fit(&self, record: &LogMelRecord) -> bool {
        let bins = usize::from(record.fft) / 2 + 1;
        let inside = |b: &Band| b.bins <= 512 && usize::from(b.first) + usize::from(b.bins) <= bins;
        let count: usize = self.bands.iter().map(|b| usize::from(b.bins)).sum();
        self.window.iter().all(|w| (0..=1 << 30).contains(w))
            && self.sines.is_circle()
            && self.bands.iter().all(inside)
            && count == self.weights.len()
            && self.weights.iter().all(|&w| w <= 1 << 24)
    }
}

/// The logarithm to base 2 in units of 2^-16, rounded down: a bit for each squaring. `value` > 0.
fn log2(value: u64) -> u32 {
    let zeros = value.leading_zeros();
    let mut mantissa = (value << zeros) >> 32;
    let mut log = 63 - zeros;
    for _ in 0..16 {
        // From 1 to 2, in units of 2^-31, to 1 to 4.
        let square = (mantissa * mantissa) >> 31;
        let bit = square >> 32;
        mantissa = square >> bit;
        log = 2 * log + bit as u32;
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_right_to_its_last_bit() {
        let cases = (0..63).flat_map(|i| [1 << i, (1 << i) + (1 << i) / 3, (2 << i) - 1]);
        for value in cases.chain([3, 10, 12_345, u64::MAX]) {
            let exact = (value as f64).log2() * 65_536.0;
            let found = f64::from(log2(value));
            assert!(
                found <= exact + 0.001 && exact < found + 1.01,
                "{value}: {found}, {exact}"
            );
        }
    }
}
