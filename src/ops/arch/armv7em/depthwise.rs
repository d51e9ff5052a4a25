//! Planes of int16 and filters that slide over them.
//!
//! A word is two neighbours of a row. Filters of 3 x 3 take two outputs at a time from two words of
//! each of three rows, with the weights in registers: of (w0, w1) and (w1, w2) every product that
//! both outputs need is one `SMLAD`, `SMLABT` or `SMLATB` away.

use core::arch::naked_asm;

use super::super::{Arch as _, Planes, Portable};
use super::{five, smlad};

/// Rows of one channel's plane and everything that is written from them; the assembly knows the
/// order of the fields.
#[repr(C)]
struct Slide {
    rows: [*const i16; 3],
    /// (w0, w1) and (w1, w2) of each row of the filter.
    weights: [u32; 6],
    out: *mut i8,
    bias: i32,
    multiplier: i32,
    zero_point: i32,
    /// Bytes from one pixel of the output to the next.
    stride: usize,
    /// Rows of output that are left.
    height: usize,
    /// Bytes of a row that are read in turns of two outputs (one, where the stride is 2), and bytes
    /// from there to the start of the next window row.
    across: usize,
    next: usize,
    /// Whether a last output of a row comes alone.
    odd: usize,
    /// The end of the turns of the row at hand.
    end: *const i16,
}

pub(super) fn convolve(planes: &Planes<'_>, out: &mut [i8]) {
    let small = planes.kernel == [3, 3] && planes.dilation == [1, 1] && planes.stride[1] <= 2;
    let five_columns = planes.kernel[1] == 5
        && planes.kernel[0] <= five::ROWS
        && planes.dilation[1] == 1
        && planes.stride[1] <= 2;
    if small && !planes.wide && planes.stage.is_plain() {
        for lane in 0..planes.count {
            slide(planes, lane, out);
        }
    } else if five_columns && !planes.wide && planes.stage.is_plain() {
        for lane in 0..planes.count {
            five::slide(planes, lane, out);
        }
    } else if planes.dilation[1] == 1 && planes.kernel[0] * planes.kernel[1].div_ceil(2) <= TAPS {
        for lane in 0..planes.count {
            any(planes, lane, out);
        }
    } else {
        Portable::convolve(planes, out);
    }
}

/// The weight of one tap for one channel.
pub(super) fn weight(planes: &Planes<'_>, lane: usize, ky: usize, kx: usize) -> i16 {
    let channels = planes.stage.channels.len();
    let tap = ky * planes.kernel[1] + kx;
    i16::from(planes.weights[tap * channels + planes.first + lane])
}

pub(super) fn pair(low: i16, high: i16) -> u32 {
    u32::from(low as u16) | u32::from(high as u16) << 16
}

/// 3 x 3, plain stage.
fn slide(planes: &Planes<'_>, lane: usize, out: &mut [i8]) {
    let (columns, channels) = (planes.columns, planes.stage.channels.len());
    let down = planes.stride[0];
    let plane = &planes.planes[lane * planes.size / 2..][..planes.size / 2];
    let mut weights = [0; 6];
    for (ky, row) in weights.chunks_exact_mut(2).enumerate() {
        let w = [0, 1, 2].map(|kx| weight(planes, lane, ky, kx));
        (row[0], row[1]) = (pair(w[0], w[1]), pair(w[1], w[2]));
    }
    let channel = planes.stage.channels[planes.first + lane];
    // What the assembly reads: three rows of the last window row, two words behind the last turn's
    // start; what it writes: every pixel's byte of this channel.
    let rows = (planes.height - 1) * down + 3;
    let turns = if planes.stride[1] == 1 {
        planes.width.div_ceil(2)
    } else {
        planes.width
    };
    assert!(planes.height > 0 && columns.is_multiple_of(2) && 2 * turns + 2 <= columns);
    assert!(rows * columns <= planes.size);
    assert!(out.len() >= planes.height * planes.width * channels);
    let whole = if planes.stride[1] == 1 {
        planes.width / 2
    } else {
        planes.width
    };
    let start: *const i16 = plane.as_ptr().cast();
    let mut job = Slide {
        rows: [
            start,
            start.wrapping_add(columns),
            start.wrapping_add(2 * columns),
        ],
        weights,
        out: out.as_mut_ptr().wrapping_add(planes.first + lane),
        bias: channel.bias,
        multiplier: channel.multiplier,
        zero_point: planes.stage.zero_point,
        stride: channels,
        height: planes.height,
        across: 4 * whole,
        next: 2 * columns * down - 4 * whole,
        odd: planes.width % 2,
        end: core::ptr::null(),
    };
    // SAFETY: the asserts above.
    unsafe {
        if planes.stride[1] == 1 {
            slide_by_one(&mut job);
        } else {
            slide_by_two(&mut job);
        }
    }
}

