//! Depthwise convolution: each output channel looks at one input channel.
//!
//! A few channels at a time are laid into the scratch as planes, padding included as the input's
//! zero point: as many rows as a stripe of output needs. Along a plane neighbouring values are
//! neighbours in memory, which channels-last input is not.

use super::Layer;
use super::arch::{Arch, PlaneRows, Planes};
use super::geometry;
use super::memory::Memory;
use crate::pack::ElementKind;

pub(super) fn run<A: Arch>(layer: &Layer<'_>, arena: &mut [i8]) {
    let (record, output) = (layer.record, layer.output);
    let channels = usize::from(output.channels);
    let taps = usize::from(record.kernel_height) * usize::from(record.kernel_width);
    let weights = layer.weights(taps * channels);
    let stage = layer.stage();
    let (rows, columns) = geometry::plane(record, output);
    let element = usize::from(output.element);
    let (width, stripe) = (
        usize::from(output.width),
        usize::from(record.at_once.max(1)),
    );
    let mut memory = layer.memory(arena);
    for y in (0..usize::from(output.height)).step_by(stripe) {
        let height = stripe.min(usize::from(output.height) - y);
        for first in (0..channels).step_by(A::GROUP) {
            let count = A::GROUP.min(channels - first);
            gather::<A>(layer, &mut memory, (rows, columns), y, (first, count));
            let row = width * channels * element;
            let start = output.offset as usize + y * row;
            let (out, planes) = memory.output(start..start + height * row);
            let planes = Planes {
                planes,
                size: rows * columns,
                columns,
                kernel: [record.kernel_height, record.kernel_width].map(usize::from),
                stride: [record.stride_height, record.stride_width].map(usize::from),
                dilation: [record.dilation_height, record.dilation_width].map(usize::from),
                height,
                width,
                count,
                first,
                weights,
                stage: &stage,
                wide: output.element_kind() == ElementKind::Int16,
            };
            A::convolve(&planes, out);
        }
    }
}

/// Lays the channels `first`.. of the rows that the outputs from row `y` on look at.
fn gather<A: Arch>(
    layer: &Layer<'_>,
    memory: &mut Memory<'_>,
    (rows, columns): (usize, usize),
    y: usize,
    (first, count): (usize, usize),
) {
    let (record, from) = (layer.record, layer.input);
    let (input, planes) = memory.input(from.place());
    let (line, channels) = (usize::from(from.width), usize::from(from.channels));
    let each = usize::from(layer.output.channels) / channels;
    let left = usize::from(record.pad_left);
    let (pixels, size) = (line.min(columns.saturating_sub(left)), rows * columns);
    if first == 0 {
        // The padding is where it is for every channel: what is laid once stays.
        A::blank(planes, from.zero_point);
    }
    // Rows of the input that the planes hold, the first of them `above` rows below the padding.
    let start = y * usize::from(record.stride_height);
    let top = usize::from(record.pad_top);
    let above = top.saturating_sub(start).min(rows);
    let source = (start + above).saturating_sub(top);
    let rows_here = (rows - above).min(usize::from(from.height).saturating_sub(source));
    if pixels == 0 || rows_here == 0 {
        return;
    }
    let mut take = |lane: usize, count, channel: usize| {
        let rows = PlaneRows {
            lane,
            channels: count,
            rows: rows_here,
            pixels,
            stride: channels,
            step: line * channels,
            at: above * columns + left,
            columns,
        };
        A::lay_plane(
            planes,
            size,
            &rows,
            &input[source * line * channels + channel..],
        );
    };
    if each == 1 {
        take(0, count, first);
    } else {
        (0..count).for_each(|lane| take(lane, 1, (first + lane) / each));
    }
}
