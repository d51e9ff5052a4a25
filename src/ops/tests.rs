//! Every kernel against the definition in FORMAT.md, written out as plainly as possible: padding
//! is skipped instead of folded, sums are exact.

use std::vec;
use std::vec::Vec;

use crate::frontend::{ChannelScale, KIND_SENSOR, SensorRecord};
use crate::pack::{
    CRC_FROM, EncoderPack, LayerKind, LayerRecord, MAGIC, NO_TENSOR, PackHeader, TensorRecord,
    VERSION,
};
use crate::{PackedEncoder, encoder::EncoderError, pack::Artefact};

/// SplitMix64: *Fast splittable pseudorandom number generators*, Steele, Lea, Flood, 2014.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// `low..=high`.
    fn range(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1) as u64) as i64
    }

    fn size(&mut self, low: i64, high: i64) -> u16 {
        self.range(low, high) as u16
    }

    fn weights(&mut self, count: usize) -> Vec<i8> {
        (0..count).map(|_| self.range(-128, 127) as i8).collect()
    }

    fn words(&mut self, count: usize, low: i64, high: i64) -> Vec<i32> {
        (0..count).map(|_| self.range(low, high) as i32).collect()
    }
}

/// One layer with its parameters, as the host would hand them over.
struct Case {
    record: LayerRecord,
    tensors: Vec<TensorRecord>,
    weights: Vec<i8>,
    /// Without the zero point folded in.
    biases: Vec<i32>,
    multipliers: Vec<i32>,
    negative_multipliers: Vec<i32>,
}

fn tensor(shape: [u16; 3], zero_point: i8, element: u8) -> TensorRecord {
    let [height, width, channels] = shape;
    TensorRecord {
        offset: 0,
        height,
        width,
        channels,
        element,
        zero_point,
        scale: 1.0,
    }
}

impl Case {
    /// The pack's bytes, at a multiple of 8.
    fn pack(&self) -> Vec<u64> {
        let mut tensors = self.tensors.clone();
        let mut arena = 0;
        for t in &mut tensors {
            t.offset = arena;
            arena += (t.bytes() as u32).next_multiple_of(4);
        }
        let output = tensors[usize::from(self.record.output)];
        let (input, dim) = (tensors[0], output.len());
        let mut bytes = vec![0u8; size_of::<PackHeader>()];
        let mut add = |section: &[u8]| {
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            bytes.extend_from_slice(section);
            (bytes.len() - section.len()) as u32
        };
        let mut record = self.record;
        record.weights_at = add(bytemuck::cast_slice(&self.weights));
        record.biases_at = add(bytemuck::cast_slice(&self.folded()));
        record.multipliers_at = add(bytemuck::cast_slice(&self.multipliers));
        if !self.negative_multipliers.is_empty() {
            record.negative_multipliers_at = add(bytemuck::cast_slice(&self.negative_multipliers));
        }
        let front = SensorRecord {
            kind: KIND_SENSOR,
            shift: 1,
            channels: input.channels,
            window: input.height * input.width,
            hop: 1,
            rate_hz: 1.0,
            reserved: 0,
        };
        // Counts pass unchanged: (count * 2 + 0 + 1) >> 1.
        let scales = vec![
            ChannelScale {
                multiplier: 2,
                bias: 0
            };
            usize::from(input.channels)
        ];
        let front = [bytemuck::bytes_of(&front), bytemuck::cast_slice(&scales)].concat();
        let mut header = PackHeader {
            magic: MAGIC,
            version: VERSION,
            flags: 0,
            total_bytes: 0,
            crc32: 0,
            arena_bytes: arena,
            tensor_count: tensors.len() as u16,
            layer_count: 1,
            dim: dim as u16,
            embedding_tensor: self.record.output,
            embedding_step: 1.0,
            tensors_at: add(bytemuck::cast_slice(&tensors)),
            layers_at: add(bytemuck::bytes_of(&record)),
            frontend_at: add(&front),
            frontend_bytes: front.len() as u32,
            centre_at: add(&vec![0; 4 * dim]),
            background_at: 0,
            background_bytes: 0,
            metadata_at: add(&[]),
            metadata_bytes: 0,
            space_id: [0; 16],
            reserved: [0; 10],
        };
        header.total_bytes = bytes.len() as u32;
        let head = size_of::<PackHeader>();
        bytes[..head].copy_from_slice(bytemuck::bytes_of(&header));
        header.crc32 = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&bytes[CRC_FROM..]);
        bytes[..head].copy_from_slice(bytemuck::bytes_of(&header));
        let mut words = vec![0u64; bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(&bytes);
        words
    }

