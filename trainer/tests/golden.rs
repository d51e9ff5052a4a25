//! From a file to an embedding, against references that others computed: a NumPy script for
//! pictures, the published front end for sound. What is not there is a skip that says so.

use std::path::{Path, PathBuf};
use std::process::Command;

use headstart::frontend::Signal;
use headstart::frontend::settings::LogMelSettings;
use headstart_trainer::embedder::Embedder;
use headstart_trainer::evaluate::progress::Progress;
use headstart_trainer::items::{Items, Wanted};
use tract_onnx::prelude::*;

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// In $HEADSTART_MODELS, else where models/get puts it, else beside the repository.
fn model(name: &str) -> Option<PathBuf> {
    let folders = match std::env::var_os("HEADSTART_MODELS") {
        Some(folder) => vec![PathBuf::from(folder)],
        None => ["models/third-party", "../shared/models"]
            .map(|folder| Path::new(REPOSITORY).join(folder))
            .to_vec(),
    };
    let found = folders
        .iter()
        .find_map(|f| f.join(name).canonicalize().ok());
    if found.is_none() {
        println!("skipped: there is no {name}; models/get fetches it");
    }
    found
}

#[test]
fn a_jpeg_becomes_the_embedding_that_numpy_makes_of_it() {
    let Some(network) = model("efficientnet_lite0.onnx") else {
        return;
    };
    let folder = tempfile::tempdir().expect("folder");
    let encoder = folder.path().join("encoder.onnx");
    let status = Command::new(env!("CARGO_BIN_EXE_headstart"))
        .arg("import")
        .arg(network)
        .arg("-o")
        .arg(&encoder)
        .args(["--preset", "efficientnet-lite"])
        .status();
    assert!(status.expect("the binary runs").success());
    let golden = Path::new(REPOSITORY).join("tests/golden");
    let class = folder.path().join("pictures");
    std::fs::create_dir(&class).expect("folder");
    std::fs::copy(golden.join("picture.jpg"), class.join("picture.jpg")).expect("the picture");
    let expected = std::fs::read_to_string(golden.join("efficientnet_lite0.txt"));
    let expected: Vec<f32> = expected
        .expect("tests/golden/efficientnet_lite0.py writes it")
        .lines()
        .map(|line| line.parse().expect("a number"))
        .collect();
    let encoder = Embedder::open(&encoder).expect("an encoder");
    let wanted = encoder.wanted().expect("of pictures");
    assert!(matches!(
        wanted,
        Wanted::Pictures {
            height: 224,
            width: 224
        }
    ));
    let items = Items::unlabelled(&class, wanted, 1).expect("a picture");
    let rows = encoder
        .rows(1, &Progress::silent(), |i| items.get(i, None))
        .expect("an embedding");
    assert_eq!(rows[0].len(), expected.len());
    let apart = rows[0].iter().zip(&expected).map(|(a, b)| (a - b).abs());
    let worst = apart.fold(0.0, f32::max);
    println!("largest difference {worst:.1e}");
    assert!(worst < 1e-3, "{worst}");
}

/// Tones, a sweep, noise, clicks and silence, loud and quiet: what speech is made of.
fn sounds(length: usize) -> Vec<(&'static str, Vec<i16>)> {
    let mut state = 7u32;
    let mut noise = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let at = |hz: f32, t: usize| (std::f32::consts::TAU * hz * t as f32 / 16_000.0).sin();
    let sweep = |t: usize| at(200.0 + 0.05 * t as f32, t) * (1.0 + at(3.0, t)) / 2.0;
    let mut all: Vec<(&str, Vec<f32>)> = vec![
        ("silence", vec![0.0; length]),
        (
            "a tone",
            (0..length).map(|t| 8000.0 * at(440.0, t)).collect(),
        ),
        (
            "a sweep",
            (0..length).map(|t| 20_000.0 * sweep(t)).collect(),
        ),
        (
            "a quiet sweep",
            (0..length).map(|t| 12.0 * sweep(t)).collect(),
        ),
        ("noise", (0..length).map(|_| 3000.0 * noise()).collect()),
        (
            "hardly any noise",
            (0..length).map(|_| 1.4 * noise()).collect(),
        ),
        (
            "a click",
            (0..length)
                .map(|t| if t == 9000 { 30_000.0 } else { 0.0 })
                .collect(),
        ),
    ];
    let late = |t: usize| {
        if t > 12_000 {
            15_000.0 * at(1000.0, t)
        } else {
            0.0
        }
    };
    all.push(("a late tone", (0..length).map(late).collect()));
    let integer = |v: &f32| v.round().clamp(-32768.0, 32767.0) as i16;
    all.iter()
        .map(|(name, v)| (*name, v.iter().map(integer).collect()))
        .collect()
}

#[test]
fn log_mel_is_that_of_the_published_front_end() {
    let Some(path) = model("speech_melspectrogram.onnx") else {
        return;
    };
    let settings = LogMelSettings::speech_embedding();
    let length = headstart::frontend::Settings::LogMel(settings.clone()).input_len();
    let published = tract_onnx::onnx()
        .with_ignore_output_shapes(true)
        .model_for_path(path)
        .and_then(|m| m.with_input_fact(0, f32::fact([1, length]).into()))
        .and_then(|m| m.into_optimized()?.into_runnable())
        .expect("the published front end");
    for (name, samples) in sounds(length) {
        let floats: Vec<f32> = samples.iter().map(|&v| v.into()).collect();
        let input = Tensor::from_shape(&[1, length], &floats).expect("a clip");
        let output = published.run(tvec!(input.into())).expect("it runs");
        let view = output[0].to_plain_array_view::<f32>().expect("floats");
        let expected: Vec<f32> = view.iter().copied().collect();
        let found = headstart::frontend::Settings::LogMel(settings.clone())
            .inputs(Signal::Samples(&samples))
            .expect("a clip");
        // Nine windows of 76 frames, eight apart; in the encoder's units, dB / 10 + 2.
        let (frame, window) = (32, 76 * 32);
        let mut worst = 0.0f32;
        for (w, own) in found.chunks_exact(window).enumerate() {
            for (i, value) in own.iter().enumerate() {
                let decibels = (value - 2.0) * 10.0;
                worst = worst.max((decibels - expected[w * 8 * frame + i]).abs());
            }
        }
        println!("{name}: {worst:.4} dB");
        assert!(worst < 1e-2, "{name}: {worst} dB");
    }
}
