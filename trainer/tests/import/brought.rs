//! Convolutional networks in the ways that exporters write them.

use tract_onnx::pb::{ModelProto, NodeProto, TensorProto};

use crate::case::{Case, imported};
use crate::net::*;

fn opset(version: i64) -> ModelProto {
    let mut model = classifier();
    model.opset_import[0].version = version;
    model
}

/// As torch.onnx writes x.view(x.size(0), -1).
fn view(folded: bool) -> ModelProto {
    let nodes = vec![
        node("Shape", &["pool"], "sizes", vec![]),
        node("Gather", &["sizes", "zero"], "batch", vec![int("axis", 0)]),
        node("Unsqueeze", &["batch", "axes"], "first", vec![]),
        node("Concat", &["first", "rest"], "target", vec![int("axis", 0)]),
        node("Reshape", &["pool", "target"], "mean", vec![]),
    ];
    let zero = TensorProto {
        dims: vec![],
        ..list("zero", &[0])
    };
    let stored = vec![zero, list("axes", &[0]), list("rest", &[-1])];
    match folded {
        false => flattened(nodes, stored),
        // The same, in a file where the batch was one when it was written.
        true => flattened(nodes[4..].to_vec(), vec![list("target", &[1, -1])]),
    }
}

fn in_constants(model: ModelProto) -> ModelProto {
    changed(model, |g| {
        let constant = |t: TensorProto| {
            let value = tract_onnx::pb::AttributeProto {
                name: "value".into(),
                r#type: 4,
                t: Some(t.clone()),
                ..Default::default()
            };
            node("Constant", &[], &t.name, vec![value])
        };
        let nodes = g.initializer.drain(..).map(constant);
        let nodes: Vec<NodeProto> = nodes.collect();
        g.node.extend(nodes);
    })
}

fn kind(model: ModelProto, kind: i32) -> ModelProto {
    changed(model, |g| {
        for tensor in &mut g.initializer {
            tensor.raw_data = match kind {
                HALF => halves(&tensor.raw_data),
                _ => doubles(&tensor.raw_data),
            };
            tensor.data_type = kind;
        }
        g.input[0] = value("x", kind, &[1, 3, 8, 8]);
        g.output[0] = value("y", kind, &[1, 5]);
    })
}

fn floats(raw: &[u8]) -> impl Iterator<Item = f32> {
    raw.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b))
}

fn doubles(raw: &[u8]) -> Vec<u8> {
    floats(raw)
        .flat_map(|v| f64::from(v).to_le_bytes())
        .collect()
}

/// Cut, not rounded: any half will do.
fn halves(raw: &[u8]) -> Vec<u8> {
    let half = |v: f32| {
        let bits = v.to_bits();
        let exponent = (bits >> 23 & 255) as i32 - 112;
        let sign = (bits >> 16 & 0x8000) as u16;
        match exponent {
            1..31 => sign | (exponent as u16) << 10 | (bits >> 13 & 1023) as u16,
            _ => sign,
        }
    };
    floats(raw).flat_map(|v| half(v).to_le_bytes()).collect()
}

/// Half inside, single outside, as converters leave it.
fn half_inside() -> ModelProto {
    let model = changed(kind(classifier(), HALF), |g| {
        let to = |kind: i32| vec![int("to", kind.into())];
        g.node[0].input[0] = "half".into();
        g.node[5].input[0] = "wide".into();
        g.node
            .insert(5, node("Cast", &["scores"], "wide", to(FLOAT)));
        g.node.insert(0, node("Cast", &["x"], "half", to(HALF)));
    });
    changed(model, |g| {
        g.input[0] = value("x", FLOAT, &[1, 3, 8, 8]);
        g.output[0] = value("y", FLOAT, &[1, 5]);
    })
}

fn channels_last() -> ModelProto {
    changed(classifier(), |g| {
        g.input[0] = value("x", FLOAT, &[-1, 8, 8, 3]);
        g.node[0].input[0] = "first".into();
        g.node.insert(
            0,
            node(
                "Transpose",
                &["x"],
                "first",
                vec![ints("perm", &[0, 3, 1, 2])],
            ),
        );
    })
}

fn dropout(op: &str, output: &str) -> ModelProto {
    changed(classifier(), |g| {
        g.node[3].output[0] = "flat".into();
        g.node.insert(4, node(op, &["flat"], output, vec![]));
        g.node[5].input[0] = output.into();
    })
}

