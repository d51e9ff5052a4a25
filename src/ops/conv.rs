//! Convolution of any kernel, stride, dilation, groups and padding, and the dense layer, which is
//! one window over all of its input.
//!
//! Four windows at a time (one where memory is short) are laid side by side in the scratch, padding as
//! the input's zero point, and every filter is multiplied with all four: a weight is loaded once for
//! four outputs. The windows are read before the first output is written, so that the output may take the place of
//! input that no later window reads (see [`geometry`](super::geometry)).

use super::arch::{Arch, Tile, put};
use super::geometry::{self, LANES};
use super::memory::Memory;
use super::{Layer, inside};
use crate::pack::{LayerKind, TensorRecord};
use crate::quantize::OutputStage;

pub(super) fn run<A: Arch>(layer: &Layer<'_>, arena: &mut [i8]) {
    let shape = Shape::of(layer);
    let weights = layer.weights(geometry::weight_bytes(
        layer.record,
        layer.input,
        layer.output,
    ));
    let stage = layer.stage();
    let mut memory = layer.memory(arena);
    let mut first = 0;
    while first < shape.pixels {
        // The last pixels, too few for all lanes, go one by one.
        let left = shape.pixels - first;
        let lanes = if left < shape.lanes { 1 } else { shape.lanes };
        for group in 0..shape.groups {
            for lane in 0..lanes {
                let window = Place {
                    pixel: first + lane,
                    lane,
                    lanes,
                };
                gather::<A>(layer, &shape, &mut memory, window, group);
            }
            let filters = shape.filters(weights, group);
            multiply::<A>(layer, &shape, &mut memory, &stage, filters, (first, lanes));
        }
        first += lanes;
    }
}

/// Which pixel's window goes where.
#[derive(Clone, Copy)]
struct Place {
    pixel: usize,
    lane: usize,
    lanes: usize,
}

/// The numbers that the loops share.
struct Shape {
    pixels: usize,
    groups: usize,
    /// Output channels of a group.
    outputs: usize,
    /// Values of a window, filled up to a multiple of 4.
    depth: usize,
    /// Values that lie together in the input.
    piece: usize,
    lanes: usize,
    /// A window is one pixel, and windows follow one another as pixels do.
    pointwise: bool,
    /// Bytes of an input and of an output element.
    input: usize,
    output: usize,
}

impl Shape {
    fn of(layer: &Layer<'_>) -> Shape {
        let (record, input, output) = (layer.record, layer.input, layer.output);
        let groups = usize::from(record.groups.max(1));
        let filter = geometry::filter(record, input);
        let lanes = usize::from(record.at_once).clamp(1, LANES);
        let depth = filter.next_multiple_of(4);
        let one = |pair: [u16; 2]| pair == [1, 1];
        let pointwise = one([record.kernel_height, record.kernel_width])
            && one([record.stride_height, record.stride_width])
            && (input.height, input.width) == (output.height, output.width)
            && groups == 1
            && filter.is_multiple_of(4)
            && input.element == 1;
        Shape {
            pixels: usize::from(output.height) * usize::from(output.width),
            groups,
            outputs: usize::from(output.channels) / groups,
            depth,
            piece: geometry::piece(record, input),
            lanes,
            pointwise,
            input: usize::from(input.element),
            output: usize::from(output.element),
        }
    }

    /// Words of scratch that windows take; what is behind them is for pieces of odd length.
    fn windows(&self, lanes: usize) -> usize {
        self.depth * lanes / 2
    }

    fn filters<'w>(&self, weights: &'w [i8], group: usize) -> Filters<'w> {
        let size = self.outputs.next_multiple_of(4) * self.depth;
        let weights = weights.get(group * size..).unwrap_or(&[]);
        Filters {
            weights: weights.get(..size).unwrap_or(&[]),
            first: group * self.outputs,
        }
    }
}

/// The weights of one group, and its first output channel.
struct Filters<'w> {
    weights: &'w [i8],
    first: usize,
}

