//! Every layer that other people's networks have, from ONNX through the pack, against the float
//! runtime on inputs that calibration has not seen.

#[allow(dead_code)]
mod tiny;

use headstart_trainer::encoder_file::EncoderFile;
use headstart_trainer::pack::{Options, measure_outputs, pack, quality};
use prost::Message;
use tiny::{int, ints, node, tensor};
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

const SIDE: i64 = 12;
const CHANNELS: i64 = 8;

fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Float as i32,
        f,
        ..Default::default()
    }
}

fn shaped(name: &str, dims: &[i64]) -> ValueInfoProto {
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
fn weights(name: &str, dims: &[i64], seed: u32) -> TensorProto {
    let mut tensor = tensor(name, dims, seed);
    let fan = dims[1..].iter().product::<i64>() as f32;
    scale(&mut tensor, |v| v * (3.0 / fan).sqrt());
    tensor
}

/// One positive number a channel, about 1.
fn positive(name: &str, seed: u32) -> TensorProto {
    let mut tensor = tensor(name, &[CHANNELS], seed);
    scale(&mut tensor, |v| 1.0 + 0.4 * v);
    tensor
}

fn scale(tensor: &mut TensorProto, by: impl Fn(f32) -> f32) {
    let (values, _) = tensor.raw_data.as_chunks::<4>();
    let values = values.iter().map(|&b| by(f32::from_le_bytes(b)));
    tensor.raw_data = values.flat_map(f32::to_le_bytes).collect();
}

/// A per-channel constant of shape [1, C, 1, 1].
fn constant(name: &str, seed: u32) -> TensorProto {
    tensor(name, &[1, CHANNELS, 1, 1], seed)
}

fn list(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: vec![values.len() as i64],
        data_type: 7,
        int64_data: values.to_vec(),
        ..Default::default()
    }
}

/// A network: a convolution, then `nodes` from `x` to `y`, then a global average and a dense layer.
fn network(nodes: Vec<NodeProto>, stored: Vec<TensorProto>, channels: i64) -> EncoderFile {
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
fn pictures(count: usize, seed: u32) -> Vec<Vec<i16>> {
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
        (0..side * side * 3).map(value).collect()
    };
    (0..count).map(|_| picture()).collect()
}

/// How well the pack follows the float runtime.
fn cosine(mut encoder: EncoderFile) -> f64 {
    let inputs = pictures(64, 5);
    measure_outputs(&mut encoder, &inputs).expect("it runs as floats");
    let (bytes, _) = pack(&encoder, &inputs, &Options::default()).expect("it packs");
    quality(&encoder, &bytes, &pictures(64, 6))
        .expect("it runs")
        .cosine
}

