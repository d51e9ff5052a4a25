//! Few-shot episodes: a learner sees k labelled windows of each of n classes (the support, n-way
//! k-shot) and is then asked for the classes of other windows (the queries).
//!
//! Episodes say which windows, never what is made of them, so that every feature and every head
//! is asked the very same questions. For one seed, episode i has the same subjects, classes and
//! queries at every number of shots, and its support at k shots is the first k of that at k + 1.

mod score;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::dataset::{Dataset, Window};

pub use score::Score;

/// Episodes that a table's cell is measured over.
pub const EPISODES: usize = 600;
/// Queries of each class in an episode, fewer where the recordings do not have as many windows.
pub const QUERIES: usize = 15;

/// What separates support from queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Both from one subject: support from the first third of each recording, queries from the
    /// rest of it after a gap. Both sides count as one subject.
    SameWearer,
    /// Support from all recordings of one subject, queries from those of another.
    NextWearer,
}

impl Protocol {
    /// Both, in the order of the tables.
    pub const ALL: [Protocol; 2] = [Protocol::SameWearer, Protocol::NextWearer];
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Protocol::SameWearer => "same wearer",
            Protocol::NextWearer => "next wearer",
        })
    }
}

/// How recordings are cut, in samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Samples in a window.
    pub length: usize,
    /// Samples from one window's start to the next one's.
    pub hop: usize,
    /// Samples between the first third of a recording and its first query, at least.
    pub gap: usize,
}

impl Default for Cut {
    /// The watch protocol's: 128, 32 and 128.
    fn default() -> Cut {
        Cut {
            length: 128,
            hop: 32,
            gap: 128,
        }
    }
}

/// Why there are no episodes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EpisodeError {
    /// The data has too few classes.
    #[error("{need}-way episodes need {need} classes, the data has {have}; ask for fewer ways")]
    TooFewClasses {
        /// Labelled classes in the data.
        have: usize,
        /// The ways asked for.
        need: usize,
    },
    /// The data has too few subjects.
    #[error("the {protocol} protocol needs {need} subjects (array group), the data has {have}")]
    TooFewSubjects {
        /// The protocol.
        protocol: Protocol,
        /// Subjects in the data.
        have: usize,
        /// 1 or 2.
        need: usize,
    },
    /// A subject's recordings of a class are too short.
    #[error(
        "subject {subject} has {have} {set} windows of class {class}, {need} are needed; \
         ask for fewer shots or leave that subject or class out"
    )]
    TooFewWindows {
        /// "support" or "query".
        set: &'static str,
        /// The class's name.
        class: String,
        /// The group.
        subject: u32,
        /// Windows that there are.
        have: usize,
        /// Windows that are needed.
        need: usize,
    },
    /// Something was asked for zero times.
    #[error("ways and shots must each be at least 1")]
    Zero,
}

/// One episode. Windows are indices into [`Sampler::windows`], way by way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Episode {
    /// Whose windows are the support.
    pub support_subject: u32,
    /// Whose windows are the queries.
    pub query_subject: u32,
    /// The class (index into [`Dataset::labels`]) of each way.
    pub classes: Vec<usize>,
    /// [ways, shots]: what the learner is taught, in that order.
    pub support: Vec<Vec<usize>>,
    /// [ways, 1..=15]: what it is asked.
    pub query: Vec<Vec<usize>>,
}

/// Window indices by subject and class.
type Cells = BTreeMap<(u32, usize), Vec<usize>>;

/// Draws episodes from the labelled recordings of a dataset.
pub struct Sampler {
    protocol: Protocol,
    labels: Vec<String>,
    windows: Vec<Window>,
    subjects: Vec<u32>,
    classes: Vec<usize>,
    support: Cells,
    query: Cells,
}

impl Sampler {
    /// Sorts the windows of `data` into those that may be support and those that may be queries.
    /// Unlabelled recordings are left out.
    pub fn new(data: &Dataset, protocol: Protocol, cut: Cut) -> Sampler {
        let windows = data.windows(cut.length, cut.hop);
        let labelled = || data.recordings.iter().filter(|r| r.class.is_some());
        let mut sampler = Sampler {
            protocol,
            labels: data.labels.clone(),
            subjects: distinct(labelled().map(|r| r.group)),
            classes: distinct(labelled().filter_map(|r| r.class)),
            support: Cells::new(),
            query: Cells::new(),
            windows,
        };
        for (index, window) in sampler.windows.iter().enumerate() {
            let recording = &data.recordings[window.recording];
            let Some(class) = recording.class else {
                continue;
            };
            let cell = (recording.group, class);
            let rows = window.start..window.start + cut.length;
            let (support, query) = match protocol {
                Protocol::SameWearer => same_wearer(&recording.rows, &rows, cut.gap),
                Protocol::NextWearer => (true, true),
            };
            if support {
                sampler.support.entry(cell).or_default().push(index);
            }
            if query {
                sampler.query.entry(cell).or_default().push(index);
            }
        }
        sampler
    }

