//! Which tensor is to be the embedding, and what to say where none can be.

use anyhow::anyhow;
use tract_onnx::pb::{GraphProto, NodeProto};

use super::candidates::Candidate;
use super::cut::Pool;
use super::{Args, Found, facts, report, tidy};
use crate::error::Failure;

/// The tensor that is to be the embedding.
pub fn choose(args: &Args, found: &Found) -> Result<Candidate, Failure> {
    let model = args.model.display();
    let chosen = match &args.embedding {
        Some(name) => found
            .named(name)
            .ok_or_else(|| not_there(found, name, &model))?,
        None => {
            let suits = |c: &&Candidate| {
                c.pooled == args.pool.is_some() && (!c.pooled || c.shape.len() < 4)
            };
            match (
                found.candidates.iter().find(suits),
                found.candidates.first(),
            ) {
                (Some(chosen), _) => chosen.clone(),
                // A map before a node that can't be run is no answer to what the embedding is.
                (None, first) => match (blocked(found), first) {
                    (Some(why), _) => return Err(why.into()),
                    (None, Some(first)) => first.clone(),
                    (None, None) => return Err(nothing(&model).into()),
                },
            }
        }
    };
    if chosen.pooled && args.pool.is_none() {
        let cls = match chosen.shape.len() {
            2 => " (or --pool cls, its first token)",
            _ => "",
        };
        return Err(anyhow!(
            "{model}: `{}` is {}, not one vector: add --pool mean{cls}, or choose another tensor with --embedding; `headstart import {model} --list` shows them",
            chosen.name,
            report::sizes(&chosen.shape),
        )
        .into());
    }
    let takes = match args.pool {
        Some(Pool::Cls) if chosen.shape.len() != 2 => "--pool cls takes tokens, tokens x values",
        Some(Pool::Mean) if !chosen.pooled => "--pool mean takes a map or tokens",
        _ => return Ok(chosen),
    };
    Err(Failure::Usage(format!(
        "{takes}, and `{}` of {model} is {}: leave --pool out, or choose another tensor with --embedding",
        chosen.name,
        report::sizes(&chosen.shape)
    )))
}

/// Why a tensor that was asked for can't be the embedding.
fn not_there(found: &Found, name: &str, model: &std::path::Display) -> Failure {
    let there = found
        .graph()
        .node
        .iter()
        .any(|n| n.output.iter().any(|o| o == name));
    match blocked(found).filter(|_| there) {
        Some(why) => why.into(),
        None => anyhow!(
            "{model} has no tensor `{name}` that depends on its input and has a known shape: `headstart import {model} --list` shows what it has"
        )
        .into(),
    }
}

fn nothing(model: &std::path::Display) -> anyhow::Error {
    anyhow!(
        "{model}: no tensor was found that all of its output is computed from and whose shape is known: look at the network, for example with `netron {model}`, and name one with --embedding NAME"
    )
}

/// Why the first node that nothing here can look behind stops an import.
fn blocked(found: &Found) -> Option<anyhow::Error> {
    let stops = |n: &&NodeProto| tidy::inner(n).next().is_some() || !facts::known(&n.op_type);
    let node = found.graph().node.iter().find(stops)?;
    Some(refusal(node, found.graph()))
}

/// Says which node can't be run, what it feeds and what to do.
pub fn refusal(node: &NodeProto, graph: &GraphProto) -> anyhow::Error {
    let fed = graph
        .node
        .iter()
        .find(|n| n.input.iter().any(|i| node.output.contains(i)));
    let feeds = match fed {
        Some(next) => format!("which feeds `{}` ({})", tidy::name_of(next), next.op_type),
        None => "which is an output".into(),
    };
    let what = match tidy::inner(node).next() {
        Some(_) => {
            "control flow, and a device runs every layer every time. Export the network with its condition fixed (torch.onnx.export traces one path), or cut before it with --embedding"
        }
        None => {
            "unknown to the runtimes here. Export with standard operators of opset 17, or cut before it with --embedding"
        }
    };
    anyhow!(
        "node `{}` ({}), {feeds}, is {what}; --list shows what is before it",
        tidy::name_of(node),
        node.op_type
    )
}
