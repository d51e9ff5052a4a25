//! `headstart pretrain`: from data without labels to an encoder.

pub mod checkpoint;
mod data;
pub mod halves;
mod lars;
mod loader;
mod progress;
mod settings;
mod training;
mod whiten;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::background;
use crate::error::{Failure, Outcome};
use crate::on_error::OnError;
use crate::report::{self, Epoch, Log, Map};
use crate::source::{self, purpose};
use crate::{encoder_file, export, files, network};
pub use data::{Opened, open};
use progress::Progress;
pub use settings::Settings;
pub use training::{Keeping, Trained, Training, Weighted};

/// Pretrain an encoder on data without labels.
///
/// The network learns a task that is made from the data itself (--pretext). The default is a
/// contrast: two augmented views of each item find each other among all others (SimCLR). Labels in
/// the data are not looked at, unless --pairs asks for them. Writes an ONNX file with everything that
/// a device needs.
#[derive(Debug, Clone, clap::Args)]
#[command(
    args_override_self = true,
    after_help = "Examples:\n  headstart pretrain models/data/watch/pretrain.npz -o encoder.onnx\n  headstart pretrain photos/ --size 32 --network resnet8 --width 16 --pretext contrastive,rotation=0.5\n  headstart pretrain words/ --network ds-cnn --width 32 --epochs 40\n\nThe same data, settings, machine and --threads give the same file, bit for bit."
)]
pub struct Args {
    /// Recordings of a sensor (.npz, .csv); pictures (a folder of PNG and JPEG files, an IDX file, an
    /// .npz of bytes); a folder of WAV files; or lines of text (.txt, or a folder of such)
    pub data: PathBuf,
    /// What the data is, where that can't be seen from it
    #[arg(long, value_enum)]
    pub kind: Option<source::Kind>,
    /// Where the encoder goes
    #[arg(short, long, default_value = "encoder.onnx", value_name = "FILE")]
    pub output: PathBuf,
    /// Goes on from the checkpoint of an interrupted run, to the same final bits
    #[arg(long)]
    pub resume: bool,
    /// The run's state [default: OUTPUT with .checkpoint]
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// It is written at the end of an epoch, but not more often than this
    #[arg(long, default_value_t = 1.0, value_name = "MINUTES")]
    pub checkpoint_every: f64,
    /// Threads to compute on, besides one that loads data [default: one a core]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: Option<u32>,
    /// A sensor's samples a second, where the data does not say
    #[arg(long, value_name = "HZ")]
    pub rate: Option<f32>,
    /// Only the first so many pictures or clips
    #[arg(long, value_name = "ITEMS", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Data in memory at most; what is more goes to a file beside OUTPUT that is gone when the run ends.
    /// Folders are read file by file
    #[arg(long, default_value_t = 2048, value_name = "MB")]
    pub memory: u32,
    /// What becomes of data that can't be used: a damaged picture, a clip of another rate, NaN in a
    /// recording
    #[arg(long, value_enum, default_value_t)]
    pub on_error: OnError,
    /// Licence of the encoder, kept in its metadata
    #[arg(long, default_value = "MIT OR Apache-2.0", value_name = "SPDX")]
    pub licence: String,
    /// A row an epoch: loss, quality, speed
    #[arg(long, value_name = "FILE.csv")]
    pub log: Option<PathBuf>,
    /// A page with curves, written after every epoch, and at the end a map of the embeddings
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Prints one JSON object
    #[arg(long)]
    pub json: bool,
    /// The hyper-parameters
    #[command(flatten)]
    pub settings: Settings,
}

/// What a run came to.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The file.
    pub encoder: PathBuf,
    /// Of the file.
    pub sha256: String,
    /// Items trained on: windows, pictures or clips.
    pub windows: usize,
    /// Times each was seen.
    pub epochs: u32,
    /// Spent training.
    pub seconds: f64,
    /// Over the whole run.
    pub windows_per_second: f64,
    /// Part of the time in which training waited for data.
    pub waiting: f64,
    /// Part of the time that was neither forward nor backward pass.
    pub outside: f64,
    /// Mean loss of the last epoch.
    pub loss: f64,
    /// Mean squared distance of two views' unit embeddings.
    pub alignment: f32,
    /// Log mean Gaussian potential of unit embeddings.
    pub uniformity: f32,
    /// Of the embeddings' covariance.
    pub effective_rank: f32,
    /// Weights and biases in the file.
    pub parameters: usize,
    /// Multiply-accumulates an item.
    pub macs: usize,
    /// Largest difference between the file, run by tract, and the trained network.
    pub export_difference: f32,
}

