//! Depthwise convolution with AVX2: eight channels of two outputs at once, two taps an instruction.
//!
//! All channels of an element are one load, and neighbours of a row follow each other.

use core::arch::x86_64::*;

use super::super::direct::eight::{self, GROUP, write_any};
use super::avx2::{Stage, scale};
use super::{Planes, depthwise_vnni};
use crate::pack::Channel;

/// Filters with more taps than this are computed plainly.
const TAPS: usize = 64;

/// Slides the filters over the planes.
pub(super) fn convolve<const VNNI: bool>(planes: &Planes<'_>, out: &mut [i8]) {
    if planes.kernel[0] * planes.kernel[1] > TAPS {
        return eight::convolve(planes, out);
    }
    eight::check(planes);
    if VNNI && depthwise_vnni::convolve(planes, out) {
        return;
    }
    // SAFETY: `Simd` is dispatched to where AVX2 was found; every element that an output looks at
    // was found to be there.
    unsafe {
        match planes.stride[1] {
            1 => slide::<true>(planes, out),
            _ => slide::<false>(planes, out),
        }
    }
}

/// Two taps: where they are, and their weights one beside the other.
#[derive(Clone, Copy)]
struct Pair {
    /// Bytes from an output's first element.
    at: [usize; 2],
    /// Of channels 0 to 3 and 4 to 7, in both halves.
    weights: [__m256i; 2],
}

/// Output rows and columns; `NEXT` where the next output's element is the next one.
#[target_feature(enable = "avx2")]
unsafe fn slide<const NEXT: bool>(planes: &Planes<'_>, out: &mut [i8]) {
    let mut pairs = [Pair {
        at: [0; 2],
        weights: [_mm256_setzero_si256(); 2],
    }; TAPS / 2];
    let taps = planes.kernel[0] * planes.kernel[1];
    let pairs = &mut pairs[..taps.div_ceil(2)];
    for (i, pair) in pairs.iter_mut().enumerate() {
        let (first, second) = (2 * i, 2 * i + 1);
        let zero = _mm_setzero_si128();
        let a = weights(planes, first);
        // An odd last tap has a neighbour that weighs nothing.
        let (at, b) = match second < taps {
            true => (place(planes, second), weights(planes, second)),
            false => (place(planes, first), zero),
        };
        pair.at = [place(planes, first), at];
        pair.weights = [
            _mm256_broadcastsi128_si256(_mm_unpacklo_epi16(a, b)),
            _mm256_broadcastsi128_si256(_mm_unpackhi_epi16(a, b)),
        ];
    }
    let end = planes.first + planes.count;
    let stage = Outputs::new(planes, &planes.stage.channels[planes.first..end]);
    let step = planes.stride[1] * GROUP;
    let bytes: *const i8 = planes.planes.as_ptr().cast();
    for y in 0..planes.height {
        for x in (0..planes.width).step_by(2) {
            let at = y * planes.stride[0] * planes.columns * GROUP + x * step;
            // SAFETY: the caller checked the last element of the last pair of outputs.
            let sums = unsafe { two::<NEXT>(bytes.add(at), step, pairs) };
            stage.write(planes, sums, (y, x), out);
        }
    }
}

/// Bytes from an output's first element to that of a tap.
fn place(planes: &Planes<'_>, tap: usize) -> usize {
    let (ky, kx) = (tap / planes.kernel[1], tap % planes.kernel[1]);
    (ky * planes.dilation[0] * planes.columns + kx * planes.dilation[1]) * GROUP
}

/// The weights of one tap as int16; those of channels that are not there are 0.
#[inline]
#[target_feature(enable = "avx2")]
fn weights(planes: &Planes<'_>, tap: usize) -> __m128i {
    let from = tap * planes.stage.channels.len() + planes.first;
    let mut eight = [0u8; GROUP];
    for (to, &from) in eight
        .iter_mut()
        .zip(&planes.weights[from..from + planes.count])
    {
        *to = from as u8;
    }
    _mm_cvtepi8_epi16(_mm_cvtsi64_si128(i64::from_le_bytes(eight)))
}

