//! Embeddings on a plane.

use nalgebra::DMatrix;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::plot::{self, COLOURS, FAINT, INK, shortened};
use super::tsne::tsne;
use crate::episode::shuffled;

/// Points that are drawn; of more, so many are drawn by lot.
const POINTS: usize = 600;
/// Labels that have a colour; of more, those with the most points.
const LABELS: usize = 20;

/// Embeddings as points, near each other where the embeddings are.
#[derive(Debug, Clone, PartialEq)]
pub struct Map {
    places: Vec<[f64; 2]>,
    labels: Vec<Option<usize>>,
    names: Vec<String>,
    of: usize,
}

impl Map {
    /// Of N rows of `dim` numbers. Row i has the label `labels[i]` (a class, or the recording that
    /// it is from), and label k the name `names[k]`; both may be shorter than needed. Distances are
    /// those that heads work with: between rows less their mean, at length 1. The same rows and
    /// seed give the same map.
    pub fn new(
        rows: &[f32],
        dim: usize,
        labels: &[Option<usize>],
        names: &[String],
        seed: u64,
    ) -> Map {
        let rows: Vec<&[f32]> = rows.chunks_exact(dim.max(1)).collect();
        let finite = |&i: &usize| {
            rows.get(i)
                .is_some_and(|row| row.iter().all(|v| v.is_finite()))
        };
        let all: Vec<usize> = (0..rows.len()).filter(finite).collect();
        let mut chosen = match all.len() > POINTS {
            true => shuffled(&all, &mut ChaCha8Rng::seed_from_u64(seed)),
            false => all,
        };
        chosen.truncate(POINTS);
        chosen.sort_unstable();
        let values = chosen.iter().flat_map(|&i| rows[i]).map(|&v| f64::from(v));
        let mut matrix = DMatrix::from_row_iterator(chosen.len(), dim, values);
        if !matrix.is_empty() {
            let mean = matrix.row_mean();
            for mut row in matrix.row_iter_mut() {
                row -= &mean;
                let norm = row.norm().max(1e-12);
                row /= norm;
            }
        }
        Map {
            places: tsne(&matrix),
            labels: chosen
                .iter()
                .map(|&i| labels.get(i).copied().flatten())
                .collect(),
            names: names.to_vec(),
            of: rows.len(),
        }
    }

    /// The places of the rows that are shown, in their order.
    pub fn places(&self) -> &[[f64; 2]] {
        &self.places
    }

    /// The map as a picture.
    pub fn svg(&self) -> String {
        const SIDE: f64 = 480.0;
        const TOP: f64 = 66.0;
        let legend = self.legend();
        let rows = legend.len() as f64;
        let widest = legend
            .iter()
            .map(|entry| plot::text_width(&entry.1, 13.0))
            .fold(0.0, f64::max);
        let size = (
            SIDE + 48.0 + widest + 24.0,
            (TOP + SIDE).max(TOP + 20.0 * rows + 16.0),
        );
        let title = "Map of the embeddings";
        let subtitle = match self.places.len() {
            shown if shown < self.of => format!(
                "t-SNE of {shown} of {} items: near means alike; the axes mean nothing",
                self.of
            ),
            shown => format!("t-SNE of {shown} items: near means alike; the axes mean nothing"),
        };
        let bounds = |axis: usize| {
            let values = || self.places.iter().map(|place| place[axis]);
            (
                values().fold(f64::INFINITY, f64::min),
                values().fold(f64::NEG_INFINITY, f64::max),
            )
        };
        let [(left, right), (bottom, top)] = [bounds(0), bounds(1)];
        let scale = (SIDE - 40.0) / (right - left).max(top - bottom).max(1e-9);
        let pixel = |place: &[f64; 2]| {
            let x = SIDE / 2.0 + (place[0] - (left + right) / 2.0) * scale;
            let y = TOP + SIDE / 2.0 - (place[1] - (bottom + top) / 2.0) * scale;
            (x, y)
        };
        plot::svg(size, title, |area| {
            plot::heading(area, title, &subtitle)?;
            // Those without a colour lie below the others.
            let entry = |label: &Option<usize>| {
                label.and_then(|l| legend.iter().position(|e| e.0 == Some(l)))
            };
            let mut points: Vec<(Option<usize>, &[f64; 2])> =
                self.labels.iter().map(entry).zip(&self.places).collect();
            points.sort_by_key(|point| point.0.is_some());
            for (entry, place) in points {
                let (shape, colour) = style(entry);
                plot::marker(area, pixel(place), 3.6, shape, colour)?;
            }
            for (row, (label, name)) in legend.iter().enumerate() {
                let (shape, colour) = style(label.is_some().then_some(row));
                let y = TOP + 16.0 + 20.0 * row as f64;
                plot::marker(area, (SIDE + 28.0, y), 4.4, shape, colour)?;
                plot::text(area, (SIDE + 42.0, y), 13.0, INK, name)?;
            }
            Ok(())
        })
    }

    /// The labels that have a colour with their names, in their order; then what all others are.
    fn legend(&self) -> Vec<(Option<usize>, String)> {
        let mut counts: Vec<(usize, usize)> = Vec::new();
        for label in self.labels.iter().flatten() {
            match counts.iter_mut().find(|count| count.0 == *label) {
                Some(count) => count.1 += 1,
                None => counts.push((*label, 1)),
            }
        }
        counts.sort_by_key(|&(label, count)| (std::cmp::Reverse(count), label));
        let more = counts.len() > LABELS;
        counts.truncate(LABELS);
        counts.sort_unstable();
        let name = |label: usize| {
            let name = self
                .names
                .get(label)
                .map_or_else(|| format!("{label}"), String::clone);
            (Some(label), shortened(&name, 28))
        };
        let mut legend: Vec<_> = counts.iter().map(|&(label, _)| name(label)).collect();
        let unlabelled = self.labels.iter().any(Option::is_none);
        let others = match (more, unlabelled) {
            (true, true) => Some("others, or no label"),
            (true, false) => Some("others"),
            (false, true) if legend.is_empty() => None,
            (false, true) => Some("no label"),
            (false, false) => None,
        };
        legend.extend(others.map(|name| (None, name.to_owned())));
        legend
    }
}

/// Shape and colour of the legend's entries: all colours with the first shape, then with the second.
fn style(entry: Option<usize>) -> (usize, plotters::style::RGBColor) {
    entry.map_or((0, FAINT), |entry| {
        (entry / COLOURS.len(), COLOURS[entry % COLOURS.len()])
    })
}
