//! Teaches an encoder's .onnx on a Linux board, through tract: the same learner as on a
//! microcontroller, without a pack.
//!
//!     cargo run --release --features tract --example linux
//!     cargo run --release --features tract --example linux -- models/watch.onnx --raw

use std::path::Path;
use std::process::ExitCode;

use headstart::onnx::{OnnxEncoder, Runtime, TractEncoder};
use headstart::{Encoder, Label, Learner, PrototypeHead, Statistics};

#[allow(dead_code)] // the teach example asks for more
mod watch;
use watch::Watch;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Exercises that are taught.
const WAYS: usize = 3;

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let raw = arguments.last().is_some_and(|last| last == "--raw");
    arguments.truncate(arguments.len() - usize::from(raw));
    let [onnx, data] = match arguments.as_slice() {
        [] => ["models/watch.onnx", "models/data/watch/unseen.npz"],
        [onnx] if !onnx.starts_with('-') => [onnx, "models/data/watch/unseen.npz"],
        [onnx, data] => [onnx, data],
        _ => {
            eprintln!("usage: linux [ENCODER.onnx [DATA.npz]] [--raw]");
            return ExitCode::from(2);
        }
    };
    match run(onnx, data, raw) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("error: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn run(onnx: &str, data: &str, raw: bool) -> Result<()> {
    let watch = Watch::load(Path::new(data))?;
    let encoder = TractEncoder::open(onnx)?;
    if raw {
        return print_raw(encoder, &watch);
    }
    let background = encoder.info().background.clone();
    let (dim, artefact) = (encoder.dim(), encoder.artefact());
    let mut words = vec![0; Statistics::words(dim, WAYS)];
    let mut labels = vec![Label::new(); WAYS];
    let statistics = Statistics::new(dim, artefact, &mut words, &mut labels)?;
    let head = PrototypeHead::new(background.as_ref().map(|b| b.view()));
    let mut embedding = vec![0; dim];
    let mut learner = Learner::new(encoder, statistics, head, &mut embedding)?;

    let (support, query) = watch::lesson(&watch.same_wearer());
    for &(class, window) in &support {
        learner.learn(&watch.labels[class], watch.counts(window))?;
    }
    let mut right = 0;
    for &(class, window) in &query {
        let prediction = learner.predict(watch.counts(window))?;
        println!("{} {}", watch.labels[class], prediction.label);
        right += usize::from(prediction.label == watch.labels[class]);
    }
    println!("{right} of {} right", query.len());
    Ok(())
}

/// The raw embeddings of what is taught and asked, a line each, to compare machines by.
fn print_raw<R: Runtime>(mut encoder: OnnxEncoder<R>, watch: &Watch) -> Result<()> {
    let (support, query) = watch::lesson(&watch.same_wearer());
    for (_, window) in support.iter().chain(&query) {
        let values = encoder.embed_raw(watch.counts(*window).into())?;
        let values: Vec<String> = values.iter().map(f32::to_string).collect();
        println!("{}", values.join(" "));
    }
    Ok(())
}
