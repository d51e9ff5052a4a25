//! `headstart pack` on what users give it by mistake, and on a disk that is full.

#[allow(dead_code)] // shared with evaluate.rs, which takes more of it
mod tiny;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn pack(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_headstart"))
        .arg("pack")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the command runs")
}

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Nothing but what was there before: no pack, no half of one, nothing temporary.
fn unchanged(folder: &Path, before: &[PathBuf]) {
    assert_eq!(files(folder), before);
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    files.sort();
    files
}

#[test]
fn what_cannot_be_packed_is_refused_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let onnx = std::fs::read(repository("models/watch.onnx")).expect("the shipped encoder");
    std::fs::write(folder.join("watch.onnx"), &onnx).expect("written");
    std::fs::write(folder.join("cut.onnx"), &onnx[..onnx.len() / 2]).expect("written");
    std::fs::write(folder.join("text.onnx"), "this is a text, not a model").expect("written");
    std::fs::create_dir(folder.join("texts")).expect("a folder");
    std::fs::write(folder.join("texts/a.txt"), "hello").expect("written");
    let data = repository("models/data/watch/unseen.npz");
    let data = data.to_str().expect("a path in UTF-8");
    struct Case<'a> {
        arguments: &'a [&'a str],
        code: i32,
        says: &'a str,
    }
    let cases = [
        Case {
            arguments: &[],
            code: 2,
            says: "Usage",
        },
        Case {
            arguments: &["watch.onnx", data, "--ram", "1k"],
            code: 1,
            says: "bytes of RAM",
        },
        Case {
            arguments: &["watch.onnx", data, "--flash", "49k"],
            code: 1,
            says: "bytes of flash",
        },
        Case {
            arguments: &["watch.onnx", data, "--ram", "much"],
            code: 2,
            says: "KiB",
        },
        Case {
            arguments: &["watch.onnx", data, "--windows", "0"],
            code: 2,
            says: "--windows",
        },
        Case {
            arguments: &["watch.onnx", data, "--bogus"],
            code: 2,
            says: "--bogus",
        },
        Case {
            arguments: &["none.onnx", data],
            code: 1,
            says: "none.onnx",
        },
        Case {
            arguments: &["watch.onnx", "none.npz"],
            code: 1,
            says: "none.npz",
        },
        Case {
            arguments: &["cut.onnx", data],
            code: 1,
            says: "cut.onnx",
        },
        Case {
            arguments: &["text.onnx", data],
            code: 1,
            says: "not an ONNX file",
        },
        Case {
            arguments: &[data, data],
            code: 1,
            says: "not an ONNX file",
        },
        Case {
            arguments: &["watch.onnx", "texts"],
            code: 1,
            says: "texts",
        },
        Case {
            arguments: &["watch.onnx", "watch.onnx"],
            code: 1,
            says: "watch.onnx",
        },
        Case {
            arguments: &["watch.onnx", data, "-o", "no/such/folder.pack"],
            code: 1,
            says: "no/such",
        },
        Case {
            arguments: &["watch.onnx", data, "-o", "texts"],
            code: 1,
            says: "texts",
        },
    ];
    let before = files(folder);
    for Case {
        arguments,
        code,
        says,
    } in cases
    {
        let output = pack(folder, arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            message(&output)
        );
        assert!(
            message(&output).contains(says),
            "{arguments:?}: {}",
            message(&output)
        );
        unchanged(folder, &before);
    }
}

#[test]
fn another_sensor_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    std::fs::write(folder.join("tiny.onnx"), tiny::onnx()).expect("written");
    let data = repository("models/data/watch/unseen.npz");
    let output = pack(folder, &["tiny.onnx", data.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(message(&output).contains("6"), "{}", message(&output));
    assert!(!folder.join("tiny.pack").exists());
}

/// A limit on the size of files fails a write half-way, as a full disk does.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_old_pack_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    std::fs::write(folder.join("watch.pack"), "the old one").expect("written");
    let before = files(folder);
    let script = "trap '' XFSZ; ulimit -f 8; exec \"$0\" pack \"$1\" \"$2\" -o watch.pack";
    let output = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_headstart")])
        .arg(repository("models/watch.onnx"))
        .arg(repository("models/data/watch/unseen.npz"))
        .current_dir(folder)
        .output()
        .expect("sh runs");
    assert_eq!(output.status.code(), Some(1), "{}", message(&output));
    assert!(
        message(&output).contains("could not write watch.pack"),
        "{}",
        message(&output)
    );
    unchanged(folder, &before);
    assert_eq!(
        std::fs::read(folder.join("watch.pack")).expect("still there"),
        b"the old one"
    );
}

#[test]
fn the_same_input_gives_the_same_pack() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let (onnx, data) = (
        repository("models/watch.onnx"),
        repository("models/data/watch/unseen.npz"),
    );
    let [onnx, data] = [&onnx, &data].map(|p| p.to_str().expect("UTF-8"));
    for name in ["a.pack", "b.pack"] {
        let output = pack(folder, &[onnx, data, "-o", name]);
        assert!(output.status.success(), "{}", message(&output));
    }
    let read = |name: &str| std::fs::read(folder.join(name)).expect("written");
    assert!(read("a.pack") == read("b.pack"));
}

#[test]
fn the_report_says_what_was_tried_and_what_each_layer_costs() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let (onnx, data) = (
        repository("models/watch.onnx"),
        repository("models/data/watch/unseen.npz"),
    );
    let [onnx, data] = [&onnx, &data].map(|p| p.to_str().expect("UTF-8"));
    let report = |more: &[&str]| {
        let output = pack(folder, &[&[onnx, data, "-o", "a.pack"], more].concat());
        assert!(output.status.success(), "{}", message(&output));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let json: serde_json::Value = serde_json::from_str(&report(&["--json"])).expect("JSON");
    assert_eq!(json["used"], serde_json::json!(["plain"]));
    assert_eq!(json["tried"][0]["step"], "plain");
    assert!(json["tried"][0]["cosine"].as_f64() > Some(0.99), "{json}");
    assert_eq!(json["tried"].as_array().map(Vec::len), Some(1));
    let layers = json["layers"].as_array().expect("a list");
    assert_eq!(layers[0]["layer"], 1);
    assert_eq!(layers[0]["name"], "conv1");
    assert_eq!(layers[0]["kind"], "Conv");
    let noise = |layer: &serde_json::Value, key: &str| layer[key].as_f64();
    assert!(noise(&layers[0], "own_sqnr_db") > noise(&layers[0], "sqnr_db"));
    let text = report(&[]);
    assert_eq!(text.matches("worst layer").count(), 3, "{text}");
    assert!(!text.contains("tried"), "{text}");
    let text = report(&["--cosine", "1"]);
    assert!(
        text.contains("tried") && text.contains("bias corrected"),
        "{text}"
    );
}
