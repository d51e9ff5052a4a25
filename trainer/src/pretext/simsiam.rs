//! SimSiam: a predictor turns one view's projection into the other's; the other one is taken as
//! given. Without other items to be told apart from, batch norm and that one-sidedness are what
//! keeps it from collapsing.
//!
//! Source: *Exploring Simple Siamese Representation Learning*, Chen and He, 2021.

use burn::tensor::Tensor;

use super::contrastive::normalise;
use super::{Draw, Encoder, Head, Loss, PROJECTOR, Prepared, Pretext, Targets, halves, two_views};
use crate::network::{Initialiser, Mlp, Network, Shape};
use crate::source::Source;

/// See the file.
pub struct SimSiam;

impl Pretext for SimSiam {
    fn head(&self, init: &mut Initialiser, shape: Shape, _: &dyn Source, _: &Network) -> Head {
        let [wide, narrow] = PROJECTOR;
        Head::of(vec![
            Mlp::with_norms(init, &[shape.dim, wide, wide]).with_last_norm(),
            Mlp::with_norms(init, &[wide, narrow / 2, wide]),
        ])
    }

    fn prepare(&self, source: &dyn Source, picked: &[usize], draw: Draw) -> Prepared {
        two_views(source, picked, draw)
    }

    fn loss(&self, encoder: &Encoder, head: &Head, x: Tensor<4>, _: &Targets) -> Loss {
        let z = head.run(0, encoder.forward(x));
        let [p1, p2] = halves(head.run(1, z.clone()));
        let [z1, z2] = halves(z.detach());
        let apart = |p, z| (normalise(p) * normalise(z)).sum_dim(1).mean();
        (apart(p1, z2) + apart(p2, z1)).mul_scalar(-0.5).into()
    }

    fn advice(&self) -> &'static str {
        "this task has nothing that keeps items apart: take a larger --batch, a lower --learning-rate, or --pretext vicreg or contrastive"
    }
}
