//! Statistics as bytes, to keep them through a reset.
//!
//! ```text
//! | magic | version | tier | 0 | D   | classes | learnt | artefact | label, count, sums per class | moments | CRC-32 |
//! |   8 B |     u16 |   u8 |u8 | u16 |     u16 |    u32 |     32 B | 16 B + i32 + D i32 each      | tier 2  |    u32 |
//! ```

use super::{LARGEST, Label, MAX_COUNT, MAX_GRAM_COUNT, Statistics, gram};

/// The first eight bytes.
pub const MAGIC: [u8; 8] = *b"HSSTAT\r\n";
/// The version that this crate reads and writes.
pub const VERSION: u16 = 1;
const TIER_MEANS: u8 = 1;
const TIER_GRAM: u8 = 2;
const HEAD: usize = 52;
const LABEL: usize = 16;
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// Why bytes could not be written or taken over. The statistics are as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// The buffer is too small.
    BufferTooSmall {
        /// Bytes that it needs.
        needed: usize,
    },
    /// Cut short, or not statistics.
    NotStatistics,
    /// Written for another version of the format.
    Version {
        /// The snapshot's version.
        found: u16,
    },
    /// The checksum does not match.
    Checksum,
    /// Learnt with another encoder file: embeddings do not compare.
    OtherArtefact,
    /// Of the other tier.
    OtherTier,
    /// More classes than there is room for.
    TooManyClasses {
        /// Classes of the snapshot.
        needed: usize,
    },
    /// The checksum matches, but the numbers are impossible: the writer was at fault.
    Impossible,
}

impl core::fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            SnapshotError::BufferTooSmall { needed } => {
                write!(f, "a snapshot needs {needed} bytes")
            }
            SnapshotError::NotStatistics => {
                f.write_str("not a snapshot of statistics, or cut short")
            }
            SnapshotError::Version { found } => {
                write!(f, "snapshot version {found}, this crate reads {VERSION}")
            }
            SnapshotError::Checksum => f.write_str("the snapshot was damaged after it was written"),
            SnapshotError::OtherArtefact => {
                f.write_str("the snapshot was learnt with another encoder file")
            }
            SnapshotError::OtherTier => {
                f.write_str("the snapshot is of the other tier: with second moments, or without")
            }
            SnapshotError::TooManyClasses { needed } => {
                write!(f, "the snapshot has {needed} classes")
            }
            SnapshotError::Impossible => {
                f.write_str("the snapshot's numbers can't have been learnt")
            }
        }
    }
}

impl core::error::Error for SnapshotError {}

/// A snapshot that may be taken over.
struct Checked<'b> {
    classes: usize,
    learnt: u32,
    /// Of each class its name, count and sums.
    rows: &'b [u8],
    /// Of the gram tier.
    moments: &'b [u8],
}

/// What the first bytes say.
struct SnapshotHead {
    classes: usize,
    learnt: u32,
}

