//! What heads can work on: embeddings of an encoder, and its rivals brought into the same integer
//! space.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{bail, ensure};
use headstart::frontend::settings::SensorSettings;
use headstart::onnx::OnnxError;
use headstart::pack::Artefact;
use headstart::{Embedding, Encoder, EncoderPack, PackedEncoder};

use super::parallel::parallel;
use super::progress::Progress;
use crate::dataset::{Dataset, Window};
use crate::encoder_file::Background;
use crate::features::{Feature, Standardisation};
use crate::files::Aligned;

/// Windows that are embedded between two looks at the progress.
const BATCH: usize = 256;
/// The fixed-point step of standardised features: fine enough that it does not count.
const FINE_STEP: f32 = 1.0 / 65_536.0;

/// What a row of the table stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Features {
    /// A pretrained encoder.
    Encoder,
    /// Embeddings from a file.
    Stored,
    /// A pretrained encoder that has seen other data.
    Transfer,
    /// An encoder of the same shape with random weights.
    Random,
    /// Statistics made by hand.
    HandMade,
    /// The window's samples.
    Raw,
}

impl Features {
    /// As the JSON spells it.
    pub fn name(self) -> &'static str {
        match self {
            Features::Encoder => "encoder",
            Features::Stored => "embeddings",
            Features::Transfer => "transfer",
            Features::Random => "random",
            Features::HandMade => "hand-made",
            Features::Raw => "raw",
        }
    }
}

/// The windows that an encoder takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Input {
    /// Values a time step.
    pub channels: usize,
    /// Time steps.
    pub window: usize,
    /// Time steps between two windows.
    pub hop: usize,
    /// Time steps a second.
    pub rate: f32,
}

impl Input {
    /// Checks that recordings are of the kind that the encoder takes; `what` names them.
    pub fn check(&self, data: &Dataset, what: &Path) -> anyhow::Result<()> {
        ensure!(
            data.channels == self.channels,
            "the encoder takes {} channels, {} has {}: give recordings of the sensor that it was pretrained on",
            self.channels,
            what.display(),
            data.channels
        );
        if let Some(rate) = data.rate_hz {
            ensure!(
                (rate / self.rate - 1.0).abs() < 0.02,
                "the encoder takes {} Hz, {} was sampled at {rate} Hz: resample it first",
                self.rate,
                what.display()
            );
        }
        Ok(())
    }
}

/// Something that turns windows into points of an integer embedding space.
pub struct Space {
    /// What it is.
    pub features: Features,
    /// The encoder's file, or that of the embeddings, where there is one.
    pub encoder: Option<String>,
    /// `tract`, `ort` or `pack`, where an encoder's file is run.
    pub runtime: Option<&'static str>,
    /// D.
    pub dim: usize,
    /// Of the encoder's file; zero where there is none.
    pub artefact: Artefact,
    /// What the heads start from.
    pub background: Option<Background>,
    pub(super) source: Source,
}

/// How windows become vectors.
pub(super) enum Source {
    /// An ONNX graph, then a fixed-point step.
    Float {
        run: Float,
        frontend: SensorSettings,
        step: f32,
        centre: Vec<i32>,
    },
    /// The integer encoder, as a pack.
    Pack(Aligned),
    /// Things that were embedded when they were opened; the data names them by number.
    Items {
        /// By number; none where a thing carries no signal.
        values: Vec<Option<Vec<i8>>>,
        /// Microseconds that one took.
        us_each: f64,
        /// Raw embeddings, of a float runtime.
        raw: Vec<Vec<f32>>,
    },
    /// Embeddings already: a fixed-point step is left.
    Stored { step: f32, centre: Vec<i32> },
    /// No encoder at all.
    Plain {
        feature: Feature,
        window: usize,
        standard: Standardisation,
    },
}

/// A graph in a float runtime.
pub(crate) struct Float(Mutex<Box<Run>>);

