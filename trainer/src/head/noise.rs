//! Noise that hides one sample among many: the discrete Gaussian, drawn exactly, in integers.
//!
//! Floating-point noise leaks through its low bits (*On Significance of the Least Significant Bits for
//! Differential Privacy*, Mironov, 2012). Here every coin is tossed with integers: *The Discrete
//! Gaussian for Differential Privacy*, Canonne, Kamath and Steinke, 2020, algorithms 1 to 3.

use rand::{Rng, RngExt};

/// Draws from the discrete Gaussian of mean 0: P(n) is proportional to exp(-n^2 / (2 sigma^2)).
pub struct DiscreteGaussian {
    /// sigma^2 = variance[0] / variance[1].
    variance: [u128; 2],
    /// floor(sigma) + 1.
    scale: u128,
}

/// The largest sigma: beyond it the fractions that coins are tossed with do not fit 128 bits.
const LARGEST: f64 = 268_435_456.0;
/// From here on sigma is whole, below it is in 1,024ths: for the same reason.
const WHOLE: f64 = 65_536.0;

impl DiscreteGaussian {
    /// `sigma` is rounded up, never down: to a 1,024th, from 2^16 on to a whole number. `None` above 2^28,
    /// where less noise than was asked for would be the alternative.
    pub fn new(sigma: f64) -> Option<Self> {
        if !(sigma > 0.0 && sigma <= LARGEST) {
            return None;
        }
        let parts: u128 = if sigma < WHOLE { 1024 } else { 1 };
        let size = (sigma * parts as f64).ceil() as u128;
        Some(DiscreteGaussian {
            variance: [size * size, parts * parts],
            scale: size / parts + 1,
        })
    }

    /// The standard deviation's parameter as it is used.
    pub fn sigma(&self) -> f64 {
        (self.variance[0] as f64 / self.variance[1] as f64).sqrt()
    }

    /// One draw.
    pub fn draw(&self, rng: &mut impl Rng) -> i64 {
        let [numerator, denominator] = self.variance;
        loop {
            let y = laplace(self.scale, rng);
            // (|y| - sigma^2 / t)^2 / (2 sigma^2), as one fraction.
            let (t, size) = (self.scale, y.unsigned_abs() as u128);
            let distance = (size * t * denominator).abs_diff(numerator);
            let above = distance.checked_mul(distance);
            let below = 2 * numerator * denominator * t * t;
            // So far out that no coin would ever say yes.
            let Some(above) = above else { continue };
            if coin_exp(above, below, rng) {
                return y;
            }
        }
    }
}

/// The discrete Laplace distribution: P(n) is proportional to exp(-|n| / t).
fn laplace(t: u128, rng: &mut impl Rng) -> i64 {
    loop {
        let u = rng.random_range(0..t);
        if !coin_exp(u, t, rng) {
            continue;
        }
        let mut whole = 0u128;
        while coin_exp(1, 1, rng) {
            whole += 1;
        }
        let size = (u + t * whole) as i64;
        let negative = rng.random::<bool>();
        if !(negative && size == 0) {
            return if negative { -size } else { size };
        }
    }
}

/// True with probability exp(-a / b).
fn coin_exp(a: u128, b: u128, rng: &mut impl Rng) -> bool {
    let (whole, rest) = (a / b, a % b);
    (0..whole).all(|_| coin_exp_below_one(1, 1, rng)) && coin_exp_below_one(rest, b, rng)
}

/// The same for a <= b.
fn coin_exp_below_one(a: u128, b: u128, rng: &mut impl Rng) -> bool {
    let mut k = 1u128;
    loop {
        // A coin of a / (b k).
        let Some(below) = b.checked_mul(k) else {
            return k % 2 == 1;
        };
        if rng.random_range(0..below) >= a {
            return k % 2 == 1;
        }
        k += 1;
    }
}