    /// Biases as the file has them.
    fn folded(&self) -> Vec<i32> {
        let zero = i32::from(self.tensors[0].zero_point);
        let filter = self.weights.len() / self.biases.len().max(1);
        let channels = self.biases.len();
        let depthwise = self.record.kind == LayerKind::Depthwise as u8;
        let fold = |(c, &bias): (usize, &i32)| {
            let own = |i: usize| {
                if depthwise {
                    i % channels == c
                } else {
                    i / filter == c
                }
            };
            let weights = self.weights.iter().enumerate().filter(|&(i, _)| own(i));
            bias - zero * weights.map(|(_, &w)| i32::from(w)).sum::<i32>()
        };
        self.biases.iter().enumerate().map(fold).collect()
    }

    fn run(&self, input: &[i8]) -> Vec<i32> {
        let words = self.pack();
        let length = bytemuck::cast_slice::<u64, u8>(&words);
        let total = u32::from_le_bytes([length[12], length[13], length[14], length[15]]) as usize;
        let pack = EncoderPack::new(&length[..total]).expect("the case is a valid pack");
        let mut arena = vec![0xAAAA_AAAA; pack.arena_bytes() / 4];
        let mut encoder: PackedEncoder = PackedEncoder::new(pack, &mut arena).unwrap();
        let counts: Vec<i16> = input.iter().map(|&v| i16::from(v)).collect();
        let out = pack.tensors()[usize::from(self.record.output)];
        let raw = &encoder.run(&counts, |_, _| {}).unwrap()[out.place()];
        match out.element {
            1 => raw.iter().map(|&v| i32::from(v)).collect(),
            _ => bytemuck::cast_slice::<i8, i16>(raw)
                .iter()
                .map(|&v| i32::from(v))
                .collect(),
        }
    }

    /// The definition.
    fn expected(&self, input: &[i8]) -> Vec<i32> {
        let (r, from, to) = (
            &self.record,
            &self.tensors[0],
            &self.tensors[usize::from(self.record.output)],
        );
        let mut out = Vec::new();
        for y in 0..i64::from(to.height) {
            for x in 0..i64::from(to.width) {
                for o in 0..usize::from(to.channels) {
                    out.push(self.value(input, r, from, to, (y, x, o)));
                }
            }
        }
        out
    }

