//! Depthwise layers' planes with eight channels side by side, a byte each: all of an element is one
//! load.

use crate::ops::arch::{PlaneRows, Planes, put};

/// Channels at a time.
pub(in crate::ops::arch) const GROUP: usize = 8;

/// As [`crate::ops::arch::Arch::lay_row`].
pub(in crate::ops::arch) fn lay_row(
    planes: &mut [u32],
    (lane, channels): (usize, usize),
    at: usize,
    values: &[i8],
    stride: usize,
    pixels: usize,
) {
    let plane = PlaneRows {
        lane,
        channels,
        rows: 1,
        pixels,
        stride,
        step: 0,
        at,
        columns: 0,
    };
    lay_plane(planes, &plane, values);
}

/// As [`crate::ops::arch::Arch::lay_plane`].
pub(in crate::ops::arch) fn lay_plane(planes: &mut [u32], plane: &PlaneRows, values: &[i8]) {
    let bytes: &mut [i8] = bytemuck::cast_slice_mut(planes);
    let (elements, _) = bytes.as_chunks_mut::<GROUP>();
    for row in 0..plane.rows {
        let from =
            &values[row * plane.step..][..(plane.pixels - 1) * plane.stride + plane.channels];
        let to = &mut elements[plane.at + row * plane.columns..][..plane.pixels];
        if plane.channels == GROUP {
            for (to, from) in to.iter_mut().zip(from.chunks(plane.stride)) {
                *to = from.first_chunk().copied().unwrap_or([0; GROUP]);
            }
        } else {
            for (to, from) in to.iter_mut().zip(from.chunks(plane.stride)) {
                let to = &mut to[plane.lane..plane.lane + plane.channels];
                for (to, &from) in to.iter_mut().zip(from) {
                    *to = from;
                }
            }
        }
    }
}

/// Slides filters of any size over the planes, plainly.
pub(in crate::ops::arch) fn convolve(planes: &Planes<'_>, out: &mut [i8]) {
    let bytes: &[i8] = bytemuck::cast_slice(planes.planes);
    let (elements, _) = bytes.as_chunks::<GROUP>();
    for lane in 0..planes.count {
        planes.each_output(lane, out, |y, x| sum(planes, elements, lane, y, x));
    }
}

/// Holds the planes to what kernels' pointers rely on: every element of every output is there,
/// with one output too many in rows of an odd number.
pub(in crate::ops::arch) fn check(planes: &Planes<'_>) {
    let reach = |i: usize, outputs: usize| {
        (outputs - 1) * planes.stride[i] + (planes.kernel[i] - 1) * planes.dilation[i]
    };
    let last =
        reach(0, planes.height) * planes.columns + reach(1, planes.width.next_multiple_of(2));
    let channels = planes.stage.channels.len();
    assert!(GROUP * (last + 1) <= 4 * planes.planes.len());
    assert!(planes.count <= GROUP && planes.first + planes.count <= channels);
}

/// The products of one window.
fn sum(planes: &Planes<'_>, elements: &[[i8; GROUP]], lane: usize, y: usize, x: usize) -> i32 {
    let channels = planes.stage.channels.len();
    let mut sum = 0i32;
    for ky in 0..planes.kernel[0] {
        let row = y * planes.stride[0] + ky * planes.dilation[0];
        for kx in 0..planes.kernel[1] {
            let column = x * planes.stride[1] + kx * planes.dilation[1];
            let tap = ky * planes.kernel[1] + kx;
            let weight = planes.weights[tap * channels + planes.first + lane];
            let value = elements[row * planes.columns + column][lane];
            sum = sum.wrapping_add(i32::from(value) * i32::from(weight));
        }
    }
    sum
}

/// Writes neighbouring pixels' outputs where the stage is not plain; biases are in `sums` already.
pub(in crate::ops::arch) fn write_any(
    planes: &Planes<'_>,
    sums: &[[i32; GROUP]],
    at: usize,
    out: &mut [i8],
) {
    let channels = planes.stage.channels.len();
    for (pixel, sums) in sums.iter().enumerate() {
        for (lane, &acc) in sums.iter().enumerate().take(planes.count) {
            let value = planes.stage.apply(planes.first + lane, acc, 0);
            put(out, at + pixel * channels + lane, planes.wide, value);
        }
    }
}
