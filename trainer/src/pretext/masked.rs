//! Masked modelling: parts of an item are hidden, and what was there is told from the embedding of
//! the rest. Patches of pictures and of log-mel frames, spans of a sensor's window (of all of its
//! channels at once, so that none gives the others away).
//!
//! Sources: *BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding*, Devlin
//! et al., 2019 (the way of learning); *Masked Autoencoders Are Scalable Vision Learners*, He et al.,
//! 2022 (patches, and a loss on what is hidden alone).

use burn::tensor::Tensor;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{Draw, Head, Loss, Prepared, Pretext, Targets, decoded, language};
use crate::network::{Initialiser, Mlp, Network, Shape, transformer};
use crate::source::{self, Kind, Source};

/// The part that is hidden.
const HIDDEN: f32 = 0.5;
/// Width of the decoder.
const DECODER: usize = 256;
/// Patches along a side; spans of a window.
const PARTS: usize = 8;

/// See the file; of text, words are told from the states of their places ([`language`]).
pub struct Masked;

impl Pretext for Masked {
    fn head(&self, init: &mut Initialiser, shape: Shape, source: &dyn Source, _: &Network) -> Head {
        if source.kind() == Kind::Text {
            return Head {
                words: Some(init.words(shape.dim, shape.vocabulary)),
                ..Head::of(Vec::new())
            };
        }
        Head::of(vec![Mlp::new(
            init,
            &[shape.dim, DECODER, source::size(source)],
        )])
    }

    fn prepare(&self, source: &dyn Source, picked: &[usize], draw: Draw) -> Prepared {
        if source.kind() == Kind::Text {
            let ids = source::plain(source, picked);
            let ids: Vec<u32> = ids.into_iter().map(|id| id as u32).collect();
            let length = source::size(source);
            let hidden = language::masked(&ids, length, source.vocabulary(), &mut draw.rng(0));
            return Prepared {
                inputs: hidden.ids.iter().map(|&id| id as f32).collect(),
                targets: Targets::Words(hidden),
            };
        }
        let targets = source::single_views(source, picked, draw.views());
        let mut inputs = targets.clone();
        let mut counts = vec![0.0; targets.len()];
        let size = source::size(source).max(1);
        inputs
            .par_chunks_exact_mut(size)
            .zip(counts.par_chunks_exact_mut(size))
            .enumerate()
            .for_each(|(i, (input, counts))| {
                let hidden = mask(source.kind(), source.shape(), &mut draw.rng(i));
                for ((v, count), hidden) in input.iter_mut().zip(counts).zip(hidden) {
                    if hidden {
                        (*v, *count) = (0.0, 1.0);
                    }
                }
            });
        Prepared {
            inputs,
            targets: Targets::Values(targets, counts),
        }
    }

    fn loss(&self, encoder: &Network, head: &Head, x: Tensor<4>, targets: &Targets) -> Loss {
        match (encoder, &head.words, targets) {
            (Network::Text(text), Some(words), Targets::Words(hidden)) => {
                let states = text.forward(transformer::ids(x));
                language::loss(text, words, states, hidden).into()
            }
            _ => decoded(encoder, head, x, targets),
        }
    }
}

/// What is hidden of an item.
fn mask(kind: Kind, [channels, height, width]: [usize; 3], rng: &mut ChaCha8Rng) -> Vec<bool> {
    let rows = if kind == Kind::Sensor { 1 } else { PARTS };
    let mut parts = vec![false; rows * PARTS];
    let count = (HIDDEN * parts.len() as f32).round() as usize;
    let mut left: Vec<usize> = (0..parts.len()).collect();
    for _ in 0..count {
        let part = left.swap_remove(rng.random_range(0..left.len()));
        parts[part] = true;
    }
    let of = |at: usize| {
        let (y, x) = (at / width % height, at % width);
        parts[y * rows / height * PARTS + x * PARTS / width]
    };
    (0..channels * height * width).map(of).collect()
}
