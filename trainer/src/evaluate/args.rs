//! What `headstart evaluate` can be asked.

use std::path::PathBuf;

use super::heads::HeadKind;
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
/// same-wearer: support from the first third of a wearer's recordings, queries from the rest after
/// a gap. next-wearer: support from one wearer, queries from another. In both, support is drawn at
/// random from all of the wearer's recordings of a class, both wrists together.
///
/// ci95 is the half-width over the episodes, ci95_groups the one over the wearers: how far the
/// figure may be off for somebody new. Cells without enough windows are n/a.
#[derive(clap::Args)]
#[command(
    after_help = "Example: headstart evaluate models/watch.onnx models/data/watch/full.npz \\
    --against models/watch.pack --background models/data/watch/pretrain.npz \\
    --groups 6-10 --ways 7 --shots 1,5"
)]
pub struct Args {
    /// The encoder, .onnx or .pack
    pub(super) encoder: PathBuf,
    /// Labelled recordings: .npz with x, y and group
    pub(super) data: PathBuf,
    /// Further encoders, measured in the same episodes
    #[arg(long, value_name = "ENCODER", num_args = 1..)]
    pub(super) against: Vec<PathBuf>,
    /// Recordings to standardise the rivals on, no labels needed: those of pretraining
    #[arg(long, value_name = "DATA")]
    pub(super) background: Option<PathBuf>,
    /// Classes in an episode
    #[arg(long, default_value_t = 3)]
    pub(super) ways: usize,
    /// Labelled examples of each class, several separated by commas
    #[arg(long, default_value = "5", value_delimiter = ',')]
    pub(super) shots: Vec<usize>,
    /// Only these classes, names or indices separated by commas
    #[arg(long, value_delimiter = ',')]
    pub(super) classes: Option<Vec<String>>,
    /// Only these groups, for example 6-10 or 1,3
    #[arg(long)]
    pub(super) groups: Option<Groups>,
    /// Who is asked: the wearer who taught, another one, or both in turn
    #[arg(long, value_enum, default_value_t = ProtocolChoice::Both)]
    protocol: ProtocolChoice,
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
    /// Run the recordings as running sensors too: detections, false alarms an hour, latency
    #[arg(long)]
    pub(super) stream: bool,
    /// One JSON object on stdout instead of tables
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ProtocolChoice {
    SameWearer,
    NextWearer,
    Both,
}

impl Args {
    /// What clap can't know to be wrong.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let wrong = if self.ways < 2 {
            "--ways must be at least 2: telling classes apart takes two"
        } else if self.shots.contains(&0) {
            "--shots must be at least 1 each"
        } else if self.episodes == 0 {
            "--episodes must be at least 1"
        } else {
            return Ok(());
        };
        Err(Failure::Usage(wrong.to_owned()))
    }

    pub(super) fn protocols(&self) -> Vec<Protocol> {
        match self.protocol {
            ProtocolChoice::SameWearer => vec![Protocol::SameWearer],
            ProtocolChoice::NextWearer => vec![Protocol::NextWearer],
            ProtocolChoice::Both => Protocol::ALL.to_vec(),
        }
    }

    pub(super) fn heads(&self) -> Vec<HeadKind> {
        match self.all_heads {
            true => HeadKind::ALL.to_vec(),
            false => self.head.clone(),
        }
    }
}
