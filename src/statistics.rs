//! Exact integer sufficient statistics: how many examples of each class, and their sum; in the gram
//! tier also one matrix of second moments, shared by all classes.
//!
//! Integers add up to the same bits in any order, so learning commutes, forgetting undoes it to
//! the bit, and two devices merge into one. Classes stand in the order of their names and exist as
//! long as they have an example, so the whole state is a function of the set of examples alone.
//!
//! **No sum can overflow.** A value is at most 128 in size. A class takes at most [`MAX_COUNT`] =
//! 2^24 - 1 examples: a sum is below 128 * 2^24 = 2^31. In the gram tier all classes together take
//! at most [`MAX_GRAM_COUNT`] = 2^17 - 1: a moment is below 128^2 * 2^17 = 2^31. One more is an
//! error, and so is a merge that would end beyond.
//!
//! | tier | what it holds | D = 64, 8 classes | heads |
//! |---|---|---|---|
//! | means | counts and sums | [`Statistics::words`]: 2,080 bytes | prototype, bayes |
//! | gram | also the moments, a packed triangle | [`Statistics::gram_words`]: 10,400 bytes | also ridge, slda, auto in full |

pub(crate) mod gram;
mod snapshot;
#[cfg(test)]
mod tests;

use crate::embedding::Embedding;
use crate::pack::Artefact;

pub use snapshot::{MAGIC, SnapshotError};

/// A class's name, up to 16 bytes.
pub type Label = heapless::String<16>;

/// Names one learnt example: the how-manieth it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SampleId(pub u32);

/// The most examples of one class.
pub const MAX_COUNT: i32 = (1 << 24) - 1;

/// The most examples of all classes together in the gram tier.
pub const MAX_GRAM_COUNT: i32 = (1 << 17) - 1;

/// Counts and sums, class by class, in memory of the caller's.
///
/// ```
/// use headstart::{Embedding, Label, Statistics};
/// let mut words = [0; Statistics::words(2, 4)]; // D = 2, up to 4 classes
/// let mut labels = [const { Label::new() }; 4];
/// let mut statistics = Statistics::new(2, [0; 32], &mut words, &mut labels)?;
///
/// let nod = Embedding::new(&[100, 78])?;
/// statistics.learn("nod", nod)?;
/// assert_eq!(statistics.class(0).map(|c| (c.count, c.sums)), Some((1, &[100, 78][..])));
/// statistics.forget("nod", nod)?;
/// assert_eq!(statistics.classes(), 0);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub struct Statistics<'a> {
    dim: usize,
    artefact: Artefact,
    classes: usize,
    learnt: u32,
    /// The second moments: the lower triangle, row by row. Empty in the means tier.
    gram: &'a mut [i32],
    /// For each class its count, then D sums.
    words: &'a mut [i32],
    labels: &'a mut [Label],
}

/// One class, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Class<'s> {
    /// Its name.
    pub label: &'s Label,
    /// Examples.
    pub count: i32,
    /// D sums over them.
    pub sums: &'s [i32],
}

/// Why an example or a class was not taken, given back or renamed. The state is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatisticsError {
    /// The embedding has another length than the statistics.
    Dim {
        /// D of the statistics.
        expected: usize,
        /// Of what was given.
        got: usize,
    },
    /// No room for another class.
    TooManyClasses {
        /// How many there is room for.
        capacity: usize,
    },
    /// A class has [`MAX_COUNT`] examples, or all have [`MAX_GRAM_COUNT`].
    TooManyExamples,
    /// The memory is smaller than the gram tier's matrix.
    BufferTooSmall {
        /// Words that it needs for one class.
        needed: usize,
    },
    /// The second moments of a class can't be told from those of the others: forget its examples
    /// one by one, as [`Learner::forget_class`](crate::Learner::forget_class) does where it keeps
    /// [`Samples`](crate::Samples).
    SharedMoments,
    /// The other statistics are of another tier.
    OtherTier,
    /// A name is empty or longer than 16 bytes.
    BadLabel,
    /// There is no class of that name.
    UnknownLabel,
    /// There is a class of the new name already.
    LabelTaken,
    /// This example can't have been learnt: taking it away leaves an impossible sum.
    NeverLearnt,
    /// The other statistics come from another encoder file.
    OtherArtefact,
}

