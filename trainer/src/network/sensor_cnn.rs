//! A small 1-D convolutional network for windows of a worn sensor.

use burn::module::Module;
use burn::nn::conv::Conv1d;
use burn::nn::{BatchNorm, BatchNormConfig, Linear};
use burn::tensor::{Device, Tensor, activation};

use super::convolution::convolve;
use super::{Initialiser, Shape};

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

impl SensorCnn {
    /// A network with random weights.
    pub fn new(init: &mut Initialiser, shape: Shape, device: &Device) -> Self {
        let [a, b, c] = widths(shape);
        let norm = |channels| BatchNormConfig::new(channels).init(device);
        SensorCnn {
            convs: vec![
                init.conv(shape.input[0], a, 7, 2),
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

    /// What makes the embedding, the one with the bias last.
    pub fn ends(&mut self) -> impl Iterator<Item = &mut Linear> {
        self.maxima.iter_mut().chain(&mut self.averages)
    }

    /// Windows [N, channels, 1, window] to embeddings [N, dim].
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let mut x: Tensor<3> = x.squeeze_dim(2);
        let mut depths = Vec::new();
        for (conv, norm) in self.convs.iter().zip(&self.norms) {
            x = activation::relu(norm.forward(convolve(conv, x)));
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

/// Channels after each convolution.
fn widths(shape: Shape) -> [usize; 3] {
    [shape.width, 2 * shape.width, shape.dim]
}

/// Weights and biases once batch norm is folded away.
pub fn parameters(shape: Shape) -> usize {
    let [a, b, c] = widths(shape);
    let convs = shape.input[0] * a * 7 + a * b * 5 + b * c * 5;
    convs + (a + b + c) + 2 * (a + b + c) * shape.dim + shape.dim
}

/// Multiply-accumulates for one window.
pub fn macs(shape: Shape) -> usize {
    let [channels, _, window] = shape.input;
    let [a, b, c] = widths(shape);
    let [t1, t2, t3] = [2, 4, 8].map(|stride| window.div_ceil(stride));
    let convs = channels * a * 7 * t1 + a * b * 5 * t2 + b * c * 5 * t3;
    convs + 2 * (a + b + c) * shape.dim
}
