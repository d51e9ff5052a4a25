//! Random layers that fit their own shapes.

use std::vec;
use std::vec::Vec;

use crate::pack::{LayerKind, LayerRecord, NO_TENSOR, TensorRecord};

/// SplitMix64: *Fast splittable pseudorandom number generators*, Steele, Lea, Flood, 2014.
pub(in crate::ops) struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// `low..=high`.
    pub fn range(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1) as u64) as i64
    }

    pub fn size(&mut self, low: i64, high: i64) -> u16 {
        self.range(low, high) as u16
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: i64) -> bool {
        self.range(1, times) == 1
    }

    fn words(&mut self, count: usize, low: i64, high: i64) -> Vec<i32> {
        (0..count).map(|_| self.range(low, high) as i32).collect()
    }

    fn bytes(&mut self, count: usize) -> Vec<i8> {
        (0..count).map(|_| self.range(-128, 127) as i8).collect()
    }

    /// Values of a tensor; now and then only the ends of the range, where sums are largest.
    pub fn values(&mut self, tensor: &TensorRecord) -> Vec<i32> {
        let (low, high) = limits(tensor.element);
        let ends = self.once_in(8);
        let value = |random: &mut Random| match ends {
            true => [low, high][random.range(0, 1) as usize],
            false => random.range(low, high),
        };
        (0..tensor.len()).map(|_| value(self) as i32).collect()
    }
}

fn limits(element: u8) -> (i64, i64) {
    match element {
        1 => (-128, 127),
        _ => (-32768, 32767),
    }
}

/// One layer with its parameters as a mathematician would write them down. The pack's tensor 0 is
/// not among them: it only feeds the others.
pub(in crate::ops) struct Case {
    pub record: LayerRecord,
    /// Tensors 1.. of the pack: the input, a second where there is one, the output.
    pub tensors: Vec<TensorRecord>,
    /// Conv `[out][kh][kw][in / groups]`, Depthwise `[kh][kw][out]`, Dense `[out][in]`.
    pub weights: Vec<i8>,
    /// Without the zero point folded in.
    pub biases: Vec<i32>,
    pub multipliers: Vec<i32>,
    pub negative_multipliers: Vec<i32>,
}

pub(in crate::ops) fn tensor(shape: [u16; 3], element: u8, random: &mut Random) -> TensorRecord {
    let [height, width, channels] = shape;
    TensorRecord {
        offset: 0,
        height,
        width,
        channels,
        element,
        zero_point: match element {
            1 => random.range(-128, 127) as i8,
            _ => 0,
        },
        scale: 1.0,
    }
}

impl Case {
    pub fn kind(&self) -> LayerKind {
        self.record.kind().unwrap()
    }

    pub fn input(&self) -> &TensorRecord {
        &self.tensors[0]
    }

    pub fn output(&self) -> &TensorRecord {
        &self.tensors[self.tensors.len() - 1]
    }

    /// A random layer.
    pub fn random(kind: LayerKind, random: &mut Random) -> Case {
        match kind {
            LayerKind::Conv | LayerKind::Depthwise | LayerKind::Dense => weighted(kind, random),
            LayerKind::AvgPool | LayerKind::MaxPool => pool(kind, random),
            _ => by_value(kind, random),
        }
    }

    fn new(record: LayerRecord, tensors: Vec<TensorRecord>) -> Case {
        Case {
            record: LayerRecord {
                input: 1,
                output: tensors.len() as u16,
                ..record
            },
            tensors,
            weights: Vec::new(),
            biases: Vec::new(),
            multipliers: Vec::new(),
            negative_multipliers: Vec::new(),
        }
    }
}

