//! A random layer as a pack.

use headstart::frontend::{ChannelScale, KIND_SENSOR, SensorRecord};
use headstart::ops::geometry;
use headstart::pack::{
    CRC_FROM, Channel, LayerKind, LayerRecord, MAGIC, NO_TENSOR, PackHeader, TensorRecord, VERSION,
};

use crate::random::Random;

/// Bytes that any case's pack fits into.
pub const PACK: usize = 96 << 10;
/// The most weights and outputs of a case.
const LARGEST: usize = 24_000;

/// The pack under construction; every section starts at a multiple of 8.
pub struct Writer<'b> {
    bytes: &'b mut [u8],
    length: usize,
}

impl Writer<'_> {
    fn add(&mut self, section: &[u8]) -> u32 {
        let at = self.reserve(section.len());
        self.bytes[at..at + section.len()].copy_from_slice(section);
        at as u32
    }

    fn reserve(&mut self, length: usize) -> usize {
        let at = self.length.next_multiple_of(8);
        self.bytes[self.length..at].fill(0);
        self.length = at + length;
        at
    }
}

fn tensor(shape: [u16; 3], element: u8, zero_point: i8) -> TensorRecord {
    let [height, width, channels] = shape;
    TensorRecord {
        offset: 0,
        height,
        width,
        channels,
        element,
        zero_point: if element == 2 { 0 } else { zero_point },
        scale: 1.0,
    }
}

/// One axis of a window: kernel, stride, dilation, padding, input, output.
fn axis(random: &mut Random, same: bool, most: u16) -> [u16; 6] {
    let kernel = if same {
        2 * random.size(0, 2) + 1
    } else {
        random.size(1, 5)
    };
    let dilation = if random.once_in(4) { 2 } else { 1 };
    let reach = (kernel - 1) * dilation;
    if same {
        let input = random.size(1, most);
        return [kernel, 1, dilation, reach / 2, input, input];
    }
    let (stride, pad) = (random.size(1, 3), random.size(0, reach));
    let input = random.size(1, most).max((reach + 1).saturating_sub(pad));
    let output = random.size(1, (input - 1 + pad) / stride + 1);
    [kernel, stride, dilation, pad, input, output]
}

