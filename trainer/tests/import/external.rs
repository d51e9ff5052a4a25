//! Weights in files beside the model: taken in, or refused fast.

use std::path::Path;
use std::time::{Duration, Instant};

use tract_onnx::pb::{ModelProto, StringStringEntryProto, TensorProto};

use crate::case::{Case, imported};
use crate::folder::{Folder, refused};
use crate::net::*;

/// Where the tensor `w0` is, in the words of ONNX.
fn reference(tensor: &mut TensorProto, entries: &[(&str, &str)]) {
    let entry = |&(key, value): &(&str, &str)| StringStringEntryProto {
        key: key.into(),
        value: value.into(),
    };
    tensor.raw_data.clear();
    tensor.data_location = Some(1);
    tensor.external_data = entries.iter().map(entry).collect();
}

fn outside(entries: &[(&str, &str)]) -> ModelProto {
    changed(classifier(), |g| reference(&mut g.initializer[0], entries))
}

#[test]
fn weights_beside_the_model_are_taken_in() {
    let folder = Folder::new();
    let inside = stored().swap_remove(0).raw_data;
    let data = [&[7; 64], inside.as_slice(), &[7; 3]].concat();
    std::fs::create_dir(folder.path().join("sub")).expect("a folder");
    folder.write("sub/net.data", &data);
    let length = inside.len().to_string();
    let entries = [
        ("location", "./net.data"),
        ("offset", "64"),
        ("length", &length),
    ];
    save(folder.path(), "sub/net.onnx", &outside(&entries));
    save(folder.path(), "inside.onnx", &classifier());
    // From another folder, and from its own.
    let report = folder.json("import sub/net.onnx -o outside.onnx --json");
    assert_eq!(report["embedding"]["name"], "mean", "{report}");
    folder.json("import inside.onnx -o inside.encoder --json");
    let weights = |name: &str| {
        let bytes = std::fs::read(folder.path().join(name)).expect("an encoder");
        let model: ModelProto = prost::Message::decode(bytes.as_slice()).expect("ONNX");
        model.graph.expect("a graph").initializer
    };
    assert_eq!(weights("outside.onnx"), weights("inside.encoder"));
    // The same in a Constant node.
    let constant = changed(outside(&entries), |g| {
        let value = tract_onnx::pb::AttributeProto {
            name: "value".into(),
            r#type: 4,
            t: Some(g.initializer.remove(0)),
            ..Default::default()
        };
        g.node.insert(0, node("Constant", &[], "w0", vec![value]));
    });
    save(folder.path(), "sub/net.onnx", &constant);
    folder.json("import sub/net.onnx -o outside.onnx --json");
    assert_eq!(weights("outside.onnx"), weights("inside.encoder"));
    imported(vec![Case::new("without", classifier(), "mean", 8)]);
}

fn sparse(path: &Path, length: u64) {
    let file = std::fs::File::create(path).expect("a file");
    file.set_len(length).expect("a sparse file");
}

#[test]
fn weights_that_are_not_there_are_named() {
    let folder = Folder::new();
    let home = folder.path().join("home");
    std::fs::create_dir(&home).expect("a folder");
    folder.write("secret.data", &[0; 4096]);
    folder.write("home/whole.data", &[0; 864]);
    folder.write("home/short.data", &[0; 800]);
    std::fs::create_dir(home.join("folder.data")).expect("a folder");
    #[cfg(unix)]
    std::os::unix::fs::symlink("../secret.data", home.join("link.data")).expect("a link");
    let secret = folder.path().join("secret.data");
    let secret = secret.to_str().expect("a name");
    type Outside<'a> = (&'a str, Vec<(&'a str, &'a str)>, &'a str);
    let cases: Vec<Outside> = vec![
        (
            "missing",
            vec![("location", "gone.data")],
            "the weights `w0` are in home/gone.data, which is not there",
        ),
        ("folder", vec![("location", "folder.data")], "is not there"),
        ("nameless", vec![], "is not inside the model's folder"),
        (
            "short",
            vec![("location", "short.data")],
            "home/short.data, which has fewer bytes",
        ),
        (
            "late",
            vec![("location", "whole.data"), ("offset", "4")],
            "which has fewer bytes",
        ),
        (
            "far",
            vec![
                ("location", "whole.data"),
                ("offset", "18446744073709551615"),
            ],
            "which has fewer bytes",
        ),
        (
            "negative",
            vec![("location", "whole.data"), ("offset", "-4")],
            "broken offset",
        ),
        (
            "words",
            vec![("location", "whole.data"), ("length", "many")],
            "broken",
        ),
        (
            "longer",
            vec![("location", "whole.data"), ("length", "900")],
            "which has fewer bytes",
        ),
        (
            "up",
            vec![("location", "../secret.data")],
            "is not inside the model's folder",
        ),
        (
            "roundabout",
            vec![("location", "../home/whole.data")],
            "is not inside the model's folder",
        ),
        (
            "absolute",
            vec![("location", secret)],
            "is not inside the model's folder",
        ),
        #[cfg(unix)]
        (
            "linked",
            vec![("location", "link.data")],
            "leads out of the model's folder",
        ),
    ];
    for (name, entries, expected) in cases {
        save(&home, "net.onnx", &outside(&entries));
        let output = folder.run("import home/net.onnx -o e.onnx");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {errors}");
        assert!(errors.contains(expected), "{name}: {errors}");
        assert!(!errors.contains("panicked"), "{name}: {errors}");
        println!("{errors}");
    }
}

#[test]
fn two_gibibytes_are_refused_at_once() {
    let folder = Folder::new();
    let claims = |name: &str, dims: &[i64], location: &str| {
        let model = changed(outside(&[("location", location)]), |g| {
            g.initializer[0].dims = dims.to_vec();
        });
        save(folder.path(), name, &model);
    };
    sparse(&folder.path().join("sparse.data"), 3 << 30);
    sparse(&folder.path().join("huge.onnx"), 3 << 30);
    folder.write("short.data", &[0; 64]);
    claims("sparse.onnx", &[1 << 15, 1 << 14, 1, 1], "sparse.data");
    claims("short.onnx", &[1 << 14, 1 << 14, 1, 1], "short.data");
    claims("absent.onnx", &[1 << 15, 1 << 15, 1, 1], "absent.data");
    claims("endless.onnx", &[i64::MAX, i64::MAX, 1, 1], "sparse.data");
    claims("negative.onnx", &[-8, 3, 3, 3], "sparse.data");
    let began = Instant::now();
    refused(
        &folder,
        &[
            ("import huge.onnx -o e.onnx", 1, "3 GiB with its weights"),
            ("import sparse.onnx -o e.onnx", 1, "2 GiB with its weights"),
            (
                "import short.onnx -o e.onnx",
                1,
                "short.data, which has fewer bytes",
            ),
            ("import absent.onnx -o e.onnx", 1, "4 GiB with its weights"),
            ("import endless.onnx -o e.onnx", 1, "the weights `w0`"),
            ("import negative.onnx -o e.onnx", 1, "the weights `w0`"),
        ],
    );
    assert!(
        began.elapsed() < Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
}
