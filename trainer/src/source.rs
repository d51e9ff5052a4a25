//! What pretraining sees: items of one size, and views of them that are augmented anew in every
//! step.

pub mod picture;
pub mod same_label;
pub mod sensor;
pub mod sound;
pub mod text;

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::augment::stream;
use headstart::frontend::settings::Settings as FrontEnd;

/// What a random stream is for.
pub mod purpose {
    /// Initial weights.
    pub const WEIGHTS: u64 = 1;
    /// The order of items in an epoch.
    pub const ORDER: u64 = 2;
    /// The views of a step; each further pretext task has its own, this far apart.
    pub const VIEWS: u64 = 3;
    /// The views that quality and background are measured on.
    pub const PROBE: u64 = 4;
    /// What a pretext task draws besides views: masks, permutations, classes.
    pub const TASK: u64 = 5;
    /// How clips of sound are disturbed before they become log-mel frames.
    pub const TAKES: u64 = 6;
    /// From one pretext task to the next.
    pub const APART: u64 = 16;
}

/// Kinds of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Recordings of a sensor: .npz or .csv
    Sensor,
    /// Pictures: a folder, an IDX file, or an .npz of bytes
    Pictures,
    /// A folder of WAV files
    Sound,
    /// Lines of text: a .txt file, or a folder of them
    Text,
}

/// Items to train on.
pub trait Source: Sync {
    /// What they are.
    fn kind(&self) -> Kind;
    /// Channels, height (1 of a series) and width of an item.
    fn shape(&self) -> [usize; 3];
    /// How many there are.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Item `i` as the encoder will see it, [channels, height, width].
    fn plain(&self, i: usize, out: &mut [f32]);
    /// A view of item `i`. Views of one pair get the same `common` stream and their own `private`
    /// one; `second` is the other one of a pair.
    fn view(
        &self,
        i: usize,
        second: bool,
        common: ChaCha8Rng,
        private: ChaCha8Rng,
        out: &mut [f32],
    );
    /// Whom splits keep apart.
    fn group(&self, i: usize) -> u32;
    /// The class, where the data says it; training asks for [`Pairs::Label`] alone.
    fn class(&self, i: usize) -> Option<usize>;
    /// The names of classes.
    fn labels(&self) -> &[String];
    /// Which recording each item is of, where there are enough recordings to say how they differ.
    fn recordings(&self) -> Option<Vec<usize>> {
        None
    }
    /// Two items of one recording that share nothing, for each that has another.
    fn pairs(&self, _seed: u64) -> Option<Vec<(usize, usize)>> {
        None
    }
    /// The item that begins where item `i` ends.
    fn next(&self, _i: usize) -> Option<usize> {
        None
    }
    /// Two items in one, where they are text.
    fn pair(&self, _first: usize, _second: usize, _out: &mut [f32]) {}
    /// Ids that values may be, where they are text.
    fn vocabulary(&self) -> usize {
        0
    }
    /// How text becomes ids, in JSON.
    fn tokenizer(&self) -> Option<String> {
        None
    }
    /// How the device makes an item of its signal; text has no such.
    fn frontend(&self) -> Option<FrontEnd>;
}

/// Pictures or clips that are in memory at the same time while they are read.
const READ_TOGETHER: usize = 1 << 10;

/// Some items of a source, each as often as it takes to fill `least`.
pub struct Subset<'a> {
    /// Where they are from.
    pub of: &'a dyn Source,
    /// Their numbers there.
    pub picked: Vec<usize>,
    /// So many items at least.
    pub least: usize,
}

impl Subset<'_> {
    fn at(&self, i: usize) -> usize {
        self.picked[i % self.picked.len()]
    }
}

impl Source for Subset<'_> {
    fn kind(&self) -> Kind {
        self.of.kind()
    }

    fn shape(&self) -> [usize; 3] {
        self.of.shape()
    }

    fn len(&self) -> usize {
        match self.picked.len() {
            0 => 0,
            have => self.least.div_ceil(have).max(1) * have,
        }
    }

    fn plain(&self, i: usize, out: &mut [f32]) {
        self.of.plain(self.at(i), out);
    }

    fn view(
        &self,
        i: usize,
        second: bool,
        common: ChaCha8Rng,
        private: ChaCha8Rng,
        out: &mut [f32],
    ) {
        self.of.view(self.at(i), second, common, private, out);
    }

    fn group(&self, i: usize) -> u32 {
        self.of.group(self.at(i))
    }

    fn class(&self, i: usize) -> Option<usize> {
        self.of.class(self.at(i))
    }

    fn labels(&self) -> &[String] {
        self.of.labels()
    }

    fn vocabulary(&self) -> usize {
        self.of.vocabulary()
    }

    fn frontend(&self) -> Option<FrontEnd> {
        self.of.frontend()
    }
}

/// How batches are made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Batches {
    /// At random
    Shuffled,
    /// Each with its share of every group
    Mixed,
    /// Each of one group, or of few where groups are small, so that telling groups apart helps little
    Within,
}

/// What the two views of a pair are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pairs {
    /// One item
    Item,
    /// Two items with one label, where labels cost nothing because a program made the data
    Label,
}

/// Values of one item.
pub fn size(source: &dyn Source) -> usize {
    source.shape().iter().product()
}

