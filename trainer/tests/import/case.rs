//! A network, a call, and what has to come of it.

use std::path::Path;

use serde_json::Value;
use tract_onnx::pb::{ModelProto, ValueInfoProto};
use tract_onnx::prelude::*;

use crate::folder::Folder;
use crate::net;

/// A network that imports.
pub struct Case {
    pub what: &'static str,
    pub model: ModelProto,
    pub arguments: &'static str,
    /// The tensor that is chosen.
    pub embedding: &'static str,
    pub values: u64,
    /// Whether the batch becomes free.
    pub free: bool,
}

impl Case {
    pub fn new(
        what: &'static str,
        model: ModelProto,
        embedding: &'static str,
        values: u64,
    ) -> Case {
        Case {
            what,
            model,
            arguments: "",
            embedding,
            values,
            free: true,
        }
    }

    pub fn with(self, arguments: &'static str) -> Case {
        Case { arguments, ..self }
    }

    pub fn fixed(self) -> Case {
        Case {
            free: false,
            ..self
        }
    }
}

/// Imports every one, and returns the reports.
pub fn imported(cases: Vec<Case>) -> Vec<Value> {
    let folder = Folder::new();
    let mut reports = Vec::new();
    for case in cases {
        net::save(folder.path(), "net.onnx", &case.model);
        let call = format!("import net.onnx -o encoder.onnx --json {}", case.arguments);
        println!("{}", case.what);
        let report = folder.json(&call);
        let what = case.what;
        assert_eq!(
            report["embedding"]["name"], case.embedding,
            "{what}: {report}"
        );
        assert_eq!(
            report["embedding"]["values"], case.values,
            "{what}: {report}"
        );
        assert_eq!(report["batch"].is_null(), case.free, "{what}: {report}");
        assert!(
            !report["differences"]["tract"].is_null(),
            "{what}: {report}"
        );
        if case.arguments.is_empty() && is_float(&case.model) {
            same_embedding(&case, &folder.path().join("encoder.onnx"));
        }
        reports.push(report);
    }
    reports
}

/// Whether it takes and computes 32-bit floats, so that tract alone can run it as it is.
fn is_float(model: &ModelProto) -> bool {
    let graph = model.graph.as_ref().expect("a graph");
    let quantised = |n: &str| n.starts_with('Q') || n == "Cast";
    !graph.node.iter().any(|n| quantised(&n.op_type))
        && graph
            .initializer
            .iter()
            .all(|t| t.data_type != net::HALF && t.data_type != net::DOUBLE)
        && !graph
            .input
            .iter()
            .any(|i| i.name == "x" && kind(i) != net::FLOAT)
}

fn kind(input: &ValueInfoProto) -> i32 {
    use tract_onnx::pb::type_proto::Value::TensorType;
    match input.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(TensorType(tensor)) => tensor.elem_type,
        _ => 0,
    }
}

/// The encoder at batches of one and three gives what the tensor of the file holds, by a runtime
/// that this test sets up for itself.
fn same_embedding(case: &Case, encoder: &Path) {
    let bytes = std::fs::read(encoder).expect("the encoder");
    let encoder: ModelProto = prost::Message::decode(bytes.as_slice()).expect("an ONNX file");
    let output = ValueInfoProto {
        name: case.embedding.into(),
        ..Default::default()
    };
    let original = net::changed(case.model.clone(), |g| g.output = vec![output]);
    let sizes = sizes(&encoder);
    let length: usize = sizes.iter().product();
    let rows: Vec<Vec<f32>> = (0..3)
        .map(|i| net::tensor("", &[length as i64], 77 + i))
        .map(|t| {
            t.raw_data
                .as_chunks()
                .0
                .iter()
                .map(|&b| f32::from_le_bytes(b))
                .collect()
        })
        .collect();
    let wanted: Vec<f32> = rows
        .iter()
        .flat_map(|r| run(&original, &sizes, 1, r))
        .collect();
    let alone: Vec<f32> = rows
        .iter()
        .flat_map(|r| run(&encoder, &sizes, 1, r))
        .collect();
    close(case.what, &wanted, &alone);
    if case.free {
        close(
            case.what,
            &wanted,
            &run(&encoder, &sizes, 3, &rows.concat()),
        );
    }
}

fn close(what: &str, wanted: &[f32], found: &[f32]) {
    assert_eq!(wanted.len(), found.len(), "{what}");
    assert!(
        wanted.iter().any(|v| *v != 0.0),
        "{what}: a tensor of zeros tells nothing"
    );
    for (a, b) in wanted.iter().zip(found) {
        assert!(
            (a - b).abs() <= 1e-4 * a.abs().max(1.0),
            "{what}: {a} is {b}"
        );
    }
}

fn sizes(model: &ModelProto) -> Vec<usize> {
    use tract_onnx::pb::tensor_shape_proto::dimension::Value::DimValue;
    use tract_onnx::pb::type_proto::Value::TensorType;
    let input = &model.graph.as_ref().expect("a graph").input[0];
    assert_eq!(input.name, "input");
    let Some(TensorType(tensor)) = input.r#type.as_ref().and_then(|t| t.value.as_ref()) else {
        panic!("no tensor");
    };
    let dims = &tensor.shape.as_ref().expect("sizes").dim[1..];
    let size = |d: &tract_onnx::pb::tensor_shape_proto::Dimension| match d.value {
        Some(DimValue(v)) => v as usize,
        _ => panic!("an open size"),
    };
    dims.iter().map(size).collect()
}

fn run(model: &ModelProto, sizes: &[usize], batch: usize, values: &[f32]) -> Vec<f32> {
    let shape = [&[batch], sizes].concat();
    let onnx = tract_onnx::onnx()
        .with_ignore_value_info(true)
        .with_ignore_output_shapes(true);
    let plan = onnx.model_for_proto_model(model).expect("tract reads it");
    let plan = plan
        .with_input_fact(0, f32::fact(&shape).into())
        .expect("a shape");
    let plan = plan
        .into_optimized()
        .and_then(|m| m.into_runnable())
        .expect("tract runs it");
    let input = Tensor::from_shape(&shape, values).expect("an input");
    let output = plan.run(tvec!(input.into())).expect("an output");
    let view = output[0].to_plain_array_view::<f32>().expect("floats");
    view.iter().copied().collect()
}
