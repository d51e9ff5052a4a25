//! The little of an ONNX file that is read before a runtime sees it.

use std::string::String;
use std::vec::Vec;

use prost::Message;

use super::OnnxError;

/// A file's metadata and the shape of its input; the graph itself is skipped.
///
/// Fields and numbers as in onnx.proto.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Model {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "14")]
    metadata_props: Vec<Entry>,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<Initializer>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfo>,
}

#[derive(Clone, PartialEq, Message)]
struct Initializer {
    #[prost(string, tag = "8")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfo {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value_type: Option<Type>,
}

#[derive(Clone, PartialEq, Message)]
struct Type {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<Tensor>,
}

#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, optional, tag = "1")]
    dim_value: Option<i64>,
}

impl Model {
    /// Reads a file's bytes.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, OnnxError> {
        match Model::decode(bytes) {
            // No bytes at all would be a model, too.
            Ok(model) if model.graph.is_some() => Ok(model),
            _ => Err(OnnxError::NotOnnx),
        }
    }

    /// Keys and values.
    pub(super) fn metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        let entries = self.metadata_props.iter();
        entries.map(|e| (e.key.as_str(), e.value.as_str()))
    }

    /// The input's dimensions, the batch first; `None` is one that the file leaves open.
    pub(super) fn input(&self) -> Option<Vec<Option<usize>>> {
        let graph = self.graph.as_ref()?;
        let stored = |name: &str| graph.initializer.iter().any(|t| t.name == name);
        let input = graph.input.iter().find(|i| !stored(&i.name))?;
        let tensor = input.value_type.as_ref()?.tensor_type.as_ref()?;
        let dims = tensor.shape.as_ref()?.dim.iter();
        let size = |d: &Dimension| usize::try_from(d.dim_value?).ok().filter(|&v| v > 0);
        Some(dims.map(size).collect())
    }
}
