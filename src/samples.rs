//! The examples themselves, for heads and checks that sums are not enough for.
//!
//! D + 2 bytes each, kept sorted by (label, values): a fit that visits them in order gives the same
//! bits whatever the order of learning was.

use crate::embedding::Embedding;

/// Int8 embeddings with their class, in memory of the caller's.
///
/// ```
/// use headstart::{Embedding, Samples};
/// let mut bytes = [0; Samples::bytes(2, 3)]; // D = 2, up to 3 examples
/// let mut samples = Samples::new(2, &mut bytes);
/// samples.insert(1, Embedding::new(&[5, 6])?)?;
/// samples.insert(0, Embedding::new(&[7, 8])?)?;
/// let classes: Vec<_> = samples.iter().map(|(class, _)| class).collect();
/// assert_eq!(classes, [0, 1]);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub struct Samples<'a> {
    dim: usize,
    count: usize,
    /// For each example its class as two bytes, little-endian, then D values.
    bytes: &'a mut [i8],
}

/// Why an example was not kept or found. The state is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SamplesError {
    /// The embedding has another length.
    Dim,
    /// The buffer is full.
    Full {
        /// Examples that there is room for.
        capacity: usize,
    },
    /// There is no such example.
    NotFound,
}

impl core::fmt::Display for SamplesError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            SamplesError::Dim => f.write_str("the embedding has another length than the samples"),
            SamplesError::Full { capacity } => {
                write!(
                    f,
                    "there is room for {capacity} examples: forget some first"
                )
            }
            SamplesError::NotFound => f.write_str("this example was never learnt"),
        }
    }
}

impl core::error::Error for SamplesError {}

impl<'a> Samples<'a> {
    /// Bytes of memory for `count` embeddings of length `dim`.
    pub const fn bytes(dim: usize, count: usize) -> usize {
        count * (dim + 2)
    }

    /// No examples yet.
    pub fn new(dim: usize, bytes: &'a mut [i8]) -> Self {
        Samples {
            dim,
            count: 0,
            bytes,
        }
    }

    /// D.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Examples.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Examples that there is room for.
    pub fn capacity(&self) -> usize {
        self.bytes.len() / (self.dim + 2)
    }

