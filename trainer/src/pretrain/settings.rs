//! Everything that decides what comes out of a pretraining run.

use anyhow::bail;
use serde::{Deserialize, Serialize};

use crate::augment::Strengths;
use crate::dataset::Dataset;
use crate::evaluate::select::Groups;
use crate::network::Shape;

/// The hyper-parameters. The same settings, data, machine and threads give the same bits.
#[derive(Debug, Clone, PartialEq, clap::Args, Serialize, Deserialize)]
pub struct Settings {
    /// Samples in a window
    #[arg(long, default_value_t = 128, value_name = "SAMPLES", value_parser = clap::value_parser!(u32).range(16..=4096))]
    pub window: u32,
    /// Samples from one window to the next
    #[arg(long, default_value_t = 32, value_name = "SAMPLES", value_parser = clap::value_parser!(u32).range(1..))]
    pub hop: u32,
    /// Channels after the first convolution; twice as many after the second, --dim after the third
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub width: u32,
    /// Length of the embedding
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=1024))]
    pub dim: u32,
    /// Times that every window is seen
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    pub epochs: u32,
    /// Windows in a step; each is told apart from all the others
    #[arg(long, default_value_t = 256, value_name = "WINDOWS", value_parser = clap::value_parser!(u32).range(2..=4096))]
    pub batch: u32,
    /// The highest learning rate: it rises over the first twentieth of the steps, then falls as a
    /// cosine
    #[arg(long, default_value_t = 2e-3, value_name = "RATE")]
    pub learning_rate: f64,
    /// Decoupled weight decay of AdamW
    #[arg(long, default_value_t = 1e-4, value_name = "RATE")]
    pub weight_decay: f32,
    /// Of NT-Xent: lower looks harder at the nearest other windows
    #[arg(long, default_value_t = 0.1)]
    pub temperature: f32,
    /// The second view's window lies at most so many samples from the first's, in one recording
    #[arg(long, default_value_t = 0, value_name = "SAMPLES")]
    pub positive_hop: u32,
    /// How far directions in which recordings vary within themselves are shrunk at the end: 0 (not
    /// at all) to 1 (until all vary alike)
    #[arg(long, default_value_t = 0.75)]
    pub whiten: f32,
    /// Only the recordings of these groups, for example 1-3 or 1,4 [default: all]
    #[arg(long, value_name = "GROUPS")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Groups>,
    /// Names the random numbers
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    #[command(flatten)]
    #[serde(flatten)]
    /// What the two views differ in
    pub augment: Strengths,
}

impl Settings {
    /// The network for data of so many channels.
    pub fn shape(&self, channels: usize) -> Shape {
        Shape {
            channels,
            window: self.window as usize,
            width: self.width as usize,
            dim: self.dim as usize,
        }
    }

    /// The flags that give these settings, by name.
    pub fn flags(&self) -> Vec<(String, String)> {
        let object = match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(object)) => object,
            _ => Default::default(),
        };
        let flag = |(key, value): (&String, &serde_json::Value)| {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            (format!("--{}", key.replace('_', "-")), text)
        };
        object.iter().map(flag).collect()
    }

    /// Refuses what can't train, before anything is computed.
    ///
    /// # Errors
    /// A number out of its range, or too little data for one batch.
    pub fn check(&self, data: &Dataset) -> anyhow::Result<()> {
        let a = &self.augment;
        for (flag, value, most) in [
            ("--learning-rate", self.learning_rate as f32, 10.0),
            ("--weight-decay", self.weight_decay, 10.0),
            ("--whiten", self.whiten, 1.0),
            ("--jitter", a.jitter, 10.0),
            ("--scale", a.scale, 3.0),
            ("--rotation", a.rotation, std::f32::consts::PI),
            ("--mirror", a.mirror, 1.0),
            ("--warp", a.warp, 1.0),
            ("--shift", a.shift, 1e6),
            ("--mask", a.mask, 1.0),
            ("--common-rotation", a.common_rotation, std::f32::consts::PI),
            ("--common-scale", a.common_scale, 3.0),
            ("--common-warp", a.common_warp, 1.0),
        ] {
            if !(0.0..=most).contains(&value) {
                bail!("{flag} is {value}: give a number from 0 to {most}");
            }
        }
        if !(0.01..=100.0).contains(&self.temperature) {
            bail!(
                "--temperature is {}: give a number from 0.01 to 100",
                self.temperature
            );
        }
        let windows = data.windows(self.window as usize, self.hop as usize).len();
        if windows < self.batch as usize {
            bail!(
                "the data holds {windows} windows of {} samples, and one step needs {}: give more data, or a smaller --batch, --window or --hop",
                self.window,
                self.batch
            );
        }
        Ok(())
    }
}
