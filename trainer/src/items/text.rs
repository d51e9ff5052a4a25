//! Lines of text from files.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};

use crate::dataset::has_extension;
use crate::on_error::{OnError, Skipped};

/// The longest line in bytes: a file without line ends is no text, or would fill the memory.
const LONGEST: u64 = 1 << 20;

/// Lines of text, none of them blank, without their ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines {
    /// File after file, in the order of the files' names.
    pub lines: Vec<String>,
    /// The files that were read.
    pub files: Vec<PathBuf>,
    /// Of each line, an index into `files`.
    pub file_of: Vec<u32>,
}

impl Lines {
    /// Reads the first `limit` lines of a UTF-8 file, or of all .txt files of a folder itself.
    ///
    /// # Errors
    /// A file that can't be read; a line that is no UTF-8 or longer than 1 MiB, where `on_error`
    /// does not leave it out; no line at all.
    pub fn read(data: &Path, limit: usize, on_error: OnError) -> anyhow::Result<(Lines, Skipped)> {
        let mut text = Lines {
            lines: Vec::new(),
            files: files(data)?,
            file_of: Vec::new(),
        };
        let (mut skipped, mut first) = (0, None);
        for (index, path) in text.files.iter().enumerate() {
            let file = File::open(path).with_context(|| path.display().to_string())?;
            let mut file = BufReader::new(file);
            let mut number = 0;
            while text.lines.len() < limit {
                number += 1;
                match line(&mut file, number == 1) {
                    Ok(Some(line)) if line.trim().is_empty() => {}
                    Ok(Some(line)) => {
                        text.lines.push(line);
                        text.file_of.push(index as u32);
                    }
                    Ok(None) => break,
                    Err(LineError::Io(error)) => {
                        return Err(error).with_context(|| path.display().to_string());
                    }
                    Err(fault) => {
                        let fault = anyhow!("{}: line {number} {fault}", path.display());
                        if on_error == OnError::Stop {
                            return Err(fault);
                        }
                        skipped += 1;
                        first.get_or_insert(fault.to_string());
                    }
                }
            }
        }
        let skipped = Skipped::new("lines", skipped, skipped + text.lines.len(), first);
        if text.lines.is_empty() {
            bail!("{} has no line of text: {skipped}", data.display());
        }
        Ok((text, skipped))
    }
}

/// The file, or the .txt files of the folder.
fn files(data: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !data.is_dir() {
        return Ok(vec![data.to_path_buf()]);
    }
    let read = || -> std::io::Result<Vec<PathBuf>> {
        std::fs::read_dir(data)?.map(|e| Ok(e?.path())).collect()
    };
    let mut paths = read().with_context(|| format!("could not read {}", data.display()))?;
    paths.retain(|p| has_extension(p, "txt") && !p.is_dir());
    paths.sort();
    match paths.is_empty() {
        true => Err(anyhow!("{} has no .txt file", data.display())),
        false => Ok(paths),
    }
}

/// Why a line can't be used.
#[derive(Debug, thiserror::Error)]
enum LineError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("is not UTF-8: iconv -t utf-8 converts a file")]
    NotUtf8,
    #[error("is longer than {LONGEST} bytes: is this a file of text?")]
    TooLong,
}

/// The next line without its end, `None` at the end of the file. The first may begin with a mark of
/// the byte order.
fn line(file: &mut impl BufRead, is_first: bool) -> Result<Option<String>, LineError> {
    let mut bytes = Vec::new();
    if file
        .by_ref()
        .take(LONGEST + 1)
        .read_until(b'\n', &mut bytes)?
        == 0
    {
        return Ok(None);
    }
    if bytes.len() as u64 > LONGEST && bytes.last() != Some(&b'\n') {
        // What is left of it belongs to no line.
        while bytes.last().is_some_and(|b| *b != b'\n') {
            bytes.clear();
            file.by_ref().take(LONGEST).read_until(b'\n', &mut bytes)?;
        }
        return Err(LineError::TooLong);
    }
    let text = String::from_utf8(bytes).map_err(|_| LineError::NotUtf8)?;
    let text = text.trim_end_matches(['\n', '\r']);
    let text = match is_first {
        true => text.trim_start_matches('\u{feff}'),
        false => text,
    };
    Ok(Some(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("folder");
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).expect("file");
        }
        folder
    }

    #[test]
    fn lines_come_file_after_file() {
        let folder = folder(&[
            ("b.txt", b"three\n\n \t\n  four"),
            ("a.TXT", b"\xef\xbb\xbfone\r\ntwo \r\n"),
            ("notes.md", b"no"),
        ]);
        let read = |limit| {
            Lines::read(folder.path(), limit, OnError::Stop)
                .expect("lines")
                .0
        };
        assert_eq!(read(usize::MAX).lines, ["one", "two ", "three", "  four"]);
        assert_eq!(read(3).lines, ["one", "two ", "three"]);
        let (one, skipped) =
            Lines::read(&folder.path().join("notes.md"), 9, OnError::Stop).expect("a file");
        assert_eq!((one.lines.len(), skipped.count()), (1, 0));
    }

    #[test]
    fn what_is_no_text_is_named_or_left_out() {
        let long = [&vec![b'x'; 3 * LONGEST as usize][..], b"\nlast\n"].concat();
        let folder = folder(&[("a.txt", b"good\nb\xffd\ngood"), ("b.txt", &long)]);
        let fault = |path: &Path, on_error| {
            Lines::read(path, usize::MAX, on_error)
                .expect_err("refused")
                .to_string()
        };
        let stop = fault(folder.path(), OnError::Stop);
        assert!(stop.contains("a.txt: line 2 is not UTF-8"), "{stop}");
        let (text, skipped) = Lines::read(folder.path(), usize::MAX, OnError::Skip).expect("three");
        assert_eq!(text.lines, ["good", "good", "last"]);
        assert!(
            skipped
                .to_string()
                .starts_with("skipped 2 of 5 lines; the first: "),
            "{skipped}"
        );
        let stop = fault(&folder.path().join("b.txt"), OnError::Stop);
        assert!(stop.contains("line 1 is longer"), "{stop}");
        for (name, bytes, expected) in [
            ("c", &b" \n"[..], "no line of text"),
            ("d", b"\xff", "skipped 1 of 1 lines"),
        ] {
            std::fs::write(folder.path().join(name), bytes).expect("file");
            let text = fault(&folder.path().join(name), OnError::Skip);
            assert!(text.contains(expected), "{text}");
        }
        let empty = tempfile::tempdir().expect("folder");
        assert!(fault(empty.path(), OnError::Skip).contains("no .txt file"));
        assert!(fault(&empty.path().join("none.txt"), OnError::Skip).contains("none.txt"));
    }
}