/// Lays the window of one output pixel into the scratch.
#[inline(always)]
fn gather<A: Arch>(
    layer: &Layer<'_>,
    shape: &Shape,
    memory: &mut Memory<'_>,
    Place { pixel, lane, lanes }: Place,
    group: usize,
) {
    let (input, scratch) = memory.input(layer.input.place());
    let (windows, staging) = scratch.split_at_mut(shape.windows(lanes));
    let mut window = Window::<A> {
        windows,
        staging: bytemuck::cast_slice_mut(staging),
        zero: layer.input.zero_point,
        bytes: shape.input,
        lanes,
        lane,
        staged: !shape.piece.is_multiple_of(4),
        arch: core::marker::PhantomData,
    };
    if layer.record.kind() == Some(LayerKind::Dense) {
        window.take(0, input);
    } else {
        window.slide(layer, shape, input, pixel, group);
    }
    window.end(shape);
}

/// A window on its way into the scratch: directly where its pieces are multiples of four values,
/// else by way of the staging area behind the windows.
struct Window<'w, A> {
    windows: &'w mut [u32],
    staging: &'w mut [i8],
    zero: i8,
    bytes: usize,
    lanes: usize,
    lane: usize,
    staged: bool,
    arch: core::marker::PhantomData<A>,
}

impl<A: Arch> Window<'_, A> {
    fn slide(
        &mut self,
        layer: &Layer<'_>,
        shape: &Shape,
        input: &[i8],
        pixel: usize,
        group: usize,
    ) {
        let (record, from) = (layer.record, layer.input);
        let width = usize::from(layer.output.width);
        if shape.pointwise {
            let values = &input[pixel * shape.depth..][..shape.depth];
            self.take_rows(values, (shape.depth, shape.depth, 1));
            return;
        }
        let (y, x) = (pixel / width, pixel % width);
        let taps = usize::from(record.kernel_width);
        let (line, channels) = (usize::from(from.width), usize::from(from.channels));
        let together = record.dilation_width == 1 && shape.groups == 1;
        let (top, left) = (usize::from(record.pad_top), usize::from(record.pad_left));
        let column = x * usize::from(record.stride_width);
        let across = inside(
            x,
            record.stride_width,
            record.pad_left,
            record.kernel_width,
            from.width,
        );
        let rows = usize::from(record.kernel_height);
        let (start_row, start) = (
            y * usize::from(record.stride_height),
            column.wrapping_sub(left),
        );
        let start_row = start_row.wrapping_sub(top);
        let inside = start_row < usize::from(from.height)
            && start_row + rows <= usize::from(from.height)
            && across == (0..taps);
        if together && inside && record.dilation_height == 1 && self.bytes == 1 {
            let run = taps * shape.piece;
            let from = (start_row * line + start) * channels;
            let end = from + (rows - 1) * line * channels + run;
            self.take_rows(&input[from..end], (run, line * channels, rows));
            return;
        }
        for ky in 0..rows {
            let at = ky * taps * shape.piece;
            let row =
                y * usize::from(record.stride_height) + ky * usize::from(record.dilation_height);
            let row = row.wrapping_sub(top);
            if row >= usize::from(from.height) {
                self.pad(at, taps * shape.piece);
            } else if together {
                let (before, after) = (across.start, taps - across.end);
                self.pad(at, before * shape.piece);
                let start = (row * line + column + across.start - left) * channels;
                let values = (across.end - across.start) * channels;
                let values = &input[start * self.bytes..(start + values) * self.bytes];
                self.take(at + before * shape.piece, values);
                self.pad(at + across.end * shape.piece, after * shape.piece);
            } else {
                for kx in 0..taps {
                    let at = at + kx * shape.piece;
                    let column =
                        (column + kx * usize::from(record.dilation_width)).wrapping_sub(left);
                    if column >= line {
                        self.pad(at, shape.piece);
                        continue;
                    }
                    let start = (row * line + column) * channels + group * shape.piece;
                    let values = &input[start * self.bytes..(start + shape.piece) * self.bytes];
                    self.take(at, values);
                }
            }
        }
    }

    /// A window that lies inside the input: as many stretches as it has rows.
    #[inline(always)]
    fn take_rows(&mut self, values: &[i8], (run, step, rows): (usize, usize, usize)) {
        if !self.staged {
            let lanes = (self.lanes, self.lane);
            A::lay_rows(self.windows, lanes, values, (run, step, rows));
            return;
        }
        let stretches = values.chunks(step).take(rows);
        for (to, from) in self.staging.chunks_exact_mut(run).zip(stretches) {
            copy(to, &from[..run]);
        }
    }

    // Windows on the border only: small is better than fast here.
    #[inline(never)]
    fn take(&mut self, at: usize, values: &[i8]) {
        if values.is_empty() {
        } else if self.staged {
            copy(&mut self.staging[at * self.bytes..][..values.len()], values);
        } else if self.bytes == 2 {
            A::lay_wide(self.windows, self.lanes, self.lane, at, values);
        } else {
            A::lay(self.windows, self.lanes, self.lane, at, values);
        }
    }

    #[inline(never)]
    fn pad(&mut self, at: usize, count: usize) {
        if count == 0 {
        } else if !self.staged {
            A::fill(self.windows, self.lanes, self.lane, at, count, self.zero);
        } else {
            // An int16 input's zero point is 0, which is 0 in both of its bytes.
            self.staging[at * self.bytes..][..count * self.bytes].fill(self.zero);
        }
    }

    /// Lays what was staged. Behind the window come zeros' weights, so that any value does.
    #[inline(always)]
    fn end(&mut self, shape: &Shape) {
        if !self.staged {
            return;
        }
        let staged = &self.staging[..shape.depth * self.bytes];
        if self.bytes == 2 {
            A::lay_wide(self.windows, self.lanes, self.lane, 0, staged);
        } else {
            A::lay(self.windows, self.lanes, self.lane, 0, staged);
        }
    }
}

