//! Teaches an encoder's .onnx on a Linux board, through tract: the same learner as on a
//! microcontroller, without a pack. With --raw it prints raw embeddings instead, to compare
//! machines by.
//!
//!     cargo run --release --features tract --example linux
//!     linux models/watch.onnx models/data/watch/unseen.npz [--raw]

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use headstart::onnx::TractEncoder;
use headstart::{Encoder, Label, Learner, PrototypeHead, Statistics};

#[allow(dead_code)] // the teach example asks for more
mod watch;
use watch::Watch;

/// Exercises that are taught.
const WAYS: usize = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [] => teach("models/watch.onnx", "models/data/watch/unseen.npz"),
        [onnx, data] => teach(onnx, data),
        [onnx, data, "--raw"] => raw(onnx, data),
        _ => {
            eprintln!("usage: linux [ENCODER.onnx DATA.npz [--raw]]");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("error: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn teach(onnx: &str, data: &str) -> Result<(), Box<dyn Error>> {
    let watch = Watch::load(Path::new(data))?;
    let encoder = TractEncoder::open(onnx)?;
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
        let truth = watch.labels[class].as_str();
        println!("{truth:<5} named {}", prediction.label);
        right += usize::from(prediction.label == truth);
    }
    println!("{right} of {} right", query.len());
    Ok(())
}

fn raw(onnx: &str, data: &str) -> Result<(), Box<dyn Error>> {
    let watch = Watch::load(Path::new(data))?;
    let mut encoder = TractEncoder::open(onnx)?;
    let (support, query) = watch::lesson(&watch.same_wearer());
    for (_, window) in support.iter().chain(&query) {
        let values = encoder.embed_raw(watch.counts(*window).into())?;
        let values: Vec<String> = values.iter().map(f32::to_string).collect();
        println!("{}", values.join(" "));
    }
    Ok(())
}
