//! From a signal to an embedding.

use core::marker::PhantomData;
use core::ops::Range;

use crate::embedding::{Embedding, ZeroEmbedding};
use crate::frontend::{FrontEndKind, Signal};
use crate::ops::{AllKernels, Kernels, Layer};
use crate::pack::{Artefact, ElementKind, EncoderPack, LayerKind, TensorRecord};

#[cfg(test)]
pub(crate) mod plain;

/// A frozen encoder: one window in, one embedding out. Implemented by the packed integer encoder
/// here, and on Linux by float runtimes.
pub trait Encoder {
    /// D, the length of an embedding.
    fn dim(&self) -> usize;

    /// Samples that it takes at once, channels and time steps together; 0 where it takes images.
    fn input_len(&self) -> usize;

    /// Which file this encoder came from: evidence is bound to it.
    fn artefact(&self) -> Artefact;

    /// Embeds one signal into `out`, which is D long.
    fn embed<'o>(
        &mut self,
        signal: Signal<'_>,
        out: &'o mut [i8],
    ) -> Result<Embedding<'o>, EmbedError>;
}

/// Why there is no embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbedError {
    /// Samples for an encoder of images, or the other way round.
    WrongSignal {
        /// What the encoder takes.
        takes: &'static str,
    },
    /// The window has another length than the encoder's.
    InputLength {
        /// Counts that the encoder takes.
        expected: usize,
        /// Counts that were given.
        got: usize,
    },
    /// The buffer for the embedding has another length than D.
    OutputLength {
        /// D.
        expected: usize,
        /// The buffer's length.
        got: usize,
    },
    /// The input carries no signal.
    Zero(ZeroEmbedding),
    /// A float runtime failed; the packed encoder never does.
    Runtime,
}

impl core::fmt::Display for EmbedError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            EmbedError::WrongSignal { takes } => write!(f, "the encoder takes {takes}"),
            EmbedError::InputLength { expected, got } => {
                write!(
                    f,
                    "the encoder takes {expected} counts a window, {got} were given"
                )
            }
            EmbedError::OutputLength { expected, got } => {
                write!(
                    f,
                    "an embedding has {expected} values, the buffer has {got}"
                )
            }
            EmbedError::Zero(zero) => zero.fmt(f),
            EmbedError::Runtime => f.write_str("the encoder's runtime failed"),
        }
    }
}

impl core::error::Error for EmbedError {}

/// Runs a pack in integers, in an arena that the caller gives. `K` is the set of kernels that is
/// linked; see [`kernels!`](crate::kernels).
pub struct PackedEncoder<'a, K: Kernels = AllKernels> {
    pack: EncoderPack<'a>,
    arena: &'a mut [u32],
    artefact: Artefact,
    kernels: PhantomData<K>,
}

/// Why a pack can't run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncoderError {
    /// The arena is too small.
    ArenaTooSmall {
        /// Words that the pack needs.
        needed: usize,
    },
    /// The pack has a layer whose kernel is not in `K`.
    MissingKernel(LayerKind),
    /// The pack's front end is not in `K`.
    MissingFrontEnd(FrontEndKind),
}

impl core::fmt::Display for EncoderError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            EncoderError::ArenaTooSmall { needed } => {
                write!(
                    f,
                    "the arena is too small: the pack needs {needed} words of 4 bytes"
                )
            }
            EncoderError::MissingKernel(kind) => {
                write!(
                    f,
                    "the pack needs the kernel {}: add it to kernels!(...)",
                    kind.name()
                )
            }
            EncoderError::MissingFrontEnd(kind) => {
                write!(
                    f,
                    "the pack needs the front end {}: add it to kernels!(...; {0})",
                    kind.name()
                )
            }
        }
    }
}

impl core::error::Error for EncoderError {}

impl<'a, K: Kernels> PackedEncoder<'a, K> {
    /// Pairs a checked pack with memory to run in: [`EncoderPack::arena_bytes`] / 4 words.
    pub fn new(pack: EncoderPack<'a>, arena: &'a mut [u32]) -> Result<Self, EncoderError> {
        let needed = pack.arena_bytes().div_ceil(4);
        if arena.len() < needed {
            return Err(EncoderError::ArenaTooSmall { needed });
        }
        let front = pack.frontend().kind();
        if !K::has_front_end(front) {
            return Err(EncoderError::MissingFrontEnd(front));
        }
        let missing = pack
            .layers()
            .iter()
            .filter_map(|l| l.kind())
            .find(|&kind| !K::has(kind));
        match missing {
            Some(kind) => Err(EncoderError::MissingKernel(kind)),
            None => Ok(PackedEncoder {
                artefact: pack.artefact(),
                pack,
                arena,
                kernels: PhantomData,
            }),
        }
    }

