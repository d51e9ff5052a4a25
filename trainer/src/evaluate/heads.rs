//! The device's heads over int8 embeddings, episode by episode.

use anyhow::Context;
use headstart::head::{FitError, Head};
use headstart::{
    AutoHead, BayesHead, Embedding, Evidence, KnnHead, Label, MlpHead, Prediction, PrototypeHead,
    RidgeHead, Samples, SldaHead, SoftmaxHead, Statistics, Verdict,
};

use super::parallel::parallel;
use super::progress::Progress;
use super::space::{Embedded, Space};
use crate::encoder_file::Background;
use crate::episode::Episode;

/// Units of [`MlpHead`]'s hidden layer.
const HIDDEN: usize = 32;

/// A head of the device's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub enum HeadKind {
    /// The default: what the evidence supports.
    Auto,
    /// Nearest class mean.
    Prototype,
    /// Two-covariance Bayes in the background's projection.
    Bayes,
    /// Least squares with a penalty.
    Ridge,
    /// Discriminant with a growing covariance.
    Slda,
    /// The final linear layer, fine-tuned from Bayes.
    Softmax,
    /// One hidden layer.
    Mlp,
    /// The nearest examples vote.
    Knn,
}

impl HeadKind {
    /// Every head, in the order of the tables.
    pub const ALL: [HeadKind; 8] = [
        HeadKind::Auto,
        HeadKind::Prototype,
        HeadKind::Bayes,
        HeadKind::Ridge,
        HeadKind::Slda,
        HeadKind::Softmax,
        HeadKind::Mlp,
        HeadKind::Knn,
    ];

    /// As the command line spells it.
    pub fn name(self) -> &'static str {
        match self {
            HeadKind::Auto => "auto",
            HeadKind::Prototype => "prototype",
            HeadKind::Bayes => "bayes",
            HeadKind::Ridge => "ridge",
            HeadKind::Slda => "slda",
            HeadKind::Softmax => "softmax",
            HeadKind::Mlp => "mlp",
            HeadKind::Knn => "knn",
        }
    }

    /// Whether it can do without background statistics.
    pub fn runs_without_background(self) -> bool {
        self != HeadKind::Bayes
    }

    /// Words that it works in.
    fn words(self, dim: usize, ways: usize, rank: usize) -> usize {
        match self {
            HeadKind::Auto => AutoHead::words(dim, ways, rank),
            HeadKind::Prototype => 0,
            HeadKind::Bayes => BayesHead::words(dim, ways, rank),
            HeadKind::Ridge => RidgeHead::words(dim, ways),
            HeadKind::Slda => SldaHead::words(dim, ways, rank),
            HeadKind::Softmax => SoftmaxHead::words(dim, ways, rank),
            HeadKind::Mlp => MlpHead::words(dim, ways, HIDDEN),
            HeadKind::Knn => KnnHead::words(ways),
        }
    }
}

