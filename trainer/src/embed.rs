//! `headstart embed`: what an encoder makes of speech or pictures, computed once and kept in a file.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, anyhow};
use npyz::WriterBuilder;
use npyz::npz::NpzWriter;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::embedder::Embedder;
use crate::error::{Failure, Outcome};
use crate::evaluate::progress::Progress;
use crate::files;
use crate::items::{Items, Noise, Wanted};

/// Compute the embeddings of an encoder once, into an .npz
///
/// The file has x [items, 1, values] as the encoder gives them, y, labels and group, and is read
/// like any other data: each embedding is a recording of its own. The same data, --snr and --seed
/// give the same bytes on any number of threads.
///
/// An encoder of sound takes a folder of class folders of WAV files, mono, at its own rate; the
/// group is the file's name up to the first `_` (Speech Commands' way). A clip is centred in what
/// the encoder takes at once, a longer one cut to its beginning. An encoder of pictures takes an IDX
/// file `...-images-idx3-ubyte` with its labels beside it (either may be gzipped), or a folder of
/// class folders of PNG or JPEG files; every picture is a group of its own. Or it takes an .npz file
/// with pictures in x and their classes in y, and then group says what belongs together.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  models/get speech words\n  headstart import models/third-party/speech_embedding.onnx -o speech.onnx --preset speech-embedding\n  headstart embed speech.onnx models/data/words/target -o words.npz --snr 10\n\n  models/get image fashion\n  headstart import models/third-party/efficientnet_lite0_b11.onnx -o image.onnx --preset efficientnet-lite\n  headstart embed image.onnx models/data/fashion/t10k-images-idx3-ubyte.gz -o fashion.npz --limit 3000\n\n  Pairs of views instead of labels:\n  headstart embed image.onnx models/data/fashion/train-images-idx3-ubyte.gz -o views.npz --limit 2000 --views 2"
)]
pub struct Args {
    /// The encoder: what `headstart import` writes with a --preset
    pub encoder: PathBuf,
    /// What to embed: a folder of class folders, an IDX file, or an .npz file of pictures
    pub data: PathBuf,
    /// Where the embeddings go
    #[arg(short, long, value_name = "EMBEDDINGS")]
    pub output: PathBuf,
    /// White noise so many decibels below the mean power of each clip [default: none]
    #[arg(long, value_name = "DB", allow_negative_numbers = true)]
    pub snr: Option<f32>,
    /// So many augmented views of each picture in place of itself, for pictures without labels: y is
    /// then the picture's index and group the view's number, the views of a picture stand side by
    /// side. The data's own labels are not read, and a folder may have the pictures in itself. A view
    /// is turned (0.17 rad), scaled (15 %), moved (9 %) and lit (gain and gamma, 40 %) by at most so
    /// much, and mirrored or not. At most 65536 pictures; 1 is each picture as it is
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub views: u32,
    /// Only the first so many clips or pictures; a folder's come class by class
    #[arg(long, value_name = "ITEMS", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Names the noise and the views
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// One JSON object on stdout instead of text
    #[arg(long)]
    pub json: bool,
}

/// The largest number of classes that a data set may have.
const MOST_CLASSES: usize = 65_536;

/// What a run came to.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The file.
    pub output: PathBuf,
    /// Of the file.
    pub sha256: String,
    /// Embeddings.
    pub items: usize,
    /// Values of an embedding.
    pub dim: usize,
    /// Classes with an item.
    pub classes: usize,
    /// Groups with an item.
    pub groups: usize,
    /// Spent embedding.
    pub seconds: f64,
}

/// Runs the command.
pub fn run(args: Args) -> Outcome {
    let report = embed(&args)?;
    if args.json {
        let json = serde_json::to_string(&report).context("could not write the result as JSON")?;
        println!("{json}");
    } else {
        println!(
            "{}: {} embeddings of {} values, {} classes, {} groups, in {:.1} s",
            report.output.display(),
            report.items,
            report.dim,
            report.classes,
            report.groups,
            report.seconds
        );
    }
    Ok(())
}

/// What is known of each embedding, in the order of the file.
pub(crate) struct Known {
    pub labels: Vec<String>,
    /// Indices into `labels`.
    pub classes: Vec<u32>,
    pub groups: Vec<u32>,
}

/// Embeds and writes the file.
///
/// # Errors
/// Names the file that is missing or can't be used, and what to do about it.
pub fn embed(args: &Args) -> Result<Report, Failure> {
    check(args)?;
    let encoder = Embedder::open(&args.encoder)?;
    let wanted = encoder.wanted().context(
        "the encoder takes a sensor's windows or plain numbers, not files: `headstart evaluate` reads recordings; an encoder of pictures or sound is imported with a --preset",
    )?;
    if args.snr.is_some() && matches!(wanted, Wanted::Pictures { .. }) {
        return Err(Failure::Usage(
            "--snr is for sound: pictures get no noise".into(),
        ));
    }
    if args.views > 1 && matches!(wanted, Wanted::Sound { .. }) {
        return Err(Failure::Usage(
            "--views is for pictures: there are no views of speech".into(),
        ));
    }
    let limit = args.limit.map_or(usize::MAX, |n| n as usize);
    let start = Instant::now();
    let (known, rows) = match args.views {
        1 => plain(args, &encoder, Items::open(&args.data, wanted, limit)?)?,
        views => seen(
            args,
            &encoder,
            Items::unlabelled(&args.data, wanted, limit)?,
            views as usize,
        )?,
    };
    let seconds = start.elapsed().as_secs_f64();
    let bytes = npz(&known, &rows).context("could not lay out the embeddings")?;
    files::write(&args.output, &bytes)?;
    Ok(Report {
        output: args.output.clone(),
        sha256: hex(&Sha256::digest(&bytes)),
        items: rows.len(),
        dim: rows.first().map_or(0, Vec::len),
        classes: distinct(&known.classes),
        groups: distinct(&known.groups),
        seconds,
    })
}

