//! A pack: what it costs a device, part by part.

use std::collections::BTreeSet;

use headstart::Statistics;
use headstart::frontend::{Fit, FrontEnd};
use headstart::ops::geometry;
use headstart::pack::{
    EncoderPack, LayerKind, LayerRecord, NO_TENSOR, PackHeader, TensorRecord, VERSION,
};
use serde_json::{Value, json};

use super::plan::Plan;
use super::{Findings, Sliding, columns, head, hex, shape, thousands};
use crate::files::Aligned;

/// Classes that the state is stated for.
const CLASSES: usize = 8;
/// A `heapless::String<16>` where a pointer has 32 bits: length and bytes.
const LABEL_BYTES: usize = 4 + 16;

pub(super) fn findings(bytes: &[u8]) -> anyhow::Result<Findings> {
    let aligned = Aligned::new(bytes);
    let pack = EncoderPack::new(aligned.bytes())?;
    let layers: Vec<Layer> = (0..pack.layers().len())
        .map(|i| Layer::of(&pack, i))
        .collect();
    let found = Pack {
        plan: Plan::of(&pack),
        flash: flash(&pack, &layers),
        state: 4 * Statistics::words(pack.dim(), CLASSES) + CLASSES * LABEL_BYTES,
        kernels: kernels(&pack),
        pack,
        layers,
    };
    Ok(Findings {
        text: found.text(),
        json: found.json(),
    })
}

struct Pack<'a> {
    pack: EncoderPack<'a>,
    layers: Vec<Layer>,
    plan: Plan<'a>,
    flash: Vec<(&'static str, usize)>,
    state: usize,
    kernels: String,
}

struct Layer {
    kind: &'static str,
    input: [usize; 3],
    output: [usize; 3],
    sliding: Option<Sliding>,
    macs: usize,
    weight_bytes: usize,
    /// Bytes of biases and multipliers.
    constant_bytes: usize,
    /// Bytes of the arena that only this layer works in.
    scratch: usize,
    /// First byte of the arena that it writes, and the one behind the last.
    writes: [usize; 2],
    reads: Vec<[usize; 2]>,
}

impl Layer {
    fn of(pack: &EncoderPack<'_>, index: usize) -> Layer {
        let (record, tensors) = (&pack.layers()[index], pack.tensors());
        let tensor = |at: u16| &tensors[usize::from(at)];
        let (input, output) = (tensor(record.input), tensor(record.output));
        let place = |t: &TensorRecord| [t.place().start, t.place().end];
        let second = (record.second_input != NO_TENSOR).then(|| place(tensor(record.second_input)));
        let outputs = usize::from(output.channels);
        let kernel = usize::from(record.kernel_height) * usize::from(record.kernel_width);
        let kind = record.kind();
        // Weights that are multiplied, bytes that they or a table take, and 32-bit constants.
        let (weights, bytes, words) = match kind {
            Some(LayerKind::Conv | LayerKind::Dense) => (
                geometry::filter(record, input) * outputs,
                geometry::weight_bytes(record, input, output),
                2 * outputs,
            ),
            Some(LayerKind::Depthwise) => (kernel * outputs, kernel * outputs, 2 * outputs),
            Some(LayerKind::Lookup) => (0, 256, 0),
            Some(LayerKind::Clamp) => (0, 2 * outputs, 0),
            _ => (0, 0, 0),
        };
        let scratch = geometry::scratch_bytes(record, input, output);
        let negative = if record.negative_multipliers_at == 0 {
            0
        } else {
            outputs
        };
        Layer {
            kind: kind.map_or("?", LayerKind::name),
            input: sides(input),
            output: sides(output),
            sliding: sliding(kind, record),
            // Every weight is used once at every output position.
            macs: weights * output.len() / outputs.max(1),
            weight_bytes: bytes,
            constant_bytes: 4 * (words + negative),
            scratch,
            writes: place(output),
            reads: std::iter::once(place(input)).chain(second).collect(),
        }
    }

    fn json(&self) -> Value {
        json!({
            "kind": self.kind,
            "input": self.input,
            "output": self.output,
            "macs": self.macs,
            "weight_bytes": self.weight_bytes,
            "constant_bytes": self.constant_bytes,
            "scratch_bytes": self.scratch,
            "reads": self.reads,
            "writes": self.writes,
        })
    }
}

fn sides(t: &TensorRecord) -> [usize; 3] {
    [t.height, t.width, t.channels].map(usize::from)
}

