//! Convolution with `VPMADDWD`: eight sums take two products each in one instruction.
//!
//! 16 bytes of weights are four outputs times four values of k; as int16 they meet the same four
//! values of a window, broadcast to all outputs. The two halves of a sum are added in the end.

use core::arch::x86_64::*;

use super::super::direct::{Added, Buffer, Job, WAITING};
use super::{Tile, check};
use crate::ops::geometry::LANES;

/// Outputs at a time.
const OUTPUTS: usize = 8;

const _: () = assert!(WAITING.is_multiple_of(OUTPUTS));

/// The sums of four channels over all windows.
pub(super) fn block(tile: &Tile<'_>, block: usize) -> [[i32; LANES]; 4] {
    check(tile);
    assert!(block < tile.channels.len().div_ceil(4));
    // SAFETY: `Simd` is dispatched to where AVX2 was found; windows and weights are as
    // long as the checks say.
    unsafe {
        match tile.lanes {
            1 => sums_of_block::<1>(tile, block),
            _ => sums_of_block::<LANES>(tile, block),
        }
    }
}

/// [`Kernel::multiply`](super::super::direct::Kernel) for AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn multiply(job: &Job<'_>, pixels: usize, buffer: &mut Buffer) {
    // SAFETY: the caller's promise.
    unsafe {
        if pixels == 1 {
            return each::<1>(job, 0, pixels, buffer);
        }
        for first in (0..pixels).step_by(LANES) {
            each::<LANES>(job, first, pixels, buffer);
        }
    }
}

#[target_feature(enable = "avx2")]
unsafe fn sums_of_block<const P: usize>(tile: &Tile<'_>, block: usize) -> [[i32; LANES]; 4] {
    let mut sums = [[0; LANES]; 4];
    // SAFETY: the caller's promise.
    let acc = unsafe { accumulate::<P>(tile, block) };
    for (p, acc) in acc.into_iter().enumerate() {
        let mut eight = [0i32; 8];
        let sum = join([acc, _mm256_setzero_si256()]);
        // SAFETY: the array has room for all eight.
        unsafe { _mm256_storeu_si256(eight.as_mut_ptr().cast(), sum) };
        for (sums, &sum) in sums.iter_mut().zip(&eight) {
            sums[p] = sum;
        }
    }
    sums
}

/// Products of a block of filters with `P` int16 windows in the scratch: `[4 outputs][2 halves]`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn accumulate<const P: usize>(tile: &Tile<'_>, block: usize) -> [__m256i; P] {
    let depth = tile.depth;
    let windows: *const i16 = tile.windows.as_ptr().cast();
    let mut acc = [_mm256_setzero_si256(); P];
    // SAFETY: the caller checked that windows and weights reach so far.
    unsafe {
        let weights = tile.weights.as_ptr().add(block * 4 * depth);
        for k in (0..depth).step_by(4) {
            let w = _mm256_cvtepi8_epi16(_mm_loadu_si128(weights.add(4 * k).cast()));
            for (p, acc) in acc.iter_mut().enumerate() {
                let four: *const i64 = windows.add(p * depth + k).cast();
                let x = _mm256_set1_epi64x(four.read_unaligned());
                *acc = _mm256_add_epi32(*acc, _mm256_madd_epi16(w, x));
            }
        }
    }
    acc
}

/// The outputs of `P` pixels from `pixel` on.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn each<const P: usize>(job: &Job<'_>, pixel: usize, pixels: usize, buffer: &mut Buffer) {
    for first in (0..job.channels.count).step_by(OUTPUTS) {
        // SAFETY: the caller's promise.
        let acc = unsafe {
            match job.channels.count - first {
                5.. => products::<2, P>(job, pixel, first / 4),
                _ => products::<1, P>(job, pixel, first / 4),
            }
        };
        let (biases, multipliers) = (&job.channels.biases, &job.channels.multipliers);
        let all = [biases, multipliers].map(|words| &words[first..first + OUTPUTS]);
        let stage = Stage::new(job.zero_point, all, job.sum);
        let count = (job.channels.count - first).min(OUTPUTS);
        for (p, acc) in acc.into_iter().enumerate() {
            let values = match job.sum {
                Some(sum) if pixel + p < pixels => {
                    let at = sum.at.wrapping_add((pixel + p) * sum.stride + first);
                    // SAFETY: the caller's promise.
                    stage.add(acc, unsafe { load(at, count) })
                }
                _ => stage.move_to(acc),
            };
            let to = &mut buffer[pixel + p][first..first + OUTPUTS];
            // SAFETY: there is room for eight bytes.
            unsafe { _mm_storel_epi64(to.as_mut_ptr().cast(), narrow(values)) };
        }
    }
}

