//! Learning without labels: what a device has seen since it was taught.
//!
//! [`Observations`] keeps the newest unlabelled embeddings in a buffer of the caller's and answers
//! three questions about them. Nothing here runs unless it is called, and nothing changes what was
//! learnt from labels.
//!
//! | question | method | costs, n observations |
//! |---|---|---|
//! | what do those say that are beyond doubt? | [`Observations::refine`] | a fit and n predictions a step |
//! | whose label is worth most? | [`Observations::suggest`] | n predictions, n^2 D / 2 integer multiplications |
//! | are inputs still what the encoder knows? | [`Observations::drift`] | n r D multiplications |

mod drift;
mod refine;
mod suggest;
#[cfg(test)]
mod tests;

use crate::embedding::Embedding;
use crate::pack::Background;
use crate::statistics::StatisticsError;

pub use drift::DriftError;
pub use refine::{Refinable, RefineError, Refined};
pub use suggest::{Reason, Suggestion};

/// Unlabelled int8 embeddings, oldest first, in memory of the caller's. When it is full the oldest
/// makes room.
///
/// ```
/// use headstart::{Embedding, Observations};
/// let mut bytes = [0; Observations::bytes(2, 3)]; // D = 2, the newest 3
/// let mut observations = Observations::new(2, None, &mut bytes);
/// for value in 1..=4 {
///     observations.observe(Embedding::new(&[value, 0])?)?;
/// }
/// let kept: Vec<_> = observations.iter().map(|e| e.values()[0]).collect();
/// assert_eq!(kept, [2, 3, 4]);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub struct Observations<'a> {
    dim: usize,
    background: Option<Background<'a>>,
    count: usize,
    /// For each observation D values, then [`NOTES`] numbers of two bytes each.
    bytes: &'a mut [i8],
}

/// What is noted beside an observation while a method runs: numbers of 16 bits.
const NOTES: usize = 3;

/// A note that names no class.
const NONE: u16 = u16::MAX;

impl<'a> Observations<'a> {
    /// Bytes of memory for `count` embeddings of length `dim`: D + 6 each.
    pub const fn bytes(dim: usize, count: usize) -> usize {
        count * (dim + 2 * NOTES)
    }

    /// Nothing observed yet. `background` is the encoder's; without it there is no
    /// [`Observations::drift`].
    pub fn new(dim: usize, background: Option<Background<'a>>, bytes: &'a mut [i8]) -> Self {
        Observations {
            dim,
            background,
            count: 0,
            bytes,
        }
    }

    /// D.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Observations.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Observations that there is room for.
    pub fn capacity(&self) -> usize {
        self.bytes.len() / self.size()
    }

    /// Keeps an embedding whose class nobody named; the oldest goes where there is no room. Costs a
    /// move of the buffer when it is full.
    pub fn observe(&mut self, e: Embedding<'_>) -> Result<(), StatisticsError> {
        self.check_dim(e.dim())?;
        let (size, capacity) = (self.size(), self.capacity());
        if capacity == 0 {
            return Ok(());
        }
        if self.count == capacity {
            self.remove(0);
        }
        let record = &mut self.bytes[self.count * size..(self.count + 1) * size];
        record[..self.dim].copy_from_slice(e.values());
        self.count += 1;
        Ok(())
    }

    /// Observation number `index`, the oldest being 0.
    pub fn get(&self, index: usize) -> Option<Embedding<'_>> {
        Embedding::new(self.values(index)?).ok()
    }

    /// All observations, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Embedding<'_>> {
        (0..self.count).filter_map(|index| self.get(index))
    }

    /// Drops an observation and wipes its bytes, as when it has a label now; those behind it move
    /// up by one.
    pub fn remove(&mut self, index: usize) {
        let size = self.size();
        if index < self.count {
            let moved = &mut self.bytes[index * size..self.count * size];
            moved.rotate_left(size);
            let last = moved.len() - size;
            moved[last..].fill(0);
            self.count -= 1;
        }
    }

    /// Drops them all and wipes their bytes.
    pub fn clear(&mut self) {
        self.bytes.fill(0);
        self.count = 0;
    }

    fn size(&self) -> usize {
        self.dim + 2 * NOTES
    }

    fn values(&self, index: usize) -> Option<&[i8]> {
        let records = self.bytes.chunks_exact(self.size()).take(self.count);
        records.map(|record| &record[..self.dim]).nth(index)
    }

    fn check_dim(&self, got: usize) -> Result<(), StatisticsError> {
        let expected = self.dim;
        if expected == got {
            Ok(())
        } else {
            Err(StatisticsError::Dim { expected, got })
        }
    }

    fn note(&self, index: usize, which: usize) -> u16 {
        let at = index * self.size() + self.dim + 2 * which;
        u16::from_le_bytes([self.bytes[at] as u8, self.bytes[at + 1] as u8])
    }

    fn set_note(&mut self, index: usize, which: usize, value: u16) {
        let at = index * self.size() + self.dim + 2 * which;
        let [low, high] = value.to_le_bytes();
        self.bytes[at] = low as i8;
        self.bytes[at + 1] = high as i8;
    }
}
