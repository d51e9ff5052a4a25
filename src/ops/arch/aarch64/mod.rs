//! AArch64: NEON, which every such processor has.
//!
//! `SMULL` multiplies eight bytes, `SADALP` adds neighbouring products to int32: 16 bytes of weights
//! are four outputs times four values of k, which meet the same four values of a window. Where the
//! compiler may take the dot product extension for granted, `SDOT` does all of that at once.
#![allow(unsafe_code)]

mod depthwise;

use core::arch::aarch64::*;

use super::direct::{self, Buffer, Job, Kernel, PIXELS, WAITING, eight};
use super::{Arch, PlaneRows, Planes, Portable, Tile};
use crate::ops::geometry::LANES;
use crate::ops::{Layer, dispatch, in_set};
use crate::pack::LayerKind;

/// Any AArch64.
struct Neon;

const KERNEL: Kernel = Kernel {
    multiply,
    unsigned: None,
};

/// Runs a layer as this processor does it best.
pub(super) fn run<const BITS: u32>(kind: LayerKind, layer: &Layer<'_>, arena: &mut [i8]) {
    let whole = matches!(kind, LayerKind::Conv | LayerKind::Dense) && in_set(BITS, kind);
    if !(whole && direct::run(layer, arena, &KERNEL)) {
        dispatch::<BITS, Neon>(kind, layer, arena);
    }
}

/// Windows lie in the scratch as the portable ones do.
impl Arch for Neon {
    const GROUP: usize = eight::GROUP;

    fn lay(windows: &mut [u32], lanes: usize, lane: usize, at: usize, values: &[i8]) {
        Portable::lay(windows, lanes, lane, at, values);
    }

    fn lay_wide(windows: &mut [u32], lanes: usize, lane: usize, at: usize, values: &[i8]) {
        Portable::lay_wide(windows, lanes, lane, at, values);
    }

    fn fill(windows: &mut [u32], lanes: usize, lane: usize, at: usize, count: usize, value: i8) {
        Portable::fill(windows, lanes, lane, at, count, value);
    }

    fn block(tile: &Tile<'_>, block: usize) -> [[i32; LANES]; 4] {
        assert!(2 * tile.windows.len() >= tile.lanes * tile.depth);
        assert!(tile.weights.len() >= (block + 1) * 4 * tile.depth && tile.lanes <= LANES);
        let windows: *const i16 = tile.windows.as_ptr().cast();
        let mut sums = [[0; LANES]; 4];
        for lane in 0..tile.lanes {
            // SAFETY: windows and weights are as long as was just checked, and their depth is a
            // multiple of four.
            let four = unsafe {
                let weights = tile.weights.as_ptr().add(block * 4 * tile.depth);
                wide(windows.add(lane * tile.depth), weights, tile.depth)
            };
            for (sums, sum) in sums.iter_mut().zip(four) {
                sums[lane] = sum;
            }
        }
        sums
    }

    fn blank(planes: &mut [u32], value: i8) {
        planes.fill(u32::from_ne_bytes([value as u8; 4]));
    }

    fn lay_row(
        planes: &mut [u32],
        _size: usize,
        lanes: (usize, usize),
        at: usize,
        values: &[i8],
        stride: usize,
        pixels: usize,
    ) {
        eight::lay_row(planes, lanes, at, values, stride, pixels);
    }

    fn lay_plane(planes: &mut [u32], _size: usize, plane: &PlaneRows, values: &[i8]) {
        eight::lay_plane(planes, plane, values);
    }

    fn convolve(planes: &Planes<'_>, out: &mut [i8]) {
        depthwise::convolve(planes, out);
    }
}

/// The sums of four outputs over a window of int16.
unsafe fn wide(window: *const i16, weights: *const i8, depth: usize) -> [i32; 4] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut acc = [vdupq_n_s32(0); 4];
        for k in (0..depth).step_by(4) {
            let x = vld1_s16(window.add(k));
            let bytes = vld1q_s8(weights.add(4 * k));
            let (low, high) = (vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes));
            acc[0] = vmlal_s16(acc[0], vget_low_s16(low), x);
            acc[1] = vmlal_s16(acc[1], vget_high_s16(low), x);
            acc[2] = vmlal_s16(acc[2], vget_low_s16(high), x);
            acc[3] = vmlal_s16(acc[3], vget_high_s16(high), x);
        }
        acc.map(|acc| vaddvq_s32(acc))
    }
}

