//! `headstart evaluate`: what an encoder is worth to somebody who teaches with a few examples.
//!
//! Every row of the table answers the same episodes. Windows are embedded once; the device's own
//! heads then learn and predict on the int8 embeddings, so that rows differ in the features only.

mod args;
pub(crate) mod heads;
pub(crate) mod open;
mod parallel;
pub(crate) mod progress;
mod random;
pub(crate) mod select;
pub(crate) mod space;
mod stream;
mod table;
#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::{Context, anyhow};

pub use self::args::Args;
use self::heads::{HeadKind, answers};
use self::open::Opened;
use self::progress::Progress;
use self::select::{distinct_groups, list, select};
use self::space::{Input, Space};
use self::stream::Streams;
use self::table::{Report, Row};
use crate::dataset::Dataset;
use crate::episode::{Cut, Episode, Protocol, Sampler, Score};
use crate::error::{Failure, Outcome};
use crate::features::Feature;

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

/// How the recordings are cut for an encoder.
fn cut(input: &Input) -> Cut {
    Cut {
        length: input.window,
        hop: input.hop,
        gap: input.window,
    }
}

fn measure(args: &Args) -> Result<Report, Failure> {
    let mut notes = Vec::new();
    let opened = open_all(args)?;
    let input = opened.first().context("no encoder")?.input;
    let all = load(&args.data, &input)?;
    let data = select(
        &all,
        args.classes.as_deref(),
        args.groups.as_ref(),
        args.ways,
    )?;
    let (background, background_name) = match &args.background {
        Some(path) => (load(path, &input)?, path.display().to_string()),
        None => {
            notes.push(
                "without --background, the rivals are standardised on the evaluation data itself \
                 (all its windows, without labels), which favours them"
                    .to_owned(),
            );
            (all, args.data.display().to_string())
        }
    };
    let spaces = spaces(opened, &background, &input, args.seed, &mut notes)?;
    let cells = cells(args, &data, &input, &mut notes)?;
    let kinds = args.heads();
    let mut results = Vec::new();
    for space in &spaces {
        results.push(space_results(
            space, &data, &input, &cells, &kinds, &mut notes,
        )?);
    }
    let names = Names {
        args,
        spaces: &spaces,
        kinds: &kinds,
    };
    let rows = rows(&names, &cells, &results);
    let stream = match args.stream {
        true => streams(&names, &data, input, &mut notes)?,
        false => Vec::new(),
    };
    let headline = format!(
        "{}: {} subjects, {} windows of {} x {}; background {background_name}; seed {}",
        args.data.display(),
        distinct_groups(&data).len(),
        data.windows(input.window, input.hop).len(),
        input.window,
        input.channels,
        args.seed,
    );
    Ok(Report {
        rows,
        stream,
        notes,
        seed: args.seed,
        headline,
    })
}

fn open_all(args: &Args) -> Result<Vec<Opened>, Failure> {
    let paths = std::iter::once(&args.encoder).chain(&args.against);
    let opened: Vec<Opened> = paths.map(|p| open::open(p)).collect::<Result<_, _>>()?;
    let window = |input: &Input| (input.channels, input.window, input.hop);
    for pair in opened.windows(2) {
        if let [first, other] = pair
            && window(&first.input) != window(&other.input)
        {
            return Err(anyhow!(
                "{} takes windows of {} x {}, hop {}, and {} of {} x {}, hop {}: they can't answer the same episodes; evaluate them one by one",
                first.space.name(),
                first.input.window,
                first.input.channels,
                first.input.hop,
                other.space.name(),
                other.input.window,
                other.input.channels,
                other.input.hop,
            )
            .into());
        }
    }
    Ok(opened)
}

/// Recordings that fit the encoder and hold at least one window.
fn load(path: &Path, input: &Input) -> anyhow::Result<Dataset> {
    let data = Dataset::load(path)?;
    input.check(&data, path)?;
    if data.windows(input.window, input.hop).is_empty() {
        return Err(anyhow!(
            "no recording in {} is as long as a window ({} time steps)",
            path.display(),
            input.window
        ));
    }
    Ok(data)
}

/// The rows' features: encoders first, in the order given, then what needs no pretraining.
fn spaces(
    opened: Vec<Opened>,
    background: &Dataset,
    input: &Input,
    seed: u64,
    notes: &mut Vec<String>,
) -> anyhow::Result<Vec<Space>> {
    let (mut spaces, mut twin) = (Vec::new(), None);
    for Opened { space, file, .. } in opened {
        if let (Some(file), None) = (&file, &twin) {
            let mut random = open::random_twin(file, background, seed)?;
            random.encoder = space.encoder.clone();
            twin = Some(random);
        }
        spaces.push(space);
    }
    if twin.is_none() {
        notes.push(
            "no random-initialised encoder: its shape is known from an .onnx only".to_owned(),
        );
    }
    spaces.extend(twin);
    for feature in [Feature::HandMade, Feature::RawWindow] {
        spaces.push(open::plain(feature, background, input)?);
    }
    Ok(spaces)
}

