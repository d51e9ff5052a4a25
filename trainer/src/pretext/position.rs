//! Where does one patch lie, seen from another? The middle one of nine patches of a picture and one of
//! its eight neighbours, each enlarged to the encoder's input and moved a little, so that edges which
//! go on from one to the other don't give it away.
//!
//! Source: *Unsupervised Visual Representation Learning by Context Prediction*, Doersch et al., 2015.

use anyhow::bail;
use burn::tensor::Tensor;
use rand::RngExt;
use rayon::prelude::*;

use super::{Draw, Encoder, Head, Loss, Prepared, Pretext, Targets, cross_entropy, halves};
use crate::network::{Initialiser, Mlp, Network, Shape};
use crate::source::{self, Kind, Source};

/// See the file.
pub struct Position;

const NEIGHBOURS: [[isize; 2]; 8] = [
    [-1, -1],
    [-1, 0],
    [-1, 1],
    [0, -1],
    [0, 1],
    [1, -1],
    [1, 0],
    [1, 1],
];

impl Pretext for Position {
    fn check(&self, source: &dyn Source) -> anyhow::Result<()> {
        if source.kind() != Kind::Pictures {
            bail!("position is for pictures; of series, next-segment asks the same of time");
        }
        Ok(())
    }

    fn head(&self, init: &mut Initialiser, shape: Shape, _: &dyn Source, _: &Network) -> Head {
        Head::of(vec![Mlp::new(
            init,
            &[2 * shape.dim, 128, NEIGHBOURS.len()],
        )])
    }

    fn prepare(&self, source: &dyn Source, picked: &[usize], draw: Draw) -> Prepared {
        let shape = source.shape();
        let size = source::size(source).max(1);
        let views = source::single_views(source, picked, draw.views());
        let mut inputs = vec![0.0; 2 * views.len()];
        let (first, second) = inputs.split_at_mut(views.len());
        let classes = views
            .par_chunks_exact(size)
            .zip(first.par_chunks_exact_mut(size))
            .zip(second.par_chunks_exact_mut(size))
            .enumerate()
            .map(|(i, ((view, middle), neighbour))| {
                let mut rng = draw.rng(i);
                let class = rng.random_range(0..NEIGHBOURS.len());
                let mut jitter = || [(); 2].map(|()| 0.1 * rng.random::<f32>() - 0.05);
                enlarged(view, shape, [0, 0], jitter(), middle);
                enlarged(view, shape, NEIGHBOURS[class], jitter(), neighbour);
                class
            })
            .collect();
        Prepared {
            inputs,
            targets: Targets::Classes(classes),
        }
    }

    fn loss(&self, encoder: &Encoder, head: &Head, x: Tensor<4>, targets: &Targets) -> Loss {
        let logits = head.run(0, Tensor::cat(halves(encoder.forward(x)).into(), 1));
        match targets {
            Targets::Classes(classes) => cross_entropy(logits, classes).into(),
            _ => logits.sum().mul_scalar(0.0).into(),
        }
    }
}

/// A patch of a third of each side, at `place` from the middle, at the picture's size.
fn enlarged(
    view: &[f32],
    [_, height, width]: [usize; 3],
    place: [isize; 2],
    jitter: [f32; 2],
    out: &mut [f32],
) {
    let along = |at: usize, side: usize, place: isize, jitter: f32| {
        let part = (at as f32 + 0.5) / side as f32;
        let inside = (part + place as f32 + 1.0) / 3.0 + jitter;
        (inside * side as f32).clamp(0.0, side as f32 - 1.0) as usize
    };
    for (at, out) in out.iter_mut().enumerate() {
        let plane = at / (height * width);
        let y = along(at / width % height, height, place[0], jitter[0]);
        let x = along(at % width, width, place[1], jitter[1]);
        *out = view[(plane * height + y) * width + x];
    }
}
