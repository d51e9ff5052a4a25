//! Small 2-D convolutional networks: a plain one, DS-CNN, MobileNetV2 and ResNet8, for pictures and log-mel frames;
//! of a sensor's window (height 1) their kernels are 1 x 5.
//!
//! All are one list of steps over convolutions with batch norm, which the forward pass and
//! the export both walk.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, BatchNormConfig, Linear};
use burn::tensor::{Device, Tensor, activation};

use super::{Initialiser, Kind, Pool, Shape};

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The next convolution with its batch norm, and ReLU behind it or nothing.
    Conv {
        /// Whether negative values become 0.
        relu: bool,
    },
    /// Remembers where a shortcut begins.
    Begin,
    /// The next convolution with its batch norm, on what was remembered: the shortcut changes its shape.
    Shortcut,
    /// Adds what was remembered.
    Add {
        /// Whether negative values become 0.
        relu: bool,
    },
}

/// The network: [N, channels, height, width] to [N, dim].
#[derive(Module, Debug)]
pub struct ConvNet {
    /// In the order in which `steps` take them.
    pub convs: Vec<Conv2d>,
    /// One after each convolution.
    pub norms: Vec<BatchNorm>,
    /// From the mean of each channel, or from all values.
    pub dense: Linear,
    /// From the largest value of each channel, with [`Pool::MeanMax`].
    pub maximum: Option<Linear>,
    /// The walk.
    #[module(skip)]
    pub steps: Vec<Step>,
    /// What is made of the last map.
    #[module(skip)]
    pub pool: Pool,
}

/// Grows a network from its input on, and counts.
struct Builder<'a, 'i> {
    init: Option<(&'a mut Initialiser<'i>, &'a Device)>,
    convs: Vec<Conv2d>,
    norms: Vec<BatchNorm>,
    steps: Vec<Step>,
    /// Channels, height and width of the map so far.
    map: [usize; 3],
    parameters: usize,
    macs: usize,
}

impl Builder<'_, '_> {
    /// Kernels are `k` x `k`, of series 1 x `k` with `k` at least 5.
    fn conv(&mut self, to: usize, k: usize, stride: usize, groups: usize, step: Step) {
        let [from, height, width] = self.map;
        let (kernel, stride) = match height {
            1 => ([1, if k == 1 { 1 } else { k.max(5) }], [1, stride]),
            _ => ([k, k], [stride, stride]),
        };
        self.map = [to, height.div_ceil(stride[0]), width.div_ceil(stride[1])];
        let each = from / groups * kernel[0] * kernel[1];
        self.parameters += to * each + to;
        self.macs += self.map.iter().product::<usize>() * each;
        self.steps.push(step);
        if let Some((init, device)) = &mut self.init {
            self.convs
                .push(init.conv2d(from, to, kernel, stride, groups));
            self.norms.push(BatchNormConfig::new(to).init(device));
        }
    }

    /// As in few-shot learning since *Matching Networks for One Shot Learning*, Vinyals et al., 2016,
    /// but with strides in place of pooling. Every layer halves the map and doubles the channels.
    fn cnn(&mut self, width: usize, depth: usize) {
        for layer in 0..depth {
            self.conv(width << layer.min(4), 3, 2, 1, Step::Conv { relu: true });
        }
    }

    /// *MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications*, Howard
    /// et al., 2017; for speech *Hello Edge*, Zhang et al., 2017. Every second block halves the
    /// map and doubles the channels.
    fn ds_cnn(&mut self, width: usize, depth: usize) {
        let relu = Step::Conv { relu: true };
        self.conv(width, 3, 2, 1, relu);
        for block in 0..depth {
            let (from, stride) = (self.map[0], 1 + block % 2);
            self.conv(from, 3, stride, from, relu);
            self.conv(from * stride, 1, 1, 1, relu);
        }
    }

    /// *MobileNetV2: Inverted Residuals and Linear Bottlenecks*, Sandler et al., 2018, expansion 4;
    /// ReLU in place of ReLU6. `depth` pairs of blocks, the first of each halves the map.
    fn mobilenet_v2(&mut self, width: usize, depth: usize) {
        let (relu, linear) = (Step::Conv { relu: true }, Step::Conv { relu: false });
        self.conv(width, 3, 2, 1, relu);
        for pair in 0..depth {
            for (block, stride) in [(0, 2), (1, 1)] {
                let from = self.map[0];
                let to = if block == 0 {
                    width * (pair + 2) / 2
                } else {
                    from
                };
                if block == 1 {
                    self.steps.push(Step::Begin);
                }
                self.conv(4 * from, 1, 1, 1, relu);
                self.conv(4 * from, 3, stride, 4 * from, relu);
                self.conv(to, 1, 1, 1, linear);
                if block == 1 {
                    self.steps.push(Step::Add { relu: false });
                }
            }
        }
        self.conv(4 * self.map[0], 1, 1, 1, relu);
    }

