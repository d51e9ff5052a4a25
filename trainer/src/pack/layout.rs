//! Where in the arena each tensor and each layer's scratch lives.

use headstart::ops::geometry;
use headstart::pack::{LayerKind, LayerRecord, TensorRecord};

use super::records;
use crate::graph::{Graph, Layer, Op};
use crate::plan::{Buffer, Follow, plan};
use crate::quantize::Scale;

/// The memory plan of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// For each tensor, its first byte.
    pub offsets: Vec<usize>,
    /// For each layer, the first byte of its scratch.
    pub scratch: Vec<usize>,
    /// For each layer, what it computes from one filling of its scratch, as its record has it.
    pub at_once: Vec<u16>,
    /// Bytes in all, input and scratch included.
    pub arena: usize,
    /// The largest sum of distinct live bytes over the steps, scratch apart.
    pub lower_bound: usize,
}

/// Bytes of scratch that a layer may take, most first. With more of it a convolution loads its
/// weights for four pixels at once and a depthwise one reads fewer rows twice.
const SCRATCH: [usize; 8] = [16384, 8192, 4096, 2048, 1024, 512, 256, 0];

/// Plans the arena: the most scratch, and so speed, that costs no more than a quarter and half a
/// KiB above the least, or, where there is a budget, that meets it.
pub fn layout(graph: &Graph, scales: &[Scale], budget: Option<usize>) -> anyhow::Result<Layout> {
    let layouts: Vec<Layout> = SCRATCH
        .iter()
        .map(|&most| with_scratch(graph, scales, most))
        .collect::<anyhow::Result<_>>()?;
    let least = layouts.iter().map(|l| l.arena).min().unwrap_or(0);
    let enough = budget.unwrap_or(least + least / 4 + 512).max(least);
    let found = layouts.into_iter().find(|l| l.arena <= enough);
    found.ok_or_else(|| anyhow::anyhow!("no memory plan was found"))
}

fn with_scratch(graph: &Graph, scales: &[Scale], most: usize) -> anyhow::Result<Layout> {
    let tensors: Vec<TensorRecord> = (0..graph.tensors.len())
        .map(|t| records::tensor(graph, scales, t))
        .collect::<anyhow::Result<_>>()?;
    let mut layers: Vec<LayerRecord> = graph
        .layers
        .iter()
        .map(records::shape)
        .collect::<anyhow::Result<_>>()?;
    for layer in &mut layers {
        fill(layer, &tensors, most);
    }
    let space = Space::of(graph, &tensors, &layers);
    let plan = plan(&space.buffers, &space.follows);
    let offset = |buffer: usize| plan.offsets[buffer];
    Ok(Layout {
        offsets: space.tensors.iter().map(|&b| offset(b)).collect(),
        scratch: space.scratch.iter().map(|b| b.map_or(0, offset)).collect(),
        at_once: layers.iter().map(|l| l.at_once).collect(),
        arena: plan.arena,
        lower_bound: plan.lower_bound,
    })
}

/// As many outputs at once as `most` bytes of scratch allow, at least one.
fn fill(layer: &mut LayerRecord, tensors: &[TensorRecord], most: usize) {
    let input = &tensors[usize::from(layer.input)];
    let output = &tensors[usize::from(layer.output)];
    let fits = |at_once: &u16| {
        let filled = LayerRecord {
            at_once: *at_once,
            ..*layer
        };
        geometry::scratch_bytes(&filled, input, output) <= most
    };
    layer.at_once = match layer.kind() {
        Some(LayerKind::Depthwise) => (1..=output.height).rev().find(fits).unwrap_or(1),
        Some(LayerKind::Conv)
            if u32::from(output.height) * u32::from(output.width) > 1 && fits(&4) =>
        {
            4
        }
        Some(LayerKind::Conv | LayerKind::Dense) => 1,
        _ => 0,
    };
}

