//! What `headstart pack` does about networks that plain int8 follows badly.

#[allow(dead_code)]
mod pictures;
#[allow(dead_code)]
mod tiny;

use headstart_trainer::encoder_file::EncoderFile;
use headstart_trainer::graph::Graph;
use headstart_trainer::pack::{Options, Packed, measure_outputs, search};
use headstart_trainer::quantize;
use pictures::{CHANNELS, channels_last, float, input, network, pictures, weights};
use tiny::{int, ints, node, tensor};
use tract_onnx::pb::{NodeProto, TensorProto};

/// Weights or biases of a formula.
fn stored(name: &str, dims: &[i64], value: impl Fn(usize) -> f32) -> TensorProto {
    let length = dims.iter().product::<i64>() as usize;
    TensorProto {
        raw_data: (0..length).flat_map(|i| value(i).to_le_bytes()).collect(),
        ..tensor(name, dims, 0)
    }
}

fn point(inputs: [&str; 3], output: &str) -> NodeProto {
    node("Conv", &inputs, output, vec![ints("kernel_shape", &[1, 1])])
}

const SQUARE: [i64; 4] = [CHANNELS, CHANNELS, 1, 1];

/// One number a channel, for weights `[out][in]`.
fn identity(i: usize, diagonal: impl Fn(usize) -> f32) -> f32 {
    let (out, channel) = (i / CHANNELS as usize, i % CHANNELS as usize);
    if out == channel { diagonal(out) } else { 0.0 }
}

fn searched(mut encoder: EncoderFile, cosine: f64) -> Packed {
    let inputs = pictures(64, 5);
    measure_outputs(&mut encoder, &inputs).expect("it runs as floats");
    let options = Options {
        cosine: Some(cosine),
        ..Options::default()
    };
    search(&encoder, &inputs, &options).expect("it packs")
}

fn steps(packed: &Packed) -> Vec<&str> {
    packed.tried.iter().map(|t| t.step.as_str()).collect()
}

fn cosine(packed: &Packed, step: &str) -> f64 {
    let found = packed.tried.iter().find(|t| t.step == step);
    found.expect("it was tried").quality.cosine
}

/// Channels that shrink to a 4,096th, and what reads them makes them as large again: the small ones
/// are lost in a scale that all share.
fn badly_scaled(activation: NodeProto) -> EncoderFile {
    let shrink = |c: usize| 0.25f32.powi(c as i32 % 7);
    let nodes = vec![
        point(["x", "down", "zero"], "c"),
        activation,
        point(["r", "up", "zero"], "y"),
    ];
    let mixed = weights("up", &SQUARE, 7).raw_data;
    let mixed = mixed.as_chunks::<4>().0.to_vec();
    let stored = vec![
        stored("down", &SQUARE, |i| identity(i, shrink)),
        stored("up", &SQUARE, |i| {
            f32::from_le_bytes(mixed[i]) / shrink(i % CHANNELS as usize)
        }),
        stored("zero", &[CHANNELS], |_| 0.0),
    ];
    network(nodes, stored, CHANNELS)
}

#[test]
fn equalisation_saves_badly_scaled_channels() {
    for activation in [
        node("Relu", &["c"], "r", vec![]),
        node("LeakyRelu", &["c"], "r", vec![float("alpha", 0.1)]),
    ] {
        let packed = searched(badly_scaled(activation), 0.95);
        let expected = ["plain", "percentile 99.99", "percentile 99.9", "equalised"];
        assert_eq!(
            steps(&packed),
            expected,
            "it stops at the first that is enough"
        );
        assert!(cosine(&packed, "plain") < 0.9, "{:?}", packed.tried);
        assert!(cosine(&packed, "equalised") >= 0.95, "{:?}", packed.tried);
        assert_eq!(packed.used.first().map(String::as_str), Some("plain"));
        assert_eq!(packed.used.last().map(String::as_str), Some("equalised"));
    }
}

/// Weights of one and a bit steps are all rounded down, as a large one that reads nothing but zeros
/// sets the step.
#[test]
fn bias_correction_keeps_the_mean_that_rounding_moves() {
    let nodes = vec![
        point(["x", "silence", "one"], "c"),
        node("Relu", &["c"], "r", vec![]),
        point(["r", "w", "zero"], "y"),
    ];
    let first = |i: usize| i.is_multiple_of(CHANNELS as usize);
    let part = |i: usize| 1.25 + 0.02 * (i % 11) as f32;
    let stored = vec![
        stored("silence", &SQUARE, |i| {
            identity(i, |c| if c > 0 { 1.0 } else { 0.0 })
        }),
        stored("one", &[CHANNELS], |c| if c > 0 { 1.0 } else { 0.0 }),
        stored(
            "w",
            &SQUARE,
            |i| if first(i) { 1.0 } else { part(i) / 127.0 },
        ),
        stored("zero", &[CHANNELS], |_| 0.0),
    ];
    let packed = searched(network(nodes, stored, CHANNELS), 0.9999);
    let (before, after) = (
        cosine(&packed, "equalised"),
        cosine(&packed, "bias corrected"),
    );
    assert!(after > 0.9 && before < 0.5, "{:?}", packed.tried);
    assert!(
        packed.used.contains(&"bias corrected".into()),
        "{:?}",
        packed.used
    );
}

