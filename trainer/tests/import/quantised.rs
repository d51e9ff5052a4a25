//! Quantised networks, in both ways of writing them.

use tract_onnx::pb::{ModelProto, NodeProto, TensorProto};

use crate::case::{Case, imported};
use crate::net::*;

/// Scale and zero point under `name`.s and `name`.z.
fn steps(name: &str, kind: i32, scale: f32, zero: i32) -> [TensorProto; 2] {
    [
        scalar(&format!("{name}.s"), scale),
        bytes(&format!("{name}.z"), kind, &[], std::iter::once(zero)),
    ]
}

fn whole(name: &str, kind: i32, dims: &[i64]) -> TensorProto {
    let low = if kind == INT8 { -128 } else { 0 };
    let values = (0i32..).map(move |i| low + (i * 97 + 31) % 256);
    bytes(name, kind, dims, values)
}

fn bias(name: &str, length: i64) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: vec![length],
        data_type: 6,
        int32_data: (0..length as i32).map(|i| 300 * i - 700).collect(),
        ..Default::default()
    }
}

fn scaled(operator: &str, parts: &[&str], output: &str) -> NodeProto {
    // Values, scale and zero point of each.
    let inputs: Vec<String> = parts
        .iter()
        .flat_map(|p| [p.to_string(), format!("{p}.s"), format!("{p}.z")])
        .chain([format!("{output}.s"), format!("{output}.z")])
        .collect();
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    node(operator, &inputs, output, vec![])
}

fn microsoft(node: NodeProto) -> NodeProto {
    NodeProto {
        domain: "com.microsoft".into(),
        ..node
    }
}

/// QLinearConv, QLinearAdd, QLinearGlobalAveragePool, QGemm and QLinearMatMul.
fn operators(kind: i32, float_input: bool) -> ModelProto {
    let zero = if kind == INT8 { 3 } else { 130 };
    let mut conv = scaled("QLinearConv", &["q", "w"], "c");
    conv.input.push("b".into());
    conv.attribute = vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1, 1, 1, 1])];
    let mut pool = microsoft(scaled("QLinearGlobalAveragePool", &["a"], "p"));
    pool.attribute = vec![int("channels_last", 0)];
    let mut gemm = microsoft(scaled("QGemm", &["f", "g"], "e"));
    // The bias stands before the output's steps.
    gemm.input.insert(6, "gb".into());
    gemm.attribute = vec![int("transB", 1), float("alpha", 1.0)];
    let mut nodes = vec![
        conv,
        microsoft(scaled("QLinearAdd", &["c", "c"], "a")),
        pool,
        node("Flatten", &["p"], "f", vec![int("axis", 1)]),
        gemm,
        scaled("QLinearMatMul", &["e", "m"], "o"),
        node("DequantizeLinear", &["o", "o.s", "o.z"], "scores", vec![]),
        node("Softmax", &["scores"], "y", vec![int("axis", 1)]),
    ];
    let mut stored = vec![
        whole("w", INT8, &[4, 3, 3, 3]),
        bias("b", 4),
        whole("g", INT8, &[6, 4]),
        bias("gb", 6),
        whole("m", INT8, &[6, 5]),
    ];
    for (name, scale) in [
        ("c", 0.03),
        ("a", 0.06),
        ("p", 0.03),
        ("f", 0.03),
        ("e", 0.04),
        ("o", 0.05),
    ] {
        stored.extend(steps(name, kind, scale, zero));
    }
    stored.extend(steps("q", kind, 1.0 / 128.0, zero));
    for (name, scale) in [("w", 0.004), ("g", 0.01), ("m", 0.01)] {
        stored.extend(steps(name, INT8, scale, 0));
    }
    if float_input {
        nodes.insert(0, node("QuantizeLinear", &["x", "q.s", "q.z"], "q", vec![]));
    } else {
        nodes[0].input[0] = "x".into();
    }
    let model = model(&[1, 3, 6, 6], nodes, stored, "y");
    changed(model, |g| {
        if !float_input {
            g.input[0] = value("x", kind, &[1, 3, 6, 6]);
        }
    })
}

