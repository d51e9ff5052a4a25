//! `headstart embed` as a user meets it: real encoders where they are found, and wrong calls.

#[allow(dead_code)] // shared with evaluate.rs, which takes more of it
mod tiny;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use headstart_trainer::dataset::Dataset;

/// A third-party encoder: in $HEADSTART_MODELS, else where models/get puts it, else beside the
/// repository. `None` where it is not there.
fn model(name: &str) -> Option<PathBuf> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders = match std::env::var_os("HEADSTART_MODELS") {
        Some(folder) => vec![PathBuf::from(folder)],
        None => ["models/third-party", "../shared/models"]
            .map(|folder| repository.join(folder))
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

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().expect("folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
        std::fs::write(&path, bytes).expect("file");
        path
    }

    /// A second of a tone that rises by `sweep` Hz.
    fn wav(&self, name: &str, sweep: f32) {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 16_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let path = self.write(name, &[]);
        let mut wav = hound::WavWriter::create(path, spec).expect("header");
        for t in (0..16_000).map(|t| t as f32 / 16_000.0) {
            let phase = std::f32::consts::TAU * (300.0 + 0.5 * sweep * t) * t;
            let sample = 8000.0 * phase.sin();
            wav.write_sample(sample as i16).expect("sample");
        }
        wav.finalize().expect("length");
    }

    /// An encoder file of somebody else's network.
    fn import(&self, network: &Path, preset: &str) {
        let output = Command::new(env!("CARGO_BIN_EXE_headstart"))
            .args(["import", "-o", "encoder.onnx", "--preset", preset])
            .arg(network)
            .current_dir(self.0.path())
            .output()
            .expect("the binary runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
    }

    fn run(&self, arguments: &[&str], threads: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_headstart"))
            .arg("embed")
            .args(arguments)
            .current_dir(self.0.path())
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .expect("the binary runs")
    }

    /// The bytes of the embeddings.
    fn embed(&self, arguments: &[&str], threads: &str) -> Vec<u8> {
        let output = self.run(&[arguments, &["-o", "out.npz"]].concat(), threads);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        std::fs::read(self.path("out.npz")).expect("embeddings")
    }

    fn refused(&self, arguments: &[&str], code: i32, expected: &str) {
        let output = self.run(&[arguments, &["-o", "out.npz"]].concat(), "1");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(errors.contains(expected), "{arguments:?}: {errors}");
        assert!(!errors.contains("panicked"), "{arguments:?}: {errors}");
        assert!(!self.path("out.npz").exists(), "{arguments:?}");
    }
}

#[test]
fn speech_embeddings_are_the_same_on_any_number_of_threads() {
    let Some(encoder) = model("speech_embedding.onnx") else {
        return;
    };
    let folder = Folder::new();
    folder.import(&encoder, "speech-embedding");
    let encoder = "encoder.onnx";
    folder.wav("words/up/zoe_0.wav", 1500.0);
    folder.wav("words/up/anna_0.wav", 2500.0);
    folder.wav("words/down/zoe_nohash_1.wav", -250.0);
    let call = [encoder, "words"];
    let noisy = [&call[..], &["--snr", "5", "--seed", "3"]].concat();

    let one = folder.embed(&noisy, "1");
    let data = Dataset::load(&folder.path("out.npz")).expect("a data set");
    assert_eq!((data.rows(), data.channels), (3, 96));
    assert_eq!(data.labels, ["down", "up"]);
    let known: Vec<_> = data.recordings.iter().map(|r| (r.class, r.group)).collect();
    assert_eq!(known, [(Some(0), 1), (Some(1), 0), (Some(1), 1)]);
    assert_eq!(one, folder.embed(&noisy, "3"));

    let other = [&call[..], &["--snr", "5", "--seed", "4"]].concat();
    assert_ne!(one, folder.embed(&other, "3"));
    assert_ne!(one, folder.embed(&call, "1"), "no noise");
    let two = [&noisy[..], &["--limit", "2"]].concat();
    folder.embed(&two, "2");
    let fewer = Dataset::load(&folder.path("out.npz")).expect("a data set");
    assert_eq!(fewer.x, data.x[..2 * 96]);
    assert_eq!(fewer.recordings, data.recordings[..2]);

    std::fs::remove_file(folder.path("out.npz")).expect("removed");
    folder.write("words/up/bob.wav", b"RIFF, but no more");
    folder.refused(&call, 1, "bob.wav: is no WAV file");
    std::fs::remove_file(folder.path("words/up/bob.wav")).expect("removed");
    std::fs::create_dir(folder.path("words/left")).expect("folder");
    folder.refused(&call, 1, "words/left has no WAV file");
    folder.write("words/left/a.png", b"");
    folder.refused(&call, 2, "it has PNG or JPEG files");
    folder.refused(
        &[encoder, "words", "--views", "2"],
        2,
        "--views is for pictures",
    );
    std::fs::remove_dir_all(folder.path("words/left")).expect("removed");
    std::fs::rename(folder.path("words/up"), folder.path("words/x")).expect("renamed");
    folder.wav("loose/zoe.wav", 100.0);
    folder.refused(&[encoder, "loose"], 1, "loose has no class folders");
}

#[test]
fn image_embeddings_from_idx_and_from_files_agree() {
    let Some(encoder) = model("efficientnet_lite0_b11.onnx") else {
        return;
    };
    let folder = Folder::new();
    folder.import(&encoder, "efficientnet-lite");
    let encoder = "encoder.onnx";
    let pixel = |i: usize| (i * i % 251) as u8;
    let pixels: Vec<u8> = (0..2 * 28 * 28).map(pixel).collect();
    let header = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28];
    folder.write("t-images-idx3-ubyte", &[&header[..], &pixels].concat());
    folder.write("t-labels-idx1-ubyte", &[0, 0, 8, 1, 0, 0, 0, 2, 1, 0]);
    for (name, image) in ["b", "a"].iter().zip(pixels.chunks(28 * 28)) {
        let path = folder.write(&format!("files/{name}/0.png"), &[]);
        image::save_buffer(path, image, 28, 28, image::ColorType::L8).expect("an image");
    }
    let call = [encoder, "t-images-idx3-ubyte"];
    let idx = folder.embed(&call, "1");
    assert_eq!(idx, folder.embed(&call, "2"));
    let idx = Dataset::load(&folder.path("out.npz")).expect("a data set");
    assert_eq!((idx.rows(), idx.channels), (2, 112));
    assert_eq!(idx.labels, ["0", "1"]);
    folder.embed(&[encoder, "files"], "1");
    let files = Dataset::load(&folder.path("out.npz")).expect("a data set");
    // Class a is the second image.
    assert_eq!(files.x[..112], idx.x[112..]);
    assert_eq!(files.x[112..], idx.x[..112]);
    assert_ne!(files.x[..112], files.x[112..]);
    let known: Vec<_> = files
        .recordings
        .iter()
        .map(|r| (r.class, r.group))
        .collect();
    assert_eq!(known, [(Some(0), 0), (Some(1), 1)]);

    std::fs::remove_file(folder.path("out.npz")).expect("removed");
    folder.write("t-labels-idx1-ubyte", &[0, 0, 8, 1, 0, 0, 0, 2, 1]);
    folder.refused(&call, 1, "t-labels-idx1-ubyte: is cut short");
    folder.write("files/a/0.png", b"no image");
    folder.refused(&[encoder, "files"], 1, "a/0.png");
    folder.write("files/a/0.wav", b"");
    std::fs::remove_file(folder.path("files/a/0.png")).expect("removed");
    let call = [encoder, "files"];
    folder.refused(&call, 2, "it has WAV files");
    folder.refused(&[encoder, "t-labels-idx1-ubyte"], 2, "images-idx3");
    folder.refused(
        &[encoder, "files", "--snr", "3"],
        2,
        "pictures get no noise",
    );
}

