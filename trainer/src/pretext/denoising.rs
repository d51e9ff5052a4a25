//! A denoising autoencoder: from an item with noise on it, and some of its values lost, to the item.
//!
//! Source: *Extracting and Composing Robust Features with Denoising Autoencoders*, Vincent et al.,
//! 2008.

use anyhow::bail;
use burn::tensor::Tensor;
use rand::RngExt;
use rayon::prelude::*;

use super::{Draw, Encoder, Head, Loss, Prepared, Pretext, Targets, decoded};
use crate::augment::normal;
use crate::network::{Initialiser, Mlp, Network, Shape};
use crate::source::{self, Kind, Source};

/// Standard deviation of the noise, of inputs that have 1.
const NOISE: f32 = 0.5;
/// The part of the values that is lost.
const LOST: f32 = 0.2;
/// Width of the decoder.
const DECODER: usize = 256;

/// See the file.
pub struct Denoising;

impl Pretext for Denoising {
    fn check(&self, source: &dyn Source) -> anyhow::Result<()> {
        if source.kind() == Kind::Text {
            bail!("denoising is for pictures, sensors and sound; of text, masked asks the same");
        }
        Ok(())
    }

    fn head(&self, init: &mut Initialiser, shape: Shape, source: &dyn Source, _: &Network) -> Head {
        Head::of(vec![Mlp::new(
            init,
            &[shape.dim, DECODER, source::size(source)],
        )])
    }

    fn prepare(&self, source: &dyn Source, picked: &[usize], draw: Draw) -> Prepared {
        let targets = source::single_views(source, picked, draw.views());
        let mut inputs = targets.clone();
        let size = source::size(source).max(1);
        inputs
            .par_chunks_exact_mut(size)
            .enumerate()
            .for_each(|(i, input)| {
                let mut rng = draw.rng(i);
                for v in input {
                    *v += NOISE * normal(&mut rng);
                    if rng.random::<f32>() < LOST {
                        *v = 0.0;
                    }
                }
            });
        let counts = vec![1.0; targets.len()];
        Prepared {
            inputs,
            targets: Targets::Values(targets, counts),
        }
    }

    fn loss(&self, encoder: &Encoder, head: &Head, x: Tensor<4>, targets: &Targets) -> Loss {
        decoded(encoder, head, x, targets)
    }
}
