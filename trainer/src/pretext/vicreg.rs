//! VICReg: the two views of an item agree, every value varies over the batch, and no two values say
//! the same. It needs no other items to compare with, only their statistics.
//!
//! Source: *VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning*,
//! Bardes et al., 2022, with its weights.

use burn::tensor::Tensor;

use super::{Draw, Encoder, Head, Loss, PROJECTOR, Prepared, Pretext, Targets, halves, two_views};
use crate::network::{Initialiser, Mlp, Network, Shape};
use crate::source::Source;

/// What agreement and variance count.
const AGREEMENT: f32 = 25.0;
/// What covariance counts.
const COVARIANCE: f32 = 1.0;

/// See the file.
pub struct Vicreg;

impl Pretext for Vicreg {
    fn head(&self, init: &mut Initialiser, shape: Shape, _: &dyn Source, _: &Network) -> Head {
        let wide = PROJECTOR[0];
        Head::of(vec![Mlp::with_norms(init, &[shape.dim, wide, wide])])
    }

    fn prepare(&self, source: &dyn Source, picked: &[usize], draw: Draw) -> Prepared {
        two_views(source, picked, draw)
    }

    fn loss(&self, encoder: &Encoder, head: &Head, x: Tensor<4>, _: &Targets) -> Loss {
        let [a, b] = halves(head.run(0, encoder.forward(x)));
        let distance = (a.clone() - b.clone()).powi_scalar(2).mean();
        let (spread_a, repeated_a) = spread(a);
        let (spread_b, repeated_b) = spread(b);
        let value = (distance + (spread_a + spread_b).mul_scalar(0.5)).mul_scalar(AGREEMENT)
            + (repeated_a + repeated_b).mul_scalar(COVARIANCE);
        value.into()
    }
}

/// How much too little values vary, and how much they repeat each other.
fn spread(z: Tensor<2>) -> (Tensor<1>, Tensor<1>) {
    let [count, dim] = z.dims();
    let z = z.clone() - z.mean_dim(0);
    let free = (count as f32 - 1.0).max(1.0);
    let variance = z.clone().powi_scalar(2).sum_dim(0).div_scalar(free);
    let too_little = (variance.add_scalar(1e-4).sqrt().neg().add_scalar(1.0))
        .clamp_min(0.0)
        .mean();
    let covariance = z.clone().transpose().matmul(z).div_scalar(free);
    let others =
        Tensor::ones([dim, dim], &covariance.device()) - Tensor::eye(dim, &covariance.device());
    let repeated = (covariance * others)
        .powi_scalar(2)
        .sum()
        .div_scalar(dim as f32);
    (too_little, repeated)
}
