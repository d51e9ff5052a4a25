//! A tiny encoder and a tiny dataset, for tests: two channels, windows of 16 samples.

use std::f32::consts::TAU;
use std::io::Cursor;

use base64::Engine as _;
use npyz::WriterBuilder;
use npyz::npz::NpzWriter;
use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    tensor_shape_proto::{Dimension, dimension},
    type_proto,
};

/// Channels of the tiny sensor.
pub const CHANNELS: usize = 2;
/// Samples of a tiny window.
pub const WINDOW: usize = 16;
/// The length of a tiny embedding.
pub const DIM: usize = 6;

pub fn tensor(name: &str, dims: &[i64], seed: u32) -> TensorProto {
    let mut state = seed;
    let length: i64 = dims.iter().product();
    let mut value = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: DataType::Float as i32,
        raw_data: (0..length).flat_map(|_| value().to_le_bytes()).collect(),
        ..Default::default()
    }
}

pub fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Ints as i32,
        ints: ints.to_vec(),
        ..Default::default()
    }
}

pub fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Int as i32,
        i,
        ..Default::default()
    }
}

pub fn node(op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        name: format!("{output}_{op}"),
        op_type: op.into(),
        input: inputs.iter().map(|i| i.to_string()).collect(),
        output: vec![output.into()],
        attribute,
        ..Default::default()
    }
}

/// A float tensor of these sizes behind a free batch.
pub fn value(name: &str, sizes: &[usize]) -> ValueInfoProto {
    let batch = Dimension {
        value: Some(dimension::Value::DimParam("N".into())),
        ..Default::default()
    };
    let size = |&d: &usize| Dimension {
        value: Some(dimension::Value::DimValue(d as i64)),
        ..Default::default()
    };
    let tensor = type_proto::Tensor {
        elem_type: DataType::Float as i32,
        shape: Some(TensorShapeProto {
            dim: std::iter::once(batch)
                .chain(sizes.iter().map(size))
                .collect(),
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

/// The metadata that makes an ONNX file an encoder.
pub fn metadata() -> Vec<(&'static str, String)> {
    // A mean of zeros, one direction, and a variance within and between classes.
    let mut background: Vec<u8> = [DIM as u32, 1]
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    let projection = [0.0; DIM].iter().chain(&[1.0; DIM]);
    for number in projection.chain(&[100.0, 400.0]) {
        background.extend((*number as f32).to_le_bytes());
    }
    let frontend = format!(
        r#"{{"kind":"sensor","channels":{CHANNELS},"window":{WINDOW},"hop":8,"rate":50.0,
        "scale":[0.001,0.001],"mean":[0.0,0.0],"std":[1.0,1.0]}}"#
    );
    vec![
        ("frontend", frontend),
        (
            "background",
            base64::engine::general_purpose::STANDARD.encode(background),
        ),
        ("within_total", "900".to_owned()),
        ("embedding_scale", "0.0001".to_owned()),
        ("space_id", "0123456789abcdef0123456789abcdef".to_owned()),
        ("licence", "MIT OR Apache-2.0".to_owned()),
    ]
}

/// conv 2 -> 8, ReLU, average and maximum over time, a dense layer on each, their sum.
pub fn model(metadata: Vec<(&'static str, String)>) -> ModelProto {
    let conv = vec![
        ints("kernel_shape", &[3]),
        ints("strides", &[1]),
        ints("pads", &[1, 1]),
    ];
    let entry = |(key, value)| StringStringEntryProto {
        key: format!("headstart.{key}"),
        value,
    };
    let dense = |from, output, weights, bias| {
        let transposed = vec![int("transB", 1)];
        node("Gemm", &[from, weights, bias], output, transposed)
    };
    let nodes = vec![
        node("Conv", &["input", "w1", "b1"], "c1", conv),
        node("Relu", &["c1"], "r1", vec![]),
        node("GlobalAveragePool", &["r1"], "p1", vec![]),
        node("GlobalMaxPool", &["r1"], "p2", vec![]),
        node("Flatten", &["p1"], "f1", vec![int("axis", 1)]),
        node("Flatten", &["p2"], "f2", vec![int("axis", 1)]),
        dense("f1", "d1", "w2", "b2"),
        dense("f2", "d2", "w3", "b3"),
        node("Add", &["d1", "d2"], "embedding", vec![]),
    ];
    let dim = DIM as i64;
    let initializer = vec![
        tensor("w1", &[8, CHANNELS as i64, 3], 1),
        tensor("b1", &[8], 2),
        tensor("w2", &[dim, 8], 3),
        tensor("b2", &[dim], 4),
        tensor("w3", &[dim, 8], 5),
        tensor("b3", &[dim], 6),
    ];
    ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: 17,
        }],
        graph: Some(GraphProto {
            name: "tiny".into(),
            node: nodes,
            initializer,
            input: vec![value("input", &[CHANNELS, WINDOW])],
            output: vec![value("embedding", &[DIM])],
            ..Default::default()
        }),
        metadata_props: metadata.into_iter().map(entry).collect(),
        ..Default::default()
    }
}

