//! A small network of the tests' own choice, and pictures for it.

use headstart_trainer::encoder_file::EncoderFile;
use headstart_trainer::items::Owned;
use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

use crate::tiny::{int, ints, node, tensor};

pub const SIDE: i64 = 12;
pub const CHANNELS: i64 = 8;

pub fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Float as i32,
        f,
        ..Default::default()
    }
}

pub fn shaped(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dimension = |&d: &i64| Dimension {
        value: Some(dimension::Value::DimValue(d)),
        ..Default::default()
    };
    let tensor = type_proto::Tensor {
        elem_type: 1,
        shape: Some(TensorShapeProto {
            dim: dims.iter().map(dimension).collect(),
        }),
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

/// Weights of a layer, smaller the more of them a sum has.
pub fn weights(name: &str, dims: &[i64], seed: u32) -> TensorProto {
    let mut tensor = tensor(name, dims, seed);
    let fan = dims[1..].iter().product::<i64>() as f32;
    scale(&mut tensor, |v| v * (3.0 / fan).sqrt());
    tensor
}

/// One positive number a channel, about 1.
pub fn positive(name: &str, seed: u32) -> TensorProto {
    let mut tensor = tensor(name, &[CHANNELS], seed);
    scale(&mut tensor, |v| 1.0 + 0.4 * v);
    tensor
}

pub fn scale(tensor: &mut TensorProto, by: impl Fn(f32) -> f32) {
    let (values, _) = tensor.raw_data.as_chunks::<4>();
    let values = values.iter().map(|&b| by(f32::from_le_bytes(b)));
    tensor.raw_data = values.flat_map(f32::to_le_bytes).collect();
}

/// A per-channel constant of shape [1, C, 1, 1].
pub fn constant(name: &str, seed: u32) -> TensorProto {
    tensor(name, &[1, CHANNELS, 1, 1], seed)
}

pub fn list(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: vec![values.len() as i64],
        data_type: 7,
        int64_data: values.to_vec(),
        ..Default::default()
    }
}

/// A network: a convolution, then `nodes` from `x` to `y`, then a global average and a dense layer.
pub fn network(nodes: Vec<NodeProto>, stored: Vec<TensorProto>, channels: i64) -> EncoderFile {
    let pads = || vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1, 1, 1, 1])];
    let first = node("Conv", &["input", "w0", "b0"], "x", pads());
    let last = [
        node("GlobalAveragePool", &["y"], "mean", vec![]),
        node("Flatten", &["mean"], "flat", vec![int("axis", 1)]),
        node(
            "Gemm",
            &["flat", "w1", "b1"],
            "embedding",
            vec![int("transB", 1)],
        ),
    ];
    let own = [
        weights("w0", &[CHANNELS, 3, 3, 3], 1),
        tensor("b0", &[CHANNELS], 2),
        weights("w1", &[16, channels], 3),
        tensor("b1", &[16], 4),
    ];
    let proto = ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            version: 17,
            ..Default::default()
        }],
        graph: Some(GraphProto {
            name: "layers".into(),
            node: [&[first][..], &nodes, &last].concat(),
            initializer: [&own[..], &stored].concat(),
            input: vec![shaped("input", &[1, 3, SIDE, SIDE])],
            output: vec![shaped("embedding", &[1, 16])],
            ..Default::default()
        }),
        ..Default::default()
    };
    EncoderFile::plain(&proto.encode_to_vec(), 1.0).expect("a network that can be read")
}

/// Pictures of a few smooth spots, so that their embeddings differ.
pub fn pictures(count: usize, seed: u32) -> Vec<Owned> {
    let mut state = seed;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    let side = SIDE as usize;
    let mut picture = || {
        let spots: Vec<[f32; 6]> = (0..3)
            .map(|_| {
                [
                    random(),
                    random(),
                    0.1 + 0.3 * random(),
                    random(),
                    random(),
                    random(),
                ]
            })
            .collect();
        let value = |i: usize| {
            let (pixel, channel) = (i / 3, i % 3);
            let (y, x) = ((pixel / side) as f32, (pixel % side) as f32);
            let at = |s: &[f32; 6]| {
                let (dy, dx) = (y / side as f32 - s[0], x / side as f32 - s[1]);
                (2.0 * s[3 + channel] - 1.0) * (-(dy * dy + dx * dx) / (s[2] * s[2])).exp()
            };
            (20_000.0 * spots.iter().map(at).sum::<f32>()) as i16
        };
        (0..side * side * 3).map(value).collect::<Vec<i16>>()
    };
    (0..count).map(|_| Owned::Samples(picture())).collect()
}

/// What the float runtime is given for a picture.
pub fn input(encoder: &EncoderFile, picture: &Owned) -> Vec<f32> {
    let signal = picture.signal().expect("a picture");
    encoder.input(signal).expect("as the encoder takes it")
}

/// An input as the graph that is packed has it: here three channels, pixel by pixel.
pub fn channels_last(input: &[f32]) -> Vec<f32> {
    let pixels = input.len() / 3;
    let value = |i: usize| input[i % 3 * pixels + i / 3];
    (0..input.len()).map(value).collect()
}
