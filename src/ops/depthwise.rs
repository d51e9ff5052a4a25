//! Depthwise convolution: each output channel looks at one input channel.

use super::{Layer, with_output};
use crate::pack::ElementKind;
use crate::quantize::Element;

pub(super) fn run(layer: &Layer<'_>, arena: &mut [i8]) {
    let (input, output) = layer.split(arena);
    with_output!(layer, output, |out| convolve(layer, input, out));
}

fn convolve<T: Element>(layer: &Layer<'_>, input: &[i8], out: &mut [T]) {
    let record = layer.record;
    let channels = usize::from(layer.output.channels);
    let taps = usize::from(record.kernel_height) * usize::from(record.kernel_width);
    let weights = layer.weights(taps * channels);
    let (biases, stage) = (layer.biases(), layer.stage());
    let width = usize::from(layer.output.width);
    for (at, pixel) in out.chunks_exact_mut(channels).enumerate() {
        let (y, x) = (at / width, at % width);
        for (channel, (out, &bias)) in pixel.iter_mut().zip(biases).enumerate() {
            let acc = bias.wrapping_add(sum(layer, input, weights, (y, x), channel));
            *out = T::put(stage.apply(channel, acc));
        }
    }
}

/// The window's products for one output channel; a tap on the padding sees the zero point.
fn sum(
    layer: &Layer<'_>,
    input: &[i8],
    weights: &[i8],
    (y, x): (usize, usize),
    channel: usize,
) -> i32 {
    let (record, shape) = (layer.record, layer.input);
    let outputs = usize::from(layer.output.channels);
    let source = channel / (outputs / usize::from(shape.channels));
    let kernel_width = usize::from(record.kernel_width);
    let mut acc = 0i32;
    for (tap, row) in weights.chunks_exact(outputs).enumerate() {
        let y = y * usize::from(record.stride_height)
            + tap / kernel_width * usize::from(record.dilation_height);
        let x = x * usize::from(record.stride_width)
            + tap % kernel_width * usize::from(record.dilation_width);
        let line = y
            .checked_sub(usize::from(record.pad_top))
            .filter(|&y| y < usize::from(shape.height));
        let column = x
            .checked_sub(usize::from(record.pad_left))
            .filter(|&x| x < usize::from(shape.width));
        let value = match (line, column) {
            (Some(line), Some(column)) => {
                let at = (line * usize::from(shape.width) + column) * usize::from(shape.channels);
                input[at + source]
            }
            _ => shape.zero_point,
        };
        acc = acc.wrapping_add(i32::from(value) * i32::from(row[channel]));
    }
    acc
}
