//! A picture at another size, in integers: bilinear between pixel centres, and where a side shrinks
//! with a triangle as wide as the step, so that no pixel is skipped.
//!
//! Along one side, the old pixel i has in the new pixel x the weight
//! `2 max(from, to) - |(2 i + 1) to - (2 x + 1) from|` where that is positive, with what `from` and
//! `to` have in common divided out. A new pixel is the weighted sum over both sides divided by the
//! sum of the weights, and is rounded once.

use core::ops::Range;

use super::Image;

/// The part of a picture that an encoder sees: whole pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rectangle {
    /// The first row.
    pub top: usize,
    /// The first column.
    pub left: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// A rectangle of a picture, seen at another size. Holds no pixels: each is worked out when it is
/// asked for, from the about 2 x 2 (larger) or `(2 from / to)^2` (smaller) old ones around it.
///
/// ```
/// use headstart::frontend::{Image, Rectangle, Resize};
/// let image = Image::new(1, 2, 1, &[0, 100]).ok_or("no image")?;
/// let all = Rectangle { top: 0, left: 0, height: 1, width: 2 };
/// let resize = Resize::new(image, all, 2, 4).ok_or("sides out of range")?;
/// assert_eq!([0, 1, 2, 3].map(|x| resize.pixel::<1>(0, x)), [[0], [25], [75], [100]]);
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Resize<'a> {
    image: Image<'a>,
    rows: Side,
    columns: Side,
    /// Whether weighted sums fit 32 bits.
    small: bool,
}

impl<'a> Resize<'a> {
    /// `None` where the rectangle is empty or reaches beyond the picture, or a new side is not 2 to
    /// [`Image::LARGEST_SIDE`]: from one pixel of the largest picture the sums would not fit 64 bits.
    pub fn new(image: Image<'a>, of: Rectangle, height: usize, width: usize) -> Option<Self> {
        let rows = Side::new(of.top, of.height, image.height(), height)?;
        let columns = Side::new(of.left, of.width, image.width(), width)?;
        let largest = rows.most().saturating_mul(columns.most());
        Some(Resize {
            image,
            rows,
            columns,
            small: largest.saturating_mul(255) <= u64::from(u32::MAX),
        })
    }

    /// One value of a new pixel, unrounded: it is the first number divided by the second. `channel`
    /// is below the picture's channels, `y` and `x` below the new sides.
    pub fn value(&self, y: usize, x: usize, channel: usize) -> (u64, u64) {
        let (sums, total) = self.sums::<u64, 3>(y, x);
        (sums[channel % self.image.channels()], total)
    }

    /// A new pixel's first C values, rounded half to even. C is at most the picture's channels.
    pub fn pixel<const C: usize>(&self, y: usize, x: usize) -> [u8; C] {
        if self.small {
            let (sums, total) = self.sums::<u32, C>(y, x);
            sums.map(|sum| {
                let (whole, rest) = (sum / total, sum % total);
                half_to_even(whole as u8, rest.cmp(&(total - rest)))
            })
        } else {
            let (sums, total) = self.sums::<u64, C>(y, x);
            sums.map(|sum| {
                let (whole, rest) = (sum / total, sum % total);
                half_to_even(whole as u8, rest.cmp(&(total - rest)))
            })
        }
    }

    /// Weighted sums of the first C channels (of those that there are), and the sum of weights.
    fn sums<S: Sum, const C: usize>(&self, y: usize, x: usize) -> ([S; C], S) {
        let (channels, pixels) = (self.image.channels(), self.image.pixels());
        let (rows, columns) = (self.rows.taps(y), self.columns.taps(x));
        let (mut sums, mut total) = ([S::default(); C], S::default());
        for row in rows {
            let down = S::from(self.rows.weight(y, row));
            let from = (self.rows.first + row) * self.image.width() + self.columns.first;
            let (mut across, mut weights) = ([S::default(); C], S::default());
            for column in columns.clone() {
                let weight = S::from(self.columns.weight(x, column));
                let at = (from + column) * channels;
                let pixel = pixels.get(at..at + channels).unwrap_or(&[]);
                for (sum, &value) in across.iter_mut().zip(pixel) {
                    *sum = *sum + weight * S::from(u32::from(value));
                }
                weights = weights + weight;
            }
            for (sum, part) in sums.iter_mut().zip(across) {
                *sum = *sum + down * part;
            }
            total = total + down * weights;
        }
        (sums, total)
    }
}

