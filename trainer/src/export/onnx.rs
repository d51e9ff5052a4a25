//! Building ONNX graphs of the few node kinds that an encoder needs.

use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto::AttributeType,
    tensor_proto::DataType, tensor_shape_proto, type_proto,
};

/// Opset 17 needs IR version 8.
const OPSET: i64 = 17;
const IR_VERSION: i64 = 8;

/// A graph that grows node by node. Every method returns the name of the node's output, which is
/// the node's own name.
#[derive(Default)]
pub struct GraphBuilder {
    nodes: Vec<NodeProto>,
    weights: Vec<TensorProto>,
}

/// A tensor of weights, row-major.
pub struct Weights {
    /// Its sizes, outermost first.
    pub shape: Vec<usize>,
    /// Its values.
    pub values: Vec<f32>,
}

/// How a convolution moves, a value for each of its dimensions.
pub struct Window {
    /// Values from one place to the next.
    pub stride: Vec<usize>,
    /// Zeros on either side.
    pub padding: Vec<usize>,
    /// Groups of channels.
    pub groups: usize,
}

impl GraphBuilder {
    /// A convolution; weight `[out, in / groups, kernel...]`, bias `[out]`.
    pub fn conv(
        &mut self,
        name: &str,
        input: &str,
        weight: Weights,
        bias: Weights,
        window: Window,
    ) -> String {
        let kernel = weight.shape.get(2..).unwrap_or(&[1]).to_vec();
        let pads = [&window.padding[..], &window.padding].concat();
        let attributes = vec![
            ints("dilations", &vec![1; kernel.len()]),
            int("group", window.groups as i64),
            ints("kernel_shape", &kernel),
            ints("pads", &pads),
            ints("strides", &window.stride),
        ];
        let inputs = [
            input.to_string(),
            self.weights(name, "weight", weight),
            self.weights(name, "bias", bias),
        ];
        self.node(name, "Conv", inputs.into(), attributes)
    }

    /// A dense layer; weight `[out, in]`, bias `[out]` or none.
    pub fn gemm(
        &mut self,
        name: &str,
        input: &str,
        weight: Weights,
        bias: Option<Weights>,
    ) -> String {
        let mut inputs = vec![input.to_string(), self.weights(name, "weight", weight)];
        inputs.extend(bias.map(|b| self.weights(name, "bias", b)));
        self.node(name, "Gemm", inputs, vec![int("transB", 1)])
    }

    /// A node without weights or attributes: Relu, Add, GlobalAveragePool, GlobalMaxPool, Flatten.
    pub fn plain(&mut self, name: &str, kind: &str, inputs: &[&str]) -> String {
        let inputs = inputs.iter().map(|s| s.to_string()).collect();
        self.node(name, kind, inputs, Vec::new())
    }

    /// The finished model, from [N, sizes...] to [N, dim]. The last node's output is
    /// renamed to `output`.
    pub fn finish(
        mut self,
        input: (&str, &[usize]),
        output: (&str, usize),
        metadata: &[(String, String)],
    ) -> ModelProto {
        if let Some(last) = self.nodes.last_mut() {
            last.output = vec![output.0.to_string()];
        }
        let graph = GraphProto {
            name: "encoder".into(),
            node: self.nodes,
            initializer: self.weights,
            input: vec![value(input.0, input.1)],
            output: vec![value(output.0, &[output.1])],
            ..Default::default()
        };
        let entry = |(key, value): &(String, String)| StringStringEntryProto {
            key: key.clone(),
            value: value.clone(),
        };
        ModelProto {
            ir_version: IR_VERSION,
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: OPSET,
            }],
            producer_name: "headstart".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            graph: Some(graph),
            metadata_props: metadata.iter().map(entry).collect(),
            ..Default::default()
        }
    }

    pub(super) fn node(
        &mut self,
        name: &str,
        kind: &str,
        input: Vec<String>,
        attribute: Vec<AttributeProto>,
    ) -> String {
        self.nodes.push(NodeProto {
            name: name.into(),
            op_type: kind.into(),
            input,
            output: vec![name.into()],
            attribute,
            ..Default::default()
        });
        name.to_string()
    }

    pub(super) fn weights(&mut self, node: &str, part: &str, weights: Weights) -> String {
        let name = format!("{node}.{part}");
        self.weights.push(TensorProto {
            name: name.clone(),
            dims: weights.shape.iter().map(|&d| d as i64).collect(),
            data_type: DataType::Float as i32,
            raw_data: weights
                .values
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect(),
            ..Default::default()
        });
        name
    }
}

pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Int as i32,
        i: value,
        ..Default::default()
    }
}

pub(super) fn ints(name: &str, values: &[usize]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Ints as i32,
        ints: values.iter().map(|&v| v as i64).collect(),
        ..Default::default()
    }
}

/// A float tensor with a dynamic batch, `N`, before the fixed sizes.
fn value(name: &str, sizes: &[usize]) -> ValueInfoProto {
    use tensor_shape_proto::{Dimension, dimension::Value};
    let batch = Value::DimParam("N".into());
    let fixed = sizes.iter().map(|&d| Value::DimValue(d as i64));
    let dim = std::iter::once(batch)
        .chain(fixed)
        .map(|v| Dimension {
            value: Some(v),
            ..Default::default()
        })
        .collect();
    let tensor = type_proto::Tensor {
        elem_type: DataType::Float as i32,
        shape: Some(TensorShapeProto { dim }),
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
