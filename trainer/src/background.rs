//! What an encoder saw of the world before it met its user: the mean of its embeddings, how they
//! vary within and between things, and how sure a head may be. A head takes it as its prior.
//!
//! The covariances are those of *normalised* embeddings: the raw embedding minus the mean, scaled
//! to L2 norm 127, which is the space that heads work in. What counts as two examples of one thing
//! is the caller's to say: a label where there is one, else two views of one window.
//!
//! Source of the joint diagonalisation: *Probabilistic Linear Discriminant Analysis*, Ioffe, 2006.

mod calibrate;
mod command;

use base64::Engine as _;
use headstart::head::calibration;
use nalgebra::DMatrix;

use crate::encoder_file::Background;

pub use calibrate::calibrate;
pub use command::{Args, run};

/// The L2 norm of embeddings that heads work on.
const NORM: f64 = headstart::embedding::NORM as f64;

/// So many directions are kept of a pretrained encoder; formats take up to 32. A prediction costs a
/// product with each, and the flash 4 bytes for each value of each.
pub const RANK: usize = 16;

/// The most directions that formats take.
const MAX_RANK: usize = 32;
/// Bytes of background statistics that a pack has room for.
const MAX_BYTES: usize = 12 << 10;

/// Stretches of a recording that stand for sessions of their own.
const BLOCKS: usize = 5;

/// Part of the mean variance that is added to the within-class covariance, so that a direction in
/// which pairs never differed is no proof of a class.
const SHRINKAGE: f64 = 0.01;

/// As many directions as a pack has room for.
pub fn largest_rank(dim: usize) -> usize {
    let values = MAX_BYTES / 4 - 2 - calibration::LEN;
    (values / (dim + 2)).clamp(1, MAX_RANK.min(dim.max(1)))
}

/// Measures the background of labelled data: `rows` is N raw embeddings of `dim`, `classes` and
/// `groups` say of what and by whom each is. Where there are enough classes the heads are
/// calibrated too; see [`calibrate`].
pub fn from_classes(rows: &[f32], classes: &[usize], groups: &[u32], dim: usize) -> Background {
    let mean = mean(rows, dim);
    let space = normalised(rows, &mean);
    let mut background = of_classes(&space, classes, Things::Labelled);
    background.mean = mean.iter().map(|&v| v as f32).collect();
    background.calibration = calibrate(&space, classes, groups, Things::Labelled);
    background
}

/// What examples share, as far as the host knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Things {
    /// A class's label.
    Labelled,
    /// A recording, of an encoder that was whitened at export. Recordings of one class count as
    /// strangers to each other, so that a rate of false accepts is rather kept than used up.
    Recorded,
}

/// A calibration for an encoder that was pretrained on unlabelled recordings: `rows` is N raw
/// embeddings of windows, `recordings` says which each is of, in order. See [`calibrate`].
pub fn calibrate_recordings(rows: &[f32], recordings: &[usize], mean: &[f32]) -> Vec<f32> {
    let mean: Vec<f64> = mean.iter().map(|&v| f64::from(v)).collect();
    let mut blocks = Vec::with_capacity(recordings.len());
    for own in recordings.chunk_by(|a, b| a == b) {
        blocks.extend((0..own.len()).map(|i| (BLOCKS * i / own.len()) as u32));
    }
    calibrate(
        &normalised(rows, &mean),
        recordings,
        &blocks,
        Things::Recorded,
    )
}

/// The prior from rows of the embedding space, without mean and calibration.
fn of_classes(space: &DMatrix<f64>, classes: &[usize], things: Things) -> Background {
    let mut centred = space.clone();
    let count = classes.iter().max().map_or(0, |&c| c + 1);
    let mut examples = vec![0usize; count];
    let mut sums = DMatrix::zeros(count, space.ncols());
    for (row, &class) in space.row_iter().zip(classes) {
        examples[class] += 1;
        let mut sum = sums.row_mut(class);
        sum += row;
    }
    for (mut row, &class) in centred.row_iter_mut().zip(classes) {
        row -= sums.row(class) / examples[class] as f64;
    }
    let seen = examples.iter().filter(|&&n| n > 0).count();
    let free = classes.len().saturating_sub(seen).max(1);
    let within = centred.transpose() * &centred / free as f64;
    let total = covariance(space.clone());
    match things {
        Things::Labelled => diagonalised(&total, within, largest_rank(space.ncols())),
        Things::Recorded => diagonalised(&total, even(&within), RANK),
    }
}

/// Measures the background of unlabelled data: `all` is N raw embeddings of `dim`, one a window;
/// `first` and `second` are those of pairs of one thing each.
///
/// `isotropic` keeps of the variance within things only how large it is: an encoder that was
/// whitened at export has been told already which directions are noise.
///
/// Cost: N dim^2 and a dim^3 eigenproblem.
pub fn from_pairs(
    all: &[f32],
    first: &[f32],
    second: &[f32],
    dim: usize,
    isotropic: bool,
) -> Background {
    let mean = mean(all, dim);
    let total = covariance(normalised(all, &mean));
    let difference = normalised(first, &mean) - normalised(second, &mean);
    let pairs = difference.nrows().max(1) as f64;
    let mut within = difference.transpose() * &difference / (2.0 * pairs);
    if isotropic {
        within = even(&within);
    }
    let background = diagonalised(&total, within, RANK);
    Background {
        mean: mean.iter().map(|&v| v as f32).collect(),
        ..background
    }
}

/// The same total variance in all directions alike.
fn even(covariance: &DMatrix<f64>) -> DMatrix<f64> {
    let dim = covariance.ncols();
    DMatrix::identity(dim, dim) * (covariance.trace() / dim as f64)
}

/// Keeps the (at most `rank`) directions with the largest ratio of between- to within-class
/// variance. The projection makes the within-class covariance the unit matrix and the one between
/// classes diagonal.
fn diagonalised(total: &DMatrix<f64>, within: DMatrix<f64>, rank: usize) -> Background {
    let dim = within.ncols();
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
        mean: Vec::new(),
        projection: order.iter().flat_map(row).collect(),
        within: vec![1.0; order.len()],
        between: order
            .iter()
            .map(|&i| (spectrum.eigenvalues[i] - 1.0).max(0.0) as f32)
            .collect(),
        within_total: within.trace() as f32,
        calibration: Vec::new(),
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
fn to_base64(background: &Background) -> String {
    let sizes = [background.mean.len(), background.within.len()];
    let lists = [
        &background.mean,
        &background.projection,
        &background.within,
        &background.between,
    ];
    let sizes = sizes.iter().flat_map(|&s| (s as u32).to_le_bytes());
    let values = lists.into_iter().flatten().flat_map(|v| v.to_le_bytes());
    base64(sizes.chain(values))
}

fn base64(bytes: impl Iterator<Item = u8>) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes.collect::<Vec<u8>>())
}

/// The metadata entries that hold the background, without the prefix `headstart.`.
pub fn metadata(background: &Background) -> Vec<(&'static str, String)> {
    let mut entries = vec![
        ("background", to_base64(background)),
        ("within_total", background.within_total.to_string()),
    ];
    if !background.calibration.is_empty() {
        let values = background.calibration.iter().flat_map(|v| v.to_le_bytes());
        entries.push(("calibration", base64(values)));
    }
    entries
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
        let found = from_pairs(&first, &first, &second, 3, false);
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
        let found = from_pairs(&rows, &rows, &rows, 2, false);
        let numbers = found
            .projection
            .iter()
            .chain(&found.between)
            .chain(&found.mean);
        assert!(numbers.into_iter().all(|v| v.is_finite()), "{found:?}");
    }
}
