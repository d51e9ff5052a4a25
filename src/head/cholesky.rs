//! Cholesky's factorisation of a positive definite matrix, and solutions with it. Matrices are
//! packed lower triangles: row 0, then two values of row 1, and so on.
//!
//! *Note sur une méthode de résolution des équations normales*, Commandant Benoît, 1924, after
//! André-Louis Cholesky.

use super::{add_scaled, dot, dot_square};

/// Values of a D x D triangle.
pub(crate) const fn triangle(dim: usize) -> usize {
    dim * (dim + 1) / 2
}

/// Rows 0 to `dim` - 1 of a triangle.
fn rows(packed: &[f32], dim: usize) -> impl DoubleEndedIterator<Item = &[f32]> + ExactSizeIterator {
    (0..dim).map(|i| packed.get(triangle(i)..triangle(i + 1)).unwrap_or(&[]))
}

/// Replaces a matrix A by L with A = L L', and returns the logarithm of A's determinant.
///
/// A pivot that rounding made smaller than `floor` counts as `floor`: the matrix is a sum of
/// squares, so such a direction carries nothing. Costs D^3 / 6 multiplications.
pub(crate) fn factor(packed: &mut [f32], dim: usize, floor: f32) -> f32 {
    let mut log_determinant = 0.0;
    for i in (0..dim).step_by(2) {
        let (above, rest) = packed.split_at_mut(triangle(i));
        let (row, rest) = rest.split_at_mut(i + 1);
        if i + 1 == dim {
            forward(above, &mut row[..i]);
            log_determinant += finish(row, floor);
        } else {
            let next = &mut rest[..i + 2];
            forward_pair(above, &mut row[..i], &mut next[..i]);
            log_determinant += finish(row, floor);
            next[i] = (next[i] - dot(&row[..i], next)) / row[i];
            log_determinant += finish(next, floor);
        }
    }
    log_determinant
}

/// Works out a row's pivot, all else of it being done, and returns the logarithm of its square.
fn finish(row: &mut [f32], floor: f32) -> f32 {
    let Some((pivot, row)) = row.split_last_mut() else {
        return 0.0;
    };
    let square = (*pivot - dot(row, row)).max(floor);
    *pivot = libm::sqrtf(square);
    libm::logf(square)
}

/// Solves L y = b in place. Costs D^2 / 2 multiplications.
pub(crate) fn forward(factor: &[f32], b: &mut [f32]) {
    for (i, row) in rows(factor, b.len()).enumerate() {
        if let Some((&pivot, row)) = row.split_last() {
            b[i] = (b[i] - dot(row, &b[..i])) / pivot;
        }
    }
}

/// The same for two right-hand sides of one length, two rows at a time: what is loaded serves twice.
pub(super) fn forward_pair(factor: &[f32], b: &mut [f32], c: &mut [f32]) {
    let dim = b.len().min(c.len());
    let mut rest = factor;
    for i in (0..dim).step_by(2) {
        let Some((row, below)) = rest.split_at_checked(i + 1) else {
            return;
        };
        if i + 1 == dim {
            b[i] = (b[i] - dot(&b[..i], row)) / row[i];
            c[i] = (c[i] - dot(&c[..i], row)) / row[i];
            return;
        }
        let Some((next, below)) = below.split_at_checked(i + 2) else {
            return;
        };
        rest = below;
        let [x, y, z, w] = dot_square([&b[..i], &c[..i]], [row, next]);
        b[i] = (b[i] - x) / row[i];
        c[i] = (c[i] - y) / row[i];
        b[i + 1] = (b[i + 1] - (z + b[i] * next[i])) / next[i + 1];
        c[i + 1] = (c[i + 1] - (w + c[i] * next[i])) / next[i + 1];
    }
}

/// Solves L' x = y in place. Costs D^2 / 2 multiplications.
pub(crate) fn backward(factor: &[f32], y: &mut [f32]) {
    let dim = y.len();
    for (i, row) in rows(factor, dim).enumerate().rev() {
        if let Some((&pivot, row)) = row.split_last() {
            y[i] /= pivot;
            let solved = -y[i];
            add_scaled(&mut y[..i], solved, row);
        }
    }
}

/// Solves A x = b in place.
pub(crate) fn solve(factor: &[f32], b: &mut [f32]) {
    forward(factor, b);
    backward(factor, b);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// A = M M' + I for a matrix of small integers, so that products are exact.
    #[test]
    fn solutions_fit_their_equations() {
        for dim in [1, 2, 5, 16] {
            let m = |i: usize, k: usize| ((i * 7 + k * 3) % 5) as f32 - 2.0;
            let a = |i: usize, j: usize| {
                (0..dim).map(|k| m(i, k) * m(j, k)).sum::<f32>() + f32::from(u8::from(i == j))
            };
            let mut packed: Vec<f32> = (0..dim)
                .flat_map(|i| (0..=i).map(move |j| (i, j)))
                .map(|(i, j)| a(i, j))
                .collect();
            let log_determinant = factor(&mut packed, dim, 1e-9);
            let b: Vec<f32> = (0..dim).map(|i| i as f32 - 1.5).collect();
            let mut x = b.clone();
            solve(&packed, &mut x);
            for (i, &b) in b.iter().enumerate() {
                let left: f32 = (0..dim).map(|j| a(i, j) * x[j]).sum();
                assert!((left - b).abs() < 1e-3, "{dim} {i}: {left} {b}");
            }
            if dim == 2 {
                let determinant = a(0, 0) * a(1, 1) - a(0, 1) * a(1, 0);
                assert!((log_determinant - determinant.ln()).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn two_right_hand_sides_are_solved_as_one_is() {
        for dim in 1..8 {
            let value = |i: usize| ((i * 5) % 7) as f32 - 2.5;
            let factor: Vec<f32> = (0..triangle(dim)).map(value).collect();
            let (one, other): (Vec<f32>, Vec<f32>) =
                (0..dim).map(|i| (value(i + 3), value(2 * i))).unzip();
            let (mut b, mut c) = (one.clone(), other.clone());
            forward_pair(&factor, &mut b, &mut c);
            for (solved, mut right) in [(b, one), (c, other)] {
                forward(&factor, &mut right);
                for (a, b) in solved.iter().zip(&right) {
                    assert!((a - b).abs() <= 1e-4 * (1.0 + b.abs()), "{dim}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn a_singular_matrix_stays_finite() {
        let mut packed = [4.0, 4.0, 4.0]; // two equal rows
        let log_determinant = factor(&mut packed, 2, 1e-3);
        let mut b = [1.0, 2.0];
        solve(&packed, &mut b);
        assert!(log_determinant.is_finite() && b.iter().all(|v| v.is_finite()));
    }
}
