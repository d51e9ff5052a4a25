//! Networks that pretraining can train and the device can run.
//!
//! Initial weights come from this crate's own random streams, so that a seed gives the same
//! network whatever the tensor library does.

mod sensor_cnn;
pub mod transformer;

use burn::module::{Module, Param};
use burn::nn::conv::Conv1d;
use burn::nn::{Linear, PaddingConfig1d};
use burn::tensor::{Device, Tensor, TensorData, activation};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

pub use sensor_cnn::{SensorCnn, Shape};
pub use transformer::Transformer;

/// Makes layers with random weights: uniform within +-1/sqrt(fan in) (*Delving Deep into
/// Rectifiers*, He et al., 2015, with the gain that PyTorch takes by default).
pub struct Initialiser<'a> {
    rng: ChaCha8Rng,
    device: &'a Device,
}

impl<'a> Initialiser<'a> {
    /// Weights that depend on `rng` alone.
    pub fn new(rng: ChaCha8Rng, device: &'a Device) -> Self {
        Initialiser { rng, device }
    }

    fn uniform<const D: usize>(&mut self, shape: [usize; D], fan_in: usize) -> Param<Tensor<D>> {
        let bound = 1.0 / (fan_in as f32).sqrt();
        let values = (0..shape.iter().product())
            .map(|_| bound * (2.0 * self.rng.random::<f32>() - 1.0))
            .collect();
        Param::from_data(TensorData::new::<f32, _>(values, shape), self.device)
    }

    /// A convolution without bias (batch norm follows), zero-padded by half its kernel.
    pub fn conv(&mut self, from: usize, to: usize, kernel: usize, stride: usize) -> Conv1d {
        Conv1d {
            weight: self.uniform([to, from, kernel], from * kernel),
            bias: None,
            stride,
            kernel_size: kernel,
            dilation: 1,
            groups: 1,
            padding: PaddingConfig1d::Explicit(kernel / 2, kernel / 2),
        }
    }

    /// A dense layer, weight [from, to].
    pub fn linear(&mut self, from: usize, to: usize, bias: bool) -> Linear {
        Linear {
            weight: self.uniform([from, to], from),
            bias: bias.then(|| self.uniform([to], from)),
        }
    }
}

/// The part of SimCLR that is thrown away after training: dense, ReLU, dense. The contrast is
/// drawn behind it, so that the embedding before it need not forget what the views differ in
/// (*A Simple Framework for Contrastive Learning of Visual Representations*, Chen et al., 2020).
#[derive(Module, Debug)]
pub struct Projector {
    hidden: Linear,
    output: Linear,
}

impl Projector {
    /// From embeddings of `dim` to `width` hidden and `out` contrasted values.
    pub fn new(init: &mut Initialiser, dim: usize, width: usize, out: usize) -> Self {
        Projector {
            hidden: init.linear(dim, width, true),
            output: init.linear(width, out, true),
        }
    }

    /// [N, dim] to [N, out].
    pub fn forward(&self, embedding: Tensor<2>) -> Tensor<2> {
        self.output
            .forward(activation::relu(self.hidden.forward(embedding)))
    }
}
