//! Average and maximum over a window; over the whole input where the window is as large.
//!
//! A pixel's window is read for a few channels after the others, and their results are written at
//! once: [`geometry`](super::geometry) keeps output away from what later channels still read.

use core::ops::Range;

use super::{Layer, inside, read, write};
use crate::pack::{ElementKind, TensorRecord};
use crate::quantize::scale;

/// Channels whose windows are read together.
const TOGETHER: usize = 4;

/// Padding counts as 0.0, which is the input's zero point: `bias` has it folded in for the whole
/// window, so padded taps add it back.
pub(super) fn average(layer: &Layer<'_>, arena: &mut [i8]) {
    let record = layer.record;
    let taps = i32::from(record.kernel_height) * i32::from(record.kernel_width);
    let zero = i32::from(layer.input.zero_point);
    let (multiplier, shift) = (record.first_multiplier, u32::from(record.shift));
    let (low, high) = (i32::from(record.low), i32::from(record.high));
    for_each_window(layer, arena, 0, i32::wrapping_add, |sum, window| {
        let padded = taps - window.len() as i32;
        let acc = sum
            .wrapping_add(record.bias)
            .wrapping_add(padded.wrapping_mul(zero));
        let scaled = scale(acc, multiplier, shift);
        scaled
            .saturating_add(i32::from(layer.output.zero_point))
            .clamp(low, high)
    });
}

/// Padding does not count; input and output have one scale.
pub(super) fn maximum(layer: &Layer<'_>, arena: &mut [i8]) {
    let (low, high) = (i32::from(layer.record.low), i32::from(layer.record.high));
    for_each_window(layer, arena, i32::from(i16::MIN), i32::max, |best, _| {
        best.clamp(low, high)
    });
}

/// The real input positions below one output position.
struct Positions {
    lines: Range<usize>,
    columns: Range<usize>,
    width: usize,
    channels: usize,
}

impl Positions {
    fn len(&self) -> usize {
        self.lines.len() * self.columns.len()
    }

    /// Folds the window's values of some neighbouring channels, each into its own of `all`.
    #[inline(always)]
    fn fold(
        &self,
        arena: &[i8],
        tensor: &TensorRecord,
        channel: usize,
        all: &mut [i32],
        fold: impl Fn(i32, i32) -> i32,
    ) {
        for line in self.lines.clone() {
            let first = (line * self.width + self.columns.start) * self.channels + channel;
            for column in 0..self.columns.len() {
                let at = first + column * self.channels;
                let here = arena[tensor.offset as usize..].get(at..at + TOGETHER);
                match (tensor.element_kind(), here, &mut *all) {
                    (ElementKind::Int8, Some(&[a, b, c, d]), [p, q, r, s]) => {
                        *p = fold(*p, a.into());
                        *q = fold(*q, b.into());
                        *r = fold(*r, c.into());
                        *s = fold(*s, d.into());
                    }
                    (_, _, all) => {
                        for (i, to) in all.iter_mut().enumerate() {
                            *to = fold(*to, read(arena, tensor, at + i));
                        }
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn for_each_window(
    layer: &Layer<'_>,
    arena: &mut [i8],
    start: i32,
    fold: impl Fn(i32, i32) -> i32,
    finish: impl Fn(i32, &Positions) -> i32,
) {
    let (record, shape) = (layer.record, layer.input);
    let (height, width) = (
        usize::from(layer.output.height),
        usize::from(layer.output.width),
    );
    let channels = usize::from(shape.channels);
    let axis = |at: usize, stride, pad: u16, kernel, size| {
        let range = inside(at, stride, pad, kernel, size);
        let start = at * usize::from(stride);
        start + range.start - usize::from(pad)..start + range.end - usize::from(pad)
    };
    for pixel in 0..height * width {
        let window = Positions {
            lines: axis(
                pixel / width,
                record.stride_height,
                record.pad_top,
                record.kernel_height,
                shape.height,
            ),
            columns: axis(
                pixel % width,
                record.stride_width,
                record.pad_left,
                record.kernel_width,
                shape.width,
            ),
            width: usize::from(shape.width),
            channels,
        };
        for channel in (0..channels).step_by(TOGETHER) {
            let mut all = [start; TOGETHER];
            let all = &mut all[..TOGETHER.min(channels - channel)];
            window.fold(arena, layer.input, channel, all, &fold);
            for (i, &folded) in all.iter().enumerate() {
                let value = finish(folded, &window);
                write(arena, layer.output, pixel * channels + channel + i, value);
            }
        }
    }
}
