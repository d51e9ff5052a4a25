//! What a graph takes: one tensor of numbers with a batch in front.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto, tensor_proto::DataType};

use super::{cut, tensor, tidy};

/// The one input of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Its name in the file.
    pub name: String,
    /// How the file wants its numbers.
    pub kind: Kind,
    /// The batch, where the file fixes it.
    pub batch: Option<usize>,
    /// Sizes behind the batch.
    pub sizes: Vec<usize>,
}

/// The numbers of an input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// 32-bit floats.
    Float,
    /// Bytes 0 to 255.
    Bytes,
    /// Integers of a quantised graph: value = scale * (integer - zero point).
    Quantised {
        /// What one step is worth.
        scale: f32,
        /// What stands for 0.
        zero_point: f32,
        /// int8 instead of uint8.
        signed: bool,
    },
}

/// Why a graph's input is not one that an encoder can have.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// None or several.
    #[error(
        "it has {} inputs ({}): an encoder takes one; export the part that takes one signal",
        .0.len(), some(.0)
    )]
    Number(Vec<String>),
    /// Tokens.
    #[error(
        "its input `{0}` takes {1} numbers, as tokens of text are: encoders here take pictures, sound, sensor windows or other plain numbers; cut the network behind its token embedding"
    )]
    Tokens(String, &'static str),
    /// Text or something else.
    #[error("its input `{0}` is no tensor of numbers")]
    NoNumbers(String),
    /// Sizes that the file leaves open.
    #[error(
        "its input `{name}` is {shape}: say at which sizes it is to run, without the batch: --shape {example}"
    )]
    Open {
        /// The input.
        name: String,
        /// As the file has it.
        shape: String,
        /// How to say it.
        example: String,
    },
    /// Sizes that contradict the file.
    #[error("--shape {asked:?} does not fit its input `{name}`, which is {shape}")]
    Shape {
        /// The input.
        name: String,
        /// As the file has it.
        shape: String,
        /// What was asked for.
        asked: Vec<usize>,
    },
    /// More than an encoder can have.
    #[error(
        "its input has {0} values, more than the 4,194,304 that are taken: choose smaller sizes with --shape"
    )]
    TooLarge(usize),
}

/// The first few names.
fn some(names: &[String]) -> String {
    let more = if names.len() > 8 { ", ..." } else { "" };
    names[..names.len().min(8)].join(", ") + more
}

/// 2048 x 2048 of one channel, 1182 x 1182 of three.
const LARGEST: usize = 1 << 22;

impl Input {
    /// Reads it; `asked` are sizes behind the batch for what the file leaves open.
    pub fn of(graph: &GraphProto, asked: Option<&[usize]>) -> Result<Input, InputError> {
        use tract_onnx::pb::tensor_shape_proto::dimension::Value;
        use tract_onnx::pb::type_proto::Value::TensorType;
        let stored: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
        let inputs = graph
            .input
            .iter()
            .filter(|i| !stored.contains(i.name.as_str()));
        let inputs: Vec<_> = inputs.collect();
        let [input] = inputs[..] else {
            return Err(InputError::Number(
                inputs.iter().map(|i| i.name.clone()).collect(),
            ));
        };
        let name = input.name.clone();
        let kind = input.r#type.as_ref().and_then(|t| t.value.as_ref());
        let Some(TensorType(tensor)) = kind else {
            return Err(InputError::NoNumbers(name));
        };
        let number = match DataType::try_from(tensor.elem_type) {
            Ok(DataType::Float | DataType::Float16 | DataType::Bfloat16 | DataType::Double) => {
                Kind::Float
            }
            Ok(kind @ (DataType::Int8 | DataType::Uint8)) => {
                integers(graph, &name, kind == DataType::Int8)
            }
            Ok(DataType::Int64) => return Err(InputError::Tokens(name, "int64")),
            Ok(DataType::Int32) => return Err(InputError::Tokens(name, "int32")),
            _ => return Err(InputError::NoNumbers(name)),
        };
        let dims: Vec<Option<usize>> = tensor
            .shape
            .iter()
            .flat_map(|s| &s.dim)
            .map(|d| match d.value {
                Some(Value::DimValue(v)) if v > 0 => usize::try_from(v).ok(),
                _ => None,
            })
            .collect();
        let text = |d: &Option<usize>| d.map_or("?".into(), |d| d.to_string());
        let shape = format!("[{}]", dims.iter().map(text).collect::<Vec<_>>().join(", "));
        let Some((batch, rest)) = dims.split_first().filter(|(_, rest)| !rest.is_empty()) else {
            let example = "3,224,224".into();
            return match asked {
                Some(asked) if dims.is_empty() => Self::sized(name, number, None, asked.to_vec()),
                _ => Err(InputError::Open {
                    name,
                    shape,
                    example,
                }),
            };
        };
        let sizes: Vec<usize> = match asked {
            Some(asked) => {
                let fits = |(d, a): (&Option<usize>, &usize)| d.is_none_or(|d| d == *a);
                if asked.len() != rest.len() || !rest.iter().zip(asked).all(fits) {
                    let asked = asked.to_vec();
                    return Err(InputError::Shape { name, shape, asked });
                }
                asked.to_vec()
            }
            None => {
                // A picture's side, or a second of sound.
                let usual = if rest.len() == 1 { 16_000 } else { 224 };
                let example = rest.iter().map(|d| d.unwrap_or(usual).to_string());
                let example = example.collect::<Vec<_>>().join(",");
                let open = InputError::Open {
                    name: name.clone(),
                    shape,
                    example,
                };
                rest.iter().copied().collect::<Option<_>>().ok_or(open)?
            }
        };
        Self::sized(name, number, *batch, sizes)
    }

