//! From ONNX nodes to layers.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, tensor_proto::DataType,
};

use super::{Activation, Function, Graph, GraphError, Layer, Op, Tensor, Weights, Window};

/// Shape and values of a constant.
pub(crate) type Constant = (Vec<usize>, Vec<f32>);

pub(super) fn read(proto: &ModelProto, input: [usize; 3]) -> Result<Graph, GraphError> {
    let empty = GraphProto::default();
    let graph = proto.graph.as_ref().unwrap_or(&empty);
    let mut reader = Reader {
        constants: constants(graph),
        tensors: Vec::new(),
        layers: Vec::new(),
        by_name: HashMap::new(),
        uses: uses(graph),
        shared: HashSet::new(),
    };
    let first = graph
        .input
        .iter()
        .find(|i| !reader.constants.contains_key(&i.name));
    reader.add_tensor(first.map_or("input", |i| &i.name), input);
    for node in &graph.node {
        // What works on constants alone was worked out before.
        let known = node.output.iter().all(|o| reader.constants.contains_key(o));
        if !known || node.output.is_empty() {
            reader.node(node)?;
        }
    }
    let output = graph.output.first().map_or("", |o| &o.name);
    let embedding = reader
        .by_name
        .get(output)
        .copied()
        .ok_or_else(|| GraphError::Invalid {
            node: output.into(),
            why: "no node writes the graph's output".into(),
        })?;
    let Reader {
        tensors, layers, ..
    } = reader;
    if tensors[embedding].shape[..2] != [1, 1] {
        return Err(GraphError::Invalid {
            node: output.into(),
            why: "the output is not one vector: end the network in a global pooling".into(),
        });
    }
    Ok(Graph {
        tensors,
        layers,
        embedding,
    })
}

pub(super) struct Reader {
    pub(super) constants: HashMap<String, Constant>,
    pub(super) tensors: Vec<Tensor>,
    pub(super) layers: Vec<Layer>,
    /// ONNX tensor name to index; names that differ by an identity share one.
    by_name: HashMap<String, usize>,
    /// How often each name is read, the graph's output included.
    uses: HashMap<String, usize>,
    /// Tensors that more than one node reads: nothing may be fused into what wrote them.
    pub(super) shared: HashSet<usize>,
}

fn uses(graph: &GraphProto) -> HashMap<String, usize> {
    let read = graph.node.iter().flat_map(|n| &n.input);
    let mut uses = HashMap::new();
    for name in read.chain(graph.output.iter().map(|o| &o.name)) {
        *uses.entry(name.clone()).or_default() += 1;
    }
    uses
}

/// Stored tensors, and what Constant and DequantizeLinear make of them.
fn constants(graph: &GraphProto) -> HashMap<String, Constant> {
    let stored = graph.initializer.iter();
    let mut constants: HashMap<String, Constant> = stored
        .filter_map(|t| Some((t.name.clone(), floats(t)?)))
        .collect();
    for node in &graph.node {
        let Some(output) = node.output.first() else {
            continue;
        };
        let input = |at: usize| constants.get(node.input.get(at)?);
        let value = match node.op_type.as_str() {
            "Constant" => attribute(node, "value")
                .and_then(|a| a.t.as_ref())
                .and_then(floats),
            "Identity" => input(0).cloned(),
            "DequantizeLinear" => dequantized(node, input(0), input(1), input(2)),
            _ => None,
        };
        if let Some(value) = value {
            constants.insert(output.clone(), value);
        }
    }
    constants
}

/// (value - zero) * scale, with one scale or one an index of `axis`.
fn dequantized(
    node: &NodeProto,
    values: Option<&Constant>,
    scale: Option<&Constant>,
    zero: Option<&Constant>,
) -> Option<Constant> {
    let ((dims, values), (_, scale)) = (values?, scale?);
    let axis = int(node, "axis").unwrap_or(1);
    let inner: usize = dims.iter().skip(axis + 1).product();
    let at = |i: usize, list: &[f32]| match list.len() {
        0 => 0.0,
        1 => list[0],
        n => list[i / inner.max(1) % n],
    };
    let zero: &[f32] = zero.map_or(&[], |(_, z)| z);
    let value = |(i, v): (usize, &f32)| (v - at(i, zero)) * at(i, scale);
    let values = values.iter().enumerate().map(value).collect();
    Some((dims.clone(), values))
}