#[test]
fn what_exporters_write_is_imported() {
    let mut cases = Vec::new();
    for version in 7..=22 {
        // Softmax takes its axis from any opset; 13 changed what that means.
        cases.push(Case::new("an opset", opset(version), "mean", 8));
    }
    let old_inputs = changed(opset(8), |g| {
        let stored: Vec<_> = g
            .initializer
            .iter()
            .map(|t| value(&t.name, FLOAT, &t.dims))
            .collect();
        g.input.extend(stored);
    });
    let stale = changed(classifier(), |g| {
        g.value_info = vec![
            value("c0", FLOAT, &[16, 8, 4, 4]),
            value("mean", FLOAT, &[16, 8]),
        ];
    });
    let named = changed(classifier(), |g| {
        g.input[0] = value("x", FLOAT, &[-1, 3, 8, 8])
    });
    let open = changed(classifier(), |g| {
        g.input[0] = value("x", FLOAT, &[-1, 3, -1, -1])
    });
    let none = changed(classifier(), |g| g.input[0] = value("x", FLOAT, &[]));
    let scores = changed(classifier(), |g| {
        g.node.pop();
        g.output[0].name = "scores".into();
    });
    let four = changed(classifier(), |g| {
        g.input[0] = value("x", FLOAT, &[4, 3, 8, 8])
    });
    let reshape = |target: &[i64]| {
        flattened(
            vec![node("Reshape", &["pool", "target"], "mean", vec![])],
            vec![list("target", target)],
        )
    };
    cases.extend([
        Case::new("weights among the inputs", old_inputs, "mean", 8),
        Case::new(
            "weights in Constant nodes",
            in_constants(classifier()),
            "mean",
            8,
        ),
        Case::new(
            "nodes out of order",
            changed(classifier(), |g| g.node.reverse()),
            "mean",
            8,
        ),
        Case::new("shapes of another batch", stale, "mean", 8),
        Case::new("a batch with a name", named, "mean", 8),
        Case::new("a batch of four", four, "mean", 8),
        Case::new("open sizes", open, "mean", 8).with("--shape 3,12,12"),
        Case::new("no sizes", none, "mean", 8).with("--shape 3,8,8"),
        Case::new("no softmax", scores, "mean", 8),
        Case::new("a reshape to 1, -1", reshape(&[1, -1]), "mean", 8),
        Case::new("a reshape to 1, 8", reshape(&[1, 8]), "mean", 8),
        Case::new("a reshape to -1, 8", reshape(&[-1, 8]), "mean", 8),
        Case::new("x.view(x.size(0), -1)", view(false), "mean", 8),
        Case::new("the same with a batch of one", view(true), "mean", 8),
        Case::new("half precision", kind(classifier(), HALF), "mean", 8),
        Case::new("half precision inside", half_inside(), "mean", 8),
        Case::new("double precision", kind(classifier(), DOUBLE), "mean", 8),
        Case::new("channels last", channels_last(), "mean", 8),
        Case::new("dropout", dropout("Dropout", "mean"), "flat", 8),
        Case::new("identity", dropout("Identity", "mean"), "flat", 8),
        Case::new(
            "a removed identity by name",
            dropout("Identity", "mean"),
            "flat",
            8,
        )
        .with("--embedding mean"),
        Case::new("a map by name", classifier(), "r0", 8).with("--embedding r0 --pool mean"),
        Case::new("a map as it is", classifier(), "pool", 8).with("--embedding pool"),
    ]);
    imported(cases);
}

