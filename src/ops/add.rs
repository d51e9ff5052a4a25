//! The sum of two tensors, each with its own scale; may write over either.

use super::{Layer, read, write};

/// `(a * first_multiplier + b * second_multiplier + bias) / 2^shift`, rounded half up, in 64-bit
/// integers; zero points are folded into the bias and the output's is added here.
pub(super) fn run(layer: &Layer<'_>, arena: &mut [i8]) {
    let (record, output) = (layer.record, layer.output);
    let Some(second) = layer.second else { return };
    let (a, b) = (
        i64::from(record.first_multiplier),
        i64::from(record.second_multiplier),
    );
    let constant = i64::from(record.bias) + (1 << (record.shift - 1));
    let zero_point = i64::from(output.zero_point);
    let (low, high) = (i64::from(record.low), i64::from(record.high));
    for i in 0..layer.input.len() {
        let x = i64::from(read(arena, layer.input, i));
        let y = i64::from(read(arena, second, i));
        let sum = x * a + y * b + constant;
        let value = ((sum >> record.shift) + zero_point).clamp(low, high);
        write(arena, output, i, value as i32);
    }
}
