//! `headstart evaluate` and `headstart inspect` as a user meets them: good files and bad ones.

mod tiny;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tiny::Watch;

/// A folder with the files of a test in it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        let folder = Folder(tempfile::tempdir().expect("folder"));
        folder.write("tiny.onnx", &tiny::onnx());
        folder.write("data.npz", &Watch::default().npz());
        folder
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).expect("file");
        path
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, arguments: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_headstart"))
            .args(arguments.split_whitespace())
            .current_dir(self.path())
            .output()
            .expect("the binary runs")
    }

    fn json(&self, arguments: &str) -> Value {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {errors}");
        serde_json::from_slice(&output.stdout).expect("one JSON object")
    }

    /// Makes tiny.pack.
    fn pack(&self) {
        let output = self.run("pack tiny.onnx data.npz");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
    }
}

fn rows(json: &Value) -> &Vec<Value> {
    json["rows"].as_array().expect("rows")
}

#[test]
fn every_rival_answers_the_same_episodes() {
    let folder = Folder::new();
    folder.pack();
    let call = "evaluate tiny.onnx data.npz --against tiny.pack --shots 1,3 --episodes 40 --json";
    let json = folder.json(call);
    let rows = rows(&json);
    // 5 kinds of features, 2 heads, 2 protocols, 2 numbers of shots.
    assert_eq!(rows.len(), 40);
    for row in rows {
        let number = |key: &str| row[key].as_f64().unwrap_or_else(|| panic!("{key}: {row}"));
        assert!((0.0..=1.0).contains(&number("accuracy")), "{row}");
        assert!(
            number("ci95") >= 0.0 && number("ci95_groups") >= 0.0,
            "{row}"
        );
        assert_eq!((number("ways"), number("episodes")), (3.0, 40.0));
        assert_eq!(row["dataset"], "data.npz");
        let first = row["encoder"] == "tiny.onnx" && row["features"] == "encoder";
        assert_eq!(row["difference"].is_null(), first, "{row}");
    }
    let features: Vec<&str> = rows[..5]
        .iter()
        .filter_map(|r| r["features"].as_str())
        .collect();
    assert_eq!(
        features,
        ["encoder", "encoder", "random", "hand-made", "raw"]
    );
    assert_eq!(rows[1]["encoder"], "tiny.pack");
    let difference = rows[1]["difference"].as_f64().expect("a difference");
    let both = |i: usize| rows[i]["accuracy"].as_f64().expect("an accuracy");
    assert!((both(1) - both(0) - difference).abs() < 1e-9);
    assert_eq!(
        folder.run(call).stdout,
        folder.run(call).stdout,
        "the same seed, the same figures"
    );
    assert_ne!(json, folder.json(&format!("{call} --seed 1")));
}

#[test]
fn tables_say_what_a_reader_needs() {
    let folder = Folder::new();
    let output = folder.run("evaluate tiny.onnx data.npz --ways 2 --episodes 20 --stream");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("text");
    for expected in [
        "same-wearer, 2-way, 5-shot: 20 episodes, chance 50.0 %",
        "next-wearer, 2-way, 5-shot",
        "hand-made statistics  prototype",
        "random weights",
        "minus tiny.onnx",
        "false alarms/hour",
        "without --background, the rivals are standardised on the evaluation data",
    ] {
        assert!(text.contains(expected), "{expected} is missing in\n{text}");
    }
}

#[test]
fn a_cell_without_enough_windows_is_null() {
    let folder = Folder::new();
    // A third of 300 rows holds 11 windows, a whole recording 36.
    let json = folder.json("evaluate tiny.onnx data.npz --shots 12 --episodes 10 --json");
    for row in rows(&json) {
        assert_eq!(
            row["accuracy"].is_null(),
            row["protocol"] == "same-wearer",
            "{row}"
        );
    }
    assert!(
        json["notes"]
            .to_string()
            .contains("n/a: same wearer, 12-shot: subject 1 has 11")
    );
}

#[test]
fn a_pack_alone_has_no_random_twin() {
    let folder = Folder::new();
    folder.pack();
    let json = folder.json("evaluate tiny.pack data.npz --episodes 10 --stream --json");
    assert!(rows(&json).iter().all(|r| r["features"] != "random"));
    assert!(json["stream"].as_array().is_some_and(|s| s.len() == 6));
}

