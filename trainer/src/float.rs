//! The float path: an encoder's ONNX graph through tract.

use headstart::onnx::{framework, guarded};
use tract_onnx::pb::{ModelProto, ValueInfoProto};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::Framework;

use crate::encoder_file::EncoderFile;
use crate::items::Owned;

/// Windows that run at once, where the graph's batch is free.
const BATCH: usize = 32;

/// A graph that takes batches of windows.
pub struct FloatEncoder {
    plan: Arc<TypedRunnableModel>,
    /// The batch first.
    shape: Vec<usize>,
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

    fn of(model: &ModelProto, sizes: &[usize]) -> anyhow::Result<Self> {
        let shape = [&[fixed_batch(model).unwrap_or(BATCH)], sizes].concat();
        let optimised = framework()
            .model_for_proto_model(model)?
            .with_input_fact(0, f32::fact(&shape).into())?
            .into_optimized()?;
        Ok(FloatEncoder {
            outputs: optimised.outputs.len(),
            plan: optimised.into_runnable()?,
            shape,
        })
    }

    /// Runs windows as the graph takes them, one after the other in `windows`. For each output a row a
    /// window, channels first as ONNX has them.
    pub fn run(&self, windows: &[f32]) -> anyhow::Result<Vec<Vec<Vec<f32>>>> {
        guarded(|| self.batches(windows))
    }

    fn batches(&self, windows: &[f32]) -> anyhow::Result<Vec<Vec<Vec<f32>>>> {
        let (batch, size) = (self.shape[0], self.shape[1..].iter().product::<usize>());
        let mut rows = vec![Vec::new(); self.outputs];
        for windows in windows.chunks(batch * size) {
            let count = windows.len() / size;
            let mut filled = windows.to_vec();
            filled.resize(batch * size, 0.0);
            let tensor = Tensor::from_shape(&self.shape, &filled)?;
            for (rows, output) in rows.iter_mut().zip(self.plan.run(tvec!(tensor.into()))?) {
                let view = output.to_plain_array_view::<f32>()?;
                let values: Vec<f32> = view.iter().copied().collect();
                let row = values.chunks(values.len() / batch);
                rows.extend(row.take(count).map(<[f32]>::to_vec));
            }
        }
        Ok(rows)
    }

    /// Raw embeddings of signals, a row each: the mean over the signal's windows.
    pub fn signals(
        &self,
        encoder: &EncoderFile,
        signals: &[Owned],
    ) -> anyhow::Result<Vec<Vec<f32>>> {
        let rows = self.embed(&encoder.inputs(signals)?)?;
        Ok(rows.chunks(encoder.frontend.windows()).map(mean).collect())
    }

    /// Raw embeddings, a row a window.
    pub fn embed(&self, windows: &[f32]) -> anyhow::Result<Vec<Vec<f32>>> {
        Ok(self.run(windows)?.pop().unwrap_or_default())
    }
}

/// The mean embedding of a signal's windows.
pub(crate) fn mean(rows: &[Vec<f32>]) -> Vec<f32> {
    let value = |d: usize| rows.iter().map(|r| r[d]).sum::<f32>() / rows.len() as f32;
    (0..rows.first().map_or(0, Vec::len)).map(value).collect()
}

/// The batch that a graph does not leave free.
fn fixed_batch(model: &ModelProto) -> Option<usize> {
    use tract_onnx::pb::tensor_shape_proto::dimension::Value;
    use tract_onnx::pb::type_proto::Value::TensorType;
    let graph = model.graph.as_ref()?;
    let stored = |name: &str| graph.initializer.iter().any(|t| t.name == name);
    let input = graph.input.iter().find(|i| !stored(&i.name))?;
    let Some(TensorType(tensor)) = input.r#type.as_ref()?.value.as_ref() else {
        return None;
    };
    // Only what was imported says that its batch is fixed; others merely never asked.
    let imported = model
        .metadata_props
        .iter()
        .any(|p| p.key == "headstart.space_id");
    match tensor.shape.as_ref()?.dim.first()?.value {
        Some(Value::DimValue(batch)) if imported => usize::try_from(batch).ok(),
        _ => None,
    }
}
