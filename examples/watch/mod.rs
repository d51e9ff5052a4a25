//! The watch set: recordings out of an `.npz` file, and windows of them for the same-wearer
//! protocol. models/data/watch/README.md describes both.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::Range;
use std::path::Path;

/// Counts a time step: three accelerations, three rotation rates.
pub const CHANNELS: usize = 6;
/// Time steps of a window, 2.56 s.
pub const WINDOW: usize = 128;
/// Time steps from one window's start to the next one's.
pub const HOP: usize = 32;
/// Time steps between the first third of a recording and its first query, at least.
pub const GAP: usize = 128;

/// Whose windows the demonstration uses.
pub const SUBJECT: u8 = 6;
/// Examples of each exercise that it is taught.
pub const SHOTS: usize = 5;
/// Windows of each exercise that it is asked about.
pub const QUERIES: usize = 20;

/// Recordings of raw sensor counts.
pub struct Watch {
    counts: Vec<i16>,
    /// In file order, side by side.
    pub recordings: Vec<Recording>,
    /// Exercise names by class.
    pub labels: Vec<String>,
}

/// One set of one exercise.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Time steps of the file.
    pub rows: Range<usize>,
    /// Index into [`Watch::labels`].
    pub class: usize,
    /// Who wore the watch, 1 to 10.
    pub subject: u8,
    /// On which wrist: 0 left, 1 right.
    pub side: u8,
}

/// Where a window starts: a time step of the file.
pub type Window = usize;

/// The windows of one subject doing one exercise, both wrists.
pub struct Cell {
    /// Who.
    pub subject: u8,
    /// Index into [`Watch::labels`].
    pub class: usize,
    /// May be taught: all inside the first third of their recording.
    pub support: Vec<Window>,
    /// May be asked: at least [`GAP`] time steps behind that third.
    pub query: Vec<Window>,
}

/// A file that can't be used, and why.
#[derive(Debug)]
pub struct WatchError(String);

impl fmt::Display for WatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WatchError {}

impl Watch {
    /// Reads an uncompressed `.npz` of int16 counts with `y`, `group`, `recording`, `side` and
    /// `labels`.
    pub fn load(path: &Path) -> Result<Watch, WatchError> {
        Self::read(path).map_err(|why| WatchError(format!("{}: {why}", path.display())))
    }

    fn read(path: &Path) -> Result<Watch, String> {
        let file = File::open(path).map_err(|fault| fault.to_string())?;
        let mut npz =
            zip::ZipArchive::new(BufReader::new(file)).map_err(|fault| fault.to_string())?;
        let counts: Vec<i16> = array(&mut npz, "x")?;
        let rows = counts.len() / CHANNELS;
        let classes: Vec<u8> = column(&mut npz, "y", rows)?;
        let subjects: Vec<u8> = column(&mut npz, "group", rows)?;
        let sides: Vec<u8> = column(&mut npz, "side", rows)?;
        let numbers: Vec<u16> = column(&mut npz, "recording", rows)?;
        let labels: Vec<String> = array::<u8>(&mut npz, "labels")?
            .chunks(16)
            .map(|name| {
                String::from_utf8_lossy(name)
                    .trim_end_matches('\0')
                    .to_owned()
            })
            .collect();
        if let Some(class) = classes.iter().find(|&&c| usize::from(c) >= labels.len()) {
            return Err(format!("class {class} has no name in labels"));
        }
        let mut recordings = Vec::new();
        let mut start = 0;
        for recording in numbers.chunk_by(|a, b| a == b) {
            recordings.push(Recording {
                rows: start..start + recording.len(),
                class: usize::from(classes[start]),
                subject: subjects[start],
                side: sides[start],
            });
            start += recording.len();
        }
        Ok(Watch {
            counts,
            recordings,
            labels,
        })
    }

    /// The counts of a window, `[WINDOW][CHANNELS]`. It lies inside one recording.
    pub fn counts(&self, window: Window) -> &[i16] {
        &self.counts[window * CHANNELS..(window + WINDOW) * CHANNELS]
    }

    /// Support and query windows by subject and exercise, in that order; they share no sample.
    pub fn same_wearer(&self) -> Vec<Cell> {
        let mut cells: Vec<Cell> = Vec::new();
        for recording in &self.recordings {
            let (subject, class) = (recording.subject, recording.class);
            let key = |cell: &Cell| (cell.subject, cell.class);
            let at = match cells.binary_search_by_key(&(subject, class), key) {
                Ok(at) => at,
                Err(at) => {
                    let (support, query) = (Vec::new(), Vec::new());
                    cells.insert(
                        at,
                        Cell {
                            subject,
                            class,
                            support,
                            query,
                        },
                    );
                    at
                }
            };
            let third = recording.rows.start + recording.rows.len() / 3;
            for window in windows(recording.rows.clone()) {
                if window + WINDOW <= third {
                    cells[at].support.push(window);
                } else if window >= third + GAP {
                    cells[at].query.push(window);
                }
            }
        }
        cells
    }
}

/// Labelled windows: class, and where.
pub type Examples = Vec<(usize, Window)>;

/// The demonstration's lesson: what a watch of [`SUBJECT`] is taught, [`SHOTS`] windows of each
/// exercise, one of each in turn, and what it is asked, [`QUERIES`] of each, exercise by exercise.
pub fn lesson(cells: &[Cell]) -> (Examples, Examples) {
    let own = || cells.iter().filter(|cell| cell.subject == SUBJECT);
    let taught: Vec<Vec<Window>> = own().map(|cell| spread(&cell.support, SHOTS)).collect();
    let in_turn = (0..SHOTS).flat_map(|shot| {
        own()
            .zip(&taught)
            .filter_map(move |(cell, windows)| Some((cell.class, *windows.get(shot)?)))
    });
    let asked = own().flat_map(|cell| {
        let windows = spread(&cell.query, QUERIES).into_iter();
        windows.map(|window| (cell.class, window))
    });
    (in_turn.collect(), asked.collect())
}

/// `count` of `windows`, evenly spread over them; all where there are not as many.
fn spread(windows: &[Window], count: usize) -> Vec<Window> {
    let count = count.min(windows.len());
    (0..count)
        .map(|i| windows[i * windows.len() / count])
        .collect()
}

/// Windows that lie inside a recording, one each hop.
fn windows(rows: Range<usize>) -> impl Iterator<Item = Window> {
    let end = (rows.end + 1).saturating_sub(WINDOW);
    (rows.start..end).step_by(HOP)
}

type Npz = zip::ZipArchive<BufReader<File>>;

/// An array of the archive, flattened.
fn array<T: npyz::Deserialize>(npz: &mut Npz, name: &str) -> Result<Vec<T>, String> {
    let explain = |fault: &dyn fmt::Display| format!("array {name}: {fault}");
    let mut entry = npz
        .by_name(&format!("{name}.npy"))
        .map_err(|fault| explain(&fault))?;
    let mut bytes = Vec::new();
    entry
        .read_to_end(&mut bytes)
        .map_err(|fault| explain(&fault))?;
    let npy = npyz::NpyFile::new(&bytes[..]).map_err(|fault| explain(&fault))?;
    npy.into_vec().map_err(|fault| explain(&fault))
}

/// An array that has one value for each time step.
fn column<T: npyz::Deserialize>(npz: &mut Npz, name: &str, rows: usize) -> Result<Vec<T>, String> {
    let values = array(npz, name)?;
    if values.len() == rows {
        Ok(values)
    } else {
        let got = values.len();
        Err(format!("array {name} has {got} values for {rows} rows"))
    }
}
