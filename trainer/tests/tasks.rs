//! `headstart pretrain` on every kind of data with every pretext task and network: what fits trains to
//! a file that runs, what does not is refused, and data that can't be used is skipped or refused as
//! the user chooses.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use npyz::WriterBuilder;
use npyz::npz::NpzWriter;

const TINY: &[&str] = &[
    "--width",
    "4",
    "--dim",
    "16",
    "--epochs",
    "2",
    "--batch",
    "8",
    "--threads",
    "1",
    "--window",
    "32",
    "--hop",
    "16",
    "--size",
    "16",
    "--sound-rate",
    "8000",
    "--sound-frames",
    "12",
    "--sound-bands",
    "12",
    "--sound-takes",
    "2",
    "--length",
    "12",
    "--vocabulary",
    "60",
];

fn headstart(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headstart"));
    command.args(words).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn pretrain(data: &Path, output: &Path, more: &[&str]) -> Output {
    let (data, output) = (data.to_str().unwrap(), output.to_str().unwrap());
    let words = [&["pretrain", data, "-o", output], TINY, more].concat();
    headstart(&words).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn trained(data: &Path, output: &Path, more: &[&str]) -> String {
    let run = pretrain(data, output, more);
    assert!(run.status.success(), "{more:?}: {}", said(&run));
    said(&run)
}

fn refused(data: &Path, output: &Path, more: &[&str], code: i32, says: &str) {
    let run = pretrain(data, output, more);
    assert_eq!(run.status.code(), Some(code), "{more:?}: {}", said(&run));
    assert!(said(&run).contains(says), "{more:?}: {}", said(&run));
    assert!(!output.exists(), "{more:?}: a file was written");
}

/// Recordings of six channels, three classes and four people, of one side each.
fn recordings(folder: &Path) -> PathBuf {
    let path = folder.join("data.npz");
    let mut npz = NpzWriter::create(&path).unwrap();
    let rows = 24 * 100;
    let of = |row: usize| (row / 100 % 3, row / 600, row / 300 % 2);
    let x: Vec<f32> = (0..rows)
        .flat_map(|row| {
            let (class, group, _) = of(row);
            (0..6).map(move |c| {
                let (t, who) = (row as f32, group as f32);
                (t * (0.1 + 0.15 * class as f32) + c as f32).sin()
                    + 0.1 * who
                    + 0.3 * (t * 1.7).cos()
            })
        })
        .collect();
    let mut write = |name: &str, shape: &[u64], values: Vec<f32>| {
        let options = npz.array(name, Default::default()).unwrap();
        let mut array = options.default_dtype().shape(shape).begin_nd().unwrap();
        array.extend(values).unwrap();
        array.finish().unwrap();
    };
    write("x", &[rows as u64, 6], x);
    write("rate", &[1], vec![50.0]);
    let mut numbers = |name: &str, value: &dyn Fn(usize) -> i32| {
        let options = npz.array(name, Default::default()).unwrap();
        let mut array = options
            .default_dtype()
            .shape(&[rows as u64])
            .begin_nd()
            .unwrap();
        array.extend((0..rows).map(value)).unwrap();
        array.finish().unwrap();
    };
    numbers("y", &|row| of(row).0 as i32);
    numbers("group", &|row| of(row).1 as i32);
    numbers("side", &|row| of(row).2 as i32);
    numbers("recording", &|row| (row / 100) as i32);
    path
}

/// Grey pictures of bars, without class folders.
fn pictures(folder: &Path, count: u32) -> PathBuf {
    let path = folder.join("pictures");
    std::fs::create_dir_all(&path).unwrap();
    for i in 0..count {
        let pixel =
            |x: u32, y: u32| image::Luma([((x * (i % 5) + y * (i % 3) + 7 * i) % 256) as u8]);
        let picture = image::GrayImage::from_fn(20, 20, pixel);
        picture.save(path.join(format!("{i:03}.png"))).unwrap();
    }
    path
}

fn wav(path: &Path, rate: u32, pitch: f32) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for t in 0..rate / 4 {
        let sample = 8000.0 * (t as f32 * pitch).sin();
        writer.write_sample(sample as i16).unwrap();
    }
    writer.finalize().unwrap();
}

fn clips(folder: &Path) -> PathBuf {
    let path = folder.join("clips");
    std::fs::create_dir_all(&path).unwrap();
    for i in 0..24 {
        wav(
            &path.join(format!("{i:02}.wav")),
            8000,
            0.1 + 0.04 * i as f32,
        );
    }
    path
}

fn lines(folder: &Path) -> PathBuf {
    let path = folder.join("lines.txt");
    let words = ["pump", "valve", "motor", "fan"];
    let line = |i: usize| format!("the {} is next to the {}\n", words[i % 4], words[i / 4 % 4]);
    std::fs::write(&path, (0..40).map(line).collect::<String>()).unwrap();
    path
}

/// Data larger than the memory that it may take trains the same encoder.
#[test]
fn what_memory_does_not_hold_comes_from_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let shards = folder.path().join("shards");
    std::fs::create_dir(&shards).unwrap();
    let shard = recordings(&shards);
    std::fs::copy(&shard, shards.join("more.npz")).unwrap();
    for (kind, data, more) in [
        ("sensor", shards, &["--groups", "0,2-3"][..]),
        ("pictures", pictures(folder.path(), 40), &["--size", "16"]),
        ("sound", clips(folder.path()), &[]),
    ] {
        let place = folder.path().join(format!("{kind} encoders"));
        std::fs::create_dir(&place).unwrap();
        let [held, read] = ["held.onnx", "read.onnx"].map(|name| place.join(name));
        trained(&data, &held, more);
        trained(&data, &read, &[&["--memory", "0"], more].concat());
        let [a, b] = [&held, &read].map(|file| std::fs::read(file).unwrap());
        assert!(a == b, "{kind}");
        assert_eq!(std::fs::read_dir(&place).unwrap().count(), 2, "{kind}");
    }
}

