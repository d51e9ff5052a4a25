//! Long and deep graphs in seconds, and weights that are not held more often than they must be.

use std::process::Command;
use std::time::{Duration, Instant};

use prost::Message;
use tract_onnx::pb::{ModelProto, StringStringEntryProto};

use crate::folder::{Folder, refused};
use crate::net::*;

/// [`classifier`] with `length` nodes one behind the other before its dense layer.
fn chain(operator: &str, length: usize, reversed: bool) -> ModelProto {
    changed(classifier(), |g| {
        let name = |i: usize| match i {
            0 => "mean".to_owned(),
            _ => format!("link{i}"),
        };
        let links = (0..length).map(|i| node(operator, &[&name(i)], &name(i + 1), vec![]));
        g.node[4].input[0] = name(length);
        g.node.splice(4..4, links);
        if reversed {
            g.node.reverse();
        }
    })
}

fn in_time(folder: &Folder, call: &str, seconds: u64) {
    let began = Instant::now();
    let output = folder.run(call);
    let errors = String::from_utf8_lossy(&output.stderr);
    println!("{call}: {:?} {errors}", began.elapsed());
    assert!(output.status.success(), "{call}: {errors}");
    assert!(
        began.elapsed() < Duration::from_secs(seconds),
        "{call}: {:?}",
        began.elapsed()
    );
}

#[test]
fn long_graphs_take_seconds() {
    let folder = Folder::new();
    let cases = [
        ("identity", chain("Identity", 50_000, false)),
        ("backwards", chain("Identity", 50_000, true)),
        ("relu", chain("Relu", 3_000, true)),
        ("neg", chain("Neg", 3_000, false)),
    ];
    for (name, model) in cases {
        let file = format!("{name}.onnx");
        save(folder.path(), &file, &model);
        in_time(&folder, &format!("import {file} --list"), 8);
        in_time(
            &folder,
            &format!("import {file} -o e.onnx --embedding mean"),
            15,
        );
    }
}

#[test]
fn deep_graphs_are_refused() {
    let folder = Folder::new();
    let deep = |levels: usize| {
        // Written by hand: an If in an If, a thousand times over, as bytes.
        let mut body = Vec::new();
        for level in 0..levels {
            let mut node = node("If", &["condition"], "inner", vec![]);
            if level == 0 {
                node.op_type = "Relu".into();
                body = graph_bytes(&node.encode_to_vec());
                continue;
            }
            let attribute = [
                field(1, b"then_branch"),
                field(6, &body),
                vec![0xa0, 0x01, 5],
            ]
            .concat();
            let bytes = [node.encode_to_vec(), field(5, &attribute)].concat();
            body = graph_bytes(&bytes);
        }
        [vec![0x08, 8], field(7, &body), field(8, &[0x10, 17])].concat()
    };
    for levels in [1000, 5000] {
        folder.write(&format!("deep{levels}.onnx"), &deep(levels));
    }
    refused(
        &folder,
        &[
            ("import deep1000.onnx -o e.onnx", 1, "it is no ONNX file"),
            ("import deep5000.onnx --list", 1, "it is no ONNX file"),
        ],
    );
}

/// A field of protobuf that holds bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length > 127 {
        field.push(length as u8 | 128);
        length >>= 7;
    }
    field.push(length as u8);
    [field, bytes.to_vec()].concat()
}

fn graph_bytes(node: &[u8]) -> Vec<u8> {
    field(1, node)
}

/// Peak memory in KiB of a call, by the shell that runs it.
fn peak(folder: &Folder, call: &str) -> Option<(u64, String)> {
    let output = Command::new("/usr/bin/time")
        .args(["-f", "peak %M", env!("CARGO_BIN_EXE_headstart")])
        .args(call.split_whitespace())
        .env_remove("ORT_DYLIB_PATH")
        .current_dir(folder.path())
        .output()
        .ok()?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let peak = errors
        .lines()
        .rev()
        .find_map(|l| l.strip_prefix("peak "))?
        .parse()
        .ok()?;
    Some((peak, errors))
}

/// Dense layers of 4096 x 2048 and back: `pairs` times 64 MiB in a file beside the model.
fn heavy(folder: &Folder, pairs: usize) -> u64 {
    let (mut nodes, mut stored, mut data) = (Vec::new(), Vec::new(), Vec::new());
    let mut from = "x".to_owned();
    for i in 0..pairs {
        for (half, dims) in [("a", [256, 32768]), ("b", [32768, 256])] {
            let [weight, out] = ["w", "t"].map(|p| format!("{p}{i}{half}"));
            let mut tensor = weights(&weight, &dims, (2 * i) as u32 + u32::from(half == "b"));
            let entry = |key: &str, value: usize| StringStringEntryProto {
                key: key.into(),
                value: value.to_string(),
            };
            tensor.external_data = vec![entry("offset", data.len())];
            tensor.external_data.push(StringStringEntryProto {
                key: "location".into(),
                value: "heavy.data".into(),
            });
            tensor.data_location = Some(1);
            data.append(&mut tensor.raw_data);
            stored.push(tensor);
            nodes.push(node("MatMul", &[&from, &weight], &out, vec![]));
            from = out;
        }
    }
    nodes.push(node("Tanh", &[&from], "embedding", vec![]));
    save(
        folder.path(),
        "heavy.onnx",
        &model(&[-1, 256], nodes, stored, "embedding"),
    );
    folder.write("heavy.data", &data);
    data.len() as u64 >> 10
}

#[test]
fn weights_are_held_few_times() {
    let folder = Folder::new();
    let size = heavy(&folder, 2);
    let Some((base, _)) = peak(&folder, "--version") else {
        println!("skipped: there is no /usr/bin/time");
        return;
    };
    let calls = [
        ("import heavy.onnx --list", 3),
        ("import heavy.onnx -o e.onnx --embedding nowhere", 3),
        ("import heavy.onnx -o e.onnx", 5),
    ];
    for (call, times) in calls {
        let (peak, errors) = peak(&folder, call).expect("time runs it");
        let above = peak.saturating_sub(base) as f64 / size as f64;
        println!("{call}: {above:.2} times the file, {errors}");
        assert!(
            above < f64::from(times),
            "{call}: {above:.2} times the file's {size} KiB"
        );
    }
}
