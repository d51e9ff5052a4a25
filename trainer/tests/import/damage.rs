//! Files that are something else, that were cut short, or of which bits fell over.

use std::panic::catch_unwind;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Parser;
use headstart_trainer::import;
use prost::Message;
use tract_onnx::pb::{GraphProto, ModelProto};

use crate::folder::{Folder, refused};
use crate::net::*;

#[test]
fn other_files_are_told_apart() {
    let folder = Folder::new();
    let good = classifier().encode_to_vec();
    let write = |name: &str, bytes: &[u8]| {
        folder.write(name, bytes);
    };
    write("empty.onnx", b"");
    write("text.onnx", b"Entry not found");
    write(
        "page.onnx",
        b"\n <!DOCTYPE html><html><body>404</body></html>",
    );
    write(
        "lfs.onnx",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n",
    );
    write("zip.onnx", b"PK\x03\x04\x14\x00\x00\x00\x08\x00");
    write("lite.onnx", b"\x1c\x00\x00\x00TFL3\x00\x00");
    write("keras.onnx", b"\x89HDF\r\n\x1a\n");
    write("zeros.onnx", &[0; 4096]);
    write(
        "noise.onnx",
        &good.iter().map(|b| b ^ 0x5a).collect::<Vec<_>>(),
    );
    write("cut.onnx", &good[..good.len() / 2]);
    write(
        "weights.onnx",
        &changed(classifier(), |g| g.initializer[0].raw_data.truncate(9)).encode_to_vec(),
    );
    std::fs::create_dir(folder.path().join("folder.onnx")).expect("a folder");
    refused(
        &folder,
        &[
            (
                "import missing.onnx -o e.onnx",
                1,
                "missing.onnx: there is no such file",
            ),
            (
                "import folder.onnx -o e.onnx",
                1,
                "folder.onnx: it is a folder",
            ),
            (
                "import empty.onnx -o e.onnx",
                1,
                "it is empty: the download or export failed",
            ),
            ("import text.onnx -o e.onnx", 1, "it is a text file"),
            ("import page.onnx -o e.onnx", 1, "it is a web page"),
            ("import lfs.onnx -o e.onnx", 1, "git lfs pull"),
            ("import zip.onnx -o e.onnx", 1, "it is a zip archive"),
            (
                "import lite.onnx -o e.onnx",
                1,
                "it is a TensorFlow Lite model",
            ),
            ("import keras.onnx -o e.onnx", 1, "it is a Keras .h5 model"),
            ("import zeros.onnx -o e.onnx", 1, "it is no ONNX file"),
            ("import noise.onnx -o e.onnx", 1, "it is no ONNX file"),
            ("import cut.onnx -o e.onnx", 1, "cut short"),
            (
                "import weights.onnx -o e.onnx",
                1,
                "the weights `w0` have another number of bytes",
            ),
            ("import text.onnx --list", 1, "it is a text file"),
        ],
    );
}

#[derive(Parser)]
struct Call {
    #[command(flatten)]
    args: import::Args,
}

/// Imports within this process, so that thousands take seconds; returns the message.
fn import(folder: &Path, bytes: &[u8], list: bool) -> Result<(), String> {
    let [file, output] = ["net.onnx", "e.onnx"].map(|n| folder.join(n).display().to_string());
    std::fs::write(&file, bytes).expect("a file");
    let list = if list {
        vec!["--list"]
    } else {
        vec!["-o", &output]
    };
    let call = [vec!["import", file.as_str()], list].concat();
    let args = Call::parse_from(call).args;
    let began = Instant::now();
    let outcome = catch_unwind(|| import::run(args)).map_err(|_| "a panic".to_owned())?;
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    outcome.map_err(|e| format!("{e:#}"))
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let folder = Folder::new();
    let whole = small().encode_to_vec();
    for length in 0..whole.len() {
        let cut = import(folder.path(), &whole[..length], true);
        // Fields may come in any order: some cuts lose nothing that is needed.
        if let Err(message) = cut {
            assert!(!message.contains("a panic"), "{length}: {message}");
            assert!(message.contains("net.onnx"), "{length}: {message}");
        }
    }
    assert_eq!(import(folder.path(), &whole, true), Ok(()));
}

/// As much as one byte can harm in few bytes.
fn small() -> ModelProto {
    let nodes = vec![
        conv("x", "w0", "c0"),
        batch_norm("bn", "c0", "n"),
        node("Relu", &["n"], "r", vec![]),
        node("MaxPool", &["r"], "m", vec![ints("kernel_shape", &[2, 2])]),
        node("GlobalAveragePool", &["m"], "p", vec![]),
        node("Shape", &["p"], "sizes", vec![]),
        node("Slice", &["sizes", "zero", "one"], "first", vec![]),
        node("Concat", &["first", "rest"], "target", vec![int("axis", 0)]),
        node("Reshape", &["p", "target"], "flat", vec![]),
        node("ConstantOfShape", &["two"], "zeros", vec![]),
        node("Add", &["flat", "zeros"], "mean", vec![]),
        node("MatMul", &["mean", "w1"], "y", vec![]),
    ];
    let stored = vec![
        weights("w0", &[2, 1, 3, 3], 1),
        weights("w1", &[2, 3], 2),
        list("zero", &[0]),
        list("one", &[1]),
        list("rest", &[-1]),
        list("two", &[1, 2]),
    ];
    model(
        &[1, 1, 8, 8],
        nodes,
        [stored, norm("bn", 2, 5)].concat(),
        "y",
    )
}

