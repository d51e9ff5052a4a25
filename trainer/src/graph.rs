//! An ONNX graph as the layers that a device runs: weights in the device's order, activations
//! channels-last, what follows a layer element by element fused into it.

mod elementwise;
mod fuse;
mod read;
mod run;

use tract_onnx::pb::ModelProto;

pub(crate) use read::floats;

/// The layers in running order.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Activations; the first is the input.
    pub tensors: Vec<Tensor>,
    /// In an order in which inputs come before their readers.
    pub layers: Vec<Layer>,
    /// Index of the tensor that is the embedding.
    pub embedding: usize,
}

/// An activation.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name in the ONNX file.
    pub name: String,
    /// Height (1 for a time series), width, channels.
    pub shape: [usize; 3],
}

impl Tensor {
    /// Elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One layer with what is fused into it.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The ONNX node's name.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Tensors that it reads: two for Add, Mul, Concat and a convolution that adds, else one.
    pub inputs: Vec<usize>,
    /// The tensor that it writes.
    pub output: usize,
    /// What happens to each output value.
    pub activation: Activation,
}

/// What a layer computes.
#[derive(Clone, Debug)]
pub enum Op {
    /// Weights `[out][kh][kw][in / groups]`.
    Conv(Window, Weights),
    /// Weights `[kh][kw][out]`.
    Depthwise(Window, Weights),
    /// Weights `[out][in]`.
    Dense(Weights),
    /// Padding counts as zero.
    AvgPool(Window),
    /// Padding does not count.
    MaxPool(Window),
    /// The sum of two tensors.
    Add,
    /// The product of two tensors; the second may be one vector for all pixels.
    Mul,
    /// A function of one value.
    Lookup(Function),
    /// Two tensors side by side, channel after channel.
    Concat,
    /// A lower and an upper limit for each channel.
    Clamp(Vec<[f32; 2]>),
    /// Zeros above and to the left; the rest follows from the output's shape.
    Pad([usize; 2]),
}

impl Op {
    /// What it multiplies with, if anything.
    pub fn weights(&self) -> Option<&Weights> {
        match self {
            Op::Conv(_, weights) | Op::Depthwise(_, weights) | Op::Dense(weights) => Some(weights),
            _ => None,
        }
    }

    /// See there.
    pub fn weights_mut(&mut self) -> Option<&mut Weights> {
        match self {
            Op::Conv(_, weights) | Op::Depthwise(_, weights) | Op::Dense(weights) => Some(weights),
            _ => None,
        }
    }

    /// The output channel that weight `i` works for.
    pub fn writes(&self, i: usize) -> usize {
        let (outputs, filter) = self.sizes();
        match self {
            Op::Depthwise(..) => i % outputs,
            _ => i / filter,
        }
    }

    /// Which of the `channels` of the input weight `i` is multiplied with.
    pub fn reads(&self, i: usize, channels: usize) -> usize {
        let (outputs, filter) = self.sizes();
        match self {
            Op::Conv(window, _) => {
                let depth = channels / window.groups;
                i / filter / (outputs / window.groups) * depth + i % depth
            }
            Op::Depthwise(..) => i % outputs / (outputs / channels),
            _ => i % channels,
        }
    }

    /// Output channels, and weights of each.
    fn sizes(&self) -> (usize, usize) {
        let sizes = |w: &Weights| (w.biases.len(), w.values.len() / w.biases.len());
        self.weights().map_or((1, 1), sizes)
    }
}

/// Functions of one value that a table of 256 results stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// 1 / (1 + e^-x)
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// max(0, min(1, alpha x + beta))
    HardSigmoid(f32, f32),
    /// x * max(0, min(1, x / 6 + 1 / 2))
    HardSwish,
    /// x / (1 + e^-x)
    Swish,
}

impl Function {
    /// Its value.
    pub fn of(self, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        match self {
            Function::Sigmoid => sigmoid(x),
            Function::Tanh => x.tanh(),
            Function::HardSigmoid(alpha, beta) => {
                (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0)
            }
            Function::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Function::Swish => x * sigmoid(x),
        }
    }
}

/// A sliding window; pairs are vertical, horizontal.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Taps.
    pub kernel: [usize; 2],
    /// Steps.
    pub stride: [usize; 2],
    /// Distance of taps.
    pub dilation: [usize; 2],
    /// Above and left.
    pub pad: [usize; 2],
    /// Groups of channels.
    pub groups: usize,
}

impl Window {
    /// One tap.
    pub const POINT: Window = Window {
        kernel: [1, 1],
        stride: [1, 1],
        dilation: [1, 1],
        pad: [0, 0],
        groups: 1,
    };
}

/// Parameters of one layer.
#[derive(Clone, Debug)]
pub struct Weights {
    /// In the device's order.
    pub values: Vec<f32>,
    /// One an output channel.
    pub biases: Vec<f32>,
}

/// ReLU, ReLU6, Clip and LeakyReLU in one: negative values times `slope`, then clamped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Activation {
    /// 1 where there is no LeakyReLU.
    pub slope: f32,
    /// Smallest value, or minus infinity.
    pub low: f32,
    /// Largest value, or infinity.
    pub high: f32,
}

impl Activation {
    /// No activation.
    pub const NONE: Activation = Activation {
        slope: 1.0,
        low: f32::NEG_INFINITY,
        high: f32::INFINITY,
    };
}

/// Why a graph can't become a pack.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// A node that the device has no layer for.
    #[error("node `{node}` is a {op}, which the packed encoder has no layer for: {hint}")]
    Unsupported {
        /// The node's name, or its first output's.
        node: String,
        /// ONNX operator.
        op: String,
        /// What to do.
        hint: String,
    },
    /// The graph contradicts itself.
    #[error("node `{node}`: {why}")]
    Invalid {
        /// The node's name.
        node: String,
        /// What is wrong.
        why: String,
    },
}

impl Graph {
    /// Reads the encoder's graph and fuses what one pass over memory can do; `input` is the input's
    /// height, width and channels.
    pub fn read(proto: &ModelProto, input: [usize; 3]) -> Result<Graph, GraphError> {
        read::read(proto, input).map(fuse::fuse)
    }

    /// Whether anybody reads `tensor`.
    pub fn readers(&self, tensor: usize) -> usize {
        self.layers
            .iter()
            .flat_map(|l| &l.inputs)
            .filter(|&&t| t == tensor)
            .count()
    }

    /// Multiply-accumulates of one layer.
    pub fn macs(&self, layer: &Layer) -> usize {
        let out = self.tensors[layer.output].len();
        match &layer.op {
            Op::Conv(_, weights) | Op::Dense(weights) => {
                out * weights.values.len() / weights.biases.len().max(1)
            }
            Op::Depthwise(window, _) => out * window.kernel[0] * window.kernel[1],
            _ => 0,
        }
    }
}