    /// Class and values of each example, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &[i8])> {
        self.bytes
            .chunks_exact(self.dim + 2)
            .take(self.count)
            .map(split)
    }

    /// Keeps an example. Costs a search and a move of what sorts behind it.
    pub fn insert(&mut self, class: usize, e: Embedding<'_>) -> Result<(), SamplesError> {
        self.room_for(e)?;
        let at = match self.search(class, e.values()) {
            Ok(at) | Err(at) => at,
        };
        let size = self.dim + 2;
        let moved = &mut self.bytes[at * size..(self.count + 1) * size];
        moved.rotate_right(size);
        let [low, high] = (class as u16).to_le_bytes();
        moved[0] = low as i8;
        moved[1] = high as i8;
        moved[2..size].copy_from_slice(e.values());
        self.count += 1;
        Ok(())
    }

    /// Whether [`Samples::insert`] would succeed.
    pub(crate) fn room_for(&self, e: Embedding<'_>) -> Result<(), SamplesError> {
        if e.dim() != self.dim {
            return Err(SamplesError::Dim);
        }
        let capacity = self.capacity();
        if self.count < capacity {
            Ok(())
        } else {
            Err(SamplesError::Full { capacity })
        }
    }

    /// Whether this example is there.
    pub fn contains(&self, class: usize, e: Embedding<'_>) -> bool {
        self.search(class, e.values()).is_ok()
    }

    /// Drops an example and wipes its bytes.
    pub fn remove(&mut self, class: usize, e: Embedding<'_>) -> Result<(), SamplesError> {
        let at = self
            .search(class, e.values())
            .map_err(|_| SamplesError::NotFound)?;
        let size = self.dim + 2;
        let moved = &mut self.bytes[at * size..self.count * size];
        moved.rotate_left(size);
        let last = moved.len() - size;
        moved[last..].fill(0);
        self.count -= 1;
        Ok(())
    }

    /// No examples, in memory that is wiped.
    pub(crate) fn clear(&mut self) {
        self.bytes.fill(0);
        self.count = 0;
    }

    /// Class `old` is number `new` from now on, and those in between make room.
    pub(crate) fn class_moved(&mut self, old: usize, new: usize) {
        let size = self.dim + 2;
        let (low, high) = (old.min(new), old.max(new));
        let ends = |class| self.iter().take_while(|&(own, _)| own < class).count() * size;
        let (from, to) = (ends(low), ends(high + 1));
        let moved = self.iter().filter(|&(own, _)| own == old).count() * size;
        if new > old {
            self.bytes[from..to].rotate_left(moved);
        } else {
            self.bytes[from..to].rotate_right(moved);
        }
        self.renumber(|own| match own {
            _ if own == old => new,
            _ if old < own && own <= new => own - 1,
            _ if new <= own && own < old => own + 1,
            _ => own,
        });
    }

    /// A class came into being at `class`: those from there on moved up by one.
    pub(crate) fn class_inserted(&mut self, class: usize) {
        self.renumber(|own| if own >= class { own + 1 } else { own });
    }

    /// A class went: its examples go with it, those behind it moved down by one.
    pub(crate) fn class_removed(&mut self, class: usize) {
        let size = self.dim + 2;
        let first = self.iter().take_while(|&(own, _)| own < class).count();
        let gone = self.iter().filter(|&(own, _)| own == class).count();
        self.bytes[first * size..self.count * size].rotate_left(gone * size);
        let kept = self.count - gone;
        self.bytes[kept * size..self.count * size].fill(0);
        self.count = kept;
        self.renumber(|own| if own > class { own - 1 } else { own });
    }

    fn renumber(&mut self, new: impl Fn(usize) -> usize) {
        for record in self.bytes.chunks_exact_mut(self.dim + 2).take(self.count) {
            let [low, high] = (new(split(record).0) as u16).to_le_bytes();
            record[0] = low as i8;
            record[1] = high as i8;
        }
    }

    fn search(&self, class: usize, values: &[i8]) -> Result<usize, usize> {
        let size = self.dim + 2;
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = (low + high) / 2;
            match split(&self.bytes[middle * size..(middle + 1) * size]).cmp(&(class, values)) {
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Equal => return Ok(middle),
                core::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }
}

fn split(record: &[i8]) -> (usize, &[i8]) {
    let class = u16::from_le_bytes([record[0] as u8, record[1] as u8]);
    (usize::from(class), &record[2..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn classes_come_and_go_in_step_with_the_statistics() {
        let mut bytes = [0; Samples::bytes(1, 4)];
        let mut samples = Samples::new(1, &mut bytes);
        for (class, value) in [(0, 9), (1, 4), (1, 3), (0, 8)] {
            samples
                .insert(class, Embedding::new(&[value]).unwrap())
                .unwrap();
        }
        let full = samples.insert(0, Embedding::new(&[1]).unwrap());
        assert_eq!(full, Err(SamplesError::Full { capacity: 4 }));
        samples.class_inserted(1);
        let seen: Vec<_> = samples.iter().map(|(c, v)| (c, v[0])).collect();
        assert_eq!(seen, [(0, 8), (0, 9), (2, 3), (2, 4)]);
        samples.class_removed(0);
        let seen: Vec<_> = samples.iter().map(|(c, v)| (c, v[0])).collect();
        assert_eq!(seen, [(1, 3), (1, 4)]);
        samples.remove(1, Embedding::new(&[3]).unwrap()).unwrap();
        assert_eq!(
            samples.remove(1, Embedding::new(&[3]).unwrap()),
            Err(SamplesError::NotFound)
        );
        assert!(
            bytes[3..].iter().all(|&b| b == 0),
            "what was forgotten is wiped"
        );
    }
}
