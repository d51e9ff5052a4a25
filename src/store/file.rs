//! A file as flash, for Linux.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use embedded_storage::nor_flash::{
    ErrorType, MultiwriteNorFlash, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
    check_erase, check_read, check_write,
};

/// A file of a fixed size, blank at first. Every change is on the disk when it returns
/// (`fdatasync`), and one process at a time has it: a second is refused.
pub struct FileFlash {
    file: File,
    size: u32,
}

/// Why a file can't serve as flash.
#[derive(Debug)]
pub enum FileFlashError {
    /// Reading or writing failed.
    Io(io::Error),
    /// Beyond the end, or not aligned.
    Place(NorFlashErrorKind),
}

impl NorFlashError for FileFlashError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            FileFlashError::Io(_) => NorFlashErrorKind::Other,
            FileFlashError::Place(kind) => *kind,
        }
    }
}

impl core::fmt::Display for FileFlashError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            FileFlashError::Io(error) => error.fmt(f),
            FileFlashError::Place(kind) => kind.fmt(f),
        }
    }
}

impl core::error::Error for FileFlashError {}

impl From<io::Error> for FileFlashError {
    fn from(error: io::Error) -> Self {
        FileFlashError::Io(error)
    }
}

impl From<NorFlashErrorKind> for FileFlashError {
    fn from(kind: NorFlashErrorKind) -> Self {
        FileFlashError::Place(kind)
    }
}

impl FileFlash {
    /// Opens the file, or makes a blank one of `size` bytes, whole pages of 4,096. A file that is
    /// shorter, as after a cut while it was made, is filled up.
    ///
    /// # Errors
    /// The file can't be opened, or another process has it.
    pub fn open(path: &Path, size: u32) -> Result<Self, FileFlashError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path)?;
        file.try_lock().map_err(|_| {
            let text = "another process has this log open";
            io::Error::new(io::ErrorKind::WouldBlock, text)
        })?;
        let present = file.metadata()?.len();
        if present < u64::from(size) {
            file.seek(SeekFrom::End(0))?;
            file.write_all(&std::vec![0xff; (u64::from(size) - present) as usize])?;
            file.sync_all()?;
        }
        Ok(FileFlash { file, size })
    }
}

impl ErrorType for FileFlash {
    type Error = FileFlashError;
}

impl ReadNorFlash for FileFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FileFlashError> {
        check_read(self, offset, bytes.len())?;
        self.file.seek(SeekFrom::Start(offset.into()))?;
        Ok(self.file.read_exact(bytes)?)
    }

    fn capacity(&self) -> usize {
        self.size as usize
    }
}

impl NorFlash for FileFlash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FileFlashError> {
        check_erase(self, from, to)?;
        self.file.seek(SeekFrom::Start(from.into()))?;
        self.file
            .write_all(&std::vec![0xff; (to - from) as usize])?;
        Ok(self.file.sync_data()?)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FileFlashError> {
        check_write(self, offset, bytes.len())?;
        self.file.seek(SeekFrom::Start(offset.into()))?;
        self.file.write_all(bytes)?;
        Ok(self.file.sync_data()?)
    }
}

impl MultiwriteNorFlash for FileFlash {}
