//! What quantisation cost, and what the pack needs.

use std::fmt::Write as _;
use std::path::Path;

use headstart::pack::{ElementKind, TensorRecord};
use headstart::{EncoderPack, PackedEncoder};
use sha2::{Digest, Sha256};

use super::few_shot::FewShot;
use super::layers::{self, LayerQuality};
use super::search::{JUDGES, Packed, Try, judges};
use crate::encoder_file::EncoderFile;
use crate::files::Aligned;
use crate::float::FloatEncoder;
use crate::items::Owned;

/// What a pack needs, and how well it follows the float encoder.
pub struct Report {
    bytes: usize,
    arena: usize,
    lower_bound: usize,
    dim: usize,
    windows: usize,
    quality: Quality,
    layers: Vec<LayerQuality>,
    tried: Vec<Try>,
    used: Vec<String>,
    /// Activations in 16 bits, the raw embedding among them, of all.
    int16: usize,
    tensors: usize,
    kernels: String,
    sha256: String,
    /// Where labelled recordings were given.
    pub(super) few_shot: Option<FewShot>,
    /// Whether the inputs were noise.
    pub(super) noise: bool,
}

/// The pack's raw outputs beside the float encoder's, over the same inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Quality {
    /// Of outputs less the mean that the pack subtracts: on average, and the smallest.
    pub cosine: f64,
    /// See there.
    pub worst_cosine: f64,
    /// Signal over noise of the raw outputs, dB.
    pub sqnr_db: f64,
    /// Of the inputs whose two largest outputs lie further apart than twice the root mean square
    /// error, the part whose largest output is the same; 1 where none qualifies.
    pub agreement: f64,
    /// The part of the inputs that qualifies.
    pub qualify: f64,
}

impl Quality {
    /// Compares `packed` with `float`, a row an input; `centre` is the pack's.
    pub fn of(packed: &[Vec<f64>], float: &[Vec<f64>], centre: &[f64]) -> Quality {
        let pairs = || packed.iter().zip(float);
        let less =
            |row: &[f64]| -> Vec<f64> { row.iter().zip(centre).map(|(v, c)| v - c).collect() };
        let cosines: Vec<f64> = pairs().map(|(p, f)| cosine(&less(p), &less(f))).collect();
        let both = || pairs().flat_map(|(p, f)| p.iter().zip(f));
        let noise: f64 = both().map(|(p, f)| (p - f).powi(2)).sum();
        let signal: f64 = both().map(|(_, f)| f.powi(2)).sum();
        let rms = (noise / both().count().max(1) as f64).sqrt();
        let qualified: Vec<bool> = pairs()
            .filter(|(_, f)| margin(f) > 2.0 * rms)
            .map(|(p, f)| largest(p) == largest(f))
            .collect();
        let part = |n: usize, of: usize| if of == 0 { 1.0 } else { n as f64 / of as f64 };
        Quality {
            cosine: cosines.iter().sum::<f64>() / cosines.len().max(1) as f64,
            worst_cosine: cosines.iter().copied().fold(1.0, f64::min),
            sqnr_db: 10.0 * (signal / noise.max(1e-30)).log10(),
            agreement: part(
                qualified.iter().filter(|&&same| same).count(),
                qualified.len(),
            ),
            qualify: part(qualified.len(), float.len()),
        }
    }
}

fn largest(row: &[f64]) -> Option<usize> {
    (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]))
}

/// How far the largest value lies above the next.
fn margin(row: &[f64]) -> f64 {
    let mut sorted = row.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    match sorted[..] {
        [first, second, ..] => first - second,
        _ => 0.0,
    }
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-30)
}

/// Runs the pack beside the float encoder.
pub(super) fn measure(
    encoder: &EncoderFile,
    packed: &Packed,
    windows: &[Owned],
) -> anyhow::Result<Report> {
    let (bytes, layout) = (&packed.bytes, &packed.layout);
    let quality = quality(encoder, bytes, windows)?;
    let aligned = Aligned::new(bytes);
    let pack = EncoderPack::new(aligned.bytes())?;
    let int16 = |t: &&TensorRecord| t.element == 2;
    let mut kinds: Vec<&str> = pack
        .layers()
        .iter()
        .filter_map(|l| Some(l.kind()?.name()))
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    Ok(Report {
        bytes: bytes.len(),
        arena: pack.arena_bytes(),
        lower_bound: layout.lower_bound,
        dim: pack.dim(),
        windows: windows.len(),
        quality,
        layers: layers::measure(encoder, packed, &judges(windows, JUDGES))?,
        tried: packed.tried.clone(),
        used: packed.used.clone(),
        int16: pack.tensors().iter().filter(int16).count(),
        tensors: pack.tensors().len(),
        kernels: format!("kernels!({})", kinds.join(", ")),
        sha256: hex(&Sha256::digest(bytes)),
        few_shot: None,
        noise: false,
    })
}

