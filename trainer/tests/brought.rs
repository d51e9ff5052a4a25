//! Somebody else's network on its whole way: imported, given a background, packed, evaluated.

#[allow(dead_code)] // shared with other tests, which take more of it
mod folder;
#[allow(dead_code)]
mod pictures;
#[allow(dead_code)]
mod tiny;

use folder::{Folder, refused};
use npyz::WriterBuilder;
use npyz::npz::NpzWriter;
use pictures::{CHANNELS, network};
use prost::Message;
use tiny::node;

/// A folder with a network of pictures and two classes of them: red ones and blue ones.
fn pictures_of_two_colours() -> Folder {
    let folder = Folder::new();
    let nodes = vec![node("Relu", &["x"], "y", vec![])];
    let network = network(nodes, vec![], CHANNELS).proto.encode_to_vec();
    folder.write("network.onnx", &network);
    for (name, colour) in [("red", [200u8, 30, 30]), ("blue", [30, 30, 200])] {
        let class = folder.path().join("pictures").join(name);
        std::fs::create_dir_all(&class).expect("folder");
        for i in 0..30u8 {
            let pixel = |at: usize| colour[at % 3].saturating_add((at as u8 ^ i) % 40);
            let pixels: Vec<u8> = (0..20 * 16 * 3).map(pixel).collect();
            let path = class.join(format!("{i}.png"));
            image::save_buffer(path, &pixels, 20, 16, image::ColorType::Rgb8).expect("an image");
        }
    }
    folder
}

#[test]
fn an_imported_network_is_packed_and_evaluated_on_pictures() {
    let folder = pictures_of_two_colours();
    let imported = folder.json(
        "import network.onnx -o encoder.onnx --preset unit --embedding flat --check pictures --json",
    );
    assert_eq!(imported["embedding"]["values"], 8);
    assert!(
        imported["pack"].is_null(),
        "a device can run it: {imported}"
    );
    assert!(
        imported["differences"]["tract"]
            .as_f64()
            .is_some_and(|d| d < 1e-4)
    );

    let unlabelled = folder.json("background encoder.onnx pictures --unlabelled -o u.onnx --json");
    assert!(unlabelled["classes"].is_null() && unlabelled["items"] == 120);
    let before = std::fs::read(folder.path().join("encoder.onnx")).expect("encoder");
    let background = folder.json("background encoder.onnx pictures --json");
    assert_eq!(
        (&background["classes"], &background["items"]),
        (&2.into(), &60.into())
    );
    let after = std::fs::read(folder.path().join("encoder.onnx")).expect("encoder");
    assert_ne!(before, after, "it is kept in the encoder's own file");
    let inspected = folder.json("inspect encoder.onnx --json");
    assert_eq!(inspected["frontend"]["kind"], "image");
    assert!(
        inspected["background_rank"]
            .as_u64()
            .is_some_and(|r| r >= 1)
    );

    folder.json("pack encoder.onnx pictures --json");
    let packed = folder.json("inspect encoder.pack --json");
    assert_eq!(packed["space_id"], inspected["space_id"]);
    let found = folder.json(
        "evaluate encoder.onnx pictures --against encoder.pack --ways 2 --shots 1,3 --episodes 20 --head prototype --json",
    );
    let rows = found["rows"].as_array().expect("rows");
    let features: Vec<_> = rows.iter().map(|r| r["features"].as_str()).collect();
    let expected = ["encoder", "encoder", "random", "raw"].map(Some);
    assert_eq!(features, [expected, expected].concat());
    for row in rows {
        assert_eq!(row["protocol"], "next-group");
        // Random weights may tell red from blue, or not.
        let least = if row["features"] == "random" {
            0.0
        } else {
            0.9
        };
        assert!(row["accuracy"].as_f64().is_some_and(|a| a > least), "{row}");
    }
}