/// A layer with one before it where it needs an int16 input or something to add; written into
/// `bytes`, whose used length is returned; 0 where it would be too large.
pub fn write(kind: LayerKind, random: &mut Random, bytes: &mut [u8]) -> usize {
    let adds = kind == LayerKind::Conv && random.once_in(4);
    let wide_input = kind != LayerKind::Depthwise && !adds && random.once_in(5);
    let dense = kind == LayerKind::Dense;
    let down = axis(random, adds, if dense { 3 } else { 8 });
    let across = axis(random, adds, if dense { 3 } else { 9 });
    let groups = match kind {
        LayerKind::Depthwise => random.size(1, 20),
        LayerKind::Conv if !adds && random.once_in(6) => random.size(2, 3),
        _ => 1,
    };
    let depth = if kind == LayerKind::Depthwise {
        1
    } else {
        random.size(1, 24)
    };
    let inputs = groups * depth;
    let outputs = match kind {
        _ if adds => inputs,
        LayerKind::Depthwise if random.once_in(5) => groups * random.size(2, 3),
        LayerKind::Depthwise => groups,
        _ => groups * random.size(1, 20),
    };
    let element = if adds || !random.once_in(4) { 1 } else { 2 };
    let any = |random: &mut Random| random.range(-128, 127) as i8;
    let input = tensor([down[4], across[4], inputs], 1, any(random));
    let shape = if dense {
        [1, 1, outputs]
    } else {
        [down[5], across[5], outputs]
    };
    let output = tensor(shape, element, any(random));
    let limits = if element == 1 {
        (-128, 127)
    } else {
        (-32768, 32767)
    };
    let plain = !random.once_in(3);
    let low = if plain {
        limits.0
    } else {
        random.range(limits.0, limits.1)
    };
    let point = dense.then_some(1);
    let mut layer = LayerRecord {
        kind: kind as u8,
        shift: if plain {
            32
        } else {
            random.range(20, 47) as u8
        },
        low: low as i16,
        high: if plain {
            limits.1
        } else {
            random.range(low, limits.1)
        } as i16,
        input: 0,
        second_input: NO_TENSOR,
        output: 1,
        groups,
        kernel_height: point.unwrap_or(down[0]),
        kernel_width: point.unwrap_or(across[0]),
        stride_height: point.unwrap_or(down[1]),
        stride_width: point.unwrap_or(across[1]),
        dilation_height: point.unwrap_or(down[2]),
        dilation_width: point.unwrap_or(across[2]),
        pad_top: if dense { 0 } else { down[3] },
        pad_left: if dense { 0 } else { across[3] },
        at_once: match kind {
            LayerKind::Depthwise => random.size(1, output.height),
            LayerKind::Conv if !random.once_in(4) => 4,
            _ => 1,
        },
        ..bytemuck::Zeroable::zeroed()
    };
    // The tensors: the input, what a first layer makes of it, the output.
    let mut tensors = [input, input, output];
    let mut before = LayerRecord {
        kind: LayerKind::MaxPool as u8,
        shift: 1,
        low: -128,
        high: 127,
        output: 1,
        second_input: NO_TENSOR,
        groups: 1,
        kernel_height: 1,
        kernel_width: 1,
        stride_height: 1,
        stride_width: 1,
        dilation_height: 1,
        dilation_width: 1,
        ..bytemuck::Zeroable::zeroed()
    };
    let first = adds || wide_input;
    if wide_input {
        tensors[1] = tensor([down[4], across[4], inputs], 2, 0);
        before.kind = LayerKind::AvgPool as u8;
        before.shift = 16;
        before.first_multiplier = random.range(0, 1 << 23);
        before.low = -32768;
        before.high = 32767;
        layer.input = 1;
    }
    if adds {
        layer.second_input = 1;
        layer.second_multiplier = random.word();
        layer.bias = random.word();
        layer.add_shift = if plain { 16 } else { random.range(1, 24) as u8 };
        layer.add_up = random.range(0, 24) as u8;
    }
    if first {
        layer.output = 2;
    } else {
        tensors[1] = output;
    }
    let taps = usize::from(layer.kernel_height) * usize::from(layer.kernel_width);
    let area = if dense {
        input.len()
    } else {
        taps * usize::from(depth)
    };
    if area * usize::from(outputs) > LARGEST || output.len() > 2048 {
        return 0;
    }
    let arena = place(random, &mut tensors, &mut layer);
    let count = if first { 3 } else { 2 };
    let layers = [before, layer];
    let mut out = Writer { bytes, length: 0 };
    out.reserve(size_of::<PackHeader>());
    let tensors_at = out.add(bytemuck::cast_slice(&tensors[..count]));
    let layers_at = out.reserve(size_of::<LayerRecord>() * if first { 2 } else { 1 });
    let front = SensorRecord {
        kind: KIND_SENSOR,
        shift: 1,
        channels: inputs,
        window: down[4] * across[4],
        hop: 1,
        rate_hz: 1.0,
        reserved: 0,
    };
    let frontend_at = out.add(bytemuck::bytes_of(&front));
    for _ in 0..inputs {
        // Counts pass unchanged: (count * 2 + 0 + 1) >> 1.
        let same = ChannelScale {
            multiplier: 2,
            bias: 0,
        };
        let at = out.length;
        out.length += size_of::<ChannelScale>();
        out.bytes[at..out.length].copy_from_slice(bytemuck::bytes_of(&same));
    }
    let frontend_bytes = out.length as u32 - frontend_at;
    let dim = output.len();
    let centre_at = out.reserve(4 * dim);
    out.bytes[centre_at..centre_at + 4 * dim].fill(0);
    let mut layer = layers[1];
    let from = &tensors[usize::from(layer.input)];
    parameters(random, &mut out, &mut layer, from, &output);
    let records = [before, layer];
    let records: &[u8] = bytemuck::cast_slice(if first { &records[..] } else { &records[1..] });
    out.bytes[layers_at..layers_at + records.len()].copy_from_slice(records);
    let total = out.length.next_multiple_of(8);
    out.bytes[out.length..total].fill(0);
    let header = PackHeader {
        magic: MAGIC,
        version: VERSION,
        flags: 0,
        total_bytes: total as u32,
        crc32: 0,
        arena_bytes: arena,
        tensor_count: count as u16,
        layer_count: if first { 2 } else { 1 },
        dim: dim as u16,
        embedding_tensor: layer.output,
        embedding_step: 1.0,
        tensors_at,
        layers_at: layers_at as u32,
        frontend_at,
        frontend_bytes,
        centre_at: centre_at as u32,
        background_at: 0,
        background_bytes: 0,
        metadata_at: centre_at as u32,
        metadata_bytes: 0,
        space_id: [0; 16],
        reserved: [0; 10],
    };
    seal(&mut bytes[..total], header);
    total
}

