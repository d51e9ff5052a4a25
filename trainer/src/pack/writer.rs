//! The pack's bytes, as FORMAT.md has them.

use headstart::frontend::settings::Arena;
use headstart::pack::{CRC_FROM, LayerRecord, MAGIC, PackHeader, TensorRecord, VERSION};

use super::{Layout, records};
use crate::encoder_file::{Background, EncoderFile};
use crate::graph::{Graph, Layer};
use crate::quantize::{QuantizedLayer, Scale};

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
    let nothing_known = encoder.centre.clone().unwrap_or_else(|| vec![0.0; dim]);
    let background = encoder.background.as_ref();
    let mean = background.map_or(&nothing_known, |b| &b.mean);
    anyhow::ensure!(
        mean.len() == dim,
        "the background mean does not have {dim} values"
    );
    let mut out = Sections(vec![0; size_of::<PackHeader>()]);
    let placed = |t: usize| -> anyhow::Result<TensorRecord> {
        Ok(TensorRecord {
            offset: u32::try_from(layout.offsets[t])?,
            ..records::tensor(graph, scales, t)?
        })
    };
    let tensors: Vec<TensorRecord> = (0..graph.tensors.len())
        .map(placed)
        .collect::<anyhow::Result<_>>()?;
    let tensors_at = out.add(bytemuck::cast_slice(&tensors));
    let layers_at = out.add(&vec![0; size_of::<LayerRecord>() * layers.len()]);

    let input = tensors[0].place();
    let arena = Arena {
        bytes: layout.arena,
        input,
        dim,
    };
    let front = encoder
        .frontend
        .section(scales[0].step, scales[0].zero_point, arena)?;
    let frontend_at = out.add(&front.bytes);
    let step = f64::from(encoder.embedding_step);
    let centre = mean.iter().map(|&m| (f64::from(m) / step).round() as i32);
    let centre_at = out.words(&centre.collect::<Vec<_>>());
    let statistics = match background {
        Some(background) if !no_background => background_section(background),
        _ => Vec::new(),
    };
    let background_at = if statistics.is_empty() {
        0
    } else {
        out.add(bytemuck::cast_slice(&statistics))
    };
    let metadata = metadata(encoder);
    let metadata_at = out.add(metadata.as_bytes());

    let mut records = Vec::with_capacity(layers.len());
    for (i, (layer, quantized)) in graph.layers.iter().zip(layers).enumerate() {
        let place = (layout.at_once[i], layout.scratch[i]);
        records.push(record(layer, quantized, place, &mut out)?);
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
        arena_bytes: u32::try_from(front.arena_bytes)?,
        tensor_count: u16::try_from(graph.tensors.len())?,
        layer_count: u16::try_from(layers.len())?,
        dim: u16::try_from(dim)?,
        embedding_tensor: u16::try_from(graph.embedding)?,
        embedding_step: encoder.embedding_step,
        tensors_at,
        layers_at,
        frontend_at,
        frontend_bytes: front.bytes.len() as u32,
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

fn record(
    layer: &Layer,
    q: &QuantizedLayer,
    (at_once, scratch): (u16, usize),
    out: &mut Sections,
) -> anyhow::Result<LayerRecord> {
    let place = |bytes: &[u8], out: &mut Sections| match bytes {
        [] => 0,
        bytes => out.add(bytes),
    };
    let weights_at = place(bytemuck::cast_slice(&records::weights(layer, q)), out);
    let channels_at = place(bytemuck::cast_slice(&records::channels(q)), out);
    let negative_multipliers_at = place(bytemuck::cast_slice(&q.negative_multipliers), out);
    Ok(LayerRecord {
        weights_at,
        channels_at,
        negative_multipliers_at,
        ..records::layer(layer, q, at_once, scratch)?
    })
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
