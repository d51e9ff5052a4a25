//! What the contract tests share.

use std::path::{Path, PathBuf};

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A file's bytes at a multiple of eight, as packs want them.
pub fn aligned(path: &str) -> headstart_trainer::files::Aligned {
    let bytes = std::fs::read(repository(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    headstart_trainer::files::Aligned::new(&bytes)
}
