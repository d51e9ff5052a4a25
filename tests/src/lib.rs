//! What the contract tests share.

pub mod bad_flash;
pub mod choices;
pub mod fuzzing;
pub mod hostile;
pub mod networks;
pub mod sealed;
pub mod signed;
pub mod small_pack;

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

/// A third-party encoder: in $HEADSTART_MODELS, else where models/get puts it, else beside the
/// repository. `None`, and said so, where it is not there.
pub fn third_party(name: &str) -> Option<PathBuf> {
    let folders = match std::env::var_os("HEADSTART_MODELS") {
        Some(folder) => vec![PathBuf::from(folder)],
        None => ["models/third-party", "../shared/models"]
            .map(repository)
            .to_vec(),
    };
    let found = folders
        .iter()
        .find_map(|f| f.join(name).canonicalize().ok());
    if found.is_none() {
        println!("skipped: there is no {name}; models/get fetches it");
    }
    found
}
