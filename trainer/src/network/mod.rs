//! Networks that pretraining can train and the device can run.
//!
//! Initial weights come from this crate's own random streams, so that a seed gives the same
//! network whatever the tensor library does.

mod conv_net;
mod convolution;
mod sensor_cnn;
pub mod transformer;

use burn::module::{Module, Param};
use burn::nn::conv::{Conv1d, Conv2d};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, PaddingConfig1d, PaddingConfig2d};
use burn::tensor::{Device, Tensor, TensorData, activation};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::augment;
use crate::pretext::language::VocabularyHead;

pub use conv_net::{ConvNet, Step};
pub use sensor_cnn::SensorCnn;
pub use transformer::Transformer;

/// What networks are trained and run on: the processor; with the feature `cuda` or `wgpu` the first
/// graphics card. Only the processor gives the same bits every time.
pub fn device() -> Device {
    #[cfg(feature = "cuda")]
    return Device::cuda(0);
    #[cfg(all(feature = "wgpu", not(feature = "cuda")))]
    return Device::wgpu(burn::tensor::DeviceKind::DefaultDevice);
    #[cfg(not(any(feature = "wgpu", feature = "cuda")))]
    Device::flex()
}

/// The networks by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Three 1-D convolutions, pooled at every depth: for sensors
    SensorCnn,
    /// A few strided convolutions: the fastest to train
    Cnn,
    /// Depthwise separable convolutions: for sound, and small for all
    DsCnn,
    /// Inverted residuals
    MobilenetV2,
    /// Three residual stages
    Resnet8,
    /// A small transformer: for text
    Transformer,
}

/// What is made of a network's last map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pool {
    /// The mean of each channel
    Mean,
    /// Mean and maximum of each channel
    MeanMax,
    /// All values, so that where something is counts
    Flat,
}

/// A network's sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Which network.
    pub kind: Kind,
    /// Channels, height (1 of a series) and width of the input.
    pub input: [usize; 3],
    /// Channels after the first convolution.
    pub width: usize,
    /// Blocks, pairs of blocks, or blocks of a stage; not of [`Kind::SensorCnn`].
    pub depth: usize,
    /// Length of the embedding.
    pub dim: usize,
    /// Not of [`Kind::SensorCnn`].
    pub pool: Pool,
    /// Ids that a [`Kind::Transformer`] knows.
    pub vocabulary: usize,
}

impl Shape {
    /// The same as a transformer's; heads have 16 values.
    pub fn transformer(&self) -> transformer::Shape {
        transformer::Shape {
            vocabulary: self.vocabulary,
            length: self.input[2],
            dim: self.dim,
            heads: (self.dim / 16).max(1),
            depth: self.depth,
        }
    }

    /// Values of one input.
    pub fn values(&self) -> usize {
        self.input.iter().product()
    }

    /// Weights and biases once batch norm is folded away.
    pub fn parameters(&self) -> usize {
        match self.kind {
            Kind::SensorCnn => sensor_cnn::parameters(*self),
            Kind::Transformer => self.transformer().parameters(),
            _ => conv_net::cost(*self).0,
        }
    }

    /// Multiply-accumulates for one input.
    pub fn macs(&self) -> usize {
        match self.kind {
            Kind::SensorCnn => sensor_cnn::macs(*self),
            Kind::Transformer => self.transformer().macs(),
            _ => conv_net::cost(*self).1,
        }
    }
}

/// An encoder that can be trained: inputs [N, channels, height, width] to embeddings [N, dim].
#[derive(Module, Debug)]
pub enum Network {
    /// [`Kind::SensorCnn`].
    Sensor(SensorCnn),
    /// The 2-D ones.
    Conv(ConvNet),
    /// [`Kind::Transformer`].
    Text(Transformer),
}

impl Network {
    /// A network with random weights.
    pub fn new(init: &mut Initialiser, shape: Shape, device: &Device) -> Self {
        match shape.kind {
            Kind::SensorCnn => Network::Sensor(SensorCnn::new(init, shape, device)),
            Kind::Transformer => Network::Text(Transformer::new(init, shape.transformer(), device)),
            _ => Network::Conv(ConvNet::new(init, shape, device)),
        }
    }

