//! The one embedding space: raw encoder output, minus the background mean, scaled to L2 norm 127
//! in integer arithmetic, rounded half away from zero to int8.
//!
//! The packed encoder and the float paths (tract, ONNX Runtime) end in the same function, so a
//! vector is the same kind of thing wherever it came from. Centring and L2 normalisation before a
//! nearest-mean head: *SimpleShot: Revisiting Nearest-Neighbor Classification for Few-Shot
//! Learning*, Wang et al., 2019.

/// The L2 norm of every embedding, up to rounding.
pub const NORM: i32 = 127;

/// A point of the embedding space: `D` values of -127..=127, never all zero.
///
/// ```
/// use headstart::Embedding;
/// assert!(Embedding::new(&[3, -4]).is_ok());
/// assert!(Embedding::new(&[0, 0]).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedding<'a> {
    values: &'a [i8],
}

/// The input says nothing: all zero after the background mean is removed, or of no length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZeroEmbedding;

impl core::fmt::Display for ZeroEmbedding {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the embedding is zero: the input carries no signal (is the sensor on?)")
    }
}

impl core::error::Error for ZeroEmbedding {}

/// Why an encoder's floating-point output is no embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbeddingError {
    /// See [`ZeroEmbedding`].
    Zero,
    /// A value is NaN or infinite: the encoder or its input is damaged.
    NotFinite {
        /// The first such value's index.
        at: usize,
    },
}

impl core::fmt::Display for EmbeddingError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            EmbeddingError::Zero => ZeroEmbedding.fmt(f),
            EmbeddingError::NotFinite { at } => write!(
                f,
                "value {at} of the encoder's output is not a finite number: the encoder or its input is damaged"
            ),
        }
    }
}

impl core::error::Error for EmbeddingError {}

impl<'a> Embedding<'a> {
    /// Takes values that are already in the space, for example from a store.
    pub fn new(values: &'a [i8]) -> Result<Self, ZeroEmbedding> {
        if values.iter().all(|&v| v == 0) {
            Err(ZeroEmbedding)
        } else {
            Ok(Embedding { values })
        }
    }

    /// Brings raw encoder output into the space. `raw` and `centre` are D long and in the same
    /// fixed-point step; `out` is D long.
    ///
    /// Exactly: v = raw - centre, scaled by a power of two so that the largest has 15 bits;
    /// n = floor(sqrt(sum v^2)); each value is v * 127 / n, rounded half away from zero.
    pub fn normalise(
        raw: impl Iterator<Item = i32> + Clone,
        centre: &[i32],
        out: &'a mut [i8],
    ) -> Result<Self, ZeroEmbedding> {
        let centred = raw
            .zip(centre)
            .map(|(value, &mean)| value.saturating_sub(mean));
        let (bits, squares) = measure(centred.clone());
        if bits == 0 {
            out.fill(0);
            return Err(ZeroEmbedding);
        }
        match bits.leading_zeros().checked_sub(17) {
            Some(up) => write(centred, squares << (2 * up), NORM << up, out),
            None => {
                let down = 17 - bits.leading_zeros();
                let scaled = centred.map(|v| v >> down);
                let (_, squares) = measure(scaled.clone());
                write(scaled, squares, NORM, out);
            }
        }
        Ok(Embedding { values: out })
    }

    /// Brings an encoder's floating-point output into the space: whole steps, halves rounded away
    /// from zero, then as [`Embedding::normalise`]. `raw`, `centre` and `out` are D long.
    pub fn from_floats(
        raw: &[f32],
        step: f32,
        centre: &[i32],
        out: &'a mut [i8],
    ) -> Result<Self, EmbeddingError> {
        if let Some(at) = raw.iter().position(|v| !v.is_finite()) {
            return Err(EmbeddingError::NotFinite { at });
        }
        let whole = raw.iter().map(|v| libm::roundf(v / step) as i32);
        Self::normalise(whole, centre, out).map_err(|ZeroEmbedding| EmbeddingError::Zero)
    }

    /// The values, D of them.
    pub fn values(&self) -> &'a [i8] {
        self.values
    }

    /// D.
    pub fn dim(&self) -> usize {
        self.values.len()
    }

    /// The squared L2 norm, about 127^2.
    pub fn squared_norm(&self) -> i32 {
        self.values
            .iter()
            .map(|&v| i32::from(v) * i32::from(v))
            .sum()
    }
}

/// Every bit that the size of some value has, and the sum of squares.
fn measure(values: impl Iterator<Item = i32>) -> (u32, u64) {
    let (mut bits, mut squares) = (0, 0u64);
    for v in values {
        bits |= v.unsigned_abs();
        squares = squares.wrapping_add((i64::from(v) * i64::from(v)) as u64);
    }
    (bits, squares)
}

