//! What is known of every tensor before anything runs: its shape, and its value where that does
//! not depend on the input.

use std::collections::{HashMap, HashSet};

use anyhow::Context;
use tract_onnx::pb::{GraphProto, ModelProto, TensorProto, ValueInfoProto};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::{Factoid, InferenceModelExt};
use tract_onnx::tract_hir::internal::{DimLike, Framework};

use headstart::onnx::guarded;

/// Of one tensor at one size of the input.
#[derive(Clone, Debug, Default)]
pub struct Fact {
    /// With the batch, where all of it is known.
    pub shape: Option<Vec<usize>>,
    /// Where it is a small constant.
    pub value: Option<Arc<Tensor>>,
}

/// What the importer does not compute with: half a gibibyte of floats.
const LARGEST: usize = 1 << 27;

/// Values of a tensor that a node makes of its size alone. A file of some bytes can ask for many of
/// them, and each is copied several times before it is known whether anything reads it.
const MADE: usize = 1 << 24;

/// A tensor that would not fit.
#[derive(Debug, thiserror::Error)]
#[error(
    "its tensor `{0}` would have {1} values, more than the {2} that are computed with: choose smaller sizes with --shape, or the file is damaged"
)]
pub struct TooLarge(String, u128, usize);

/// Stored sizes that a node makes a tensor of. The runtime would take the memory before anybody
/// could ask how much it is.
fn within_limits(model: &ModelProto) -> Result<(), TooLarge> {
    let graph = model.graph.iter();
    let stored: HashMap<&str, &TensorProto> = graph
        .clone()
        .flat_map(|g| &g.initializer)
        .map(|t| (t.name.as_str(), t))
        .collect();
    for node in graph.flat_map(|g| &g.node) {
        let sizes = match node.op_type.as_str() {
            "ConstantOfShape" => node.input.first(),
            "Expand" | "Tile" => node.input.get(1),
            // From, to, step.
            "Range" => node.input.get(1),
            _ => continue,
        };
        let Some(sizes) = sizes.and_then(|s| stored.get(s.as_str())) else {
            continue;
        };
        let (_, sizes) = crate::graph::floats(sizes).unwrap_or_default();
        let values = sizes.iter().fold(1.0, |n, d| n * f64::from(d.max(1.0)));
        if values > MADE as f64 {
            let output = node.output.first().cloned().unwrap_or_default();
            return Err(TooLarge(output, values as u128, MADE));
        }
    }
    Ok(())
}

/// Numbers in a constant that is looked at.
const SMALL: usize = 4096;

/// The facts by name, for an input of `shape` (batch included).
pub fn facts(model: &ModelProto, shape: &[usize]) -> anyhow::Result<HashMap<String, Fact>> {
    within_limits(model)?;
    let found = guarded(|| -> anyhow::Result<_> {
        let parsed = framework().parse(model, None)?;
        let mut graph = parsed.model;
        let source = graph.input_outlets()?.first().copied();
        let source = source.context("the graph has no input")?;
        let datum = graph.outlet_fact(source)?.datum_type.concretize();
        let fact = datum.unwrap_or(f32::datum_type()).fact(shape);
        graph.set_outlet_fact(source, fact.into())?;
        // What one node does not tell, others still may.
        let _ = graph.analyse(true);
        let known = parsed.outlets_by_name.into_iter().map(|(name, outlet)| {
            let fact = graph.outlet_fact(outlet);
            let dims = fact.as_ref().ok().and_then(|f| f.shape.concretize());
            let shape = dims.and_then(|d| d.iter().map(|d| d.to_usize().ok()).collect());
            // Weights are values too, and would be held once more.
            let value = fact.ok().and_then(|f| f.value.concretize());
            let value = value.filter(|v| v.len() <= SMALL);
            (name, Fact { shape, value })
        });
        Ok(known.collect::<HashMap<String, Fact>>())
    })?;
    let values = |f: &Fact| {
        let sizes = f.shape.iter().flatten();
        // Sides beside one of none are multiplied by themselves, too.
        sizes.fold(1u128, |n, &d| n.saturating_mul(d.max(1) as u128))
    };
    let sizes = found.iter().map(|(name, fact)| (name, values(fact)));
    match sizes.max_by_key(|(_, values)| *values) {
        Some((name, values)) if values > LARGEST as u128 => {
            Err(TooLarge(name.clone(), values, LARGEST).into())
        }
        _ => Ok(found),
    }
}

/// tract as it reads somebody else's files.
pub fn framework() -> tract_onnx::Onnx {
    let mut onnx = headstart::onnx::framework();
    // Control flow never becomes part of an encoder. Where it stands in the head, its graphs need
    // not be understood.
    for operator in FLOW {
        onnx.op_register.0.remove(operator);
    }
    onnx
}

const FLOW: [&str; 3] = ["If", "Loop", "Scan"];

/// Whether tract knows an operator by its name.
pub fn known(operator: &str) -> bool {
    thread_local! {
        static NAMES: HashSet<String> =
            framework().op_register.0.keys().cloned().collect();
    }
    NAMES.with(|names| names.contains(operator))
}

/// Works out tensors that depend on stored ones alone.
pub fn evaluate(model: &ModelProto, names: &[String]) -> Vec<Option<Tensor>> {
    let wanted: HashSet<&str> = names.iter().map(String::as_str).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let all = || -> anyhow::Result<Vec<Option<Tensor>>> {
        let graph = model.graph.as_ref().context("no graph")?;
        let mut part = GraphProto {
            name: "constants".into(),
            ..Default::default()
        };
        let mut needed = wanted.clone();
        for node in graph.node.iter().rev() {
            if node.output.iter().any(|o| needed.contains(o.as_str())) {
                needed.extend(node.input.iter().map(String::as_str));
                part.node.push(node.clone());
            }
        }
        part.node.reverse();
        let stored = graph.initializer.iter();
        part.initializer = stored
            .filter(|t| needed.contains(t.name.as_str()))
            .cloned()
            .collect();
        let output = |name: &String| ValueInfoProto {
            name: name.clone(),
            ..Default::default()
        };
        part.output = names.iter().map(output).collect();
        let part = ModelProto {
            graph: Some(part),
            opset_import: model.opset_import.clone(),
            ir_version: model.ir_version,
            ..Default::default()
        };
        let runnable = framework()
            .model_for_proto_model(&part)?
            .into_optimized()?
            .into_runnable()?;
        let found = runnable.run(tvec!())?;
        Ok(found.into_iter().map(|v| Some(v.into_tensor())).collect())
    };
    guarded(all).unwrap_or_else(|_| vec![None; names.len()])
}
