//! Every shell line of the README runs; its Rust is a doc test of the device crate.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The lines of the README's `sh` blocks, without comments.
fn lines() -> Vec<String> {
    let readme = std::fs::read_to_string(repository().join("README.md")).expect("the README");
    let mut inside = false;
    let mut lines = Vec::new();
    for line in readme.lines() {
        match (inside, line.starts_with("```")) {
            (false, true) => inside = line == "```sh",
            (true, true) => inside = false,
            (true, false) => lines.push(line.split('#').next().unwrap_or("").trim().to_owned()),
            (false, false) => {}
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

/// The log of a Linux device that runs the watch encoder.
fn taught(path: &Path) {
    use headstart::store::{FileFlash, LogClass, SampleLog};
    use headstart::{Embedding, EncoderPack, Label, Statistics};
    let pack = std::fs::read(repository().join("models/watch.pack")).expect("a pack");
    let pack = headstart_trainer::files::Aligned::new(&pack);
    let pack = EncoderPack::new(pack.bytes()).expect("a pack");
    let (mut words, mut labels) = (vec![0; 65], [const { Label::new() }; 1]);
    let statistics = Statistics::new(64, pack.artefact(), &mut words, &mut labels);
    let statistics = statistics.expect("there is room");
    let mut classes = [LogClass::NONE; 2];
    let mut buffer = [0; SampleLog::<FileFlash>::buffer_bytes(64)];
    let flash = FileFlash::open(path, 1 << 14).expect("a file");
    let log = SampleLog::open(flash, 0..1 << 14, &statistics, &mut classes, &mut buffer);
    let mut log = log.expect("a log");
    for label in ["row", "curl"] {
        let e = Embedding::new(&[16; 64]).expect("not zero");
        log.learn(label, e).expect("there is room");
    }
}

/// Where the README's server listens; here it is on a free port.
const LISTEN: &str = "127.0.0.1:7777";

/// A line that does not end by itself.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(arguments: &str, folder: &Path) -> Server {
        let mut process = Command::new(env!("CARGO_BIN_EXE_headstart"))
            .args(arguments.replace(LISTEN, "127.0.0.1:0").split_whitespace())
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the command runs");
        let mut line = String::new();
        let out = process.stdout.as_mut().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("listening on ").expect(arguments);
        let address = address.to_owned();
        Server { process, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `headstart` lines run one after the other in a folder of their own. The data that the user
/// fetches is replaced by the committed slice, which has three classes; training is cut to one epoch
/// and evaluation to a few episodes.
#[test]
fn the_commands_of_the_readme_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let models = folder.path().join("models");
    std::fs::create_dir_all(models.join("data/watch")).expect("a folder");
    for file in ["watch.onnx", "watch.pack", "data/watch/unseen.npz"] {
        std::fs::copy(repository().join("models").join(file), models.join(file)).expect("copied");
    }
    // What a reader would have: recordings, photos, words and lines of text.
    let own = |name: &str| folder.path().join(name);
    for name in ["recordings", "photos", "words"] {
        std::fs::create_dir(own(name)).expect("a folder");
    }
    std::fs::copy(
        models.join("data/watch/unseen.npz"),
        own("recordings/a.npz"),
    )
    .expect("copied");
    let mut lines_of_text = String::new();
    for i in 0..16u8 {
        let pixel = |x, y| image::Luma([((x * u32::from(i)) ^ (y * 3)) as u8]);
        let photo = image::GrayImage::from_fn(16, 16, pixel);
        photo
            .save(own(&format!("photos/{i}.png")))
            .expect("a picture");
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 16_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let path = own(&format!("words/{i}.wav"));
        let mut writer = hound::WavWriter::create(path, spec).expect("a file");
        for t in 0..8000u32 {
            let sample = 9000.0 * (t as f32 * (0.1 + 0.02 * f32::from(i))).sin();
            writer.write_sample(sample as i16).expect("a sample");
        }
        writer.finalize().expect("a clip");
        lines_of_text += &format!("line {i} of a text with a few words\n");
    }
    std::fs::write(own("lines.txt"), lines_of_text).expect("a text");
    taught(&own("device.log"));
    let (mut ran, mut servers) = (0, Vec::new());
    for line in lines() {
        let Some(arguments) = line.strip_prefix("headstart ") else {
            continue;
        };
        // Other people's networks and their inputs have no committed slice.
        let fetched = ["models/data/inputs/", "models/third-party/", "speech.onnx"];
        if fetched.iter().any(|f| arguments.contains(f)) {
            println!("skipped: {line}");
            continue;
        }
        let arguments = arguments
            .replace("pretrain.npz", "unseen.npz")
            .replace("full.npz", "unseen.npz")
            .replace("--ways 7", "--ways 3");
        if arguments.contains("--serve") {
            servers.push(Server::start(&arguments, folder.path()));
            continue;
        }
        let port = servers.last().map_or("", |s| s.address.as_str());
        let arguments = arguments.replace(LISTEN, port);
        let mut arguments: Vec<&str> = arguments.split_whitespace().collect();
        match arguments[0] {
            "pretrain" => arguments.extend(["--epochs", "1", "--batch", "16", "--size", "16"]),
            "evaluate" => arguments.extend(["--episodes", "20"]),
            _ => {}
        }
        let output = Command::new(env!("CARGO_BIN_EXE_headstart"))
            .args(&arguments)
            .current_dir(folder.path())
            .output()
            .expect("the command runs");
        assert!(
            output.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        ran += 1;
    }
    assert!(
        ran >= 4,
        "the README shows how to pretrain, pack, inspect and evaluate"
    );
}

#[test]
fn the_other_lines_name_what_is_there() {
    let known = [
        "cargo run --release --example teach",
        "cargo install --path trainer",
    ];
    for line in lines().iter().filter(|l| !l.starts_with("headstart ")) {
        let program = line.split_whitespace().next().unwrap_or("");
        let there = known.contains(&line.as_str()) || repository().join(program).is_file();
        assert!(there, "nothing runs `{line}`");
    }
    assert!(repository().join("examples/teach.rs").is_file());
}
