//! The same graph with less in it: constants worked out, batch norm folded, what training left
//! behind taken out, floats of 32 bits, the operators of quantised files written as
//! QuantizeLinear and DequantizeLinear around float ones.

use std::collections::{BTreeMap, HashMap, HashSet};

use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, tensor_proto::DataType,
};
use tract_onnx::prelude::{DatumType, Tensor};

use super::facts::{self, Fact};
use super::{norms, quantised, tensor};

/// What was done, for the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tidied {
    /// Tensors that were computed from stored ones, or from a shape that is fixed.
    pub constants: usize,
    /// Batch norms that became part of the layer before them.
    pub batch_norms: usize,
    /// Dropout, Identity and casts that change nothing.
    pub removed: usize,
    /// Tensors of 16- or 64-bit floats.
    pub widened: usize,
    /// Quantised operators that are now written as float ones between Q and DQ.
    pub quantised: usize,
}

/// A graph that contradicts itself.
#[derive(Debug, thiserror::Error)]
pub enum GraphFault {
    /// Cut short, or damaged.
    #[error(
        "node `{node}` reads `{input}`, which nothing writes: the file was cut short or is damaged"
    )]
    Unwritten {
        /// The node's name, or its first output's.
        node: String,
        /// What it reads.
        input: String,
    },
    /// A loop without a Loop.
    #[error("its nodes read each other in a circle: the file is damaged")]
    Circle,
    /// One name for two things.
    #[error("two nodes write `{0}`: the file is damaged")]
    Twice(String),
}

/// Constant nodes become stored tensors, and nodes come in the order in which they can run.
pub fn order(graph: &mut GraphProto) -> Result<(), GraphFault> {
    let nodes = std::mem::take(&mut graph.node);
    let (constants, nodes): (Vec<_>, Vec<_>) = nodes.into_iter().partition(is_constant);
    for node in &constants {
        graph.initializer.extend(stored(node));
    }
    let mut ready: HashSet<String> = graph.initializer.iter().map(|t| t.name.clone()).collect();
    ready.extend(graph.input.iter().map(|i| i.name.clone()));
    ready.insert(String::new());
    let mut written = ready.clone();
    for name in nodes.iter().flat_map(|n| &n.output) {
        if !name.is_empty() && !written.insert(name.clone()) {
            return Err(GraphFault::Twice(name.clone()));
        }
    }
    for node in &nodes {
        if let Some(input) = reads(node).into_iter().find(|i| !written.contains(*i)) {
            return Err(GraphFault::Unwritten {
                node: name_of(node).into(),
                input: input.into(),
            });
        }
    }
    graph.node = sorted(nodes)?;
    Ok(())
}

/// Writers before readers, and as the file has them where that is open.
fn sorted(nodes: Vec<NodeProto>) -> Result<Vec<NodeProto>, GraphFault> {
    let writers: HashMap<&str, usize> = nodes
        .iter()
        .enumerate()
        .flat_map(|(at, n)| n.output.iter().map(move |o| (o.as_str(), at)))
        .filter(|(name, _)| !name.is_empty())
        .collect();
    let before = |node: &NodeProto| -> Vec<usize> {
        let inputs = reads(node).into_iter().rev();
        inputs.filter_map(|i| writers.get(i).copied()).collect()
    };
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut state = vec![State::New; nodes.len()];
    let mut order = Vec::with_capacity(nodes.len());
    // A stack of its own: a chain may be longer than the thread's stack is deep.
    let mut stack = Vec::new();
    for first in 0..nodes.len() {
        stack.push(first);
        while let Some(&at) = stack.last() {
            if state[at] == State::New {
                state[at] = State::Open;
                for needed in before(&nodes[at]) {
                    match state[needed] {
                        State::New => stack.push(needed),
                        State::Open => return Err(GraphFault::Circle),
                        State::Done => {}
                    }
                }
                continue;
            }
            stack.pop();
            if state[at] == State::Open {
                state[at] = State::Done;
                order.push(at);
            }
        }
    }
    let mut nodes: Vec<Option<NodeProto>> = nodes.into_iter().map(Some).collect();
    Ok(order
        .into_iter()
        .filter_map(|at| nodes[at].take())
        .collect())
}