/// The same pictures in one file, whose groups are the wearers of next-group.
#[test]
fn pictures_in_an_npz_file_are_evaluated_too() {
    let folder = pictures_of_two_colours();
    folder.json("import network.onnx -o encoder.onnx --preset unit --embedding flat --json");
    let (mut x, mut y, mut group) = (Vec::new(), Vec::new(), Vec::new());
    for (class, name) in [(1u8, "red"), (0, "blue")] {
        for i in 0..30u8 {
            let path = folder.path().join(format!("pictures/{name}/{i}.png"));
            x.extend(image::open(path).expect("a picture").into_rgb8().into_raw());
            y.push(class);
            group.push(i % 5);
        }
    }
    let mut npz = NpzWriter::create(folder.path().join("pictures.npz")).expect("file");
    for (name, shape, values) in [
        ("x", &[60, 16, 20, 3][..], &x),
        ("y", &[60], &y),
        ("group", &[60], &group),
        ("labels", &[2, 4], &b"bluered\0".to_vec()),
    ] {
        let array = npz.array(name, Default::default()).expect("entry");
        let array = array.default_dtype().shape(shape).begin_nd();
        let mut array = array.expect("header");
        array.extend(values.iter().copied()).expect("values");
        array.finish().expect("shape");
    }
    drop(npz);
    folder.json("background encoder.onnx pictures.npz --json");
    let call = "evaluate encoder.onnx pictures.npz --ways 2 --shots 1 --episodes 50 --json";
    let report = folder.json(call);
    let rows = report["rows"].as_array().expect("rows");
    assert!(
        rows.iter().all(|row| row["protocol"] == "next-group"),
        "{report}"
    );
    assert!(
        rows.iter().any(|row| row["accuracy"].as_f64() > Some(0.9)),
        "{report}"
    );
    assert!(
        report["headline"]
            .as_str()
            .is_none_or(|h| h.contains("5 groups")),
        "{report}"
    );

    let fewer = folder.json("embed encoder.onnx pictures.npz -o e.npz --limit 40 --json");
    assert_eq!((&fewer["items"], &fewer["groups"]), (&40.into(), &5.into()));
    refused(
        &folder,
        &[
            (
                "evaluate encoder.onnx data.npz",
                1,
                "array x has elements of type",
            ),
            (
                "evaluate tiny.onnx pictures.npz",
                1,
                "takes 2 channels, pictures.npz has 3",
            ),
        ],
    );
}

#[test]
fn what_does_not_fit_is_named() {
    let folder = pictures_of_two_colours();
    folder.json("import network.onnx -o plain.onnx --embedding flat --json");
    folder.json("import network.onnx -o encoder.onnx --preset unit --embedding flat --json");
    std::fs::create_dir(folder.path().join("empty")).expect("folder");
    refused(
        &folder,
        &[
            ("background network.onnx pictures", 1, "headstart import"),
            (
                "background encoder.onnx nowhere",
                1,
                "could not read the data nowhere",
            ),
            ("background encoder.onnx empty", 1, "no class folders"),
            (
                "background encoder.onnx pictures --snr 3",
                2,
                "pictures get no noise",
            ),
            (
                "background encoder.onnx pictures --limit 4",
                1,
                "8 things at least",
            ),
            (
                "evaluate plain.onnx pictures",
                1,
                "import it with a --preset",
            ),
            (
                "evaluate encoder.onnx pictures --snr 3",
                2,
                "pictures get no noise",
            ),
            ("evaluate tiny.onnx pictures", 1, "pictures: is a folder"),
            (
                "embed plain.onnx pictures -o e.npz",
                1,
                "import it with a --preset",
            ),
            (
                "import encoder.onnx -o again.onnx",
                1,
                "encoder of headstart already",
            ),
            (
                "import network.onnx -o e.onnx --mean 3",
                2,
                "--preset for pictures or sound",
            ),
            (
                "import network.onnx -o e.onnx --preset speech-embedding",
                1,
                "the network takes",
            ),
        ],
    );
}
