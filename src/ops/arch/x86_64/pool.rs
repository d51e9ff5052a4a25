//! The average over all of an int8 image, 32 channels at a time.

use core::arch::x86_64::*;

use crate::ops::{Layer, write};
use crate::quantize::scale;

/// Channels at a time.
const CHANNELS: usize = 32;

/// Runs the layer, or says no: other windows, padding, and outputs over the input.
pub(super) fn run(layer: &Layer<'_>, arena: &mut [i8]) -> bool {
    let (record, from, to) = (layer.record, layer.input, layer.output);
    let (input, output) = (from.place(), to.place());
    let apart = input.end <= output.start || output.end <= input.start;
    let whole = [record.kernel_height, record.kernel_width] == [from.height, from.width]
        && [record.pad_top, record.pad_left] == [0, 0]
        && [to.height, to.width] == [1, 1];
    if !(apart && whole && from.element == 1) {
        return false;
    }
    let (channels, zero_point) = (usize::from(from.channels), i32::from(to.zero_point));
    let (low, high) = (i32::from(record.low), i32::from(record.high));
    for first in (0..channels).step_by(CHANNELS) {
        let count = CHANNELS.min(channels - first);
        // SAFETY: only called where AVX2 was found.
        let sums = unsafe { sums(&arena[input.clone()], channels, first..first + count) };
        for (i, sum) in sums.into_iter().enumerate().take(count) {
            let acc = sum.wrapping_add(record.bias);
            let scaled = scale(acc, record.first_multiplier, u32::from(record.shift));
            let value = scaled.saturating_add(zero_point).clamp(low, high);
            write(arena, to, first + i, value);
        }
    }
    true
}

/// The sums of some channels over all pixels.
#[target_feature(enable = "avx2")]
unsafe fn sums(pixels: &[i8], channels: usize, these: core::ops::Range<usize>) -> [i32; CHANNELS] {
    let mut sums = [0i32; CHANNELS];
    if these.len() < CHANNELS {
        for pixel in pixels.chunks_exact(channels) {
            for (sum, &value) in sums.iter_mut().zip(&pixel[these.clone()]) {
                *sum = sum.wrapping_add(value.into());
            }
        }
        return sums;
    }
    let mut acc = [_mm256_setzero_si256(); 4];
    for pixel in pixels.chunks_exact(channels) {
        for (acc, eight) in acc.iter_mut().zip(pixel[these.clone()].as_chunks::<8>().0) {
            let values = _mm_cvtsi64_si128(i64::from_le_bytes(eight.map(|v| v as u8)));
            *acc = _mm256_add_epi32(*acc, _mm256_cvtepi8_epi32(values));
        }
    }
    for (sums, acc) in sums.as_chunks_mut::<8>().0.iter_mut().zip(acc) {
        // SAFETY: eight words are 32 bytes.
        unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast(), acc) };
    }
    sums
}