    /// Inputs [N, channels, height, width] to embeddings [N, dim].
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        match self {
            Network::Sensor(network) => network.forward(x),
            Network::Conv(network) => network.forward(x),
            Network::Text(network) => network.embed(transformer::ids(x)),
        }
    }

    /// Every batch norm.
    pub fn norms(&self) -> &[BatchNorm] {
        match self {
            Network::Sensor(network) => &network.norms,
            Network::Conv(network) => &network.norms,
            Network::Text(_) => &[],
        }
    }

    /// The same network with its embedding multiplied by `map`, [dim, dim] row-major: folded into
    /// the last dense layers.
    pub fn then_linear(mut self, map: &[f32], device: &Device) -> Self {
        if let Network::Text(network) = self {
            return Network::Text(network.then_linear(map, device));
        }
        let dim = map.len().isqrt();
        let map = Tensor::<2>::from_data(TensorData::new(map.to_vec(), [dim, dim]), device);
        let fold = |dense: &mut Linear| {
            dense.weight = Param::from_tensor(dense.weight.val().matmul(map.clone()));
            if let Some(bias) = &mut dense.bias {
                let row: Tensor<2> = bias.val().unsqueeze();
                *bias = Param::from_tensor(row.matmul(map.clone()).squeeze_dim(0));
            }
        };
        match &mut self {
            Network::Sensor(network) => network.ends().for_each(fold),
            Network::Conv(network) => network.ends().for_each(fold),
            Network::Text(_) => {}
        }
        self
    }
}

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

    /// From states of `dim` values to a token of a vocabulary.
    pub fn words(&mut self, dim: usize, vocabulary: usize) -> VocabularyHead {
        let device = self.device;
        VocabularyHead::new(self, dim, vocabulary, device)
    }

    /// Standard normal values.
    pub fn normals(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| augment::normal(&mut self.rng)).collect()
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

    /// A 2-D convolution without bias, zero-padded by half its kernel.
    pub fn conv2d(
        &mut self,
        from: usize,
        to: usize,
        kernel: [usize; 2],
        stride: [usize; 2],
        groups: usize,
    ) -> Conv2d {
        let each = from / groups;
        let [above, left] = kernel.map(|k| k / 2);
        Conv2d {
            weight: self.uniform(
                [to, each, kernel[0], kernel[1]],
                each * kernel[0] * kernel[1],
            ),
            bias: None,
            stride,
            kernel_size: kernel,
            dilation: [1, 1],
            groups,
            padding: PaddingConfig2d::Explicit(above, left, above, left),
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

/// Dense layers with ReLU between them: a projector, a decoder, a classifier; what a pretext task
/// needs behind the encoder and throws away after training.
#[derive(Module, Debug)]
pub struct Mlp {
    layers: Vec<Linear>,
    /// Behind the first layers; empty, or one a hidden layer, or one a layer.
    norms: Vec<BatchNorm>,
}

impl Mlp {
    /// Through layers of these widths, the input's first.
    pub fn new(init: &mut Initialiser, widths: &[usize]) -> Self {
        let layers = widths.windows(2);
        Mlp {
            layers: layers.map(|w| init.linear(w[0], w[1], true)).collect(),
            norms: Vec::new(),
        }
    }

    /// The same with batch norm before each ReLU.
    pub fn with_norms(init: &mut Initialiser, widths: &[usize]) -> Self {
        let mut mlp = Mlp::new(init, widths);
        let hidden = widths.get(1..widths.len().saturating_sub(1));
        let norms = hidden.unwrap_or_default().iter();
        mlp.norms = norms
            .map(|&w| BatchNormConfig::new(w).init(init.device))
            .collect();
        mlp
    }

    /// And one behind the last layer.
    pub fn with_last_norm(mut self) -> Self {
        if let Some(last) = self.layers.last() {
            let [_, width] = last.weight.dims();
            let device = last.weight.val().device();
            self.norms.push(BatchNormConfig::new(width).init(&device));
        }
        self
    }

    /// Every batch norm.
    pub fn norms(&self) -> &[BatchNorm] {
        &self.norms
    }

    /// [N, first width] to [N, last width].
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let last = self.layers.len().saturating_sub(1);
        self.layers.iter().enumerate().fold(x, |x, (i, layer)| {
            let mut x = layer.forward(x);
            if let Some(norm) = self.norms.get(i) {
                x = norm.forward(x);
            }
            if i < last { activation::relu(x) } else { x }
        })
    }
}
