//! Points of many dimensions on a plane, neighbours beside neighbours.
//!
//! Source: *Visualizing Data using t-SNE*, van der Maaten and Hinton, 2008: the exact one, for a few
//! hundred points. It begins at the principal components, so that it needs no random numbers and
//! keeps more of what lies far apart (*Initialization is critical for preserving global data
//! structure in both t-SNE and UMAP*, Kobak and Linderman, 2021).

use nalgebra::{DMatrix, SymmetricEigen};

/// Neighbours that each point looks at, about.
const PERPLEXITY: f64 = 30.0;
/// Steps in which attraction is stronger, so that clusters form; then steps in all.
const EARLY: usize = 250;
const STEPS: usize = 750;
const EXAGGERATION: f64 = 12.0;

type Point = [f64; 2];

/// A place on the plane for each of the rows.
pub fn tsne(rows: &DMatrix<f64>) -> Vec<Point> {
    let gram = centred(rows) * centred(rows).transpose();
    let mut places = principal(&gram);
    let n = places.len();
    if n < 4 {
        return places;
    }
    let near = affinities(&gram);
    let spread = (places.iter().map(|p| p[0] * p[0]).sum::<f64>() / n as f64).sqrt();
    for place in &mut places {
        *place = place.map(|v| 1e-4 * v / spread.max(f64::MIN_POSITIVE));
    }
    let rate = (n as f64 / EXAGGERATION / 4.0).max(50.0);
    let mut speed = vec![[0.0; 2]; n];
    let mut gain = vec![[1.0f64; 2]; n];
    for step in 0..STEPS {
        let (stronger, momentum) = match step < EARLY {
            true => (EXAGGERATION, 0.5),
            false => (1.0, 0.8),
        };
        let slopes = slopes(&places, &near, stronger);
        for i in 0..n {
            for axis in 0..2 {
                let slope = slopes[i][axis];
                let (speed, gain) = (&mut speed[i][axis], &mut gain[i][axis]);
                // Faster where it keeps going one way, slower where it swings.
                *gain = match slope * *speed < 0.0 {
                    true => *gain + 0.2,
                    false => (*gain * 0.8).max(0.01),
                };
                *speed = momentum * *speed - rate * *gain * slope;
                places[i][axis] += *speed;
            }
        }
    }
    places
}

fn centred(rows: &DMatrix<f64>) -> DMatrix<f64> {
    let mean = rows.row_mean();
    DMatrix::from_fn(rows.nrows(), rows.ncols(), |i, j| rows[(i, j)] - mean[j])
}

/// The two principal components of rows, from their inner products.
fn principal(gram: &DMatrix<f64>) -> Vec<Point> {
    if gram.is_empty() {
        return Vec::new();
    }
    let SymmetricEigen {
        eigenvalues,
        eigenvectors,
    } = gram.clone().symmetric_eigen();
    let mut order: Vec<usize> = (0..eigenvalues.len()).collect();
    order.sort_by(|&a, &b| eigenvalues[b].total_cmp(&eigenvalues[a]));
    let component = |rank: usize, row: usize| {
        order.get(rank).map_or(0.0, |&k| {
            eigenvectors[(row, k)] * eigenvalues[k].max(0.0).sqrt()
        })
    };
    (0..gram.nrows())
        .map(|row| [component(0, row), component(1, row)])
        .collect()
}

/// How likely two points are neighbours: 1 over all pairs.
fn affinities(gram: &DMatrix<f64>) -> DMatrix<f64> {
    let n = gram.nrows();
    let entropy = PERPLEXITY.min((n - 1) as f64 / 3.0).ln();
    let mut near = DMatrix::zeros(n, n);
    for i in 0..n {
        let squared: Vec<f64> = (0..n)
            .map(|j| (gram[(i, i)] + gram[(j, j)] - 2.0 * gram[(i, j)]).max(0.0))
            .collect();
        let nearest = (0..n)
            .filter(|&j| j != i)
            .map(|j| squared[j])
            .fold(f64::INFINITY, f64::min);
        // The precision that gives the point as many neighbours as it should have.
        let (mut low, mut high, mut precision) = (0.0, f64::INFINITY, 1.0);
        let mut weights = vec![0.0; n];
        for _ in 0..64 {
            for j in 0..n {
                // Less the nearest's distance, which changes nothing but keeps the sum from 0.
                weights[j] = match j == i {
                    true => 0.0,
                    false => (-(squared[j] - nearest) * precision).exp(),
                };
            }
            let total: f64 = weights.iter().sum();
            let mean = (0..n)
                .map(|j| weights[j] * (squared[j] - nearest))
                .sum::<f64>()
                / total;
            if total.ln() + precision * mean > entropy {
                low = precision;
                precision = if high.is_finite() {
                    (low + high) / 2.0
                } else {
                    2.0 * precision
                };
            } else {
                high = precision;
                precision = (low + high) / 2.0;
            }
        }
        let total: f64 = weights.iter().sum();
        for j in 0..n {
            let half = weights[j] / total / (2 * n) as f64;
            near[(i, j)] += half;
            near[(j, i)] += half;
        }
    }
    near
}

/// The gradient: neighbours draw each other near, all others push each other away.
fn slopes(places: &[Point], near: &DMatrix<f64>, stronger: f64) -> Vec<Point> {
    let n = places.len();
    let apart = |i: usize, j: usize| [places[i][0] - places[j][0], places[i][1] - places[j][1]];
    let mut likely = DMatrix::zeros(n, n);
    let mut total = 0.0;
    for i in 0..n {
        for j in 0..i {
            let [x, y] = apart(i, j);
            let value = 1.0 / (1.0 + x * x + y * y);
            (likely[(i, j)], likely[(j, i)]) = (value, value);
            total += 2.0 * value;
        }
    }
    let slope = |i: usize| {
        let mut slope = [0.0; 2];
        for j in (0..n).filter(|&j| j != i) {
            // Both matrices are symmetric: down a column, as they lie in memory.
            let value = likely[(j, i)];
            let pull = 4.0 * (stronger * near[(j, i)] - value / total) * value;
            let [x, y] = apart(i, j);
            slope[0] += pull * x;
            slope[1] += pull * y;
        }
        slope
    };
    (0..n).map(slope).collect()
}
