//! Files: written so that nobody ever meets half of one, read so that packs can be used in place.

use std::io::Write;
use std::path::Path;

use anyhow::Context;

/// Writes `bytes` to `path`: beside it first, then renamed over it. A full disk or a kill leaves
/// the old file as it was.
pub fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    let attempt = || -> std::io::Result<()> {
        let mut beside = readable().tempfile_in(folder)?;
        beside.write_all(bytes)?;
        beside.as_file().sync_all()?;
        beside.persist(path)?;
        Ok(())
    };
    attempt().with_context(|| format!("could not write {}", path.display()))
}

/// A temporary file is for its owner only by default; a result is as readable as any other file.
fn readable<'a, 'b>() -> tempfile::Builder<'a, 'b> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder
}

/// Reads a whole file, naming it in the error.
pub fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("could not read {}", path.display()))
}

/// Bytes at a multiple of eight, as [`headstart::EncoderPack::new`] wants them.
#[derive(Clone)]
pub struct Aligned(Vec<u64>, usize);

impl Aligned {
    /// Copies `bytes`.
    pub fn new(bytes: &[u8]) -> Self {
        let word = |chunk: &[u8]| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_ne_bytes(word)
        };
        Aligned(bytes.chunks(8).map(word).collect(), bytes.len())
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.0)[..self.1]
    }
}