/// Each task on each kind of data: it trains, or says what it is for.
#[test]
fn every_task_trains_on_the_data_that_it_is_for() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("encoder.onnx");
    let everywhere = [
        "contrastive",
        "queue",
        "vicreg",
        "barlow-twins",
        "simsiam",
        "masked",
        "exemplar",
    ];
    let kinds = [
        (
            recordings(folder.path()),
            &[
                "denoising",
                "rotation",
                "transformation",
                "jigsaw",
                "time-order",
                "next-segment",
            ][..],
            &["position"][..],
        ),
        (
            pictures(folder.path(), 24),
            &["denoising", "rotation", "jigsaw", "position"],
            &["transformation", "time-order", "next-segment"],
        ),
        (
            clips(folder.path()),
            &["denoising", "transformation", "jigsaw", "time-order"],
            // Clips are not parts of one recording.
            &["rotation", "position", "next-segment"],
        ),
        (
            lines(folder.path()),
            &["next-segment"],
            &[
                "denoising",
                "rotation",
                "transformation",
                "jigsaw",
                "time-order",
                "position",
            ],
        ),
    ];
    for (data, fits, others) in &kinds {
        for task in everywhere.iter().chain(*fits) {
            trained(data, &output, &["--pretext", task]);
            std::fs::remove_file(&output).unwrap();
        }
        for task in *others {
            refused(data, &output, &["--pretext", task], 1, " is for ");
        }
    }
}

