//! What `headstart pack` does about networks that plain int8 follows badly.

#[allow(dead_code)]
mod pictures;
#[allow(dead_code)]
mod tiny;

use headstart_trainer::encoder_file::EncoderFile;
use headstart_trainer::graph::Graph;
use headstart_trainer::pack::{Options, Packed, measure_outputs, search};
use headstart_trainer::quantize;
use pictures::{CHANNELS, channels_last, float, network, pictures, weights};
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
    }
}
