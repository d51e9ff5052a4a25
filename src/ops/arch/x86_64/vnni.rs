//! Convolution with `VPDPBUSD`: sixteen outputs take four products each in one instruction.
//!
//! One side of the product is unsigned: the input is moved up by 128 while the layer runs, and the
//! biases have 128 times the sum of their weights taken off. Sums wrap, so nothing is lost in
//! between.

use core::arch::x86_64::*;

use super::super::direct::{Added, Buffer, Channels, Job, PIXELS, WAITING};

/// Outputs at a time.
const OUTPUTS: usize = 16;

/// [`Kernel::multiply`](super::super::direct::Kernel) for AVX-512 F, BW, VL and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn multiply(job: &Job<'_>, pixels: usize, buffer: &mut Buffer) {
    // SAFETY: the caller's promise.
    unsafe {
        match (pixels, job.sum) {
            (1, None) => each::<1, false>(job, pixels, buffer),
            (1, _) => each::<1, true>(job, pixels, buffer),
            (_, None) => each::<PIXELS, false>(job, pixels, buffer),
            (_, _) => each::<PIXELS, true>(job, pixels, buffer),
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn each<const P: usize, const ADDS: bool>(
    job: &Job<'_>,
    pixels: usize,
    buffer: &mut Buffer,
) {
    // SAFETY: the caller's promise; the mask keeps a second tensor to what is there of it.
    unsafe {
        for first in (0..job.channels.count).step_by(OUTPUTS) {
            let acc = match job.channels.count - first {
                13.. => accumulate::<4, P>(job, first / 4),
                9.. => accumulate::<3, P>(job, first / 4),
                5.. => accumulate::<2, P>(job, first / 4),
                _ => accumulate::<1, P>(job, first / 4),
            };
            let stage = Stage::new(job, first);
            for p in 0..P {
                let second = match job.sum {
                    Some(sum) if ADDS && p < pixels => {
                        let at = sum.at.add(p * sum.stride + first);
                        _mm_maskz_loadu_epi8(stage.mask, at)
                    }
                    _ => _mm_setzero_si128(),
                };
                let values = stage.apply::<ADDS>(acc[p], second);
                let to = &mut buffer[p][first..first + OUTPUTS];
                _mm_storeu_si128(to.as_mut_ptr().cast(), values);
            }
        }
    }
}

const _: () = assert!(WAITING.is_multiple_of(OUTPUTS));

/// Moves values up by 128, as unsigned, or down again.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn flip(values: &mut [i8]) {
    for value in values {
        *value ^= -128;
    }
}

/// Takes 128 times the sum of each channel's weights off its bias.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn correct(weights: &[i8], depth: usize, channels: &mut Channels) {
    let offset = _mm512_set1_epi8(-128);
    let blocks = channels.biases.chunks_exact_mut(4);
    for (weights, biases) in weights
        .chunks_exact(4 * depth)
        .zip(blocks.take(channels.count.div_ceil(4)))
    {
        let mut acc = _mm512_setzero_si512();
        for k in (0..4 * depth).step_by(64) {
            let mask = u64::MAX >> (64 - (4 * depth - k).min(64));
            // SAFETY: the mask ends with the block.
            let w = unsafe { _mm512_maskz_loadu_epi8(mask, weights.as_ptr().add(k)) };
            acc = _mm512_dpbusd_epi32(acc, offset, w);
        }
        let [a, b, c, d] = [
            _mm512_extracti32x4_epi32::<0>(acc),
            _mm512_extracti32x4_epi32::<1>(acc),
            _mm512_extracti32x4_epi32::<2>(acc),
            _mm512_extracti32x4_epi32::<3>(acc),
        ];
        let sum = _mm_add_epi32(_mm_add_epi32(a, b), _mm_add_epi32(c, d));
        let to: *mut __m128i = biases.as_mut_ptr().cast();
        // SAFETY: four biases take 16 bytes.
        unsafe { _mm_storeu_si128(to, _mm_sub_epi32(_mm_loadu_si128(to), sum)) };
    }
}

