//! The matrix of second moments, sum of x x', as a packed lower triangle: row 0, then two of row 1,
//! and so on. Empty slices, which the means tier has, are left alone.

/// Values of a D x D triangle.
pub(crate) const fn triangle(dim: usize) -> usize {
    dim * (dim + 1) / 2
}

/// Adds x x'.
pub(crate) fn add(gram: &mut [i32], x: &[i8]) {
    if !gram.is_empty() {
        accumulate(gram, x, 1);
    }
}

/// Takes x x' away.
pub(crate) fn subtract(gram: &mut [i32], x: &[i8]) {
    if !gram.is_empty() {
        accumulate(gram, x, -1);
    }
}

fn accumulate(gram: &mut [i32], x: &[i8], sign: i32) {
    let mut rest = gram;
    for i in 0..x.len() {
        let Some((row, below)) = rest.split_at_mut_checked(i + 1) else {
            return;
        };
        rest = below;
        let own = &x[..=i];
        add_scaled(row, sign * i32::from(own[i]), own);
    }
}

/// sums += factor * x, over what both have. Four at a time: a microcontroller spends more on the
/// loop than on the products.
#[inline(always)]
pub(super) fn add_scaled(sums: &mut [i32], factor: i32, x: &[i8]) {
    let n = sums.len().min(x.len());
    let (sums, last_sums) = sums[..n].as_chunks_mut::<4>();
    let (x, last_x) = x[..n].as_chunks::<4>();
    for ([a, b, c, d], &[p, q, r, s]) in sums.iter_mut().zip(x) {
        *a += factor * i32::from(p);
        *b += factor * i32::from(q);
        *c += factor * i32::from(r);
        *d += factor * i32::from(s);
    }
    for (sum, &value) in last_sums.iter_mut().zip(last_x) {
        *sum += factor * i32::from(value);
    }
}

/// Whether x x' can be part of the sum, `others` examples being left without it: their squares
/// are not negative and not too large.
pub(crate) fn can_subtract(gram: &[i32], x: &[i8], others: i64) -> bool {
    let squares = (0..).scan(0, |at, i: usize| {
        *at += i;
        gram.get(*at + i)
    });
    squares.zip(x).all(|(&square, &value)| {
        let left = i64::from(square) - i64::from(value).pow(2);
        (0..=others * i64::from(super::LARGEST).pow(2)).contains(&left)
    })
}