/// In a process of its own, of which the memory is no other test's.
#[test]
fn flipped_bits_never_panic_hang_or_take_memory() {
    let output = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "damage::flips", "--ignored", "--nocapture"])
        .output()
        .expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}

#[test]
#[ignore = "called by the test above"]
fn flips() {
    let folder = Folder::new();
    let whole = small().encode_to_vec();
    assert_eq!(import(folder.path(), &whole, false), Ok(()));
    let before = peak();
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % below
    };
    for round in 0..3000 {
        let mut bytes = whole.clone();
        for _ in 0..1 + random(3) {
            let at = random(bytes.len());
            bytes[at] = match random(3) {
                0 => bytes[at] ^ 1 << random(8),
                1 => [0, 1, 0x7f, 0x80, 0xff][random(5)],
                _ => random(256) as u8,
            };
        }
        let outcome = import(folder.path(), &bytes, round % 3 > 0);
        let message = outcome.err().unwrap_or_default();
        if message == "a panic" {
            let kept = std::env::temp_dir().join("headstart_import_panic.onnx");
            std::fs::write(&kept, &bytes).expect("a file");
            panic!("round {round}: see {}", kept.display());
        }
    }
    let grown = peak().saturating_sub(before);
    println!("{grown} KiB more than before");
    assert!(grown < 32 << 10, "{grown} KiB");
}

/// The most memory that this process has held, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM:"));
    let number = line.and_then(|l| l.split_whitespace().nth(1));
    number.and_then(|n| n.parse().ok()).unwrap_or(0)
}

#[test]
fn graphs_that_contradict_themselves_are_named() {
    let folder = Folder::new();
    let write = |name: &str, change: &dyn Fn(&mut GraphProto)| {
        save(folder.path(), name, &changed(classifier(), change));
    };
    write("circle.onnx", &|g| g.node[0].input[0] = "scores".into());
    write("itself.onnx", &|g| g.node[1].input[0] = "r0".into());
    write("twice.onnx", &|g| g.node[2].output[0] = "r0".into());
    write("gone.onnx", &|g| {
        g.node.remove(1);
    });
    write("nameless.onnx", &|g| {
        for node in &mut g.node {
            node.name.clear();
        }
        g.node[2].output[0].clear();
        g.node[3].input[0].clear();
    });
    write("blank.onnx", &|g| {
        g.node.push(node("Reshape", &[""], "", vec![]))
    });
    write("nothing.onnx", &|g| g.output.clear());
    write("elsewhere.onnx", &|g| g.output[0].name = "elsewhere".into());
    write("lie.onnx", &|g| {
        for attribute in &mut g.node[0].attribute {
            attribute.r#type = 3;
        }
    });
    write("deep.onnx", &|g| {
        g.node[0].attribute[0].ints = vec![i64::MAX, i64::MIN]
    });
    write("shape.onnx", &|g| {
        g.initializer[0].dims = vec![-8, 3, -3, 3]
    });
    write("vast.onnx", &|g| {
        g.node
            .insert(0, node("ConstantOfShape", &["vast"], "zeros", vec![]));
        g.node
            .insert(1, node("Add", &["x", "zeros"], "sum", vec![]));
        g.node[2].input[0] = "sum".into();
        g.initializer.push(list("vast", &[1 << 20, 1 << 20, 8, 8]));
    });
    write("tiled.onnx", &|g| {
        g.node
            .insert(2, node("Tile", &["r0", "vast"], "sum", vec![]));
        g.node[3].input[0] = "sum".into();
        g.initializer.push(list("vast", &[1, 1, 1 << 20, 1 << 20]));
    });
    refused(
        &folder,
        &[
            (
                "import circle.onnx -o e.onnx",
                1,
                "its nodes read each other in a circle",
            ),
            (
                "import itself.onnx -o e.onnx",
                1,
                "its nodes read each other in a circle",
            ),
            ("import twice.onnx -o e.onnx", 1, "two nodes write `r0`"),
            (
                "import gone.onnx -o e.onnx",
                1,
                "node `pool_GlobalAveragePool` reads `r0`, which nothing writes",
            ),
            ("import nameless.onnx -o e.onnx", 1, "nameless.onnx"),
            ("import nothing.onnx -o e.onnx", 1, "nothing.onnx"),
            ("import elsewhere.onnx -o e.onnx", 1, "elsewhere.onnx"),
            ("import lie.onnx -o e.onnx", 1, "lie.onnx"),
            ("import deep.onnx -o e.onnx", 1, "deep.onnx"),
            ("import shape.onnx -o e.onnx", 1, "the weights `w0`"),
            (
                "import vast.onnx -o e.onnx",
                1,
                "its tensor `zeros` would have 70368744177664 values",
            ),
            (
                "import tiled.onnx -o e.onnx",
                1,
                "its tensor `sum` would have 1099511627776 values",
            ),
        ],
    );
    // What nobody reads does no harm.
    folder.json("import blank.onnx -o e.onnx --json");
}
