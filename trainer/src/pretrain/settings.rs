//! Everything that decides what comes out of a pretraining run.

use anyhow::bail;
use serde::{Deserialize, Serialize};

use crate::augment::Strengths;
use crate::evaluate::select::Groups;
use crate::network::{Kind as NetworkKind, Pool, Shape};
use crate::pretext::{Mixture, Task};
use crate::source::picture::PictureStrengths;
use crate::source::sound::SoundSettings;
use crate::source::{Batches, Kind, Pairs, Source};

/// What takes the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Optimiser {
    /// Adam with decoupled weight decay (Loshchilov and Hutter, 2019)
    Adamw,
    /// Steps as large as each layer's weights, for batches of thousands (You et al., 2017)
    Lars,
}

/// The hyper-parameters. The same settings, data, machine and threads give the same bits.
#[derive(Debug, Clone, PartialEq, clap::Args, Serialize, Deserialize)]
pub struct Settings {
    /// What the network learns from, several with their weights: contrastive,masked=0.5. The
    /// tasks are contrastive, queue, vicreg, barlow-twins, simsiam, masked, denoising, rotation,
    /// transformation, jigsaw, time-order, position, exemplar, next-segment [default: contrastive]
    #[arg(long, value_name = "TASKS")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretext: Option<Mixture>,
    /// The network [default: sensor-cnn for sensors, ds-cnn for sound, resnet8 for pictures,
    /// transformer for text]
    #[arg(long, value_enum)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkKind>,
    /// Its layers or blocks: of cnn all (default 3), of ds-cnn all (5), of mobilenet-v2 pairs (3), of resnet8 those of each
    /// stage (1), of transformer all (2)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=16))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
    /// What is made of its last map [default: mean-max]
    #[arg(long, value_enum)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Pool>,
    /// Samples in a sensor's window
    #[arg(long, default_value_t = 128, value_name = "SAMPLES", value_parser = clap::value_parser!(u32).range(16..=4096))]
    pub window: u32,
    /// Samples from one window to the next
    #[arg(long, default_value_t = 32, value_name = "SAMPLES", value_parser = clap::value_parser!(u32).range(1..))]
    pub hop: u32,
    /// Pictures are seen at this height and width
    #[arg(long, default_value_t = 32, value_name = "PIXELS", value_parser = clap::value_parser!(u16).range(8..=512))]
    pub size: u16,
    /// Channels of a picture: 1 (grey) or 3
    #[arg(long, default_value_t = 3, value_name = "CHANNELS")]
    pub colours: u16,
    /// Tokens in a line of text
    #[arg(long, default_value_t = 48, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(8..=512))]
    pub length: u32,
    /// Tokens that text is made of, learnt from it (WordPiece); 0: bytes
    #[arg(long, default_value_t = 2000, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(0..=50_000))]
    pub vocabulary: u32,
    /// Channels after the first convolution
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub width: u32,
    /// Length of the embedding
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=1024))]
    pub dim: u32,
    /// Times that every item is seen
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    pub epochs: u32,
    /// Items in a step
    #[arg(long, default_value_t = 256, value_name = "ITEMS", value_parser = clap::value_parser!(u32).range(2..=4096))]
    pub batch: u32,
    /// Both halves of a batch at once, on half the threads each: faster on two cores and more; batch
    /// norm then sees each half by itself
    #[arg(long)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub halves: bool,
    /// How batches are made up where the data says whose an item is [default: shuffled]
    #[arg(long, value_enum)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batches: Option<Batches>,
    /// What the two views of a pair are of [default: item]
    #[arg(long, value_enum)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairs: Option<Pairs>,
    /// What takes the steps [default: adamw]
    #[arg(long, value_enum)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimiser: Option<Optimiser>,
    /// The highest learning rate: it rises over the first twentieth of the steps, then falls as a
    /// cosine
    #[arg(long, default_value_t = 2e-3, value_name = "RATE")]
    pub learning_rate: f64,
    /// Decoupled weight decay
    #[arg(long, default_value_t = 1e-4, value_name = "RATE")]
    pub weight_decay: f32,
    /// Gradients longer than this (L2, over all weights) are shortened to it [default: never]
    #[arg(long, value_name = "NORM")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<f32>,
    /// Of contrasts: lower looks harder at the nearest other items
    #[arg(long, default_value_t = 0.1)]
    pub temperature: f32,
    /// The second view's window lies at most so many samples from the first's, in one recording
    #[arg(long, default_value_t = 0, value_name = "SAMPLES")]
    pub positive_hop: u32,
    /// How far directions in which recordings vary within themselves are shrunk at the end: 0 (not
    /// at all) to 1 (until all vary alike); where there are recordings
    #[arg(long, default_value_t = 0.75)]
    pub whiten: f32,
    /// Only the items of these groups, for example 1-3 or 1,4 [default: all]
    #[arg(long, value_name = "GROUPS")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Groups>,
    /// Names the random numbers
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// What views of a window differ in
    #[command(flatten)]
    #[serde(flatten)]
    pub augment: Strengths,
    /// What views of a picture differ in
    #[command(flatten)]
    #[serde(flatten)]
    pub picture: PictureStrengths,
    /// How clips are heard, and what their views differ in
    #[command(flatten)]
    #[serde(flatten)]
    pub sound: SoundSettings,
}

/// Settings that belong to one kind of data.
const OF_SENSORS: [&str; 5] = ["window", "hop", "positive-hop", "whiten", "groups"];
const OF_PICTURES: [&str; 2] = ["size", "colours"];
const OF_TEXT: [&str; 2] = ["length", "vocabulary"];

