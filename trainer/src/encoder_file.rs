//! An encoder as a file: the ONNX graph and, in its metadata, what a device needs besides.

use std::collections::BTreeMap;
use std::path::Path;

use headstart::frontend::Settings;
use headstart::onnx::{EncoderInfo, InfoError, PREFIX};
use prost::Message;
use sha2::{Digest, Sha256};
use tract_onnx::pb::ModelProto;

pub use headstart::frontend::SensorSettings as SensorFrontend;
pub use headstart::onnx::Background;

/// An ONNX file that `headstart` wrote or imported.
#[derive(Clone, Debug)]
pub struct EncoderFile {
    /// The graph, input `input`, output `embedding`.
    pub proto: ModelProto,
    /// From raw counts to the graph's input.
    pub frontend: SensorFrontend,
    /// How the graph wants it.
    pub input: GraphInput,
    /// What the encoder saw of the world; `None` where the file has no statistics.
    pub background: Option<Background>,
    /// The mean raw embedding of calibration, where there is no background.
    pub centre: Option<Vec<f32>>,
    /// The fixed-point step in which both paths normalise: v = round(embedding / step).
    pub embedding_step: f32,
    /// Names the encoder across its builds.
    pub space_id: [u8; 16],
    /// The other entries under `headstart.`, without that prefix: licence, command, seed, ...
    pub provenance: BTreeMap<String, String>,
    /// Of the file's bytes.
    pub sha256: [u8; 32],
}

/// The shape of a graph's input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphInput {
    /// Dimensions as the file has them, without the batch.
    pub dims: Vec<usize>,
    /// Height (1 for a time series), width, channels.
    pub shape: [usize; 3],
    /// Whether channels are the innermost dimension.
    pub channels_last: bool,
}

/// Why a file is not an encoder.
#[derive(Debug, thiserror::Error)]
pub enum EncoderFileError {
    /// The file can't be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Not ONNX, or cut short.
    #[error("not an ONNX file, or cut short")]
    NotOnnx(#[from] prost::DecodeError),
    /// ONNX, but not an encoder of ours.
    #[error(transparent)]
    Info(#[from] InfoError),
    /// An input that is no picture, series or vector of known size.
    #[error("its input has no fixed shape of one to three dimensions besides the batch")]
    Input,
}

impl EncoderFile {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, EncoderFileError> {
        Self::from_bytes(&std::fs::read(path)?)
    }

    /// Checks a file's bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EncoderFileError> {
        let proto = ModelProto::decode(bytes)?;
        Self::from_proto(proto, Sha256::digest(bytes).into())
    }

    fn from_proto(proto: ModelProto, sha256: [u8; 32]) -> Result<Self, EncoderFileError> {
        let entries = proto.metadata_props.iter();
        let info = EncoderInfo::from_entries(entries.map(|p| (p.key.as_str(), p.value.as_str())))?;
        let Settings::Sensor(frontend) = info.frontend;
        let step = info.embedding_step;
        let input = GraphInput {
            dims: vec![frontend.channels, frontend.window],
            shape: [1, frontend.window, frontend.channels],
            channels_last: false,
        };
        Ok(EncoderFile {
            proto,
            input,
            frontend,
            background: info.background,
            centre: None,
            embedding_step: step.ok_or(InfoError::Missing("embedding_scale"))?,
            space_id: info.space_id,
            provenance: info.provenance,
            sha256,
        })
    }

    /// Somebody else's network as it is: its input is numbers up to `largest` in size, and nothing is
    /// known of its background. An encoder of ours is read as such.
    pub fn plain(bytes: &[u8], largest: f32) -> Result<Self, EncoderFileError> {
        let mut proto = ModelProto::decode(bytes)?;
        let sha256: [u8; 32] = Sha256::digest(bytes).into();
        let ours = |p: &tract_onnx::pb::StringStringEntryProto| p.key.starts_with(PREFIX);
        if proto.metadata_props.iter().any(ours) {
            return Self::from_proto(proto, sha256);
        }
        cut_softmax(&mut proto);
        let input = GraphInput::of(&proto).ok_or(EncoderFileError::Input)?;
        let [height, width, channels] = input.shape;
        let frontend = SensorFrontend {
            channels,
            window: height * width,
            hop: height * width,
            rate: 1.0,
            scale: vec![largest.max(1e-6) / 32767.0; channels],
            mean: vec![0.0; channels],
            std: vec![1.0; channels],
        };
        let (space_id, _) = sha256.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        Ok(EncoderFile {
            proto,
            input,
            frontend,
            background: None,
            // Set by what calibration sees.
            centre: None,
            embedding_step: 0.0,
            space_id: *space_id,
            provenance: BTreeMap::new(),
            sha256,
        })
    }

    /// The graph's input from raw counts `[time][channels]`.
    pub fn input(&self, counts: &[i16]) -> Vec<f32> {
        self.frontend.input(counts, self.input.channels_last)
    }
}

/// What stands before the classes' probabilities is the output: that is what is quantised.
fn cut_softmax(proto: &mut ModelProto) {
    let Some(graph) = proto.graph.as_mut() else {
        return;
    };
    // Of several outputs the first is the encoder's.
    graph.output.truncate(1);
    let Some(output) = graph.output.first_mut() else {
        return;
    };
    let last = graph.node.iter().position(|n| {
        n.output.contains(&output.name) && matches!(n.op_type.as_str(), "Softmax" | "LogSoftmax")
    });
    if let Some(last) = last {
        output.name = graph.node[last].input.first().cloned().unwrap_or_default();
        graph.node.remove(last);
    }
}

impl GraphInput {
    /// Reads the first input's shape; the layout from what the graph does with it.
    fn of(proto: &ModelProto) -> Option<GraphInput> {
        use tract_onnx::pb::tensor_shape_proto::dimension::Value;
        use tract_onnx::pb::type_proto::Value::TensorType;
        let graph = proto.graph.as_ref()?;
        let stored = |name: &str| graph.initializer.iter().any(|t| t.name == name);
        let input = graph.input.iter().find(|i| !stored(&i.name))?;
        let Some(TensorType(tensor)) = input.r#type.as_ref()?.value.as_ref() else {
            return None;
        };
        let dims = tensor.shape.as_ref()?.dim.iter().skip(1);
        let dims: Option<Vec<usize>> = dims
            .map(|d| match d.value {
                Some(Value::DimValue(v)) if (1..=1 << 16).contains(&v) => Some(v as usize),
                _ => None,
            })
            .collect();
        let dims = dims?;
        let reader = graph.node.iter().find(|n| n.input.contains(&input.name))?;
        let moved = matches!(reader.op_type.as_str(), "Transpose" | "Reshape");
        let (shape, channels_last) = match (dims.as_slice(), moved) {
            (&[height, width, channels], true) => ([height, width, channels], true),
            (&[channels, height, width], false) => ([height, width, channels], false),
            (&[width, channels], true) => ([1, width, channels], true),
            (&[channels, width], false) => ([1, width, channels], false),
            (&[values], _) => ([1, 1, values], true),
            _ => return None,
        };
        let fits = shape[0] * shape[1] <= 65_535 && shape.iter().product::<usize>() <= 1 << 20;
        fits.then_some(GraphInput {
            dims,
            shape,
            channels_last,
        })
    }
}
