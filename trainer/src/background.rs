//! What an encoder saw of the world before it met its user: the mean of its embeddings, and how
//! they vary within and between things. A head takes it as its prior.
//!
//! The covariances are those of *normalised* embeddings: the raw embedding minus the mean, scaled
//! to L2 norm 127, which is the space that heads work in. There are no labels: two windows of one
//! recording, far enough apart to share no sample, stand for two examples of one class; where there
//! are hardly any recordings, two augmented views of one window do.
//!
//! Source of the joint diagonalisation: *Probabilistic Linear Discriminant Analysis*, Ioffe, 2006.

use base64::Engine as _;
use nalgebra::DMatrix;

use crate::encoder_file::Background;

/// The L2 norm of embeddings that heads work on.
const NORM: f64 = headstart::embedding::NORM as f64;

/// So many directions are kept; formats take up to 32. A prediction costs a product with each, and
/// the flash 4 bytes for each value of each.
pub const RANK: usize = 16;

/// Part of the mean variance that is added to the within-class covariance, so that a direction in
/// which pairs never differed is no proof of a class.
const SHRINKAGE: f64 = 0.01;

/// Measures the background: `all` is N raw embeddings of `dim`, one a window; `first` and `second`
/// are those of pairs of one class each.
///
/// Keeps the (at most `rank`) directions with the largest ratio of between- to within-class
/// variance. The projection makes the within-class covariance the unit matrix and the one between
/// classes diagonal. Cost: N dim^2 and a dim^3 eigenproblem.
pub fn background(
    all: &[f32],
    first: &[f32],
    second: &[f32],
    dim: usize,
    rank: usize,
) -> Background {
    let mean = mean(all, dim);
    let total = covariance(normalised(all, &mean));
    let difference = normalised(first, &mean) - normalised(second, &mean);
    let pairs = difference.nrows().max(1) as f64;
    let within = difference.transpose() * &difference / (2.0 * pairs);
    let floor = (SHRINKAGE * within.trace() / dim as f64).max(1e-6);
    let within = within + DMatrix::identity(dim, dim) * floor;

    // within = V L V', so W = V L^-1/2 whitens it; the eigenvectors of W' total W do the rest.
    let spectrum = within.clone().symmetric_eigen();
    let mut whiten = spectrum.eigenvectors;
    for (mut column, value) in whiten.column_iter_mut().zip(&spectrum.eigenvalues) {
        column /= value.max(floor).sqrt();
    }
    let spectrum = (whiten.transpose() * total * &whiten).symmetric_eigen();
    let mut order: Vec<usize> = (0..dim).collect();
    order.sort_by(|&a, &b| spectrum.eigenvalues[b].total_cmp(&spectrum.eigenvalues[a]));
    order.retain(|&i| spectrum.eigenvalues[i] > 1.0);
    order.truncate(rank.max(1));
    if order.is_empty() {
        order.push(spectrum.eigenvalues.imax());
    }

    let directions = whiten * spectrum.eigenvectors;
    let row = |&i: &usize| upright(directions.column(i).iter().copied().collect());
    Background {
        mean: mean.iter().map(|&v| v as f32).collect(),
        projection: order.iter().flat_map(row).collect(),
        within: vec![1.0; order.len()],
        between: order
            .iter()
            .map(|&i| (spectrum.eigenvalues[i] - 1.0).max(0.0) as f32)
            .collect(),
        within_total: within.trace() as f32,
    }
}

/// An eigenvector's sign is arbitrary: its largest component is made positive.
fn upright(direction: Vec<f64>) -> Vec<f32> {
    let largest = direction
        .iter()
        .copied()
        .fold(0.0, |a: f64, b| if b.abs() > a.abs() { b } else { a });
    direction
        .iter()
        .map(|v| (v * largest.signum()) as f32)
        .collect()
}

fn mean(rows: &[f32], dim: usize) -> Vec<f64> {
    let mut sum = vec![0.0; dim];
    for row in rows.chunks_exact(dim) {
        sum.iter_mut()
            .zip(row)
            .for_each(|(s, &v)| *s += f64::from(v));
    }
    let count = (rows.len() / dim).max(1) as f64;
    sum.iter().map(|s| s / count).collect()
}

fn normalised(rows: &[f32], mean: &[f64]) -> DMatrix<f64> {
    let dim = mean.len();
    let centred = rows
        .iter()
        .zip(mean.iter().cycle())
        .map(|(&v, m)| f64::from(v) - m);
    let mut matrix = DMatrix::from_row_iterator(rows.len() / dim, dim, centred);
    for mut row in matrix.row_iter_mut() {
        let norm = row.norm().max(1e-12);
        row *= NORM / norm;
    }
    matrix
}

fn covariance(mut rows: DMatrix<f64>) -> DMatrix<f64> {
    let mean = rows.row_mean();
    rows.row_iter_mut().for_each(|mut row| row -= &mean);
    rows.transpose() * &rows / rows.nrows().max(1) as f64
}

/// The metadata entry `headstart.background`: D and r as u32, then mean, projection, within and
/// between as f32, all little-endian, in base64.
pub fn to_base64(background: &Background) -> String {
    let sizes = [background.mean.len(), background.within.len()];
    let lists = [
        &background.mean,
        &background.projection,
        &background.within,
        &background.between,
    ];
    let sizes = sizes.iter().flat_map(|&s| (s as u32).to_le_bytes());
    let values = lists.into_iter().flatten().flat_map(|v| v.to_le_bytes());
    let bytes: Vec<u8> = sizes.chain(values).collect();
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::{normal, stream};

    /// Classes spread along x, examples along y, hardly anything along z.
    #[test]
    fn finds_the_direction_in_which_classes_differ() {
        let mut rng = stream(1, 0, 0, 0);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for _ in 0..500 {
            let class = 3.0 * normal(&mut rng);
            for view in [&mut first, &mut second] {
                view.extend([class, normal(&mut rng), 0.1 * normal(&mut rng)]);
            }
        }
        let found = background(&first, &first, &second, 3, 32);
        let [x, y, z] = [0, 1, 2].map(|i| found.projection[i]);
        assert!(
            x > 5.0 * y.abs().max(z.abs() * 0.1),
            "{:?}",
            found.projection
        );
        assert!(found.between[0] > 2.0, "{:?}", found.between);
        assert!(found.between.is_sorted_by(|a, b| a >= b));
    }

    #[test]
    fn identical_pairs_and_identical_rows_stay_finite() {
        let rows = [1.0f32, 2.0, 1.0, 2.0, 1.0, 2.0];
        let found = background(&rows, &rows, &rows, 2, 32);
        let numbers = found
            .projection
            .iter()
            .chain(&found.between)
            .chain(&found.mean);
        assert!(numbers.into_iter().all(|v| v.is_finite()), "{found:?}");
    }
}