/// One row's part of two neighbouring outputs r9 and r10.
macro_rules! two {
    ($row:literal, $first:literal, $last:literal) => {
        concat!(
            "ldrd r11, r12, [",
            $row,
            "], #4\n",
            "smlad r9, r11, ",
            $first,
            ", r9\n",
            "smlabt r9, r12, ",
            $last,
            ", r9\n",
            "smlatb r10, r11, ",
            $first,
            ", r10\n",
            "smlad r10, r12, ",
            $last,
            ", r10"
        )
    };
}

/// One row's part of the output r9.
macro_rules! one {
    ($row:literal, $first:literal, $last:literal) => {
        concat!(
            "ldrd r11, r12, [",
            $row,
            "], #4\n",
            "smlad r9, r11, ",
            $first,
            ", r9\n",
            "smlabt r9, r12, ",
            $last,
            ", r9"
        )
    };
}

#[unsafe(naked)]
unsafe extern "C" fn slide_by_one(job: &mut Slide) {
    naked_asm!(
        "push {{r0, r4-r11, lr}}",
        "mov lr, r0",
        // r0 to r2: rows, r3 to r8: weights.
        "ldm.w lr, {{r0-r8}}",
        // A row of output.
        "1:",
        "ldr r11, [lr, #60]",
        "cmp r11, #0",
        "add r11, r0",
        "str r11, [lr, #72]",
        "beq.w 3f",
        "2:",
        "ldr r9, [lr, #40]",
        "mov r10, r9",
        two!("r0", "r3", "r4"),
        two!("r1", "r5", "r6"),
        two!("r2", "r7", "r8"),
        "ldrd r11, r12, [lr, #44]",
        "smmlar r9, r9, r11, r12",
        "smmlar r10, r10, r11, r12",
        "ssat r9, #8, r9",
        "ssat r10, #8, r10",
        "ldr r11, [lr, #36]",
        "ldr r12, [lr, #52]",
        "strb r9, [r11]",
        "strb r10, [r11, r12]",
        "add r11, r11, r12, lsl #1",
        "str r11, [lr, #36]",
        "ldr r12, [lr, #72]",
        "cmp r0, r12",
        "bne.w 2b",
        "3:",
        "ldr r11, [lr, #68]",
        "cmp r11, #0",
        "beq.w 4f",
        // The last output of an odd row; the rows stay where they are.
        "ldr r9, [lr, #40]",
        one!("r0", "r3", "r4"),
        one!("r1", "r5", "r6"),
        one!("r2", "r7", "r8"),
        "sub r0, #4",
        "sub r1, #4",
        "sub r2, #4",
        "ldrd r11, r12, [lr, #44]",
        "smmlar r9, r9, r11, r12",
        "ssat r9, #8, r9",
        "ldr r11, [lr, #36]",
        "ldr r12, [lr, #52]",
        "strb r9, [r11]",
        "add r11, r12",
        "str r11, [lr, #36]",
        "4:",
        "ldrd r10, r11, [lr, #56]",
        "ldr r12, [lr, #64]",
        "subs r10, #1",
        "str r10, [lr, #56]",
        "add r0, r12",
        "add r1, r12",
        "add r2, r12",
        "bne.w 1b",
        "pop {{r0, r4-r11, pc}}",
    )
}

