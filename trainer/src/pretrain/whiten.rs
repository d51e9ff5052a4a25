//! A linear map at the end of the encoder that makes all directions of the embedding vary alike
//! within a recording.
//!
//! What differs between two windows of one recording is mostly phase and effort, seldom the
//! movement: directions in which recordings vary a lot are shrunk, quiet ones are stretched. It is
//! folded into the last dense layers and costs nothing on the device. Source of the idea: within-
//! class covariance normalisation, *Within-Class Covariance Normalization for SVM-based Speaker
//! Recognition*, Hatch et al., 2006; here recordings stand in for classes.

use nalgebra::DMatrix;

/// The map as [dim, dim], row-major and symmetric, for rows of embeddings: row times map.
///
/// `embeddings` is N rows of `dim`, `recordings` says which recording each came from. `strength` is
/// 0 to 1: the covariance within recordings is mixed with so much less of the unit matrix, so that
/// 0 changes nothing and 1 whitens fully. The total variance within recordings is kept.
pub fn whitening(embeddings: &[f32], recordings: &[usize], dim: usize, strength: f32) -> Vec<f32> {
    let within = covariance_within(embeddings, recordings, dim);
    let mean = within.trace() / dim as f64;
    let strength = f64::from(strength);
    let mixed = |v: f64| strength * v.max(1e-9 * mean) + (1.0 - strength) * mean;
    let spectrum = within.clone().symmetric_eigen();
    let gains = spectrum
        .eigenvalues
        .map(|v| 1.0 / mixed(v).max(f64::MIN_POSITIVE).sqrt());
    let vectors = spectrum.eigenvectors;
    let map = &vectors * DMatrix::from_diagonal(&gains) * vectors.transpose();
    let after = (&map * &within * &map).trace();
    let scale = (within.trace() / after).sqrt();
    let map = if scale.is_finite() {
        map * scale
    } else {
        DMatrix::identity(dim, dim)
    };
    map.iter().map(|&v| v as f32).collect()
}

fn covariance_within(embeddings: &[f32], recordings: &[usize], dim: usize) -> DMatrix<f64> {
    let mut sums = vec![(vec![0.0f64; dim], 0usize); recordings.iter().max().map_or(0, |m| m + 1)];
    for (row, &recording) in embeddings.chunks_exact(dim).zip(recordings) {
        let (sum, count) = &mut sums[recording];
        sum.iter_mut()
            .zip(row)
            .for_each(|(s, &v)| *s += f64::from(v));
        *count += 1;
    }
    let rows = embeddings.chunks_exact(dim).zip(recordings);
    let centred = rows.flat_map(|(row, &recording)| {
        let (sum, count) = &sums[recording];
        row.iter()
            .zip(sum)
            .map(move |(&v, s)| f64::from(v) - s / *count as f64)
    });
    let matrix = DMatrix::from_row_iterator(recordings.len(), dim, centred);
    matrix.transpose() * &matrix / recordings.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_vary_alike_afterwards() {
        // Two recordings far apart; within them x varies a hundred times as much as y.
        let rows: Vec<[f32; 2]> = (0..40)
            .map(|i| {
                [
                    if i % 2 == 0 { 1.0 } else { -1.0 },
                    if i % 4 < 2 { 0.01 } else { -0.01 },
                ]
            })
            .enumerate()
            .map(|(i, [x, y])| if i < 20 { [x, y] } else { [x + 50.0, y] })
            .collect();
        let recordings: Vec<usize> = (0..40).map(|i| i / 20).collect();
        let map = whitening(rows.as_flattened(), &recordings, 2, 1.0);
        let (x, y) = (map[0] * 1.0, map[3] * 0.01);
        assert!((x / y - 1.0).abs() < 1e-3, "{map:?}");
        let none = whitening(rows.as_flattened(), &recordings, 2, 0.0);
        assert!((none[0] / none[3] - 1.0).abs() < 1e-3, "{none:?}");
        assert!((none[0] - 1.0).abs() < 1e-3, "{none:?}");
    }

    #[test]
    fn embeddings_that_never_vary_give_a_finite_map() {
        let map = whitening(&[1.0, 2.0, 1.0, 2.0], &[0, 0], 2, 0.3);
        assert!(map.iter().all(|v| v.is_finite()), "{map:?}");
    }
}
