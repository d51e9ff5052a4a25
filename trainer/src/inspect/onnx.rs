//! An encoder's ONNX file: its layers as a device would run them, and its metadata.

use serde_json::{Value, json};

use super::{Findings, Sliding, columns, head, hex, shape, thousands};
use crate::encoder_file::EncoderFile;
use crate::graph::{Graph, Layer, Op};
use headstart::frontend::settings::{FitSetting, Settings};

/// Characters of an entry that are printed: commands fit, vocabularies do not.
const LONGEST: usize = 1500;

pub(super) fn findings(bytes: &[u8]) -> anyhow::Result<Findings> {
    let file = EncoderFile::from_bytes(bytes)?;
    let (graph, no_pack) = match Graph::read(&file.proto, file.input.shape) {
        Ok(graph) => (graph, None),
        Err(why) => (Graph::default(), Some(why.to_string())),
    };
    let found = Onnx {
        bytes: bytes.len(),
        file,
        graph,
        no_pack,
    };
    Ok(Findings {
        text: found.text(),
        json: found.json(),
    })
}

struct Onnx {
    bytes: usize,
    file: EncoderFile,
    /// Empty where no device can run it.
    graph: Graph,
    /// Why no device can.
    no_pack: Option<String>,
}

impl Onnx {
    fn macs(&self) -> usize {
        self.graph.layers.iter().map(|l| self.graph.macs(l)).sum()
    }

    fn opset(&self) -> i64 {
        let standard = self
            .file
            .proto
            .opset_import
            .iter()
            .find(|o| o.domain.is_empty());
        standard.map_or(0, |o| o.version)
    }

