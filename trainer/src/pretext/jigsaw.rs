//! In which order are its parts? Four tiles of a picture, four stretches of a series: 24 orders.
//!
//! Source: *Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles*, Noroozi and
//! Favaro, 2016.

use anyhow::bail;
use burn::tensor::Tensor;
use rand::RngExt;

use super::transformation::reordered;
use super::{
    Draw, Encoder, Head, Loss, Prepared, Pretext, Targets, at_times, changed, classified,
    permutation, time_steps,
};
use crate::network::{Initialiser, Mlp, Network, Shape};
use crate::source::{Kind, Source};

/// See the file.
pub struct Jigsaw;

const ORDERS: usize = 24;

impl Pretext for Jigsaw {
    fn check(&self, source: &dyn Source) -> anyhow::Result<()> {
        if source.kind() == Kind::Text {
            bail!("jigsaw is for pictures, sensors and sound");
        }
        Ok(())
    }

    fn head(&self, init: &mut Initialiser, shape: Shape, _: &dyn Source, _: &Network) -> Head {
        Head::of(vec![Mlp::new(init, &[shape.dim, ORDERS])])
    }

    fn prepare(&self, source: &dyn Source, picked: &[usize], draw: Draw) -> Prepared {
        let (kind, shape) = (source.kind(), source.shape());
        let [_, height, width] = shape;
        changed(source, picked, draw, |view, rng, out| {
            let class = rng.random_range(0..ORDERS);
            let order = permutation(4, class);
            if kind != Kind::Pictures {
                let steps = time_steps(kind, shape);
                at_times(kind, shape, view, &reordered(steps, &order), out);
                return class;
            }
            let (half_y, half_x) = (height / 2, width / 2);
            for (at, out) in out.iter_mut().enumerate() {
                let (plane, y, x) = (at / (height * width), at / width % height, at % width);
                if y >= 2 * half_y || x >= 2 * half_x {
                    continue; // an odd side's last row or column stays
                }
                let from = order[y / half_y * 2 + x / half_x];
                let y = from / 2 * half_y + y % half_y;
                let x = from % 2 * half_x + x % half_x;
                *out = view[(plane * height + y) * width + x];
            }
            class
        })
    }

    fn loss(&self, encoder: &Encoder, head: &Head, x: Tensor<4>, targets: &Targets) -> Loss {
        classified(encoder, head, x, targets)
    }
}
