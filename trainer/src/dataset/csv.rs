//! The `.csv` layout: a header line, then a line a row; the columns that are not named as the
//! arrays of an `.npz` file are channels, as models/data/watch/README.md describes it.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;

use csv_core::Terminator;
use sha2::{Digest, Sha256};

use super::npz::{LARGEST_CLASS, class_names};
use super::{Dataset, Fault, Recording};
use crate::on_error::{OnError, Skipped};

/// Steps of the time up to here, in median ones, are uneven sampling; a longer one is a pause.
const LONGEST_STEP: f64 = 10.0;

/// Of these the rate is made: a step over a lost sample is not the sensor's.
const ONE_STEP: f64 = 1.5;

/// Reads a file's bytes, line by line.
pub(super) fn parse(bytes: impl Read, on_error: OnError) -> Result<(Dataset, Skipped), Fault> {
    let mut lines = Lines::new(bytes);
    lines.advance()?;
    let columns = columns(&lines.cells().collect::<Vec<_>>())?;
    let mut rows = Rows::default();
    let (mut total, mut first) = (0, None);
    while lines.advance()? {
        total += 1;
        let cells: Vec<&[u8]> = lines.cells().collect();
        if let Err(fault) = rows.add(&columns, &cells, lines.number) {
            if on_error == OnError::Stop {
                return Err(fault);
            }
            first.get_or_insert(fault);
            rows.hole = true;
        }
    }
    let found = rows.count;
    let first = first.map(|fault| fault.to_string());
    let skipped = Skipped::new("rows", total - found, total, first);
    match (total, found) {
        (0, _) => Err(Fault::NoLines),
        (_, 0) => Err(Fault::NothingLeft(skipped)),
        _ => Ok((
            rows.dataset(&columns, lines.hash.finalize().into())?,
            skipped,
        )),
    }
}

