//! `headstart head export`: a head file out of a device's log; any head file, sealed.

use std::fs::TryLockError;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, ensure};
use headstart::Label;
use headstart::sealed::{Content, HEADER, NONCE, SharedKey, TAG};
use npyz::npz::NpzWriter;
use serde_json::json;

use super::log::{self, Log};
use super::{Head, not_over};
use crate::error::{Failure, Outcome};
use crate::keys::{self, Kind};
use crate::{embed, files, sign};

/// Make a head file of a device's log; seal a head
///
/// A log is a dump of the flash that a device keeps it in, or the file of a device with Linux. It is opened
/// in memory, as the device does at boot, and is not changed. With --seal the head is encrypted: who has
/// the shared key can read it, and no one else. Where it matters who made it, sign it first, then seal
/// the signed file.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  headstart head export log.bin -o my.head\n  headstart head export log.bin -o my.sealed --seal fleet.shared\n  headstart head export my.signed -o my.sealed --seal fleet.shared"
)]
pub struct Args {
    /// The log, or a head, signed or not
    file: PathBuf,
    /// Where the head goes
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Without second moments: smaller, for devices of the means tier
    #[arg(long)]
    means: bool,
    /// Write the log's samples too, never sealed: .npz with x, y, labels, id, and group, each sample
    /// its own
    #[arg(long, value_name = "FILE")]
    samples: Option<PathBuf>,
    /// Refuse what was learnt with another encoder file than this .pack or .onnx
    #[arg(long, value_name = "FILE")]
    encoder: Option<PathBuf>,
    /// Encrypt it with this shared key (`headstart keygen --shared`)
    #[arg(long, value_name = "KEY")]
    seal: Option<PathBuf>,
    /// What the device's flash erases at once [default: as the pages lie; 4096 where one alone is in use]
    #[arg(long, value_name = "BYTES")]
    page_bytes: Option<usize>,
    /// One JSON object on stdout instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Outcome {
    let key = match &args.seal {
        Some(path) => Some(SharedKey::new(&*keys::read(path, Kind::Shared)?)),
        None => None,
    };
    for output in [Some(&args.output), args.samples.as_ref()]
        .into_iter()
        .flatten()
    {
        not_over(&args.file, output)?;
    }
    let bytes = read(&args.file)?;
    let log = match bytes.starts_with(&headstart::statistics::MAGIC) {
        true => None,
        false => Some(read_log(&bytes, &args)?),
    };
    let plain = match &log {
        Some(log) => log.head.clone(),
        None => of_head(&bytes, &args)?,
    };
    let name = args.file.display();
    let head = Head::parse(&plain).with_context(|| format!("could not read {name}"))?;
    if let Some(encoder) = &args.encoder {
        head.check_encoder(&args.file, encoder)?;
    }
    let sealed = key.is_some();
    let written = match key {
        Some(key) => seal(&plain, &key)?,
        None => plain,
    };
    if let (Some(path), Some(log)) = (&args.samples, &log) {
        let samples = samples(&log.samples, head.dim).context("could not lay out the samples")?;
        files::write(path, &samples)?;
    }
    files::write(&args.output, &written)?;
    let (output, bytes) = (args.output.display(), written.len());
    if args.json {
        let mut object = head.json();
        object.insert("output".into(), json!(output.to_string()));
        object.insert("bytes".into(), json!(bytes));
        object.insert("sealed".into(), json!(sealed));
        if let Some(log) = &log {
            object.insert("samples".into(), json!(log.samples.len()));
            object.insert("damaged".into(), json!(log.damaged));
            object.insert("page_bytes".into(), json!(log.page_bytes));
        }
        println!("{}", serde_json::Value::Object(object));
        return Ok(());
    }
    print!("{head}");
    if let Some(log) = &log {
        let damaged = match log.damaged {
            0 => String::new(),
            n => format!("; {n} could not be read"),
        };
        let (samples, page) = (log.samples.len(), log.page_bytes);
        println!(
            "{:<10} {samples} in pages of {page} bytes{damaged}",
            "samples"
        );
    }
    let sealed = if sealed { ", sealed" } else { "" };
    println!("{:<10} {output}, {bytes} bytes{sealed}", "written");
    Ok(())
}

