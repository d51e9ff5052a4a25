//! Convolutions and dense layers on processors with wide vectors and a stack: from int8 to int8 with
//! a plain stage, eight pixels at a time, whose windows are read where they lie in the input. Only
//! windows that reach into the padding, or whose rows are no multiple of four values, are laid into
//! the scratch first. Other layers go the common way.
//!
//! All outputs of eight pixels wait in a buffer until the last window was read, so that the output
//! may take the place of input, as [`geometry`] allows.
#![allow(unsafe_code)]

pub(super) mod eight;
mod window;

use core::ops::Range;

use window::{Place, Walk, copy};

use crate::ops::Layer;
use crate::ops::geometry::{self, LANES};
use crate::pack::{LayerKind, TensorRecord};
use crate::quantize::OutputStage;

/// Pixels at a time.
pub(super) const PIXELS: usize = 2 * LANES;

/// Channels that wait at a time.
pub(super) const WAITING: usize = 256;

/// The window of one pixel: its first value, and bytes from one row to the next.
#[derive(Clone, Copy)]
pub(super) struct View {
    pub(super) at: *const i8,
    pub(super) step: usize,
}

/// The filters of some channels over the windows of a few pixels.
pub(super) struct Job<'a> {
    pub(super) views: [View; PIXELS],
    /// Rows of a window, and values of a row, a multiple of 4.
    pub(super) rows: usize,
    pub(super) run: usize,
    /// `[out / 4][k / 4][4 outputs][4 k]`.
    pub(super) weights: &'a [i8],
    pub(super) channels: &'a Channels,
    pub(super) zero_point: i32,
    pub(super) sum: Option<Added>,
}

/// Biases and multipliers, apart; as many as are there.
pub(super) struct Channels {
    pub(super) count: usize,
    pub(super) biases: [i32; WAITING],
    pub(super) multipliers: [i32; WAITING],
}

/// A second tensor.
#[derive(Clone, Copy)]
pub(super) struct Added {
    /// The first pixel's first value, and bytes from one pixel to the next.
    pub(super) at: *const i8,
    pub(super) stride: usize,
    pub(super) multiplier: i32,
    /// The bias, and the half that rounding adds.
    pub(super) constant: i32,
    pub(super) up: u32,
    pub(super) shift: u32,
}

#[cfg(target_arch = "x86_64")]
impl Added {
    pub(super) const NOTHING: Added = Added {
        at: core::ptr::null(),
        stride: 0,
        multiplier: 0,
        constant: 0,
        up: 0,
        shift: 0,
    };
}

/// Where outputs wait: `[pixel][channel]`.
pub(super) type Buffer = [[i8; WAITING]; PIXELS];

