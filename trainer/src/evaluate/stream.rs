//! What a watch does all day: predictions on a running sensor, and how often it is wrong.
//!
//! A subject teaches some classes with windows from the first third of the recordings. The rest of
//! all that subject's recordings, of taught and untaught classes, then runs sample by sample
//! through [`headstart::Learner::push`]. Each stretch is a stream of its own: the recordings were
//! not made one after the other.

mod table;

use std::collections::{BTreeSet, HashMap};

use anyhow::anyhow;
use headstart::embedding::ZeroEmbedding;
use headstart::encoder::EmbedError;
use headstart::frontend::Signal;
use headstart::learner::LearnerError;
use headstart::pack::Artefact;
use headstart::stream::{Detection, Stream};
use headstart::{Embedding, Encoder, Learner, Samples, Statistics};

use super::heads::{AnyHead, HeadKind, Memory, label};
use super::parallel::parallel;
use super::progress::Progress;
use super::select::distinct_groups;
use super::space::{Input, Space};
use super::table::Row;
use crate::dataset::{Dataset, Window, starts};
use crate::episode::{Cut, Episode, Protocol, Sampler, Score};

pub use table::{Figure, StreamRow, text};

/// Random teachings of each subject.
pub const TEACHINGS: usize = 20;

/// What all rows share: the teachings, the streams, and what an encoder would be fed.
pub struct Streams<'d> {
    data: &'d Dataset,
    input: Input,
    /// Of the whole dataset.
    counts: Vec<i16>,
    /// Windows of support and streams.
    windows: Vec<Window>,
    /// Each with the support as starts of windows.
    lessons: Vec<Lesson>,
    rate: f64,
}

/// One teaching of one subject.
struct Lesson {
    subject: u32,
    /// Class and the first row of the window.
    support: Vec<(usize, usize)>,
}

/// What came of one lesson.
#[derive(Default)]
struct Tally {
    taught_seconds: f64,
    untaught_seconds: f64,
    taught: u32,
    found: u32,
    right: u32,
    wrong_taught: u32,
    wrong_untaught: u32,
    latency: f64,
}

impl<'d> Streams<'d> {
    /// Draws the teachings. `first` is the encoder whose counts the streams are made of.
    pub fn new(
        data: &'d Dataset,
        first: &Space,
        input: Input,
        ways: usize,
        shots: usize,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let cut = super::cells::cut(&input);
        let mut lessons = Vec::new();
        for subject in distinct_groups(data) {
            // The recordings' first rows in `data`, in the order in which the filter keeps them.
            let own: Vec<_> = data
                .recordings
                .iter()
                .filter(|r| r.group == subject)
                .collect();
            let alone = data.filter(|r| r.group == subject);
            let sampler = Sampler::new(&alone, Protocol::SameWearer, cut);
            let start = |window: usize| {
                let window = sampler.windows()[window];
                let moved = alone.recordings[window.recording].rows.start;
                window.start - moved + own[window.recording].rows.start
            };
            for Episode {
                classes, support, ..
            } in sampler.episodes(ways, shots, TEACHINGS, seed)?
            {
                let taught = classes.iter().zip(&support);
                let support = taught.flat_map(|(&c, ws)| ws.iter().map(move |&w| (c, w)));
                let support = support
                    .map(|(class, window)| (class, start(window)))
                    .collect();
                lessons.push(Lesson { subject, support });
            }
        }
        let mut wanted: BTreeSet<usize> = lessons
            .iter()
            .flat_map(|l| &l.support)
            .map(|s| s.1)
            .collect();
        for recording in &data.recordings {
            wanted.extend(starts(rest(&recording.rows, cut), cut.length, cut.hop));
        }
        let windows = wanted
            .into_iter()
            .map(|start| Window {
                recording: 0,
                start,
            })
            .collect();
        Ok(Streams {
            data,
            input,
            counts: first.counts(data)?,
            windows,
            lessons,
            rate: f64::from(data.rate_hz.unwrap_or(input.rate)),
        })
    }

