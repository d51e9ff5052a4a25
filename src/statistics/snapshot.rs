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
        let needed = Self::snapshot_bytes(self.dim, self.classes) + 4 * self.gram.len();
        let out = out
            .get_mut(..needed)
            .ok_or(SnapshotError::BufferTooSmall { needed })?;
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&MAGIC);
        put(&VERSION.to_le_bytes());
        put(&[self.tier(), 0]);
        put(&(self.dim as u16).to_le_bytes());
        put(&(self.classes as u16).to_le_bytes());
        put(&self.learnt.to_le_bytes());
        put(&self.artefact);
        for class in self.iter() {
            let mut label = [0; LABEL];
            label[..class.label.len()].copy_from_slice(class.label.as_bytes());
            put(&label);
            put(&class.count.to_le_bytes());
            class.sums.iter().for_each(|sum| put(&sum.to_le_bytes()));
        }
        self.gram
            .iter()
            .for_each(|moment| put(&moment.to_le_bytes()));
        let crc = CRC.checksum(&out[..needed - 4]);
        out[needed - 4..].copy_from_slice(&crc.to_le_bytes());
        Ok(needed)
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
        for (moment, value) in self.gram.iter_mut().zip(numbers(moments)) {
            *moment = value;
        }
        self.words.fill(0);
        self.labels.iter_mut().for_each(|label| label.clear());
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

    fn check<'b>(&self, bytes: &'b [u8]) -> Result<Checked<'b>, SnapshotError> {
        let (head, rest) = bytes
            .split_at_checked(HEAD)
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
        if head[20..] != self.artefact || dim != self.dim {
            return Err(SnapshotError::OtherArtefact);
        }
        if !matches!(head[10..12], [TIER_MEANS | TIER_GRAM, 0]) {
            return Err(SnapshotError::Impossible);
        }
        if head[10] != self.tier() {
            return Err(SnapshotError::OtherTier);
        }
        if classes > self.capacity() {
            return Err(SnapshotError::TooManyClasses { needed: classes });
        }
        self.check_numbers(rows, moments)?;
        let learnt = u32::from_le_bytes([head[16], head[17], head[18], head[19]]);
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
            let possible = |sum: i32| sum.unsigned_abs() <= LARGEST * count as u32;
            let fits =
                (1..=MAX_COUNT).contains(&count) && numbers(&row[LABEL..]).skip(1).all(possible);
            if !fits {
                return Err(SnapshotError::Impossible);
            }
            examples += i64::from(count);
            last = label;
        }
        let largest = examples * i64::from(LARGEST).pow(2);
        let possible = |moment: i32| i64::from(moment).abs() <= largest;
        if moments.is_empty()
            || examples <= i64::from(MAX_GRAM_COUNT) && numbers(moments).all(possible)
        {
            Ok(())
        } else {
            Err(SnapshotError::Impossible)
        }
    }
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
