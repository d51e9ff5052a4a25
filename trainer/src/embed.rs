//! `headstart embed`: what somebody else's encoder makes of speech or images, computed once and
//! kept in a file.

mod folder;
mod idx;
mod images;
mod network;
mod speech;
mod views;
mod wav;

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, anyhow, ensure};
use npyz::WriterBuilder;
use npyz::npz::NpzWriter;
use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::{Failure, Outcome};
use crate::evaluate::progress::Progress;
use crate::files;
use folder::Kind;
use images::{ImageEncoder, Images};
use speech::SpeechEncoder;
use views::View;

/// Compute the embeddings of a third-party encoder once, into an .npz
///
/// The file has x [items, 1, values] as the encoder gives them, y, labels and group, and is read
/// like any other data: each embedding is a recording of its own. The same data, --snr and --seed
/// give the same bytes on any number of threads.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  models/get speech words\n  headstart embed models/third-party/speech_embedding.onnx models/data/words/target -o words.npz --preset speech-embedding --snr 10\n\n  models/get image fashion\n  headstart embed models/third-party/efficientnet_lite0_b11.onnx models/data/fashion/t10k-images-idx3-ubyte.gz -o fashion.npz --preset imagenet --limit 3000\n\n  Pairs of views instead of labels:\n  headstart embed models/third-party/efficientnet_lite0_b11.onnx models/data/fashion/train-images-idx3-ubyte.gz -o views.npz --preset imagenet --limit 2000 --views 2"
)]
pub struct Args {
    /// The encoder, an ONNX file as its makers publish it
    pub encoder: PathBuf,
    /// What to embed: see --preset
    pub data: PathBuf,
    /// Where the embeddings go
    #[arg(short, long, value_name = "EMBEDDINGS")]
    pub output: PathBuf,
    /// What the encoder takes, and so what the data is
    #[arg(long, value_enum)]
    pub preset: Preset,
    /// White noise so many decibels below the mean power of each clip [default: none]
    #[arg(long, value_name = "DB", allow_negative_numbers = true)]
    pub snr: Option<f32>,
    /// So many augmented views of each image in place of itself, for images without labels: y is
    /// then the image's index and group the view's number, the views of an image stand side by side.
    /// The data's own labels are not read, and a folder may have the images in itself. A view is
    /// turned (0.17 rad), scaled (15 %), moved (9 %) and lit (gain and gamma, 40 %) by at most so
    /// much, and mirrored or not. At most 65536 images; 1 is each image as it is
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub views: u32,
    /// Only the first so many clips or images; a folder's come class by class
    #[arg(long, value_name = "ITEMS", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Names the noise and the views
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// One JSON object on stdout instead of text
    #[arg(long)]
    pub json: bool,
}

/// From a file of the data to what an encoder takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    /// Google's speech_embedding (96 values) behind its log-mel front end,
    /// speech_melspectrogram.onnx in the same folder. The data is a folder of class folders of WAV
    /// files, 16 kHz mono; the group is the file's name up to the first `_` (Speech Commands' way).
    /// A clip is centred in 1.5 s, a longer one cut to its first 1.5 s; the embedding is the mean
    /// over 9 windows
    SpeechEmbedding,
    /// An image encoder of fixed input size whose input is (pixel - 127) / 128, such as
    /// EfficientNet-Lite. The data is an IDX file `...-images-idx3-ubyte` with its labels beside
    /// it (either may be gzipped), or a folder of class folders of PNG or JPEG files; every image
    /// is a group of its own. Images are resized bilinearly to the encoder's size, grey ones fill
    /// three channels; an output that still has height and width is averaged over both
    Imagenet,
}

/// What is known of each item before it is embedded, in the order of the file.
pub(crate) struct Items {
    labels: Vec<String>,
    /// Indices into `labels`.
    classes: Vec<u32>,
    groups: Vec<u32>,
}

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

