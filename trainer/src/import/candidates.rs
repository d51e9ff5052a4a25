//! Where the head begins: tensors that everything behind them is computed from, the likeliest
//! embedding first.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use super::facts::Fact;
use super::tidy;

/// A tensor that could be the embedding.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// Its name in the file.
    pub name: String,
    /// Without the batch.
    pub shape: Vec<usize>,
    /// Values, before any pooling.
    pub values: usize,
    /// Multiply-accumulates of what leads to it, for one input.
    pub macs: u64,
    /// Numbers stored for what leads to it.
    pub parameters: u64,
    /// What it is, in words.
    pub why: &'static str,
    /// Height and width, or tokens: it takes --pool.
    pub pooled: bool,
}

/// The graph with what is known of it.
pub struct View<'g> {
    graph: &'g GraphProto,
    facts: &'g HashMap<String, Fact>,
    input: &'g str,
    writer: HashMap<&'g str, &'g NodeProto>,
    readers: HashMap<&'g str, Vec<&'g NodeProto>>,
    /// Tensors that were only moved, to what something more than moving made.
    made: HashMap<&'g str, &'g str>,
    /// Tensors that depend on the input, to the tensor that all their paths come through last.
    through: HashMap<&'g str, (&'g str, usize)>,
}

/// Candidates of which the cost is worked out.
const LOOKED_AT: usize = 32;

/// The operators that only move, name or quantise values.
const MOVES: [&str; 12] = [
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Identity",
    "Dropout",
    "Cast",
    "QuantizeLinear",
    "DequantizeLinear",
    "Gather",
    "Slice",
];
const POOLS: [&str; 6] = [
    "GlobalAveragePool",
    "GlobalMaxPool",
    "AveragePool",
    "ReduceMean",
    "ReduceMax",
    "MaxPool",
];
const WEIGHTED: [&str; 4] = ["Gemm", "MatMul", "Conv", "ConvTranspose"];
/// A bias, or an activation.
const GOES_ON: [&str; 11] = [
    "Add",
    "Relu",
    "LeakyRelu",
    "PRelu",
    "Clip",
    "HardSwish",
    "HardSigmoid",
    "Tanh",
    "Elu",
    "Gelu",
    "BatchNormalization",
];
/// What stands behind a classifier's scores.
const VERDICTS: [&str; 6] = [
    "Softmax",
    "LogSoftmax",
    "Sigmoid",
    "ArgMax",
    "HardSigmoid",
    "TopK",
];
/// What stands between a vector's length and the division by it.
const LENGTHS: [&str; 8] = [
    "Clip",
    "Max",
    "Add",
    "Expand",
    "Unsqueeze",
    "Identity",
    "Sqrt",
    "Pow",
];

impl<'g> View<'g> {
    /// Looks at a graph in running order.
    pub fn new(graph: &'g GraphProto, facts: &'g HashMap<String, Fact>, input: &'g str) -> Self {
        let mut view = View {
            graph,
            facts,
            input,
            writer: HashMap::new(),
            readers: HashMap::new(),
            made: HashMap::from([(input, input)]),
            through: HashMap::from([(input, (input, 0))]),
        };
        for node in &graph.node {
            for input in &node.input {
                view.readers.entry(input).or_default().push(node);
            }
            let before: Vec<&str> = tidy::reads(node)
                .into_iter()
                .filter_map(|i| view.through.get_key_value(i).map(|(k, _)| *k))
                .collect();
            let Some(last) = view.common(&before) else {
                continue;
            };
            let depth = view.through.get(last).map_or(0, |(_, d)| d + 1);
            let moved = node
                .input
                .first()
                .filter(|_| MOVES.contains(&node.op_type.as_str()));
            let moved = moved.and_then(|i| view.made.get(i.as_str()).copied());
            for output in node.output.iter().filter(|o| !o.is_empty()) {
                view.made.insert(output, moved.unwrap_or(output));
                view.writer.insert(output, node);
                view.through.insert(output, (last, depth));
            }
        }
        view
    }

