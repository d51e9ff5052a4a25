//! Average and maximum over a window; over the whole input where the window is as large.

use super::{Layer, inside, with_output};
use crate::pack::ElementKind;
use crate::quantize::{Element, scale};

/// Padding counts as 0.0, which is the input's zero point: `bias` has it folded in for the whole
/// window, so padded taps add it back.
pub(super) fn average(layer: &Layer<'_>, arena: &mut [i8]) {
    let (input, output) = layer.split(arena);
    with_output!(layer, output, |out| average_into(layer, input, out));
}

fn average_into<T: Element>(layer: &Layer<'_>, input: &[i8], out: &mut [T]) {
    let record = layer.record;
    let taps = i32::from(record.kernel_height) * i32::from(record.kernel_width);
    let zero = i32::from(layer.input.zero_point);
    let (multiplier, shift) = (layer.scalar(), u32::from(record.shift));
    let (low, high) = (i32::from(record.low), i32::from(record.high));
    for_each_window(layer, out, |out, channel, window| {
        let (mut acc, mut seen) = (record.bias, 0);
        window.for_each(|at| {
            acc = acc.wrapping_add(i32::from(input[at + channel]));
            seen += 1;
        });
        acc = acc.wrapping_add((taps - seen).wrapping_mul(zero));
        let scaled =
            scale(acc, multiplier, shift).saturating_add(i32::from(layer.output.zero_point));
        *out = T::put(scaled.clamp(low, high));
    });
}

/// Padding does not count; input and output have one scale.
pub(super) fn maximum(layer: &Layer<'_>, arena: &mut [i8]) {
    let (input, output) = layer.split(arena);
    let (low, high) = (layer.record.low as i8, layer.record.high as i8);
    for_each_window(layer, output, |out, channel, window| {
        let mut best = i8::MIN;
        window.for_each(|at| best = best.max(input[at + channel]));
        *out = best.clamp(low, high);
    });
}

/// The real input positions below one output position.
struct Positions {
    lines: core::ops::Range<usize>,
    columns: core::ops::Range<usize>,
    width: usize,
    channels: usize,
}

impl Positions {
    #[inline(always)]
    fn for_each(&self, mut see: impl FnMut(usize)) {
        for line in self.lines.clone() {
            for column in self.columns.clone() {
                see((line * self.width + column) * self.channels);
            }
        }
    }
}

fn for_each_window<T>(
    layer: &Layer<'_>,
    out: &mut [T],
    mut compute: impl FnMut(&mut T, usize, &Positions),
) {
    let (record, shape) = (layer.record, layer.input);
    let width = usize::from(layer.output.width);
    for (at, pixel) in out
        .chunks_exact_mut(usize::from(shape.channels))
        .enumerate()
    {
        let (y, x) = (at / width, at % width);
        let rows = inside(
            y,
            record.stride_height,
            record.pad_top,
            record.kernel_height,
            shape.height,
        );
        let columns = inside(
            x,
            record.stride_width,
            record.pad_left,
            record.kernel_width,
            shape.width,
        );
        let top = y * usize::from(record.stride_height);
        let left = x * usize::from(record.stride_width);
        let (pad_top, pad_left) = (usize::from(record.pad_top), usize::from(record.pad_left));
        let positions = Positions {
            lines: top + rows.start - pad_top..top + rows.end - pad_top,
            columns: left + columns.start - pad_left..left + columns.end - pad_left,
            width: usize::from(shape.width),
            channels: usize::from(shape.channels),
        };
        for (channel, out) in pixel.iter_mut().enumerate() {
            compute(out, channel, &positions);
        }
    }
}