/// The lines of a file, one at a time.
struct Lines<R> {
    file: BufReader<R>,
    hash: Sha256,
    /// Of the line, from 1.
    number: u64,
    bytes: Vec<u8>,
    parser: csv_core::Reader,
    /// The cells without their quotes, one after the other, and where each ends.
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl<R: Read> Lines<R> {
    fn new(bytes: R) -> Lines<R> {
        // A line is a record, whatever is quoted: a quote that is never closed costs one line.
        let mut parser = csv_core::ReaderBuilder::new();
        Lines {
            file: BufReader::new(bytes),
            hash: Sha256::new(),
            number: 0,
            bytes: Vec::new(),
            parser: parser.terminator(Terminator::Any(b'\n')).build(),
            text: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Goes to the next line that is not blank; `false` at the end of the file.
    fn advance(&mut self) -> std::io::Result<bool> {
        loop {
            self.bytes.clear();
            self.ends.clear();
            if self.file.read_until(b'\n', &mut self.bytes)? == 0 {
                return Ok(false);
            }
            self.hash.update(&self.bytes);
            self.number += 1;
            if !self.bytes.trim_ascii().is_empty() {
                self.split();
                return Ok(true);
            }
        }
    }

    fn split(&mut self) {
        let line = self.bytes.trim_ascii_end();
        let commas = line.iter().filter(|b| **b == b',').count();
        // Room for all that the line can have: the parser stops nowhere else than at its end.
        self.text.resize(line.len() + 1, 0);
        self.ends.resize(commas + 2, 0);
        self.parser.reset();
        let (_, _, _, ended) = self
            .parser
            .read_record(line, &mut self.text, &mut self.ends);
        let (_, _, _, last) = self
            .parser
            .read_record(&[], &mut [], &mut self.ends[ended..]);
        self.ends.truncate(ended + last);
    }

    /// The cells of the line, without the blanks around them.
    fn cells(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let cells = starts.zip(&self.ends);
        cells.map(|(start, end)| self.text[start..*end].trim_ascii())
    }
}

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Class,
    Group,
    Recording,
    Side,
    /// Of these units make a second.
    Time(u32),
    Channel,
}

struct Column {
    name: String,
    kind: Kind,
}

fn columns(header: &[&[u8]]) -> Result<Vec<Column>, Fault> {
    let wrong = |column: usize, reason: &str| Fault::Header {
        column: column + 1,
        reason: reason.to_owned(),
    };
    let column = |(i, name): (usize, &&[u8])| {
        let name = String::from_utf8_lossy(name).into_owned();
        let kind = match name.to_ascii_lowercase().as_str() {
            "" => {
                return Err(wrong(
                    i,
                    "it has no name; give it one, or leave it out (pandas: index=False)",
                ));
            }
            n if n.parse::<f64>().is_ok() => {
                return Err(wrong(
                    i,
                    "a number where a name should be; begin the file with a line of column names",
                ));
            }
            n if header.len() == 1 && n.contains([';', '\t']) => {
                return Err(wrong(i, "the columns have to be separated by commas"));
            }
            "y" | "label" | "class" => Kind::Class,
            "group" | "subject" => Kind::Group,
            "recording" => Kind::Recording,
            "side" => Kind::Side,
            "time" | "t" | "timestamp" => Kind::Time(1),
            "time_ms" | "t_ms" | "timestamp_ms" => Kind::Time(1000),
            _ => Kind::Channel,
        };
        Ok(Column { name, kind })
    };
    let columns: Vec<Column> = header
        .iter()
        .enumerate()
        .map(column)
        .collect::<Result<_, _>>()?;
    let (mut names, mut kinds) = (HashSet::new(), Vec::new());
    for (i, Column { name, kind }) in columns.iter().enumerate() {
        let kind = match kind {
            Kind::Time(_) => Kind::Time(1),
            other => *other,
        };
        let again = kind != Kind::Channel && kinds.contains(&kind);
        if again || !names.insert(name) {
            return Err(wrong(
                i,
                "another column is of that name or kind; keep one of the two",
            ));
        }
        kinds.push(kind);
    }
    match kinds.contains(&Kind::Channel) {
        true => Ok(columns),
        false => Err(wrong(
            columns.len(),
            "no column is left for the samples of a channel",
        )),
    }
}

/// What the rows of a recording have in common.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Key {
    /// Index into the names.
    class: Option<usize>,
    group: Option<u32>,
    id: Option<u32>,
    side: Option<u8>,
}

/// The rows so far.
#[derive(Default)]
struct Rows {
    x: Vec<f32>,
    count: usize,
    /// One a row in seconds, where there is such a column.
    times: Vec<f64>,
    /// Side by side.
    recordings: Vec<(Key, Range<usize>)>,
    names: HashMap<String, usize>,
    /// The row before was left out.
    hole: bool,
}

impl Rows {
    fn add(&mut self, columns: &[Column], cells: &[&[u8]], line: u64) -> Result<(), Fault> {
        if cells.len() != columns.len() {
            return Err(Fault::Columns {
                line,
                found: cells.len(),
                wanted: columns.len(),
            });
        }
        let (values, mut key, mut time) = (self.x.len(), Key::default(), None);
        for (column, bytes) in columns.iter().zip(cells) {
            let cell = Cell {
                line,
                column,
                bytes,
            };
            let read = match column.kind {
                Kind::Channel => cell.finite().map(|v| self.x.push(v)),
                Kind::Class => self.class(&cell).map(|class| key.class = class),
                Kind::Group => cell.whole(ID).map(|v| key.group = Some(v)),
                Kind::Recording => cell.whole(ID).map(|v| key.id = Some(v)),
                Kind::Side => cell
                    .whole("a whole number from 0 to 255")
                    .map(|v| key.side = Some(v)),
                Kind::Time(units) => cell.time().map(|v| time = Some(v / f64::from(units))),
            };
            if let Err(fault) = read {
                self.x.truncate(values);
                return Err(fault);
            }
        }
        let row = self.count..self.count + 1;
        match self.recordings.last_mut() {
            Some((last, rows)) if *last == key && !self.hole => rows.end = row.end,
            _ => self.recordings.push((key, row)),
        }
        self.times.extend(time);
        self.count += 1;
        self.hole = false;
        Ok(())
    }

    /// The number of a name; nothing and -1 are no name.
    fn class(&mut self, cell: &Cell) -> Result<Option<usize>, Fault> {
        let wanted = "the name of one of at most 65536 classes, in UTF-8";
        let name = cell.text(wanted)?;
        if name.is_empty() || name.parse::<f64>() == Ok(-1.0) {
            return Ok(None);
        }
        let next = self.names.len();
        match self.names.get(name) {
            Some(&known) => Ok(Some(known)),
            None if next <= LARGEST_CLASS as usize => {
                self.names.insert(name.to_owned(), next);
                Ok(Some(next))
            }
            None => Err(cell.fault(wanted)),
        }
    }

    fn dataset(mut self, columns: &[Column], sha256: [u8; 32]) -> Result<Dataset, Fault> {
        let timed = columns.iter().find(|c| matches!(c.kind, Kind::Time(_)));
        let rate_hz = match timed {
            Some(column) => self.rate().map_err(|()| Fault::Time {
                column: column.name.clone(),
            })?,
            None => None,
        };
        let (classes, labels) = self.classes();
        let recording = |(i, (key, rows)): (usize, (Key, Range<usize>))| Recording {
            rows,
            class: key.class.and_then(|class| classes.get(&class).copied()),
            group: key.group.unwrap_or(0),
            id: key.id.unwrap_or(i as u32),
            side: key.side,
        };
        Ok(Dataset {
            channels: columns.iter().filter(|c| c.kind == Kind::Channel).count(),
            x: self.x,
            scale: None,
            rate_hz,
            recordings: self
                .recordings
                .into_iter()
                .enumerate()
                .map(recording)
                .collect(),
            labels,
            sha256,
        })
    }