impl core::fmt::Display for StatisticsError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            StatisticsError::Dim { expected, got } => {
                write!(
                    f,
                    "embeddings have {expected} values here, this one has {got}"
                )
            }
            StatisticsError::TooManyClasses { capacity } => {
                write!(f, "there is room for {capacity} classes: forget one first")
            }
            StatisticsError::TooManyExamples => f.write_str("there are as many examples as the sums can take"),
            StatisticsError::BufferTooSmall { needed } => {
                write!(f, "the gram tier needs {needed} words for one class")
            }
            StatisticsError::SharedMoments => f.write_str(
                "the gram tier forgets a class example by example: keep the samples, or forget each",
            ),
            StatisticsError::OtherTier => f.write_str("one has second moments, the other has none"),
            StatisticsError::BadLabel => f.write_str("a class name has 1 to 16 bytes"),
            StatisticsError::UnknownLabel => f.write_str("no class of that name was learnt"),
            StatisticsError::LabelTaken => f.write_str("there is a class of that name already"),
            StatisticsError::NeverLearnt => f.write_str("this example was never learnt"),
            StatisticsError::OtherArtefact => {
                f.write_str("learnt with another encoder file: embeddings do not compare")
            }
        }
    }
}

impl core::error::Error for StatisticsError {}

/// What learning or forgetting changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub id: SampleId,
    pub class: usize,
    /// The class came into being, or went.
    pub class_changed: bool,
}

impl<'a> Statistics<'a> {
    /// Words of memory for `classes` classes of embeddings of length `dim`: D + 1 each.
    pub const fn words(dim: usize, classes: usize) -> usize {
        classes * (dim + 1)
    }

    /// Words of memory in the gram tier: D (D + 1) / 2 more.
    pub const fn gram_words(dim: usize, classes: usize) -> usize {
        gram::triangle(dim) + Self::words(dim, classes)
    }

    /// Empty statistics of the means tier. There is room for as many classes as both buffers hold.
    pub fn new(
        dim: usize,
        artefact: Artefact,
        words: &'a mut [i32],
        labels: &'a mut [Label],
    ) -> Result<Self, StatisticsError> {
        if dim == 0 {
            return Err(StatisticsError::Dim {
                expected: 1,
                got: 0,
            });
        }
        Ok(Statistics {
            dim,
            artefact,
            classes: 0,
            learnt: 0,
            gram: &mut [],
            words,
            labels,
        })
    }

    /// Empty statistics of the gram tier, with the matrix of second moments that ridge, SLDA and
    /// the whole of [`AutoHead`](crate::AutoHead) need.
    pub fn with_gram(
        dim: usize,
        artefact: Artefact,
        words: &'a mut [i32],
        labels: &'a mut [Label],
    ) -> Result<Self, StatisticsError> {
        let (gram, words) = words.split_at_mut_checked(gram::triangle(dim)).ok_or(
            StatisticsError::BufferTooSmall {
                needed: Self::gram_words(dim, 1),
            },
        )?;
        gram.fill(0);
        let means = Statistics::new(dim, artefact, words, labels)?;
        Ok(Statistics { gram, ..means })
    }

    /// The second moments, sum of x x' over all examples: the lower triangle, row by row,
    /// D (D + 1) / 2 long. `None` in the means tier.
    pub fn gram(&self) -> Option<&[i32]> {
        (!self.gram.is_empty()).then_some(&*self.gram)
    }

    /// Examples of all classes.
    pub fn examples(&self) -> i64 {
        self.iter().map(|class| i64::from(class.count)).sum()
    }

    /// D.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The encoder file whose embeddings these are.
    pub fn artefact(&self) -> Artefact {
        self.artefact
    }

    /// Classes that have an example.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Classes that there is room for.
    pub fn capacity(&self) -> usize {
        self.labels.len().min(self.words.len() / (self.dim + 1))
    }

    /// Bytes of state in use and spare: what the caller's buffers take.
    pub fn state_bytes(&self) -> usize {
        size_of_val(self.gram) + size_of_val(self.words) + size_of_val(self.labels)
    }

