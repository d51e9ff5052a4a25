//! Pretext tasks: what a network can learn from data that nobody has labelled, one file each, and
//! figures that show without labels whether it does.
//!
//! A task makes inputs and targets out of items, on the host's processor and ahead of time
//! ([`Pretext::prepare`]); it says what stands behind the encoder while it trains ([`Pretext::head`]),
//! and how wrong the answers are ([`Pretext::loss`]). The loop is the same for all.

mod barlow_twins;
pub mod contrastive;
mod denoising;
mod exemplar;
mod jigsaw;
pub mod language;
mod masked;
mod next_segment;
mod position;
pub mod quality;
mod queue;
mod rotation;
mod simsiam;
mod supervised;
mod time_order;
mod transformation;
mod vicreg;

use std::str::FromStr;

use anyhow::bail;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::augment::stream;
use crate::network::{Initialiser, Mlp, Network, Shape, Transformer};
use crate::pretrain::halves::Step;
use crate::source::{self, Kind, Source, purpose};

pub use queue::Keys;
pub use supervised::Supervised;

/// Widths of a projector: hidden and out.
const PROJECTOR: [usize; 2] = [128, 64];

/// The tasks by name.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Two views find each other among the views of all other items (SimCLR)
    Contrastive,
    /// The same among a queue of earlier views: for small batches (MoCo)
    Queue,
    /// Views agree, values vary and do not repeat each other (VICReg)
    Vicreg,
    /// The views' values correlate with themselves alone (Barlow Twins)
    BarlowTwins,
    /// One view predicts the other's embedding (SimSiam)
    Simsiam,
    /// Fills in patches, or spans, that were hidden
    Masked,
    /// Takes noise away: a denoising autoencoder
    Denoising,
    /// How far was it turned?
    Rotation,
    /// What was done to it: reversed, scaled, warped, ...?
    Transformation,
    /// In which order are its parts?
    Jigsaw,
    /// Does time run forwards?
    TimeOrder,
    /// Where does one patch lie, seen from another?
    Position,
    /// Which item is it?
    Exemplar,
    /// Does one segment follow the other?
    NextSegment,
}

impl Task {
    /// All of them.
    pub const ALL: [Task; 14] = [
        Task::Contrastive,
        Task::Queue,
        Task::Vicreg,
        Task::BarlowTwins,
        Task::Simsiam,
        Task::Masked,
        Task::Denoising,
        Task::Rotation,
        Task::Transformation,
        Task::Jigsaw,
        Task::TimeOrder,
        Task::Position,
        Task::Exemplar,
        Task::NextSegment,
    ];

    /// As the command spells it.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            _ => format!("{self:?}"),
        }
    }

    /// The task itself.
    pub fn build(self, temperature: f32) -> Box<dyn Pretext> {
        match self {
            Task::Contrastive => Box::new(contrastive::Contrastive { temperature }),
            Task::Queue => Box::new(queue::Queue { temperature }),
            Task::Vicreg => Box::new(vicreg::Vicreg),
            Task::BarlowTwins => Box::new(barlow_twins::BarlowTwins),
            Task::Simsiam => Box::new(simsiam::SimSiam),
            Task::Masked => Box::new(masked::Masked),
            Task::Denoising => Box::new(denoising::Denoising),
            Task::Rotation => Box::new(rotation::Rotation),
            Task::Transformation => Box::new(transformation::Transformation),
            Task::Jigsaw => Box::new(jigsaw::Jigsaw),
            Task::TimeOrder => Box::new(time_order::TimeOrder),
            Task::Position => Box::new(position::Position),
            Task::Exemplar => Box::new(exemplar::Exemplar),
            Task::NextSegment => Box::new(next_segment::NextSegment),
        }
    }
}

/// Tasks with their weights in the loss: `contrastive`, or `contrastive,masked=0.5`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Mixture(pub Vec<(Task, f32)>);

impl FromStr for Mixture {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut tasks: Vec<(Task, f32)> = Vec::new();
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let value = serde_json::Value::String(name.trim().to_owned());
            let task: Task = serde_json::from_value(value).map_err(|_| {
                let names = Task::ALL.map(Task::name).join(", ");
                format!("there is no task `{name}`; the tasks are {names}")
            })?;
            let weight: f32 = weight.trim().parse().unwrap_or(f32::NAN);
            if !(weight > 0.0 && weight <= 1e4) {
                return Err(format!("the weight of {name} must be a number above 0"));
            }
            if tasks.iter().any(|(other, _)| *other == task) {
                return Err(format!("{name} is there twice"));
            }
            tasks.push((task, weight));
        }
        Ok(Mixture(tasks))
    }
}

