//! The `.npz` layout: `x`, and beside it `y`, `group`, `recording`, `side`, `scale`, `rate` and
//! `labels`, as models/data/watch/README.md describes it.

use std::collections::BTreeSet;
use std::io::{Cursor, Read, Seek};
use std::path::Path;

use npyz::TypeChar;
use npyz::npz::NpzArchive;

use super::array::{Archive, entry, kind, numbers, open, scalar, values};
use super::{Dataset, DatasetError, Fault, Recording, sha256};
use crate::on_error::{OnError, Skipped};

/// Class indices and recording numbers end here, so that a stray value can't ask for a name each.
pub(super) const LARGEST_CLASS: u32 = 65_535;

/// How the rows of `x` are laid out.
struct Layout {
    channels: usize,
    /// Entries of `y`, `group`, `recording` and `side`: one a row, or one a pre-cut window.
    entries: usize,
    /// Rows that one such entry stands for.
    rows_per_entry: usize,
    /// Each entry is a pre-cut window.
    pre_cut: bool,
    /// What an entry is called.
    entry: &'static str,
}

/// Reads the bytes of an `.npz` file.
pub(super) fn parse(bytes: &[u8], on_error: OnError) -> Result<(Dataset, Skipped), Fault> {
    let mut archive = archive(bytes)?;
    let x = numbers(&mut archive, "x", |v| v as f32)?.ok_or_else(|| missing(&archive, "x"))?;
    let layout = layout(&x.shape)?;
    let scale = scale(&mut archive, layout.channels, x.integer)?;
    let recordings = recordings(&mut archive, &layout)?;
    let classes = recordings.iter().filter_map(|r| r.class).max();
    let labels = labels(&mut archive, classes.map_or(0, |c| c + 1))?;
    let data = Dataset {
        channels: layout.channels,
        x: physical(x.values, layout.channels, scale.as_deref()),
        scale,
        rate_hz: rate(&mut archive)?,
        recordings,
        labels,
        sha256: sha256(bytes),
    };
    data.finite(on_error)
}

fn archive(bytes: &[u8]) -> Result<Archive<'_>, Fault> {
    NpzArchive::new(Cursor::new(bytes)).map_err(|e| Fault::NotZip(e.to_string()))
}

fn missing(archive: &Archive, array: &'static str) -> Fault {
    let found: BTreeSet<&str> = archive.array_names().collect();
    let found = found.into_iter().collect::<Vec<_>>().join(", ");
    Fault::Missing { array, found }
}

fn layout(shape: &[u64]) -> Result<Layout, Fault> {
    if shape.contains(&0) {
        return Err(Fault::Empty(shape.to_vec()));
    }
    // The elements are in memory by now, so each dimension fits.
    match *shape {
        [rows, channels] => Ok(Layout {
            channels: channels as usize,
            entries: rows as usize,
            rows_per_entry: 1,
            pre_cut: false,
            entry: "row",
        }),
        [windows, rows, channels] => Ok(Layout {
            channels: channels as usize,
            entries: windows as usize,
            rows_per_entry: rows as usize,
            pre_cut: true,
            entry: "window",
        }),
        // Pictures and spectrograms, channels last: a window is all of their pixels.
        [windows, height, width, channels] => Ok(Layout {
            channels: channels as usize,
            entries: windows as usize,
            rows_per_entry: (height * width) as usize,
            pre_cut: true,
            entry: "window",
        }),
        _ => Err(Fault::Shape {
            array: "x",
            found: shape.to_vec(),
            wanted:
                "[rows, channels], [windows, rows, channels] or [windows, height, width, channels]"
                    .into(),
        }),
    }
}

/// Counts times scale.
fn physical(mut x: Vec<f32>, channels: usize, scale: Option<&[f32]>) -> Vec<f32> {
    let Some(scale) = scale else {
        return x;
    };
    for values in x.chunks_exact_mut(channels) {
        for (value, scale) in values.iter_mut().zip(scale) {
            *value *= scale;
        }
    }
    x
}

fn scale(archive: &mut Archive, channels: usize, integer: bool) -> Result<Option<Vec<f32>>, Fault> {
    let Some(scale) = numbers(archive, "scale", |v| v as f32)? else {
        return Ok(integer.then(|| vec![1.0; channels]));
    };
    if !integer {
        return Err(Fault::ScaleOfFloats);
    }
    if scale.values.len() != channels {
        return Err(Fault::Shape {
            array: "scale",
            found: scale.shape,
            wanted: format!("[{channels}], one a channel of x"),
        });
    }
    match scale.values.iter().position(|s| !s.is_normal()) {
        Some(index) => Err(Fault::Value {
            array: "scale",
            index,
            value: scale.values[index].into(),
            wanted: "a finite number other than 0",
        }),
        None => Ok(Some(scale.values)),
    }
}

