//! The float path: an encoder's ONNX graph through tract.

use headstart::onnx::guarded;
use prost::Message;
use tract_onnx::pb::{ModelProto, ValueInfoProto};
use tract_onnx::prelude::*;

use crate::encoder_file::EncoderFile;

/// Windows that run at once.
const BATCH: usize = 32;

/// A graph that takes batches of windows.
pub struct FloatEncoder {
    plan: Arc<TypedRunnableModel>,
    input: Vec<usize>,
    outputs: usize,
}

impl FloatEncoder {
    /// Prepares the encoder itself: one output, the embedding.
    pub fn new(file: &EncoderFile) -> anyhow::Result<Self> {
        guarded(|| Self::of(&file.proto, &file.input.dims))
    }

    /// Prepares the graph with further outputs, so that calibration sees every activation.
    pub fn with_outputs(file: &EncoderFile, names: &[&str]) -> anyhow::Result<Self> {
        let mut proto = file.proto.clone();
        if let Some(graph) = proto.graph.as_mut() {
            let named = |name: &&str| ValueInfoProto {
                name: name.to_string(),
                ..Default::default()
            };
            graph.output = names.iter().map(named).collect();
        }
        guarded(|| Self::of(&proto, &file.input.dims))
    }

    fn of(proto: &ModelProto, dims: &[usize]) -> anyhow::Result<Self> {
        let input = [&[BATCH], dims].concat();
        let fact = f32::fact(&input);
        // Shapes stored for another batch size would be held against ours.
        let onnx = tract_onnx::onnx()
            .with_ignore_value_info(true)
            .with_ignore_output_shapes(true);
        let bytes = proto.encode_to_vec();
        let model = onnx
            .model_for_read(&mut bytes.as_slice())?
            .with_input_fact(0, fact.into())?;
        let model = model.into_optimized()?;
        let outputs = model.outputs.len();
        Ok(FloatEncoder {
            plan: model.into_runnable()?,
            input,
            outputs,
        })
    }

    /// Runs windows as the graph takes them, one after the other in `windows`. For each output a row a
    /// window, channels first as ONNX has them.
    pub fn run(&self, windows: &[f32]) -> anyhow::Result<Vec<Vec<Vec<f32>>>> {
        guarded(|| self.batches(windows))
    }

    fn batches(&self, windows: &[f32]) -> anyhow::Result<Vec<Vec<Vec<f32>>>> {
        let size = self.input[1..].iter().product::<usize>();
        let mut rows = vec![Vec::new(); self.outputs];
        for batch in windows.chunks(BATCH * size) {
            let count = batch.len() / size;
            let mut values = batch.to_vec();
            values.resize(BATCH * size, 0.0);
            let tensor = Tensor::from_shape(&self.input, &values)?;
            for (rows, output) in rows.iter_mut().zip(self.plan.run(tvec!(tensor.into()))?) {
                let view = output.to_plain_array_view::<f32>()?;
                let values: Vec<f32> = view.iter().copied().collect();
                rows.extend(
                    values
                        .chunks(values.len() / BATCH)
                        .take(count)
                        .map(<[f32]>::to_vec),
                );
            }
        }
        Ok(rows)
    }

    /// Raw embeddings, a row a window.
    pub fn embed(&self, windows: &[f32]) -> anyhow::Result<Vec<Vec<f32>>> {
        Ok(self.run(windows)?.pop().unwrap_or_default())
    }
}
