//! The `.npz` layout: `x`, and beside it `y`, `group`, `recording`, `side`, `scale`, `rate` and
//! `labels`, as models/data/watch/README.md describes it.

use std::collections::BTreeSet;
use std::io::Cursor;

use npyz::TypeChar;
use npyz::npz::NpzArchive;

use super::array::{Archive, entry, numbers, open, scalar, values};
use super::{Dataset, Fault, Recording, sha256};

/// Class indices and recording numbers end here, so that a stray value can't ask for a name each.
const LARGEST_CLASS: u32 = 65_535;

/// How the rows of `x` are laid out.
struct Layout {
    channels: usize,
    /// Entries of `y`, `group`, `recording` and `side`: one a row, or one a pre-cut window.
    entries: usize,
    /// Rows that one such entry stands for.
    rows_per_entry: usize,
    /// Each entry is a pre-cut window.
    pre_cut: bool,
}

/// Reads the bytes of an `.npz` file.
pub(super) fn parse(bytes: &[u8]) -> Result<Dataset, Fault> {
    let mut archive =
        NpzArchive::new(Cursor::new(bytes)).map_err(|e| Fault::NotZip(e.to_string()))?;
    let x = numbers(&mut archive, "x", |v| v as f32)?.ok_or_else(|| {
        let found: BTreeSet<&str> = archive.array_names().collect();
        let found = found.into_iter().collect::<Vec<_>>().join(", ");
        Fault::Missing { array: "x", found }
    })?;
    let layout = layout(&x.shape)?;
    let scale = scale(&mut archive, layout.channels, x.integer)?;
    let recordings = recordings(&mut archive, &layout)?;
    let labels = labels(&mut archive, &recordings)?;
    Ok(Dataset {
        channels: layout.channels,
        x: physical(x.values, layout.channels, scale.as_deref())?,
        scale,
        rate_hz: rate(&mut archive)?,
        recordings,
        labels,
        sha256: sha256(bytes),
    })
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
        }),
        [windows, rows, channels] => Ok(Layout {
            channels: channels as usize,
            entries: windows as usize,
            rows_per_entry: rows as usize,
            pre_cut: true,
        }),
        // Pictures and spectrograms, channels last: a window is all of their pixels.
        [windows, height, width, channels] => Ok(Layout {
            channels: channels as usize,
            entries: windows as usize,
            rows_per_entry: (height * width) as usize,
            pre_cut: true,
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

/// Counts times scale, and the check that every value is a number.
fn physical(mut x: Vec<f32>, channels: usize, scale: Option<&[f32]>) -> Result<Vec<f32>, Fault> {
    for (row, values) in x.chunks_exact_mut(channels).enumerate() {
        for (channel, value) in values.iter_mut().enumerate() {
            *value *= scale.map_or(1.0, |s| s[channel]);
            if !value.is_finite() {
                let value = *value;
                return Err(Fault::NotFinite {
                    row,
                    channel,
                    value,
                });
            }
        }
    }
    Ok(x)
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
        let each = if layout.pre_cut { "window" } else { "row" };
        let wanted = format!("[{}], one a {each} of x", layout.entries);
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
fn labels(archive: &mut Archive, recordings: &[Recording]) -> Result<Vec<String>, Fault> {
    let classes = recordings
        .iter()
        .filter_map(|r| r.class)
        .max()
        .map_or(0, |c| c + 1);
    if classes == 0 {
        return Ok(Vec::new());
    }
    let mut names = names(archive)?;
    names.extend((names.len()..classes).map(|class| format!("class-{class}")));
    Ok(names)
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