/// The encoder's file.
pub fn onnx() -> Vec<u8> {
    model(metadata()).encode_to_vec()
}

/// What varies between the datasets of the tests.
#[derive(Clone, Copy)]
pub struct Watch {
    /// Wearers.
    pub subjects: u8,
    /// Kinds of movement.
    pub classes: u8,
    /// Samples of each recording.
    pub rows: usize,
    /// Of the sensor.
    pub channels: usize,
    /// Of the file.
    pub rate: f32,
    /// Whether there are labels.
    pub labelled: bool,
    /// Whether the values are counts, else physical units.
    pub counts: bool,
}

impl Default for Watch {
    fn default() -> Watch {
        Watch {
            subjects: 3,
            classes: 4,
            rows: 300,
            channels: CHANNELS,
            rate: 50.0,
            labelled: true,
            counts: true,
        }
    }
}

impl Watch {
    /// Counts, class by class a movement of its own level, size and tempo, a little different for
    /// each subject.
    pub fn x(&self) -> Vec<i16> {
        let mut x = Vec::new();
        for (subject, class) in self.recordings() {
            for t in 0..self.rows {
                for channel in 0..self.channels {
                    let tempo = (f32::from(class) + 2.0) / 32.0;
                    let phase = TAU * (tempo * t as f32 + 0.25 * channel as f32);
                    let level = 400.0 * f32::from(class % 2) - 300.0 * f32::from(class / 2);
                    let size = 200.0 + 90.0 * f32::from(class) + 10.0 * f32::from(subject);
                    x.push((level + size * phase.sin()).round() as i16);
                }
            }
        }
        x
    }

    fn recordings(&self) -> Vec<(u8, u8)> {
        let classes = |subject| (0..self.classes).map(move |class| (subject, class));
        (1..=self.subjects).flat_map(classes).collect()
    }

    /// The bytes of an `.npz` file.
    pub fn npz(&self) -> Vec<u8> {
        let (x, recordings) = (self.x(), self.recordings());
        let rows = (recordings.len() * self.rows) as u64;
        let shape = [rows, self.channels as u64];
        let each = |of: fn(&(u8, u8)) -> u8| -> Vec<u8> {
            recordings
                .iter()
                .flat_map(|r| vec![of(r); self.rows])
                .collect()
        };
        let mut npz = NpzWriter::new(Cursor::new(Vec::new()));
        if self.counts {
            add(&mut npz, "x", &shape, &x);
            let channels = self.channels as u64;
            add(
                &mut npz,
                "scale",
                &[channels],
                &vec![0.001f32; self.channels],
            );
        } else {
            let units: Vec<f32> = x.iter().map(|&v| 0.001 * f32::from(v)).collect();
            add(&mut npz, "x", &shape, &units);
        }
        if self.labelled {
            add(&mut npz, "y", &[rows], &each(|r| r.1));
            add(&mut npz, "labels", &[4, 4], b"nod\0tap\0turnwave");
        }
        add(&mut npz, "group", &[rows], &each(|r| r.0));
        add(&mut npz, "rate", &[1], &[self.rate]);
        npz.zip_writer().finish().expect("zip").into_inner()
    }
}

/// Adds an array to an `.npz` file.
pub fn add<T: npyz::AutoSerialize + Clone>(
    npz: &mut NpzWriter<Cursor<Vec<u8>>>,
    name: &str,
    shape: &[u64],
    values: &[T],
) {
    let entry = npz.array(name, Default::default()).expect("entry");
    let writer = entry.default_dtype().shape(shape).begin_nd();
    let mut writer = writer.expect("header");
    writer.extend(values.iter().cloned()).expect("values");
    writer.finish().expect("shape");
}
