//! Which item is it? Every item is a class of its own, and its views are the examples.
//!
//! Source: *Discriminative Unsupervised Feature Learning with Exemplar Convolutional Neural Networks*,
//! Dosovitskiy et al., 2014.

use burn::tensor::Tensor;

use super::{Draw, Encoder, Head, Loss, Prepared, Pretext, Targets, classified};
use crate::network::{Initialiser, Mlp, Network, Shape};
use crate::source::{self, Source};

/// At most so many items are classes: the classifier has a row for each.
const MOST: usize = 4096;

/// See the file.
pub struct Exemplar;

impl Pretext for Exemplar {
    fn head(&self, init: &mut Initialiser, shape: Shape, source: &dyn Source, _: &Network) -> Head {
        let classes = source.len().min(MOST);
        Head::of(vec![Mlp::new(init, &[shape.dim, classes])])
    }

    fn prepare(&self, source: &dyn Source, picked: &[usize], draw: Draw) -> Prepared {
        // Classes are spread over the data evenly.
        let classes = source.len().min(MOST);
        let chosen: Vec<usize> = picked.iter().map(|&i| i % classes).collect();
        let items: Vec<usize> = chosen.iter().map(|&c| c * source.len() / classes).collect();
        Prepared {
            inputs: source::single_views(source, &items, draw.views()),
            targets: Targets::Classes(chosen),
        }
    }

    fn loss(&self, encoder: &Encoder, head: &Head, x: Tensor<4>, targets: &Targets) -> Loss {
        classified(encoder, head, x, targets)
    }
}
