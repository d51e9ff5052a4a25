//! The power spectrum of real samples, in integers.
//!
//! Two samples make one complex value, a radix-2 transform of half the length halves its values at
//! every stage, and a last step tells the two halves of the spectrum apart: *Numerical Recipes*,
//! Press et al., section 12.3. The caller scales a frame to 29 bits, so quiet ones lose nothing.

/// 1 as a [`QuarterSine`] counts.
const ONE: i64 = 1 << 30;

/// `sin(2 pi k / length)` for k of 0 to `length / 4`, in units of 2^-30, rounded.
#[derive(Clone, Copy, Debug)]
pub(super) struct QuarterSine<'a>(&'a [i32]);

impl<'a> QuarterSine<'a> {
    pub fn new(values: &'a [i32]) -> Self {
        QuarterSine(values)
    }

    /// Whether the values are sines and cosines of common angles: what lies on or in the circle can't
    /// make sums grow.
    pub fn is_circle(self) -> bool {
        let within = |(&sine, &cosine): (&i32, &i32)| {
            let [sine, cosine] = [sine, cosine].map(i64::from);
            // Rounding puts a point at most 2^30 * sqrt(2) outside.
            sine >= 0 && cosine >= 0 && sine * sine + cosine * cosine <= ONE * ONE + 2 * ONE
        };
        self.0.iter().zip(self.0.iter().rev()).all(within)
    }

    /// Cosine and sine of `2 pi k / length` for k up to half the length.
    fn turn(self, k: usize) -> [i64; 2] {
        let quarter = self.0.len() - 1;
        let at = |i: usize| i64::from(self.0[i]);
        if k <= quarter {
            [at(quarter - k), at(k)]
        } else {
            [-at(k - quarter), at(2 * quarter - k)]
        }
    }
}

/// Where sample `i` of `length` goes before [`power`].
pub(super) fn place(i: usize, length: usize) -> usize {
    let bits = (length / 2).trailing_zeros();
    2 * ((i / 2).reverse_bits() >> (usize::BITS - bits)) + i % 2
}

/// Turns samples into powers in place. `data` is length + 2 words: samples below 2^29 in size, each
/// in its [`place`]; after it, length / 2 + 1 powers, see [`power_at`].
///
/// A power is the square of 2^(2 - log2 length) times the transform of the samples.
pub(super) fn power(data: &mut [i32], sines: QuarterSine<'_>) {
    let length = data.len() - 2;
    let points = length / 2;
    let mut half = 1;
    while half < points {
        for block in data[..length].chunks_exact_mut(4 * half) {
            let (low, high) = block.split_at_mut(2 * half);
            let pairs = low.as_chunks_mut().0.iter_mut().zip(high.as_chunks_mut().0);
            for (j, (a, b)) in pairs.enumerate() {
                butterfly(a, b, sines.turn(j * points / half));
            }
        }
        half *= 2;
    }
    for k in 0..=points / 2 {
        let other = (points - k) % points;
        let (a, b) = (complex_at(data, k), complex_at(data, other));
        let [low, high] = pair(a, b, sines.turn(k));
        put(data, k, low);
        put(data, points - k, high);
    }
}

/// Power number `k` of what [`power`] left.
pub(super) fn power_at(data: &[i32], k: usize) -> u64 {
    let [low, high] = complex_at(data, k);
    u64::from(low as u32) | u64::from(high as u32) << 32
}

fn put(data: &mut [i32], k: usize, power: u64) {
    data[2 * k..][..2].copy_from_slice(&[power as i32, (power >> 32) as i32]);
}

fn complex_at(data: &[i32], k: usize) -> [i32; 2] {
    [data[2 * k], data[2 * k + 1]]
}

