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

/// D of the logs that are fuzzed.
const D: usize = 16;

/// The fuzzer's bytes as flash, in pages of 256, with checksums that match: what opens is used, and opens
/// again. True where it opened.
pub fn log(data: &[u8]) -> bool {
    const SLOT: usize = 28;
    let Some((&[flags, worn], data)) = data.split_first_chunk() else {
        return false;
    };
    let mut flash = Small {
        bytes: vec![0xff; 8 * 256],
        worn: usize::from(worn) % 16,
    };
    let length = data.len().min(flash.bytes.len());
    flash.bytes[..length].copy_from_slice(&data[..length]);
    let seal = |bytes: &mut [u8]| {
        let end = bytes.len() - 4;
        let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&bytes[..end]);
        bytes[end..].copy_from_slice(&crc.to_le_bytes());
    };
    if flags & 1 != 0 {
        for page in flash.bytes.chunks_exact_mut(256) {
            let (header, slots) = page.split_at_mut(64);
            if header[0] == b'H' {
                header[..8].copy_from_slice(b"HSLOG\r\n\0");
                header[8..12].copy_from_slice(&[1, 0, D as u8, 0]);
                header[20..60].fill(0);
                seal(header);
            }
            for slot in slots.chunks_exact_mut(SLOT) {
                if b"SNPLMOFC".contains(&slot[0]) {
                    seal(slot);
                }
            }
        }
    }
    let opened = use_log(&mut flash, flags & 2 != 0, true);
    use_log(&mut flash, flags & 2 != 0, false);
    opened
}

/// Opens the log, and changes it where `change` says so. False where it did not open, or wants to be
/// opened again.
fn use_log(flash: &mut Small, rewritable: bool, change: bool) -> bool {
    use headstart::store::{LogClass, StoreError};
    use headstart::{Embedding, Label, SampleId, SampleLog, Statistics};
    let mut words = [0; Statistics::words(D, 4)];
    let mut labels = [const { Label::new() }; 4];
    let statistics = Statistics::new(D, [0; 32], &mut words, &mut labels);
    let mut statistics = statistics.expect("the buffers are long enough");
    let mut classes = [LogClass::NONE; 4];
    let mut buffer = [0; SampleLog::<&mut Small>::buffer_bytes(D)];
    let range = 0..flash.bytes.len() as u32;
    let log = match rewritable {
        true => SampleLog::open_rewritable(flash, range, &statistics, &mut classes, &mut buffer),
        false => SampleLog::open(flash, range, &statistics, &mut classes, &mut buffer),
    };
    let Ok(mut log) = log else {
        return false;
    };
    let _ = log.restore(&mut statistics);
    let mut failed = Vec::new();
    if change {
        let e = Embedding::new(&[1; D]).expect("not zero");
        let learnt = log.learn("row", e);
        let last = learnt.unwrap_or(SampleId(3));
        failed.extend(learnt.err());
        failed.extend(log.rename("row", "curl").err());
        failed.extend(log.forget(last).err());
        failed.extend(log.forget_class("press").err());
    }
    let mut sum = 0;
    let visited = log.for_each(|id, label, e| {
        sum += id.0 as usize % 7 + label.len() + e.dim();
    });
    let again = |e: &StoreError| matches!(e, StoreError::Reopen | StoreError::Worn);
    visited.is_ok() && !failed.iter().any(again)
}

/// Pages of 256 bytes, of which one does not erase.
struct Small {
    bytes: Vec<u8>,
    worn: usize,
}

impl embedded_storage::nor_flash::ErrorType for Small {
    type Error = core::convert::Infallible;
}

impl embedded_storage::nor_flash::ReadNorFlash for Small {
    const READ_SIZE: usize = 1;
    fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), Self::Error> {
        out.copy_from_slice(&self.bytes[offset as usize..][..out.len()]);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl embedded_storage::nor_flash::NorFlash for Small {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 256;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        if from as usize / 256 != self.worn {
            self.bytes[from as usize..to as usize].fill(0xff);
        }
        Ok(())
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        let own = &mut self.bytes[offset as usize..][..bytes.len()];
        own.iter_mut().zip(bytes).for_each(|(own, new)| *own &= new);
        Ok(())
    }
}

