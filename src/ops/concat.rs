//! Two tensors side by side, channel after channel, each brought to the output's scale.

use super::{Layer, read, write};
use crate::quantize::scale;

/// `(value - zero) * multiplier / 2^shift`, rounded half up, with a multiplier for each input.
pub(super) fn run(layer: &Layer<'_>, arena: &mut [i8]) {
    let (record, output) = (layer.record, layer.output);
    let Some(second) = layer.second else { return };
    let width = usize::from(output.channels);
    let parts = [
        (layer.input, record.first_multiplier, 0),
        (
            second,
            record.second_multiplier,
            usize::from(layer.input.channels),
        ),
    ];
    for (tensor, multiplier, at) in parts {
        let channels = usize::from(tensor.channels);
        for i in 0..tensor.len() {
            let value = read(arena, tensor, i) - i32::from(tensor.zero_point);
            let scaled = scale(value, multiplier, u32::from(record.shift));
            let value = scaled.saturating_add(i32::from(output.zero_point));
            let value = value.clamp(i32::from(record.low), i32::from(record.high));
            write(
                arena,
                output,
                i / channels * width + at + i % channels,
                value,
            );
        }
    }
}