/// Reads the file; one that a running device has open would be read half old, half new.
fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let attempt = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        if let Err(TryLockError::WouldBlock) = file.try_lock_shared() {
            let text = "a process has this log open: stop it first";
            return Err(std::io::Error::new(std::io::ErrorKind::WouldBlock, text));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    attempt().with_context(|| format!("could not read {}", path.display()))
}

fn read_log(bytes: &[u8], args: &Args) -> Result<Log, Failure> {
    let name = args.file.display();
    let known = [
        (
            &headstart::sealed::MAGIC,
            "it is sealed already: to seal it anew open it first, with headstart head import",
        ),
        (
            &headstart::pack::MAGIC,
            "it is a pack: export takes a log or a head",
        ),
    ];
    if let Some((_, text)) = known.iter().find(|(magic, _)| bytes.starts_with(*magic)) {
        return Err(anyhow!("could not read {name}: {text}").into());
    }
    match log::read(bytes, args.page_bytes, !args.means) {
        Err(Failure::Failed(error)) => Err(error.context(format!("could not read {name}")).into()),
        read => read,
    }
}

/// A head file that is there already, as it is or without moments.
fn of_head(bytes: &[u8], args: &Args) -> Result<Vec<u8>, Failure> {
    let name = args.file.display();
    let wrong = |text: String| Err(Failure::Usage(text));
    if args.samples.is_some() {
        return wrong(format!(
            "{name} is a head, which has no samples: --samples needs a log"
        ));
    }
    if args.page_bytes.is_some() {
        return wrong(format!("{name} is a head: --page-bytes is a log's"));
    }
    if args.seal.is_none() && !args.means {
        return wrong(format!("{name} is a head already: give --seal, or --means"));
    }
    if !args.means {
        return Ok(bytes.to_vec());
    }
    if sign::split(bytes).1 {
        return wrong(format!(
            "{name} is signed, which --means would undo: take the moments away first, then sign"
        ));
    }
    let head = Head::parse(bytes).with_context(|| format!("could not read {name}"))?;
    Ok(Head { gram: None, ..head }.bytes()?)
}

/// A sealed file, with a nonce from the system.
fn seal(plain: &[u8], key: &SharedKey) -> anyhow::Result<Vec<u8>> {
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(|e| anyhow!("the system gives no random numbers: {e}"))?;
    let mut file = vec![0; HEADER + plain.len() + TAG];
    file[HEADER..HEADER + plain.len()].copy_from_slice(plain);
    key.seal(Content::Head, &nonce, &mut file)?;
    Ok(file)
}

/// The bytes of an `.npz` as `headstart evaluate` takes it, and the samples' numbers in it.
fn samples(samples: &[(u32, Label, Vec<i8>)], dim: usize) -> anyhow::Result<Vec<u8>> {
    ensure!(!samples.is_empty(), "there are none");
    let mut labels: Vec<&Label> = samples.iter().map(|(_, label, _)| label).collect();
    labels.sort();
    labels.dedup();
    let class = |label: &Label| labels.binary_search(&label).unwrap_or(0) as u32;
    let width = labels.iter().map(|label| label.len()).max().unwrap_or(0);
    let padded = |label: &&Label| {
        let mut row = label.as_bytes().to_vec();
        row.resize(width, 0);
        row
    };
    let (count, classes) = (samples.len() as u64, labels.len() as u64);
    let mut npz = NpzWriter::new(Cursor::new(Vec::new()));
    let values = samples
        .iter()
        .flat_map(|(_, _, e)| e.iter().map(|&v| f32::from(v)));
    embed::add(&mut npz, "x", &[count, 1, dim as u64], values)?;
    let y = samples.iter().map(|(_, label, _)| class(label));
    embed::add(&mut npz, "y", &[count], y)?;
    let table = labels.iter().flat_map(padded);
    embed::add(&mut npz, "labels", &[classes, width as u64], table)?;
    // Whose a sample is nobody knows: each is a group of its own.
    for name in ["id", "group"] {
        embed::add(&mut npz, name, &[count], samples.iter().map(|s| s.0))?;
    }
    Ok(npz.zip_writer().finish()?.into_inner())
}
