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
    /// Channels after the first convolution; twice as many after the next, `dim` after the others.
    pub width: usize,
    /// Length of the embedding.
    pub dim: usize,
}

/// Strided convolutions, and from three depths the average and the maximum over time, each through
/// a dense layer of its own into one sum. Averages see level and energy, maxima see events that a
/// window holds once; the shallow ones keep what the deep ones have abstracted from.
///
/// ```text
/// [N, C, T] ─ conv1 k7/2 ─┬─ conv2 k5/2 ─┬─ conv3 k5/2 ─┬─ conv4 k3 ─ + ─┐
///                         │              │              └─────────────┘  │
///                     avg, max       avg, max                        avg, max
///                         └── dense ─────┴─────── dense ─────────────────┴─ dense ─ sum ─> [N, D]
/// ```
///
/// Batch norm follows each convolution, ReLU each batch norm (after conv4, the sum).
#[derive(Module, Debug)]
pub struct SensorCnn {
    /// Kernel 7, stride 2; kernel 5, stride 2 twice; kernel 3 with a short cut.
    pub convs: Vec<Conv1d>,
    /// One after each convolution.
    pub norms: Vec<BatchNorm>,
    /// From the averages after conv1, conv2 and conv4; the last one has the bias.
    pub averages: Vec<Linear>,
    /// From the maxima at the same places.
    pub maxima: Vec<Linear>,
}

impl Shape {
    /// Channels after the convolutions 1, 2 and 3 (and 4, which keeps them).
    pub fn widths(&self) -> [usize; 3] {
        [self.width, 2 * self.width, self.dim]
    }

    /// Weights and biases once batch norm is folded away.
    pub fn parameters(&self) -> usize {
        let [a, b, c] = self.widths();
        let convs = self.channels * a * 7 + a * b * 5 + b * c * 5 + c * c * 3;
        convs + (a + b + 2 * c) + 2 * (a + b + c) * self.dim + self.dim
    }

    /// Multiply-accumulates for one window.
    pub fn macs(&self) -> usize {
        let [a, b, c] = self.widths();
        let [t1, t2, t3] = [2, 4, 8].map(|stride| self.window.div_ceil(stride));
        let convs = self.channels * a * 7 * t1 + a * b * 5 * t2 + (b * c * 5 + c * c * 3) * t3;
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
                init.conv(c, c, 3, 1),
            ],
            norms: [a, b, c, c].map(norm).into(),
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
        let layer = |i: usize, x: Tensor<3>| self.norms[i].forward(self.convs[i].forward(x));
        let first = activation::relu(layer(0, x));
        let second = activation::relu(layer(1, first.clone()));
        let third = activation::relu(layer(2, second.clone()));
        let fourth = activation::relu(layer(3, third.clone()) + third);
        let pooled = [first, second, fourth];
        let parts = pooled.into_iter().zip(&self.averages).zip(&self.maxima);
        parts
            .map(|((x, average), maximum)| {
                average.forward(x.clone().mean_dim(2).squeeze_dim(2))
                    + maximum.forward(x.max_dim(2).squeeze_dim(2))
            })
            .reduce(|sum, part| sum + part)
            .expect("there are three depths")
    }
}