    /// *Deep Residual Learning for Image Recognition*, He et al., 2016, as small as MLPerf Tiny's
    /// (*MLPerf Tiny Benchmark*, Banbury et al., 2021): three stages of `depth` blocks.
    fn resnet8(&mut self, width: usize, depth: usize) {
        self.conv(width, 3, 1, 1, Step::Conv { relu: true });
        for stage in 0..3 {
            for block in 0..depth {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let (before, to) = (self.map, width << stage);
                self.steps.push(Step::Begin);
                self.conv(to, 3, stride, 1, Step::Conv { relu: true });
                self.conv(to, 3, 1, 1, Step::Conv { relu: false });
                if before != self.map {
                    let after = std::mem::replace(&mut self.map, before);
                    self.conv(to, 1, stride, 1, Step::Shortcut);
                    debug_assert_eq!(after, self.map);
                }
                self.steps.push(Step::Add { relu: true });
            }
        }
    }

    fn build(&mut self, shape: Shape) {
        match shape.kind {
            Kind::Cnn => self.cnn(shape.width, shape.depth),
            Kind::MobilenetV2 => self.mobilenet_v2(shape.width, shape.depth),
            Kind::Resnet8 => self.resnet8(shape.width, shape.depth),
            _ => self.ds_cnn(shape.width, shape.depth),
        }
    }

    /// What the dense layer reads.
    fn values(&self, pool: Pool) -> usize {
        match pool {
            Pool::Flat => self.map.iter().product(),
            Pool::Mean | Pool::MeanMax => self.map[0],
        }
    }
}

fn builder<'a, 'i>(
    init: Option<(&'a mut Initialiser<'i>, &'a Device)>,
    shape: Shape,
) -> Builder<'a, 'i> {
    let mut builder = Builder {
        init,
        convs: Vec::new(),
        norms: Vec::new(),
        steps: Vec::new(),
        map: shape.input,
        parameters: 0,
        macs: 0,
    };
    builder.build(shape);
    builder
}

/// Weights and biases once batch norm is folded away, and multiply-accumulates for one input.
pub fn cost(shape: Shape) -> (usize, usize) {
    let built = builder(None, shape);
    let pools = if shape.pool == Pool::MeanMax { 2 } else { 1 };
    let dense = pools * built.values(shape.pool) * shape.dim;
    (built.parameters + dense + shape.dim, built.macs + dense)
}

impl ConvNet {
    /// A network with random weights.
    pub fn new(init: &mut Initialiser, shape: Shape, device: &Device) -> Self {
        let built = builder(Some((&mut *init, device)), shape);
        let values = built.values(shape.pool);
        let (convs, norms, steps) = (built.convs, built.norms, built.steps);
        let maximum = shape.pool == Pool::MeanMax;
        ConvNet {
            convs,
            norms,
            dense: init.linear(values, shape.dim, true),
            maximum: maximum.then(|| init.linear(values, shape.dim, false)),
            steps,
            pool: shape.pool,
        }
    }

    /// What makes the embedding, the one with the bias last.
    pub fn ends(&mut self) -> impl Iterator<Item = &mut Linear> {
        self.maximum
            .iter_mut()
            .chain(std::iter::once(&mut self.dense))
    }

    /// Inputs [N, channels, height, width] to embeddings [N, dim].
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let mut layers = self.convs.iter().zip(&self.norms);
        let mut next = |x: Tensor<4>| match layers.next() {
            Some((conv, norm)) => norm.forward(conv.forward(x)),
            None => x,
        };
        let rectified = |x: Tensor<4>, relu: bool| if relu { activation::relu(x) } else { x };
        let (mut x, mut kept) = (x, Vec::new());
        for step in &self.steps {
            match step {
                Step::Begin => kept.push(x.clone()),
                Step::Conv { relu } => x = rectified(next(x), *relu),
                Step::Shortcut => {
                    let shortcut = kept.pop().map(&mut next);
                    kept.extend(shortcut);
                }
                Step::Add { relu } => {
                    if let Some(shortcut) = kept.pop() {
                        x = rectified(x + shortcut, *relu);
                    }
                }
            }
        }
        if self.pool == Pool::Flat {
            return self.dense.forward(x.flatten::<2>(1, 3));
        }
        let map: Tensor<3> = x.flatten(2, 3);
        let mean = self.dense.forward(map.clone().mean_dim(2).squeeze_dim(2));
        match &self.maximum {
            Some(maximum) => mean + maximum.forward(map.max_dim(2).squeeze_dim(2)),
            None => mean,
        }
    }
}