    /// All windows of the dataset, those of [`Dataset::windows`]: compute a feature once for each.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// The number of classes that episodes can be drawn from.
    pub fn classes(&self) -> usize {
        self.classes.len()
    }

    /// Draws `count` episodes.
    ///
    /// # Errors
    /// Where some episode could not be filled; then there is none at all, as leaving out the
    /// cells that are short would make the task another one.
    pub fn episodes(
        &self,
        ways: usize,
        shots: usize,
        count: usize,
        seed: u64,
    ) -> Result<Vec<Episode>, EpisodeError> {
        self.check(ways, shots)?;
        let episode = |number| self.episode(ways, shots, number, seed);
        Ok((0..count as u64).map(episode).collect())
    }

    fn check(&self, ways: usize, shots: usize) -> Result<(), EpisodeError> {
        if ways == 0 || shots == 0 {
            return Err(EpisodeError::Zero);
        }
        let have = self.classes.len();
        if have < ways {
            return Err(EpisodeError::TooFewClasses { have, need: ways });
        }
        let protocol = self.protocol;
        let need = match protocol {
            Protocol::SameWearer => 1,
            Protocol::NextWearer => 2,
        };
        let have = self.subjects.len();
        if have < need {
            return Err(EpisodeError::TooFewSubjects {
                protocol,
                have,
                need,
            });
        }
        for (set, cells, need) in [("support", &self.support, shots), ("query", &self.query, 1)] {
            for (&subject, &class) in product(&self.subjects, &self.classes) {
                let have = cells.get(&(subject, class)).map_or(0, Vec::len);
                if have < need {
                    let class = self.labels[class].clone();
                    return Err(EpisodeError::TooFewWindows {
                        set,
                        class,
                        subject,
                        have,
                        need,
                    });
                }
            }
        }
        Ok(())
    }

    /// A stream of random numbers for each episode, of which it uses as many at any number of
    /// shots: whole cells are shuffled, then cut.
    fn episode(&self, ways: usize, shots: usize, number: u64, seed: u64) -> Episode {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(number);
        let subjects = shuffled(&self.subjects, &mut rng);
        let (support_subject, query_subject) = match self.protocol {
            Protocol::SameWearer => (subjects[0], subjects[0]),
            Protocol::NextWearer => (subjects[0], subjects[1]),
        };
        let mut classes = shuffled(&self.classes, &mut rng);
        classes.truncate(ways);
        let mut draw = |cells: &Cells, subject: u32, class: usize, count: usize| {
            let mut windows = shuffled(&cells[&(subject, class)], &mut rng);
            windows.truncate(count);
            windows
        };
        let support = classes
            .iter()
            .map(|&class| draw(&self.support, support_subject, class, shots))
            .collect();
        let query = classes
            .iter()
            .map(|&class| draw(&self.query, query_subject, class, QUERIES))
            .collect();
        Episode {
            support_subject,
            query_subject,
            classes,
            support,
            query,
        }
    }
}

fn distinct<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    Vec::from_iter(values.collect::<BTreeSet<T>>())
}

/// Whether a window may be support and whether it may be a query.
fn same_wearer(recording: &Range<usize>, window: &Range<usize>, gap: usize) -> (bool, bool) {
    let third = recording.start + recording.len() / 3;
    (window.end <= third, window.start >= third + gap)
}

fn product<'a, A, B>(a: &'a [A], b: &'a [B]) -> impl Iterator<Item = (&'a A, &'a B)> {
    a.iter().flat_map(move |a| b.iter().map(move |b| (a, b)))
}

/// Fisher and Yates's shuffle, written out here so that a seed means the same episodes with every
/// version of the random number library.
pub(crate) fn shuffled<T: Copy>(values: &[T], rng: &mut ChaCha8Rng) -> Vec<T> {
    let mut values = values.to_vec();
    for last in (1..values.len()).rev() {
        values.swap(last, below(last + 1, rng));
    }
    values
}

/// A number from 0 to `end` - 1. The bias is below end / 2^32.
fn below(end: usize, rng: &mut ChaCha8Rng) -> usize {
    ((u64::from(rng.next_u32()) * end as u64) >> 32) as usize
}
