//! What the fuzzers of ONNX files run: any bytes, and graphs that the bytes choose.

use headstart::onnx::{Options, TractEncoder};
use headstart_trainer::encoder_file::{EncoderFile, EncoderFileError};
use headstart_trainer::graph::Graph;
use headstart_trainer::{import, inspect};
use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto, type_proto,
};

use super::choices::Choices;

/// A graph that takes longer to run is no fault: multiply-accumulates, and values of its tensors.
const MOST: usize = 1 << 22;

/// A network or an encoder file, everywhere one is read: imported, inspected, read as the layers of a
/// device and run in floats, opened on Linux. True where one of them takes it.
pub fn onnx(data: &[u8]) -> bool {
    let imported = import::encoder(data);
    if let Ok(encoder) = &imported {
        match EncoderFile::from_bytes(encoder) {
            Ok(file) => {
                layers(&file);
                inspect::text(encoder).expect("it was read just now");
            }
            // Whatever has its sizes somewhere else than pictures, series and vectors do.
            Err(EncoderFileError::Input) => {}
            Err(fault) => panic!("what was imported is no encoder: {fault}"),
        }
    }
    let inspected = inspect::text(data).is_ok();
    let plain = EncoderFile::plain(data, 1.0);
    let packed = plain.is_ok_and(|file| layers(&file));
    let opened = TractEncoder::from_bytes_with(data, Options::default()).is_ok();
    imported.is_ok() || inspected || packed || opened
}

/// Runs the graph as a device would, layer by layer.
fn layers(file: &EncoderFile) -> bool {
    let Ok(graph) = Graph::read(&file.proto, file.input.shape) else {
        return false;
    };
    let macs = graph.layers.iter().map(|l| graph.macs(l));
    let values = graph.tensors.iter().map(|t| t.len());
    let cost = macs.chain(values).fold(0usize, usize::saturating_add);
    if cost <= MOST {
        let values = graph.run(vec![1.0; graph.tensors[0].len()]);
        assert_eq!(
            values[graph.embedding].len(),
            graph.tensors[graph.embedding].len()
        );
    }
    true
}

/// The bytes choose a graph of a few nodes, for the most part one that fits together.
pub fn graph(data: &[u8]) -> bool {
    onnx(&built(data).encode_to_vec())
}

/// Operators that the importer or the device's reader knows by name, and some that make sizes of values.
const OPERATORS: [&str; 44] = [
    "Conv",
    "Gemm",
    "MatMul",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Max",
    "Min",
    "Relu",
    "LeakyRelu",
    "PRelu",
    "Clip",
    "Sigmoid",
    "Tanh",
    "HardSigmoid",
    "HardSwish",
    "Softmax",
    "BatchNormalization",
    "Concat",
    "Pad",
    "Flatten",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "ReduceMean",
    "Identity",
    "Dropout",
    "QuantizeLinear",
    "DequantizeLinear",
    "QLinearConv",
    "Constant",
    "ConstantOfShape",
    "Expand",
    "Tile",
    "Range",
    "Slice",
    "Gather",
    "Cast",
];
const ATTRIBUTES: [&str; 20] = [
    "kernel_shape",
    "strides",
    "pads",
    "dilations",
    "group",
    "axis",
    "axes",
    "perm",
    "transB",
    "alpha",
    "beta",
    "epsilon",
    "keepdims",
    "to",
    "ceil_mode",
    "auto_pad",
    "count_include_pad",
    "value",
    "min",
    "max",
];
const TYPES: [DataType; 10] = [
    DataType::Float,
    DataType::Int64,
    DataType::Int8,
    DataType::Uint8,
    DataType::Int32,
    DataType::Float16,
    DataType::Double,
    DataType::Bfloat16,
    DataType::Bool,
    DataType::String,
];
const EXTREMES: [i64; 10] = [
    -1,
    0,
    1 << 15,
    1 << 16,
    1 << 27,
    1 << 31,
    1 << 40,
    i64::MAX,
    i64::MIN,
    -2,
];

