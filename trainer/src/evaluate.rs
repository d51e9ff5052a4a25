//! `headstart evaluate`: what an encoder is worth to somebody who teaches with a few examples.
//!
//! Every row of the table answers the same episodes. Windows are embedded once; the device's own
//! heads then learn and predict on the int8 embeddings, so that rows differ in the features only.

mod args;
mod cells;
mod export;
pub(crate) mod heads;
pub(crate) mod open;
mod open_set;
mod outcome;
mod parallel;
mod plot;
pub(crate) mod progress;
mod random;
mod reliability;
mod rows;
pub(crate) mod select;
pub(crate) mod space;
mod stored;
mod strangers;
mod stream;
mod table;
mod task;
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
use self::table::Report;
use self::task::Task;
use crate::error::{Failure, Outcome};

/// Runs the command.
pub fn run(args: Args) -> Outcome {
    args.check()?;
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
    let mut first: Option<Embedded> = None;
    for space in &task.spaces {
        let (embedded, found) =
            cells::answer(space, &task, &cells, &kinds, args.false_accepts, &mut notes)?;
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
        auto_minus_best: measured.auto_minus_best(),
        open_set: measured.open_set(),
        rows,
        stream,
        notes,
        seed: args.seed,
        headline: task.headline.clone(),
    })
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
