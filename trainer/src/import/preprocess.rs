//! From what a device hands over to the network's input: it belongs to the encoder, so that host
//! and device feed it alike.

use anyhow::{Context, anyhow};
use headstart::frontend::settings::{LogMelSettings, Settings};
use serde_json::{Value, json};
use tract_onnx::pb::{ModelProto, StringStringEntryProto};

use crate::encoder_file::{CHANNELS_FIRST, CHANNELS_LAST, GraphInput};
use crate::error::Failure;

/// How the network was trained to be fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    /// (pixel - mean) / deviation of ImageNet's channels, as torchvision and timm train; the
    /// centre of the picture
    Imagenet,
    /// Pixels from 0 to 255 as they are
    Uint8,
    /// Pixels from 0 to 1
    Unit,
    /// Pixels from -1 to 1
    Signed,
    /// (pixel - 127) / 128
    EfficientnetLite,
    /// Google's speech_embedding: 16 kHz sound, log-mel, nine windows of 76 frames a clip
    SpeechEmbedding,
}

/// What the metadata says about the input.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "What the network is fed (kept in the encoder file)")]
pub struct Preprocess {
    /// A usual way; without any, the input is plain numbers
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,
    /// What is subtracted from each channel's pixels (0 to 255), or from each band or sensor channel
    #[arg(
        long,
        value_name = "NUMBERS",
        value_delimiter = ',',
        allow_negative_numbers = true
    )]
    mean: Option<Vec<f32>>,
    /// What that is divided by
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    std: Option<Vec<f32>>,
    /// The order of a picture's channels
    #[arg(long, value_enum)]
    colour: Option<Colour>,
    /// How a picture of another shape is brought to the network's
    #[arg(long, value_enum)]
    fit: Option<Fit>,
    /// The part of the fitted picture that is kept: 0.875 is 224 of 256
    #[arg(long, value_name = "FRACTION")]
    crop: Option<f32>,
    /// A sensor's time steps a second; with it the input is a window of sensor counts
    #[arg(long, value_name = "HZ")]
    rate: Option<f32>,
    /// Physical units that one count of each sensor channel is worth
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    scale: Option<Vec<f32>>,
    /// Time steps from one window of a sensor to the next [default: half a window]
    #[arg(long, value_name = "STEPS")]
    hop: Option<usize>,
    /// All of it as JSON instead, as `headstart inspect --json` shows it: other log-mel settings
    #[arg(long, value_name = "FILE", conflicts_with_all = ["preset", "mean", "std", "colour", "fit", "crop", "rate", "scale", "hop"])]
    frontend: Option<std::path::PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Colour {
    Rgb,
    Bgr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Fit {
    /// All of the picture, whatever that does to its proportions
    Stretch,
    /// The largest part of the network's proportions, around the centre
    Crop,
}

impl Preprocess {
    /// The metadata entries of a network that is fed like this.
    pub fn metadata(&self, model: &ModelProto) -> Result<Vec<StringStringEntryProto>, Failure> {
        let Some(input) = self.input(model) else {
            return match self.is_asked() {
                true => Err(Failure::Usage(
                    "what the network is fed can be said of inputs of one to three dimensions only"
                        .into(),
                )),
                false => Ok(Vec::new()),
            };
        };
        let layout = match input.channels_last {
            true => CHANNELS_LAST,
            false => CHANNELS_FIRST,
        };
        let mut entries = vec![("layout", layout.to_owned())];
        entries.extend(self.settings(input.shape)?.map(|s| ("frontend", s.json())));
        let entry = |(key, value): (&str, String)| StringStringEntryProto {
            key: format!("headstart.{key}"),
            value,
        };
        Ok(entries.into_iter().map(entry).collect())
    }

    /// The numbers that the network is fed, where that is known.
    pub fn range(&self, model: &ModelProto) -> Option<[f32; 2]> {
        match self.settings(self.input(model)?.shape).ok()?? {
            Settings::Image(image) => {
                let (mean, std) = (image.mean.first()?, image.std.first()?);
                Some([0.0, 255.0].map(|pixel| (pixel - mean) / std))
            }
            // From silence to the loudest that int16 holds.
            Settings::LogMel(sound) => {
                let (mean, std) = (sound.mean.first()?, sound.std.first()?);
                Some([-20.0, 100.0].map(|decibels| (decibels - mean) / std))
            }
            Settings::Sensor(_) => None,
        }
    }

    /// The input in the layout that makes pictures of it, where they are asked for.
    fn input(&self, model: &ModelProto) -> Option<GraphInput> {
        let pictures = self.preset.is_some_and(|p| p != Preset::SpeechEmbedding);
        let mut inputs = [None, Some(true), Some(false)]
            .into_iter()
            .filter_map(|layout| GraphInput::of(model, layout));
        let first = inputs.next()?;
        if pictures && !matches!(first.shape[2], 1 | 3) {
            return Some(
                inputs
                    .find(|i| matches!(i.shape[2], 1 | 3))
                    .unwrap_or(first),
            );
        }
        Some(first)
    }

    fn is_asked(&self) -> bool {
        self.preset.is_some() || self.rate.is_some() || self.frontend.is_some()
    }

    /// The front end of an input of [height, width, channels]; `None` for plain numbers.
    pub fn settings(&self, shape: [usize; 3]) -> Result<Option<Settings>, Failure> {
        let json = match (&self.frontend, self.preset) {
            (Some(file), _) => {
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("could not read {}", file.display()))?;
                let whole: Value = serde_json::from_str(&text)
                    .with_context(|| format!("{} is no JSON", file.display()))?;
                whole.get("frontend").cloned().unwrap_or(whole)
            }
            (None, Some(Preset::SpeechEmbedding)) => self.speech()?,
            (None, Some(preset)) => self.picture(preset, shape)?,
            (None, None) if self.rate.is_some() => self.sensor(shape),
            (None, None) if self.mean.is_some() || self.std.is_some() => {
                return Err(Failure::Usage(
                    "--mean and --std need to know of what: add a --preset for pictures or sound, or --rate for a sensor".into(),
                ));
            }
            (None, None) => return Ok(None),
        };
        let settings = Settings::parse(&json.to_string())
            .map_err(|e| Failure::Usage(format!("what the network is fed: {e}")))?;
        match settings.shape() == shape {
            true => Ok(Some(settings)),
            false => Err(anyhow!(
                "the front end makes {:?} (height, width, channels), the network takes {shape:?}: --shape chooses sizes that the file leaves open",
                settings.shape()
            )
            .into()),
        }
    }

    fn picture(
        &self,
        preset: Preset,
        [height, width, channels]: [usize; 3],
    ) -> Result<Value, Failure> {
        if !matches!(channels, 1 | 3) {
            return Err(Failure::Usage(format!(
                "--preset {} is for pictures of 1 or 3 channels, and the input has {channels}",
                clap::ValueEnum::to_possible_value(&preset)
                    .map_or(String::new(), |v| v.get_name().to_owned())
            )));
        }
        let (mean, std) = match preset {
            Preset::Imagenet => (
                [0.485f32, 0.456, 0.406].map(|m| m * 255.0),
                [0.229f32, 0.224, 0.225].map(|s| s * 255.0),
            ),
            Preset::Unit => ([0.0; 3], [255.0; 3]),
            Preset::Signed => ([127.5; 3], [127.5; 3]),
            Preset::EfficientnetLite => ([127.0; 3], [128.0; 3]),
            _ => ([0.0; 3], [1.0; 3]),
        };
        let own = preset == Preset::Imagenet;
        let fit = self
            .fit
            .unwrap_or(if own { Fit::Crop } else { Fit::Stretch });
        let crop = self.crop.unwrap_or(if own { 0.875 } else { 1.0 });
        Ok(json!({
            "kind": "image",
            "height": height,
            "width": width,
            "channels": channels,
            "order": if self.colour == Some(Colour::Bgr) { "bgr" } else { "rgb" },
            "fit": if fit == Fit::Crop { "crop" } else { "stretch" },
            "crop": if fit == Fit::Crop { crop } else { 1.0 },
            "mean": each(&self.mean, &mean[..channels], channels),
            "std": each(&self.std, &std[..channels], channels),
        }))
    }

    fn speech(&self) -> Result<Value, Failure> {
        let text = Settings::LogMel(LogMelSettings::speech_embedding()).json();
        let mut json: Value = serde_json::from_str(&text).context("settings are JSON")?;
        for (key, numbers) in [("mean", &self.mean), ("std", &self.std)] {
            if let Some(numbers) = numbers {
                json[key] = json!(numbers);
            }
        }
        Ok(json)
    }

    fn sensor(&self, [height, width, channels]: [usize; 3]) -> Value {
        let window = height * width;
        json!({
            "kind": "sensor",
            "channels": channels,
            "window": window,
            "hop": self.hop.unwrap_or((window / 2).max(1)),
            "rate": self.rate,
            "scale": each(&self.scale, &[1.0], channels),
            "mean": each(&self.mean, &[0.0], channels),
            "std": each(&self.std, &[1.0], channels),
        })
    }
}

/// One number a channel; a single one stands for all.
fn each(asked: &Option<Vec<f32>>, usual: &[f32], channels: usize) -> Vec<f32> {
    match asked.as_deref().unwrap_or(usual) {
        [one] => vec![*one; channels],
        list => list.to_vec(),
    }
}