#[test]
fn what_costs_the_device_nothing_is_tried_first() {
    let nodes = vec![
        node("Add", &["x", "x"], "s", vec![]),
        node("Relu", &["s"], "y", vec![]),
    ];
    let packed = searched(network(nodes, vec![], CHANNELS), 1.1);
    let expected = [
        "plain",
        "percentile 99.99",
        "percentile 99.9",
        "equalised",
        "bias corrected",
        "int16 1/4",
        "int16 2/4",
        "int16 3/4",
        "int16 4/4",
    ];
    assert_eq!(steps(&packed), expected);
    let best = packed.tried.iter().map(|t| t.quality.cosine);
    let best = best.fold(0.0, f64::max);
    let used = packed.used.last().map_or("", |s| s);
    assert!(cosine(&packed, used) > best - 2e-4, "{:?}", packed.tried);
    // Of two of a kind the later one holds.
    let sixteen = packed.used.iter().filter(|s| s.starts_with("int16"));
    assert!(sixteen.count() <= 1, "{:?}", packed.used);
}

#[test]
fn an_equalised_graph_computes_the_same() {
    let same = || vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1, 1, 1, 1])];
    let depthwise = [same(), vec![int("group", CHANNELS)]].concat();
    let halves = [same(), vec![int("group", 2)]].concat();
    // Reached by some channels only.
    let bounds = vec![float("min", 0.0), float("max", 0.6)];
    let nodes = vec![
        node("Conv", &["x", "w2", "b2"], "c", same()),
        node("Clip", &["c"], "r", bounds),
        node("Conv", &["r", "dw", "b3"], "d", depthwise),
        node("LeakyRelu", &["d"], "l", vec![float("alpha", 0.3)]),
        node("Conv", &["l", "w3", "b2"], "e", halves),
        node("MaxPool", &["e"], "p", vec![ints("kernel_shape", &[2, 2])]),
        node("Conv", &["p", "w4", "b3"], "f", same()),
        node("Add", &["f", "p"], "a", vec![]),
        node("Relu", &["a"], "g", vec![]),
        node("Conv", &["g", "w2", "b3"], "y", same()),
    ];
    let stored = vec![
        weights("w2", &[CHANNELS, CHANNELS, 3, 3], 20),
        weights("w3", &[CHANNELS, CHANNELS / 2, 3, 3], 21),
        weights("w4", &[CHANNELS, CHANNELS, 3, 3], 22),
        weights("dw", &[CHANNELS, 1, 3, 3], 23),
        tensor("b2", &[CHANNELS], 24),
        tensor("b3", &[CHANNELS], 25),
    ];
    let encoder = network(nodes, stored, CHANNELS);
    let graph = Graph::read(&encoder.proto, encoder.input.shape).expect("a graph");
    let mut seen = vec![Vec::new(); graph.tensors.len()];
    let inputs: Vec<Vec<f32>> = pictures(16, 5)
        .iter()
        .map(|w| channels_last(&input(&encoder, w)))
        .collect();
    for input in &inputs {
        let values = graph.run(input.clone());
        seen.iter_mut().zip(values).for_each(|(s, v)| s.extend(v));
    }
    let (equalised, divided) = quantize::equalise(&graph, &seen);
    let changed = seen.iter().zip(&divided).filter(|(a, b)| a != b).count();
    assert!(changed >= 5, "{changed} of {}", seen.len());
    let close = |a: &[f32], b: &[f32]| {
        let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-4 * (1.0 + b.abs());
        a.iter().zip(b).all(close)
    };
    for (i, input) in inputs.iter().enumerate() {
        let (before, after) = (graph.run(input.clone()), equalised.run(input.clone()));
        assert!(close(&before[graph.embedding], &after[graph.embedding]));
        // And what it is said to have seen is what it computes.
        for (values, divided) in after.iter().zip(&divided) {
            let length = values.len();
            assert!(close(values, &divided[i * length..][..length]));
        }
    }
}