/// A Constant node whose value is a tensor of numbers.
fn is_constant(node: &NodeProto) -> bool {
    node.op_type == "Constant" && stored(node).is_some()
}

fn stored(node: &NodeProto) -> Option<TensorProto> {
    let name = node.output.first()?;
    let attribute = node.attribute.first()?;
    let list = |values: &[f32]| tensor::of_floats(name, &[values.len() as i64], values);
    Some(match attribute.name.as_str() {
        "value" => TensorProto {
            name: name.clone(),
            ..attribute.t.clone()?
        },
        "value_float" => tensor::of_floats(name, &[], &[attribute.f]),
        "value_floats" => list(&attribute.floats),
        "value_int" => tensor::of_ints(name, &[], &[attribute.i]),
        "value_ints" => tensor::of_ints(name, &[attribute.ints.len() as i64], &attribute.ints),
        _ => return None,
    })
}

/// What a node reads, from inside the graphs of an If or a Loop too. Names that such a graph
/// writes itself are left out.
pub fn reads(node: &NodeProto) -> Vec<&str> {
    let mut names: Vec<&str> = node.input.iter().map(String::as_str).collect();
    for graph in inner(node) {
        let own: HashSet<&str> = graph
            .node
            .iter()
            .flat_map(|n| &n.output)
            .chain(graph.initializer.iter().map(|t| &t.name))
            .chain(graph.input.iter().map(|i| &i.name))
            .map(String::as_str)
            .collect();
        let outside = graph.node.iter().flat_map(reads);
        names.extend(outside.filter(|n| !own.contains(n)));
    }
    names
}

/// The graphs that a node with control flow holds.
pub fn inner(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    let graphs = |a: &'_ AttributeProto| a.g.is_some() || !a.graphs.is_empty();
    let attributes = node.attribute.iter().filter(move |a| graphs(a));
    attributes.flat_map(|a| a.g.iter().chain(&a.graphs))
}

/// A node's name, or its first output's.
pub fn name_of(node: &NodeProto) -> &str {
    match node.name.is_empty() {
        true => node.output.first().map_or("", |o| o),
        false => &node.name,
    }
}

/// A graph being tidied: names that went away lead to those that stand for them.
pub struct Tidy<'m> {
    model: &'m mut ModelProto,
    /// What was done.
    pub done: Tidied,
    /// Old names and the names that hold the same values.
    pub renamed: HashMap<String, String>,
}

impl<'m> Tidy<'m> {
    /// Begins with a graph in running order.
    pub fn new(model: &'m mut ModelProto) -> Self {
        Tidy {
            model,
            done: Tidied::default(),
            renamed: HashMap::new(),
        }
    }

    fn graph(&mut self) -> &mut GraphProto {
        self.model.graph.get_or_insert_default()
    }

    /// All steps that do not need shapes.
    ///
    /// `wanted` is a tensor that stays, whatever could be folded over it.
    pub fn run(&mut self, wanted: Option<&str>) {
        self.widen();
        self.done.quantised = quantised::to_float(self.graph());
        self.remove_leftovers();
        self.done.batch_norms = norms::fold(self.graph(), wanted);
    }

    /// Floats of 16 and 64 bits become 32, stored ones and computed ones.
    fn widen(&mut self) {
        let graph = self.graph();
        let constants = graph.node.iter_mut().flat_map(|n| &mut n.attribute);
        let constants = constants.filter_map(|a| a.t.as_mut());
        let mut widened = 0;
        for stored in graph.initializer.iter_mut().chain(constants) {
            if tensor::is_other_float(stored.data_type) {
                tensor::widen(stored);
                widened += 1;
            }
        }
        for node in graph.node.iter_mut().filter(|n| n.op_type == "Cast") {
            let to = node.attribute.iter_mut().filter(|a| a.name == "to");
            for to in to.filter(|a| tensor::is_other_float(a.i as i32)) {
                to.i = DataType::Float as i64;
            }
        }
        use tract_onnx::pb::type_proto::Value::TensorType;
        for value in graph.input.iter_mut().chain(&mut graph.output) {
            let kind = value.r#type.as_mut().and_then(|t| t.value.as_mut());
            if let Some(TensorType(kind)) = kind
                && tensor::is_other_float(kind.elem_type)
            {
                kind.elem_type = DataType::Float as i32;
                widened += 1;
            }
        }
        self.done.widened = widened;
    }