/// [`classifier`] with QuantizeLinear and DequantizeLinear around input, weights and activations.
fn qdq(input: i32) -> ModelProto {
    changed(classifier(), |g| {
        let pair = |from: &str, to: &str| {
            let q = format!("{to}.q");
            [
                node("QuantizeLinear", &[from, "a.s", "a.z"], &q, vec![]),
                node("DequantizeLinear", &[&q, "a.s", "a.z"], to, vec![]),
            ]
        };
        let filter = node(
            "DequantizeLinear",
            &["wq", "w.s", "w.z"],
            "wd",
            vec![int("axis", 0)],
        );
        g.node[0].input = vec!["xd".into(), "wd".into()];
        g.node[2].input[0] = "rd".into();
        g.node.splice(2..2, pair("r0", "rd"));
        let first = match input {
            FLOAT => pair("x", "xd").to_vec(),
            kind => {
                g.input[0] = value("x", kind, &[1, 3, 8, 8]);
                vec![node("DequantizeLinear", &["x", "a.s", "a.z"], "xd", vec![])]
            }
        };
        g.node.splice(0..0, [first, vec![filter]].concat());
        g.initializer.push(whole("wq", INT8, &[8, 3, 3, 3]));
        let zero = if input == UINT8 { 120 } else { 4 };
        let kind = if input == UINT8 { UINT8 } else { INT8 };
        g.initializer.extend(steps("a", kind, 1.0 / 100.0, zero));
        let scales = map(tensor("w.s", &[8], 30), |v| 0.005 + 0.002 * v);
        g.initializer.push(scales);
        g.initializer
            .push(bytes("w.z", INT8, &[8], std::iter::repeat(0)));
    })
}

/// Pixels as they are, cast to floats first.
fn pixels(kind: i32) -> ModelProto {
    changed(classifier(), |g| {
        g.input[0] = value("x", kind, &[1, 3, 8, 8]);
        g.node[0].input[0] = "scaled".into();
        let cast = node("Cast", &["x"], "wide", vec![int("to", 1)]);
        g.node.splice(
            0..0,
            [cast, node("Div", &["wide", "range"], "scaled", vec![])],
        );
        g.initializer.push(scalar("range", 255.0));
    })
}

#[test]
fn quantised_networks_are_imported() {
    let case = |what, model| Case::new(what, model, "mean", 8);
    let reports = imported(vec![
        case("QDQ", qdq(FLOAT)),
        case("QDQ, int8 input", qdq(INT8)),
        case("QDQ, uint8 input", qdq(UINT8)),
        case("uint8 pixels", pixels(UINT8)),
        case("int8 pixels", pixels(INT8)),
    ]);
    for report in reports {
        assert!(
            report["refusals"].as_array().is_some_and(Vec::is_empty),
            "{report}"
        );
    }
}

#[test]
fn quantised_operators_are_written_as_float_ones() {
    if std::env::var_os("ORT_DYLIB_PATH").is_none() {
        let folder = crate::folder::Folder::new();
        save(folder.path(), "net.onnx", &operators(INT8, true));
        let what = "let ORT_DYLIB_PATH name ONNX Runtime's library";
        crate::folder::refused(&folder, &[("import net.onnx -o e.onnx", 1, what)]);
        println!("skipped: only ONNX Runtime runs QLinearAdd, and ORT_DYLIB_PATH is not set");
        return;
    }
    let case = |what, model| Case::new(what, model, "o.operand0", 6);
    let reports = imported(vec![
        case("uint8", operators(UINT8, true)),
        case("int8", operators(INT8, true)),
        case("uint8 input", operators(UINT8, false)),
        case("int8 input", operators(INT8, false)),
        case("its integers by name", operators(INT8, true)).with("--embedding e"),
    ]);
    for report in reports {
        assert_eq!(report["tidied"]["quantised"], 5, "{report}");
    }
}
