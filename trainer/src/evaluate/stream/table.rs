//! The streaming results, for people and for machines.

use std::fmt::Write as _;

use headstart::stream::Detection;
use serde::Serialize;

use crate::evaluate::table::width;

/// A figure with half its 95 % interval over the subjects; `None` where nothing of the kind was
/// there to be counted.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figure {
    /// The mean over subjects and teachings.
    pub mean: Option<f64>,
    /// `None` where there is one subject only.
    pub ci95_groups: Option<f64>,
}

/// How one head on one kind of features did on streams.
#[derive(Clone, Debug, Serialize)]
pub struct StreamRow {
    /// The data file.
    pub dataset: String,
    /// As in the episodes' rows.
    pub encoder: Option<String>,
    /// As in the episodes' rows.
    pub features: &'static str,
    /// As in the episodes' rows.
    pub head: &'static str,
    /// Classes taught.
    pub ways: usize,
    /// Examples of each.
    pub shots: usize,
    /// Subjects.
    pub subjects: usize,
    /// Teachings of each subject.
    pub teachings: usize,
    /// Hours of sensor data that were run, over all subjects, for one teaching of each.
    pub hours: f64,
    /// Detections of the right class in a recording of a taught class.
    pub right_per_recording: Figure,
    /// The fraction of recordings of taught classes in which the class was detected at all.
    pub found: Figure,
    /// Detections of a wrong class per hour of taught classes.
    pub false_alarms_per_hour_taught: Figure,
    /// Detections per hour of classes that were not taught: all are wrong.
    pub false_alarms_per_hour_untaught: Figure,
    /// From a stream's first sample to its first right detection, where there is one.
    pub latency_seconds: Figure,
    /// For tables.
    #[serde(skip)]
    pub name: String,
}

/// The table for people.
pub fn text(rows: &[StreamRow]) -> String {
    let mut text = String::new();
    for block in rows.chunk_by(|a, b| (a.ways, a.shots) == (b.ways, b.shots)) {
        let Some(first) = block.first() else { continue };
        let rule = Detection::default();
        let _ = writeln!(
            text,
            "\nstreams, {} classes taught with {} examples each: {} subjects, {} teachings of each, {:.2} hours of sensor data\n\
             a detection is {} windows in a row that agree; then {} windows of silence",
            first.ways,
            first.shots,
            first.subjects,
            first.teachings,
            first.hours,
            rule.agree,
            rule.refractory
        );
        let width = width(block.iter().map(|r| r.name.as_str()));
        let _ = writeln!(
            text,
            "{:width$}  {:<9}  {:>15}  {:>15}  {:>17}  {:>17}  {:>13}",
            "",
            "",
            "right detections",
            "found, % of",
            "false alarms/hour",
            "false alarms/hour",
            "seconds to the"
        );
        let _ = writeln!(
            text,
            "{:width$}  {:<9}  {:>15}  {:>15}  {:>17}  {:>17}  {:>13}",
            "features",
            "head",
            "a recording",
            "recordings",
            "in taught",
            "in untaught",
            "first right"
        );
        for row in block {
            let _ = writeln!(
                text,
                "{:width$}  {:<9}  {:>15}  {:>15}  {:>17}  {:>17}  {:>13}",
                row.name,
                row.head,
                figure(row.right_per_recording, 1.0),
                figure(row.found, 100.0),
                figure(row.false_alarms_per_hour_taught, 1.0),
                figure(row.false_alarms_per_hour_untaught, 1.0),
                figure(row.latency_seconds, 1.0),
            );
        }
    }
    text
}

fn figure(figure: Figure, unit: f64) -> String {
    match (figure.mean, figure.ci95_groups) {
        (Some(mean), Some(ci95)) => format!("{:.1} ±{:.1}", unit * mean, unit * ci95),
        (Some(mean), None) => format!("{:.1}", unit * mean),
        _ => "n/a".to_owned(),
    }
}
