//! A case as a pack that passes the check, and its layer run alone in an arena.

use std::vec;
use std::vec::Vec;

use super::case::{Case, Random};
use crate::frontend::{ChannelScale, KIND_SENSOR, SensorRecord};
use crate::ops::{Kernels, Layer, geometry};
use crate::pack::{
    CRC_FROM, Channel, EncoderPack, LayerKind, LayerRecord, MAGIC, NO_TENSOR, PackError,
    PackHeader, TensorRecord, VERSION,
};

/// Where a case's tensors and its layer's scratch start, and where what feeds them may.
#[derive(Clone, Debug)]
pub(in crate::ops) struct Places {
    pub tensors: Vec<usize>,
    pub scratch: usize,
    pub end: usize,
}

impl Places {
    /// Everything for itself, in a random order with random gaps.
    pub fn apart(case: &Case, random: &mut Random) -> Places {
        let count = case.tensors.len();
        let mut order: Vec<usize> = (0..=count).collect();
        for i in 0..count {
            order.swap(i, random.range(i as i64, count as i64) as usize);
        }
        let mut places = Places {
            tensors: vec![0; count],
            scratch: 0,
            end: 0,
        };
        for i in order {
            places.end = places.end.next_multiple_of(8) + 4 * random.range(0, 2) as usize;
            if let Some(tensor) = case.tensors.get(i) {
                places.tensors[i] = places.end;
                places.end += tensor.bytes();
            } else {
                places.reserve(case);
            }
        }
        places
    }

    /// The output, `gap` bytes behind its start the input, then all else. A negative gap: the input
    /// starts first.
    pub fn close(case: &Case, gap: isize) -> Places {
        let last = case.tensors.len() - 1;
        let mut tensors = vec![0; case.tensors.len()];
        tensors[last] = (-gap).max(0) as usize;
        tensors[0] = gap.max(0) as usize;
        let ends = [0, last].map(|i| tensors[i] + case.tensors[i].bytes());
        let mut end = ends[0].max(ends[1]);
        for (at, tensor) in tensors.iter_mut().zip(&case.tensors).take(last).skip(1) {
            *at = end.next_multiple_of(4);
            end = *at + tensor.bytes();
        }
        let mut places = Places {
            tensors,
            scratch: 0,
            end,
        };
        places.reserve(case);
        places
    }

    /// Puts the scratch behind everything.
    pub fn reserve(&mut self, case: &Case) {
        if case.scratch_bytes() > 0 {
            self.scratch = self.end.next_multiple_of(8);
            self.end = self.scratch + case.scratch_bytes();
        }
    }
}

/// A file under construction.
struct Sections(Vec<u8>);

impl Sections {
    fn add(&mut self, section: &[u8]) -> u32 {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        self.0.extend_from_slice(section);
        (self.0.len() - section.len()) as u32
    }
}

/// A layer of zeros that makes any tensor out of tensor 0, which is a single value: a window as
/// large as its output slides over it. It takes what scratch it needs at `scratch`.
fn feed(to: usize, tensor: &TensorRecord, scratch: usize, out: &mut Sections) -> LayerRecord {
    let record = LayerRecord {
        kind: LayerKind::Conv as u8,
        shift: 1,
        second_input: NO_TENSOR,
        output: to as u16,
        groups: 1,
        kernel_height: tensor.height,
        kernel_width: tensor.width,
        stride_height: 1,
        stride_width: 1,
        dilation_height: 1,
        dilation_width: 1,
        pad_top: tensor.height - 1,
        pad_left: tensor.width - 1,
        at_once: 1,
        scratch_at: scratch as u32,
        ..bytemuck::Zeroable::zeroed()
    };
    let channels = vec![Channel::default(); usize::from(tensor.channels)];
    let weights = geometry::weight_bytes(&record, &SINGLE, tensor);
    LayerRecord {
        weights_at: out.add(&vec![0; weights]),
        channels_at: out.add(bytemuck::cast_slice(&channels)),
        ..record
    }
}

