//! A lesson from labelled data: some windows of each label are learnt, others asked about.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use headstart::Verdict;
use headstart::wire::{self, Info, Signal};
use npyz::npz::NpzWriter;
use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::{Args, check_label, takes};
use crate::dataset::Dataset;
use crate::embed;
use crate::episode::{Cut, Episode, Protocol, Sampler};
use crate::error::Failure;
use crate::evaluate::progress::Progress;
use crate::evaluate::space::{Input, stored_counts};
use crate::files;

/// What is taught from.
pub(super) struct Material {
    path: PathBuf,
    data: Dataset,
    counts: Vec<i16>,
}

/// Reads recordings, before anybody is asked to listen to them.
pub(super) fn load(path: &Path) -> Result<Material, Failure> {
    let data = Dataset::load(path).map_err(anyhow::Error::from)?;
    if data.labels.is_empty() {
        return Err(anyhow::anyhow!(
            "{} has no labels (array y): there is nothing to teach",
            path.display()
        )
        .into());
    }
    let counts = stored_counts(&data)?;
    Ok(Material {
        path: path.to_owned(),
        data,
        counts,
    })
}

/// What a lesson came to.
pub(super) struct Report {
    dataset: String,
    group: u32,
    seed: u64,
    shots: usize,
    labels: Vec<String>,
    /// Examples that the device had before.
    before: u32,
    queries: usize,
    right: usize,
    unknown: usize,
}