/// The order in which an epoch visits the items, whole batches only.
pub fn order(
    source: &dyn Source,
    batches: Batches,
    batch: usize,
    seed: u64,
    epoch: u64,
) -> Vec<usize> {
    let mut rng = stream(seed, purpose::ORDER, epoch, 0);
    let mut order: Vec<usize> = (0..source.len()).collect();
    order.shuffle(&mut rng);
    match batches {
        Batches::Shuffled => {}
        Batches::Mixed => {
            // Item k of n of a group belongs at the part k / n of the epoch.
            let mut counts = std::collections::BTreeMap::<u32, usize>::new();
            let ranks: Vec<usize> = order
                .iter()
                .map(|&i| {
                    let count = counts.entry(source.group(i)).or_default();
                    *count += 1;
                    *count - 1
                })
                .collect();
            let place = |rank: usize, i: usize| {
                let all = counts.get(&source.group(i)).copied().unwrap_or(1);
                (rank as f64 + 0.5) / all as f64
            };
            let mut placed: Vec<(f64, usize)> = ranks
                .iter()
                .zip(&order)
                .map(|(&r, &i)| (place(r, i), i))
                .collect();
            placed.sort_by(|a, b| a.0.total_cmp(&b.0));
            order = placed.into_iter().map(|(_, i)| i).collect();
        }
        Batches::Within => {
            order.sort_by_key(|&i| source.group(i));
            let groups = order.chunk_by(|&a, &b| source.group(a) == source.group(b));
            let (mut whole, mut rest): (Vec<&[usize]>, Vec<&[usize]>) = groups
                .flat_map(|own| own.chunks(batch))
                .partition(|chunk| chunk.len() == batch);
            rest.shuffle(&mut rng);
            let rest = rest.concat();
            whole.extend(rest.chunks_exact(batch));
            whole.shuffle(&mut rng);
            order = whole.concat();
        }
    }
    order.truncate(order.len() / batch * batch);
    order
}

/// The picked items as they are.
pub fn plain(source: &dyn Source, picked: &[usize]) -> Vec<f32> {
    let mut out = vec![0.0; picked.len() * size(source)];
    out.par_chunks_exact_mut(size(source).max(1))
        .zip(picked)
        .for_each(|(out, &i)| source.plain(i, out));
    out
}

/// Two views of each picked item: all first views, then all second ones. They depend on seed,
/// purpose and step alone, not on threads.
pub fn views(source: &dyn Source, picked: &[usize], [seed, purpose, step]: [u64; 3]) -> Vec<f32> {
    several_views(source, picked, 2, [seed, purpose, step])
}

/// One view of each picked item.
pub fn single_views(source: &dyn Source, picked: &[usize], named: [u64; 3]) -> Vec<f32> {
    several_views(source, picked, 1, named)
}

fn several_views(
    source: &dyn Source,
    picked: &[usize],
    count: usize,
    [seed, purpose, step]: [u64; 3],
) -> Vec<f32> {
    let mut out = vec![0.0; count * picked.len() * size(source)];
    out.par_chunks_exact_mut(size(source).max(1))
        .enumerate()
        .for_each(|(i, out)| {
            let (item, second) = (i % picked.len(), i >= picked.len());
            let named = |item| stream(seed, purpose, step, item as u64);
            source.view(
                picked[item],
                second,
                named(item),
                named(picked.len() + i),
                out,
            );
        });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 60 items of group 0, 30 of group 1 and 10 of group 2.
    struct Groups;

    impl Source for Groups {
        fn kind(&self) -> Kind {
            Kind::Sensor
        }
        fn shape(&self) -> [usize; 3] {
            [1, 1, 1]
        }
        fn len(&self) -> usize {
            100
        }
        fn plain(&self, i: usize, out: &mut [f32]) {
            out.fill(i as f32);
        }
        fn view(&self, i: usize, _: bool, _: ChaCha8Rng, _: ChaCha8Rng, out: &mut [f32]) {
            self.plain(i, out);
        }
        fn group(&self, i: usize) -> u32 {
            u32::from(i >= 60) + u32::from(i >= 90)
        }
        fn class(&self, _: usize) -> Option<usize> {
            None
        }
        fn labels(&self) -> &[String] {
            &[]
        }
        fn frontend(&self) -> Option<FrontEnd> {
            None
        }
    }

    #[test]
    fn batches_are_made_up_as_asked() {
        let count =
            |batch: &[usize], group| batch.iter().filter(|&&i| Groups.group(i) == group).count();
        let mixed = order(&Groups, Batches::Mixed, 20, 1, 0);
        let mut all = mixed.clone();
        all.sort_unstable();
        assert_eq!(all, Vec::from_iter(0..100));
        for batch in mixed.chunks(20) {
            let found = [0, 1, 2].map(|group| count(batch, group));
            let near = found.iter().zip([12usize, 6, 2]);
            assert!(
                near.into_iter().all(|(&n, share)| n.abs_diff(share) <= 1),
                "{found:?}"
            );
        }
        assert_ne!(
            mixed,
            order(&Groups, Batches::Mixed, 20, 1, 1),
            "epochs differ"
        );
        let within = order(&Groups, Batches::Within, 20, 1, 0);
        // Three whole batches of group 0 and one of group 1; the rest of each is in the last one.
        assert_eq!(within.len(), 100);
        let alone = within
            .chunks(20)
            .filter(|batch| [0, 1].iter().any(|&group| count(batch, group) == 20));
        assert_eq!(alone.count(), 4);
    }
}