/// rho of zero-concentrated differential privacy that gives (`epsilon`, `delta`): the largest with
/// rho + 2 sqrt(rho ln(1 / delta)) <= epsilon (*Concentrated Differential Privacy*, Bun and Steinke, 2016,
/// proposition 1.3).
pub fn rho(epsilon: f64, delta: f64) -> f64 {
    let log = (1.0 / delta).ln();
    ((log + epsilon).sqrt() - log.sqrt()).powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::stream;

    /// Pearson's test of 200,000 draws against the exact probabilities, at the level 1 in 1,000.
    #[test]
    fn draws_have_the_probabilities_of_the_formula() {
        for (sigma, limit) in [(0.8, 2), (3.0, 9), (17.3, 45)] {
            let noise = DiscreteGaussian::new(sigma).expect("in range");
            let mut rng = stream(1, 99, sigma.to_bits(), 0);
            let draws = 200_000;
            let mut counts = vec![0u32; 2 * limit + 3];
            for _ in 0..draws {
                let n = noise
                    .draw(&mut rng)
                    .clamp(-(limit as i64) - 1, limit as i64 + 1);
                counts[(n + limit as i64 + 1) as usize] += 1;
            }
            let mass = |n: i64| (-(n as f64).powi(2) / (2.0 * noise.sigma().powi(2))).exp();
            let total: f64 = (-2000..=2000).map(mass).sum();
            let beyond: f64 = (limit as i64 + 1..=2000).map(mass).sum();
            let probability = |i: usize| match i {
                0 => beyond,
                i if i == 2 * limit + 2 => beyond,
                i => mass(i as i64 - limit as i64 - 1),
            };
            let chi_squared: f64 = counts
                .iter()
                .enumerate()
                .map(|(i, &count)| {
                    let expected = f64::from(draws) * probability(i) / total;
                    assert!(expected > 5.0, "{expected}");
                    (f64::from(count) - expected).powi(2) / expected
                })
                .sum();
            // Wilson and Hilferty's approximation of the quantile, z = 3.09.
            let freedom = counts.len() as f64 - 1.0;
            let part = 2.0 / (9.0 * freedom);
            let critical = freedom * (1.0 - part + 3.09 * part.sqrt()).powi(3);
            assert!(
                chi_squared < critical,
                "sigma {sigma}: {chi_squared} above {critical}"
            );
        }
    }

    /// Moments of a small epsilon want noise of millions: as wide as asked for, and refused where it
    /// can't be.
    #[test]
    fn wide_noise_is_as_wide_as_asked_for() {
        for sigma in [65_535.5, 65_536.0, 2e7, LARGEST] {
            let noise = DiscreteGaussian::new(sigma).expect("in range");
            assert!(noise.sigma() >= sigma);
            let mut rng = stream(3, 99, sigma.to_bits(), 0);
            let draws: Vec<f64> = (0..4000)
                .map(|_| noise.draw(&mut rng) as f64 / sigma)
                .collect();
            // Four standard errors of the variance, and of the share within half a sigma.
            let variance = draws.iter().map(|z| z * z).sum::<f64>() / 4000.0;
            assert!((variance - 1.0).abs() < 0.09, "sigma {sigma}: {variance}");
            let near = draws.iter().filter(|z| z.abs() < 0.5).count() as f64 / 4000.0;
            assert!((near - 0.383).abs() < 0.031, "sigma {sigma}: {near}");
        }
        for sigma in [0.0, -1.0, f64::NAN, f64::INFINITY, 2.0 * LARGEST] {
            assert!(DiscreteGaussian::new(sigma).is_none(), "{sigma}");
        }
    }

    /// What an attacker who sees one noisy count can be sure of, from a million draws with and a million
    /// without one sample: the 95 % lower bound of epsilon must not be above what is stated.
    #[test]
    fn an_audit_finds_no_more_than_epsilon() {
        let (epsilon, delta): (f64, f64) = (1.0, 1e-5);
        let sigma = (0.5 / rho(epsilon, delta)).sqrt();
        let noise = DiscreteGaussian::new(sigma).expect("in range");
        let draws = 1_000_000u32;
        let mut counts = [[0u32; 2]; 41];
        for (world, shift) in [(0, 0), (1, 1)] {
            let mut rng = stream(2, 99, world as u64, 0);
            for _ in 0..draws {
                let threshold = (noise.draw(&mut rng) + shift + 20).clamp(0, 40);
                for row in &mut counts[..=threshold as usize] {
                    row[world] += 1;
                }
            }
        }
        // Clopper and Pearson's bounds through their normal approximation, both at 97.5 %, over all
        // thresholds at once (Bonferroni).
        let z = 3.4;
        let bound = |count: u32, sign: f64| {
            let p = f64::from(count) / f64::from(draws);
            p + sign * (z * (p * (1.0 - p) / f64::from(draws)).sqrt() + 2.0 / f64::from(draws))
        };
        let worst = counts
            .iter()
            .filter(|row| row[0] > 100)
            .map(|row| ((bound(row[1], -1.0) - delta) / bound(row[0], 1.0)).ln())
            .fold(f64::NEG_INFINITY, f64::max);
        println!("an attacker can show {worst:.3} of {epsilon}");
        assert!(worst <= epsilon && worst > 0.1, "{worst}");
    }

    #[test]
    fn rho_gives_epsilon_back() {
        for (epsilon, delta) in [(0.1, 1e-6), (1.0, 1e-5), (8.0, 1e-9)] {
            let rho = rho(epsilon, delta);
            let back = rho + 2.0 * (rho * (1.0f64 / delta).ln()).sqrt();
            assert!((back - epsilon).abs() < 1e-9);
        }
    }
}
