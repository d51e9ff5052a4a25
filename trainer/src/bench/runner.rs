//! What runs one inference after the other.

use crate::items::Owned;
use headstart::onnx::{OnnxError, Runtime};
use headstart::{EncoderPack, PackedEncoder};

/// A runtime with an encoder and inputs in it.
pub trait Runner {
    /// Runs once, on input `i` of those that it has, over and over.
    fn run(&mut self, i: usize) -> anyhow::Result<()>;
}

/// The packed encoder, from raw counts to the raw embedding.
pub struct Pack<'a> {
    encoder: PackedEncoder<'a>,
    windows: &'a [Owned],
}

impl<'a> Pack<'a> {
    /// Runs the pack in the arena.
    pub fn new(
        pack: EncoderPack<'a>,
        windows: &'a [Owned],
        arena: &'a mut [u32],
    ) -> anyhow::Result<Self> {
        let encoder = PackedEncoder::new(pack, arena)?;
        Ok(Pack { encoder, windows })
    }
}

impl Runner for Pack<'_> {
    fn run(&mut self, i: usize) -> anyhow::Result<()> {
        let window = &self.windows[i % self.windows.len()];
        std::hint::black_box(self.encoder.run(window.signal()?, |_, _| {}))
            .map(|_| ())
            .map_err(|e| anyhow::anyhow!("{e}"))
    }
}

/// A float runtime, one input at a time.
pub struct Float<'a, R> {
    runtime: R,
    inputs: &'a [Vec<f32>],
}

impl<'a, R: Runtime> Float<'a, R> {
    /// Prepares a graph for inputs of `shape`, to run on one thread.
    pub fn new(bytes: &[u8], shape: &[usize], inputs: &'a [Vec<f32>]) -> Result<Self, OnnxError> {
        let runtime = R::load(bytes, shape, 1)?;
        Ok(Float { runtime, inputs })
    }
}

impl<R: Runtime> Runner for Float<'_, R> {
    fn run(&mut self, i: usize) -> anyhow::Result<()> {
        let input = &self.inputs[i % self.inputs.len()];
        std::hint::black_box(self.runtime.run(input)?);
        Ok(())
    }
}