#[test]
fn inspect_adds_up() {
    let folder = Folder::new();
    folder.pack();
    let pack = folder.json("inspect tiny.pack --json");
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{value}"));
    let parts = pack["flash"].as_object().expect("parts");
    assert_eq!(
        parts.values().map(number).sum::<u64>(),
        number(&pack["flash_bytes"])
    );
    let size = std::fs::metadata(folder.path().join("tiny.pack"))
        .expect("file")
        .len();
    assert_eq!(number(&pack["flash_bytes"]), size);
    assert!(number(&pack["arena_bytes"]) >= number(&pack["arena_lower_bound"]));
    // 16 positions x 8 channels x 3 taps x 2 channels, and two dense layers of 8 x 6.
    assert_eq!(number(&pack["macs"]), 16 * 8 * 3 * 2 + 2 * 8 * 6);
    assert_eq!(
        pack["kernels"],
        "kernels!(Conv, Dense, AvgPool, MaxPool, Add)"
    );
    let onnx = folder.json("inspect tiny.onnx --json");
    assert_eq!(onnx["macs"], pack["macs"]);
    assert_eq!(onnx["space_id"], pack["space_id"]);
    assert_eq!(number(&onnx["parameters"]), 8 * 3 * 2 + 8 + 2 * (8 * 6 + 6));
    let data = folder.json("inspect data.npz --json");
    assert_eq!(data["rows"], 3 * 4 * 300);
    assert_eq!(data["classes"][3]["name"], "wave");
    assert_eq!(data["classes"][3]["recordings"], 3);
    let texts = [
        ("tiny.pack", "arena 160 bytes, input included"),
        ("tiny.pack", "t1 16x8 0 to 128 . # # # . . ."),
        ("tiny.pack", "licence=MIT OR Apache-2.0"),
        (
            "tiny.onnx",
            "c1_Conv Conv 16x2 -> 16x8 kernel 3, pad 1 768 56",
        ),
        ("data.npz", "3 wave 3 900"),
    ];
    for (file, expected) in texts {
        let output = folder.run(&format!("inspect {file}"));
        let text = String::from_utf8_lossy(&output.stdout);
        let words: Vec<&str> = text.split_whitespace().collect();
        assert!(
            output.status.success() && words.join(" ").contains(expected),
            "{expected} is missing in\n{text}"
        );
    }
}

/// Arguments, exit code, and what the message must say.
type Case = (&'static str, i32, &'static str);

fn refused(folder: &Folder, cases: &[Case]) {
    for (arguments, code, expected) in cases {
        let output = folder.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(*code), "{arguments}: {errors}");
        assert!(
            errors.contains(expected),
            "{arguments}: {errors}\nshould contain: {expected}"
        );
        assert!(output.stdout.is_empty(), "{arguments} printed results");
        assert!(!errors.contains("panicked"), "{errors}");
    }
}

#[test]
fn bad_data_is_named() {
    let folder = Folder::new();
    folder.pack();
    let write = |name: &str, watch: Watch| folder.write(name, &watch.npz());
    write(
        "unlabelled.npz",
        Watch {
            labelled: false,
            ..Watch::default()
        },
    );
    write(
        "one.npz",
        Watch {
            classes: 1,
            ..Watch::default()
        },
    );
    write(
        "short.npz",
        Watch {
            rows: 60,
            ..Watch::default()
        },
    );
    write(
        "tiny.npz",
        Watch {
            rows: 15,
            ..Watch::default()
        },
    );
    write(
        "wide.npz",
        Watch {
            channels: 3,
            ..Watch::default()
        },
    );
    write(
        "fast.npz",
        Watch {
            rate: 100.0,
            ..Watch::default()
        },
    );
    write(
        "units.npz",
        Watch {
            counts: false,
            ..Watch::default()
        },
    );
    folder.write("nan.npz", &nan());
    std::fs::create_dir(folder.path().join("texts")).expect("folder");
    folder.write("texts/a.txt", b"hello");
    refused(
        &folder,
        &[
            (
                "evaluate tiny.onnx missing.npz",
                1,
                "missing.npz: could not be read",
            ),
            ("evaluate tiny.onnx texts", 1, "texts: is a folder"),
            (
                "evaluate tiny.onnx texts/a.txt",
                1,
                "texts/a.txt: is not an .npz file",
            ),
            ("evaluate tiny.onnx unlabelled.npz", 1, "no labels"),
            ("evaluate tiny.onnx one.npz", 1, "one class only"),
            (
                "evaluate tiny.onnx data.npz --ways 5",
                1,
                "5-way episodes need 5 classes, there are 4",
            ),
            (
                "evaluate tiny.onnx short.npz --shots 50",
                1,
                "there are no episodes",
            ),
            (
                "evaluate tiny.onnx tiny.npz",
                1,
                "no recording in tiny.npz is as long as a window",
            ),
            ("evaluate tiny.onnx nan.npz", 1, "array x is NaN in row"),
            (
                "evaluate tiny.onnx wide.npz",
                1,
                "takes 2 channels, wide.npz has 3",
            ),
            (
                "evaluate tiny.onnx fast.npz",
                1,
                "fast.npz was sampled at 100 Hz",
            ),
            (
                "evaluate tiny.pack units.npz",
                1,
                "a .pack takes a sensor's counts",
            ),
            (
                "evaluate tiny.onnx data.npz --background fast.npz",
                1,
                "fast.npz was sampled at 100 Hz",
            ),
            (
                "evaluate tiny.onnx data.npz --groups 7",
                1,
                "in groups 1, 2, 3",
            ),
            (
                "evaluate tiny.onnx data.npz --classes run,nod",
                2,
                "no class run",
            ),
            ("evaluate tiny.onnx data.npz --groups 3-1", 2, "6-10"),
            (
                "evaluate tiny.onnx data.npz --ways 1",
                2,
                "--ways must be at least 2",
            ),
            (
                "evaluate tiny.onnx data.npz --shots 0",
                2,
                "--shots must be at least 1",
            ),
            (
                "evaluate tiny.onnx data.npz --episodes 0",
                2,
                "--episodes must be at least 1",
            ),
            ("evaluate tiny.onnx", 2, "required"),
            (
                "evaluate tiny.onnx data.npz --head bayes",
                2,
                "possible values",
            ),
        ],
    );
    // Physical units suit the float encoder.
    assert!(
        folder
            .run("evaluate tiny.onnx units.npz --episodes 5")
            .status
            .success()
    );
}

