//! A file from somewhere as an ONNX model with all of its weights, or a message that says what it
//! is instead.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use prost::Message;
use tract_onnx::pb::{ModelProto, TensorProto, tensor_proto::DataLocation};

use super::tensor;

/// What protobuf, and so an ONNX file, holds at most.
const LARGEST: u64 = (2 << 30) - 1;

/// Why a file can't be imported.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file can't be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Nothing.
    #[error("there is no such file")]
    Missing,
    /// A folder.
    #[error("it is a folder: name the .onnx file in it")]
    Folder,
    /// Something else with a known beginning.
    #[error("it is {0}")]
    Another(&'static str),
    /// Damaged, or of a kind that nobody knows.
    #[error("it is no ONNX file, or one that was cut short: download or export it again")]
    NotOnnx(#[from] prost::DecodeError),
    /// A model without a graph.
    #[error("it has no graph, so it is no ONNX model or was cut short")]
    NoGraph,
    /// A newer or older file than is read.
    #[error("it is of opset {0}; opset 7 or later is read: export it again")]
    Opset(i64),
    /// More than an ONNX file holds.
    #[error("it takes {} GiB with its weights, and an ONNX file holds less than 2 GiB: take a smaller encoder", .0 >> 30)]
    TooLarge(u64),
    /// Weights beside the model that are not there.
    #[error("the weights `{tensor}` are in {}, which {why}", file.display())]
    External {
        /// The tensor's name.
        tensor: String,
        /// Where the model says they are.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Weights that are not as many as they should be.
    #[error(
        "the weights `{0}` have another number of bytes than their shape needs: the file is damaged"
    )]
    Weights(String),
}

/// Reads a model; weights in other files are taken in.
pub fn open(path: &Path) -> Result<ModelProto, OpenError> {
    let found = std::fs::metadata(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => OpenError::Missing,
        _ => e.into(),
    })?;
    if found.is_dir() {
        return Err(OpenError::Folder);
    }
    let size = found.len();
    if size > LARGEST {
        return Err(OpenError::TooLarge(size));
    }
    let mut bytes = Vec::with_capacity(size as usize);
    File::open(path)?.read_to_end(&mut bytes)?;
    let model = decode(&bytes)?;
    drop(bytes);
    let folder = path.parent().unwrap_or(Path::new(""));
    whole(model, folder, LARGEST - size)
}

/// A model with the weights that are in other files of `folder`, no more than `room` bytes of them.
pub fn whole(mut model: ModelProto, folder: &Path, room: u64) -> Result<ModelProto, OpenError> {
    take_in(&mut model, folder, room)?;
    let tensors = model.graph.iter().flat_map(|g| {
        g.initializer.iter().chain(
            g.node
                .iter()
                .flat_map(|n| &n.attribute)
                .filter_map(|a| a.t.as_ref()),
        )
    });
    match tensors.into_iter().find(|t| !tensor::is_whole(t)) {
        Some(damaged) => Err(OpenError::Weights(damaged.name.clone())),
        None => Ok(model),
    }
}

/// A model from its bytes.
pub fn decode(bytes: &[u8]) -> Result<ModelProto, OpenError> {
    if let Some(kind) = another(bytes) {
        return Err(OpenError::Another(kind));
    }
    let model = ModelProto::decode(bytes)?;
    if model.graph.as_ref().is_none_or(|g| g.node.is_empty()) {
        return Err(OpenError::NoGraph);
    }
    let own = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    let opset = model.opset_import.iter().find(|o| own(&o.domain));
    match opset.map_or(1, |o| o.version) {
        7.. => Ok(model),
        old => Err(OpenError::Opset(old)),
    }
}

