//! `headstart pretrain` on a tiny configuration: the same seed gives the same file, and a run that
//! was cut short goes on to it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use npyz::WriterBuilder;
use npyz::npz::NpzWriter;

const TINY: &[&str] = &[
    "--window",
    "32",
    "--hop",
    "16",
    "--width",
    "4",
    "--dim",
    "8",
    "--epochs",
    "6",
    "--batch",
    "16",
    "--threads",
    "2",
];

/// Four recordings of six channels, 200 rows each.
fn recordings(folder: &Path, value: impl Fn(usize, usize) -> f32) -> PathBuf {
    file(folder, 800, 200, value)
}

/// One recording of six channels.
fn long_recording(folder: &Path, rows: usize) -> PathBuf {
    file(folder, rows, rows, waves)
}

fn file(folder: &Path, rows: usize, each: usize, value: impl Fn(usize, usize) -> f32) -> PathBuf {
    let path = folder.join("data.npz");
    let mut npz = NpzWriter::create(&path).unwrap();
    let x: Vec<f32> = (0..rows)
        .flat_map(|row| (0..6).map(move |c| (row, c)))
        .map(|(r, c)| value(r, c))
        .collect();
    let recording: Vec<u16> = (0..rows).map(|row| (row / each) as u16).collect();
    let rows = rows as u64;
    let mut write = |name: &str, shape: &[u64], values: &[f32]| {
        let mut array = npz
            .array(name, Default::default())
            .unwrap()
            .default_dtype()
            .shape(shape)
            .begin_nd()
            .unwrap();
        array.extend(values).unwrap();
        array.finish().unwrap();
    };
    write("x", &[rows, 6], &x);
    write("rate", &[1], &[50.0]);
    let mut array = npz
        .array("recording", Default::default())
        .unwrap()
        .default_dtype()
        .shape(&[rows])
        .begin_nd()
        .unwrap();
    array.extend(recording).unwrap();
    array.finish().unwrap();
    path
}

fn waves(row: usize, channel: usize) -> f32 {
    let (row, recording) = (row as f32, (row / 200) as f32);
    (row * (0.1 + 0.05 * recording) + channel as f32).sin() + 0.2 * recording
}

fn command(data: &Path, output: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headstart"));
    command
        .arg("pretrain")
        .arg(data)
        .arg("-o")
        .arg(output)
        .args(TINY)
        .args(more);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(data: &Path, output: &Path, more: &[&str]) -> Output {
    command(data, output, more).output().unwrap()
}

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Starts a long run and ends it by `signal` once its checkpoint has been written `times` times.
fn cut_short(data: &Path, output: &Path, more: &[&str], signal: &str) -> Output {
    let checkpoint = PathBuf::from(format!("{}.checkpoint", output.display()));
    let child = command(data, output, more).spawn().unwrap();
    let patience = Instant::now();
    while !checkpoint.exists() {
        assert!(
            patience.elapsed() < Duration::from_secs(120),
            "no checkpoint came"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args([signal, &id])
            .status()
            .unwrap()
            .success()
    );
    child.wait_with_output().unwrap()
}

#[test]
fn the_same_seed_gives_the_same_file_under_load() {
    let folder = tempfile::tempdir().unwrap();
    let data = recordings(folder.path(), waves);
    let outputs: Vec<PathBuf> = (0..5)
        .map(|i| folder.path().join(format!("{i}.onnx")))
        .collect();
    // All at once: on a small machine they fight for the cores.
    let children: Vec<_> = outputs
        .iter()
        .map(|o| command(&data, o, &[]).spawn().unwrap())
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", message(&output));
    }
    let first = std::fs::read(&outputs[0]).unwrap();
    for output in &outputs[1..] {
        assert!(
            std::fs::read(output).unwrap() == first,
            "{} differs",
            output.display()
        );
    }
    let other = folder.path().join("other.onnx");
    assert!(run(&data, &other, &["--seed", "2"]).status.success());
    assert!(
        std::fs::read(other).unwrap() != first,
        "the seed does nothing"
    );
}

#[test]
fn an_interrupted_or_killed_run_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let data = recordings(folder.path(), waves);
    let long = ["--epochs", "300"];
    let whole = folder.path().join("whole.onnx");
    assert!(run(&data, &whole, &long[..]).status.success());
    for (signal, code) in [("-INT", Some(130)), ("-KILL", None)] {
        let output = folder.path().join(format!("cut{signal}.onnx"));
        let cut = cut_short(&data, &output, &long, signal);
        assert_eq!(cut.status.code(), code, "{}", message(&cut));
        assert!(!output.exists(), "an unfinished run wrote an encoder");
        let resumed = run(&data, &output, &["--epochs", "300", "--resume"]);
        assert!(resumed.status.success(), "{}", message(&resumed));
        assert!(
            std::fs::read(&output).unwrap() == std::fs::read(&whole).unwrap(),
            "{signal}: other bits"
        );
    }
}

/// Ten times in one run, wherever it is: between two steps, in the middle of a checkpoint, before the
/// first one.
#[test]
fn ten_kills_at_random_moments_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = recordings(folder.path(), waves);
    let long = ["--epochs", "500", "--checkpoint-every", "0"];
    let whole = folder.path().join("whole.onnx");
    let clock = Instant::now();
    assert!(run(&data, &whole, &long).status.success());
    let all = clock.elapsed();
    let output = folder.path().join("killed.onnx");
    let checkpoint = folder.path().join("killed.onnx.checkpoint");
    let mut random = 12_345u32;
    let mut kills = 0;
    while kills < 10 {
        let resume: &[&str] = if checkpoint.exists() {
            &["--resume"]
        } else {
            &[]
        };
        let more = [&long[..], resume].concat();
        let mut child = command(&data, &output, &more).spawn().unwrap();
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        std::thread::sleep(all.mul_f64(0.02 + 0.12 * f64::from(random >> 8) / f64::from(1 << 24)));
        // A run that is through already is no kill: the machine was faster than before.
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    if !output.exists() {
        let resumed = run(&data, &output, &[&long[..], &["--resume"]].concat());
        assert!(resumed.status.success(), "{}", message(&resumed));
    }
    assert!(kills > 2, "it was killed {kills} times only");
    assert!(
        std::fs::read(&output).unwrap() == std::fs::read(&whole).unwrap(),
        "other bits after {kills} kills"
    );
}

