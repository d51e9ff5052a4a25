//! What a call asks for: the data, what stands behind it, and the spaces that it is seen in.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, anyhow};

use super::args::Args;
use super::open::{self, Opened};
use super::select::{distinct_groups, select};
use super::space::{Input, Space};
use super::{stored, strangers, things};
use crate::dataset::Dataset;
use crate::embedder::Embedder;
use crate::episode::Protocol;
use crate::error::Failure;
use crate::features::Feature;
use crate::files;

/// What is measured, and on what.
pub struct Task {
    /// How the data is cut.
    pub input: Input,
    /// What is taught and asked.
    pub data: Dataset,
    /// That, and behind it the strangers of a file of their own.
    pub world: Dataset,
    /// Their classes.
    pub strangers: BTreeSet<usize>,
    /// The rows' features: encoders first, in the order given, then what needs no pretraining.
    pub spaces: Vec<Space>,
    /// Who is asked, where the call does not say.
    pub protocols: &'static [Protocol],
    /// The data's file.
    pub dataset: String,
    /// In one line, for people.
    pub headline: String,
}

impl Task {
    /// Opens what the call names.
    pub fn new(args: &Args, notes: &mut Vec<String>) -> Result<Task, Failure> {
        match &args.data {
            None => embeddings(args, notes),
            // What the data is depends on who takes it: pictures and recordings are .npz files both.
            Some(data) => match things::taken_by(&args.encoder) {
                Some(true) => files_of(args, data, notes),
                None if data.is_dir() => files_of(args, data, notes),
                _ => recordings(args, data, notes),
            },
        }
    }
}

/// Pictures or clips, a file each or many in one.
fn files_of(args: &Args, data: &Path, notes: &mut Vec<String>) -> Result<Task, Failure> {
    let mut encoders = Vec::new();
    for path in std::iter::once(&args.encoder).chain(&args.against) {
        for engine in args.runtimes() {
            let encoder = Embedder::open_in(path, engine, args.threads)?;
            let packed = encoder.runtime == "pack";
            encoders.push((path.display().to_string(), encoder));
            if packed {
                break; // it runs by itself
            }
        }
    }
    let wanted = things::wanted(&encoders)?.context("it takes no pictures and no sound")?;
    things::task(args, data, encoders, wanted, notes)
}

fn recordings(args: &Args, path: &Path, notes: &mut Vec<String>) -> Result<Task, Failure> {
    let opened = open_all(args)?;
    let input = opened.first().context("no encoder")?.input;
    for Opened { space, .. } in &opened {
        if space.background.is_none() {
            notes.push(things::no_background(&space.name()));
        }
    }
    let all = load(path, &input)?;
    let data = chosen(args, &all)?;
    let (background, background_name) = match &args.background {
        Some(path) => (load(path, &input)?, path.display().to_string()),
        None => {
            notes.push(
                "without --background, the rivals are standardised on the evaluation data itself \
                 (all its windows, without labels), which favours them"
                    .to_owned(),
            );
            (all, path.display().to_string())
        }
    };
    let spaces = match args.no_rivals {
        true => opened.into_iter().map(|o| o.space).collect(),
        false => spaces(opened, &background, &input, args.seed, notes)?,
    };
    let headline = format!(
        "{}: {} subjects, {} windows of {} x {}; background {background_name}; seed {}",
        path.display(),
        distinct_groups(&data).len(),
        data.windows(input.window, input.hop).len(),
        input.window,
        input.channels,
        args.seed,
    );
    let unknown = args.unknown.as_deref();
    let unknown = unknown.map(|path| load(path, &input)).transpose()?;
    let (world, strangers) = world(args, &data, unknown, notes)?;
    Ok(Task {
        input,
        data,
        world,
        strangers,
        spaces,
        protocols: &Protocol::WEARERS,
        dataset: path.display().to_string(),
        headline,
    })
}

fn embeddings(args: &Args, notes: &mut Vec<String>) -> Result<Task, Failure> {
    let path = &args.encoder;
    if !path.is_dir() && !files::read(path)?.starts_with(open::ZIP) {
        return Err(Failure::Usage(format!(
            "DATA is required with an encoder: headstart evaluate {} DATA; only embeddings (.npz) are evaluated by themselves",
            path.display()
        )));
    }
    args.check_embeddings()?;
    let all = stored::load(path)?;
    let input = stored::input(&all);
    let data = chosen(args, &all)?;
    let background = match &args.background {
        Some(path) => Some(stored::load_like(path, &input)?),
        None => {
            notes.push(
                "without --background, the embeddings are centred on their own mean (without labels) and the heads start from nothing"
                    .to_owned(),
            );
            None
        }
    };
    let name = args.background.as_ref().unwrap_or(path).display();
    let headline = format!(
        "{}: {} groups, {} embeddings of {} values; background {name}; seed {}",
        path.display(),
        distinct_groups(&data).len(),
        data.rows(),
        data.channels,
        args.seed,
    );
    let trusted = background.is_some();
    let space = stored::open(path, background.as_ref().unwrap_or(&all), trusted, notes)?;
    let unknown = args.unknown.as_deref();
    let unknown = unknown.map(|path| stored::load_like(path, &input));
    let (world, strangers) = world(args, &data, unknown.transpose()?, notes)?;
    Ok(Task {
        input,
        data,
        world,
        strangers,
        spaces: vec![space],
        protocols: &[Protocol::NextGroup],
        dataset: path.display().to_string(),
        headline,
    })
}

/// The recordings that the call chooses.
fn chosen(args: &Args, all: &Dataset) -> Result<Dataset, Failure> {
    let classes = args.classes.as_deref();
    select(all, classes, args.groups.as_ref(), args.ways)
}

fn world(
    args: &Args,
    data: &Dataset,
    unknown: Option<Dataset>,
    notes: &mut Vec<String>,
) -> anyhow::Result<(Dataset, BTreeSet<usize>)> {
    match (&args.unknown, unknown) {
        (Some(path), Some(unknown)) => strangers::join(data, &unknown, path, notes),
        _ => Ok((data.clone(), BTreeSet::new())),
    }
}

fn open_all(args: &Args) -> Result<Vec<Opened>, Failure> {
    let paths = std::iter::once(&args.encoder).chain(&args.against);
    let mut opened: Vec<Opened> = Vec::new();
    for path in paths {
        for engine in args.runtimes() {
            let encoder = open::open_in(path, engine, args.threads)?;
            let packed = encoder.file.is_none();
            opened.push(encoder);
            if packed {
                break; // it runs by itself
            }
        }
    }
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
