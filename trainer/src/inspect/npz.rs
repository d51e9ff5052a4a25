//! A data file: what episodes can be drawn from it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Findings, columns, head, hex, thousands};
use crate::dataset::{Dataset, Recording};

pub(super) fn findings(data: &Dataset) -> Findings {
    Findings {
        text: text(data),
        json: json(data),
    }
}

/// Recordings and rows of something.
#[derive(Clone, Copy, Default)]
struct Count {
    recordings: usize,
    rows: usize,
}

/// Counts by whatever `key` tells apart.
fn count<K: Ord>(data: &Dataset, key: impl Fn(&Recording) -> K) -> BTreeMap<K, Count> {
    let mut counts: BTreeMap<K, Count> = BTreeMap::new();
    for recording in &data.recordings {
        let count = counts.entry(key(recording)).or_default();
        count.recordings += 1;
        count.rows += recording.rows.len();
    }
    counts
}

fn class(data: &Dataset, class: Option<usize>) -> &str {
    let name = class.and_then(|c| data.labels.get(c));
    name.map_or("unlabelled", |n| n)
}

fn text(data: &Dataset) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: String| text += &format!("{key:<12}{value}\n");
    line(
        "data",
        format!(
            "{} rows of {} channels",
            thousands(data.rows()),
            data.channels
        ),
    );
    line("sha256", hex(&data.sha256));
    let seconds = data
        .rate_hz
        .map(|rate| data.rows() as f64 / f64::from(rate));
    line(
        "rate",
        match (data.rate_hz, seconds) {
            (Some(rate), Some(s)) => format!("{rate} Hz, {:.1} minutes in all", s / 60.0),
            _ => "not stored".to_owned(),
        },
    );
    line(
        "values",
        match &data.scale {
            Some(scale) => format!("counts of {scale:?} physical units"),
            None => "floating-point, physical units".to_owned(),
        },
    );
    let lengths = data.recordings.iter().map(|r| r.rows.len());
    line(
        "recordings",
        format!(
            "{}, {} to {} rows each",
            thousands(data.recordings.len()),
            thousands(lengths.clone().min().unwrap_or(0)),
            thousands(lengths.max().unwrap_or(0))
        ),
    );
    let sides = count(data, |r| r.side);
    if sides.keys().any(Option::is_some) {
        let side = |(side, count): (&Option<u8>, &Count)| {
            let name = side.map_or("unknown".to_owned(), |s| s.to_string());
            format!("{name}: {} recordings", count.recordings)
        };
        line(
            "sides",
            sides.iter().map(side).collect::<Vec<_>>().join("; "),
        );
    }
    let row = |name: String, count: Count| {
        vec![name, count.recordings.to_string(), thousands(count.rows)]
    };
    let mut classes = vec![head(&["class", "recordings", "rows"])];
    for (index, count) in count(data, |r| r.class) {
        let number = index.map_or(String::new(), |i| format!("{i} "));
        classes.push(row(format!("{number}{}", class(data, index)), count));
    }
    let mut groups = vec![head(&["group", "recordings", "rows"])];
    for (group, count) in count(data, |r| r.group) {
        groups.push(row(group.to_string(), count));
    }
    for table in [classes, groups] {
        text += "\n";
        text += &columns(&table, &[1, 2]);
    }
    text
}

fn json(data: &Dataset) -> Value {
    let counts = |count: Count| json!({ "recordings": count.recordings, "rows": count.rows });
    let classes = count(data, |r| r.class).into_iter().map(|(index, count)| {
        let mut entry = counts(count);
        entry["class"] = json!(index);
        entry["name"] = json!(class(data, index));
        entry
    });
    let groups = count(data, |r| r.group).into_iter().map(|(group, count)| {
        let mut entry = counts(count);
        entry["group"] = json!(group);
        entry
    });
    let recordings = data.recordings.iter().map(|r| {
        json!({
            "id": r.id,
            "class": r.class,
            "group": r.group,
            "side": r.side,
            "rows": r.rows.len(),
        })
    });
    json!({
        "kind": "npz",
        "sha256": hex(&data.sha256),
        "rows": data.rows(),
        "channels": data.channels,
        "rate": data.rate_hz,
        "scale": data.scale,
        "classes": classes.collect::<Vec<_>>(),
        "groups": groups.collect::<Vec<_>>(),
        "recordings": recordings.collect::<Vec<_>>(),
    })
}