/// Tensor 0.
const SINGLE: TensorRecord = TensorRecord {
    offset: 0,
    height: 1,
    width: 1,
    channels: 1,
    element: 1,
    zero_point: 0,
    scale: 1.0,
};

/// A pack's bytes in an allocation that ends where they do, behind the layer's weights: who reads too far
/// is seen under AddressSanitizer. Every allocator of these machines starts at a multiple of 8.
pub(in crate::ops) struct Bytes(std::boxed::Box<[u8]>);

impl Bytes {
    pub fn check(&self) -> Result<EncoderPack<'_>, PackError> {
        EncoderPack::new(&self.0)
    }
}

impl Case {
    pub fn scratch_bytes(&self) -> usize {
        geometry::scratch_bytes(&self.record, self.input(), self.output())
    }

    /// Weights in the file's order.
    fn ordered(&self) -> Vec<i8> {
        if !matches!(self.kind(), LayerKind::Conv | LayerKind::Dense) {
            return self.weights.clone();
        }
        let groups = usize::from(self.record.groups);
        let outputs = usize::from(self.output().channels) / groups;
        let filter = self.weights.len() / self.biases.len();
        let weight = |channel: usize, k: usize| match k < filter
            && channel % outputs_up(outputs) < outputs
        {
            true => {
                let (group, out) = (channel / outputs_up(outputs), channel % outputs_up(outputs));
                self.weights[(group * outputs + out) * filter + k]
            }
            false => 0,
        };
        let mut blocks = Vec::new();
        for four in (0..groups * outputs_up(outputs)).step_by(4) {
            for k in (0..filter).step_by(4) {
                for channel in four..four + 4 {
                    blocks.extend((k..k + 4).map(|k| weight(channel, k)));
                }
            }
        }
        blocks
    }

    /// Biases and multipliers as the file has them.
    fn channels(&self) -> Vec<Channel> {
        let zero = i32::from(self.input().zero_point);
        let count = self.biases.len();
        let filter = self.weights.len() / count.max(1);
        let depthwise = self.kind() == LayerKind::Depthwise;
        let weights = |channel: usize| -> i32 {
            let (first, step) = match depthwise {
                true => (channel, count),
                false => (channel * filter, 1),
            };
            let own = self.weights[first..].iter().step_by(step).take(filter);
            own.map(|&w| i32::from(w)).sum()
        };
        let pairs = self.biases.iter().zip(&self.multipliers).enumerate();
        pairs
            .map(|(channel, (&bias, &multiplier))| Channel {
                bias: bias - zero * weights(channel),
                multiplier,
            })
            .collect()
    }

    /// The pack's bytes.
    pub fn pack(&self, places: &Places) -> Bytes {
        self.pack_with(places, |_| {})
    }

    /// The same after `change` was done to the layer's weights, which are in the file's order.
    pub fn pack_with(&self, places: &Places, change: impl FnOnce(&mut [i8])) -> Bytes {
        let mut weights = self.ordered();
        change(&mut weights);
        let mut out = Sections(vec![0u8; size_of::<PackHeader>()]);
        let front = places.end.next_multiple_of(4);
        let scratch = (front + 4).next_multiple_of(8);
        let mut tensors = vec![TensorRecord {
            offset: front as u32,
            ..SINGLE
        }];
        tensors.extend_from_slice(&self.tensors);
        for (tensor, &at) in tensors[1..].iter_mut().zip(&places.tensors) {
            tensor.offset = at as u32;
        }
        let mut record = LayerRecord {
            channels_at: out.add(bytemuck::cast_slice(&self.channels())),
            scratch_at: places.scratch as u32,
            ..self.record
        };
        if !self.negative_multipliers.is_empty() {
            record.negative_multipliers_at =
                out.add(bytemuck::cast_slice(&self.negative_multipliers));
        }
        let mut layers = Vec::new();
        let mut arena = scratch;
        let inputs = tensors.iter().enumerate().take(tensors.len() - 1).skip(1);
        for (i, tensor) in inputs {
            let feed = feed(i, tensor, scratch, &mut out);
            arena = arena.max(scratch + geometry::scratch_bytes(&feed, &SINGLE, tensor));
            layers.push(feed);
        }
        layers.push(record);
        seal(out, &tensors, layers, &weights, arena)
    }