    /// Runs every lesson with one space and one head.
    pub fn run(
        &self,
        space: &Space,
        kinds: &[HeadKind],
        row: &Row,
    ) -> anyhow::Result<Vec<StreamRow>> {
        let values = space.embed(self.data, &self.windows)?.into_values();
        let windows = self
            .windows
            .iter()
            .map(|w| self.rows(w.start, self.input.window));
        let known: HashMap<&[i16], Option<Vec<i8>>> = windows.zip(values).collect();
        let mut found = Vec::new();
        let able = |kind: &&HeadKind| space.background.is_some() || kind.runs_without_background();
        for &kind in kinds.iter().filter(able) {
            let what = format!("streams, {}, {}", space.name(), kind.name());
            let progress = Progress::new(what, self.lessons.len());
            let tallies = parallel(&self.lessons, |lessons| {
                let run = |lesson: &Lesson| {
                    progress.add(1);
                    self.lesson(lesson, space, &known, kind)
                };
                lessons.iter().map(run).collect()
            })?;
            found.push(self.summary(&tallies, kind, row));
        }
        Ok(found)
    }

    /// Counts of `length` rows from row `start` on.
    fn rows(&self, start: usize, length: usize) -> &[i16] {
        let width = self.data.channels;
        &self.counts[start * width..(start + length) * width]
    }

    fn lesson(
        &self,
        lesson: &Lesson,
        space: &Space,
        known: &HashMap<&[i16], Option<Vec<i8>>>,
        kind: HeadKind,
    ) -> anyhow::Result<Tally> {
        let classes: BTreeSet<usize> = lesson.support.iter().map(|s| s.0).collect();
        let dim = space.dim;
        let mut memory = Memory::new(
            space,
            classes.len(),
            lesson.support.len().div_ceil(classes.len()),
        );
        let encoder = Recall {
            dim,
            input_len: self.input.window * self.input.channels,
            artefact: space.artefact,
            known,
        };
        let statistics =
            Statistics::with_gram(dim, space.artefact, &mut memory.words, &mut memory.labels)?;
        let head = AnyHead::new(kind, space.background.as_ref(), &mut memory.weights);
        let mut embedding = vec![0; dim];
        let mut learner = Learner::new(encoder, statistics, head, &mut embedding)?
            .with_samples(Samples::new(dim, &mut memory.samples))?;
        for &(class, start) in &lesson.support {
            match learner.learn(&label(class), self.rows(start, self.input.window)) {
                // As on a device: a window without a signal is refused and the wearer goes on.
                Ok(_) | Err(LearnerError::Embed(EmbedError::Zero(_))) => {}
                Err(other) => return Err(other.into()),
            }
        }
        let mut tally = Tally::default();
        for recording in self
            .data
            .recordings
            .iter()
            .filter(|r| r.group == lesson.subject)
        {
            let Some(class) = recording.class else {
                continue;
            };
            let rows = rest(&recording.rows, super::cells::cut(&self.input));
            let taught = classes.contains(&class);
            self.stream(&mut learner, rows, class, taught, &mut tally)?;
        }
        Ok(tally)
    }

