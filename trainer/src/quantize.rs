//! Post-training quantisation: a float graph and the range of each activation become integers.
//!
//! Weights int8, symmetric, one scale an output channel; activations int8, one scale and zero
//! point a tensor; what only leads to the embedding int16. *Quantizing deep convolutional networks
//! for efficient inference: A whitepaper*, Raghuraman Krishnamoorthi, 2018.

mod correct;
mod equalise;
mod precision;
mod ranges;

pub use correct::correct;
pub use equalise::equalise;
pub use precision::candidates;
pub use ranges::Ranges;

use crate::graph::{Graph, Layer, Op, Weights};

/// How a tensor's integers stand for numbers: value = scale * (integer - zero_point).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// What one step is worth.
    pub step: f64,
    /// The integer that stands for 0.0.
    pub zero_point: i32,
    /// int16 instead of int8.
    pub wide: bool,
}

impl Scale {
    /// Bytes that `elements` of such integers take.
    pub fn bytes(self, elements: usize) -> usize {
        elements * if self.wide { 2 } else { 1 }
    }

    /// The number that an integer stands for.
    fn value(self, integer: i32) -> f64 {
        f64::from(integer - self.zero_point) * self.step
    }

    /// The integer that stands for a number, or the one nearest to it; infinities are the limits.
    fn nearest(self, value: f64) -> i32 {
        let (low, high) = self.limits();
        let integer = (value / self.step + f64::from(self.zero_point)).round();
        integer.clamp(low.into(), high.into()) as i32
    }

    fn limits(self) -> (i32, i32) {
        if self.wide {
            (-32768, 32767)
        } else {
            (-128, 127)
        }
    }
}

/// A layer in integers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QuantizedLayer {
    /// In the device's order.
    pub weights: Vec<i8>,
    /// Input zero point folded in.
    pub biases: Vec<i32>,
    /// One an output channel, or one for all.
    pub multipliers: Vec<i32>,
    /// For negative accumulators; empty where there is no difference.
    pub negative_multipliers: Vec<i32>,
    /// Of the output stage.
    pub shift: u8,
    /// Smallest output.
    pub low: i32,
    /// Largest output.
    pub high: i32,
    /// What each input is multiplied with, where a layer has no channels of its own; the second
    /// also for a layer that adds.
    pub factors: [i32; 2],
    /// What is added before the shift, where it is not a channel's.
    pub bias: i32,
    /// The shifts of the sum of a layer that adds, of the accumulator up and of the sum down; else 0.
    pub add_shifts: [u8; 2],
}

/// The values that calibration saw of one tensor, thinned out.
pub type Seen = Vec<f32>;

/// A layer can't be quantised.
#[derive(Debug, thiserror::Error)]
#[error("layer `{layer}`: {why}")]
pub struct QuantizeError {
    layer: String,
    why: String,
}

/// Chooses the scale of every tensor. `seen` has the calibration's values for each;
/// `embedding_step` is the fixed-point step of the embedding; `int16` are tensors that get 16 bits
/// besides those that only lead to it.
pub fn scales(
    graph: &Graph,
    seen: &[Seen],
    ranges: Ranges,
    embedding_step: f32,
    int16: &[usize],
) -> Vec<Scale> {
    let mut wide = wide_tensors(graph);
    int16.iter().for_each(|&t| wide[t] = true);
    let mut scales: Vec<Scale> = seen
        .iter()
        .zip(&wide)
        .map(|(values, &wide)| {
            if wide {
                ranges::wide(values)
            } else {
                ranges.int8(values)
            }
        })
        .collect();
    let step = f64::from(embedding_step);
    scales[graph.embedding] = Scale {
        step,
        zero_point: 0,
        wide: true,
    };
    // Layers that only move or choose values keep their input's scale.
    for layer in graph
        .layers
        .iter()
        .filter(|l| matches!(l.op, Op::MaxPool(_) | Op::Clamp(_) | Op::Pad(_)))
    {
        scales[layer.output] = scales[layer.inputs[0]];
    }
    scales
}

/// The embedding, and vectors that a layer with weights writes for an Add that ends in it.
fn wide_tensors(graph: &Graph) -> Vec<bool> {
    let mut wide = vec![false; graph.tensors.len()];
    wide[graph.embedding] = true;
    for layer in graph.layers.iter().rev() {
        let ends = matches!(layer.op, Op::Add) && wide[layer.output];
        for &input in &layer.inputs {
            let weighted = |l: &Layer| l.output == input && matches!(l.op, Op::Dense(_) | Op::Add);
            let readers = graph
                .layers
                .iter()
                .filter(|l| l.inputs.contains(&input))
                .count();
            wide[input] = ends && readers == 1 && graph.layers.iter().any(weighted);
        }
    }
    // Add takes two of a kind.
    for layer in graph.layers.iter().filter(|l| matches!(l.op, Op::Add)) {
        let both = layer.inputs.iter().all(|&i| wide[i]);
        layer.inputs.iter().for_each(|&i| wide[i] &= both);
    }
    wide
}

