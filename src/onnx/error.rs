//! What can go wrong between an `.onnx` and its embeddings.

use std::path::PathBuf;
use std::string::{String, ToString};
use std::vec::Vec;

use super::InfoError;
use super::guard::Panicked;
use crate::encoder::EmbedError;

/// Why an `.onnx` gives no embedding.
#[derive(Debug)]
pub enum OnnxError {
    /// The file can't be read.
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// Not ONNX, or cut short.
    NotOnnx,
    /// ONNX, but not an encoder of ours.
    Info(InfoError),
    /// The graph's input is not what the front end makes.
    Input {
        /// Without the batch; `None` is a dimension that the file leaves open.
        graph: Vec<Option<usize>>,
        /// Height, width and channels of a window.
        frontend: [usize; 3],
    },
    /// The runtime refuses the graph or failed over it; its own words.
    Runtime(String),
    /// ONNX Runtime's library is not there or can't be used; why.
    Library(String),
    /// The signal gives no embedding.
    Embed(EmbedError),
}

impl core::fmt::Display for OnnxError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            OnnxError::Read { path, error } => {
                write!(f, "could not read {}: {error}", path.display())
            }
            OnnxError::NotOnnx => f.write_str("not an ONNX file, or cut short"),
            OnnxError::Info(e) => e.fmt(f),
            OnnxError::Input { graph, frontend } => {
                f.write_str("the graph's input is [batch")?;
                for dim in graph {
                    match dim {
                        Some(dim) => write!(f, ", {dim}")?,
                        None => f.write_str(", ?")?,
                    }
                }
                let [height, width, channels] = frontend;
                write!(
                    f,
                    "], its front end makes windows of height {height}, width {width}, {channels} channels: the metadata is that of another graph"
                )
            }
            OnnxError::Runtime(why) => write!(f, "the graph does not run: {why}"),
            OnnxError::Library(why) => write!(
                f,
                "ONNX Runtime's library is not there ({why}): pip install onnxruntime, then set \
                 ORT_DYLIB_PATH to onnxruntime/capi/libonnxruntime.so.1.* in its site-packages, or \
                 install the distribution's libonnxruntime 1.{} or later; tract needs no library",
                super::LEAST_MINOR_VERSION
            ),
            OnnxError::Embed(e) => e.fmt(f),
        }
    }
}

impl core::error::Error for OnnxError {}

impl From<InfoError> for OnnxError {
    fn from(e: InfoError) -> Self {
        OnnxError::Info(e)
    }
}

impl From<EmbedError> for OnnxError {
    fn from(e: EmbedError) -> Self {
        OnnxError::Embed(e)
    }
}

impl From<Panicked> for OnnxError {
    fn from(e: Panicked) -> Self {
        OnnxError::Runtime(e.to_string())
    }
}
