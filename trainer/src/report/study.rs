//! How well several ways do with more and more labels.

use super::plot::{Axis, Line, Plot, drawable};

/// A line of a study's chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// In the legend.
    pub name: String,
    /// For each place on the x axis the accuracy, 0 to 1, and half its 95 % interval.
    pub points: Vec<Option<(f64, f64)>>,
}

/// A chart as SVG: accuracy in % over the labelled examples of each class, which `x_labels` tells,
/// with a line, whiskers and markers for each series and their names beside it.
pub fn curves(series: &[Series], x_labels: &[String], title: &str) -> String {
    let points = |series: &Series| {
        let point = |(x, point): (usize, &Option<(f64, f64)>)| {
            let (accuracy, half) = point.unwrap_or((f64::NAN, 0.0));
            let half = if half.is_finite() { half } else { 0.0 };
            (x as f64, 100.0 * accuracy, 100.0 * half)
        };
        let points = series.points.iter().take(x_labels.len());
        points.enumerate().map(point).collect()
    };
    let lines: Vec<Line> = series
        .iter()
        .map(|series| Line {
            name: series.name.clone(),
            points: points(series),
        })
        .collect();
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for &(_, y, half) in lines.iter().flat_map(|line| &line.points) {
        if drawable(y) {
            (low, high) = (low.min(y - half), high.max(y + half));
        }
    }
    let within = [low.clamp(0.0, 100.0), high.clamp(0.0, 100.0)];
    let places = x_labels.len() as f64;
    let plot = Plot {
        size: (820.0, 480.0),
        title,
        subtitle: "accuracy, %; whiskers are 95 % intervals",
        below: "labelled examples of each class",
        x: Axis {
            range: -0.4..(places - 0.65).max(0.4),
            ticks: x_labels
                .iter()
                .enumerate()
                .map(|(x, label)| (x as f64, label.clone()))
                .collect(),
        },
        y: Axis::around(within.into_iter(), 8.0, true),
        lines: &lines,
        markers: true,
    };
    plot.svg()
}
