//! Every layer that other people's networks have, from ONNX through the pack, against the float
//! runtime on inputs that calibration has not seen.

#[allow(dead_code)]
mod pictures;
#[allow(dead_code)]
mod tiny;

use headstart_trainer::encoder_file::EncoderFile;
use headstart_trainer::float::FloatEncoder;
use headstart_trainer::graph::Graph;
use headstart_trainer::items::Owned;
use headstart_trainer::pack::{Options, measure_outputs, pack, quality};
use pictures::{
    CHANNELS, SIDE, channels_last, constant, float, input, list, network, pictures, positive,
    weights,
};
use tiny::{int, ints, node, tensor};
use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto};

/// How well the pack follows the float runtime.
fn cosine(mut encoder: EncoderFile) -> f64 {
    let inputs = pictures(64, 5);
    measure_outputs(&mut encoder, &inputs).expect("it runs as floats");
    graph_is_the_network(&encoder, &inputs[0]);
    let (bytes, _) = pack(&encoder, &inputs, &Options::default()).expect("it packs");
    quality(&encoder, &bytes, &pictures(64, 6))
        .expect("it runs")
        .cosine
}

/// The graph that is packed computes what the float runtime does.
fn graph_is_the_network(encoder: &EncoderFile, window: &Owned) {
    let graph = Graph::read(&encoder.proto, encoder.input.shape).expect("a graph");
    let float = FloatEncoder::new(encoder).expect("it runs as floats");
    let input = input(encoder, window);
    let expected = float.embed(&input).expect("it runs as floats");
    let got = &graph.run(channels_last(&input))[graph.embedding];
    assert_eq!(got.len(), expected[0].len());
    let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-4 * (1.0 + b.abs());
    assert!(
        got.iter().zip(&expected[0]).all(close),
        "{got:?} {expected:?}"
    );
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
    let refused = Graph::read(&encoder.proto, encoder.input.shape);
    let message = refused.map(|_| ()).expect_err("a wrong pack").to_string();
    assert!(message.contains("y_Reshape"), "{message}");
}
