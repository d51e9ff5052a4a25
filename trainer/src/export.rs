//! From a trained network to an ONNX file that any runtime opens.
//!
//! Batch norm is folded into the convolution before it, dense layers are `Gemm` with the weight
//! as [out, in], nodes and weights have stable names, and the batch is dynamic. The finished bytes
//! are run through tract and held against the network they came from.

pub mod onnx;
pub mod transformer;

use anyhow::{Context, bail};
use burn::module::Param;
use burn::nn::{BatchNorm, Linear};
use burn::tensor::{Device, Tensor, TensorData};
use prost::Message;
use rayon::prelude::*;
use tract_onnx::prelude::*;

use crate::network::{ConvNet, Kind, Network, Pool, SensorCnn, Shape, Step};
use onnx::{GraphBuilder, Weights, Window};

/// The largest difference that [`verify`] lets pass, relative to the largest embedding value
/// where that is above 1.
pub const TOLERANCE: f32 = 1e-4;

/// The batch sizes that [`verify`] tries.
const BATCHES: [usize; 3] = [1, 3, 16];

/// A network in evaluation mode as the bytes of an ONNX model, with `metadata` as given. The same
/// network and metadata give the same bytes.
pub fn encode(encoder: &Network, shape: Shape, metadata: &[(String, String)]) -> Vec<u8> {
    let mut graph = GraphBuilder::default();
    match encoder {
        Network::Sensor(network) => sensor_cnn(&mut graph, network),
        Network::Conv(network) => conv_net(&mut graph, network, shape),
        Network::Text(network) => {
            return transformer::encode(network, shape.transformer(), metadata);
        }
    }
    let input = ("input", &input_sizes(shape)[..]);
    graph
        .finish(input, ("embedding", shape.dim), metadata)
        .encode_to_vec()
}

/// The input without the batch: a line of text is its tokens alone, a series has no height.
fn input_sizes(shape: Shape) -> Vec<usize> {
    match (shape.kind, shape.input) {
        (Kind::Transformer, [.., length]) => vec![length],
        (_, [channels, 1, width]) => vec![channels, width],
        (_, all) => all.to_vec(),
    }
}

fn sensor_cnn(graph: &mut GraphBuilder, encoder: &SensorCnn) {
    let mut depths = Vec::new();
    let mut last = "input".to_string();
    for (i, (conv, norm)) in encoder.convs.iter().zip(&encoder.norms).enumerate() {
        let name = format!("conv{}", i + 1);
        let (weight, bias) = fold(&conv.weight, norm);
        let window = Window {
            stride: vec![conv.stride],
            padding: vec![conv.kernel_size / 2],
            groups: 1,
        };
        let x = graph.conv(&name, &last, weight, bias, window);
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
            let part = pooled(graph, kind, &name, x, dense);
            sum = Some(match sum {
                None => part,
                Some(sum) => graph.plain(&format!("{name}.sum"), "Add", &[&sum, &part]),
            });
        }
    }
}

fn conv_net(graph: &mut GraphBuilder, network: &ConvNet, shape: Shape) {
    let series = shape.input[1] == 1;
    let mut layers = network.convs.iter().zip(&network.norms).enumerate();
    let mut next = |graph: &mut GraphBuilder, x: &str| {
        let Some((i, (conv, norm))) = layers.next() else {
            return x.to_owned();
        };
        let (mut weight, bias) = fold(&conv.weight, norm);
        let mut window = Window {
            stride: conv.stride.into(),
            padding: conv.kernel_size.map(|k| k / 2).into(),
            groups: conv.groups,
        };
        if series {
            // [out, in, 1, kernel]: the height goes.
            weight.shape.remove(2);
            window.stride.remove(0);
            window.padding.remove(0);
        }
        graph.conv(&format!("conv{}", i + 1), x, weight, bias, window)
    };
    let rectified = |graph: &mut GraphBuilder, x: String, relu: bool| match relu {
        true => graph.plain(&format!("{x}.relu"), "Relu", &[&x]),
        false => x,
    };
    let (mut x, mut kept) = ("input".to_owned(), Vec::new());
    for step in &network.steps {
        match step {
            Step::Begin => kept.push(x.clone()),
            Step::Conv { relu } => {
                let conv = next(graph, &x);
                x = rectified(graph, conv, *relu);
            }
            Step::Shortcut => {
                let shortcut = kept.pop().map(|x| next(graph, &x));
                kept.extend(shortcut);
            }
            Step::Add { relu } => {
                if let Some(shortcut) = kept.pop() {
                    let sum = graph.plain(&format!("{x}.sum"), "Add", &[&x, &shortcut]);
                    x = rectified(graph, sum, *relu);
                }
            }
        }
    }
    if network.pool == Pool::Flat {
        let flat = graph.plain("flatten", "Flatten", &[&x]);
        dense(graph, "dense", &flat, &network.dense);
        return;
    }
    let mean = pooled(graph, "GlobalAveragePool", "average", &x, &network.dense);
    if let Some(maximum) = &network.maximum {
        let maximum = pooled(graph, "GlobalMaxPool", "maximum", &x, maximum);
        graph.plain("sum", "Add", &[&mean, &maximum]);
    }
}

