//! Outputs that take their input's bytes as close behind as `least_gap` allows, and what the check
//! refuses.

use std::vec::Vec;

use super::case::{Case, Random};
use super::definition;
use super::packed::Places;
use crate::ops::{AllKernels, PortableKernels, geometry};
use crate::pack::{Fault, LayerKind, LayerRecord, PackError, TensorRecord};

const SLIDING: [LayerKind; 5] = [
    LayerKind::Conv,
    LayerKind::Depthwise,
    LayerKind::AvgPool,
    LayerKind::MaxPool,
    LayerKind::Dense,
];

fn fault(found: Result<impl Sized, PackError>) -> Option<(Fault, u16)> {
    match found {
        Err(PackError::Invalid { fault, index }) => Some((fault, index)),
        _ => None,
    }
}

/// The case's own layer: what feeds it stands before it.
fn layer(case: &Case) -> u16 {
    case.tensors.len() as u16 - 1
}

fn gap(case: &Case) -> Option<usize> {
    geometry::least_gap(&case.record, case.input(), case.output())
}

/// A random layer whose output may follow its input.
fn follower(kind: LayerKind, random: &mut Random) -> (Case, usize) {
    loop {
        let case = Case::random(kind, random);
        // What adds its own input reads it to the end.
        if let (Some(gap), true) = (gap(&case), case.record.second_input != 1) {
            return (case, gap);
        }
    }
}

#[test]
fn an_output_at_the_least_gap_gives_the_same_values() {
    let mut random = Random(11);
    for kind in SLIDING {
        let (mut exact, mut shared) = (0, 0);
        for round in 0..2000 {
            let (case, gap) = follower(kind, &mut random);
            let places = Places::close(&case, gap.next_multiple_of(4) as isize);
            let inputs = &case.tensors[..case.tensors.len() - 1];
            let values: Vec<_> = inputs.iter().map(|t| random.values(t)).collect();
            let expected = definition::output(&case, &values);
            let what = || {
                std::format!(
                    "{kind:?} {round} {gap} {:?} {:?}",
                    case.record,
                    case.tensors
                )
            };
            let portable = case.run::<PortableKernels>(&places, &values);
            assert_eq!(portable, expected, "{}", what());
            let native = case.run::<AllKernels>(&places, &values);
            assert_eq!(native, expected, "{}", what());
            exact += usize::from(gap.is_multiple_of(4));
            shared += usize::from(case.output().bytes() > places.tensors[0]);
        }
        // Places are multiples of 4: enough of them were at the gap itself, and overlapped.
        assert!(exact > 300 && shared > 300, "{kind:?}: {exact}, {shared}");
    }
}

#[test]
fn what_works_value_by_value_may_write_over_its_inputs() {
    let mut random = Random(12);
    let kinds = [
        LayerKind::Add,
        LayerKind::Mul,
        LayerKind::Lookup,
        LayerKind::Clamp,
        LayerKind::Conv,
        LayerKind::Dense,
    ];
    for kind in kinds {
        let lone = matches!(kind, LayerKind::Lookup | LayerKind::Clamp);
        let sliding = matches!(kind, LayerKind::Conv | LayerKind::Dense);
        let mut over = [0; 2];
        for _ in 0..4000 {
            let case = Case::random(kind, &mut random);
            let last = case.tensors.len() - 1;
            let inputs = &case.tensors[..last];
            let values: Vec<_> = inputs.iter().map(|t| random.values(t)).collect();
            let like = |t: &TensorRecord| {
                t.bytes() == case.output().bytes() && t.element == case.output().element
            };
            // Of a sum only what is added is read value by value.
            for (i, over) in over.iter_mut().enumerate().take(last).skip(sliding.into()) {
                if !like(&case.tensors[i]) {
                    continue;
                }
                let mut places = Places::apart(&case, &mut random);
                places.tensors[last] = places.tensors[i];
                let expected = definition::output(&case, &values);
                assert_eq!(case.run::<PortableKernels>(&places, &values), expected);
                assert_eq!(case.run::<AllKernels>(&places, &values), expected);
                *over += 1;
                // A step off, an element is written before it is read.
                places.tensors[last] += 4;
                places.end += 8;
                places.reserve(&case);
                if case.output().bytes() > 4 {
                    let refused = fault(case.pack(&places).check());
                    assert_eq!(refused, Some((Fault::Overlap, layer(&case))));
                }
            }
        }
        assert!(sliding || over[0] > 500, "{kind:?} {over:?}");
        assert!(lone || over[1] > 300, "{kind:?} {over:?}");
    }
}

