//! `headstart pack`: an encoder's ONNX becomes the bytes that a device runs in place.

mod activations;
mod budget;
mod few_shot;
mod layers;
mod layout;
mod order;
mod records;
mod report;
mod search;
mod writer;

use std::path::{Path, PathBuf};

use anyhow::Context;
use headstart::frontend::settings::Settings;

use crate::dataset::Dataset;
use crate::encoder_file::EncoderFile;
use crate::error::{Failure, Outcome};
use crate::files;
use crate::float::FloatEncoder;
use crate::graph::Graph;
use crate::items::{Items, Owned, Picture, Wanted};
use crate::quantize::Seen;

pub use few_shot::{FewShot, measure as few_shot};
pub use layout::{Layout, layout};
pub use report::{Quality, quality};
pub use search::{Packed, Try, search};
pub use writer::write;

/// Quantise an encoder to int8 for microcontrollers
///
/// Example: headstart pack models/watch.onnx models/data/watch/pretrain.npz -o models/watch.pack
#[derive(clap::Args)]
pub struct Args {
    /// The encoder: what `headstart pretrain` writes, or somebody else's ONNX with a fixed input
    encoder: PathBuf,
    /// Recordings like those that the encoder will meet, or its inputs, channels last; a folder or an
    /// IDX file of pictures, a folder of WAV files; no labels needed. Without any, noise: sizes and speed are then right, accuracy is not
    calibration: Option<PathBuf>,
    /// Where the pack goes [default: beside the encoder, with the extension .pack]
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Other inputs to measure on what quantisation costs [default: those of the calibration]
    #[arg(long, value_name = "DATA")]
    test: Option<PathBuf>,
    /// Labelled recordings: report the few-shot accuracy of pack and float encoder on them
    #[arg(long, value_name = "DATA")]
    labelled: Option<PathBuf>,
    /// Leave the background statistics out: smaller, but heads know less
    #[arg(long)]
    no_background: bool,
    /// Working memory that the pack may take, in bytes, or in KiB with a k behind it
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    ram: Option<usize>,
    /// Flash that the pack may take
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    flash: Option<usize>,
    /// Mean centred cosine to the float encoder below which other ranges, equalised channels,
    /// corrected biases and 16-bit activations are tried, in this order; below eight outputs 20 dB
    /// are asked instead
    #[arg(long, value_name = "COSINE", default_value_t = 0.995)]
    cosine: f64,
    /// Most windows to calibrate with
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    windows: u32,
    /// One JSON object on stdout instead of text
    #[arg(long)]
    json: bool,
}

/// Values that calibration keeps of each tensor.
const KEPT: usize = 1 << 16;

/// `64k` is 65,536.
fn bytes(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1024),
        None => (text, 1),
    };
    let number: Option<usize> = digits.parse().ok();
    number
        .and_then(|n| n.checked_mul(unit))
        .ok_or_else(|| "a number of bytes, or of KiB with a k behind it: 65536 or 64k".into())
}

/// Runs the command.
pub fn run(args: Args) -> Outcome {
    let output = args
        .output
        .clone()
        .unwrap_or_else(|| args.encoder.with_extension("pack"));
    let (encoder, windows) = inputs(
        &args.encoder,
        args.calibration.as_deref(),
        args.windows as usize,
    )?;
    let options = Options {
        no_background: args.no_background,
        ram: args.ram,
        // Of noise there is nothing to be faithful to.
        cosine: args.calibration.as_ref().map(|_| args.cosine),
    };
    let packed = search(&encoder, &windows, &options)?;
    let tested = match &args.test {
        Some(path) => things(&encoder, path, usize::MAX).context("could not use the test data")?,
        None => windows,
    };
    let mut report = report::measure(&encoder, &packed, &tested)?;
    report.noise = args.calibration.is_none() && args.test.is_none();
    budget::check(&packed.bytes, args.ram, args.flash)?;
    files::write(&output, &packed.bytes)?;
    if let Some(labelled) = &args.labelled {
        report.few_shot = Some(few_shot::measure(&args.encoder, &output, labelled)?);
    }
    if args.json {
        println!("{}", report.json(&output));
    } else {
        print!("{}", report.text(&output));
    }
    Ok(())
}

/// The encoder, and signals to calibrate it with. Noise stands in where there is no data.
pub fn inputs(
    path: &Path,
    data: Option<&Path>,
    most: usize,
) -> Result<(EncoderFile, Vec<Owned>), Failure> {
    let bytes = files::read(path)?;
    let named = || format!("could not read the encoder {}", path.display());
    let mut encoder = match data {
        Some(data) => EncoderFile::for_data(&bytes, data).with_context(named)?,
        None => EncoderFile::plain(&bytes, 1.0).with_context(named)?,
    };
    let windows = match data {
        Some(data) => things(&encoder, data, most).context("could not use the calibration data")?,
        None => noise(&encoder),
    };
    measure_outputs(&mut encoder, &windows)?;
    Ok((encoder, windows))
}

/// Chooses the step and the centre of the outputs of a network that brings neither.
pub fn measure_outputs(encoder: &mut EncoderFile, windows: &[Owned]) -> anyhow::Result<()> {
    if encoder.embedding_step == 0.0 {
        let raw = FloatEncoder::new(encoder)?.signals(encoder, windows)?;
        let largest = raw.iter().flatten().fold(0.0f32, |m, v| m.max(v.abs()));
        // Room for half as much again in 16 bits.
        encoder.embedding_step = largest.max(1e-6) * 1.5 / 32767.0;
        let dim = raw.first().map_or(0, Vec::len);
        let mean = |d: usize| raw.iter().map(|r| r[d]).sum::<f32>() / raw.len() as f32;
        encoder.centre = Some((0..dim).map(mean).collect());
    }
    Ok(())
}

