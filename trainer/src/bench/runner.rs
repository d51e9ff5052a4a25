//! What runs one inference after the other.

use anyhow::Context;
use headstart::{EncoderPack, PackedEncoder};
use prost::Message;
use tract_onnx::prelude::*;

use crate::encoder_file::EncoderFile;
use crate::guard::guarded;
use crate::items::Owned;

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

/// tract, one input at a time.
pub struct Tract {
    plan: Arc<TypedRunnableModel>,
    inputs: Vec<Tensor>,
}

impl Tract {
    /// Prepares the encoder for a batch of one.
    pub fn new(encoder: &EncoderFile, inputs: &[Vec<f32>]) -> anyhow::Result<Self> {
        let shape = [&[1], encoder.input.dims.as_slice()].concat();
        guarded(|| {
            let bytes = encoder.proto.encode_to_vec();
            // As for the float path: shapes stored for another batch size do not count.
            let model = tract_onnx::onnx()
                .with_ignore_value_info(true)
                .with_ignore_output_shapes(true)
                .model_for_read(&mut bytes.as_slice())?
                .with_input_fact(0, f32::fact(&shape).into())?
                .into_optimized()?;
            let inputs = inputs.iter().map(|i| Tensor::from_shape(&shape, i));
            Ok(Tract {
                plan: model.into_runnable()?,
                inputs: inputs.collect::<Result<_, _>>()?,
            })
        })
        .context("tract can't run it")
    }
}

impl Runner for Tract {
    fn run(&mut self, i: usize) -> anyhow::Result<()> {
        let input = self.inputs[i % self.inputs.len()].clone();
        std::hint::black_box(self.plan.run(tvec!(input.into()))?);
        Ok(())
    }
}