    fn value(
        &self,
        input: &[i8],
        r: &LayerRecord,
        from: &TensorRecord,
        to: &TensorRecord,
        (y, x, o): (i64, i64, usize),
    ) -> i32 {
        let kind = r.kind().unwrap();
        let zero = i64::from(from.zero_point);
        let clamp = |v: i64| (v.clamp(i64::from(r.low), i64::from(r.high))) as i32;
        let at = |y: i64, x: i64, c: usize| {
            let inside =
                y >= 0 && y < i64::from(from.height) && x >= 0 && x < i64::from(from.width);
            let pixel = (y * i64::from(from.width) + x) as usize;
            inside.then(|| i64::from(input[pixel * usize::from(from.channels) + c]))
        };
        let taps = |visit: &mut dyn FnMut(usize, i64, i64)| {
            for ky in 0..r.kernel_height {
                for kx in 0..r.kernel_width {
                    let down = y * i64::from(r.stride_height) - i64::from(r.pad_top);
                    let right = x * i64::from(r.stride_width) - i64::from(r.pad_left);
                    visit(
                        usize::from(ky) * usize::from(r.kernel_width) + usize::from(kx),
                        down + i64::from(ky) * i64::from(r.dilation_height),
                        right + i64::from(kx) * i64::from(r.dilation_width),
                    );
                }
            }
        };
        let tap_count = usize::from(r.kernel_height) * usize::from(r.kernel_width);
        let mut acc = self.biases.get(o).map_or(0, |&b| i64::from(b));
        match kind {
            LayerKind::Conv => {
                let depth = usize::from(from.channels / r.groups);
                let group = o / usize::from(to.channels / r.groups);
                taps(&mut |tap, y, x| {
                    for i in 0..depth {
                        let weight = i64::from(self.weights[(o * tap_count + tap) * depth + i]);
                        acc += at(y, x, group * depth + i).map_or(0, |v| weight * (v - zero));
                    }
                });
            }
            LayerKind::Depthwise => {
                let source = o / usize::from(to.channels / from.channels);
                taps(&mut |tap, y, x| {
                    let weight = i64::from(self.weights[tap * usize::from(to.channels) + o]);
                    acc += at(y, x, source).map_or(0, |v| weight * (v - zero));
                });
            }
            LayerKind::Dense => {
                for (i, &v) in input.iter().enumerate() {
                    acc += i64::from(self.weights[o * input.len() + i]) * (i64::from(v) - zero);
                }
            }
            LayerKind::AvgPool => taps(&mut |_, y, x| acc += at(y, x, o).map_or(0, |v| v - zero)),
            LayerKind::MaxPool => {
                let mut best = i64::MIN;
                taps(&mut |_, y, x| best = best.max(at(y, x, o).unwrap_or(i64::MIN)));
                return clamp(best);
            }
            LayerKind::Add => unreachable!("has a test of its own"),
        }
        let negative = acc < 0 && !self.negative_multipliers.is_empty();
        let multipliers = if negative {
            &self.negative_multipliers
        } else {
            &self.multipliers
        };
        let multiplier = i128::from(multipliers[if multipliers.len() == 1 { 0 } else { o }]);
        // Round half up, in exact arithmetic: floor(value + 1/2).
        let scaled =
            (2 * i128::from(acc) * multiplier + (1i128 << r.shift)).div_euclid(2i128 << r.shift);
        let scaled = scaled.clamp(i128::from(i32::MIN), i128::from(i32::MAX)) as i64;
        clamp(scaled + i64::from(to.zero_point))
    }
}

/// A random layer that fits its own shapes.
fn case(kind: LayerKind, random: &mut Random) -> Case {
    let pool = matches!(kind, LayerKind::AvgPool | LayerKind::MaxPool);
    let groups = match kind {
        LayerKind::Conv => random.size(1, 2),
        LayerKind::Depthwise => random.size(1, 6),
        _ => 1,
    };
    let depth = if kind == LayerKind::Depthwise {
        1
    } else {
        random.size(1, 5)
    };
    let inputs = groups * depth;
    let outputs = if pool {
        inputs
    } else {
        groups * random.size(1, 4)
    };
    let (mut side, mut axes) = ([0; 2], [[1u16; 5]; 2]);
    for axis in 0..2 {
        let kernel = random.size(1, 4);
        let dilation = if pool { 1 } else { random.size(1, 2) };
        let reach = (kernel - 1) * dilation;
        let (stride, pad) = (random.size(1, 3), random.size(0, i64::from(reach)));
        side[axis] = random.size(1, 7).max((reach + 1).saturating_sub(pad));
        let last = side[axis] - 1 + pad;
        let output = random.size(1, i64::from(last / stride + 1));
        axes[axis] = [kernel, stride, dilation, pad, output];
    }
    let dense = kind == LayerKind::Dense;
    let shape = if dense {
        [1, 1, outputs]
    } else {
        [axes[0][4], axes[1][4], outputs]
    };
    let element = if kind == LayerKind::MaxPool {
        1
    } else {
        random.size(1, 2) as u8
    };
    let [a, b] = if dense { [[1; 5]; 2] } else { axes };
    let count = match kind {
        LayerKind::Dense => usize::from(side[0] * side[1] * inputs * outputs),
        _ if pool => 0,
        _ => usize::from(a[0] * b[0] * outputs * depth),
    };
    let limits = if element == 1 {
        (-128, 127)
    } else {
        (-32768, 32767)
    };
    let low = random.range(limits.0, limits.1) as i16;
    let record = LayerRecord {
        kind: kind as u8,
        shift: random.range(20, 47) as u8,
        low,
        high: random.range(low.into(), limits.1) as i16,
        input: 0,
        second_input: NO_TENSOR,
        output: 1,
        groups,
        kernel_height: a[0],
        kernel_width: b[0],
        stride_height: a[1],
        stride_width: b[1],
        dilation_height: a[2],
        dilation_width: b[2],
        pad_top: if dense { 0 } else { a[3] },
        pad_left: if dense { 0 } else { b[3] },
        ..bytemuck::Zeroable::zeroed()
    };
    let zero = random.range(-128, 127) as i8;
    let zero_out = if kind == LayerKind::MaxPool {
        zero
    } else {
        random.range(-128, 127) as i8
    };
    let channels = if pool { 1 } else { usize::from(outputs) };
    let bias = if kind == LayerKind::AvgPool {
        0
    } else {
        100_000
    };
    let mut case = Case {
        record,
        tensors: vec![
            tensor([side[0], side[1], inputs], zero, 1),
            tensor(shape, zero_out, element),
        ],
        weights: random.weights(count),
        biases: if pool {
            Vec::new()
        } else {
            random.words(channels, -bias, bias)
        },
        multipliers: random.words(channels, 0, i32::MAX.into()),
        negative_multipliers: Vec::new(),
    };
    if !pool && random.range(0, 1) == 1 {
        case.negative_multipliers = random.words(channels, 0, i32::MAX.into());
    }
    if kind == LayerKind::AvgPool {
        case.record.bias = -i32::from(zero) * i32::from(a[0] * b[0]);
    }
    case
}

