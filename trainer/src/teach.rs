//! `headstart teach`: labels to a device over a wire, predictions and samples back.
//!
//! ```text
//! teach ─ client ─ port ══ serial line or TCP ══ headstart::wire::Server on a board, or `serve` here
//!   └ session (a person, line by line) or lesson (labelled data)
//! ```

pub mod client;
mod lesson;
pub mod port;
mod serve;
mod session;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use headstart::EncoderPack;
use headstart::wire::{self, Info};
use serde_json::{Value, json};

use crate::embed;
use crate::error::{Failure, Outcome};
use crate::files::{self, Aligned};
use client::{Client, Sample};

/// Teach a device over a serial line or TCP
///
/// Without --data it reads lines: a label learns what the device's own sensor sees now, ? names it,
/// help lists the rest. With --data it is a lesson: --shots windows of each label are sent and
/// learnt, then others are asked about, from the rest of the same wearer's recordings.
///
/// The device's firmware answers with headstart::wire (feature wire of the crate); --serve is the same
/// on this machine.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  headstart teach --port /dev/ttyACM0\n  headstart teach --port /dev/ttyACM0 --data mine.npz --shots 5 --predictions answers.npz --head mine.head\n\n  On this machine, in two terminals:\n  headstart teach --serve models/watch.pack --listen 127.0.0.1:7777\n  headstart teach --port tcp:127.0.0.1:7777 --data models/data/watch/unseen.npz --shots 5"
)]
pub struct Args {
    /// The device: a serial port (/dev/ttyACM0, COM3), or tcp:HOST:PORT
    #[arg(long, value_name = "PORT", required_unless_present = "serve")]
    port: Option<String>,
    /// Bits a second of a serial port
    #[arg(long, default_value_t = 115_200, value_name = "RATE", value_parser = clap::value_parser!(u32).range(1..))]
    baud: u32,
    /// Seconds to wait for an answer, three times
    #[arg(long, default_value_t = 3.0, value_name = "SECONDS")]
    timeout: f64,
    /// The .pack that the device must have; another one is refused
    #[arg(long, value_name = "PACK")]
    encoder: Option<PathBuf>,
    /// Labelled recordings to teach from, and to ask about
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
    /// Windows of each label that are learnt
    #[arg(long, default_value_t = 5, value_name = "WINDOWS", value_parser = clap::value_parser!(u32).range(1..))]
    shots: u32,
    /// Labels that are taught [default: all of the data's]
    #[arg(long, value_name = "LABELS", value_parser = clap::value_parser!(u32).range(1..))]
    ways: Option<u32>,
    /// Chooses wearer, labels and windows
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write what was answered, with the true labels
    #[arg(long, value_name = "NPZ", requires = "data")]
    predictions: Option<PathBuf>,
    /// Write the device's samples when all is done: embeddings, as `headstart embed` lays them out
    #[arg(long, value_name = "NPZ")]
    samples: Option<PathBuf>,
    /// Write what the device has learnt when all is done, for `headstart head`
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
    /// Be the device, on TCP, with this encoder
    #[arg(long, value_name = "PACK", conflicts_with_all = ["port", "data", "encoder", "samples", "head"])]
    serve: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:7777", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Keep samples in this file, through power cuts
    #[arg(long, value_name = "FILE", requires = "serve")]
    log: Option<PathBuf>,
    /// Size of that file, whole pages of 4096 [default: as it is, 262144 if new]
    #[arg(long, value_name = "BYTES", requires = "log")]
    log_bytes: Option<u32>,
    /// Classes that there is room for
    #[arg(long, default_value_t = 16, value_name = "CLASSES", value_parser = clap::value_parser!(u16).range(1..=1024))]
    classes: u16,
    /// Recordings whose windows stand for a sensor of its own, one after the other
    #[arg(long, value_name = "DATA", requires = "serve")]
    replay: Option<PathBuf>,
    /// One JSON object on stdout instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command. Ctrl-C ends it at once: files are written whole or not at all, and what the device
/// has acknowledged is its own.
pub fn run(args: Args) -> Outcome {
    // A second handler in one process is refused; then the first one serves.
    let _ = ctrlc::set_handler(|| {
        std::process::exit(i32::from(Failure::Interrupted.exit_code()));
    });
    match (&args.serve, &args.port) {
        (Some(pack), _) => serve::run(&args, pack),
        (None, Some(port)) => teach(&args, port),
        (None, None) => Err(Failure::Usage("give --port, or --serve".into())),
    }
}

fn teach(args: &Args, port: &str) -> Outcome {
    if !(args.timeout > 0.0 && args.timeout <= 3600.0) {
        return Err(Failure::Usage(
            "--timeout must be above 0, and at most 3600 seconds".into(),
        ));
    }
    for output in [&args.predictions, &args.samples, &args.head] {
        writable(output.as_deref())?;
    }
    let material = args.data.as_deref().map(lesson::load).transpose()?;
    let expected = args.encoder.as_deref().map(artefact).transpose()?;
    let timeout = Duration::from_secs_f64(args.timeout);
    // For any reply: a sample of the longest embedding, or a larger piece of a head.
    let mut buffer = vec![0; 1 << 16];
    let mut client = Client::new(port::open(port, args.baud)?, port, timeout, &mut buffer);
    let info = client.hello()?;
    if let (Some(expected), Some(path)) = (expected, &args.encoder) {
        ensure_same(&info, &expected, path)?;
    }
    let mut report = json!({
        "port": port,
        "encoder_sha256": hex(&info.artefact),
        "dim": info.dim,
    });
    let outcome = match material {
        Some(material) => {
            let result = lesson::run(args, &mut client, &info, &material)?;
            if !args.json {
                println!("{result}");
            }
            add(&mut report, result.json());
            Ok(())
        }
        None => {
            let tally = session::run(&mut client, &info, args.json)?;
            add(&mut report, tally.json());
            tally.outcome()
        }
    };
    if let Some(path) = &args.samples {
        write_samples(path, &client.samples()?)?;
    }
    if let Some(path) = &args.head {
        files::write(path, &client.head()?)?;
    }
    if args.json {
        let classes: serde_json::Map<String, Value> = client
            .classes()?
            .into_iter()
            .map(|(label, examples)| (label, json!(examples)))
            .collect();
        add(&mut report, json!({ "classes": classes }));
        println!("{report}");
    }
    outcome
}

fn add(report: &mut Value, more: Value) {
    if let (Value::Object(report), Value::Object(more)) = (report, more) {
        report.extend(more);
    }
}

/// An output whose folder is missing is better known before the lesson than after it.
fn writable(output: Option<&Path>) -> anyhow::Result<()> {
    let Some(output) = output else {
        return Ok(());
    };
    let folder = output.parent().unwrap_or(Path::new(""));
    ensure!(
        folder.as_os_str().is_empty() || folder.is_dir(),
        "there is no folder {} to write into",
        folder.display()
    );
    ensure!(!output.is_dir(), "{} is a folder", output.display());
    Ok(())
}

fn artefact(path: &Path) -> anyhow::Result<[u8; 32]> {
    let bytes = Aligned::new(&files::read(path)?);
    let pack = EncoderPack::new(bytes.bytes());
    let pack = pack.with_context(|| format!("could not use the encoder {}", path.display()))?;
    Ok(pack.artefact())
}

fn ensure_same(info: &Info, expected: &[u8; 32], path: &Path) -> anyhow::Result<()> {
    ensure!(
        info.artefact == *expected,
        "the device has another encoder than {}: its SHA-256 begins with {}, that of the file with {}",
        path.display(),
        &hex(&info.artefact)[..12],
        &hex(expected)[..12]
    );
    Ok(())
}

fn write_samples(path: &Path, samples: &[Sample]) -> anyhow::Result<()> {
    ensure!(
        !samples.is_empty(),
        "the device has no samples yet: {} was not written",
        path.display()
    );
    let names: std::collections::BTreeSet<&str> =
        samples.iter().map(|s| s.label.as_str()).collect();
    let labels: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let class = |s: &Sample| labels.iter().position(|l| *l == s.label).unwrap_or(0) as u32;
    let classes = samples.iter().map(class).collect();
    // Every sample is a group of its own, called by its number.
    let known = embed::Known {
        classes,
        labels,
        groups: samples.iter().map(|s| s.id).collect(),
    };
    let rows: Vec<Vec<f32>> = samples
        .iter()
        .map(|s| s.values.iter().map(|&v| v.into()).collect())
        .collect();
    files::write(path, &embed::npz(&known, &rows)?)
}

/// In words.
fn takes(input: &wire::Input) -> &'static str {
    match input {
        wire::Input::Sensor { .. } => "windows of a sensor",
        wire::Input::Picture { .. } => "pictures",
        wire::Input::Sound { .. } => "sound",
    }
}

/// Refuses a name that devices have no room for.
fn check_label(label: &str) -> anyhow::Result<()> {
    match label.len() {
        1..=16 => Ok(()),
        bytes => Err(anyhow!(
            "a label has 1 to 16 bytes, `{label}` has {bytes}: give it a shorter name"
        )),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
