//! The pack's bytes, as FORMAT.md has them.

use headstart::frontend::{KIND_SENSOR, SensorRecord};
use headstart::pack::{
    CRC_FROM, LayerKind, LayerRecord, MAGIC, NO_TENSOR, PackHeader, TensorRecord, VERSION,
};

use super::Layout;
use crate::encoder_file::{Background, EncoderFile};
use crate::graph::{Graph, Layer, Op, Window};
use crate::quantize::{self, QuantizedLayer, Scale};

/// Bytes under construction; every section starts at a multiple of 8.
struct Sections(Vec<u8>);

impl Sections {
    fn add(&mut self, bytes: &[u8]) -> u32 {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        let at = self.0.len() as u32;
        self.0.extend_from_slice(bytes);
        at
    }

    fn words(&mut self, words: &[i32]) -> u32 {
        self.add(bytemuck::cast_slice(words))
    }
}

/// Writes the pack.
pub fn write(
    encoder: &EncoderFile,
    graph: &Graph,
    scales: &[Scale],
    layers: &[QuantizedLayer],
    layout: &Layout,
    no_background: bool,
) -> anyhow::Result<Vec<u8>> {
    let dim = graph.tensors[graph.embedding].len();
    let Some(background) = &encoder.background else {
        anyhow::bail!(
            "the encoder has no background mean, which its embedding space needs: `headstart pretrain` writes one"
        );
    };
    anyhow::ensure!(
        background.mean.len() == dim,
        "the background mean does not have {dim} values"
    );
    let mut out = Sections(vec![0; size_of::<PackHeader>()]);
    let tensors = (0..graph.tensors.len()).map(|t| tensor(graph, scales, layout, t));
    let tensors: Vec<TensorRecord> = tensors.collect::<anyhow::Result<_>>()?;
    let tensors_at = out.add(bytemuck::cast_slice(&tensors));
    let layers_at = out.add(&vec![0; size_of::<LayerRecord>() * layers.len()]);

    let front = frontend(encoder, scales[0])?;
    let frontend_at = out.add(&front);
    let step = f64::from(encoder.embedding_step);
    let centre = background
        .mean
        .iter()
        .map(|&m| (f64::from(m) / step).round() as i32);
    let centre_at = out.words(&centre.collect::<Vec<_>>());
    let statistics = if no_background {
        Vec::new()
    } else {
        background_section(background)
    };
    let background_at = if statistics.is_empty() {
        0
    } else {
        out.add(bytemuck::cast_slice(&statistics))
    };
    let metadata = metadata(encoder);
    let metadata_at = out.add(metadata.as_bytes());

    let mut records = Vec::with_capacity(layers.len());
    for (layer, quantized) in graph.layers.iter().zip(layers) {
        records.push(record(layer, quantized, &mut out)?);
    }
    let table = layers_at as usize;
    let records: &[u8] = bytemuck::cast_slice(&records);
    out.0[table..table + records.len()].copy_from_slice(records);
    out.0.resize(out.0.len().next_multiple_of(8), 0);

    let header = PackHeader {
        magic: MAGIC,
        version: VERSION,
        flags: 0,
        total_bytes: u32::try_from(out.0.len())?,
        crc32: 0,
        arena_bytes: u32::try_from(layout.arena)?,
        tensor_count: u16::try_from(graph.tensors.len())?,
        layer_count: u16::try_from(layers.len())?,
        dim: u16::try_from(dim)?,
        embedding_tensor: u16::try_from(graph.embedding)?,
        embedding_step: encoder.embedding_step,
        tensors_at,
        layers_at,
        frontend_at,
        frontend_bytes: front.len() as u32,
        centre_at,
        background_at,
        background_bytes: 4 * statistics.len() as u32,
        metadata_at,
        metadata_bytes: metadata.len() as u32,
        space_id: encoder.space_id,
        reserved: [0; 10],
    };
    Ok(seal(out.0, header))
}

/// Puts the header in front, checksum last.
fn seal(mut bytes: Vec<u8>, header: PackHeader) -> Vec<u8> {
    let size = size_of::<PackHeader>();
    bytes[..size].copy_from_slice(bytemuck::bytes_of(&header));
    let crc32 = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&bytes[CRC_FROM..]);
    let header = PackHeader { crc32, ..header };
    bytes[..size].copy_from_slice(bytemuck::bytes_of(&header));
    bytes
}