/// One of the heads, so that it can be chosen at run time.
pub enum AnyHead<'a> {
    /// [`HeadKind::Auto`].
    Auto(AutoHead<'a>),
    /// [`HeadKind::Prototype`].
    Prototype(PrototypeHead),
    /// [`HeadKind::Bayes`].
    Bayes(BayesHead<'a>),
    /// [`HeadKind::Ridge`].
    Ridge(RidgeHead<'a>),
    /// [`HeadKind::Slda`].
    Slda(SldaHead<'a>),
    /// [`HeadKind::Softmax`].
    Softmax(SoftmaxHead<'a>),
    /// [`HeadKind::Mlp`].
    Mlp(MlpHead<'a>),
    /// [`HeadKind::Knn`].
    Knn(KnnHead<'a>),
}

/// Does the same with whichever head it is.
macro_rules! with {
    ($any:expr, $head:ident => $what:expr) => {
        match $any {
            AnyHead::Auto($head) => $what,
            AnyHead::Prototype($head) => $what,
            AnyHead::Bayes($head) => $what,
            AnyHead::Ridge($head) => $what,
            AnyHead::Slda($head) => $what,
            AnyHead::Softmax($head) => $what,
            AnyHead::Mlp($head) => $what,
            AnyHead::Knn($head) => $what,
        }
    };
}

impl<'a> AnyHead<'a> {
    /// The head as a device makes it. `words` are those of [`Memory`].
    pub fn new(kind: HeadKind, background: Option<&'a Background>, words: &'a mut [f32]) -> Self {
        let background = background.map(Background::view);
        match kind {
            HeadKind::Auto => AnyHead::Auto(AutoHead::new(background, words)),
            HeadKind::Prototype => AnyHead::Prototype(PrototypeHead::new(background)),
            HeadKind::Bayes => AnyHead::Bayes(BayesHead::new(background, words)),
            HeadKind::Ridge => AnyHead::Ridge(RidgeHead::new(words)),
            HeadKind::Slda => AnyHead::Slda(SldaHead::new(background, words)),
            HeadKind::Softmax => AnyHead::Softmax(SoftmaxHead::new(background, words)),
            HeadKind::Mlp => AnyHead::Mlp(MlpHead::new(background, HIDDEN, words)),
            HeadKind::Knn => AnyHead::Knn(KnnHead::new(background, words)),
        }
    }
}

impl Head for AnyHead<'_> {
    fn fit(&mut self, evidence: Evidence<'_>) -> Result<(), FitError> {
        with!(self, head => head.fit(evidence))
    }

    fn logits(&mut self, evidence: Evidence<'_>, e: Embedding<'_>, visit: impl FnMut(f32)) {
        with!(self, head => head.logits(evidence, e, visit))
    }

    fn verdict(&self, evidence: Evidence<'_>, class: usize, e: Embedding<'_>) -> Verdict {
        with!(self, head => head.verdict(evidence, class, e))
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
    /// For any head.
    pub weights: Vec<f32>,
}

impl Memory {
    /// Room for `ways` classes of `shots` examples each.
    pub fn new(space: &Space, ways: usize, shots: usize) -> Memory {
        let (dim, rank) = (space.dim, space.background.as_ref());
        let rank = rank.map_or(0, |b| b.within.len());
        let weights = HeadKind::ALL.map(|kind| kind.words(dim, ways, rank));
        Memory {
            words: vec![0; Statistics::gram_words(dim, ways)],
            labels: vec![Label::new(); ways],
            samples: vec![0; Samples::bytes(dim, ways * shots)],
            weights: vec![0.0; weights.into_iter().max().unwrap_or(0)],
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
        let ways = episodes.iter().map(|e| e.classes.len()).max().unwrap_or(0);
        let supports = episodes.iter().flat_map(|e| &e.support);
        let shots = supports.map(Vec::len).max().unwrap_or(0);
        let mut memory = Memory::new(space, ways, shots);
        let answer = |episode: &Episode| {
            progress.add(1);
            let right = run(space, embedded, kind, episode, &mut memory)?;
            Ok((episode.query_subject, right))
        };
        episodes.iter().map(answer).collect()
    })
}

/// One episode: learn, fit, predict. A window without a signal can't be learnt, and is answered
/// wrong.
fn run(
    space: &Space,
    embedded: &Embedded,
    kind: HeadKind,
    episode: &Episode,
    memory: &mut Memory,
) -> anyhow::Result<f64> {
    let (words, labels) = (&mut memory.words, &mut memory.labels);
    let mut statistics = Statistics::with_gram(space.dim, space.artefact, words, labels)?;
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
    let evidence = Evidence {
        statistics: &statistics,
        samples: Some(&samples),
    };
    let mut head = AnyHead::new(kind, space.background.as_ref(), &mut memory.weights);
    head.fit(evidence)?;
    let (mut right, mut asked) = (0, 0);
    for (&class, windows) in episode.classes.iter().zip(&episode.query) {
        let correct = |p: Prediction| p.label == label(class);
        for &window in windows {
            let prediction = embedded.get(window).and_then(|e| head.predict(evidence, e));
            right += usize::from(prediction.is_some_and(correct));
        }
        asked += windows.len();
    }
    Ok(right as f64 / asked.max(1) as f64)
}
