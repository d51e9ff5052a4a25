//! Channels of an activation that are small beside the others get a finer step of the scale that
//! they share: they are divided by a number each, which the weights that read them are multiplied
//! with. *Data-Free Quantization Through Weight Equalization and Bias Correction*, Markus Nagel, Mart
//! van Baalen, Tijmen Blankevoort, Max Welling, 2019.
//!
//! Weights have a scale an output channel here, so the range of a channel's weights does not matter,
//! that of its values does, as in *SmoothQuant: Accurate and Efficient Post-Training Quantization
//! for Large Language Models*, Guangxuan Xiao, Ji Lin, Mickael Seznec, Hao Wu, Julien Demouth, Song
//! Han, 2023.

use super::Seen;
use crate::graph::{Graph, Layer, Op};

/// The graph, every channel divided, and what calibration would have seen of it. `seen` are whole
/// pixels.
pub fn equalise(graph: &Graph, seen: &[Seen]) -> (Graph, Vec<Seen>) {
    let largest: Vec<Vec<f32>> = (graph.tensors.iter().zip(seen))
        .map(|(tensor, values)| largest(values, tensor.shape[2]))
        .collect();
    let (mut equalised, mut seen) = (graph.clone(), seen.to_vec());
    for group in groups(graph) {
        if let Some(divisors) = divisors(graph, &group, &largest) {
            divide(&mut equalised, &group, &divisors);
            for &tensor in &group {
                let channels = seen[tensor].iter_mut().zip(divisors.iter().cycle());
                channels.for_each(|(value, divisor)| *value /= divisor);
            }
        }
    }
    (equalised, seen)
}

fn largest(values: &[f32], channels: usize) -> Vec<f32> {
    let mut largest = vec![0.0f32; channels];
    for (i, value) in values.iter().enumerate() {
        let entry = &mut largest[i % channels];
        *entry = entry.max(value.abs());
    }
    largest
}

/// Tensors whose channels can only be divided by the same numbers, as pools, sums and the like lie
/// between them.
fn groups(graph: &Graph) -> Vec<Vec<usize>> {
    let mut group: Vec<usize> = (0..graph.tensors.len()).collect();
    for layer in &graph.layers {
        let joined = match layer.op {
            Op::AvgPool(_) | Op::MaxPool(_) | Op::Pad(_) | Op::Add => &layer.inputs[..],
            _ => layer.inputs.get(1..).unwrap_or(&[]),
        };
        for &tensor in joined {
            let (from, to) = (group[tensor], group[layer.output]);
            group
                .iter_mut()
                .filter(|g| **g == from)
                .for_each(|g| *g = to);
        }
    }
    let all = 0..graph.tensors.len();
    let members = |g: usize| all.clone().filter(|&t| group[t] == g).collect::<Vec<_>>();
    all.clone().map(members).filter(|m| !m.is_empty()).collect()
}

/// What each channel of a group is divided by; nothing where it can't be.
fn divisors(graph: &Graph, group: &[usize], largest: &[Vec<f32>]) -> Option<Vec<f32>> {
    // The input comes and the embedding goes as it is.
    if group.contains(&0) || group.contains(&graph.embedding) {
        return None;
    }
    let touches = |l: &&Layer| {
        l.inputs
            .iter()
            .chain([&l.output])
            .any(|t| group.contains(t))
    };
    let touching: Vec<&Layer> = graph.layers.iter().filter(touches).collect();
    if !touching.iter().all(|l| homogeneous(l)) {
        return None;
    }
    let channels = graph.tensors[group[0]].shape[2];
    let of = |c: usize| group.iter().fold(0.0f32, |m, &t| m.max(largest[t][c]));
    let values: Vec<f32> = (0..channels).map(of).collect();
    let readers = touching.iter().filter(|l| group.contains(&l.inputs[0]));
    let weights = readers.fold(vec![0.0; channels], |weights, layer| {
        let next = importance(&layer.op, channels);
        weights.iter().zip(next).map(|(a, b)| b.max(*a)).collect()
    });
    // Values and the weights that read them are to have the same range, in parts of the whole. A
    // depthwise convolution has a scale for each: there the values can have all of it.
    let free = weights.iter().all(|&w| w == 0.0);
    let wanted = |(value, weight): (&f32, &f32)| if free { 1.0 } else { (value * weight).sqrt() };
    let wanted: Vec<f32> = values.iter().zip(&weights).map(wanted).collect();
    let top = |list: &[f32]| list.iter().fold(0.0f32, |m, v| m.max(*v));
    let unit = top(&values) / top(&wanted).max(1e-12);
    // A channel that has reached the bound of a ReLU6 must still reach it there; one that never has
    // must not.
    let written = touching.iter().filter(|l| group.contains(&l.output));
    let bound = written.fold(f32::INFINITY, |m, l| m.min(l.activation.high));
    let divisor = |(value, wanted): (&f32, &f32)| {
        let dead = *value <= 0.0 || *wanted <= 0.0;
        if dead || *value >= bound * 0.999 {
            return 1.0;
        }
        (value / (wanted * unit))
            .clamp(MOST.recip(), MOST)
            .max(value / bound)
    };
    Some(values.iter().zip(&wanted).map(divisor).collect())
}

/// The most that a channel is divided or multiplied by.
const MOST: f32 = 256.0;

/// Whether the layer of channels divided gives the output, divided.
fn homogeneous(layer: &Layer) -> bool {
    let passes = match layer.op {
        Op::AvgPool(_) | Op::MaxPool(_) | Op::Pad(_) | Op::Add => true,
        _ => layer.op.weights().is_some(),
    };
    passes && (layer.activation.low == 0.0 || layer.activation.low == f32::NEG_INFINITY)
}

/// The largest weight that reads each channel, in parts of the largest of the same output; zeros
/// where outputs have but one channel.
fn importance(op: &Op, channels: usize) -> Vec<f32> {
    let mut parts = vec![0.0f32; channels];
    let (Op::Conv(..) | Op::Dense(_), Some(weights)) = (op, op.weights()) else {
        return parts;
    };
    let filter = weights.values.len() / weights.biases.len();
    for (out, row) in weights.values.chunks_exact(filter).enumerate() {
        let most = row.iter().fold(1e-12f32, |m, w| m.max(w.abs()));
        for (k, weight) in row.iter().enumerate() {
            let channel = op.reads(out * filter + k, channels);
            parts[channel] = parts[channel].max(weight.abs() / most);
        }
    }
    parts
}

fn divide(graph: &mut Graph, group: &[usize], divisors: &[f32]) {
    for layer in &mut graph.layers {
        let [reads, writes] = [layer.inputs[0], layer.output].map(|t| group.contains(&t));
        let channels = graph.tensors[layer.inputs[0]].shape[2];
        let op = layer.op.clone();
        let Some(weights) = layer.op.weights_mut() else {
            continue;
        };
        for (i, weight) in weights.values.iter_mut().enumerate() {
            if reads {
                *weight *= divisors[op.reads(i, channels)];
            }
            if writes {
                *weight /= divisors[op.writes(i)];
            }
        }
        if writes {
            weights
                .biases
                .iter_mut()
                .zip(divisors)
                .for_each(|(b, d)| *b /= d);
        }
    }
}