fn plain(args: &Args, encoder: &Embedder, items: Items) -> Result<(Known, Vec<Vec<f32>>), Failure> {
    let noise = args.snr.map(|snr| Noise {
        snr,
        seed: args.seed,
    });
    let progress = Progress::new("embedding", items.len());
    let rows = encoder.rows(items.len(), &progress, |i| items.get(i, noise))?;
    let Items {
        labels,
        classes,
        groups,
        ..
    } = items;
    Ok((
        Known {
            labels,
            classes,
            groups,
        },
        rows,
    ))
}

/// `views` views of each item, side by side: the class is the item, the group the view.
fn seen(
    args: &Args,
    encoder: &Embedder,
    items: Items,
    views: usize,
) -> Result<(Known, Vec<Vec<f32>>), Failure> {
    if items.len() > MOST_CLASSES {
        return Err(Failure::Usage(format!(
            "--views makes a class of each picture, and a data set has at most {MOST_CLASSES} classes; these are {} pictures: take fewer with --limit",
            items.len()
        )));
    }
    let count = items.len() * views;
    let progress = Progress::new("embedding", count);
    let rows = encoder.rows(count, &progress, |i| {
        items.view(i / views, i % views, args.seed)
    })?;
    let known = Known {
        labels: (0..items.len()).map(|i| i.to_string()).collect(),
        classes: (0..count).map(|i| (i / views) as u32).collect(),
        groups: (0..count).map(|i| (i % views) as u32).collect(),
    };
    Ok((known, rows))
}

/// What clap can't know to be wrong, before anything is computed.
fn check(args: &Args) -> Result<(), Failure> {
    if args.snr.is_some_and(|db| !db.is_finite()) {
        return Err(Failure::Usage("--snr must be a number of decibels".into()));
    }
    let folder = args.output.parent().unwrap_or(Path::new(""));
    if !folder.as_os_str().is_empty() && !folder.is_dir() {
        let text = format!("there is no folder {} to write into", folder.display());
        return Err(anyhow!(text).into());
    }
    if args.output.is_dir() {
        let text = format!("the output {} is a folder", args.output.display());
        return Err(anyhow!(text).into());
    }
    std::fs::metadata(&args.data)
        .with_context(|| format!("could not read the data {}", args.data.display()))?;
    Ok(())
}

/// The bytes of the `.npz` file; they depend on nothing but the arguments.
pub(crate) fn npz(known: &Known, rows: &[Vec<f32>]) -> anyhow::Result<Vec<u8>> {
    let mut npz = NpzWriter::new(Cursor::new(Vec::new()));
    let count = rows.len() as u64;
    let dim = rows.first().map_or(0, Vec::len) as u64;
    let values = rows.iter().flatten().copied();
    add(&mut npz, "x", &[count, 1, dim], values)?;
    add(&mut npz, "y", &[count], known.classes.iter().copied())?;
    add(&mut npz, "group", &[count], known.groups.iter().copied())?;
    add_labels(&mut npz, &known.labels)?;
    Ok(npz.zip_writer().finish()?.into_inner())
}

/// Class names as rows of bytes, padded with zeros.
pub(crate) fn add_labels(
    npz: &mut NpzWriter<Cursor<Vec<u8>>>,
    labels: &[String],
) -> anyhow::Result<()> {
    let width = labels.iter().map(String::len).max().unwrap_or(0);
    let mut table = Vec::with_capacity(labels.len() * width);
    for (row, label) in labels.iter().enumerate() {
        table.extend(label.bytes());
        table.resize((row + 1) * width, 0);
    }
    let shape = [labels.len() as u64, width as u64];
    add(npz, "labels", &shape, table.into_iter())
}

pub(crate) fn add<T: npyz::AutoSerialize>(
    npz: &mut NpzWriter<Cursor<Vec<u8>>>,
    name: &str,
    shape: &[u64],
    values: impl Iterator<Item = T>,
) -> anyhow::Result<()> {
    // By default an entry has the time of day and is deflated.
    let options = zip::write::FileOptions::default()
        .compression_method(zip::CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default());
    let entry = npz.array(name, options)?;
    let mut writer = entry.default_dtype().shape(shape).begin_nd()?;
    writer.extend(values)?;
    Ok(writer.finish()?)
}

fn distinct(values: &[u32]) -> usize {
    let distinct: std::collections::BTreeSet<_> = values.iter().collect();
    distinct.len()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