/// Runs the command: prints the result, and on Ctrl-C how to go on.
pub fn run(args: Args) -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    // A second handler in one process is refused; then the first one serves.
    let _ = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(Failure::Interrupted.exit_code()));
        }
        eprintln!("stopping after this step; Ctrl-C again ends at once");
    });
    let report = pretrain(&args, &stop).inspect_err(|failure| {
        if matches!(failure, Failure::Interrupted) {
            let checkpoint = args.checkpoint_path();
            eprintln!(
                "wrote {}; the same command with --resume goes on from there",
                checkpoint.display()
            );
        }
    })?;
    if args.json {
        println!(
            "{}",
            serde_json::to_string(&report).context("could not write JSON")?
        );
    } else {
        print(&report);
    }
    Ok(())
}

fn print(report: &Report) {
    println!("encoder      {}", report.encoder.display());
    println!("sha256       {}", report.sha256);
    println!(
        "size         {} parameters, {} multiply-accumulates an item",
        report.parameters, report.macs
    );
    println!(
        "training     {} items, {} epochs, {:.0} s, {:.0} items/s; {:.1} % of the time outside of the network, {:.1} % of it waiting for data",
        report.windows,
        report.epochs,
        report.seconds,
        report.windows_per_second,
        100.0 * report.outside,
        100.0 * report.waiting
    );
    println!(
        "quality      loss {:.3}, alignment {:.3}, uniformity {:.2}, effective rank {:.1}",
        report.loss, report.alignment, report.uniformity, report.effective_rank
    );
    println!(
        "export       within {:.1e} of the trained network",
        report.export_difference
    );
}

impl Args {
    fn checkpoint_path(&self) -> PathBuf {
        self.checkpoint.clone().unwrap_or_else(|| {
            let mut name = self.output.clone().into_os_string();
            name.push(".checkpoint");
            name.into()
        })
    }
}

/// Pretrains and writes the encoder. `stop` ends the run after the current step, with a
/// checkpoint.
///
/// # Errors
/// Unusable data or settings, a file that can't be written, a loss that is not finite, an export
/// that differs from the network; [`Failure::Interrupted`] where `stop` was set.
pub fn pretrain(args: &Args, stop: &AtomicBool) -> Result<Report, Failure> {
    let checkpoint = args.checkpoint_path();
    let asked = args.log.iter().chain(&args.report);
    for file in [&args.output, &checkpoint].into_iter().chain(asked) {
        writable(file)?;
    }
    if !(args.checkpoint_every >= 0.0 && args.checkpoint_every.is_finite()) {
        return Err(Failure::Usage(
            "--checkpoint-every takes minutes, 0 or more".into(),
        ));
    }
    args.settings.check()?;
    let threads = match args.threads {
        Some(threads) => threads as usize,
        None => std::thread::available_parallelism().map_or(1, |n| n.get()),
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .context("could not start threads")?;
    pool.install(|| {
        let opened = open(args)?;
        let source = opened.source.as_ref();
        let settings = args.settings.clone().resolved(source.kind());
        settings.check_data(source)?;
        let tasks = weighted(&settings);
        let keeping = Keeping {
            path: &checkpoint,
            every: Duration::from_secs_f64(60.0 * args.checkpoint_every),
            resume: args.resume,
        };
        let training = Training::new(
            source,
            &tasks,
            &settings,
            &opened.sha256,
            threads,
            Some(keeping),
        )?;
        let done = training.epochs().last().map_or(0, |e| e.step);
        let progress = Progress::new(training.steps(), done);
        let epochs = settings.epochs;
        let known = training.epochs().last().map_or(0, |e| e.epoch);
        let mut log = match &args.log {
            Some(path) => Some(Log::open(path, known)?),
            None => None,
        };
        let page = |all: &[Epoch], map: Option<&Map>| -> anyhow::Result<()> {
            let Some(path) = &args.report else {
                return Ok(());
            };
            let title = format!("Pretraining on {}", args.data.display());
            let flags = settings.flags(source.kind());
            let page = report::html(&title, &flags, all, map, &[]);
            files::write(path, page.as_bytes())
        };
        let trained = training.run(stop, Some(&progress), |epoch, all| {
            progress.epoch(epoch, all, epochs);
            if let Some(log) = &mut log {
                log.append(epoch.clone())?;
            }
            page(all, None)
        });
        progress.finish();
        let trained = trained?;
        let report = write(args, &settings, &opened, &trained)?;
        if args.report.is_some() {
            page(&trained.epochs, Some(&map(&settings, &opened, &trained)))?;
        }
        // The encoder is there: the way back is no longer needed.
        let _ = std::fs::remove_file(&checkpoint);
        Ok(report)
    })
}

/// The tasks of a run.
fn weighted(settings: &Settings) -> Vec<Weighted> {
    let tasks = settings.tasks().into_iter();
    tasks
        .map(|(task, weight)| (task.build(settings.temperature), weight, task.name()))
        .collect()
}

/// Refuses at the start what would fail after the training.
fn writable(file: &Path) -> anyhow::Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if file.is_dir() {
        bail!("{} is a folder: give a file name", file.display());
    }
    tempfile::tempfile_in(folder)
        .map(drop)
        .map_err(|e| anyhow!("can't write into {}: {e}", folder.display()))
}