/// Every network becomes a pack, from series, pictures and sound.
#[test]
fn every_network_packs() {
    let folder = tempfile::tempdir().unwrap();
    let all = [
        (
            recordings(folder.path()),
            &["sensor-cnn", "cnn", "ds-cnn", "resnet8"][..],
        ),
        (
            pictures(folder.path(), 24),
            &["cnn", "ds-cnn", "mobilenet-v2", "resnet8"],
        ),
        (clips(folder.path()), &["ds-cnn", "mobilenet-v2"]),
    ];
    let encoder = folder.path().join("encoder.onnx");
    let packed = folder.path().join("encoder.pack");
    for (data, networks) in &all {
        for (i, network) in networks.iter().enumerate() {
            let pool = ["mean", "mean-max", "flat", "mean"][i];
            let mut more = vec!["--network", network, "--width", "8"];
            if *network != "sensor-cnn" {
                more.extend(["--pool", pool, "--depth", "2"]);
            }
            trained(data, &encoder, &more);
            let names = [&encoder, data, &packed].map(|p| p.to_str().unwrap());
            let words = ["pack", names[0], names[1], "-o", names[2], "--cosine", "0"];
            let run = headstart(&words).output().unwrap();
            assert!(run.status.success(), "{network}, {pool}: {}", said(&run));
        }
    }
    let text = lines(folder.path());
    refused(
        &text,
        &folder.path().join("no.onnx"),
        &["--network", "ds-cnn"],
        1,
        "text needs it",
    );
}

/// Killed in the middle, with all that has a state of its own: a queue, a slow copy, batch norm behind
/// the encoder, clipped gradients.
#[test]
fn a_mixture_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let data = recordings(folder.path());
    let more = [
        "--pretext",
        "queue,vicreg=0.1,masked=0.5",
        "--clip",
        "1",
        "--batches",
        "mixed",
        "--optimiser",
        "lars",
        "--halves",
        "--checkpoint-every",
        "0",
        "--epochs",
        "40",
    ];
    let whole = folder.path().join("whole.onnx");
    trained(&data, &whole, &more);
    let output = folder.path().join("cut.onnx");
    let log = folder.path().join("log.csv");
    let page = folder.path().join("page.html");
    let logged = [
        "--log",
        log.to_str().unwrap(),
        "--report",
        page.to_str().unwrap(),
    ];
    let (from, to) = (data.to_str().unwrap(), output.to_str().unwrap());
    let words = [&["pretrain", from, "-o", to], TINY, &more, &logged].concat();
    let mut child = headstart(&words).spawn().unwrap();
    let patience = Instant::now();
    while std::fs::read_to_string(&log).is_ok_and(|l| l.lines().count() < 6) || !log.exists() {
        assert!(
            patience.elapsed() < Duration::from_secs(120),
            "it does not log"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!output.exists());
    trained(
        &data,
        &output,
        &[&more[..], &logged, &["--resume"]].concat(),
    );
    assert!(
        std::fs::read(&output).unwrap() == std::fs::read(&whole).unwrap(),
        "other bits"
    );
    let log = std::fs::read_to_string(&log).unwrap();
    let epochs: Vec<&str> = log
        .lines()
        .skip(1)
        .filter_map(|l| l.split(',').next())
        .collect();
    let wanted: Vec<String> = (1..=40).map(|n| n.to_string()).collect();
    assert_eq!(epochs, wanted);
    let page = std::fs::read_to_string(&page).unwrap();
    assert!(page.contains("<svg") && page.contains("--pretext"));
}