/// Kind, window of one element, and an output stage; half of them as kernels know it best.
fn record(kind: LayerKind, element: u8, random: &mut Random) -> LayerRecord {
    let (lowest, highest) = limits(element);
    let low = random.range(lowest, highest);
    let high = random.range(low, highest);
    let plain = random.once_in(2);
    LayerRecord {
        kind: kind as u8,
        shift: if plain {
            32
        } else {
            random.range(20, 47) as u8
        },
        low: if plain { lowest } else { low } as i16,
        high: if plain { highest } else { high } as i16,
        second_input: NO_TENSOR,
        groups: 1,
        kernel_height: 1,
        kernel_width: 1,
        stride_height: 1,
        stride_width: 1,
        dilation_height: 1,
        dilation_width: 1,
        ..bytemuck::Zeroable::zeroed()
    }
}

/// One direction of a window.
struct Axis {
    kernel: u16,
    stride: u16,
    dilation: u16,
    pad: u16,
    input: u16,
    output: u16,
}

/// Kernels and strides of any proportion, now and then along a single row or column.
fn axis(dilated: bool, random: &mut Random) -> Axis {
    let kernel = random.size(1, 4);
    let dilation = if dilated { random.size(1, 3) } else { 1 };
    let reach = (kernel - 1) * dilation;
    let pad = random.size(0, reach.into());
    let stride = random.size(1, 5);
    let most = if random.once_in(6) { 1 } else { 9 };
    let input = random.size(1, most).max((reach + 1).saturating_sub(pad));
    let most = (input - 1 + pad) / stride + 1;
    Axis {
        kernel,
        stride,
        dilation,
        pad,
        input,
        output: if random.once_in(2) {
            most
        } else {
            random.size(1, most.into())
        },
    }
}

fn slide(record: LayerRecord, down: &Axis, across: &Axis) -> LayerRecord {
    LayerRecord {
        kernel_height: down.kernel,
        kernel_width: across.kernel,
        stride_height: down.stride,
        stride_width: across.stride,
        dilation_height: down.dilation,
        dilation_width: across.dilation,
        pad_top: down.pad,
        pad_left: across.pad,
        ..record
    }
}

fn weighted(kind: LayerKind, random: &mut Random) -> Case {
    let (conv, dense) = (kind == LayerKind::Conv, kind == LayerKind::Dense);
    let groups = match kind {
        LayerKind::Conv if random.once_in(3) => random.size(2, 3),
        LayerKind::Depthwise => random.size(1, 12),
        _ => 1,
    };
    let depth = if kind == LayerKind::Depthwise {
        1
    } else {
        random.size(1, 9)
    };
    let each = match kind {
        LayerKind::Depthwise if random.once_in(2) => 1,
        LayerKind::Depthwise => random.size(1, 4),
        _ => random.size(1, 11),
    };
    let (down, across) = (axis(!dense, random), axis(!dense, random));
    // Rarely more channels than any kernel finishes at a time.
    let few = dense || conv && groups == 1 && down.output * across.output < 16;
    let each = match few && random.once_in(30) {
        true => random.size(250, 270),
        false => each,
    };
    let from = [down.input, across.input, groups * depth];
    let to = match dense {
        true => [1, 1, each],
        false => [down.output, across.output, groups * each],
    };
    let wide = (kind != LayerKind::Depthwise && random.once_in(3)) as u8;
    let element = random.size(1, 2) as u8;
    let mut record = record(kind, element, random);
    record.at_once = match kind {
        LayerKind::Depthwise => random.size(1, to[0].into()),
        LayerKind::Conv if random.once_in(2) => 4,
        _ => 1,
    };
    record.groups = groups;
    let (mut taps, mut filter) = (1, usize::from(from[0] * from[1] * from[2]));
    if !dense {
        record = slide(record, &down, &across);
        taps = usize::from(down.kernel * across.kernel);
        filter = taps * usize::from(depth);
    }
    let mut tensors = vec![tensor(from, 1 + wide, random), tensor(to, element, random)];
    if (conv || dense) && random.once_in(3) {
        (record.second_input, record.add_up) = (2, random.range(0, 24) as u8);
        record.add_shift = random.range(1, 24) as u8;
        record.second_multiplier = random.range(-1 << 31, (1 << 31) - 1) as i32;
        record.bias = random.range(-1 << 31, (1 << 31) - 1) as i32;
        let element = if random.once_in(2) {
            element
        } else {
            3 - element
        };
        tensors.insert(1, tensor(to, element, random));
        if from == to && random.once_in(2) {
            // Adds what it is made from.
            tensors.remove(1);
            record.second_input = 1;
        }
    }
    let outputs = usize::from(to[2]);
    let mut case = Case::new(record, tensors);
    case.weights = match kind {
        LayerKind::Depthwise => random.bytes(taps * outputs),
        _ => random.bytes(filter * outputs),
    };
    case.biases = random.words(outputs, -100_000, 100_000);
    case.multipliers = random.words(outputs, 0, i32::MAX.into());
    if random.once_in(3) {
        case.negative_multipliers = random.words(outputs, 0, i32::MAX.into());
    }
    case
}

