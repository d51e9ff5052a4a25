//! A small transformer encoder for lines of text.

use anyhow::ensure;
use burn::module::{Module, Param};
use burn::nn::{Embedding, LayerNorm, LayerNormConfig, Linear};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData, activation};
use serde::{Deserialize, Serialize};

use super::Initialiser;
use crate::tokens::PAD;

/// Added to the variance in every layer norm.
pub const EPSILON: f64 = 1e-5;

/// Added to the score of padding: its share of the attention is 0 in single precision.
pub const FAR_BELOW: f32 = -1e9;

/// The network's sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Ids that the tokenizer has.
    pub vocabulary: usize,
    /// Tokens in a line, padding included.
    pub length: usize,
    /// Length of a token's state and of the embedding.
    pub dim: usize,
    /// Heads that attend side by side, each with `dim / heads` values.
    pub heads: usize,
    /// Blocks, one after the other.
    pub depth: usize,
}

/// Token and position embeddings, then blocks of attention and a dense network, each with its
/// layer norm before it and a way around it, then a last layer norm.
///
/// ```text
/// ids [N, T] ── tokens + positions ──┬── norm ── attention ──┬─ + ─┬── norm ── dense ──┬─ + ─ ... ── norm ──> [N, T, D]
///                                    └───────────────────────┘     └───────────────────┘
/// ```
///
/// The mean of the states of all tokens but padding is the line's embedding. Sources: *Attention
/// Is All You Need*, Vaswani et al., 2017; the norm before each part: *On Layer Normalization in
/// the Transformer Architecture*, Xiong et al., 2020; the mean: *Sentence-BERT*, Reimers and
/// Gurevych, 2019. There is no dropout: the network is small for its data.
#[derive(Module, Debug)]
pub struct Transformer {
    /// One row a token, [vocabulary, dim].
    pub tokens: Embedding,
    /// One row a place, [length, dim].
    pub positions: Param<Tensor<2>>,
    /// `depth` of them.
    pub blocks: Vec<Block>,
    /// After the last block.
    pub norm: LayerNorm,
    /// What the embedding is multiplied by, [dim, dim], where [`Transformer::then_linear`] was
    /// called.
    pub map: Option<Param<Tensor<2>>>,
}

/// One block of a [`Transformer`].
#[derive(Module, Debug)]
pub struct Block {
    /// Before attention.
    pub attention_norm: LayerNorm,
    /// Who looks at whom.
    pub attention: Attention,
    /// Before the dense network.
    pub dense_norm: LayerNorm,
    /// From `dim` to four times as many; GELU follows (*Gaussian Error Linear Units*, Hendrycks
    /// and Gimpel, 2016).
    pub widen: Linear,
    /// Back to `dim`.
    pub narrow: Linear,
}

/// Multi-head self-attention.
#[derive(Module, Debug)]
pub struct Attention {
    /// What a token looks for.
    pub query: Linear,
    /// What it is found by.
    pub key: Linear,
    /// What it tells.
    pub value: Linear,
    /// From all heads side by side.
    pub output: Linear,
    /// How many heads.
    pub heads: usize,
}

impl Shape {
    /// Whether a network of these sizes can be.
    ///
    /// # Errors
    /// A size is 0, or the heads do not divide `dim`.
    pub fn check(&self) -> anyhow::Result<()> {
        let sizes = [self.vocabulary, self.length, self.dim, self.heads];
        ensure!(
            !sizes.contains(&0),
            "no size of a transformer can be 0: {self:?}"
        );
        ensure!(
            self.dim.is_multiple_of(self.heads),
            "{} values can't be shared out among {} heads",
            self.dim,
            self.heads
        );
        Ok(())
    }

    /// Weights and biases.
    pub fn parameters(&self) -> usize {
        let d = self.dim;
        let attention = 4 * (d * d + d);
        let dense = (d * 4 * d + 4 * d) + (4 * d * d + d);
        let norms = 2 * 2 * d;
        (self.vocabulary + self.length) * d + self.depth * (attention + dense + norms) + 2 * d
    }

    /// Multiply-accumulates for one line, padding included.
    pub fn macs(&self) -> usize {
        let (t, d) = (self.length, self.dim);
        self.depth * (12 * t * d * d + 2 * t * t * d)
    }
}

impl Transformer {
    /// A network with random weights; `shape` must pass [`Shape::check`].
    pub fn new(init: &mut Initialiser, shape: Shape, device: &Device) -> Self {
        let dim = shape.dim;
        let norm = || LayerNormConfig::new(dim).with_epsilon(EPSILON).init(device);
        Transformer {
            tokens: Embedding {
                weight: init.uniform([shape.vocabulary, dim], dim),
            },
            positions: init.uniform([shape.length, dim], dim),
            blocks: (0..shape.depth)
                .map(|_| Block {
                    attention_norm: norm(),
                    attention: Attention {
                        query: init.linear(dim, dim, true),
                        key: init.linear(dim, dim, true),
                        value: init.linear(dim, dim, true),
                        output: init.linear(dim, dim, true),
                        heads: shape.heads,
                    },
                    dense_norm: norm(),
                    widen: init.linear(dim, 4 * dim, true),
                    narrow: init.linear(4 * dim, dim, true),
                })
                .collect(),
            norm: norm(),
            map: None,
        }
    }

    /// The same network with its embedding multiplied by `map`, [dim, dim] row-major. Token states
    /// stay as they are.
    pub fn then_linear(mut self, map: &[f32], device: &Device) -> Self {
        let dim = map.len().isqrt();
        let map = Tensor::<2>::from_data(TensorData::new(map.to_vec(), [dim, dim]), device);
        let map = match &self.map {
            Some(before) => before.val().matmul(map),
            None => map,
        };
        self.map = Some(Param::from_tensor(map));
        self
    }

