//! Graphs through ONNX Runtime, whose library is loaded at run time.

use std::borrow::ToOwned;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::format;
use std::path::{Path, PathBuf};
use std::string::{String, ToString};
use std::sync::OnceLock;
use std::vec::Vec;

use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;

use super::guard::guarded;
use super::{OnnxError, Runtime};

/// Names the library's file.
const VARIABLE: &str = "ORT_DYLIB_PATH";

/// One library serves a process, as long as it runs.
static LIBRARY: OnceLock<Library> = OnceLock::new();

/// ONNX Runtime, loaded.
pub struct Library {
    path: PathBuf,
    environment: Environment,
}

impl Library {
    /// Loads the library that `ORT_DYLIB_PATH` names, or where that is not set the one that the
    /// system's loader finds. Once it is loaded it stays.
    ///
    /// # Errors
    /// [`OnnxError::Library`], which says how to get it.
    pub fn find() -> Result<&'static Library, OnnxError> {
        let Some(path) = std::env::var_os(VARIABLE).filter(|p| !p.is_empty()) else {
            let name = format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}");
            let why = |e| match e {
                OnnxError::Library(why) => {
                    OnnxError::Library(format!("{VARIABLE} is not set, and {why}"))
                }
                other => other,
            };
            return Self::once(PathBuf::from(name)).map_err(why);
        };
        let path = Path::new(&path);
        let file = std::fs::canonicalize(path)
            .map_err(|e| OnnxError::Library(format!("{}: {e}", path.display())))?;
        Self::once(file)
    }

    fn once(path: PathBuf) -> Result<&'static Library, OnnxError> {
        if let Some(library) = LIBRARY.get() {
            return Ok(library);
        }
        let environment = guarded(|| {
            let refused = |e: &dyn core::error::Error| OnnxError::Library(e.to_string());
            // Whatever ort does before this would panic without a library.
            let builder = ort::init_from(&path).map_err(|e| refused(&e))?;
            builder.build().map_err(|e| refused(&e))
        })?;
        Ok(LIBRARY.get_or_init(|| Library { path, environment }))
    }

    /// Opens a model's bytes, each operator on `threads` threads.
    ///
    /// # Errors
    /// [`OnnxError::Runtime`], in the library's words.
    pub fn session(&self, bytes: &[u8], threads: usize) -> Result<Session, OnnxError> {
        guarded(|| {
            let open = || -> ort::Result<Session> {
                Session::builder(&self.environment)?
                    .with_intra_threads(threads)?
                    .with_inter_threads(1)?
                    // A device has better to do than to wait busily.
                    .with_intra_op_spinning(false)?
                    .with_optimization_level(GraphOptimizationLevel::All)?
                    .commit_from_memory(bytes)
            };
            open().map_err(words)
        })
    }

    /// Its file's name, which ends with its version.
    pub fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str());
        name.to_string_lossy().into_owned()
    }
}

/// A graph in ONNX Runtime. Threads share each operator's work.
pub struct Ort {
    session: Session,
    shape: Vec<usize>,
}

impl Runtime for Ort {
    fn load(bytes: &[u8], shape: &[usize], threads: usize) -> Result<Self, OnnxError> {
        let session = Library::find()?.session(bytes, threads)?;
        let shape = shape.to_owned();
        Ok(Ort { session, shape })
    }

    fn run(&mut self, inputs: &[f32]) -> Result<Vec<f32>, OnnxError> {
        let size: usize = self.shape.iter().product();
        guarded(|| {
            let mut values = Vec::new();
            for batch in inputs.chunks_exact(size) {
                let tensor = TensorRef::from_array_view((self.shape.as_slice(), batch));
                let tensor = tensor.map_err(words)?;
                let outputs = self.session.run(ort::inputs![tensor]).map_err(words)?;
                if let Some((_, output)) = outputs.iter().next() {
                    let (_, output) = output.try_extract_tensor::<f32>().map_err(words)?;
                    values.extend_from_slice(output);
                }
            }
            Ok(values)
        })
    }
}

fn words(error: ort::Error) -> OnnxError {
    OnnxError::Runtime(error.to_string())
}
