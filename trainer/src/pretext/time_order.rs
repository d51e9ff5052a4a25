//! Does time run forwards?
//!
//! Source: *Learning and Using the Arrow of Time*, Wei et al., 2018.

use burn::tensor::Tensor;
use rand::RngExt;

use super::{
    Draw, Encoder, Head, Loss, Prepared, Pretext, Targets, at_times, changed, classified,
    needs_time, time_steps,
};
use crate::network::{Initialiser, Mlp, Network, Shape};
use crate::source::Source;

/// See the file.
pub struct TimeOrder;

impl Pretext for TimeOrder {
    fn check(&self, source: &dyn Source) -> anyhow::Result<()> {
        needs_time(source, "time-order")
    }

    fn head(&self, init: &mut Initialiser, shape: Shape, _: &dyn Source, _: &Network) -> Head {
        Head::of(vec![Mlp::new(init, &[shape.dim, 2])])
    }

    fn prepare(&self, source: &dyn Source, picked: &[usize], draw: Draw) -> Prepared {
        let (kind, shape) = (source.kind(), source.shape());
        let steps = time_steps(kind, shape);
        let backwards: Vec<f32> = (0..steps).rev().map(|t| t as f32).collect();
        changed(source, picked, draw, |view, rng, out| {
            let class = rng.random_range(0..2);
            if class == 1 {
                at_times(kind, shape, view, &backwards, out);
            }
            class
        })
    }

    fn loss(&self, encoder: &Encoder, head: &Head, x: Tensor<4>, targets: &Targets) -> Loss {
        classified(encoder, head, x, targets)
    }
}
