//! The order in which layers run: any in which inputs come first is right, few need least memory.

use crate::graph::{Graph, Layer};

/// Puts the layers into an order that needs less memory, where the greedy choice finds one: of
/// those whose inputs are there, the next is the one that adds the fewest live bytes. `size` is a
/// tensor's bytes.
pub fn reorder(graph: &mut Graph, size: impl Fn(usize) -> usize) {
    let mut left = graph.layers.clone();
    let mut order: Vec<Layer> = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let ready = |layer: &Layer| {
            let written = |&t: &usize| t == 0 || order.iter().any(|l| l.output == t);
            layer.inputs.iter().all(written)
        };
        let added = |layer: &Layer| {
            let last = |&&t: &&usize| {
                let readers = left.iter().filter(|l| l.inputs.contains(&t)).count();
                readers == 1 && t != graph.embedding
            };
            let freed: usize = layer.inputs.iter().filter(last).map(|&t| size(t)).sum();
            size(layer.output) as isize - freed as isize
        };
        let candidates = (0..left.len()).filter(|&i| ready(&left[i]));
        let Some(next) = candidates.min_by_key(|&i| added(&left[i])) else {
            return;
        };
        order.push(left.remove(next));
    }
    if peak(graph, &order, &size) < peak(graph, &graph.layers, &size) {
        graph.layers = order;
    }
}

/// The most bytes that live at once.
fn peak(graph: &Graph, layers: &[Layer], size: impl Fn(usize) -> usize) -> usize {
    let needed = |t: usize, from: usize| {
        t == graph.embedding || layers[from..].iter().any(|l| l.inputs.contains(&t))
    };
    let written = |t: usize, step: usize| t == 0 || layers[..=step].iter().any(|l| l.output == t);
    let live = |step: usize| {
        let alive =
            |t: &usize| written(*t, step) && (needed(*t, step) || layers[step].output == *t);
        (0..graph.tensors.len()).filter(alive).map(&size).sum()
    };
    (0..layers.len()).map(live).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Activation, Op, Tensor, Window};

    /// A chain 0 -> 1 -> 2 whose first stage is also pooled, late: pooling it first frees it.
    #[test]
    fn a_branch_that_frees_memory_runs_first() {
        let window = Window {
            kernel: [1, 1],
            stride: [1, 1],
            dilation: [1, 1],
            pad: [0, 0],
            groups: 1,
        };
        let layer = |input, output| Layer {
            name: format!("{output}"),
            op: Op::MaxPool(window.clone()),
            inputs: vec![input],
            output,
            activation: Activation::NONE,
        };
        let tensor = |width| Tensor {
            name: String::new(),
            shape: [1, width, 1],
        };
        let add = Layer {
            op: Op::Add,
            inputs: vec![3, 4],
            ..layer(3, 5)
        };
        let mut graph = Graph {
            tensors: [10, 100, 90, 80, 1, 80].map(tensor).into(),
            layers: vec![layer(0, 1), layer(1, 2), layer(2, 3), layer(1, 4), add],
            embedding: 5,
        };
        let size = [10, 100, 90, 80, 1, 80];
        let before = peak(&graph, &graph.layers, |t| size[t]);
        reorder(&mut graph, |t| size[t]);
        let outputs: Vec<usize> = graph.layers.iter().map(|l| l.output).collect();
        assert_eq!(outputs, [1, 4, 2, 3, 5]);
        assert!(peak(&graph, &graph.layers, |t| size[t]) < before);
    }
}
