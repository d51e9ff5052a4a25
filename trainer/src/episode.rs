//! Few-shot episodes: a learner sees k labelled windows of each of n classes (the support, n-way
//! k-shot) and is then asked for the classes of other windows (the queries).
//!
//! Episodes say which windows, never what is made of them, so that every feature and every head
//! is asked the very same questions. For one seed, episode i has the same subjects, classes and
//! queries at every number of shots, and its support at k shots is the first k of that at k + 1.
//! Beside the queries each episode has strangers: windows of classes that it does not teach.

mod error;
mod protocol;
mod score;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::dataset::{Dataset, Recording, Window};

pub use error::EpisodeError;
pub use protocol::{Cut, Protocol};
pub use score::{Score, interval};

/// Episodes that a table's cell is measured over.
pub const EPISODES: usize = 600;
/// Queries of each class in an episode, fewer where the recordings do not have as many windows.
pub const QUERIES: usize = 15;
/// Strangers of each class in an episode, fewer where there are not as many.
pub const STRANGERS: usize = 4;
/// Of the groups, so many in a hundred teach in [`Protocol::NextGroup`]; the others are asked.
const TEACHING: usize = 60;
/// Groups are dealt at most so often in [`Protocol::NextGroup`], until every class has enough.
const DEALS: usize = 100;

/// One episode. Windows are indices into [`Sampler::windows`], way by way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Episode {
    /// The class (index into [`Dataset::labels`]) of each way.
    pub classes: Vec<usize>,
    /// [ways, shots]: what the learner is taught, in that order.
    pub support: Vec<Vec<usize>>,
    /// [ways, 1..=15]: what it is asked.
    pub query: Vec<Vec<usize>>,
    /// [ways, 1..=15]: whose each query is.
    pub groups: Vec<Vec<u32>>,
    /// Classes that are not taught, and up to 4 windows of each from where the queries are from.
    pub strangers: Vec<(usize, Vec<usize>)>,
}

/// Window indices by subject and class; under [`ANYONE`] where whole groups are dealt.
type Cells = BTreeMap<(u32, usize), Vec<usize>>;

const ANYONE: u32 = 0;

/// Whose windows one side of an episode is made of.
enum Side {
    One(u32),
    These(BTreeSet<u32>),
    Others(BTreeSet<u32>),
}

/// Draws episodes from the labelled recordings of a dataset.
pub struct Sampler {
    protocol: Protocol,
    labels: Vec<String>,
    windows: Vec<Window>,
    /// Whose each window is.
    groups: Vec<u32>,
    subjects: Vec<u32>,
    classes: Vec<usize>,
    /// Classes that are never taught.
    strangers: Vec<usize>,
    support: Cells,
    query: Cells,
}

impl Sampler {
    /// Sorts the windows of `data` into those that may be support and those that may be queries.
    /// Unlabelled recordings are left out. In each episode the classes that it does not teach are
    /// its strangers.
    pub fn new(data: &Dataset, protocol: Protocol, cut: Cut) -> Sampler {
        Self::with_strangers(data, protocol, cut, &BTreeSet::new())
    }