    /// The rows a second, and a new recording wherever the time leaps or goes back.
    fn rate(&mut self) -> Result<Option<f32>, ()> {
        let step = |row: usize| self.times[row + 1] - self.times[row];
        let inside = |rows: &Range<usize>| rows.start..rows.end - 1;
        let steps = self.recordings.iter().flat_map(|(_, rows)| inside(rows));
        let mut steps: Vec<f64> = steps.map(step).filter(|s| *s >= 0.0).collect();
        if steps.is_empty() {
            return match self.count == self.recordings.len() {
                true => Ok(None), // no two rows of one recording
                false => Err(()),
            };
        }
        let middle = steps.len() / 2;
        let (_, &mut median, _) = steps.select_nth_unstable_by(middle, f64::total_cmp);
        let single = || steps.iter().filter(|s| **s <= ONE_STEP * median);
        let mean = single().sum::<f64>() / single().count() as f64;
        let rate = (1.0 / mean) as f32;
        if !(rate.is_normal() && rate > 0.0) {
            return Err(());
        }
        let pause = |row: usize| !(0.0..=LONGEST_STEP * median).contains(&step(row));
        let mut parts = Vec::with_capacity(self.recordings.len());
        for (key, rows) in &self.recordings {
            let mut start = rows.start;
            for row in inside(rows).filter(|row| pause(*row)) {
                parts.push((*key, start..row + 1));
                start = row + 1;
            }
            parts.push((*key, start..rows.end));
        }
        self.recordings = parts;
        Ok(Some(rate))
    }

    /// The class of each name in use, and what the classes are called: whole numbers are classes
    /// themselves, names are numbered in their own order.
    fn classes(&self) -> (HashMap<usize, usize>, Vec<String>) {
        let used: HashSet<usize> = self
            .recordings
            .iter()
            .filter_map(|(k, _)| k.class)
            .collect();
        let names = self
            .names
            .iter()
            .filter(|(_, number)| used.contains(number));
        let mut names: Vec<(&str, usize)> =
            names.map(|(n, &number)| (n.as_str(), number)).collect();
        let numbers = names.iter().map(|(name, number)| {
            let class = whole(name, LARGEST_CLASS.into())? as usize;
            Some((*number, class))
        });
        if let Some(classes) = numbers.collect::<Option<HashMap<usize, usize>>>() {
            let count = classes.values().max().map_or(0, |most| most + 1);
            return (classes, class_names(Vec::new(), count));
        }
        names.sort_unstable();
        let classes = names
            .iter()
            .enumerate()
            .map(|(class, (_, number))| (*number, class));
        let labels = names.iter().map(|(name, _)| (*name).to_owned()).collect();
        (classes.collect(), labels)
    }
}

const ID: &str = "a whole number from 0 to 4294967295";

/// One value, and where it stands.
struct Cell<'a> {
    line: u64,
    column: &'a Column,
    bytes: &'a [u8],
}

impl Cell<'_> {
    fn text(&self, wanted: &'static str) -> Result<&str, Fault> {
        std::str::from_utf8(self.bytes).map_err(|_| self.fault(wanted))
    }

    fn finite(&self) -> Result<f32, Fault> {
        let wanted = "a finite number";
        let value = self.text(wanted)?.parse().ok();
        value
            .filter(|v: &f32| v.is_finite())
            .ok_or_else(|| self.fault(wanted))
    }

    fn time(&self) -> Result<f64, Fault> {
        let wanted = "a moment: a finite number";
        let value = self.text(wanted)?.parse().ok();
        value
            .filter(|v: &f64| v.is_finite())
            .ok_or_else(|| self.fault(wanted))
    }

    /// A number that fits into `T`.
    fn whole<T: TryFrom<u64>>(&self, wanted: &'static str) -> Result<T, Fault> {
        let value = whole(self.text(wanted)?, u32::MAX.into());
        let value = value.and_then(|v| T::try_from(v).ok());
        value.ok_or_else(|| self.fault(wanted))
    }

    fn fault(&self, wanted: &'static str) -> Fault {
        let found = String::from_utf8_lossy(self.bytes);
        Fault::Cell {
            line: self.line,
            column: self.column.name.clone(),
            found: found.chars().take(40).collect(),
            wanted,
        }
    }
}

/// A whole number as pandas and others write it, also `3.0`.
fn whole(text: &str, most: f64) -> Option<u64> {
    let value: f64 = text.parse().ok()?;
    (value.fract() == 0.0 && (0.0..=most).contains(&value)).then_some(value as u64)
}
