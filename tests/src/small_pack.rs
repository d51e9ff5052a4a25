//! Packs of one to four layers, made from a fuzzer's bytes: shapes that fit for the most part, and
//! places in the arena that are as close as the format allows, or a little closer.

use super::choices::Choices;
use headstart::frontend::{ChannelScale, KIND_SENSOR, SensorRecord};
use headstart::ops::geometry;
use headstart::pack::{
    Channel, LayerKind, LayerRecord, MAGIC, NO_TENSOR, PackHeader, TensorRecord, VERSION,
};

/// Parameters have no shape that a fuzzer could learn: one byte stands for many.
struct Noise(u64);

impl Noise {
    fn word(&mut self) -> i32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as i32
    }
}

/// Where tensor 0 starts: what follows it closely lies before it.
const BASE: usize = 1 << 14;

struct Builder<'a> {
    choices: Choices<'a>,
    tensors: Vec<TensorRecord>,
    layers: Vec<LayerRecord>,
    file: Vec<u8>,
    /// The arena's bytes so far.
    end: usize,
}

/// The pack's bytes, unsealed.
pub fn build(data: &[u8]) -> Vec<u8> {
    let mut builder = Builder {
        choices: Choices::new(data),
        tensors: Vec::new(),
        layers: Vec::new(),
        file: vec![0; size_of::<PackHeader>()],
        end: BASE,
    };
    let layers = builder.choices.size(4);
    let shape = [6, 8, 12].map(|most| builder.choices.size(most));
    builder.tensor(shape, 1);
    builder.tensors[0].offset = BASE as u32;
    builder.end += builder.tensors[0].bytes();
    for _ in 0..layers {
        builder.layer();
    }
    let changes = builder.choices.below(8).saturating_sub(4);
    let mut choices = builder.choices.clone();
    let mut file = builder.finish();
    // Tables are at the end.
    for _ in 0..changes {
        let from = usize::from(choices.byte()) | usize::from(choices.byte()) << 8;
        let at = file.len() - 1 - from % file.len().min(1024);
        file[at] = choices.byte();
    }
    file
}

fn shape(tensor: &TensorRecord) -> [u16; 3] {
    [tensor.height, tensor.width, tensor.channels]
}