fn sliding(kind: Option<LayerKind>, record: &LayerRecord) -> Option<Sliding> {
    let pair = |height: u16, width: u16| [usize::from(height), usize::from(width)];
    let slides = [
        LayerKind::Conv,
        LayerKind::Depthwise,
        LayerKind::AvgPool,
        LayerKind::MaxPool,
    ];
    if !kind.is_some_and(|kind| slides.contains(&kind)) {
        return None;
    }
    Some(Sliding {
        kernel: pair(record.kernel_height, record.kernel_width),
        stride: pair(record.stride_height, record.stride_width),
        dilation: pair(record.dilation_height, record.dilation_width),
        pad: pair(record.pad_top, record.pad_left),
        groups: match kind {
            Some(LayerKind::Conv) => usize::from(record.groups),
            _ => 1,
        },
    })
}

/// The file's bytes by what they are for; they add up to the file.
fn flash(pack: &EncoderPack<'_>, layers: &[Layer]) -> Vec<(&'static str, usize)> {
    let background = pack.background().map_or(0, |b| {
        4 * (2 + b.projection.len() + b.within.len() + b.between.len())
    });
    let mut parts = vec![
        ("weights", layers.iter().map(|l| l.weight_bytes).sum()),
        (
            "biases and multipliers",
            layers.iter().map(|l| l.constant_bytes).sum(),
        ),
        ("background statistics", background),
        ("background mean", 4 * pack.dim()),
        ("layer records", size_of_val(pack.layers())),
        ("tensor records", size_of_val(pack.tensors())),
        ("metadata", pack.metadata().len()),
        ("header", size_of::<PackHeader>()),
        ("front end", pack.frontend_bytes()),
    ];
    let named: usize = parts.iter().map(|p| p.1).sum();
    parts.push(("padding", pack.bytes().len().saturating_sub(named)));
    parts
}

fn input_text(front: FrontEnd<'_>) -> String {
    match front {
        FrontEnd::Sensor(front) => format!(
            "sensor window, {} time steps of {} int16 counts at {} Hz, one each {} steps",
            front.window, front.channels, front.rate_hz, front.hop
        ),
        FrontEnd::Image(front) => format!(
            "picture of any size, {} to {} x {} x {}",
            match front.fit() {
                Fit::Stretch => "stretched",
                Fit::Crop(_) => "cropped",
            },
            front.height(),
            front.width(),
            front.channels()
        ),
        FrontEnd::LogMel(front) => format!(
            "sound, {} int16 samples at {} Hz as {} log-mel bands, {} x {} frames, one each {} frames",
            thousands(front.len()),
            front.rate_hz(),
            front.bands(),
            front.windows(),
            front.frames(),
            front.step()
        ),
    }
}

fn input_json(front: FrontEnd<'_>) -> Value {
    match front {
        FrontEnd::Sensor(front) => json!({
            "kind": "sensor",
            "channels": front.channels,
            "window": front.window,
            "hop": front.hop,
            "rate": front.rate_hz,
        }),
        FrontEnd::Image(front) => json!({
            "kind": "image",
            "height": front.height(),
            "width": front.width(),
            "channels": front.channels(),
        }),
        FrontEnd::LogMel(front) => json!({
            "kind": "log-mel",
            "rate": front.rate_hz(),
            "samples": front.len(),
            "bands": front.bands(),
            "frames": front.frames(),
            "step": front.step(),
            "windows": front.windows(),
        }),
    }
}

fn kernels(pack: &EncoderPack<'_>) -> String {
    let used: BTreeSet<u8> = pack.layers().iter().map(|l| l.kind).collect();
    let kinds = LayerKind::ALL
        .iter()
        .filter(|&&kind| used.contains(&(kind as u8)));
    let names: Vec<&str> = kinds.map(|kind| kind.name()).collect();
    let front = match pack.frontend() {
        FrontEnd::Sensor(_) => String::new(),
        other => format!("; {}", other.kind().name()),
    };
    format!("kernels!({}{front})", names.join(", "))
}