#[unsafe(naked)]
unsafe extern "C" fn slide_by_two(job: &mut Slide) {
    naked_asm!(
        "push {{r0, r4-r11, lr}}",
        "mov lr, r0",
        "ldm.w lr, {{r0-r8}}",
        "1:",
        "ldr r11, [lr, #60]",
        "ldr r10, [lr, #36]",
        "add r11, r0",
        "str r11, [lr, #72]",
        "2:",
        "ldr r9, [lr, #40]",
        one!("r0", "r3", "r4"),
        one!("r1", "r5", "r6"),
        one!("r2", "r7", "r8"),
        "ldrd r11, r12, [lr, #44]",
        "smmlar r9, r9, r11, r12",
        "ldrd r12, r11, [lr, #52]",
        "ssat r9, #8, r9",
        "strb r9, [r10]",
        "add r10, r12",
        "ldr r12, [lr, #72]",
        "cmp r0, r12",
        "bne.w 2b",
        "str r10, [lr, #36]",
        "ldr r12, [lr, #64]",
        "subs r11, #1",
        "str r11, [lr, #56]",
        "add r0, r12",
        "add r1, r12",
        "add r2, r12",
        "bne.w 1b",
        "pop {{r0, r4-r11, pc}}",
    )
}

/// Pairs of taps that a filter may have below.
const TAPS: usize = 64;

/// Any filter without horizontal dilation: a word of the row for two taps, two outputs at a time.
fn any(planes: &Planes<'_>, lane: usize, out: &mut [i8]) {
    let plane = &planes.planes[lane * planes.size / 2..][..planes.size / 2];
    let plane: &[i16] = bytemuck::cast_slice(plane);
    let (height, across) = (planes.kernel[0], planes.kernel[1].div_ceil(2));
    let mut weights = [0; TAPS];
    for (i, pair_) in weights[..height * across].iter_mut().enumerate() {
        let (ky, kx) = (i / across, i % across * 2);
        let next = if kx + 1 < planes.kernel[1] {
            weight(planes, lane, ky, kx + 1)
        } else {
            0
        };
        *pair_ = pair(weight(planes, lane, ky, kx), next);
    }
    let weights = &weights[..height * across];
    // Of an odd filter the last word's second half is one column further than the filter reaches;
    // the planes have that column.
    let step = planes.stride[1];
    let row_step = planes.dilation[0] * planes.columns;
    let reach = (height - 1) * row_step + 2 * across;
    let channels = planes.stage.channels.len();
    let channel = planes.first + lane;
    let bias = planes.stage.channels[channel].bias;
    for y in 0..planes.height {
        let row = y * planes.stride[0] * planes.columns;
        for x in (0..planes.width).step_by(2) {
            let from = row + x * step;
            let both = x + 1 < planes.width;
            let second = if both { step } else { 0 };
            let window = &plane[from..from + second + reach];
            let mut sums = [bias; 2];
            for (ky, weights) in weights.chunks_exact(across).enumerate() {
                for (i, &weight) in weights.iter().enumerate() {
                    let at = ky * row_step + 2 * i;
                    // SAFETY: `at + 1` is below `reach`, and `window` is `second` longer than that;
                    // this processor loads words from any address.
                    let (a, b) = unsafe {
                        let first = window.as_ptr().add(at).cast::<u32>();
                        let other = window.as_ptr().add(at + second).cast::<u32>();
                        (first.read_unaligned(), other.read_unaligned())
                    };
                    sums[0] = smlad(a, weight, sums[0]);
                    sums[1] = smlad(b, weight, sums[1]);
                }
            }
            for (i, sum) in sums.into_iter().take(1 + usize::from(both)).enumerate() {
                let value = planes.stage.apply(channel, sum, 0);
                let at = (y * planes.width + x + i) * channels + channel;
                super::super::put(out, at, planes.wide, value);
            }
        }
    }
}
