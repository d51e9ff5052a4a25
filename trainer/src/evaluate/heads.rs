//! The device's heads over int8 embeddings, episode by episode.

use anyhow::Context;
use headstart::head::{FitError, Head, Spread};
use headstart::{
    Embedding, EncoderPack, Label, Prediction, PrototypeHead, Samples, SoftmaxHead, Statistics,
};

use super::parallel::parallel;
use super::progress::Progress;
use super::space::{Embedded, Space};
use crate::episode::Episode;

/// A head of the device's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeadKind {
    /// Nearest class mean.
    Prototype,
    /// The final linear layer, fine-tuned from the prototypes.
    Softmax,
}

impl HeadKind {
    /// Every head, in the order of the tables.
    pub const ALL: [HeadKind; 2] = [HeadKind::Prototype, HeadKind::Softmax];

    /// As the command line spells it.
    pub fn name(self) -> &'static str {
        match self {
            HeadKind::Prototype => "prototype",
            HeadKind::Softmax => "softmax",
        }
    }
}

/// One of the heads, so that it can be chosen at run time.
pub enum AnyHead<'a> {
    /// [`HeadKind::Prototype`].
    Prototype(PrototypeHead),
    /// [`HeadKind::Softmax`].
    Softmax(SoftmaxHead<'a>),
}

impl<'a> AnyHead<'a> {
    /// The head as a device with `pack` makes it; without a pack, with the device's defaults.
    /// `words` must hold [`SoftmaxHead::words`].
    pub fn new(kind: HeadKind, pack: Option<&EncoderPack<'_>>, words: &'a mut [f32]) -> Self {
        match kind {
            HeadKind::Prototype => {
                AnyHead::Prototype(pack.map(PrototypeHead::new).unwrap_or_default())
            }
            HeadKind::Softmax => {
                let spread = pack.map(Spread::new).unwrap_or_default();
                AnyHead::Softmax(SoftmaxHead::with_spread(spread, words))
            }
        }
    }
}

impl Head for AnyHead<'_> {
    fn fit(
        &mut self,
        statistics: &Statistics<'_>,
        samples: Option<&Samples<'_>>,
    ) -> Result<(), FitError> {
        match self {
            AnyHead::Prototype(head) => head.fit(statistics, samples),
            AnyHead::Softmax(head) => head.fit(statistics, samples),
        }
    }

    fn logit(&self, statistics: &Statistics<'_>, class: usize, e: Embedding<'_>) -> f32 {
        match self {
            AnyHead::Prototype(head) => head.logit(statistics, class, e),
            AnyHead::Softmax(head) => head.logit(statistics, class, e),
        }
    }

    fn spread(&self) -> &Spread {
        match self {
            AnyHead::Prototype(head) => head.spread(),
            AnyHead::Softmax(head) => head.spread(),
        }
    }
}

/// A name for a class on the device: its index, so that no name is too long.
pub fn label(class: usize) -> Label {
    let mut label = Label::new();
    // Five digits fit in sixteen bytes, and a dataset has no more classes than that.
    let _ = core::fmt::Write::write_fmt(&mut label, format_args!("{class:05}"));
    label
}

/// The memory that a device would own, reused from episode to episode.
pub struct Memory {
    /// For [`Statistics`].
    pub words: Vec<i32>,
    /// For [`Statistics`].
    pub labels: Vec<Label>,
    /// For [`Samples`].
    pub samples: Vec<i8>,
    /// For [`SoftmaxHead`].
    pub weights: Vec<f32>,
}

impl Memory {
    /// Room for `ways` classes of `shots` examples each, D = `dim`.
    pub fn new(dim: usize, ways: usize, shots: usize) -> Memory {
        Memory {
            words: vec![0; Statistics::words(dim, ways)],
            labels: vec![Label::new(); ways],
            samples: vec![0; Samples::bytes(dim, ways * shots)],
            weights: vec![0.0; SoftmaxHead::words(dim, ways)],
        }
    }
}

/// Runs the episodes: for each, whose queries they were and the fraction answered right.
pub fn answers(
    space: &Space,
    embedded: &Embedded,
    kind: HeadKind,
    episodes: &[Episode],
    progress: &Progress,
) -> anyhow::Result<Vec<(u32, f64)>> {
    parallel(episodes, |episodes| {
        let pack = space.pack()?;
        let ways = episodes.iter().map(|e| e.classes.len()).max().unwrap_or(0);
        let supports = episodes.iter().flat_map(|e| &e.support);
        let shots = supports.map(Vec::len).max().unwrap_or(0);
        let mut memory = Memory::new(space.dim, ways, shots);
        let answer = |episode: &Episode| {
            progress.add(1);
            let right = run(space, pack.as_ref(), embedded, kind, episode, &mut memory)?;
            Ok((episode.query_subject, right))
        };
        episodes.iter().map(answer).collect()
    })
}

/// One episode: learn, fit, predict. A window without a signal can't be learnt, and is answered
/// wrong.
fn run(
    space: &Space,
    pack: Option<&EncoderPack<'_>>,
    embedded: &Embedded,
    kind: HeadKind,
    episode: &Episode,
    memory: &mut Memory,
) -> anyhow::Result<f64> {
    let (words, labels) = (&mut memory.words, &mut memory.labels);
    let mut statistics = Statistics::new(space.dim, space.artefact, words, labels)?;
    let mut samples = Samples::new(space.dim, &mut memory.samples);
    let taught = || {
        let ways = episode.classes.iter().zip(&episode.support);
        ways.flat_map(|(&class, windows)| windows.iter().map(move |&w| (class, w)))
            .filter_map(|(class, window)| Some((label(class), embedded.get(window)?)))
    };
    for (label, e) in taught() {
        statistics.learn(&label, e)?;
    }
    // Classes stand in the order of names, so their numbers are known only now.
    for (label, e) in taught() {
        let class = statistics.find(&label).context("a class was lost")?;
        samples.insert(class, e)?;
    }
    if statistics.classes() == 0 {
        return Ok(0.0);
    }
    let mut head = AnyHead::new(kind, pack, &mut memory.weights);
    head.fit(&statistics, Some(&samples))?;
    let (mut right, mut asked) = (0, 0);
    for (&class, windows) in episode.classes.iter().zip(&episode.query) {
        let correct = |p: Prediction| p.label == label(class);
        let answer = |&&window: &&usize| {
            let prediction = embedded
                .get(window)
                .and_then(|e| head.predict(&statistics, e));
            prediction.is_some_and(correct)
        };
        right += windows.iter().filter(answer).count();
        asked += windows.len();
    }
    Ok(right as f64 / asked.max(1) as f64)
}
