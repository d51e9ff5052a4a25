//! The graph up to the embedding, with the names and the shape that every encoder file has.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{
    AttributeProto, GraphProto, NodeProto, TensorShapeProto, TypeProto, ValueInfoProto,
    attribute_proto::AttributeType, tensor_proto::DataType, tensor_shape_proto, type_proto,
};

use super::{tensor, tidy};

/// How a map or tokens become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Pool {
    /// The mean over height and width, or over tokens
    Mean,
    /// The first token, as transformers with a class token have it
    Cls,
}

/// Where the channels of a map are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// [channels, height, width], as convolutions have them.
    First,
    /// [height, width, channels], and [tokens, channels].
    Last,
}

/// Cuts `graph` behind `embedding`, pools it where asked and names input and output; returns the
/// operators that were cut off.
pub fn cut(
    graph: &mut GraphProto,
    embedding: &str,
    shape: &[usize],
    pool: Option<(Pool, Layout)>,
) -> Vec<String> {
    graph.output = vec![ValueInfoProto {
        name: embedding.into(),
        ..Default::default()
    }];
    let last = match pool {
        None if shape.len() == 1 => embedding.to_owned(),
        None => flatten(graph, embedding),
        Some((Pool::Mean, Layout::First)) => {
            let pooled = node(
                graph,
                "GlobalAveragePool",
                &[embedding],
                "headstart.pooled",
                vec![],
            );
            flatten(graph, &pooled)
        }
        Some((Pool::Mean, Layout::Last)) => {
            // Means over axes are written in other ways in other opsets; this is one in all.
            let places = 1..shape.len() as i64;
            let order = [0, shape.len() as i64].into_iter().chain(places);
            let order = ints("perm", &order.collect::<Vec<_>>());
            let moved = node(
                graph,
                "Transpose",
                &[embedding],
                "headstart.moved",
                vec![order],
            );
            let pooled = node(
                graph,
                "GlobalAveragePool",
                &[&moved],
                "headstart.pooled",
                vec![],
            );
            flatten(graph, &pooled)
        }
        Some((Pool::Cls, _)) => {
            graph
                .initializer
                .push(tensor::of_ints("headstart.first", &[], &[0]));
            let inputs = [embedding, "headstart.first"];
            node(
                graph,
                "Gather",
                &inputs,
                "headstart.pooled",
                vec![int("axis", 1)],
            )
        }
    };
    graph.output[0].name = last.clone();
    let key = |n: &NodeProto| (n.op_type.clone(), n.output.first().cloned());
    let before: Vec<_> = graph.node.iter().map(key).collect();
    tidy::prune(graph);
    let kept: HashSet<_> = graph.node.iter().map(key).collect();
    let gone = before.into_iter().filter(|n| !kept.contains(n));
    let gone = gone.map(|(operator, _)| operator).collect();
    let input = graph
        .input
        .first()
        .map_or(String::new(), |i| i.name.clone());
    rename(graph, &[(&input, "input"), (&last, "embedding")]);
    gone
}

/// Values of `shape` behind the batch, all in one dimension.
fn flatten(graph: &mut GraphProto, input: &str) -> String {
    node(
        graph,
        "Flatten",
        &[input],
        "headstart.flat",
        vec![int("axis", 1)],
    )
}

fn node(
    graph: &mut GraphProto,
    operator: &str,
    inputs: &[&str],
    output: &str,
    attribute: Vec<AttributeProto>,
) -> String {
    graph.node.push(NodeProto {
        name: output.into(),
        op_type: operator.into(),
        input: inputs.iter().map(|i| i.to_string()).collect(),
        output: vec![output.into()],
        attribute,
        ..Default::default()
    });
    output.into()
}

/// Gives tensors new names; what had those before gets another.
fn rename(graph: &mut GraphProto, names: &[(&str, &str)]) {
    let mut new: HashMap<String, String> = HashMap::new();
    for &(old, wanted) in names {
        if old != wanted {
            new.insert(wanted.into(), format!("{wanted}.before"));
        }
    }
    for &(old, wanted) in names {
        new.insert(old.into(), wanted.into());
    }
    let change = |name: &mut String| {
        if let Some(found) = new.get(name) {
            name.clone_from(found);
        }
    };
    for node in &mut graph.node {
        node.input
            .iter_mut()
            .chain(&mut node.output)
            .for_each(change);
    }
    graph
        .initializer
        .iter_mut()
        .for_each(|t| change(&mut t.name));
    graph
        .input
        .iter_mut()
        .chain(&mut graph.output)
        .for_each(|v| change(&mut v.name));
}

/// A float tensor of `sizes`; without a fixed batch that is `N`.
pub fn value(name: &str, batch: Option<usize>, sizes: &[usize]) -> ValueInfoProto {
    use tensor_shape_proto::{Dimension, dimension::Value};
    let batch = batch.map_or(Value::DimParam("N".into()), |b| Value::DimValue(b as i64));
    let fixed = sizes.iter().map(|&d| Value::DimValue(d as i64));
    let dim = std::iter::once(batch).chain(fixed).map(|v| Dimension {
        value: Some(v),
        ..Default::default()
    });
    let tensor = type_proto::Tensor {
        elem_type: DataType::Float as i32,
        shape: Some(TensorShapeProto { dim: dim.collect() }),
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

pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Int as i32,
        i: value,
        ..Default::default()
    }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Ints as i32,
        ints: values.to_vec(),
        ..Default::default()
    }
}

impl Layout {
    /// How many channels a map or tokens of `shape`, without the batch, have.
    pub fn channels(self, shape: &[usize]) -> usize {
        let channels = match self {
            Layout::First => shape.first(),
            Layout::Last => shape.last(),
        };
        channels.copied().unwrap_or(1)
    }
}

/// Where the channels of the map or of the tokens `name` are, by what they were computed with.
pub fn layout(pool: Pool, graph: &GraphProto, name: &str) -> Layout {
    if pool == Pool::Cls {
        return Layout::Last;
    }
    let mut known: HashMap<&str, Layout> = HashMap::new();
    for node in &graph.node {
        let mut inputs = node
            .input
            .iter()
            .filter_map(|i| known.get(i.as_str()).copied());
        let found = match node.op_type.as_str() {
            "Conv"
            | "ConvTranspose"
            | "MaxPool"
            | "AveragePool"
            | "BatchNormalization"
            | "InstanceNormalization" => Layout::First,
            "MatMul" | "Gemm" | "LayerNormalization" | "LSTM" | "GRU" => Layout::Last,
            // Sizes have no channels, and what is expanded to them has its own.
            "Shape" => continue,
            "Transpose" => moved(node, inputs.next().unwrap_or(Layout::First)),
            _ => match inputs.next() {
                Some(layout) => layout,
                None => continue,
            },
        };
        known.extend(node.output.iter().map(|o| (o.as_str(), found)));
    }
    known.get(name).copied().unwrap_or(Layout::First)
}

/// Where a Transpose moves the channels to.
fn moved(node: &NodeProto, from: Layout) -> Layout {
    let order = node.attribute.iter().find(|a| a.name == "perm");
    let order = order.map_or(&[][..], |a| &a.ints);
    let channels = match from {
        Layout::First => 1,
        Layout::Last => order.len() as i64 - 1,
    };
    match order.iter().position(|&d| d == channels) {
        Some(1) => Layout::First,
        _ => Layout::Last,
    }
}
