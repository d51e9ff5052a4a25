//! What can be wrong with a data file.

use std::path::{Path, PathBuf};

use crate::on_error::Skipped;
use crate::spool::NoRoom;

/// A data file that can't be used, and why.
#[derive(Debug, thiserror::Error)]
#[error("{}: {fault}", path.display())]
pub struct DatasetError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a data file. `array` is the name of an array in an `.npz` file.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The operating system's word.
    #[error("could not be read: {0}")]
    Io(#[from] std::io::Error),
    /// Its samples found no place.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// A folder without a file of recordings.
    #[error(
        "is a folder without recordings; put .npz or .csv files into it, or give one such file"
    )]
    Folder,
    /// A file of a folder that does not fit the others.
    #[error(
        "has {found}, but {first} beside it has {wanted}; keep such files in folders of their own"
    )]
    Differs {
        /// What this file has.
        found: String,
        /// The file that came first.
        first: String,
        /// What that one has.
        wanted: String,
    },
    /// The header line of a `.csv` file can't be used.
    #[error("header line, column {column}: {reason}")]
    Header {
        /// From 1.
        column: usize,
        /// What is wrong, and what to do about it.
        reason: String,
    },
    /// A line of a `.csv` file that is longer or shorter than the header line.
    #[error(
        "line {line} ends at column {found}, but the header line has {wanted} columns; is it cut short, or is there a comma inside a number?"
    )]
    Columns {
        /// From 1.
        line: u64,
        /// Values in it.
        found: usize,
        /// Columns that the header line names.
        wanted: usize,
    },
    /// A value of a `.csv` file that its column can't hold.
    #[error("line {line}, column {column}: {found:?} should be {wanted}")]
    Cell {
        /// From 1.
        line: u64,
        /// The column's name.
        column: String,
        /// What is there.
        found: String,
        /// What may be there.
        wanted: &'static str,
    },
    /// A `.csv` file with a header line alone.
    #[error("has no line below the header line")]
    NoLines,
    /// The times of a `.csv` file tell no rate.
    #[error(
        "column {column}: the time does not go up from line to line; it is the moment of each sample, in seconds (in milliseconds where the column is called {column}_ms): leave it out if it is something else"
    )]
    Time {
        /// The column's name.
        column: String,
    },
    /// Nothing is left of what was to be read.
    #[error("has no sample that can be used: {0}")]
    NothingLeft(Skipped),
    /// Not a zip archive.
    #[error("is not an .npz file: {0}; write one with numpy.savez(file, x=..., y=...)")]
    NotZip(String),
    /// A needed array is missing.
    #[error(
        "has no array {array}, only [{found}]; save it under that name: numpy.savez(file, {array}=...)"
    )]
    Missing {
        /// The array that is needed.
        array: &'static str,
        /// The arrays that are there.
        found: String,
    },
    /// An array's bytes are damaged.
    #[error(
        "array {array} can't be read: {reason}; the file is damaged or was not written by numpy.savez"
    )]
    Damaged {
        /// The array.
        array: &'static str,
        /// What the reader met.
        reason: String,
    },
    /// An array's element type is not a kind that can be read.
    #[error("array {array} has elements of type {found}; convert it to {wanted} with .astype()")]
    Type {
        /// The array.
        array: &'static str,
        /// numpy's name for the type it has.
        found: String,
        /// The types that can be read.
        wanted: &'static str,
    },
    /// An array has the wrong number of dimensions, or one of them is wrong.
    #[error("array {array} has shape {found:?}, but should be {wanted}")]
    Shape {
        /// The array.
        array: &'static str,
        /// The shape it has.
        found: Vec<u64>,
        /// The shape it should have.
        wanted: String,
    },
    /// An array is in Fortran order.
    #[error("array {array} is in Fortran order; save numpy.ascontiguousarray({array})")]
    FortranOrder {
        /// The array.
        array: &'static str,
    },
    /// There are no samples at all.
    #[error("array x is empty: its shape is {0:?}")]
    Empty(Vec<u64>),
    /// A sample is NaN or infinite.
    #[error(
        "array x is {value} in row {row}, channel {channel}; remove or repair such samples first"
    )]
    NotFinite {
        /// The row, counted over all recordings from 0.
        row: usize,
        /// The channel, from 0.
        channel: usize,
        /// NaN, inf or -inf (also where a number is too large for an f32).
        value: f32,
    },
    /// A number is not one of those that the array may hold.
    #[error("array {array} is {value} at index {index}, but should be {wanted}")]
    Value {
        /// The array.
        array: &'static str,
        /// Where, from 0.
        index: usize,
        /// What is there.
        value: f64,
        /// What may be there.
        wanted: &'static str,
    },
    /// A scale for values that are no counts.
    #[error(
        "x has floating-point values, which are taken as physical units already; leave scale out or save x as integer counts"
    )]
    ScaleOfFloats,
    /// A class name that can't be read.
    #[error(
        "array labels has no readable name for class {class}; names are UTF-8, not empty and padded with zero bytes"
    )]
    Label {
        /// The class index.
        class: usize,
    },
}

impl Fault {
    pub(super) fn of(self, path: &Path) -> DatasetError {
        DatasetError {
            path: path.to_path_buf(),
            fault: self,
        }
    }
}