#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = recordings(folder.path(), waves);
    let output = folder.path().join("encoder.onnx");
    cut_short(&data, &output, &["--epochs", "300"], "-INT");
    let other = run(&data, &output, &["--epochs", "301", "--resume"]);
    assert_eq!(other.status.code(), Some(1));
    assert!(
        message(&other).contains("--epochs was 300 and is 301"),
        "{}",
        message(&other)
    );

    let checkpoint = folder.path().join("encoder.onnx.checkpoint");
    let mut bytes = std::fs::read(&checkpoint).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&checkpoint, bytes).unwrap();
    let damaged = run(&data, &output, &["--epochs", "300", "--resume"]);
    assert_eq!(damaged.status.code(), Some(1));
    assert!(
        message(&damaged).contains("damaged"),
        "{}",
        message(&damaged)
    );
}

#[test]
fn what_cannot_train_is_refused_with_a_reason() {
    struct Case {
        more: &'static [&'static str],
        code: i32,
        says: &'static str,
    }
    let folder = tempfile::tempdir().unwrap();
    let data = recordings(folder.path(), waves);
    let output = folder.path().join("encoder.onnx");
    for case in [
        Case {
            more: &["--batch", "500"],
            code: 1,
            says: "one step needs 500",
        },
        Case {
            more: &["--mirror", "2"],
            code: 1,
            says: "--mirror is 2",
        },
        Case {
            more: &["--groups", "4"],
            code: 1,
            says: "no recording is of --groups 4",
        },
        Case {
            more: &["--resume"],
            code: 1,
            says: "there is no checkpoint",
        },
        Case {
            more: &["--learning-rate", "11"],
            code: 1,
            says: "--learning-rate",
        },
        Case {
            more: &["--window", "3"],
            code: 2,
            says: "--window",
        },
    ] {
        let refused = run(&data, &output, case.more);
        let said = message(&refused);
        assert!(said.contains(case.says), "{:?}: {said}", case.more);
        assert_eq!(
            refused.status.code(),
            Some(case.code),
            "{:?}: {said}",
            case.more
        );
        assert!(!output.exists());
    }

    let refused = run(&data, Path::new("/nowhere/encoder.onnx"), &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        message(&refused).contains("/nowhere"),
        "{}",
        message(&refused)
    );

    let missing = run(&folder.path().join("missing.npz"), &output, &[]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        message(&missing).contains("missing.npz"),
        "{}",
        message(&missing)
    );

    let hole = recordings(folder.path(), |r, c| {
        if (r, c) == (77, 3) {
            f32::NAN
        } else {
            waves(r, c)
        }
    });
    let refused = run(&hole, &output, &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(message(&refused).contains("77"), "{}", message(&refused));
}

/// Peak memory in KiB of a run on a hundred megabytes in four files, where the data may take so many.
fn peak(data: &Path, output: &Path, megabytes: &str) -> Option<u64> {
    let run = Command::new("/usr/bin/time")
        .args(["-f", "peak %M", env!("CARGO_BIN_EXE_headstart"), "pretrain"])
        .args([data, Path::new("-o"), output])
        .args(TINY)
        .args(["--hop", "8192", "--memory", megabytes])
        .output()
        .ok()?;
    let errors = message(&run);
    let peak = errors.lines().rev().find_map(|l| l.strip_prefix("peak "));
    Some(peak.expect(&errors).parse().unwrap())
}

#[test]
fn memory_is_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let shards = folder.path().join("shards");
    std::fs::create_dir(&shards).unwrap();
    let first = long_recording(&shards, 1 << 20);
    for name in ["b.npz", "c.npz", "d.npz"] {
        std::fs::copy(&first, shards.join(name)).unwrap();
    }
    let output = folder.path().join("encoder.onnx");
    let [little, all] = ["8", "2048"].map(|megabytes| peak(&shards, &output, megabytes));
    let (Some(little), Some(all)) = (little, all) else {
        println!("skipped: there is no /usr/bin/time");
        return;
    };
    println!("{little} KiB, with everything in memory {all}");
    // All but what one file takes while it is read.
    assert!(little + (64 << 10) < all, "{little} KiB and {all}");
}

/// A limit on the size of files fails a write half-way, as a full disk does.
#[cfg(unix)]
#[test]
fn a_full_disk_is_named_and_leaves_nothing_half_written() {
    let folder = tempfile::tempdir().unwrap();
    let data = recordings(folder.path(), waves);
    let script = "trap '' XFSZ; ulimit -f 4; exec \"$0\" pretrain data.npz -o full.onnx \"$@\"";
    for (memory, says) in [
        ("1", "could not write full.onnx"),
        ("0", "does not fit into --memory, and could not be written"),
    ] {
        let output = Command::new("sh")
            .args(["-c", script, env!("CARGO_BIN_EXE_headstart")])
            .args(TINY)
            .args(["--memory", memory])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", message(&output));
        assert!(message(&output).contains(says), "{}", message(&output));
    }
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    assert_eq!(left, [data]);
}