impl Statistics<'_> {
    /// Bytes of a snapshot with `classes` classes of embeddings of length `dim`.
    pub const fn snapshot_bytes(dim: usize, classes: usize) -> usize {
        HEAD + classes * (LABEL + 4 + 4 * dim) + 4
    }

    /// The same in the gram tier.
    pub const fn gram_snapshot_bytes(dim: usize, classes: usize) -> usize {
        Self::snapshot_bytes(dim, classes) + 4 * gram::triangle(dim)
    }

    /// Writes all that was learnt and returns how many bytes that took. Where they are kept, two
    /// places in turn make a cut in between harmless: the checksum tells which one is whole.
    pub fn save(&self, out: &mut [u8]) -> Result<usize, SnapshotError> {
        let needed = self.saved_bytes();
        let out = out
            .get_mut(..needed)
            .ok_or(SnapshotError::BufferTooSmall { needed })?;
        let mut at = 0;
        self.saved(|bytes| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        });
        Ok(needed)
    }

    /// Bytes that a snapshot takes now.
    pub(crate) fn saved_bytes(&self) -> usize {
        Self::snapshot_bytes(self.dim, self.classes) + 4 * self.gram.len()
    }

    /// Hands a snapshot over piece by piece.
    pub(crate) fn saved(&self, mut put: impl FnMut(&[u8])) {
        let mut crc = CRC.digest();
        let mut put_counted = |bytes: &[u8]| {
            crc.update(bytes);
            put(bytes);
        };
        put_counted(&MAGIC);
        put_counted(&VERSION.to_le_bytes());
        put_counted(&[self.tier(), 0]);
        put_counted(&(self.dim as u16).to_le_bytes());
        put_counted(&(self.classes as u16).to_le_bytes());
        put_counted(&self.learnt.to_le_bytes());
        put_counted(&self.artefact);
        for class in self.iter() {
            let mut label = [0; LABEL];
            label[..class.label.len()].copy_from_slice(class.label.as_bytes());
            put_counted(&label);
            put_counted(&class.count.to_le_bytes());
            put_counted(bytemuck::cast_slice(class.sums));
        }
        put_counted(bytemuck::cast_slice(self.gram));
        put(&crc.finalize().to_le_bytes());
    }

    /// No examples, in memory that is wiped.
    pub(crate) fn clear(&mut self) {
        self.gram.fill(0);
        self.words.fill(0);
        self.labels.iter_mut().for_each(|label| label.clear());
        (self.classes, self.learnt) = (0, 0);
    }

    /// Takes over a snapshot that comes piece by piece: `next` fills what it is given. Where it is
    /// refused the statistics are empty.
    pub(crate) fn restore_pieces<E: From<SnapshotError>>(
        &mut self,
        next: impl FnMut(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.clear();
        let loaded = self.load(next);
        if loaded.is_err() {
            self.clear();
        }
        loaded
    }

    fn load<E: From<SnapshotError>>(
        &mut self,
        mut next: impl FnMut(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut crc = CRC.digest();
        let mut next_counted = |out: &mut [u8]| -> Result<(), E> {
            next(out)?;
            crc.update(out);
            Ok(())
        };
        let mut head = [0; HEAD];
        next_counted(&mut head)?;
        let head = self.check_head(&head)?;
        if head.classes > self.capacity() {
            let needed = head.classes;
            return Err(SnapshotError::TooManyClasses { needed }.into());
        }
        let stride = self.dim + 1;
        let (mut last, mut examples) = (Label::new(), 0);
        let rows = self.words.chunks_exact_mut(stride).zip(&mut *self.labels);
        for (row, place) in rows.take(head.classes) {
            let mut padded = [0; LABEL];
            next_counted(&mut padded)?;
            next_counted(bytemuck::cast_slice_mut(row))?;
            let fits = can_be_learnt(row[0], row[1..].iter().copied());
            match label(&padded).filter(|own| fits && *own > last) {
                Some(own) => *place = own,
                None => return Err(SnapshotError::Impossible.into()),
            }
            examples += i64::from(row[0]);
            last = place.clone();
        }
        next_counted(bytemuck::cast_slice_mut(self.gram))?;
        let expected = crc.finalize();
        let mut stored = [0; 4];
        next(&mut stored)?;
        if u32::from_le_bytes(stored) != expected {
            return Err(SnapshotError::Checksum.into());
        }
        if !can_be_moments(examples, self.gram.iter().copied()) {
            return Err(SnapshotError::Impossible.into());
        }
        (self.classes, self.learnt) = (head.classes, head.learnt);
        Ok(())
    }

    /// Replaces what was learnt by a snapshot; bytes behind its end do not matter. Everything is
    /// checked before anything changes.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        let Checked {
            classes,
            learnt,
            rows,
            moments,
        } = self.check(bytes)?;
        self.clear();
        for (moment, value) in self.gram.iter_mut().zip(numbers(moments)) {
            *moment = value;
        }
        let stride = self.dim + 1;
        for (i, row) in rows.chunks_exact(LABEL + 4 * stride).enumerate() {
            if let (Some(label), Some(place)) = (label(row), self.labels.get_mut(i)) {
                *place = label;
            }
            for (word, value) in self.words[i * stride..]
                .iter_mut()
                .zip(numbers(&row[LABEL..]))
            {
                *word = value;
            }
        }
        self.classes = classes;
        self.learnt = learnt;
        Ok(())
    }

    fn tier(&self) -> u8 {
        if self.gram.is_empty() {
            TIER_MEANS
        } else {
            TIER_GRAM
        }
    }

    fn check_head(&self, head: &[u8; HEAD]) -> Result<SnapshotHead, SnapshotError> {
        let short = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        if head[..8] != MAGIC {
            return Err(SnapshotError::NotStatistics);
        }
        if short(8) != VERSION {
            return Err(SnapshotError::Version { found: short(8) });
        }
        if head[20..] != self.artefact || usize::from(short(12)) != self.dim {
            return Err(SnapshotError::OtherArtefact);
        }
        if !matches!(head[10..12], [TIER_MEANS | TIER_GRAM, 0]) {
            return Err(SnapshotError::Impossible);
        }
        if head[10] != self.tier() {
            return Err(SnapshotError::OtherTier);
        }
        Ok(SnapshotHead {
            classes: short(14).into(),
            learnt: u32::from_le_bytes([head[16], head[17], head[18], head[19]]),
        })
    }

    fn check<'b>(&self, bytes: &'b [u8]) -> Result<Checked<'b>, SnapshotError> {
        let (head, rest) = bytes
            .split_first_chunk::<HEAD>()
            .ok_or(SnapshotError::NotStatistics)?;
        let short = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        if head[..8] != MAGIC {
            return Err(SnapshotError::NotStatistics);
        }
        if short(8) != VERSION {
            return Err(SnapshotError::Version { found: short(8) });
        }
        let (dim, classes) = (usize::from(short(12)), usize::from(short(14)));
        let moments = match head[10] {
            TIER_GRAM => 4 * gram::triangle(dim),
            _ => 0,
        };
        let length = classes * (LABEL + 4 + 4 * dim);
        let (rows, rest) = rest
            .split_at_checked(length)
            .ok_or(SnapshotError::NotStatistics)?;
        let (moments, end) = rest
            .split_at_checked(moments)
            .ok_or(SnapshotError::NotStatistics)?;
        let stored = end.first_chunk().ok_or(SnapshotError::NotStatistics)?;
        if CRC.checksum(&bytes[..bytes.len() - end.len()]) != u32::from_le_bytes(*stored) {
            return Err(SnapshotError::Checksum);
        }
        let SnapshotHead { classes, learnt } = self.check_head(head)?;
        if classes > self.capacity() {
            return Err(SnapshotError::TooManyClasses { needed: classes });
        }
        self.check_numbers(rows, moments)?;
        Ok(Checked {
            classes,
            learnt,
            rows,
            moments,
        })
    }

    /// Names in order, and sums and moments that this many examples can have.
    fn check_numbers(&self, rows: &[u8], moments: &[u8]) -> Result<(), SnapshotError> {
        let (mut last, mut examples) = (Label::new(), 0i64);
        for row in rows.chunks_exact(LABEL + 4 + 4 * self.dim) {
            let label = label(row)
                .filter(|l| *l > last)
                .ok_or(SnapshotError::Impossible)?;
            let count = numbers(&row[LABEL..]).next().unwrap_or(0);
            if !can_be_learnt(count, numbers(&row[LABEL..]).skip(1)) {
                return Err(SnapshotError::Impossible);
            }
            examples += i64::from(count);
            last = label;
        }
        match can_be_moments(examples, numbers(moments)) {
            true => Ok(()),
            false => Err(SnapshotError::Impossible),
        }
    }
}