    /// The last tensor that the paths to all of these come through.
    fn common(&self, tensors: &[&'g str]) -> Option<&'g str> {
        let (&first, rest) = tensors.split_first()?;
        let mut at = first;
        for &other in rest {
            let mut other = other;
            while at != other {
                let (up_at, depth_at) = *self.through.get(at)?;
                let (up_other, depth_other) = *self.through.get(other)?;
                if depth_at >= depth_other {
                    at = up_at;
                }
                if depth_other >= depth_at {
                    other = up_other;
                }
            }
        }
        Some(at)
    }

    /// The tensors that everything behind them comes through, from the end to the input.
    fn chain(&self) -> Vec<&'g str> {
        let outputs = self.graph.output.iter().map(|o| o.name.as_str());
        let outputs: Vec<&str> = outputs.filter(|o| self.through.contains_key(o)).collect();
        let mut chain = Vec::new();
        let mut at = self.common(&outputs);
        while let Some(name) = at.filter(|&n| n != self.input) {
            chain.push(name);
            at = self.through.get(name).map(|(up, _)| *up);
        }
        chain
    }

    /// Without the batch.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let shape = self.facts.get(name)?.shape.as_ref()?;
        Some(shape.get(1..)?.to_vec()).filter(|s| !s.is_empty())
    }

    /// All values in one dimension.
    fn is_vector(&self, name: &str) -> bool {
        let shape = self.shape(name).unwrap_or_default();
        shape.iter().filter(|&&d| d > 1).count() == 1
    }