impl Builder<'_> {
    fn tensor(&mut self, [height, width, channels]: [u16; 3], element: u8) -> usize {
        let zero_point = self.choices.byte() as i8;
        self.tensors.push(TensorRecord {
            offset: 0,
            height,
            width,
            channels,
            element,
            zero_point: if element == 1 { zero_point } else { 0 },
            scale: 1.0,
        });
        self.tensors.len() - 1
    }

    fn add(&mut self, section: &[u8]) -> u32 {
        let at = self.file.len().next_multiple_of(8);
        self.file.resize(at, 0);
        self.file.extend_from_slice(section);
        at as u32
    }

    /// A tensor that `fits`, the last one if several do.
    fn find(&self, fits: impl Fn(&TensorRecord) -> bool) -> Option<u16> {
        self.tensors.iter().rposition(fits).map(|t| t as u16)
    }

    fn layer(&mut self) {
        let kind = LayerKind::ALL[self.choices.below(LayerKind::ALL.len())];
        let back = self.choices.below(self.tensors.len()).min(2);
        let from = self.tensors.len() - 1 - back;
        let input = self.tensors[from];
        let wide = self.choices.once_in(3);
        let narrow = matches!(kind, LayerKind::Lookup | LayerKind::Clamp);
        let mut element = if wide && !narrow { 2 } else { 1 };
        let mut record = LayerRecord {
            kind: kind as u8,
            shift: 32,
            input: from as u16,
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
        let mut to = shape(&input);
        match kind {
            LayerKind::Conv | LayerKind::Depthwise => {
                to = self.slide(&mut record, &input, true);
                self.group(kind, &mut record, &mut to);
            }
            LayerKind::Dense => {
                to = [1, 1, self.choices.size(20)];
                record.at_once = 1;
            }
            LayerKind::AvgPool => to = self.slide(&mut record, &input, false),
            LayerKind::MaxPool => {
                to = self.slide(&mut record, &input, false);
                element = input.element;
            }
            LayerKind::Add | LayerKind::Mul | LayerKind::Concat => {
                let vector = self.choices.once_in(2);
                let second = self.find(|t| match kind {
                    LayerKind::Concat => [t.height, t.width] == [to[0], to[1]],
                    LayerKind::Mul if vector => shape(t) == [1, 1, to[2]],
                    _ => shape(t) == to,
                });
                record.second_input = second.unwrap_or(from as u16);
                if kind == LayerKind::Concat {
                    to[2] += self.tensors[usize::from(record.second_input)].channels;
                }
            }
            LayerKind::Lookup | LayerKind::Clamp => {}
            LayerKind::Pad => {
                record.pad_top = self.choices.below(3) as u16;
                record.pad_left = self.choices.below(3) as u16;
                to[0] += record.pad_top + self.choices.below(3) as u16;
                to[1] += record.pad_left + self.choices.below(3) as u16;
                element = input.element;
            }
        }
        let weighted = matches!(kind, LayerKind::Conv | LayerKind::Dense);
        if weighted && self.choices.once_in(3) {
            record.second_input = self.find(|t| shape(t) == to).unwrap_or(NO_TENSOR);
        }
        let output = self.tensor(to, element);
        record.output = output as u16;
        self.stage(&mut record, element);
        self.parameters(&mut record, output);
        self.place(&mut record, output);
        self.layers.push(record);
    }

    /// A window over `input`, and what it gives.
    fn slide(&mut self, record: &mut LayerRecord, input: &TensorRecord, dilated: bool) -> [u16; 3] {
        let mut axis = |size: u16| {
            let kernel = self.choices.size(4);
            let dilation = if dilated && self.choices.once_in(3) {
                2
            } else {
                1
            };
            let reach = (kernel - 1) * dilation;
            let (stride, pad) = (self.choices.size(3), self.choices.below(reach as usize + 1));
            let most = (size - 1 + pad as u16) / stride + 1;
            let output = if self.choices.once_in(4) {
                self.choices.size(most.into())
            } else {
                most
            };
            [kernel, stride, dilation, pad as u16, output]
        };
        let (down, across) = (axis(input.height), axis(input.width));
        [record.kernel_height, record.kernel_width] = [down[0], across[0]];
        [record.stride_height, record.stride_width] = [down[1], across[1]];
        [record.dilation_height, record.dilation_width] = [down[2], across[2]];
        [record.pad_top, record.pad_left] = [down[3], across[3]];
        [down[4], across[4], input.channels]
    }

    /// Groups, output channels, and how much at once.
    fn group(&mut self, kind: LayerKind, record: &mut LayerRecord, to: &mut [u16; 3]) {
        let inputs = to[2];
        if kind == LayerKind::Depthwise {
            record.groups = inputs;
            to[2] = inputs * if self.choices.once_in(3) { 2 } else { 1 };
            record.at_once = self.choices.size(to[0].into());
            if self.choices.once_in(2) {
                record.at_once = to[0];
            }
        } else {
            let groups = self.choices.size(3);
            record.groups = if inputs.is_multiple_of(groups) {
                groups
            } else {
                1
            };
            // Rarely more channels than any kernel finishes at a time.
            let channels = self.choices.byte();
            to[2] = record.groups
                * (1 + u16::from(if channels < 252 {
                    channels % 12
                } else {
                    channels
                }));
            record.at_once = [1, 4][self.choices.below(2)];
        }
    }

    /// Shift, limits and factors: plain ones half the time, as kernels know them best.
    fn stage(&mut self, record: &mut LayerRecord, element: u8) {
        (record.low, record.high) = match element {
            1 => (-128, 127),
            _ => (i16::MIN, i16::MAX),
        };
        if self.choices.once_in(2) {
            record.shift = 1 + self.choices.below(47) as u8;
            record.low += self.choices.below(100) as i16;
            record.high -= self.choices.below(100) as i16;
        }
        if record.kind() == Some(LayerKind::Add) {
            record.shift = record.shift.min(31);
        }
        record.first_multiplier = self.choices.word();
        if record.adds() {
            record.second_multiplier = self.choices.word();
            record.bias = self.choices.word();
            let sums = matches!(record.kind(), Some(LayerKind::Conv | LayerKind::Dense));
            if sums {
                record.add_shift = 1 + self.choices.below(24) as u8;
                record.add_up = self.choices.below(25) as u8;
            }
        }
    }

    fn parameters(&mut self, record: &mut LayerRecord, output: usize) {
        let (input, output) = (
            self.tensors[usize::from(record.input)],
            self.tensors[output],
        );
        let channels = usize::from(output.channels);
        let taps = usize::from(record.kernel_height * record.kernel_width);
        let filter = geometry::filter(record, &input);
        let (count, weighted) = match record.kind() {
            Some(LayerKind::Conv | LayerKind::Dense) => {
                (geometry::weight_bytes(record, &input, &output), true)
            }
            Some(LayerKind::Depthwise) => (taps * channels, true),
            Some(LayerKind::Lookup) => (256, false),
            Some(LayerKind::Clamp) => (2 * channels, false),
            _ => return,
        };
        let mut noise = Noise(u64::from(self.choices.byte()));
        let mut weights: Vec<u8> = (0..count).map(|_| (noise.word() >> 8) as u8).collect();
        if record.kind() != Some(LayerKind::Depthwise) && weighted {
            // What fills filters up to fours is zero.
            let four = 16 * filter.div_ceil(4);
            for (i, weight) in weights.iter_mut().enumerate() {
                let k = i % four / 16 * 4 + i % 4;
                *weight = if k < filter { *weight } else { 0 };
            }
        }
        record.weights_at = self.add(&weights);
        if weighted {
            let wide = self.choices.once_in(2);
            let mut channel = || Channel {
                bias: noise.word() >> if wide { 0 } else { 12 },
                multiplier: noise.word() >> if wide { 0 } else { 4 },
            };
            let all: Vec<Channel> = (0..channels).map(|_| channel()).collect();
            record.channels_at = self.add(bytemuck::cast_slice(&all));
            if self.choices.once_in(3) {
                let all: Vec<i32> = (0..channels).map(|_| noise.word()).collect();
                record.negative_multipliers_at = self.add(bytemuck::cast_slice(&all));
            }
        }
    }

    /// Puts the output behind everything, or where it shares bytes with an input.
    fn place(&mut self, record: &mut LayerRecord, output: usize) {
        let tensor = |index: u16| self.tensors.get(usize::from(index)).copied();
        let (input, to) = (
            self.tensors[usize::from(record.input)],
            self.tensors[output],
        );
        let second = tensor(record.second_input).unwrap_or(input);
        let gap = geometry::least_gap(record, &input, &to).unwrap_or(0);
        let close = (input.offset as usize).checked_sub(gap.next_multiple_of(4));
        let slip = 4 * u32::from(self.choices.once_in(8));
        let shared = match self.choices.below(5) {
            0 | 1 => close.map(|at| at as u32 + slip),
            2 => Some(input.offset + slip),
            3 => Some(second.offset + slip),
            _ => None,
        };
        let offset = shared.unwrap_or(self.end.next_multiple_of(8) as u32);
        self.tensors[output].offset = offset;
        self.end = self.end.max(self.tensors[output].place().end);
        let scratch = geometry::scratch_bytes(record, &input, &to);
        if scratch == 0 {
            return;
        }
        let anywhere = 8 * self.choices.byte() as usize;
        let at = if self.choices.once_in(3) {
            BASE - 1024 + anywhere
        } else {
            self.end.next_multiple_of(8)
        };
        record.scratch_at = at as u32;
        self.end = self.end.max(at + scratch);
    }

    /// What is left: the tables, the front end, the header.
    fn finish(mut self) -> Vec<u8> {
        let input = self.tensors[0];
        let front = SensorRecord {
            kind: KIND_SENSOR,
            shift: 8,
            channels: input.channels,
            window: input.height * input.width,
            hop: 1,
            rate_hz: 1.0,
            reserved: 0,
        };
        let scale = ChannelScale {
            multiplier: 1,
            bias: 0,
        };
        let scales = vec![scale; usize::from(input.channels)];
        let front = [bytemuck::bytes_of(&front), bytemuck::cast_slice(&scales)].concat();
        let last = self.tensors.len() - 1;
        let dim = self.tensors[last].len();
        let (tensors, layers) = (self.tensors.clone(), self.layers.clone());
        let header = PackHeader {
            magic: MAGIC,
            version: VERSION,
            arena_bytes: self.end.next_multiple_of(4) as u32,
            tensor_count: tensors.len() as u16,
            layer_count: layers.len() as u16,
            dim: dim as u16,
            embedding_tensor: last as u16,
            embedding_step: 1.0,
            frontend_bytes: front.len() as u32,
            frontend_at: self.add(&front),
            centre_at: self.add(&vec![0; 4 * dim]),
            metadata_at: self.add(&[]),
            tensors_at: self.add(bytemuck::cast_slice(&tensors)),
            layers_at: self.add(bytemuck::cast_slice(&layers)),
            ..bytemuck::Zeroable::zeroed()
        };
        let mut file = self.file;
        file[..size_of::<PackHeader>()].copy_from_slice(bytemuck::bytes_of(&header));
        file
    }
}