    /// Keeps `strangers` apart: classes that are never taught, and with any of them no other class
    /// is a stranger.
    pub fn with_strangers(
        data: &Dataset,
        protocol: Protocol,
        cut: Cut,
        strangers: &BTreeSet<usize>,
    ) -> Sampler {
        let windows = data.windows(cut.length, cut.hop);
        let taught = |r: &&Recording| r.class.is_some_and(|c| !strangers.contains(&c));
        let taught = || data.recordings.iter().filter(taught);
        let mut sampler = Sampler {
            protocol,
            labels: data.labels.clone(),
            groups: windows
                .iter()
                .map(|w| data.recordings[w.recording].group)
                .collect(),
            subjects: distinct(taught().map(|r| r.group)),
            classes: distinct(taught().filter_map(|r| r.class)),
            strangers: strangers.iter().copied().collect(),
            support: Cells::new(),
            query: Cells::new(),
            windows,
        };
        for (index, window) in sampler.windows.iter().enumerate() {
            let recording = &data.recordings[window.recording];
            let Some(class) = recording.class else {
                continue;
            };
            let rows = window.start..window.start + cut.length;
            let (group, support, query) = match protocol {
                Protocol::SameWearer => {
                    let (support, query) = same_wearer(&recording.rows, &rows, cut.gap);
                    (recording.group, support, query)
                }
                Protocol::NextWearer => (recording.group, true, true),
                // Each side teaches as somebody of its own.
                Protocol::OtherSide => match recording.side {
                    Some(side) => (sided(recording.group, side), true, true),
                    None => continue,
                },
                Protocol::NextGroup => (ANYONE, true, true),
            };
            let cell = (group, class);
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
        (0..count as u64).map(episode).collect()
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
            Protocol::SameWearer | Protocol::OtherSide => 1,
            Protocol::NextWearer | Protocol::NextGroup => 2,
        };
        let have = self.subjects.len();
        if have < need {
            return Err(EpisodeError::TooFewSubjects {
                protocol,
                have,
                need,
            });
        }
        if matches!(protocol, Protocol::NextGroup | Protocol::OtherSide) {
            // How many examples there are depends on how the groups fall, or which side teaches.
            return Ok(());
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
    fn episode(
        &self,
        ways: usize,
        shots: usize,
        number: u64,
        seed: u64,
    ) -> Result<Episode, EpisodeError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(number);
        let mut drawn = self.draw_episode(ways, shots, &mut rng);
        if self.protocol == Protocol::NextGroup {
            // A class of few groups may have all of them on one side: they are dealt anew.
            for _ in 1..DEALS {
                if drawn.is_ok() {
                    break;
                }
                drawn = self.draw_episode(ways, shots, &mut rng);
            }
        }
        drawn
    }

    fn draw_episode(
        &self,
        ways: usize,
        shots: usize,
        rng: &mut ChaCha8Rng,
    ) -> Result<Episode, EpisodeError> {
        let (teacher, asked) = self.sides(rng);
        let mut classes = shuffled(&self.classes, rng);
        classes.truncate(ways);
        let (mut support, mut query) = (Vec::new(), Vec::new());
        for &class in &classes {
            let windows = self.draw(&self.support, &teacher, class, shots, rng);
            support.push(self.enough("support", class, windows, shots)?);
        }
        for &class in &classes {
            let windows = self.draw(&self.query, &asked, class, QUERIES, rng);
            query.push(self.enough("query", class, windows, 1)?);
        }
        let others = match self.strangers.is_empty() {
            true => &self.classes,
            false => &self.strangers,
        };
        let strangers = others.iter().filter(|class| !classes.contains(class));
        let strangers = strangers
            .map(|&class| {
                let windows = self.draw(&self.query, &asked, class, STRANGERS, rng);
                (class, windows)
            })
            .collect();
        let group = |&window: &usize| self.groups[window];
        Ok(Episode {
            groups: query
                .iter()
                .map(|windows: &Vec<usize>| windows.iter().map(group).collect())
                .collect(),
            classes,
            support,
            query,
            strangers,
        })
    }

    /// Who teaches, and who is asked.
    fn sides(&self, rng: &mut ChaCha8Rng) -> (Side, Side) {
        let mut subjects = shuffled(&self.subjects, rng);
        match self.protocol {
            Protocol::SameWearer => (Side::One(subjects[0]), Side::One(subjects[0])),
            Protocol::NextWearer => (Side::One(subjects[0]), Side::One(subjects[1])),
            Protocol::OtherSide => {
                let side = below(2, rng) as u8;
                let of = |side| Side::One(sided(subjects[0], side));
                (of(side), of(1 - side))
            }
            Protocol::NextGroup => {
                subjects.truncate((subjects.len() * TEACHING / 100).max(1));
                let teaching: BTreeSet<u32> = subjects.into_iter().collect();
                (Side::These(teaching.clone()), Side::Others(teaching))
            }
        }
    }

    /// Up to `count` windows of a class.
    fn draw(
        &self,
        cells: &Cells,
        side: &Side,
        class: usize,
        count: usize,
        rng: &mut ChaCha8Rng,
    ) -> Vec<usize> {
        let cell = |group| cells.get(&(group, class)).map_or(&[][..], Vec::as_slice);
        let of = |keep: &dyn Fn(u32) -> bool| -> Vec<usize> {
            let all = cell(ANYONE).iter().copied();
            all.filter(|&w| keep(self.groups[w])).collect()
        };
        let mut windows = match side {
            Side::One(group) => shuffled(cell(*group), rng),
            Side::These(groups) => shuffled(&of(&|g| groups.contains(&g)), rng),
            Side::Others(groups) => shuffled(&of(&|g| !groups.contains(&g)), rng),
        };
        windows.truncate(count);
        windows
    }

    fn enough(
        &self,
        set: &'static str,
        class: usize,
        windows: Vec<usize>,
        need: usize,
    ) -> Result<Vec<usize>, EpisodeError> {
        match windows.len() {
            have if have < need => Err(EpisodeError::TooFewExamples {
                set,
                class: self.labels[class].clone(),
                have,
                need,
            }),
            _ => Ok(windows),
        }
    }
}

/// The key of one side of a subject.
fn sided(group: u32, side: u8) -> u32 {
    group.wrapping_mul(2).wrapping_add(u32::from(side))
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