/// What sums are counted in.
trait Sum:
    Copy + Default + From<u32> + core::ops::Add<Output = Self> + core::ops::Mul<Output = Self>
{
}
impl Sum for u32 {}
impl Sum for u64 {}

/// `rest` is the order of what is left of a division, against what it lacks to a whole.
fn half_to_even(whole: u8, rest: core::cmp::Ordering) -> u8 {
    match rest {
        core::cmp::Ordering::Less => whole,
        core::cmp::Ordering::Equal => whole + whole % 2,
        core::cmp::Ordering::Greater => whole + 1,
    }
}

/// One side: `length` old pixels from `first` on become `to / from` times as many.
///
/// With m the larger of `from` and `to`, the weights of one new pixel add up to at most
/// 2 m^2 / to + m. They are largest where a side of 2^14 shrinks to two: 7/8 of a triangle of height 2 m
/// and half width m / 2 is left of the edge, 7/8 * 2^28, so that 255 times the product of both sides'
/// sums is less than 2^64. `the_largest_sums_fit` counts it.
#[derive(Clone, Copy, Debug)]
struct Side {
    first: usize,
    length: usize,
    from: u32,
    to: u32,
}

impl Side {
    fn new(first: usize, length: usize, whole: usize, to: usize) -> Option<Side> {
        let inside = length >= 1 && first.checked_add(length)? <= whole;
        if !inside || !(2..=Image::LARGEST_SIDE).contains(&to) {
            return None;
        }
        let common = common_divisor(length, to);
        Some(Side {
            first,
            length,
            from: (length / common) as u32,
            to: (to / common) as u32,
        })
    }

    fn larger(&self) -> u32 {
        self.from.max(self.to)
    }

    /// No less than the weights of any new pixel add up to.
    fn most(&self) -> u64 {
        let larger = u64::from(self.larger());
        let taps = (2 * larger).div_ceil(u64::from(self.to)) + 1;
        // The mean of a triangle's weights is half of its height, that of at most three is not.
        if taps <= 3 { 6 * larger } else { larger * taps }
    }

    /// The old pixels, counted from `first`, that the new pixel `x` is made of.
    fn taps(&self, x: usize) -> Range<usize> {
        // Weights are positive from 2 to i > low on, and up to 2 to i < high.
        let [from, to, reach] = [self.from, self.to, 2 * self.larger()].map(i64::from);
        let centre = (2 * x as i64 + 1) * from - to;
        let (low, high) = (centre - reach, centre + reach);
        let first = low.div_euclid(2 * to) + 1;
        let end = (high + 2 * to - 1).div_euclid(2 * to);
        first.max(0) as usize..end.clamp(0, self.length as i64) as usize
    }

    fn weight(&self, x: usize, i: usize) -> u32 {
        // Sides of at most 2^14 and indices below them: products stay below 2^29.
        let (old, new) = ((2 * i as u32 + 1) * self.to, (2 * x as u32 + 1) * self.from);
        (2 * self.larger()).saturating_sub(old.abs_diff(new))
    }
}