/// Half of a + b w and a - b w, w = cosine - i sine. Sizes stay below 2^29.5: components fit.
fn butterfly(a: &mut [i32; 2], b: &mut [i32; 2], [cosine, sine]: [i64; 2]) {
    let [re, im] = b.map(i64::from);
    let turned = [re * cosine + im * sine, im * cosine - re * sine].map(|v| rounded(v, 30) as i32);
    for ((a, b), turned) in a.iter_mut().zip(b).zip(turned) {
        (*a, *b) = ((*a + turned + 1) >> 1, (*a - turned + 1) >> 1);
    }
}

/// Powers of bins k and points - k, times 4, from the complex transform there.
fn pair(a: [i32; 2], b: [i32; 2], [cosine, sine]: [i64; 2]) -> [u64; 2] {
    let ([ar, ai], [br, bi]) = (a.map(i64::from), b.map(i64::from));
    let (even, odd) = ([ar + br, ai - bi], [ar - br, ai + bi]);
    let turned = [
        rounded(odd[1] * cosine - odd[0] * sine, 30),
        -rounded(odd[0] * cosine + odd[1] * sine, 30),
    ];
    // Sizes below 2^31.5: they fit 32 bits, and the sum of two squares 64.
    let square = |v: i64| u64::from(v.unsigned_abs() as u32).pow(2);
    let power = |sign: i64| {
        let [re, im] = [0, 1].map(|i| square(even[i] + sign * turned[i]));
        re.saturating_add(im)
    };
    [power(1), power(-1)]
}

fn rounded(value: i64, shift: u32) -> i64 {
    (value + (1 << (shift - 1))) >> shift
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;
    use std::vec;
    use std::vec::Vec;

    use super::*;

    fn sines(length: usize) -> Vec<i32> {
        let sine = |k: usize| (TAU * k as f64 / length as f64).sin() * ONE as f64;
        (0..=length / 4).map(|k| sine(k).round() as i32).collect()
    }

    #[test]
    fn powers_are_those_of_the_definition() {
        let mut state = 1u32;
        for length in [8, 16, 64, 512, 4096] {
            let table = sines(length);
            let table = QuarterSine::new(&table);
            for tone in [None, Some(3.0), Some(1.7)] {
                let samples: Vec<i32> = (0..length)
                    .map(|i| match tone {
                        Some(f) => (5e8 * (TAU * f * i as f64 / length as f64).cos()) as i32,
                        None => {
                            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                            state as i32 >> 3
                        }
                    })
                    .collect();
                let mut data = vec![0; length + 2];
                for (i, &sample) in samples.iter().enumerate() {
                    data[place(i, length)] = sample;
                }
                power(&mut data, table);
                let unit = 4.0 / length as f64;
                for k in 0..=length / 2 {
                    let (mut re, mut im) = (0.0, 0.0);
                    for (i, &sample) in samples.iter().enumerate() {
                        let (sin, cos) = (TAU * (k * i % length) as f64 / length as f64).sin_cos();
                        re += f64::from(sample) * cos;
                        im -= f64::from(sample) * sin;
                    }
                    let size = unit * re.hypot(im);
                    let found = (power_at(&data, k) as f64).sqrt();
                    assert!(
                        (found - size).abs() < 16.0,
                        "{length}, {k}: {found}, not {size}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_largest_frames_do_not_overflow() {
        for length in [4, 16, 512, 4096] {
            let table = sines(length);
            let table = QuarterSine::new(&table);
            for sign in [1, -1] {
                for step in [1, 2, 3, length / 2, length / 4] {
                    let mut data = vec![0; length + 2];
                    for i in 0..length {
                        let flip = if i / step.max(1) % 2 == 0 { 1 } else { sign };
                        data[place(i, length)] = flip * ((1 << 29) - 1);
                    }
                    power(&mut data, table);
                }
            }
        }
    }

    #[test]
    fn a_table_that_is_no_circle_is_refused() {
        let good = sines(64);
        assert!(QuarterSine::new(&good).is_circle());
        for (at, by) in [(0, -1), (3, 1 << 20), (16, 1), (8, i32::MAX - good[8])] {
            let mut bad = good.clone();
            bad[at] += by;
            assert!(!QuarterSine::new(&bad).is_circle(), "{at}");
        }
    }
}
