//! `headstart study`: what pretraining is worth, as accuracy over the number of labels.
//!
//! Labels are drawn from some people (or voices, or fonts), questions from others. All lines answer
//! the same questions with the same labels: the pretrained encoder with each head, encoders that were
//! pretrained on other data, a network of the same shape that is trained on the labels alone, the
//! same with random weights, and features that need no network.

mod scratch;
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, anyhow, bail};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::dataset::Window;
use crate::episode::{Episode, Protocol, Sampler, shuffled};
use crate::error::{Failure, Outcome};
use crate::evaluate::cells::{self, Cell};
use crate::evaluate::heads::{FALSE_ACCEPTS, HeadKind};
use crate::evaluate::select::{Groups, distinct_groups, list};
use crate::evaluate::space::Features;
use crate::evaluate::table::Row;
use crate::evaluate::task::Task;
use scratch::Scratch;

/// Draw accuracy over the number of labels: pretrained, from scratch, random, raw
///
/// For each seed, labels of every class are drawn from the groups of --train and all questions come
/// from those of --test. With recordings of people who wear a sensor, the protocols of `evaluate`
/// follow, and the networks that were trained from scratch, on labels of --train, answer their
/// questions too.
///
/// ci95 is the half-width over the seeds (or episodes), ci95_groups over the people who are asked.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Example:\n  headstart study models/watch.onnx models/data/watch/full.npz \\\n    --background models/data/watch/pretrain.npz --train 1-5 --test 6-10 --plot watch.svg"
)]
pub struct Args {
    /// The pretrained encoder, .onnx
    pub encoder: PathBuf,
    /// Labelled data with groups: recordings, pictures or sound
    pub data: PathBuf,
    /// Encoders that were pretrained on other data
    #[arg(long, value_name = "ENCODER", num_args = 1..)]
    pub transfer: Vec<PathBuf>,
    /// Recordings to standardise raw and hand-made features on, no labels needed
    #[arg(long, value_name = "DATA")]
    pub background: Option<PathBuf>,
    /// Whose labels are taken [default: the first half of the groups]
    #[arg(long, value_name = "GROUPS")]
    pub train: Option<Groups>,
    /// Who is asked [default: everybody else]
    #[arg(long, value_name = "GROUPS")]
    pub test: Option<Groups>,
    /// Only these classes, names or indices separated by commas
    #[arg(long, value_delimiter = ',')]
    pub classes: Option<Vec<String>>,
    /// Labels of each class
    #[arg(long, value_delimiter = ',', default_value = "1,2,5,10,20,50,all")]
    pub labels: Vec<Labels>,
    /// How often labels, and the networks trained on them, are drawn anew
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=50))]
    pub seeds: u32,
    /// Which of the device's heads, several separated by commas; what was not pretrained gets auto and
    /// softmax of them
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "auto,prototype,ridge,softmax"
    )]
    pub head: Vec<HeadKind>,
    /// All of the device's heads
    #[arg(long, conflicts_with = "head")]
    pub all_heads: bool,
    /// Classes in an episode of the wearers' protocols [default: all of them]
    #[arg(long)]
    pub ways: Option<usize>,
    /// Episodes of the wearers' protocols; 0 leaves them out
    #[arg(long, default_value_t = 200)]
    pub episodes: usize,
    /// Steps that a network is trained from scratch for, more where there are many labels; 0 leaves it
    /// out
    #[arg(long, default_value_t = 400)]
    pub scratch_steps: u32,
    /// White noise so many decibels below the mean power of each clip
    #[arg(long, value_name = "DB", allow_negative_numbers = true)]
    pub snr: Option<f32>,
    /// Only the first so many clips or pictures of DATA
    #[arg(long, value_name = "ITEMS", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Threads; 0: one a processor
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Of labels and random weights
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Draw the curve into an .svg file
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// One JSON object on stdout instead of tables
    #[arg(long)]
    pub json: bool,
}