/// What has to be placed.
#[derive(Default)]
struct Space {
    buffers: Vec<Buffer>,
    follows: Vec<Follow>,
    /// The buffer that each tensor is in: its own, or that of the input it is written over.
    tensors: Vec<usize>,
    /// The buffer of each layer's scratch, where it has one.
    scratch: Vec<Option<usize>>,
}

impl Space {
    /// Step 0 fills the input, step i + 1 runs layer i.
    fn of(graph: &Graph, tensors: &[TensorRecord], layers: &[LayerRecord]) -> Space {
        let mut space = Space::default();
        let writer = |t: usize| graph.layers.iter().position(|l| l.output == t);
        let born = |t: usize| writer(t).map_or(0, |i| i + 1);
        let read = |t: usize| graph.layers.iter().rposition(|l| l.inputs.contains(&t));
        let dies = |t: usize| match t == graph.embedding {
            true => graph.layers.len(),
            false => read(t).map_or(0, |i| i + 1).max(born(t)),
        };
        // In the order in which they are written, so that an input's buffer is there.
        let mut order: Vec<usize> = (0..tensors.len()).collect();
        order.sort_by_key(|&t| born(t));
        space.tensors = vec![0; tensors.len()];
        for t in order {
            let over = writer(t).and_then(|i| {
                let free = |input: usize| {
                    dies(input) == i + 1
                        && tensors[input].bytes() == tensors[t].bytes()
                        && tensors[input].element == tensors[t].element
                };
                let placed =
                    |input: usize| geometry::takes_place(&layers[i], &tensors[input], &tensors[t]);
                in_place(&graph.layers[i], free, placed)
            });
            if let Some(input) = over {
                let buffer = space.tensors[input];
                let start = *space.buffers[buffer].alive.start();
                space.buffers[buffer].alive = start..=dies(t);
                space.tensors[t] = buffer;
            } else {
                space.tensors[t] = space.add(tensors[t].bytes(), born(t)..=dies(t), false);
            }
        }
        for (i, record) in layers.iter().enumerate() {
            let layer = &graph.layers[i];
            let (input, output) = (&tensors[layer.inputs[0]], &tensors[layer.output]);
            let bytes = geometry::scratch_bytes(record, input, output);
            let scratch = (bytes > 0).then(|| space.add(bytes, i + 1..=i + 1, true));
            space.scratch.push(scratch);
            let (from, to) = (space.tensors[layer.inputs[0]], space.tensors[layer.output]);
            let last = *space.buffers[from].alive.end() == i + 1;
            let first = *space.buffers[to].alive.start() == i + 1;
            let twice = layer.inputs.get(1) == Some(&layer.inputs[0]);
            if let (Some(gap), true) = (
                geometry::least_gap(record, input, output),
                last && first && !twice,
            ) {
                space.follows.push(Follow {
                    input: from,
                    output: to,
                    gap,
                });
            }
        }
        space
    }

    fn add(&mut self, size: usize, alive: std::ops::RangeInclusive<usize>, scratch: bool) -> usize {
        self.buffers.push(Buffer {
            size,
            alive,
            scratch,
        });
        self.buffers.len() - 1
    }
}

/// The input whose place a layer may take: one that nobody reads afterwards. Most do so value by
/// value; a depthwise layer where its record says so.
fn in_place(
    layer: &Layer,
    free: impl Fn(usize) -> bool,
    depthwise: impl Fn(usize) -> bool,
) -> Option<usize> {
    let candidates = match (&layer.op, &layer.inputs[..]) {
        (Op::Add, inputs) => inputs,
        (Op::Mul, [first, second]) if first != second => std::slice::from_ref(first),
        (Op::Lookup(_) | Op::Clamp(_), inputs) => inputs,
        (Op::Conv(..) | Op::Dense(_), [first, second]) if first != second => {
            std::slice::from_ref(second)
        }
        (Op::Depthwise(..), inputs) if depthwise(inputs[0]) => inputs,
        _ => &[],
    };
    candidates.iter().copied().find(|&t| free(t))
}
