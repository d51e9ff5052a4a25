//! Recordings of a sensor, read from a file into physical units and cut into windows.
//!
//! The file formats are in the submodules; whatever they read is checked once here, so that the
//! rest of the trainer meets finite values, known class names and ranges that lie inside the data.

mod array;
mod csv;
mod error;
mod folder;
mod npz;
#[cfg(test)]
mod tests;

use std::io::Read;
use std::ops::Range;
use std::path::Path;

use sha2::{Digest, Sha256};

pub use error::{DatasetError, Fault};
pub use npz::Pictures;

use crate::on_error::{OnError, Skipped};
use crate::spool::NoRoom;

/// Recordings of a sensor, row after row. All values are finite and in physical units.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Values per row, at least 1.
    pub channels: usize,
    /// The samples, [rows, channels], row-major.
    pub x: Vec<f32>,
    /// Physical units per sensor count, per channel, where the file has integer counts (1 where
    /// it names no scale); `None` where it has floating-point values.
    pub scale: Option<Vec<f32>>,
    /// Rows per second within a recording, where the file says so.
    pub rate_hz: Option<f32>,
    /// The stretches of `rows` that belong together, in file order, never empty, side by side.
    pub recordings: Vec<Recording>,
    /// Class names by class index; empty where the file is unlabelled.
    pub labels: Vec<String>,
    /// SHA-256 of the bytes of the file that this was read from, also after [`Dataset::filter`]; of
    /// a folder that of its files' hashes, in the order of their names.
    pub sha256: [u8; 32],
}

/// A stretch of rows that were sampled one after the other, of one class and one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// Rows of the dataset.
    pub rows: Range<usize>,
    /// Index into [`Dataset::labels`]; `None` where unlabelled.
    pub class: Option<usize>,
    /// What splits keep apart: subject, speaker or session. 0 where the file names none.
    pub group: u32,
    /// The recording's number in the file, else its index.
    pub id: u32,
    /// Which wrist: 0 left, 1 right; `None` where the file does not say.
    pub side: Option<u8>,
}

/// Where a window begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// Index into [`Dataset::recordings`].
    pub recording: usize,
    /// The first row, counted from the start of the dataset.
    pub start: usize,
}

impl Dataset {
    /// Reads an `.npz` or `.csv` file, or all such files of a folder as one
    /// (models/data/watch/README.md has their layout).
    ///
    /// # Errors
    /// Names the file, the array or line and the place, and what to do about it. Nothing in the
    /// file is trusted: memory is taken as its bytes arrive, not as its headers promise.
    pub fn load(path: &Path) -> Result<Dataset, DatasetError> {
        Ok(Dataset::load_with(path, OnError::Stop)?.0)
    }

    /// The same; where `on_error` says so, without the rows that have NaN or infinity in them or
    /// can't be read, and without the files of a folder that can't. A recording is split where rows
    /// are left out of it, so that no window crosses the hole.
    ///
    /// # Errors
    /// As [`Dataset::load`], and where nothing is left.
    pub fn load_with(path: &Path, on_error: OnError) -> Result<(Dataset, Skipped), DatasetError> {
        let mut x = Vec::new();
        let (mut data, skipped) = Dataset::load_apart(path, on_error, |rows| {
            match x.is_empty() {
                true => x = rows,
                false => x.extend(rows),
            }
            Ok(())
        })?;
        data.x = x;
        Ok((data, skipped))
    }

    /// The same, but the samples go to `take`, file by file; the data set that is returned has none.
    ///
    /// # Errors
    /// As [`Dataset::load_with`], and [`Fault::NoRoom`] where `take` has none.
    pub fn load_apart(
        path: &Path,
        on_error: OnError,
        mut take: impl FnMut(Vec<f32>) -> Result<(), NoRoom>,
    ) -> Result<(Dataset, Skipped), DatasetError> {
        if path.is_dir() {
            return folder::load(path, on_error, take);
        }
        let (mut data, skipped) = Dataset::file(path, on_error)?;
        let taken = take(std::mem::take(&mut data.x));
        taken.map_err(|full| Fault::from(full).of(path))?;
        Ok((data, skipped))
    }

    /// Reads the bytes of an `.npz` file.
    ///
    /// # Errors
    /// As [`Dataset::load_with`].
    pub fn from_npz(bytes: &[u8], on_error: OnError) -> Result<(Dataset, Skipped), Fault> {
        npz::parse(bytes, on_error)
    }

