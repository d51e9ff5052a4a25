//! Both halves of a batch at once.
//!
//! Forward and backward of small convolutions leave a second core idle most of the time. So each half
//! goes through a copy of the encoder, on a thread of its own and with gradients of its own, up to the
//! embeddings; there the halves meet, as a contrast needs all of them, and the loss's gradient goes
//! back through both (the way of *Scaling Deep Contrastive Learning Batch Size under Memory Limited
//! Setup*, Gao et al., 2021). All of this is exact but for batch norm, whose statistics are each half's
//! own (ghost batch norm: *Train longer, generalize better*, Hoffer et al., 2017).

use std::sync::Mutex;

use anyhow::Context;
use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Gradients, Tensor};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::training::Model;
use crate::network::Network;

/// The threads that halves run on.
pub struct Halves {
    /// One after the other where there is one thread only: the bits are the same.
    together: bool,
    pools: [ThreadPool; 2],
}

/// A step's copies of the encoder, and what they have embedded.
pub struct Step<'a> {
    halves: &'a Halves,
    encoders: Mutex<[Network; 2]>,
    embedded: Mutex<Vec<Embedded>>,
}

/// A batch's embeddings.
struct Embedded {
    /// Of the whole batch, where the loss begins.
    whole: Tensor<2>,
    /// The same, where each half's encoder ends.
    halves: [Tensor<2>; 2],
}

impl Halves {
    /// For `threads` threads in all.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn new(threads: usize) -> anyhow::Result<Halves> {
        let pool = || {
            ThreadPoolBuilder::new()
                .num_threads((threads / 2).max(1))
                .build()
        };
        let pools = [pool(), pool()].map(|pool| pool.context("could not start threads"));
        let [first, second] = pools;
        Ok(Halves {
            together: threads != 1,
            pools: [first?, second?],
        })
    }

    /// Begins a step with the encoder as it is.
    pub fn step(&self, encoder: &Network, device: &Device) -> Step<'_> {
        let copy = || encoder.clone().fork(device);
        Step {
            halves: self,
            encoders: Mutex::new([copy(), copy()]),
            embedded: Mutex::default(),
        }
    }

    fn run<A: Send, B: Send>(
        &self,
        a: impl FnOnce() -> A + Send,
        b: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        let [first, second] = &self.pools;
        if !self.together {
            return (first.install(a), second.install(b));
        }
        std::thread::scope(|scope| {
            let other = scope.spawn(|| second.install(b));
            let a = first.install(a);
            match other.join() {
                Ok(b) => (a, b),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

impl Step<'_> {
    /// Inputs [N, channels, height, width] to embeddings [N, dim].
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let [all, ..] = x.dims();
        let [a, b] = [0..all / 2, all / 2..all].map(|half| x.clone().slice([half]));
        let mut encoders = unpoisoned(&self.encoders);
        let [first, second] = &mut *encoders;
        let (a, b) = self.halves.run(|| first.forward(a), || second.forward(b));
        let whole = Tensor::cat(vec![a.clone().detach(), b.clone().detach()], 0).require_grad();
        unpoisoned(&self.embedded).push(Embedded {
            whole: whole.clone(),
            halves: [a, b],
        });
        whole
    }

    /// Goes on from the embeddings back to the weights, and adds what it finds to `found`.
    pub fn backward(
        self,
        gradients: &Gradients,
        found: &mut GradientsAccumulator<Model>,
        model: &Model,
    ) {
        // A sum whose gradient at the embeddings is the loss's.
        let (mut a, mut b) = (None, None);
        for Embedded { whole, halves } in unpoisoned(&self.embedded).drain(..) {
            let Some(gradient) = whole.grad(gradients) else {
                continue;
            };
            let [all, _] = gradient.dims();
            let ends = [0..all / 2, all / 2..all];
            for ((total, z), half) in [&mut a, &mut b].into_iter().zip(halves).zip(ends) {
                let gradient = Tensor::from_inner(gradient.clone().slice([half]));
                let part = (z * gradient).sum();
                *total = Some(match total.take() {
                    None => part,
                    Some(sum) => sum + part,
                });
            }
        }
        let (Some(a), Some(b)) = (a, b) else {
            return;
        };
        let [first, second] = self
            .encoders
            .into_inner()
            .unwrap_or_else(|e| e.into_inner());
        let back = |total: Tensor<1>, encoder: Network| {
            GradientsParams::from_grads(total.backward(), &encoder)
        };
        let (a, b) = self.halves.run(|| back(a, first), || back(b, second));
        found.accumulate(model, a);
        found.accumulate(model, b);
    }
}

/// A panic goes on in the thread that waits: nobody sees what it left.
fn unpoisoned<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::stream;
    use crate::network::{Initialiser, Kind, Pool, Shape};

    /// Each half's batch norm its own, all else as if the batch were one.
    #[test]
    fn embeddings_and_gradients_are_those_of_two_passes() {
        let device = Device::flex().autodiff();
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
        let values = init.normals(6 * 3 * 32);
        let x = Tensor::<1>::from_floats(values.as_slice(), &device).reshape([6, 3, 1, 32]);
        let model = Model {
            encoder,
            heads: Vec::new(),
        };
        // Every embedding's loss depends on all others.
        let loss = |z: Tensor<2>| z.clone().matmul(z.transpose()).powi_scalar(2).mean();
        let parts = [0..3, 3..6].map(|half| model.encoder.forward(x.clone().slice([half])));
        let expected_z = Tensor::cat(parts.into(), 0);
        let gradients = loss(expected_z.clone()).backward();
        let expected = GradientsParams::from_grads(gradients, &model);
        for threads in [1, 2] {
            let halves = Halves::new(threads).expect("threads");
            let step = halves.step(&model.encoder, &device);
            let z = step.forward(x.clone());
            assert_eq!(z.to_data(), expected_z.to_data());
            let mut found = GradientsAccumulator::new();
            step.backward(&loss(z).backward(), &mut found, &model);
            let found = found.grads();
            assert_eq!(found.len(), expected.len());
            let mut compared = 0;
            for name in model.encoder.norms() {
                let id = name.gamma.id;
                let [a, b] = [&found, &expected].map(|g| g.get::<1>(id).expect("a gradient"));
                let most = b.clone().abs().max().into_scalar::<f32>();
                assert!((a - b).abs().max().into_scalar::<f32>() <= 1e-5 * most && most > 0.0);
                compared += 1;
            }
            let Network::Sensor(network) = &model.encoder else {
                unreachable!("it was made a few lines above")
            };
            for conv in &network.convs {
                let id = conv.weight.id;
                let [a, b] = [&found, &expected].map(|g| g.get::<3>(id).expect("a gradient"));
                let most = b.clone().abs().max().into_scalar::<f32>();
                assert!((a - b).abs().max().into_scalar::<f32>() <= 1e-5 * most && most > 0.0);
                compared += 1;
            }
            assert_eq!(compared, 6);
        }
    }
}
