//! Batch norm as part of the layer before it.

use std::collections::HashMap;

use tract_onnx::pb::{GraphProto, NodeProto, TensorProto, tensor_proto::DataType};

use super::{tensor, tidy};

/// Folds scale * (x - mean) / sqrt(variance + epsilon) + bias into the weights of the layer that
/// wrote x, where nobody else reads x and it is not `wanted`; returns how many.
pub fn fold(graph: &mut GraphProto, wanted: Option<&str>) -> usize {
    let uses = tidy::uses(graph);
    let mut stored: HashMap<String, TensorProto> = std::mem::take(&mut graph.initializer)
        .into_iter()
        .map(|t| (t.name.clone(), t))
        .collect();
    let mut kept: Vec<NodeProto> = Vec::with_capacity(graph.node.len());
    let mut writer: HashMap<String, usize> = HashMap::new();
    let mut read: HashMap<String, usize> = uses.clone();
    let mut count = 0;
    for node in std::mem::take(&mut graph.node) {
        let input = node
            .input
            .first()
            .filter(|i| uses.get(*i) == Some(&1) && Some(i.as_str()) != wanted);
        let before = input.and_then(|i| writer.get(i).copied());
        let before = before.filter(|_| node.op_type == "BatchNormalization");
        let folded = before.and_then(|at| folded(&kept[at], &node, &stored).map(|f| (at, f)));
        let at = match folded {
            Some((at, (layer, tensors))) => {
                // Others may share the stored tensors: the last reader takes them away.
                for name in kept[at].input[1..].iter().chain(&node.input[1..]) {
                    let left = read.entry(name.clone()).or_default();
                    *left = left.saturating_sub(1);
                    if *left == 0 {
                        stored.remove(name);
                    }
                }
                stored.extend(tensors.map(|t| (t.name.clone(), t)));
                kept[at] = layer;
                count += 1;
                at
            }
            None => {
                kept.push(node);
                kept.len() - 1
            }
        };
        writer.extend(kept[at].output.iter().map(|o| (o.clone(), at)));
    }
    graph.node = kept;
    let mut stored: Vec<TensorProto> = stored.into_values().collect();
    // One file gives one encoder.
    stored.sort_by(|a, b| a.name.cmp(&b.name));
    graph.initializer = stored;
    count
}

/// `layer` with `norm` in it, and its new weights and bias; `None` where it can't take it.
fn folded(
    layer: &NodeProto,
    norm: &NodeProto,
    stored: &HashMap<String, TensorProto>,
) -> Option<(NodeProto, [TensorProto; 2])> {
    let plain = match layer.op_type.as_str() {
        "Conv" => true,
        "Gemm" => number(layer, "alpha", 1.0) == 1.0 && number(layer, "beta", 1.0) == 1.0,
        _ => false,
    };
    // In training it has other outputs, and measures for itself.
    let training = norm.output.iter().skip(1).any(|o| !o.is_empty());
    if !plain || training {
        return None;
    }
    let floats = |name: &String| {
        let tensor = stored.get(name)?;
        let float = tensor.data_type == DataType::Float as i32;
        crate::graph::floats(tensor).filter(|_| float)
    };
    let (dims, mut weights) = floats(layer.input.get(1)?)?;
    let list = |at: usize| Some(floats(norm.input.get(at)?)?.1);
    let (gamma, beta, mean, variance) = (list(1)?, list(2)?, list(3)?, list(4)?);
    let channels = gamma.len();
    let flag = |a: &tract_onnx::pb::AttributeProto| a.name == "transB" && a.i != 0;
    let columns = layer.op_type == "Gemm" && !layer.attribute.iter().any(flag);
    let outputs = if columns { dims.last() } else { dims.first() };
    let mut bias = match layer.input.get(2).filter(|b| !b.is_empty()) {
        Some(name) => floats(name)?.1,
        None => vec![0.0; channels],
    };
    let lists = [&beta, &mean, &variance, &bias];
    if channels == 0 || outputs != Some(&channels) || lists.iter().any(|l| l.len() != channels) {
        return None;
    }
    let epsilon = f64::from(number(norm, "epsilon", 1e-5));
    let scale = |(g, v): (&f32, &f32)| (f64::from(*g) / (f64::from(*v) + epsilon).sqrt()) as f32;
    let scale: Vec<f32> = gamma.iter().zip(&variance).map(scale).collect();
    let filter = (weights.len() / channels).max(1);
    for (i, weight) in weights.iter_mut().enumerate() {
        *weight *= scale[if columns { i % channels } else { i / filter }];
    }
    for c in 0..channels {
        bias[c] = (bias[c] - mean[c]) * scale[c] + beta[c];
    }
    let output = norm.output.first()?.clone();
    let [weight, shift] = ["weight", "bias"].map(|part| format!("{output}.{part}"));
    let dims: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
    let tensors = [
        tensor::of_floats(&weight, &dims, &weights),
        tensor::of_floats(&shift, &[channels as i64], &bias),
    ];
    let layer = NodeProto {
        input: vec![layer.input.first()?.clone(), weight, shift],
        output: vec![output],
        ..layer.clone()
    };
    Some((layer, tensors))
}

fn number(node: &NodeProto, name: &str, default: f32) -> f32 {
    let found = node.attribute.iter().find(|a| a.name == name);
    found.map_or(default, |a| a.f)
}