/// One cell of the table: a protocol and a number of shots. No episodes where there are not
/// enough windows.
struct Cell {
    protocol: Protocol,
    shots: usize,
    episodes: Vec<Episode>,
}

fn cells(
    args: &Args,
    data: &Dataset,
    input: &Input,
    notes: &mut Vec<String>,
) -> anyhow::Result<Vec<Cell>> {
    let (mut cells, mut reasons) = (Vec::new(), Vec::new());
    for protocol in args.protocols() {
        let sampler = Sampler::new(data, protocol, cut(input));
        for &shots in &args.shots {
            let drawn = sampler.episodes(args.ways, shots, args.episodes, args.seed);
            let episodes = drawn.unwrap_or_else(|why| {
                reasons.push(format!("{protocol}, {shots}-shot: {why}"));
                Vec::new()
            });
            cells.push(Cell {
                protocol,
                shots,
                episodes,
            });
        }
    }
    if cells.iter().all(|c| c.episodes.is_empty()) {
        return Err(anyhow!("there are no episodes: {}", list(reasons)));
    }
    notes.extend(reasons.into_iter().map(|why| format!("n/a: {why}")));
    Ok(cells)
}

/// What one space answered: by cell, then by head, then by episode.
type Answers = Vec<Vec<Vec<(u32, f64)>>>;

fn space_results(
    space: &Space,
    data: &Dataset,
    input: &Input,
    cells: &[Cell],
    kinds: &[HeadKind],
    notes: &mut Vec<String>,
) -> anyhow::Result<Answers> {
    let embedded = space.embed(data, &data.windows(input.window, input.hop))?;
    if embedded.silent() > 0 {
        notes.push(format!(
            "{}: {} windows carry no signal and count as wrong",
            space.name(),
            embedded.silent()
        ));
    }
    let episodes = cells.iter().map(|c| c.episodes.len()).sum::<usize>() * kinds.len();
    let progress = Progress::new(format!("episodes, {}", space.name()), episodes);
    let answer = |cell: &Cell| {
        let by_head = kinds.iter();
        by_head
            .map(
                |&kind| match space.background.is_some() || kind.runs_without_background() {
                    true => answers(space, &embedded, kind, &cell.episodes, &progress),
                    false => Ok(Vec::new()),
                },
            )
            .collect()
    };
    cells.iter().map(answer).collect()
}

/// What names a row.
struct Names<'a> {
    args: &'a Args,
    spaces: &'a [Space],
    kinds: &'a [HeadKind],
}

impl Names<'_> {
    fn row(&self, space: &Space, kind: HeadKind, protocol: Protocol, shots: usize) -> Row {
        Row {
            dataset: self.args.data.display().to_string(),
            encoder: space.encoder.clone(),
            features: space.features.name(),
            head: kind.name(),
            protocol: match protocol {
                Protocol::SameWearer => "same-wearer",
                Protocol::NextWearer => "next-wearer",
            },
            ways: self.args.ways,
            shots,
            chance: 1.0 / self.args.ways as f64,
            accuracy: None,
            ci95: None,
            ci95_groups: None,
            episodes: 0,
            difference: None,
            difference_ci95: None,
            difference_ci95_groups: None,
            name: space.name(),
        }
    }
}

/// Cell by cell, head by head, so that rivals stand below each other.
fn rows(names: &Names<'_>, cells: &[Cell], results: &[Answers]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (c, cell) in cells.iter().enumerate() {
        for (h, &kind) in names.kinds.iter().enumerate() {
            let first = &results[0][c][h];
            for (s, (space, answers)) in names.spaces.iter().zip(results).enumerate() {
                let own = &answers[c][h];
                let paired = own.iter().zip(first).map(|(a, b)| (a.0, a.1 - b.1));
                let difference = Score::over(&paired.collect::<Vec<_>>()).filter(|_| s > 0);
                let row = names.row(space, kind, cell.protocol, cell.shots);
                rows.push(row.score(Score::over(own), difference));
            }
        }
    }
    rows
}

fn streams(
    names: &Names<'_>,
    data: &Dataset,
    input: Input,
    notes: &mut Vec<String>,
) -> anyhow::Result<Vec<stream::StreamRow>> {
    let (args, first) = (names.args, names.spaces.first().context("no encoder")?);
    let mut rows = Vec::new();
    for &shots in &args.shots {
        match Streams::new(data, first, input, args.ways, shots, args.seed) {
            Ok(streams) => {
                for space in names.spaces {
                    let row = names.row(space, HeadKind::Prototype, Protocol::SameWearer, shots);
                    rows.extend(streams.run(space, names.kinds, &row)?);
                }
            }
            Err(why) => notes.push(format!("no streams at {shots} shots: {why:#}")),
        }
    }
    Ok(rows)
}