/// Products of `N` blocks of four filters from `block` on with `P` windows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn accumulate<const N: usize, const P: usize>(job: &Job<'_>, block: usize) -> [__m512i; P] {
    let depth = job.rows * job.run;
    let mut acc = [_mm512_setzero_si512(); P];
    // SAFETY: the caller's promise: windows and weights reach so far.
    unsafe {
        let mut weights = job.weights.as_ptr().add(block * 4 * depth);
        let mut at = [core::ptr::null(); P];
        for (at, view) in at.iter_mut().zip(&job.views) {
            *at = view.at;
        }
        for _ in 0..job.rows {
            for k in (0..job.run).step_by(4) {
                let w = four::<N>(weights, 4 * depth);
                for p in 0..P {
                    let x: *const i32 = at[p].add(k).cast();
                    let x = _mm512_set1_epi32(x.read_unaligned());
                    acc[p] = _mm512_dpbusd_epi32(acc[p], x, w);
                }
                weights = weights.add(16);
            }
            for (at, view) in at.iter_mut().zip(&job.views) {
                *at = at.wrapping_add(view.step);
            }
        }
    }
    acc
}

/// 16 bytes of each of `N` blocks, side by side.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn four<const N: usize>(weights: *const i8, block: usize) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe {
        let of = |n: usize| weights.add(n * block).cast::<__m128i>();
        let mut low = _mm256_zextsi128_si256(_mm_loadu_si128(of(0)));
        if N > 1 {
            low = _mm256_inserti128_si256::<1>(low, _mm_loadu_si128(of(1)));
        }
        let mut all = _mm512_zextsi256_si512(low);
        if N > 2 {
            let mut high = _mm256_zextsi128_si256(_mm_loadu_si128(of(2)));
            if N > 3 {
                high = _mm256_inserti128_si256::<1>(high, _mm_loadu_si128(of(3)));
            }
            all = _mm512_inserti64x4::<1>(all, high);
        }
        all
    }
}

/// The plain output stage of sixteen channels.
struct Stage {
    /// Which of them are there.
    mask: __mmask16,
    bias: __m512i,
    even: __m512i,
    odd: __m512i,
    zero_point: __m512i,
    multiplier: __m512i,
    constant: __m512i,
    up: __m128i,
    shift: __m128i,
}

impl Stage {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    fn new(job: &Job<'_>, first: usize) -> Self {
        let count = (job.channels.count - first).min(OUTPUTS);
        let load = |from: &[i32]| {
            let from = &from[first..first + OUTPUTS];
            // SAFETY: sixteen words take 64 bytes.
            unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
        };
        let bias = load(&job.channels.biases);
        let even = load(&job.channels.multipliers);
        let sum = job.sum.unwrap_or(Added::NOTHING);
        Stage {
            mask: u16::MAX >> (OUTPUTS - count),
            bias,
            even,
            odd: _mm512_srli_epi64::<32>(even),
            zero_point: _mm512_set1_epi32(job.zero_point),
            multiplier: _mm512_set1_epi32(sum.multiplier),
            constant: _mm512_set1_epi32(sum.constant),
            up: _mm_cvtsi32_si128(sum.up as i32),
            shift: _mm_cvtsi32_si128(sum.shift as i32),
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    fn apply<const ADDS: bool>(&self, sums: __m512i, second: __m128i) -> __m128i {
        let acc = _mm512_add_epi32(sums, self.bias);
        // Halves round up; then the upper 32 bits of each product.
        let half = _mm512_set1_epi64(1 << 31);
        let even = _mm512_add_epi64(_mm512_mul_epi32(acc, self.even), half);
        let odd = _mm512_mul_epi32(_mm512_srli_epi64::<32>(acc), self.odd);
        let odd = _mm512_add_epi64(odd, half);
        let even = _mm512_srli_epi64::<32>(even);
        let scaled = _mm512_mask_blend_epi32(0xAAAA, even, odd);
        let moved = if ADDS {
            let second = _mm512_mullo_epi32(_mm512_cvtepi8_epi32(second), self.multiplier);
            let sum = _mm512_add_epi32(_mm512_sll_epi32(scaled, self.up), second);
            _mm512_sra_epi32(_mm512_add_epi32(sum, self.constant), self.shift)
        } else {
            _mm512_add_epi32(scaled, self.zero_point)
        };
        _mm512_cvtsepi32_epi8(moved)
    }
}