    fn sized(
        name: String,
        kind: Kind,
        batch: Option<usize>,
        sizes: Vec<usize>,
    ) -> Result<Input, InputError> {
        let values = sizes.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        match values.filter(|&v| (1..=LARGEST).contains(&v)) {
            Some(_) => Ok(Input {
                name,
                kind,
                batch,
                sizes,
            }),
            None => Err(InputError::TooLarge(values.unwrap_or(usize::MAX))),
        }
    }

    /// Values of one input.
    pub fn values(&self) -> usize {
        self.sizes.iter().product()
    }

    /// With a batch in front.
    pub fn shape(&self, batch: usize) -> Vec<usize> {
        [&[batch], self.sizes.as_slice()].concat()
    }

    /// Makes the graph take floats, whatever the file took: the new name of its input.
    pub fn make_float(&mut self, model: &mut ModelProto) {
        let Some(graph) = model.graph.as_mut() else {
            return;
        };
        if self.kind != Kind::Float {
            let (float, old) = (format!("{}.float", self.name), self.name.clone());
            let (operator, inputs, attribute) = match self.kind {
                Kind::Quantised {
                    scale,
                    zero_point,
                    signed,
                } => {
                    let stored = |part: &str| format!("{old}.{part}");
                    let inputs = vec![float.clone(), stored("scale"), stored("zero_point")];
                    graph.initializer.extend([
                        tensor::of_floats(&inputs[1], &[], &[scale]),
                        tensor::of_byte(&inputs[2], zero_point as i32, signed),
                    ]);
                    ("QuantizeLinear", inputs, vec![])
                }
                _ => {
                    let to = cut::int("to", DataType::Uint8 as i64);
                    ("Cast", vec![float.clone()], vec![to])
                }
            };
            let node = NodeProto {
                name: format!("{old}.from_float"),
                op_type: operator.into(),
                input: inputs,
                output: vec![old],
                attribute,
                ..Default::default()
            };
            graph.node.insert(0, node);
            self.name = float;
        }
        graph.input = vec![cut::value(&self.name, self.batch, &self.sizes)];
    }
}

/// What integers at the input stand for.
fn integers(graph: &GraphProto, name: &str, signed: bool) -> Kind {
    let stored: HashMap<&str, &TensorProto> = graph
        .initializer
        .iter()
        .map(|t| (t.name.as_str(), t))
        .collect();
    let number = |name: Option<&String>| {
        let tensor = stored.get(name?.as_str())?;
        crate::graph::floats(tensor)?.1.first().copied()
    };
    let found = dequantiser(graph, name);
    let scale = found.and_then(|n| number(n.input.get(1)));
    let zero_point = found.and_then(|n| number(n.input.get(2)));
    match scale.filter(|s| *s > 0.0) {
        Some(scale) => Kind::Quantised {
            scale,
            zero_point: zero_point.unwrap_or(0.0),
            signed,
        },
        // As they are.
        None if signed => Kind::Quantised {
            scale: 1.0,
            zero_point: 0.0,
            signed,
        },
        None => Kind::Bytes,
    }
}

/// The first node that reads an input and says what its integers stand for, behind nodes that only
/// move values. The graph is in running order.
fn dequantiser<'g>(graph: &'g GraphProto, name: &'g str) -> Option<&'g NodeProto> {
    let mut same = HashSet::from([name]);
    for node in &graph.node {
        if !node
            .input
            .first()
            .is_some_and(|i| same.contains(i.as_str()))
        {
            continue;
        }
        match node.op_type.as_str() {
            "Reshape" | "Transpose" | "Squeeze" | "Unsqueeze" | "Identity" => {
                same.extend(node.output.first().map(String::as_str));
            }
            // Values, scale and zero point come first in all of them.
            "DequantizeLinear" | "QGemm" => return Some(node),
            operator if operator.starts_with("QLinear") => return Some(node),
            _ => {}
        }
    }
    None
}

/// The first node that a runtime without control flow can't run.
pub fn control_flow(graph: &GraphProto) -> Option<&NodeProto> {
    graph.node.iter().find(|n| tidy::inner(n).next().is_some())
}
