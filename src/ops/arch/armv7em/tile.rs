//! Windows times filters.

use core::arch::naked_asm;

use super::super::Tile;
use crate::ops::geometry::LANES;
use crate::pack::Channel;
use crate::quantize::Sum;

/// Blocks of four weights that the loops below are unrolled to, and bytes of code of one.
const UNROLLED: usize = 8;
const STEP: usize = 52;

/// What the assembly reads; the order of the fields is its own.
#[repr(C)]
struct Job {
    windows: *const u32,
    windows_end: *const u32,
    /// Where in the unrolled loop the first turn starts, in bytes: behind what would be too many.
    entry: usize,
    weights: *const i8,
    /// To the next channel's weights inside a block of four, which all lie one behind the other.
    next: isize,
    channels: *const Channel,
    channels_end: *const Channel,
    /// Outputs; of [`End::Sums`] four sums.
    out: *mut i8,
    stride: usize,
    zero_point: i32,
    /// Of [`End::Added`]: the second tensor's multiplier, the constant, and the shift up.
    multiplier: i32,
    constant: i32,
    up: u32,
    end: End,
    /// Of [`End::Leaky`]: the multipliers of negative sums.
    negative: *const i32,
}

/// What becomes of four sums.
#[repr(u32)]
enum End {
    Plain = 0,
    Added = 1,
    Leaky = 2,
    Sums = 3,
}

impl Job {
    /// Every channel of a tile of four lanes.
    #[inline(never)]
    fn of(tile: &Tile<'_>, end: End) -> Job {
        let blocks = tile.depth / 4;
        assert!(tile.lanes == LANES && blocks > 0 && !tile.channels.is_empty());
        assert!(tile.windows.len() == 2 * blocks * LANES);
        assert!(tile.weights.len() >= tile.channels.len().next_multiple_of(4) * tile.depth);
        let windows = tile.windows.as_ptr_range();
        let channels = tile.channels.as_ptr_range();
        Job {
            windows: windows.start,
            windows_end: windows.end,
            entry: (UNROLLED - blocks % UNROLLED) % UNROLLED * STEP,
            weights: tile.weights.as_ptr(),
            next: 4 - 4 * tile.depth as isize,
            channels: channels.start,
            channels_end: channels.end,
            out: core::ptr::null_mut(),
            stride: tile.stride,
            zero_point: tile.stage.zero_point,
            multiplier: 0,
            constant: 0,
            up: 0,
            end,
            negative: core::ptr::null(),
        }
    }

    /// Runs it, writing to every lane of `out`.
    fn write(self, tile: &Tile<'_>, out: &mut [i8]) {
        assert!(out.len() >= (LANES - 1) * tile.stride + tile.channels.len());
        let job = Job {
            out: out.as_mut_ptr(),
            ..self
        };
        // SAFETY: the windows are LANES lanes of depth / 4 pairs of words and there are depth
        // weights for each channel, both checked in `Job::of`; what is written, and of `Added`
        // read, are the lanes' channels, the last of which lies in `out`.
        unsafe { four_lanes_of(&job) }
    }
}

/// All outputs of four lanes, plain stage.
pub(super) fn outputs(tile: &Tile<'_>, out: &mut [i8]) {
    Job::of(tile, End::Plain).write(tile, out);
}

/// The shift of sums that the assembly knows, which is the one that `headstart pack` writes.
const SHIFT: u32 = 16;

/// The same, added to what `out` holds; false where it can't.
pub(super) fn outputs_added(tile: &Tile<'_>, sum: &Sum, out: &mut [i8]) -> bool {
    if sum.shift != SHIFT || tile.lanes != LANES {
        return false;
    }
    let job = Job {
        multiplier: sum.multiplier,
        constant: sum.bias.wrapping_add(1 << (SHIFT - 1)),
        up: sum.up,
        ..Job::of(tile, End::Added)
    };
    job.write(tile, out);
    true
}

/// The same with other multipliers for negative sums; false where it can't.
pub(super) fn outputs_leaky(tile: &Tile<'_>, negative: &[i32], out: &mut [i8]) -> bool {
    if tile.lanes != LANES {
        return false;
    }
    assert!(negative.len() >= tile.channels.len());
    let job = Job {
        negative: negative.as_ptr(),
        ..Job::of(tile, End::Leaky)
    };
    job.write(tile, out);
    true
}

