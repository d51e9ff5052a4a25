//! The product of two tensors; the second may be one vector that every pixel is multiplied with,
//! as squeeze-and-excite does: *Squeeze-and-Excitation Networks*, Hu et al., 2018. May write over
//! the first.

use super::{Layer, read, write};
use crate::quantize::scale;

/// `(a - zero_a) * (b - zero_b) * first_multiplier / 2^shift`, rounded half up.
pub(super) fn run(layer: &Layer<'_>, arena: &mut [i8]) {
    let (record, output) = (layer.record, layer.output);
    let Some(second) = layer.second else { return };
    let (first_zero, second_zero) = (
        i32::from(layer.input.zero_point),
        i32::from(second.zero_point),
    );
    let period = second.len();
    for i in 0..layer.input.len() {
        let a = read(arena, layer.input, i) - first_zero;
        let b = read(arena, second, i % period) - second_zero;
        let scaled = scale(
            a.wrapping_mul(b),
            record.first_multiplier,
            u32::from(record.shift),
        );
        let value = scaled.saturating_add(i32::from(output.zero_point));
        let value = value.clamp(i32::from(record.low), i32::from(record.high));
        write(arena, output, i, value);
    }
}
