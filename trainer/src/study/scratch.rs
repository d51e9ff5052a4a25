//! Networks of the encoder's shape that learn from the labels alone, in the loop of pretraining, with
//! the same augmentations.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use super::{Args, Labels, settings_of, windows};
use crate::encoder_file::EncoderFile;
use crate::episode::Episode;
use crate::evaluate::outcome::Outcome;
use crate::evaluate::progress::Progress;
use crate::evaluate::task::Task;
use crate::items::{Items, Wanted};
use crate::network;
use crate::pretext::{self, Supervised};
use crate::pretrain::{Settings, Training, Weighted};
use crate::source::picture::Pictures;
use crate::source::sensor::{Cut, Windows};
use crate::source::sound::Sounds;
use crate::source::{self, Source, Subset};
use crate::spool::Room;
use headstart::frontend::settings::Settings as FrontEnd;

/// Items of a step.
const BATCH: usize = 64;
/// Every label is seen at least so often.
const PASSES: usize = 20;

/// What a network trained from scratch says of every window.
pub struct Scratch {
    /// [windows, classes].
    logits: Vec<f32>,
    classes: usize,
}

/// Trains a network for each number of labels and each seed. Empty, with a note, where the encoder
/// does not say how to.
///
/// # Errors
/// Data that can't be read again, a training that fails.
pub fn train(
    args: &Args,
    task: &Task,
    supports: &[(Labels, &[Episode])],
    notes: &mut Vec<String>,
) -> anyhow::Result<BTreeMap<Labels, Vec<Scratch>>> {
    let settings = match settings_of(&args.encoder) {
        Ok(settings) => settings,
        Err(why) => {
            notes.push(format!("no network from scratch: {why:#}"));
            return Ok(BTreeMap::new());
        }
    };
    let (source, items) = open(args, task, &settings)?;
    let settings = settings.resolved(source.kind());
    let runs = supports.iter().map(|(_, episodes)| episodes.len()).sum();
    let progress = Progress::new("networks from scratch".to_owned(), runs);
    let mut found = BTreeMap::new();
    for (labels, episodes) in supports {
        let mut networks = Vec::new();
        for (seed, episode) in episodes.iter().enumerate() {
            let picked = episode.support.iter().flatten().map(|&w| items[w]);
            let picked: Vec<usize> = picked.collect();
            let seed = args.seed + seed as u64;
            networks.push(one(args, &settings, source.as_ref(), picked, &items, seed)?);
            progress.add(1);
        }
        found.insert(*labels, networks);
    }
    Ok(found)
}

fn one(
    args: &Args,
    settings: &Settings,
    source: &dyn Source,
    picked: Vec<usize>,
    items: &[usize],
    seed: u64,
) -> anyhow::Result<Scratch> {
    let steps = (args.scratch_steps as usize).max(PASSES * picked.len() / BATCH);
    let subset = Subset {
        of: source,
        picked,
        least: BATCH,
    };
    let per_epoch = subset.len() / BATCH;
    let settings = Settings {
        batch: BATCH as u32,
        epochs: steps.div_ceil(per_epoch.max(1)) as u32,
        seed,
        batches: None,
        groups: None,
        ..settings.clone()
    };
    let tasks: [Weighted; 1] = [(Box::new(Supervised), 1.0, "supervised".to_owned())];
    let training = Training::new(&subset, &tasks, &settings, &[], 0, None)?;
    let never = AtomicBool::new(false);
    let trained = training
        .run(&never, None, |_, _| Ok(()))
        .map_err(|failure| anyhow::anyhow!("{failure:#}"))?;
    let shape = settings.shape(source);
    let classes = source.labels().len();
    let mut logits = Vec::with_capacity(items.len() * classes);
    for items in items.chunks(256) {
        let plain = source::plain(source, items);
        let x = pretext::tensor(plain, shape.input, &network::device());
        let embedding = trained.encoder.forward(x);
        let head = trained.heads.first().and_then(|h| h.layers.first());
        if let Some(head) = head {
            logits.extend(crate::export::values(head.forward(embedding)));
        }
    }
    Ok(Scratch { logits, classes })
}

/// The data as training sees it, and which item each window is.
fn open(
    args: &Args,
    task: &Task,
    settings: &Settings,
) -> anyhow::Result<(Box<dyn Source>, Vec<usize>)> {
    let windows = windows(task);
    let file = EncoderFile::load(&args.encoder)?;
    let wanted = Wanted::of(&file.frontend);
    let Some(wanted) = wanted else {
        let cut = Cut {
            window: task.input.window,
            hop: task.input.hop,
            rate: task.input.rate,
            positive_hop: 0,
            augment: settings.augment.clone(),
        };
        let source = Windows::new(task.world.clone(), cut);
        return Ok((Box::new(source), (0..windows.len()).collect()));
    };
    let limit = args.limit.map_or(usize::MAX, |n| n as usize);
    let items = Items::open(&args.data, wanted, limit).map_err(|f| anyhow::anyhow!("{f:#}"))?;
    let number = |w: &crate::dataset::Window| task.world.window(w.start, 1)[0] as usize;
    let picked: Vec<usize> = (0..items.len()).collect();
    let room = Room::unlimited();
    let source: Box<dyn Source> = match &file.frontend {
        FrontEnd::LogMel(_) => {
            let sounds = Sounds::new(&items, &picked, settings.sound.clone(), args.seed, room)?;
            Box::new(sounds.scaled_as(&file.frontend))
        }
        _ => {
            let [height, width, channels] = file.frontend.shape().map(|side| side as u16);
            let shape = [channels, height, width];
            let pictures = Pictures::new(&items, &picked, shape, settings.picture.clone(), room)?;
            Box::new(pictures.scaled_as(&file.frontend))
        }
    };
    Ok((source, windows.iter().map(number).collect()))
}

/// The networks' answers to episodes, which take them in turn: of the seeds' own episodes each
/// meets its own.
pub fn answers(networks: &[Scratch], episodes: &[Episode]) -> Vec<Outcome> {
    let answer = |(network, episode): (&Scratch, &Episode)| {
        let mut right = Vec::new();
        for (&class, windows) in episode.classes.iter().zip(&episode.query) {
            for &window in windows {
                let logits = &network.logits[window * network.classes..][..network.classes];
                let all = episode.classes.iter().copied();
                let best = all.max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
                right.push(best == Some(class));
            }
        }
        Outcome {
            right,
            ..Outcome::default()
        }
    };
    networks.iter().cycle().zip(episodes).map(answer).collect()
}