/// How well a pack follows the float encoder on these inputs.
pub fn quality(encoder: &EncoderFile, bytes: &[u8], windows: &[Owned]) -> anyhow::Result<Quality> {
    let aligned = Aligned::new(bytes);
    let pack = EncoderPack::new(aligned.bytes())?;
    let float = FloatEncoder::new(encoder)?.signals(encoder, windows)?;
    let step = f64::from(pack.embedding_step());
    let float: Vec<Vec<f64>> = float
        .iter()
        .map(|row| row.iter().map(|&v| f64::from(v)).collect())
        .collect();
    let centre = pack.centre().iter().map(|&c| f64::from(c) * step);
    let centre: Vec<f64> = centre.collect();
    Ok(Quality::of(&raw(pack, windows)?, &float, &centre))
}

/// The pack's raw outputs, a row an input.
fn raw(pack: EncoderPack<'_>, windows: &[Owned]) -> anyhow::Result<Vec<Vec<f64>>> {
    let mut arena = vec![0; pack.arena_bytes().div_ceil(4)];
    let mut packed: PackedEncoder = PackedEncoder::new(pack, &mut arena)?;
    let (tensor, step) = (pack.embedding_tensor(), f64::from(pack.embedding_step()));
    let mut rows = Vec::with_capacity(windows.len());
    for window in windows {
        let bytes = &packed.run(window.signal()?, |_, _| {})?[tensor.place()];
        rows.push(match tensor.element_kind() {
            ElementKind::Int8 => bytes.iter().map(|&v| f64::from(v) * step).collect(),
            ElementKind::Int16 => bytes
                .chunks_exact(2)
                .map(|b| f64::from(i16::from_le_bytes([b[0] as u8, b[1] as u8])) * step)
                .collect(),
        });
    }
    Ok(rows)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl Report {
    pub(super) fn text(&self, output: &Path) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: String| {
            let _ = writeln!(text, "{key:<12}{value}");
        };
        line("pack", output.display().to_string());
        line("sha256", self.sha256.clone());
        line("flash", format!("{} bytes", self.bytes));
        line(
            "arena",
            format!(
                "{} bytes, input and scratch included; {} live at once without scratch",
                self.arena, self.lower_bound
            ),
        );
        line("embedding", format!("{} values", self.dim));
        let q = &self.quality;
        line(
            "precision",
            format!(
                "int8; int16 for {} of {} activations, the raw embedding among them",
                self.int16, self.tensors
            ),
        );
        line(
            "quality",
            format!(
                "centred cosine to the float encoder {:.4} on average, {:.4} at worst; {:.1} dB; {} inputs",
                q.cosine, q.worst_cosine, q.sqnr_db, self.windows
            ),
        );
        line(
            "top-1",
            format!(
                "the same largest output for {:.2} % of the {:.1} % of inputs with a clear one",
                100.0 * q.agreement,
                100.0 * q.qualify
            ),
        );
        if self.tried.len() > 1 {
            line("used", self.used.join(", "));
            let tries = self.tried.iter();
            let tries = tries.map(|t| format!("{} {:.4}", t.step, t.quality.cosine));
            line("tried", tries.collect::<Vec<_>>().join(", "));
        }
        for layer in layers::worst(&self.layers).into_iter().take(3) {
            line("worst layer", layer.text());
        }
        if self.noise {
            line(
                "inputs",
                "noise, as no calibration data was given: sizes hold, quality does not".into(),
            );
        }
        if let Some(f) = &self.few_shot {
            let text = format!(
                "{}-way 5-shot, same wearer: float {:.1} %, pack {:.1} %, paired difference {:+.2} +- {:.2} points",
                f.ways,
                100.0 * f.float.accuracy,
                100.0 * f.packed.accuracy,
                100.0 * f.difference.accuracy,
                100.0 * f.difference.ci95
            );
            line("few-shot", text);
        }
        line("kernels", format!("PackedEncoder<{}>", self.kernels));
        text
    }

    pub(super) fn json(&self, output: &Path) -> String {
        serde_json::json!({
            "pack": output.display().to_string(),
            "sha256": self.sha256,
            "pack_bytes": self.bytes,
            "arena_bytes": self.arena,
            "arena_lower_bound": self.lower_bound,
            "dim": self.dim,
            "int16_activations": self.int16,
            "activations": self.tensors,
            "noise": self.noise,
            "windows": self.windows,
            "cosine": self.quality.cosine,
            "worst_cosine": self.quality.worst_cosine,
            "sqnr_db": self.quality.sqnr_db,
            "top1_agreement": self.quality.agreement,
            "top1_qualify": self.quality.qualify,
            "tried": self.tried.iter().map(Try::json).collect::<Vec<_>>(),
            "used": self.used,
            "layers": self.layers.iter().map(LayerQuality::json).collect::<Vec<_>>(),
            "kernels": self.kernels,
            "few_shot": self.few_shot.as_ref().map(|f| serde_json::json!({
                "ways": f.ways,
                "shots": 5,
                "episodes": f.float.episodes,
                "float_accuracy": f.float.accuracy,
                "pack_accuracy": f.packed.accuracy,
                "difference": f.difference.accuracy,
                "difference_ci95": f.difference.ci95,
            })),
        })
        .to_string()
    }
}