    /// Ids [N, T] to token states [N, T, dim]; T is at most the shape's length.
    pub fn forward(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let [_, length] = ids.dims();
        // What is added to the scores, the same for every head and every token that looks.
        let padding: Tensor<4> = padding(&ids).float().unsqueeze_dims(&[1, 2]);
        let padding = padding.mul_scalar(FAR_BELOW);
        let positions = self.positions.val().narrow(0, 0, length);
        let states = self.tokens.forward(ids) + positions.unsqueeze();
        let block = |states, block: &Block| block.forward(states, padding.clone());
        self.norm.forward(self.blocks.iter().fold(states, block))
    }

    /// Token states [N, T, dim] of the ids [N, T] to embeddings [N, dim]: the mean over all tokens
    /// but padding, times the map where there is one.
    pub fn pool(&self, states: Tensor<3>, ids: &Tensor<2, Int>) -> Tensor<2> {
        let present: Tensor<3> = padding(ids).bool_not().float().unsqueeze_dim(2);
        let count = present.clone().sum_dim(1).clamp_min(1.0);
        let mean = ((states * present).sum_dim(1) / count).squeeze_dim(1);
        match &self.map {
            Some(map) => mean.matmul(map.val()),
            None => mean,
        }
    }

    /// Ids [N, T] to embeddings [N, dim].
    pub fn embed(&self, ids: Tensor<2, Int>) -> Tensor<2> {
        self.pool(self.forward(ids.clone()), &ids)
    }
}

impl Block {
    fn forward(&self, states: Tensor<3>, padding: Tensor<4>) -> Tensor<3> {
        let attended = self.attention_norm.forward(states.clone());
        let states = states + self.attention.forward(attended, padding);
        let wide = self.widen.forward(self.dense_norm.forward(states.clone()));
        states + self.narrow.forward(activation::gelu(wide))
    }
}

impl Attention {
    /// States [N, T, dim] to states; `padding` [N, 1, 1, T] is added to the scores.
    fn forward(&self, states: Tensor<3>, padding: Tensor<4>) -> Tensor<3> {
        let [lines, length, dim] = states.dims();
        let width = dim / self.heads;
        // [N, heads, T, width]
        let heads = |dense: &Linear| {
            let split = dense.forward(states.clone());
            split
                .reshape([lines, length, self.heads, width])
                .swap_dims(1, 2)
        };
        let [query, key, value] = [&self.query, &self.key, &self.value].map(heads);
        let scores = query.matmul(key.transpose()) / (width as f32).sqrt();
        let shares = activation::softmax(scores + padding, 3);
        let told = shares.matmul(value).swap_dims(1, 2);
        self.output.forward(told.reshape([lines, length, dim]))
    }
}

fn padding(ids: &Tensor<2, Int>) -> Tensor<2, Bool> {
    ids.clone().equal_elem(PAD)
}

/// Ids that came as floats, [N, 1, 1, T] as other networks' inputs, as the integers that they are,
/// [N, T]. Single precision holds every id below 2^24.
pub fn ids(floats: Tensor<4>) -> Tensor<2, Int> {
    let [lines, _, _, length] = floats.dims();
    floats.reshape([lines, length]).int()
}

/// Ids, one line of `length` after the other, as a tensor [N, T].
#[cfg(test)]
pub fn lines(ids: &[u32], length: usize, device: &Device) -> Tensor<2, Int> {
    let values: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    let shape = [values.len() / length.max(1), length];
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::stream;
    use crate::export::values;
    use crate::tokens::{CLS, SEPARATOR};

    const SHAPE: Shape = Shape {
        vocabulary: 40,
        length: 12,
        dim: 16,
        heads: 4,
        depth: 2,
    };

    fn network(seed: u64, device: &Device) -> Transformer {
        let mut init = Initialiser::new(stream(seed, 1, 0, 0), device);
        Transformer::new(&mut init, SHAPE, device)
    }

    #[test]
    fn padding_changes_nothing() {
        let device = Device::flex();
        let network = network(7, &device);
        let line = [CLS, 9, 30, 11, SEPARATOR];
        let mut padded = line.to_vec();
        padded.resize(12, PAD);
        let short = values(network.embed(lines(&line, 5, &device)));
        let long = values(network.embed(lines(&padded, 12, &device)));
        for (a, b) in short.iter().zip(&long) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
        let nothing = values(network.embed(lines(&[PAD; 12], 12, &device)));
        assert_eq!(nothing, [0.0; 16]);
    }

    #[test]
    fn the_seed_decides() {
        let device = Device::flex();
        let line = lines(&[CLS, 9, 30, 11, SEPARATOR], 5, &device);
        let embed = |seed| values(network(seed, &device).embed(line.clone()));
        assert_eq!(embed(3), embed(3));
        assert_ne!(embed(3), embed(4));
        let floats = line.clone().float().reshape([1, 1, 1, 5]);
        assert_eq!(ids(floats).into_data(), line.into_data());
    }

    #[test]
    fn parameters_are_counted_right() {
        let device = Device::flex();
        assert_eq!(network(1, &device).num_params(), SHAPE.parameters());
        assert!(SHAPE.check().is_ok());
        assert!(Shape { heads: 3, ..SHAPE }.check().is_err());
        assert!(Shape { heads: 0, ..SHAPE }.check().is_err());
    }
}