fn common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const LARGEST: usize = Image::LARGEST_SIDE;

    /// The definition in floating point: normalised triangles, rounded at the end.
    fn taps(from: usize, to: usize, new: usize) -> Vec<(usize, f64)> {
        let reach = (from as f64 / to as f64).max(1.0);
        let centre = (new as f64 + 0.5) * from as f64 / to as f64 - 0.5;
        let all = (0..from).map(|i| (i, 1.0 - (i as f64 - centre).abs() / reach));
        let all: Vec<(usize, f64)> = all.filter(|t| t.1 > 0.0).collect();
        let total: f64 = all.iter().map(|t| t.1).sum();
        all.into_iter().map(|(i, w)| (i, w / total)).collect()
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1u32;
        let byte = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..length).map(byte).collect()
    }

    fn whole(height: usize, width: usize) -> Rectangle {
        Rectangle {
            top: 0,
            left: 0,
            height,
            width,
        }
    }

    #[test]
    fn every_pixel_is_the_rounded_reference() {
        let cases = [
            ((1, 1), (2, 2)),
            ((1, 1), (7, 3)),
            ((2, 2), (96, 96)),
            ((28, 28), (96, 96)),
            ((97, 89), (31, 29)),
            ((101, 103), (101, 103)),
            ((240, 320), (96, 96)),
            ((3, 200), (13, 17)),
            ((64, 64), (32, 32)),
            ((13, 11), (127, 2)),
            ((1, LARGEST), (2, 3)),
            ((LARGEST, 2), (5, 3)),
            ((2, 3), (2, LARGEST)),
        ];
        for ((height, width), (new_height, new_width)) in cases {
            let pixels = noise(height * width);
            let image = Image::new(height, width, 1, &pixels).unwrap();
            let resize = Resize::new(image, whole(height, width), new_height, new_width).unwrap();
            let columns: Vec<_> = (0..new_width).map(|x| taps(width, new_width, x)).collect();
            for y in 0..new_height {
                let rows = taps(height, new_height, y);
                for (x, columns) in columns.iter().enumerate() {
                    let row = |i: usize| -> f64 {
                        let value = |&(j, w): &(usize, f64)| w * f64::from(pixels[i * width + j]);
                        columns.iter().map(value).sum()
                    };
                    let exact: f64 = rows.iter().map(|&(i, w)| w * row(i)).sum();
                    let [found] = resize.pixel::<1>(y, x);
                    let (sum, total) = resize.value(y, x, 0);
                    let value = sum as f64 / total as f64;
                    assert!((value - exact).abs() < 1e-9, "{exact} at {y}, {x}: {value}");
                    // The reference in f64 does not know an exact half from one nearby.
                    let tie = (exact.fract() - 0.5).abs() < 1e-9;
                    let rounded = if tie { value } else { exact }.round_ties_even();
                    assert_eq!(f64::from(found), rounded, "{exact} at {y}, {x}");
                    let wide = Resize {
                        small: false,
                        ..resize
                    };
                    assert_eq!(wide.pixel::<1>(y, x), [found]);
                }
            }
        }
    }

    #[test]
    fn halves_go_to_the_even_byte() {
        for (pixels, expected) in [([0, 1], 0), ([1, 2], 2), ([2, 3], 2), ([254, 255], 254)] {
            let image = Image::new(1, 2, 1, &pixels).unwrap();
            let resize = Resize::new(image, whole(1, 2), 2, 3).unwrap();
            assert_eq!(resize.pixel::<1>(0, 1), [expected], "{pixels:?}");
        }
    }

    #[test]
    fn the_largest_sums_fit() {
        let lengths = [1, 2, 3, 255, 256, 5000]
            .into_iter()
            .chain(LARGEST - 12..=LARGEST);
        let mut largest = 0;
        for length in lengths {
            for to in (2..40).chain([224, 4099, LARGEST - 1, LARGEST]) {
                let side = Side::new(0, length, length, to).unwrap();
                for x in (0..to).step_by((to / 7).max(1)) {
                    let sum: u64 = side.taps(x).map(|i| u64::from(side.weight(x, i))).sum();
                    assert!(sum > 0 && sum <= side.most(), "{length} to {to} at {x}");
                    largest = largest.max(sum);
                }
            }
        }
        assert!(
            largest
                .checked_mul(largest)
                .is_some_and(|s| s.checked_mul(255).is_some())
        );
        assert!(Side::new(0, 9, 9, 1).is_none() && Side::new(1, 9, 9, 2).is_none());
    }

    #[test]
    fn a_rectangle_sees_only_its_own_pixels() {
        let mut pixels = [255; 3 * 6 * 5];
        for y in 1..4 {
            pixels[(y * 5 + 2) * 3..][..6].fill(9);
        }
        let image = Image::new(6, 5, 3, &pixels).unwrap();
        let part = Rectangle {
            top: 1,
            left: 2,
            height: 3,
            width: 2,
        };
        let resize = Resize::new(image, part, 4, 4).unwrap();
        for at in 0..16 {
            assert_eq!(resize.pixel::<3>(at / 4, at % 4), [9; 3]);
        }
    }
}