    fn dim(&self) -> usize {
        use tract_onnx::pb::tensor_shape_proto::dimension::Value;
        use tract_onnx::pb::type_proto::Value::TensorType;
        let graph = self.file.proto.graph.as_ref();
        let output = graph.and_then(|g| g.output.first()?.r#type.as_ref()?.value.as_ref());
        let Some(TensorType(tensor)) = output else {
            return 0;
        };
        let last = tensor
            .shape
            .as_ref()
            .and_then(|s| s.dim.last()?.value.as_ref());
        match last {
            Some(Value::DimValue(values)) => usize::try_from(*values).unwrap_or(0),
            _ => 0,
        }
    }

    fn text(&self) -> String {
        let (file, front) = (&self.file, &self.file.frontend);
        let mut text = String::new();
        let mut line = |key: &str, value: String| text += &format!("{key:<12}{value}\n");
        line(
            "encoder",
            format!(
                "ONNX, opset {}, {} bytes",
                self.opset(),
                thousands(self.bytes)
            ),
        );
        line("sha256", hex(&file.sha256));
        line("space", hex(&file.space_id));
        line(
            "input",
            match file.numbers {
                true => format!("plain numbers, {:?}", file.input.dims),
                false => input_text(front),
            },
        );
        match front {
            _ if file.numbers => {}
            Settings::Sensor(sensor) => {
                let scale = &sensor.scale;
                line("", format!("scale {scale:?}, in physical units per count"));
                line("", format!("mean {:?}, std {:?}", sensor.mean, sensor.std));
            }
            Settings::Image(image) => {
                line("", format!("mean {:?}, std {:?}", image.mean, image.std));
            }
            Settings::LogMel(sound) => {
                line(
                    "",
                    format!("mean {:?}, std {:?}, in dB", sound.mean, sound.std),
                );
            }
        }
        line(
            "embedding",
            format!(
                "{} values, fixed-point step {}",
                self.dim(),
                match file.embedding_step {
                    0.0 => "not measured yet".to_owned(),
                    step => format!("{step:e}"),
                }
            ),
        );
        line(
            "background",
            match &file.background {
                Some(b) => format!(
                    "mean of {} values; rank {}; an example is {:.1} from its class's mean (norm 127)",
                    b.mean.len(),
                    b.within.len(),
                    b.within_total.sqrt()
                ),
                None => "none: `headstart background ENCODER DATA` measures them".to_owned(),
            },
        );
        let parameters: usize = self.graph.layers.iter().map(parameters_of).sum();
        line(
            "compute",
            format!(
                "{} multiply-accumulates an embedding, {} parameters",
                thousands(self.macs()),
                thousands(parameters)
            ),
        );
        text += "\n";
        text += &match &self.no_pack {
            None => self.layers_text(),
            Some(why) => format!("runs on Linux only: {why}\n"),
        };
        text += "\nmetadata\n";
        for (key, value) in &file.provenance {
            text += &match value.char_indices().nth(LONGEST) {
                None => format!("{key}={value}\n"),
                Some((end, _)) => {
                    let all = thousands(value.len());
                    format!("{key}={}... ({all} bytes; --json has all)\n", &value[..end])
                }
            };
        }
        text
    }

    fn layers_text(&self) -> String {
        let mut rows = vec![head(&["layer", "kind", "shapes", "", "MACs", "parameters"])];
        for layer in &self.graph.layers {
            let (input, output) = (self.sides(layer.inputs[0]), self.sides(layer.output));
            rows.push(vec![
                layer.name.clone(),
                kind(layer).to_owned(),
                format!("{} -> {}", shape(input), shape(output)),
                sliding(layer).map_or(String::new(), |s| s.text()),
                thousands(self.graph.macs(layer)),
                thousands(parameters_of(layer)),
            ]);
        }
        columns(&rows, &[4, 5])
    }

    fn sides(&self, tensor: usize) -> [usize; 3] {
        self.graph.tensors[tensor].shape
    }

    fn json(&self) -> Value {
        let file = &self.file;
        let layers = self.graph.layers.iter().map(|layer| {
            json!({
                "name": layer.name,
                "kind": kind(layer),
                "input": self.sides(layer.inputs[0]),
                "output": self.sides(layer.output),
                "macs": self.graph.macs(layer),
                "parameters": parameters_of(layer),
            })
        });
        json!({
            "kind": "onnx",
            "opset": self.opset(),
            "bytes": self.bytes,
            "sha256": hex(&file.sha256),
            "space_id": hex(&file.space_id),
            "frontend": (!file.numbers).then_some(&file.frontend),
            "no_pack": self.no_pack,
            "dim": self.dim(),
            "embedding_step": file.embedding_step,
            "background_rank": file.background.as_ref().map(|b| b.within.len()),
            "macs": self.macs(),
            "parameters": self.graph.layers.iter().map(parameters_of).sum::<usize>(),
            "layers": layers.collect::<Vec<_>>(),
            "metadata": file.provenance,
        })
    }
}

fn kind(layer: &Layer) -> &'static str {
    match layer.op {
        Op::Conv(..) => "Conv",
        Op::Depthwise(..) => "Depthwise",
        Op::Dense(_) => "Dense",
        Op::AvgPool(_) => "AvgPool",
        Op::MaxPool(_) => "MaxPool",
        Op::Add => "Add",
        Op::Mul => "Mul",
        Op::Lookup(_) => "Lookup",
        Op::Concat => "Concat",
        Op::Clamp(_) => "Clamp",
        Op::Pad(_) => "Pad",
    }
}

fn sliding(layer: &Layer) -> Option<Sliding> {
    match &layer.op {
        Op::Conv(w, _) | Op::Depthwise(w, _) | Op::AvgPool(w) | Op::MaxPool(w) => Some(Sliding {
            kernel: w.kernel,
            stride: w.stride,
            dilation: w.dilation,
            pad: w.pad,
            groups: if matches!(layer.op, Op::Conv(..)) {
                w.groups
            } else {
                1
            },
        }),
        _ => None,
    }
}

fn parameters_of(layer: &Layer) -> usize {
    match &layer.op {
        Op::Conv(_, w) | Op::Depthwise(_, w) | Op::Dense(w) => w.values.len() + w.biases.len(),
        Op::Clamp(limits) => 2 * limits.len(),
        _ => 0,
    }
}

fn input_text(front: &Settings) -> String {
    match front {
        Settings::Sensor(s) => format!(
            "sensor window, {} time steps of {} channels at {} Hz, one each {} steps",
            s.window, s.channels, s.rate, s.hop
        ),
        Settings::Image(s) => format!(
            "picture of any size, {} to {} x {} x {}",
            match s.fit {
                FitSetting::Stretch => "stretched",
                FitSetting::Crop => "cropped",
            },
            s.height,
            s.width,
            s.channels
        ),
        Settings::LogMel(s) => format!(
            "sound, {} samples at {} Hz as {} log-mel bands, {} x {} frames, one each {} frames",
            thousands(front.input_len()),
            s.rate,
            s.bands,
            s.windows,
            s.frames,
            s.step
        ),
    }
}
