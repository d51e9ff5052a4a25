//! The study's results, for people and for machines.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::Labels;
use crate::evaluate::table::Row;
use crate::files;
use crate::report::{Series, curves};

/// A point of a curve.
#[derive(Clone, Debug, Serialize)]
pub struct StudyRow {
    /// Labels of each class: a number, or `all`.
    pub labels: String,
    /// As of `headstart evaluate`.
    #[serde(flatten)]
    pub row: Row,
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The points.
    pub rows: Vec<StudyRow>,
    /// What a reader has to know.
    pub notes: Vec<String>,
    /// Of labels and networks.
    pub seed: u64,
    /// In one line, for people.
    #[serde(skip)]
    pub headline: String,
    /// From few to many.
    #[serde(skip)]
    pub labels: Vec<Labels>,
}

/// What a line stands on, and its head.
type Line = (String, &'static str);

impl Report {
    fn protocols(&self) -> Vec<&'static str> {
        let mut all: Vec<&'static str> = Vec::new();
        for row in &self.rows {
            if !all.contains(&row.row.protocol) {
                all.push(row.row.protocol);
            }
        }
        all
    }

    /// The lines of a protocol, in the order of the rows.
    fn lines(&self, protocol: &str) -> Vec<Line> {
        let mut all: Vec<Line> = Vec::new();
        for StudyRow { row, .. } in self.rows.iter().filter(|r| r.row.protocol == protocol) {
            let line = (row.name.clone(), row.head);
            if !all.contains(&line) {
                all.push(line);
            }
        }
        all
    }

    fn point(&self, protocol: &str, line: &Line, labels: Labels) -> Option<&Row> {
        let labels = labels.to_string();
        let found = self.rows.iter().find(|r| {
            r.row.protocol == protocol
                && r.row.name == line.0
                && r.row.head == line.1
                && r.labels == labels
        });
        found.map(|r| &r.row)
    }

    /// The tables.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.headline);
        for protocol in self.protocols() {
            let _ = writeln!(
                text,
                "\n{protocol}: accuracy in % by labels of each class, +- 95 % (over those who are asked)"
            );
            let lines = self.lines(protocol);
            let wide = lines.iter().map(|l| l.0.len() + l.1.len() + 2).max();
            let wide = wide.unwrap_or(0);
            let _ = write!(text, "{:wide$}", "");
            for labels in &self.labels {
                let _ = write!(text, "  {:>20}", labels.to_string());
            }
            text.push('\n');
            for line in lines {
                let name = format!("{}, {}", line.0, line.1);
                let _ = write!(text, "{name:wide$}");
                for &labels in &self.labels {
                    let row = self.point(protocol, &line, labels);
                    let cell = row.and_then(|row| {
                        let groups = row.ci95_groups.map(|g| format!(" ({:.1})", 100.0 * g));
                        Some(format!(
                            "{:.2} +- {:.2}{}",
                            100.0 * row.accuracy?,
                            100.0 * row.ci95?,
                            groups.unwrap_or_default()
                        ))
                    });
                    let _ = write!(text, "  {:>20}", cell.unwrap_or_else(|| "n/a".into()));
                }
                text.push('\n');
            }
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }

    /// Draws the first protocol: every head of the encoder, and the best head of each of the others.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn plot(&self, path: &Path) -> anyhow::Result<()> {
        let Some(protocol) = self.protocols().first().copied() else {
            return Ok(());
        };
        let lines = self.lines(protocol);
        let encoder = lines.first().map(|l| l.0.clone());
        let points = |line: &Line| -> Vec<Option<(f64, f64)>> {
            let point = |&labels: &Labels| {
                let row = self.point(protocol, line, labels)?;
                Some((row.accuracy?, row.ci95?))
            };
            self.labels.iter().map(point).collect()
        };
        let mut series: Vec<Series> = Vec::new();
        for of in lines.chunk_by(|a, b| a.0 == b.0) {
            let own = of.first().map(|l| &l.0) == encoder.as_ref();
            let total = |line: &Line| -> f64 { points(line).iter().flatten().map(|p| p.0).sum() };
            let best = of.iter().max_by(|a, b| total(a).total_cmp(&total(b)));
            for line in of.iter().filter(|line| own || Some(*line) == best) {
                let name = match line.0.rsplit(['/', '\\']).next() {
                    Some(file) => format!("{file}, {}", line.1),
                    None => line.1.to_owned(),
                };
                series.push(Series {
                    name,
                    points: points(line),
                });
            }
        }
        let names: Vec<String> = self.labels.iter().map(Labels::to_string).collect();
        let title = format!(
            "{}: {protocol}",
            self.headline.split(':').next().unwrap_or("")
        );
        files::write(path, curves(&series, &names, &title).as_bytes())
    }
}
