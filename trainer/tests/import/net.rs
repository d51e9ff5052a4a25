//! Networks as other people's exporters write them, small.

use std::path::Path;

use prost::Message;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto::AttributeType, type_proto,
};

pub use crate::tiny::{int, ints, node, tensor};

/// Types of tensors, as ONNX numbers them.
pub const FLOAT: i32 = 1;
pub const UINT8: i32 = 2;
pub const INT8: i32 = 3;
pub const INT64: i32 = 7;
pub const HALF: i32 = 10;
pub const DOUBLE: i32 = 11;

/// A model of a graph: `stored` tensors, `nodes`, one float input and an output of any shape.
pub fn model(
    input: &[i64],
    nodes: Vec<NodeProto>,
    stored: Vec<TensorProto>,
    output: &str,
) -> ModelProto {
    ModelProto {
        ir_version: 8,
        opset_import: vec![
            OperatorSetIdProto {
                version: 17,
                ..Default::default()
            },
            OperatorSetIdProto {
                domain: "com.microsoft".into(),
                version: 1,
            },
        ],
        graph: Some(GraphProto {
            name: "net".into(),
            node: nodes,
            initializer: stored,
            input: vec![value("x", FLOAT, input)],
            output: vec![ValueInfoProto {
                r#type: value(output, FLOAT, &[]).r#type,
                name: output.into(),
                ..Default::default()
            }],
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A tensor of sizes; what is below 0 has a name instead.
pub fn value(name: &str, kind: i32, dims: &[i64]) -> ValueInfoProto {
    let dimension = |&d: &i64| Dimension {
        value: Some(match d {
            ..0 => dimension::Value::DimParam("batch_size".into()),
            _ => dimension::Value::DimValue(d),
        }),
        ..Default::default()
    };
    let shape = TensorShapeProto {
        dim: dims.iter().map(dimension).collect(),
    };
    let tensor = type_proto::Tensor {
        elem_type: kind,
        // No sizes at all are sizes that nobody knows.
        shape: (!dims.is_empty()).then_some(shape),
    };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Float as i32,
        f,
        ..Default::default()
    }
}

pub fn graph(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Graph as i32,
        g: Some(graph),
        ..Default::default()
    }
}

pub fn list(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: vec![values.len() as i64],
        data_type: INT64,
        int64_data: values.to_vec(),
        ..Default::default()
    }
}

pub fn scalar(name: &str, value: f32) -> TensorProto {
    TensorProto {
        name: name.into(),
        data_type: FLOAT,
        float_data: vec![value],
        ..Default::default()
    }
}

/// Whole numbers of one byte.
pub fn bytes(
    name: &str,
    kind: i32,
    dims: &[i64],
    values: impl Iterator<Item = i32>,
) -> TensorProto {
    let length: i64 = dims.iter().product();
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: kind,
        int32_data: values.take(length as usize).collect(),
        ..Default::default()
    }
}

/// Weights, smaller the more of them a sum has.
pub fn weights(name: &str, dims: &[i64], seed: u32) -> TensorProto {
    let fan = dims[1..].iter().product::<i64>().max(1) as f32;
    map(tensor(name, dims, seed), |v| v * (3.0 / fan).sqrt())
}

/// The same tensor of other values.
pub fn map(mut tensor: TensorProto, by: impl Fn(f32) -> f32) -> TensorProto {
    let (values, _) = tensor.raw_data.as_chunks::<4>();
    let values = values.iter().map(|&b| by(f32::from_le_bytes(b)));
    tensor.raw_data = values.flat_map(f32::to_le_bytes).collect();
    tensor
}

/// Scale, bias, mean and variance of a batch norm.
pub fn norm(name: &str, channels: i64, seed: u32) -> Vec<TensorProto> {
    let part = |part: &str, seed| tensor(&format!("{name}.{part}"), &[channels], seed);
    vec![
        map(part("scale", seed), |v| 1.0 + 0.5 * v),
        part("shift", seed + 1),
        part("mean", seed + 2),
        map(part("variance", seed + 3), |v| 1.0 + 0.5 * v),
    ]
}

pub fn batch_norm(name: &str, input: &str, output: &str) -> NodeProto {
    let parts = ["scale", "shift", "mean", "variance"].map(|p| format!("{name}.{p}"));
    let mut inputs = vec![input];
    inputs.extend(parts.iter().map(String::as_str));
    node("BatchNormalization", &inputs, output, vec![])
}

/// A 3x3 convolution of stride 2.
pub fn conv(input: &str, weights: &str, output: &str) -> NodeProto {
    let attribute = vec![
        ints("kernel_shape", &[3, 3]),
        ints("strides", &[2, 2]),
        ints("pads", &[1, 1, 1, 1]),
    ];
    node("Conv", &[input, weights], output, attribute)
}

/// Conv, Relu, average, dense layer, softmax: `mean` is the embedding, 8 values.
pub fn classifier() -> ModelProto {
    model(
        &[1, 3, 8, 8],
        vec![
            conv("x", "w0", "c0"),
            node("Relu", &["c0"], "r0", vec![]),
            node("GlobalAveragePool", &["r0"], "pool", vec![]),
            node("Flatten", &["pool"], "mean", vec![int("axis", 1)]),
            dense("mean", "scores"),
            node("Softmax", &["scores"], "y", vec![int("axis", 1)]),
        ],
        stored(),
        "y",
    )
}

/// Weights of [`classifier`].
pub fn stored() -> Vec<TensorProto> {
    vec![
        weights("w0", &[8, 3, 3, 3], 1),
        weights("w1", &[5, 8], 2),
        tensor("b1", &[5], 3),
    ]
}

pub fn dense(input: &str, output: &str) -> NodeProto {
    node("Gemm", &[input, "w1", "b1"], output, vec![int("transB", 1)])
}

/// [`classifier`] with other nodes between its convolution `c0` and its average over `r0`.
pub fn between(nodes: Vec<NodeProto>, more: Vec<TensorProto>) -> ModelProto {
    changed(classifier(), |g| {
        g.node.splice(1..2, nodes);
        g.initializer.extend(more);
    })
}

/// [`classifier`] with other nodes between its pooled map `pool` and its vector `mean`.
pub fn flattened(nodes: Vec<NodeProto>, more: Vec<TensorProto>) -> ModelProto {
    changed(classifier(), |g| {
        g.node.splice(3..4, nodes);
        g.initializer.extend(more);
    })
}

pub fn changed(mut model: ModelProto, change: impl FnOnce(&mut GraphProto)) -> ModelProto {
    change(model.graph.as_mut().expect("a graph"));
    model
}

pub fn save(folder: &Path, name: &str, model: &ModelProto) {
    std::fs::write(folder.join(name), model.encode_to_vec()).expect("a file");
}
