//! `headstart evaluate` and `headstart inspect` on bad files and in wrong calls.

#[allow(dead_code)] // shared with evaluate.rs, which takes more of it
mod folder;
mod tiny;

use folder::{Folder, refused};
use tiny::Watch;

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
                "evaluate tiny.onnx data.npz --head bayesian",
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
            ("evaluate foreign.onnx data.npz", 1, "no encoder file yet"),
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
            ("inspect foreign.onnx", 1, "no encoder file yet"),
            ("inspect", 2, "required"),
        ],
    );
    let blind = folder.run("evaluate blind.onnx data.npz --episodes 10 --no-rivals --shots 1");
    let text = String::from_utf8_lossy(&blind.stdout);
    assert!(text.contains("has no background statistics"), "{text}");
    let inspected = folder.run("inspect blind.onnx");
    let text = String::from_utf8_lossy(&inspected.stdout);
    assert!(
        inspected.status.success() && text.contains("background  none"),
        "{text}"
    );
}