impl Report {
    pub(super) fn json(&self) -> Value {
        let (low, high) = wilson(self.right, self.queries);
        json!({
            "dataset": self.dataset, "protocol": Protocol::SameWearer.name(), "group": self.group,
            "seed": self.seed, "episodes": 1, "ways": self.labels.len(), "shots": self.shots,
            "examples_before": self.before, "queries": self.queries,
            "accuracy": self.right as f64 / self.queries as f64, "ci95_queries": [low, high],
            "unknown": self.unknown,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = wilson(self.right, self.queries);
        let accuracy = 100.0 * self.right as f64 / self.queries as f64;
        writeln!(
            f,
            "taught     {}: {} windows of each, of group {} of {}",
            self.labels.join(", "),
            self.shots,
            self.group,
            self.dataset
        )?;
        if self.before > 0 {
            writeln!(
                f,
                "before     the device had learnt {} examples, which count too",
                self.before
            )?;
        }
        writeln!(
            f,
            "right      {} of {} others, {accuracy:.1} % ({:.1} to {:.1}: 95 %, over the queries of this one episode)",
            self.right,
            self.queries,
            100.0 * low,
            100.0 * high
        )?;
        write!(f, "unknown    {} of them", self.unknown)
    }
}

/// The 95 % interval of a proportion: *Probable Inference, the Law of Succession, and Statistical
/// Inference*, E. B. Wilson, 1927.
pub(super) fn wilson(right: usize, of: usize) -> (f64, f64) {
    const Z: f64 = 1.959_964;
    let (n, p) = (of as f64, right as f64 / of as f64);
    let centre = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    (
        ((centre - half) / scale).max(0.0),
        ((centre + half) / scale).min(1.0),
    )
}

/// A window that the device was asked about.
struct Asked {
    class: usize,
    answer: Answer,
}

/// Teaches and asks.
pub(super) fn run(
    args: &Args,
    client: &mut Client<'_>,
    info: &Info,
    material: &Material,
) -> Result<Report, Failure> {
    let Material { path, data, counts } = material;
    let input = window_of(info)?;
    input.check(data, path)?;
    let cut = Cut {
        length: input.window,
        hop: input.hop,
        gap: input.window,
    };
    let sampler = Sampler::new(data, Protocol::SameWearer, cut);
    let ways = args.ways.map_or(sampler.classes(), |ways| ways as usize);
    let (shots, seed) = (args.shots as usize, args.seed);
    let drawn = sampler.episodes(ways, shots, 1, seed);
    let episode = drawn.map_err(|why| Failure::Usage(format!("{}: {why}", path.display())))?;
    let episode = episode.into_iter().next().context("no episode")?;
    let label = |class: usize| data.labels.get(class).map_or("", String::as_str);
    for &class in &episode.classes {
        check_label(label(class)).with_context(|| format!("in {}", path.display()))?;
    }
    let bytes = |window: usize| -> Vec<u8> {
        let first = sampler.windows()[window].start * input.channels;
        let counts = &counts[first..first + input.window * input.channels];
        counts
            .iter()
            .flat_map(|count| count.to_le_bytes())
            .collect()
    };
    let step = |what: &str, window: usize| {
        format!(
            "{what} row {} of {}",
            sampler.windows()[window].start,
            path.display()
        )
    };

    let progress = Progress::new("teaching", ways * shots);
    // One of each in turn, as a person would.
    for shot in 0..shots {
        for (&class, windows) in episode.classes.iter().zip(&episode.support) {
            let window = windows[shot];
            client
                .learn(label(class), Signal::Samples(&bytes(window)))
                .with_context(|| step("could not teach", window))?;
            progress.add(1);
        }
    }
    drop(progress);

    let progress = Progress::new("asking", episode.query.iter().map(Vec::len).sum());
    let mut asked = Vec::new();
    for (&class, windows) in episode.classes.iter().zip(&episode.query) {
        for &window in windows {
            let answer = client
                .predict(Signal::Samples(&bytes(window)))
                .with_context(|| step("could not ask about", window))?;
            asked.push(Asked { class, answer });
            progress.add(1);
        }
    }
    drop(progress);

    if let Some(path) = &args.predictions {
        let npz = npz(&data.labels, &asked).context("could not lay out the predictions")?;
        files::write(path, &npz)?;
    }
    let right = |a: &&Asked| a.answer.label == label(a.class);
    Ok(Report {
        dataset: path.display().to_string(),
        group: group(&episode),
        seed,
        shots,
        labels: episode
            .classes
            .iter()
            .map(|&c| label(c).to_owned())
            .collect(),
        before: info.examples,
        queries: asked.len(),
        right: asked.iter().filter(right).count(),
        unknown: asked
            .iter()
            .filter(|a| a.answer.verdict != Verdict::Known)
            .count(),
    })
}

/// Of one wearer all.
fn group(episode: &Episode) -> u32 {
    let groups = episode.groups.iter().flatten();
    groups.copied().next().unwrap_or(0)
}

fn window_of(info: &Info) -> anyhow::Result<Input> {
    match info.input {
        wire::Input::Sensor {
            window,
            channels,
            hop,
            rate_hz,
        } => Ok(Input {
            channels: channels.into(),
            window: window.into(),
            hop: hop.into(),
            rate: rate_hz,
        }),
        other => bail!(
            "the device takes {}, --data has windows of a sensor: teach it what it sees itself, without --data",
            takes(&other)
        ),
    }
}

/// `y` and `predicted` are indices into `labels`; what the device had learnt before may add to the data's.
/// `probability` is that of the label predicted, `unknown` is 0 for known, 1 for unknown, 2 for too few
/// examples to tell.
fn npz(labels: &[String], asked: &[Asked]) -> anyhow::Result<Vec<u8>> {
    let mut labels = labels.to_vec();
    for label in asked.iter().map(|a| &a.answer.label) {
        if !labels.contains(label) {
            labels.push(label.clone());
        }
    }
    let index = |label: &String| labels.iter().position(|l| l == label).unwrap_or(0) as u32;
    let count = [asked.len() as u64];
    let mut npz = NpzWriter::new(std::io::Cursor::new(Vec::new()));
    embed::add(&mut npz, "y", &count, asked.iter().map(|a| a.class as u32))?;
    let predicted = asked.iter().map(|a| index(&a.answer.label));
    embed::add(&mut npz, "predicted", &count, predicted)?;
    let probability = asked.iter().map(|a| a.answer.probability);
    embed::add(&mut npz, "probability", &count, probability)?;
    let unknown = asked.iter().map(|a| a.answer.verdict as u8);
    embed::add(&mut npz, "unknown", &count, unknown)?;
    embed::add_labels(&mut npz, &labels)?;
    Ok(npz.zip_writer().finish()?.into_inner())
}
