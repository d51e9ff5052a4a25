//! An encoder as a file: the ONNX graph and, in its metadata, what a device needs besides.

use std::collections::BTreeMap;
use std::path::Path;

use headstart::encoder::EmbedError;
use headstart::frontend::Signal;
use headstart::frontend::settings::{SensorSettings, Settings};
use headstart::onnx::{EncoderInfo, InfoError, PREFIX};

use crate::dataset::Dataset;
use crate::items::Owned;
use prost::Message;
use sha2::{Digest, Sha256};
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};

pub use headstart::onnx::Background;

/// An ONNX file that `headstart` wrote or imported.
#[derive(Clone, Debug)]
pub struct EncoderFile {
    /// The graph, input `input`, output `embedding`.
    pub proto: ModelProto,
    /// From the signal to the graph's input.
    pub frontend: Settings,
    /// The file says nothing of its front end: its input is plain numbers, and what a count of the
    /// front end is worth was chosen for the data at hand.
    pub numbers: bool,
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
    /// ONNX, but not an encoder file.
    #[error("it is a network, but no encoder file yet: headstart import NETWORK -o ENCODER")]
    NotEncoder,
    /// Its metadata can't be used.
    #[error(transparent)]
    Info(#[from] InfoError),
    /// An input that is no picture, series or vector of known size.
    #[error("its input has no fixed shape of one to three dimensions besides the batch")]
    Input,
}

/// The values of the entry `headstart.layout`.
pub const CHANNELS_LAST: &str = "nhwc";
/// See [`CHANNELS_LAST`].
pub const CHANNELS_FIRST: &str = "nchw";

impl EncoderFile {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, EncoderFileError> {
        Self::from_bytes(&std::fs::read(path)?)
    }

    /// Checks a file's bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EncoderFileError> {
        let proto = ModelProto::decode(bytes)?;
        Self::from_proto(proto, Sha256::digest(bytes).into(), 1.0)
    }

