//! The results, for people and for machines.

use std::fmt::Write as _;

use serde::Serialize;

use super::open_set::{self, OpenRow};
use super::stream::StreamRow;
use crate::episode::Score;

/// One cell of the measurement. All figures are fractions; `None` where there were not enough
/// windows.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// The data file.
    pub dataset: String,
    /// The encoder's file, or that of stored embeddings; for random weights that whose shape they
    /// have; none for features without an encoder.
    pub encoder: Option<String>,
    /// `encoder`, `embeddings`, `random`, `hand-made` or `raw`; of `headstart study` also `transfer` and
    /// `supervised`.
    pub features: &'static str,
    /// As the command line spells it.
    pub head: &'static str,
    /// `same-wearer`, `next-wearer`, `other-side` or `next-group`; of `headstart study` also
    /// `other-people`.
    pub protocol: &'static str,
    /// n.
    pub ways: usize,
    /// k.
    pub shots: usize,
    /// Of guessing.
    pub chance: f64,
    /// The mean over the episodes.
    pub accuracy: Option<f64>,
    /// Half the 95 % interval over the episodes.
    pub ci95: Option<f64>,
    /// Half the 95 % interval over the query subjects.
    pub ci95_groups: Option<f64>,
    /// Episodes that it was measured over.
    pub episodes: usize,
    /// The expected calibration error of the top probability, over all queries.
    pub ece: Option<f64>,
    /// `tract`, `ort` or `pack`, where an encoder's file was run.
    pub runtime: Option<&'static str>,
    /// Accuracy minus that of the first encoder with the same head, in the same episodes.
    pub difference: Option<f64>,
    /// Half the 95 % interval of the difference, over the episodes.
    pub difference_ci95: Option<f64>,
    /// The same over the query subjects.
    pub difference_ci95_groups: Option<f64>,
    /// For tables.
    #[serde(skip)]
    pub name: String,
}

impl Row {
    /// Fills in what was measured.
    pub fn score(mut self, score: Option<Score>, difference: Option<Score>) -> Row {
        self.accuracy = score.map(|s| s.accuracy);
        self.ci95 = score.map(|s| s.ci95);
        self.ci95_groups = score.and_then(|s| s.ci95_groups);
        self.episodes = score.map_or(0, |s| s.episodes);
        self.difference = difference.map(|d| d.accuracy);
        self.difference_ci95 = difference.map(|d| d.ci95);
        self.difference_ci95_groups = difference.and_then(|d| d.ci95_groups);
        self
    }
}

/// The default head's accuracy minus that of the best other head, in the same episodes.
#[derive(Clone, Debug, Serialize)]
pub struct AutoRow {
    /// As in the episodes' rows.
    pub dataset: String,
    /// As in the episodes' rows.
    pub encoder: Option<String>,
    /// As in the episodes' rows.
    pub features: &'static str,
    /// As in the episodes' rows.
    pub protocol: &'static str,
    /// n.
    pub ways: usize,
    /// k.
    pub shots: usize,
    /// The other head with the highest accuracy in this cell.
    pub best: &'static str,
    /// A fraction, below 0 where the default head loses.
    pub difference: f64,
    /// Half the 95 % interval of the difference, over the episodes.
    pub ci95: f64,
    /// The same over the groups of the queries.
    pub ci95_groups: Option<f64>,
    /// Episodes that it was measured over.
    pub episodes: usize,
    /// For tables.
    #[serde(skip)]
    pub name: String,
}

/// What an encoder's embeddings took.
#[derive(Clone, Debug, Serialize)]
pub struct TimeRow {
    /// The encoder's file.
    pub encoder: Option<String>,
    /// `tract`, `ort` or `pack`.
    pub runtime: &'static str,
    /// Microseconds of one, on all threads together and with the front end.
    pub us_per_embedding: f64,
    /// For tables.
    #[serde(skip)]
    pub name: String,
}

