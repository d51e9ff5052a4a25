//! Any function of one int8 value, as the table of its 256 results: sigmoid, tanh, hard-swish,
//! hard-sigmoid. May write over its input.

use super::Layer;

pub(super) fn run(layer: &Layer<'_>, arena: &mut [i8]) {
    let table = layer.weights(256);
    let (from, to) = (layer.input.offset as usize, layer.output.offset as usize);
    for i in 0..layer.input.len() {
        // The table starts at -128.
        let index = usize::from(arena[from + i] as u8 ^ 0x80);
        arena[to + i] = table[index];
    }
}
