//! The matrix of second moments, sum of x x', as a packed lower triangle: row 0, then two of row 1,
//! and so on. Empty slices, which the means tier has, are left alone.

/// Values of a D x D triangle.
pub(super) const fn triangle(dim: usize) -> usize {
    dim * (dim + 1) / 2
}

/// Adds x x'.
pub(super) fn add(gram: &mut [i32], x: &[i8]) {
    accumulate(gram, x, 1);
}

/// Takes x x' away.
pub(super) fn subtract(gram: &mut [i32], x: &[i8]) {
    accumulate(gram, x, -1);
}

/// Four columns at a time: a microcontroller spends more on the loop than on the products.
fn accumulate(gram: &mut [i32], x: &[i8], sign: i32) {
    let mut rest = gram;
    for (i, &value) in x.iter().enumerate() {
        let Some((row, below)) = rest.split_at_mut_checked(i + 1) else {
            return;
        };
        rest = below;
        let value = sign * i32::from(value);
        let (moments, last_moments) = row.as_chunks_mut::<4>();
        let (others, last_others) = x[..=i].as_chunks::<4>();
        for ([a, b, c, d], &[p, q, r, s]) in moments.iter_mut().zip(others) {
            *a += value * i32::from(p);
            *b += value * i32::from(q);
            *c += value * i32::from(r);
            *d += value * i32::from(s);
        }
        for (moment, &other) in last_moments.iter_mut().zip(last_others) {
            *moment += value * i32::from(other);
        }
    }
}

/// Whether x x' can be part of the sum, `others` examples being left without it: their squares
/// are not negative and not too large.
pub(super) fn can_subtract(gram: &[i32], x: &[i8], others: i64) -> bool {
    let squares = (0..).scan(0, |at, i: usize| {
        *at += i;
        gram.get(*at + i)
    });
    squares.zip(x).all(|(&square, &value)| {
        let left = i64::from(square) - i64::from(value).pow(2);
        (0..=others * i64::from(super::LARGEST).pow(2)).contains(&left)
    })
}
