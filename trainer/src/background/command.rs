//! `headstart background`: what an encoder makes of the world, for its heads to start from.

use std::path::PathBuf;

use anyhow::{Context, anyhow, ensure};
use prost::Message;
use serde::Serialize;
use tract_onnx::pb::{ModelProto, StringStringEntryProto};

use super::{from_classes, from_pairs, metadata};
use crate::dataset::Dataset;
use crate::embedder::Embedder;
use crate::encoder_file::{Background, EncoderFile};
use crate::error::{Failure, Outcome};
use crate::evaluate::progress::Progress;
use crate::files;
use crate::items::{Items, Noise, Owned, Wanted};

/// Measure what heads start from, and keep it in the encoder file
///
/// The mean of the embeddings, how they vary within and between things, and, where there are
/// classes, what strangers look like, so that a head can keep a rate of false accepts. With labels (a
/// folder per class, an IDX file with its labels, y in an .npz) things are classes. Without, they are
/// what is known to be one: augmented views of a picture, a clip in two noises, neighbouring windows
/// of a recording.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  headstart background speech.onnx models/data/words/background --snr 10\n  headstart background image.onnx models/data/fashion/train-images-idx3-ubyte.gz --unlabelled --limit 2000"
)]
pub struct Args {
    /// The encoder, as `headstart import` or `headstart pretrain` writes it
    encoder: PathBuf,
    /// What it will meet: recordings (.npz, .csv), or a folder, IDX or .npz file as it takes them. None of what
    /// is evaluated later
    data: PathBuf,
    /// Where the result goes [default: the encoder's own file]
    #[arg(short, long, value_name = "ENCODER")]
    output: Option<PathBuf>,
    /// Do not read the labels that the data has
    #[arg(long)]
    unlabelled: bool,
    /// White noise so many decibels below the mean power of each clip [default: none]
    #[arg(long, value_name = "DB", allow_negative_numbers = true)]
    snr: Option<f32>,
    /// Only the first so many things
    #[arg(long, value_name = "ITEMS", value_parser = clap::value_parser!(u32).range(2..))]
    limit: Option<u32>,
    /// Names noise and views
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// One JSON object on stdout instead of text
    #[arg(long)]
    json: bool,
}

/// What a run came to.
#[derive(Debug, Clone, Serialize)]
struct Report {
    output: PathBuf,
    sha256: String,
    /// Embeddings.
    items: usize,
    /// Classes, where there were labels.
    classes: Option<usize>,
    rank: usize,
    /// Whether heads can keep a rate of false accepts.
    calibrated: bool,
    embedding_step: f32,
}

/// Runs the command.
pub fn run(args: Args) -> Outcome {
    let report = measure(&args)?;
    if args.json {
        let json = serde_json::to_string(&report).context("could not write the result as JSON")?;
        println!("{json}");
        return Ok(());
    }
    println!("{}: sha256 {}", report.output.display(), report.sha256);
    println!(
        "measured on {} embeddings {}; {} directions kept; heads {}",
        report.items,
        match report.classes {
            Some(classes) => format!("of {classes} classes"),
            None => "in pairs, without labels".to_owned(),
        },
        report.rank,
        match report.calibrated {
            true => "can keep a rate of false accepts",
            false =>
                "promise no rate of false accepts: that takes labelled data of about 20 classes or more",
        }
    );
    Ok(())
}

/// Rows of raw embeddings, and what stands for one thing.
struct Measured {
    rows: Vec<Vec<f32>>,
    things: Things,
}

enum Things {
    /// A class and a group for each row.
    Classes(Vec<usize>, Vec<u32>),
    /// Rows 2 i and 2 i + 1 are of one thing.
    Pairs,
}

fn measure(args: &Args) -> Result<Report, Failure> {
    let output = args.output.clone().unwrap_or_else(|| args.encoder.clone());
    if args.snr.is_some_and(|db| !db.is_finite()) {
        return Err(Failure::Usage("--snr must be a number of decibels".into()));
    }
    let bytes = files::read(&args.encoder)?;
    let named = || format!("could not use the encoder {}", args.encoder.display());
    // A network that was not imported is told so.
    EncoderFile::from_bytes(&bytes).with_context(named)?;
    let file = EncoderFile::for_data(&bytes, &args.data).with_context(named)?;
    let measured = match Wanted::of(&file.frontend) {
        Some(wanted) => things(args, &Embedder::open(&args.encoder)?, wanted)?,
        None => recordings(args, &file)?,
    };
    let count = measured.rows.len();
    if count < 8 {
        return Err(anyhow!(
            "a background needs 8 things at least, {} has {count}",
            args.data.display()
        )
        .into());
    }
    let dim = measured.rows.first().map_or(0, Vec::len);
    let (background, classes) = background_of(&measured, dim)?;
    let largest = measured
        .rows
        .iter()
        .flatten()
        .fold(0.0f32, |m, v| m.max(v.abs()));
    ensure_signal(largest)?;
    // Room for half as much again in 16 bits.
    let step = largest * 1.5 / 32_767.0;
    let changed = with_background(&bytes, &file, &background, step, args)?;
    files::write(&output, &changed)?;
    let hex = |b: &u8| format!("{b:02x}");
    use sha2::Digest;
    Ok(Report {
        output,
        sha256: sha2::Sha256::digest(&changed).iter().map(hex).collect(),
        items: count,
        classes,
        rank: background.within.len(),
        calibrated: !background.calibration.is_empty(),
        embedding_step: step,
    })
}