/// v * gain / norm, rounded half away from zero. No value is larger than the norm.
fn write(values: impl Iterator<Item = i32>, squares: u64, gain: i32, out: &mut [i8]) {
    let norm = i32::try_from(isqrt(squares)).unwrap_or(i32::MAX);
    for (v, place) in values.zip(out) {
        // With the sign of v.
        let sign = v >> 31;
        let half = ((norm / 2) ^ sign) - sign;
        *place = ((v * gain + half) / norm) as i8;
    }
}

/// The integer square root, rounded down.
fn isqrt(n: u64) -> u64 {
    // Of the highest 32 bits by Newton's method, which comes down to it; then bit by bit.
    let down = (32 - n.leading_zeros().min(32)).next_multiple_of(2);
    let top = (n >> down) as u32;
    let mut root = 1u32 << (32 - top.leading_zeros()).div_ceil(2);
    loop {
        match top.checked_div(root).map(|other| (root + other) / 2) {
            Some(next) if next < root => root = next,
            _ => break,
        }
    }
    let mut bit = 1 << (down / 2);
    let mut root = root << (down / 2);
    while bit > 1 {
        bit >>= 1;
        let next = u64::from(root | bit);
        if next * next <= n {
            root |= bit;
        }
    }
    root.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn square_roots_are_rounded_down() {
        let squares = [
            65_535u64,
            65_536,
            92_681,
            1 << 22,
            3_000_000_019,
            (1 << 32) - 1,
        ]
        .into_iter()
        .flat_map(|k| [k * k - 1, k * k, k * k + 1]);
        for n in (0..2000)
            .chain([u64::from(u32::MAX), u64::MAX])
            .chain(squares)
        {
            let root = u128::from(isqrt(n));
            let n = u128::from(n);
            assert!(root * root <= n && (root + 1) * (root + 1) > n, "{n}");
        }
    }

    #[test]
    fn the_norm_is_127_at_any_scale() {
        for shift in 0..20 {
            let raw = [300 << shift, -400 << shift, 0, 5 << shift];
            let mut out = [0; 4];
            let e = Embedding::normalise(raw.into_iter(), &[0; 4], &mut out).unwrap();
            assert_eq!(e.values(), [76, -102, 0, 1]);
        }
    }

    /// The definition, word for word.
    fn definition(raw: &[i32], centre: &[i32]) -> Vec<i8> {
        let centred = raw.iter().zip(centre).map(|(&v, &c)| v.saturating_sub(c));
        let mut v: Vec<i64> = centred.map(i64::from).collect();
        let largest = |v: &[i64]| v.iter().map(|v| v.abs()).max().unwrap();
        while largest(&v) < 1 << 14 {
            v.iter_mut().for_each(|v| *v *= 2);
        }
        let down = (0..).find(|down| largest(&v) >> down < 1 << 15).unwrap();
        v.iter_mut().for_each(|v| *v >>= down);
        let squares: i64 = v.iter().map(|v| v * v).sum();
        let n = (0..).find(|n| (n + 1) * (n + 1) > squares).unwrap();
        let size = |v: i64| (2 * 127 * v.abs() + n) / (2 * n);
        v.iter().map(|&v| (size(v) * v.signum()) as i8).collect()
    }

    #[test]
    fn every_value_is_as_defined() {
        let mut state = 1u32;
        let mut next = |bits: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state as i32 >> (32 - bits)
        };
        for round in 0..1000 {
            let bits = 2 + round % 31;
            let raw: [i32; 7] = core::array::from_fn(|_| next(bits));
            let centre: [i32; 7] = core::array::from_fn(|_| next(bits - 1));
            let mut out = [0; 7];
            if let Ok(e) = Embedding::normalise(raw.into_iter(), &centre, &mut out) {
                assert_eq!(e.values(), definition(&raw, &centre), "{raw:?} {centre:?}");
            }
        }
    }

    #[test]
    fn the_centre_itself_is_no_embedding() {
        let mut out = [1; 2];
        assert_eq!(
            Embedding::normalise([7, 9].into_iter(), &[7, 9], &mut out),
            Err(ZeroEmbedding)
        );
        assert_eq!(out, [0, 0]);
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut out = [0; 2];
        let raw = [i32::MIN, i32::MAX];
        let e = Embedding::normalise(raw.into_iter(), &[i32::MAX, i32::MIN], &mut out).unwrap();
        assert_eq!(e.values(), [-90, 90]);
    }
}
