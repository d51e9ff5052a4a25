//! Somebody else's ONNX graph through tract, at one fixed input shape.

use std::path::Path;

use anyhow::{Context, ensure};
use headstart::onnx::guarded;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::DimLike;

use crate::files;

/// A graph with one input; of several outputs the first.
pub struct Network {
    plan: Arc<TypedRunnableModel>,
    input: Vec<usize>,
}

/// What a graph gives: values and their shape.
pub struct Output {
    /// Row-major.
    pub values: Vec<f32>,
    /// At least one dimension.
    pub shape: Vec<usize>,
}

impl Network {
    /// Reads a graph; `shape` tells the shape to run at from the one that the file declares, where
    /// `None` is a dimension that it leaves open.
    ///
    /// # Errors
    /// Names the file; where it is missing, `get` is the command that fetches it.
    pub fn load(
        path: &Path,
        get: &str,
        shape: impl FnOnce(&[Option<usize>]) -> anyhow::Result<Vec<usize>>,
    ) -> anyhow::Result<Network> {
        if !path.is_file() {
            let help = format!("there is no encoder {}; fetch it: {get}", path.display());
            return Err(anyhow::Error::msg(help));
        }
        let bytes = files::read(path)?;
        guarded(|| Self::of(&bytes, shape))
            .with_context(|| format!("{} can't be used", path.display()))
    }

    fn of(
        mut bytes: &[u8],
        shape: impl FnOnce(&[Option<usize>]) -> anyhow::Result<Vec<usize>>,
    ) -> anyhow::Result<Network> {
        // Shapes stored for another batch size would be held against ours.
        let model = tract_onnx::onnx()
            .with_ignore_value_info(true)
            .with_ignore_output_shapes(true)
            .model_for_read(&mut bytes)
            .context("it is not an ONNX file, or cut short")?;
        let inputs = model.inputs.len();
        ensure!(inputs == 1, "it has {inputs} inputs, not one");
        let declared: Vec<Option<usize>> = model
            .input_fact(0)?
            .shape
            .dims()
            .map(|d| d.concretize().and_then(|d| d.to_usize().ok()))
            .collect();
        let input = shape(&declared)?;
        let first: Vec<OutletId> = model.outputs.iter().take(1).copied().collect();
        let plan = model
            .with_output_outlets(&first)?
            .with_input_fact(0, f32::fact(&input).into())?
            .into_optimized()?
            .into_runnable()?;
        Ok(Network { plan, input })
    }

    /// A declared shape as text.
    pub fn shape(declared: &[Option<usize>]) -> String {
        let size = |d: &Option<usize>| d.map_or("?".to_owned(), |d| d.to_string());
        let sizes: Vec<String> = declared.iter().map(size).collect();
        format!("[{}]", sizes.join(", "))
    }

    /// The shape that it runs at.
    pub fn input(&self) -> &[usize] {
        &self.input
    }

    /// Runs the graph on one input.
    pub fn run(&self, values: &[f32]) -> anyhow::Result<Output> {
        guarded(|| {
            let tensor = Tensor::from_shape(&self.input, values)?;
            let outputs = self.plan.run(tvec!(tensor.into()))?;
            let first = outputs.first().context("it has no output")?;
            let view = first.to_plain_array_view::<f32>()?;
            ensure!(view.ndim() > 0 && !view.is_empty(), "its output is empty");
            Ok(Output {
                values: view.iter().copied().collect(),
                shape: view.shape().to_vec(),
            })
        })
    }
}