impl Reader {
    fn add_tensor(&mut self, name: &str, shape: [usize; 3]) -> usize {
        self.tensors.push(Tensor {
            name: name.into(),
            shape,
        });
        self.name(name, self.tensors.len() - 1);
        self.tensors.len() - 1
    }

    fn name(&mut self, name: &str, tensor: usize) {
        if self.uses.get(name).is_some_and(|&uses| uses > 1) {
            self.shared.insert(tensor);
        }
        self.by_name.insert(name.into(), tensor);
    }

    fn node(&mut self, node: &NodeProto) -> Result<(), GraphError> {
        match node.op_type.as_str() {
            "Conv" => self.conv(node),
            "Gemm" | "MatMul" => self.gemm(node),
            "AveragePool" | "MaxPool" => self.pool(node),
            "GlobalAveragePool" | "GlobalMaxPool" => self.global_pool(node),
            "Add" | "Sub" => self.add(node),
            "Mul" | "Div" => self.mul(node),
            "Max" | "Min" => self.limit(node),
            "BatchNormalization" => self.batch_norm(node),
            "Concat" => self.concat(node),
            "Pad" => self.pad(node),
            "Sigmoid" => self.lookup(node, Function::Sigmoid),
            "Tanh" => self.lookup(node, Function::Tanh),
            "HardSwish" => self.lookup(node, Function::HardSwish),
            "HardSigmoid" => {
                let alpha = float(node, "alpha").unwrap_or(0.2);
                let beta = float(node, "beta").unwrap_or(0.5);
                self.lookup(node, Function::HardSigmoid(alpha, beta))
            }
            "Relu" => self.activation(
                node,
                Activation {
                    low: 0.0,
                    ..Activation::NONE
                },
            ),
            "LeakyRelu" => {
                let slope = float(node, "alpha").unwrap_or(0.01);
                self.activation(
                    node,
                    Activation {
                        slope,
                        ..Activation::NONE
                    },
                )
            }
            "Clip" => {
                let bound = |at, name| self.scalar(node, at).or_else(|| float(node, name));
                let low = bound(1, "min").unwrap_or(f32::NEG_INFINITY);
                let high = bound(2, "max").unwrap_or(f32::INFINITY);
                self.activation(
                    node,
                    Activation {
                        slope: 1.0,
                        low,
                        high,
                    },
                )
            }
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => self.reshape(node),
            "Transpose" => self.transpose(node),
            "ReduceMean" => self.mean(node),
            // The step before the classes' probabilities is what heads and reports look at.
            "Identity" | "Dropout" | "Softmax" | "LogSoftmax" | "QuantizeLinear"
            | "DequantizeLinear" => {
                let input = self.input(node, 0)?;
                self.alias(node, input)
            }
            _ => Err(unsupported(
                node,
                "run the .onnx itself on Linux, or change the network",
            )),
        }
    }