/// What else people rename to .onnx.
fn another(bytes: &[u8]) -> Option<&'static str> {
    let begins = |with: &[u8]| bytes.starts_with(with);
    let page = |with: &[u8]| {
        bytes
            .trim_ascii_start()
            .to_ascii_lowercase()
            .starts_with(with)
    };
    let head = &bytes[..bytes.len().min(4096)];
    let printed = |&b: &u8| b >= 32 || matches!(b, b'\t' | b'\n' | b'\r');
    Some(match () {
        () if bytes.is_empty() => "empty: the download or export failed",
        () if begins(b"version https://git-lfs") => {
            "a Git LFS pointer, not the model: fetch it with `git lfs pull`"
        }
        () if bytes.get(4..8) == Some(b"TFL3") => {
            "a TensorFlow Lite model: python -m tf2onnx.convert --tflite IN --output OUT.onnx"
        }
        () if begins(b"PK\x03\x04") => {
            "a zip archive, perhaps a PyTorch or Keras model: export it with torch.onnx.export or tf2onnx"
        }
        () if begins(b"\x89HDF") => "a Keras .h5 model: export it with tf2onnx",
        () if page(b"<!doctype html") || page(b"<html") => {
            "a web page: the download link led to a page, not to the file"
        }
        () if head.iter().all(printed) && std::str::from_utf8(head).is_ok() => {
            "a text file, not an ONNX model"
        }
        () => return None,
    })
}

/// Replaces references to other files by their bytes.
fn take_in(model: &mut ModelProto, folder: &Path, room: u64) -> Result<(), OpenError> {
    let mut left = room;
    let tensors = model.graph.iter_mut().flat_map(|g| {
        let constants = g.node.iter_mut().flat_map(|n| &mut n.attribute);
        let constants = constants.filter_map(|a| a.t.as_mut());
        g.initializer.iter_mut().chain(constants)
    });
    for tensor in tensors {
        if tensor.data_location == Some(DataLocation::External as i32) {
            external(tensor, folder, &mut left)?;
        }
    }
    Ok(())
}

fn external(tensor: &mut TensorProto, folder: &Path, left: &mut u64) -> Result<(), OpenError> {
    let entry = |key: &str| tensor.external_data.iter().find(|e| e.key == key);
    let location = PathBuf::from(entry("location").map_or("", |e| &e.value));
    let file = folder.join(&location);
    let fault = |why: &str| OpenError::External {
        tensor: tensor.name.clone(),
        file: file.clone(),
        why: why.into(),
    };
    let plain = |c: Component| matches!(c, Component::Normal(_) | Component::CurDir);
    if location.as_os_str().is_empty() || !location.components().all(plain) {
        return Err(fault(
            "is not inside the model's folder: that is not followed",
        ));
    }
    let number = |key: &str| match entry(key) {
        Some(e) => e
            .value
            .parse()
            .map_err(|_| fault("is named with a broken offset or length")),
        None => Ok(0u64),
    };
    let (offset, stated) = (number("offset")?, number("length")?);
    let needed = tensor::bytes_needed(tensor).ok_or_else(|| fault("holds no plain numbers"))?;
    if needed > *left {
        return Err(OpenError::TooLarge(LARGEST - *left + needed));
    }
    if !file.is_file() {
        return Err(fault("is not there: put it beside the model"));
    }
    let within = file.canonicalize()?;
    let home = match folder.as_os_str().is_empty() {
        true => Path::new(".").canonicalize()?,
        false => folder.canonicalize()?,
    };
    if !within.starts_with(home) {
        return Err(fault(
            "leads out of the model's folder: that is not followed",
        ));
    }
    let holds = std::fs::metadata(&file)?.len().saturating_sub(offset);
    if holds < needed || (stated != 0 && stated != needed) {
        return Err(fault(
            "has fewer bytes than they take: it was cut short or belongs to another model",
        ));
    }
    let mut source = File::open(&file)?;
    source.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    source.take(needed).read_to_end(&mut bytes)?;
    *left -= needed;
    tensor.raw_data = bytes;
    tensor.data_location = None;
    tensor.external_data.clear();
    Ok(())
}
