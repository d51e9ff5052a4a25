//! How far was it turned? Pictures by quarter turns; a sensor's frame by half turns about its axes.
//!
//! Source: *Unsupervised Representation Learning by Predicting Image Rotations*, Gidaris et al., 2018.

use anyhow::bail;
use burn::tensor::Tensor;
use rand::RngExt;

use super::{Draw, Encoder, Head, Loss, Prepared, Pretext, Targets, changed, classified};
use crate::augment::sensor_width;
use crate::network::{Initialiser, Mlp, Network, Shape};
use crate::source::{Kind, Source};

/// Half turns about no axis, x, y and z.
const HALF_TURNS: [[f32; 3]; 4] = [
    [1.0, 1.0, 1.0],
    [1.0, -1.0, -1.0],
    [-1.0, 1.0, -1.0],
    [-1.0, -1.0, 1.0],
];

/// See the file.
pub struct Rotation;

impl Pretext for Rotation {
    fn check(&self, source: &dyn Source) -> anyhow::Result<()> {
        let [channels, height, width] = source.shape();
        match source.kind() {
            Kind::Sound | Kind::Text => {
                bail!("rotation is for pictures and sensors")
            }
            Kind::Sensor if sensor_width(channels) != 3 => {
                bail!("rotation is for sensors whose channels come in threes; there are {channels}")
            }
            Kind::Pictures if height != width => {
                bail!("rotation needs pictures as high as wide, and they are {height} x {width}")
            }
            _ => Ok(()),
        }
    }

    fn head(&self, init: &mut Initialiser, shape: Shape, _: &dyn Source, _: &Network) -> Head {
        Head::of(vec![Mlp::new(init, &[shape.dim, HALF_TURNS.len()])])
    }

    fn prepare(&self, source: &dyn Source, picked: &[usize], draw: Draw) -> Prepared {
        let [_, height, width] = source.shape();
        let kind = source.kind();
        changed(source, picked, draw, |view, rng, out| {
            let class = rng.random_range(0..HALF_TURNS.len());
            for (at, out) in out.iter_mut().enumerate() {
                *out = match kind {
                    Kind::Pictures => {
                        let plane = at / (height * width) * height * width;
                        let (y, x) = (at / width % height, at % width);
                        let last = width - 1;
                        let (y, x) = match class {
                            0 => (y, x),
                            1 => (x, last - y),
                            2 => (last - y, last - x),
                            _ => (last - x, y),
                        };
                        view[plane + y * width + x]
                    }
                    _ => HALF_TURNS[class][at / width % 3] * view[at],
                };
            }
            class
        })
    }

    fn loss(&self, encoder: &Encoder, head: &Head, x: Tensor<4>, targets: &Targets) -> Loss {
        classified(encoder, head, x, targets)
    }
}