    fn operator(&self, name: &str) -> &'g str {
        self.writer.get(name).map_or("", |n| &n.op_type)
    }

    /// Whether `name` holds floats that are worth something: not a tensor of integers.
    fn is_float(&self, name: &str) -> bool {
        !matches!(
            self.operator(name),
            "QuantizeLinear"
                | "ArgMax"
                | "Shape"
                | "Size"
                | "NonMaxSuppression"
                | "TopK"
                | "DynamicQuantizeLinear"
        )
    }

    /// The first tensor upwards that something more than moving made.
    fn made_by(&self, name: &'g str) -> &'g str {
        self.made.get(name).copied().unwrap_or(name)
    }

    /// Candidates worth a look, best first.
    pub fn candidates(&self) -> Vec<Candidate> {
        let mut chain = self.chain();
        chain.retain(|&n| self.shape(n).is_some() && self.is_float(n));
        // A file that names its embedding has settled it.
        let named = self.graph.output.iter().map(|o| o.name.as_str());
        let named: Vec<&str> = named
            .filter(|o| {
                self.through.contains_key(o) && self.shape(o).is_some() && says_embedding(o)
            })
            .collect();
        let mut ranked: Vec<(u32, &'g str, &'static str)> = Vec::new();
        let mut taken = HashSet::new();
        let mut take = |rank: u32, name: &'g str, why: &'static str| {
            if taken.insert(name) {
                ranked.push((rank, name, why));
            }
        };
        for name in named {
            take(0, name, "an output that is called an embedding");
        }
        if let Some(bottleneck) = self.bottleneck(&chain) {
            take(1, bottleneck, "the narrowest layer of an autoencoder");
        }
        let normalised = chain.iter().take(6).find(|n| self.normalises(n));
        let normalised = normalised
            .and_then(|n| self.through.get(n))
            .map(|(up, _)| *up);
        if let Some(name) = normalised.filter(|n| self.is_vector(n)) {
            take(
                2,
                name,
                "a vector that is then scaled to one length, as embeddings are",
            );
        }
        let (classifier, features) = self.classifier(&chain);
        if let Some(name) = features {
            take(3, name, "what the last layer, the classifier, reads");
        }
        for (place, &name) in chain.iter().enumerate() {
            let operator = self.operator(self.made_by(name));
            let (rank, why) = match (self.is_vector(name), place) {
                _ if VERDICTS.contains(&operator) => (90, "the classes' probabilities"),
                (true, _) if Some(name) == classifier => (20, "the classes' scores"),
                (true, 0) => (4, "the output"),
                (true, _) if POOLS.contains(&operator) => {
                    (10 + place as u32, "pooled over height and width")
                }
                (true, _) if self.goes_on(name, chain[place - 1]) => continue,
                (true, _) => (30 + place as u32, "a vector on the way"),
                (false, 0) => (12, "the output"),
                (false, _) if self.ends_a_stage(name) => (60 + place as u32, "a map on the way"),
                (false, _) => continue,
            };
            take(rank, name, why);
        }
        ranked.sort_by_key(|(rank, ..)| *rank);
        // Names that hold the same values as a better one say nothing new.
        let mut seen = HashSet::new();
        let values = |name| self.shape(name).map(|s| s.iter().product::<usize>());
        ranked.retain(|(_, name, _)| seen.insert((self.made_by(name), values(name))));
        ranked.truncate(LOOKED_AT);
        let candidate = |(_, name, why)| self.candidate(name, why);
        ranked.into_iter().map(candidate).collect()
    }

    /// Whether `name` is a vector brought to one length: only embeddings need that.
    fn normalises(&self, name: &str) -> bool {
        let by = |name: &str, at: usize| Some(self.writer.get(name)?.input.get(at)?.as_str());
        let mut at = match self.operator(name) {
            "LpNormalization" => return true,
            "Div" => by(name, 1),
            _ => None,
        };
        for _ in 0..LENGTHS.len() {
            let Some(name) = at else { return false };
            match self.operator(name) {
                "ReduceL2" => return true,
                "Sqrt"
                    if by(name, 0).is_some_and(|n| self.operator(n).starts_with("ReduceSum")) =>
                {
                    return true;
                }
                operator if LENGTHS.contains(&operator) => at = by(name, 0),
                _ => return false,
            }
        }
        false
    }

    /// Whether the layer that made `name` goes on with a bias or an activation in `next`.
    fn goes_on(&self, name: &str, next: &str) -> bool {
        let writer = self.writer.get(next);
        let reads = writer.is_some_and(|n| n.input.iter().any(|i| i == name));
        let operator = self.operator(next);
        reads && (GOES_ON.contains(&operator) || MOVES.contains(&operator))
    }

    fn key(&self, name: &str) -> &'g str {
        self.through.get_key_value(name).map_or("", |(k, _)| *k)
    }

    /// Any tensor that depends on the input, by name. Of integers it is the floats that they stand
    /// for.
    pub fn chosen(&self, name: &str) -> Option<Candidate> {
        let known = self.through.contains_key(name) && self.shape(name).is_some();
        let readers = self.readers.get(name).into_iter().flatten();
        let mut floats = readers.filter(|n| n.op_type == "DequantizeLinear");
        let name = match (self.operator(name), floats.next()) {
            ("QuantizeLinear", Some(reader)) => reader.output.first()?,
            _ => name,
        };
        (known && name != self.input).then(|| self.candidate(name, "chosen"))
    }

    fn candidate(&self, name: &str, why: &'static str) -> Candidate {
        let shape = self.shape(name).unwrap_or_default();
        let (macs, parameters) = self.cost(name);
        Candidate {
            name: name.into(),
            values: shape.iter().product(),
            pooled: !self.is_vector(name) && shape.iter().product::<usize>() > 1,
            shape,
            macs,
            parameters,
            why,
        }
    }

    /// Where input and output have one shape: the narrowest vector between, as late as it stays
    /// that narrow.
    fn bottleneck(&self, chain: &[&'g str]) -> Option<&'g str> {
        let output = chain.first()?;
        if self.shape(output) != self.shape(self.input) {
            return None;
        }
        let width = |n: &&&str| self.shape(n).map_or(usize::MAX, |s| s.iter().product());
        let vectors = chain.iter().filter(|n| self.is_vector(n));
        // The first of equals, and the chain begins at the end.
        let narrowest = vectors.min_by_key(width)?;
        (2 * width(&narrowest) <= width(&output)).then_some(*narrowest)
    }

    /// The scores of a classifier at the end, and the vector that it reads.
    fn classifier(&self, chain: &[&'g str]) -> (Option<&'g str>, Option<&'g str>) {
        let verdict = chain
            .iter()
            .any(|n| VERDICTS.contains(&self.operator(n)) && self.is_last(n, chain));
        // Behind the last layer with weights there may be a bias, a move or a verdict.
        let passes = |op: &str| {
            MOVES.contains(&op) || VERDICTS.contains(&op) || matches!(op, "Add" | "Sub" | "Clip")
        };
        let last = chain.iter().position(|n| !passes(self.operator(n)));
        let Some(last) = last.filter(|&i| WEIGHTED.contains(&self.operator(chain[i]))) else {
            return (None, None);
        };
        let scores = chain[..=last]
            .iter()
            .rev()
            .take_while(|n| !VERDICTS.contains(&self.operator(n)))
            .last();
        let read = self.writer.get(chain[last]).and_then(|n| n.input.first());
        let read = read
            .map(|i| self.key(i))
            .filter(|i| self.is_vector(i) && *i != self.input && self.is_float(i));
        let pooled = read.is_some_and(|r| {
            let made = self.made_by(r);
            POOLS.contains(&self.operator(made)) || !self.is_vector(made)
        });
        // Without probabilities behind it, a layer that reads another layer's vector may as well
        // be the embedding's own.
        match verdict || pooled {
            true => (scores.copied(), read),
            false => (None, None),
        }
    }

    fn is_last(&self, name: &str, chain: &[&str]) -> bool {
        let behind = chain.iter().take_while(|n| **n != name);
        behind
            .into_iter()
            .all(|n| MOVES.contains(&self.operator(n)))
    }

    /// The last map of its height and width.
    fn ends_a_stage(&self, name: &str) -> bool {
        let area = |n: &str| self.shape(n).map(|s| s.iter().skip(1).product::<usize>());
        let readers = self.readers.get(name).into_iter().flatten();
        readers
            .flat_map(|n| &n.output)
            .all(|o| area(o) != area(name))
    }

    /// Multiply-accumulates and stored numbers of everything that `name` is computed from.
    fn cost(&self, name: &str) -> (u64, u64) {
        let size = |t: &TensorProto| super::tensor::elements(t).unwrap_or(0);
        let stored = self.graph.initializer.iter();
        let sizes: HashMap<&str, u64> = stored.map(|t| (t.name.as_str(), size(t))).collect();
        let mut needed = HashSet::from([name]);
        let (mut macs, mut stored) = (0, HashSet::new());
        for node in self.graph.node.iter().rev() {
            if !node.output.iter().any(|o| needed.contains(o.as_str())) {
                continue;
            }
            needed.extend(tidy::reads(node));
            stored.extend(node.input.iter().filter(|i| sizes.contains_key(i.as_str())));
            macs = self.macs(node).unwrap_or(0).saturating_add(macs);
        }
        let parameters = stored
            .iter()
            .filter_map(|i| sizes.get(i.as_str()))
            .fold(0u64, |sum, n| sum.saturating_add(*n));
        (macs, parameters)
    }

    fn macs(&self, node: &NodeProto) -> Option<u64> {
        if !WEIGHTED.contains(&node.op_type.as_str()) {
            return None;
        }
        let shape = |at: usize| self.facts.get(node.input.get(at)?)?.shape.clone();
        let output = self.facts.get(node.output.first()?)?.shape.clone()?;
        let product = |sides: &[usize]| sides.iter().fold(1u64, |n, &d| n.saturating_mul(d as u64));
        let batch = *output.first()?.max(&1) as u64;
        let outputs = product(&output) / batch;
        Some(match node.op_type.as_str() {
            "Conv" => outputs.saturating_mul(product(shape(1)?.get(1..)?)),
            "ConvTranspose" => {
                (product(&shape(0)?) / batch).saturating_mul(product(shape(1)?.get(1..)?))
            }
            _ => outputs.saturating_mul(*shape(0)?.last()? as u64),
        })
    }
}

/// Whether an output's name says what it is.
fn says_embedding(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["embed", "feature", "pooler", "pooled", "encoding", "latent"]
        .iter()
        .any(|word| name.contains(word))
}
