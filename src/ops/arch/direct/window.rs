//! Where the windows of a convolution are: in the input, or laid into the scratch with their padding.

use core::ops::Range;

use super::Shape;
use crate::ops::{Layer, inside};
use crate::pack::LayerKind;

/// A window: where it starts in the arena, and bytes from one row to the next.
#[derive(Clone, Copy, Default)]
pub(super) struct Place {
    pub(super) at: usize,
    pub(super) step: usize,
}

/// Goes from one output pixel to the next.
pub(super) struct Walk<'a> {
    layer: &'a Layer<'a>,
    shape: &'a Shape,
    /// The next pixel.
    y: usize,
    x: usize,
    width: usize,
    /// Outputs whose windows lie inside the input.
    inside: [Range<usize>; 2],
    /// Where the first window would start, padding included, and bytes to the windows below and to
    /// the right.
    start: usize,
    down: usize,
    right: usize,
    /// Bytes from one row of a window to the next.
    step: usize,
    /// Neighbouring taps are neighbours in the input.
    together: bool,
}

/// Bytes that move together.
const PIECE: usize = 16;

impl<'a> Walk<'a> {
    pub(super) fn new(layer: &'a Layer<'a>, shape: &'a Shape) -> Self {
        let (record, from, to) = (layer.record, layer.input, layer.output);
        let channels = usize::from(from.channels);
        let line = usize::from(from.width) * channels;
        let (top, left) = (usize::from(record.pad_top), usize::from(record.pad_left));
        let (below, beside) = (
            usize::from(record.stride_height),
            usize::from(record.stride_width),
        );
        if record.kind == LayerKind::Dense as u8 {
            // One window, which starts where the input does.
            return Walk {
                layer,
                shape,
                y: 0,
                x: 0,
                width: 1,
                inside: [0..1, 0..1],
                start: from.offset as usize,
                down: 0,
                right: 0,
                step: 0,
                together: true,
            };
        }
        let axis =
            |pad: usize, stride: usize, [kernel, dilation]: [u16; 2], size: u16, out: u16| {
                let reach = usize::from(kernel - 1) * usize::from(dilation);
                let first = pad.div_ceil(stride);
                let behind = (usize::from(size) + pad).saturating_sub(reach);
                first
                    ..behind
                        .div_ceil(stride)
                        .clamp(first, usize::from(out).max(first))
            };
        let kernel = [record.kernel_height, record.dilation_height];
        let rows = axis(top, below, kernel, from.height, to.height);
        let kernel = [record.kernel_width, record.dilation_width];
        let columns = axis(left, beside, kernel, from.width, to.width);
        Walk {
            layer,
            shape,
            y: 0,
            x: 0,
            width: usize::from(to.width),
            inside: [rows, columns],
            start: (from.offset as usize).wrapping_sub(top * line + left * channels),
            down: below * line,
            right: beside * channels,
            step: usize::from(record.dilation_height) * line,
            together: record.dilation_width == 1,
        }
    }

    /// The next pixel's window; `lane` says which place in the scratch it may take.
    #[inline(always)]
    pub(super) fn next(&mut self, arena: &mut [i8], lane: usize) -> Place {
        let (y, x) = (self.y, self.x);
        self.x += 1;
        if self.x == self.width {
            (self.y, self.x) = (y + 1, 0);
        }
        let whole = self.inside[0].contains(&y) && self.inside[1].contains(&x);
        let step = self.step;
        let at = self.start.wrapping_add(y * self.down + x * self.right);
        if whole && self.shape.direct {
            assert!(at + (self.shape.rows - 1) * step + self.shape.run <= arena.len());
            return Place { at, step };
        }
        let to = self.shape.scratch.start + lane * self.shape.depth;
        if whole && self.together {
            self.rows(arena, at, step, to);
        } else {
            self.padded(arena, (y, x), to);
        }
        Place {
            at: to,
            step: self.shape.run,
        }
    }

