//! What quantisation cost, and what the pack needs.

use std::fmt::Write as _;
use std::path::Path;

use headstart::{Embedding, Encoder, EncoderPack, PackedEncoder};
use sha2::{Digest, Sha256};

use super::Layout;
use super::few_shot::FewShot;
use crate::encoder_file::EncoderFile;
use crate::files::Aligned;
use crate::float::FloatEncoder;

/// Measured on the calibration windows.
pub struct Report {
    bytes: usize,
    arena: usize,
    lower_bound: usize,
    dim: usize,
    windows: usize,
    cosine: f64,
    worst_cosine: f64,
    sqnr_db: f64,
    kernels: String,
    sha256: String,
    /// Where labelled recordings were given.
    pub(super) few_shot: Option<FewShot>,
}

/// Runs the pack beside the float encoder.
pub(super) fn measure(
    encoder: &EncoderFile,
    bytes: &[u8],
    windows: &[Vec<i16>],
    layout: &Layout,
) -> anyhow::Result<Report> {
    let aligned = Aligned::new(bytes);
    let pack = EncoderPack::new(aligned.bytes())?;
    let mut arena = vec![0; pack.arena_bytes().div_ceil(4)];
    let mut packed: PackedEncoder = PackedEncoder::new(pack, &mut arena)?;
    let input: Vec<f32> = windows
        .iter()
        .flat_map(|w| encoder.input(w))
        .collect();
    let float = FloatEncoder::new(encoder)?.embed(&input)?;

    let (mut ours, mut theirs) = (vec![0i8; pack.dim()], vec![0i8; pack.dim()]);
    let (mut cosines, mut signal, mut noise) = (Vec::new(), 0.0, 0.0);
    for (window, raw) in windows.iter().zip(&float) {
        let fixed = raw
            .iter()
            .map(|&v| (v / pack.embedding_step()).round() as i32);
        let reference = Embedding::normalise(fixed, pack.centre(), &mut theirs);
        let (Ok(a), Ok(b)) = (packed.embed(window, &mut ours), reference) else {
            continue;
        };
        cosines.push(cosine(a, b));
        for (&x, &y) in a.values().iter().zip(b.values()) {
            signal += f64::from(y).powi(2);
            noise += (f64::from(x) - f64::from(y)).powi(2);
        }
    }
    anyhow::ensure!(
        !cosines.is_empty(),
        "every calibration window has a zero embedding"
    );
    let mut kinds: Vec<&str> = pack
        .layers()
        .iter()
        .filter_map(|l| Some(l.kind()?.name()))
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    Ok(Report {
        bytes: bytes.len(),
        arena: layout.arena,
        lower_bound: layout.lower_bound,
        dim: pack.dim(),
        windows: cosines.len(),
        cosine: cosines.iter().sum::<f64>() / cosines.len() as f64,
        worst_cosine: cosines.iter().copied().fold(1.0, f64::min),
        sqnr_db: 10.0 * (signal / noise.max(1e-9)).log10(),
        kernels: format!("kernels!({})", kinds.join(", ")),
        sha256: hex(&Sha256::digest(bytes)),
        few_shot: None,
    })
}

fn cosine(a: Embedding<'_>, b: Embedding<'_>) -> f64 {
    let dot: f64 = a
        .values()
        .iter()
        .zip(b.values())
        .map(|(&x, &y)| f64::from(x) * f64::from(y))
        .sum();
    dot / (f64::from(a.squared_norm()) * f64::from(b.squared_norm())).sqrt()
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
                "{} bytes (no plan can need less than {})",
                self.arena, self.lower_bound
            ),
        );
        line("embedding", format!("{} values", self.dim));
        let quality = format!(
            "centred cosine to the float encoder {:.4} on average, {:.4} at worst; {:.1} dB; {} windows",
            self.cosine, self.worst_cosine, self.sqnr_db, self.windows
        );
        line("int8", quality);
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
            "windows": self.windows,
            "cosine": self.cosine,
            "worst_cosine": self.worst_cosine,
            "sqnr_db": self.sqnr_db,
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
