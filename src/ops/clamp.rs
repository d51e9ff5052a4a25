//! Limits of its own for each channel: the maximum and the minimum with a vector of constants. May
//! write over its input, whose scale it keeps.

use super::Layer;

pub(super) fn run(layer: &Layer<'_>, arena: &mut [i8]) {
    let channels = usize::from(layer.output.channels);
    let (limits, _) = layer.weights(2 * channels).as_chunks::<2>();
    let (from, to) = (layer.input.offset as usize, layer.output.offset as usize);
    for i in 0..layer.input.len() {
        let [low, high] = limits[i % channels];
        arena[to + i] = arena[from + i].max(low).min(high);
    }
}