#[test]
fn every_layer_of_other_peoples_networks_is_packed() {
    struct Case {
        what: &'static str,
        nodes: Vec<NodeProto>,
        stored: Vec<TensorProto>,
        channels: i64,
    }
    let case = |what, nodes, stored| Case {
        what,
        nodes,
        stored,
        channels: CHANNELS,
    };
    let one =
        |what, op: &str, attribute| case(what, vec![node(op, &["x"], "y", attribute)], vec![]);
    let with = |what, op: &str, constant: TensorProto| {
        let inputs = ["x", constant.name.as_str()];
        case(
            what,
            vec![node(op, &inputs, "y", vec![])],
            vec![constant.clone()],
        )
    };
    let window = |kernel: &[i64], pads: &[i64], more: Vec<AttributeProto>| {
        [vec![ints("kernel_shape", kernel), ints("pads", pads)], more].concat()
    };
    let conv = |what, group: i64, depth: i64, attribute| {
        let kernel = [CHANNELS, depth, 3, 3];
        let attribute = [vec![int("group", group)], attribute].concat();
        let nodes = vec![node("Conv", &["x", "w", "b"], "y", attribute)];
        let stored = vec![weights("w", &kernel, 7), tensor("b", &[CHANNELS], 8)];
        case(what, nodes, stored)
    };
    let cases = [
        one("relu", "Relu", vec![]),
        one("leaky relu", "LeakyRelu", vec![float("alpha", 0.2)]),
        one("sigmoid", "Sigmoid", vec![]),
        one("tanh", "Tanh", vec![]),
        one("hard swish", "HardSwish", vec![]),
        one(
            "hard sigmoid",
            "HardSigmoid",
            vec![float("alpha", 0.25), float("beta", 0.4)],
        ),
        one(
            "maxima",
            "MaxPool",
            window(&[3, 3], &[1, 1, 1, 1], vec![ints("strides", &[2, 2])]),
        ),
        one(
            "averages",
            "AveragePool",
            window(&[2, 2], &[0, 0, 0, 0], vec![ints("strides", &[2, 2])]),
        ),
        with("a sum with constants", "Add", constant("c", 9)),
        with("a difference", "Sub", constant("c", 9)),
        with("a product with constants", "Mul", constant("c", 9)),
        with("a maximum with constants", "Max", constant("c", 9)),
        with("a minimum with constants", "Min", constant("c", 9)),
        conv(
            "a dilated convolution",
            1,
            CHANNELS,
            window(&[3, 3], &[2, 2, 2, 2], vec![ints("dilations", &[2, 2])]),
        ),
        conv(
            "a grouped convolution",
            2,
            CHANNELS / 2,
            window(&[3, 3], &[1, 1, 1, 1], vec![]),
        ),
        conv(
            "a depthwise convolution",
            CHANNELS,
            1,
            window(&[3, 3], &[0, 0, 1, 1], vec![ints("strides", &[2, 2])]),
        ),
        case(
            "swish",
            vec![
                node("Sigmoid", &["x"], "s", vec![]),
                node("Mul", &["x", "s"], "y", vec![]),
            ],
            vec![],
        ),
        case(
            "a residual sum",
            vec![
                node(
                    "Conv",
                    &["x", "w", "b"],
                    "c",
                    window(&[3, 3], &[1, 1, 1, 1], vec![]),
                ),
                node("Add", &["c", "x"], "s", vec![]),
                node("Relu", &["s"], "y", vec![]),
            ],
            vec![
                weights("w", &[CHANNELS, CHANNELS, 3, 3], 7),
                tensor("b", &[CHANNELS], 8),
            ],
        ),
        case(
            "squeeze and excite",
            vec![
                node("GlobalAveragePool", &["x"], "g", vec![]),
                node(
                    "Conv",
                    &["g", "w", "b"],
                    "r",
                    vec![ints("kernel_shape", &[1, 1])],
                ),
                node("Sigmoid", &["r"], "s", vec![]),
                node("Mul", &["x", "s"], "y", vec![]),
            ],
            vec![
                weights("w", &[CHANNELS, CHANNELS, 1, 1], 7),
                tensor("b", &[CHANNELS], 8),
            ],
        ),
        case(
            "batch norm behind a sum, which can't take it",
            vec![
                node("Add", &["x", "x"], "d", vec![]),
                node(
                    "BatchNormalization",
                    &["d", "gamma", "beta", "mean_", "var"],
                    "y",
                    vec![],
                ),
            ],
            vec![
                positive("gamma", 10),
                tensor("beta", &[CHANNELS], 11),
                tensor("mean_", &[CHANNELS], 12),
                positive("var", 13),
            ],
        ),
        case(
            "zeros and the convolution behind them",
            vec![
                node("Pad", &["x", "pads"], "p", vec![]),
                node(
                    "Conv",
                    &["p", "w", "b"],
                    "y",
                    vec![ints("kernel_shape", &[3, 3])],
                ),
            ],
            vec![
                list("pads", &[0, 0, 1, 0, 0, 0, 1, 2]),
                weights("w", &[CHANNELS, CHANNELS, 3, 3], 7),
                tensor("b", &[CHANNELS], 8),
            ],
        ),
        case(
            "zeros that nothing takes on",
            vec![
                node("Pad", &["x", "pads"], "p", vec![]),
                node("MaxPool", &["p"], "y", vec![ints("kernel_shape", &[2, 2])]),
            ],
            vec![list("pads", &[0, 0, 1, 1, 0, 0, 1, 1])],
        ),
        Case {
            channels: 3 * CHANNELS,
            ..case(
                "three tensors side by side",
                vec![
                    node("Relu", &["x"], "r", vec![]),
                    node("Tanh", &["x"], "t", vec![]),
                    node("Concat", &["x", "r", "t"], "y", vec![int("axis", 1)]),
                ],
                vec![],
            )
        },
    ];
    for Case {
        what,
        nodes,
        stored,
        channels,
    } in cases
    {
        let cosine = cosine(network(nodes, stored, channels));
        println!("{what}: {cosine:.4}");
        assert!(cosine >= 0.98, "{what}: {cosine}");
    }
}

#[test]
fn activations_get_sixteen_bits_where_eight_are_not_enough() {
    let same = || vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1, 1, 1, 1])];
    let nodes = vec![
        node("Conv", &["x", "w", "b"], "c", same()),
        node("Add", &["c", "x"], "s", vec![]),
        node("Relu", &["s"], "y", vec![]),
    ];
    let stored = vec![
        weights("w", &[CHANNELS, CHANNELS, 3, 3], 7),
        tensor("b", &[CHANNELS], 8),
    ];
    let mut encoder = network(nodes, stored, CHANNELS);
    let (inputs, others) = (pictures(64, 5), pictures(64, 6));
    measure_outputs(&mut encoder, &inputs).expect("it runs as floats");
    let measured = |cosine| {
        let options = Options {
            cosine,
            ..Options::default()
        };
        let (bytes, layout) = pack(&encoder, &inputs, &options).expect("it packs");
        let quality = quality(&encoder, &bytes, &others).expect("it runs");
        (quality.cosine, layout.arena)
    };
    let (eight, enough, more) = (measured(None), measured(Some(0.9)), measured(Some(1.0)));
    assert_eq!(eight, enough, "nothing changes where int8 is enough");
    assert!(more.0 > eight.0 && more.1 > eight.1, "{eight:?} {more:?}");
}

#[test]
fn a_reshape_that_mixes_channels_and_pixels_is_refused() {
    let nodes = vec![node("Reshape", &["x", "sides"], "y", vec![])];
    let stored = vec![list("sides", &[-1, SIDE, CHANNELS, SIDE])];
    let encoder = network(nodes, stored, SIDE);
    let refused = headstart_trainer::graph::Graph::read(&encoder.proto, encoder.input.shape);
    let message = refused.map(|_| ()).expect_err("a wrong pack").to_string();
    assert!(message.contains("y_Reshape"), "{message}");
}
