//! All heads, one after the other, in the same memory.

use headstart::pack::Background;
use headstart::{
    AutoHead, BayesHead, Head, KnnHead, MlpHead, PrototypeHead, RidgeHead, SldaHead, SoftmaxHead,
};

use crate::{CLASSES, DIM, Fault, RANK};

const HIDDEN: usize = 8;

/// Words that the largest head needs.
pub const WORDS: usize = AutoHead::words(DIM, CLASSES, RANK);

/// What is done with each.
pub trait Task {
    /// `words` is what the head's memory takes.
    fn run<H: Head>(&mut self, name: &str, words: usize, head: H) -> Result<(), Fault>;
}

/// Runs the task with each head. Those that descend a gradient take `steps`, or as many as they
/// do by themselves.
pub fn each(
    background: Background<'_>,
    words: &mut [f32; WORDS],
    steps: Option<usize>,
    task: &mut impl Task,
) -> Result<(), Fault> {
    let background = Some(background);
    let n = AutoHead::words(DIM, CLASSES, RANK);
    task.run("auto", n, AutoHead::new(background, &mut words[..n]))?;
    let n = AutoHead::words(DIM, CLASSES, 0);
    task.run("auto-alone", n, AutoHead::new(None, &mut words[..n]))?;
    task.run("prototype", 0, PrototypeHead::new(background))?;
    let n = BayesHead::words(DIM, CLASSES, RANK);
    task.run("bayes", n, BayesHead::new(background, &mut words[..n]))?;
    let n = RidgeHead::words(DIM, CLASSES);
    task.run("ridge", n, RidgeHead::new(&mut words[..n]))?;
    let n = SldaHead::words(DIM, CLASSES, RANK);
    task.run("slda", n, SldaHead::new(background, &mut words[..n]))?;
    let n = SoftmaxHead::words(DIM, CLASSES, RANK);
    let mut softmax = SoftmaxHead::new(background, &mut words[..n]);
    softmax.steps = steps.unwrap_or(softmax.steps);
    task.run("softmax", n, softmax)?;
    let n = MlpHead::words(DIM, CLASSES, HIDDEN);
    let mut mlp = MlpHead::new(background, HIDDEN, &mut words[..n]);
    mlp.steps = steps.unwrap_or(mlp.steps);
    task.run("mlp", n, mlp)?;
    let n = KnnHead::words(CLASSES);
    task.run("knn", n, KnnHead::new(background, &mut words[..n]))
}
