//! LARS: the step of each layer is as large as its weights, for batches of thousands.
//!
//! Source: *Large Batch Training of Convolutional Networks*, You et al., 2017. Biases and gains of
//! batch norm (vectors) take plain steps with momentum, without decay, as is usual.

use burn::optim::momentum::{Momentum, MomentumConfig, MomentumState};
use burn::optim::{LearningRate, ModuleOptimizer, Optimizer};
use burn::tensor::{Device, Tensor};

/// Part of a layer's weights that a step may move them.
const TRUST: f32 = 0.02;

/// See the file.
#[derive(Clone)]
pub struct Lars {
    weight_decay: f32,
    momentum: Momentum,
}

impl Optimizer for Lars {
    type State<const D: usize> = MomentumState<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let update = if D > 1 {
            let gradient = gradient + tensor.clone().mul_scalar(self.weight_decay);
            let norm = |t: &Tensor<D>| t.clone().powi_scalar(2).sum().into_scalar::<f32>().sqrt();
            let (weights, slope) = (norm(&tensor), norm(&gradient));
            let trust = if weights > 0.0 && slope > 0.0 {
                TRUST * weights / slope
            } else {
                1.0
            };
            gradient.mul_scalar(trust)
        } else {
            gradient
        };
        let (update, state) = self.momentum.transform(update, state);
        (tensor - update.mul_scalar(rate), Some(state))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        state.to_device(device)
    }
}

impl Lars {
    /// For a whole module; `weight_decay` is added to the gradients of matrices and kernels.
    pub fn init(weight_decay: f32) -> ModuleOptimizer {
        let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
        ModuleOptimizer::from(Lars {
            weight_decay,
            momentum: Momentum::new(&momentum),
        })
    }
}