fn ensure_signal(largest: f32) -> anyhow::Result<()> {
    ensure!(
        largest > 0.0 && largest.is_finite(),
        "the encoder gives zeros only (or no numbers) for this data: is it fed as it was trained? (--preset of `headstart import`)"
    );
    Ok(())
}

/// Pictures or clips.
fn things(args: &Args, encoder: &Embedder, wanted: Wanted) -> Result<Measured, Failure> {
    let limit = args.limit.map_or(usize::MAX, |n| n as usize);
    let noise = args.snr.map(|snr| Noise {
        snr,
        seed: args.seed,
    });
    if noise.is_some() && matches!(wanted, Wanted::Pictures { .. }) {
        return Err(Failure::Usage(
            "--snr is for sound: pictures get no noise".into(),
        ));
    }
    if !args.unlabelled && Items::has_labels(&args.data, wanted) {
        let items = Items::open(&args.data, wanted, limit)?;
        let progress = Progress::new("embedding", items.len());
        let rows = encoder.rows(items.len(), &progress, |i| items.get(i, noise))?;
        let classes = items.classes.iter().map(|&c| c as usize).collect();
        return Ok(Measured {
            rows,
            things: Things::Classes(classes, items.groups),
        });
    }
    let items = Items::unlabelled(&args.data, wanted, limit)?;
    let progress = Progress::new("embedding", 2 * items.len());
    let view = |i: usize| items.view(i / 2, i % 2, args.seed);
    let rows = encoder.rows(2 * items.len(), &progress, view)?;
    Ok(Measured {
        rows,
        things: Things::Pairs,
    })
}

/// A sensor's recordings, or plain numbers.
fn recordings(args: &Args, file: &EncoderFile) -> Result<Measured, Failure> {
    let data = Dataset::load(&args.data).map_err(anyhow::Error::from)?;
    let front = file.sensor().context("the encoder takes no recordings")?;
    if data.channels != front.channels {
        return Err(anyhow!(
            "the encoder takes {} channels, {} has {}",
            front.channels,
            args.data.display(),
            data.channels
        )
        .into());
    }
    let mut windows = data.windows(front.window, front.hop);
    windows.truncate(args.limit.map_or(usize::MAX, |n| n as usize));
    let signal = |w: &crate::dataset::Window| {
        Owned::Samples(front.counts(data.window(w.start, front.window)))
    };
    let signals: Vec<Owned> = windows.iter().map(signal).collect();
    let encoder = crate::float::FloatEncoder::new(file)?;
    let rows = encoder.signals(file, &signals)?;
    let recording = |w: &crate::dataset::Window| &data.recordings[w.recording];
    let classes: Option<Vec<usize>> = windows.iter().map(|w| recording(w).class).collect();
    if let (Some(classes), false) = (classes, args.unlabelled) {
        let groups = windows.iter().map(|w| recording(w).group).collect();
        return Ok(Measured {
            rows,
            things: Things::Classes(classes, groups),
        });
    }
    // Neighbours in a recording are of one thing.
    let mut paired = Vec::new();
    for (a, b) in (0..windows.len()).zip(1..windows.len()).step_by(2) {
        if windows[a].recording == windows[b].recording {
            paired.extend([rows[a].clone(), rows[b].clone()]);
        }
    }
    if paired.is_empty() {
        let text = "without labels, two windows of one recording are needed: these recordings have one window each";
        return Err(anyhow!(text).into());
    }
    Ok(Measured {
        rows: paired,
        things: Things::Pairs,
    })
}

fn background_of(measured: &Measured, dim: usize) -> anyhow::Result<(Background, Option<usize>)> {
    let rows = measured.rows.concat();
    match &measured.things {
        Things::Classes(classes, groups) => {
            let distinct: std::collections::BTreeSet<_> = classes.iter().collect();
            ensure!(
                distinct.len() >= 2,
                "all of the data is one class: heads learn what tells things apart; give more classes, or --unlabelled"
            );
            Ok((
                from_classes(&rows, classes, groups, dim),
                Some(distinct.len()),
            ))
        }
        Things::Pairs => {
            let side = |which: usize| -> Vec<f32> {
                let rows = measured.rows.iter().skip(which).step_by(2);
                rows.flatten().copied().collect()
            };
            Ok((from_pairs(&rows, &side(0), &side(1), dim, false), None))
        }
    }
}

/// The file with new statistics in its metadata; all else as it was.
fn with_background(
    bytes: &[u8],
    file: &EncoderFile,
    background: &Background,
    step: f32,
    args: &Args,
) -> anyhow::Result<Vec<u8>> {
    let mut model = ModelProto::decode(bytes)?;
    let mut entries = metadata(background);
    entries.push(("embedding_scale", step.to_string()));
    if file.numbers {
        // Now it is known how large the numbers are.
        entries.push(("frontend", file.frontend.json()));
    }
    let data = args.data.file_name().unwrap_or_default().to_string_lossy();
    entries.push(("background_data", data.into_owned()));
    let stale = [
        "background",
        "within_total",
        "calibration",
        "embedding_scale",
        "background_data",
    ];
    model.metadata_props.retain(|p| {
        let key = p.key.strip_prefix("headstart.");
        key.is_none_or(|k| !stale.contains(&k))
    });
    for (key, value) in entries {
        model.metadata_props.push(StringStringEntryProto {
            key: format!("headstart.{key}"),
            value,
        });
    }
    Ok(model.encode_to_vec())
}