/// The sums of one channel over four lanes.
#[inline(never)]
pub(super) fn four_lanes(tile: &Tile<'_>, channel: usize) -> [i32; LANES] {
    let depth = tile.depth;
    // The block of four channels, then this channel in its first four weights.
    let filter = &tile.weights[channel / 4 * 4 * depth..][..4 * depth][channel % 4 * 4..];
    let nothing = [Channel::default()];
    let ends = nothing.as_ptr_range();
    let mut sums = [0i32; LANES];
    let job = Job {
        weights: filter.as_ptr(),
        channels: ends.start,
        channels_end: ends.end,
        out: sums.as_mut_ptr().cast(),
        ..Job::of(tile, End::Sums)
    };
    // SAFETY: the windows are LANES lanes of depth / 4 pairs of words (checked in `Job::of`); the
    // filter's words lie 16 bytes apart, the last of them in the block of 4 * depth bytes; LANES
    // sums are written to as many.
    unsafe { four_lanes_of(&job) }
    sums
}

/// The sums of four channels over the one lane.
pub(super) fn one_lane(tile: &Tile<'_>, block: usize) -> [i32; 4] {
    let depth = tile.depth;
    let windows = &tile.windows[..depth / 2];
    let filters = &tile.weights[block * 4 * depth..][..4 * depth];
    let mut sums = [0; 4];
    let ends = windows.as_ptr_range();
    // SAFETY: depth / 4 pairs of words and 4 * depth weights, as the slices above say.
    unsafe { sums_one_lane(ends.start, ends.end, filters.as_ptr(), &mut sums) }
    sums
}

/// One block of four weights (r1) of a channel times the windows (r0) of four lanes, onto r2 to r5:
/// 16 multiply-accumulates in 13 instructions. Every instruction is 4 bytes long, as [`STEP`] says.
macro_rules! block {
    () => {
        "ldr.w r10, [r1], #16
         ldm.w r0!, {{r6-r9}}
         sxtb16 r11, r10
         sxtb16 r10, r10, ror #8
         smlad r2, r6, r11, r2
         smlad r3, r7, r11, r3
         smlad r4, r8, r11, r4
         smlad r5, r9, r11, r5
         ldm.w r0!, {{r6-r9}}
         smlad r2, r6, r10, r2
         smlad r3, r7, r10, r3
         smlad r4, r8, r10, r4
         smlad r5, r9, r10, r5"
    };
}

