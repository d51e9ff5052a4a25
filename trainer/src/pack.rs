//! `headstart pack`: an encoder's ONNX becomes the bytes that a device runs in place.

mod few_shot;
mod layout;
mod order;
mod records;
mod report;
mod writer;

use std::path::PathBuf;

use anyhow::Context;

use crate::dataset::Dataset;
use crate::encoder_file::EncoderFile;
use crate::error::{Failure, Outcome};
use crate::files::{self, Aligned};
use crate::float::FloatEncoder;
use crate::graph::Graph;
use crate::quantize::{self, Seen};

pub use few_shot::{FewShot, measure as few_shot};
pub use layout::{Layout, layout};
pub use writer::write;

/// Quantise an encoder to int8 for microcontrollers
///
/// Example: headstart pack models/watch.onnx models/data/watch/pretrain.npz -o models/watch.pack
#[derive(clap::Args)]
pub struct Args {
    /// The encoder, as `headstart pretrain` writes it
    encoder: PathBuf,
    /// Recordings like those that the encoder will meet; no labels needed
    calibration: PathBuf,
    /// Where the pack goes [default: beside the encoder, with the extension .pack]
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Labelled recordings: report the few-shot accuracy of pack and float encoder on them
    #[arg(long, value_name = "DATA")]
    labelled: Option<PathBuf>,
    /// Leave the background statistics out: smaller, but heads know less
    #[arg(long)]
    no_background: bool,
    /// Most windows to calibrate with
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    windows: u32,
    /// One JSON object on stdout instead of text
    #[arg(long)]
    json: bool,
}

/// Values that calibration keeps of each tensor.
const KEPT: usize = 1 << 16;

/// Runs the command.
pub fn run(args: Args) -> Outcome {
    let output = args
        .output
        .clone()
        .unwrap_or_else(|| args.encoder.with_extension("pack"));
    let encoder = EncoderFile::load(&args.encoder)
        .with_context(|| format!("could not read the encoder {}", args.encoder.display()))?;
    let data = Dataset::load(&args.calibration).context("could not read the calibration data")?;
    let windows = calibration_windows(&encoder, &data, args.windows as usize)?;
    let (bytes, layout) = pack(&encoder, &windows, args.no_background)?;
    let mut report = report::measure(&encoder, &bytes, &windows, &layout)?;
    files::write(&output, &bytes)?;
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

/// Raw counts of up to `most` windows, spread over the recordings.
fn calibration_windows(
    encoder: &EncoderFile,
    data: &Dataset,
    most: usize,
) -> Result<Vec<Vec<i16>>, Failure> {
    let front = &encoder.frontend;
    if data.channels != front.channels {
        return Err(anyhow::anyhow!(
            "the encoder takes {} channels, the calibration data has {}",
            front.channels,
            data.channels
        )
        .into());
    }
    let all = data.windows(front.window, front.hop);
    if all.is_empty() {
        return Err(anyhow::anyhow!(
            "no recording in the calibration data is as long as a window ({} time steps)",
            front.window
        )
        .into());
    }
    let step = all.len().div_ceil(most);
    let counts = |w: &crate::dataset::Window| front.counts(data.window(w.start, front.window));
    Ok(all.iter().step_by(step).map(counts).collect())
}

/// Quantises and lays out an encoder; `windows` are raw counts to calibrate with.
pub fn pack(
    encoder: &EncoderFile,
    windows: &[Vec<i16>],
    no_background: bool,
) -> anyhow::Result<(Vec<u8>, Layout)> {
    let front = &encoder.frontend;
    let mut graph = Graph::read(&encoder.proto, [1, front.window, front.channels])?;
    let seen = calibrate(encoder, &graph, windows)?;
    let scales = quantize::scales(&graph, &seen, encoder.embedding_step);
    let sizes: Vec<usize> = graph
        .tensors
        .iter()
        .zip(&scales)
        .map(|(t, s)| s.bytes(t.len()))
        .collect();
    order::reorder(&mut graph, |tensor| sizes[tensor]);
    let layers: Vec<_> = graph
        .layers
        .iter()
        .map(|l| quantize::layer(&graph, l, &scales))
        .collect::<Result<_, _>>()?;
    let layout = layout(&graph, &scales, None)?;
    let bytes = write(encoder, &graph, &scales, &layers, &layout, no_background)?;
    // The device's own check has the last word.
    let aligned = Aligned::new(&bytes);
    headstart::EncoderPack::new(aligned.bytes())
        .context("the packer wrote a pack that does not check")?;
    Ok((bytes, layout))
}

/// The values of every tensor over the calibration windows, thinned out evenly.
fn calibrate(
    encoder: &EncoderFile,
    graph: &Graph,
    windows: &[Vec<i16>],
) -> anyhow::Result<Vec<Seen>> {
    let names: Vec<&str> = graph.tensors[1..].iter().map(|t| t.name.as_str()).collect();
    let float = FloatEncoder::with_outputs(encoder, &names)?;
    let input: Vec<f32> = windows
        .iter()
        .flat_map(|w| encoder.frontend.input(w))
        .collect();
    let mut seen = vec![thin(&input)];
    for rows in float.run(&input)? {
        seen.push(thin(&rows.concat()));
    }
    Ok(seen)
}

fn thin(values: &[f32]) -> Seen {
    let every = values.len().div_ceil(KEPT).max(1);
    let mut kept: Seen = values.iter().step_by(every).copied().collect();
    // The extremes always count: clipping them is a choice, not an accident of thinning.
    kept.extend(values.iter().copied().reduce(f32::max));
    kept.extend(values.iter().copied().reduce(f32::min));
    kept
}