    /// One recording, as a stream of its own.
    fn stream(
        &self,
        learner: &mut Learner<'_, Recall<'_>, AnyHead<'_>>,
        rows: std::ops::Range<usize>,
        class: usize,
        taught: bool,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let (channels, hop) = (self.input.channels, self.input.hop);
        let mut buffer = vec![0; self.input.window * channels];
        let mut stream = Stream::new(channels, hop, Detection::default(), &mut buffer);
        let (mut right, own) = (0, label(class));
        let samples = self.rows(rows.start, rows.len()).chunks_exact(channels);
        for (time, sample) in samples.enumerate() {
            let detection = match learner.push(&mut stream, sample) {
                Err(LearnerError::NothingLearnt) => None,
                other => other.map_err(|e| anyhow!("{e}"))?,
            };
            match detection {
                Some(p) if taught && p.label == own => {
                    if right == 0 {
                        tally.latency += (time + 1) as f64 / self.rate;
                    }
                    right += 1;
                }
                Some(_) if taught => tally.wrong_taught += 1,
                Some(_) => tally.wrong_untaught += 1,
                None => {}
            }
        }
        let seconds = rows.len() as f64 / self.rate;
        if taught {
            tally.taught_seconds += seconds;
            tally.taught += 1;
            tally.found += u32::from(right > 0);
            tally.right += right;
        } else {
            tally.untaught_seconds += seconds;
        }
        Ok(())
    }

    fn summary(&self, tallies: &[Tally], kind: HeadKind, row: &Row) -> StreamRow {
        let over = |value: &dyn Fn(&Tally) -> Option<f64>| {
            let pairs = self.lessons.iter().zip(tallies);
            let values: Vec<(u32, f64)> = pairs
                .filter_map(|(l, t)| Some((l.subject, value(t)?)))
                .collect();
            let score = Score::over(&values);
            Figure {
                mean: score.map(|s| s.accuracy),
                ci95_groups: score.and_then(|s| s.ci95_groups),
            }
        };
        let share = |count: u32, of: f64| (of > 0.0).then(|| f64::from(count) / of);
        let subjects = distinct_groups(self.data).len();
        let seconds: f64 = tallies
            .iter()
            .map(|t| t.taught_seconds + t.untaught_seconds)
            .sum();
        StreamRow {
            dataset: row.dataset.clone(),
            encoder: row.encoder.clone(),
            features: row.features,
            head: kind.name(),
            ways: row.ways,
            shots: row.shots,
            subjects,
            teachings: TEACHINGS,
            hours: seconds / TEACHINGS as f64 / 3600.0,
            right_per_recording: over(&|t| share(t.right, t.taught.into())),
            found: over(&|t| share(t.found, t.taught.into())),
            false_alarms_per_hour_taught: over(&|t| {
                share(t.wrong_taught, t.taught_seconds / 3600.0)
            }),
            false_alarms_per_hour_untaught: over(&|t| {
                share(t.wrong_untaught, t.untaught_seconds / 3600.0)
            }),
            latency_seconds: over(&|t| (t.found > 0).then(|| t.latency / f64::from(t.found))),
            name: row.name.clone(),
        }
    }
}

/// The rows of a recording that are streamed: none that a support window can have seen.
fn rest(recording: &std::ops::Range<usize>, cut: Cut) -> std::ops::Range<usize> {
    let from = recording.start + recording.len() / 3 + cut.gap;
    from.min(recording.end)..recording.end
}

/// An encoder that has seen every window before. The streams are run many times over, once for
/// each teaching and head, and an encoder gives the same embedding each time.
struct Recall<'k> {
    dim: usize,
    input_len: usize,
    artefact: Artefact,
    known: &'k HashMap<&'k [i16], Option<Vec<i8>>>,
}

impl Encoder for Recall<'_> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn input_len(&self) -> usize {
        self.input_len
    }

    fn artefact(&self) -> Artefact {
        self.artefact
    }

    fn embed<'o>(
        &mut self,
        signal: Signal<'_>,
        out: &'o mut [i8],
    ) -> Result<Embedding<'o>, EmbedError> {
        let Signal::Samples(counts) = signal else {
            return Err(EmbedError::WrongSignal { takes: "samples" });
        };
        match self.known.get(counts) {
            Some(Some(values)) if values.len() == out.len() => {
                out.copy_from_slice(values);
                Embedding::new(out).map_err(EmbedError::Zero)
            }
            Some(None) => Err(EmbedError::Zero(ZeroEmbedding)),
            _ => Err(EmbedError::Runtime),
        }
    }
}