/// Raw embeddings, a row a window, of windows `[time][channels]`.
type Run = dyn FnMut(&[f32]) -> Result<Vec<Vec<f32>>, OnnxError> + Send;

/// The embeddings of some windows, in their order.
pub struct Embedded {
    values: Vec<Option<Vec<i8>>>,
    /// Microseconds that one took, the front end's work included.
    pub us_each: f64,
}

impl Embedded {
    /// The embedding of window number `at`; `None` where the window carries no signal.
    pub fn get(&self, at: usize) -> Option<Embedding<'_>> {
        self.values
            .get(at)?
            .as_deref()
            .and_then(|values| Embedding::new(values).ok())
    }

    /// Windows that carry no signal.
    pub fn silent(&self) -> usize {
        self.values.iter().filter(|e| e.is_none()).count()
    }

    /// The values, window by window.
    pub fn into_values(self) -> Vec<Option<Vec<i8>>> {
        self.values
    }
}

impl Space {
    /// A name for tables.
    pub fn name(&self) -> String {
        match (self.features, &self.encoder) {
            (Features::Encoder, Some(file)) if self.runtime == Some("ort") => {
                format!("{file} (ort)")
            }
            (Features::Encoder | Features::Transfer | Features::Stored, Some(file)) => file.clone(),
            (Features::Random, _) => "random weights".to_owned(),
            (Features::HandMade, _) => "hand-made statistics".to_owned(),
            _ => "raw window".to_owned(),
        }
    }

    /// The sensor counts of all of `data`, row after row, as this encoder takes them.
    pub fn counts(&self, data: &Dataset) -> anyhow::Result<Vec<i16>> {
        match &self.source {
            Source::Float { frontend, .. } => Ok(frontend.counts(&data.x)),
            _ => stored_counts(data),
        }
    }

    /// Embeds windows of `data`, each once.
    pub fn embed(&self, data: &Dataset, windows: &[Window]) -> anyhow::Result<Embedded> {
        let progress = Progress::new(format!("embedding with {}", self.name()), windows.len());
        let start = Instant::now();
        let values = match &self.source {
            Source::Float {
                run,
                frontend,
                step,
                centre,
            } => {
                let rows = run.rows(frontend, data, windows, &progress)?;
                rows.iter()
                    .map(|row| normalise(row, *step, centre))
                    .collect()
            }
            Source::Pack(pack) => embed_packed(pack, data, windows, &progress)?,
            Source::Items { values, .. } => {
                let value = |w: &Window| values.get(number(data, w)).cloned().flatten();
                windows.iter().map(value).collect()
            }
            Source::Stored { step, centre } => windows
                .iter()
                .map(|w| normalise(data.window(w.start, 1), *step, centre))
                .collect(),
            Source::Plain {
                feature,
                window,
                standard,
            } => {
                let mut vectors = feature.extract(data, windows, *window);
                standard.apply(&mut vectors);
                let centre = vec![0; self.dim];
                vectors
                    .iter()
                    .map(|v| normalise(v, FINE_STEP, &centre))
                    .collect()
            }
        };
        let us_each = match &self.source {
            Source::Items { us_each, .. } => *us_each,
            _ => start.elapsed().as_secs_f64() * 1e6 / windows.len().max(1) as f64,
        };
        Ok(Embedded { values, us_each })
    }

    /// Raw float embeddings, a row a window; `None` where no float runtime makes them.
    pub fn raw(&self, data: &Dataset, windows: &[Window]) -> Option<anyhow::Result<Vec<Vec<f32>>>> {
        let (run, frontend) = match &self.source {
            Source::Float { run, frontend, .. } => (run, frontend),
            Source::Items { raw, .. } if !raw.is_empty() => {
                let row = |w: &Window| raw[number(data, w)].clone();
                return Some(Ok(windows.iter().map(row).collect()));
            }
            _ => return None,
        };
        let progress = Progress::new(format!("raw embeddings, {}", self.name()), windows.len());
        Some(run.rows(frontend, data, windows, &progress))
    }
}