impl embedded_storage::nor_flash::MultiwriteNorFlash for Small {}

/// The fuzzer's bytes as a snapshot of statistics, sealed: what is taken over is saved as the same
/// bytes. True where it was taken over.
pub fn snapshot(data: &[u8]) -> bool {
    use headstart::{Embedding, Label, Statistics};
    const DIM: usize = 4;
    let mut bytes = data.to_vec();
    if bytes.len() > 56 && data[0] & 1 == 0 {
        bytes[..10].copy_from_slice(b"HSSTAT\r\n\x01\0");
        bytes[11] = 0;
        bytes[12..14].copy_from_slice(&[DIM as u8, 0]);
        bytes[20..52].fill(0);
        let end = bytes.len() - 4;
        let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&bytes[..end]);
        bytes[end..].copy_from_slice(&crc.to_le_bytes());
    }
    let mut words = [0; Statistics::gram_words(DIM, 6)];
    let mut labels = [const { Label::new() }; 6];
    let gram = bytes.get(10) == Some(&2);
    let statistics = match gram {
        true => Statistics::with_gram(DIM, [0; 32], &mut words, &mut labels),
        false => Statistics::new(DIM, [0; 32], &mut words, &mut labels),
    };
    let Ok(mut statistics) = statistics else {
        return false;
    };
    if statistics.restore(&bytes).is_err() {
        return false;
    }
    let mut out = vec![0; bytes.len()];
    let length = statistics.save(&mut out).expect("as long as what was read");
    assert_eq!(out[..length], bytes[..length]);
    if let Ok(e) = Embedding::new(&[127, -127, 5, 0]) {
        let _ = statistics.learn("new", e);
        let _ = statistics.forget("new", e);
        let _ = statistics.rename("new", "newer");
    }
    true
}

/// The fuzzer's bytes on a wire to a device: as they are, and cut into messages (a length, then as many
/// bytes) that are sealed. A request that comes twice is done once and answered alike. True where one
/// was done.
pub fn wire(data: &[u8]) -> bool {
    use headstart::learner::WhenFull;
    use headstart::store::LogClass;
    use headstart::wire::{Device, Input, Server};
    use headstart::{Label, Learner, PrototypeHead, SampleLog, Samples, Statistics};
    let Some((&flags, data)) = data.split_first() else {
        return false;
    };
    let mut words = [0; Statistics::gram_words(D, 3)];
    let mut labels = [const { Label::new() }; 3];
    let statistics = match flags & 1 {
        0 => Statistics::new(D, [0; 32], &mut words, &mut labels),
        _ => Statistics::with_gram(D, [0; 32], &mut words, &mut labels),
    };
    let statistics = statistics.expect("the buffers are long enough");
    let mut flash = Small {
        bytes: vec![0xff; 8 * 256],
        worn: usize::from(flags >> 4),
    };
    let mut classes = [LogClass::NONE; 3];
    let mut buffer = [0; SampleLog::<&mut Small>::buffer_bytes(D)];
    let range = 0..flash.bytes.len() as u32;
    let log = SampleLog::open_rewritable(&mut flash, range, &statistics, &mut classes, &mut buffer);
    let mut embedding = [0; 2 * D];
    let learner = Learner::new(Counts, statistics, PrototypeHead::new(None), &mut embedding);
    let learner = learner.expect("the buffers are long enough");
    let input = Input::Sensor {
        window: 4,
        channels: 4,
        hop: 2,
        rate_hz: 50.0,
    };
    // Shorter than some replies, at either address.
    let (mut request, mut reply) = ([0; 97], [0; 120]);
    let odd = usize::from(flags >> 3 & 1);
    let mut server = Server::new(&mut request[odd..], &mut reply[odd..]);
    match (flags & 2, log) {
        (0, Ok(log)) => {
            let mut device = Device::new(learner, input, ()).with_log(log, WhenFull::DropOldest);
            talk(data, &mut server, &mut device)
        }
        _ => {
            let mut samples = [0; Samples::bytes(D, 5)];
            let learner = match flags & 4 {
                0 => learner,
                _ => (learner.with_samples(Samples::new(D, &mut samples))).expect("it is empty"),
            };
            talk(data, &mut server, &mut Device::new(learner, input, ()))
        }
    }
}