/// Everything that one run found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The episodes' results.
    pub rows: Vec<Row>,
    /// What the default head loses by being the default.
    pub auto_minus_best: Vec<AutoRow>,
    /// What became of strangers, where there were any.
    pub open_set: Vec<OpenRow>,
    /// The streaming results, with `--stream`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stream: Vec<StreamRow>,
    /// What depends on the machine: an encoder and a runtime a row.
    pub times: Vec<TimeRow>,
    /// The largest difference between the raw embeddings of the first encoder's runtimes, over the
    /// largest value, where there are two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_difference: Option<f64>,
    /// What a reader has to know.
    pub notes: Vec<String>,
    /// Of the episodes and the random encoder.
    pub seed: u64,
    /// In one line, for people.
    #[serde(skip)]
    pub headline: String,
}

impl Report {
    /// The tables.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.headline);
        for block in self.rows.chunk_by(|a, b| cell(a) == cell(b)) {
            text.push_str(&episodes(block));
            let own = |row: &&AutoRow| {
                let this = (row.protocol, row.ways, row.shots);
                block.first().is_some_and(|first| cell(first) == this)
            };
            for row in self.auto_minus_best.iter().filter(own) {
                let _ = writeln!(text, "{}", auto(row));
            }
        }
        text.push_str(&self.times());
        text.push_str(&open_set::text(&self.open_set));
        if !self.stream.is_empty() {
            text.push_str(&super::stream::text(&self.stream));
        }
        if !self.notes.is_empty() {
            text.push('\n');
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }
}

impl Report {
    /// What an embedding took, a line an encoder.
    fn times(&self) -> String {
        let mut text = String::new();
        if !self.times.is_empty() {
            text.push_str("\ntime of an embedding, threads together\n");
        }
        let width = width(self.times.iter().map(|t| t.name.as_str()));
        for row in &self.times {
            let _ = writeln!(
                text,
                "{:width$}  {:<5}  {:>9.1} us",
                row.name, row.runtime, row.us_per_embedding
            );
        }
        if let Some(difference) = self.runtime_difference {
            let _ = writeln!(
                text,
                "tract and ort: raw embeddings differ by at most {difference:.1e} of the largest value"
            );
        }
        text
    }
}

fn auto(row: &AutoRow) -> String {
    format!(
        "{}: auto minus the best of the others ({}): {} ±{}",
        row.name,
        row.best,
        percent(Some(row.difference), true),
        percent(Some(row.ci95), false)
    )
}

fn cell(row: &Row) -> (&str, usize, usize) {
    (row.protocol, row.ways, row.shots)
}

fn episodes(rows: &[Row]) -> String {
    let mut text = String::new();
    let Some(first) = rows.first() else {
        return text;
    };
    let measured = rows.iter().map(|r| r.episodes).max().unwrap_or(0);
    let (protocol, ways, shots) = cell(first);
    let _ = writeln!(
        text,
        "\n{protocol}, {ways}-way, {shots}-shot: {measured} episodes, chance {:.1} %",
        100.0 * first.chance
    );
    let width = width(rows.iter().map(|r| r.name.as_str()));
    let _ = writeln!(
        text,
        "{:width$}  {:<9}  accuracy %  ±ci95  ±groups  calibration error %{}",
        "features",
        "head",
        match rows.iter().any(|r| r.difference.is_some()) {
            true => format!("  minus {}", first.name),
            false => String::new(),
        }
    );
    for row in rows {
        let percent = |value: Option<f64>| percent(value, false);
        let difference = match (row.difference, row.difference_ci95) {
            (Some(difference), Some(ci95)) => format!(
                "{} ±{}",
                super::table::percent(Some(difference), true),
                percent(Some(ci95)).trim_start()
            ),
            _ => String::new(),
        };
        let line = format!(
            "{:width$}  {:<9}  {:>10}  {:>5}  {:>7}  {:>19}  {difference}",
            row.name,
            row.head,
            percent(row.accuracy),
            percent(row.ci95),
            percent(row.ci95_groups),
            percent(row.ece),
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// A fraction in percent, n/a where there is none.
pub fn percent(value: Option<f64>, signed: bool) -> String {
    match value {
        Some(v) if v.is_finite() && signed => format!("{:+.2}", 100.0 * v),
        Some(v) if v.is_finite() => format!("{:.2}", 100.0 * v),
        _ => "n/a".to_owned(),
    }
}

/// Characters of the longest name.
pub fn width<'n>(names: impl Iterator<Item = &'n str>) -> usize {
    names.map(|n| n.chars().count()).max().unwrap_or(0).max(8)
}
