//! The float path: an encoder's ONNX graph through tract.

use std::sync::OnceLock;

use headstart::onnx::guarded;
use tract_onnx::pb::{ModelProto, ValueInfoProto};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::Framework;

use crate::encoder_file::EncoderFile;
use crate::items::Owned;

/// Windows that run at once, where the graph's batch is free.
const BATCH: usize = 32;

/// A graph that takes batches of windows.
pub struct FloatEncoder {
    model: ModelProto,
    sizes: Vec<usize>,
    outputs: usize,
    /// Of a full batch, or of the one that the graph fixes.
    many: Plan,
    /// Of a single window, made when one is asked for.
    one: OnceLock<Result<Plan, String>>,
}

/// The graph at one batch.
struct Plan {
    runnable: Arc<TypedRunnableModel>,
    shape: Vec<usize>,
}

impl FloatEncoder {
    /// Prepares the encoder itself: one output, the embedding.
    pub fn new(file: &EncoderFile) -> anyhow::Result<Self> {
        guarded(|| Self::of(file.proto.clone(), &file.input.dims))
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
        guarded(|| Self::of(proto, &file.input.dims))
    }

    fn of(model: ModelProto, sizes: &[usize]) -> anyhow::Result<Self> {
        let outputs = model.graph.as_ref().map_or(0, |g| g.output.len());
        let many = Plan::of(&model, fixed_batch(&model).unwrap_or(BATCH), sizes)?;
        Ok(FloatEncoder {
            many,
            outputs,
            sizes: sizes.to_vec(),
            one: OnceLock::new(),
            model,
        })
    }

    /// Runs windows as the graph takes them, one after the other in `windows`. For each output a row a
    /// window, channels first as ONNX has them.
    pub fn run(&self, windows: &[f32]) -> anyhow::Result<Vec<Vec<Vec<f32>>>> {
        guarded(|| self.batches(windows))
    }

    fn batches(&self, windows: &[f32]) -> anyhow::Result<Vec<Vec<Vec<f32>>>> {
        let size = self.sizes.iter().product::<usize>();
        let batch = self.many.shape[0];
        let mut rows = vec![Vec::new(); self.outputs];
        for windows in windows.chunks(batch * size) {
            let count = windows.len() / size;
            // Filling a batch up costs as much as its windows do.
            let few = count * 2 <= batch && fixed_batch(&self.model).is_none();
            if few {
                let one = self.one.get_or_init(|| {
                    Plan::of(&self.model, 1, &self.sizes).map_err(|e| format!("{e:#}"))
                });
                let one = one.as_ref().map_err(|e| anyhow::anyhow!("{e}"))?;
                for window in windows.chunks(size) {
                    one.run(window, 1, &mut rows)?;
                }
            } else {
                let mut filled = windows.to_vec();
                filled.resize(batch * size, 0.0);
                self.many.run(&filled, count, &mut rows)?;
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
        let mean = |rows: &[Vec<f32>]| {
            let value = |d: usize| rows.iter().map(|r| r[d]).sum::<f32>() / rows.len() as f32;
            (0..rows.first().map_or(0, Vec::len)).map(value).collect()
        };
        Ok(rows.chunks(encoder.frontend.windows()).map(mean).collect())
    }

    /// Raw embeddings, a row a window.
    pub fn embed(&self, windows: &[f32]) -> anyhow::Result<Vec<Vec<f32>>> {
        Ok(self.run(windows)?.pop().unwrap_or_default())
    }
}

impl Plan {
    fn of(model: &ModelProto, batch: usize, sizes: &[usize]) -> anyhow::Result<Plan> {
        let shape = [&[batch], sizes].concat();
        // Shapes stored for another batch size would be held against ours.
        let model = tract_onnx::onnx()
            .with_ignore_value_info(true)
            .with_ignore_output_shapes(true)
            .model_for_proto_model(model)?
            .with_input_fact(0, f32::fact(&shape).into())?
            .into_optimized()?;
        Ok(Plan {
            runnable: model.into_runnable()?,
            shape,
        })
    }

    /// Appends the rows of the batch's first `count` windows.
    fn run(&self, windows: &[f32], count: usize, rows: &mut [Vec<Vec<f32>>]) -> anyhow::Result<()> {
        let tensor = Tensor::from_shape(&self.shape, windows)?;
        let outputs = self.runnable.run(tvec!(tensor.into()))?;
        for (rows, output) in rows.iter_mut().zip(outputs) {
            let view = output.to_plain_array_view::<f32>()?;
            let values: Vec<f32> = view.iter().copied().collect();
            let row = values.chunks(values.len() / self.shape[0]);
            rows.extend(row.take(count).map(<[f32]>::to_vec));
        }
        Ok(())
    }
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