impl Pack<'_> {
    fn macs(&self) -> usize {
        self.layers.iter().map(|l| l.macs).sum()
    }

    fn text(&self) -> String {
        let pack = &self.pack;
        let mut text = String::new();
        let mut line = |key: &str, value: String| text += &format!("{key:<12}{value}\n");
        line(
            "pack",
            format!(
                "format version {VERSION}, {} bytes",
                thousands(pack.bytes().len())
            ),
        );
        line("sha256", hex(&pack.artefact()));
        line("space", hex(&pack.space_id()));
        line("input", input_text(pack.frontend()));
        line(
            "embedding",
            format!(
                "{} values, raw step {:e}",
                pack.dim(),
                pack.embedding_step()
            ),
        );
        line(
            "background",
            match pack.background() {
                Some(b) => format!(
                    "rank {}; an example is {:.1} from its class's mean (norm 127)",
                    b.rank,
                    b.within_total.sqrt()
                ),
                None => "none: heads start from defaults".to_owned(),
            },
        );
        line(
            "compute",
            format!(
                "{} multiply-accumulates an embedding",
                thousands(self.macs())
            ),
        );
        line(
            "arena",
            format!(
                "{} bytes, input and scratch included; {} live at once without scratch",
                thousands(pack.arena_bytes()),
                thousands(self.plan.lower_bound())
            ),
        );
        line(
            "state",
            format!(
                "{} bytes of Statistics for {CLASSES} classes, names included",
                thousands(self.state)
            ),
        );
        line("kernels", format!("PackedEncoder<{}>", self.kernels));
        text += "\n";
        text += &self.layers_text();
        text += "\n";
        text += &self.plan.draw();
        let mut flash = vec![head(&["flash", "bytes"])];
        let all = ("all", pack.bytes().len());
        for (part, bytes) in self.flash.iter().chain([&all]) {
            flash.push(vec![part.to_string(), thousands(*bytes)]);
        }
        text += "\n";
        text += &columns(&flash, &[1]);
        text += "\nmetadata\n";
        for entry in pack.metadata().lines() {
            text += &format!("{entry}\n");
        }
        text
    }

    fn layers_text(&self) -> String {
        let mut rows = vec![head(&[
            "step", "layer", "shapes", "", "MACs", "weights", "arena",
        ])];
        for (i, layer) in self.layers.iter().enumerate() {
            let reads = layer.reads.iter().map(|[from, to]| format!("{from}..{to}"));
            let reads: Vec<String> = reads.collect();
            let [from, to] = layer.writes;
            rows.push(vec![
                (i + 1).to_string(),
                layer.kind.to_owned(),
                format!("{} -> {}", shape(layer.input), shape(layer.output)),
                layer.sliding.as_ref().map_or(String::new(), Sliding::text),
                thousands(layer.macs),
                thousands(layer.weight_bytes),
                format!("{} -> {from}..{to}", reads.join(" + ")),
            ]);
        }
        columns(&rows, &[0, 4, 5])
    }

    fn json(&self) -> Value {
        let pack = &self.pack;
        let flash: serde_json::Map<String, Value> = self
            .flash
            .iter()
            .map(|(part, bytes)| (part.replace(' ', "_"), json!(bytes)))
            .collect();
        let tensors = pack.tensors().iter().enumerate().map(|(t, tensor)| {
            let (born, dies) = self.plan.life(t);
            json!({
                "shape": sides(tensor),
                "element_bytes": tensor.element,
                "offset": tensor.offset,
                "bytes": tensor.bytes(),
                "first_step": born,
                "last_step": dies,
            })
        });
        let metadata: serde_json::Map<String, Value> = pack
            .metadata()
            .lines()
            .filter_map(|l| l.split_once('='))
            .map(|(key, value)| (key.to_owned(), json!(value)))
            .collect();
        json!({
            "kind": "pack",
            "version": VERSION,
            "sha256": hex(&pack.artefact()),
            "space_id": hex(&pack.space_id()),
            "frontend": input_json(pack.frontend()),
            "dim": pack.dim(),
            "embedding_step": pack.embedding_step(),
            "background_rank": pack.background().map(|b| b.rank),
            "macs": self.macs(),
            "flash_bytes": pack.bytes().len(),
            "flash": flash,
            "arena_bytes": pack.arena_bytes(),
            "arena_lower_bound": self.plan.lower_bound(),
            "live_bytes": self.plan.live_bytes(),
            "state_bytes": self.state,
            "state_classes": CLASSES,
            "kernels": self.kernels,
            "layers": self.layers.iter().map(Layer::json).collect::<Vec<_>>(),
            "tensors": tensors.collect::<Vec<_>>(),
            "metadata": metadata,
        })
    }
}
