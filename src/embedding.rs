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
        let largest = centred.clone().map(i32::unsigned_abs).max().unwrap_or(0);
        if largest == 0 {
            out.fill(0);
            return Err(ZeroEmbedding);
        }
        let up = largest.leading_zeros() as i32 - 17;
        let scaled = centred.map(|v| if up >= 0 { v << up } else { v >> -up });
        let squares = scaled
            .clone()
            .map(|v| u64::from(v.unsigned_abs().pow(2)))
            .sum();
        let norm = isqrt(squares) as u32;
        for (value, o) in scaled.zip(out.iter_mut()) {
            let size = (value.unsigned_abs() * (2 * NORM as u32) + norm) / (2 * norm);
            let size = size.min(NORM as u32) as i32;
            *o = if value < 0 { -size } else { size } as i8;
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

/// The integer square root, rounded down.
fn isqrt(n: u64) -> u64 {
    let mut root = 0u64;
    let mut bit = 1u64 << ((64 - n.leading_zeros()).saturating_sub(1) & !1);
    let mut rest = n;
    while bit != 0 {
        if rest >= root + bit {
            rest -= root + bit;
            root = (root >> 1) + bit;
        } else {
            root >>= 1;
        }
        bit >>= 2;
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn square_roots_are_rounded_down() {
        for n in (0..2000).chain([u64::from(u32::MAX), 1 << 40, (1 << 45) - 1]) {
            let root = isqrt(n);
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