impl Settings {
    /// The tasks and their weights.
    pub fn tasks(&self) -> Vec<(Task, f32)> {
        match &self.pretext {
            Some(mixture) => mixture.0.clone(),
            None => vec![(Task::Contrastive, 1.0)],
        }
    }

    /// How batches are made up.
    pub fn batches(&self) -> Batches {
        self.batches.unwrap_or(Batches::Shuffled)
    }

    /// Writes out what depends on the data's kind, so that it is kept with the encoder.
    pub fn resolved(mut self, kind: Kind) -> Settings {
        let network = self.network.unwrap_or(match kind {
            Kind::Sensor => NetworkKind::SensorCnn,
            Kind::Sound => NetworkKind::DsCnn,
            Kind::Pictures => NetworkKind::Resnet8,
            Kind::Text => NetworkKind::Transformer,
        });
        if network != NetworkKind::SensorCnn {
            self.network = Some(network);
            self.depth = self.depth.or(Some(match network {
                NetworkKind::Cnn | NetworkKind::MobilenetV2 => 3,
                NetworkKind::Resnet8 => 1,
                NetworkKind::Transformer => 2,
                _ => 5,
            }));
        }
        if kind == Kind::Text {
            self.pretext = self.pretext.or(Some(Mixture(vec![(Task::Masked, 1.0)])));
        } else if network != NetworkKind::SensorCnn {
            self.pool = self.pool.or(Some(Pool::MeanMax));
        }
        self
    }

    /// The network for items like these.
    pub fn shape(&self, source: &dyn Source) -> Shape {
        Shape {
            kind: self.network.unwrap_or(NetworkKind::SensorCnn),
            input: source.shape(),
            width: self.width as usize,
            depth: self.depth.unwrap_or(1) as usize,
            dim: self.dim as usize,
            pool: self.pool.unwrap_or(Pool::MeanMax),
            vocabulary: source.vocabulary(),
        }
    }

    /// The flags that give these settings for data of a kind, by name.
    pub fn flags(&self, kind: Kind) -> Vec<(String, String)> {
        let object = match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(object)) => object,
            _ => Default::default(),
        };
        let names = |value: serde_json::Result<serde_json::Value>| -> Vec<String> {
            match value {
                Ok(serde_json::Value::Object(object)) => {
                    object.keys().map(|key| key.replace('_', "-")).collect()
                }
                _ => Vec::new(),
            }
        };
        let all = [
            (
                Kind::Sensor,
                names(serde_json::to_value(&self.augment)),
                &OF_SENSORS[..],
            ),
            (
                Kind::Pictures,
                names(serde_json::to_value(&self.picture)),
                &OF_PICTURES[..],
            ),
            (Kind::Sound, names(serde_json::to_value(&self.sound)), &[]),
            (Kind::Text, Vec::new(), &OF_TEXT[..]),
        ];
        let paired = self.pairs == Some(Pairs::Label);
        let foreign = |name: &str| {
            all.iter().any(|(of, names, more)| {
                let other = more.contains(&name) && !(paired && name == "whiten");
                *of != kind && (other || names.iter().any(|n| n == name))
            })
        };
        let flag = |(key, value): (&String, &serde_json::Value)| {
            let text = match value {
                serde_json::Value::Bool(_) => String::new(),
                _ => value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned),
            };
            (key.replace('_', "-"), text)
        };
        object
            .iter()
            .map(flag)
            .filter(|(name, _)| !foreign(name))
            .map(|(name, value)| (format!("--{name}"), value))
            .collect()
    }

    /// Refuses what can't train, before anything is read or computed.
    ///
    /// # Errors
    /// A number out of its range.
    pub fn check(&self) -> anyhow::Result<()> {
        let a = &self.augment;
        let ranges = [
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
        ];
        let picture = self.picture.ranges();
        let sound = self.sound.ranges();
        for (flag, value, most) in ranges.into_iter().chain(picture).chain(sound) {
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
        if !matches!(self.colours, 1 | 3) {
            bail!("--colours is {}: pictures have 1 (grey) or 3", self.colours);
        }
        if self
            .clip
            .is_some_and(|clip| !(clip > 0.0 && clip.is_finite()))
        {
            bail!("--clip must be a number above 0");
        }
        Ok(())
    }

    /// Refuses data that is too little, or of a kind that network and tasks are not for.
    ///
    /// # Errors
    /// Says what there is and what is needed.
    pub fn check_data(&self, source: &dyn Source) -> anyhow::Result<()> {
        let (have, kind) = (source.len(), source.kind());
        if have < self.batch as usize {
            match kind {
                Kind::Sensor => bail!(
                    "the data holds {have} windows of {} samples, and one step needs {}: give more data, or a smaller --batch, --window or --hop",
                    self.window,
                    self.batch
                ),
                _ => bail!(
                    "the data holds {have} items, and one step needs {}: give more data, or a smaller --batch",
                    self.batch
                ),
            }
        }
        let network = self.shape(source);
        if network.kind == NetworkKind::SensorCnn && kind != Kind::Sensor {
            bail!(
                "--network sensor-cnn is for sensors; of pictures and sound take ds-cnn, mobilenet-v2 or resnet8"
            );
        }
        if (network.kind == NetworkKind::Transformer) != (kind == Kind::Text) {
            bail!("--network transformer is for text, and text needs it");
        }
        if kind == Kind::Text {
            network.transformer().check()?;
        }
        if network.parameters() > 16 << 20 {
            bail!(
                "the network would have {} million weights: take a smaller --width, --dim or --size, or --pool mean-max",
                network.parameters() >> 20
            );
        }
        for (task, _) in self.tasks() {
            task.build(self.temperature).check(source)?;
        }
        Ok(())
    }
}