    /// Dropout, Identity, and casts of floats to floats.
    fn remove_leftovers(&mut self) {
        let outputs: HashSet<String> = self.graph().output.iter().map(|o| o.name.clone()).collect();
        let (floats, uses) = (self.floats(), uses(self.graph()));
        let mut gone: HashMap<String, String> = HashMap::new();
        let mut removed = 0;
        let mut kept = Vec::new();
        for mut node in std::mem::take(&mut self.graph().node) {
            for input in &mut node.input {
                if let Some(name) = gone.get(input) {
                    input.clone_from(name);
                }
            }
            let mask = node.output.get(1).is_some_and(|m| uses.contains_key(m));
            let same = match node.op_type.as_str() {
                "Identity" => true,
                "Dropout" => !mask,
                "Cast" => {
                    let float = node
                        .attribute
                        .iter()
                        .any(|a| a.name == "to" && a.i == DataType::Float as i64);
                    float && node.input.first().is_some_and(|i| floats.contains(i))
                }
                _ => false,
            };
            match (node.input.first(), node.output.first()) {
                (Some(input), Some(output)) if same && !outputs.contains(output) => {
                    gone.insert(output.clone(), input.clone());
                    removed += 1;
                }
                _ => kept.push(node),
            }
        }
        self.graph().node = kept;
        self.renamed.extend(gone);
        self.done.removed = removed;
    }

    /// Names that certainly hold floats: outputs of what computes in floats only.
    fn floats(&self) -> HashSet<String> {
        let graph = self.model.graph.iter();
        let computes = |n: &&NodeProto| {
            matches!(
                n.op_type.as_str(),
                "Conv"
                    | "Gemm"
                    | "Relu"
                    | "BatchNormalization"
                    | "GlobalAveragePool"
                    | "Softmax"
                    | "AveragePool"
                    | "DequantizeLinear"
                    | "Sigmoid"
                    | "LayerNormalization"
            )
        };
        let nodes = graph.flat_map(|g| g.node.iter().filter(computes));
        nodes.flat_map(|n| n.output.iter().cloned()).collect()
    }

    /// Works out what does not depend on the input, and reshapes that a fixed input fixes. `own`
    /// are the facts at the file's own batch, `others` at two more; `free` makes reshapes keep
    /// whatever batch there is.
    pub fn fold_constants(
        &mut self,
        own: &HashMap<String, Fact>,
        others: [&HashMap<String, Fact>; 2],
        free: bool,
    ) {
        let stored = &self.graph().initializer;
        let mut constant: HashSet<String> = stored.iter().map(|t| t.name.clone()).collect();
        let mut frontier = Vec::new();
        for node in &self.graph().node {
            let keep = matches!(node.op_type.as_str(), "DequantizeLinear" | "Constant")
                || node.op_type.starts_with("Random")
                || !facts::known(&node.op_type);
            let known = !node.input.is_empty()
                && reads(node)
                    .iter()
                    .all(|i| i.is_empty() || constant.contains(*i));
            if known && !keep {
                constant.extend(node.output.iter().cloned());
                frontier.extend(node.output.iter().filter(|o| !o.is_empty()).cloned());
            }
        }
        let values = facts::evaluate(self.model, &frontier);
        let mut found: BTreeMap<String, TensorProto> = frontier
            .iter()
            .zip(values)
            .filter_map(|(name, value)| Some((name.clone(), to_proto(name, &value?)?)))
            .collect();
        // Sizes of the input, at any batch the same. Stored integers stay small.
        let nodes = self.graph().node.iter();
        let computed = nodes.filter(|n| n.op_type != "DequantizeLinear");
        for name in computed.flat_map(|n| &n.output) {
            let value = |facts: &HashMap<String, Fact>| facts.get(name)?.value.clone();
            let (Some(a), Some(b)) = (value(others[0]), value(others[1])) else {
                continue;
            };
            if a == b
                && !found.contains_key(name)
                && let Some(proto) = to_proto(name, &a)
            {
                found.insert(name.clone(), proto);
            }
        }
        let graph = self.graph();
        let mut gone = HashSet::new();
        graph.node.retain(|n| {
            let outputs = || n.output.iter().filter(|o| !o.is_empty());
            let worked_out = outputs().all(|o| found.contains_key(o));
            if worked_out {
                gone.extend(outputs().cloned());
            }
            !worked_out
        });
        // What a node with several outputs still writes is not stored as well.
        found.retain(|name, _| gone.contains(name));
        let constants = found.len();
        graph.initializer.extend(found.into_values());
        self.done.constants = constants;
        if free {
            self.fix_reshapes(own);
        }
    }