/// Puts the tensors and the scratch somewhere; where the layer allows it, the output often follows
/// its input as closely as it may.
fn place(random: &mut Random, tensors: &mut [TensorRecord; 3], layer: &mut LayerRecord) -> u32 {
    let up = |bytes: usize| (bytes as u32).next_multiple_of(8);
    let (from, to) = (usize::from(layer.input), usize::from(layer.output));
    let second = layer.second_input;
    let output = tensors[to];
    let gap = geometry::least_gap(layer, &tensors[from], &output);
    let mut end = 0;
    if second != NO_TENSOR {
        // In place of what is added.
        tensors[1].offset = 0;
        tensors[to].offset = 0;
        tensors[0].offset = up(output.bytes());
        end = tensors[0].offset + up(tensors[0].bytes());
    } else if let (Some(gap), true) = (gap, random.once_in(2)) {
        tensors[to].offset = 0;
        tensors[from].offset = up(gap);
        end = (up(gap) + up(tensors[from].bytes())).max(up(output.bytes()));
    } else {
        tensors[from].offset = 0;
        tensors[to].offset = up(tensors[from].bytes());
        end = end.max(tensors[to].offset + up(output.bytes()));
    }
    if from == 1 {
        tensors[0].offset = end;
        end += up(tensors[0].bytes());
    }
    layer.scratch_at = end;
    let scratch = geometry::scratch_bytes(layer, &tensors[from], &output);
    end + up(scratch)
}

/// Biases and multipliers up to their extremes, and weights of the full range, which come last.
fn parameters(
    random: &mut Random,
    out: &mut Writer<'_>,
    layer: &mut LayerRecord,
    input: &TensorRecord,
    output: &TensorRecord,
) {
    let channels = usize::from(output.channels);
    let at = out.reserve(channels * size_of::<Channel>());
    let tame = !random.once_in(3);
    for i in 0..channels {
        let channel = Channel {
            bias: if tame {
                random.range(-9999, 9999)
            } else {
                random.word()
            },
            multiplier: if tame {
                random.range(0, 1 << 24)
            } else {
                random.word()
            },
        };
        let from = at + i * size_of::<Channel>();
        out.bytes[from..from + size_of::<Channel>()].copy_from_slice(bytemuck::bytes_of(&channel));
    }
    layer.channels_at = at as u32;
    if random.once_in(5) {
        let at = out.reserve(4 * channels);
        for i in 0..channels {
            let multiplier = random.word().to_le_bytes();
            out.bytes[at + 4 * i..at + 4 * i + 4].copy_from_slice(&multiplier);
        }
        layer.negative_multipliers_at = at as u32;
    }
    let count = match layer.kind() {
        Some(LayerKind::Depthwise) => {
            usize::from(layer.kernel_height) * usize::from(layer.kernel_width) * channels
        }
        _ => geometry::weight_bytes(layer, input, output),
    };
    let at = out.reserve(count);
    let extreme = random.once_in(8);
    for (i, weight) in out.bytes[at..at + count].iter_mut().enumerate() {
        let value = if extreme { 0x80 } else { random.bits() as u8 };
        *weight = if fills_up(i, layer, input, output) {
            0
        } else {
            value
        };
    }
    layer.weights_at = at as u32;
}

/// Whether weight `i` is one of the zeros that fill a convolution's blocks.
fn fills_up(i: usize, layer: &LayerRecord, input: &TensorRecord, output: &TensorRecord) -> bool {
    if layer.kind() == Some(LayerKind::Depthwise) {
        return false;
    }
    let filter = geometry::filter(layer, input);
    let depth = filter.next_multiple_of(4);
    let outputs = usize::from(output.channels / layer.groups);
    let i = i % (outputs.next_multiple_of(4) * depth);
    let (block, within) = (i / (4 * depth), i % (4 * depth));
    let (out, k) = (block * 4 + within % 16 / 4, within / 16 * 4 + within % 4);
    out >= outputs || k >= filter
}

fn seal(bytes: &mut [u8], header: PackHeader) {
    let size = size_of::<PackHeader>();
    bytes[..size].copy_from_slice(bytemuck::bytes_of(&header));
    let crc32 = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&bytes[CRC_FROM..]);
    let header = PackHeader { crc32, ..header };
    bytes[..size].copy_from_slice(bytemuck::bytes_of(&header));
}
