//! Cortex-M4, M7 and other ARMv7E-M: two multiply-accumulates an instruction with `SMLAD`.
//!
//! `SXTB16` takes bytes 0 and 2, or 1 and 3, of a word to two int16. Values and weights are both
//! taken apart that way, so no byte has to change its place: the first product of a block of four
//! is k = 0 and 2, the second k = 1 and 3. Windows lie in the scratch as such pairs,
//! `[depth / 4][2 pairs][lanes]`, so that one `LDM` loads the same pair of all four.
//!
//! A depthwise layer's planes are int16 rows, neighbours in one word.
#![allow(unsafe_code)]

mod depthwise;
mod five;
mod gather;
mod tile;

use super::{Arch, PlaneRows, Planes, Portable, Tile};
use crate::ops::geometry::LANES;
use crate::quantize::Sum;

/// ARMv7E-M.
pub(super) struct Armv7em;

/// Two signed products added to `sum`.
#[inline(always)]
fn smlad(a: u32, b: u32, sum: i32) -> i32 {
    let mut sum = sum;
    // SAFETY: registers only.
    unsafe {
        core::arch::asm!("smlad {0}, {1}, {2}, {0}", inout(reg) sum, in(reg) a, in(reg) b,
            options(pure, nomem, nostack, preserves_flags));
    }
    sum
}

/// Bytes 0 and 2 as int16, and bytes 1 and 3.
#[inline(always)]
fn pairs(word: u32) -> (u32, u32) {
    let (even, odd): (u32, u32);
    // SAFETY: registers only.
    unsafe {
        core::arch::asm!("sxtb16 {0}, {2}", "sxtb16 {1}, {2}, ror #8",
            out(reg) even, lateout(reg) odd, in(reg) word,
            options(pure, nomem, nostack, preserves_flags));
    }
    (even, odd)
}

/// `zero_point + round(acc * multiplier / 2^32)`, clamped to int8: the plain stage.
#[inline(always)]
fn plain(acc: i32, multiplier: i32, zero_point: i32) -> i8 {
    let out: i32;
    // SAFETY: registers only.
    unsafe {
        core::arch::asm!("smmlar {0}, {1}, {2}, {3}", "ssat {0}, #8, {0}",
            out(reg) out, in(reg) acc, in(reg) multiplier, in(reg) zero_point,
            options(pure, nomem, nostack));
    }
    out as i8
}

impl Arch for Armv7em {
    const GROUP: usize = 4;

    #[inline(never)]
    fn lay(windows: &mut [u32], lanes: usize, lane: usize, at: usize, values: &[i8]) {
        let (blocks, _) = values.as_chunks::<4>();
        let words = &mut windows[at / 2 * lanes..][..blocks.len() * 2 * lanes];
        if lanes == LANES {
            for (to, block) in words
                .as_chunks_mut::<{ 2 * LANES }>()
                .0
                .iter_mut()
                .zip(blocks)
            {
                (to[lane], to[lane + LANES]) = pairs(word(block));
            }
        } else {
            for (to, block) in words.as_chunks_mut::<2>().0.iter_mut().zip(blocks) {
                (to[0], to[1]) = pairs(word(block));
            }
        }
    }

    fn lay_rows(
        windows: &mut [u32],
        (lanes, lane): (usize, usize),
        values: &[i8],
        (run, step, rows): (usize, usize, usize),
    ) {
        gather::lay_rows(windows, (lanes, lane), values, (run, step, rows));
    }

    fn lay_wide(windows: &mut [u32], lanes: usize, lane: usize, at: usize, values: &[i8]) {
        let (blocks, _) = values.as_chunks::<8>();
        let words = windows[at / 2 * lanes..].chunks_exact_mut(2 * lanes);
        for (to, &[a, b, c, d, e, f, g, h]) in words.zip(blocks) {
            to[lane] = word(&[a, b, e, f]);
            to[lane + lanes] = word(&[c, d, g, h]);
        }
    }

    fn fill(windows: &mut [u32], lanes: usize, lane: usize, at: usize, count: usize, value: i8) {
        let (pair, _) = pairs(word(&[value; 4]));
        let words = &mut windows[at / 2 * lanes..][..count / 2 * lanes];
        words
            .iter_mut()
            .skip(lane)
            .step_by(lanes)
            .for_each(|to| *to = pair);
    }

    fn block(tile: &Tile<'_>, block: usize) -> [[i32; LANES]; 4] {
        if tile.lanes == LANES {
            return core::array::from_fn(|i| tile::four_lanes(tile, 4 * block + i));
        }
        let mut sums = [[0; LANES]; 4];
        for (sums, sum) in sums.iter_mut().zip(tile::one_lane(tile, block)) {
            sums[0] = sum;
        }
        sums
    }

    fn outputs(tile: &Tile<'_>, out: &mut [i8]) -> bool {
        if tile.lanes == LANES {
            tile::outputs(tile, out);
            return true;
        }
        let zero_point = tile.stage.zero_point;
        for (block, (out, channels)) in out.chunks_mut(4).zip(tile.channels.chunks(4)).enumerate() {
            let sums = tile::one_lane(tile, block);
            for ((out, channel), sum) in out.iter_mut().zip(channels).zip(sums) {
                let acc = channel.bias.wrapping_add(sum);
                *out = plain(acc, channel.multiplier, zero_point);
            }
        }
        true
    }

    fn outputs_added(tile: &Tile<'_>, sum: &Sum, out: &mut [i8]) -> bool {
        tile::outputs_added(tile, sum, out)
    }

    fn outputs_leaky(tile: &Tile<'_>, negative: &[i32], out: &mut [i8]) -> bool {
        tile::outputs_leaky(tile, negative, out)
    }

    fn blank(planes: &mut [u32], value: i8) {
        let (pair, _) = pairs(word(&[value; 4]));
        planes.fill(pair);
    }

    fn lay_row(
        planes: &mut [u32],
        size: usize,
        lanes: (usize, usize),
        at: usize,
        values: &[i8],
        stride: usize,
        pixels: usize,
    ) {
        Portable::lay_row(planes, size, lanes, at, values, stride, pixels);
    }

    fn lay_plane(planes: &mut [u32], size: usize, plane: &PlaneRows, values: &[i8]) {
        gather::lay_plane(planes, size, plane, values);
    }

    fn convolve(planes: &Planes<'_>, out: &mut [i8]) {
        depthwise::convolve(planes, out);
    }
}

#[inline(always)]
fn word(bytes: &[i8; 4]) -> u32 {
    u32::from_le_bytes(bytes.map(|b| b as u8))
}