/// Whether so many examples can have these sums.
fn can_be_learnt(count: i32, mut sums: impl Iterator<Item = i32>) -> bool {
    (1..=MAX_COUNT).contains(&count) && sums.all(|sum| sum.unsigned_abs() <= LARGEST * count as u32)
}

/// Whether so many examples can have these second moments; there are none in the means tier.
fn can_be_moments(examples: i64, moments: impl Iterator<Item = i32>) -> bool {
    let largest = examples * i64::from(LARGEST).pow(2);
    let mut moments = moments.peekable();
    moments.peek().is_none()
        || examples <= i64::from(MAX_GRAM_COUNT) && moments.all(|m| i64::from(m).abs() <= largest)
}

/// The row's name; padded with zeros.
fn label(row: &[u8]) -> Option<Label> {
    let padded = row.get(..LABEL)?;
    let length = padded.iter().position(|&b| b == 0).unwrap_or(LABEL);
    let (name, padding) = padded.split_at(length);
    let name = core::str::from_utf8(name)
        .ok()
        .filter(|_| padding.iter().all(|&b| b == 0))?;
    Label::try_from(name).ok()
}

/// Little-endian words.
fn numbers(bytes: &[u8]) -> impl Iterator<Item = i32> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|&word| i32::from_le_bytes(word))
}
