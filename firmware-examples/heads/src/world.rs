//! What there is to learn: classes in a space of 64 dimensions of which 16 matter, and what an
//! encoder's makers would have measured of it. Integers from a seeded generator, and floats that
//! are made of them.

use core::hint::black_box;

use headstart::Embedding;
use headstart::embedding::ZeroEmbedding;
use headstart::head::calibration::{self, Calibration};
use headstart::pack::Background;

use crate::{DIM, Fault, RANK};

/// George Marsaglia, *Xorshift RNGs*, 2003.
struct Random(u32);

impl Random {
    fn new(seed: u32) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9) | 1);
        (0..8).for_each(|_| _ = random.next());
        random
    }

    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// -128 to 127, all alike.
    fn byte(&mut self) -> i32 {
        self.next() as i32 >> 24
    }

    /// -512 to 508, most near 0.
    fn bell(&mut self) -> i32 {
        (0..4).map(|_| self.byte()).sum()
    }
}

/// Classes that the background was measured with; those below are for teaching and asking.
const BACKGROUND: core::ops::Range<u32> = 100..124;
const BACKGROUND_EXAMPLES: u32 = 6;

/// What an encoder sees.
pub struct World {
    directions: [[i32; DIM]; RANK],
}

impl World {
    /// Directions that are orthogonal in integers: of the Walsh functions, which are products of
    /// signs, every third.
    pub fn new() -> Self {
        let sign = |k: usize, i: usize| 1 - 2 * ((3 * k + 5 & i).count_ones() as i32 & 1);
        World {
            directions: core::array::from_fn(|k| core::array::from_fn(|i| sign(k, i))),
        }
    }

    /// The raw output, which an encoder gives in 16 bits, for example number `number` of class number `class`: classes differ most
    /// along the first directions, examples alike along all of them, and a little anywhere.
    pub fn raw(&self, class: u32, number: u32) -> [i32; DIM] {
        let mut of_class = Random::new(class);
        let mut of_example = Random::new((class << 16) + number + 1);
        let mut raw = [0; DIM];
        for (strength, direction) in (0..).zip(&self.directions) {
            let at = (10 - strength / 2) * of_class.bell() + 9 * of_example.bell();
            for (value, &part) in raw.iter_mut().zip(direction) {
                *value += at * part;
            }
        }
        for value in &mut raw {
            *value = (*value + 4 * of_example.bell()).clamp(-32768, 32767);
        }
        raw
    }

    /// The same in the embedding space.
    pub fn embed<'o>(
        &self,
        class: u32,
        number: u32,
        out: &'o mut [i8; DIM],
    ) -> Result<Embedding<'o>, ZeroEmbedding> {
        // An encoder's D comes from its pack: the compiler must not know it here either.
        let out = black_box(&mut out[..]);
        Embedding::normalise(self.raw(class, number).into_iter(), &[0; DIM], out)
    }
}

/// A pack's background statistics.
pub struct Measured {
    projection: [f32; RANK * DIM],
    within: [f32; RANK],
    between: [f32; RANK],
    within_total: f32,
    calibration: [f32; calibration::LEN],
}

impl Measured {
    pub fn new(world: &World) -> Result<Self, ZeroEmbedding> {
        let mut measured = Measured {
            projection: core::array::from_fn(|i| {
                let (k, i) = (i / DIM, i % DIM);
                world.directions[k][i] as f32 / (90 + k) as f32
            }),
            within: [0.0; RANK],
            between: [0.0; RANK],
            within_total: 0.0,
            calibration: core::array::from_fn(calibrated),
        };
        let classes = BACKGROUND.len() as f32;
        let free = classes * (BACKGROUND_EXAMPLES - 1) as f32;
        for class in BACKGROUND {
            measured.add(world, class)?;
        }
        measured.within.iter_mut().for_each(|v| *v /= free);
        measured.between.iter_mut().for_each(|v| *v /= classes);
        measured.within_total /= free;
        Ok(measured)
    }

    /// Adds the squares around the class's mean, and that of the mean.
    fn add(&mut self, world: &World, class: u32) -> Result<(), ZeroEmbedding> {
        let mut points = [[0.0; RANK]; BACKGROUND_EXAMPLES as usize];
        let (mut sums, mut squares) = ([0i32; DIM], 0i32);
        for (number, point) in (0..).zip(&mut points) {
            let mut values = [0; DIM];
            let e = world.embed(class, number, &mut values)?;
            squares += e.squared_norm();
            for (value, row) in point.iter_mut().zip(self.projection.chunks_exact(DIM)) {
                for (weight, &v) in row.iter().zip(e.values()) {
                    *value += weight * f32::from(v);
                }
            }
            for (sum, &v) in sums.iter_mut().zip(e.values()) {
                *sum += i32::from(v);
            }
        }
        let of_mean: i32 = sums.iter().map(|sum| sum * sum).sum();
        self.within_total += squares as f32 - of_mean as f32 / BACKGROUND_EXAMPLES as f32;
        for k in 0..RANK {
            let mean = points.iter().map(|p| p[k]).sum::<f32>() / BACKGROUND_EXAMPLES as f32;
            for point in &points {
                self.within[k] += (point[k] - mean) * (point[k] - mean);
            }
            self.between[k] += mean * mean;
        }
        Ok(())
    }

    pub fn background(&self) -> Result<Background<'_>, Fault> {
        Ok(Background {
            rank: RANK,
            projection: &self.projection,
            within: &self.within,
            between: &self.between,
            within_total: self.within_total,
            calibration: Calibration::new(&self.calibration).ok_or(Fault::Calibration)?,
        })
    }
}

/// A calibration table's values: what stands before its rows, then in each row a temperature, an
/// exponent, and thresholds that rise.
fn calibrated(at: usize) -> f32 {
    let rows = calibration::SHOTS.len();
    let (before, width) = (calibration::LEN % rows, calibration::LEN / rows);
    let head = width - calibration::RATES.len();
    let Some(at) = at.checked_sub(before) else {
        return 0.7;
    };
    let (row, column) = (at / width, at % width);
    match column {
        0 => 0.3 + row as f32 / 30.0,
        _ if column < head => 0.9,
        _ => (6 * (column - head) + row) as f32 / 11.0 - 1.0,
    }
}
