//! What a layer's shape asks of memory: scratch, and how close its output may follow its input.
//!
//! A layer that slides a window reads its input once, from start to end, and writes its output the
//! same way. The output may then take the bytes of the input that were read for the last time:
//! *Diagonal Memory Optimisation for Machine Learning on Micro-controllers*, Blacker, Bridges and
//! Hadfield, 2020. The host plans with these functions and [`crate::EncoderPack::new`] checks with
//! them, so both agree. Sizes saturate: a hostile layer asks for more than there is, on any machine.

use crate::pack::{LayerKind, LayerRecord, TensorRecord};

/// Channels of a depthwise layer that share the scratch.
pub const PLANES: usize = 4;

/// The most outputs of a channel that are computed together, and so the most windows that lie in
/// the scratch at once.
pub const LANES: usize = 4;

/// Weights of one output of a convolution or a dense layer: k over `[kh][kw][in / groups]`.
pub fn filter(layer: &LayerRecord, input: &TensorRecord) -> usize {
    match layer.kind() {
        Some(LayerKind::Dense) => input.len(),
        _ => {
            let depth = usize::from(input.channels / layer.groups.max(1));
            let taps = usize::from(layer.kernel_height).saturating_mul(layer.kernel_width.into());
            taps.saturating_mul(depth)
        }
    }
}

/// The next multiple of `to`, or the largest number.
fn up(count: usize, to: usize) -> usize {
    count.checked_next_multiple_of(to).unwrap_or(usize::MAX)
}

/// Bytes of weights of a convolution or a dense layer: outputs and k filled up to fours.
pub fn weight_bytes(layer: &LayerRecord, input: &TensorRecord, output: &TensorRecord) -> usize {
    let groups = usize::from(layer.groups.max(1));
    let outputs = usize::from(output.channels) / groups;
    (groups * up(outputs, 4)).saturating_mul(up(filter(layer, input), 4))
}

/// Input values that a window takes from memory in one piece: four at a time where that divides it.
pub(crate) fn piece(layer: &LayerRecord, input: &TensorRecord) -> usize {
    match layer.kind() {
        Some(LayerKind::Dense) => input.len(),
        _ => usize::from(input.channels / layer.groups.max(1)),
    }
}

/// Rows and columns of one channel's plane in a depthwise layer's scratch.
pub(crate) fn plane(layer: &LayerRecord, output: &TensorRecord) -> (usize, usize) {
    // How far `outputs` windows reach, less one.
    let reach = |outputs: usize, stride: u16, kernel: u16, dilation: u16| {
        let window = usize::from(kernel.saturating_sub(1)).saturating_mul(dilation.into());
        let start = outputs.saturating_sub(1).saturating_mul(stride.into());
        start.saturating_add(window)
    };
    let stripe = usize::from(layer.at_once);
    let down = reach(
        stripe,
        layer.stride_height,
        layer.kernel_height,
        layer.dilation_height,
    );
    // Two outputs at a time, so that one more may be computed than is kept.
    let pairs = up(output.width.into(), 2);
    let across = reach(
        pairs,
        layer.stride_width,
        layer.kernel_width,
        layer.dilation_width,
    );
    (down.saturating_add(1), up(across.saturating_add(2), 2))
}

/// Bytes of scratch that a layer works in, a multiple of 8.
pub fn scratch_bytes(layer: &LayerRecord, input: &TensorRecord, output: &TensorRecord) -> usize {
    let bytes = match layer.kind() {
        Some(LayerKind::Conv | LayerKind::Dense) => {
            let depth = up(filter(layer, input), 4);
            let staged = !piece(layer, input).is_multiple_of(4);
            let staging = if staged {
                usize::from(input.element)
            } else {
                0
            };
            depth.saturating_mul(2 * usize::from(layer.at_once) + staging)
        }
        Some(LayerKind::Depthwise) => {
            let (rows, columns) = plane(layer, output);
            rows.saturating_mul(columns).saturating_mul(2 * PLANES)
        }
        _ => 0,
    };
    up(bytes, 8)
}

/// Whether the output may take its input's very place: a depthwise layer that has all rows of its
/// channels in the scratch before it writes them, each over the channel that it came from.
pub fn takes_place(layer: &LayerRecord, input: &TensorRecord, output: &TensorRecord) -> bool {
    let shape = |t: &TensorRecord| (t.height, t.width, t.channels, t.element);
    layer.kind() == Some(LayerKind::Depthwise)
        && layer.at_once >= output.height
        && shape(input) == shape(output)
}

/// The fewest bytes by which the input must start behind the output's start for the two to overlap;
/// `None` where they must not. An input that starts further behind is as good.
pub fn least_gap(
    layer: &LayerRecord,
    input: &TensorRecord,
    output: &TensorRecord,
) -> Option<usize> {
    let step = match layer.kind()? {
        // All of the input is in the scratch before the first output is written.
        LayerKind::Dense => return Some(0),
        LayerKind::Conv if layer.groups != 1 => return None,
        LayerKind::Conv | LayerKind::AvgPool | LayerKind::MaxPool => 1,
        // Four channels of a stripe are written before the next four are read.
        LayerKind::Depthwise => usize::from(layer.at_once.max(1)),
        _ => return None,
    };
    let (height, width) = (usize::from(output.height), usize::from(output.width));
    let written = usize::from(output.channels) * usize::from(output.element);
    let pixel = usize::from(input.channels) * usize::from(input.element);
    let (down, across) = (
        usize::from(layer.stride_height),
        usize::from(layer.stride_width),
    );
    let (top, left) = (usize::from(layer.pad_top), usize::from(layer.pad_left));
    // Where the first byte lies that the window at (y, x), or a later one in its row, reads. Rows
    // further down have ends of their own.
    let read = |y: usize, x: usize| {
        let line = usize::from(input.width) * pixel;
        let row = (y * down).saturating_sub(top).saturating_mul(line);
        row.saturating_add((x * across).saturating_sub(left) * pixel)
    };
    let mut gap = 0;
    for y in (0..height).step_by(step) {
        if layer.kind() == Some(LayerKind::Depthwise) {
            let end = (y + step).min(height) * width * written;
            gap = gap.max(end.saturating_sub(read(y, 0)));
            continue;
        }
        // Both ends grow evenly along a row but for one bend, where the window leaves the padding.
        for x in [0, left / across.max(1), left / across.max(1) + 1, width - 1] {
            let x = x.min(width - 1);
            let end = (y * width + x + 1) * written;
            gap = gap.max(end.saturating_sub(read(y, x)));
        }
    }
    Some(gap)
}