    fn conv(&mut self, node: &NodeProto) -> Result<(), GraphError> {
        let input = self.input(node, 0)?;
        let shape = self.tensors[input].shape;
        let (dims, values) = self.constant(node, 1)?;
        let (Some(&outputs), Some(&depth)) = (dims.first(), dims.get(1)) else {
            return Err(invalid(node, "its weights have no channels"));
        };
        let kernel = two(&dims[2..], 1).ok_or_else(|| unsupported(node, "1-D and 2-D only"))?;
        let window = window(node, kernel, int(node, "group").unwrap_or(1))?;
        if depth * window.groups != shape[2] || outputs % window.groups != 0 {
            return Err(invalid(
                node,
                "its weights do not fit its input's channels and its groups",
            ));
        }
        let biases = if node.input.len() > 2 {
            self.constant(node, 2)?.1
        } else {
            vec![0.0; outputs]
        };
        let taps = kernel[0] * kernel[1];
        if values.len() != outputs * depth * taps || biases.len() != outputs {
            return Err(invalid(node, "its weights or biases have the wrong length"));
        }
        let depthwise = window.groups == shape[2] && depth == 1 && window.groups > 1;
        // ONNX has [out][in][kh][kw].
        let mut ordered = vec![0.0; values.len()];
        for (i, &value) in values.iter().enumerate() {
            let (out, channel, tap) = (i / (depth * taps), i / taps % depth, i % taps);
            let at = if depthwise {
                tap * outputs + out
            } else {
                (out * taps + tap) * depth + channel
            };
            ordered[at] = value;
        }
        let out = slide(node, &window, shape)?;
        let weights = Weights {
            values: ordered,
            biases,
        };
        let op = if depthwise {
            Op::Depthwise(window, weights)
        } else {
            Op::Conv(window, weights)
        };
        self.layer(node, op, vec![input], [out[0], out[1], outputs])
    }

    fn gemm(&mut self, node: &NodeProto) -> Result<(), GraphError> {
        let input = self.input(node, 0)?;
        let unit = |name| float(node, name).is_none_or(|v| v == 1.0);
        if !unit("alpha") || !unit("beta") || int(node, "transA").unwrap_or(0) != 0 {
            return Err(unsupported(node, "alpha and beta must be 1, transA 0"));
        }
        let (dims, values) = self.constant(node, 1)?;
        let [rows, columns] = dims[..] else {
            return Err(invalid(node, "its weights are no matrix"));
        };
        let transposed = int(node, "transB").unwrap_or(0) != 0;
        let (outputs, inputs) = if transposed {
            (rows, columns)
        } else {
            (columns, rows)
        };
        let shape = self.tensors[input].shape;
        if inputs != self.tensors[input].len() || values.len() != inputs * outputs || outputs == 0 {
            return Err(invalid(node, "its weights do not fit its input"));
        }
        let biases = if node.input.len() > 2 {
            self.constant(node, 2)?.1
        } else {
            vec![0.0; outputs]
        };
        if biases.len() != outputs {
            return Err(invalid(node, "its biases have the wrong length"));
        }
        // The flattened input is [c][h][w] in ONNX and [h][w][c] here.
        let pixels = shape[0] * shape[1];
        let mut ordered = vec![0.0; values.len()];
        for out in 0..outputs {
            for i in 0..inputs {
                let from = if transposed {
                    out * inputs + i
                } else {
                    i * outputs + out
                };
                let (channel, pixel) = (i / pixels, i % pixels);
                ordered[out * inputs + pixel * shape[2] + channel] = values[from];
            }
        }
        let weights = Weights {
            values: ordered,
            biases,
        };
        self.layer(node, Op::Dense(weights), vec![input], [1, 1, outputs])
    }

    fn pool(&mut self, node: &NodeProto) -> Result<(), GraphError> {
        let input = self.input(node, 0)?;
        let shape = self.tensors[input].shape;
        let kernel = ints(node, "kernel_shape");
        let kernel = two(&kernel, 1).ok_or_else(|| unsupported(node, "1-D and 2-D only"))?;
        let window = window(node, kernel, 1)?;
        let average = node.op_type == "AveragePool";
        let padded = ints(node, "pads").iter().any(|&p| p != 0);
        if average && padded && int(node, "count_include_pad").unwrap_or(0) == 0 {
            return Err(unsupported(
                node,
                "averages whose padding does not count are not packed yet",
            ));
        }
        if window.dilation != [1, 1] || int(node, "ceil_mode").unwrap_or(0) != 0 {
            return Err(unsupported(
                node,
                "pooling with dilation or ceil_mode is not packed yet",
            ));
        }
        let out = slide(node, &window, shape)?;
        let op = if average {
            Op::AvgPool(window)
        } else {
            Op::MaxPool(window)
        };
        self.layer(node, op, vec![input], [out[0], out[1], shape[2]])
    }