/// A few bytes, word by word: less than a call would take.
#[inline(always)]
fn copy(to: &mut [i8], from: &[i8]) {
    let (words, rest) = to.as_chunks_mut::<4>();
    let (from_words, from_rest) = from.as_chunks::<4>();
    words
        .iter_mut()
        .zip(from_words)
        .for_each(|(to, from)| *to = *from);
    rest.iter_mut()
        .zip(from_rest)
        .for_each(|(to, from)| *to = *from);
}

/// Every filter of a group times the windows in the scratch. A second tensor's element may be the
/// one that is written next: it is read before.
fn multiply<A: Arch>(
    layer: &Layer<'_>,
    shape: &Shape,
    memory: &mut Memory<'_>,
    stage: &OutputStage<'_>,
    filters: Filters<'_>,
    (first, lanes): (usize, usize),
) {
    let stride = usize::from(layer.output.channels);
    let base = first * stride + filters.first;
    let elements = (lanes - 1) * stride + shape.outputs;
    let start = layer.output.offset as usize + base * shape.output;
    let place = start..start + elements * shape.output;
    let channels = &stage.channels[filters.first..filters.first + shape.outputs];
    let words = shape.windows(lanes);
    let tile = Tile {
        windows: &[],
        lanes,
        depth: shape.depth,
        weights: filters.weights,
        channels,
        stage,
        stride,
    };
    if shape.output == 1 && stage.is_scaled() {
        let (out, scratch) = memory.output(place.clone());
        let windows = &scratch[..words];
        let tile = Tile { windows, ..tile };
        let over = |t: &TensorRecord| t.offset == layer.output.offset && t.element == 1;
        let done = match (stage.negative_multipliers, stage.sum, layer.second) {
            ([], None, _) => A::outputs(&tile, out),
            (negative, None, _) => A::outputs_leaky(&tile, &negative[filters.first..], out),
            ([], Some(sum), Some(second)) if over(second) => A::outputs_added(&tile, &sum, out),
            _ => false,
        };
        if done {
            return;
        }
    }
    for block in 0..shape.outputs.div_ceil(4) {
        let windows = &memory.scratch[..words];
        let sums = A::block(&Tile { windows, ..tile }, block);
        let here = 4 * block..shape.outputs.min(4 * block + 4);
        let mut added = [[0; LANES]; 4];
        if let Some(second) = layer.second {
            for (added, channel) in added.iter_mut().zip(here.clone()) {
                for (lane, added) in added.iter_mut().take(lanes).enumerate() {
                    *added = memory.read(second, base + lane * stride + channel);
                }
            }
        }
        let (out, _) = memory.output(place.clone());
        for ((sums, added), channel) in sums.iter().zip(&added).zip(here) {
            for lane in 0..lanes {
                let acc = channels[channel].bias.wrapping_add(sums[lane]);
                let value = stage.apply(filters.first + channel, acc, added[lane]);
                put(out, lane * stride + channel, shape.output == 2, value);
            }
        }
    }
}
