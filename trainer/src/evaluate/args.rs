//! What `headstart evaluate` can be asked.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::anyhow;

use super::heads::{FALSE_ACCEPTS, HeadKind};
use super::open::Engine;
use super::select::Groups;
use crate::episode::{EPISODES, Protocol};
use crate::error::Failure;

/// Measure few-shot accuracy with 95 % intervals, against what needs no pretraining
///
/// An episode picks a wearer and --ways classes, teaches --shots labelled windows of each (the
/// support), and asks for the classes of 15 other windows of each (the queries). All rows answer
/// the same episodes: the encoder, those of --against, an encoder of the same shape with random
/// weights (where an .onnx is given), hand-made statistics and raw windows; on each the device's
/// heads. An .onnx runs in float and its embeddings are brought into the device's int8 space; a
/// .pack runs in integers, as on the device, on the counts that the data file holds.
///
/// Embeddings that were computed before (`headstart embed`) are given in the encoder's place, and
/// DATA is left out: x is [items, 1, values]. Their --background is embeddings too: its mean is
/// the centre, and where it has labels, rows of one label tell the heads how examples of one thing
/// vary.
///
/// same-wearer: support from the first third of a wearer's recordings, queries from the rest after
/// a gap. next-wearer: support from one wearer, queries from another. In both, support is drawn at
/// random from all of the wearer's recordings of a class, both wrists together. other-side: support
/// from one wrist, queries from the other, of one wearer. next-group: the
/// groups (voices, images) are dealt anew for each episode, 60 % teach and the others are asked.
///
/// ci95 is the half-width over the episodes, ci95_groups the one over the wearers or groups: how
/// far the figure may be off for somebody new. Cells without enough windows are n/a. The
/// calibration error compares the probability of the answer with how often it is right, in 15
/// stretches.
///
/// Strangers are 4 windows of each class that an episode does not teach, or of each class of
/// --unknown: a head should call them unknown. AUROC is that of the log-likelihood ratio for auto
/// and bayes on a background, else of the answer's probability.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  headstart evaluate models/watch.onnx models/data/watch/full.npz \\\n    --against models/watch.pack --background models/data/watch/pretrain.npz \\\n    --groups 6-10 --ways 7 --shots 1,5\n\n  headstart evaluate target.npz --background background.npz --unknown other.npz \\\n    --ways 8 --shots 1,5,20 --all-heads --plot heads.svg"
)]
pub struct Args {
    /// The encoder, .onnx or .pack; or labelled embeddings, .npz, and then no DATA
    pub(super) encoder: PathBuf,
    /// Labelled recordings: .npz with x, y and group, .csv, or a folder of such; for encoders of
    /// pictures or sound a folder of class folders, an IDX file with its labels, or an .npz of
    /// pictures with x and y
    pub(super) data: Option<PathBuf>,
    /// Further encoders, measured in the same episodes
    #[arg(long, value_name = "ENCODER", num_args = 1..)]
    pub(super) against: Vec<PathBuf>,
    /// Recordings to standardise the rivals on, no labels needed: those of pretraining. For
    /// embeddings: others of the same encoder, best with labels, for the heads to start from
    #[arg(long, value_name = "DATA")]
    pub(super) background: Option<PathBuf>,
    /// Labelled data of classes that nobody teaches [default: the classes that an episode leaves]
    #[arg(long, value_name = "DATA")]
    pub(super) unknown: Option<PathBuf>,
    /// White noise so many decibels below the mean power of each clip, for encoders of sound
    /// [default: none]
    #[arg(long, value_name = "DB", allow_negative_numbers = true)]
    pub(super) snr: Option<f32>,
    /// Only the first so many clips or pictures of DATA
    #[arg(long, value_name = "ITEMS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) limit: Option<u32>,
    /// Of strangers, the fraction that auto and bayes may take for a class that they were taught
    #[arg(long, value_name = "FRACTION", default_value_t = FALSE_ACCEPTS)]
    pub(super) false_accepts: f32,
    /// Classes in an episode
    #[arg(long, default_value_t = 3)]
    pub(super) ways: usize,
    /// Labelled examples of each class, several separated by commas
    #[arg(long, default_value = "5", value_delimiter = ',')]
    shots: Vec<usize>,
    /// Only these classes, names or indices separated by commas
    #[arg(long, value_delimiter = ',')]
    pub(super) classes: Option<Vec<String>>,
    /// Only these groups, for example 6-10 or 1,3
    #[arg(long)]
    pub(super) groups: Option<Groups>,
    /// Who is asked: the wearer who taught, another one, both in turn, or other groups [default:
    /// both for recordings, next-group for pictures, sound and embeddings]
    #[arg(long, value_enum)]
    protocol: Option<ProtocolChoice>,
    /// Episodes in each cell
    #[arg(long, default_value_t = EPISODES)]
    pub(super) episodes: usize,
    /// Which of the device's heads, several separated by commas
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "auto,prototype,softmax"
    )]
    head: Vec<HeadKind>,
    /// All of the device's heads
    #[arg(long, conflicts_with = "head")]
    all_heads: bool,
    /// Of the episodes and of the random weights
    #[arg(long, default_value_t = 0)]
    pub(super) seed: u64,
    /// What runs an .onnx; several separated by commas answer the same episodes, and the largest
    /// difference between their embeddings is told
    #[arg(long, value_enum, value_delimiter = ',', default_value = "tract")]
    runtime: Vec<Engine>,
    /// Threads to embed and to answer with; 0: one a processor
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) threads: usize,
    /// Leave out what needs no pretraining: random weights, hand-made statistics, raw windows
    #[arg(long)]
    pub(super) no_rivals: bool,
    /// Run the recordings as running sensors too: detections, false alarms an hour, latency
    #[arg(long)]
    pub(super) stream: bool,
    /// Draw the accuracy over shots, a line a head, into an .svg file (no other format)
    #[arg(long, value_name = "FILE.svg")]
    pub(super) plot: Option<PathBuf>,
    /// Write the first encoder's embeddings and the episodes into an .npz, with each head's
    /// accuracy in each episode: benches/sklearn_heads.py runs other methods on the same
    #[arg(long, value_name = "FILE.npz")]
    pub(super) export: Option<PathBuf>,
    /// One JSON object on stdout instead of tables
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ProtocolChoice {
    SameWearer,
    NextWearer,
    Both,
    OtherSide,
    NextGroup,
}

