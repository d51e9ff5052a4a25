//! Rounded weights and clipped values move the mean of what a layer sums up; its bias moves it back,
//! layer by layer, each seeing what those before it, corrected, hand on. *Data-Free Quantization
//! Through Weight Equalization and Bias Correction*, Markus Nagel, Mart van Baalen, Tijmen
//! Blankevoort, Max Welling, 2019, section 4.2, with the means measured on inputs.

use rayon::prelude::*;

use super::{Scale, steps};
use crate::graph::{Activation, Graph, Layer};

/// One input's activations, in floats and as their integers leave them.
struct Run {
    float: Vec<Vec<f32>>,
    rounded: Vec<Vec<f32>>,
}

/// The graph with the biases that integers of these scales need; inputs channels last.
pub fn correct(graph: &Graph, scales: &[Scale], inputs: &[Vec<f32>]) -> Graph {
    let mut corrected = graph.clone();
    let start = |input: &Vec<f32>| {
        let mut float = vec![Vec::new(); graph.tensors.len()];
        let mut rounded = float.clone();
        float[0] = input.clone();
        rounded[0] = round(scales[0], input);
        Run { float, rounded }
    };
    let mut runs: Vec<Run> = inputs.iter().map(start).collect();
    for (i, layer) in graph.layers.iter().enumerate() {
        let sums = Layer {
            activation: Activation::NONE,
            ..layer.clone()
        };
        let rounded = round_weights(&sums, scales[layer.inputs[0]]);
        runs.par_iter_mut().for_each(|run| {
            run.float[layer.output] = graph.compute(&sums, &run.float);
            run.rounded[layer.output] = graph.compute(&rounded, &run.rounded);
        });
        let channels = graph.tensors[layer.output].shape[2];
        let mut moved = vec![0.0; channels];
        if let Some(weights) = corrected.layers[i].op.weights_mut() {
            moved = mean_difference(&runs, layer.output, channels);
            let biases = weights.biases.iter_mut().zip(&moved);
            biases.for_each(|(bias, moved)| *bias -= moved);
        }
        let read_later = |t: usize| graph.layers[i + 1..].iter().any(|l| l.inputs.contains(&t));
        runs.par_iter_mut().for_each(|run| {
            let float = &mut run.float[layer.output];
            float.iter_mut().for_each(|v| *v = layer.activation.of(*v));
            let sums = run.rounded[layer.output].iter().zip(moved.iter().cycle());
            let values: Vec<f32> = sums.map(|(v, m)| layer.activation.of(v - m)).collect();
            run.rounded[layer.output] = round(scales[layer.output], &values);
            for &done in layer.inputs.iter().filter(|&&t| !read_later(t)) {
                run.float[done] = Vec::new();
                run.rounded[done] = Vec::new();
            }
        });
    }
    corrected
}

/// How much larger each channel of a tensor is on average than in floats.
fn mean_difference(runs: &[Run], tensor: usize, channels: usize) -> Vec<f32> {
    let mut sums = vec![0.0f64; channels];
    let mut values = 0;
    for run in runs {
        let pairs = run.rounded[tensor].iter().zip(&run.float[tensor]);
        for (i, (rounded, float)) in pairs.enumerate() {
            sums[i % channels] += f64::from(rounded - float);
        }
        values += run.float[tensor].len() / channels;
    }
    sums.iter()
        .map(|sum| (sum / values.max(1) as f64) as f32)
        .collect()
}

fn round(scale: Scale, values: &[f32]) -> Vec<f32> {
    let value = |&v: &f32| scale.value(scale.nearest(v.into())) as f32;
    values.iter().map(value).collect()
}

/// The layer with the weights that its integers stand for.
fn round_weights(layer: &Layer, input: Scale) -> Layer {
    let mut rounded = layer.clone();
    let op = &layer.op;
    if let Some(weights) = rounded.op.weights_mut() {
        let steps = steps(weights, &|i| op.writes(i), input);
        for (i, weight) in weights.values.iter_mut().enumerate() {
            let step = steps[op.writes(i)];
            *weight = ((f64::from(*weight) / step).round() * step) as f32;
        }
    }
    rounded
}
