//! `headstart keygen`, and the files that keys are kept in: two lines of text, what it is and 32 bytes in
//! hexadecimal.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use ed25519_dalek::SigningKey;
use serde_json::json;
use zeroize::Zeroizing;

use crate::error::{Failure, Outcome};
use crate::files;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Signs.
    Secret,
    /// Checks signatures.
    Public,
    /// Seals, and opens what was sealed.
    Shared,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Secret => "secret key",
            Kind::Public => "public key",
            Kind::Shared => "shared key",
        }
    }

    /// A key file's first line.
    fn line(self) -> String {
        format!("headstart {} 1", self.name())
    }
}

/// Make a pair of keys, or a shared key
///
/// Writes NAME.secret, which signs and is yours alone (readable by its owner only, not encrypted: keep
/// it where you keep such things), and NAME.public, which devices are given. With --shared it writes
/// NAME.shared instead: one key that seals heads and opens them, for all who may read them; keep it like a
/// secret key. Files that are there already are not touched.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  headstart keygen -o device\n  headstart keygen --shared fleet"
)]
pub struct Args {
    /// The keys' name
    #[arg(short, long, value_name = "NAME", default_value = "headstart")]
    output: PathBuf,
    /// A shared key of that name instead of a pair
    #[arg(long, value_name = "NAME", conflicts_with = "output")]
    shared: Option<PathBuf>,
    /// One JSON object on stdout instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Outcome {
    let mut random = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *random)
        .map_err(|e| anyhow!("the system gives no random numbers: {e}"))?;
    match &args.shared {
        Some(name) => shared(name, &random, args.json),
        None => pair(&args.output, &random, args.json),
    }
}

fn shared(name: &Path, key: &[u8; 32], as_json: bool) -> Outcome {
    let file = named(name, "shared");
    free(&[&file])?;
    write(&file, Kind::Shared, key)?;
    if as_json {
        println!("{}", json!({ "shared_file": file.display().to_string() }));
    } else {
        println!("{:<12} {}", "shared key", file.display());
    }
    Ok(())
}

fn pair(name: &Path, seed: &[u8; 32], as_json: bool) -> Outcome {
    let key = SigningKey::from_bytes(seed);
    let public = key.verifying_key();
    let [secret_file, public_file] = ["secret", "public"].map(|kind| named(name, kind));
    free(&[&secret_file, &public_file])?;
    write(&secret_file, Kind::Secret, seed)?;
    write(&public_file, Kind::Public, public.as_bytes())?;
    if as_json {
        let [secret_file, public_file] =
            [secret_file, public_file].map(|f| f.display().to_string());
        let public = hex(public.as_bytes());
        println!(
            "{}",
            json!({ "public": public, "public_file": public_file, "secret_file": secret_file })
        );
    } else {
        println!("{:<12} {}", "secret key", secret_file.display());
        println!("{:<12} {}", "public key", public_file.display());
        println!(
            "{:<12} const KEY: [u8; 32] = {:?};",
            "for devices",
            public.as_bytes()
        );
    }
    Ok(())
}

/// Refuses files that are there: all of them before any is written.
fn free(files: &[&Path]) -> anyhow::Result<()> {
    match files.iter().find(|file| file.exists()) {
        Some(there) => Err(anyhow!(
            "{} is there already: choose another name",
            there.display()
        )),
        None => Ok(()),
    }
}

/// A new key file; never one that is there already. All but public ones are for their owner's eyes only.
fn write(path: &Path, kind: Kind, key: &[u8; 32]) -> anyhow::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        let mode = if kind == Kind::Public { 0o644 } else { 0o600 };
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    }
    let digits = Zeroizing::new(hex(key));
    let text = Zeroizing::new(format!("{}\n{}\n", kind.line(), *digits));
    let attempt = || -> std::io::Result<()> {
        let mut file = options.open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    attempt().with_context(|| format!("could not write {}", path.display()))
}

/// The 32 bytes of a key file.
///
/// # Errors
/// Another kind of key is wrong usage; what is no key file fails.
pub fn read(path: &Path, kind: Kind) -> Result<Zeroizing<[u8; 32]>, Failure> {
    let bytes = Zeroizing::new(files::read(path)?);
    let (name, wanted) = (path.display(), kind.name());
    match parse(&bytes) {
        None => Err(anyhow!("{name} is no {wanted}: headstart keygen makes them").into()),
        Some((found, _)) if found != kind => {
            let found = found.name();
            let text = format!("{name} is a {found}, and a {wanted} is needed there");
            Err(Failure::Usage(text))
        }
        Some((_, key)) => {
            key.ok_or_else(|| anyhow!("{name} is damaged: its second line is no {wanted}").into())
        }
    }
}

/// What a key file's bytes say: which kind it is, and the key, where the second line is one.
pub fn parse(bytes: &[u8]) -> Option<(Kind, Option<Zeroizing<[u8; 32]>>)> {
    let mut lines = std::str::from_utf8(bytes).unwrap_or_default().lines();
    let first = lines.next().unwrap_or_default();
    let known = [Kind::Secret, Kind::Public, Kind::Shared];
    let found = known.into_iter().find(|own| own.line() == first)?;
    Some((found, lines.next().and_then(unhex).map(Zeroizing::new)))
}

/// A path with another extension behind its own.
pub fn named(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

/// Lowercase hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let (pairs, rest) = text.trim().as_bytes().as_chunks::<2>();
    if pairs.len() != 32 || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |c: &u8| char::from(*c).to_digit(16);
        *byte = (digit(high)? * 16 + digit(low)?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a key");
        let key = std::array::from_fn(|i| 7 * i as u8);
        write(&path, Kind::Shared, &key).expect("written");
        assert_eq!(*read(&path, Kind::Shared).expect("a key"), key);
        assert!(write(&path, Kind::Shared, &[1; 32]).is_err(), "overwritten");
        assert_eq!(*read(&path, Kind::Shared).expect("a key"), key);
        for wrong in [
            "",
            "ab",
            &"zz".repeat(32),
            &"+a".repeat(32),
            &"ab".repeat(33),
        ] {
            assert_eq!(unhex(wrong), None, "{wrong}");
        }
    }
}