/// Every channel of the job: the job onto the stack, so that it is read relative to it; then a
/// channel's bias into four sums, a jump into the middle of the loop, and from there to the end that
/// the job asks for. r12 is the windows' end, lr the channel behind this one.
#[unsafe(naked)]
unsafe extern "C" fn four_lanes_of(job: &Job) {
    naked_asm!(
        "push {{r4-r11, lr}}",
        "sub sp, #60",
        "ldm.w r0!, {{r1-r6}}",
        "adr.w r8, 2f",
        "add r3, r8",
        "orr r3, #1",
        "stm.w sp, {{r1-r6}}",
        "mov r12, r2",
        "mov lr, r6",
        "mov r2, r4",
        "ldm.w r0!, {{r4-r10}}",
        "add r11, sp, #24",
        "stm.w r11!, {{r4-r10}}",
        "ldm.w r0, {{r8, r10}}",
        "adr.w r9, 3f",
        "cmp r8, #1",
        "it eq",
        "adreq.w r9, 4f",
        "cmp r8, #2",
        "it eq",
        "adreq.w r9, 5f",
        "cmp r8, #3",
        "it eq",
        "adreq.w r9, 6f",
        "orr r9, #1",
        "stm.w r11, {{r9, r10}}",
        "mov r0, r1",
        "mov r1, r2",
        // A channel.
        "1:",
        "ldr r2, [lr], #8",
        "ldr r10, [sp, #8]",
        "mov r3, r2",
        "mov r4, r2",
        "mov r5, r2",
        "bx r10",
        ".balign 4",
        "2:",
        block!(),
        block!(),
        block!(),
        block!(),
        block!(),
        block!(),
        block!(),
        block!(),
        "cmp r0, r12",
        "bne.w 2b",
        "ldr r10, [sp, #52]",
        "ldr r6, [lr, #-4]",
        "bx r10",
        // Other multipliers below zero.
        ".balign 4",
        "5:",
        "ldr r8, [sp, #56]",
        "ldrd r9, r7, [sp, #32]",
        "ldr r11, [r8], #4",
        "str r8, [sp, #56]",
        "cmp r2, #0",
        "ite mi",
        "smmlarmi r2, r2, r11, r7",
        "smmlarpl r2, r2, r6, r7",
        "cmp r3, #0",
        "ite mi",
        "smmlarmi r3, r3, r11, r7",
        "smmlarpl r3, r3, r6, r7",
        "cmp r4, #0",
        "ite mi",
        "smmlarmi r4, r4, r11, r7",
        "smmlarpl r4, r4, r6, r7",
        "cmp r5, #0",
        "ite mi",
        "smmlarmi r5, r5, r11, r7",
        "smmlarpl r5, r5, r6, r7",
        "b 7f",
        // Added to what is there.
        ".balign 4",
        "4:",
        "smmulr r2, r2, r6",
        "smmulr r3, r3, r6",
        "smmulr r4, r4, r6",
        "smmulr r5, r5, r6",
        "ldrd r6, r7, [sp, #40]",
        "ldr r11, [sp, #48]",
        "ldrd r8, r9, [sp, #28]",
        "lsl r2, r2, r11",
        "lsl r3, r3, r11",
        "lsl r4, r4, r11",
        "lsl r5, r5, r11",
        "add r10, r8, r9, lsl #1",
        "ldrsb r0, [r8]",
        "mla r0, r0, r6, r7",
        "add r2, r0",
        "ldrsb r0, [r8, r9]",
        "mla r0, r0, r6, r7",
        "add r3, r0",
        "ldrsb r0, [r10]",
        "mla r0, r0, r6, r7",
        "add r4, r0",
        "ldrsb r0, [r10, r9]",
        "mla r0, r0, r6, r7",
        "add r5, r0",
        "ssat r2, #8, r2, asr #16",
        "ssat r3, #8, r3, asr #16",
        "ssat r4, #8, r4, asr #16",
        "ssat r5, #8, r5, asr #16",
        "b 8f",
        // Nothing but scaled.
        ".balign 4",
        "3:",
        "ldrd r9, r7, [sp, #32]",
        "smmlar r2, r2, r6, r7",
        "smmlar r3, r3, r6, r7",
        "smmlar r4, r4, r6, r7",
        "smmlar r5, r5, r6, r7",
        "7:",
        "ldr r8, [sp, #28]",
        "ssat r2, #8, r2",
        "ssat r3, #8, r3",
        "ssat r4, #8, r4",
        "ssat r5, #8, r5",
        "add r10, r8, r9, lsl #1",
        "8:",
        "strb r3, [r8, r9]",
        "strb r4, [r10]",
        "strb r5, [r10, r9]",
        "strb r2, [r8], #1",
        "str r8, [sp, #28]",
        // The next channel: three times inside the block of four, then behind it.
        "ldrd r10, r11, [sp, #20]",
        "sub r10, lr, r10",
        "tst r10, #24",
        "itee eq",
        "subeq r1, #12",
        "ldrne r10, [sp, #16]",
        "addne r1, r10",
        "ldr r0, [sp]",
        "cmp lr, r11",
        "bne.w 1b",
        "b 9f",
        // The sums themselves, of one channel.
        ".balign 4",
        "6:",
        "ldr r8, [sp, #28]",
        "stm.w r8, {{r2-r5}}",
        "9:",
        "add sp, #60",
        "pop {{r4-r11, pc}}",
    )
}

/// Four weights of each of four channels times one window: 16 multiply-accumulates in 18
/// instructions.
macro_rules! row {
    () => {
        "ldm.w r1!, {{r6-r9}}
         ldrd r10, r11, [r0], #8
         sxtb16 r12, r6
         sxtb16 r6, r6, ror #8
         smlad r2, r10, r12, r2
         smlad r2, r11, r6, r2
         sxtb16 r12, r7
         sxtb16 r7, r7, ror #8
         smlad r3, r10, r12, r3
         smlad r3, r11, r7, r3
         sxtb16 r12, r8
         sxtb16 r8, r8, ror #8
         smlad r4, r10, r12, r4
         smlad r4, r11, r8, r4
         sxtb16 r12, r9
         sxtb16 r9, r9, ror #8
         smlad r5, r10, r12, r5
         smlad r5, r11, r9, r5"
    };
}

#[unsafe(naked)]
unsafe extern "C" fn sums_one_lane(
    window: *const u32,
    window_end: *const u32,
    filters: *const i8,
    sums: &mut [i32; 4],
) {
    naked_asm!(
        "push {{r3-r11, lr}}",
        "mov lr, r1",
        "mov r1, r2",
        "mov r2, #0",
        "mov r3, #0",
        "mov r4, #0",
        "mov r5, #0",
        "3:",
        row!(),
        "cmp r0, lr",
        "bne 3b",
        "ldr r0, [sp]",
        "stm r0, {{r2-r5}}",
        "pop {{r3-r11, pc}}",
    )
}