    /// Class number `index`, in the order of names.
    pub fn class(&self, index: usize) -> Option<Class<'_>> {
        let label = self.labels.get(..self.classes)?.get(index)?;
        let row = self.words.chunks_exact(self.dim + 1).nth(index)?;
        let (&count, sums) = row.split_first()?;
        Some(Class { label, count, sums })
    }

    /// All classes, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = Class<'_>> {
        (0..self.classes).filter_map(|index| self.class(index))
    }

    /// The class's number.
    pub fn find(&self, label: &str) -> Option<usize> {
        self.search(label).ok()
    }

    /// Adds one example, and its class where it is the first. Costs D additions, in the gram tier
    /// D (D + 1) / 2 multiplications too, and a move of the rows behind a new class.
    pub fn learn(&mut self, label: &str, e: Embedding<'_>) -> Result<SampleId, StatisticsError> {
        self.learn_at(label, e).map(|change| change.id)
    }

    pub(crate) fn learn_at(
        &mut self,
        label: &str,
        e: Embedding<'_>,
    ) -> Result<Change, StatisticsError> {
        self.check_dim(e)?;
        if !self.gram.is_empty() && self.examples() >= i64::from(MAX_GRAM_COUNT) {
            return Err(StatisticsError::TooManyExamples);
        }
        let (class, class_changed) = match self.search(label) {
            Ok(class) => (class, false),
            Err(class) => {
                self.insert(class, label)?;
                (class, true)
            }
        };
        let (count, sums) = self.row(class);
        if *count >= MAX_COUNT {
            return Err(StatisticsError::TooManyExamples);
        }
        *count += 1;
        gram::add_scaled(sums, 1, e.values());
        gram::add(self.gram, e.values());
        self.learnt = self.learnt.wrapping_add(1);
        Ok(Change {
            id: SampleId(self.learnt),
            class,
            class_changed,
        })
    }

    /// Takes one example back: the state is, to the bit, what it would be without. The class goes
    /// with its last example.
    pub fn forget(&mut self, label: &str, e: Embedding<'_>) -> Result<(), StatisticsError> {
        self.forget_at(label, e).map(|_| ())
    }

    pub(crate) fn forget_at(
        &mut self,
        label: &str,
        e: Embedding<'_>,
    ) -> Result<Change, StatisticsError> {
        self.check_dim(e)?;
        let class = self
            .search(label)
            .map_err(|_| StatisticsError::UnknownLabel)?;
        let (count, sums) = self.row(class);
        let left = *count - 1;
        let possible = sums
            .iter()
            .zip(e.values())
            .all(|(sum, &value)| (sum - i32::from(value)).unsigned_abs() <= left as u32 * LARGEST);
        let others = self.examples() - 1;
        if !possible || !gram::can_subtract(self.gram, e.values(), others) {
            return Err(StatisticsError::NeverLearnt);
        }
        gram::subtract(self.gram, e.values());
        let (count, sums) = self.row(class);
        *count = left;
        gram::add_scaled(sums, -1, e.values());
        if left == 0 {
            self.remove(class);
        }
        Ok(Change {
            id: SampleId(self.learnt),
            class,
            class_changed: left == 0,
        })
    }

    /// Gives one example another label: the same bits as if it had been learnt so.
    pub fn relabel(
        &mut self,
        from: &str,
        to: &str,
        e: Embedding<'_>,
    ) -> Result<(), StatisticsError> {
        let learnt = self.learnt;
        self.forget(from, e)?;
        let moved = self.learn(to, e);
        if moved.is_err() {
            // Its place was free a moment ago.
            let _ = self.learn(from, e);
        }
        self.learnt = learnt;
        moved.map(|_| ())
    }

    /// Forgets a class and all its examples. In the gram tier its moments are in one sum with the
    /// others': [`StatisticsError::SharedMoments`].
    pub fn forget_class(&mut self, label: &str) -> Result<(), StatisticsError> {
        let class = self
            .search(label)
            .map_err(|_| StatisticsError::UnknownLabel)?;
        if !self.gram.is_empty() {
            return Err(StatisticsError::SharedMoments);
        }
        self.remove(class);
        Ok(())
    }

    /// Gives a class a new name.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), StatisticsError> {
        let label = name(to)?;
        let old = self
            .search(from)
            .map_err(|_| StatisticsError::UnknownLabel)?;
        let Err(new) = self.search(to) else {
            return Err(StatisticsError::LabelTaken);
        };
        let new = if new > old { new - 1 } else { new };
        let stride = self.dim + 1;
        if let Some(entry) = self.labels.get_mut(old) {
            *entry = label;
        }
        let (low, high) = (old.min(new), old.max(new) + 1);
        let (labels, words) = (
            &mut self.labels[low..high],
            &mut self.words[low * stride..high * stride],
        );
        if new < old {
            labels.rotate_right(1);
            words.rotate_right(stride);
        } else {
            labels.rotate_left(1);
            words.rotate_left(stride);
        }
        Ok(())
    }

    /// Adds what another device learnt with the same encoder file: the same bits as if this one
    /// had learnt it all.
    pub fn merge(&mut self, other: &Statistics<'_>) -> Result<(), StatisticsError> {
        if self.artefact != other.artefact {
            return Err(StatisticsError::OtherArtefact);
        }
        if self.dim != other.dim {
            return Err(StatisticsError::Dim {
                expected: self.dim,
                got: other.dim,
            });
        }
        if self.gram.len() != other.gram.len() {
            return Err(StatisticsError::OtherTier);
        }
        let together = self.examples() + other.examples();
        if !self.gram.is_empty() && together > i64::from(MAX_GRAM_COUNT) {
            return Err(StatisticsError::TooManyExamples);
        }
        let new = other
            .iter()
            .filter(|c| self.find(c.label).is_none())
            .count();
        if self.classes + new > self.capacity() {
            return Err(StatisticsError::TooManyClasses {
                capacity: self.capacity(),
            });
        }
        let full = |c: Class<'_>| {
            let here = self
                .find(c.label)
                .and_then(|i| self.class(i))
                .map_or(0, |own| own.count);
            here > MAX_COUNT - c.count
        };
        if other.iter().any(full) {
            return Err(StatisticsError::TooManyExamples);
        }
        for from in other.iter() {
            let class = match self.search(from.label) {
                Ok(class) => class,
                Err(class) => {
                    self.insert(class, from.label)?;
                    class
                }
            };
            let (count, sums) = self.row(class);
            *count += from.count;
            for (sum, &value) in sums.iter_mut().zip(from.sums) {
                *sum += value;
            }
        }
        for (moment, &more) in self.gram.iter_mut().zip(&*other.gram) {
            *moment += more;
        }
        self.learnt = self.learnt.wrapping_add(other.learnt);
        Ok(())
    }

    fn check_dim(&self, e: Embedding<'_>) -> Result<(), StatisticsError> {
        let (expected, got) = (self.dim, e.dim());
        if expected == got {
            Ok(())
        } else {
            Err(StatisticsError::Dim { expected, got })
        }
    }

    fn search(&self, label: &str) -> Result<usize, usize> {
        self.labels[..self.classes].binary_search_by(|own| own.as_str().cmp(label))
    }

    fn row(&mut self, class: usize) -> (&mut i32, &mut [i32]) {
        let stride = self.dim + 1;
        let (count, sums) = self.words[class * stride..].split_at_mut(1);
        (&mut count[0], &mut sums[..stride - 1])
    }

    /// Makes an empty row at `class`.
    fn insert(&mut self, class: usize, label: &str) -> Result<(), StatisticsError> {
        let label = name(label)?;
        let (capacity, stride) = (self.capacity(), self.dim + 1);
        if self.classes >= capacity {
            return Err(StatisticsError::TooManyClasses { capacity });
        }
        self.classes += 1;
        self.labels[class..self.classes].rotate_right(1);
        self.labels[class] = label;
        let rows = &mut self.words[class * stride..self.classes * stride];
        rows.rotate_right(stride);
        rows[..stride].fill(0);
        Ok(())
    }

    fn remove(&mut self, class: usize) {
        let stride = self.dim + 1;
        let rows = &mut self.words[class * stride..self.classes * stride];
        rows.rotate_left(stride);
        let last = rows.len() - stride;
        rows[last..].fill(0);
        self.labels[class..self.classes].rotate_left(1);
        self.classes -= 1;
        self.labels[self.classes].clear();
    }
}

/// The size of the largest value.
const LARGEST: u32 = 128;

fn name(label: &str) -> Result<Label, StatisticsError> {
    if label.is_empty() {
        Err(StatisticsError::BadLabel)
    } else {
        Label::try_from(label).map_err(|_| StatisticsError::BadLabel)
    }
}
