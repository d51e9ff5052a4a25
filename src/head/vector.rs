//! Sums of products, in one fixed order. Four at a time: a microcontroller spends more on the loop
//! than on the products, and four sums need not wait for each other. Two vectors at a time: a
//! product costs two loads, so what is loaded is used twice.

/// Sum of products over what both have. Product i goes into sum i mod 4; then those four are
/// added, then the products after the last whole four.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let n = a.len().min(b.len());
    let (a, a_rest) = a[..n].as_chunks::<4>();
    let (b, b_rest) = b[..n].as_chunks::<4>();
    let mut sums = [0.0; 4];
    for (a, b) in a.iter().zip(b) {
        add_products(&mut sums, a, b);
    }
    let rest = a_rest.iter().zip(b_rest);
    rest.fold(total(sums), |sum, (&a, &b)| sum + a * b)
}

/// [`dot`] of each of two vectors with a third, of which what is loaded serves both; as long as the
/// shortest.
fn dot_pair(a: &[f32], b: &[f32], c: &[f32]) -> [f32; 2] {
    let n = a.len().min(b.len()).min(c.len());
    let (a, a_rest) = a[..n].as_chunks::<4>();
    let (b, b_rest) = b[..n].as_chunks::<4>();
    let (c, c_rest) = c[..n].as_chunks::<4>();
    let (mut first, mut second) = ([0.0; 4], [0.0; 4]);
    for ((a, b), c) in a.iter().zip(b).zip(c) {
        add_products(&mut first, a, c);
        add_products(&mut second, b, c);
    }
    let (mut first, mut second) = (total(first), total(second));
    for ((&a, &b), &c) in a_rest.iter().zip(b_rest).zip(c_rest) {
        first += a * c;
        second += b * c;
    }
    [first, second]
}

/// [`dot`] of each of two vectors, a and b, with each of two others, c and d: ac, bc, ad, bd.
pub(super) fn dot_square([a, b]: [&[f32]; 2], [c, d]: [&[f32]; 2]) -> [f32; 4] {
    let n = a.len().min(b.len()).min(c.len()).min(d.len());
    let (a, a_rest) = a[..n].as_chunks::<4>();
    let (b, b_rest) = b[..n].as_chunks::<4>();
    let (c, c_rest) = c[..n].as_chunks::<4>();
    let (d, d_rest) = d[..n].as_chunks::<4>();
    let (mut ac, mut bc, mut ad, mut bd) = ([0.0; 4], [0.0; 4], [0.0; 4], [0.0; 4]);
    for (((a, b), c), d) in a.iter().zip(b).zip(c).zip(d) {
        add_products(&mut ac, a, c);
        add_products(&mut bc, b, c);
        add_products(&mut ad, a, d);
        add_products(&mut bd, b, d);
    }
    let (mut ac, mut bc, mut ad, mut bd) = (total(ac), total(bc), total(ad), total(bd));
    for (((&a, &b), &c), &d) in a_rest.iter().zip(b_rest).zip(c_rest).zip(d_rest) {
        ac += a * c;
        bc += b * c;
        ad += a * d;
        bd += b * d;
    }
    [ac, bc, ad, bd]
}

/// Written out: a compiler that saves flash leaves a loop a loop.
#[inline(always)]
fn add_products(sums: &mut [f32; 4], a: &[f32; 4], b: &[f32; 4]) {
    sums[0] += a[0] * b[0];
    sums[1] += a[1] * b[1];
    sums[2] += a[2] * b[2];
    sums[3] += a[3] * b[3];
}

fn total(sums: [f32; 4]) -> f32 {
    (sums[0] + sums[1]) + (sums[2] + sums[3])
}

/// a += factor * b, over what both have.
pub(crate) fn add_scaled(a: &mut [f32], factor: f32, b: &[f32]) {
    let n = a.len().min(b.len());
    let (a, a_rest) = a[..n].as_chunks_mut::<4>();
    let (b, b_rest) = b[..n].as_chunks::<4>();
    for (a, b) in a.iter_mut().zip(b) {
        a[0] += factor * b[0];
        a[1] += factor * b[1];
        a[2] += factor * b[2];
        a[3] += factor * b[3];
    }
    for (a, &b) in a_rest.iter_mut().zip(b_rest) {
        *a += factor * b;
    }
}

/// Gives `visit` each row of `stride` values, and its product with a vector.
pub(super) fn products<'r>(
    rows: &'r [f32],
    stride: usize,
    vector: &[f32],
    mut visit: impl FnMut(&'r [f32], f32),
) {
    let stride = stride.max(1);
    for pair in rows.chunks(2 * stride) {
        match pair.split_at_checked(stride) {
            Some((a, b)) if !b.is_empty() => {
                let [x, y] = dot_pair(a, b, vector);
                visit(a, x);
                visit(b, y);
            }
            _ => visit(pair, dot(pair, vector)),
        }
    }
}

/// Gives `visit` weights times values plus bias for each row of D weights and a bias.
pub(super) fn linear(rows: &[f32], values: &[f32], mut visit: impl FnMut(f32)) {
    products(rows, values.len() + 1, values, |row, product| {
        visit(product + row.last().unwrap_or(&0.0));
    });
}

/// An embedding's values as floats, times a factor.
pub(super) fn to_floats(values: &[i8], factor: f32, out: &mut [f32]) {
    for (out, &value) in out.iter_mut().zip(values) {
        *out = factor * f32::from(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Not sums of powers of two: every order of adding has other bits.
    fn vector(seed: usize, length: usize) -> Vec<f32> {
        (0..length)
            .map(|i| ((seed + 7 * i) % 23) as f32 / 11.3 - 0.9)
            .collect()
    }

    #[test]
    fn two_at_a_time_have_the_bits_of_one() {
        for length in 0..20 {
            let [a, b, c, d] = [1, 5, 9, 13].map(|seed| vector(seed, length));
            assert_eq!(dot_pair(&a, &b, &c), [dot(&a, &c), dot(&b, &c)]);
            assert_eq!(
                dot_square([&a, &b], [&c, &d]),
                [dot(&a, &c), dot(&b, &c), dot(&a, &d), dot(&b, &d)]
            );
            let exact: f64 = a.iter().zip(&c).map(|(&a, &c)| f64::from(a * c)).sum();
            assert!((f64::from(dot(&a, &c)) - exact).abs() < 1e-4, "{length}");
        }
    }

    #[test]
    fn rows_may_be_odd_in_number() {
        for rows in 0..5 {
            let (matrix, vector) = (vector(3, rows * 6), vector(8, 5));
            let mut seen = Vec::new();
            linear(&matrix, &vector, |logit| seen.push(logit));
            let expected = matrix.chunks(6).map(|row| dot(row, &vector) + row[5]);
            assert_eq!(seen, expected.collect::<Vec<_>>());
        }
    }
}
