//! Dense layer: a matrix times the flattened input.

use super::{Layer, dot, with_output};
use crate::pack::ElementKind;
use crate::quantize::Element;

pub(super) fn run(layer: &Layer<'_>, arena: &mut [i8]) {
    let (input, output) = layer.split(arena);
    with_output!(layer, output, |out| multiply(layer, input, out));
}

fn multiply<T: Element>(layer: &Layer<'_>, input: &[i8], out: &mut [T]) {
    let stage = layer.stage();
    let rows = layer
        .weights(input.len() * out.len())
        .chunks_exact(input.len());
    for (channel, ((out, row), &bias)) in out.iter_mut().zip(rows).zip(layer.biases()).enumerate() {
        *out = T::put(stage.apply(channel, bias.wrapping_add(dot(input, row))));
    }
}
