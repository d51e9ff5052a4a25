//! `headstart evaluate` and `headstart inspect` as a user meets them.

#[allow(dead_code)] // shared with refusals.rs, which takes more of it
mod folder;
#[allow(dead_code)] // as above
mod tiny;

use folder::Folder;
use headstart_trainer::dataset::Dataset;
use serde_json::Value;

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
    // 5 kinds of features, 3 heads, 2 protocols, 2 numbers of shots.
    assert_eq!(rows.len(), 60);
    for row in rows {
        let number = |key: &str| row[key].as_f64().unwrap_or_else(|| panic!("{key}: {row}"));
        assert!((0.0..=1.0).contains(&number("accuracy")), "{row}");
        assert!((0.0..=1.0).contains(&number("ece")), "{row}");
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
    let heads: Vec<&str> = rows[..15]
        .iter()
        .step_by(5)
        .filter_map(|r| r["head"].as_str())
        .collect();
    assert_eq!(heads, ["auto", "prototype", "softmax"]);
    // The fourth class is the stranger.
    let open = json["open_set"].as_array().expect("rows");
    assert_eq!(open.len(), 60);
    for row in open {
        let number = |key: &str| row[key].as_f64().unwrap_or_else(|| panic!("{key}: {row}"));
        for fraction in ["false_accepts", "accepted", "not_enough", "auroc"] {
            assert!((0.0..=1.0).contains(&number(fraction)), "{fraction}: {row}");
        }
        assert_eq!((number("rate"), number("episodes")), (0.05, 40.0));
        assert_eq!(number("stranger_classes"), 4.0);
    }
    let auto = json["auto_minus_best"].as_array().expect("rows");
    assert_eq!(auto.len(), 20, "each of 5 features in each of 4 cells");
    let best = rows[5..15].iter().step_by(5);
    let best = best.filter_map(|r| r["accuracy"].as_f64());
    let expected = rows[0]["accuracy"].as_f64().expect("accuracy") - best.fold(0.0, f64::max);
    let found = auto[0]["difference"].as_f64().expect("a difference");
    assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    let difference = rows[1]["difference"].as_f64().expect("a difference");
    let both = |i: usize| rows[i]["accuracy"].as_f64().expect("an accuracy");
    assert!((both(1) - both(0) - difference).abs() < 1e-9);
    // All but the times.
    let figures = || {
        let mut json = folder.json(call);
        let times = json["times"].take();
        let times = times.as_array().expect("rows");
        let runtimes: Vec<_> = times.iter().map(|t| t["runtime"].as_str()).collect();
        assert_eq!(runtimes, [Some("tract"), Some("pack")]);
        for time in times {
            assert!(time["us_per_embedding"].as_f64() > Some(0.0));
        }
        json
    };
    assert_eq!(figures(), figures(), "the same seed, the same figures");
    assert_ne!(json, folder.json(&format!("{call} --seed 1")));
}

/// The same recordings as a folder of .csv files: the same answers.
#[test]
fn a_folder_of_csv_files_is_evaluated_as_the_npz_file() {
    let folder = Folder::new();
    let data = Dataset::load(&folder.path().join("data.npz")).expect("a data set");
    std::fs::create_dir(folder.path().join("shards")).expect("folder");
    let half = data.recordings.len() / 2;
    for (i, recordings) in data.recordings.chunks(half.max(1)).enumerate() {
        let mut text = "label,subject,recording".to_owned();
        (0..data.channels).for_each(|c| text += &format!(",a{c}"));
        for r in recordings {
            let class = r.class.map_or(-1, |c| c as i32);
            for row in r.rows.clone() {
                text += &format!("\n{class},{},{}", r.group, r.id);
                let values = data.window(row, 1).iter();
                values.for_each(|v| text += &format!(",{v}"));
            }
        }
        folder.write(&format!("shards/{i}.csv"), text.as_bytes());
    }
    let accuracies = |data: &str| -> Vec<Value> {
        let call = format!("evaluate tiny.onnx {data} --shots 1 --episodes 20 --no-rivals --json");
        let rows = folder.json(&call)["rows"].take();
        let rows = rows.as_array().expect("rows").iter();
        rows.map(|row| row["accuracy"].clone()).collect()
    };
    assert_eq!(accuracies("data.npz"), accuracies("shards"));
    let inspected = folder.json("inspect shards/0.csv --json");
    assert_eq!(inspected["channels"], data.channels);
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
        "tiny.onnx: auto minus the best of the others (",
        "strangers, same-wearer, 2-way, 5-shot: 20 episodes, 4 classes that were not taught",
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
    // 3 kinds of features, 3 heads.
    assert!(json["stream"].as_array().is_some_and(|s| s.len() == 9));
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
        (
            "tiny.pack",
            "arena 208 bytes, input and scratch included; 144 live at once without scratch",
        ),
        ("tiny.pack", "t1 16x8 72 to 200 . # # # . . ."),
        ("tiny.pack", "input 16x2 176 to 208 # # . . . . ."),
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
