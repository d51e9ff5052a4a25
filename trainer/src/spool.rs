//! Values in memory while there are few, else in a file.
//!
//! An epoch takes items in a random order, so data that does not fit into memory is not read in the
//! order of its files: what was read once, shard by shard, is put down as the numbers that training
//! needs, and an item is read from there when its turn comes. The operating system keeps what it can
//! of such a file in memory.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Mutex;

use bytemuck::Pod;

/// How much memory data may take, and where the rest goes.
#[derive(Debug, Clone)]
pub struct Room {
    /// Bytes in memory.
    pub bytes: usize,
    /// Where the file lies: it has no name there, and is gone when the run ends, however it ends.
    pub folder: PathBuf,
}

impl Room {
    /// All in memory.
    pub fn unlimited() -> Room {
        Room {
            bytes: usize::MAX,
            folder: PathBuf::new(),
        }
    }
}

/// There is no room in memory, and none on the disk.
#[derive(Debug, thiserror::Error)]
#[error(
    "the data does not fit into --memory, and could not be written to a file beside the output: {0}"
)]
pub struct NoRoom(#[from] io::Error);

/// Values that are read at a time where all are read.
const PIECE: usize = 1 << 18;

/// Values, one after the other.
#[derive(Debug)]
pub struct Spool<T> {
    room: Room,
    len: usize,
    held: Held<T>,
}

#[derive(Debug)]
enum Held<T> {
    Memory(Vec<T>),
    File(Mutex<File>),
}

impl<T: Pod> Spool<T> {
    /// Without values.
    pub fn new(room: Room) -> Self {
        Spool {
            room,
            len: 0,
            held: Held::Memory(Vec::new()),
        }
    }

    /// Adds values at the end.
    ///
    /// # Errors
    /// There is no room in memory, and none on the disk.
    pub fn push(&mut self, values: Vec<T>) -> Result<(), NoRoom> {
        self.len += values.len();
        if let Held::Memory(held) = &mut self.held {
            if self.len.saturating_mul(size_of::<T>()) <= self.room.bytes {
                match held.is_empty() {
                    true => *held = values,
                    false => held.extend(values),
                }
                return Ok(());
            }
            let mut file = tempfile::tempfile_in(&self.room.folder)?;
            file.write_all(bytemuck::cast_slice(held))?;
            self.held = Held::File(Mutex::new(file));
        }
        if let Held::File(file) = &mut self.held {
            let file = file.get_mut().unwrap_or_else(|e| e.into_inner());
            file.seek(SeekFrom::End(0))?;
            file.write_all(bytemuck::cast_slice(&values))?;
        }
        Ok(())
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The values at these places.
    ///
    /// # Panics
    /// There are fewer, or the disk does not give back what was written to it.
    pub fn get(&self, range: Range<usize>) -> Cow<'_, [T]> {
        let file = match &self.held {
            Held::Memory(held) => return Cow::Borrowed(&held[range]),
            Held::File(file) => file,
        };
        assert!(range.end <= self.len, "{range:?} of {}", self.len);
        let mut values = vec![T::zeroed(); range.len()];
        let mut file = file.lock().unwrap_or_else(|e| e.into_inner());
        let place = SeekFrom::Start((range.start * size_of::<T>()) as u64);
        let read = file
            .seek(place)
            .and_then(|_| file.read_exact(bytemuck::cast_slice_mut(&mut values)));
        if let Err(why) = read {
            panic!("data that was put down on the disk can't be read again: {why}");
        }
        Cow::Owned(values)
    }

    /// All values in order.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        let starts = (0..self.len).step_by(PIECE);
        starts.flat_map(|start| self.get(start..self.len.min(start + PIECE)).into_owned())
    }
}

impl<T> From<Vec<T>> for Spool<T> {
    fn from(values: Vec<T>) -> Self {
        Spool {
            room: Room::unlimited(),
            len: values.len(),
            held: Held::Memory(values),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_what_memory_would() {
        let folder = tempfile::tempdir().expect("a folder");
        let room = |bytes| Room {
            bytes,
            folder: folder.path().into(),
        };
        for bytes in [0, 4, 40, 1000] {
            let mut spool = Spool::<f32>::new(room(bytes));
            let mut all: Vec<f32> = Vec::new();
            for n in 0..20u8 {
                let values: Vec<f32> = (0..n % 5).map(|v| f32::from(v) / f32::from(n)).collect();
                all.extend(&values);
                spool.push(values).expect("room");
                assert_eq!(spool.len(), all.len());
                let middle = all.len() / 3..all.len() / 2;
                assert_eq!(*spool.get(middle.clone()), all[middle]);
            }
            assert_eq!(matches!(spool.held, Held::File(_)), all.len() * 4 > bytes);
            let more = vec![0.5; PIECE];
            all.extend(&more);
            spool.push(more).expect("room");
            assert_eq!(spool.iter().collect::<Vec<f32>>(), all);
        }
        let left = std::fs::read_dir(folder.path()).expect("it is there");
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let room = Room {
            bytes: 7,
            folder: "no/such/folder".into(),
        };
        let mut spool = Spool::<f32>::new(room);
        spool.push(vec![1.0]).expect("in memory");
        let full = spool.push(vec![2.0]).expect_err("no folder").to_string();
        assert!(full.contains("--memory"), "{full}");
    }
}
