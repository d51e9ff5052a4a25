//! A small 1-D convolutional network for windows of a worn sensor.

use burn::module::{Module, Param};
use burn::nn::conv::Conv1d;
use burn::nn::{BatchNorm, BatchNormConfig, Linear};
use burn::tensor::{Device, Tensor, TensorData, activation};
use serde::{Deserialize, Serialize};

use super::Initialiser;

/// The network's sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Channels of the sensor.
    pub channels: usize,
    /// Samples in a window.
    pub window: usize,
    /// Channels after the first convolution; twice as many after the second, `dim` after the third.
    pub width: usize,
    /// Length of the embedding.
    pub dim: usize,
}

/// Three strided convolutions, and after each of them the average and the maximum over time, each
/// through a dense layer of its own into one sum. Averages see level and energy, maxima see events
/// that a window holds once; the shallow ones keep what the deep ones have abstracted from.
///
/// ```text
/// [N, C, T] ── conv1 k7/2 ──┬── conv2 k5/2 ──┬── conv3 k5/2 ──┐
///                       avg, max         avg, max         avg, max
///                           └──── dense ─────┴──── dense ─────┴── dense ── sum ──> [N, D]
/// ```
///
/// Batch norm and ReLU follow each convolution.
#[derive(Module, Debug)]
pub struct SensorCnn {
    /// Kernels 7, 5 and 5, all of stride 2.
    pub convs: Vec<Conv1d>,
    /// One after each convolution.
    pub norms: Vec<BatchNorm>,
    /// From the averages after each convolution; the last one has the bias.
    pub averages: Vec<Linear>,
    /// From the maxima at the same places.
    pub maxima: Vec<Linear>,
}

impl Shape {
    /// Channels after each convolution.
    pub fn widths(&self) -> [usize; 3] {
        [self.width, 2 * self.width, self.dim]
    }

    /// Weights and biases once batch norm is folded away.
    pub fn parameters(&self) -> usize {
        let [a, b, c] = self.widths();
        let convs = self.channels * a * 7 + a * b * 5 + b * c * 5;
        convs + (a + b + c) + 2 * (a + b + c) * self.dim + self.dim
    }

    /// Multiply-accumulates for one window.
    pub fn macs(&self) -> usize {
        let [a, b, c] = self.widths();
        let [t1, t2, t3] = [2, 4, 8].map(|stride| self.window.div_ceil(stride));
        let convs = self.channels * a * 7 * t1 + a * b * 5 * t2 + b * c * 5 * t3;
        convs + 2 * (a + b + c) * self.dim
    }
}

impl SensorCnn {
    /// A network with random weights.
    pub fn new(init: &mut Initialiser, shape: Shape, device: &Device) -> Self {
        let [a, b, c] = shape.widths();
        let norm = |channels| BatchNormConfig::new(channels).init(device);
        SensorCnn {
            convs: vec![
                init.conv(shape.channels, a, 7, 2),
                init.conv(a, b, 5, 2),
                init.conv(b, c, 5, 2),
            ],
            norms: [a, b, c].map(norm).into(),
            averages: vec![
                init.linear(a, shape.dim, false),
                init.linear(b, shape.dim, false),
                init.linear(c, shape.dim, true),
            ],
            maxima: [a, b, c]
                .map(|from| init.linear(from, shape.dim, false))
                .into(),
        }
    }

    /// The same network with its embedding multiplied by `map`, [dim, dim] row-major: folded into
    /// the last dense layers.
    pub fn then_linear(mut self, map: &[f32], device: &Device) -> Self {
        let dim = map.len().isqrt();
        let map = Tensor::<2>::from_data(TensorData::new(map.to_vec(), [dim, dim]), device);
        for dense in self.averages.iter_mut().chain(&mut self.maxima) {
            dense.weight = Param::from_tensor(dense.weight.val().matmul(map.clone()));
            if let Some(bias) = &mut dense.bias {
                let row: Tensor<2> = bias.val().unsqueeze();
                *bias = Param::from_tensor(row.matmul(map.clone()).squeeze_dim(0));
            }
        }
        self
    }

    /// Windows [N, channels, window] to embeddings [N, dim].
    pub fn forward(&self, x: Tensor<3>) -> Tensor<2> {
        let mut x = x;
        let mut depths = Vec::new();
        for (conv, norm) in self.convs.iter().zip(&self.norms) {
            x = activation::relu(norm.forward(conv.forward(x)));
            depths.push(x.clone());
        }
        let parts = depths.into_iter().zip(&self.averages).zip(&self.maxima);
        parts
            .map(|((x, average), maximum)| {
                average.forward(x.clone().mean_dim(2).squeeze_dim(2))
                    + maximum.forward(x.max_dim(2).squeeze_dim(2))
            })
            .reduce(|sum, part| sum + part)
            .expect("there are three depths")
    }
}