/// A processor's way to multiply.
pub(super) struct Kernel {
    /// Runs a job for the pixels that it is called with, 1 or up to [`PIXELS`].
    pub(super) multiply: unsafe fn(&Job<'_>, usize, &mut Buffer),
    /// For processors that take inputs as unsigned, 128 above what they are: moves a tensor up or
    /// down again, and takes what all weights of a channel times 128 add off its bias; the weights
    /// and the depth come with it.
    pub(super) unsigned: Option<Unsigned>,
}

/// See [`Kernel::unsigned`].
#[derive(Clone, Copy)]
pub(super) struct Unsigned {
    pub(super) flip: unsafe fn(&mut [i8]),
    pub(super) correct: unsafe fn(&[i8], usize, &mut Channels),
}

/// Runs the layer, or says no.
pub(super) fn run(layer: &Layer<'_>, arena: &mut [i8], kernel: &Kernel) -> bool {
    let stage = layer.stage();
    let Some(shape) = Shape::of(layer, &stage, arena.len(), kernel) else {
        return false;
    };
    let (input, output) = (layer.input.place(), layer.output.place());
    let Some(unsigned) = kernel.unsigned else {
        all(layer, &shape, &stage, arena, kernel);
        return true;
    };
    // SAFETY: the processor has what the kernel uses.
    unsafe { (unsigned.flip)(&mut arena[input.clone()]) };
    all(layer, &shape, &stage, arena, kernel);
    // Others may read the input once more; what the output took of it is gone.
    let below = input.start..input.end.min(output.start);
    let above = input.start.max(output.end)..input.end;
    for rest in [below, above] {
        if let Some(rest) = arena.get_mut(rest) {
            // SAFETY: as above.
            unsafe { (unsigned.flip)(rest) };
        }
    }
    true
}

/// What the loops share.
pub(super) struct Shape {
    pixels: usize,
    /// Rows of a window, and bytes of a row.
    pub(super) rows: usize,
    pub(super) run: usize,
    /// Bytes of a window in the scratch.
    pub(super) depth: usize,
    /// Windows inside the input are read in place.
    pub(super) direct: bool,
    /// Pixels at a time.
    lanes: usize,
    pub(super) scratch: Range<usize>,
    /// What padding is.
    pub(super) zero: i8,
}

impl Shape {
    /// `None` for layers that this file does not know.
    fn of(
        layer: &Layer<'_>,
        stage: &OutputStage<'_>,
        arena: usize,
        kernel: &Kernel,
    ) -> Option<Self> {
        let (record, from, to) = (layer.record, layer.input, layer.output);
        let (place, channels) = (to.place(), usize::from(to.channels));
        let (input, over) = (from.place(), |a: &Range<usize>, b: &Range<usize>| {
            a.start < b.end && b.start < a.end
        });
        let apart = !over(&input, &place);
        // The input may be moved up while the layer runs.
        let second = |t: &TensorRecord| {
            let other = t.place();
            t.element == 1 && !over(&other, &input) && (other == place || !over(&other, &place))
        };
        let known = record.groups <= 1
            && from.element == 1
            && to.element == 1
            && stage.is_plain()
            && layer.second.is_none_or(second)
            && (channels <= WAITING || apart);
        let depth = geometry::filter(record, from).next_multiple_of(4);
        let dense = record.kind() == Some(LayerKind::Dense);
        let across = usize::from(record.kernel_width) * usize::from(from.channels);
        let (rows, run) = match dense {
            true => (1, from.len()),
            false => (usize::from(record.kernel_height), across),
        };
        let pixels = usize::from(to.height) * usize::from(to.width);
        let direct = run.is_multiple_of(4) && (dense || record.dilation_width == 1);
        let scratch = geometry::scratch_bytes(layer.record, from, to);
        let scratch = record.scratch_at as usize..record.scratch_at as usize + scratch;
        let end = layer.second.map_or(0, |t| t.place().end);
        let ends = [input.end, place.end, scratch.end, end];
        let fits = ends.into_iter().all(|end| end <= arena);
        let lanes = match pixels {
            1 => 1,
            _ => (scratch.len() / depth.max(1)).min(PIXELS),
        };
        // Nothing lays a dense layer's input.
        (known && fits && lanes > 0 && (direct || !dense)).then_some(Shape {
            pixels,
            rows,
            run,
            depth,
            direct,
            lanes,
            scratch,
            zero: from.zero_point ^ if kernel.unsigned.is_some() { -128 } else { 0 },
        })
    }
}

fn all(
    layer: &Layer<'_>,
    shape: &Shape,
    stage: &OutputStage<'_>,
    arena: &mut [i8],
    kernel: &Kernel,
) {
    let weights = layer.weights(geometry::weight_bytes(
        layer.record,
        layer.input,
        layer.output,
    ));
    let (to, every) = (layer.output.offset as usize, stage.channels.len());
    let second = layer.second.map_or(0, |t| t.offset as usize);
    let mut buffer = [[0i8; WAITING]; PIXELS];
    let mut channels = Channels {
        count: 0,
        biases: [0; WAITING],
        multipliers: [0; WAITING],
    };
    // Windows that are not read in place have all their values in one row.
    let (rows, run) = match shape.direct {
        true => (shape.rows, shape.run),
        false => (1, shape.depth),
    };
    for from in (0..every).step_by(WAITING) {
        let weights = &weights[from * shape.depth..];
        channels.count = WAITING.min(every - from);
        let pairs = channels.biases.iter_mut().zip(&mut channels.multipliers);
        for ((bias, multiplier), channel) in pairs.zip(&stage.channels[from..]) {
            (*bias, *multiplier) = (channel.bias, channel.multiplier);
        }
        assert!(weights.len() >= channels.count.next_multiple_of(4) * shape.depth);
        if let Some(unsigned) = kernel.unsigned {
            // SAFETY: the processor has what the kernel uses; the weights were just checked.
            unsafe { (unsigned.correct)(weights, shape.depth, &mut channels) };
        }
        let mut walk = Walk::new(layer, shape);
        for first in (0..shape.pixels).step_by(shape.lanes) {
            let lanes = shape.lanes.min(shape.pixels - first);
            let mut places = [Place::default(); PIXELS];
            for (lane, place) in places.iter_mut().enumerate().take(lanes) {
                *place = walk.next(arena, lane);
            }
            // The kernel takes all lanes or one: what is missing is the last one once more.
            let last = places[lanes - 1];
            places[lanes..].fill(last);
            let at = first * every + from;
            assert!(to.max(second) + at + (lanes - 1) * every + channels.count <= arena.len());
            let base = arena.as_ptr();
            let views = places.map(|Place { at, step }| View {
                at: base.wrapping_add(at),
                step,
            });
            let sum = stage.sum.map(|sum| Added {
                at: base.wrapping_add(second + at),
                stride: every,
                multiplier: sum.multiplier,
                constant: sum.bias.wrapping_add(1 << (sum.shift - 1)),
                up: sum.up,
                shift: sum.shift,
            });
            let job = Job {
                views,
                rows,
                run,
                weights,
                channels: &channels,
                zero_point: stage.zero_point,
                sum,
            };
            // SAFETY: the processor has what the kernel uses. Views are windows inside the arena, a
            // window's rows together are `depth` values, and the weights were checked. A second
            // tensor is read at the outputs of the pixels that are there.
            unsafe { (kernel.multiply)(&job, lanes, &mut buffer) };
            for (lane, values) in buffer.iter().enumerate().take(lanes) {
                let out = to + at + lane * every;
                copy(
                    &mut arena[out..out + channels.count],
                    &values[..channels.count],
                );
            }
        }
    }
}