/// As [`Kernel::multiply`].
unsafe fn multiply(job: &Job<'_>, pixels: usize, buffer: &mut Buffer) {
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

/// Outputs at a time.
const OUTPUTS: usize = 8;

const _: () = assert!(WAITING.is_multiple_of(OUTPUTS) && PIXELS.is_multiple_of(LANES));

/// The outputs of `P` pixels from `pixel` on.
unsafe fn each<const P: usize>(job: &Job<'_>, pixel: usize, pixels: usize, buffer: &mut Buffer) {
    for first in (0..job.channels.count).step_by(OUTPUTS) {
        let count = (job.channels.count - first).min(OUTPUTS);
        // SAFETY: the caller's promise; the buffer, biases and multipliers have room for eight.
        unsafe {
            let acc = match count {
                5.. => products::<2, P>(job, pixel, first / 4),
                _ => products::<1, P>(job, pixel, first / 4),
            };
            for (p, acc) in acc.into_iter().enumerate() {
                let second = match job.sum {
                    Some(sum) if pixel + p < pixels => {
                        let at = sum.at.add((pixel + p) * sum.stride + first);
                        let mut eight = [0i8; OUTPUTS];
                        core::ptr::copy_nonoverlapping(at, eight.as_mut_ptr(), count);
                        vmovl_s8(vld1_s8(eight.as_ptr()))
                    }
                    _ => vdupq_n_s16(0),
                };
                let low = finish(job, first, acc[0], vmovl_s16(vget_low_s16(second)));
                let high = finish(job, first + 4, acc[1], vmovl_high_s16(second));
                let to = &mut buffer[pixel + p][first..first + OUTPUTS];
                let halves = vcombine_s16(vqmovn_s32(low), vqmovn_s32(high));
                vst1_s8(to.as_mut_ptr(), vqmovn_s16(halves));
            }
        }
    }
}

/// Sums of `N` blocks of four filters from `block` on with `P` windows from `pixel` on.
#[inline(always)]
unsafe fn products<const N: usize, const P: usize>(
    job: &Job<'_>,
    pixel: usize,
    block: usize,
) -> [[int32x4_t; 2]; P] {
    let depth = job.rows * job.run;
    // SAFETY: the caller's promise: windows and weights reach so far.
    unsafe {
        let mut acc = [[[vdupq_n_s32(0); 2]; 2]; P];
        let mut weights = job.weights.as_ptr().add(block * 4 * depth);
        let mut at = [core::ptr::null::<i8>(); P];
        for (at, view) in at.iter_mut().zip(&job.views[pixel..]) {
            *at = view.at;
        }
        for _ in 0..job.rows {
            for k in (0..job.run).step_by(4) {
                for (p, acc) in acc.iter_mut().enumerate() {
                    let x = at[p].add(k).cast::<i32>().read_unaligned();
                    let x = vreinterpretq_s8_s32(vdupq_n_s32(x));
                    for (n, acc) in acc.iter_mut().enumerate().take(N) {
                        let w = vld1q_s8(weights.add(n * 4 * depth));
                        *acc = dot(*acc, w, x);
                    }
                }
                weights = weights.add(16);
            }
            for (at, view) in at.iter_mut().zip(&job.views[pixel..]) {
                *at = at.wrapping_add(view.step);
            }
        }
        acc.map(|blocks| blocks.map(|[low, high]| join(low, high)))
    }
}

/// Adds four outputs' products of four values each.
#[cfg(not(target_feature = "dotprod"))]
#[inline(always)]
unsafe fn dot([low, high]: [int32x4_t; 2], w: int8x16_t, x: int8x16_t) -> [int32x4_t; 2] {
    // SAFETY: every AArch64 has these.
    unsafe {
        [
            vpadalq_s16(low, vmull_s8(vget_low_s8(w), vget_low_s8(x))),
            vpadalq_s16(high, vmull_high_s8(w, x)),
        ]
    }
}

/// The two halves of each sum together.
#[cfg(not(target_feature = "dotprod"))]
#[inline(always)]
unsafe fn join(low: int32x4_t, high: int32x4_t) -> int32x4_t {
    // SAFETY: every AArch64 has this.
    unsafe { vpaddq_s32(low, high) }
}

/// Adds four outputs' products of four values each.
#[cfg(target_feature = "dotprod")]
#[inline(always)]
unsafe fn dot([sum, other]: [int32x4_t; 2], w: int8x16_t, x: int8x16_t) -> [int32x4_t; 2] {
    let mut sum = sum;
    // SAFETY: registers only; the compiler was told that the extension is there.
    unsafe {
        core::arch::asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) sum, in(vreg) w,
            in(vreg) x, options(pure, nomem, nostack, preserves_flags));
    }
    [sum, other]
}

/// The second half stays empty.
#[cfg(target_feature = "dotprod")]
#[inline(always)]
unsafe fn join(sum: int32x4_t, _: int32x4_t) -> int32x4_t {
    sum
}

/// The plain output stage of four channels, still to be clamped.
#[inline(always)]
unsafe fn finish(job: &Job<'_>, first: usize, sums: int32x4_t, second: int32x4_t) -> int32x4_t {
    // SAFETY: the caller's promise: there are four biases and multipliers.
    unsafe {
        let acc = vaddq_s32(sums, vld1q_s32(job.channels.biases.as_ptr().add(first)));
        let scaled = scale(acc, vld1q_s32(job.channels.multipliers.as_ptr().add(first)));
        match job.sum {
            None => vaddq_s32(scaled, vdupq_n_s32(job.zero_point)),
            Some(sum) => {
                let second = vmulq_n_s32(second, sum.multiplier);
                let up = vshlq_s32(scaled, vdupq_n_s32(sum.up as i32));
                let all = vaddq_s32(vaddq_s32(up, second), vdupq_n_s32(sum.constant));
                vshlq_s32(all, vdupq_n_s32(-(sum.shift as i32)))
            }
        }
    }
}

/// `round(acc * multiplier / 2^32)`, halves up.
#[inline(always)]
unsafe fn scale(acc: int32x4_t, multiplier: int32x4_t) -> int32x4_t {
    // SAFETY: every AArch64 has these.
    unsafe {
        let low = vmull_s32(vget_low_s32(acc), vget_low_s32(multiplier));
        let high = vmull_high_s32(acc, multiplier);
        vcombine_s32(vrshrn_n_s64::<32>(low), vrshrn_n_s64::<32>(high))
    }
}
