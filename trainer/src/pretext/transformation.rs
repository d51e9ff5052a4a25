//! What was done to it? One of eight: nothing, noise, another size, upside down, backwards, parts in
//! another order, another tempo, channels in another order.
//!
//! Source: *Multi-task Self-Supervised Learning for Human Activity Detection*, Saeed et al., 2019;
//! here as one question with eight answers.

use burn::tensor::Tensor;
use rand::RngExt;

use super::{
    Draw, Encoder, Head, Loss, Prepared, Pretext, Targets, at_times, changed, classified,
    needs_time, permutation, time_steps,
};
use crate::augment::normal;
use crate::network::{Initialiser, Mlp, Network, Shape};
use crate::source::{Kind, Source};

/// See the file.
pub struct Transformation;

const CLASSES: usize = 8;

impl Pretext for Transformation {
    fn check(&self, source: &dyn Source) -> anyhow::Result<()> {
        needs_time(source, "transformation")
    }

    fn head(&self, init: &mut Initialiser, shape: Shape, _: &dyn Source, _: &Network) -> Head {
        Head::of(vec![Mlp::new(init, &[shape.dim, CLASSES])])
    }

    fn prepare(&self, source: &dyn Source, picked: &[usize], draw: Draw) -> Prepared {
        let (kind, shape) = (source.kind(), source.shape());
        let steps = time_steps(kind, shape);
        let width = shape[2];
        changed(source, picked, draw, |view, rng, out| {
            let class = rng.random_range(0..CLASSES);
            let last = (steps - 1) as f32;
            match class {
                1 => out.iter_mut().for_each(|v| *v += 0.3 * normal(rng)),
                2 => {
                    let size = if rng.random::<bool>() { 0.5 } else { 1.8 };
                    out.iter_mut().for_each(|v| *v *= size);
                }
                3 => out.iter_mut().for_each(|v| *v = -*v),
                4 => {
                    let times: Vec<f32> = (0..steps).map(|t| last - t as f32).collect();
                    at_times(kind, shape, view, &times, out);
                }
                5 => {
                    let order = permutation(4, rng.random_range(1..24));
                    at_times(kind, shape, view, &reordered(steps, &order), out);
                }
                6 => {
                    let speed = if rng.random::<bool>() { 0.6 } else { 0.75 };
                    let times: Vec<f32> = (0..steps)
                        .map(|t| last / 2.0 + (t as f32 - last / 2.0) * speed)
                        .collect();
                    at_times(kind, shape, view, &times, out);
                }
                7 => {
                    // The lanes in the opposite order: channels, or bands.
                    let lanes = view.len() / steps;
                    for (at, v) in out.iter_mut().enumerate() {
                        *v = match kind {
                            Kind::Sound => view[at / width * width + width - 1 - at % width],
                            _ => view[(lanes - 1 - at / width) * width + at % width],
                        };
                    }
                }
                _ => {}
            }
            class
        })
    }

    fn loss(&self, encoder: &Encoder, head: &Head, x: Tensor<4>, targets: &Targets) -> Loss {
        classified(encoder, head, x, targets)
    }
}

/// A time axis whose parts stand in another order.
pub fn reordered(steps: usize, order: &[usize]) -> Vec<f32> {
    let part = steps / order.len();
    (0..steps)
        .map(|t| match order.get(t / part.max(1)) {
            Some(from) => (from * part + t % part.max(1)) as f32,
            // What does not divide stays at the end.
            None => t as f32,
        })
        .collect()
}
