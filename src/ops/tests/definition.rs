//! The definitions in FORMAT.md, written out as plainly as possible: padding is skipped instead of
//! folded, sums are exact, and rounding is a floor.

use std::vec::Vec;

use super::case::Case;
use crate::pack::{LayerKind, TensorRecord};

/// The whole output, from the values of the layer's tensors in the order of their indices.
pub(super) fn output(case: &Case, values: &[Vec<i32>]) -> Vec<i32> {
    let to = case.output();
    let mut out = Vec::with_capacity(to.len());
    for y in 0..i64::from(to.height) {
        for x in 0..i64::from(to.width) {
            for channel in 0..usize::from(to.channels) {
                out.push(one(case, values, y, x, channel));
            }
        }
    }
    out
}

/// The value at (y, x), `None` beside the tensor.
fn at(tensor: &TensorRecord, values: &[i32], y: i64, x: i64, channel: usize) -> Option<i64> {
    let (height, width) = (i64::from(tensor.height), i64::from(tensor.width));
    if y < 0 || y >= height || x < 0 || x >= width {
        return None;
    }
    let pixel = (y * width + x) as usize;
    Some(values[pixel * usize::from(tensor.channels) + channel].into())
}

/// floor(value * multiplier / 2^shift + 1/2), held within 32 bits.
fn rounded(value: i64, multiplier: i32, shift: u8) -> i64 {
    let twice = 2 * i128::from(value) * i128::from(multiplier);
    let floor = (twice + (1i128 << shift)).div_euclid(2i128 << shift);
    floor.clamp(i32::MIN.into(), i32::MAX.into()) as i64
}

fn one(case: &Case, values: &[Vec<i32>], y: i64, x: i64, channel: usize) -> i32 {
    let (r, from, to) = (&case.record, case.input(), case.output());
    let input = |y, x, channel| at(from, &values[0], y, x, channel);
    let other = usize::from(r.second_input).saturating_sub(1);
    let second = |y, x, channel| match r.adds() {
        true => at(&case.tensors[other], &values[other], y, x, channel).unwrap(),
        false => 0,
    };
    let second_zero = || i64::from(case.tensors[other].zero_point);
    let (zero, shift) = (i64::from(from.zero_point), r.shift);
    let clamp = |v: i64| v.clamp(r.low.into(), r.high.into()) as i32;
    let ended = |v: i64| clamp(v + i64::from(to.zero_point));
    match case.kind() {
        LayerKind::Conv | LayerKind::Depthwise | LayerKind::Dense => {
            let acc = i64::from(case.biases[channel]) + products(case, &input, y, x, channel);
            let negative = acc < 0 && !case.negative_multipliers.is_empty();
            let multipliers = if negative {
                &case.negative_multipliers
            } else {
                &case.multipliers
            };
            let value = rounded(acc, multipliers[channel], shift);
            if r.adds() {
                let second = second(y, x, channel) * i64::from(r.second_multiplier);
                let half = 1 << (r.add_shift - 1);
                let sum = (value << r.add_up) + second + i64::from(r.bias) + half;
                // The output's zero point is in the bias.
                return clamp(i64::from(sum as i32).div_euclid(1 << r.add_shift));
            }
            ended(value)
        }
        LayerKind::AvgPool => {
            let taps = i64::from(r.kernel_height) * i64::from(r.kernel_width);
            let mut acc = i64::from(r.bias) + taps * zero;
            each_tap(case, y, x, |_, y, x| {
                acc += input(y, x, channel).map_or(0, |v| v - zero);
            });
            ended(rounded(acc, r.first_multiplier, shift))
        }
        LayerKind::MaxPool => {
            let mut best = i64::MIN;
            each_tap(case, y, x, |_, y, x| {
                best = best.max(input(y, x, channel).unwrap_or(i64::MIN));
            });
            clamp(best)
        }
        LayerKind::Add => {
            let first = input(y, x, channel).unwrap() * i64::from(r.first_multiplier);
            let second = second(y, x, channel) * i64::from(r.second_multiplier);
            let sum = first + second + i64::from(r.bias) + (1 << (shift - 1));
            ended(sum.div_euclid(1 << shift))
        }
        LayerKind::Mul => {
            let vector = case.tensors[other].len() == usize::from(to.channels);
            let (down, right) = if vector { (0, 0) } else { (y, x) };
            let first = input(y, x, channel).unwrap() - zero;
            let second = second(down, right, channel) - second_zero();
            ended(rounded(first * second, r.first_multiplier, shift))
        }
        LayerKind::Concat => {
            let (value, multiplier) = match channel.checked_sub(from.channels.into()) {
                None => (input(y, x, channel).unwrap() - zero, r.first_multiplier),
                Some(channel) => (second(y, x, channel) - second_zero(), r.second_multiplier),
            };
            ended(rounded(value, multiplier, shift))
        }
        LayerKind::Lookup => case.weights[(input(y, x, channel).unwrap() + 128) as usize].into(),
        LayerKind::Clamp => {
            let [low, high] = [0, 1].map(|i| i32::from(case.weights[2 * channel + i]));
            let value = input(y, x, channel).unwrap() as i32;
            value.max(low).min(high)
        }
        LayerKind::Pad => {
            let (y, x) = (y - i64::from(r.pad_top), x - i64::from(r.pad_left));
            input(y, x, channel).unwrap_or(to.zero_point.into()) as i32
        }
    }
}

