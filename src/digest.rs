//! One hash over what was learnt and what it predicts: two machines agree to the bit, or they
//! don't.
//!
//! SHA-256 over, in little-endian bytes: each class's count, each class's sums, in the gram tier
//! the matrix, then for each query the label's index (u16), the probability's bits (u32) and
//! unknown (u8: 0 known, 1 unknown, 2 not enough examples).

use sha2::Digest as _;

use crate::head::Prediction;
use crate::statistics::Statistics;

/// A running hash.
///
/// ```
/// use headstart::{Label, Statistics, digest::Digest};
/// let (mut words, mut labels) = ([0; 65], [Label::new()]);
/// let statistics = Statistics::new(64, [0; 32], &mut words, &mut labels)?;
/// let hex = Digest::new(&statistics).hex();
/// assert!(hex.starts_with("e3b0c44298fc1c14")); // nothing learnt: the hash of no bytes
/// # Ok::<(), headstart::statistics::StatisticsError>(())
/// ```
pub struct Digest(sha2::Sha256);

impl Digest {
    /// Starts with the statistics.
    pub fn new(statistics: &Statistics<'_>) -> Self {
        let mut hash = sha2::Sha256::new();
        for class in statistics.iter() {
            hash.update(class.count.to_le_bytes());
        }
        for sum in statistics.iter().flat_map(|class| class.sums) {
            hash.update(sum.to_le_bytes());
        }
        for moment in statistics.gram().unwrap_or(&[]) {
            hash.update(moment.to_le_bytes());
        }
        Digest(hash)
    }

    /// Adds one prediction.
    pub fn query(&mut self, prediction: &Prediction) {
        self.0.update((prediction.class as u16).to_le_bytes());
        self.0
            .update(prediction.probability.to_bits().to_le_bytes());
        self.0.update([prediction.verdict as u8]);
    }

    /// 64 hexadecimal digits.
    pub fn hex(self) -> heapless::String<64> {
        let mut text = heapless::String::new();
        for byte in self.0.finalize() {
            for digit in [byte >> 4, byte & 15] {
                let _ = text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
        }
        text
    }
}