    /// Lays a window that has no padding.
    #[inline(always)]
    fn rows(&self, arena: &mut [i8], from: usize, step: usize, to: usize) {
        let (rows, run) = (self.shape.rows, self.shape.run);
        let room = to + rows * run + PIECE <= self.shape.scratch.end
            && from + (rows - 1) * step + run + PIECE <= arena.len();
        for row in 0..rows {
            let (from, to) = (from + row * step, to + row * run);
            if room {
                // What is moved too much is overwritten by the next row, or means nothing yet.
                for k in (0..run).step_by(PIECE) {
                    let piece: [i8; PIECE] = arena[from + k..]
                        .first_chunk()
                        .copied()
                        .unwrap_or([0; PIECE]);
                    arena[to + k..to + k + PIECE].copy_from_slice(&piece);
                }
            } else {
                move_bytes(arena, from, to, run);
            }
        }
    }

    /// Lays a window that reaches into the padding, or whose taps lie apart.
    fn padded(&self, arena: &mut [i8], (y, x): (usize, usize), to: usize) {
        let (record, from) = (self.layer.record, self.layer.input);
        let (height, line) = (usize::from(from.height), usize::from(from.width));
        let (taps, channels) = (usize::from(record.kernel_width), usize::from(from.channels));
        let (zero, offset) = (self.shape.zero, from.offset as usize);
        let top = (y * usize::from(record.stride_height)).wrapping_sub(record.pad_top.into());
        let left = (x * usize::from(record.stride_width)).wrapping_sub(record.pad_left.into());
        let (stride, pad) = (record.stride_width, record.pad_left);
        let across = inside(x, stride, pad, record.kernel_width, from.width);
        for ky in 0..self.shape.rows {
            let to = to + ky * self.shape.run;
            let row = top.wrapping_add(ky * usize::from(record.dilation_height));
            if row >= height {
                fill(&mut arena[to..to + self.shape.run], zero);
            } else if self.together {
                let (start, end) = (across.start * channels, across.end * channels);
                let from = (row * line + left.wrapping_add(across.start)) * channels;
                fill(&mut arena[to..to + start], zero);
                move_bytes(arena, offset + from, to + start, end - start);
                fill(&mut arena[to + end..to + self.shape.run], zero);
            } else {
                for kx in 0..taps {
                    let to = to + kx * channels;
                    let column = left.wrapping_add(kx * usize::from(record.dilation_width));
                    if column < line {
                        let from = offset + (row * line + column) * channels;
                        move_bytes(arena, from, to, channels);
                    } else {
                        fill(&mut arena[to..to + channels], zero);
                    }
                }
            }
        }
    }
}

/// Moves bytes from a tensor into the scratch, which lies above or below it.
#[inline(always)]
fn move_bytes(arena: &mut [i8], from: usize, to: usize, count: usize) {
    if from < to {
        let (low, high) = arena.split_at_mut(to);
        copy(&mut high[..count], &low[from..from + count]);
    } else {
        let (low, high) = arena.split_at_mut(from);
        copy(&mut low[to..to + count], &high[..count]);
    }
}

/// Copies a few bytes without a call: two overlapping pieces where one is too short.
#[inline(always)]
pub(super) fn copy(to: &mut [i8], from: &[i8]) {
    let count = from.len();
    if count >= 16 {
        pieces::<16>(to, from);
    } else if count >= 8 {
        pieces::<8>(to, from);
    } else if count >= 4 {
        pieces::<4>(to, from);
    } else {
        for (to, &from) in to.iter_mut().zip(from) {
            *to = from;
        }
    }
}

#[inline(always)]
fn pieces<const N: usize>(to: &mut [i8], from: &[i8]) {
    if let (Some(to), Some(from)) = (to.last_chunk_mut::<N>(), from.last_chunk()) {
        *to = *from;
    }
    let (to, from) = (to.as_chunks_mut::<N>().0, from.as_chunks::<N>().0);
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// The same with one value.
#[inline(always)]
fn fill(to: &mut [i8], value: i8) {
    let (all, rest) = to.as_chunks_mut::<16>();
    for to in all {
        *to = [value; 16];
    }
    let (fours, rest) = rest.as_chunks_mut::<4>();
    for to in fours {
        *to = [value; 4];
    }
    for to in rest {
        *to = value;
    }
}