fn rate(archive: &mut Archive) -> Result<Option<f32>, Fault> {
    let Some(rate) = numbers(archive, "rate", |v| v as f32)? else {
        return Ok(None);
    };
    match *rate.values {
        [hz] if hz.is_normal() && hz > 0.0 => Ok(Some(hz)),
        [hz] => Err(Fault::Value {
            array: "rate",
            index: 0,
            value: hz.into(),
            wanted: "the samples a second, above 0",
        }),
        _ => Err(Fault::Shape {
            array: "rate",
            found: rate.shape,
            wanted: "[1]".into(),
        }),
    }
}

/// A new recording begins with every pre-cut window, and in a stream wherever the recording
/// number, class, group or side changes.
fn recordings(archive: &mut Archive, layout: &Layout) -> Result<Vec<Recording>, Fault> {
    let classes = per_entry(archive, "y", layout, -1, LARGEST_CLASS)?;
    let groups = per_entry(archive, "group", layout, 0, u32::MAX)?;
    let ids = per_entry(archive, "recording", layout, 0, u32::MAX)?;
    let sides = per_entry(archive, "side", layout, 0, u8::MAX.into())?;
    let at = |values: &Option<Vec<i64>>, entry: usize| values.as_ref().map(|v| v[entry]);
    let key = |entry| {
        (
            at(&classes, entry),
            at(&groups, entry),
            at(&ids, entry),
            at(&sides, entry),
        )
    };

    let mut recordings: Vec<Recording> = Vec::new();
    for entry in 0..layout.entries {
        let rows = entry * layout.rows_per_entry..(entry + 1) * layout.rows_per_entry;
        match recordings.last_mut() {
            Some(last) if !layout.pre_cut && key(entry) == key(entry - 1) => {
                last.rows.end = rows.end
            }
            _ => {
                let (class, group, id, side) = key(entry);
                recordings.push(Recording {
                    rows,
                    class: class.and_then(|c| usize::try_from(c).ok()),
                    group: group.unwrap_or(0) as u32,
                    id: id.unwrap_or(recordings.len() as i64) as u32,
                    side: side.map(|s| s as u8),
                });
            }
        }
    }
    Ok(recordings)
}

/// Pictures in one file, in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Pictures {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// [pictures, height, width, channels].
    pub pixels: Vec<u8>,
    /// Of each picture, an index into `labels`, `None` where unlabelled; no list where the file
    /// has no array y.
    pub classes: Option<Vec<Option<u32>>>,
    /// Of each picture: what splits keep apart; `None` where the file has no array group.
    pub groups: Option<Vec<u32>>,
    /// Class names by class index.
    pub labels: Vec<String>,
}

impl Pictures {
    /// Reads an `.npz` file with pictures in `x`, and beside it `y`, `group` and `labels` as in a
    /// file of recordings (models/data/watch/README.md).
    ///
    /// # Errors
    /// As [`Dataset::load`].
    pub fn load(path: &Path) -> Result<Pictures, DatasetError> {
        let read = || Pictures::from_npz(&std::fs::read(path)?);
        read().map_err(|fault| fault.of(path))
    }

    /// Reads the bytes of such a file.
    ///
    /// # Errors
    /// As [`Dataset::load`].
    pub fn from_npz(bytes: &[u8]) -> Result<Pictures, Fault> {
        pictures(bytes)
    }

    /// Whether an `.npz` file is of pictures: its `x` is bytes, [items, height, width] or with channels
    /// behind. Reads no more of it than that takes.
    pub fn are_in(file: impl Read + Seek) -> bool {
        let found = || kind(&mut NpzArchive::new(file).ok()?, "x").ok()?;
        found().is_some_and(|(element, shape)| {
            scalar(&element) == Some((TypeChar::Uint, 1)) && matches!(shape.len(), 3 | 4)
        })
    }

    /// Whether a file has an array y.
    pub fn has_classes(path: &Path) -> bool {
        NpzArchive::open(path).is_ok_and(|archive| archive.array_names().any(|name| name == "y"))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.pixels.len() / (self.height * self.width * self.channels)
    }

    /// Whether there are none; a file has one at least.
    pub fn is_empty(&self) -> bool {
        self.pixels.is_empty()
    }
}