/// Embeds and writes the file.
///
/// # Errors
/// Names the file that is missing or can't be used, and what to do about it.
pub fn embed(args: &Args) -> Result<Report, Failure> {
    check(args)?;
    let limit = args.limit.map_or(usize::MAX, |n| n as usize);
    let start = Instant::now();
    let (items, rows) = match args.preset {
        Preset::SpeechEmbedding => speech(args, limit)?,
        Preset::Imagenet => images(args, limit)?,
    };
    let seconds = start.elapsed().as_secs_f64();
    let bytes = npz(&items, &rows).context("could not lay out the embeddings")?;
    files::write(&args.output, &bytes)?;
    Ok(Report {
        output: args.output.clone(),
        sha256: hex(&Sha256::digest(&bytes)),
        items: rows.len(),
        dim: rows.first().map_or(0, Vec::len),
        classes: distinct(&items.classes),
        groups: distinct(&items.groups),
        seconds,
    })
}

fn speech(args: &Args, limit: usize) -> Result<(Items, Vec<Vec<f32>>), Failure> {
    let encoder = SpeechEncoder::load(&args.encoder)?;
    let mut files = folder::list(&args.data, Kind::Wav)?;
    let items = files.items(limit, folder::groups);
    let rows = all(items.classes.len(), |i| {
        let path = &files.paths[i];
        let clip = wav::clip(path, args.snr, args.seed, i as u64)?;
        encoder.embed(&clip).with_context(|| name(path))
    })?;
    Ok((items, rows))
}

fn images(args: &Args, limit: usize) -> Result<(Items, Vec<Vec<f32>>), Failure> {
    let encoder = ImageEncoder::load(&args.encoder)?;
    if args.views == 1 {
        let (images, items) = Images::open(&args.data, limit)?;
        let rows = all(items.classes.len(), |i| {
            encoder.embed(&images.get(i)?, None)
        })?;
        return Ok((items, rows));
    }
    let views = args.views as usize;
    let images = Images::unlabelled(&args.data, limit)?;
    let items = views::items(images.len(), views)?;
    let rows = all(items.classes.len(), |i| {
        let (image, number) = (i / views, i % views);
        let view = View::new(args.seed, image, number);
        encoder.embed(&images.get(image)?, Some(&view))
    })?;
    Ok((items, rows))
}

/// What clap can't know to be wrong, before anything is computed.
fn check(args: &Args) -> Result<(), Failure> {
    let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
    match (args.preset, args.snr) {
        (Preset::Imagenet, Some(_)) => {
            return usage("--snr is for --preset speech-embedding: images get no noise");
        }
        (_, Some(db)) if !db.is_finite() => return usage("--snr must be a number of decibels"),
        _ => {}
    }
    if args.preset == Preset::SpeechEmbedding && args.views > 1 {
        return usage("--views is for --preset imagenet: there are no views of speech");
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

/// A row for each item, in order whatever the number of threads.
fn all(
    items: usize,
    row: impl Fn(usize) -> anyhow::Result<Vec<f32>> + Sync,
) -> anyhow::Result<Vec<Vec<f32>>> {
    let progress = Progress::new("embedding", items);
    let one = |i: usize| {
        let row = row(i)?;
        let finite = row.iter().all(|v| v.is_finite());
        ensure!(finite, "the encoder gives NaN or infinity for item {i}");
        progress.add(1);
        Ok(row)
    };
    (0..items).into_par_iter().map(one).collect()
}

/// The bytes of the `.npz` file; they depend on nothing but the arguments.
fn npz(items: &Items, rows: &[Vec<f32>]) -> anyhow::Result<Vec<u8>> {
    let mut npz = NpzWriter::new(Cursor::new(Vec::new()));
    let count = rows.len() as u64;
    let dim = rows.first().map_or(0, Vec::len) as u64;
    let width = items.labels.iter().map(String::len).max().unwrap_or(0);
    let mut table = Vec::with_capacity(items.labels.len() * width);
    for (row, label) in items.labels.iter().enumerate() {
        table.extend(label.bytes());
        table.resize((row + 1) * width, 0);
    }
    let shape = [items.labels.len() as u64, width as u64];
    add(
        &mut npz,
        "x",
        &[count, 1, dim],
        rows.iter().flatten().copied(),
    )?;
    add(&mut npz, "y", &[count], items.classes.iter().copied())?;
    add(&mut npz, "group", &[count], items.groups.iter().copied())?;
    add(&mut npz, "labels", &shape, table.into_iter())?;
    Ok(npz.zip_writer().finish()?.into_inner())
}

fn add<T: npyz::AutoSerialize>(
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
    values
        .iter()
        .collect::<std::collections::BTreeSet<_>>()
        .len()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn name(path: &Path) -> String {
    path.display().to_string()
}
