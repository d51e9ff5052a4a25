//! The table of a run's epochs, as CSV.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use csv::{ReaderBuilder, StringRecord, WriterBuilder};

use super::Epoch;

/// The columns of every log; one `loss_…` for each pretext task follows.
const COLUMNS: [&str; 12] = [
    "epoch",
    "step",
    "seconds",
    "loss",
    "alignment",
    "uniformity",
    "effective_rank",
    "learning_rate",
    "gradient_norm",
    "items_per_second",
    "waiting",
    "outside",
];
const PART: &str = "loss_";

/// A CSV file with a header and a row an epoch, in the order of the epochs.
///
/// Append to it before the checkpoint is saved: then a resumed run finds a row of every epoch that
/// its checkpoint knows, and leaves the file that it would have left without the break (but for
/// times).
pub struct Log {
    path: PathBuf,
    file: File,
    header: Vec<String>,
    epochs: Vec<Epoch>,
}

impl Log {
    /// Opens the log of a run whose checkpoint knows `known` epochs: rows after them are dropped.
    /// With 0 the file begins anew.
    ///
    /// # Errors
    /// A file that can't be read or written, or that is something else: it is left as it is.
    pub fn open(path: &Path, known: u32) -> anyhow::Result<Log> {
        let open = || -> std::io::Result<(File, Vec<u8>)> {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let mut file = options.open(path)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok((file, bytes))
        };
        let (mut file, bytes) =
            open().with_context(|| format!("could not open {}", path.display()))?;
        let (mut header, mut epochs, mut end) = (Vec::new(), Vec::new(), 0);
        if known > 0 && !bytes.is_empty() {
            (header, epochs, end) =
                read(&bytes, known).with_context(|| format!("in {}", path.display()))?;
        }
        file.set_len(end)
            .and_then(|()| file.seek(SeekFrom::Start(end)))
            .with_context(|| format!("could not cut {}", path.display()))?;
        let path = path.to_owned();
        Ok(Log {
            path,
            file,
            header,
            epochs,
        })
    }

    /// Adds an epoch; it is on the disk when this returns.
    ///
    /// # Errors
    /// A disk that is full, or pretext tasks other than those of the rows before.
    pub fn append(&mut self, epoch: Epoch) -> anyhow::Result<()> {
        let header = header(&epoch);
        let mut rows = WriterBuilder::new()
            .has_headers(false)
            .from_writer(Vec::new());
        if self.header.is_empty() {
            rows.serialize(&header)?;
        } else if header != self.header {
            bail!(
                "{} has the columns {}, but this run has {}",
                self.path.display(),
                self.header.join(", "),
                header.join(", ")
            );
        }
        rows.serialize(row(&epoch))?;
        let bytes = rows.into_inner()?;
        // All in one, so that a kill hardly ever leaves half a row; where it does, `read` cuts it.
        self.file
            .write_all(&bytes)
            .and_then(|()| self.file.sync_data())
            .with_context(|| format!("could not write {}", self.path.display()))?;
        self.header = header;
        self.epochs.push(epoch);
        Ok(())
    }

    /// All epochs so far, with those before the run was resumed.
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }
}

fn header(epoch: &Epoch) -> Vec<String> {
    let parts = epoch.parts.iter().map(|(name, _)| format!("{PART}{name}"));
    COLUMNS
        .map(str::to_owned)
        .into_iter()
        .chain(parts)
        .collect()
}

/// A row in the order of [`COLUMNS`].
type Row = (
    u32,
    u64,
    f64,
    f64,
    f32,
    f32,
    f32,
    f64,
    f64,
    f64,
    f64,
    f64,
    Vec<f64>,
);

fn row(e: &Epoch) -> Row {
    (
        e.epoch,
        e.step,
        e.seconds,
        e.loss,
        e.alignment,
        e.uniformity,
        e.effective_rank,
        e.learning_rate,
        e.gradient_norm,
        e.items_per_second,
        e.waiting,
        e.outside,
        e.parts.iter().map(|part| part.1).collect(),
    )
}

fn epoch(row: Row, parts: &[String]) -> Epoch {
    let name = |column: &String| column.strip_prefix(PART).unwrap_or(column).to_owned();
    Epoch {
        epoch: row.0,
        step: row.1,
        seconds: row.2,
        loss: row.3,
        alignment: row.4,
        uniformity: row.5,
        effective_rank: row.6,
        learning_rate: row.7,
        gradient_norm: row.8,
        items_per_second: row.9,
        waiting: row.10,
        outside: row.11,
        parts: parts.iter().map(name).zip(row.12).collect(),
    }
}

/// The header, the rows up to the epoch `known` and where they end. What a kill left of a row ends
/// them too.
fn read(bytes: &[u8], known: u32) -> anyhow::Result<(Vec<String>, Vec<Epoch>, u64)> {
    let mut rows = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(bytes);
    let mut record = StringRecord::new();
    rows.read_record(&mut record)?;
    let header: Vec<String> = record.iter().map(str::to_owned).collect();
    let (own, parts) = header.split_at(header.len().min(COLUMNS.len()));
    if own != COLUMNS {
        bail!("this is no log of a training run: its columns are others");
    }
    let mut epochs: Vec<Epoch> = Vec::new();
    let mut end = rows.position().byte();
    while let Ok(true) = rows.read_record(&mut record) {
        let last = (rows.position().byte() as usize).checked_sub(1);
        let ended = matches!(last.and_then(|at| bytes.get(at)), Some(b'\n' | b'\r'));
        let whole = ended && record.len() == header.len();
        match record.deserialize::<Row>(None) {
            Ok(row) if whole && row.0 <= known => epochs.push(epoch(row, parts)),
            _ => break,
        }
        end = rows.position().byte();
    }
    Ok((header, epochs, end))
}
