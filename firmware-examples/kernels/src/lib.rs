//! Random layers, run by this machine's kernels and by the portable ones: not one bit may differ.
//!
//! The cases come from a seed, so that every machine sees the same ones, and a checksum over all
//! outputs says whether two machines agree.
#![no_std]

mod case;
mod random;

use core::fmt::{self, Write};

use headstart::ops::{AllKernels, Kernels, PortableKernels};
use headstart::pack::LayerKind;
use headstart::{EncoderPack, PackedEncoder};
use random::Random;

/// The kinds of layers of which a processor has kernels of its own.
const KINDS: [LayerKind; 3] = [LayerKind::Conv, LayerKind::Depthwise, LayerKind::Dense];

/// Words of eight bytes that any case's arena and its pack fit into.
const ARENA: usize = 12 << 10;
const PACK: usize = case::PACK / 8;

/// What a run works in; too large for a stack. The pack, whose last bytes are weights, and the arena, whose
/// last bytes are scratch, take turns at its very end: where a board lets nobody go behind that, a kernel
/// that reads or writes past them ends the run.
#[repr(C)]
pub struct Memory {
    counts: [i16; 8192],
    expected: [i8; 8192],
    words: [u64; PACK + ARENA],
}

impl Memory {
    /// Zeros.
    pub const fn new() -> Self {
        Memory {
            counts: [0; 8192],
            expected: [0; 8192],
            words: [0; PACK + ARENA],
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a run ended.
#[derive(Debug)]
pub enum Fault {
    /// A case that is no pack, by its number: the generator is at fault.
    NoPack(u32, headstart::pack::PackError),
    /// A case that does not fit into [`Memory`], by its number.
    TooLarge(u32),
    /// A case in which the two differ, by its number, with the first element that does.
    Differs(u32, usize),
    /// Printing failed.
    Print,
}

impl From<fmt::Error> for Fault {
    fn from(_: fmt::Error) -> Fault {
        Fault::Print
    }
}

/// `cases` random layers of each kind; a line each.
pub fn compare(cases: u32, memory: &mut Memory, out: &mut impl Write) -> Result<(), Fault> {
    for (seed, kind) in KINDS.into_iter().enumerate() {
        let mut random = Random(seed as u64);
        let mut digest = 2_166_136_261u32;
        let mut done = 0;
        while done < cases {
            if one(kind, &mut random, memory, done, &mut digest)? {
                done += 1;
            }
        }
        writeln!(
            out,
            "{:<10} {cases} cases equal, digest {digest:08x}",
            kind.name()
        )?;
    }
    Ok(())
}

/// One case; false where the dice made one that is too large.
fn one(
    kind: LayerKind,
    random: &mut Random,
    memory: &mut Memory,
    number: u32,
    digest: &mut u32,
) -> Result<bool, Fault> {
    let pack_last = number % 2 == 1;
    let (first, last) = memory
        .words
        .split_at_mut(if pack_last { ARENA } else { PACK });
    let (pack, arena) = if pack_last {
        (last, first)
    } else {
        (first, last)
    };
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(pack);
    let length = case::write(kind, random, bytes);
    if length == 0 {
        return Ok(false);
    }
    let at = bytes.len() - length;
    bytes.copy_within(..length, at);
    let pack = EncoderPack::new(&bytes[at..]).map_err(|e| Fault::NoPack(number, e))?;
    let arena: &mut [u32] = bytemuck::cast_slice_mut(arena);
    let counts = memory
        .counts
        .get_mut(..pack.frontend().input_len())
        .ok_or(Fault::TooLarge(number))?;
    let extreme = random.once_in(8);
    for count in counts.iter_mut() {
        *count = if extreme {
            -128
        } else {
            random.range(-128, 127) as i16
        };
    }
    let place = pack.embedding_tensor().place();
    let expected = memory
        .expected
        .get_mut(..place.len())
        .ok_or(Fault::TooLarge(number))?;
    expected.copy_from_slice(run::<PortableKernels>(pack, arena, counts, number)?);
    let found = run::<AllKernels>(pack, arena, counts, number)?;
    for (i, (&a, &b)) in found.iter().zip(expected.iter()).enumerate() {
        if a != b {
            return Err(Fault::Differs(number, i));
        }
        *digest = (*digest ^ u32::from(a as u8)).wrapping_mul(16_777_619);
    }
    Ok(true)
}

/// The output's bytes. The arena is the end of what is given, full of what nobody wrote.
fn run<'a, K: Kernels>(
    pack: EncoderPack<'_>,
    arena: &'a mut [u32],
    counts: &[i16],
    number: u32,
) -> Result<&'a [i8], Fault> {
    let before = arena.len().checked_sub(pack.arena_bytes().div_ceil(4));
    let arena = &mut arena[before.ok_or(Fault::TooLarge(number))?..];
    arena.fill(0xA5A5_5A5A);
    let mut encoder = PackedEncoder::<K>::new(pack, arena).map_err(|_| Fault::TooLarge(number))?;
    encoder
        .run((&counts[..]).into(), |_, _| {})
        .map_err(|_| Fault::TooLarge(number))?;
    let place = pack.embedding_tensor().place();
    Ok(&bytemuck::cast_slice(&*arena)[place])
}