/// Inputs of no meaning, the same in every run.
fn noise(encoder: &EncoderFile) -> Vec<Owned> {
    use rand::{Rng, SeedableRng};
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(0);
    let mut one = || match &encoder.frontend {
        Settings::Image(image) => {
            let [height, width] = [image.height, image.width].map(usize::from);
            let channels = usize::from(image.channels);
            let mut pixels = vec![0; height * width * channels];
            random.fill_bytes(&mut pixels);
            Owned::Picture(Picture::new(height, width, channels, pixels))
        }
        front => {
            let sample = |_| random.next_u32() as i16;
            Owned::Samples((0..front.input_len()).map(sample).collect())
        }
    };
    (0..8).map(|_| one()).collect()
}

/// Up to `most` signals of the data, spread over all of it: windows of its recordings, pictures or
/// clips, as the encoder takes them.
pub fn things(encoder: &EncoderFile, data: &Path, most: usize) -> Result<Vec<Owned>, Failure> {
    let Settings::Sensor(front) = &encoder.frontend else {
        let wanted = Wanted::of(&encoder.frontend).context("no front end")?;
        let items = Items::unlabelled(data, wanted, usize::MAX)?;
        let step = items.len().div_ceil(most).max(1);
        let chosen = (0..items.len()).step_by(step);
        return Ok(chosen
            .map(|i| items.get(i, None))
            .collect::<Result<_, _>>()?);
    };
    let data = Dataset::load(data).map_err(anyhow::Error::from)?;
    if data.channels != front.channels {
        return Err(anyhow::anyhow!(
            "the encoder takes {} channels, the data has {}",
            front.channels,
            data.channels
        )
        .into());
    }
    let all = data.windows(front.window, front.hop);
    if all.is_empty() {
        return Err(anyhow::anyhow!(
            "no recording in the data is as long as a window ({} time steps)",
            front.window
        )
        .into());
    }
    let step = all.len().div_ceil(most);
    let counts = |w: &crate::dataset::Window| front.counts(data.window(w.start, front.window));
    let chosen = all.iter().step_by(step);
    Ok(chosen.map(|w| Owned::Samples(counts(w))).collect())
}

/// What a pack is to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Leave the background statistics out.
    pub no_background: bool,
    /// Bytes of arena that it may take.
    pub ram: Option<usize>,
    /// The mean cosine to the float encoder below which more than the plain way is tried.
    pub cosine: Option<f64>,
}

/// Quantises and lays out an encoder; `windows` are raw counts to calibrate with.
pub fn pack(
    encoder: &EncoderFile,
    windows: &[Owned],
    options: &Options,
) -> anyhow::Result<(Vec<u8>, Layout)> {
    let packed = search(encoder, windows, options)?;
    Ok((packed.bytes, packed.layout))
}

/// The values of every tensor over the calibration windows, thinned out evenly.
fn calibrate(encoder: &EncoderFile, graph: &Graph, windows: &[Owned]) -> anyhow::Result<Vec<Seen>> {
    // A step on the way to several tensors side by side has no name; its reader covers its range.
    let named = |t: &usize| !graph.tensors[*t].name.is_empty();
    let tensors: Vec<usize> = (1..graph.tensors.len()).filter(named).collect();
    let names: Vec<&str> = tensors
        .iter()
        .map(|&t| graph.tensors[t].name.as_str())
        .collect();
    let float = FloatEncoder::with_outputs(encoder, &names)?;
    let windows_each = encoder.frontend.windows();
    let total = |tensor: usize| graph.tensors[tensor].len() * windows.len() * windows_each;
    let mut thin: Vec<Thin> = (0..graph.tensors.len())
        .map(|t| Thin::of(total(t)))
        .collect();
    // A batch at a time: all activations of all windows would not fit into memory.
    for signals in windows.chunks(AT_ONCE.div_ceil(windows_each)) {
        let input = encoder.inputs(signals)?;
        thin[0].add(&input);
        for (rows, &tensor) in float.run(&input)?.iter().zip(&tensors) {
            rows.iter().for_each(|row| thin[tensor].add(row));
        }
    }
    let mut seen: Vec<Seen> = thin.into_iter().map(Thin::kept).collect();
    for layer in graph.layers.iter().rev() {
        for &input in &layer.inputs {
            if seen[input].is_empty() {
                seen[input] = seen[layer.output].clone();
            }
        }
    }
    Ok(seen)
}

/// Windows whose activations are held at once.
const AT_ONCE: usize = 32;

/// Every so-manieth of many values, and the extremes of all.
struct Thin {
    every: usize,
    next: usize,
    kept: Seen,
    extremes: Option<[f32; 2]>,
}

impl Thin {
    /// Of `total` values.
    fn of(total: usize) -> Thin {
        Thin {
            every: total.div_ceil(KEPT).max(1),
            next: 0,
            kept: Seen::new(),
            extremes: None,
        }
    }

    fn add(&mut self, values: &[f32]) {
        self.kept
            .extend(values.iter().skip(self.next).step_by(self.every));
        // Where the next one lies, counted from the end of these.
        let beyond = values.len().saturating_sub(self.next);
        let taken = beyond.div_ceil(self.every);
        self.next = (self.next + taken * self.every).saturating_sub(values.len());
        for &value in values {
            let [least, most] = self.extremes.unwrap_or([value; 2]);
            self.extremes = Some([least.min(value), most.max(value)]);
        }
    }

    /// The extremes always count: clipping them is a choice, not an accident of thinning.
    fn kept(mut self) -> Seen {
        if let Some([least, most]) = self.extremes {
            self.kept.extend([most, least]);
        }
        self.kept
    }
}
