//! Where in the arena each tensor lives.

use crate::graph::{Graph, Layer, Op};
use crate::plan::{Buffer, plan};
use crate::quantize::Scale;

/// The memory plan of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// For each tensor, its first byte.
    pub offsets: Vec<usize>,
    /// Bytes in all, input and scratch included (no layer needs scratch).
    pub arena: usize,
    /// The largest sum of distinct live bytes over the steps.
    pub lower_bound: usize,
}

/// Plans the arena. Step 0 fills the input, step i + 1 runs layer i.
pub fn layout(graph: &Graph, scales: &[Scale]) -> Layout {
    let end = graph.layers.len();
    let born = |t: usize| {
        graph
            .layers
            .iter()
            .position(|l| l.output == t)
            .map_or(0, |i| i + 1)
    };
    let reader = |t: usize| {
        graph
            .layers
            .iter()
            .rposition(|l| l.inputs.contains(&t))
            .map_or(0, |i| i + 1)
    };
    let dies = |t: usize| {
        if t == graph.embedding {
            end
        } else {
            reader(t).max(born(t))
        }
    };
    let size = |t: usize| scales[t].bytes(graph.tensors[t].len());

    // The buffer that each tensor is in: its own, or that of the input it is written over.
    let mut buffer_of: Vec<usize> = Vec::new();
    let mut buffers: Vec<Buffer> = Vec::new();
    for t in 0..graph.tensors.len() {
        let writer = graph.layers.iter().position(|l| l.output == t);
        let over =
            writer.and_then(|i| in_place(&graph.layers[i], scales, |input| dies(input) == i + 1));
        match over {
            Some(input) if size(input) == size(t) => {
                let buffer = buffer_of[input];
                buffers[buffer].alive = *buffers[buffer].alive.start()..=dies(t);
                buffer_of.push(buffer);
            }
            _ => {
                buffers.push(Buffer {
                    size: size(t),
                    alive: born(t)..=dies(t),
                });
                buffer_of.push(buffers.len() - 1);
            }
        }
    }
    let plan = plan(&buffers);
    let offsets = buffer_of.iter().map(|&b| plan.offsets[b]).collect();
    Layout {
        offsets,
        arena: plan.arena,
        lower_bound: plan.lower_bound,
    }
}

/// The input that an Add may overwrite: one that nobody reads afterwards.
fn in_place(layer: &Layer, scales: &[Scale], last: impl Fn(usize) -> bool) -> Option<usize> {
    let same = |&&input: &&usize| scales[input].wide == scales[layer.output].wide && last(input);
    if matches!(layer.op, Op::Add) {
        layer.inputs.iter().find(same).copied()
    } else {
        None
    }
}