impl TryFrom<String> for Mixture {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Mixture> for String {
    fn from(mixture: Mixture) -> String {
        let part = |(task, weight): &(Task, f32)| match weight {
            1.0 => task.name(),
            _ => format!("{}={weight}", task.name()),
        };
        mixture.0.iter().map(part).collect::<Vec<_>>().join(",")
    }
}

/// Names the random numbers of one task in one step.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    /// Of the run.
    pub seed: u64,
    /// The task's place in the mixture.
    pub task: u64,
    /// Steps before this one.
    pub step: u64,
}

impl Draw {
    fn views(self) -> [u64; 3] {
        let purpose = purpose::VIEWS + purpose::APART * self.task;
        [self.seed, purpose, self.step]
    }

    /// What a task draws for item `i` of the batch, besides views.
    fn rng(self, i: usize) -> ChaCha8Rng {
        let purpose = purpose::TASK + purpose::APART * self.task;
        stream(self.seed, purpose, self.step, i as u64)
    }
}

/// What a step of a task is computed from.
pub struct Prepared {
    /// [inputs, channels, height, width].
    pub inputs: Vec<f32>,
    /// What the right answers are.
    pub targets: Targets,
}

/// Right answers.
pub enum Targets {
    /// None: the inputs are held against each other.
    None,
    /// A class an input, or a pair of inputs.
    Classes(Vec<usize>),
    /// Values [inputs, size], and what each of them counts.
    Values(Vec<f32>, Vec<f32>),
    /// Tokens that were hidden.
    Words(language::Masked),
}

/// What stands behind the encoder while it trains, and is thrown away then.
#[derive(Module, Debug)]
pub struct Head {
    /// A projector and perhaps a predictor, a decoder, a classifier.
    pub layers: Vec<Mlp>,
    /// A slow copy of encoder and projector, with its answers: of [`Task::Queue`].
    pub keys: Option<Keys>,
    /// From the state of a token to the token: of [`Task::Masked`] on text.
    pub words: Option<language::VocabularyHead>,
}

impl Head {
    /// Of dense layers alone.
    fn of(layers: Vec<Mlp>) -> Head {
        Head {
            layers,
            keys: None,
            words: None,
        }
    }

    fn run(&self, layer: usize, x: Tensor<2>) -> Tensor<2> {
        match self.layers.get(layer) {
            Some(layer) => layer.forward(x),
            None => x,
        }
    }
}

/// The result of a step.
pub struct Loss {
    /// A scalar.
    pub value: Tensor<1>,
    /// What [`Pretext::after`] needs.
    pub keys: Option<Tensor<2>>,
}

impl From<Tensor<1>> for Loss {
    fn from(value: Tensor<1>) -> Loss {
        Loss { value, keys: None }
    }
}

/// The encoder as a task meets it.
pub enum Encoder<'a> {
    /// Takes batches as they are.
    Whole(&'a Network),
    /// Takes both halves of a batch at once.
    Halves(&'a Step<'a>),
}

impl Encoder<'_> {
    /// Inputs [N, channels, height, width] to embeddings [N, dim].
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        match self {
            Encoder::Whole(network) => network.forward(x),
            Encoder::Halves(step) => step.forward(x),
        }
    }

    /// Of text, the network whose states are wanted and not its embeddings.
    pub fn text(&self) -> Option<&Transformer> {
        match self {
            Encoder::Whole(Network::Text(text)) => Some(text),
            _ => None,
        }
    }
}

/// A task that needs no labels.
pub trait Pretext: Send + Sync {
    /// Refuses data that the task has no meaning for.
    ///
    /// # Errors
    /// Says which data it is for.
    fn check(&self, _source: &dyn Source) -> anyhow::Result<()> {
        Ok(())
    }

    /// What stands behind the encoder.
    fn head(
        &self,
        init: &mut Initialiser,
        shape: Shape,
        source: &dyn Source,
        encoder: &Network,
    ) -> Head;

    /// Inputs and targets of a step: a function of `picked` and `draw`, however many threads work.
    fn prepare(&self, source: &dyn Source, picked: &[usize], draw: Draw) -> Prepared;

    /// How wrong the encoder is with `head`. `x` is the inputs.
    fn loss(&self, encoder: &Encoder, head: &Head, x: Tensor<4>, targets: &Targets) -> Loss;

    /// Changes the head after the optimiser's step.
    fn after(&self, _encoder: &Network, head: Head, _keys: Option<Tensor<2>>) -> Head {
        head
    }

    /// What to do where all embeddings have become one.
    fn advice(&self) -> &'static str {
        "try a lower --learning-rate, a larger --batch, or combine it with another task: --pretext contrastive,..."
    }
}

/// Inputs as a tensor, [N, channels, height, width].
pub fn tensor(inputs: Vec<f32>, shape: [usize; 3], device: &Device) -> Tensor<4> {
    let [channels, height, width] = shape;
    let count = inputs.len() / shape.iter().product::<usize>().max(1);
    Tensor::from_data(
        TensorData::new(inputs, [count, channels, height, width]),
        device,
    )
}

