//! The episodes as arrays, so that any other program can run the very same.

use std::io::Cursor;
use std::path::Path;

use npyz::WriterBuilder;
use npyz::npz::NpzWriter;

use super::cells::Cell;
use super::outcome::Outcome;
use super::rows::Measured;
use super::space::Embedded;
use crate::files;

type Npz = NpzWriter<Cursor<Vec<u8>>>;

/// Where a class has fewer queries than another.
const NONE: i32 = -1;

/// Writes the embeddings of the first space as `x` (int8 [N, D], zeros without a signal) and their
/// classes as `y`; for each cell with episodes `support_PROTOCOL_SHOTS` [episodes, ways, shots] and
/// `query_PROTOCOL_SHOTS` [episodes, ways, queries], indices into both, -1 for none; and for each
/// head `accuracy_PROTOCOL_SHOTS_HEAD` [episodes].
pub fn write(path: &Path, measured: &Measured<'_>, embedded: &Embedded) -> anyhow::Result<()> {
    files::write(path, &npz(measured, embedded)?)
}

fn npz(measured: &Measured<'_>, embedded: &Embedded) -> anyhow::Result<Vec<u8>> {
    let task = measured.task;
    let dim = task.spaces.first().map_or(0, |s| s.dim);
    let windows = task.world.windows(task.input.window, task.input.hop);
    let mut npz = NpzWriter::new(Cursor::new(Vec::new()));
    let silence = vec![0; dim];
    let row = |at| embedded.get(at).map_or(&silence[..], |e| e.values());
    let x = (0..windows.len()).flat_map(|at| row(at).iter().copied());
    let classes = windows.iter().map(|w| {
        let class = task.world.recordings.get(w.recording)?.class?;
        i32::try_from(class).ok()
    });
    let count = windows.len() as u64;
    add(&mut npz, "x", &[count, dim as u64], x)?;
    add(&mut npz, "y", &[count], classes.map(|c| c.unwrap_or(NONE)))?;
    let first = measured.answers.first().into_iter().flatten();
    for (cell, by_head) in measured.cells.iter().zip(first) {
        let name = format!("{}_{}", cell.protocol.name(), cell.shots);
        if cell.episodes.is_empty() {
            continue;
        }
        let support = cell.episodes.iter().map(|e| &e.support);
        windows_of(&mut npz, &format!("support_{name}"), cell, support)?;
        let query = cell.episodes.iter().map(|e| &e.query);
        windows_of(&mut npz, &format!("query_{name}"), cell, query)?;
        for (kind, outcomes) in measured.kinds.iter().zip(by_head) {
            let array = format!("accuracy_{name}_{}", kind.name());
            let accuracies = outcomes.iter().map(Outcome::accuracy);
            if !outcomes.is_empty() {
                add(&mut npz, &array, &[outcomes.len() as u64], accuracies)?;
            }
        }
    }
    Ok(npz.zip_writer().finish()?.into_inner())
}

/// [episodes, ways, windows], as wide as the widest.
fn windows_of<'e>(
    npz: &mut Npz,
    name: &str,
    cell: &Cell,
    sets: impl Iterator<Item = &'e Vec<Vec<usize>>> + Clone,
) -> anyhow::Result<()> {
    let ways = cell.episodes.first().map_or(0, |e| e.classes.len());
    let width = sets.clone().flatten().map(Vec::len).max().unwrap_or(0);
    let shape = [cell.episodes.len(), ways, width].map(|n| n as u64);
    let padded = sets.flatten().flat_map(|windows| {
        let at = |i: usize| windows.get(i).and_then(|&w| i32::try_from(w).ok());
        (0..width).map(move |i| at(i).unwrap_or(NONE))
    });
    add(npz, name, &shape, padded)
}

fn add<T: npyz::AutoSerialize>(
    npz: &mut Npz,
    name: &str,
    shape: &[u64],
    values: impl Iterator<Item = T>,
) -> anyhow::Result<()> {
    // The same bytes from the same call: by default an entry has the time of day.
    let options = zip::write::FileOptions::default()
        .compression_method(zip::CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default());
    let entry = npz.array(name, options)?;
    let mut writer = entry.default_dtype().shape(shape).begin_nd()?;
    writer.extend(values)?;
    Ok(writer.finish()?)
}