    fn from_proto(
        proto: ModelProto,
        sha256: [u8; 32],
        largest: f32,
    ) -> Result<Self, EncoderFileError> {
        let entry = |key: &str| {
            let mut entries = proto.metadata_props.iter();
            let found = entries.find(|p| p.key.strip_prefix(PREFIX) == Some(key));
            found.map(|p| p.value.as_str())
        };
        if entry("space_id").is_none() {
            return Err(EncoderFileError::NotEncoder);
        }
        let channels_last = entry("layout").map(|layout| layout == CHANNELS_LAST);
        // Where nothing is said of it, the graph's input is plain numbers.
        let numbers = entry("frontend").is_none();
        let made_up = match numbers {
            true => {
                let input = GraphInput::of(&proto, channels_last);
                let input = input.ok_or(EncoderFileError::Input)?;
                Some(plain_numbers(input.shape, largest).json())
            }
            false => None,
        };
        let entries = proto.metadata_props.iter();
        let entries = entries.map(|p| (p.key.as_str(), p.value.as_str()));
        let front = made_up
            .iter()
            .map(|json| ("headstart.frontend", json.as_str()));
        let info = EncoderInfo::from_entries(entries.chain(front))?;
        let frontend = info.frontend;
        let input = match (&frontend, channels_last) {
            // The files of `pretrain` have series with channels first.
            (Settings::Sensor(front), None) if !numbers => GraphInput {
                dims: vec![front.channels, front.window],
                shape: [1, front.window, front.channels],
                channels_last: false,
            },
            _ => GraphInput::of(&proto, channels_last).ok_or(EncoderFileError::Input)?,
        };
        // Numbers are one series, whatever sides the graph gives them.
        let series = |[height, width, channels]: [usize; 3]| [height * width, channels];
        let fits = match &frontend {
            Settings::Sensor(_) => series(frontend.shape()) == series(input.shape),
            _ => frontend.shape() == input.shape,
        };
        if !fits {
            let why = format!(
                "it makes {:?}, the graph takes {:?}",
                frontend.shape(),
                input.shape
            );
            return Err(InfoError::Damaged("frontend", why).into());
        }
        Ok(EncoderFile {
            proto,
            input,
            frontend,
            numbers,
            background: info.background,
            centre: None,
            embedding_step: info.embedding_step.unwrap_or(0.0),
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
            return Self::from_proto(proto, sha256, largest);
        }
        cut_softmax(&mut proto);
        let input = GraphInput::of(&proto, None).ok_or(EncoderFileError::Input)?;
        let frontend = plain_numbers(input.shape, largest);
        let (space_id, _) = sha256.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        Ok(EncoderFile {
            proto,
            input,
            frontend,
            numbers: true,
            background: None,
            // Set by what calibration sees.
            centre: None,
            embedding_step: 0.0,
            space_id: *space_id,
            provenance: BTreeMap::new(),
            sha256,
        })
    }

    /// The same, with numbers as large as those of a data file where the file itself says nothing of
    /// its input.
    pub fn for_data(bytes: &[u8], data: &Path) -> anyhow::Result<Self> {
        let encoder = Self::plain(bytes, 1.0)?;
        if !encoder.numbers {
            return Ok(encoder);
        }
        let data = Dataset::load(data)?;
        let largest = data.x.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        Ok(Self::plain(bytes, largest)?)
    }

    /// The graph's input for a signal, window by window, in the graph's own layout.
    ///
    /// # Errors
    /// A signal of another kind or length than the encoder's.
    pub fn input(&self, signal: Signal<'_>) -> Result<Vec<f32>, EmbedError> {
        let input = self.frontend.inputs(signal)?;
        Ok(match self.input.channels_last {
            true => input,
            false => channels_first(&input, self.frontend.shape()),
        })
    }

    /// The same for several signals, one after the other.
    pub fn inputs(&self, signals: &[Owned]) -> anyhow::Result<Vec<f32>> {
        let mut inputs = Vec::new();
        for owned in signals {
            inputs.extend(self.input(owned.signal()?)?);
        }
        Ok(inputs)
    }

    /// The front end where it is a sensor's.
    pub fn sensor(&self) -> Option<&SensorSettings> {
        match &self.frontend {
            Settings::Sensor(sensor) => Some(sensor),
            _ => None,
        }
    }
}

/// Windows of `[height][width][channels]` as `[channels][height][width]`.
fn channels_first(values: &[f32], [height, width, channels]: [usize; 3]) -> Vec<f32> {
    let (places, size) = (height * width, height * width * channels);
    let mut moved = vec![0.0; values.len()];
    for (from, to) in values.chunks_exact(size).zip(moved.chunks_exact_mut(size)) {
        for (at, value) in from.iter().enumerate() {
            to[at % channels * places + at / channels] = *value;
        }
    }
    moved
}

/// Numbers up to `largest` in size as counts.
fn plain_numbers([height, width, channels]: [usize; 3], largest: f32) -> Settings {
    let window = height * width;
    Settings::Sensor(SensorSettings {
        channels,
        window,
        hop: window,
        rate: 1.0,
        scale: vec![largest.max(1e-6) / 32767.0; channels],
        mean: vec![0.0; channels],
        std: vec![1.0; channels],
    })
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

/// The first node that does more with `name` than change its type; none in a damaged file, whose nodes may
/// read each other in a circle.
fn first_reader<'g>(graph: &'g GraphProto, mut name: &'g str) -> Option<&'g NodeProto> {
    for _ in &graph.node {
        let reader = graph
            .node
            .iter()
            .find(|n| n.input.iter().any(|i| i == name))?;
        match reader.op_type.as_str() {
            "QuantizeLinear" | "DequantizeLinear" | "Cast" | "Identity" => {
                name = reader.output.first()?;
            }
            _ => return Some(reader),
        }
    }
    None
}

impl GraphInput {
    /// Reads the first input's shape; the layout, where nobody says, from what the graph does with
    /// it.
    pub(crate) fn of(proto: &ModelProto, channels_last: Option<bool>) -> Option<GraphInput> {
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
        let moved = || {
            let reader = first_reader(graph, &input.name)?;
            let reader = reader.op_type.as_str();
            Some(matches!(reader, "Transpose" | "Reshape"))
        };
        let moved = channels_last.or_else(moved)?;
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
