//! ONNX Runtime, loaded where its library is there.

use std::path::Path;

use anyhow::{Context, anyhow};
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::Tensor;

use super::runner::Runner;
use crate::encoder_file::EncoderFile;
use crate::guard::guarded;
use crate::import::input::Kind;

/// Names the library's file.
const VARIABLE: &str = "ORT_DYLIB_PATH";

/// Where to get it.
const HOW: &str = "pip install onnxruntime, then set ORT_DYLIB_PATH to \
    onnxruntime/capi/libonnxruntime.so.* in its site-packages";

/// The library's file and what it loaded, or why there is none.
pub struct Library(Result<(String, Environment), String>);

impl Library {
    /// Loads what the environment names.
    pub fn find() -> Library {
        let Some(path) = std::env::var_os(VARIABLE) else {
            return Library::missing();
        };
        let load = || -> anyhow::Result<(String, Environment)> {
            let file = std::fs::canonicalize(&path)?;
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            Ok((name.into_owned(), ort::init_from(&file)?.build()?))
        };
        let loaded = guarded(load);
        Library(loaded.map_err(|e| format!("{}: {e:#}", Path::new(&path).display())))
    }

    /// None is named.
    pub fn missing() -> Library {
        Library(Err(HOW.to_owned()))
    }

    /// Its file's name, which ends with its version.
    pub fn name(&self) -> Option<String> {
        self.0.as_ref().ok().map(|(name, _)| name.clone())
    }

    /// Opens a model to run on one thread.
    pub fn open(&self, model: &[u8]) -> anyhow::Result<Session> {
        let (_, environment) = self.0.as_ref().map_err(|why| anyhow!("{why}"))?;
        let open = || -> ort::Result<Session> {
            let builder = Session::builder(environment)?.with_intra_threads(1)?;
            builder.with_inter_threads(1)?.commit_from_memory(model)
        };
        Ok(open()?)
    }

    /// The first output for one input, as floats.
    pub fn run(
        &self,
        session: &mut Session,
        shape: &[usize],
        values: &[f32],
        kind: Kind,
    ) -> anyhow::Result<Vec<f32>> {
        let shape = shape.to_vec();
        let outputs = match kind {
            Kind::Float => {
                session.run(ort::inputs![Tensor::from_array((shape, values.to_vec()))?])?
            }
            Kind::Quantised { signed: true, .. } => {
                let bytes: Vec<i8> = values.iter().map(|&v| v as i8).collect();
                session.run(ort::inputs![Tensor::from_array((shape, bytes))?])?
            }
            _ => {
                let bytes: Vec<u8> = values.iter().map(|&v| v as u8).collect();
                session.run(ort::inputs![Tensor::from_array((shape, bytes))?])?
            }
        };
        let first = outputs.values().next().context("it has no output")?;
        if let Ok((_, values)) = first.try_extract_tensor::<f32>() {
            return Ok(values.to_vec());
        }
        if let Ok((_, values)) = first.try_extract_tensor::<i8>() {
            return Ok(values.iter().map(|&v| v.into()).collect());
        }
        let (_, values) = first.try_extract_tensor::<u8>()?;
        Ok(values.iter().map(|&v| v.into()).collect())
    }

    /// Opens a file of the same inputs as the encoder, to run on one thread.
    pub fn session(
        &self,
        file: &Path,
        encoder: &EncoderFile,
        inputs: &[Vec<f32>],
    ) -> anyhow::Result<OnnxRuntime> {
        let (_, environment) = self.0.as_ref().map_err(|why| anyhow!("{why}"))?;
        let open = || -> ort::Result<Session> {
            let builder = Session::builder(environment)?
                .with_intra_threads(1)?
                .with_inter_threads(1)?;
            let level = GraphOptimizationLevel::All;
            builder
                .with_optimization_level(level)?
                .commit_from_file(file)
        };
        let session = open().with_context(|| format!("could not open {}", file.display()))?;
        let shape = [&[1], encoder.input.dims.as_slice()].concat();
        let tensors = inputs
            .iter()
            .map(|i| Tensor::from_array((shape.clone(), i.clone())));
        Ok(OnnxRuntime {
            session,
            inputs: tensors.collect::<ort::Result<_>>()?,
        })
    }
}

/// A session and its inputs.
pub struct OnnxRuntime {
    session: Session,
    inputs: Vec<Tensor<f32>>,
}

impl Runner for OnnxRuntime {
    fn run(&mut self, i: usize) -> anyhow::Result<()> {
        let input = &self.inputs[i % self.inputs.len()];
        std::hint::black_box(self.session.run(ort::inputs![input])?);
        Ok(())
    }
}
