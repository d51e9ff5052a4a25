//! Depthwise convolution with `VPDPBUSD`: eight channels of two outputs at once, four neighbouring
//! taps of a row an instruction.
//!
//! Eight elements of a row are one load. Each output and half of the channels takes its four taps
//! from it into a lane of its own, where the bytes are turned so that a channel's taps are
//! neighbours.

use core::arch::x86_64::*;

use super::super::direct::eight::{GROUP, write_any};
use super::Planes;

/// Vectors of weights, four taps each, that a filter may take.
const MOST: usize = 16;

/// Slides the filters over the planes; the caller has checked that every element of every pair of
/// outputs is there. False where the filter is not of this kind.
pub(super) fn convolve(planes: &Planes<'_>, out: &mut [i8]) -> bool {
    let [rows, taps] = planes.kernel;
    let reach = planes.stride[1] + (taps.min(4) - 1) * planes.dilation[1];
    if reach >= 8 || rows * taps.div_ceil(4) > MOST {
        return false;
    }
    // SAFETY: only called where VNNI was found, and elements are there, as the caller says.
    unsafe { slide(planes, out) };
    true
}

/// Four taps of a row: where they are, which of eight elements are there, and their weights.
#[derive(Clone, Copy)]
struct Taps {
    /// Bytes from an output's first element.
    at: usize,
    mask: u8,
    /// `[2 outputs][8 channels][4 taps]`, the same for both outputs.
    weights: __m512i,
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn slide(planes: &Planes<'_>, out: &mut [i8]) {
    let [rows, across] = planes.kernel;
    let mut all = [Taps {
        at: 0,
        mask: 0,
        weights: _mm512_setzero_si512(),
    }; MOST];
    let all = &mut all[..rows * across.div_ceil(4)];
    let offset = _mm512_set1_epi8(-128);
    // Values are moved up by 128; that times the weights comes off.
    let mut excess = _mm512_setzero_si512();
    for (i, taps) in all.iter_mut().enumerate() {
        let (ky, kx) = (i / across.div_ceil(4), i % across.div_ceil(4) * 4);
        let count = (across - kx).min(4);
        let column = kx * planes.dilation[1];
        let last = planes.stride[1] + (count - 1) * planes.dilation[1];
        *taps = Taps {
            at: (ky * planes.dilation[0] * planes.columns + column) * GROUP,
            mask: u8::MAX >> (7 - last),
            weights: weights(planes, ky * across + kx, count),
        };
        excess = _mm512_dpbusd_epi32(excess, offset, taps.weights);
    }
    let stage = Outputs::new(planes, excess);
    let (pick, turn) = (pick(planes), turn());
    let bytes: *const i8 = planes.planes.as_ptr().cast();
    for y in 0..planes.height {
        let row = y * planes.stride[0] * planes.columns * GROUP;
        for x in (0..planes.width).step_by(2) {
            let at = row + x * planes.stride[1] * GROUP;
            let mut acc = _mm512_setzero_si512();
            for taps in &*all {
                // SAFETY: the caller's promise; the mask ends with the last tap of the second
                // output.
                let from =
                    unsafe { _mm512_maskz_loadu_epi64(taps.mask, bytes.add(at + taps.at).cast()) };
                let values = _mm512_permutexvar_epi32(pick, _mm512_xor_si512(from, offset));
                let values = _mm512_shuffle_epi8(values, turn);
                acc = _mm512_dpbusd_epi32(acc, values, taps.weights);
            }
            stage.write(planes, acc, (y, x), out);
        }
    }
}

/// For each output, half of the channels and tap, which word of eight elements has it.
#[target_feature(enable = "avx512f")]
fn pick(planes: &Planes<'_>) -> __m512i {
    let mut words = [0i32; 16];
    for (i, word) in words.iter_mut().enumerate() {
        let (output, half, tap) = (i / 8, i / 4 % 2, i % 4);
        // Taps that are not there weigh nothing.
        let element = output * planes.stride[1] + tap * planes.dilation[1];
        *word = (2 * element.min(7) + half) as i32;
    }
    // SAFETY: sixteen words are 64 bytes.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

/// `[4 taps][4 channels]` to `[4 channels][4 taps]` in each lane.
#[target_feature(enable = "avx512f")]
fn turn() -> __m512i {
    _mm512_set4_epi32(0x0F0B_0703, 0x0E0A_0602, 0x0D09_0501, 0x0C08_0400)
}

/// The weights of up to four taps from `tap` on; what is not there weighs nothing.
#[target_feature(enable = "avx512f")]
fn weights(planes: &Planes<'_>, tap: usize, count: usize) -> __m512i {
    let channels = planes.stage.channels.len();
    let mut taps = [_mm_setzero_si128(); 4];
    for (i, to) in taps.iter_mut().enumerate().take(count) {
        let from = &planes.weights[(tap + i) * channels + planes.first..][..planes.count];
        let mut eight = [0i8; GROUP];
        match from.first_chunk() {
            Some(from) => eight = *from,
            None => eight[..from.len()].copy_from_slice(from),
        }
        *to = _mm_cvtsi64_si128(i64::from_le_bytes(eight.map(|w| w as u8)));
    }
    let [a, b, c, d] = taps;
    let (ab, cd) = (_mm_unpacklo_epi8(a, b), _mm_unpacklo_epi8(c, d));
    let (low, high) = (_mm_unpacklo_epi16(ab, cd), _mm_unpackhi_epi16(ab, cd));
    _mm512_broadcast_i64x4(_mm256_set_m128i(high, low))
}

/// How sums become outputs.
struct Outputs {
    plain: bool,
    bias: __m512i,
    even: __m512i,
    odd: __m512i,
    zero_point: __m512i,
}

impl Outputs {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    fn new(planes: &Planes<'_>, excess: __m512i) -> Self {
        let stage = planes.stage;
        let (mut biases, mut multipliers) = ([0i32; GROUP], [0i32; GROUP]);
        let channels = &stage.channels[planes.first..planes.first + planes.count];
        for (i, channel) in channels.iter().enumerate() {
            (biases[i], multipliers[i]) = (channel.bias, channel.multiplier);
        }
        let both = |words: [i32; GROUP]| {
            // SAFETY: eight words are 32 bytes.
            _mm512_broadcast_i64x4(unsafe { _mm256_loadu_si256(words.as_ptr().cast()) })
        };
        let even = both(multipliers);
        Outputs {
            plain: stage.is_plain() && stage.sum.is_none() && !planes.wide,
            bias: _mm512_sub_epi32(both(biases), excess),
            even,
            odd: _mm512_srli_epi64::<32>(even),
            zero_point: _mm512_set1_epi32(stage.zero_point),
        }
    }

    /// Writes the outputs of two pixels, or of the one that is left in a row.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    fn write(&self, planes: &Planes<'_>, sums: __m512i, (y, x): (usize, usize), out: &mut [i8]) {
        let channels = planes.stage.channels.len();
        let at = (y * planes.width + x) * channels + planes.first;
        let pixels = (planes.width - x).min(2);
        let acc = _mm512_add_epi32(sums, self.bias);
        if !self.plain {
            let mut values = [[0i32; GROUP]; 2];
            // SAFETY: sixteen words are 64 bytes.
            unsafe { _mm512_storeu_si512(values.as_mut_ptr().cast(), acc) };
            return write_any(planes, &values[..pixels], at, out);
        }
        // Halves round up; then the upper 32 bits of each product.
        let half = _mm512_set1_epi64(1 << 31);
        let even = _mm512_add_epi64(_mm512_mul_epi32(acc, self.even), half);
        let odd = _mm512_mul_epi32(_mm512_srli_epi64::<32>(acc), self.odd);
        let odd = _mm512_add_epi64(odd, half);
        let scaled = _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64::<32>(even), odd);
        let bytes = _mm512_cvtsepi32_epi8(_mm512_add_epi32(scaled, self.zero_point));
        let pair = [_mm_cvtsi128_si64(bytes), _mm_extract_epi64::<1>(bytes)];
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
