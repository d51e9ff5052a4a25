//! `headstart evaluate` on embeddings that were computed before.

#[allow(dead_code)] // shared with evaluate.rs, which takes more of it
mod folder;
#[allow(dead_code)] // as above
mod tiny;

use std::collections::BTreeMap;

use folder::{Folder, refused};
use npyz::npz::{NpzArchive, NpzWriter};
use serde_json::Value;

/// Values of an embedding.
const DIM: usize = 8;
/// Voices that say each word once.
const VOICES: usize = 40;

/// Embeddings of `words` from number `first` on: each word a point, each voice a step away from it.
fn embeddings(first: usize, words: usize, labels: bool) -> Vec<u8> {
    let mut state = 1 + first as u32;
    let mut value = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let (mut x, mut y, mut group) = (Vec::new(), Vec::new(), Vec::new());
    let mut names = Vec::new();
    for word in 0..words {
        let centre: Vec<f32> = (0..DIM).map(|_| value()).collect();
        for voice in 0..VOICES {
            x.extend(centre.iter().map(|c| 3.0 + c + 0.7 * value()));
            y.push(word as u32);
            group.push(voice as u32);
        }
        names.extend(format!("word{:04}", first + word).bytes());
    }
    let count = (words * VOICES) as u64;
    let mut npz = NpzWriter::new(std::io::Cursor::new(Vec::new()));
    tiny::add(&mut npz, "x", &[count, 1, DIM as u64], &x);
    if labels {
        tiny::add(&mut npz, "y", &[count], &y);
        tiny::add(&mut npz, "labels", &[words as u64, 8], &names);
    }
    tiny::add(&mut npz, "group", &[count], &group);
    npz.zip_writer().finish().expect("zip").into_inner()
}

/// A folder with target.npz (words 0 to 9), background.npz (100 to 139), other.npz (200 to 205),
/// and one without labels.
fn folder() -> Folder {
    let folder = Folder::new();
    let write = |name: &str, bytes: Vec<u8>| folder.write(name, &bytes);
    write("target.npz", embeddings(0, 10, true));
    write("background.npz", embeddings(100, 40, true));
    write("unlabelled.npz", embeddings(100, 40, false));
    write("other.npz", embeddings(200, 6, true));
    folder
}

fn number(row: &Value, key: &str) -> f64 {
    row[key].as_f64().unwrap_or_else(|| panic!("{key}: {row}"))
}

const CALL: &str = "evaluate target.npz --background background.npz --unknown other.npz --ways 5 \
                    --shots 1,5 --episodes 60 --all-heads --json";

