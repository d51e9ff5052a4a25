//! The device's heads over int8 embeddings, episode by episode.

use headstart::head::{Choice, FitError, Head};
use headstart::{
    AutoHead, BayesHead, Embedding, Evidence, KnnHead, Label, MlpHead, Prediction, PrototypeHead,
    RidgeHead, Samples, SldaHead, SoftmaxHead, Statistics, Verdict,
};

use super::outcome::{Outcome, outcomes};
use super::progress::Progress;
use super::space::{Embedded, Space};
use crate::encoder_file::Background;
use crate::episode::Episode;

/// Units of [`MlpHead`]'s hidden layer.
const HIDDEN: usize = 32;
/// Of strangers, unless somebody says otherwise: what the heads themselves start with.
pub const FALSE_ACCEPTS: f32 = 0.05;

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

    /// Sets how many strangers in all may be accepted, where the head can promise a rate at all.
    pub fn with_false_accepts(self, rate: f32) -> Self {
        match self {
            AnyHead::Auto(head) => AnyHead::Auto(head.with_false_accepts(rate)),
            AnyHead::Bayes(head) => AnyHead::Bayes(head.with_false_accepts(rate)),
            other => other,
        }
    }

    /// What tells strangers from the learnt classes, higher for these: the log-likelihood ratio of
    /// the class that was predicted where the head has one, else its probability.
    pub fn familiarity(
        &mut self,
        evidence: Evidence<'_>,
        prediction: &Prediction,
        e: Embedding<'_>,
    ) -> f32 {
        match self {
            AnyHead::Auto(head) if !matches!(head.choice(), Choice::Learnt { .. }) => {
                head.score(evidence, prediction.class, e)
            }
            AnyHead::Bayes(head) => head.score(evidence, prediction.class, e),
            _ => prediction.probability,
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

/// Runs the episodes: for each, whose its first query was and the fraction answered right.
pub fn answers(
    space: &Space,
    embedded: &Embedded,
    kind: HeadKind,
    episodes: &[Episode],
    progress: &Progress,
) -> anyhow::Result<Vec<(u32, f64)>> {
    let found = outcomes(space, embedded, kind, FALSE_ACCEPTS, episodes, progress)?;
    let asked = episodes
        .iter()
        .flat_map(|e| e.groups.iter().flatten().next());
    let accuracies = found.iter().map(Outcome::accuracy);
    Ok(asked.copied().zip(accuracies).collect())
}
