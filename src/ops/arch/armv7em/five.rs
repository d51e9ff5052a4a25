//! Depthwise filters of five columns and up to eight rows: two outputs at a time where the stride is 1,
//! from three words of each row, with the row's weights loaded by one `LDM`.

use core::arch::naked_asm;

use super::super::Planes;
use super::depthwise::{pair, weight};

/// Rows that a filter of five columns may have.
pub(super) const ROWS: usize = 8;

/// One channel's plane and everything that is written from it by a filter of five columns; the
/// assembly knows the order of the fields.
#[repr(C)]
struct Five {
    /// The first row of the window row at hand, at its first column.
    row: *const i16,
    /// Bytes to the next row of a window, and to the next row of windows.
    down: usize,
    next: usize,
    /// (w0, w1), (w1, w2), (w2, w3) and (w3, w4) of each row of the filter.
    weights: *const [u32; 4],
    weights_end: *const [u32; 4],
    out: *mut i8,
    bias: i32,
    multiplier: i32,
    zero_point: i32,
    /// Bytes from one pixel of the output to the next.
    stride: usize,
    height: usize,
    width: usize,
}

/// Five columns, plain stage.
pub(super) fn slide(planes: &Planes<'_>, lane: usize, out: &mut [i8]) {
    let (columns, channels) = (planes.columns, planes.stage.channels.len());
    let [height, _] = planes.kernel;
    let plane = &planes.planes[lane * planes.size / 2..][..planes.size / 2];
    let mut weights = [[0; 4]; ROWS];
    for (ky, row) in weights[..height].iter_mut().enumerate() {
        let w = [0, 1, 2, 3, 4].map(|kx| weight(planes, lane, ky, kx));
        *row = [0, 1, 2, 3].map(|kx| pair(w[kx], w[kx + 1]));
    }
    let weights = weights[..height].as_ptr_range();
    let channel = planes.stage.channels[planes.first + lane];
    // What the assembly reads: `height` rows of the last window row, three words behind the last
    // turn's start, which is a word behind the one before it; what it writes: every pixel's byte of
    // this channel.
    let reach = (planes.height - 1) * planes.stride[0] + (height - 1) * planes.dilation[0] + 1;
    let turns = if planes.stride[1] == 1 {
        planes.width.div_ceil(2)
    } else {
        planes.width
    };
    assert!(planes.height > 0 && height > 0 && columns.is_multiple_of(2));
    assert!(2 * turns + 4 <= columns && reach * columns <= planes.size);
    assert!(out.len() >= planes.height * planes.width * channels);
    let mut job = Five {
        row: plane.as_ptr().cast(),
        down: 2 * columns * planes.dilation[0],
        next: 2 * columns * planes.stride[0],
        weights: weights.start,
        weights_end: weights.end,
        out: out.as_mut_ptr().wrapping_add(planes.first + lane),
        bias: channel.bias,
        multiplier: channel.multiplier,
        zero_point: planes.stage.zero_point,
        stride: channels,
        height: planes.height,
        width: planes.width,
    };
    // SAFETY: the asserts above.
    unsafe {
        if planes.stride[1] == 1 {
            five_by_one(&mut job);
        } else {
            five_by_two(&mut job);
        }
    }
}

#[unsafe(naked)]
unsafe extern "C" fn five_by_one(job: &mut Five) {
    naked_asm!(
        "push {{r4-r11, lr}}",
        "sub sp, #12",
        "mov lr, r0",
        // A row of output: the stack has the place of its turn and how many outputs are left.
        "1:",
        "ldr r0, [lr]",
        "ldr r1, [lr, #44]",
        "strd r0, r1, [sp]",
        // Two outputs: r10, r11.
        "2:",
        "ldr r0, [sp]",
        "ldr r2, [lr, #4]",
        "ldrd r1, r12, [lr, #12]",
        "ldr r10, [lr, #24]",
        "mov r11, r10",
        // A row of the filter.
        "3:",
        "ldm r1!, {{r3-r6}}",
        "ldrd r7, r8, [r0]",
        "ldr r9, [r0, #8]",
        "add r0, r2",
        "smlad r10, r7, r3, r10",
        "smlad r10, r8, r5, r10",
        "smlabt r10, r9, r6, r10",
        "smlatb r11, r7, r3, r11",
        "smlad r11, r8, r4, r11",
        "smlad r11, r9, r6, r11",
        "cmp r1, r12",
        "bne 3b",
        "ldrd r3, r4, [lr, #28]",
        "ldr r5, [lr, #20]",
        "ldr r6, [lr, #36]",
        "smmlar r10, r10, r3, r4",
        "smmlar r11, r11, r3, r4",
        "ldrd r0, r1, [sp]",
        "ssat r10, #8, r10",
        "ssat r11, #8, r11",
        "strb r10, [r5]",
        "add r0, #4",
        "cmp r1, #1",
        "beq 4f",
        "strb r11, [r5, r6]",
        "add r5, r5, r6, lsl #1",
        "str r5, [lr, #20]",
        "subs r1, #2",
        "strd r0, r1, [sp]",
        "bne 2b",
        "b 5f",
        // The last output of an odd row comes alone.
        "4:",
        "add r5, r6",
        "str r5, [lr, #20]",
        "5:",
        "ldr r0, [lr]",
        "ldr r1, [lr, #8]",
        "ldr r2, [lr, #40]",
        "add r0, r1",
        "str r0, [lr]",
        "subs r2, #1",
        "str r2, [lr, #40]",
        "bne 1b",
        "add sp, #12",
        "pop {{r4-r11, pc}}",
    )
}

#[unsafe(naked)]
unsafe extern "C" fn five_by_two(job: &mut Five) {
    naked_asm!(
        "push {{r4-r11, lr}}",
        "sub sp, #12",
        "mov lr, r0",
        "1:",
        "ldr r0, [lr]",
        "ldr r1, [lr, #44]",
        "strd r0, r1, [sp]",
        // One output: r10.
        "2:",
        "ldr r0, [sp]",
        "ldr r2, [lr, #4]",
        "ldrd r1, r12, [lr, #12]",
        "ldr r10, [lr, #24]",
        "3:",
        "ldm r1!, {{r3-r6}}",
        "ldrd r7, r8, [r0]",
        "ldr r9, [r0, #8]",
        "add r0, r2",
        "smlad r10, r7, r3, r10",
        "smlad r10, r8, r5, r10",
        "smlabt r10, r9, r6, r10",
        "cmp r1, r12",
        "bne 3b",
        "ldrd r3, r4, [lr, #28]",
        "ldr r5, [lr, #20]",
        "ldr r6, [lr, #36]",
        "smmlar r10, r10, r3, r4",
        "ldrd r0, r1, [sp]",
        "ssat r10, #8, r10",
        "strb r10, [r5]",
        "add r5, r6",
        "str r5, [lr, #20]",
        "add r0, #4",
        "subs r1, #1",
        "strd r0, r1, [sp]",
        "bne 2b",
        "ldr r0, [lr]",
        "ldr r1, [lr, #8]",
        "ldr r2, [lr, #40]",
        "add r0, r1",
        "str r0, [lr]",
        "subs r2, #1",
        "str r2, [lr, #40]",
        "bne 1b",
        "add sp, #12",
        "pop {{r4-r11, pc}}",
    )
}