    fn global_pool(&mut self, node: &NodeProto) -> Result<(), GraphError> {
        let input = self.input(node, 0)?;
        let [height, width, channels] = self.tensors[input].shape;
        let (stride, dilation, pad) = ([1, 1], [1, 1], [0, 0]);
        let window = Window {
            kernel: [height, width],
            stride,
            dilation,
            pad,
            groups: 1,
        };
        let average = node.op_type == "GlobalAveragePool";
        let op = if average {
            Op::AvgPool(window)
        } else {
            Op::MaxPool(window)
        };
        self.layer(node, op, vec![input], [1, 1, channels])
    }

    pub(super) fn alias(&mut self, node: &NodeProto, tensor: usize) -> Result<(), GraphError> {
        for name in node.output.iter().take(1) {
            self.name(name, tensor);
        }
        Ok(())
    }

    pub(super) fn layer(
        &mut self,
        node: &NodeProto,
        op: Op,
        inputs: Vec<usize>,
        shape: [usize; 3],
    ) -> Result<(), GraphError> {
        let output = self.add_tensor(node.output.first().map_or("", |o| o), shape);
        let name = name_of(node).to_owned();
        self.layers.push(Layer {
            name,
            op,
            inputs,
            output,
            activation: Activation::NONE,
        });
        Ok(())
    }

    pub(super) fn input(&self, node: &NodeProto, at: usize) -> Result<usize, GraphError> {
        let name = node.input.get(at).map_or("", |n| n);
        let found = self.by_name.get(name).copied();
        found.ok_or_else(|| invalid(node, &format!("its input `{name}` is no activation")))
    }

    pub(super) fn constant(&self, node: &NodeProto, at: usize) -> Result<Constant, GraphError> {
        let name = node.input.get(at).map_or("", |n| n.as_str());
        let found = self.constants.get(name);
        found.cloned().ok_or_else(|| {
            invalid(
                node,
                &format!("its weights `{name}` are not stored as plain numbers"),
            )
        })
    }

    fn scalar(&self, node: &NodeProto, at: usize) -> Option<f32> {
        self.constants
            .get(node.input.get(at)?.as_str())?
            .1
            .first()
            .copied()
    }
}

/// Shape and values of a stored tensor of floats or small integers.
pub(crate) fn floats(tensor: &TensorProto) -> Option<Constant> {
    let raw = tensor.raw_data.as_slice();
    let integers = || tensor.int32_data.iter().map(|&v| v as f32).collect();
    let values: Vec<f32> = match DataType::try_from(tensor.data_type).ok()? {
        DataType::Float if raw.is_empty() => tensor.float_data.clone(),
        DataType::Float => words(raw, f32::from_le_bytes),
        DataType::Int8 | DataType::Uint8 | DataType::Int32 if raw.is_empty() => integers(),
        DataType::Int8 => raw.iter().map(|&b| f32::from(b as i8)).collect(),
        DataType::Uint8 => raw.iter().map(|&b| f32::from(b)).collect(),
        DataType::Int32 => words(raw, |b| i32::from_le_bytes(b) as f32),
        DataType::Int64 if raw.is_empty() => tensor.int64_data.iter().map(|&v| v as f32).collect(),
        DataType::Int64 => words(raw, |b| i64::from_le_bytes(b) as f32),
        _ => return None,
    };
    let dims: Option<Vec<usize>> = tensor
        .dims
        .iter()
        .map(|&d| usize::try_from(d).ok())
        .collect();
    let dims = dims?;
    let count = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
    (count == values.len() && values.iter().all(|v| v.is_finite())).then_some((dims, values))
}

