//! From ONNX nodes to layers.

use std::collections::HashMap;

use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, tensor_proto::DataType,
};

use super::{Activation, Graph, GraphError, Layer, Op, Tensor, Weights, Window};

pub(super) fn read(proto: &ModelProto, input: [usize; 3]) -> Result<Graph, GraphError> {
    let empty = GraphProto::default();
    let graph = proto.graph.as_ref().unwrap_or(&empty);
    let constants = graph
        .initializer
        .iter()
        .map(|t| (t.name.as_str(), t))
        .collect();
    let mut reader = Reader {
        constants,
        tensors: Vec::new(),
        layers: Vec::new(),
        by_name: HashMap::new(),
    };
    let first = graph
        .input
        .iter()
        .find(|i| !reader.constants.contains_key(i.name.as_str()));
    reader.add_tensor(first.map_or("input", |i| &i.name), input);
    for node in &graph.node {
        reader.node(node)?;
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

struct Reader<'p> {
    constants: HashMap<&'p str, &'p TensorProto>,
    tensors: Vec<Tensor>,
    layers: Vec<Layer>,
    /// ONNX tensor name to index; names that differ by an identity share one.
    by_name: HashMap<String, usize>,
}

impl<'p> Reader<'p> {
    fn add_tensor(&mut self, name: &str, shape: [usize; 3]) -> usize {
        self.tensors.push(Tensor {
            name: name.into(),
            shape,
        });
        self.by_name.insert(name.into(), self.tensors.len() - 1);
        self.tensors.len() - 1
    }

    fn node(&mut self, node: &'p NodeProto) -> Result<(), GraphError> {
        match node.op_type.as_str() {
            "Conv" => self.conv(node),
            "Gemm" => self.gemm(node),
            "AveragePool" | "MaxPool" => self.pool(node),
            "GlobalAveragePool" | "GlobalMaxPool" => self.global_pool(node),
            "Add" => self.add(node),
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
            "Flatten" | "Reshape" | "Squeeze" => self.flatten(node),
            "Identity" | "Dropout" => {
                let input = self.input(node, 0)?;
                self.alias(node, input)
            }
            other => Err(unsupported(node, &hint(other))),
        }
    }

    fn conv(&mut self, node: &'p NodeProto) -> Result<(), GraphError> {
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

    fn gemm(&mut self, node: &'p NodeProto) -> Result<(), GraphError> {
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

    fn pool(&mut self, node: &'p NodeProto) -> Result<(), GraphError> {
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

    fn global_pool(&mut self, node: &'p NodeProto) -> Result<(), GraphError> {
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

    fn add(&mut self, node: &'p NodeProto) -> Result<(), GraphError> {
        let inputs = vec![self.input(node, 0)?, self.input(node, 1)?];
        let shape = self.tensors[inputs[0]].shape;
        if self.tensors[inputs[1]].shape != shape {
            return Err(unsupported(node, "both inputs must have one shape"));
        }
        self.layer(node, Op::Add, inputs, shape)
    }

    /// Fuses into the layer that wrote the input, if nobody else reads that.
    fn activation(&mut self, node: &NodeProto, next: Activation) -> Result<(), GraphError> {
        let input = self.input(node, 0)?;
        let read = self.layers.iter().any(|l| l.inputs.contains(&input));
        let layer = self.layers.iter_mut().find(|l| l.output == input);
        let free = |l: &&mut Layer| !read && l.activation == Activation::NONE;
        let Some(layer) = layer.filter(free) else {
            return Err(unsupported(
                node,
                "an activation must follow a layer that nobody else reads",
            ));
        };
        if next.slope != 1.0 && matches!(layer.op, Op::AvgPool(_) | Op::MaxPool(_) | Op::Add) {
            return Err(unsupported(
                node,
                "LeakyRelu must follow a convolution or a dense layer",
            ));
        }
        layer.activation = next;
        // The calibration sees the tensor behind the activation.
        self.tensors[input].name = node.output.first().cloned().unwrap_or_default();
        self.alias(node, input)
    }

    fn flatten(&mut self, node: &NodeProto) -> Result<(), GraphError> {
        let input = self.input(node, 0)?;
        self.alias(node, input)
    }

    fn alias(&mut self, node: &NodeProto, tensor: usize) -> Result<(), GraphError> {
        for name in node.output.iter().take(1) {
            self.by_name.insert(name.clone(), tensor);
        }
        Ok(())
    }

    fn layer(
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

    fn input(&self, node: &NodeProto, at: usize) -> Result<usize, GraphError> {
        let name = node.input.get(at).map_or("", |n| n);
        let found = self.by_name.get(name).copied();
        found.ok_or_else(|| invalid(node, &format!("its input `{name}` is no activation")))
    }

    fn constant(&self, node: &NodeProto, at: usize) -> Result<(Vec<usize>, Vec<f32>), GraphError> {
        let name = node.input.get(at).map_or("", |n| n.as_str());
        let tensor = self.constants.get(name);
        let tensor =
            tensor.ok_or_else(|| invalid(node, &format!("its weights `{name}` are not stored")))?;
        floats(tensor)
            .ok_or_else(|| invalid(node, &format!("its weights `{name}` are not plain f32")))
    }

    fn scalar(&self, node: &NodeProto, at: usize) -> Option<f32> {
        let tensor = self.constants.get(node.input.get(at)?.as_str())?;
        floats(tensor)?.1.first().copied()
    }
}

/// Shape and values of a stored f32 tensor.
fn floats(tensor: &TensorProto) -> Option<(Vec<usize>, Vec<f32>)> {
    if tensor.data_type != DataType::Float as i32 {
        return None;
    }
    let values = match tensor.raw_data.is_empty() {
        true => tensor.float_data.clone(),
        false => tensor
            .raw_data
            .as_chunks()
            .0
            .iter()
            .map(|&c| f32::from_le_bytes(c))
            .collect(),
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

fn float(node: &NodeProto, name: &str) -> Option<f32> {
    attribute(node, name).map(|a| a.f)
}

fn int(node: &NodeProto, name: &str) -> Option<usize> {
    attribute(node, name).and_then(|a| usize::try_from(a.i).ok())
}

fn ints(node: &NodeProto, name: &str) -> Vec<usize> {
    let list = attribute(node, name).map_or(&[][..], |a| &a.ints);
    // A negative size is refused later as one that is too large.
    list.iter()
        .map(|&i| usize::try_from(i).unwrap_or(usize::MAX >> 32))
        .collect()
}

fn name_of(node: &NodeProto) -> &str {
    if node.name.is_empty() {
        node.output.first().map_or("", |o| o)
    } else {
        &node.name
    }
}

fn unsupported(node: &NodeProto, hint: &str) -> GraphError {
    GraphError::Unsupported {
        node: name_of(node).into(),
        op: node.op_type.clone(),
        hint: hint.into(),
    }
}

fn invalid(node: &NodeProto, why: &str) -> GraphError {
    GraphError::Invalid {
        node: name_of(node).into(),
        why: why.into(),
    }
}

fn hint(op: &str) -> String {
    match op {
        "BatchNormalization" => "export the network in eval mode, so that it is folded".into(),
        "Softmax" | "LogSoftmax" => "cut the classifier off before this node".into(),
        _ => "run the .onnx itself on Linux, or change the network".into(),
    }
}