/// Which thing a row of numbered things is.
fn number(data: &Dataset, window: &Window) -> usize {
    data.window(window.start, 1)[0] as usize
}

fn embed_packed(
    pack: &Aligned,
    data: &Dataset,
    windows: &[Window],
    progress: &Progress,
) -> anyhow::Result<Vec<Option<Vec<i8>>>> {
    let counts = stored_counts(data)?;
    parallel(windows, |windows| {
        let pack = EncoderPack::new(pack.bytes())?;
        let mut arena = vec![0; pack.arena_bytes().div_ceil(4)];
        let mut encoder: PackedEncoder = PackedEncoder::new(pack, &mut arena)?;
        let mut embed = |window: &Window| {
            progress.add(1);
            let from = window.start * data.channels;
            let mut values = vec![0; pack.dim()];
            let input = &counts[from..from + encoder.input_len()];
            match encoder.embed(input.into(), &mut values) {
                Ok(_) => Ok(Some(values)),
                Err(headstart::encoder::EmbedError::Zero(_)) => Ok(None),
                Err(other) => Err(other.into()),
            }
        };
        windows.iter().map(&mut embed).collect()
    })
}

/// The counts that the file had, from the physical units that [`Dataset::load`] made of them.
pub(crate) fn stored_counts(data: &Dataset) -> anyhow::Result<Vec<i16>> {
    let Some(scale) = &data.scale else {
        bail!(
            "the data has floating-point values, but a .pack takes a sensor's counts: save x as int16 with an array scale (physical units per count), or evaluate the .onnx"
        );
    };
    let count =
        |(value, scale): (&f32, &f32)| (value / scale).round().clamp(-32768.0, 32767.0) as i16;
    Ok(data.x.iter().zip(scale.iter().cycle()).map(count).collect())
}

impl Float {
    /// Wraps what runs the graph.
    pub fn new(
        run: impl FnMut(&[f32]) -> Result<Vec<Vec<f32>>, OnnxError> + Send + 'static,
    ) -> Self {
        Float(Mutex::new(Box::new(run)))
    }

    /// Raw embeddings, a row a window, of the front end's windows one after the other.
    pub fn run(&self, windows: &[f32]) -> Result<Vec<Vec<f32>>, OnnxError> {
        let mut run = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        run(windows)
    }

    /// Raw float embeddings, a row a window.
    pub fn rows(
        &self,
        frontend: &SensorSettings,
        data: &Dataset,
        windows: &[Window],
        progress: &Progress,
    ) -> anyhow::Result<Vec<Vec<f32>>> {
        let mut rows = Vec::with_capacity(windows.len());
        for batch in windows.chunks(BATCH) {
            let input = |w: &Window| {
                let counts = frontend.counts(data.window(w.start, frontend.window));
                frontend.input(&counts, true)
            };
            let inputs: Vec<f32> = batch.iter().flat_map(input).collect();
            rows.extend(self.run(&inputs)?);
            progress.add(batch.len());
        }
        let finite = rows.iter().flatten().all(|v| v.is_finite());
        ensure!(
            finite,
            "the encoder gives NaN or infinity: its weights are damaged"
        );
        Ok(rows)
    }
}

/// Values in whole steps, halves rounded away from zero.
pub(crate) fn fixed(values: &[f32], step: f32) -> impl Iterator<Item = i32> + Clone {
    values.iter().map(move |v| (v / step).round() as i32)
}

/// Brings a vector into the integer space; `None` where nothing of it is left.
pub(crate) fn normalise(values: &[f32], step: f32, centre: &[i32]) -> Option<Vec<i8>> {
    let mut out = vec![0; values.len()];
    Embedding::from_floats(values, step, centre, &mut out).ok()?;
    Some(out)
}
