//! What text says about itself: a hidden word from the words around it, and whether one line
//! follows another.
//!
//! Source: *BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding*,
//! Devlin et al., 2019.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::network::{Initialiser, Transformer};
use crate::tokens::{FIRST, MASK};

/// The part of a line's tokens that is to be told from the others.
const CHOSEN: f32 = 0.15;
/// The part of the chosen ones that is masked.
const MASKED: f32 = 0.8;
/// The part that is another token instead; the rest stays as it is, so that a network can't tell
/// where it will be asked.
const REPLACED: f32 = 0.1;

/// Lines with some of their tokens hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masked {
    /// What the network sees, as many ids as there were.
    pub ids: Vec<u32>,
    /// The chosen places, as indices into `ids`, in ascending order.
    pub places: Vec<usize>,
    /// What was at each of them.
    pub targets: Vec<u32>,
}

/// Chooses 15 % of each line's tokens, at least one: 80 % of them become the mask token, 10 % a
/// random one, 10 % stay. `ids` are lines of `length`, one after the other; special tokens are
/// never chosen, so that a line without any other has none.
pub fn masked(ids: &[u32], length: usize, vocabulary: usize, rng: &mut ChaCha8Rng) -> Masked {
    let mut out = Masked {
        ids: ids.to_vec(),
        places: Vec::new(),
        targets: Vec::new(),
    };
    let length = length.max(1);
    for (row, line) in ids.chunks(length).enumerate() {
        let text = (0..line.len()).filter(|&i| line[i] >= FIRST);
        let mut text: Vec<usize> = text.map(|i| row * length + i).collect();
        let count = (CHOSEN * text.len() as f32).round().max(1.0) as usize;
        let (chosen, _) = text.partial_shuffle(rng, count);
        chosen.sort_unstable();
        out.places.extend_from_slice(chosen);
    }
    for &place in &out.places {
        out.targets.push(ids[place]);
        let kind = rng.random::<f32>();
        if kind < MASKED {
            out.ids[place] = MASK;
        } else if kind < MASKED + REPLACED {
            out.ids[place] = rng.random_range(FIRST..(vocabulary as u32).max(FIRST + 1));
        }
    }
    out
}

/// From a token's state to a score for each id, for training alone: dense and GELU, then the
/// similarity with each token's own embedding (*Using the Output Embedding to Improve Language
/// Models*, Press and Wolf, 2017) and a bias for how frequent it is.
#[derive(Module, Debug)]
pub struct VocabularyHead {
    dense: Linear,
    bias: Param<Tensor<1>>,
}

impl VocabularyHead {
    /// For states of `dim` values and a `vocabulary` of so many ids. The biases start from 0.
    pub fn new(init: &mut Initialiser, dim: usize, vocabulary: usize, device: &Device) -> Self {
        VocabularyHead {
            dense: init.linear(dim, dim, true),
            bias: Param::from_tensor(Tensor::zeros([vocabulary], device)),
        }
    }

    /// States [M, dim] and the encoder's token embeddings [vocabulary, dim] to scores
    /// [M, vocabulary].
    fn forward(&self, states: Tensor<2>, tokens: Tensor<2>) -> Tensor<2> {
        let states = activation::gelu(self.dense.forward(states));
        states.matmul(tokens.transpose()) + self.bias.val().unsqueeze()
    }
}

/// The loss of masked language modelling: `states` [N, T, dim] are `encoder`'s of the masked ids.
/// A scalar, in nats, the mean over the chosen places; ln(vocabulary) where nothing is known, 0
/// where nothing was chosen.
pub fn loss(
    encoder: &Transformer,
    head: &VocabularyHead,
    states: Tensor<3>,
    masked: &Masked,
) -> Tensor<1> {
    if masked.places.is_empty() {
        return states.sum().mul_scalar(0.0);
    }
    let [lines, length, dim] = states.dims();
    let device = states.device();
    let places = integers(masked.places.iter().map(|&p| p as i32), &device);
    let states = states.reshape([lines * length, dim]).select(0, places);
    let targets = integers(masked.targets.iter().map(|&t| t as i32), &device);
    cross_entropy(head.forward(states, encoder.tokens.weight.val()), targets)
}

