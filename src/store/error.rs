//! Why the log did not do what it was asked.

use embedded_storage::nor_flash::NorFlashErrorKind;

use super::medium::VERSION;
use crate::statistics::SnapshotError;

/// Why the log did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// The flash refused. What was acknowledged before is safe: open the log again.
    Flash(NorFlashErrorKind),
    /// A power cut, or a refusal in the middle of a change: open the log again.
    Reopen,
    /// The range is not in the flash, not whole erase blocks, or more than 128 of them.
    Range,
    /// The range has fewer than three pages, or pages of fewer than four slots.
    TooSmall {
        /// Bytes that it needs.
        needed: u32,
    },
    /// The buffer is shorter than [`SampleLog::buffer_bytes`](super::SampleLog::buffer_bytes).
    BufferTooSmall {
        /// Bytes that it needs.
        needed: usize,
    },
    /// There is something in this flash that is no log. [`SampleLog::format`](super::SampleLog::format) erases it.
    NotALog,
    /// The log was written for another version of the format.
    Version {
        /// The log's version.
        found: u16,
    },
    /// The log was learnt with another encoder file: embeddings do not compare. Go on with that encoder;
    /// or, where the log kept inputs, [`Learner::relearn`](crate::Learner::relearn) them; or erase the log
    /// with [`SampleLog::format`](super::SampleLog::format).
    OtherArtefact,
    /// More classes than there is room for in memory.
    TooManyClasses {
        /// How many there is room for.
        capacity: usize,
    },
    /// A name is empty or longer than 16 bytes.
    BadLabel,
    /// There is no class of that name, or one of the new name already.
    Class,
    /// The embedding has another length.
    Dim,
    /// There is no such sample.
    UnknownSample,
    /// The sample's input was not kept.
    NoInput,
    /// All pages are full of samples that count: forget some.
    Full,
    /// Too many pages can't be erased or written any more. What is there can be read.
    Worn,
    /// The snapshot was refused; the samples are not.
    Snapshot(SnapshotError),
}

impl From<SnapshotError> for StoreError {
    fn from(error: SnapshotError) -> Self {
        StoreError::Snapshot(error)
    }
}

impl core::fmt::Display for StoreError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            StoreError::Flash(kind) => write!(f, "the flash refused ({kind}): open the log again"),
            StoreError::Reopen => {
                f.write_str("the last change did not come to its end: open the log again")
            }
            StoreError::Range => f.write_str("the log's range must be whole erase blocks within the flash, 128 at most"),
            StoreError::TooSmall { needed } => {
                write!(f, "the log needs {needed} bytes of flash, three pages at least")
            }
            StoreError::BufferTooSmall { needed } => {
                write!(f, "the log needs a buffer of {needed} bytes")
            }
            StoreError::NotALog => {
                f.write_str("this flash holds something else: format erases it and begins a log")
            }
            StoreError::Version { found } => {
                write!(f, "log version {found}, this crate reads 1 to {VERSION}")
            }
            StoreError::OtherArtefact => f.write_str(
                "the log was learnt with another encoder file: use that encoder; relearn, where the log kept inputs; or format to begin anew",
            ),
            StoreError::TooManyClasses { capacity } => {
                write!(f, "there is room for {capacity} classes in memory")
            }
            StoreError::BadLabel => f.write_str("a class name has 1 to 16 bytes"),
            StoreError::Class => f.write_str("no class of that name, or the new name is taken"),
            StoreError::Dim => f.write_str("the embedding has another length than the log's"),
            StoreError::UnknownSample => f.write_str("no sample of that number is in the log"),
            StoreError::NoInput => f.write_str("the log did not keep the sample's input"),
            StoreError::Full => f.write_str("the log is full of samples that count: forget some"),
            StoreError::Worn => f.write_str("the flash is worn out: the log can be read only"),
            StoreError::Snapshot(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for StoreError {}
