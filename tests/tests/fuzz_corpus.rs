//! Contract: no outside byte panics. What the fuzzers in `fuzz/` found worth keeping, run once more
//! by the code that they ran.

use std::path::PathBuf;

use headstart_tests::{fuzzing, repository, sealed, signed};

/// Every file of a target's corpus.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = repository("fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{folder:?}: {e}"));
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    files.sort();
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).expect("a file");
        (path, bytes)
    };
    files.into_iter().map(read).collect()
}

/// Replays a corpus; how many of its files are packs that ran.
fn replay(target: &str, run: fn(&[u8]) -> bool) -> (usize, usize) {
    let files = corpus(target);
    let mut ran = 0;
    for (path, bytes) in &files {
        // The name is what a panic below does not say.
        println!("{}", path.display());
        ran += usize::from(run(bytes));
    }
    (files.len(), ran)
}

#[test]
fn whole_files() {
    let (files, ran) = replay("pack", fuzzing::file);
    assert!(files > 50 && ran > 10, "{ran} of {files}");
}

#[test]
fn tables_of_small_packs() {
    let (files, ran) = replay("pack_tables", fuzzing::tables);
    assert!(files > 100 && ran > 50, "{ran} of {files}");
}

#[test]
fn flash_as_a_log() {
    let (files, ran) = replay("log", fuzzing::log);
    assert!(files > 20 && ran > 10, "{ran} of {files}");
}

#[test]
fn requests_on_a_wire() {
    let (files, ran) = replay("wire", fuzzing::wire);
    assert!(files > 10 && ran > 8, "{ran} of {files}");
}

#[test]
fn snapshots_of_statistics() {
    let (files, ran) = replay("snapshot", fuzzing::snapshot);
    assert!(files > 5 && ran > 2, "{ran} of {files}");
}

#[test]
fn signed_files() {
    let (files, reached) = replay("signed", signed::bytes);
    assert!(files > 5 && reached > 1, "{reached} of {files}");
    let (files, taken) = replay("signed_fields", signed::fields);
    assert!(files > 20 && taken > 2, "{taken} of {files}");
}

#[test]
fn sealed_files() {
    let (files, opened) = replay("sealed", sealed::file);
    assert!(files > 10 && opened > 2, "{opened} of {files}");
}