/// At most so many items are drawn on a map.
const MAPPED: usize = 600;

/// Where the items lie, coloured by class where the data has classes, else by group.
fn map(settings: &Settings, opened: &Opened, trained: &Trained) -> Map {
    let source = opened.source.as_ref();
    let every = source.len().div_ceil(MAPPED).max(1);
    let picked: Vec<usize> = (0..source.len()).step_by(every).collect();
    let shape = settings.shape(source);
    let plain = source::plain(source, &picked);
    let rows = export::embed(&trained.encoder, shape, &plain, &network::device());
    let groups: std::collections::BTreeSet<u32> = picked.iter().map(|&i| source.group(i)).collect();
    let groups: Vec<u32> = groups.into_iter().collect();
    if source.labels().is_empty() {
        let names: Vec<String> = groups.iter().map(|g| format!("group {g}")).collect();
        let of = |&i: &usize| groups.binary_search(&source.group(i)).ok();
        let labels: Vec<Option<usize>> = picked.iter().map(of).collect();
        return Map::new(&rows, shape.dim, &labels, &names, settings.seed);
    }
    let labels: Vec<Option<usize>> = picked.iter().map(|&i| source.class(i)).collect();
    Map::new(&rows, shape.dim, &labels, source.labels(), settings.seed)
}

