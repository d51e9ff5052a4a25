//! A fault in cutting or tidying has to be seen: encoders that are almost right.

use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto, ValueInfoProto};

use super::*;
use crate::import::{cut, tensor};

fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: operator.into(),
        input: inputs.iter().map(|i| i.to_string()).collect(),
        output: vec![output.into()],
        ..Default::default()
    }
}

/// x [batch, 2, 3] by `nodes` to y.
fn model(nodes: Vec<NodeProto>, bias: f32) -> ModelProto {
    let weights: Vec<f32> = (0..12).map(|i| 0.3 * i as f32 - 1.5).collect();
    let biases = [bias, 0.25, -0.5, 1.0].map(|b| b + 0.1);
    let output = ValueInfoProto {
        name: "y".into(),
        ..Default::default()
    };
    ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            version: 17,
            ..Default::default()
        }],
        graph: Some(GraphProto {
            name: "g".into(),
            node: nodes,
            initializer: vec![
                tensor::of_floats("w", &[3, 4], &weights),
                tensor::of_floats("b", &[4], &biases),
                tensor::of_ints("flat", &[2], &[0, -1]),
                tensor::of_ints("one", &[2], &[1, -1]),
                tensor::of_floats("none", &[], &[0.0]),
            ],
            input: vec![cut::value("x", None, &[2, 3])],
            output: vec![output],
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn layers(last: &[NodeProto]) -> Vec<NodeProto> {
    let layer = [
        node("MatMul", &["x", "w"], "m"),
        node("Add", &["m", "b"], "a"),
    ];
    [&layer, last].concat()
}

fn whole() -> Vec<NodeProto> {
    layers(&[
        node("Relu", &["a"], "r"),
        node("Reshape", &["r", "flat"], "y"),
    ])
}

/// The difference of an encoder to [`whole`], or why it can't be held against it.
fn compared(encoder: ModelProto) -> anyhow::Result<f32> {
    let input = Input {
        name: "x".into(),
        kind: Kind::Float,
        batch: None,
        sizes: vec![2, 3],
    };
    let inputs = random(input.values(), 6, input.range());
    let original = Original {
        model: model(whole(), 0.0),
        input,
        dequantise: None,
        shape: vec![8],
        pool: None,
    };
    let found = differences(original, &encoder, None, &inputs, None)?;
    Ok(found.differences["tract"])
}

#[test]
fn the_same_network_does_not_differ() {
    let difference = compared(model(whole(), 0.0)).expect("it runs");
    assert!(difference <= TOLERANCE, "{difference}");
}

#[test]
fn a_fault_in_cutting_is_seen() {
    let reshape = |from: &str| node("Reshape", &[from, "flat"], "y");
    let cases = [
        (
            "cut before the activation",
            model(layers(&[reshape("a")]), 0.0),
        ),
        (
            "cut before the bias",
            model(layers(&[node("Relu", &["m"], "r"), reshape("r")]), 0.0),
        ),
        ("another bias", model(whole(), 0.01)),
        (
            "no number",
            model(
                layers(&[
                    node("Div", &["none", "none"], "n"),
                    node("Add", &["a", "n"], "r"),
                    reshape("r"),
                ]),
                0.0,
            ),
        ),
    ];
    for (what, encoder) in cases {
        let difference = compared(encoder).expect("it runs");
        assert!(difference > TOLERANCE, "{what}: {difference}");
    }
}

#[test]
fn a_batch_that_is_not_free_is_seen() {
    let fixed = layers(&[
        node("Relu", &["a"], "r"),
        node("Reshape", &["r", "one"], "y"),
    ]);
    let why = compared(model(fixed, 0.0)).map_err(|e| format!("{e:#}"));
    assert!(
        why.is_err_and(|e| e.contains("the batch is not free")),
        "a batch in one row"
    );
}

#[test]
fn a_network_that_ends_elsewhere_is_seen() {
    let shorter = vec![node("Reshape", &["x", "flat"], "y")];
    let why = compared(model(shorter, 0.0)).map_err(|e| format!("{e:#}"));
    assert_eq!(
        why,
        Err("6 inputs give 36 values where the file gives 48".into())
    );
}
