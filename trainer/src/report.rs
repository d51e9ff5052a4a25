//! What a training run leaves to look at: a table of its epochs, a page with curves and a map of
//! the embeddings, a chart for the terminal; and the chart of a study.

use serde::{Deserialize, Serialize};

mod html;
mod log;
mod map;
mod plot;
mod spark;
mod study;
#[cfg(test)]
mod tests;
mod tsne;

pub use html::html;
pub use log::Log;
pub use map::Map;
pub use spark::chart;
pub use study::{Series, curves};

/// What is known after one pass over the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Counted from 1.
    pub epoch: u32,
    /// Steps since the run began.
    pub step: u64,
    /// That this epoch took.
    pub seconds: f64,
    /// Mean over the epoch's steps.
    pub loss: f64,
    /// The loss of each pretext task, by its name.
    pub parts: Vec<(String, f64)>,
    /// As in [`Quality`](crate::pretext::quality::Quality).
    pub alignment: f32,
    /// As in [`Quality`](crate::pretext::quality::Quality).
    pub uniformity: f32,
    /// As in [`Quality`](crate::pretext::quality::Quality).
    pub effective_rank: f32,
    /// At the epoch's end.
    pub learning_rate: f64,
    /// L2 norm over all weights, mean over the epoch's steps.
    pub gradient_norm: f64,
    /// Seen by the network, views of one item counted once.
    pub items_per_second: f64,
    /// Part of the time, 0 to 1, that was spent waiting for data.
    pub waiting: f64,
    /// Part of the time, 0 to 1, that was neither forward nor backward pass, waiting included.
    pub outside: f64,
}