#[test]
fn views_are_examples_of_one_image() {
    let Some(encoder) = model("efficientnet_lite0_b11.onnx") else {
        return;
    };
    let folder = Folder::new();
    folder.import(&encoder, "efficientnet-lite");
    let encoder = "encoder.onnx";
    let pixels: Vec<u8> = (0..2 * 20 * 30).map(|i| (i * i % 251) as u8).collect();
    let header = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 20, 0, 0, 0, 30];
    folder.write("t-images-idx3-ubyte", &[&header[..], &pixels].concat());
    let call = |data, views| [encoder, data, "--views", views];
    let load = || Dataset::load(&folder.path("out.npz")).expect("a data set");

    // There are no labels.
    let two = folder.embed(&call("t-images-idx3-ubyte", "2"), "1");
    assert_eq!(two, folder.embed(&call("t-images-idx3-ubyte", "2"), "3"));
    let two = load();
    assert_eq!((two.rows(), two.channels), (4, 112));
    assert_eq!(two.labels, ["0", "1"]);
    let known: Vec<_> = two.recordings.iter().map(|r| (r.class, r.group)).collect();
    let expected = [(Some(0), 0), (Some(0), 1), (Some(1), 0), (Some(1), 1)];
    assert_eq!(known, expected);
    let row = |data: &Dataset, i: usize| data.x[i * 112..(i + 1) * 112].to_vec();
    assert_ne!(row(&two, 0), row(&two, 1));

    let seed = [&call("t-images-idx3-ubyte", "2")[..], &["--seed", "1"]].concat();
    folder.embed(&seed, "2");
    assert!((0..4).all(|i| row(&load(), i) != row(&two, i)));
    folder.embed(&call("t-images-idx3-ubyte", "3"), "2");
    assert_eq!(row(&load(), 4), row(&two, 3), "image 1, view 1");

    // The same in colour, out of a folder without and with classes.
    for data in ["flat", "classes/b"] {
        for (i, image) in pixels.chunks(20 * 30).enumerate() {
            let path = folder.write(&format!("{data}/{i}.png"), &[]);
            let rgb: Vec<u8> = image.iter().flat_map(|&v| [v, v, 255 - v]).collect();
            image::save_buffer(path, &rgb, 30, 20, image::ColorType::Rgb8).expect("an image");
        }
    }
    let flat = folder.embed(&call("flat", "2"), "2");
    assert_eq!(flat, folder.embed(&call("classes", "2"), "2"));
    assert_eq!(load().recordings, two.recordings);
    assert_ne!(row(&load(), 0), row(&two, 0));

    std::fs::remove_file(folder.path("out.npz")).expect("removed");
    let many = [0, 0, 8, 3, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1];
    folder.write("m-images-idx3-ubyte", &[&many[..], &[9; 65_537]].concat());
    folder.refused(&call("m-images-idx3-ubyte", "2"), 2, "--limit");
    let one = [&call("m-images-idx3-ubyte", "2")[..], &["--limit", "1"]].concat();
    folder.embed(&one, "1");
}

#[test]
fn wrong_calls_are_refused() {
    let folder = Folder::new();
    folder.write("tiny.onnx", &tiny::onnx());
    folder.write("text.onnx", b"this is not a network");
    folder.wav("words/up/zoe.wav", 100.0);
    folder.wav("loose/zoe.wav", 100.0);
    folder.write("data.npz", b"");
    let cases: &[(&[&str], i32, &str)] = &[
        (&["tiny.onnx"], 2, "required"),
        (&["tiny.onnx", "words", "--limit", "0"], 2, "--limit"),
        (&["tiny.onnx", "words", "--snr", "nan"], 2, "decibels"),
        (&["tiny.onnx", "words", "--views", "0"], 2, "--views"),
        (
            &["tiny.onnx", "nowhere"],
            1,
            "could not read the data nowhere",
        ),
        (&["none.onnx", "words"], 1, "could not read none.onnx"),
        (&["text.onnx", "words"], 1, "not an ONNX file"),
        (&["tiny.onnx", "words"], 1, "imported with a --preset"),
    ];
    for (call, code, expected) in cases {
        folder.refused(call, *code, expected);
    }
    let output = folder.run(&["tiny.onnx", "words", "-o", "no/out.npz"], "1");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no folder no"));
}