#[test]
fn stored_embeddings_need_no_encoder() {
    let folder = folder();
    let report = folder.json(CALL);
    let rows = report["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 2 * 8, "2 numbers of shots, 8 heads");
    assert_eq!(rows[0]["head"], "auto");
    for row in rows {
        assert_eq!(row["protocol"], "next-group");
        assert_eq!(row["features"], "embeddings");
        assert_eq!(row["dataset"], "target.npz");
        // The words stand further apart than voices differ.
        assert!(number(row, "accuracy") > 0.5, "{row}");
        assert!(number(row, "ci95_groups") > 0.0, "{row}");
        assert!(row["difference"].is_null());
    }
    let open = report["open_set"].as_array().expect("rows");
    assert_eq!(open.len(), 2 * 8);
    for row in open {
        assert_eq!(number(row, "stranger_classes"), 6.0);
        let [low, high] = [0, 1].map(|i| row["false_accepts_ci95"][i].as_f64().expect("ends"));
        let found = number(row, "false_accepts");
        assert!(low <= found && found <= high, "{row}");
        assert!(number(row, "auroc") > 0.6, "{row}");
    }
    // What is asked for is what is reported, and a stricter rate accepts fewer.
    let loose = folder.json(&format!("{CALL} --false-accepts 0.3"));
    let loose = &loose["open_set"][8];
    assert_eq!(
        (number(loose, "rate"), &loose["head"]),
        (0.3, &open[8]["head"])
    );
    assert!(number(loose, "false_accepts") > number(&open[8], "false_accepts"));
}

/// Without a background there is nothing to start from; without labels there is a mean.
#[test]
fn what_the_background_is_good_for_is_said() {
    let folder = folder();
    let call = "evaluate target.npz --ways 5 --shots 1 --episodes 20 --head auto,bayes --json";
    for (background, expected) in [
        ("", "without --background"),
        (
            "--background unlabelled.npz",
            "the background has no labels",
        ),
    ] {
        let json = folder.json(&format!("{call} {background}"));
        assert!(json["notes"].to_string().contains(expected), "{json}");
        let heads: Vec<bool> = json["rows"]
            .as_array()
            .expect("rows")
            .iter()
            .map(|r| r["accuracy"].is_null())
            .collect();
        assert_eq!(heads, [false, true], "bayes needs a background");
    }
    // Ten words of which five are taught leave five.
    let json = folder.json(&format!("{call} --background background.npz"));
    assert_eq!(json["open_set"][0]["stranger_classes"], 10);
    let text = folder.run("evaluate target.npz --background background.npz --ways 5 --episodes 5");
    let text = String::from_utf8(text.stdout).expect("text");
    for expected in [
        "target.npz: 40 groups, 400 embeddings of 8 values; background background.npz; seed 0",
        "next-group, 5-way, 5-shot: 5 episodes, chance 20.0 %",
        "target.npz: auto minus the best of the others (",
        "strangers, next-group, 5-way, 5-shot: 5 episodes",
    ] {
        assert!(text.contains(expected), "{expected} is missing in\n{text}");
    }
}

fn array<T: npyz::Deserialize>(bytes: &[u8], name: &str) -> (Vec<u64>, Vec<T>) {
    let mut npz = NpzArchive::new(std::io::Cursor::new(bytes)).expect("an archive");
    let array = npz.by_name(name).expect("readable");
    let array = array.unwrap_or_else(|| panic!("no array {name}"));
    (array.shape().to_vec(), array.into_vec().expect("values"))
}

#[test]
fn the_export_holds_the_episodes_and_what_the_heads_made_of_them() {
    let folder = folder();
    let call = format!("{CALL} --export episodes.npz --plot heads.svg");
    let json = folder.json(&call);
    let bytes = std::fs::read(folder.path().join("episodes.npz")).expect("file");
    let (shape, x) = array::<i8>(&bytes, "x");
    assert_eq!(shape, [16 * VOICES as u64, DIM as u64], "strangers too");
    let (_, y) = array::<i32>(&bytes, "y");
    let norms = x.chunks_exact(DIM).map(|row| {
        let squares: i32 = row.iter().map(|&v| i32::from(v).pow(2)).sum();
        f64::from(squares).sqrt()
    });
    assert!(norms.into_iter().all(|n| (n - 127.0).abs() < 2.0));
    let means: BTreeMap<String, f64> = json["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|r| {
            let name = format!("{}_{}", r["shots"], r["head"].as_str().expect("a head"));
            (name, number(r, "accuracy"))
        })
        .collect();
    for (name, mean) in &means {
        let (shape, found) = array::<f64>(&bytes, &format!("accuracy_next-group_{name}"));
        assert_eq!(shape, [60]);
        assert!((found.iter().sum::<f64>() / 60.0 - mean).abs() < 1e-9);
    }
    let (shape, support) = array::<i32>(&bytes, "support_next-group_5");
    assert_eq!(shape, [60, 5, 5]);
    let (shape, query) = array::<i32>(&bytes, "query_next-group_5");
    // 16 of 40 voices may be asked, each says a word once, and 15 are.
    assert_eq!(shape, [60, 5, 15]);
    for (support, query) in support.chunks_exact(25).zip(query.chunks_exact(75)) {
        let voice = |&row: &i32| row as usize % VOICES;
        let taught: Vec<usize> = support.iter().map(voice).collect();
        assert!(query.iter().all(|row| !taught.contains(&voice(row))));
        for (support, query) in support.chunks_exact(5).zip(query.chunks_exact(15)) {
            let class = y[support[0] as usize];
            let mut all = support.iter().chain(query);
            assert!((0..10).contains(&class) && all.all(|&row| y[row as usize] == class));
        }
    }
    // A nearest mean on the export is what the prototype head is.
    let nearest = nearest_mean(&x, &support, &query);
    let prototype = means["5_prototype"];
    assert!((nearest - prototype).abs() < 0.02, "{nearest} {prototype}");
    let svg = std::fs::read_to_string(folder.path().join("heads.svg")).expect("file");
    assert!(svg.starts_with("<svg") && svg.contains("next-group, 5-way"));
    for head in [
        "auto",
        "prototype",
        "bayes",
        "ridge",
        "slda",
        "softmax",
        "mlp",
        "knn",
    ] {
        assert!(svg.contains(head), "{head}");
    }
}

