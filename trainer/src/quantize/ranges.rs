//! Which numbers the integers of an activation reach from and to.

use super::Scale;

/// How the range of an int8 activation is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ranges {
    /// The one with the smallest mean squared error: clipping rare extremes buys a finer step for
    /// all other values.
    LeastError,
    /// The one that this part of the values lies in, as much left out below as above.
    Percentile(f64),
}

impl Ranges {
    /// The scale for such values.
    pub(super) fn int8(self, values: &[f32]) -> Scale {
        match self {
            Ranges::LeastError => least_error(values),
            Ranges::Percentile(part) => percentile(values, part),
        }
    }
}

pub(super) fn wide(values: &[f32]) -> Scale {
    let largest = values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    // Half as much again: an input in the field may be stronger than any in calibration.
    Scale {
        step: f64::from(largest.max(1e-6)) * 1.5 / 32767.0,
        zero_point: 0,
        wide: true,
    }
}

fn least_error(values: &[f32]) -> Scale {
    let low = values.iter().fold(0.0f32, |m, &v| m.min(v));
    let high = values.iter().fold(0.0f32, |m, &v| m.max(v)).max(low + 1e-6);
    let candidates = (0..24).map(|i| 1.0 - 0.03 * f64::from(i));
    let scored = candidates.map(|shrink| {
        let scale = int8_scale(f64::from(low) * shrink, f64::from(high) * shrink);
        (
            scale,
            values
                .iter()
                .map(|&v| squared_error(scale, f64::from(v)))
                .sum::<f64>(),
        )
    });
    scored
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map_or(int8_scale(-1.0, 1.0), |(scale, _)| scale)
}

fn percentile(values: &[f32], part: f64) -> Scale {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let cut = (last as f64 * (1.0 - part) / 2.0).round() as usize;
    let at = |i: usize| sorted.get(i).copied().unwrap_or(0.0);
    // Zero has an integer of its own, whatever the range.
    let low = at(cut).min(0.0);
    let high = at(last - cut).max(low + 1e-6).max(0.0);
    int8_scale(low.into(), high.into())
}

fn int8_scale(low: f64, high: f64) -> Scale {
    let step = (high - low) / 255.0;
    let zero_point = (-128.0 - low / step).round().clamp(-128.0, 127.0) as i32;
    Scale {
        step,
        zero_point,
        wide: false,
    }
}

pub(super) fn squared_error(scale: Scale, value: f64) -> f64 {
    let integer = (value / scale.step).round() + f64::from(scale.zero_point);
    let back = (integer.clamp(-128.0, 127.0) - f64::from(scale.zero_point)) * scale.step;
    (back - value).powi(2)
}