#[test]
fn a_batch_norm_is_folded_where_it_can_be() {
    let relu = || node("Relu", &["n"], "r0", vec![]);
    let behind_conv = || between(vec![batch_norm("bn", "c0", "n"), relu()], norm("bn", 8, 10));
    let twice = between(
        vec![
            batch_norm("bn", "c0", "m"),
            batch_norm("bm", "m", "n"),
            relu(),
        ],
        [norm("bn", 8, 10), norm("bm", 8, 20)].concat(),
    );
    let behind_relu = between(
        vec![
            node("Relu", &["c0"], "n", vec![]),
            batch_norm("bn", "n", "r0"),
        ],
        norm("bn", 8, 10),
    );
    let shared = between(
        vec![
            batch_norm("bn", "c0", "n"),
            node("Add", &["n", "c0"], "s", vec![]),
            node("Relu", &["s"], "r0", vec![]),
        ],
        norm("bn", 8, 10),
    );
    let first = changed(classifier(), |g| {
        g.node[0].input[0] = "n".into();
        g.node.insert(0, batch_norm("bn", "x", "n"));
        g.initializer.extend(norm("bn", 3, 10));
    });
    // Two layers with one set of weights, of which one has a batch norm.
    let one_set = between(
        vec![
            node("Conv", &["c0", "w2"], "a", vec![]),
            batch_norm("bn", "a", "n"),
            node("Conv", &["n", "w2"], "b", vec![]),
            node("Relu", &["b"], "r0", vec![]),
        ],
        [vec![weights("w2", &[8, 8, 1, 1], 9)], norm("bn", 8, 10)].concat(),
    );
    let gemm = |transposed: i64| {
        changed(classifier(), |g| {
            let dims = if transposed == 1 { [6, 8] } else { [8, 6] };
            g.node[3].output[0] = "flat".into();
            let attribute = vec![int("transB", transposed)];
            g.node
                .insert(4, node("Gemm", &["flat", "w2"], "d", attribute));
            g.node.insert(5, batch_norm("bn", "d", "n"));
            g.node.insert(6, node("Relu", &["n"], "mean", vec![]));
            g.initializer.push(weights("w2", &dims, 9));
            g.initializer.extend(norm("bn", 6, 10));
            g.initializer[1] = weights("w1", &[5, 6], 2);
        })
    };
    // A norm that can't be folded must not keep the next one from it.
    let mixed = between(
        vec![
            node("Relu", &["c0"], "q", vec![]),
            batch_norm("bn", "q", "m"),
            node("Conv", &["m", "w2"], "a", vec![]),
            batch_norm("bm", "a", "r0"),
        ],
        [
            vec![weights("w2", &[8, 8, 1, 1], 9)],
            norm("bn", 8, 10),
            norm("bm", 8, 20),
        ]
        .concat(),
    );
    let cases = vec![
        (
            1,
            Case::new("behind a convolution", behind_conv(), "mean", 8),
        ),
        (2, Case::new("two in a row", twice, "mean", 8)),
        (0, Case::new("behind an activation", behind_relu, "mean", 8)),
        (0, Case::new("behind what others read", shared, "mean", 8)),
        (0, Case::new("behind the input", first, "mean", 8)),
        (
            1,
            Case::new("weights that two layers share", one_set, "mean", 8),
        ),
        (
            1,
            Case::new("behind a dense layer", gemm(1), "mean", 6).with("--embedding mean"),
        ),
        (
            1,
            Case::new("the same, not transposed", gemm(0), "mean", 6).with("--embedding mean"),
        ),
        (1, Case::new("one of two", mixed, "mean", 8)),
        (
            0,
            Case::new("its layer is the embedding", behind_conv(), "c0", 8)
                .with("--embedding c0 --pool mean"),
        ),
    ];
    let (folded, cases): (Vec<u64>, Vec<Case>) = cases.into_iter().unzip();
    let names: Vec<&str> = cases.iter().map(|c| c.what).collect();
    for ((report, folded), name) in imported(cases).iter().zip(folded).zip(names) {
        assert_eq!(report["tidied"]["batch_norms"], folded, "{name}: {report}");
    }
}

#[test]
fn one_file_gives_one_encoder() {
    let folder = crate::folder::Folder::new();
    save(folder.path(), "net.onnx", &view(false));
    let bytes = |name: &str| {
        folder.json(&format!("import net.onnx -o {name} --json"));
        std::fs::read(folder.path().join(name)).expect("the encoder")
    };
    let first = bytes("a.onnx");
    assert!((0..4).all(|_| bytes("b.onnx") == first));
}

#[test]
fn metric_learning_and_autoencoders_end_before_their_tails() {
    let normalised = |nodes: Vec<NodeProto>| {
        changed(classifier(), |g| {
            g.node.truncate(5);
            g.node.extend(nodes);
        })
    };
    let by_hand = normalised(vec![
        node(
            "ReduceL2",
            &["scores"],
            "length",
            vec![ints("axes", &[1]), int("keepdims", 1)],
        ),
        node("Div", &["scores", "length"], "y", vec![]),
    ]);
    let at_once = normalised(vec![node(
        "LpNormalization",
        &["scores"],
        "y",
        vec![int("axis", 1), int("p", 2)],
    )]);
    let layer = |from: &str, to: &str, weights: &str| node("MatMul", &[from, weights], to, vec![]);
    let autoencoder = model(
        &[-1, 12],
        vec![
            layer("x", "a", "w0"),
            node("Relu", &["a"], "ar", vec![]),
            layer("ar", "b", "w1"),
            node("Relu", &["b"], "br", vec![]),
            layer("br", "c", "w2"),
            node("Relu", &["c"], "cr", vec![]),
            layer("cr", "y", "w3"),
        ],
        vec![
            weights("w0", &[12, 8], 1),
            weights("w1", &[8, 3], 2),
            weights("w2", &[3, 8], 3),
            weights("w3", &[8, 12], 4),
        ],
        "y",
    );
    imported(vec![
        Case::new("ReduceL2 and Div", by_hand, "scores", 5),
        Case::new("LpNormalization", at_once, "scores", 5),
        Case::new("an autoencoder", autoencoder, "br", 3),
    ]);
}