fn tensor(
    graph: &Graph,
    scales: &[Scale],
    layout: &Layout,
    t: usize,
) -> anyhow::Result<TensorRecord> {
    let [height, width, channels] = graph.tensors[t].shape.map(u16::try_from);
    let scale = scales[t];
    Ok(TensorRecord {
        offset: u32::try_from(layout.offsets[t])?,
        height: height?,
        width: width?,
        channels: channels?,
        element: if scale.wide { 2 } else { 1 },
        zero_point: if scale.wide {
            0
        } else {
            i8::try_from(scale.zero_point)?
        },
        scale: scale.step as f32,
    })
}

fn record(layer: &Layer, q: &QuantizedLayer, out: &mut Sections) -> anyhow::Result<LayerRecord> {
    let point = Window {
        kernel: [1, 1],
        stride: [1, 1],
        dilation: [1, 1],
        pad: [0, 0],
        groups: 1,
    };
    let (kind, window) = match &layer.op {
        Op::Conv(window, _) => (LayerKind::Conv, window),
        Op::Depthwise(window, _) => (LayerKind::Depthwise, window),
        Op::Dense(_) => (LayerKind::Dense, &point),
        Op::AvgPool(window) => (LayerKind::AvgPool, window),
        Op::MaxPool(window) => (LayerKind::MaxPool, window),
        Op::Add => (LayerKind::Add, &point),
    };
    let weights: &[u8] = bytemuck::cast_slice(&q.weights);
    let pair = |p: [usize; 2]| -> anyhow::Result<[u16; 2]> {
        Ok([u16::try_from(p[0])?, u16::try_from(p[1])?])
    };
    let ([kernel_height, kernel_width], [stride_height, stride_width]) =
        (pair(window.kernel)?, pair(window.stride)?);
    let ([dilation_height, dilation_width], [pad_top, pad_left]) =
        (pair(window.dilation)?, pair(window.pad)?);
    let mut place = |words: &[i32]| {
        if words.is_empty() {
            0
        } else {
            out.words(words)
        }
    };
    let biases_at = place(&q.biases);
    let multipliers_at = place(&q.multipliers);
    let negative_multipliers_at = place(&q.negative_multipliers);
    Ok(LayerRecord {
        kind: kind as u8,
        shift: q.shift,
        low: i16::try_from(q.low)?,
        high: i16::try_from(q.high)?,
        input: u16::try_from(layer.inputs[0])?,
        second_input: layer
            .inputs
            .get(1)
            .map_or(Ok(NO_TENSOR), |&t| u16::try_from(t))?,
        output: u16::try_from(layer.output)?,
        groups: u16::try_from(window.groups)?,
        kernel_height,
        kernel_width,
        stride_height,
        stride_width,
        dilation_height,
        dilation_width,
        pad_top,
        pad_left,
        reserved: 0,
        weights_at: if weights.is_empty() {
            0
        } else {
            out.add(weights)
        },
        biases_at,
        multipliers_at,
        negative_multipliers_at,
        first_multiplier: q.add[0],
        second_multiplier: q.add[1],
        bias: q.bias,
        reserved_end: 0,
    })
}

fn frontend(encoder: &EncoderFile, input: Scale) -> anyhow::Result<Vec<u8>> {
    let front = &encoder.frontend;
    let (scales, shift) = quantize::frontend(front, input)?;
    let head = SensorRecord {
        kind: KIND_SENSOR,
        shift,
        channels: u16::try_from(front.channels)?,
        window: u16::try_from(front.window)?,
        hop: u16::try_from(front.hop)?,
        rate_hz: front.rate,
        reserved: 0,
    };
    Ok([bytemuck::bytes_of(&head), bytemuck::cast_slice(&scales)].concat())
}

/// Rank, total, projection, two diagonals, calibration: 32-bit words.
fn background_section(background: &Background) -> Vec<f32> {
    let head = [
        f32::from_bits(background.within.len() as u32),
        background.within_total,
    ];
    [
        &head,
        &background.projection[..],
        &background.within,
        &background.between,
        &background.calibration,
    ]
    .concat()
}

fn metadata(encoder: &EncoderFile) -> String {
    let line = |(key, value): (&String, &String)| format!("{key}={}\n", value.replace('\n', " "));
    encoder.provenance.iter().map(line).collect()
}
