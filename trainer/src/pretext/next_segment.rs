//! Does one segment follow the other? Half of the pairs do, of the others the second one is from
//! anywhere.
//!
//! Source: *BERT*, Devlin et al., 2019, whose second task asks this of sentences.

use anyhow::bail;
use burn::tensor::Tensor;
use rand::RngExt;

use super::{
    Draw, Encoder, Head, Loss, Prepared, Pretext, Targets, classified, cross_entropy, halves,
    needs_time,
};
use crate::network::{Initialiser, Mlp, Network, Shape};
use crate::source::{self, Kind, Source};

/// See the file.
pub struct NextSegment;

impl Pretext for NextSegment {
    fn check(&self, source: &dyn Source) -> anyhow::Result<()> {
        if source.kind() != Kind::Text {
            needs_time(source, "next-segment")?;
        }
        if (0..source.len()).all(|i| source.next(i).is_none()) {
            bail!("next-segment is for recordings of two segments or more, and there is none");
        }
        Ok(())
    }

    fn head(&self, init: &mut Initialiser, shape: Shape, _: &dyn Source, _: &Network) -> Head {
        // Of text both segments are one input.
        let values = if shape.vocabulary > 0 { 1 } else { 3 } * shape.dim;
        Head::of(vec![Mlp::new(init, &[values, 128, 2])])
    }

    fn prepare(&self, source: &dyn Source, picked: &[usize], draw: Draw) -> Prepared {
        let (mut items, mut classes) = (Vec::new(), Vec::new());
        let mut second = Vec::new();
        for (i, &first) in picked.iter().enumerate() {
            let mut rng = draw.rng(i);
            // From here on the first one that something follows.
            let all = source.len();
            let found = (0..all).find_map(|k| {
                let first = (first + k) % all;
                Some((first, source.next(first)?))
            });
            let (first, next) = found.unwrap_or((first, first));
            let follows = rng.random::<bool>();
            items.push(first);
            second.push(if follows {
                next
            } else {
                rng.random_range(0..all)
            });
            classes.push(usize::from(follows));
        }
        if source.kind() == Kind::Text {
            let size = source::size(source);
            let mut inputs = vec![0.0; items.len() * size];
            let pairs = items.iter().zip(&second);
            for (out, (&first, &second)) in inputs.chunks_exact_mut(size).zip(pairs) {
                source.pair(first, second, out);
            }
            return Prepared {
                inputs,
                targets: Targets::Classes(classes),
            };
        }
        items.extend(second);
        Prepared {
            inputs: source::single_views(source, &items, draw.views()),
            targets: Targets::Classes(classes),
        }
    }

    fn loss(&self, encoder: &Encoder, head: &Head, x: Tensor<4>, targets: &Targets) -> Loss {
        if encoder.text().is_some() {
            return classified(encoder, head, x, targets);
        }
        let [a, b] = halves(encoder.forward(x));
        let both = Tensor::cat(vec![a.clone(), b.clone(), a * b], 1);
        let logits = head.run(0, both);
        match targets {
            Targets::Classes(classes) => cross_entropy(logits, classes).into(),
            _ => logits.sum().mul_scalar(0.0).into(),
        }
    }
}
