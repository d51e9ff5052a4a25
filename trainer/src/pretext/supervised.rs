//! No pretext: the labels themselves. What pretraining is held against, in the same loop.

use anyhow::ensure;
use burn::tensor::Tensor;

use super::{Draw, Encoder, Head, Loss, Prepared, Pretext, Targets, classified};
use crate::network::{Initialiser, Mlp, Network, Shape};
use crate::source::{self, Source};

/// Cross entropy with the data's classes.
pub struct Supervised;

impl Pretext for Supervised {
    fn check(&self, source: &dyn Source) -> anyhow::Result<()> {
        let all = (0..source.len()).all(|i| source.class(i).is_some());
        ensure!(all, "some items have no label");
        Ok(())
    }

    fn head(&self, init: &mut Initialiser, shape: Shape, source: &dyn Source, _: &Network) -> Head {
        Head::of(vec![Mlp::new(init, &[shape.dim, source.labels().len()])])
    }

    fn prepare(&self, source: &dyn Source, picked: &[usize], draw: Draw) -> Prepared {
        let class = |&i: &usize| source.class(i).unwrap_or(0);
        Prepared {
            inputs: source::single_views(source, picked, draw.views()),
            targets: Targets::Classes(picked.iter().map(class).collect()),
        }
    }

    fn loss(&self, encoder: &Encoder, head: &Head, x: Tensor<4>, targets: &Targets) -> Loss {
        classified(encoder, head, x, targets)
    }
}
