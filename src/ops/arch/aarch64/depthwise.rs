//! Depthwise convolution with NEON: eight channels of an output at once, a tap at a time.

use core::arch::aarch64::*;

use super::super::direct::eight::{self, GROUP, write_any};
use super::{Planes, scale};

/// Slides the filters over the planes.
pub(super) fn convolve(planes: &Planes<'_>, out: &mut [i8]) {
    let taps = planes.kernel[0] * planes.kernel[1];
    let channels = planes.stage.channels.len();
    if planes.count < GROUP {
        return eight::convolve(planes, out);
    }
    eight::check(planes);
    assert!(planes.weights.len() >= (taps - 1) * channels + planes.first + GROUP);
    // SAFETY: every element that an output looks at was found to be there, and so were the weights.
    unsafe { slide(planes, out) }
}

unsafe fn slide(planes: &Planes<'_>, out: &mut [i8]) {
    let stage = planes.stage;
    let channels = stage.channels.len();
    let plain = stage.is_plain() && stage.sum.is_none() && !planes.wide;
    let (mut biases, mut multipliers) = ([0i32; GROUP], [0i32; GROUP]);
    for (i, channel) in stage.channels[planes.first..][..GROUP].iter().enumerate() {
        (biases[i], multipliers[i]) = (channel.bias, channel.multiplier);
    }
    let bytes: *const i8 = planes.planes.as_ptr().cast();
    // SAFETY: the caller's promise; arrays of eight words are 32 bytes.
    unsafe {
        let weights = planes.weights.as_ptr().add(planes.first);
        let bias = [vld1q_s32(biases.as_ptr()), vld1q_s32(biases[4..].as_ptr())];
        let multiplier = [
            vld1q_s32(multipliers.as_ptr()),
            vld1q_s32(multipliers[4..].as_ptr()),
        ];
        for y in 0..planes.height {
            for x in 0..planes.width {
                let at = y * planes.stride[0] * planes.columns + x * planes.stride[1];
                let [low, high] = sums(planes, bytes.add(at * GROUP), weights, bias);
                let at = (y * planes.width + x) * channels + planes.first;
                if !plain {
                    let mut values = [0i32; GROUP];
                    vst1q_s32(values.as_mut_ptr(), low);
                    vst1q_s32(values[4..].as_mut_ptr(), high);
                    write_any(planes, &[values], at, out);
                    continue;
                }
                let zero_point = vdupq_n_s32(stage.zero_point);
                let low = vaddq_s32(scale(low, multiplier[0]), zero_point);
                let high = vaddq_s32(scale(high, multiplier[1]), zero_point);
                let halves = vcombine_s16(vqmovn_s32(low), vqmovn_s32(high));
                let to = &mut out[at..at + GROUP];
                vst1_s8(to.as_mut_ptr(), vqmovn_s16(halves));
            }
        }
    }
}

/// One output's sums of eight channels on top of their biases.
#[inline(always)]
unsafe fn sums(
    planes: &Planes<'_>,
    from: *const i8,
    weights: *const i8,
    bias: [int32x4_t; 2],
) -> [int32x4_t; 2] {
    let channels = planes.stage.channels.len();
    let [mut low, mut high] = bias;
    let mut tap = weights;
    for ky in 0..planes.kernel[0] {
        let row = ky * planes.dilation[0] * planes.columns;
        for kx in 0..planes.kernel[1] {
            // SAFETY: the caller's promise.
            unsafe {
                let x = vld1_s8(from.add((row + kx * planes.dilation[1]) * GROUP));
                let products = vmull_s8(x, vld1_s8(tap));
                low = vaddw_s16(low, vget_low_s16(products));
                high = vaddw_high_s16(high, products);
            }
            tap = tap.wrapping_add(channels);
        }
    }
    [low, high]
}
