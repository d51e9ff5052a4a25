//! Fixed-point requantisation: how a 32-bit accumulator becomes an 8- or 16-bit activation.
//!
//! `out = clamp(zero_point + round(acc * multiplier / 2^shift), low, high)`, rounding half up, in
//! 64-bit integers: no float, so the same bits on every machine. With `shift` = 32 it is one
//! `SMMULR` on ARMv7E-M. Source of the scheme: *Quantization and Training of Neural Networks for
//! Efficient Integer-Arithmetic-Only Inference*, Jacob et al., 2018.

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
    let wide = (i64::from(acc) * i64::from(multiplier) + (1 << (shift - 1))) >> shift;
    if shift >= 32 {
        wide as i32
    } else {
        wide.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
    }
}

/// The end of every layer: scale, move to the output's zero point, clamp. ReLU, ReLU6 and Clip are
/// the clamp; LeakyReLU is a second multiplier for negative accumulators.
#[derive(Clone, Copy)]
pub struct OutputStage<'a> {
    /// One a channel: `input_scale * weight_scale / output_scale * 2^shift`.
    pub multipliers: &'a [i32],
    /// The same for accumulators below zero; empty where there is no difference.
    pub negative_multipliers: &'a [i32],
    /// 1 to 47.
    pub shift: u32,
    /// The output value that stands for 0.0.
    pub zero_point: i32,
    /// Smallest output value.
    pub low: i32,
    /// Largest output value.
    pub high: i32,
}

impl OutputStage<'_> {
    /// Requantises the accumulator of `channel`.
    #[inline(always)]
    pub fn apply(&self, channel: usize, acc: i32) -> i32 {
        let negative = acc < 0 && !self.negative_multipliers.is_empty();
        let multipliers = if negative {
            self.negative_multipliers
        } else {
            self.multipliers
        };
        let scaled = scale(acc, multipliers[channel], self.shift);
        scaled
            .saturating_add(self.zero_point)
            .clamp(self.low, self.high)
    }
}

/// A stored activation: int8 in the network, int16 where an embedding needs the finer step.
pub trait Element: bytemuck::Pod {
    /// Widens.
    fn get(self) -> i32;
    /// Narrows a value that an [`OutputStage`] has clamped to the type's range.
    fn put(value: i32) -> Self;
}

impl Element for i8 {
    #[inline(always)]
    fn get(self) -> i32 {
        i32::from(self)
    }
    #[inline(always)]
    fn put(value: i32) -> i8 {
        value as i8
    }
}

impl Element for i16 {
    #[inline(always)]
    fn get(self) -> i32 {
        i32::from(self)
    }
    #[inline(always)]
    fn put(value: i32) -> i16 {
        value as i16
    }
}