fn words<const N: usize>(raw: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    raw.as_chunks()
        .0
        .iter()
        .map(|&bytes| value(bytes))
        .collect()
}

/// Kernel, stride and padding of a node whose pads name all sides.
fn window(node: &NodeProto, kernel: [usize; 2], groups: usize) -> Result<Window, GraphError> {
    let auto = node
        .attribute
        .iter()
        .find(|a| a.name == "auto_pad")
        .map(|a| a.s.as_slice());
    if !matches!(auto, None | Some(b"NOTSET" | b"VALID" | b"")) {
        return Err(unsupported(
            node,
            "auto_pad: export the network with its pads written out",
        ));
    }
    let pair =
        |name, default| two(&ints(node, name), default).ok_or_else(|| unsupported(node, "3-D"));
    let pads = ints(node, "pads");
    let pad = two(&pads[..pads.len() / 2], 0).ok_or_else(|| unsupported(node, "3-D"))?;
    let (stride, dilation) = (pair("strides", 1)?, pair("dilations", 1)?);
    let sizes = [kernel, stride, dilation].concat();
    if sizes.contains(&0) || groups == 0 {
        return Err(invalid(node, "a kernel, stride, dilation or group of zero"));
    }
    Ok(Window {
        kernel,
        stride,
        dilation,
        pad,
        groups,
    })
}

/// The output's height and width.
fn slide(node: &NodeProto, window: &Window, shape: [usize; 3]) -> Result<[usize; 2], GraphError> {
    let pads = ints(node, "pads");
    let ends = two(&pads[pads.len() / 2..], 0).unwrap_or([0, 0]);
    let mut out = [0; 2];
    for axis in 0..2 {
        let padded = shape[axis] + window.pad[axis] + ends[axis];
        let reach = (window.kernel[axis] - 1) * window.dilation[axis] + 1;
        let steps = padded
            .checked_sub(reach)
            .map(|room| room / window.stride[axis] + 1);
        out[axis] = steps.ok_or_else(|| invalid(node, "its kernel is larger than its input"))?;
    }
    Ok(out)
}

/// One- and two-dimensional sizes as height and width; a time series has height 1.
fn two(sizes: &[usize], default: usize) -> Option<[usize; 2]> {
    match *sizes {
        [] => Some([default; 2]),
        [width] => Some([default, width]),
        [height, width] => Some([height, width]),
        _ => None,
    }
}

fn attribute<'n>(node: &'n NodeProto, name: &str) -> Option<&'n AttributeProto> {
    node.attribute.iter().find(|a| a.name == name)
}

pub(super) fn float(node: &NodeProto, name: &str) -> Option<f32> {
    attribute(node, name).map(|a| a.f)
}

pub(super) fn int(node: &NodeProto, name: &str) -> Option<usize> {
    attribute(node, name).and_then(|a| usize::try_from(a.i).ok())
}

pub(super) fn ints(node: &NodeProto, name: &str) -> Vec<usize> {
    let list = attribute(node, name).map_or(&[][..], |a| &a.ints);
    // A negative size is refused later as one that is too large.
    list.iter()
        .map(|&i| usize::try_from(i).unwrap_or(usize::MAX >> 32))
        .collect()
}

pub(super) fn signed(node: &NodeProto, name: &str) -> Vec<i64> {
    attribute(node, name).map_or(Vec::new(), |a| a.ints.clone())
}

fn name_of(node: &NodeProto) -> &str {
    if node.name.is_empty() {
        node.output.first().map_or("", |o| o)
    } else {
        &node.name
    }
}

pub(super) fn unsupported(node: &NodeProto, hint: &str) -> GraphError {
    GraphError::Unsupported {
        node: name_of(node).into(),
        op: node.op_type.clone(),
        hint: hint.into(),
    }
}

pub(super) fn invalid(node: &NodeProto, why: &str) -> GraphError {
    GraphError::Invalid {
        node: name_of(node).into(),
        why: why.into(),
    }
}
