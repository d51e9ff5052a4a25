//! `headstart evaluate`: what an encoder is worth to somebody who teaches with a few examples.
//!
//! Every row of the table answers the same episodes. Windows are embedded once; the device's own
//! heads then learn and predict on the int8 embeddings, so that rows differ in the features only.

pub(crate) mod args;
pub(crate) mod cells;
mod export;
pub(crate) mod heads;
pub(crate) mod open;
mod open_set;
pub(crate) mod outcome;
pub(crate) mod parallel;
mod plot;
pub mod progress;
mod random;
mod reliability;
mod rows;
pub(crate) mod select;
pub(crate) mod space;
mod stored;
mod strangers;
mod stream;
pub(crate) mod table;
pub(crate) mod task;
#[cfg(test)]
mod tests;
mod things;

use anyhow::Context;

pub use self::args::Args;
use self::cells::Answers;
use self::heads::HeadKind;
use self::rows::{Measured, unmeasured};
use self::space::Embedded;
use self::stream::Streams;
use self::table::{Report, TimeRow};
use self::task::Task;
use crate::error::{Failure, Outcome};

/// Of the largest value: what the order of float sums may make.
const RUNTIMES_AGREE: f64 = 1e-4;

/// Runs the command.
pub fn run(args: Args) -> Outcome {
    args.check()?;
    if args.threads > 0 {
        // Fails where something ran before, as in tests: all processors then.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(args.threads);
        let _ = pool.build_global();
    }
    let report = measure(&args)?;
    if args.json {
        let json = serde_json::to_string(&report).context("could not write the results as JSON")?;
        println!("{json}");
    } else {
        print!("{}", report.text());
    }
    Ok(())
}

fn measure(args: &Args) -> Result<Report, Failure> {
    let mut notes = Vec::new();
    let task = Task::new(args, &mut notes)?;
    let cells = cells::draw(args, &task, &mut notes)?;
    let kinds = args.heads();
    let mut answers: Vec<Answers> = Vec::new();
    let mut times = Vec::new();
    let mut first: Option<Embedded> = None;
    for space in &task.spaces {
        let (embedded, found) =
            cells::answer(space, &task, &cells, &kinds, args.false_accepts, &mut notes)?;
        times.extend(space.runtime.map(|runtime| TimeRow {
            encoder: space.encoder.clone(),
            runtime,
            us_per_embedding: embedded.us_each,
            name: space.name(),
        }));
        first.get_or_insert(embedded);
        answers.push(found);
    }
    let measured = Measured {
        args,
        task: &task,
        kinds: &kinds,
        cells: &cells,
        answers: &answers,
    };
    let rows = measured.rows();
    if let Some(path) = &args.plot {
        plot::write(path, &rows)?;
    }
    if let (Some(path), Some(embedded)) = (&args.export, &first) {
        export::write(path, &measured, embedded)?;
    }
    let stream = match args.stream {
        true => streams(args, &task, &kinds, &mut notes)?,
        false => Vec::new(),
    };
    Ok(Report {
        times,
        runtime_difference: runtime_difference(&task, &mut notes)?,
        auto_minus_best: measured.auto_minus_best(),
        open_set: measured.open_set(),
        rows,
        stream,
        notes,
        seed: args.seed,
        headline: task.headline.clone(),
    })
}

/// How far tract and ONNX Runtime are apart on the first encoder, where both run it: the largest
/// difference between raw embeddings, over the largest value.
fn runtime_difference(task: &Task, notes: &mut Vec<String>) -> anyhow::Result<Option<f64>> {
    let [one, other, ..] = task.spaces.as_slice() else {
        return Ok(None);
    };
    if one.encoder != other.encoder || one.runtime == other.runtime {
        return Ok(None);
    }
    let windows = task.world.windows(task.input.window, task.input.hop);
    let raw = |space: &space::Space| space.raw(&task.world, &windows).transpose();
    let (Some(one), Some(other)) = (raw(one)?, raw(other)?) else {
        return Ok(None);
    };
    let values = || one.iter().flatten().zip(other.iter().flatten());
    let largest = values().fold(0.0f32, |m, (a, _)| m.max(a.abs()));
    let apart = values().fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
    let difference = f64::from(apart) / f64::from(largest.max(f32::MIN_POSITIVE));
    if difference > RUNTIMES_AGREE {
        notes.push(format!(
            "tract and ort should agree within {RUNTIMES_AGREE} of the largest value: one of them runs this graph wrongly"
        ));
    }
    Ok(Some(difference))
}

fn streams(
    args: &Args,
    task: &Task,
    kinds: &[HeadKind],
    notes: &mut Vec<String>,
) -> anyhow::Result<Vec<stream::StreamRow>> {
    let first = task.spaces.first().context("no encoder")?;
    let mut rows = Vec::new();
    for shots in args.shots() {
        match Streams::new(&task.data, first, task.input, args.ways, shots, args.seed) {
            Ok(streams) => {
                for space in &task.spaces {
                    let row = unmeasured(args, &task.dataset, space, HeadKind::Prototype);
                    rows.extend(streams.run(space, kinds, &table::Row { shots, ..row })?);
                }
            }
            Err(why) => notes.push(format!("no streams at {shots} shots: {why:#}")),
        }
    }
    Ok(rows)
}