/// Turns one layer into integers.
pub fn layer(
    graph: &Graph,
    layer: &Layer,
    scales: &[Scale],
) -> Result<QuantizedLayer, QuantizeError> {
    let (input, output) = (scales[layer.inputs[0]], scales[layer.output]);
    let mut quantized = match &layer.op {
        Op::Conv(_, weights) | Op::Depthwise(_, weights) | Op::Dense(weights) => {
            weighted(weights, |i| layer.op.writes(i), input, output)
        }
        Op::AvgPool(window) => {
            let taps = (window.kernel[0] * window.kernel[1]) as f64;
            let (factors, shift) = fixed(&[input.step / output.step / taps], 32);
            let bias = -input.zero_point * taps as i32;
            QuantizedLayer {
                factors: [factors[0], 0],
                shift,
                bias,
                ..QuantizedLayer::default()
            }
        }
        Op::MaxPool(_) | Op::Pad(_) => moved(Vec::new()),
        Op::Clamp(limits) => moved(
            limits
                .iter()
                .flatten()
                .map(|&limit| input.nearest(limit.into()) as i8)
                .collect(),
        ),
        Op::Lookup(function) => moved(
            (-128..=127)
                .map(|v| output.nearest(function.of(input.value(v))) as i8)
                .collect(),
        ),
        Op::Mul => {
            let ratio = input.step * scales[layer.inputs[1]].step / output.step;
            let (factors, shift) = fixed(&[ratio], 47);
            QuantizedLayer {
                factors: [factors[0], 0],
                shift,
                ..QuantizedLayer::default()
            }
        }
        Op::Concat => {
            let ratios = [0, 1].map(|i| scales[layer.inputs[i]].step / output.step);
            let (factors, shift) = fixed(&ratios, 47);
            QuantizedLayer {
                factors: [factors[0], factors[1]],
                shift,
                ..QuantizedLayer::default()
            }
        }
        Op::Add => add([input, scales[layer.inputs[1]]], output),
    };
    if let (Op::Conv(..) | Op::Dense(_), [_, second]) = (&layer.op, &layer.inputs[..]) {
        quantized.adds(scales[*second], output);
    }
    if layer.activation.slope != 1.0 {
        let slope = f64::from(layer.activation.slope);
        let scaled = quantized
            .multipliers
            .iter()
            .map(|&m| (f64::from(m) * slope).round() as i32);
        quantized.negative_multipliers = scaled.collect();
    }
    quantized.low = output.nearest(layer.activation.low.into());
    quantized.high = output.nearest(layer.activation.high.into());
    let sums = macs_fit(graph, layer, &quantized, input);
    if sums {
        Ok(quantized)
    } else {
        Err(too_large(layer))
    }
}

/// Values are moved, limited or looked up: nothing is multiplied.
fn moved(weights: Vec<i8>) -> QuantizedLayer {
    QuantizedLayer {
        weights,
        shift: 1,
        ..QuantizedLayer::default()
    }
}

impl QuantizedLayer {
    /// Adds `second` before the output is stored: the accumulator keeps 2 to 8 bits below the
    /// output's step, as many as leave the multipliers their shift of 32; the sum is taken in 2^-16
    /// of a step.
    fn adds(&mut self, second: Scale, output: Scale) {
        const SHIFT: u8 = 16;
        let largest = self.multipliers.iter().copied().max().unwrap_or(0).max(1);
        let room = (i32::MAX / largest).ilog2().min(8) as u8;
        // Bits that the multipliers have no room for come off the shift.
        let short = 2u8.saturating_sub(room).min(self.shift - 1);
        self.shift -= short;
        let multipliers = self.multipliers.iter_mut();
        multipliers.for_each(|m| *m <<= room);
        let unit = f64::from(1u32 << SHIFT);
        self.factors[1] = (second.step / output.step * unit)
            .round()
            .min(f64::from(1 << 23)) as i32;
        self.bias = (output.zero_point << SHIFT) - second.zero_point * self.factors[1];
        self.add_shifts = [SHIFT - room - short, SHIFT];
    }
}

fn too_large(layer: &Layer) -> QuantizeError {
    QuantizeError {
        layer: layer.name.clone(),
        why: "its sums can exceed 32 bits".into(),
    }
}

