//! `headstart head import`: a head that came from elsewhere, to what a device restores.

use std::path::PathBuf;

use anyhow::Context;
use headstart::sealed::{Content, SharedKey};
use serde_json::json;

use super::{Head, not_over};
use crate::error::{Failure, Outcome};
use crate::keys::{self, Kind};
use crate::{files, sign};

/// Open a head that came from elsewhere, check it, and write what a device restores
///
/// Opens what was sealed, checks the signature and whose encoder it is, and writes the plain head:
/// the bytes that Learner::restore and Statistics::restore take. Nothing is written before all of it held.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  headstart head import my.sealed -o my.head --unseal fleet.shared --encoder watch.pack\n  headstart head import my.sealed -o my.head --unseal fleet.shared --key maker.public --least 3"
)]
pub struct Args {
    /// The head: plain, signed, sealed, or signed and then sealed
    file: PathBuf,
    /// Where the plain head goes
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The shared key that it was sealed with
    #[arg(long, value_name = "KEY")]
    unseal: Option<PathBuf>,
    /// The public key of whoever must have signed it
    #[arg(long, value_name = "KEY")]
    key: Option<PathBuf>,
    /// The least counter that is taken of a signed one
    #[arg(long, default_value_t = 0, requires = "key")]
    least: u32,
    /// Refuse what was learnt with another encoder file than this .pack or .onnx
    #[arg(long, value_name = "FILE")]
    encoder: Option<PathBuf>,
    /// One JSON object on stdout instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Outcome {
    let name = args.file.display();
    let missing =
        |is: &str, give: &str| Err(Failure::Usage(format!("{name} is {is}: give {give}")));
    not_over(&args.file, &args.output)?;
    let mut bytes = files::read(&args.file)?;
    let sealed = bytes.starts_with(&headstart::sealed::MAGIC);
    let opened = match &args.unseal {
        None if sealed => return missing("sealed", "its shared key with --unseal"),
        None => bytes.as_slice(),
        Some(path) => {
            let key = SharedKey::new(&*keys::read(path, Kind::Shared)?);
            let opened = key.open(Content::Head, &mut bytes);
            opened.with_context(|| format!("refused {name}"))?
        }
    };
    let (unsigned, signed) = sign::split(opened);
    let (plain, counter) = match &args.key {
        None if signed => return missing("signed", "the signer's public key with --key"),
        None => (unsigned, None),
        Some(path) => {
            let key = sign::public_key(path)?;
            let checked = key.check(Content::Head, opened, args.least);
            let checked = checked.with_context(|| format!("refused {name}"))?;
            (checked.bytes, Some(checked.counter))
        }
    };
    let head = Head::parse(plain).with_context(|| format!("could not read {name}"))?;
    if let Some(encoder) = &args.encoder {
        head.check_encoder(&args.file, encoder)?;
    }
    files::write(&args.output, plain)?;
    let (output, bytes) = (args.output.display(), plain.len());
    if args.json {
        let mut object = head.json();
        object.insert("output".into(), json!(output.to_string()));
        object.insert("bytes".into(), json!(bytes));
        object.insert("sealed".into(), json!(sealed));
        object.insert("counter".into(), json!(counter));
        println!("{}", serde_json::Value::Object(object));
        return Ok(());
    }
    print!("{head}");
    if let Some(counter) = counter {
        println!("{:<10} with this key, counter {counter}", "signed");
    }
    println!("{:<10} {output}, {bytes} bytes", "written");
    Ok(())
}