/// A number of labels a class, or all that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Labels {
    /// So many.
    Some(usize),
    /// All.
    All,
}

impl Labels {
    /// A number, if it is one.
    pub fn count(self) -> Option<usize> {
        match self {
            Labels::Some(count) => Some(count),
            Labels::All => None,
        }
    }
}

impl FromStr for Labels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text.trim(), text.trim().parse()) {
            ("all", _) => Ok(Labels::All),
            (_, Ok(count)) if count > 0 => Ok(Labels::Some(count)),
            _ => Err("give numbers above 0, or all".to_owned()),
        }
    }
}

impl std::fmt::Display for Labels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Labels::Some(count) => count.fmt(f),
            Labels::All => f.write_str("all"),
        }
    }
}

/// At most so many questions of a class from one group: evenly spread.
const QUESTIONS: usize = 60;

/// Runs the command.
pub fn run(args: Args) -> Outcome {
    if let Some(path) = &args.plot {
        if path.extension().is_none_or(|e| e != "svg") {
            return Err(Failure::Usage("--plot draws .svg files only".into()));
        }
        let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|f| !f.is_dir()) {
            return Err(anyhow!("there is no folder {} to write into", folder.display()).into());
        }
    }
    if args.threads > 0 {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(args.threads);
        let _ = pool.build_global();
    }
    let report = measure(&args)?;
    if let Some(path) = &args.plot {
        report.plot(path)?;
    }
    if args.json {
        let json = serde_json::to_string(&report).context("could not write the results as JSON")?;
        println!("{json}");
    } else {
        print!("{}", report.text());
    }
    Ok(())
}

fn measure(args: &Args) -> Result<table::Report, Failure> {
    let asked = crate::evaluate::Args::of_study(args);
    let mut notes = Vec::new();
    let mut task = Task::new(&asked, &mut notes)?;
    let first = args.encoder.display().to_string();
    for space in &mut task.spaces {
        if space.features == Features::Encoder && space.encoder.as_ref() != Some(&first) {
            space.features = Features::Transfer;
        }
    }
    let kinds = asked.heads();
    let (train, test) = split(args, &task)?;
    let labels = {
        let mut labels = args.labels.clone();
        labels.sort();
        labels.dedup();
        labels
    };

    // What is asked, and with which labels.
    let mut cells = Vec::new();
    for &count in &labels {
        let seeds = 0..u64::from(args.seeds);
        let episodes: Option<Vec<Episode>> = seeds
            .map(|seed| other_people(&task, &train, &test, count, args.seed + seed))
            .collect();
        if episodes.is_none() {
            notes.push(format!(
                "n/a: some class has fewer than {count} labelled items in --train"
            ));
        }
        cells.push(Asked {
            protocol: "other-people",
            labels: count,
            cell: Cell {
                protocol: Protocol::NextGroup,
                shots: count.count().unwrap_or(0),
                episodes: episodes.unwrap_or_default(),
            },
        });
    }
    if cells.iter().all(|c| c.cell.episodes.is_empty()) {
        return Err(anyhow!("there is nothing to ask: {}", list(notes)).into());
    }
    cells.extend(wearers(args, &task, &test, &labels, &mut notes));

    // A network a number of labels and a seed; it answers everything.
    let mut scratch: BTreeMap<Labels, Vec<Scratch>> = BTreeMap::new();
    if args.scratch_steps > 0 {
        let of_people = cells.iter().filter(|c| c.protocol == "other-people");
        let supports: Vec<(Labels, &[Episode])> = of_people
            .map(|c| (c.labels, c.cell.episodes.as_slice()))
            .collect();
        scratch = scratch::train(args, &task, &supports, &mut notes)?;
    }

    let mut rows = Vec::new();
    for space in &task.spaces {
        let kinds = heads_for(space.features, &kinds);
        let only: Vec<Cell> = cells.iter().map(|c| c.cell.clone()).collect();
        let (_, answers) = cells::answer(space, &task, &only, &kinds, FALSE_ACCEPTS, &mut notes)?;
        for (asked, by_head) in cells.iter().zip(&answers) {
            for (kind, own) in kinds.iter().zip(by_head) {
                let row = Row {
                    dataset: task.dataset.clone(),
                    encoder: space.encoder.clone(),
                    features: space.features.name(),
                    runtime: space.runtime,
                    head: kind.name(),
                    protocol: asked.protocol,
                    name: space.name(),
                    ..Row::default()
                };
                rows.push(asked.row(row, asked.cell.score(own, None)));
            }
        }
    }
    for asked in &cells {
        // In the wearers' protocols as many labels of other people as they have of their own.
        let Some(networks) = scratch.get(&asked.labels) else {
            continue;
        };
        let own = scratch::answers(networks, &asked.cell.episodes);
        let row = Row {
            dataset: task.dataset.clone(),
            features: "supervised",
            head: "linear",
            protocol: asked.protocol,
            name: "from scratch".to_owned(),
            ..Row::default()
        };
        rows.push(asked.row(row, asked.cell.score(&own, None)));
    }
    Ok(table::Report {
        rows,
        notes,
        seed: args.seed,
        headline: task.headline.clone(),
        labels,
    })
}

