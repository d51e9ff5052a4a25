//! Barlow Twins: over a batch, each value of one view correlates with the same value of the other
//! view fully, and with all others not at all.
//!
//! Source: *Barlow Twins: Self-Supervised Learning via Redundancy Reduction*, Zbontar et al., 2021,
//! with its weight of the off-diagonal.

use burn::tensor::Tensor;

use super::{Draw, Encoder, Head, Loss, PROJECTOR, Prepared, Pretext, Targets, halves, two_views};
use crate::network::{Initialiser, Mlp, Network, Shape};
use crate::source::Source;

/// What a correlation off the diagonal counts.
const OTHERS: f32 = 0.005;

/// See the file.
pub struct BarlowTwins;

impl Pretext for BarlowTwins {
    fn head(&self, init: &mut Initialiser, shape: Shape, _: &dyn Source, _: &Network) -> Head {
        let wide = PROJECTOR[0];
        Head::of(vec![Mlp::with_norms(init, &[shape.dim, wide, wide])])
    }

    fn prepare(&self, source: &dyn Source, picked: &[usize], draw: Draw) -> Prepared {
        two_views(source, picked, draw)
    }

    fn loss(&self, encoder: &Encoder, head: &Head, x: Tensor<4>, _: &Targets) -> Loss {
        let [a, b] = halves(head.run(0, encoder.forward(x))).map(standardised);
        let [count, dim] = a.dims();
        let correlation = a.transpose().matmul(b).div_scalar(count as f32);
        let same: Tensor<2> = Tensor::eye(dim, &correlation.device());
        let apart = (correlation - same.clone()).powi_scalar(2);
        let weights = same.mul_scalar(1.0 - OTHERS).add_scalar(OTHERS);
        (apart * weights).sum().into()
    }
}

/// Values with mean 0 and deviation 1 over the batch.
fn standardised(z: Tensor<2>) -> Tensor<2> {
    let z = z.clone() - z.mean_dim(0);
    let variance = z.clone().powi_scalar(2).mean_dim(0);
    z / variance.add_scalar(1e-5).sqrt()
}