fn pooled(graph: &mut GraphBuilder, kind: &str, name: &str, x: &str, layer: &Linear) -> String {
    let pool = graph.plain(&format!("{name}.pool"), kind, &[x]);
    let flat = graph.plain(&format!("{name}.flatten"), "Flatten", &[&pool]);
    dense(graph, &format!("{name}.dense"), &flat, layer)
}

fn dense(graph: &mut GraphBuilder, name: &str, x: &str, layer: &Linear) -> String {
    let weight = weights(layer.weight.val().transpose());
    let bias = layer.bias.as_ref().map(|b| weights(b.val()));
    graph.gemm(name, x, weight, bias)
}

/// Batch norm as part of the convolution: weight * gamma / sigma, and beta - mean * gamma / sigma.
fn fold<const D: usize>(weight: &Param<Tensor<D>>, norm: &BatchNorm) -> (Weights, Weights) {
    let sigma = norm.running_var.value().add_scalar(norm.epsilon).sqrt();
    let gain = norm.gamma.val() / sigma;
    let mut each = [1; D];
    each[0] = weight.dims()[0];
    let weight = weight.val() * gain.clone().reshape(each);
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

/// Runs `inputs` ([channels, height, width] each, one after the other) through the network on
/// `device`. The result is one embedding an input.
pub fn embed(encoder: &Network, shape: Shape, inputs: &[f32], device: &Device) -> Vec<f32> {
    let [channels, height, width] = shape.input;
    inputs
        .par_chunks(256 * shape.values())
        .flat_map_iter(|chunk| {
            let sizes = [chunk.len() / shape.values(), channels, height, width];
            let x = Tensor::<4>::from_data(TensorData::new(chunk.to_vec(), sizes), device);
            values(encoder.forward(x))
        })
        .collect()
}

/// Runs the model's bytes through tract on real `inputs`, at several batch sizes, and compares
/// with `expected`, the network's own embeddings of them. Returns the largest difference.
///
/// # Errors
/// The bytes are no model that tract can run, or a difference is above [`TOLERANCE`].
pub fn verify(model: &[u8], shape: Shape, inputs: &[f32], expected: &[f32]) -> anyhow::Result<f32> {
    let size = shape.values();
    let available = inputs.len() / size;
    let scale = expected.iter().fold(1.0f32, |a, v| a.max(v.abs()));
    let mut worst = 0.0f32;
    for batch in BATCHES {
        let runnable = prepare(model, batch, shape).context("the exported model does not run")?;
        for start in (0..available).step_by(batch).take(8) {
            // The last batch is filled up with inputs from the start.
            let picked = (start..start + batch).map(|i| i % available);
            let input: Vec<f32> = picked
                .clone()
                .flat_map(|i| &inputs[i * size..][..size])
                .copied()
                .collect();
            let output = run(&runnable, shape, batch, input)?;
            let wanted = picked.flat_map(|i| &expected[i * shape.dim..][..shape.dim]);
            if output.len() != batch * shape.dim {
                bail!(
                    "the exported model gives {} values for {batch} inputs",
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

/// The input's sizes with the batch.
fn batched(batch: usize, shape: Shape) -> Vec<usize> {
    let mut sizes = vec![batch];
    sizes.extend(input_sizes(shape));
    sizes
}

fn prepare(model: &[u8], batch: usize, shape: Shape) -> TractResult<Arc<TypedRunnableModel>> {
    let sizes = batched(batch, shape);
    let input = match shape.kind {
        Kind::Transformer => i64::fact(sizes),
        _ => f32::fact(sizes),
    };
    tract_onnx::onnx()
        .with_ignore_value_info(true)
        .with_ignore_output_shapes(true)
        .model_for_read(&mut &model[..])?
        .with_input_fact(0, input.into())?
        .into_optimized()?
        .into_runnable()
}

fn run(
    model: &Arc<TypedRunnableModel>,
    shape: Shape,
    batch: usize,
    input: Vec<f32>,
) -> anyhow::Result<Vec<f32>> {
    use tract_onnx::prelude::Tensor;
    let sizes = batched(batch, shape);
    let tensor = match shape.kind {
        Kind::Transformer => {
            let ids: Vec<i64> = input.into_iter().map(|id| id as i64).collect();
            Tensor::from_shape(&sizes, &ids)?
        }
        _ => Tensor::from_shape(&sizes, &input)?,
    };
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
