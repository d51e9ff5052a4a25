//! The definition: plain Rust, no assumption about the processor.
//!
//! Windows lie in the scratch one after the other, as int16. So do the planes of a depthwise layer.

use super::{Arch, Planes, Tile};
use crate::ops::geometry::LANES;

/// Any processor.
pub(in crate::ops) struct Portable;

/// The int16 of the scratch.
fn halves(words: &[u32]) -> &[i16] {
    bytemuck::cast_slice(words)
}

fn halves_mut(words: &mut [u32]) -> &mut [i16] {
    bytemuck::cast_slice_mut(words)
}

/// Values `at`.. of the window `lane`.
fn window(windows: &mut [u32], lanes: usize, lane: usize, at: usize) -> &mut [i16] {
    let halves = halves_mut(windows);
    let depth = halves.len() / lanes;
    &mut halves[lane * depth + at..(lane + 1) * depth]
}

impl Arch for Portable {
    const GROUP: usize = 4;

    fn lay(windows: &mut [u32], lanes: usize, lane: usize, at: usize, values: &[i8]) {
        for (to, &value) in window(windows, lanes, lane, at).iter_mut().zip(values) {
            *to = i16::from(value);
        }
    }

    fn lay_wide(windows: &mut [u32], lanes: usize, lane: usize, at: usize, values: &[i8]) {
        let (values, _) = values.as_chunks();
        for (to, &[low, high]) in window(windows, lanes, lane, at).iter_mut().zip(values) {
            *to = i16::from_le_bytes([low as u8, high as u8]);
        }
    }

    fn fill(windows: &mut [u32], lanes: usize, lane: usize, at: usize, count: usize, value: i8) {
        window(windows, lanes, lane, at)[..count].fill(i16::from(value));
    }

    fn sums(tile: &Tile<'_>, channel: usize) -> [i32; LANES] {
        let (windows, depth) = (halves(tile.windows), tile.depth);
        // The first of four outputs' blocks of four weights.
        let filter = &tile.weights[channel / 4 * 4 * depth..][..4 * depth];
        let mut sums = [0i32; LANES];
        for (sum, window) in sums.iter_mut().zip(windows.chunks_exact(depth)) {
            let (values, _) = window.as_chunks::<4>();
            let (blocks, _) = filter.as_chunks::<16>();
            for (values, block) in values.iter().zip(blocks) {
                let weights = &block[channel % 4 * 4..][..4];
                for (&value, &weight) in values.iter().zip(weights) {
                    *sum = sum.wrapping_add(i32::from(value).wrapping_mul(i32::from(weight)));
                }
            }
        }
        sums
    }

    fn blank(planes: &mut [u32], value: i8) {
        halves_mut(planes).fill(i16::from(value));
    }

    fn lay_row(
        planes: &mut [u32],
        size: usize,
        (lane, channels): (usize, usize),
        at: usize,
        values: &[i8],
        stride: usize,
        pixels: usize,
    ) {
        let planes = halves_mut(planes);
        for channel in 0..channels {
            let row = &mut planes[(lane + channel) * size + at..][..pixels];
            for (pixel, to) in row.iter_mut().enumerate() {
                *to = i16::from(values[pixel * stride + channel]);
            }
        }
    }

    fn convolve(planes: &Planes<'_>, out: &mut [i8]) {
        let elements = halves(planes.planes);
        for (lane, plane) in elements
            .chunks_exact(planes.size)
            .take(planes.count)
            .enumerate()
        {
            planes.each_output(lane, out, |y, x| planes.sum(plane, lane, y, x));
        }
    }
}

impl Planes<'_> {
    /// Writes every output of the channel `lane`; `sum` gives its accumulator without the bias.
    #[inline(always)]
    pub(super) fn each_output(
        &self,
        lane: usize,
        out: &mut [i8],
        mut sum: impl FnMut(usize, usize) -> i32,
    ) {
        let channel = self.first + lane;
        let channels = self.stage.channels.len();
        let bias = self.stage.channels[channel].bias;
        for y in 0..self.height {
            for x in 0..self.width {
                let acc = bias.wrapping_add(sum(y, x));
                let value = self.stage.apply(channel, acc, 0);
                put(
                    out,
                    (y * self.width + x) * channels + channel,
                    self.wide,
                    value,
                );
            }
        }
    }

    /// The products of one window of an int16 plane.
    fn sum(&self, plane: &[i16], lane: usize, y: usize, x: usize) -> i32 {
        let channels = self.stage.channels.len();
        let mut sum = 0i32;
        for ky in 0..self.kernel[0] {
            let row = y * self.stride[0] + ky * self.dilation[0];
            for kx in 0..self.kernel[1] {
                let column = x * self.stride[1] + kx * self.dilation[1];
                let weight =
                    self.weights[(ky * self.kernel[1] + kx) * channels + self.first + lane];
                let value = plane[row * self.columns + column];
                sum = sum.wrapping_add(i32::from(value) * i32::from(weight));
            }
        }
        sum
    }
}

/// Writes element `i` of an output, clamped to its type's range already.
#[inline(always)]
pub(in crate::ops) fn put(out: &mut [i8], i: usize, wide: bool, value: i32) {
    if wide {
        let [low, high] = (value as i16).to_le_bytes();
        (out[2 * i], out[2 * i + 1]) = (low as i8, high as i8);
    } else {
        out[i] = value as i8;
    }
}
