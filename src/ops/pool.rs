//! Average and maximum over a window; over the whole input where the window is as large.
//!
//! A pixel's window is read for one channel after the other, and each result is written at once:
//! [`geometry`](super::geometry) keeps output away from what later channels still read.

use core::ops::Range;

use super::{Layer, inside, read, write};
use crate::pack::{ElementKind, TensorRecord};
use crate::quantize::scale;

/// Padding counts as 0.0, which is the input's zero point: `bias` has it folded in for the whole
/// window, so padded taps add it back.
pub(super) fn average(layer: &Layer<'_>, arena: &mut [i8]) {
    let record = layer.record;
    let taps = i32::from(record.kernel_height) * i32::from(record.kernel_width);
    let zero = i32::from(layer.input.zero_point);
    let (multiplier, shift) = (record.first_multiplier, u32::from(record.shift));
    let (low, high) = (i32::from(record.low), i32::from(record.high));
    for_each_window(layer, arena, |arena, channel, window| {
        let mut acc = record.bias;
        window.for_each(arena, layer.input, channel, |value| acc = acc.wrapping_add(value));
        let padded = taps - window.len() as i32;
        acc = acc.wrapping_add(padded.wrapping_mul(zero));
        let scaled = scale(acc, multiplier, shift);
        scaled
            .saturating_add(i32::from(layer.output.zero_point))
            .clamp(low, high)
    });
}

/// Padding does not count; input and output have one scale.
pub(super) fn maximum(layer: &Layer<'_>, arena: &mut [i8]) {
    let (low, high) = (i32::from(layer.record.low), i32::from(layer.record.high));
    for_each_window(layer, arena, |arena, channel, window| {
        let mut best = i32::from(i16::MIN);
        window.for_each(arena, layer.input, channel, |value| best = best.max(value));
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

    /// Shows every value of one channel.
    #[inline(always)]
    fn for_each(
        &self,
        arena: &[i8],
        tensor: &TensorRecord,
        channel: usize,
        mut see: impl FnMut(i32),
    ) {
        let (step, count) = (self.channels, self.columns.len());
        for line in self.lines.clone() {
            let first = (line * self.width + self.columns.start) * step + channel;
            match tensor.element_kind() {
                ElementKind::Int8 => {
                    // One check a line: the values lie `step` apart.
                    let line = &arena[tensor.offset as usize + first..][..(count - 1) * step + 1];
                    line.iter().step_by(step).for_each(|&v| see(i32::from(v)));
                }
                ElementKind::Int16 => {
                    (0..count).for_each(|i| see(read(arena, tensor, first + i * step)));
                }
            }
        }
    }
}

#[inline(always)]
fn for_each_window(
    layer: &Layer<'_>,
    arena: &mut [i8],
    mut compute: impl FnMut(&[i8], usize, &Positions) -> i32,
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
        for channel in 0..channels {
            let value = compute(arena, channel, &window);
            write(arena, layer.output, pixel * channels + channel, value);
        }
    }
}
