//! Google's speech_embedding (*Training Keyword Spotters with Limited and Synthesized Speech Data*,
//! Lin, Kilgour, Roblek and Sharifi, 2020), a keyword encoder that was made for few-shot heads.

use std::path::Path;

use anyhow::{bail, ensure};

use super::network::Network;
use super::wav::CLIP;

/// Log-mel bands.
const BANDS: usize = 32;
/// Log-mel frames, 10 ms apart, that the encoder sees at once.
const FRAMES: usize = 76;
/// Frames from one window to the next.
const HOP: usize = 8;
/// The file beside the encoder.
const FRONT: &str = "speech_melspectrogram.onnx";
const GET: &str = "models/get speech";

/// The log-mel front end and the encoder.
pub struct SpeechEncoder {
    mel: Network,
    windows: usize,
    embedding: Network,
}

impl SpeechEncoder {
    /// Reads the encoder and the front end beside it.
    pub fn load(encoder: &Path) -> anyhow::Result<SpeechEncoder> {
        let front = encoder.with_file_name(FRONT);
        if encoder.is_file() && !front.is_file() {
            bail!(
                "the encoder's front end {} is missing; it belongs beside the encoder: {GET}",
                front.display()
            );
        }
        let mel = Network::load(&front, GET, |declared| {
            let found = Network::shape(declared);
            ensure!(
                declared.len() == 2,
                "its input is {found}, not [1, samples]"
            );
            Ok(vec![1, CLIP])
        })?;
        let frames = log_mel(&mel, &[0.0; CLIP])?.len() / BANDS;
        ensure!(
            frames >= FRAMES,
            "{} makes {frames} frames of 1.5 s: is it another front end?",
            front.display()
        );
        let windows = (frames - FRAMES) / HOP + 1;
        let embedding = Network::load(encoder, GET, |declared| {
            let window = [Some(FRAMES), Some(BANDS), Some(1)];
            ensure!(
                declared.len() == 4 && declared[1..] == window,
                "its input is {}, not [n, 76, 32, 1]: --preset speech-embedding is for speech_embedding.onnx ({GET})",
                Network::shape(declared)
            );
            Ok(vec![windows, FRAMES, BANDS, 1])
        })?;
        Ok(SpeechEncoder {
            mel,
            windows,
            embedding,
        })
    }

    /// The mean embedding over the windows of a clip of [`CLIP`] samples.
    pub fn embed(&self, clip: &[f32]) -> anyhow::Result<Vec<f32>> {
        let mel = log_mel(&self.mel, clip)?;
        let window = FRAMES * BANDS;
        let input: Vec<f32> = mel
            .windows(window)
            .step_by(HOP * BANDS)
            .flatten()
            .copied()
            .collect();
        let output = self.embedding.run(&input)?.values;
        let dim = output.len() / self.windows;
        ensure!(dim > 0, "the encoder makes {} values", output.len());
        let mut mean = vec![0.0; dim];
        for row in output.chunks_exact(dim) {
            for (mean, value) in mean.iter_mut().zip(row) {
                *mean += value / self.windows as f32;
            }
        }
        Ok(mean)
    }
}

/// [frames, bands], scaled as the encoder was trained.
fn log_mel(network: &Network, clip: &[f32]) -> anyhow::Result<Vec<f32>> {
    let output = network.run(clip)?;
    ensure!(
        output.shape.last() == Some(&BANDS),
        "the front end makes {:?}, not {BANDS} bands",
        output.shape
    );
    Ok(output.values.iter().map(|v| v / 10.0 + 2.0).collect())
}
