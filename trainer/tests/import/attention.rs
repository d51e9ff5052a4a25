//! Transformers, and networks with a memory.

use tract_onnx::pb::{ModelProto, NodeProto, TensorProto};

use crate::case::{Case, imported};
use crate::net::*;

/// How the class token gets its batch.
#[derive(Clone, Copy, PartialEq)]
enum Token {
    None,
    /// Expanded to the input's batch.
    Free,
    /// Expanded to the batch that was there at export.
    Fixed,
}

fn dense(input: &str, weights: &str, output: &str) -> NodeProto {
    node("MatMul", &[input, weights], output, vec![])
}

fn normalised(input: &str, output: &str) -> NodeProto {
    let inputs = [input, "gamma", "beta"];
    node("LayerNormalization", &inputs, output, vec![int("axis", -1)])
}

/// A vision transformer of one block: 4 patches (and a class token), 8 values, 2 heads.
fn transformer(token: Token, gelu: bool) -> ModelProto {
    let tokens = if token == Token::None { 4 } else { 5 };
    let patches = vec![ints("kernel_shape", &[4, 4]), ints("strides", &[4, 4])];
    let mut nodes = vec![
        node("Conv", &["x", "wp"], "patches", patches),
        node("Reshape", &["patches", "row"], "rows", vec![]),
        node(
            "Transpose",
            &["rows"],
            "placed",
            vec![ints("perm", &[0, 2, 1])],
        ),
    ];
    match token {
        Token::None => {}
        Token::Free => nodes.extend([
            node("Shape", &["x"], "sizes", vec![]),
            node("Gather", &["sizes", "zero"], "batch", vec![int("axis", 0)]),
            node("Unsqueeze", &["batch", "axes"], "first", vec![]),
            node(
                "Concat",
                &["first", "one_eight"],
                "target",
                vec![int("axis", 0)],
            ),
            node("Expand", &["token", "target"], "class", vec![]),
            node("Concat", &["class", "placed"], "all", vec![int("axis", 1)]),
        ]),
        Token::Fixed => nodes.extend([
            node("Expand", &["token", "target"], "class", vec![]),
            node("Concat", &["class", "placed"], "all", vec![int("axis", 1)]),
        ]),
    }
    let all = if token == Token::None {
        "placed"
    } else {
        "all"
    };
    nodes.extend([
        node("Add", &[all, "position"], "t0", vec![]),
        normalised("t0", "n0"),
    ]);
    for (weights, part) in [("wq", "q"), ("wk", "k"), ("wv", "v")] {
        let [flat, heads] = ["flat", "heads"].map(|p| format!("{part}.{p}"));
        let order = if part == "k" {
            [0, 2, 3, 1]
        } else {
            [0, 2, 1, 3]
        };
        nodes.extend([
            dense("n0", weights, &flat),
            node("Reshape", &[&flat, "split"], &heads, vec![]),
            node("Transpose", &[&heads], part, vec![ints("perm", &order)]),
        ]);
    }
    nodes.extend([
        node("MatMul", &["q", "k"], "raw", vec![]),
        node("Div", &["raw", "root"], "scaled", vec![]),
        node("Softmax", &["scaled"], "attention", vec![int("axis", -1)]),
        node("MatMul", &["attention", "v"], "mixed", vec![]),
        node(
            "Transpose",
            &["mixed"],
            "back",
            vec![ints("perm", &[0, 2, 1, 3])],
        ),
        node("Reshape", &["back", "joined"], "together", vec![]),
        dense("together", "wo", "out"),
        node("Add", &["out", "t0"], "t1", vec![]),
        normalised("t1", "n1"),
        dense("n1", "w1", "wide"),
    ]);
    match gelu {
        true => nodes.push(node("Gelu", &["wide"], "active", vec![])),
        false => nodes.extend([
            node("Div", &["wide", "root2"], "e0", vec![]),
            node("Erf", &["e0"], "e1", vec![]),
            node("Add", &["e1", "one"], "e2", vec![]),
            node("Mul", &["wide", "e2"], "e3", vec![]),
            node("Mul", &["e3", "half"], "active", vec![]),
        ]),
    }
    nodes.extend([
        dense("active", "w2", "narrow"),
        node("Add", &["narrow", "t1"], "t2", vec![]),
        normalised("t2", "tokens"),
        node("Gather", &["tokens", "zero"], "cls", vec![int("axis", 1)]),
        node("Gemm", &["cls", "wh"], "y", vec![int("transB", 1)]),
    ]);
    let zero = TensorProto {
        dims: vec![],
        ..list("zero", &[0])
    };
    let mut stored = vec![
        weights("wp", &[8, 3, 4, 4], 1),
        list("row", &[1, 8, 4]),
        zero,
        list("axes", &[0]),
        list("one_eight", &[1, 8]),
        list("split", &[1, tokens, 2, 4]),
        list("joined", &[1, tokens, 8]),
        tensor("token", &[1, 1, 8], 2),
        tensor("position", &[1, tokens, 8], 3),
        map(tensor("gamma", &[8], 4), |v| 1.0 + 0.3 * v),
        tensor("beta", &[8], 5),
        scalar("root", 2.0),
        scalar("root2", 2f32.sqrt()),
        scalar("one", 1.0),
        scalar("half", 0.5),
        weights("w1", &[8, 16], 10),
        weights("w2", &[16, 8], 11),
        weights("wh", &[5, 8], 12),
    ];
    for (i, name) in ["wq", "wk", "wv", "wo"].into_iter().enumerate() {
        stored.push(weights(name, &[8, 8], 6 + i as u32));
    }
    if token == Token::Fixed {
        stored.push(list("target", &[1, 1, 8]));
    }
    let mut model = model(&[1, 3, 8, 8], nodes, stored, "y");
    model.opset_import[0].version = if gelu { 20 } else { 17 };
    model
}

