//! Zeros around a tensor, where no convolution could take them on. Keeps its input's scale.

use super::{Layer, read, write};

pub(super) fn run(layer: &Layer<'_>, arena: &mut [i8]) {
    let (record, from, to) = (layer.record, layer.input, layer.output);
    let (height, width) = (usize::from(from.height), usize::from(from.width));
    let (columns, channels) = (usize::from(to.width), usize::from(to.channels));
    for i in 0..to.len() {
        let (pixel, channel) = (i / channels, i % channels);
        let y = (pixel / columns).wrapping_sub(usize::from(record.pad_top));
        let x = (pixel % columns).wrapping_sub(usize::from(record.pad_left));
        let value = if y < height && x < width {
            read(arena, from, (y * width + x) * channels + channel)
        } else {
            i32::from(to.zero_point)
        };
        write(arena, to, i, value);
    }
}
