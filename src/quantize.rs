//! Fixed-point requantisation: how a 32-bit accumulator becomes an 8- or 16-bit activation.
//!
//! `out = clamp(zero_point + round(acc * multiplier / 2^shift), low, high)`, rounding half up, in
//! 64-bit integers: no float, so the same bits on every machine. With `shift` = 32 it is one
//! `SMMLAR` on ARMv7E-M. Source of the scheme: *Quantization and Training of Neural Networks for
//! Efficient Integer-Arithmetic-Only Inference*, Jacob et al., 2018.

use crate::pack::Channel;

/// `round(acc * multiplier / 2^shift)`, halves rounded up. `shift` is 1 to 47; the result is
/// saturated to 32 bits.
///
/// ```
/// use headstart::quantize::scale;
/// assert_eq!(scale(5, 1 << 30, 31), 3); // 2.5 rounds up
/// assert_eq!(scale(-5, 1 << 30, 31), -2); // -2.5 too
/// ```
#[inline(always)]
pub fn scale(acc: i32, multiplier: i32, shift: u32) -> i32 {
    let product = i64::from(acc) * i64::from(multiplier);
    if shift == 32 {
        // The usual case: no 64-bit shift, which 32-bit processors have to put together.
        return ((product + (1 << 31)) >> 32) as i32;
    }
    let wide = (product + (1 << (shift - 1))) >> shift;
    if shift > 32 {
        wide as i32
    } else {
        wide.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
    }
}

/// The end of every layer with weights: scale, add a second tensor where there is one, move to the
/// output's zero point, clamp. ReLU, ReLU6 and Clip are the clamp; LeakyReLU is a second multiplier
/// for negative accumulators.
#[derive(Clone, Copy)]
pub struct OutputStage<'a> {
    /// One a channel; the multiplier is `input_scale * weight_scale / output_scale * 2^shift`.
    pub channels: &'a [Channel],
    /// The multipliers for accumulators below zero; empty where there is no difference.
    pub negative_multipliers: &'a [i32],
    /// 1 to 47.
    pub shift: u32,
    /// The output value that stands for 0.0.
    pub zero_point: i32,
    /// Smallest output value.
    pub low: i32,
    /// Largest output value.
    pub high: i32,
    /// Where a second tensor is added.
    pub sum: Option<Sum>,
}

/// `((scaled << up) + second * multiplier + bias + 2^(shift - 1)) >> shift`, in 32 bits that wrap. The
/// output's zero point is in the bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    /// What one step of the second tensor is worth.
    pub multiplier: i32,
    /// Both zero points: the output's, `<< shift`, less the second tensor's times the multiplier.
    pub bias: i32,
    /// 0 to 24: brings the scaled accumulator to the second tensor's finer steps.
    pub up: u32,
    /// 1 to 24.
    pub shift: u32,
}

impl Sum {
    /// Adds `second` to a scaled accumulator.
    #[inline(always)]
    pub fn add(&self, scaled: i32, second: i32) -> i32 {
        let constant = self.bias.wrapping_add(1 << (self.shift - 1));
        let second = second.wrapping_mul(self.multiplier);
        let sum = scaled.wrapping_shl(self.up).wrapping_add(second);
        sum.wrapping_add(constant) >> self.shift
    }
}

impl OutputStage<'_> {
    /// Requantises the accumulator of `channel`, its bias included. `second` is the value of the
    /// tensor that is added, where one is.
    #[inline]
    pub fn apply(&self, channel: usize, acc: i32, second: i32) -> i32 {
        let multiplier = if acc < 0 && !self.negative_multipliers.is_empty() {
            self.negative_multipliers[channel]
        } else {
            self.channels[channel].multiplier
        };
        let scaled = scale(acc, multiplier, self.shift);
        let moved = match self.sum {
            Some(sum) => sum.add(scaled, second),
            None => scaled.saturating_add(self.zero_point),
        };
        moved.clamp(self.low, self.high)
    }

    /// Whether the scale is by 2^-32 and the limits are int8's.
    pub fn is_scaled(&self) -> bool {
        self.shift == 32 && self.low == -128 && self.high == 127
    }

    /// Whether besides nothing is there but perhaps a sum: the forms that kernels know best.
    pub fn is_plain(&self) -> bool {
        self.is_scaled() && self.negative_multipliers.is_empty()
    }
}
