//! `headstart keygen`, `sign` and `verify`: files that only the holder of a key can have made.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use ed25519_dalek::{Signer, SigningKey};
use headstart::signed::{Content, PublicKey, TRAILER};
use serde_json::json;

use crate::error::{Failure, Outcome};
use crate::files;

const SECRET: &str = "headstart secret key 1";
const PUBLIC: &str = "headstart public key 1";

/// Make a pair of keys
///
/// Writes NAME.secret, which signs and is yours alone (readable by its owner only, not encrypted: keep
/// it where you keep such things), and NAME.public, which devices are given. Files that are there
/// already are not touched.
#[derive(clap::Args)]
#[command(after_help = "Example: headstart keygen -o device")]
pub struct KeygenArgs {
    /// The keys' name
    #[arg(short, long, value_name = "NAME", default_value = "headstart")]
    output: PathBuf,
    /// One JSON object on stdout instead of text
    #[arg(long)]
    json: bool,
}

/// Sign a pack or a head
///
/// Appends 96 bytes: what kind of file it is, a counter, the key's name and an Ed25519 signature over
/// all of it. A device that was given the public key refuses what is unsigned, altered, or of a lower
/// counter than what it has: count up with every release.
#[derive(clap::Args)]
#[command(
    after_help = "Example: headstart sign watch.pack --key device.secret --counter 3 -o watch.signed"
)]
pub struct SignArgs {
    /// The pack, or the head (a snapshot of statistics)
    file: PathBuf,
    /// The secret key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The how-manieth release this is
    #[arg(long)]
    counter: u32,
    /// Where the signed file goes [default: FILE with .signed]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// One JSON object on stdout instead of text
    #[arg(long)]
    json: bool,
}

/// Check a signed file as a device does
#[derive(clap::Args)]
#[command(
    after_help = "Example: headstart verify watch.signed --key device.public --least 3 -o watch.pack"
)]
pub struct VerifyArgs {
    /// The signed file
    file: PathBuf,
    /// The public key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The least counter that is taken
    #[arg(long, default_value_t = 0)]
    least: u32,
    /// Writes the file as it was before it was signed
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// One JSON object on stdout instead of text
    #[arg(long)]
    json: bool,
}

/// Runs `keygen`.
pub fn keygen(args: KeygenArgs) -> Outcome {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| anyhow!("the system gives no random numbers: {e}"))?;
    let key = SigningKey::from_bytes(&seed);
    let public = hex(key.verifying_key().as_bytes());
    let [secret_file, public_file] = ["secret", "public"].map(|kind| named(&args.output, kind));
    if let Some(there) = [&secret_file, &public_file]
        .into_iter()
        .find(|f| f.exists())
    {
        return Err(anyhow!("{} is there already: choose another name", there.display()).into());
    }
    create(&secret_file, &format!("{SECRET}\n{}\n", hex(&seed)), 0o600)?;
    create(&public_file, &format!("{PUBLIC}\n{public}\n"), 0o644)?;
    if args.json {
        let (secret, public_at) = (secret_file.display(), public_file.display());
        println!(
            "{}",
            json!({ "public": public, "public_file": public_at.to_string(), "secret_file": secret.to_string() })
        );
    } else {
        println!("{:<12} {}", "secret key", secret_file.display());
        println!("{:<12} {}", "public key", public_file.display());
        println!(
            "{:<12} const KEY: [u8; 32] = {:?};",
            "for devices",
            key.verifying_key().as_bytes()
        );
    }
    Ok(())
}

/// Runs `sign`.
pub fn sign(args: SignArgs) -> Outcome {
    let bytes = files::read(&args.file)?;
    let trailer = bytes.len().saturating_sub(TRAILER);
    if bytes[trailer..].starts_with(&headstart::signed::MAGIC) {
        let file = args.file.display();
        return Err(anyhow!("{file} is signed already: sign the file that it was made of").into());
    }
    let content =
        content(&bytes).with_context(|| format!("could not sign {}", args.file.display()))?;
    let key = SigningKey::from_bytes(&key(&args.key, SECRET)?);
    let signed = signed(bytes, content, &key, args.counter)?;
    let output = args.output.unwrap_or_else(|| named(&args.file, "signed"));
    files::write(&output, &signed)?;
    if args.json {
        let output = output.display().to_string();
        println!(
            "{}",
            json!({ "counter": args.counter, "bytes": signed.len(), "output": output })
        );
    } else {
        println!(
            "{}: {} bytes, counter {}",
            output.display(),
            signed.len(),
            args.counter
        );
    }
    Ok(())
}