/// Exports, checks and writes the encoder.
fn write(
    args: &Args,
    settings: &Settings,
    opened: &Opened,
    trained: &Trained,
) -> anyhow::Result<Report> {
    let source = opened.source.as_ref();
    let shape = settings.shape(source);
    let device = network::device();
    let all: Vec<usize> = (0..source.len()).collect();
    let plain = source::plain(source, &all);
    let mut encoder = trained.encoder.clone();
    if let Some(recordings) = source.recordings().filter(|_| settings.whiten > 0.0) {
        let embeddings = export::embed(&encoder, shape, &plain, &device);
        let map = whiten::whitening(&embeddings, &recordings, shape.dim, settings.whiten);
        encoder = encoder.then_linear(&map, &device);
    }
    let embeddings = export::embed(&encoder, shape, &plain, &device);
    let pairs = source.pairs(settings.seed);
    let (first, second) = match &pairs {
        Some(pairs) => {
            let row = |i: usize| &embeddings[i * shape.dim..(i + 1) * shape.dim];
            let (first, second): (Vec<&[f32]>, Vec<&[f32]>) =
                pairs.iter().map(|&(a, b)| (row(a), row(b))).unzip();
            (first.concat(), second.concat())
        }
        None => {
            let views = source::views(source, &all, [settings.seed, purpose::PROBE, 1]);
            let mut first = export::embed(&encoder, shape, &views, &device);
            let second = first.split_off(first.len() / 2);
            (first, second)
        }
    };
    let whitened = pairs.is_some() && settings.whiten > 0.0;
    let mut background = background::from_pairs(&embeddings, &first, &second, shape.dim, whitened);
    // Labels are for `headstart background`: it knows who is who.
    let recorded = whitened && settings.pairs != Some(source::Pairs::Label);
    if let Some(recordings) = source.recordings().filter(|_| recorded) {
        background.calibration =
            background::calibrate_recordings(&embeddings, &recordings, &background.mean);
    }

    let bare = export::encode(&encoder, shape, &[]);
    let command = command(args, settings, source.kind());
    let identity = Sha256::new()
        .chain_update(&bare)
        .chain_update(&command)
        .chain_update(opened.sha256)
        .finalize();
    let mut metadata = vec![
        ("embedding_scale", embedding_step(&embeddings).to_string()),
        ("space_id", hex(&identity[..16])),
        ("command", command),
        ("seed", settings.seed.to_string()),
        ("data_sha256", hex(&opened.sha256)),
        ("licence", args.licence.clone()),
        ("version", env!("CARGO_PKG_VERSION").into()),
    ];
    metadata.extend(source.frontend().map(|front| ("frontend", front.json())));
    metadata.extend(source.tokenizer().map(|tokenizer| ("tokenizer", tokenizer)));
    if matches!(source.kind(), source::Kind::Pictures | source::Kind::Sound) {
        metadata.push(("layout", encoder_file::CHANNELS_FIRST.into()));
    }
    metadata.extend(background::metadata(&background));
    metadata.sort();
    let metadata: Vec<(String, String)> = metadata
        .into_iter()
        .map(|(key, value)| (format!("headstart.{key}"), value))
        .collect();
    let bytes = export::encode(&encoder, shape, &metadata);
    let export_difference = export::verify(&bytes, shape, &plain, &embeddings)?;
    files::write(&args.output, &bytes)?;
    let epochs = &trained.epochs;
    let last = epochs.last().context("no epoch was trained")?;
    // Whole batches only.
    let seen = last.step as f64 * f64::from(settings.batch);
    let mean = |of: fn(&Epoch) -> f64| epochs.iter().map(of).sum::<f64>() / epochs.len() as f64;
    Ok(Report {
        encoder: args.output.clone(),
        sha256: hex(&Sha256::digest(&bytes)),
        windows: source.len(),
        epochs: settings.epochs,
        seconds: trained.seconds,
        windows_per_second: seen / trained.seconds,
        waiting: mean(|e| e.waiting),
        outside: mean(|e| e.outside),
        loss: last.loss,
        alignment: last.alignment,
        uniformity: last.uniformity,
        effective_rank: last.effective_rank,
        parameters: shape.parameters(),
        macs: shape.macs(),
        export_difference,
    })
}

/// The command that makes this encoder again, with every setting spelt out; folders don't matter
/// and are left out, so that they don't change the file.
fn command(args: &Args, settings: &Settings, kind: source::Kind) -> String {
    let name = args.data.file_name().unwrap_or_default().to_string_lossy();
    let flags = settings.flags(kind).into_iter();
    let limit = args.limit.map(|n| format!("--limit {n}"));
    let words: Vec<String> = std::iter::once(format!("headstart pretrain {name}"))
        .chain(flags.map(|(flag, value)| format!("{flag} {value}").trim_end().to_owned()))
        .chain(limit)
        .collect();
    words.join(" ")
}

/// The fixed-point step in which embeddings are normalised: a power of two that leaves the largest
/// value seen 15 bits.
fn embedding_step(embeddings: &[f32]) -> f32 {
    let largest = embeddings
        .iter()
        .fold(f32::MIN_POSITIVE, |a, v| a.max(v.abs()));
    (largest.log2().ceil() - 15.0).exp2()
}

/// Bytes as lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