#[test]
fn every_kernel_follows_the_definition_on_random_shapes_and_values() {
    let mut random = Random(7);
    for kind in LayerKind::ALL.into_iter().filter(|&k| k != LayerKind::Add) {
        for round in 0..2000 {
            let case = case(kind, &mut random);
            let input = random.weights(case.tensors[0].len());
            assert_eq!(
                case.run(&input),
                case.expected(&input),
                "{kind:?} {round} {:?}",
                case.record
            );
        }
    }
}

#[test]
fn add_follows_the_definition_apart_and_in_place() {
    let mut random = Random(8);
    for round in 0..500 {
        let shape = [random.size(1, 3), random.size(1, 4), random.size(1, 5)];
        let zero = random.range(-128, 127) as i8;
        let element = random.size(1, 2) as u8;
        let record = LayerRecord {
            kind: LayerKind::Add as u8,
            shift: random.range(8, 31) as u8,
            low: -128,
            high: 127,
            output: 1,
            groups: 1,
            first_multiplier: random.range(0, 1 << 22) as i32,
            second_multiplier: random.range(0, 1 << 22) as i32,
            bias: random.range(-1 << 29, 1 << 29) as i32,
            ..bytemuck::Zeroable::zeroed()
        };
        let tensors = vec![tensor(shape, zero, 1), tensor(shape, 3, element)];
        let none = Vec::new;
        let case = Case {
            record,
            tensors,
            weights: none(),
            biases: Vec::new(),
            multipliers: Vec::new(),
            negative_multipliers: Vec::new(),
        };
        let input = random.weights(case.tensors[0].len());
        let expected: Vec<i32> = input
            .iter()
            .map(|&v| {
                let factor =
                    i128::from(record.first_multiplier) + i128::from(record.second_multiplier);
                let sum = i128::from(v) * factor + i128::from(record.bias);
                let scaled = (2 * sum + (1 << record.shift)).div_euclid(2 << record.shift);
                (scaled + 3).clamp(-128, 127) as i32
            })
            .collect();
        assert_eq!(case.run(&input), expected, "{round}");
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let mut random = Random(9);
    let case = case(LayerKind::Dense, &mut random);
    let words = case.pack();
    let bytes = bytemuck::cast_slice::<u64, u8>(&words);
    let total = u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]) as usize;
    let pack = EncoderPack::new(&bytes[..total]).unwrap();
    let small = PackedEncoder::<crate::ops::AllKernels>::new(pack, &mut []).err();
    assert_eq!(
        small,
        Some(EncoderError::ArenaTooSmall {
            needed: pack.arena_bytes() / 4
        })
    );
    let mut arena = vec![0; pack.arena_bytes() / 4];
    let without = PackedEncoder::<crate::kernels!(Conv)>::new(pack, &mut arena).err();
    assert_eq!(without, Some(EncoderError::MissingKernel(LayerKind::Dense)));
    let _: Artefact = pack.artefact();
}
