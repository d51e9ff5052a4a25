//! Data of classes that nobody teaches, behind the data of those that are.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::ensure;

use super::select::list;
use crate::dataset::{Dataset, Recording};

/// `data` with the labelled recordings of `unknown` behind it, and the numbers of their classes.
/// A class whose name `data` teaches is no stranger and is left out, with a note.
///
/// # Errors
/// Where `unknown` has no class that is not in `data`, or its counts have another scale.
pub fn join(
    data: &Dataset,
    unknown: &Dataset,
    path: &Path,
    notes: &mut Vec<String>,
) -> anyhow::Result<(Dataset, BTreeSet<usize>)> {
    ensure!(
        data.scale == unknown.scale,
        "{} has another scale (physical units per count) than the data",
        path.display()
    );
    let taught: BTreeSet<usize> = data.recordings.iter().filter_map(|r| r.class).collect();
    let taught: BTreeSet<&String> = taught.iter().filter_map(|&c| data.labels.get(c)).collect();
    let twice: Vec<&String> = unknown
        .labels
        .iter()
        .filter(|l| taught.contains(l))
        .collect();
    if !twice.is_empty() {
        notes.push(format!(
            "{}: left out {}, which the data teaches",
            path.display(),
            list(&twice)
        ));
    }
    let name = |class: usize| unknown.labels.get(class);
    let unknown = unknown.filter(|r| {
        r.class
            .and_then(name)
            .is_some_and(|name| !twice.contains(&name))
    });
    ensure!(
        !unknown.recordings.is_empty(),
        "{} has no labelled class that the data does not teach",
        path.display()
    );
    let (rows, classes) = (data.rows(), data.labels.len());
    let mut joined = data.clone();
    joined.x.extend(&unknown.x);
    joined.labels.extend(unknown.labels.iter().cloned());
    let moved = unknown.recordings.iter().map(|r| Recording {
        rows: r.rows.start + rows..r.rows.end + rows,
        class: r.class.map(|c| c + classes),
        ..r.clone()
    });
    joined.recordings.extend(moved);
    let strangers = unknown.recordings.iter().filter_map(|r| r.class);
    let strangers = strangers.map(|c| c + classes).collect();
    Ok((joined, strangers))
}