/// Two outputs: channels 0 to 3 of both, then 4 to 7 of both.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn two<const NEXT: bool>(from: *const i8, step: usize, pairs: &[Pair]) -> [__m256i; 2] {
    let mut sums = [_mm256_setzero_si256(); 2];
    for pair in pairs {
        let mut x = [_mm256_setzero_si256(); 2];
        for (x, at) in x.iter_mut().zip(pair.at) {
            // SAFETY: the caller's promise.
            let both = unsafe {
                let from = from.add(at);
                if NEXT {
                    _mm_loadu_si128(from.cast())
                } else {
                    let second = _mm_loadl_epi64(from.add(step).cast());
                    _mm_unpacklo_epi64(_mm_loadl_epi64(from.cast()), second)
                }
            };
            *x = _mm256_cvtepi8_epi16(both);
        }
        let (low, high) = (
            _mm256_unpacklo_epi16(x[0], x[1]),
            _mm256_unpackhi_epi16(x[0], x[1]),
        );
        sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(low, pair.weights[0]));
        sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(high, pair.weights[1]));
    }
    sums
}

/// How the sums of eight channels become outputs; vectors as [`two`] returns them.
struct Outputs {
    plain: bool,
    bias: [__m256i; 2],
    even: [__m256i; 2],
    odd: [__m256i; 2],
    zero_point: __m256i,
}

impl Outputs {
    #[target_feature(enable = "avx2")]
    fn new(planes: &Planes<'_>, channels: &[Channel]) -> Self {
        let stage = planes.stage;
        let (mut biases, mut multipliers) = ([0; GROUP], [0; GROUP]);
        for (i, channel) in channels.iter().enumerate() {
            (biases[i], multipliers[i]) = (channel.bias, channel.multiplier);
        }
        let all = Stage::new(stage.zero_point, [&biases, &multipliers], None);
        let both = |v: __m256i| {
            [
                _mm256_permute2x128_si256::<0x00>(v, v),
                _mm256_permute2x128_si256::<0x11>(v, v),
            ]
        };
        Outputs {
            plain: stage.is_plain() && stage.sum.is_none() && !planes.wide,
            bias: both(all.bias),
            even: both(all.even),
            odd: both(all.odd),
            zero_point: all.zero_point,
        }
    }

    /// Writes the outputs of two pixels, or of the one that is left in a row.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn write(
        &self,
        planes: &Planes<'_>,
        sums: [__m256i; 2],
        (y, x): (usize, usize),
        out: &mut [i8],
    ) {
        let channels = planes.stage.channels.len();
        let at = (y * planes.width + x) * channels + planes.first;
        let pixels = (planes.width - x).min(2);
        let low = _mm256_add_epi32(sums[0], self.bias[0]);
        let high = _mm256_add_epi32(sums[1], self.bias[1]);
        if !self.plain {
            let mut values = [[0i32; GROUP]; 2];
            let sums = [
                _mm256_permute2x128_si256::<0x20>(low, high),
                _mm256_permute2x128_si256::<0x31>(low, high),
            ];
            for (to, sum) in values.iter_mut().zip(sums) {
                // SAFETY: eight words are 32 bytes.
                unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), sum) };
            }
            return write_any(planes, &values[..pixels], at, out);
        }
        let low = _mm256_add_epi32(scale(low, self.even[0], self.odd[0]), self.zero_point);
        let high = _mm256_add_epi32(scale(high, self.even[1], self.odd[1]), self.zero_point);
        let halves = _mm256_packs_epi32(low, high);
        let bytes = _mm256_packs_epi16(halves, halves);
        let pair = [
            _mm_cvtsi128_si64(_mm256_castsi256_si128(bytes)),
            _mm_cvtsi128_si64(_mm256_extracti128_si256::<1>(bytes)),
        ];
        for (pixel, values) in pair.into_iter().take(pixels).enumerate() {
            let to = &mut out[at + pixel * channels..][..planes.count];
            let values = values.to_le_bytes().map(|v| v as i8);
            match to.first_chunk_mut() {
                Some(to) => *to = values,
                None => to.copy_from_slice(&values[..planes.count]),
            }
        }
    }
}
