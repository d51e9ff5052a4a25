//! Layers and tensors as the pack's records, and weights in the order in which kernels read them.

use headstart::pack::{Channel, LayerKind, LayerRecord, NO_TENSOR, TensorRecord};

use crate::graph::{Graph, Layer, Op, Window};
use crate::quantize::{QuantizedLayer, Scale};

/// A tensor that has no place yet.
pub(super) fn tensor(graph: &Graph, scales: &[Scale], t: usize) -> anyhow::Result<TensorRecord> {
    let [height, width, channels] = graph.tensors[t].shape.map(u16::try_from);
    let scale = scales[t];
    Ok(TensorRecord {
        offset: 0,
        height: height?,
        width: width?,
        channels: channels?,
        element: if scale.wide { 2 } else { 1 },
        zero_point: i8::try_from(scale.zero_point)?,
        scale: scale.step as f32,
    })
}

/// A layer's kind, tensors and window; nothing that quantisation or a plan decides.
pub(super) fn shape(layer: &Layer) -> anyhow::Result<LayerRecord> {
    let point = Window::POINT;
    let padded;
    let (kind, window) = match &layer.op {
        Op::Conv(window, _) => (LayerKind::Conv, window),
        Op::Depthwise(window, _) => (LayerKind::Depthwise, window),
        Op::Dense(_) => (LayerKind::Dense, &point),
        Op::AvgPool(window) => (LayerKind::AvgPool, window),
        Op::MaxPool(window) => (LayerKind::MaxPool, window),
        Op::Add => (LayerKind::Add, &point),
        Op::Mul => (LayerKind::Mul, &point),
        Op::Lookup(_) => (LayerKind::Lookup, &point),
        Op::Concat => (LayerKind::Concat, &point),
        Op::Clamp(_) => (LayerKind::Clamp, &point),
        Op::Pad(pad) => {
            padded = Window { pad: *pad, ..point };
            (LayerKind::Pad, &padded)
        }
    };
    let pair = |p: [usize; 2]| -> anyhow::Result<[u16; 2]> {
        Ok([u16::try_from(p[0])?, u16::try_from(p[1])?])
    };
    let ([kernel_height, kernel_width], [stride_height, stride_width]) =
        (pair(window.kernel)?, pair(window.stride)?);
    let ([dilation_height, dilation_width], [pad_top, pad_left]) =
        (pair(window.dilation)?, pair(window.pad)?);
    let second = layer.inputs.get(1);
    Ok(LayerRecord {
        kind: kind as u8,
        input: u16::try_from(layer.inputs[0])?,
        second_input: second.map_or(Ok(NO_TENSOR), |&t| u16::try_from(t))?,
        output: u16::try_from(layer.output)?,
        groups: u16::try_from(window.groups)?,
        kernel_height,
        kernel_width,
        stride_height,
        stride_width,
        dilation_height,
        dilation_width,
        pad_top,
        pad_left,
        ..bytemuck::Zeroable::zeroed()
    })
}

/// Each channel's bias and multiplier.
pub(super) fn channels(q: &QuantizedLayer) -> Vec<Channel> {
    let pairs = q.biases.iter().zip(&q.multipliers);
    pairs
        .map(|(&bias, &multiplier)| Channel { bias, multiplier })
        .collect()
}

/// Weights in the order of [`LayerRecord::weights_at`].
pub(super) fn weights(layer: &Layer, q: &QuantizedLayer) -> Vec<i8> {
    let groups = match &layer.op {
        Op::Conv(window, _) => window.groups,
        Op::Dense(_) => 1,
        _ => return q.weights.clone(),
    };
    blocked(&q.weights, q.biases.len(), groups)
}

/// `[out][k]` as `[out / 4][k / 4][4 outputs][4 k]`, group by group, filled up with zeros.
fn blocked(weights: &[i8], outputs: usize, groups: usize) -> Vec<i8> {
    let (filter, outputs) = (weights.len() / outputs.max(1), outputs / groups.max(1));
    let depth = filter.next_multiple_of(4);
    let group = outputs.next_multiple_of(4) * depth;
    let mut blocks = vec![0; groups * group];
    for (i, &weight) in weights.iter().enumerate() {
        let (channel, k) = (i / filter, i % filter);
        let (g, out) = (channel / outputs, channel % outputs);
        let block = out / 4 * depth * 4 + k / 4 * 16;
        blocks[g * group + block + out % 4 * 4 + k % 4] = weight;
    }
    blocks
}

/// The whole record but for what lies elsewhere in the file.
pub(super) fn layer(
    layer: &Layer,
    q: &QuantizedLayer,
    at_once: u16,
    scratch: usize,
) -> anyhow::Result<LayerRecord> {
    Ok(LayerRecord {
        shift: q.shift,
        low: i16::try_from(q.low)?,
        high: i16::try_from(q.high)?,
        at_once,
        scratch_at: u32::try_from(scratch)?,
        first_multiplier: q.factors[0],
        second_multiplier: q.factors[1],
        bias: q.bias,
        add_shift: q.add_shifts[1],
        add_up: q.add_shifts[0],
        ..shape(layer)?
    })
}
