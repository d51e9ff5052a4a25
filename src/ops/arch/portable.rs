//! The definition: plain Rust, no assumption about the processor.
//!
//! Windows lie in the scratch one after the other, as int16. So do the planes of a depthwise layer.

use super::{Arch, Planes, Tile};
use crate::ops::geometry::LANES;
use crate::quantize::scale;

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

/// Four weights times four values; a macro, so that no optimisation level makes a call of it.
macro_rules! dot {
    ($weights:ident, $at:literal, $($value:ident),*) => {{
        let mut sum = 0i32;
        let mut at = $at;
        $(
            sum = sum.wrapping_add(i32::from($value).wrapping_mul(i32::from($weights[at])));
            at += 1;
        )*
        let _ = at;
        sum
    }};
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

    fn block(tile: &Tile<'_>, block: usize) -> [[i32; LANES]; 4] {
        let (windows, depth) = (halves(tile.windows), tile.depth);
        let (filters, _) = tile.weights[block * 4 * depth..][..4 * depth].as_chunks::<16>();
        let mut sums = [[0i32; LANES]; 4];
        for (lane, window) in windows.chunks_exact(depth).enumerate() {
            let [mut a, mut b, mut c, mut d] = [0i32; 4];
            for (values, weights) in window.as_chunks::<4>().0.iter().zip(filters) {
                // Four outputs for each value that is loaded.
                let &[p, q, r, s] = values;
                a = a.wrapping_add(dot!(weights, 0, p, q, r, s));
                b = b.wrapping_add(dot!(weights, 4, p, q, r, s));
                c = c.wrapping_add(dot!(weights, 8, p, q, r, s));
                d = d.wrapping_add(dot!(weights, 12, p, q, r, s));
            }
            for (sums, sum) in sums.iter_mut().zip([a, b, c, d]) {
                sums[lane] = sum;
            }
        }
        sums
    }

    fn outputs(tile: &Tile<'_>, out: &mut [i8]) -> bool {
        let zero_point = tile.stage.zero_point;
        for (block, channels) in tile.channels.chunks(4).enumerate() {
            let sums = Self::block(tile, block);
            for lane in 0..tile.lanes {
                let out = &mut out[lane * tile.stride + 4 * block..][..channels.len()];
                for ((out, channel), sums) in out.iter_mut().zip(channels).zip(&sums) {
                    let acc = channel.bias.wrapping_add(sums[lane]);
                    let scaled = scale(acc, channel.multiplier, 32);
                    *out = scaled.saturating_add(zero_point).clamp(-128, 127) as i8;
                }
            }
        }
        true
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
    #[inline(always)]
    fn sum(&self, plane: &[i16], lane: usize, y: usize, x: usize) -> i32 {
        let [height, width] = self.kernel;
        let channels = self.stage.channels.len();
        let (mut sum, mut tap) = (0i32, self.first + lane);
        for ky in 0..height {
            let row = y * self.stride[0] + ky * self.dilation[0];
            let from = row * self.columns + x * self.stride[1];
            let row = &plane[from..from + (width - 1) * self.dilation[1] + 1];
            let mut column = 0;
            while column < row.len() {
                sum = sum.wrapping_add(i32::from(row[column]) * i32::from(self.weights[tap]));
                tap += channels;
                column += self.dilation[1];
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
