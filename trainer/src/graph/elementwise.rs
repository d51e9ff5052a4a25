//! Nodes that work value by value or only move values: fused into the layer before them where that
//! is free, else layers of their own.

use tract_onnx::pb::NodeProto;

use super::read::{Reader, ints, invalid, unsupported};
use super::{Activation, Function, GraphError, Layer, Op, Weights, Window};

impl Reader {
    /// The input that is an activation and the one that is stored, if just one is.
    fn with_constant(&self, node: &NodeProto) -> Option<(usize, Vec<f32>, bool)> {
        let stored = |at: usize| self.constants.get(node.input.get(at)?);
        match (stored(0), stored(1)) {
            (None, Some((_, values))) => Some((self.input(node, 0).ok()?, values.clone(), false)),
            (Some((_, values)), None) => Some((self.input(node, 1).ok()?, values.clone(), true)),
            _ => None,
        }
    }

    /// One value a channel, from a scalar or a vector.
    fn per_channel(
        &self,
        node: &NodeProto,
        values: &[f32],
        channels: usize,
    ) -> Result<Vec<f32>, GraphError> {
        match values.len() {
            1 => Ok(vec![values[0]; channels]),
            n if n == channels => Ok(values.to_vec()),
            _ => Err(unsupported(
                node,
                "its constant must be one number or one a channel",
            )),
        }
    }

    /// The layer that wrote `tensor`, where nothing else reads that and no activation follows.
    fn open_layer(&mut self, tensor: usize) -> Option<&mut Layer> {
        let read = self.shared.contains(&tensor);
        let layer = self.layers.iter_mut().find(|l| l.output == tensor)?;
        (!read && layer.activation == Activation::NONE).then_some(layer)
    }

    /// value * scale + shift for each channel: into the weights before it, or as a layer.
    fn affine(
        &mut self,
        node: &NodeProto,
        input: usize,
        scale: Vec<f32>,
        shift: Vec<f32>,
    ) -> Result<(), GraphError> {
        if let Some(layer) = self.open_layer(input) {
            let depthwise = matches!(layer.op, Op::Depthwise(..));
            if let Op::Conv(_, w) | Op::Depthwise(_, w) | Op::Dense(w) = &mut layer.op {
                let (channels, filter) = (scale.len(), w.values.len() / scale.len());
                for (i, value) in w.values.iter_mut().enumerate() {
                    *value *= scale[if depthwise { i % channels } else { i / filter }];
                }
                for (bias, (scale, shift)) in w.biases.iter_mut().zip(scale.iter().zip(&shift)) {
                    *bias = *bias * scale + shift;
                }
                self.tensors[input].name = node.output.first().cloned().unwrap_or_default();
                return self.alias(node, input);
            }
        }
        let shape = self.tensors[input].shape;
        let window = Window {
            groups: shape[2],
            ..Window::POINT
        };
        let weights = Weights {
            values: scale,
            biases: shift,
        };
        self.layer(node, Op::Depthwise(window, weights), vec![input], shape)
    }

    /// Add and Sub.
    pub(super) fn add(&mut self, node: &NodeProto) -> Result<(), GraphError> {
        let minus = node.op_type == "Sub";
        if let Some((input, values, first)) = self.with_constant(node) {
            let channels = self.tensors[input].shape[2];
            let mut shift = self.per_channel(node, &values, channels)?;
            let mut scale = vec![1.0; channels];
            match (minus, first) {
                (true, true) => scale.fill(-1.0),
                (true, false) => shift.iter_mut().for_each(|v| *v = -*v),
                _ => (),
            }
            return self.affine(node, input, scale, shift);
        }
        let inputs = vec![self.input(node, 0)?, self.input(node, 1)?];
        let shape = self.tensors[inputs[0]].shape;
        if minus || self.tensors[inputs[1]].shape != shape {
            return Err(unsupported(
                node,
                "both inputs must be added and have one shape",
            ));
        }
        self.layer(node, Op::Add, inputs, shape)
    }

