//! What one pass over memory can do at once: a convolution and the addition behind it, zeros around
//! a tensor and the convolution behind them.

use super::{Activation, Graph, Layer, Op};

pub(super) fn fuse(mut graph: Graph) -> Graph {
    while pad_into_window(&mut graph) || add_into_convolution(&mut graph) {}
    drop_unused(graph)
}

/// A window that looks at a padded tensor has the padding itself.
fn pad_into_window(graph: &mut Graph) -> bool {
    let found = graph.layers.iter().enumerate().find_map(|(i, layer)| {
        let Op::Pad(pad) = layer.op else { return None };
        let reader = graph
            .layers
            .iter()
            .position(|l| l.inputs.contains(&layer.output))?;
        let only = graph.readers(layer.output) == 1 && layer.output != graph.embedding;
        (only && layer.activation == Activation::NONE).then_some((i, reader, pad))
    });
    let Some((at, reader, pad)) = found else {
        return false;
    };
    let from = graph.layers[at].inputs[0];
    let layer = &mut graph.layers[reader];
    match &mut layer.op {
        Op::Conv(window, _) | Op::Depthwise(window, _) | Op::AvgPool(window) => {
            let reach = |axis: usize| (window.kernel[axis] - 1) * window.dilation[axis];
            let padded = [window.pad[0] + pad[0], window.pad[1] + pad[1]];
            if padded[0] > reach(0) || padded[1] > reach(1) {
                return false;
            }
            window.pad = padded;
        }
        _ => return false,
    }
    layer.inputs[0] = from;
    graph.layers.remove(at);
    true
}

/// An addition of what a convolution has just computed is done before that is stored. Of two
/// convolutions it is the later one.
fn add_into_convolution(graph: &mut Graph) -> bool {
    let writer = |tensor: usize| graph.layers.iter().position(|l| l.output == tensor);
    let fits = |at: usize, tensor: usize| {
        let layer: &Layer = &graph.layers[at];
        matches!(layer.op, Op::Conv(..))
            && layer.inputs.len() == 1
            && layer.activation == Activation::NONE
            && graph.readers(tensor) == 1
            && tensor != graph.embedding
    };
    let found = graph.layers.iter().enumerate().find_map(|(i, add)| {
        let Op::Add = add.op else { return None };
        let candidates = add.inputs.iter().enumerate().filter_map(|(side, &tensor)| {
            let at = writer(tensor)?;
            fits(at, tensor).then_some((at, side))
        });
        candidates.max().map(|(at, side)| (i, at, side))
    });
    let Some((add, at, side)) = found else {
        return false;
    };
    let other = graph.layers[add].inputs[1 - side];
    let convolution = graph.layers[at].clone();
    let sum = graph.layers[add].clone();
    graph.layers[add] = Layer {
        name: convolution.name,
        op: convolution.op,
        inputs: vec![convolution.inputs[0], other],
        output: sum.output,
        activation: sum.activation,
    };
    graph.layers.remove(at);
    true
}

/// Tensors that no layer reads or writes any more.
fn drop_unused(mut graph: Graph) -> Graph {
    let used = |t: usize| t == 0 || graph.layers.iter().any(|l| l.output == t);
    let kept: Vec<usize> = (0..graph.tensors.len()).filter(|&t| used(t)).collect();
    let place = |t: usize| kept.iter().position(|&k| k == t).unwrap_or(0);
    let mut layers = graph.layers.clone();
    for layer in &mut layers {
        layer.inputs.iter_mut().for_each(|t| *t = place(*t));
        layer.output = place(layer.output);
    }
    graph.embedding = place(graph.embedding);
    graph.tensors = kept.iter().map(|&t| graph.tensors[t].clone()).collect();
    graph.layers = layers;
    graph
}
