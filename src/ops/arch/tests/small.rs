//! All small shapes, each with every buffer once at the end of the memory and once at its start: under
//! AddressSanitizer (`just sanitize`) a kernel that goes a byte too far ends the run.

use std::vec::Vec;

use super::{compare, word};
use crate::ops::tests::case::{Case, Random, tensor};
use crate::ops::tests::packed::Places;
use crate::pack::{LayerKind, LayerRecord, NO_TENSOR};

/// Windows over one direction: kernel, stride, dilation, padding, input, output.
fn axes(kernels: &[u16], dilations: &[u16], inputs: &[u16]) -> Vec<[u16; 6]> {
    let mut axes = Vec::new();
    for &kernel in kernels {
        for &dilation in dilations.iter().take(if kernel == 1 { 1 } else { 2 }) {
            let reach = (kernel - 1) * dilation;
            for pad in [0, reach / 2, reach] {
                for (stride, &input) in [1, 2]
                    .iter()
                    .flat_map(|s| inputs.iter().map(move |i| (s, i)))
                {
                    let axis = [
                        kernel,
                        *stride,
                        dilation,
                        pad,
                        input,
                        (input - 1 + pad) / stride + 1,
                    ];
                    if input + pad > reach && !axes.contains(&axis) {
                        axes.push(axis);
                    }
                }
            }
        }
    }
    axes
}

/// Buffers in a row, number `last` at the end; the scratch comes behind the tensors' numbers.
fn in_a_row(case: &Case, last: usize) -> Places {
    let count = case.tensors.len();
    let mut places = Places {
        tensors: std::vec![0; count],
        scratch: 0,
        end: 0,
    };
    for i in (0..=count).map(|i| (last + 1 + i) % (count + 1)) {
        match case.tensors.get(i) {
            Some(tensor) => {
                places.tensors[i] = places.end.next_multiple_of(8);
                places.end = places.tensors[i] + tensor.bytes();
            }
            None => places.reserve(case),
        }
    }
    places
}

fn everywhere(case: &Case, random: &mut Random) -> usize {
    let scratch = usize::from(case.scratch_bytes() > 0);
    for last in 0..case.tensors.len() + scratch {
        compare(case, &in_a_row(case, last), last, random);
    }
    case.tensors.len() + scratch
}

/// A layer with a plain stage, which most kernels are for.
fn case(
    kind: LayerKind,
    [down, across]: [[u16; 6]; 2],
    [inputs, outputs]: [u16; 2],
    at_once: u16,
    random: &mut Random,
) -> Case {
    let record = LayerRecord {
        kind: kind as u8,
        shift: 32,
        low: -128,
        high: 127,
        second_input: NO_TENSOR,
        groups: if kind == LayerKind::Depthwise {
            inputs
        } else {
            1
        },
        kernel_height: down[0],
        kernel_width: across[0],
        stride_height: down[1],
        stride_width: across[1],
        dilation_height: down[2],
        dilation_width: across[2],
        pad_top: down[3],
        pad_left: across[3],
        input: 1,
        output: 2,
        at_once,
        ..bytemuck::Zeroable::zeroed()
    };
    let depth = if kind == LayerKind::Depthwise {
        1
    } else {
        inputs
    };
    let sides = [down[0], across[0], depth, outputs].map(usize::from);
    let weights = match kind {
        // One window over all of the input.
        LayerKind::Dense => [down[4], across[4], inputs, outputs].map(usize::from),
        _ => sides,
    };
    let weights = weights.iter().product();
    let count = usize::from(outputs);
    Case {
        record,
        tensors: std::vec![
            tensor([down[4], across[4], inputs], 1, random),
            tensor([down[5], across[5], outputs], 1, random),
        ],
        weights: (0..weights)
            .map(|_| random.range(-128, 127) as i8)
            .collect(),
        biases: (0..count)
            .map(|_| random.range(-9999, 9999) as i32)
            .collect(),
        multipliers: (0..count).map(|_| word(random)).collect(),
        negative_multipliers: Vec::new(),
    }
}

#[test]
fn convolutions_stay_inside_their_buffers() {
    let mut random = Random(81);
    let mut compared = 0;
    let rows = axes(&[1, 3], &[1, 2], &[1, 3]);
    for across in axes(&[1, 2, 3, 5], &[1, 2], &[1, 2, 5, 9]) {
        // Every pair would take minutes: rows turn by turn, all of them for each width.
        for down in &rows {
            for (i, inputs) in [1, 3, 4, 5].into_iter().enumerate() {
                let outputs = [1, 4, 5, 9][(i + compared) % 4];
                let at_once = [1, 4][compared / 4 % 2];
                let case = case(
                    LayerKind::Conv,
                    [*down, across],
                    [inputs, outputs],
                    at_once,
                    &mut random,
                );
                compared += everywhere(&case, &mut random);
            }
        }
    }
    assert!(compared > 10_000, "{compared}");
}

#[test]
fn depthwise_layers_stay_inside_their_buffers() {
    let mut random = Random(82);
    let mut compared = 0;
    let rows = axes(&[1, 3, 5], &[1, 2], &[1, 4]);
    for across in axes(&[1, 2, 3, 4, 5], &[1, 2], &[1, 2, 5, 8]) {
        for down in &rows {
            for channels in [1, 4, 7, 8, 9] {
                let at_once = [1, 2, down[5]][compared % 3].min(down[5]);
                let kind = LayerKind::Depthwise;
                let case = case(kind, [*down, across], [channels; 2], at_once, &mut random);
                compared += everywhere(&case, &mut random);
            }
        }
    }
    assert!(compared > 10_000, "{compared}");
}

#[test]
fn dense_layers_and_averages_stay_inside_their_buffers() {
    let mut random = Random(83);
    let point = |size| [1, 1, 1, 0, size, 1];
    for inputs in 1..=36 {
        for outputs in 1..=18 {
            let case = case(
                LayerKind::Dense,
                [point(1), point(2)],
                [inputs, outputs],
                1,
                &mut random,
            );
            everywhere(&case, &mut random);
        }
    }
    for channels in 1..=70 {
        for (height, width) in [(1, 1), (1, 5), (2, 3)] {
            let mut case = super::average(&mut random);
            case.tensors[0] = tensor([height, width, channels], 1, &mut random);
            case.tensors[1] = tensor([1, 1, channels], 1, &mut random);
            (case.record.kernel_height, case.record.kernel_width) = (height, width);
            (case.record.stride_height, case.record.stride_width) = (height, width);
            everywhere(&case, &mut random);
        }
    }
}