/// The heads that are worth their time: every one for what was pretrained; rivals have up to hundreds
/// of values, with which a head's cost grows as their cube.
fn heads_for(features: Features, kinds: &[HeadKind]) -> Vec<HeadKind> {
    let rival = !matches!(features, Features::Encoder | Features::Transfer);
    let few = [HeadKind::Auto, HeadKind::Softmax];
    let some: Vec<HeadKind> = kinds.iter().copied().filter(|k| few.contains(k)).collect();
    match rival && !some.is_empty() {
        true => some,
        false => kinds.to_vec(),
    }
}

/// A cell, and what the study calls it.
struct Asked {
    protocol: &'static str,
    labels: Labels,
    cell: Cell,
}

impl Asked {
    fn row(&self, row: Row, score: Option<crate::episode::Score>) -> table::StudyRow {
        let ways = self.cell.episodes.first().map_or(0, |e| e.classes.len());
        table::StudyRow {
            labels: self.labels.to_string(),
            row: Row {
                ways,
                shots: self.labels.count().unwrap_or(0),
                chance: 1.0 / ways.max(1) as f64,
                ..row
            }
            .score(score, None),
        }
    }
}

/// Who gives labels and who is asked.
fn split(args: &Args, task: &Task) -> Result<(Vec<u32>, Vec<u32>), Failure> {
    let all: Vec<u32> = distinct_groups(&task.data).into_iter().collect();
    if all.len() < 2 {
        return Err(anyhow!(
            "the data has {} group: a study takes labels from some (people, voices, fonts) and asks others",
            all.len()
        )
        .into());
    }
    let half = all.len() / 2;
    let chosen = |groups: &Option<Groups>, others: &dyn Fn(usize, u32) -> bool| -> Vec<u32> {
        let own = all.iter().enumerate().filter(|&(i, &g)| match groups {
            Some(groups) => groups.contains(g),
            None => others(i, g),
        });
        own.map(|(_, &g)| g).collect()
    };
    let test_first = chosen(&args.test, &|_, _| false);
    let train = chosen(&args.train, &|i, g| match args.test {
        Some(_) => !test_first.contains(&g),
        None => i < half,
    });
    let test = chosen(&args.test, &|_, g| !train.contains(&g));
    if let Some(both) = train.iter().find(|g| test.contains(g)) {
        return Err(Failure::Usage(format!(
            "group {both} is in --train and in --test: nobody is asked about what he taught"
        )));
    }
    if train.is_empty() || test.is_empty() {
        return Err(Failure::Usage(format!(
            "--train leaves {} groups to learn from and --test {} to ask; the data has {}",
            train.len(),
            test.len(),
            list(&all)
        )));
    }
    Ok((train, test))
}

fn windows(task: &Task) -> Vec<Window> {
    task.world.windows(task.input.window, task.input.hop)
}