    /// The pack that this runs.
    pub fn pack(&self) -> &EncoderPack<'a> {
        &self.pack
    }

    /// Runs the front end and all layers; the raw embedding is then in the arena, in steps of
    /// [`EncoderPack::embedding_step`]. `see` is shown the arena after each layer. Of several windows
    /// ([`FrontEnd::windows`](crate::frontend::FrontEnd::windows)) each passes all layers, and the
    /// raw embedding is their mean, halves rounded away from zero.
    pub fn run(
        &mut self,
        signal: Signal<'_>,
        mut see: impl FnMut(usize, &[i8]),
    ) -> Result<&[i8], EmbedError> {
        let (pack, frontend) = (self.pack, self.pack.frontend());
        let input = pack.tensors()[0].place();
        // A constant 1 where no front end that is linked has several.
        let windows = if K::has_front_end(FrontEndKind::LogMel) {
            frontend.windows()
        } else {
            1
        };
        let arena: &mut [i8] = bytemuck::cast_slice_mut(self.arena);
        frontend.start::<K>(signal, arena, input.clone(), pack.dim())?;
        let [sums, clip] = frontend.kept(pack.dim());
        for window in 0..windows {
            if windows > 1 {
                frontend.select(window, arena, clip.start, input.clone());
            }
            for (i, record) in pack.layers().iter().enumerate() {
                if let (Some(kind), Some(layer)) = (record.kind(), Layer::new(pack, record)) {
                    K::run(kind, &layer, arena);
                }
                see(i, arena);
            }
            if windows > 1 {
                let embedding = pack.embedding_tensor();
                average(arena, embedding, sums.clone(), [window, windows]);
            }
        }
        Ok(arena)
    }
}

/// Adds the raw embedding of window `of[0]` to the sums, and puts the mean in its place after the
/// last of `of[1]` windows.
fn average(arena: &mut [i8], embedding: &TensorRecord, sums: Range<usize>, of: [usize; 2]) {
    // Checked: they share no byte, and both are aligned.
    let Ok([raw, sums]) = arena.get_disjoint_mut([embedding.place(), sums]) else {
        return;
    };
    let sums: &mut [i32] = bytemuck::try_cast_slice_mut(sums).unwrap_or(&mut []);
    let [window, windows] = of;
    if window == 0 {
        sums.fill(0);
    }
    let last = window + 1 == windows;
    let add = |value: i32, sum: &mut i32| {
        *sum += value;
        if last {
            mean(*sum, windows as i32)
        } else {
            value
        }
    };
    match embedding.element_kind() {
        ElementKind::Int8 => {
            for (raw, sum) in raw.iter_mut().zip(sums) {
                *raw = add((*raw).into(), sum) as i8;
            }
        }
        ElementKind::Int16 => {
            let raw: &mut [i16] = bytemuck::try_cast_slice_mut(raw).unwrap_or(&mut []);
            for (raw, sum) in raw.iter_mut().zip(sums) {
                *raw = add((*raw).into(), sum) as i16;
            }
        }
    }
}

/// Halves rounded away from zero, as the float paths round.
fn mean(sum: i32, count: i32) -> i32 {
    (2 * sum + sum.signum() * count) / (2 * count)
}

impl<K: Kernels> Encoder for PackedEncoder<'_, K> {
    fn dim(&self) -> usize {
        self.pack.dim()
    }

    fn input_len(&self) -> usize {
        self.pack.frontend().input_len()
    }

    fn artefact(&self) -> Artefact {
        self.artefact
    }

    fn embed<'o>(
        &mut self,
        signal: Signal<'_>,
        out: &'o mut [i8],
    ) -> Result<Embedding<'o>, EmbedError> {
        let (pack, expected) = (self.pack, self.pack.dim());
        if out.len() != expected {
            return Err(EmbedError::OutputLength {
                expected,
                got: out.len(),
            });
        }
        let tensor = pack.embedding_tensor();
        let arena = self.run(signal, |_, _| {})?;
        let raw = &arena[tensor.place()];
        match tensor.element_kind() {
            ElementKind::Int8 => {
                let values = raw.iter().map(|&v| i32::from(v));
                Embedding::normalise(values, pack.centre(), out)
            }
            ElementKind::Int16 => {
                let values: &[i16] = bytemuck::try_cast_slice(raw).unwrap_or(&[]);
                Embedding::normalise(values.iter().map(|&v| i32::from(v)), pack.centre(), out)
            }
        }
        .map_err(EmbedError::Zero)
    }
}
