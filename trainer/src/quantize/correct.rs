//! Rounded weights and clipped values move the mean of what a layer sums up; its bias moves it back.
//! *Data-Free Quantization Through Weight Equalization and Bias Correction*, Markus Nagel, Mart van
//! Baalen, Tijmen Blankevoort, Max Welling, 2019, with the means measured.

use super::{QuantizedLayer, Scale, weight_steps};
use crate::graph::Graph;

/// The graph with the biases that integers need. `means` are those of every channel of every tensor,
/// of the float graph and of the integers, on the same inputs. What is padded counts as the mean.
pub fn correct(
    graph: &Graph,
    layers: &[QuantizedLayer],
    scales: &[Scale],
    float: &[Vec<f64>],
    packed: &[Vec<f64>],
) -> Graph {
    let mut corrected = graph.clone();
    for (layer, quantized) in corrected.layers.iter_mut().zip(layers) {
        let (input, op) = (layer.inputs[0], layer.op.clone());
        let channels = graph.tensors[input].shape[2];
        let Some(weights) = layer.op.weights_mut() else {
            continue;
        };
        let steps = weight_steps(&op, scales[input]);
        let mut moved = vec![0.0; weights.biases.len()];
        for (i, (&weight, &integer)) in weights.values.iter().zip(&quantized.weights).enumerate() {
            let (out, channel) = (op.writes(i), op.reads(i, channels));
            moved[out] += f64::from(integer) * steps[out] * packed[input][channel]
                - f64::from(weight) * float[input][channel];
        }
        if let Some(&second) = layer.inputs.get(1) {
            let pairs = packed[second].iter().zip(&float[second]);
            moved
                .iter_mut()
                .zip(pairs)
                .for_each(|(m, (p, f))| *m += p - f);
        }
        let biases = weights.biases.iter_mut().zip(moved);
        biases.for_each(|(bias, moved)| *bias -= moved as f32);
    }
    corrected
}
