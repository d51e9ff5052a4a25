//! An encoder for tests of what stands behind one.

use super::{EmbedError, Encoder};
use crate::embedding::Embedding;
use crate::frontend::Signal;
use crate::pack::Artefact;

/// D, and the counts of a window.
pub const DIM: usize = 3;

/// Takes a window of three counts as its raw embedding.
pub struct Plain;

impl Encoder for Plain {
    fn dim(&self) -> usize {
        DIM
    }

    fn input_len(&self) -> usize {
        DIM
    }

    fn artefact(&self) -> Artefact {
        [3; 32]
    }

    fn embed<'o>(
        &mut self,
        signal: Signal<'_>,
        out: &'o mut [i8],
    ) -> Result<Embedding<'o>, EmbedError> {
        let Signal::Samples(counts) = signal else {
            return Err(EmbedError::WrongSignal { takes: "samples" });
        };
        let raw = counts.iter().map(|&c| i32::from(c));
        Embedding::normalise(raw, &[0; DIM], out).map_err(EmbedError::Zero)
    }
}
