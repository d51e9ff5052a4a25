//! Which activations get 16 bits instead of 8 where an encoder loses too much: those that int8
//! follows worst.

use super::ranges::{Ranges, squared_error};
use super::{Scale, Seen};
use crate::graph::{Graph, Layer, Op, Weights};

/// Activations that may be int16, worst in int8 first. Their readers take both (depthwise
/// convolutions, tables and maxima take int8 only), and no sum over them can exceed 32 bits.
pub fn candidates(graph: &Graph, seen: &[Seen]) -> Vec<usize> {
    let mut found: Vec<(f64, usize)> = (1..graph.tensors.len())
        .filter(|&t| t != graph.embedding && may_be_wide(graph, t))
        .map(|t| (noise(Ranges::LeastError.int8(&seen[t]), &seen[t]), t))
        .collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.into_iter().map(|(_, t)| t).collect()
}

fn may_be_wide(graph: &Graph, tensor: usize) -> bool {
    let mut written = graph.layers.iter().filter(|l| l.output == tensor);
    let mut readers = graph.layers.iter().filter(|l| l.inputs.contains(&tensor));
    let writes = |l: &Layer| {
        !matches!(
            l.op,
            Op::MaxPool(_) | Op::Clamp(_) | Op::Pad(_) | Op::Lookup(_)
        )
    };
    let reads = |l: &Layer| match &l.op {
        Op::Conv(_, weights) | Op::Dense(weights) => {
            l.inputs[0] != tensor || largest_sum(weights) * 32_768 < i64::from(i32::MAX) / 10 * 9
        }
        Op::AvgPool(_) | Op::Add | Op::Mul | Op::Concat => true,
        _ => false,
    };
    written.next().is_some_and(writes) && readers.all(reads)
}

/// The largest sum of one output's int8 weights, signs left out.
fn largest_sum(weights: &Weights) -> i64 {
    let filter = weights.values.len() / weights.biases.len().max(1);
    let sum = |values: &[f32]| {
        let largest = values.iter().fold(1e-12f32, |m, v| m.max(v.abs()));
        let integer = |v: &f32| (v / largest * 127.0).round().abs() as i64;
        values.iter().map(integer).sum()
    };
    weights
        .values
        .chunks(filter.max(1))
        .map(sum)
        .max()
        .unwrap_or(0)
}

/// Noise over signal of a tensor in a scale.
fn noise(scale: Scale, values: &[f32]) -> f64 {
    let signal: f64 = values.iter().map(|&v| f64::from(v).powi(2)).sum();
    let noise: f64 = values
        .iter()
        .map(|&v| squared_error(scale, f64::from(v)))
        .sum();
    noise / signal.max(1e-30)
}
