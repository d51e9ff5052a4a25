//! The graph in floats, layer by layer, values channels last: what each layer's integers are
//! measured against. Whole encoders run faster through tract.

use super::{Activation, Graph, Layer, Op, Window};

impl Graph {
    /// Every activation for one input.
    pub fn run(&self, input: Vec<f32>) -> Vec<Vec<f32>> {
        let mut values = vec![Vec::new(); self.tensors.len()];
        values[0] = input;
        for layer in &self.layers {
            values[layer.output] = self.compute(layer, &values);
        }
        values
    }

    /// The output of one layer, from all activations so far.
    pub fn compute(&self, layer: &Layer, values: &[Vec<f32>]) -> Vec<f32> {
        let shapes = [layer.inputs[0], layer.output].map(|t| self.tensors[t].shape);
        let ([_, width, channels], [.., outputs]) = (shapes[0], shapes[1]);
        let input = &values[layer.inputs[0]];
        let second = layer.inputs.get(1).map(|&t| &values[t]);
        let mut output = vec![0.0; self.tensors[layer.output].len()];
        match &layer.op {
            Op::Conv(window, weights) => {
                let (depth, own) = (channels / window.groups, outputs / window.groups);
                let filter = window.kernel[0] * window.kernel[1] * depth;
                slide(window, shapes, |pixel, tap, from| {
                    for (out, sum) in output[pixel * outputs..][..outputs].iter_mut().enumerate() {
                        let values = &input[from * channels + out / own * depth..][..depth];
                        *sum += dot(&weights.values[out * filter + tap * depth..], values);
                    }
                });
                add_biases(&mut output, &weights.biases);
            }
            Op::Depthwise(window, weights) => {
                let own = outputs / channels;
                slide(window, shapes, |pixel, tap, from| {
                    let weights = &weights.values[tap * outputs..][..outputs];
                    for (out, weight) in weights.iter().enumerate() {
                        output[pixel * outputs + out] +=
                            weight * input[from * channels + out / own];
                    }
                });
                add_biases(&mut output, &weights.biases);
            }
            Op::Dense(weights) => {
                let rows = weights.values.chunks_exact(input.len());
                output
                    .iter_mut()
                    .zip(rows)
                    .for_each(|(sum, row)| *sum = dot(row, input));
                add_biases(&mut output, &weights.biases);
            }
            Op::AvgPool(window) => {
                let taps = (window.kernel[0] * window.kernel[1]) as f32;
                slide(window, shapes, |pixel, _, from| {
                    (0..channels).for_each(|c| {
                        output[pixel * channels + c] += input[from * channels + c] / taps;
                    });
                });
            }
            Op::MaxPool(window) => {
                output.fill(f32::NEG_INFINITY);
                slide(window, shapes, |pixel, _, from| {
                    for c in 0..channels {
                        let largest = &mut output[pixel * channels + c];
                        *largest = largest.max(input[from * channels + c]);
                    }
                });
            }
            Op::Add | Op::Lookup(_) | Op::Mul => output.copy_from_slice(input),
            Op::Concat => {
                let second = second.map_or(&[][..], |s| s);
                let pixels = output.chunks_exact_mut(outputs);
                let pairs = input
                    .chunks(channels)
                    .zip(second.chunks(outputs - channels));
                for (pixel, (first, second)) in pixels.zip(pairs) {
                    pixel[..channels].copy_from_slice(first);
                    pixel[channels..].copy_from_slice(second);
                }
            }
            Op::Clamp(limits) => {
                for (i, (out, value)) in output.iter_mut().zip(input).enumerate() {
                    let [low, high] = limits[i % channels];
                    *out = value.max(low).min(high);
                }
            }
            Op::Pad([top, left]) => {
                for (i, pixel) in input.chunks_exact(channels).enumerate() {
                    let at = (i / width + top) * shapes[1][1] + i % width + left;
                    output[at * channels..][..channels].copy_from_slice(pixel);
                }
            }
        }
        match (&layer.op, second) {
            (Op::Lookup(function), _) => {
                let of = |v: &mut f32| *v = function.of(f64::from(*v)) as f32;
                output.iter_mut().for_each(of);
            }
            // The second may be one vector for all pixels.
            (Op::Mul, Some(second)) => {
                output
                    .iter_mut()
                    .zip(second.iter().cycle())
                    .for_each(|(v, s)| *v *= s);
            }
            (Op::Add | Op::Conv(..) | Op::Dense(_), Some(second)) => {
                output.iter_mut().zip(second).for_each(|(v, s)| *v += s);
            }
            _ => (),
        }
        output.iter_mut().for_each(|v| *v = layer.activation.of(*v));
        output
    }
}

impl Activation {
    /// Its value.
    pub fn of(self, value: f32) -> f32 {
        let value = if value < 0.0 {
            value * self.slope
        } else {
            value
        };
        value.max(self.low).min(self.high)
    }
}

/// Calls `see` with every output pixel, tap and input pixel that meet; what lies in the padding
/// meets nothing.
fn slide(
    window: &Window,
    [input, output]: [[usize; 3]; 2],
    mut see: impl FnMut(usize, usize, usize),
) {
    let place = |axis: usize, out: usize, tap: usize| {
        let at = out * window.stride[axis] + tap * window.dilation[axis];
        let inside = at.checked_sub(window.pad[axis]);
        inside.filter(|&at| at < input[axis])
    };
    for y in 0..output[0] {
        for x in 0..output[1] {
            for row in 0..window.kernel[0] {
                let Some(from) = place(0, y, row) else {
                    continue;
                };
                for column in 0..window.kernel[1] {
                    if let Some(at) = place(1, x, column) {
                        let tap = row * window.kernel[1] + column;
                        see(y * output[1] + x, tap, from * input[1] + at);
                    }
                }
            }
        }
    }
}

/// Of as many weights as there are values.
fn dot(weights: &[f32], values: &[f32]) -> f32 {
    let (values, rest) = values.as_chunks::<8>();
    let (weights, left) = weights.split_at(values.len() * 8);
    let mut sums = [0.0; 8];
    for (w, v) in weights.as_chunks::<8>().0.iter().zip(values) {
        (0..8).for_each(|i| sums[i] += w[i] * v[i]);
    }
    let rest: f32 = left.iter().zip(rest).map(|(w, v)| w * v).sum();
    sums.iter().sum::<f32>() + rest
}

fn add_biases(output: &mut [f32], biases: &[f32]) {
    for pixel in output.chunks_exact_mut(biases.len()) {
        pixel.iter_mut().zip(biases).for_each(|(v, b)| *v += b);
    }
}