#[test]
fn a_depthwise_layer_with_all_rows_at_once_takes_its_inputs_place() {
    let mut random = Random(18);
    let (mut seen, mut refused) = (0, 0);
    while seen < 500 || refused < 100 {
        let mut case = Case::random(LayerKind::Depthwise, &mut random);
        let (channels, groups) = (case.output().channels, case.record.groups);
        let shape = |t: &TensorRecord| [t.height, t.width, t.channels, t.element.into()];
        if shape(case.input()) != shape(case.output()) {
            // In one place, but not channel over channel.
            let like = case.input().bytes() == case.output().bytes();
            if like && case.output().element == 1 && channels != groups {
                case.record.at_once = case.output().height;
                let refusal = fault(case.pack(&Places::close(&case, 0)).check());
                assert_eq!(refusal, Some((Fault::Overlap, layer(&case))));
                refused += 1;
            }
            continue;
        }
        let places = Places::close(&case, 0);
        if case.record.at_once == case.output().height {
            let values = [random.values(case.input())];
            let expected = definition::output(&case, &values);
            assert_eq!(case.run::<PortableKernels>(&places, &values), expected);
            assert_eq!(case.run::<AllKernels>(&places, &values), expected);
            seen += 1;
        } else {
            let refusal = fault(case.pack(&places).check());
            assert_eq!(refusal, Some((Fault::Overlap, layer(&case))));
            refused += 1;
        }
    }
}

#[test]
fn a_gap_that_is_one_step_too_small_is_refused() {
    let mut random = Random(13);
    for kind in SLIDING {
        let mut refused = 0;
        for round in 0..1000 {
            let (case, gap) = follower(kind, &mut random);
            let fits = gap.next_multiple_of(4) as isize;
            let found = case.pack(&Places::close(&case, fits)).check().map(|_| ());
            assert_eq!(found, Ok(()), "{kind:?} {round} {:?}", case.record);
            if fits == 4 && geometry::takes_place(&case.record, case.input(), case.output()) {
                continue;
            }
            // Bytes that only touch are no overlap.
            if fits - 4 < 0 && case.input().bytes() as isize <= 4 - fits {
                continue;
            }
            let found = fault(case.pack(&Places::close(&case, fits - 4)).check());
            let expected = Some((Fault::Overlap, layer(&case)));
            assert_eq!(found, expected, "{kind:?} {round} {:?}", case.record);
            refused += 1;
        }
        assert!(refused > 500, "{kind:?}: {refused}");
    }
}

#[test]
fn kinds_that_can_not_follow_do_not() {
    let mut random = Random(14);
    let mut seen = 0;
    for kind in [LayerKind::Concat, LayerKind::Pad, LayerKind::Conv] {
        for _ in 0..1000 {
            let case = Case::random(kind, &mut random);
            let none = gap(&case).is_none();
            assert_eq!(none, kind != LayerKind::Conv || case.record.groups > 1);
            // The output's last four bytes are the input's first.
            let gap = case.output().bytes().next_multiple_of(4) as isize - 4;
            if none {
                let found = fault(case.pack(&Places::close(&case, gap)).check());
                assert_eq!(found, Some((Fault::Overlap, layer(&case))));
                seen += 1;
            }
        }
    }
    assert!(seen > 1500, "{seen}");
}