/// Calls `visit` with each tap's number and where in the input it lies.
fn each_tap(case: &Case, y: i64, x: i64, mut visit: impl FnMut(usize, i64, i64)) {
    let r = &case.record;
    for ky in 0..r.kernel_height {
        for kx in 0..r.kernel_width {
            let tap = usize::from(ky) * usize::from(r.kernel_width) + usize::from(kx);
            let down =
                y * i64::from(r.stride_height) + i64::from(ky) * i64::from(r.dilation_height);
            let right = x * i64::from(r.stride_width) + i64::from(kx) * i64::from(r.dilation_width);
            visit(
                tap,
                down - i64::from(r.pad_top),
                right - i64::from(r.pad_left),
            );
        }
    }
}

/// The sum of weight * (input - zero point) over a window.
fn products(
    case: &Case,
    input: &impl Fn(i64, i64, usize) -> Option<i64>,
    y: i64,
    x: i64,
    channel: usize,
) -> i64 {
    let (r, from, to) = (&case.record, case.input(), case.output());
    let zero = i64::from(from.zero_point);
    let weight = |i: usize| i64::from(case.weights[i]);
    let channels = usize::from(from.channels);
    let taps = usize::from(r.kernel_height) * usize::from(r.kernel_width);
    let mut sum = 0;
    match case.kind() {
        LayerKind::Dense => {
            for i in 0..from.len() {
                let (pixel, inner) = (i / channels, i % channels);
                let width = usize::from(from.width);
                let (y, x) = ((pixel / width) as i64, (pixel % width) as i64);
                sum += weight(channel * from.len() + i) * (input(y, x, inner).unwrap() - zero);
            }
        }
        LayerKind::Conv => {
            let depth = channels / usize::from(r.groups);
            let group = channel / (usize::from(to.channels) / usize::from(r.groups));
            each_tap(case, y, x, |tap, y, x| {
                for i in 0..depth {
                    let weight = weight((channel * taps + tap) * depth + i);
                    sum += input(y, x, group * depth + i).map_or(0, |v| weight * (v - zero));
                }
            });
        }
        _ => {
            let source = channel / (usize::from(to.channels) / channels);
            each_tap(case, y, x, |tap, y, x| {
                let weight = weight(tap * usize::from(to.channels) + channel);
                sum += input(y, x, source).map_or(0, |v| weight * (v - zero));
            });
        }
    }
    sum
}