/// Another line for line `line` of `lines`, and whether it is the one that follows: half the time
/// it is, else it is any line. Lines that belong together must stand together, with
/// [`Tokenizer::encode_pair`](crate::tokens::Tokenizer::encode_pair) to put both into one input.
pub fn next_line(line: usize, lines: usize, rng: &mut ChaCha8Rng) -> (usize, bool) {
    let next = line + 1;
    let drawn = rng.random_range(0..lines.max(1));
    let other = if next < lines && rng.random::<bool>() {
        next
    } else {
        drawn
    };
    (other, other == next)
}

/// The loss of next-sentence prediction: `embeddings` [N, dim] of pairs of lines, a dense `head`
/// from dim to 2, and for each pair whether its second line follows its first. A scalar, in nats;
/// ln 2 where nothing is known.
pub fn next_line_loss(head: &Linear, embeddings: Tensor<2>, follows: &[bool]) -> Tensor<1> {
    let targets = integers(follows.iter().map(|&f| i32::from(f)), &embeddings.device());
    cross_entropy(head.forward(embeddings), targets)
}

fn cross_entropy(scores: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    let loss = CrossEntropyLossConfig::new().init(&scores.device());
    loss.forward(scores, targets)
}

fn integers(values: impl Iterator<Item = i32>, device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = values.collect();
    let shape = [values.len()];
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::optim::{AdamWConfig, GradientsParams};
    use std::collections::BTreeMap;

    use crate::augment::stream;
    use crate::export::values;
    use crate::network::transformer::{self, Shape};
    use crate::tokens::{CLS, PAD, SEPARATOR, Tokenizer};

    /// Lines of a toy grammar, in which a subject decides its verb and its object.
    fn grammar(count: usize) -> Vec<String> {
        let subjects = [
            "pump", "valve", "motor", "heater", "fan", "sensor", "door", "lamp",
        ];
        let verbs = [
            "pushes", "closes", "drives", "warms", "cools", "reads", "blocks", "lights",
        ];
        let objects = [
            "oil", "gas", "belts", "water", "air", "values", "halls", "rooms",
        ];
        let times = ["now", "today", "again", "often"];
        let mut rng = stream(5, 99, 0, 0);
        let line = |_| {
            let i = rng.random_range(0..8);
            let time = times[rng.random_range(0..4)];
            format!("the {} {} the {} {time}", subjects[i], verbs[i], objects[i])
        };
        (0..count).map(line).collect()
    }

    #[derive(Module, Debug)]
    struct Model {
        encoder: Transformer,
        head: VocabularyHead,
        next: Linear,
    }

    /// Trains on the toy grammar. Returns the vocabulary, the unigram entropy, the first loss, the
    /// mean of the last twenty, and the network.
    fn train(seed: u64, steps: u64) -> (usize, f32, f32, f32, Model) {
        const LENGTH: usize = 10;
        const BATCH: usize = 32;
        let lines = grammar(400);
        let tokenizer = Tokenizer::train(&lines, 200).expect("it trains");
        let encoded = lines.iter().map(|l| tokenizer.encode(l, LENGTH));
        let encoded: Vec<Vec<u32>> = encoded.map(|ids| ids.expect("it encodes")).collect();
        let vocabulary = tokenizer.vocabulary();
        let device = Device::flex().autodiff();
        let shape = Shape {
            vocabulary,
            length: LENGTH,
            dim: 32,
            heads: 2,
            depth: 2,
        };
        let mut init = Initialiser::new(stream(seed, 1, 0, 0), &device);
        let mut model = Model {
            encoder: Transformer::new(&mut init, shape, &device),
            head: VocabularyHead::new(&mut init, 32, vocabulary, &device),
            next: init.linear(32, 2, true),
        };
        let mut optimiser = AdamWConfig::new().init();
        let mut losses = Vec::new();
        for step in 0..steps {
            let mut rng = stream(seed, 3, step, 0);
            let batch: Vec<u32> = (0..BATCH)
                .flat_map(|_| &encoded[rng.random_range(0..encoded.len())])
                .copied()
                .collect();
            let masked = masked(&batch, LENGTH, vocabulary, &mut rng);
            let ids = transformer::lines(&masked.ids, LENGTH, &device);
            let states = model.encoder.forward(ids);
            let loss = loss(&model.encoder, &model.head, states, &masked);
            losses.push(loss.clone().into_scalar::<f32>());
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimiser.step(3e-3, model, gradients);
        }
        let late = &losses[losses.len().saturating_sub(20)..];
        let late = late.iter().sum::<f32>() / late.len() as f32;
        (
            vocabulary,
            entropy(&encoded),
            losses[0],
            late,
            model.valid(),
        )
    }

    /// What is known of a token from frequencies alone, in nats.
    fn entropy(lines: &[Vec<u32>]) -> f32 {
        let mut counts = BTreeMap::<u32, f32>::new();
        for &id in lines.iter().flatten().filter(|&&id| id >= FIRST) {
            *counts.entry(id).or_default() += 1.0;
        }
        let total: f32 = counts.values().sum();
        counts.values().map(|n| -n / total * (n / total).ln()).sum()
    }

    #[test]
    fn training_beats_frequencies() {
        let (vocabulary, unigram, first, late, _) = train(11, 200);
        let nothing = (vocabulary as f32).ln();
        assert!((first - nothing).abs() < 0.3, "{first} {nothing}");
        assert!(late < 0.8 * unigram, "{late} {unigram}");
    }

    #[test]
    fn the_same_seed_trains_the_same_network() {
        let bytes = |model: Model| {
            let mut all = values(model.encoder.tokens.weight.val());
            all.extend(values(model.head.bias.val()));
            all.iter()
                .flat_map(|v| v.to_le_bytes())
                .collect::<Vec<u8>>()
        };
        let [a, b, c] = [3, 3, 4].map(|seed| bytes(train(seed, 5).4));
        assert!(a == b);
        assert!(a != c);
    }

    #[test]
    fn fifteen_percent_are_chosen() {
        let line: Vec<u32> = [CLS]
            .into_iter()
            .chain((0..100).map(|i| FIRST + i % 50))
            .chain([SEPARATOR, PAD, PAD])
            .collect();
        let ids = line.repeat(200);
        let out = masked(&ids, line.len(), 55, &mut stream(1, 2, 0, 0));
        assert_eq!(out, masked(&ids, line.len(), 55, &mut stream(1, 2, 0, 0)));
        assert_eq!(out.places.len(), 200 * 15);
        let mut seen = [0usize; 3];
        for (&place, &target) in out.places.iter().zip(&out.targets) {
            assert_eq!(target, ids[place]);
            assert!(target >= FIRST);
            let now = out.ids[place];
            seen[if now == MASK {
                0
            } else {
                usize::from(now == target) + 1
            }] += 1;
        }
        let part = seen.map(|n| n as f32 / out.places.len() as f32);
        for (part, expected) in part.into_iter().zip([0.8, 0.1, 0.1]) {
            assert!((part - expected).abs() < 0.03, "{seen:?}");
        }
        let changed = (0..ids.len()).filter(|&i| ids[i] != out.ids[i]);
        assert!(
            changed
                .into_iter()
                .all(|i| out.places.binary_search(&i).is_ok())
        );
        // Nothing to choose from is nothing chosen, and costs nothing.
        let empty = masked(&[CLS, SEPARATOR, PAD], 3, 55, &mut stream(1, 2, 0, 0));
        assert!(empty.places.is_empty());
    }

    #[test]
    fn nothing_chosen_costs_nothing() {
        let device = Device::flex().autodiff();
        let (_, _, _, _, model) = train(1, 1);
        let none = masked(&[CLS, SEPARATOR, PAD], 3, 50, &mut stream(1, 2, 0, 0));
        let states = Tensor::<3>::ones([1, 3, 32], &device).require_grad();
        let loss = loss(&model.encoder, &model.head, states, &none);
        assert_eq!(loss.clone().into_scalar::<f32>(), 0.0);
        loss.backward();
    }

    #[test]
    fn half_of_the_lines_follow() {
        let mut rng = stream(1, 2, 0, 0);
        let drawn = (0..2000).map(|i| (i % 100, next_line(i % 100, 100, &mut rng)));
        let mut right = 0;
        for (line, (other, follows)) in drawn {
            assert!(other < 100);
            assert_eq!(follows, other == line + 1);
            right += usize::from(follows);
        }
        assert!((900..1100).contains(&right), "{right}");
        assert_eq!(next_line(0, 1, &mut rng), (0, false));
        let (_, _, _, _, model) = train(1, 1);
        let embeddings = Tensor::zeros([4, 32], &Device::flex());
        let loss = next_line_loss(&model.next, embeddings, &[true, false, true, false]);
        assert!((loss.into_scalar::<f32>() - 2f32.ln()).abs() < 0.1);
    }
}