/// Embeddings of inputs that come in pairs: first ones, then second ones.
fn halves(z: Tensor<2>) -> [Tensor<2>; 2] {
    let [all, _] = z.dims();
    [0..all / 2, all / 2..all].map(|half| z.clone().slice([half]))
}

/// Cross entropy of `logits` [N, classes] with the right classes, in nats; a scalar.
fn cross_entropy(logits: Tensor<2>, classes: &[usize]) -> Tensor<1> {
    let device = logits.device();
    let [count, _] = logits.dims();
    let classes: Vec<i32> = classes.iter().map(|&c| c as i32).collect();
    let index = Tensor::<2, Int>::from_data(TensorData::new(classes, [count, 1]), &device);
    activation::log_softmax(logits, 1)
        .gather(1, index)
        .mean()
        .neg()
}

/// Mean squared distance of `values` [N, size] from the targets, where they count.
fn squared_distance(values: Tensor<2>, targets: &[f32], counts: &[f32]) -> Tensor<1> {
    let (device, sizes) = (values.device(), values.dims());
    let of = |v: &[f32]| Tensor::<2>::from_data(TensorData::new(v.to_vec(), sizes), &device);
    let total: f32 = counts.iter().sum();
    let distance = (values - of(targets)).powi_scalar(2) * of(counts);
    distance.sum().div_scalar(total.max(1.0))
}

/// A classifier's loss.
fn classified(encoder: &Encoder, head: &Head, x: Tensor<4>, targets: &Targets) -> Loss {
    let logits = head.run(0, encoder.forward(x));
    match targets {
        Targets::Classes(classes) => cross_entropy(logits, classes).into(),
        _ => logits.sum().mul_scalar(0.0).into(),
    }
}

/// A decoder's loss.
fn decoded(encoder: &Encoder, head: &Head, x: Tensor<4>, targets: &Targets) -> Loss {
    let values = head.run(0, encoder.forward(x));
    match targets {
        Targets::Values(wanted, counts) => squared_distance(values, wanted, counts).into(),
        _ => values.sum().mul_scalar(0.0).into(),
    }
}

/// Two views of each item and no targets.
fn two_views(source: &dyn Source, picked: &[usize], draw: Draw) -> Prepared {
    Prepared {
        inputs: source::views(source, picked, draw.views()),
        targets: Targets::None,
    }
}

/// One view of each item, changed by `change` (which gets the view and what to write); what it
/// returns becomes the class.
fn changed(
    source: &dyn Source,
    picked: &[usize],
    draw: Draw,
    change: impl Fn(&[f32], &mut ChaCha8Rng, &mut [f32]) -> usize + Sync,
) -> Prepared {
    use rayon::prelude::*;
    let mut inputs = source::single_views(source, picked, draw.views());
    let size = source::size(source).max(1);
    let classes = inputs
        .par_chunks_exact_mut(size)
        .enumerate()
        .map(|(i, out)| {
            let view = out.to_vec();
            change(&view, &mut draw.rng(i), out)
        })
        .collect();
    Prepared {
        inputs,
        targets: Targets::Classes(classes),
    }
}

/// Whether items are series: their values follow each other in time.
fn needs_time(source: &dyn Source, task: &str) -> anyhow::Result<()> {
    if matches!(source.kind(), Kind::Pictures | Kind::Text) {
        bail!("{task} is for sensors and sound, whose values follow each other in time");
    }
    Ok(())
}

/// Runs an item over another time axis: `times` are places between 0 and the length less one.
fn at_times(kind: Kind, shape: [usize; 3], item: &[f32], times: &[f32], out: &mut [f32]) {
    // Where a time step lies: frames of sound are rows, samples of a sensor are columns.
    let [_, height, width] = shape;
    let length = time_steps(kind, shape);
    let at = |lane: usize, t: usize| match kind {
        Kind::Sound => t * width + lane,
        _ => lane * width + t,
    };
    let lanes = item.len() / length.max(1);
    debug_assert!(kind != Kind::Sound || length == height);
    for (t, &time) in times.iter().enumerate() {
        let (left, part) = (time as usize, time.fract());
        let right = (left + 1).min(length - 1);
        for lane in 0..lanes {
            let (a, b) = (item[at(lane, left)], item[at(lane, right)]);
            out[at(lane, t)] = a + (b - a) * part;
        }
    }
}

/// Steps of an item in time.
fn time_steps(kind: Kind, [_, height, width]: [usize; 3]) -> usize {
    match kind {
        Kind::Sound => height,
        _ => width,
    }
}

/// Order number `number` of `of` things, 0 the one that they have.
fn permutation(of: usize, mut number: usize) -> Vec<usize> {
    let mut left: Vec<usize> = (0..of).collect();
    let mut order = Vec::with_capacity(of);
    for n in (1..=of).rev() {
        let rest: usize = (1..n).product();
        order.push(left.remove(number / rest % n));
        number %= rest;
    }
    order
}

#[cfg(test)]
mod tests;
