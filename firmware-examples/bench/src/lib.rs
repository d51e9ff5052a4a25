//! Runs a pack that the emulator has put into memory, and reports each layer's instructions.
#![no_std]

use core::fmt::{self, Write};

use headstart::frontend::{FrontEnd, Image, Signal};
use headstart::ops::{Kernels, geometry};
use headstart::pack::{LayerKind, LayerRecord, TensorRecord};
use headstart::{EncoderPack, PackedEncoder};

/// Words of arena: enough for all of the networks.
pub const ARENA: usize = 80_000;
/// Counts of input: enough for all of the networks.
pub const COUNTS: usize = 32_768;
/// Layers.
const LAYERS: usize = headstart::pack::MAX_TENSORS;
/// Words that a front end for sound works in.
const SCRATCH: usize = 8192;

/// What a run works in; too large for a stack.
pub struct Memory {
    arena: [u32; ARENA],
    counts: [i16; COUNTS],
    instructions: [u32; LAYERS],
    scratch: [i32; SCRATCH],
}

impl Memory {
    /// Zeros.
    pub const fn new() -> Self {
        Memory {
            arena: [0; ARENA],
            counts: [0; COUNTS],
            instructions: [0; LAYERS],
            scratch: [0; SCRATCH],
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// Why there is no report.
#[derive(Debug)]
pub enum Fault {
    /// The pack is none, or too large for this bench.
    Pack,
    /// Printing failed.
    Print,
}

impl From<fmt::Error> for Fault {
    fn from(_: fmt::Error) -> Fault {
        Fault::Print
    }
}

/// The pack at `address`, as long as its header says.
///
/// # Safety
/// A pack, or other readable memory of 128 bytes at least, lies there; a pack stays there.
pub unsafe fn pack_at<K: Kernels>(address: usize) -> Result<EncoderPack<'static>, Fault> {
    let start = address as *const u8;
    // SAFETY: the caller's promise.
    let head = unsafe { core::slice::from_raw_parts(start, 128) };
    let total = u32::from_le_bytes([head[12], head[13], head[14], head[15]]) as usize;
    if !head.starts_with(&headstart::pack::MAGIC) {
        return Err(Fault::Pack);
    }
    // SAFETY: the same; the header is a pack's.
    let bytes = unsafe { core::slice::from_raw_parts(start, total) };
    EncoderPack::with_kernels::<K>(bytes).map_err(|_| Fault::Pack)
}

/// Counts as they are, or as a picture's bytes.
fn signal(side: [usize; 3], counts: &[i16]) -> Option<Signal<'_>> {
    let [height, width, channels] = side;
    if height == 0 {
        return Some(counts.into());
    }
    let bytes = bytemuck::cast_slice(counts).get(..height * width * channels)?;
    Image::new(height, width, channels, bytes).map(Signal::Image)
}

/// One line a layer: number, kind, shapes, multiply-accumulates, instructions; then sums.
pub fn report(
    pack: EncoderPack<'_>,
    memory: &mut Memory,
    count: impl Fn() -> u32,
    out: &mut impl Write,
) -> Result<(), Fault> {
    let front_end = pack.frontend();
    let (side, length) = match &front_end {
        FrontEnd::Sensor(sensor) => ([0; 3], sensor.len()),
        FrontEnd::LogMel(sound) => ([0; 3], sound.len()),
        // A picture of the encoder's size, two bytes a count.
        FrontEnd::Image(image) => {
            let side = [image.height(), image.width(), image.channels()];
            (side, side.iter().product::<usize>().div_ceil(2))
        }
    };
    let counts = memory.counts.get_mut(..length).ok_or(Fault::Pack)?;
    let mut random = 1u32;
    for count in counts.iter_mut() {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *count = (random >> 16) as i16;
    }
    let dim = pack.dim();
    let mut encoder: PackedEncoder =
        PackedEncoder::new(pack, &mut memory.arena).map_err(|_| Fault::Pack)?;
    let start = count();
    let mut last = start;
    let (mut front, instructions) = (0, &mut memory.instructions);
    let mut digest = 2_166_136_261u32;
    let arena = encoder
        .run(signal(side, counts).ok_or(Fault::Pack)?, |i, _| {
            let now = count();
            instructions[i] = now.wrapping_sub(last);
            last = count();
        })
        .map_err(|_| Fault::Pack)?;
    // FNV-1a over the last tensor: the same on every machine.
    for &byte in &arena[pack.embedding_tensor().place()] {
        digest = (digest ^ u32::from(byte as u8)).wrapping_mul(16_777_619);
    }
    // The front end ran before the first layer: once more, alone.
    let begin = count();
    let input = pack.tensors()[0].place();
    let input = &mut bytemuck::cast_slice_mut::<u32, i8>(&mut memory.arena)[input];
    match (&front_end, signal(side, counts)) {
        (FrontEnd::Sensor(sensor), _) => sensor.run(counts, input),
        (FrontEnd::LogMel(sound), _) => {
            let scratch = memory.scratch.get_mut(..sound.scratch_words());
            sound.run(counts, scratch.ok_or(Fault::Pack)?, input);
        }
        (FrontEnd::Image(image), Some(Signal::Image(picture))) => image.run(picture, input),
        _ => return Err(Fault::Pack),
    }
    front += count().wrapping_sub(begin);
    instructions[0] = instructions[0].wrapping_sub(front);
    let (mut macs, mut sum) = (0, 0u32);
    for (i, layer) in pack.layers().iter().enumerate() {
        let tensor = |t: u16| &pack.tensors()[usize::from(t)];
        let (input, output) = (tensor(layer.input), tensor(layer.output));
        let work = multiply_accumulates(layer, input, output);
        let kind = layer.kind().map_or("?", LayerKind::name);
        let adds = if layer.adds() && kind != "Add" {
            "+Add"
        } else {
            ""
        };
        let shape = |t: &TensorRecord| (t.height, t.width, t.channels);
        let ((a, b, c), (d, e, f)) = (shape(input), shape(output));
        writeln!(
            out,
            "layer {} {kind}{adds} {a}x{b}x{c}->{d}x{e}x{f} {work} {}",
            i + 1,
            instructions[i]
        )?;
        macs += work;
        sum = sum.wrapping_add(instructions[i]);
    }
    writeln!(out, "macs {macs}\ninstructions {sum}\nfrontend {front}")?;
    writeln!(
        out,
        "arena {}\ndim {dim}\nresult {digest:08x}",
        pack.arena_bytes()
    )?;
    Ok(())
}

fn multiply_accumulates(layer: &LayerRecord, input: &TensorRecord, output: &TensorRecord) -> usize {
    let taps = usize::from(layer.kernel_height) * usize::from(layer.kernel_width);
    match layer.kind() {
        Some(LayerKind::Conv | LayerKind::Dense) => geometry::filter(layer, input) * output.len(),
        Some(LayerKind::Depthwise) => taps * output.len(),
        _ => 0,
    }
}
