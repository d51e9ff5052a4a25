//! Graphs through tract, in Rust alone.

use std::format;
use std::string::String;
use std::sync::Arc;
use std::vec;
use std::vec::Vec;

use tract_onnx::prelude::*;

use super::framework::framework;
use super::guard::guarded;
use super::{OnnxError, Runtime};

/// A graph in tract. Threads share the batches; a single one runs on one thread.
pub struct Tract {
    plan: Arc<TypedRunnableModel>,
    shape: Vec<usize>,
    threads: usize,
}

impl Runtime for Tract {
    fn load(mut bytes: &[u8], shape: &[usize], threads: usize) -> Result<Self, OnnxError> {
        guarded(|| {
            let mut load = || -> TractResult<Tract> {
                let model = framework().model_for_read(&mut bytes)?;
                let first: Vec<OutletId> = model.outputs.iter().take(1).copied().collect();
                let plan = model
                    .with_output_outlets(&first)?
                    .with_input_fact(0, f32::fact(shape).into())?
                    .into_optimized()?
                    .into_runnable()?;
                let shape = shape.to_vec();
                Ok(Tract {
                    plan,
                    shape,
                    threads,
                })
            };
            load().map_err(|e| OnnxError::Runtime(words(&e)))
        })
    }

    fn run(&mut self, inputs: &[f32]) -> Result<Vec<f32>, OnnxError> {
        let size: usize = self.shape.iter().product();
        let stretch = (inputs.len() / size).div_ceil(self.threads).max(1) * size;
        if inputs.len() <= stretch {
            return self.batches(inputs, size);
        }
        let this = &*self;
        let parts: Vec<Result<Vec<f32>, OnnxError>> = std::thread::scope(|scope| {
            let run = |part| scope.spawn(move || this.batches(part, size));
            let threads: Vec<_> = inputs.chunks(stretch).map(run).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                // What can panic is guarded within.
                thread
                    .join()
                    .unwrap_or_else(|_| Err(super::Panicked.into()))
            };
            threads.into_iter().map(join).collect()
        });
        let parts: Vec<Vec<f32>> = parts.into_iter().collect::<Result<_, _>>()?;
        Ok(parts.concat())
    }
}

impl Tract {
    fn batches(&self, inputs: &[f32], size: usize) -> Result<Vec<f32>, OnnxError> {
        guarded(|| {
            let mut values = Vec::new();
            for batch in inputs.chunks_exact(size) {
                let run = || -> TractResult<Vec<f32>> {
                    let tensor = Tensor::from_shape(&self.shape, batch)?;
                    let outputs = self.plan.run(tvec!(tensor.into()))?;
                    let view = outputs.first().map(|o| o.to_plain_array_view::<f32>());
                    let view = view.transpose()?;
                    Ok(view.map_or_else(Vec::new, |v| v.iter().copied().collect()))
                };
                values.extend(run().map_err(|e| OnnxError::Runtime(words(&e)))?);
            }
            Ok(values)
        })
    }
}

/// An error with what it comes from.
fn words(error: &TractError) -> String {
    format!("{error:#}")
}