    /// Mul and Div.
    pub(super) fn mul(&mut self, node: &NodeProto) -> Result<(), GraphError> {
        let divide = node.op_type == "Div";
        if let Some((input, mut values, first)) = self.with_constant(node) {
            if divide && first {
                return Err(unsupported(
                    node,
                    "a constant over an activation is not packed",
                ));
            }
            if divide {
                values.iter_mut().for_each(|v| *v = 1.0 / *v);
            }
            let channels = self.tensors[input].shape[2];
            let scale = self.per_channel(node, &values, channels)?;
            return self.affine(node, input, scale, vec![0.0; channels]);
        }
        let mut inputs = vec![self.input(node, 0)?, self.input(node, 1)?];
        // x * sigmoid(x) is one function.
        let swish = |a: usize, b: usize, layers: &[Layer]| {
            let sigmoid = |l: &Layer| l.output == b && l.inputs == [a];
            let is = |l: &Layer| matches!(l.op, Op::Lookup(Function::Sigmoid));
            layers.iter().position(|l| sigmoid(l) && is(l))
        };
        let (a, b) = (inputs[0], inputs[1]);
        let found = swish(a, b, &self.layers).map(|i| (i, a));
        if let Some((at, from)) = found.or(swish(b, a, &self.layers).map(|i| (i, b))) {
            let gate = self.layers[at].output;
            if !self.shared.contains(&gate) {
                self.layers.remove(at);
                let shape = self.tensors[from].shape;
                return self.layer(node, Op::Lookup(Function::Swish), vec![from], shape);
            }
        }
        let vector = |s: [usize; 3]| s[0] == 1 && s[1] == 1;
        if vector(self.tensors[inputs[0]].shape) && !vector(self.tensors[inputs[1]].shape) {
            inputs.swap(0, 1);
        }
        let [shape, second] = [inputs[0], inputs[1]].map(|t| self.tensors[t].shape);
        if divide || (second != shape && second != [1, 1, shape[2]]) {
            return Err(unsupported(
                node,
                "the inputs must have one shape, or the second must be one vector",
            ));
        }
        self.layer(node, Op::Mul, inputs, shape)
    }

    /// Max and Min with constants.
    pub(super) fn limit(&mut self, node: &NodeProto) -> Result<(), GraphError> {
        let Some((input, values, _)) = self.with_constant(node) else {
            return Err(unsupported(node, "one input must be a constant"));
        };
        let max = node.op_type == "Max";
        let bounds = |v: f32| {
            if max {
                [v, f32::INFINITY]
            } else {
                [f32::NEG_INFINITY, v]
            }
        };
        if let [value] = values[..] {
            let [low, high] = bounds(value);
            return self.activation(
                node,
                Activation {
                    low,
                    high,
                    ..Activation::NONE
                },
            );
        }
        let shape = self.tensors[input].shape;
        let values = self.per_channel(node, &values, shape[2])?;
        let limits = values.into_iter().map(bounds).collect();
        self.layer(node, Op::Clamp(limits), vec![input], shape)
    }

    pub(super) fn batch_norm(&mut self, node: &NodeProto) -> Result<(), GraphError> {
        let input = self.input(node, 0)?;
        let list = |at| self.constant(node, at).map(|(_, values)| values);
        let (gamma, beta, mean, variance) = (list(1)?, list(2)?, list(3)?, list(4)?);
        let channels = self.tensors[input].shape[2];
        if [&gamma, &beta, &mean, &variance]
            .iter()
            .any(|l| l.len() != channels)
        {
            return Err(invalid(
                node,
                "its statistics do not fit its input's channels",
            ));
        }
        let epsilon = super::read::float(node, "epsilon").unwrap_or(1e-5);
        let scale: Vec<f32> = gamma
            .iter()
            .zip(&variance)
            .map(|(g, v)| g / (v + epsilon).sqrt())
            .collect();
        let shift = (0..channels)
            .map(|c| beta[c] - mean[c] * scale[c])
            .collect();
        self.affine(node, input, scale, shift)
    }

    pub(super) fn lookup(
        &mut self,
        node: &NodeProto,
        function: Function,
    ) -> Result<(), GraphError> {
        let input = self.input(node, 0)?;
        let shape = self.tensors[input].shape;
        self.layer(node, Op::Lookup(function), vec![input], shape)
    }

    pub(super) fn concat(&mut self, node: &NodeProto) -> Result<(), GraphError> {
        let mut joined = self.input(node, 0)?;
        for at in 1..node.input.len() {
            let next = self.input(node, at)?;
            let [a, b] = [joined, next].map(|t| self.tensors[t].shape);
            if a[..2] != b[..2] {
                return Err(unsupported(node, "only channels can be put side by side"));
            }
            let shape = [a[0], a[1], a[2] + b[2]];
            self.layer(node, Op::Concat, vec![joined, next], shape)?;
            joined = self.tensors.len() - 1;
            if at + 1 < node.input.len() {
                // Steps on the way have no name in the file; calibration takes their parts'.
                self.tensors[joined].name = String::new();
            }
        }
        self.alias(node, joined)
    }

