//! The watch demo, for any board: learns three exercises from five examples each, one at a time,
//! forgets one and learns it again, loses power, then names the exercises of the rest of the recordings.
//!
//! A board gives a counter and a place to print to; everything else is here, so that a laptop, an
//! emulator and two boards run the same code and print the same digest.
#![no_std]

pub mod data;
mod report;

pub use report::Report;

use headstart::digest::Digest;
use headstart::encoder::EncoderError;
use headstart::learner::LearnerError;
use headstart::pack::PackError;
use headstart::statistics::StatisticsError;
use headstart::{EncoderPack, Label, Learner, PackedEncoder, PrototypeHead, Statistics, kernels};

/// What a board has to offer.
pub trait Board {
    /// What [`Board::count`] counts: "instructions", "cycles", "ns".
    const UNIT: &'static str;

    /// A counter that goes up and wraps at 2^32.
    fn count(&mut self) -> u32;
}

/// The layers that the encoder is made of; `headstart pack` prints this line.
type Kernels = kernels!(Conv, Dense, AvgPool, MaxPool, Add);

/// How many classes there is room for.
pub const CLASSES: usize = 3;

/// Bytes that what was learnt takes where it outlives a reset.
const SNAPSHOT: usize = Statistics::snapshot_bytes(data::DIM, CLASSES);

/// All the memory that learning takes, stack apart. Sized when the firmware is built.
pub struct Memory {
    /// What learning works in.
    pub ram: Ram,
    /// Stands for a page of flash.
    flash: [u8; SNAPSHOT],
}

/// What a power cut takes.
pub struct Ram {
    arena: [u32; data::ARENA_WORDS],
    words: [i32; Statistics::words(data::DIM, CLASSES)],
    labels: [Label; CLASSES],
    embedding: [i8; data::DIM],
}

impl Memory {
    /// Zeros: lies in .bss, takes no flash.
    pub const fn new() -> Self {
        Memory {
            ram: Ram {
                arena: [0; data::ARENA_WORDS],
                words: [0; Statistics::words(data::DIM, CLASSES)],
                labels: [const { Label::new() }; CLASSES],
                embedding: [0; data::DIM],
            },
            flash: [0; SNAPSHOT],
        }
    }
}

impl Ram {
    /// The power fails.
    fn lose(&mut self) {
        self.arena.fill(0xDEAD_BEEF);
        self.words.fill(-1);
        self.labels.fill(Label::new());
        self.embedding.fill(-1);
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// Why the demo stopped.
#[derive(Debug)]
pub enum DemoError {
    /// The encoder's file is damaged.
    Pack(PackError),
    /// The encoder does not fit this firmware.
    Encoder(EncoderError),
    /// A window was not learnt or predicted.
    Learner(LearnerError),
}

impl core::fmt::Display for DemoError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            DemoError::Pack(e) => e.fmt(f),
            DemoError::Encoder(e) => e.fmt(f),
            DemoError::Learner(e) => e.fmt(f),
        }
    }
}

impl core::error::Error for DemoError {}

impl From<PackError> for DemoError {
    fn from(error: PackError) -> Self {
        DemoError::Pack(error)
    }
}

impl From<EncoderError> for DemoError {
    fn from(error: EncoderError) -> Self {
        DemoError::Encoder(error)
    }
}

impl From<StatisticsError> for DemoError {
    fn from(error: StatisticsError) -> Self {
        DemoError::Learner(error.into())
    }
}

impl From<LearnerError> for DemoError {
    fn from(error: LearnerError) -> Self {
        DemoError::Learner(error)
    }
}

/// The learner of this firmware.
pub type WatchLearner<'a> = Learner<'a, PackedEncoder<'a, Kernels>, PrototypeHead>;

/// A learner that knows nothing yet.
pub fn learner(memory: &mut Ram) -> Result<WatchLearner<'_>, DemoError> {
    let pack = EncoderPack::with_kernels::<Kernels>(data::PACK)?;
    let encoder = PackedEncoder::new(pack, &mut memory.arena)?;
    let statistics = Statistics::new(
        pack.dim(),
        pack.artefact(),
        &mut memory.words,
        &mut memory.labels,
    )?;
    let head = PrototypeHead::new(pack.background());
    Ok(Learner::new(
        encoder,
        statistics,
        head,
        &mut memory.embedding,
    )?)
}

/// Runs the demo. The costs in the report are those of the slowest call.
pub fn run<B: Board>(board: &mut B, memory: &mut Memory) -> Result<Report, DemoError> {
    let mut report = teach(board, memory)?;
    memory.ram.lose();
    let mut learner = learner(&mut memory.ram)?;
    learner.restore(&memory.flash)?;
    report.restored = Digest::new(learner.statistics()).hex() == report.statistics;
    ask(board, &mut learner, &mut report)?;
    Ok(report)
}

/// Learns one example at a time, forgets a class, learns it again, saves.
fn teach<B: Board>(board: &mut B, memory: &mut Memory) -> Result<Report, DemoError> {
    let mut learner = learner(&mut memory.ram)?;
    let mut report = Report::new::<B>(learner.statistics().state_bytes());

    for (label, window) in data::support() {
        let start = board.count();
        learner.embed(window)?;
        let embedded = board.count();
        learner.learn(label, window)?;
        let learnt = board.count();
        report.embed = report.embed.max(embedded.wrapping_sub(start));
        report.learn = report.learn.max(learnt.wrapping_sub(embedded));
    }
    report.statistics = Digest::new(learner.statistics()).hex();

    let again = data::SUPPORT[0];
    learner.forget_class(again)?;
    for (label, window) in data::support().filter(|&(label, _)| label == again) {
        learner.learn(label, window)?;
    }
    report.relearnt = Digest::new(learner.statistics()).hex() == report.statistics;
    learner
        .statistics()
        .save(&mut memory.flash)
        .map_err(LearnerError::from)?;
    Ok(report)
}

/// Asks about the rest of the recordings.
fn ask<B: Board>(
    board: &mut B,
    learner: &mut WatchLearner<'_>,
    report: &mut Report,
) -> Result<(), DemoError> {
    let mut digest = Digest::new(learner.statistics());
    for (label, window) in data::queries() {
        let start = board.count();
        let prediction = learner.predict(window)?;
        report.predict = report.predict.max(board.count().wrapping_sub(start));
        digest.query(&prediction);
        report.queries += 1;
        report.right += u32::from(prediction.label == label);
        report.unknown += u32::from(!prediction.is_known());
    }
    report.digest = digest.hex();
    Ok(())
}
