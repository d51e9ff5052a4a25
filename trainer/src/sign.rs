//! `headstart sign` and `verify`: files that only the holder of a key can have made.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use ed25519_dalek::{Signer, SigningKey};
use headstart::signed::{Content, PublicKey, TRAILER};
use serde_json::json;

use crate::error::{Failure, Outcome};
use crate::files;
use crate::keys::{self, Kind, named};

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

/// Runs `sign`.
pub fn sign(args: SignArgs) -> Outcome {
    let bytes = files::read(&args.file)?;
    if split(&bytes).1 {
        let file = args.file.display();
        return Err(anyhow!("{file} is signed already: sign the file that it was made of").into());
    }
    let content =
        content(&bytes).with_context(|| format!("could not sign {}", args.file.display()))?;
    let key = SigningKey::from_bytes(&*keys::read(&args.key, Kind::Secret)?);
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
    let key = public_key(&args.key)?;
    let (plain, _) = split(&bytes);
    let content =
        content(plain).with_context(|| format!("could not verify {}", args.file.display()))?;
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

/// A file without its signature, and whether it had one. Nothing is checked.
pub fn split(bytes: &[u8]) -> (&[u8], bool) {
    let end = bytes.len().saturating_sub(TRAILER);
    match bytes[end..].starts_with(&headstart::signed::MAGIC) && bytes.len() >= TRAILER {
        true => (&bytes[..end], true),
        false => (bytes, false),
    }
}

/// Reads a public key.
pub fn public_key(path: &Path) -> Result<PublicKey, Failure> {
    let key = PublicKey::new(&*keys::read(path, Kind::Public)?);
    let key = key.with_context(|| format!("could not use {}", path.display()))?;
    Ok(key)
}

/// A file with its trailer, which says what it is and how new.
///
/// # Errors
/// A key that devices would refuse.
pub fn signed(
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
    if bytes.starts_with(&headstart::sealed::MAGIC) {
        bail!(
            "it is sealed, and what is signed is the head in it: open it with headstart head import --unseal"
        );
    }
    bail!("it is neither a pack nor a head")
}

#[cfg(test)]
mod tests {
    use super::*;
    use headstart::signed::SignedError;
    use rayon::prelude::*;

    fn pair() -> (SigningKey, PublicKey) {
        let key = SigningKey::from_bytes(&[7; 32]);
        let public = PublicKey::new(key.verifying_key().as_bytes()).expect("a good key");
        (key, public)
    }

    /// A pack of 64 KiB, filled up with itself.
    fn pack() -> Vec<u8> {
        let pack = include_bytes!("../../models/watch.pack");
        pack.iter().copied().cycle().take(1 << 16).collect()
    }

    #[test]
    fn one_bit_anywhere_is_refused() {
        let (key, public) = pair();
        let whole = signed(pack(), Content::Pack, &key, 3).expect("signed");
        let taken = |file: &[u8]| public.check(Content::Pack, file, 3).map(|s| s.bytes.len());
        assert_eq!(taken(&whole), Ok(1 << 16));
        let flipped = |altered: &mut Vec<u8>, at: usize| {
            altered[at] ^= 1 << (at % 8);
            let refused = taken(altered).is_err();
            altered[at] ^= 1 << (at % 8);
            (!refused).then_some(at)
        };
        let places = (0..whole.len()).into_par_iter();
        let missed: Vec<usize> = places
            .map_init(|| whole.clone(), flipped)
            .flatten()
            .collect();
        assert!(missed.is_empty(), "taken with a flipped bit in {missed:?}");
    }

    #[test]
    fn a_file_cut_short_is_refused() {
        let (key, public) = pair();
        let whole = signed(pack()[..2000].to_vec(), Content::Pack, &key, 3).expect("signed");
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
}
