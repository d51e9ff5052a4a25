//! Figures that show collapse without labels.

use nalgebra::DMatrix;
use serde::Serialize;

/// How good a set of embeddings looks, without labels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quality {
    /// Mean squared distance between unit embeddings of two views of one window: 0 is best, 2 is
    /// no better than chance.
    pub alignment: f32,
    /// Logarithm of the mean Gaussian potential exp(-2 d^2) over pairs: 0 where all embeddings are
    /// one point, below -3 where they are spread well.
    pub uniformity: f32,
    /// The exponential of the entropy of the covariance's spectrum: 1 where all lies on a line, at
    /// most the embedding's length.
    pub effective_rank: f32,
}

/// Measures embeddings of two views: `a` and `b` are N rows of `dim`, row i of both from window i.
///
/// Sources: *Understanding Contrastive Representation Learning through Alignment and Uniformity on
/// the Hypersphere*, Wang and Isola, 2020; *The Effective Rank*, Roy and Vetterli, 2007. Cost: N^2
/// distances.
pub fn quality(a: &[f32], b: &[f32], dim: usize) -> Quality {
    let (a, b) = (centred_unit(a, dim), centred_unit(b, dim));
    let rows = |m: &DMatrix<f32>| m.nrows() as f32;
    let alignment = (&a - &b).norm_squared() / rows(&a);
    let cosines = &a * a.transpose();
    let potential = |i, j| f64::from(-4.0 * (1.0 - cosines[(i, j)])).exp();
    let n = a.nrows();
    let pairs = (0..n).flat_map(|i| (0..i).map(move |j| (i, j)));
    let total: f64 = pairs.map(|(i, j)| potential(i, j)).sum();
    let uniformity = (2.0 * total / (n * (n - 1)).max(1) as f64).ln() as f32;
    Quality {
        alignment,
        uniformity,
        effective_rank: effective_rank(&a),
    }
}

/// Rows minus their mean, then of L2 norm 1: the space that heads work in.
fn centred_unit(values: &[f32], dim: usize) -> DMatrix<f32> {
    let mut m = DMatrix::from_row_slice(values.len() / dim, dim, values);
    let mean = m.row_mean();
    for mut row in m.row_iter_mut() {
        row -= &mean;
        let norm = row.norm().max(1e-12);
        row /= norm;
    }
    m
}

fn effective_rank(rows: &DMatrix<f32>) -> f32 {
    let mean = rows.row_mean();
    let centred = DMatrix::from_fn(rows.nrows(), rows.ncols(), |i, j| rows[(i, j)] - mean[j]);
    let spectrum = (centred.transpose() * &centred).symmetric_eigenvalues();
    let total: f32 = spectrum.iter().map(|v| v.max(0.0)).sum();
    let entropy: f32 = spectrum
        .iter()
        .map(|v| v.max(0.0) / total.max(f32::MIN_POSITIVE))
        .filter(|&p| p > 0.0)
        .map(|p| -p * p.ln())
        .sum();
    entropy.exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_on_a_line_have_rank_one() {
        let line: Vec<f32> = (0..20).flat_map(|i| [i as f32, 2.0 * i as f32]).collect();
        let q = quality(&line, &line, 2);
        assert!((q.effective_rank - 1.0).abs() < 1e-3, "{q:?}");
        assert_eq!(q.alignment, 0.0);
    }

    #[test]
    fn a_circle_has_rank_two_and_a_known_uniformity() {
        let circle: Vec<f32> = (0..64)
            .map(|i| i as f32 / 64.0 * std::f32::consts::TAU)
            .flat_map(|t| [t.cos(), t.sin()])
            .collect();
        let q = quality(&circle, &circle, 2);
        assert!((q.effective_rank - 2.0).abs() < 1e-3, "{q:?}");
        // The mean of exp(-4 (1 - cos t)) over the circle is exp(-4) I0(4) = 0.2070.
        assert!((q.uniformity - 0.2070f32.ln()).abs() < 0.1, "{q:?}");
    }
}
