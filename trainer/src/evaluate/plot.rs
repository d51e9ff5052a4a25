//! Accuracy over shots as a picture: a panel a protocol, a line a head.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, anyhow};
use plotters::prelude::*;

use super::heads::HeadKind;
use super::table::Row;
use crate::files;

/// Pixels of a panel.
const PANEL: (u32, u32) = (560, 420);
/// Half a cap of an interval's bar, as a part of the number of shots.
const CAP: f64 = 0.02;

/// Colours that stay apart for those who don't see red and green apart (*Points of view: Color
/// blindness*, Bang Wong, 2011), one for each of [`HeadKind::ALL`].
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 0, 0),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(204, 121, 167),
    RGBColor(150, 150, 150),
];

/// A head's line: shots, accuracy in % and half its 95 % interval.
type Line = (HeadKind, Vec<(f64, f64, f64)>);

/// Draws the rows of the first features into an SVG file.
pub fn write(path: &Path, rows: &[Row]) -> anyhow::Result<()> {
    let first = rows.first().context("there is nothing to draw")?;
    let rows: Vec<&Row> = rows
        .iter()
        .filter(|r| (r.features, &r.encoder) == (first.features, &first.encoder))
        .collect();
    let mut protocols: Vec<&str> = rows.iter().map(|r| r.protocol).collect();
    protocols.dedup();
    let mut svg = String::new();
    {
        let size = (PANEL.0 * protocols.len() as u32, PANEL.1);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        for (panel, protocol) in area
            .split_evenly((1, protocols.len()))
            .iter()
            .zip(protocols)
        {
            let own: Vec<&Row> = rows
                .iter()
                .copied()
                .filter(|r| r.protocol == protocol)
                .collect();
            let title = format!("{}, {protocol}, {}-way", name(&first.dataset), first.ways);
            draw(panel, &title, &own).map_err(failed)?;
        }
        area.present().map_err(failed)?;
    }
    files::write(path, svg.as_bytes())
}

fn failed(why: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("could not draw the plot: {why}")
}

fn name(path: &str) -> String {
    let file = Path::new(path).file_name();
    file.map_or(path.to_owned(), |f| f.to_string_lossy().into_owned())
}

fn lines(rows: &[&Row]) -> Vec<Line> {
    let points = |kind: HeadKind| {
        let own = rows.iter().filter(move |r| r.head == kind.name());
        own.filter_map(|r| {
            let half = r.ci95.filter(|c| c.is_finite()).unwrap_or(0.0);
            Some((r.shots as f64, 100.0 * r.accuracy?, 100.0 * half))
        })
    };
    HeadKind::ALL
        .into_iter()
        .map(|kind| (kind, points(kind).collect::<Vec<_>>()))
        .filter(|line| !line.1.is_empty())
        .collect()
}

fn draw<B: DrawingBackend>(
    panel: &DrawingArea<B, plotters::coord::Shift>,
    title: &str,
    rows: &[&Row],
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let lines = lines(rows);
    let points = || lines.iter().flat_map(|line| &line.1);
    let shots: BTreeSet<usize> = rows.iter().map(|r| r.shots).collect();
    let key_points: Vec<f64> = shots.iter().map(|&s| s as f64).collect();
    let (Some(&least), Some(&most)) = (key_points.first(), key_points.last()) else {
        return Ok(());
    };
    let lowest = points().map(|p| p.1 - p.2).fold(100.0, f64::min);
    let bottom = (lowest / 5.0).floor() * 5.0;
    let x = (least / 1.1..most * 1.1)
        .log_scale()
        .with_key_points(key_points);
    let mut chart = ChartBuilder::on(panel)
        .caption(title, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(52)
        .build_cartesian_2d(x, bottom..100.0)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("labelled examples of each class")
        .y_desc("accuracy, %, with 95 % intervals")
        .x_label_formatter(&|shots| format!("{shots:.0}"))
        .y_label_formatter(&|percent| format!("{percent:.0}"))
        .draw()?;
    for (kind, points) in &lines {
        let at = HeadKind::ALL.iter().position(|k| k == kind).unwrap_or(0);
        let width = if *kind == HeadKind::Auto { 3 } else { 1 };
        let colour = COLOURS[at % COLOURS.len()];
        let style = colour.stroke_width(width);
        let line: Vec<(f64, f64)> = points.iter().map(|p| (p.0, p.1)).collect();
        chart
            .draw_series(std::iter::once(PathElement::new(line, style)))?
            .label(kind.name())
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], style));
        let thin = colour.stroke_width(1);
        let bars = points.iter().flat_map(|&(x, y, half)| {
            let (left, right) = (x * (1.0 - CAP), x * (1.0 + CAP));
            let (low, high) = (y - half, (y + half).min(100.0));
            [
                vec![(x, low), (x, high)],
                vec![(left, low), (right, low)],
                vec![(left, high), (right, high)],
            ]
        });
        chart.draw_series(bars.map(|bar| PathElement::new(bar, thin)))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.9))
        .border_style(RGBColor(200, 200, 200))
        .draw()
}