fn built(data: &[u8]) -> ModelProto {
    let mut choices = Choices::new(data);
    let mut builder = Builder {
        // Height, width, channels of what the next node reads.
        shape: [
            1 + choices.below(6),
            1 + choices.below(6),
            1 + choices.below(6),
        ],
        names: vec!["x".into()],
        stored: Vec::new(),
        nodes: Vec::new(),
        choices: choices.clone(),
    };
    let [height, width, channels] = builder.shape.map(|side| side as i64);
    let series = builder.choices.once_in(4);
    let mut sides = match series {
        true => vec![0, channels, width],
        false => vec![0, channels, height, width],
    };
    if builder.choices.once_in(16) {
        sides = (0..builder.choices.below(6))
            .map(|_| builder.number())
            .collect();
    }
    for _ in 0..builder.choices.size(5) {
        builder.node();
    }
    let last = builder.name();
    let kind = match builder.choices.once_in(16) {
        true => builder.choices.pick(&TYPES),
        false => DataType::Float,
    };
    let mut metadata = Vec::new();
    if builder.choices.once_in(3) {
        metadata = builder.metadata();
    }
    ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: 17,
        }],
        metadata_props: metadata,
        graph: Some(GraphProto {
            name: "net".into(),
            input: vec![value("x", kind, &sides)],
            output: vec![value(&last, DataType::Float, &[])],
            node: builder.nodes,
            initializer: builder.stored,
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A tensor of these sides; 0 leaves one open.
pub fn value(name: &str, kind: DataType, sides: &[i64]) -> ValueInfoProto {
    use tensor_shape_proto::{Dimension, dimension::Value};
    let side = |&side: &i64| Dimension {
        value: (side != 0).then_some(Value::DimValue(side)),
        ..Default::default()
    };
    let dim: Vec<_> = sides.iter().map(side).collect();
    let tensor = type_proto::Tensor {
        elem_type: kind as i32,
        shape: (!dim.is_empty()).then_some(TensorShapeProto { dim }),
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

struct Builder<'a> {
    choices: Choices<'a>,
    shape: [usize; 3],
    names: Vec<String>,
    stored: Vec<TensorProto>,
    nodes: Vec<NodeProto>,
}

impl Builder<'_> {
    /// Small, or hardly any that a file should have.
    fn number(&mut self) -> i64 {
        match self.choices.once_in(12) {
            true => self.choices.pick(&EXTREMES),
            false => self.choices.below(5) as i64,
        }
    }

    fn numbers(&mut self) -> Vec<i64> {
        (0..self.choices.below(5)).map(|_| self.number()).collect()
    }

    /// The last tensor, or one before it.
    fn name(&mut self) -> String {
        let back = if self.choices.once_in(6) {
            self.choices.below(4)
        } else {
            0
        };
        let at = self.names.len().saturating_sub(1 + back);
        self.names[at].clone()
    }

    /// A stored tensor of these sides.
    fn store(&mut self, sides: &[i64]) -> String {
        let name = format!("s{}", self.stored.len());
        let mut sides = sides.to_vec();
        if self.choices.once_in(12) {
            sides = self.numbers();
        }
        let kind = match self.choices.once_in(6) {
            true => self.choices.pick(&TYPES),
            false => DataType::Float,
        };
        let tensor = self.tensor(&name, kind, sides);
        self.stored.push(tensor);
        name
    }

    fn tensor(&mut self, name: &str, kind: DataType, dims: Vec<i64>) -> TensorProto {
        let count = dims
            .iter()
            .fold(1usize, |n, &d| n.saturating_mul(d.max(0) as usize));
        let mut count = count.min(4096);
        if self.choices.once_in(16) {
            count = self.choices.below(8);
        }
        let mut tensor = TensorProto {
            name: name.into(),
            dims,
            data_type: kind as i32,
            ..Default::default()
        };
        let noise = self.choices.byte();
        let small = |i: usize| (i as u8).wrapping_mul(noise) as i8 as i64 % 8;
        match kind {
            DataType::Float => {
                let values = (0..count).flat_map(|i| (small(i) as f32 / 4.0).to_le_bytes());
                tensor.raw_data = values.collect();
                if noise == 255 {
                    tensor.raw_data.iter_mut().for_each(|b| *b = 0xff);
                }
            }
            DataType::Int64 => tensor.int64_data = (0..count).map(small).collect(),
            DataType::String => tensor.string_data = vec![b"a".to_vec(); count],
            DataType::Double => tensor.double_data = vec![noise.into(); count],
            DataType::Float16 | DataType::Bfloat16 => tensor.raw_data = vec![noise; 2 * count],
            _ => tensor.int32_data = (0..count).map(|i| small(i) as i32).collect(),
        }
        if self.choices.once_in(32) {
            tensor.data_location = Some(1);
        }
        tensor
    }

    /// A list of whole numbers, as newer operators take what older ones had as attributes.
    fn list(&mut self, usual: Vec<i64>) -> String {
        let name = format!("s{}", self.stored.len());
        let values = match self.choices.once_in(4) {
            true => self.numbers(),
            false => usual,
        };
        self.stored.push(TensorProto {
            name: name.clone(),
            dims: vec![values.len() as i64],
            data_type: DataType::Int64 as i32,
            int64_data: values,
            ..Default::default()
        });
        name
    }

    fn node(&mut self) {
        let operator = self.choices.pick(&OPERATORS);
        let first = self.name();
        let [height, width, channels] = self.shape.map(|side| side as i64);
        let mut inputs = vec![first];
        let mut attributes = Vec::new();
        let outputs = 1 + self.choices.below(6) as i64;
        match operator {
            "Conv" => {
                let kernel = [self.choices.size(3), self.choices.size(3)].map(i64::from);
                let depthwise = self.choices.once_in(3);
                let (out, depth) = if depthwise {
                    (channels, 1)
                } else {
                    (outputs, channels)
                };
                inputs.push(self.store(&[out, depth, kernel[0], kernel[1]]));
                inputs.push(self.store(&[out]));
                attributes.push(ints("kernel_shape", kernel.to_vec()));
                attributes.push(int("group", if depthwise { channels } else { 1 }));
                let pads = kernel.map(|k| k / 2);
                attributes.push(ints("pads", [pads, pads].concat()));
                self.shape[2] = out as usize;
            }
            "Gemm" | "MatMul" => {
                inputs.push(self.store(&[height * width * channels, outputs]));
                self.shape = [1, 1, outputs as usize];
            }
            "MaxPool" | "AveragePool" => attributes.push(ints("kernel_shape", vec![2, 2])),
            "GlobalAveragePool" | "GlobalMaxPool" => self.shape = [1, 1, channels as usize],
            "BatchNormalization" => {
                for _ in 0..4 {
                    inputs.push(self.store(&[channels]));
                }
            }
            "Flatten" => self.shape = [1, 1, (height * width * channels) as usize],
            "Reshape" => {
                inputs.push(self.list(vec![0, height * width * channels]));
                self.shape = [1, 1, (height * width * channels) as usize];
            }
            "ReduceMean" => attributes.push(ints("axes", vec![2, 3])),
            "Pad" => inputs.push(self.list(vec![0, 0, 1, 1, 0, 0, 1, 1])),
            "Transpose" => attributes.push(ints("perm", vec![0, 2, 3, 1])),
            "Constant" => inputs.clear(),
            "ConstantOfShape" | "Expand" | "Tile" | "Range" | "Slice" | "Gather" | "Squeeze"
            | "Unsqueeze" => {
                let usual = self.numbers();
                let list = self.list(usual);
                match operator {
                    "ConstantOfShape" => inputs = vec![list],
                    "Range" => inputs = vec![self.list(vec![]), list, self.list(vec![])],
                    "Slice" => inputs.extend([list, self.list(vec![1])]),
                    _ => inputs.push(list),
                }
            }
            "QuantizeLinear" | "DequantizeLinear" => {
                inputs.push(self.store(&[]));
                inputs.push(self.store(&[]));
            }
            "QLinearConv" => {
                for sides in [&[][..], &[], &[outputs, channels, 1, 1], &[], &[], &[], &[]] {
                    inputs.push(self.store(sides));
                }
            }
            "Add" | "Sub" | "Mul" | "Div" | "Max" | "Min" | "Concat" | "PRelu" | "Clip" => {
                let second = match self.choices.below(3) {
                    0 => self.name(),
                    1 => self.store(&[]),
                    _ => self.store(&[1, channels, 1, 1]),
                };
                inputs.push(second);
            }
            _ => {}
        }
        if operator == "Constant" || self.choices.once_in(4) {
            let attribute = self.attribute();
            attributes.push(attribute);
        }
        if self.choices.once_in(12) {
            inputs.truncate(self.choices.below(4));
        }
        let output = match self.choices.once_in(32) {
            true => self.name(),
            false => format!("t{}", self.nodes.len()),
        };
        self.names.push(output.clone());
        self.nodes.push(NodeProto {
            name: format!("n{}", self.nodes.len()),
            op_type: operator.into(),
            input: inputs,
            output: if self.choices.once_in(64) {
                vec![]
            } else {
                vec![output]
            },
            attribute: attributes,
            ..Default::default()
        });
    }

    fn attribute(&mut self) -> AttributeProto {
        let name = self.choices.pick(&ATTRIBUTES);
        let plain = AttributeProto {
            name: name.into(),
            ..Default::default()
        };
        match (name, self.choices.below(4)) {
            ("value", _) => AttributeProto {
                r#type: AttributeType::Tensor as i32,
                t: {
                    let (dims, kind) = (self.numbers(), self.choices.pick(&TYPES));
                    Some(self.tensor("value", kind, dims))
                },
                ..plain
            },
            ("auto_pad", _) => AttributeProto {
                r#type: AttributeType::String as i32,
                s: self
                    .choices
                    .pick(&["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET", "?"])
                    .into(),
                ..plain
            },
            (_, 0) => int(name, self.number()),
            (_, 1) => AttributeProto {
                r#type: AttributeType::Float as i32,
                f: self
                    .choices
                    .pick(&[0.0, 1.0, -1.0, f32::NAN, f32::INFINITY, 1e30]),
                ..plain
            },
            _ => ints(name, self.numbers()),
        }
    }

    /// What makes an encoder file of it.
    fn metadata(&mut self) -> Vec<StringStringEntryProto> {
        let [height, width, channels] = self.shape;
        let list = |v: f32| vec![v.to_string(); channels].join(",");
        let mut window = (height * width) as i64;
        if self.choices.once_in(4) {
            window = self.number();
        }
        let frontend = match self.choices.below(3) {
            0 => format!(
                r#"{{"kind":"sensor","channels":{channels},"window":{window},"hop":1,"rate":50.0,"scale":[{}],"mean":[{}],"std":[{}]}}"#,
                list(0.5),
                list(0.0),
                list(1.0)
            ),
            1 => format!(
                r#"{{"kind":"image","height":{height},"width":{window},"channels":{channels},"order":"rgb","fit":"stretch","crop":1.0,"mean":[{}],"std":[{}]}}"#,
                list(0.0),
                list(1.0)
            ),
            _ => String::from_utf8_lossy(self.choices.take(64)).into_owned(),
        };
        let mut entries = vec![
            ("space_id", "0123456789abcdef0123456789abcdef".to_owned()),
            ("frontend", frontend),
        ];
        // Zeros, and sizes in front: a mean, a direction, and a variance each way.
        let (dim, rank) = (self.number() as u32, self.number() as u32);
        let sizes = [dim.to_le_bytes(), rank.to_le_bytes()].concat();
        let most = |n: u32| n.min(64) as usize;
        let zeros = vec![0; 4 * (most(dim) + most(rank) * (most(dim) + 2))];
        let text = base64([&sizes[..], &zeros].concat());
        for _ in 0..self.choices.below(4) {
            entries.push(match self.choices.below(5) {
                0 => ("background", text.clone()),
                1 => ("layout", self.choices.pick(&["nchw", "nhwc", "?"]).into()),
                2 => (
                    "embedding_scale",
                    self.choices.pick(&["0.5", "-1", "nan", "1e-40"]).into(),
                ),
                3 => ("calibration", base64(self.choices.take(64).to_vec())),
                _ => ("within_total", "900".into()),
            });
        }
        let entry = |(key, value): (&str, String)| StringStringEntryProto {
            key: format!("headstart.{key}"),
            value,
        };
        entries.into_iter().map(entry).collect()
    }
}

fn base64(bytes: Vec<u8>) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn ints(name: &str, ints: Vec<i64>) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Ints as i32,
        ints,
        ..Default::default()
    }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Int as i32,
        i,
        ..Default::default()
    }
}

/// A network of one dense layer, from `x` to `y`, and stored values `short` of a single dimension that
/// nothing reads.
pub fn dense() -> ModelProto {
    let stored = |name: &str, dims: &[i64]| TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: DataType::Float as i32,
        float_data: vec![0.5; dims.iter().product::<i64>() as usize],
        ..Default::default()
    };
    ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: 17,
        }],
        graph: Some(GraphProto {
            name: "net".into(),
            input: vec![value("x", DataType::Float, &[0, 4])],
            output: vec![value("y", DataType::Float, &[0, 3])],
            node: vec![NodeProto {
                op_type: "MatMul".into(),
                input: vec!["x".into(), "weights".into()],
                output: vec!["y".into()],
                ..Default::default()
            }],
            initializer: vec![stored("weights", &[4, 3]), stored("short", &[2])],
            ..Default::default()
        }),
        ..Default::default()
    }
}