/// Reads the bytes of a file of pictures.
pub(super) fn pictures(bytes: &[u8]) -> Result<Pictures, Fault> {
    const ARRAY: &str = "x";
    let mut archive = archive(bytes)?;
    let x = entry(&mut archive, ARRAY)?.ok_or_else(|| missing(&archive, ARRAY))?;
    let npy = open(&x, ARRAY)?;
    if scalar(&npy.dtype()) != Some((TypeChar::Uint, 1)) {
        return Err(Fault::Type {
            array: ARRAY,
            found: npy.dtype().descr(),
            wanted: "uint8, 0 is black and 255 white,",
        });
    }
    let shape = npy.shape().to_vec();
    let [items, height, width, channels] = match *shape {
        _ if shape.contains(&0) => return Err(Fault::Empty(shape)),
        [items, height, width] => [items, height, width, 1],
        [items, height, width, channels @ (1 | 3)] => [items, height, width, channels],
        _ => {
            return Err(Fault::Shape {
                array: ARRAY,
                found: shape,
                wanted: "[pictures, height, width] or [pictures, height, width, 1 or 3]".into(),
            });
        }
    }
    // The elements are in memory by now, so each dimension fits.
    .map(|side| side as usize);
    let pixels = values(npy, ARRAY)?;
    let layout = Layout {
        channels,
        entries: items,
        rows_per_entry: height * width,
        pre_cut: true,
        entry: "picture",
    };
    let classes = per_entry(&mut archive, "y", &layout, -1, LARGEST_CLASS)?;
    let most = classes.iter().flatten().max().map_or(-1, |most| *most);
    let labels = labels(&mut archive, (most + 1) as usize)?;
    let class = |c: i64| u32::try_from(c).ok();
    let groups = per_entry(&mut archive, "group", &layout, 0, u32::MAX)?;
    Ok(Pictures {
        height,
        width,
        channels,
        pixels,
        classes: classes.map(|classes| classes.into_iter().map(class).collect()),
        groups: groups.map(|groups| groups.into_iter().map(|g| g as u32).collect()),
        labels,
    })
}

/// An array of whole numbers with one value an entry, each from `least` to `most`.
fn per_entry(
    archive: &mut Archive,
    array: &'static str,
    layout: &Layout,
    least: i64,
    most: u32,
) -> Result<Option<Vec<i64>>, Fault> {
    let Some(found) = numbers(archive, array, |v| v)? else {
        return Ok(None);
    };
    if found.shape != [layout.entries as u64] {
        let wanted = format!("[{}], one a {} of x", layout.entries, layout.entry);
        let found = found.shape;
        return Err(Fault::Shape {
            array,
            found,
            wanted,
        });
    }
    let allowed = |v: f64| v.fract() == 0.0 && v >= least as f64 && v <= f64::from(most);
    if let Some(index) = found.values.iter().position(|&v| !allowed(v)) {
        return Err(Fault::Value {
            array,
            index,
            value: found.values[index],
            wanted: match array {
                "y" => "a class index from 0 to 65535, or -1 for unlabelled",
                "side" => "a whole number from 0 to 255",
                _ => "a whole number from 0 to 4294967295",
            },
        });
    }
    Ok(Some(found.values.into_iter().map(|v| v as i64).collect()))
}

/// A name for every class: the file's, then `class-<index>` for those that it does not name.
fn labels(archive: &mut Archive, classes: usize) -> Result<Vec<String>, Fault> {
    match classes {
        0 => Ok(Vec::new()),
        _ => Ok(class_names(names(archive)?, classes)),
    }
}

/// At least `classes` names: those that are known, then `class-<index>`.
pub(super) fn class_names(mut names: Vec<String>, classes: usize) -> Vec<String> {
    names.extend((names.len()..classes).map(|class| format!("class-{class}")));
    names
}

/// `labels` as numpy strings, or as a table of bytes with a padded row for each name.
fn names(archive: &mut Archive) -> Result<Vec<String>, Fault> {
    const ARRAY: &str = "labels";
    let Some(bytes) = entry(archive, ARRAY)? else {
        return Ok(Vec::new());
    };
    let npy = open(&bytes, ARRAY)?;
    let shape = npy.shape().to_vec();
    let found = npy.dtype().descr();
    let raw: Vec<Vec<u8>> = match (scalar(&npy.dtype()), shape.as_slice()) {
        (Some((TypeChar::Uint, 1)), &[_, width]) => {
            let table: Vec<u8> = values(npy, ARRAY)?;
            table
                .chunks((width as usize).max(1))
                .map(<[u8]>::to_vec)
                .collect()
        }
        (Some((TypeChar::ByteStr, _)), &[_]) => values(npy, ARRAY)?,
        (Some((TypeChar::UnicodeStr, _)), &[_]) => {
            let text: Vec<String> = values(npy, ARRAY)?;
            text.into_iter().map(String::into_bytes).collect()
        }
        (Some((TypeChar::Uint, 1) | (TypeChar::ByteStr | TypeChar::UnicodeStr, _)), _) => {
            let wanted = "[classes, width] bytes or [classes] strings".into();
            return Err(Fault::Shape {
                array: ARRAY,
                found: shape,
                wanted,
            });
        }
        _ => {
            let wanted = "uint8 (one padded row a name) or strings";
            return Err(Fault::Type {
                array: ARRAY,
                found,
                wanted,
            });
        }
    };
    raw.into_iter().enumerate().map(name).collect()
}

fn name((class, padded): (usize, Vec<u8>)) -> Result<String, Fault> {
    let end = padded
        .iter()
        .rposition(|&b| b != 0)
        .map_or(0, |last| last + 1);
    match std::str::from_utf8(&padded[..end]) {
        Ok(name) if !name.is_empty() && !name.contains('\0') => Ok(name.to_owned()),
        _ => Err(Fault::Label { class }),
    }
}