impl Args {
    /// What `headstart study` asks for.
    pub(crate) fn of_study(study: &crate::study::Args) -> Args {
        Args {
            encoder: study.encoder.clone(),
            data: Some(study.data.clone()),
            against: study.transfer.clone(),
            background: study.background.clone(),
            unknown: None,
            snr: study.snr,
            limit: study.limit,
            false_accepts: FALSE_ACCEPTS,
            ways: study.ways.unwrap_or(2),
            shots: study.labels.iter().filter_map(|l| l.count()).collect(),
            classes: study.classes.clone(),
            groups: None,
            protocol: None,
            episodes: study.episodes,
            head: study.head.clone(),
            all_heads: study.all_heads,
            seed: study.seed,
            runtime: vec![Engine::Tract],
            threads: study.threads,
            no_rivals: false,
            stream: false,
            plot: None,
            export: None,
            json: study.json,
        }
    }

    /// What clap can't know to be wrong.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let svg = |path: &PathBuf| path.extension().is_some_and(|e| e == "svg");
        let wrong = if self.ways < 2 {
            "--ways must be at least 2: telling classes apart takes two"
        } else if self.shots.contains(&0) {
            "--shots must be at least 1 each"
        } else if self.episodes == 0 {
            "--episodes must be at least 1"
        } else if self.snr.is_some_and(|db| !db.is_finite()) {
            "--snr must be a number of decibels"
        } else if !(self.false_accepts > 0.0 && self.false_accepts <= 0.5) {
            "--false-accepts is a fraction above 0, at most 0.5"
        } else if !self.plot.as_ref().is_none_or(svg) {
            "--plot draws .svg files only"
        } else {
            return self.check_folders();
        };
        Err(Failure::Usage(wrong.to_owned()))
    }

    /// Nobody should wait for results that can't be written.
    fn check_folders(&self) -> Result<(), Failure> {
        for path in self.plot.iter().chain(&self.export) {
            let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
            if let Some(folder) = folder.filter(|f| !f.is_dir()) {
                let why = format!("there is no folder {} to write into", folder.display());
                return Err(anyhow!(why).into());
            }
            if path.is_dir() {
                return Err(anyhow!("{} is a folder", path.display()).into());
            }
        }
        Ok(())
    }

    /// What has no meaning for embeddings that were computed before.
    pub(super) fn check_embeddings(&self) -> Result<(), Failure> {
        let wrong = if !self.against.is_empty() {
            "--against takes encoders, and embeddings need none: evaluate them one by one"
        } else if self.stream {
            "--stream runs recordings through an encoder; embeddings are no recordings"
        } else {
            return Ok(());
        };
        Err(Failure::Usage(wrong.to_owned()))
    }

    /// Who is asked; `usual` where the call does not say.
    pub(super) fn protocols(&self, usual: &[Protocol]) -> Vec<Protocol> {
        match self.protocol {
            None => usual.to_vec(),
            Some(ProtocolChoice::SameWearer) => vec![Protocol::SameWearer],
            Some(ProtocolChoice::NextWearer) => vec![Protocol::NextWearer],
            Some(ProtocolChoice::OtherSide) => vec![Protocol::OtherSide],
            Some(ProtocolChoice::NextGroup) => vec![Protocol::NextGroup],
            Some(ProtocolChoice::Both) => Protocol::WEARERS.to_vec(),
        }
    }

    /// Each once, in the order given.
    pub(super) fn runtimes(&self) -> Vec<Engine> {
        let mut engines = Vec::new();
        for &engine in &self.runtime {
            if !engines.contains(&engine) {
                engines.push(engine);
            }
        }
        engines
    }

    /// Each once, from few to many.
    pub(super) fn shots(&self) -> BTreeSet<usize> {
        self.shots.iter().copied().collect()
    }

    /// Each once, the default head first.
    pub(crate) fn heads(&self) -> Vec<HeadKind> {
        let mut heads = HeadKind::ALL.to_vec();
        heads.retain(|kind| self.all_heads || self.head.contains(kind));
        heads
    }
}
