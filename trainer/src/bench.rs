//! `headstart bench`: one inference of the pack beside other runtimes, in one run.

mod cpu;
mod measure;
mod report;
mod runner;

use std::path::{Path, PathBuf};

use anyhow::Context;
use headstart::onnx::{Library, Ort, Tract};
use prost::Message;

use crate::error::{Failure, Outcome};
use crate::files::{self, Aligned};
use crate::pack;
use measure::measure;
use report::{Encoder, Report};
use runner::{Float, Pack, Runner};

/// Time one inference of an encoder's pack, of tract and of ONNX Runtime
///
/// On one thread, one input at a time, all in turn so that each meets the same machine. The pack is
/// made in memory and starts from raw counts; the others start from the float input. ONNX Runtime
/// takes part where ORT_DYLIB_PATH names its library; --peer adds files of your own for it, such as
/// the quantised ones of benches/qdq.py.
#[derive(clap::Args)]
#[command(after_help = "Example: headstart bench models/watch.onnx")]
pub struct Args {
    /// Encoders, as ONNX files
    #[arg(required = true)]
    encoders: Vec<PathBuf>,
    /// Recordings to calibrate with and to run on, or inputs, channels last. Without any, noise:
    /// times are the same
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
    /// One more ONNX file of the same encoder for ONNX Runtime; may be repeated
    #[arg(long, value_name = "NAME=FILE", value_parser = peer)]
    peer: Vec<(String, PathBuf)>,
    /// Turns that each runtime has
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// One JSON object on stdout instead of text
    #[arg(long)]
    json: bool,
}

/// Inputs that the runs take in turn.
const WINDOWS: usize = 8;

fn peer(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => {
            Ok((name.into(), file.into()))
        }
        _ => Err("a name and a file: u8s8=encoder_u8s8.onnx".into()),
    }
}

/// Runs the command.
pub fn run(args: Args) -> Outcome {
    if !args.peer.is_empty() && args.encoders.len() > 1 {
        return Err(Failure::Usage(
            "--peer belongs to one encoder: bench them one by one".into(),
        ));
    }
    let onnxruntime = Library::find().ok().map(Library::name);
    let mut report = Report::new(args.repeat as usize, onnxruntime);
    for path in &args.encoders {
        let encoder = bench(path, &args)?;
        report.encoders.push(encoder);
    }
    if args.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.text());
    }
    Ok(())
}

/// Makes every runner for an encoder, and lets them run in turn.
fn bench(path: &Path, args: &Args) -> Result<Encoder, Failure> {
    eprintln!("{}: packing", path.display());
    let (encoder, mut windows) = pack::inputs(path, args.data.as_deref(), 512)?;
    let (bytes, _) = pack::pack(&encoder, &windows, &pack::Options::default())
        .with_context(|| format!("could not pack {}", path.display()))?;
    windows.truncate(WINDOWS);
    // One inference is one window, whatever a signal has.
    let values: usize = encoder.input.dims.iter().product();
    let inputs = encoder.inputs(&windows)?;
    let inputs: Vec<Vec<f32>> = inputs.chunks_exact(values).map(<[f32]>::to_vec).collect();
    let bytes = Aligned::new(&bytes);
    let checked = headstart::EncoderPack::new(bytes.bytes()).context("the pack does not check")?;
    let mut arena = vec![0; checked.arena_bytes().div_ceil(4)];
    let mut skipped = Vec::new();
    let mut runners: Vec<(String, Box<dyn Runner + '_>)> = vec![(
        "pack, int8".into(),
        Box::new(Pack::new(checked, &windows, &mut arena)?),
    )];
    let shape = [&[1], encoder.input.dims.as_slice()].concat();
    match Float::<Tract>::new(&encoder.proto.encode_to_vec(), &shape, &inputs) {
        Ok(tract) => runners.push(("tract, f32".into(), Box::new(tract))),
        Err(e) => skipped.push(("tract, f32".into(), e.to_string())),
    }
    for (name, file) in peers(path, &args.peer) {
        let name = format!("ONNX Runtime, {name}");
        let bytes = files::read(&file)?;
        match Float::<Ort>::new(&bytes, &shape, &inputs) {
            Ok(session) => runners.push((name, Box::new(session))),
            Err(e) => skipped.push((name, e.to_string())),
        }
    }
    eprintln!("{}: {} turns each", path.display(), args.repeat);
    let runs = measure(&mut runners, args.repeat as usize)?;
    Ok(Encoder {
        name: name(path),
        macs: macs(&checked),
        runs,
        skipped,
    })
}

/// The encoder itself, and what was asked for besides.
fn peers(encoder: &Path, more: &[(String, PathBuf)]) -> Vec<(String, PathBuf)> {
    let mut peers = vec![("f32".to_owned(), encoder.to_owned())];
    peers.extend_from_slice(more);
    peers
}

fn name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or(path.as_os_str());
    stem.to_string_lossy().into_owned()
}

/// Multiply-accumulates of one inference.
fn macs(pack: &headstart::EncoderPack<'_>) -> usize {
    use headstart::pack::LayerKind::{Conv, Dense, Depthwise};
    let tensors = pack.tensors();
    let layers = pack.layers().iter().map(|layer| {
        let input = &tensors[usize::from(layer.input)];
        let output = &tensors[usize::from(layer.output)];
        let taps = usize::from(layer.kernel_height) * usize::from(layer.kernel_width);
        match layer.kind() {
            Some(Conv | Dense) => headstart::ops::geometry::filter(layer, input) * output.len(),
            Some(Depthwise) => taps * output.len(),
            _ => 0,
        }
    });
    layers.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_a_name_and_a_file() {
        let expected = ("u8s8".to_owned(), PathBuf::from("a=b.onnx"));
        assert_eq!(peer("u8s8=a=b.onnx"), Ok(expected));
        for wrong in ["", "=", "a=", "=b", "a"] {
            assert!(peer(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_watch_encoder_is_timed() {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/watch.onnx"));
        let args = Args {
            encoders: vec![path.to_owned()],
            data: None,
            peer: Vec::new(),
            repeat: 3,
            json: true,
        };
        let encoder = bench(path, &args).unwrap();
        assert_eq!(encoder.macs, 512_000);
        let names: Vec<&str> = encoder.runs.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names[..2], ["pack, int8", "tract, f32"]);
        for run in &encoder.runs {
            assert!(0.0 < run.least && run.least <= run.median && run.median <= run.most);
        }
        // ONNX Runtime, where its library is there.
        assert_eq!(encoder.runs.len() + encoder.skipped.len(), 3);
        let skipped = !encoder.skipped.is_empty();
        let mut report = Report::new(3, None);
        report.encoders.push(encoder);
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["encoders"][0]["runs"][0]["ratio"], 1.0);
        assert_eq!(report.text().contains("not run"), skipped);
    }
}