/// The accuracy of the nearest of the class means, 5 ways, 5 shots, 15 queries.
fn nearest_mean(x: &[i8], support: &[i32], query: &[i32]) -> f64 {
    let row = |at: i32| &x[at as usize * DIM..][..DIM];
    let (mut right, mut asked) = (0, 0);
    for (support, query) in support.chunks_exact(25).zip(query.chunks_exact(75)) {
        let mean = |rows: &[i32]| -> Vec<f32> {
            let sum = |d| rows.iter().map(|&r| f32::from(row(r)[d])).sum::<f32>();
            (0..DIM).map(|d| sum(d) / rows.len() as f32).collect()
        };
        let means: Vec<Vec<f32>> = support.chunks_exact(5).map(mean).collect();
        for (at, &q) in query.iter().enumerate() {
            let distance = |mean: &Vec<f32>| -> f32 {
                let pairs = mean.iter().zip(row(q));
                pairs.map(|(m, &v)| (m - f32::from(v)).powi(2)).sum()
            };
            let order =
                |a: &usize, b: &usize| distance(&means[*a]).total_cmp(&distance(&means[*b]));
            right += usize::from((0..5).min_by(order) == Some(at / 15));
            asked += 1;
        }
    }
    right as f64 / asked as f64
}

#[test]
fn wrong_calls_are_named() {
    let folder = folder();
    let cases = [
        ("evaluate tiny.onnx", 2, "DATA is required"),
        ("evaluate missing.npz", 1, "could not read missing.npz"),
        ("evaluate .", 1, "is a folder"),
        ("evaluate data.npz", 1, "has recordings, not embeddings"),
        ("evaluate unlabelled.npz", 1, "no labels"),
        (
            "evaluate target.npz --background data.npz",
            1,
            "has recordings",
        ),
        (
            "evaluate target.npz --unknown unlabelled.npz",
            1,
            "no labelled class",
        ),
        (
            "evaluate target.npz --unknown target.npz",
            1,
            "does not teach",
        ),
        (
            "evaluate target.npz --against tiny.onnx",
            2,
            "--against takes encoders",
        ),
        (
            "evaluate target.npz --stream",
            2,
            "--stream runs recordings",
        ),
        (
            "evaluate target.npz --false-accepts 0",
            2,
            "a fraction above 0",
        ),
        ("evaluate target.npz --plot a.png", 2, ".svg files only"),
        (
            "evaluate target.npz --export no/a.npz",
            1,
            "there is no folder no",
        ),
        ("evaluate target.npz --shots 25", 1, "24 support examples"),
        (
            "evaluate target.npz --protocol same-wearer",
            1,
            "there are no episodes",
        ),
    ];
    refused(&folder, &cases);
    // Words 0 to 9 are taught, so that of 5 to 14 five are no strangers.
    folder.write("half.npz", &embeddings(5, 10, true));
    let json = folder.json("evaluate target.npz --unknown half.npz --shots 1 --episodes 5 --json");
    assert!(
        json["notes"]
            .to_string()
            .contains("left out word0005, word0006")
    );
    assert_eq!(json["open_set"][0]["stranger_classes"], 5);
}