fn pool(kind: LayerKind, random: &mut Random) -> Case {
    let (down, across) = (axis(false, random), axis(false, random));
    let channels = random.size(1, 9);
    let from = random.size(1, 2) as u8;
    let to = match kind {
        LayerKind::MaxPool => from,
        _ => random.size(1, 2) as u8,
    };
    let input = tensor([down.input, across.input, channels], from, random);
    let mut output = tensor([down.output, across.output, channels], to, random);
    let mut record = slide(record(kind, to, random), &down, &across);
    if kind == LayerKind::MaxPool {
        output.zero_point = input.zero_point;
    } else {
        let taps = i32::from(down.kernel * across.kernel);
        record.bias = random.range(-50, 50) as i32 - taps * i32::from(input.zero_point);
        record.first_multiplier = random.range(0, i32::MAX.into()) as i32;
    }
    Case::new(record, vec![input, output])
}

/// Layers that work value by value.
fn by_value(kind: LayerKind, random: &mut Random) -> Case {
    let shape = [random.size(1, 4), random.size(1, 5), random.size(1, 6)];
    let [height, width, channels] = shape;
    let narrow = matches!(kind, LayerKind::Lookup | LayerKind::Clamp);
    let mut element = || if narrow { 1 } else { random.size(1, 2) as u8 };
    let (mut first, second, mut last) = (element(), element(), element());
    if random.once_in(2) {
        (first, last) = (second, second);
    }
    if kind == LayerKind::Pad {
        last = first;
    }
    let mut record = record(kind, last, random);
    let mut tensors = vec![tensor(shape, first, random), tensor(shape, last, random)];
    let mut with = |shape, record: &mut LayerRecord, random: &mut Random| {
        tensors.insert(1, tensor(shape, second, random));
        record.second_input = 2;
    };
    let factor = |random: &mut Random| random.range(-1 << 30, 1 << 30) as i32;
    let mut weights = Vec::new();
    match kind {
        LayerKind::Add => {
            with(shape, &mut record, random);
            record.shift = record.shift.min(31);
        }
        LayerKind::Mul if random.once_in(2) => with([1, 1, channels], &mut record, random),
        LayerKind::Mul => with(shape, &mut record, random),
        LayerKind::Concat => {
            let more = random.size(1, 6);
            with([height, width, more], &mut record, random);
            tensors[2].channels += more;
        }
        LayerKind::Lookup => weights = random.bytes(256),
        LayerKind::Clamp => weights = random.bytes(2 * usize::from(channels)),
        _ => {
            (record.pad_top, record.pad_left) = (random.size(0, 3), random.size(0, 3));
            tensors[1].height += record.pad_top + random.size(0, 2);
            tensors[1].width += record.pad_left + random.size(0, 2);
        }
    }
    record.first_multiplier = factor(random);
    record.second_multiplier = factor(random);
    if kind == LayerKind::Add {
        record.bias = factor(random);
        record.first_multiplier >>= random.range(0, 20);
        record.second_multiplier >>= random.range(0, 20);
    }
    let same = record.second_input == 2 && tensors[0].place() == tensors[1].place();
    if same && first == second && random.once_in(4) {
        tensors.remove(1);
        record.second_input = 1;
    }
    let mut case = Case::new(record, tensors);
    case.weights = weights;
    case
}