#[test]
fn scratch_over_a_tensor_that_lives_is_refused() {
    let mut random = Random(15);
    for kind in [LayerKind::Conv, LayerKind::Depthwise, LayerKind::Dense] {
        for _ in 0..500 {
            let case = Case::random(kind, &mut random);
            let apart = Places::apart(&case, &mut random);
            assert!(case.pack(&apart).check().is_ok());
            for &over in &apart.tensors {
                let mut places = apart.clone();
                places.scratch = over / 8 * 8;
                // The scratch reaches the tensor: it takes 8 bytes at least.
                places.end = places.end.max(places.scratch + case.scratch_bytes());
                let found = fault(case.pack(&places).check());
                assert_eq!(found, Some((Fault::Scratch, layer(&case))));
            }
            let mut places = apart.clone();
            places.scratch += 4;
            places.end += 4;
            let found = fault(case.pack(&places).check());
            assert_eq!(found, Some((Fault::Scratch, layer(&case))));
        }
    }
}

#[test]
fn what_needs_no_scratch_has_none() {
    let mut random = Random(19);
    let case = Case::random(LayerKind::Add, &mut random);
    let mut places = Places::apart(&case, &mut random);
    places.scratch = 0;
    assert_eq!(case.pack(&places).check().map(|_| ()), Ok(()));
    places.scratch = 8;
    let found = fault(case.pack(&places).check());
    assert_eq!(found, Some((Fault::Scratch, layer(&case))));
}

#[test]
fn a_depthwise_layer_takes_no_int16() {
    let mut random = Random(16);
    let mut case = Case::random(LayerKind::Depthwise, &mut random);
    (case.tensors[0].element, case.tensors[0].zero_point) = (2, 0);
    let found = fault(case.pack(&Places::apart(&case, &mut random)).check());
    assert_eq!(found, Some((Fault::LayerShape, layer(&case))));
}

/// Weights behind the last value of a window meet whatever the scratch holds there.
#[test]
fn weights_that_fill_up_must_be_zero() {
    let mut random = Random(17);
    for kind in [LayerKind::Conv, LayerKind::Dense] {
        let mut seen = 0;
        while seen < 200 {
            let case = Case::random(kind, &mut random);
            let filter = geometry::filter(&case.record, case.input());
            if filter.is_multiple_of(4) {
                continue;
            }
            seen += 1;
            let places = Places::apart(&case, &mut random);
            let (depth, outputs) = (
                filter.next_multiple_of(4),
                usize::from(case.output().channels),
            );
            let each = outputs / usize::from(case.record.groups);
            let channel = random.range(0, outputs as i64 - 1) as usize;
            let (group, out) = (channel / each, channel % each);
            let four = (group * each.next_multiple_of(4) + out) / 4;
            let k = random.range(filter as i64, depth as i64 - 1) as usize;
            let at = four * 4 * depth + k / 4 * 16 + out % 4 * 4 + k % 4;
            let found = fault(case.pack_with(&places, |weights| weights[at] = 1).check());
            assert_eq!(
                found,
                Some((Fault::LayerData, layer(&case))),
                "{:?}",
                case.record
            );
        }
    }
}

/// Sizes of hostile layers are too large to be met, not wrapped into small ones.
#[test]
fn sizes_saturate() {
    let most = u16::MAX;
    let tensor = TensorRecord {
        offset: 0,
        height: most,
        width: most,
        channels: most,
        element: 2,
        zero_point: 0,
        scale: 1.0,
    };
    for kind in LayerKind::ALL {
        for [kernel, stride, dilation, groups] in [
            [most, most, most, most],
            [most, most, most, 1],
            [32768, 32768, 32768, 1],
            [0, 0, 0, 0],
        ] {
            let record = LayerRecord {
                kind: kind as u8,
                groups,
                kernel_height: kernel,
                kernel_width: kernel,
                stride_height: stride,
                stride_width: stride,
                dilation_height: dilation,
                dilation_width: dilation,
                pad_top: most,
                pad_left: most,
                at_once: most,
                ..bytemuck::Zeroable::zeroed()
            };
            let scratch = geometry::scratch_bytes(&record, &tensor, &tensor);
            let larger = match kind {
                LayerKind::Conv => kernel == most && groups == 1,
                LayerKind::Depthwise => kernel > 0,
                _ => kind == LayerKind::Dense,
            };
            assert_eq!(scratch == usize::MAX, larger, "{kind:?} {kernel}");
        }
    }
}