#[test]
fn data_that_is_wrong_is_refused_or_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("encoder.onnx");
    let skip = ["--on-error", "skip"];

    let images = pictures(folder.path(), 24);
    std::fs::write(images.join("zzz.png"), b"no picture").unwrap();
    refused(&images, &output, &[], 1, "zzz.png");
    let note = trained(&images, &output, &skip);
    assert!(note.contains("1 of 25 pictures"), "{note}");
    std::fs::remove_file(&output).unwrap();

    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    refused(&empty, &output, &[], 1, "has no PNG, JPEG or WAV file");

    let sound = clips(folder.path());
    wav(&sound.join("99.wav"), 11_025, 0.3);
    refused(&sound, &output, &[], 1, "11025 Hz");
    let note = trained(&sound, &output, &skip);
    assert!(note.contains("1 of 25 clips"), "{note}");
    std::fs::remove_file(&output).unwrap();

    let two = folder.path().join("two");
    std::fs::create_dir(&two).unwrap();
    for name in ["000.png", "001.png"] {
        std::fs::copy(images.join(name), two.join(name)).unwrap();
    }
    refused(&two, &output, &[], 1, "the data holds 2 items");

    let mut csv = String::from("time,ax,ay,az,group\n");
    for t in 0..600 {
        let v = (t as f32 * 0.2).sin();
        let hole = if t == 300 {
            "nan".to_owned()
        } else {
            v.to_string()
        };
        csv += &format!("{},{hole},{},{},1\n", t as f32 * 0.02, v * 2.0, 1.0 - v);
    }
    let holes = folder.path().join("holes.csv");
    std::fs::write(&holes, csv).unwrap();
    refused(&holes, &output, &[], 1, "line 302");
    let note = trained(&holes, &output, &skip);
    assert!(note.contains("1 of 600"), "{note}");
    std::fs::remove_file(&output).unwrap();
    // One subject is the whole of every batch.
    trained(
        &holes,
        &output,
        &["--on-error", "skip", "--batches", "within"],
    );
}

/// Nothing tells one item from another: the run ends by itself, and says what to try.
#[test]
fn a_collapse_is_seen_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("same");
    std::fs::create_dir(&path).unwrap();
    for i in 0..16 {
        let picture = image::GrayImage::from_pixel(16, 16, image::Luma([90]));
        picture.save(path.join(format!("{i}.png"))).unwrap();
    }
    let plain = [
        "--picture-light",
        "0",
        "--picture-noise",
        "0",
        "--picture-bend",
        "0",
        "--epochs",
        "40",
    ];
    let output = folder.path().join("encoder.onnx");
    refused(&path, &output, &plain, 1, "collapsed");
}

/// The curve of a small world: every line is there, more labels are no worse, nobody is asked about
/// what he taught.
#[test]
fn a_study_draws_the_curve() {
    let folder = tempfile::tempdir().unwrap();
    let data = recordings(folder.path());
    let encoder = folder.path().join("encoder.onnx");
    trained(&data, &encoder, &["--epochs", "20"]);
    let plot = folder.path().join("curve.svg");
    let names = [&encoder, &data, &plot].map(|p| p.to_str().unwrap());
    let words = [
        "study",
        names[0],
        names[1],
        "--labels",
        "1,5,all",
        "--seeds",
        "2",
        "--scratch-steps",
        "30",
        "--episodes",
        "20",
        "--threads",
        "1",
        "--plot",
        names[2],
        "--json",
    ];
    let run = headstart(&words).output().unwrap();
    assert!(run.status.success(), "{}", said(&run));
    let report: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    let rows = report["rows"].as_array().unwrap();
    let of = |features: &str, protocol: &str, labels: &str| {
        let found = rows.iter().filter(|r| {
            r["features"] == features && r["protocol"] == protocol && r["labels"] == labels
        });
        found
            .filter_map(|r| r["accuracy"].as_f64())
            .fold(f64::NAN, f64::max)
    };
    for features in ["encoder", "random", "hand-made", "raw", "supervised"] {
        for labels in ["1", "5", "all"] {
            let accuracy = of(features, "other-people", labels);
            assert!(
                (0.0..=1.0).contains(&accuracy),
                "{features}, {labels}: {accuracy}"
            );
        }
    }
    assert!(of("encoder", "other-people", "all") > 0.6, "{rows:?}");
    for protocol in ["next-wearer", "other-side"] {
        assert!(of("encoder", protocol, "1").is_finite(), "{protocol}");
    }
    assert!(std::fs::read_to_string(&plot).unwrap().contains("<svg"));

    let both = [
        "study", names[0], names[1], "--train", "0-2", "--test", "2-3",
    ];
    let run = headstart(&both).output().unwrap();
    assert_eq!(run.status.code(), Some(2));
    assert!(
        said(&run).contains("group 2 is in --train and in --test"),
        "{}",
        said(&run)
    );
}
