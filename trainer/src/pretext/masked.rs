//! Masked modelling: parts of an item are hidden, and what was there is told from the embedding of
//! the rest. Patches of pictures and of log-mel frames, value by value; spans of a sensor's window (of
//! all of its channels at once, so that none gives the others away), by their spectra: when exactly a
//! movement peaks is chance, and an embedding that has to tell it has no room for what movement it is.
//!
//! Sources: *BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding*, Devlin
//! et al., 2019 (the way of learning); *Masked Autoencoders Are Scalable Vision Learners*, He et al.,
//! 2022 (patches, and a loss on what is hidden alone); *Masked Feature Prediction for Self-Supervised
//! Visual Pre-Training*, Wei et al., 2022 (features in place of values).

use std::f32::consts::TAU;

use burn::tensor::Tensor;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{Draw, Encoder, Head, Loss, Prepared, Pretext, Targets, decoded, language};
use crate::network::{Initialiser, Mlp, Network, Shape, transformer};
use crate::source::{self, Kind, Source};

/// The part that is hidden.
const HIDDEN: f32 = 0.5;
/// Width of the decoder.
const DECODER: usize = 256;
/// Patches along a side; spans of a window.
const PARTS: usize = 8;
/// Frequencies of a span's spectrum, from 0 cycles in the span up.
const BINS: usize = 9;

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
        let told = match source.kind() {
            Kind::Sensor => source.shape()[0] * PARTS * BINS,
            _ => source::size(source),
        };
        Head::of(vec![Mlp::new(init, &[shape.dim, DECODER, told])])
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
        let views = source::single_views(source, picked, draw.views());
        let (kind, shape) = (source.kind(), source.shape());
        let size = source::size(source).max(1);
        let rows = views.par_chunks_exact(size).enumerate().map(|(i, view)| {
            let hidden = hide(kind, &mut draw.rng(i));
            let part = |at: usize| part(kind, shape, at);
            let keep = |(at, &v): (usize, &f32)| if hidden[part(at)] { 0.0 } else { v };
            let input: Vec<f32> = view.iter().enumerate().map(keep).collect();
            let (target, counts): (Vec<f32>, Vec<f32>) = match kind {
                Kind::Sensor => spectra(view, shape, &hidden).into_iter().unzip(),
                _ => {
                    let counts = (0..size).map(|at| f32::from(u8::from(hidden[part(at)])));
                    (view.to_vec(), counts.collect())
                }
            };
            (input, (target, counts))
        });
        let (inputs, targets): (Vec<_>, (Vec<_>, Vec<_>)) = rows.unzip();
        Prepared {
            inputs: inputs.concat(),
            targets: Targets::Values(targets.0.concat(), targets.1.concat()),
        }
    }

    fn loss(&self, encoder: &Encoder, head: &Head, x: Tensor<4>, targets: &Targets) -> Loss {
        match (encoder.text(), &head.words, targets) {
            (Some(text), Some(words), Targets::Words(hidden)) => {
                let states = text.forward(transformer::ids(x));
                language::loss(text, words, states, hidden).into()
            }
            _ => decoded(encoder, head, x, targets),
        }
    }
}

/// Which parts of an item are hidden.
fn hide(kind: Kind, rng: &mut ChaCha8Rng) -> Vec<bool> {
    let mut parts = vec![false; rows(kind) * PARTS];
    let count = (HIDDEN * parts.len() as f32).round() as usize;
    let mut left: Vec<usize> = (0..parts.len()).collect();
    for _ in 0..count {
        let part = left.swap_remove(rng.random_range(0..left.len()));
        parts[part] = true;
    }
    parts
}

fn rows(kind: Kind) -> usize {
    if kind == Kind::Sensor { 1 } else { PARTS }
}

/// The part that a value lies in.
fn part(kind: Kind, [_, height, width]: [usize; 3], at: usize) -> usize {
    let (y, x) = (at / width % height, at % width);
    y * rows(kind) / height * PARTS + x * PARTS / width
}

/// Of each channel and span the size of each frequency, of 0 with its sign, as a part of the channel's
/// RMS, and what it counts: 1 where the span is hidden and long enough to have the frequency.
fn spectra(view: &[f32], [_, _, width]: [usize; 3], hidden: &[bool]) -> Vec<(f32, f32)> {
    let mut all = Vec::new();
    for channel in view.chunks_exact(width) {
        for (span, &hidden) in hidden.iter().enumerate() {
            let [from, to] = [span, span + 1].map(|s| (s * width).div_ceil(PARTS));
            let values = &channel[from..to];
            let length = values.len().max(1) as f32;
            for bin in 0..BINS {
                let (mut re, mut im) = (0.0, 0.0);
                for (t, v) in values.iter().enumerate() {
                    let (sin, cos) = (TAU * bin as f32 * t as f32 / length).sin_cos();
                    re += v * cos;
                    im += v * sin;
                }
                let size = if bin == 0 { re } else { re.hypot(im) } / length;
                let counts = hidden && 2 * bin <= values.len();
                all.push((size, f32::from(u8::from(counts))));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window whose every span holds two whole cycles of a sine of amplitude 1, around 3.
    #[test]
    fn a_sine_is_one_line_wherever_it_begins() {
        for phase in [0.0, 0.7] {
            let view: Vec<f32> = (0..128)
                .map(|t| 3.0 + (TAU * 2.0 * t as f32 / 16.0 + phase).sin())
                .collect();
            let mut hidden = [false; PARTS];
            hidden[5] = true;
            let told = spectra(&view, [1, 1, 128], &hidden);
            assert_eq!(told.len(), PARTS * BINS);
            for (at, (size, counts)) in told.into_iter().enumerate() {
                let (span, bin) = (at / BINS, at % BINS);
                let wanted = [3.0, 0.0, 0.5].get(bin).copied().unwrap_or(0.0);
                assert!((size - wanted).abs() < 1e-5, "{span} {bin}: {size}");
                assert_eq!(counts, f32::from(u8::from(span == 5)));
            }
        }
    }
}
