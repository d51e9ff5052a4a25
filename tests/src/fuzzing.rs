//! What the fuzzers in `fuzz/` run; `tests/fuzz_corpus.rs` replays their corpus with the same code.
//!
//! Whatever passes the device's check must run without a panic, give the same bits in every kernel,
//! and the same bits again where every tensor and every scratch has bytes of its own.

use super::small_pack;
use headstart::ops::{AllKernels, Kernels, PortableKernels, geometry};
use headstart::pack::{CRC_FROM, LayerKind, LayerRecord, PackHeader, TensorRecord};
use headstart::{Encoder, EncoderPack, PackedEncoder};

/// Larger arenas and slower encoders are no faults, they only take time: bytes of arena, and steps of
/// the inner loops for a fuzzer and for a test.
const MOST_ARENA: usize = 1 << 20;
const SHORT: u64 = 1 << 21;
const LONG: u64 = 1 << 25;

/// Bytes at a multiple of eight, as packs want them.
pub struct Aligned {
    words: Vec<u64>,
    length: usize,
}

impl Aligned {
    /// Copies `bytes`.
    pub fn new(bytes: &[u8]) -> Aligned {
        let mut words = vec![0u64; bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Aligned {
            words,
            length: bytes.len(),
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.length]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.length]
    }

    /// Makes length and checksum match again, so that the checks behind them are reached.
    pub fn reseal(&mut self) {
        let length = self.length as u32;
        let bytes = self.bytes_mut();
        if bytes.len() < size_of::<PackHeader>() {
            return;
        }
        bytes[12..16].copy_from_slice(&length.to_le_bytes());
        let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&bytes[CRC_FROM..]);
        bytes[16..20].copy_from_slice(&crc.to_le_bytes());
    }
}

/// The fuzzer's bytes as a file: as they are, and sealed. True where one of them is a pack that ran.
pub fn file(data: &[u8]) -> bool {
    let mut bytes = Aligned::new(data);
    let whole = runs_within(bytes.bytes(), SHORT);
    bytes.reseal();
    runs_within(bytes.bytes(), SHORT) || whole
}

/// The fuzzer's bytes as the choices that make a small pack. True where it passes the check and ran.
pub fn tables(data: &[u8]) -> bool {
    let mut bytes = Aligned::new(&small_pack::build(data));
    bytes.reseal();
    runs_within(bytes.bytes(), SHORT)
}

/// Checks bytes, and where they are a pack that is small enough, runs it in every way and compares.
pub fn runs(bytes: &[u8]) -> bool {
    runs_within(bytes, LONG)
}

fn runs_within(bytes: &[u8], most_work: u64) -> bool {
    let Ok(pack) = EncoderPack::new(bytes) else {
        return false;
    };
    if pack.arena_bytes() > MOST_ARENA || work(&pack) > most_work {
        return false;
    }
    let native = outputs::<AllKernels>(pack);
    assert_eq!(native, outputs::<PortableKernels>(pack), "kernels differ");
    let apart = apart(&pack);
    if let Ok(pack) = EncoderPack::new(apart.bytes()) {
        let apart = outputs::<AllKernels>(pack);
        assert_eq!(native, apart, "the plan changes what is computed");
    } else {
        panic!("a plan in which nothing overlaps is refused");
    }
    true
}

/// What a pack may cost to run, in steps of its inner loops.
fn work(pack: &EncoderPack<'_>) -> u64 {
    let tensor = |index: u16| &pack.tensors()[usize::from(index)];
    let layer = |layer: &LayerRecord| {
        let (input, output) = (tensor(layer.input), tensor(layer.output));
        let taps = u64::from(layer.kernel_height) * u64::from(layer.kernel_width);
        let each = match layer.kind() {
            Some(LayerKind::Conv | LayerKind::Dense) => geometry::filter(layer, input) as u64,
            Some(LayerKind::Depthwise | LayerKind::AvgPool | LayerKind::MaxPool) => taps,
            _ => 1,
        };
        let stripes = output.height.div_ceil(layer.at_once.max(1));
        let fillings = u64::from(stripes) * u64::from(output.channels);
        let scratch = geometry::scratch_bytes(layer, input, output) as u64;
        // Groups of a convolution look at every pixel once more.
        let windows = output.len() as u64 * u64::from(layer.groups.max(1));
        (output.len() as u64)
            .saturating_mul(each)
            .saturating_add(fillings.saturating_mul(scratch))
            .saturating_add(windows)
    };
    pack.layers().iter().map(layer).fold(0, u64::saturating_add)
}

/// What each layer leaves, from counts that are the same in every run, and the embedding last.
fn outputs<K: Kernels>(pack: EncoderPack<'_>) -> Vec<Vec<i8>> {
    let mut random = 7u64;
    let counts: Vec<i16> = (0..pack.frontend().input_len())
        .map(|_| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (random >> 48) as i16
        })
        .collect();
    let mut arena = vec![0xAAAA_AAAA; pack.arena_bytes().div_ceil(4)];
    let mut encoder = PackedEncoder::<K>::new(pack, &mut arena).expect("memory and kernels");
    let mut left = Vec::with_capacity(pack.layers().len() + 1);
    let seen = encoder.run(counts.as_slice().into(), |i, arena| {
        let output = usize::from(pack.layers()[i].output);
        left.push(arena[pack.tensors()[output].place()].to_vec());
    });
    seen.expect("as many counts as it asks for");
    let mut embedding = vec![0; pack.dim()];
    // An embedding of nothing is none, in every run.
    if encoder
        .embed(counts.as_slice().into(), &mut embedding)
        .is_ok()
    {
        left.push(embedding);
    }
    left
}

/// The same pack with bytes of its own for every tensor and every scratch.
fn apart(pack: &EncoderPack<'_>) -> Aligned {
    let mut bytes = pack.bytes().to_vec();
    let mut header: PackHeader = bytemuck::pod_read_unaligned(&bytes[..size_of::<PackHeader>()]);
    let mut end = 0u32;
    let mut place = |length: usize| {
        let at = end;
        end = (end + length as u32).next_multiple_of(8);
        at
    };
    let mut tensors: Vec<TensorRecord> = pack.tensors().to_vec();
    for tensor in &mut tensors {
        tensor.offset = place(tensor.bytes());
    }
    let mut layers: Vec<LayerRecord> = pack.layers().to_vec();
    for layer in &mut layers {
        let tensor = |index: u16| &tensors[usize::from(index)];
        let scratch = geometry::scratch_bytes(layer, tensor(layer.input), tensor(layer.output));
        layer.scratch_at = if scratch > 0 { place(scratch) } else { 0 };
    }
    header.arena_bytes = end;
    // Behind everything: a hostile pack may read its weights from its tables.
    let mut add = |table: &[u8]| {
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend_from_slice(table);
        (bytes.len() - table.len()) as u32
    };
    header.tensors_at = add(bytemuck::cast_slice(&tensors));
    header.layers_at = add(bytemuck::cast_slice(&layers));
    bytes[..size_of::<PackHeader>()].copy_from_slice(bytemuck::bytes_of(&header));
    let mut apart = Aligned::new(&bytes);
    apart.reseal();
    apart
}