    /// A reshape that keeps the batch says so with a 0, and its other sides are numbers.
    fn fix_reshapes(&mut self, own: &HashMap<String, Fact>) {
        let graph = self.graph();
        let mut targets = Vec::new();
        for node in graph.node.iter_mut().filter(|n| n.op_type == "Reshape") {
            let shape = |name: Option<&String>| own.get(name?)?.shape.clone();
            let (Some(from), Some(to)) = (shape(node.input.first()), shape(node.output.first()))
            else {
                continue;
            };
            let (Some(batch), Some((same, rest))) = (from.first(), to.split_first()) else {
                continue;
            };
            if batch != same || node.input.len() != 2 || rest.is_empty() {
                continue;
            }
            let name = format!("{}.target", name_of(node));
            let sides: Vec<i64> = std::iter::once(0)
                .chain(rest.iter().map(|&d| d as i64))
                .collect();
            targets.push(tensor::of_ints(&name, &[sides.len() as i64], &sides));
            node.input[1] = name;
            node.attribute.retain(|a| a.name != "allowzero");
        }
        graph.initializer.extend(targets);
    }
}

/// How often each name is read, the graph's outputs included.
pub fn uses(graph: &GraphProto) -> HashMap<String, usize> {
    let mut uses = HashMap::new();
    let read = graph.node.iter().flat_map(reads);
    for name in read.chain(graph.output.iter().map(|o| o.name.as_str())) {
        *uses.entry(name.to_owned()).or_default() += 1;
    }
    uses
}

/// Takes out what the outputs do not need.
pub fn prune(graph: &mut GraphProto) {
    let mut needed: HashSet<String> = graph.output.iter().map(|o| o.name.clone()).collect();
    let mut kept = Vec::new();
    for node in std::mem::take(&mut graph.node).into_iter().rev() {
        if node.output.iter().any(|o| needed.contains(o)) {
            needed.extend(reads(&node).into_iter().map(str::to_owned));
            kept.push(node);
        }
    }
    kept.reverse();
    graph.node = kept;
    // Old files list stored tensors among the inputs.
    let stored: HashSet<&String> = graph.initializer.iter().map(|t| &t.name).collect();
    graph.input.retain(|i| !stored.contains(&i.name));
    graph.initializer.retain(|t| needed.contains(&t.name));
    graph.value_info.clear();
    graph
        .sparse_initializer
        .retain(|s| s.values.as_ref().is_some_and(|v| needed.contains(&v.name)));
}

/// A stored tensor of what tract worked out; `None` for types that graphs here do not need.
fn to_proto(name: &str, value: &Tensor) -> Option<TensorProto> {
    let dims: Vec<i64> = value.shape().iter().map(|&d| d as i64).collect();
    let view = value.try_as_plain_ram().ok()?;
    Some(match value.datum_type() {
        DatumType::F32 => tensor::of_floats(name, &dims, view.as_slice::<f32>().ok()?),
        DatumType::I64 => tensor::of_ints(name, &dims, view.as_slice::<i64>().ok()?),
        DatumType::TDim => {
            let cast = value.cast_to::<i64>().ok()?;
            let view = cast.try_as_plain_ram().ok()?;
            tensor::of_ints(name, &dims, view.as_slice::<i64>().ok()?)
        }
        DatumType::I32 => TensorProto {
            name: name.into(),
            dims,
            data_type: DataType::Int32 as i32,
            int32_data: view.as_slice::<i32>().ok()?.to_vec(),
            ..Default::default()
        },
        DatumType::Bool => TensorProto {
            name: name.into(),
            dims,
            data_type: DataType::Bool as i32,
            int32_data: view
                .as_slice::<bool>()
                .ok()?
                .iter()
                .map(|&b| b.into())
                .collect(),
            ..Default::default()
        },
        _ => return None,
    })
}