/// Runs `verify`.
pub fn verify(args: VerifyArgs) -> Outcome {
    let bytes = files::read(&args.file)?;
    let key = PublicKey::new(&key(&args.key, PUBLIC)?).map_err(anyhow::Error::from)?;
    let end = bytes.len().saturating_sub(TRAILER);
    let content = content(&bytes[..end])
        .with_context(|| format!("could not verify {}", args.file.display()))?;
    let checked = key.check(content, &bytes, args.least);
    let checked = checked.with_context(|| format!("refused {}", args.file.display()))?;
    if let Some(output) = &args.output {
        files::write(output, checked.bytes)?;
    }
    if args.json {
        println!(
            "{}",
            json!({ "counter": checked.counter, "bytes": checked.bytes.len() })
        );
    } else {
        println!(
            "signed with this key, and not altered; counter {}",
            checked.counter
        );
    }
    Ok(())
}

/// A file with its trailer.
fn signed(
    mut bytes: Vec<u8>,
    content: Content,
    key: &SigningKey,
    counter: u32,
) -> anyhow::Result<Vec<u8>> {
    let public = PublicKey::new(key.verifying_key().as_bytes())?;
    bytes.extend(public.trailer(content, counter));
    let signature = key.sign(&bytes);
    bytes.extend(signature.to_bytes());
    Ok(bytes)
}

/// What a file is, by its first bytes.
fn content(bytes: &[u8]) -> anyhow::Result<Content> {
    if bytes.starts_with(&headstart::pack::MAGIC) {
        return Ok(Content::Pack);
    }
    if bytes.starts_with(&headstart::statistics::MAGIC) {
        return Ok(Content::Head);
    }
    bail!("it is neither a pack nor a head")
}

/// The 32 bytes of a key file.
fn key(path: &Path, kind: &str) -> Result<[u8; 32], Failure> {
    let text = files::read(path)?;
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    if first != kind && [SECRET, PUBLIC].contains(&first) {
        let other = first.trim_end_matches(" 1");
        return Err(Failure::Usage(format!(
            "{} is a {other}: give the other one",
            path.display()
        )));
    }
    let bytes = lines.next().and_then(unhex);
    let key = bytes.filter(|_| first == kind);
    key.ok_or_else(|| anyhow!("{} is no {}", path.display(), kind.trim_end_matches(" 1")).into())
}

fn named(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

/// A new file with these permissions; never one that is there already.
fn create(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let attempt = || -> std::io::Result<()> {
        let mut file = options.open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    attempt().with_context(|| format!("could not write {}", path.display()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = text.trim().as_bytes();
    let (pairs, rest) = digits.as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    bytes.filter(|_| rest.is_empty())?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use headstart::signed::SignedError;

    fn pair() -> (SigningKey, PublicKey) {
        let key = SigningKey::from_bytes(&[7; 32]);
        let public = PublicKey::new(key.verifying_key().as_bytes()).expect("a good key");
        (key, public)
    }

    #[test]
    fn one_bit_anywhere_is_refused() {
        let (key, public) = pair();
        let pack = include_bytes!("../../models/watch.pack");
        // Every byte of a file that is small, and of the real one every byte of both ends.
        let short = &pack[..2000];
        let whole = signed(short.to_vec(), Content::Pack, &key, 3).expect("signed");
        assert_eq!(
            public.check(Content::Pack, &whole, 3).map(|s| s.bytes),
            Ok(short)
        );
        for at in 0..whole.len() {
            let mut altered = whole.clone();
            altered[at] ^= 1 << (at % 8);
            assert!(
                public.check(Content::Pack, &altered, 3).is_err(),
                "byte {at}"
            );
        }
        for length in 0..whole.len() {
            assert!(
                public.check(Content::Pack, &whole[..length], 3).is_err(),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn each_refusal_says_why() {
        let (key, public) = pair();
        let whole = signed(b"a file".to_vec(), Content::Pack, &key, 3).expect("signed");
        let why = |public: &PublicKey, content, bytes: &[u8], least| {
            public.check(content, bytes, least).expect_err("refused")
        };
        assert_eq!(
            why(&public, Content::Pack, b"a file", 0),
            SignedError::Unsigned
        );
        assert_eq!(
            why(&public, Content::Head, &whole, 0),
            SignedError::OtherContent
        );
        let older = SignedError::Older { found: 3, least: 4 };
        assert_eq!(why(&public, Content::Pack, &whole, 4), older);
        let mut altered = whole.clone();
        altered[0] ^= 1;
        assert_eq!(
            why(&public, Content::Pack, &altered, 0),
            SignedError::Altered
        );
        let other = SigningKey::from_bytes(&[8; 32]);
        let other = PublicKey::new(other.verifying_key().as_bytes()).expect("a good key");
        assert_eq!(why(&other, Content::Pack, &whole, 0), SignedError::OtherKey);
        // The neutral point, with which anything could be signed.
        let mut weak = [0; 32];
        weak[0] = 1;
        assert_eq!(PublicKey::new(&weak), Err(SignedError::BadKey));
    }

    #[test]
    fn keys_are_read_as_they_were_written() {
        assert_eq!(unhex(&hex(&[171; 32])), Some([171; 32]));
        for wrong in ["", "ab", &"zz".repeat(32), &"ab".repeat(33)] {
            assert_eq!(unhex(wrong), None, "{wrong}");
        }
    }
}
