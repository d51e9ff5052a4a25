//! Convolution: any kernel, stride, dilation, groups and padding.

use core::ops::Range;

use super::{Layer, dot, inside, with_output};
use crate::pack::ElementKind;
use crate::quantize::{Element, OutputStage};

pub(super) fn run(layer: &Layer<'_>, arena: &mut [i8]) {
    let (input, output) = layer.split(arena);
    with_output!(layer, output, |out| convolve(layer, input, out));
}

/// One output position at a time: its window's rows are contiguous in memory where dilation is 1
/// and there is one group, so each is a single dot product.
fn convolve<T: Element>(layer: &Layer<'_>, input: &[i8], out: &mut [T]) {
    let shape = Shape::of(layer);
    let weights = layer.weights(shape.filter * usize::from(layer.output.channels));
    let (biases, stage) = (layer.biases(), layer.stage());
    let width = usize::from(layer.output.width);
    let pixels = out.chunks_exact_mut(usize::from(layer.output.channels));
    for (at, pixel) in pixels.enumerate() {
        let window = Window {
            layer,
            shape: &shape,
            y: at / width,
            x: at % width,
        };
        window.fill(input, weights, biases, &stage, pixel);
    }
}

/// The numbers that the loops share.
struct Shape {
    /// Input channels of a group.
    depth: usize,
    /// Output channels of a group.
    outputs: usize,
    /// Weights of one output channel.
    filter: usize,
    /// The input value that stands for 0.0.
    zero: i32,
}

impl Shape {
    fn of(layer: &Layer<'_>) -> Shape {
        let record = layer.record;
        let depth = usize::from(layer.input.channels / record.groups.max(1));
        let taps = usize::from(record.kernel_height) * usize::from(record.kernel_width);
        Shape {
            depth,
            outputs: usize::from(layer.output.channels / record.groups.max(1)),
            filter: taps * depth,
            zero: i32::from(layer.input.zero_point),
        }
    }
}

struct Window<'a> {
    layer: &'a Layer<'a>,
    shape: &'a Shape,
    y: usize,
    x: usize,
}

impl Window<'_> {
    fn fill<T: Element>(
        &self,
        input: &[i8],
        weights: &[i8],
        biases: &[i32],
        stage: &OutputStage<'_>,
        pixel: &mut [T],
    ) {
        let filters = weights.chunks_exact(self.shape.filter);
        for (channel, ((out, filter), &bias)) in
            pixel.iter_mut().zip(filters).zip(biases).enumerate()
        {
            let group = channel / self.shape.outputs;
            let acc = bias.wrapping_add(self.sum(input, filter, group));
            *out = T::put(stage.apply(channel, acc));
        }
    }

    /// The window's products. Padding stands for 0.0, which is the zero point: the bias has the
    /// zero point folded in for the whole filter, so padded taps add it back.
    fn sum(&self, input: &[i8], filter: &[i8], group: usize) -> i32 {
        let record = self.layer.record;
        let row = usize::from(record.kernel_width) * self.shape.depth;
        let mut acc = 0i32;
        for (ky, weights) in filter.chunks_exact(row).enumerate() {
            let y = self.y * usize::from(record.stride_height)
                + ky * usize::from(record.dilation_height);
            let line = y
                .checked_sub(usize::from(record.pad_top))
                .filter(|&y| y < usize::from(self.layer.input.height));
            acc = acc.wrapping_add(match line {
                Some(line) if record.dilation_width == 1 && record.groups == 1 => {
                    self.contiguous(input, weights, line)
                }
                Some(line) => self.strided(input, weights, line, group),
                None => self.padding(weights),
            });
        }
        acc
    }

    fn contiguous(&self, input: &[i8], weights: &[i8], line: usize) -> i32 {
        let (record, depth) = (self.layer.record, self.shape.depth);
        let width = self.layer.input.width;
        let taps = inside(
            self.x,
            record.stride_width,
            record.pad_left,
            record.kernel_width,
            width,
        );
        let Range { start, end } = taps;
        let column =
            self.x * usize::from(record.stride_width) + start - usize::from(record.pad_left);
        let from = (line * usize::from(width) + column) * depth;
        let real = &weights[start * depth..end * depth];
        let products = dot(&input[from..from + real.len()], real);
        let before = self.padding(&weights[..start * depth]);
        let after = self.padding(&weights[end * depth..]);
        products.wrapping_add(before).wrapping_add(after)
    }

    fn strided(&self, input: &[i8], weights: &[i8], line: usize, group: usize) -> i32 {
        let (record, depth) = (self.layer.record, self.shape.depth);
        let (width, channels) = (
            usize::from(self.layer.input.width),
            usize::from(self.layer.input.channels),
        );
        let mut acc = 0i32;
        for (kx, weights) in weights.chunks_exact(depth).enumerate() {
            let x =
                self.x * usize::from(record.stride_width) + kx * usize::from(record.dilation_width);
            let column = x
                .checked_sub(usize::from(record.pad_left))
                .filter(|&x| x < width);
            acc = acc.wrapping_add(match column {
                Some(column) => {
                    let from = (line * width + column) * channels + group * depth;
                    dot(&input[from..from + depth], weights)
                }
                None => self.padding(weights),
            });
        }
        acc
    }

    fn padding(&self, weights: &[i8]) -> i32 {
        if weights.is_empty() || self.shape.zero == 0 {
            return 0;
        }
        let sum: i32 = weights.iter().map(|&w| i32::from(w)).sum();
        sum.wrapping_mul(self.shape.zero)
    }
}
