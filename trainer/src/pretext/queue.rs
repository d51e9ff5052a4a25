//! A contrast with a queue of earlier answers, in the manner of MoCo: a small batch still meets many
//! other items. The answers come from a copy of the network that follows it slowly, so that those in
//! the queue still mean the same.
//!
//! Source: *Momentum Contrast for Unsupervised Visual Representation Learning*, He et al., 2020.
//! Batch norm is not shuffled: there is one processor.

use std::collections::VecDeque;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::nn::BatchNorm;
use burn::tensor::{Tensor, TensorData};

use super::contrastive::normalise;
use super::{Draw, Encoder, Head, Loss, PROJECTOR, Prepared, Pretext, Targets, two_views};
use crate::network::{self, Initialiser, Mlp, Network, Shape};
use crate::source::Source;

/// Answers that are kept.
const LENGTH: usize = 2048;
/// What stays of the copy in a step.
const MOMENTUM: f32 = 0.99;

/// See the file.
pub struct Queue {
    /// As of the contrast within a batch.
    pub temperature: f32,
}

/// The slow copy and its answers.
#[derive(Module, Debug)]
pub struct Keys {
    encoder: Network,
    projector: Mlp,
    /// [answers, projection], the oldest first.
    queue: Param<Tensor<2>>,
}

impl Keys {
    /// Every batch norm.
    pub fn norms(&self) -> impl Iterator<Item = &BatchNorm> {
        self.encoder.norms().iter().chain(self.projector.norms())
    }
}

impl Pretext for Queue {
    fn head(
        &self,
        init: &mut Initialiser,
        shape: Shape,
        _: &dyn Source,
        encoder: &Network,
    ) -> Head {
        let projector = Mlp::new(init, &[shape.dim, PROJECTOR[0], PROJECTOR[1]]);
        let device = encoder_device(encoder);
        let answers = init.normals(LENGTH * PROJECTOR[1]);
        let answers = TensorData::new(answers, [LENGTH, PROJECTOR[1]]);
        let queue = normalise(Tensor::from_data(answers, &device));
        // By way of `valid`, as a clone would share the encoder's running statistics.
        let keys = Keys {
            encoder: encoder.valid().train(),
            projector: projector.clone(),
            queue: Param::from_tensor(queue),
        };
        Head {
            layers: vec![projector],
            keys: Some(keys.no_grad()),
            words: None,
        }
    }

    fn prepare(&self, source: &dyn Source, picked: &[usize], draw: Draw) -> Prepared {
        two_views(source, picked, draw)
    }

    fn loss(&self, encoder: &Encoder, head: &Head, x: Tensor<4>, _: &Targets) -> Loss {
        let [all, _, _, _] = x.dims();
        let [first, second] = [0..all / 2, all / 2..all].map(|half| x.clone().slice([half]));
        let query = normalise(head.run(0, encoder.forward(first)));
        let Some(slow) = &head.keys else {
            return query.sum().mul_scalar(0.0).into();
        };
        let answers = slow.projector.forward(slow.encoder.forward(second));
        let key = normalise(answers).detach();
        let scale = 1.0 / self.temperature;
        let right = (query.clone() * key.clone()).sum_dim(1);
        let wrong = query.matmul(slow.queue.val().detach().transpose());
        // Cosines lie within +-1: relative to 1 nothing overflows.
        let of = |cosine: Tensor<2>| cosine.sub_scalar(1.0).mul_scalar(scale);
        let mass = of(right.clone()).exp() + of(wrong).exp().sum_dim(1);
        Loss {
            value: (mass.log() - of(right)).mean(),
            keys: Some(key),
        }
    }

    fn after(&self, encoder: &Network, mut head: Head, keys: Option<Tensor<2>>) -> Head {
        let (Some(slow), Some(key), Some(projector)) =
            (head.keys.take(), keys, head.layers.first())
        else {
            return head;
        };
        let queue = Tensor::cat(vec![slow.queue.val(), key], 0);
        let [have, _] = queue.dims();
        let queue = queue.narrow(0, have - LENGTH, LENGTH).detach();
        head.keys = Some(
            Keys {
                encoder: followed(slow.encoder, encoder),
                projector: followed(slow.projector, projector),
                queue: Param::from_tensor(queue),
            }
            .no_grad(),
        );
        head
    }
}

fn encoder_device(encoder: &Network) -> burn::tensor::Device {
    match encoder.norms().first() {
        Some(norm) => norm.gamma.val().device(),
        None => network::device(),
    }
}

/// `slow` a step nearer to `fast`. Running statistics are `slow`'s own.
fn followed<M: Module>(slow: M, fast: &M) -> M {
    let mut values = Collected(VecDeque::new());
    fast.visit(&mut values);
    slow.map(&mut Follow(values.0))
}

/// The parameters of a module, in its order.
struct Collected(VecDeque<TensorData>);

impl ModuleVisitor for Collected {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push_back(param.val().into_data());
    }
}

struct Follow(VecDeque<TensorData>);

impl ModuleMapper for Follow {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(target) = self.0.pop_front() else {
            return param;
        };
        param.map(|tensor| {
            let target = Tensor::<D>::from_data(target, &tensor.device());
            (tensor.mul_scalar(MOMENTUM) + target.mul_scalar(1.0 - MOMENTUM)).detach()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::stream;
    use crate::network::{Kind, Pool};

    #[test]
    fn a_copy_by_way_of_valid_has_running_statistics_of_its_own() {
        let device = network::device().autodiff();
        let shape = Shape {
            kind: Kind::SensorCnn,
            input: [3, 1, 32],
            width: 4,
            depth: 1,
            dim: 8,
            pool: Pool::MeanMax,
            vocabulary: 0,
        };
        let mut init = Initialiser::new(stream(1, 2, 3, 4), &device);
        let encoder = Network::new(&mut init, shape, &device);
        let slow = encoder.valid().train();
        let x = Tensor::<1>::from_floats(init.normals(4 * 96).as_slice(), &device);
        let _ = encoder.forward(x.reshape([4, 3, 1, 32]));
        let mean = |network: &Network| network.norms()[0].running_mean.value_sync().into_data();
        assert_ne!(mean(&encoder), mean(&slow));
        assert!(slow.norms()[0].training.is_enabled());
    }
}