fn talk<F: embedded_storage::nor_flash::NorFlash>(
    data: &[u8],
    server: &mut headstart::wire::Server<'_>,
    device: &mut headstart::wire::Device<'_, Counts, headstart::PrototypeHead, (), F>,
) -> bool {
    use headstart::wire::{Receiver, Reply};
    for &byte in data {
        let _ = server.push(byte, device);
    }
    let _ = server.push(0, device);
    let (mut rest, mut done) = (data, false);
    while let Some((&length, behind)) = rest.split_first() {
        let (message, behind) = behind.split_at(behind.len().min(length.into()));
        rest = behind;
        let frame = sealed(message);
        let first = send(&frame, server, device).expect("an answer");
        let learnt = digest(device);
        let again = send(&frame, server, device);
        assert_eq!(again.as_ref(), Some(&first), "another answer");
        assert_eq!(digest(device), learnt, "done twice");
        let mut buffer = [0; 256];
        let mut receiver = Receiver::new(&mut buffer);
        let mut whole = false;
        for &byte in &first {
            whole = receiver.push(byte).expect("a frame");
        }
        assert!(whole || first.is_empty(), "the answer is no frame");
        let answer = receiver.message::<Reply<'_>>();
        done |= matches!(answer, Some((_, reply)) if !matches!(reply, Reply::Refused { .. }));
    }
    done
}

fn send<F: embedded_storage::nor_flash::NorFlash>(
    frame: &[u8],
    server: &mut headstart::wire::Server<'_>,
    device: &mut headstart::wire::Device<'_, Counts, headstart::PrototypeHead, (), F>,
) -> Option<Vec<u8>> {
    let mut push = |&byte: &u8| server.push(byte, device).map(<[u8]>::to_vec);
    frame.iter().filter_map(&mut push).last()
}

fn digest<F: embedded_storage::nor_flash::NorFlash>(
    device: &headstart::wire::Device<'_, Counts, headstart::PrototypeHead, (), F>,
) -> String {
    let statistics = device.learner.statistics();
    headstart::digest::Digest::new(statistics).hex().to_string()
}

/// A message as a frame of this version.
fn sealed(message: &[u8]) -> Vec<u8> {
    let mut body = vec![headstart::wire::VERSION];
    body.extend(message);
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&body);
    body.extend(crc.to_le_bytes());
    let mut frame = Vec::new();
    for part in body.split(|&b| b == 0) {
        let mut rest = part;
        while rest.len() > 253 {
            let (full, behind) = rest.split_at(254);
            frame.push(255);
            frame.extend(full);
            rest = behind;
        }
        frame.push(rest.len() as u8 + 1);
        frame.extend(rest);
    }
    frame.push(0);
    frame
}

/// Takes a window of counts as its raw embedding.
struct Counts;

impl Encoder for Counts {
    fn dim(&self) -> usize {
        D
    }

    fn input_len(&self) -> usize {
        D
    }

    fn artefact(&self) -> headstart::pack::Artefact {
        [0; 32]
    }

    fn embed<'o>(
        &mut self,
        signal: headstart::frontend::Signal<'_>,
        out: &'o mut [i8],
    ) -> Result<headstart::Embedding<'o>, headstart::encoder::EmbedError> {
        use headstart::encoder::EmbedError;
        let headstart::frontend::Signal::Samples(counts) = signal else {
            return Err(EmbedError::WrongSignal { takes: "samples" });
        };
        if counts.len() != D {
            let (expected, got) = (D, counts.len());
            return Err(EmbedError::InputLength { expected, got });
        }
        let raw = counts.iter().map(|&c| i32::from(c));
        headstart::Embedding::normalise(raw, &[0; D], out).map_err(EmbedError::Zero)
    }
}