/// Sums of `N` blocks of four filters from `block` on with `P` windows from `pixel` on.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn products<const N: usize, const P: usize>(
    job: &Job<'_>,
    pixel: usize,
    block: usize,
) -> [__m256i; P] {
    let depth = job.rows * job.run;
    let mut acc = [[_mm256_setzero_si256(); 2]; P];
    // SAFETY: the caller's promise: windows and weights reach so far.
    unsafe {
        let mut weights = job.weights.as_ptr().add(block * 4 * depth);
        let mut at = [core::ptr::null::<i8>(); P];
        for (at, view) in at.iter_mut().zip(&job.views[pixel..]) {
            *at = view.at;
        }
        for _ in 0..job.rows {
            for k in (0..job.run).step_by(4) {
                let mut w = [_mm256_setzero_si256(); 2];
                for (n, w) in w.iter_mut().enumerate().take(N) {
                    let bytes = _mm_loadu_si128(weights.add(n * 4 * depth).cast());
                    *w = _mm256_cvtepi8_epi16(bytes);
                }
                for p in 0..P {
                    let x: *const i32 = at[p].add(k).cast();
                    let x = _mm256_cvtepi8_epi16(_mm_set1_epi32(x.read_unaligned()));
                    for n in 0..N {
                        let product = _mm256_madd_epi16(w[n], x);
                        acc[p][n] = _mm256_add_epi32(acc[p][n], product);
                    }
                }
                weights = weights.add(16);
            }
            for (at, view) in at.iter_mut().zip(&job.views[pixel..]) {
                *at = at.wrapping_add(view.step);
            }
        }
    }
    let mut sums = [_mm256_setzero_si256(); P];
    for (sum, acc) in sums.iter_mut().zip(acc) {
        *sum = join(acc);
    }
    sums
}

/// Adds up both halves of each sum: `[2 blocks][4 outputs]`.
#[inline]
#[target_feature(enable = "avx2")]
fn join([first, second]: [__m256i; 2]) -> __m256i {
    let halves = _mm256_hadd_epi32(first, second);
    _mm256_permute4x64_epi64::<0b11_01_10_00>(halves)
}

/// Eight values, or as many as there are.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load(from: *const i8, count: usize) -> __m128i {
    // SAFETY: the caller's promise.
    unsafe {
        if count == OUTPUTS {
            return _mm_loadl_epi64(from.cast());
        }
        let mut eight = [0i8; OUTPUTS];
        core::ptr::copy_nonoverlapping(from, eight.as_mut_ptr(), count);
        _mm_loadl_epi64(eight.as_ptr().cast())
    }
}

/// Eight int32 clamped to int8, in the lower half.
#[inline]
#[target_feature(enable = "avx2")]
fn narrow(values: __m256i) -> __m128i {
    let low = _mm256_castsi256_si128(values);
    let halves = _mm_packs_epi32(low, _mm256_extracti128_si256::<1>(values));
    _mm_packs_epi16(halves, halves)
}

/// The plain output stage of eight channels.
pub(super) struct Stage {
    pub(super) bias: __m256i,
    pub(super) even: __m256i,
    pub(super) odd: __m256i,
    pub(super) zero_point: __m256i,
    multiplier: __m256i,
    constant: __m256i,
    up: __m128i,
    shift: __m128i,
}

impl Stage {
    /// Of eight biases and multipliers.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn new(zero_point: i32, words: [&[i32]; 2], sum: Option<Added>) -> Self {
        let [bias, even] = words.map(|words| {
            assert!(words.len() == OUTPUTS);
            // SAFETY: eight words take 32 bytes.
            unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
        });
        let sum = sum.unwrap_or(Added::NOTHING);
        Stage {
            bias,
            even,
            odd: _mm256_srli_epi64::<32>(even),
            zero_point: _mm256_set1_epi32(zero_point),
            multiplier: _mm256_set1_epi32(sum.multiplier),
            constant: _mm256_set1_epi32(sum.constant),
            up: _mm_cvtsi32_si128(sum.up as i32),
            shift: _mm_cvtsi32_si128(sum.shift as i32),
        }
    }

    /// Outputs that are still to be clamped.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn move_to(&self, sums: __m256i) -> __m256i {
        let acc = _mm256_add_epi32(sums, self.bias);
        _mm256_add_epi32(scale(acc, self.even, self.odd), self.zero_point)
    }

    /// The same with a second tensor's eight values.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn add(&self, sums: __m256i, second: __m128i) -> __m256i {
        let acc = _mm256_add_epi32(sums, self.bias);
        let scaled = scale(acc, self.even, self.odd);
        let second = _mm256_mullo_epi32(_mm256_cvtepi8_epi32(second), self.multiplier);
        let sum = _mm256_add_epi32(_mm256_sll_epi32(scaled, self.up), second);
        _mm256_sra_epi32(_mm256_add_epi32(sum, self.constant), self.shift)
    }
}

/// `round(acc * multiplier / 2^32)`, halves up; `odd` are the odd multipliers in the even places.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn scale(acc: __m256i, even: __m256i, odd: __m256i) -> __m256i {
    let half = _mm256_set1_epi64x(1 << 31);
    let even = _mm256_add_epi64(_mm256_mul_epi32(acc, even), half);
    let odd = _mm256_mul_epi32(_mm256_srli_epi64::<32>(acc), odd);
    let odd = _mm256_add_epi64(odd, half);
    _mm256_blend_epi32::<0b10101010>(_mm256_srli_epi64::<32>(even), odd)
}
