//! From a trained network to an ONNX file that any runtime opens.
//!
//! Batch norm is folded into the convolution before it, dense layers are `Gemm` with the weight
//! as [out, in], nodes and weights have stable names, and the batch is dynamic. The finished bytes
//! are run through tract and held against the network they came from.

pub mod onnx;
pub mod transformer;

use anyhow::{Context, bail};
use burn::nn::conv::Conv1d;
use burn::nn::{BatchNorm, Linear};
use burn::tensor::{Device, Tensor, TensorData};
use prost::Message;
use tract_onnx::prelude::*;

use crate::network::{SensorCnn, Shape};
use onnx::{GraphBuilder, Weights};

/// The largest difference that [`verify`] lets pass, relative to the largest embedding value
/// where that is above 1.
pub const TOLERANCE: f32 = 1e-4;

/// The batch sizes that [`verify`] tries.
const BATCHES: [usize; 3] = [1, 3, 16];

/// A network in evaluation mode as the bytes of an ONNX model, with `metadata` as given. The same
/// network and metadata give the same bytes.
pub fn encode(encoder: &SensorCnn, shape: Shape, metadata: &[(String, String)]) -> Vec<u8> {
    let mut graph = GraphBuilder::default();
    let mut depths = Vec::new();
    let mut last = "input".to_string();
    for (i, (conv, norm)) in encoder.convs.iter().zip(&encoder.norms).enumerate() {
        let name = format!("conv{}", i + 1);
        let (weight, bias) = fold(conv, norm);
        let padding = conv.kernel_size / 2;
        let x = graph.conv(&name, &last, weight, bias, conv.stride, padding);
        last = graph.plain(&format!("relu{}", i + 1), "Relu", &[&x]);
        depths.push(last.clone());
    }
    let parts = encoder.averages.iter().zip(&encoder.maxima);
    let mut sum: Option<String> = None;
    for (i, (x, (average, maximum))) in depths.iter().zip(parts).enumerate() {
        for (kind, name, dense) in [
            ("GlobalAveragePool", "average", average),
            ("GlobalMaxPool", "maximum", maximum),
        ] {
            let name = format!("{name}{}", i + 1);
            let part = pooled(&mut graph, kind, &name, x, dense);
            sum = Some(match sum {
                None => part,
                Some(sum) => graph.plain(&format!("{name}.sum"), "Add", &[&sum, &part]),
            });
        }
    }
    let input = ("input", [shape.channels, shape.window]);
    graph
        .finish(input, ("embedding", shape.dim), metadata)
        .encode_to_vec()
}

fn pooled(graph: &mut GraphBuilder, kind: &str, name: &str, x: &str, dense: &Linear) -> String {
    let pool = graph.plain(&format!("{name}.pool"), kind, &[x]);
    let flat = graph.plain(&format!("{name}.flatten"), "Flatten", &[&pool]);
    let weight = weights(dense.weight.val().transpose());
    let bias = dense.bias.as_ref().map(|b| weights(b.val()));
    graph.gemm(&format!("{name}.dense"), &flat, weight, bias)
}

/// Batch norm as part of the convolution: weight * gamma / sigma, and beta - mean * gamma / sigma.
fn fold(conv: &Conv1d, norm: &BatchNorm) -> (Weights, Weights) {
    let sigma = norm.running_var.value().add_scalar(norm.epsilon).sqrt();
    let gain = norm.gamma.val() / sigma;
    let [out, _, _] = conv.weight.dims();
    let weight = conv.weight.val() * gain.clone().reshape([out, 1, 1]);
    let bias = norm.beta.val() - norm.running_mean.value() * gain;
    (weights(weight), weights(bias))
}

fn weights<const D: usize>(tensor: Tensor<D>) -> Weights {
    Weights {
        shape: tensor.dims().into(),
        values: values(tensor),
    }
}

/// A tensor's values, row-major.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// Runs `windows` ([channels, window] each, one after the other) through the network on `device`.
/// The result is one embedding a window.
pub fn embed(encoder: &SensorCnn, shape: Shape, windows: &[f32], device: &Device) -> Vec<f32> {
    let size = shape.channels * shape.window;
    windows
        .chunks(256 * size)
        .flat_map(|chunk| {
            let sizes = [chunk.len() / size, shape.channels, shape.window];
            let x = Tensor::from_data(TensorData::new(chunk.to_vec(), sizes), device);
            values(encoder.forward(x))
        })
        .collect()
}

/// Runs the model's bytes through tract on real `windows`, at several batch sizes, and compares
/// with `expected`, the network's own embeddings of them. Returns the largest difference.
///
/// # Errors
/// The bytes are no model that tract can run, or a difference is above [`TOLERANCE`].
pub fn verify(
    model: &[u8],
    shape: Shape,
    windows: &[f32],
    expected: &[f32],
) -> anyhow::Result<f32> {
    let size = shape.channels * shape.window;
    let available = windows.len() / size;
    let scale = expected.iter().fold(1.0f32, |a, v| a.max(v.abs()));
    let mut worst = 0.0f32;
    for batch in BATCHES {
        let runnable = prepare(model, batch, shape).context("the exported model does not run")?;
        for start in (0..available).step_by(batch).take(8) {
            // The last batch is filled up with windows from the start.
            let picked = (start..start + batch).map(|i| i % available);
            let input: Vec<f32> = picked
                .clone()
                .flat_map(|i| &windows[i * size..][..size])
                .copied()
                .collect();
            let output = run(&runnable, [batch, shape.channels, shape.window], &input)?;
            let wanted = picked.flat_map(|i| &expected[i * shape.dim..][..shape.dim]);
            if output.len() != batch * shape.dim {
                bail!(
                    "the exported model gives {} values for {batch} windows",
                    output.len()
                );
            }
            for (a, b) in output.iter().zip(wanted) {
                let difference = (a - b).abs() / scale;
                worst = if difference.is_nan() {
                    f32::INFINITY
                } else {
                    worst.max(difference)
                };
            }
        }
    }
    if worst > TOLERANCE {
        bail!(
            "the exported model differs from the trained one by {worst:.1e}, more than {TOLERANCE:.0e}: nothing was written"
        );
    }
    Ok(worst)
}

fn prepare(model: &[u8], batch: usize, shape: Shape) -> TractResult<Arc<TypedRunnableModel>> {
    tract_onnx::onnx()
        .with_ignore_value_info(true)
        .with_ignore_output_shapes(true)
        .model_for_read(&mut &model[..])?
        .with_input_fact(0, f32::fact([batch, shape.channels, shape.window]).into())?
        .into_optimized()?
        .into_runnable()
}

fn run(
    model: &Arc<TypedRunnableModel>,
    shape: [usize; 3],
    input: &[f32],
) -> anyhow::Result<Vec<f32>> {
    let tensor = tract_onnx::prelude::Tensor::from_shape(&shape, input)?;
    let outputs = model.run(tvec!(tensor.into()))?;
    let first = outputs
        .first()
        .context("the exported model has no output")?;
    Ok(first
        .to_plain_array_view::<f32>()?
        .iter()
        .copied()
        .collect())
}