    /// Reads the bytes of a `.csv` file.
    ///
    /// # Errors
    /// As [`Dataset::load_with`].
    pub fn from_csv(bytes: impl Read, on_error: OnError) -> Result<(Dataset, Skipped), Fault> {
        csv::parse(bytes, on_error)
    }

    fn file(path: &Path, on_error: OnError) -> Result<(Dataset, Skipped), DatasetError> {
        let read = || match has_extension(path, "csv") {
            true => Dataset::from_csv(std::fs::File::open(path)?, on_error),
            false => Dataset::from_npz(&std::fs::read(path)?, on_error),
        };
        read().map_err(|fault| fault.of(path))
    }

    /// Rows that are numbers throughout: all of them, or those that `on_error` leaves.
    fn finite(self, on_error: OnError) -> Result<(Dataset, Skipped), Fault> {
        let fault = |row: usize| {
            let values = self.window(row, 1).iter().enumerate();
            let mut faults = values.filter(|(_, value)| !value.is_finite());
            let (channel, &value) = faults.next()?;
            Some(Fault::NotFinite {
                row,
                channel,
                value,
            })
        };
        let total = self.rows();
        let Some(first) = (0..total).find_map(fault) else {
            return Ok((self, Skipped::new("rows", 0, total, None)));
        };
        if on_error == OnError::Stop {
            return Err(first);
        }
        let mut kept = self.filter(|_| false);
        for recording in &self.recordings {
            let mut hole = true;
            for row in recording.rows.clone() {
                if fault(row).is_some() {
                    hole = true;
                    continue;
                }
                let rows = kept.rows()..kept.rows() + 1;
                kept.x.extend_from_slice(self.window(row, 1));
                match kept.recordings.last_mut() {
                    Some(last) if !hole => last.rows.end = rows.end,
                    _ => kept.recordings.push(Recording {
                        rows,
                        ..recording.clone()
                    }),
                }
                hole = false;
            }
        }
        let skipped = total - kept.rows();
        let skipped = Skipped::new("rows", skipped, total, Some(first.to_string()));
        match kept.x.is_empty() {
            true => Err(Fault::NothingLeft(skipped)),
            false => Ok((kept, skipped)),
        }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.x.len() / self.channels
    }

    /// The samples of `length` rows from row `start` on: [length, channels], time-major.
    ///
    /// # Panics
    /// Where the rows are not all inside the data; those of [`Dataset::windows`] are.
    pub fn window(&self, start: usize, length: usize) -> &[f32] {
        &self.x[start * self.channels..(start + length) * self.channels]
    }

    /// Every window of `length` rows, one each `hop` rows, recording by recording; none crosses
    /// from one recording to the next, and a rest shorter than `length` is left out. A hop of 0
    /// counts as 1.
    pub fn windows(&self, length: usize, hop: usize) -> Vec<Window> {
        let windows = |(recording, r): (usize, &Recording)| {
            starts(r.rows.clone(), length, hop).map(move |start| Window { recording, start })
        };
        self.recordings
            .iter()
            .enumerate()
            .flat_map(windows)
            .collect()
    }

    /// The recordings that `keep` chooses, in the same order, with their rows moved together.
    pub fn filter(&self, keep: impl Fn(&Recording) -> bool) -> Dataset {
        let mut kept = Dataset {
            x: Vec::new(),
            recordings: Vec::new(),
            labels: self.labels.clone(),
            scale: self.scale.clone(),
            ..*self
        };
        for recording in self.recordings.iter().filter(|r| keep(r)) {
            let first = kept.rows();
            kept.x
                .extend_from_slice(self.window(recording.rows.start, recording.rows.len()));
            kept.recordings.push(Recording {
                rows: first..kept.rows(),
                ..recording.clone()
            });
        }
        kept
    }
}

/// The first rows of the windows of `length` rows that lie inside `rows`, `hop` rows apart.
pub fn starts(rows: Range<usize>, length: usize, hop: usize) -> impl Iterator<Item = usize> {
    let end = (rows.end + 1).saturating_sub(length.max(1));
    (rows.start..end).step_by(hop.max(1))
}

/// Whether a file's name ends in `.extension`, in whatever case.
pub(crate) fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension()
        .is_some_and(|own| own.eq_ignore_ascii_case(extension))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
