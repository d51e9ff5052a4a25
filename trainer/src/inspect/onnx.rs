//! An encoder's ONNX file: its layers as a device would run them, and its metadata.

use serde_json::{Value, json};

use super::{Findings, Sliding, columns, head, hex, shape, thousands};
use crate::encoder_file::EncoderFile;
use crate::graph::{Graph, Layer, Op};

pub(super) fn findings(bytes: &[u8]) -> anyhow::Result<Findings> {
    let file = EncoderFile::from_bytes(bytes)?;
    let front = &file.frontend;
    let graph = Graph::read(&file.proto, [1, front.window, front.channels])?;
    let found = Onnx {
        bytes: bytes.len(),
        file,
        graph,
    };
    Ok(Findings {
        text: found.text(),
        json: found.json(),
    })
}

struct Onnx {
    bytes: usize,
    file: EncoderFile,
    graph: Graph,
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
        self.graph.tensors[self.graph.embedding].len()
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
            format!(
                "sensor window, {} time steps of {} channels at {} Hz, one each {} steps",
                front.window, front.channels, front.rate, front.hop
            ),
        );
        line(
            "",
            format!("scale {:?}, in physical units per count", front.scale),
        );
        line("", format!("mean {:?}, std {:?}", front.mean, front.std));
        line(
            "embedding",
            format!(
                "{} values, fixed-point step {:e}",
                self.dim(),
                file.embedding_step
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
                None => {
                    "none: `headstart pretrain` writes them, and a pack needs the mean".to_owned()
                }
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
        text += &self.layers_text();
        text += "\nmetadata\n";
        for (key, value) in &file.provenance {
            text += &format!("{key}={value}\n");
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
            "frontend": file.frontend,
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
