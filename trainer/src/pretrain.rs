//! `headstart pretrain`: from unlabelled recordings to an encoder.

mod checkpoint;
mod progress;
mod settings;
mod training;
mod views;
mod whiten;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, anyhow, bail};
use burn::tensor::Device;
use headstart::frontend;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::background;
use crate::dataset::Dataset;
use crate::encoder_file::SensorFrontend;
use crate::error::{Failure, Outcome};
use crate::{export, files};
pub use settings::Settings;
use training::{Trained, Training};
use views::{Windows, purpose};

/// Pretrain an encoder on unlabelled recordings.
///
/// Two augmented views of each window learn to find each other among all others (SimCLR); labels
/// in the data are not looked at. Writes an ONNX file with everything that a device needs.
#[derive(Debug, Clone, clap::Args)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  headstart pretrain models/data/watch/pretrain.npz -o encoder.onnx\n\nThe same data, settings, machine and --threads give the same file, bit for bit."
)]
pub struct Args {
    /// Recordings: an .npz file with x
    pub data: PathBuf,
    /// Where the encoder goes
    #[arg(short, long, default_value = "encoder.onnx", value_name = "FILE")]
    pub output: PathBuf,
    /// Goes on from the checkpoint of an interrupted run, to the same final bits
    #[arg(long)]
    pub resume: bool,
    /// The run's state, written after every epoch [default: OUTPUT with .checkpoint]
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Threads to compute on [default: one a core]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: Option<u32>,
    /// Samples a second, where the data does not say
    #[arg(long, value_name = "HZ")]
    pub rate: Option<f32>,
    /// Licence of the encoder, kept in its metadata
    #[arg(long, default_value = "MIT OR Apache-2.0", value_name = "SPDX")]
    pub licence: String,
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
    /// Windows trained on.
    pub windows: usize,
    /// Times each was seen.
    pub epochs: u32,
    /// Spent training.
    pub seconds: f64,
    /// Over the whole run.
    pub windows_per_second: f64,
    /// Mean NT-Xent of the last epoch, in nats.
    pub loss: f64,
    /// Mean squared distance of two views' unit embeddings.
    pub alignment: f32,
    /// Log mean Gaussian potential of unit embeddings.
    pub uniformity: f32,
    /// Of the embeddings' covariance.
    pub effective_rank: f32,
    /// Weights and biases in the file.
    pub parameters: usize,
    /// Multiply-accumulates a window.
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
        "size         {} parameters, {} multiply-accumulates a window",
        report.parameters, report.macs
    );
    println!(
        "training     {} windows, {} epochs, {:.0} s, {:.0} windows/s",
        report.windows, report.epochs, report.seconds, report.windows_per_second
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
    for file in [&args.output, &checkpoint] {
        writable(file)?;
    }
    let mut data = Dataset::load(&args.data).map_err(anyhow::Error::from)?;
    if let Some(groups) = &args.settings.groups {
        data = data.filter(|r| groups.contains(r.group));
        if data.recordings.is_empty() {
            let groups = String::from(groups.clone());
            return Err(anyhow!("no recording is of --groups {groups}").into());
        }
    }
    args.settings.check(&data)?;
    let rate = args.rate.or(data.rate_hz).ok_or_else(|| {
        Failure::Usage("the data does not say how many samples it has a second: give --rate".into())
    })?;
    if !(rate.is_finite() && rate > 0.0) {
        return Err(Failure::Usage(format!(
            "--rate is {rate}: give samples a second, for example 50"
        )));
    }
    if data.recordings.len() == 1 {
        eprintln!(
            "warning: there is one recording only; what is the same all through it can't be learned"
        );
    }
    let threads = match args.threads {
        Some(threads) => threads as usize,
        None => std::thread::available_parallelism().map_or(1, |n| n.get()),
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .context("could not start threads")?;
    pool.install(|| {
        let training = Training::new(&data, &args.settings, threads, &checkpoint, args.resume)?;
        let (trained, windows) = training.run(stop)?;
        let report = write(args, &data, rate, &trained, &windows)?;
        // The encoder is there: the way back is no longer needed.
        let _ = std::fs::remove_file(&checkpoint);
        Ok(report)
    })
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

/// Exports, checks and writes the encoder.
fn write(
    args: &Args,
    data: &Dataset,
    rate: f32,
    trained: &Trained,
    windows: &Windows,
) -> anyhow::Result<Report> {
    let settings = &args.settings;
    let shape = settings.shape(data.channels);
    let device = Device::flex();
    let all: Vec<usize> = (0..windows.len()).collect();
    let plain = windows.plain(&all);
    let mut encoder = trained.encoder.clone();
    if let Some(recordings) = windows.recordings().filter(|_| settings.whiten > 0.0) {
        let embeddings = export::embed(&encoder, shape, &plain, &device);
        let map = whiten::whitening(&embeddings, &recordings, shape.dim, settings.whiten);
        encoder = encoder.then_linear(&map, &device);
    }
    let embeddings = export::embed(&encoder, shape, &plain, &device);
    let (first, second) = match windows.pairs() {
        Some(pairs) => {
            let row = |i: usize| &embeddings[i * shape.dim..(i + 1) * shape.dim];
            let (first, second): (Vec<&[f32]>, Vec<&[f32]>) =
                pairs.iter().map(|&(a, b)| (row(a), row(b))).unzip();
            (first.concat(), second.concat())
        }
        None => {
            let views = windows.views(&all, purpose::PROBE, 1);
            let mut first = export::embed(&encoder, shape, &views, &device);
            let second = first.split_off(first.len() / 2);
            (first, second)
        }
    };
    let whitened = windows.pairs().is_some() && settings.whiten > 0.0;
    let mut background = background::from_pairs(&embeddings, &first, &second, shape.dim, whitened);
    if let Some(recordings) = windows.recordings().filter(|_| whitened) {
        background.calibration =
            background::calibrate_recordings(&embeddings, &recordings, &background.mean);
    }

    let frontend = SensorFrontend {
        channels: data.channels,
        window: settings.window as usize,
        hop: settings.hop as usize,
        rate,
        scale: data
            .scale
            .clone()
            .unwrap_or_else(|| vec![1.0; data.channels]),
        mean: vec![0.0; data.channels],
        std: windows.std.clone(),
    };
    let bare = export::encode(&encoder, shape, &[]);
    let command = command(args);
    let identity = Sha256::new()
        .chain_update(&bare)
        .chain_update(&command)
        .chain_update(data.sha256)
        .finalize();
    let mut metadata = vec![
        (
            "frontend",
            frontend::Settings::Sensor(frontend.clone()).json(),
        ),
        ("embedding_scale", embedding_step(&embeddings).to_string()),
        ("space_id", hex(&identity[..16])),
        ("command", command),
        ("seed", settings.seed.to_string()),
        ("data_sha256", hex(&data.sha256)),
        ("licence", args.licence.clone()),
        ("version", env!("CARGO_PKG_VERSION").into()),
    ];
    metadata.extend(background::metadata(&background));
    metadata.sort();
    let metadata: Vec<(String, String)> = metadata
        .into_iter()
        .map(|(key, value)| (format!("headstart.{key}"), value))
        .collect();
    let bytes = export::encode(&encoder, shape, &metadata);
    let export_difference = export::verify(&bytes, shape, &plain, &embeddings)?;
    files::write(&args.output, &bytes)?;
    let seen = windows.len() as f64 * f64::from(settings.epochs);
    Ok(Report {
        encoder: args.output.clone(),
        sha256: hex(&Sha256::digest(&bytes)),
        windows: windows.len(),
        epochs: settings.epochs,
        seconds: trained.seconds,
        windows_per_second: seen / trained.seconds,
        loss: trained.loss,
        alignment: trained.quality.alignment,
        uniformity: trained.quality.uniformity,
        effective_rank: trained.quality.effective_rank,
        parameters: shape.parameters(),
        macs: shape.macs(),
        export_difference,
    })
}

/// The command that makes this encoder again, with every setting spelt out; folders don't matter
/// and are left out, so that they don't change the file.
fn command(args: &Args) -> String {
    let name = args.data.file_name().unwrap_or_default().to_string_lossy();
    let flags = args
        .settings
        .flags()
        .into_iter()
        .map(|(flag, value)| format!("{flag} {value}"));
    let words: Vec<String> = std::iter::once(format!("headstart pretrain {name}"))
        .chain(flags)
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
