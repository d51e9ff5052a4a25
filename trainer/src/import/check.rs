//! The encoder held against its file.

use std::path::Path;

use anyhow::{Context, bail};
use headstart::onnx::Library;
use prost::Message;
use tract_onnx::pb::{GraphProto, ValueInfoProto};

use super::input::Input;
use super::verify::{self, Original, Verified};
use super::{Args, Imported, cut, graph_of, open, tidy};
use crate::encoder_file::EncoderFile;

/// Inputs that original and encoder are compared on.
const COMPARED: usize = 6;

/// Compares encoder and file; an error where they differ.
pub fn checked(
    args: &Args,
    imported: Imported,
    library: Option<&Library>,
) -> anyhow::Result<(Imported, Verified)> {
    let mut original = open::open(&args.model)?;
    let graph = original.graph.as_mut().context("it has no graph")?;
    tidy::order(graph)?;
    let input = Input::of(graph, args.sizes().as_deref())?;
    let (tensor, dequantise, step) = counterpart(graph, &imported);
    let pool = args.pool.filter(|_| imported.embedding.pooled);
    let pool = pool.map(|p| (p, cut::layout(p, graph, &tensor)));
    // The file with that tensor as its only output: what stands behind it need not run.
    graph.output = vec![ValueInfoProto {
        name: tensor,
        ..Default::default()
    }];
    tidy::prune(graph);
    let range = input.range().or(args.preprocess.range(&imported.model));
    let mut inputs = verify::random(input.values(), COMPARED, range);
    if let Some(data) = &args.check {
        inputs.extend(given(args, &imported, data)?);
    }
    let original = Original {
        model: original,
        input,
        dequantise,
        shape: imported.embedding.shape.clone(),
        pool,
    };
    let batch = imported.input.batch;
    let verified = verify::differences(original, &imported.model, batch, &inputs, library)?;
    let scale = verified.largest.max(1.0);
    let tolerance = match step {
        Some(step) => (step / scale * 1.001).max(imported.tolerance),
        None => imported.tolerance,
    };
    let worst = verified
        .differences
        .iter()
        .max_by(|a, b| a.1.total_cmp(b.1));
    if let Some((runtime, difference)) = worst.filter(|(_, d)| **d > tolerance) {
        bail!(
            "the encoder differs from the file by {difference:.1e} in {runtime}, more than {tolerance:.0e}: nothing was written"
        );
    }
    Ok((
        Imported {
            tolerance,
            ..imported
        },
        verified,
    ))
}

/// Inputs from data, as the front end makes them.
fn given(args: &Args, imported: &Imported, data: &Path) -> anyhow::Result<Vec<Vec<f32>>> {
    let mut model = imported.model.clone();
    let fed = args.preprocess.metadata(&model);
    model.metadata_props.extend(fed?);
    let bytes = model.encode_to_vec();
    drop(model);
    let encoder = EncoderFile::for_data(&bytes, data)?;
    let inputs = encoder.inputs(&crate::pack::things(&encoder, data, COMPARED)?)?;
    let values = imported.input.values();
    Ok(inputs.chunks_exact(values).map(<[f32]>::to_vec).collect())
}

/// The tensor of the file that the embedding is; integers with how to read them, and the step of
/// the last quantisation before it, which is how far two runtimes may be apart.
fn counterpart(graph: &GraphProto, imported: &Imported) -> (String, Option<[f32; 2]>, Option<f32>) {
    let name = &imported.embedding.name;
    let ours = graph_of(&imported.model);
    let written = graph.node.iter().any(|n| n.output.contains(name));
    let number = |name: Option<&String>| {
        let tensor = ours.initializer.iter().find(|t| Some(&t.name) == name)?;
        crate::graph::floats(tensor)?.1.first().copied()
    };
    // The steps of all quantisers that lead to it: a value next to a step's edge may fall on
    // either side in another runtime, and the last one decides how far that shows.
    let quantisers = ours
        .node
        .iter()
        .rev()
        .filter(|n| n.op_type == "QuantizeLinear");
    let step = quantisers.filter_map(|n| number(n.input.get(1))).next();
    let made = ours
        .node
        .iter()
        .find(|n| n.output.iter().any(|o| o == "embedding" || o == name));
    match made.filter(|n| !written && n.op_type == "DequantizeLinear") {
        Some(node) => {
            let scale = number(node.input.get(1)).unwrap_or(1.0);
            let zero = number(node.input.get(2)).unwrap_or(0.0);
            (node.input[0].clone(), Some([scale, zero]), step)
        }
        None => (name.clone(), None, step),
    }
}
