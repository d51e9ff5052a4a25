//! A folder of files as one data set: shards of the same channels and rate.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Dataset, DatasetError, Fault, has_extension};
use crate::on_error::{OnError, Skipped};
use crate::spool::NoRoom;

/// Rates that are read off the times of the samples differ a little.
const SAME_RATE: f32 = 0.02;

/// Reads all files of a folder itself, in the order of their names. `take` gets the samples of each.
pub(super) fn load(
    path: &Path,
    on_error: OnError,
    mut take: impl FnMut(Vec<f32>) -> Result<(), NoRoom>,
) -> Result<(Dataset, Skipped), DatasetError> {
    let files = files(path).map_err(|e| Fault::Io(e).of(path))?;
    let mut joined: Option<(Dataset, &Path)> = None;
    let (mut rows, mut left_out, mut first) = (Skipped::default(), 0, None);
    let mut hash = Sha256::new();
    for file in &files {
        let read = Dataset::file(file, on_error).and_then(|(data, skipped)| {
            if let Some((others, of)) = &joined {
                fits(&data, others, of).map_err(|fault| fault.of(file))?;
            }
            Ok((data, skipped))
        });
        match read {
            Ok((mut data, skipped)) => {
                let taken = take(std::mem::take(&mut data.x));
                taken.map_err(|full| Fault::from(full).of(file))?;
                rows = rows.and(skipped.named(file));
                hash.update(data.sha256);
                joined = Some(match joined {
                    Some((others, of)) => (join(others, data), of),
                    None => (data, file),
                });
            }
            Err(fault) if on_error == OnError::Stop => return Err(fault),
            Err(fault) => {
                left_out += 1;
                first.get_or_insert_with(|| fault.to_string());
            }
        }
    }
    let skipped = Skipped::new("files", left_out, files.len(), first).and(rows);
    match joined {
        Some((mut data, _)) => {
            data.sha256 = hash.finalize().into();
            Ok((data, skipped))
        }
        None if files.is_empty() => Err(Fault::Folder.of(path)),
        None => Err(Fault::NothingLeft(skipped).of(path)),
    }
}

fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let paths = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut paths: Vec<PathBuf> = paths.collect::<std::io::Result<_>>()?;
    // What begins with a dot is not for us: macOS puts ._data.npz beside data.npz.
    let hidden = |p: &Path| {
        let name = p.file_name().unwrap_or_default();
        name.as_encoded_bytes().starts_with(b".")
    };
    let known = |p: &Path| has_extension(p, "npz") || has_extension(p, "csv");
    paths.retain(|p| known(p) && !hidden(p) && !p.is_dir());
    paths.sort();
    Ok(paths)
}

/// That a file can stand beside those before it, of which `of` is the first.
fn fits(data: &Dataset, others: &Dataset, of: &Path) -> Result<(), Fault> {
    let rate = |data: &Dataset| match data.rate_hz {
        Some(hz) => format!("a rate of {hz} Hz"),
        None => "no rate".to_owned(),
    };
    let same_rate = match (data.rate_hz, others.rate_hz) {
        (Some(a), Some(b)) => (a / b - 1.0).abs() < SAME_RATE,
        (a, b) => a == b,
    };
    let (found, wanted) = if data.channels != others.channels {
        let channels = |data: &Dataset| format!("{} channels", data.channels);
        (channels(data), channels(others))
    } else if !same_rate {
        (rate(data), rate(others))
    } else {
        return Ok(());
    };
    Err(Fault::Differs {
        found,
        first: of.display().to_string(),
        wanted,
    })
}

/// Recordings after recordings, their rows counted on; classes of one name are one class.
fn join(mut data: Dataset, other: Dataset) -> Dataset {
    let first = data.recordings.last().map_or(0, |last| last.rows.end);
    let mut class_of = |name: String| match data.labels.iter().position(|own| *own == name) {
        Some(class) => class,
        None => {
            data.labels.push(name);
            data.labels.len() - 1
        }
    };
    let classes: Vec<usize> = other.labels.into_iter().map(&mut class_of).collect();
    let moved = other.recordings.into_iter().map(|mut recording| {
        recording.rows = first + recording.rows.start..first + recording.rows.end;
        recording.class = recording
            .class
            .and_then(|class| classes.get(class).copied());
        recording
    });
    data.recordings.extend(moved);
    // Counts of two kinds are no counts any more.
    if data.scale != other.scale {
        data.scale = None;
    }
    data
}