    /// The output that kernels `K` leave in the arena, where tensors 1.. hold `values`.
    pub fn run<K: Kernels>(&self, places: &Places, values: &[Vec<i32>]) -> Vec<i32> {
        let bytes = self.pack(places);
        let pack = bytes
            .check()
            .unwrap_or_else(|e| panic!("{e}: {:?} {places:?}", self.record));
        let mut arena = vec![0xAAAA_AAAAu32; pack.arena_bytes() / 4];
        let arena: &mut [i8] = bytemuck::cast_slice_mut(&mut arena);
        for (tensor, values) in pack.tensors()[1..].iter().zip(values) {
            for (i, &value) in values.iter().enumerate() {
                super::super::write(arena, tensor, i, value);
            }
        }
        let record = &pack.layers()[pack.layers().len() - 1];
        let layer = Layer::new(pack, record).expect("it names tensors that are there");
        K::run(self.kind(), &layer, arena);
        let output = &pack.tensors()[usize::from(record.output)];
        (0..output.len())
            .map(|i| super::super::read(arena, output, i))
            .collect()
    }
}

fn outputs_up(outputs: usize) -> usize {
    outputs.next_multiple_of(4)
}

/// Everything else, then the last layer's weights, and the header.
fn seal(
    mut out: Sections,
    tensors: &[TensorRecord],
    mut layers: Vec<LayerRecord>,
    weights: &[i8],
    arena: usize,
) -> Bytes {
    let front = SensorRecord {
        kind: KIND_SENSOR,
        shift: 1,
        channels: 1,
        window: 1,
        hop: 1,
        rate_hz: 1.0,
        reserved: 0,
    };
    let scale = ChannelScale {
        multiplier: 2,
        bias: 0,
    };
    let front = [bytemuck::bytes_of(&front), bytemuck::bytes_of(&scale)].concat();
    let dim = tensors[tensors.len() - 1].len();
    let mut header = PackHeader {
        magic: MAGIC,
        version: VERSION,
        arena_bytes: arena.next_multiple_of(4) as u32,
        tensor_count: tensors.len() as u16,
        layer_count: layers.len() as u16,
        dim: dim as u16,
        embedding_tensor: tensors.len() as u16 - 1,
        embedding_step: 1.0,
        tensors_at: out.add(bytemuck::cast_slice(tensors)),
        frontend_at: out.add(&front),
        frontend_bytes: front.len() as u32,
        centre_at: out.add(&vec![0; 4 * dim]),
        metadata_at: out.add(&[]),
        ..bytemuck::Zeroable::zeroed()
    };
    header.layers_at = out.0.len().next_multiple_of(8) as u32;
    let behind = header.layers_at as usize + size_of_val(&layers[..]);
    if let Some(last) = layers.last_mut() {
        last.weights_at = behind.next_multiple_of(8) as u32;
    }
    out.add(bytemuck::cast_slice(&layers));
    out.add(bytemuck::cast_slice(weights));
    let Sections(mut bytes) = out;
    header.total_bytes = bytes.len() as u32;
    let head = size_of::<PackHeader>();
    bytes[..head].copy_from_slice(bytemuck::bytes_of(&header));
    header.crc32 = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&bytes[CRC_FROM..]);
    bytes[..head].copy_from_slice(bytemuck::bytes_of(&header));
    Bytes(bytes.into_boxed_slice())
}
