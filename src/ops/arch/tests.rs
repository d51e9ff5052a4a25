//! Every way in which this processor can run a layer against the portable one: wider layers than
//! the definition's tests have, extreme values, and the whole arena compared, so that nothing but
//! the output and the scratch is written.

mod small;

use std::vec::Vec;
use std::{format, vec};

use crate::ops::tests::case::{Case, Random, tensor};
use crate::ops::tests::packed::Places;
use crate::ops::{Kernels, Layer, PortableKernels};
use crate::pack::{LayerKind, LayerRecord, NO_TENSOR};

/// A way to run layers that the processor has.
struct Way {
    name: &'static str,
    run: fn(LayerKind, &Layer<'_>, &mut [i8]),
}

#[cfg(target_arch = "x86_64")]
fn ways() -> Vec<Way> {
    use super::x86_64::{Level, level, run};
    let all = [
        Way {
            name: "AVX2",
            run: |kind, layer, arena| run::<{ u32::MAX }>(Level::Avx2, kind, layer, arena),
        },
        Way {
            name: "AVX-512 VNNI",
            run: |kind, layer, arena| run::<{ u32::MAX }>(Level::Vnni, kind, layer, arena),
        },
    ];
    all.into_iter().take(level() as usize - 1).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn ways() -> Vec<Way> {
    vec![Way {
        name: "native",
        run: <crate::ops::AllKernels as Kernels>::run,
    }]
}

fn pick<T: Copy>(random: &mut Random, from: &[T]) -> T {
    from[random.range(0, from.len() as i64 - 1) as usize]
}

/// Kernel, stride, dilation, padding, input and output of one direction.
fn axis(dilated: bool, random: &mut Random) -> [u16; 6] {
    let kernel = if random.once_in(40) {
        9
    } else {
        random.size(1, 5)
    };
    let dilation = if dilated { random.size(1, 3) } else { 1 };
    let stride = pick(random, &[1, 1, 2, 3]);
    let reach = (kernel - 1) * dilation;
    let pad = random.size(0, reach.into());
    let input = random.size(1, 8).max((reach + 1).saturating_sub(pad));
    let output = (input - 1 + pad) / stride + 1;
    [kernel, stride, dilation, pad, input, output]
}

/// A layer of up to 40 channels.
fn wide(kind: LayerKind, random: &mut Random) -> Case {
    let dense = kind == LayerKind::Dense;
    let dilated = !dense && random.once_in(4);
    let (down, across) = (axis(dilated, random), axis(dilated, random));
    let one = random.once_in(4);
    // A time series has one row.
    let down = if one { [1, 1, 1, 0, 1, 1] } else { down };
    let groups = match kind {
        LayerKind::Depthwise => random.size(1, 40),
        LayerKind::Conv if random.once_in(5) => random.size(2, 3),
        _ => 1,
    };
    let (inputs, outputs) = match kind {
        LayerKind::Depthwise => (1, pick(random, &[1, 1, 1, 2])),
        LayerKind::Conv if groups > 1 => (random.size(1, 9), random.size(1, 9)),
        _ => {
            let (any, fours) = (random.size(1, 40), 4 * random.size(1, 10));
            (pick(random, &[any, fours]), random.size(1, 40))
        }
    };
    let from = match dense {
        true => [1, random.size(1, 3), inputs],
        false => [down[4], across[4], groups * inputs],
    };
    let to = match dense {
        true => [1, 1, outputs],
        false => [down[5], across[5], groups * outputs],
    };
    let int16_in = kind != LayerKind::Depthwise && random.once_in(5);
    let int16_out = random.once_in(5);
    let plain = !int16_out && !random.once_in(4);
    let (low, high) = if int16_out {
        (-32768, 32767)
    } else {
        (-128, 127)
    };
    let mut record = LayerRecord {
        kind: kind as u8,
        shift: if plain {
            32
        } else {
            random.range(20, 47) as u8
        },
        low: if plain {
            low
        } else {
            random.range(low.into(), 0) as i16
        },
        high: if plain {
            high
        } else {
            random.range(0, high.into()) as i16
        },
        second_input: NO_TENSOR,
        groups,
        kernel_height: 1,
        kernel_width: 1,
        stride_height: 1,
        stride_width: 1,
        dilation_height: 1,
        dilation_width: 1,
        input: 1,
        output: 2,
        at_once: match kind {
            LayerKind::Depthwise => random.size(1, to[0].into()),
            LayerKind::Conv => pick(random, &[1, 4, 4]),
            _ => 1,
        },
        ..bytemuck::Zeroable::zeroed()
    };
    if !dense {
        [
            record.kernel_height,
            record.stride_height,
            record.dilation_height,
            record.pad_top,
        ] = [down[0], down[1], down[2], down[3]];
        [
            record.kernel_width,
            record.stride_width,
            record.dilation_width,
            record.pad_left,
        ] = [across[0], across[1], across[2], across[3]];
    }
    let mut tensors = vec![
        tensor(from, 1 + int16_in as u8, random),
        tensor(to, 1 + int16_out as u8, random),
    ];
    if kind != LayerKind::Depthwise && random.once_in(3) {
        (record.second_input, record.output) = (2, 3);
        (record.add_up, record.add_shift) = (random.range(0, 24) as u8, random.range(1, 24) as u8);
        record.second_multiplier = word(random);
        record.bias = word(random);
        let element = if random.once_in(4) { 2 } else { 1 };
        tensors.insert(1, tensor(to, element, random));
    }
    let taps = usize::from(record.kernel_height) * usize::from(record.kernel_width);
    let filter = match kind {
        LayerKind::Dense => usize::from(from[1]) * usize::from(from[2]),
        _ => taps * usize::from(inputs),
    };
    let count = usize::from(to[2]);
    // Biases at the ends of int32 have no zero point folded in.
    let extreme = random.once_in(4);
    if extreme {
        tensors[0].zero_point = 0;
    }
    let ends = random.once_in(6);
    let weight = |random: &mut Random| match ends {
        true => pick(random, &[-128, 127]),
        false => random.range(-128, 127) as i8,
    };
    let bias = |random: &mut Random| match extreme {
        true => word(random),
        false => random.range(-100_000, 100_000) as i32,
    };
    let mut case = Case {
        record,
        tensors,
        weights: (0..filter * count).map(|_| weight(random)).collect(),
        biases: (0..count).map(|_| bias(random)).collect(),
        multipliers: (0..count).map(|_| word(random)).collect(),
        negative_multipliers: Vec::new(),
    };
    if random.once_in(8) {
        case.negative_multipliers = (0..count).map(|_| word(random)).collect();
    }
    case
}

/// Any int32, often one of the last or of a size that leaves outputs inside their range.
fn word(random: &mut Random) -> i32 {
    match random.range(0, 5) {
        0 => pick(random, &[i32::MIN, i32::MIN + 1, -1, 0, 1, i32::MAX]),
        1 => random.range(i32::MIN.into(), i32::MAX.into()) as i32,
        _ => random.range(-1 << 24, 1 << 24) as i32,
    }
}

/// A whole-image average, which processors may run their own way.
fn average(random: &mut Random) -> Case {
    let [height, width, channels] = [random.size(1, 6), random.size(1, 6), random.size(1, 40)];
    let int16 = random.once_in(4);
    Case {
        record: LayerRecord {
            kind: LayerKind::AvgPool as u8,
            shift: random.range(20, 40) as u8,
            low: random.range(-128, 0) as i16,
            high: random.range(0, 127) as i16,
            second_input: NO_TENSOR,
            groups: 1,
            kernel_height: height,
            kernel_width: width,
            stride_height: height,
            stride_width: width,
            dilation_height: 1,
            dilation_width: 1,
            input: 1,
            output: 2,
            first_multiplier: word(random),
            bias: word(random),
            ..bytemuck::Zeroable::zeroed()
        },
        tensors: vec![
            tensor([height, width, channels], 1 + int16 as u8, random),
            tensor([1, 1, channels], 1, random),
        ],
        weights: Vec::new(),
        biases: Vec::new(),
        multipliers: Vec::new(),
        negative_multipliers: Vec::new(),
    }
}

/// Values that an embedding may have, which these outputs are.
const MOST: usize = 4096;

/// Runs the case every way, and holds all of the arena but the scratch against the portable one's.
fn compare(case: &Case, places: &Places, round: usize, random: &mut Random) {
    if case.output().len() > MOST {
        return;
    }
    let bytes = case.pack(places);
    let what = || format!("{round} {:?} {:?} {places:?}", case.record, case.tensors);
    let pack = bytes.check().unwrap_or_else(|e| panic!("{e}: {}", what()));
    // It ends where the last tensor or the scratch does, for AddressSanitizer to see who goes too far.
    let mut start = vec![0i8; places.end].into_boxed_slice();
    let ends = random.once_in(6);
    for byte in &mut start[..] {
        *byte = if ends {
            pick(random, &[-128, 127])
        } else {
            random.range(-128, 127) as i8
        };
    }
    let record = &pack.layers()[pack.layers().len() - 1];
    let layer = Layer::new(pack, record).expect("it names tensors that are there");
    let run = |run: fn(LayerKind, &Layer<'_>, &mut [i8])| {
        let mut arena = start.clone();
        run(case.kind(), &layer, &mut arena);
        arena[places.scratch..][..case.scratch_bytes()].fill(0);
        arena
    };
    let expected = run(<PortableKernels as Kernels>::run);
    for way in ways() {
        assert!(run(way.run) == expected, "{}: {}", way.name, what());
    }
}

fn compare_all(kind: LayerKind, rounds: usize) {
    let mut random = Random(kind as u64 + 40);
    for round in 0..rounds {
        let case = match kind {
            LayerKind::AvgPool => average(&mut random),
            _ => wide(kind, &mut random),
        };
        let mut places = Places::apart(&case, &mut random);
        if case.tensors.len() == 3 && case.tensors[1].element == case.tensors[2].element {
            // What is added lies where the output goes.
            if !random.once_in(3) {
                places.tensors[1] = places.tensors[2];
            }
        }
        compare(&case, &places, round, &mut random);
    }
}

const KINDS: [LayerKind; 4] = [
    LayerKind::Conv,
    LayerKind::Dense,
    LayerKind::Depthwise,
    LayerKind::AvgPool,
];

#[test]
fn every_way_writes_the_portable_bits_and_no_others() {
    for kind in KINDS {
        compare_all(kind, 3_000);
    }
}

/// `cargo test --release -p headstart -- --ignored every_way`
#[test]
#[ignore = "a hundred thousand layers of each kind take a minute or two"]
fn every_way_writes_the_portable_bits_a_hundred_thousand_times() {
    for kind in KINDS {
        compare_all(kind, 100_000);
    }
}

/// More channels than wait in one buffer, over several turns.
#[cfg(target_arch = "x86_64")]
#[test]
fn many_channels() {
    let mut random = Random(71);
    for round in 0..200 {
        let mut case = wide(LayerKind::Conv, &mut random);
        if case.record.groups > 1 {
            continue;
        }
        let outputs = random.size(200, 600);
        for tensor in &mut case.tensors[1..] {
            tensor.channels = outputs;
        }
        let filter = case.weights.len() / case.biases.len();
        let count = usize::from(outputs);
        case.weights = (0..filter * count)
            .map(|_| random.range(-128, 127) as i8)
            .collect();
        case.biases = vec![1; count];
        case.multipliers = (0..count).map(|_| word(&mut random)).collect();
        case.negative_multipliers.clear();
        let places = Places::apart(&case, &mut random);
        compare(&case, &places, round, &mut random);
    }
}