    pub(super) fn pad(&mut self, node: &NodeProto) -> Result<(), GraphError> {
        let input = self.input(node, 0)?;
        let shape = self.tensors[input].shape;
        let pads = if node.input.len() > 1 {
            self.constant(node, 1)?
                .1
                .iter()
                .map(|&v| v as usize)
                .collect()
        } else {
            ints(node, "pads")
        };
        let value = self.constants.get(node.input.get(2).map_or("", |n| n));
        let zero = value.is_none_or(|(_, v)| v.iter().all(|&v| v == 0.0));
        let (before, after) = pads.split_at(pads.len() / 2);
        let (Some([0, 0, rest @ ..]), Some([0, 0, ends @ ..])) = (Some(before), Some(after)) else {
            return Err(unsupported(node, "only height and width can be padded"));
        };
        let (rest, ends) = match (rest, ends) {
            ([x], [end]) => ([0, *x], [0, *end]),
            ([y, x], [down, right]) => ([*y, *x], [*down, *right]),
            _ => return Err(unsupported(node, "1-D and 2-D only")),
        };
        if !zero {
            return Err(unsupported(node, "only zeros can be padded"));
        }
        let out = [
            shape[0] + rest[0] + ends[0],
            shape[1] + rest[1] + ends[1],
            shape[2],
        ];
        self.layer(node, Op::Pad(rest), vec![input], out)
    }

    /// ReduceMean over height and width.
    pub(super) fn mean(&mut self, node: &NodeProto) -> Result<(), GraphError> {
        let input = self.input(node, 0)?;
        let [height, width, channels] = self.tensors[input].shape;
        let mut axes = match node.input.get(1) {
            Some(_) => self
                .constant(node, 1)?
                .1
                .iter()
                .map(|&v| v as i64)
                .collect(),
            None => super::read::signed(node, "axes"),
        };
        axes.iter_mut()
            .for_each(|a| *a = if *a < 0 { *a + 4 } else { *a });
        axes.sort_unstable();
        if axes != [2, 3] && axes != [2] {
            return Err(unsupported(
                node,
                "only the mean over height and width is packed",
            ));
        }
        let window = Window {
            kernel: [height, width],
            ..Window::POINT
        };
        self.layer(node, Op::AvgPool(window), vec![input], [1, 1, channels])
    }

    /// Between channels-last and channels-first: values here always lie channels-last.
    pub(super) fn transpose(&mut self, node: &NodeProto) -> Result<(), GraphError> {
        let input = self.input(node, 0)?;
        let order = ints(node, "perm");
        let [height, width, _] = self.tensors[input].shape;
        let layout = order == [0, 3, 1, 2] || order == [0, 2, 3, 1] || order == [0, 2, 1];
        if layout || (height == 1 && width == 1) {
            return self.alias(node, input);
        }
        Err(unsupported(node, "it moves more than the channels"))
    }

    /// Reshapes that name the same values in the same order, or flatten them, which the layer
    /// behind them undoes.
    pub(super) fn reshape(&mut self, node: &NodeProto) -> Result<(), GraphError> {
        let input = self.input(node, 0)?;
        let [height, width, channels] = self.tensors[input].shape;
        let target = self.constants.get(node.input.get(1).map_or("", |n| n));
        let flat = target.is_none_or(|(_, sides)| sides.len() <= 2);
        if node.op_type == "Reshape" && height * width > 1 && channels > 1 && !flat {
            return Err(unsupported(
                node,
                "it moves values between channels and pixels",
            ));
        }
        self.alias(node, input)
    }

    /// Fuses into the layer that wrote the input, if nobody else reads that; else a layer of its
    /// own that changes nothing but this.
    pub(super) fn activation(
        &mut self,
        node: &NodeProto,
        next: Activation,
    ) -> Result<(), GraphError> {
        let input = (0..node.input.len().min(2)).find_map(|at| self.input(node, at).ok());
        let input = input.ok_or_else(|| invalid(node, "its input is no activation"))?;
        let read = self.shared.contains(&input);
        let free = |l: &&mut Layer| {
            // A clamp goes behind whatever there is; a slope needs sums, and no clamp before it.
            let sums = matches!(l.op, Op::Conv(..) | Op::Depthwise(..) | Op::Dense(_));
            let table = matches!(l.op, Op::Lookup(_) | Op::Clamp(_) | Op::Pad(_));
            !read && !table && (next.slope == 1.0 || (sums && l.activation == Activation::NONE))
        };
        let found = self
            .layers
            .iter_mut()
            .find(|l| l.output == input)
            .filter(free);
        let Some(layer) = found else {
            let channels = self.tensors[input].shape[2];
            self.affine(node, input, vec![1.0; channels], vec![0.0; channels])?;
            if let Some(layer) = self.layers.last_mut() {
                layer.activation = next;
            }
            return Ok(());
        };
        let before = layer.activation;
        layer.activation = Activation {
            slope: before.slope * next.slope,
            low: before.low.max(next.low).min(next.high),
            high: before.high.min(next.high).max(next.low),
        };
        // The calibration sees the tensor behind the activation.
        self.tensors[input].name = node.output.first().cloned().unwrap_or_default();
        self.alias(node, input)
    }
}