/// An `.npz` whose x has one value that is no number.
fn nan() -> Vec<u8> {
    let mut npz = npyz::npz::NpzWriter::new(std::io::Cursor::new(Vec::new()));
    let x: Vec<f32> = (0..80)
        .map(|i| if i == 31 { f32::NAN } else { 0.5 })
        .collect();
    tiny::add(&mut npz, "x", &[40, 2], &x);
    npz.zip_writer().finish().expect("zip").into_inner()
}

#[test]
fn bad_encoders_are_named() {
    let folder = Folder::new();
    folder.pack();
    let without = |key: &str| {
        let kept = tiny::metadata()
            .into_iter()
            .filter(|(k, _)| *k != key)
            .collect();
        prost::Message::encode_to_vec(&tiny::model(kept))
    };
    folder.write(
        "foreign.onnx",
        &prost::Message::encode_to_vec(&tiny::model(vec![])),
    );
    folder.write("blind.onnx", &without("background"));
    folder.write("text.onnx", b"this is not a network");
    let packed = std::fs::read(folder.path().join("tiny.pack")).expect("pack");
    folder.write("short.pack", &packed[..packed.len() - 8]);
    let mut flipped = packed.clone();
    flipped[packed.len() / 2] ^= 4;
    folder.write("flipped.pack", &flipped);
    let mut long = tiny::metadata();
    long[0].1 = long[0].1.replace("\"hop\":8", "\"hop\":4");
    folder.write(
        "hop.onnx",
        &prost::Message::encode_to_vec(&tiny::model(long)),
    );
    let npz_as_encoder = "data.npz is an .npz file, not an encoder";
    refused(
        &folder,
        &[
            (
                "evaluate missing.onnx data.npz",
                1,
                "could not read missing.onnx",
            ),
            ("evaluate . data.npz", 1, "is a folder"),
            ("evaluate data.npz tiny.onnx", 1, npz_as_encoder),
            (
                "evaluate tiny.onnx data.npz --against data.npz",
                1,
                npz_as_encoder,
            ),
            (
                "evaluate foreign.onnx data.npz",
                1,
                "not written by `headstart pretrain`",
            ),
            ("evaluate blind.onnx data.npz", 1, "no background mean"),
            ("evaluate text.onnx data.npz", 1, "not an ONNX file"),
            ("evaluate short.pack data.npz", 1, "cut short"),
            (
                "evaluate flipped.pack data.npz",
                1,
                "the checksum does not match",
            ),
            (
                "evaluate tiny.onnx data.npz --against hop.onnx",
                1,
                "the same episodes",
            ),
            ("inspect missing.pack", 1, "could not read missing.pack"),
            ("inspect .", 1, "is a folder"),
            ("inspect short.pack", 1, "cut short"),
            ("inspect flipped.pack", 1, "the checksum does not match"),
            ("inspect text.onnx", 1, "not an ONNX file"),
            (
                "inspect foreign.onnx",
                1,
                "not written by `headstart pretrain`",
            ),
            ("inspect", 2, "required"),
        ],
    );
    let inspected = folder.run("inspect blind.onnx");
    let text = String::from_utf8_lossy(&inspected.stdout);
    assert!(
        inspected.status.success() && text.contains("background  none"),
        "{text}"
    );
}