/// No input can overflow the accumulator.
fn macs_fit(graph: &Graph, layer: &Layer, quantized: &QuantizedLayer, input: Scale) -> bool {
    let most = if input.wide { 32_768 } else { 128 };
    let largest = |channel: usize, filter: &dyn Fn(usize) -> bool| {
        let weights = quantized
            .weights
            .iter()
            .enumerate()
            .filter(|&(i, _)| filter(i));
        let sum: i64 = weights.map(|(_, &w)| i64::from(w).abs() * most).sum();
        // A padded tap sees the zero point, which is within the same.
        sum + i64::from(quantized.biases[channel]).abs()
    };
    let channels = quantized.biases.len();
    let filter = quantized.weights.len() / channels.max(1);
    let depthwise = matches!(layer.op, Op::Depthwise(..));
    let taps = |window: &crate::graph::Window| (window.kernel[0] * window.kernel[1]) as i64;
    let pooled = match &layer.op {
        Op::AvgPool(window) => taps(window) * most * 2 < 1 << 31,
        _ => graph.tensors[layer.output].len() < 1 << 31,
    };
    pooled
        && (0..channels).all(|c| {
            let own = |i: usize| {
                if depthwise {
                    i % channels == c
                } else {
                    i / filter == c
                }
            };
            largest(c, &own) < 1 << 31
        })
}

/// Per-channel int8 weights; `channel` says which output channel a weight belongs to.
fn weighted(
    weights: &Weights,
    channel: impl Fn(usize) -> usize,
    input: Scale,
    output: Scale,
) -> QuantizedLayer {
    let steps = steps(weights, &channel, input);
    let mut sums = vec![0i64; steps.len()];
    let mut integers = Vec::with_capacity(weights.values.len());
    for (i, &w) in weights.values.iter().enumerate() {
        let integer = (f64::from(w) / steps[channel(i)])
            .round()
            .clamp(-127.0, 127.0) as i8;
        sums[channel(i)] += i64::from(integer);
        integers.push(integer);
    }
    let biases = weights
        .biases
        .iter()
        .zip(&steps)
        .zip(&sums)
        .map(|((&bias, step), &sum)| {
            let bias = (f64::from(bias) / (input.step * step)).round() as i64;
            (bias - sum * i64::from(input.zero_point)).clamp(i32::MIN.into(), i32::MAX.into())
                as i32
        });
    let biases = biases.collect();
    let ratios: Vec<f64> = steps
        .iter()
        .map(|step| input.step * step / output.step)
        .collect();
    let (multipliers, shift) = fixed(&ratios, 32);
    QuantizedLayer {
        weights: integers,
        biases,
        multipliers,
        shift,
        ..QuantizedLayer::default()
    }
}

/// What a weight's step is worth, for each output channel.
fn steps(weights: &Weights, channel: &impl Fn(usize) -> usize, input: Scale) -> Vec<f64> {
    let mut largest = vec![0.0f64; weights.biases.len()];
    for (i, &w) in weights.values.iter().enumerate() {
        let entry = &mut largest[channel(i)];
        *entry = entry.max(f64::from(w).abs());
    }
    // A channel of zeros keeps a scale at which its bias is still a 32-bit number.
    largest
        .iter()
        .zip(&weights.biases)
        .map(|(l, &b)| {
            (l / 127.0)
                .max(f64::from(b).abs() / input.step / f64::from(1 << 30))
                .max(1e-12)
        })
        .collect()
}

fn add(inputs: [Scale; 2], output: Scale) -> QuantizedLayer {
    let ratios = inputs.map(|i| i.step / output.step);
    // 22 bits each, so that two products and the bias stay within 32 where inputs are int8.
    let (multipliers, shift) = fixed_to(&ratios, 31, 1 << 22);
    let factors = [multipliers[0], multipliers[1]];
    let bias = -(inputs[0].zero_point * factors[0] + inputs[1].zero_point * factors[1]);
    QuantizedLayer {
        factors,
        bias,
        shift,
        ..QuantizedLayer::default()
    }
}

/// Ratios as integers over 2^shift, the shift as large as `most` and 31-bit integers allow.
fn fixed(ratios: &[f64], most: u8) -> (Vec<i32>, u8) {
    fixed_to(ratios, most, i32::MAX)
}

fn fixed_to(ratios: &[f64], most: u8, limit: i32) -> (Vec<i32>, u8) {
    let largest = ratios.iter().fold(0.0f64, |m, &r| m.max(r));
    let mut shift = most;
    while shift > 1 && largest * (1u64 << shift) as f64 > f64::from(limit) {
        shift -= 1;
    }
    let scaled = ratios
        .iter()
        .map(|r| (r * (1u64 << shift) as f64).round().min(f64::from(limit)) as i32);
    (scaled.collect(), shift)
}