/// Labels of some, questions to others; `None` where a class has too few labels.
fn other_people(
    task: &Task,
    train: &[u32],
    test: &[u32],
    labels: Labels,
    seed: u64,
) -> Option<Episode> {
    let windows = windows(task);
    let recording = |w: &Window| &task.world.recordings[w.recording];
    let classes: Vec<usize> = {
        let all = task.data.recordings.iter().filter_map(|r| r.class);
        all.collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect()
    };
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut support, mut query, mut groups) = (Vec::new(), Vec::new(), Vec::new());
    for &class in &classes {
        let of = |own: &[u32]| -> Vec<usize> {
            let fits = |(_, w): &(usize, &Window)| {
                let r = recording(w);
                r.class == Some(class) && own.contains(&r.group)
            };
            windows
                .iter()
                .enumerate()
                .filter(fits)
                .map(|(i, _)| i)
                .collect()
        };
        let mut taught = shuffled(&of(train), &mut rng);
        if let Labels::Some(count) = labels {
            if taught.len() < count {
                return None;
            }
            taught.truncate(count);
        }
        let asked: Vec<usize> = test
            .iter()
            .flat_map(|&group| {
                let own = of(&[group]);
                let every = own.len().div_ceil(QUESTIONS).max(1);
                own.into_iter().step_by(every).collect::<Vec<_>>()
            })
            .collect();
        if taught.is_empty() || asked.is_empty() {
            return None;
        }
        groups.push(
            asked
                .iter()
                .map(|&w| recording(&windows[w]).group)
                .collect(),
        );
        support.push(taught);
        query.push(asked);
    }
    Some(Episode {
        classes,
        support,
        query,
        groups,
        strangers: Vec::new(),
    })
}

/// The protocols of people who wear a sensor, with those who are asked.
fn wearers(
    args: &Args,
    task: &Task,
    test: &[u32],
    labels: &[Labels],
    notes: &mut Vec<String>,
) -> Vec<Asked> {
    let worn = task.input.window > 1;
    if !worn || args.episodes == 0 {
        return Vec::new();
    }
    // Windows keep their numbers: the others are only left out of the draw.
    let mut own = task.world.clone();
    for recording in &mut own.recordings {
        if !test.contains(&recording.group) {
            recording.class = None;
        }
    }
    let sides = own.recordings.iter().any(|r| r.side.is_some());
    let mut found = Vec::new();
    for protocol in [
        Protocol::SameWearer,
        Protocol::NextWearer,
        Protocol::OtherSide,
    ] {
        if protocol == Protocol::OtherSide && !sides {
            continue;
        }
        let sampler = Sampler::new(&own, protocol, cells::cut(&task.input));
        let ways = args.ways.unwrap_or(sampler.classes());
        for &count in labels {
            let Some(shots) = count.count() else { continue };
            match sampler.episodes(ways, shots, args.episodes, args.seed) {
                Ok(episodes) => found.push(Asked {
                    protocol: protocol.name(),
                    labels: count,
                    cell: Cell {
                        protocol,
                        shots,
                        episodes,
                    },
                }),
                Err(why) => notes.push(format!("n/a: {protocol}, {shots} labels: {why}")),
            }
        }
    }
    found
}

/// Where the encoder is not ours, its shape can't be trained from scratch.
fn settings_of(encoder: &std::path::Path) -> anyhow::Result<crate::pretrain::Settings> {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: crate::pretrain::Args,
    }
    let file = crate::encoder_file::EncoderFile::load(encoder)
        .with_context(|| format!("could not read {}", encoder.display()))?;
    let Some(command) = file.provenance.get("command") else {
        bail!("its file does not say how it was pretrained");
    };
    let words = command.split_whitespace().skip(1);
    let line = <Line as clap::Parser>::try_parse_from(words)
        .map_err(|_| anyhow!("the command in its file is not one of this version"))?;
    Ok(line.args.settings)
}