#[test]
fn transformers_are_imported() {
    let case =
        |what, token, gelu, embedding| Case::new(what, transformer(token, gelu), embedding, 8);
    imported(vec![
        case("a class token", Token::Free, false, "cls"),
        case("Gelu", Token::Free, true, "cls"),
        case("the mean of tokens", Token::None, false, "tokens")
            .with("--embedding tokens --pool mean"),
        case("the first token", Token::Free, false, "tokens").with("--embedding tokens --pool cls"),
        case("tokens by --pool alone", Token::Free, false, "tokens").with("--pool cls"),
        case("the sum behind a class token", Token::Free, false, "t0")
            .with("--embedding t0 --pool mean"),
    ]);
}

#[test]
fn a_class_token_of_one_fixes_the_batch() {
    let model = transformer(Token::Fixed, false);
    let reports = imported(vec![
        Case::new("a class token of one", model, "cls", 8).fixed(),
    ]);
    let why = reports[0]["batch"].as_str().unwrap_or_default();
    assert!(!why.is_empty(), "{}", reports[0]);
}

/// An LSTM over 6 steps of 4 values, of which the last state is classified.
fn recurrent(operator: &str, gates: i64) -> ModelProto {
    let state = vec![int("hidden_size", 5)];
    let mut lstm = node(operator, &["steps", "w", "r"], "all", state);
    lstm.output.push("state".into());
    model(
        &[-1, 6, 4],
        vec![
            node("Transpose", &["x"], "steps", vec![ints("perm", &[1, 0, 2])]),
            lstm,
            node("Squeeze", &["state", "axes"], "last", vec![]),
            node("Gemm", &["last", "wh"], "scores", vec![int("transB", 1)]),
            node("Softmax", &["scores"], "y", vec![int("axis", 1)]),
        ],
        vec![
            weights("w", &[1, gates * 5, 4], 1),
            weights("r", &[1, gates * 5, 5], 2),
            list("axes", &[0]),
            weights("wh", &[3, 5], 3),
        ],
        "y",
    )
}

#[test]
fn networks_with_a_memory_are_imported_and_not_packed() {
    let reports = imported(vec![
        Case::new("LSTM", recurrent("LSTM", 4), "last", 5),
        Case::new("GRU", recurrent("GRU", 3), "last", 5),
    ]);
    for report in reports {
        let why = report["pack"].as_str().unwrap_or_default();
        assert!(!why.is_empty(), "{report}");
        println!("{why}");
    }
}
