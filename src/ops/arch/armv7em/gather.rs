//! Values on their way into the scratch.

use core::arch::naked_asm;

use super::super::{Arch as _, PlaneRows, Portable};
use super::Armv7em;
use crate::ops::geometry::LANES;

/// What [`stretches`] reads.
#[repr(C)]
struct Stretches {
    windows: *mut u32,
    values: *const i8,
    /// Blocks of four values in a stretch.
    blocks: usize,
    /// Bytes from a stretch's end to the next one's start.
    skip: usize,
    rows: usize,
}

/// One window of four lanes, stretch by stretch.
#[inline(always)]
pub(super) fn lay_rows(
    windows: &mut [u32],
    (lanes, lane): (usize, usize),
    values: &[i8],
    (run, step, rows): (usize, usize, usize),
) {
    if lanes != LANES {
        for (row, values) in values.chunks(step).take(rows).enumerate() {
            Armv7em::lay(windows, lanes, lane, row * run, &values[..run]);
        }
        return;
    }
    assert!(run > 0 && run.is_multiple_of(4) && step >= run && rows > 0 && lane < LANES);
    assert!(values.len() >= (rows - 1) * step + run && windows.len() >= rows * run / 2 * LANES);
    let job = Stretches {
        windows: windows.as_mut_ptr().wrapping_add(lane),
        values: values.as_ptr(),
        blocks: run / 4,
        skip: step - run,
        rows,
    };
    // SAFETY: `rows` stretches of `run` values, `step` apart, lie in `values`; four of them become
    // two words of this lane in every eight words of `windows`.
    unsafe { stretches(&job) }
}

/// Four values as two pairs, one behind the other in this lane.
macro_rules! block {
    () => {
        "ldr r4, [r2], #4
         sxtb16 r5, r4
         sxtb16 r4, r4, ror #8
         str r5, [r1], #16
         str r4, [r1], #16"
    };
}

#[unsafe(naked)]
unsafe extern "C" fn stretches(job: &Stretches) {
    naked_asm!(
        "push {{r4-r8, lr}}",
        // r1: windows, r2: values, r3: blocks.
        "ldm.w r0, {{r1, r2, r3, r7, r8}}",
        "1:",
        "lsrs r6, r3, #2",
        "beq 3f",
        "2:",
        block!(),
        block!(),
        block!(),
        block!(),
        "subs r6, #1",
        "bne 2b",
        "3:",
        "ands r6, r3, #3",
        "beq 5f",
        "4:",
        block!(),
        "subs r6, #1",
        "bne 4b",
        "5:",
        "add r2, r7",
        "subs r8, #1",
        "bne 1b",
        "pop {{r4-r8, pc}}",
    )
}

/// What [`planes_of_four`] reads.
#[repr(C)]
struct Rows {
    values: *const i8,
    stride: usize,
    planes: [*mut i16; 4],
    /// A first pixel whose halfword ends a word, pairs of pixels, a last pixel left over.
    first: usize,
    pairs: usize,
    last: usize,
    /// Bytes from behind a row's last pixel to the next row, in the input and in the planes.
    skip: usize,
    plane_skip: usize,
    rows: usize,
}

/// Rows of four channels into four planes.
pub(super) fn lay_plane(planes: &mut [u32], size: usize, plane: &PlaneRows, values: &[i8]) {
    let PlaneRows {
        rows,
        pixels,
        stride,
        step,
        at,
        columns,
        ..
    } = *plane;
    if plane.channels != 4 || plane.lane != 0 {
        for row in 0..rows {
            let values = &values[row * step..];
            let (lanes, at) = ((plane.lane, plane.channels), at + row * columns);
            Portable::lay_row(planes, size, lanes, at, values, stride, pixels);
        }
        return;
    }
    assert!(rows > 0 && pixels > 0 && size.is_multiple_of(2) && columns.is_multiple_of(2));
    assert!(at + (rows - 1) * columns + pixels <= size && planes.len() >= 2 * size);
    assert!(step >= pixels * stride && pixels <= columns && stride >= 4);
    assert!(values.len() >= (rows - 1) * step + (pixels - 1) * stride + 4);
    // Words begin at even elements.
    let first = at % 2;
    let pairs = (pixels - first) / 2;
    let halves: *mut i16 = planes.as_mut_ptr().cast();
    let job = Rows {
        values: values.as_ptr(),
        stride,
        planes: [0, 1, 2, 3].map(|channel| halves.wrapping_add(channel * size + at)),
        first,
        pairs,
        last: (pixels - first) % 2,
        skip: step - pixels * stride,
        plane_skip: 2 * (columns - pixels),
        rows,
    };
    // SAFETY: `pixels` times four values, `stride` apart, lie in each of `rows` rows, `step` apart;
    // each becomes a halfword of each plane, `columns` a row, below `size`, as the asserts say.
    unsafe { planes_of_four(&job) }
}

/// One pixel: a halfword into each plane.
macro_rules! pixel {
    () => {
        "ldr r8, [r1]
         add r1, r2
         sxtb r9, r8
         strh r9, [r3], #2
         sxtb r9, r8, ror #8
         strh r9, [r4], #2
         sxtb r9, r8, ror #16
         strh r9, [r5], #2
         sxtb r9, r8, ror #24
         strh r9, [r6], #2"
    };
}

#[unsafe(naked)]
unsafe extern "C" fn planes_of_four(job: &Rows) {
    naked_asm!(
        "push {{r4-r11, lr}}",
        "ldr lr, [r0, #44]",
        // r1: values, r2: stride, r3 to r6: planes.
        "ldm.w r0, {{r1-r6}}",
        "1:",
        "ldr r7, [r0, #24]",
        "cmp r7, #0",
        "beq 2f",
        pixel!(),
        "2:",
        "ldr r7, [r0, #28]",
        "cmp r7, #0",
        "beq 4f",
        "3:",
        "ldr r8, [r1]",
        "ldr r9, [r1, r2]",
        "add.w r1, r1, r2, lsl #1",
        "sxtb16 r10, r8",
        "sxtb16 r11, r9",
        "pkhbt r12, r10, r11, lsl #16",
        "pkhtb r10, r11, r10, asr #16",
        "str r12, [r3], #4",
        "str r10, [r5], #4",
        "sxtb16 r10, r8, ror #8",
        "sxtb16 r11, r9, ror #8",
        "pkhbt r12, r10, r11, lsl #16",
        "pkhtb r10, r11, r10, asr #16",
        "str r12, [r4], #4",
        "str r10, [r6], #4",
        "subs r7, #1",
        "bne 3b",
        "4:",
        "ldr r7, [r0, #32]",
        "cmp r7, #0",
        "beq 5f",
        pixel!(),
        "5:",
        "ldrd r7, r8, [r0, #36]",
        "add r1, r7",
        "add r3, r8",
        "add r4, r8",
        "add r5, r8",
        "add r6, r8",
        "subs lr, #1",
        "bne 1b",
        "pop {{r4-r11, pc}}",
    )
}
