//! How sure heads may be, measured on classes of the background that a head has not seen.
//!
//! The classes are dealt into folds. For each fold the prior is measured on the others; then the
//! device's own heads learn classes of the fold from 1 to 20 examples and are asked about others of
//! the fold, by other groups. What such strangers score against a class gives the thresholds for
//! "unknown"; how often the most probable of a few classes is the right one gives the temperature
//! (*On Calibration of Modern Neural Networks*, Guo et al., 2017).

use headstart::head::Head;
use headstart::head::calibration::{Calibration, NOT_MEASURED, Outlook, RATES, SHOTS};
use headstart::{AutoHead, BayesHead, Embedding, Evidence, Statistics};
use nalgebra::DMatrix;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;

use super::{Things, of_classes};
use crate::encoder_file::Background;
use crate::episode::shuffled;
use crate::evaluate::heads::label;

const FOLDS: usize = 5;
/// Splits of the groups into those that teach and those that ask.
const SPLITS: u64 = 8;
/// Of a class's rows, how many ask.
const ASKED: usize = 12;
/// Classes that are taught together.
const WAYS: usize = 8;
/// The rate of false accepts at which the chances that several classes give are counted.
const RATE: f64 = 0.05;
/// So many groups can spare half of them for the prior: it has then not met those who teach.
const MANY_GROUPS: usize = 20;
/// Fewer classes, or fewer rows of each, are no sample of what strangers are like.
const FEWEST_CLASSES: usize = 20;
const FEWEST_ROWS: usize = 10;
/// A rate is measured where at least so many strangers are beyond it.
const FEWEST_BEYOND: f64 = 20.0;

/// A table for [`headstart::head::calibration::Calibration`] from rows of the embedding space;
/// empty where fewer than 20 classes have 10 rows or more. Classes of fewer rows take no part.
pub fn calibrate(
    space: &DMatrix<f64>,
    classes: &[usize],
    groups: &[u32],
    things: Things,
) -> Vec<f32> {
    let mut rows = vec![Vec::new(); classes.iter().max().map_or(0, |&c| c + 1)];
    for (row, &class) in classes.iter().enumerate() {
        rows[class].push(row);
    }
    let enough = |&c: &usize| rows[c].len() >= FEWEST_ROWS;
    let mut order: Vec<usize> = (0..rows.len()).filter(enough).collect();
    if order.len() < FEWEST_CLASSES {
        return Vec::new();
    }
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    order = shuffled(&order, &mut rng);
    let rounded = |v: &f64| v.round().clamp(-127.0, 127.0) as i8;
    let values: Vec<Vec<i8>> = space
        .row_iter()
        .map(|row| row.iter().map(rounded).collect())
        .collect();
    let data = Data {
        things,
        values,
        rows,
        groups,
    };
    let mut folds = |spare: bool| -> Vec<Fold> {
        let held = |fold| order.iter().copied().skip(fold).step_by(FOLDS).collect();
        (0..FOLDS)
            .map(|fold| data.fold(space, classes, held(fold), spare, &mut rng))
            .collect()
    };
    // How far a prior carries shows on people whom it has not met; how its scores are distributed
    // depends on how many it has met, so that is measured with nearly as many as it will have.
    let outlook = data.best_outlook(&mut folds(true));
    let mut folds = folds(false);
    set_outlook(&mut folds, outlook);
    let mut table = outlook.to_vec();
    for shots in SHOTS {
        let found = data.measure(&folds, shots as usize);
        if found.is_none() && table.len() == outlook.len() {
            return Vec::new();
        }
        // Where the classes have fewer examples, what fewer of them gave stands.
        let last = table.len().saturating_sub(2 + RATES.len());
        table.extend(found.unwrap_or_else(|| table[last..].to_vec()));
    }
    table
}

struct Fold {
    /// From other classes, and where groups are spared, from others than `groups`.
    prior: Background,
    /// The classes that are taught and asked about.
    held: Vec<usize>,
    /// Those who teach and ask.
    groups: Vec<u32>,
}

struct Data<'d> {
    things: Things,
    values: Vec<Vec<i8>>,
    /// Of each class.
    rows: Vec<Vec<usize>>,
    groups: &'d [u32],
}

/// What a split of one fold gave.
#[derive(Default)]
struct Scores {
    /// Of strangers against a class.
    one: Vec<f32>,
    /// Of strangers against the most probable of [`WAYS`] classes.
    several: Vec<f32>,
    /// The classes' logits for a query, the right one first.
    logits: Vec<Vec<f32>>,
    ways: usize,
}

/// A class, the rows that teach it and those that ask.
type Lesson = (usize, Vec<usize>, Vec<usize>);

impl Data<'_> {
    fn all_groups(&self) -> Vec<u32> {
        let mut groups = self.groups.to_vec();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// Holds classes back; where `spare` says so and there are many groups, half of these too.
    fn fold(
        &self,
        space: &DMatrix<f64>,
        classes: &[usize],
        held: Vec<usize>,
        spare: bool,
        rng: &mut ChaCha8Rng,
    ) -> Fold {
        let mut groups = self.all_groups();
        let mut met = Vec::new();
        if spare && self.things == Things::Labelled && groups.len() >= MANY_GROUPS {
            groups = shuffled(&groups, rng);
            met = groups.split_off(groups.len() / 2);
        }
        let kept: Vec<usize> = (0..classes.len())
            .filter(|&row| !held.contains(&classes[row]))
            .filter(|&row| met.is_empty() || met.contains(&self.groups[row]))
            .collect();
        let own: Vec<usize> = kept.iter().map(|&row| classes[row]).collect();
        Fold {
            prior: of_classes(&space.select_rows(&kept), &own, self.things),
            held,
            groups,
        }
    }

    /// The outlook under which the default head tells the held classes apart best, over a few
    /// numbers of shots.
    fn best_outlook(&self, folds: &mut [Fold]) -> [f32; 3] {
        let none = Outlook::default();
        let mut best = [none.ratio, none.variance, none.examples];
        let mut most = f64::NEG_INFINITY;
        let ratios: &[f32] = match self.things {
            Things::Labelled => &[0.1, 0.3, 0.5],
            Things::Recorded => &[],
        };
        for &ratio in ratios {
            for (variance, examples) in [(1.0, 1.0), (3.0, 1.0), (1.0, 2.0), (3.0, 2.0)] {
                set_outlook(folds, [ratio, variance, examples]);
                let accuracy = [1, 2, 5, 10].map(|shots| self.accuracy(folds, shots));
                let accuracy = accuracy.iter().sum();
                if accuracy > most {
                    (best, most) = ([ratio, variance, examples], accuracy);
                }
            }
        }
        best
    }

    /// How often the default head is right in the first split of each fold.
    fn accuracy(&self, folds: &[Fold], shots: usize) -> f64 {
        let right = |(number, fold): (usize, &Fold)| {
            let lessons = self.lessons(fold, shots, number as u64 * SPLITS)?;
            let mut scores = Scores::default();
            for few in lessons.chunks_exact(ways(&lessons)) {
                self.against_several(&fold.prior, few, [].iter(), &mut scores)?;
            }
            let first = |logits: &&Vec<f32>| logits.iter().all(|&l| l <= logits[0]);
            let right = scores.logits.iter().filter(first).count();
            Some(right as f64 / scores.logits.len() as f64)
        };
        folds.par_iter().enumerate().filter_map(right).sum()
    }

    /// A row of the table; `None` where classes have too few rows for so many shots.
    fn measure(&self, folds: &[Fold], shots: usize) -> Option<Vec<f32>> {
        let jobs: Vec<&Fold> = folds
            .iter()
            .flat_map(|fold| (0..SPLITS).map(move |_| fold))
            .collect();
        let found: Vec<Option<Scores>> = jobs
            .par_iter()
            .enumerate()
            .map(|(job, fold)| self.scores(fold, shots, job as u64))
            .collect();
        let found: Vec<Scores> = found.into_iter().collect::<Option<_>>()?;
        let sorted = |of: fn(&Scores) -> &Vec<f32>| {
            let mut scores: Vec<f32> = found.iter().flat_map(of).copied().collect();
            scores.sort_by(f32::total_cmp);
            scores
        };
        let (one, several) = (sorted(|s| &s.one), sorted(|s| &s.several));
        let logits: Vec<&Vec<f32>> = found.iter().flat_map(|s| &s.logits).collect();
        let ways = found.iter().map(|s| s.ways).max()?;
        // Telling recordings apart is no measure of how sure one may be of classes.
        let temperature = match self.things {
            Things::Labelled => temperature(&logits),
            Things::Recorded => Calibration::default().temperature(1.0),
        };
        let mut row = vec![temperature, exponent(&one, &several, ways)];
        row.extend(RATES.map(|rate| threshold(&one, f64::from(rate))));
        Some(row)
    }

    /// One split of the groups: teaches the held classes and asks.
    fn scores(&self, fold: &Fold, shots: usize, seed: u64) -> Option<Scores> {
        let prior = &fold.prior;
        let lessons = self.lessons(fold, shots, seed)?;
        let ways = ways(&lessons);
        let mut scores = Scores {
            ways,
            ..Scores::default()
        };
        for (class, taught, _) in &lessons {
            let others = lessons.iter().filter(|(other, ..)| other != class);
            let asked = others.flat_map(|(.., asked)| asked);
            self.against_one(prior, taught, asked, &mut scores)?;
        }
        for from in (0..=lessons.len() - ways).step_by(ways) {
            let few = from..from + ways;
            let others = lessons.iter().enumerate();
            let others = others.filter(|(i, _)| !few.contains(i));
            let asked = others.flat_map(|(_, (.., asked))| asked);
            self.against_several(prior, &lessons[few.clone()], asked, &mut scores)?;
        }
        Some(scores)
    }

    /// The held classes that have rows enough, each with those that teach it and those by other groups
    /// that ask; `None` where these are few of many classes, or not all of a few.
    fn lessons(&self, fold: &Fold, shots: usize, seed: u64) -> Option<Vec<Lesson>> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut teachers = shuffled(&fold.groups, &mut rng);
        // Where there is one group only, it teaches and asks.
        let asking = teachers.split_off((teachers.len() * 3 / 5).min(teachers.len() - 1));
        let mut lessons = Vec::new();
        for &class in &shuffled(&fold.held, &mut rng) {
            let mut own = shuffled(&self.rows[class], &mut rng);
            own.retain(|&row| fold.groups.contains(&self.groups[row]));
            let (mut taught, mut asked): (Vec<usize>, Vec<usize>) = match teachers.is_empty() {
                true => (own[..own.len() / 2].to_vec(), own[own.len() / 2..].to_vec()),
                false => own
                    .iter()
                    .partition(|&&row| !asking.contains(&self.groups[row])),
            };
            taught.truncate(shots);
            asked.truncate(ASKED);
            if taught.len() >= shots && !asked.is_empty() {
                lessons.push((class, taught, asked));
            }
        }
        (lessons.len() >= fold.held.len().min(2 * WAYS)).then_some(lessons)
    }

    fn embedding(&self, row: usize) -> Option<Embedding<'_>> {
        Embedding::new(&self.values[row]).ok()
    }

    /// What `asked` score against the class that `taught` are of.
    fn against_one<'r>(
        &self,
        prior: &Background,
        taught: &[usize],
        asked: impl Iterator<Item = &'r usize>,
        out: &mut Scores,
    ) -> Option<()> {
        let dim = self.values.first()?.len();
        let (mut words, mut labels) = (vec![0; Statistics::words(dim, 1)], [label(0)]);
        let mut statistics = Statistics::new(dim, [0; 32], &mut words, &mut labels).ok()?;
        for e in taught.iter().filter_map(|&row| self.embedding(row)) {
            statistics.learn("class", e).ok()?;
        }
        let evidence = Evidence {
            statistics: &statistics,
            samples: None,
        };
        let mut words = vec![0.0; BayesHead::words(dim, 1, prior.within.len())];
        let mut head = BayesHead::new(Some(prior.view()), &mut words);
        head.fit(evidence).ok()?;
        out.one.extend(
            asked
                .filter_map(|&row| self.embedding(row))
                .map(|e| head.score(evidence, 0, e)),
        );
        Some(())
    }

    /// The default head's logits for every query of a few classes, and what `asked` score against
    /// the class that it takes them for.
    fn against_several<'r>(
        &self,
        prior: &Background,
        lessons: &[Lesson],
        asked: impl Iterator<Item = &'r usize>,
        out: &mut Scores,
    ) -> Option<()> {
        let (dim, ways) = (self.values.first()?.len(), lessons.len());
        let mut words = vec![0; Statistics::gram_words(dim, ways)];
        let mut labels = vec![headstart::Label::new(); ways];
        let mut statistics = Statistics::with_gram(dim, [0; 32], &mut words, &mut labels).ok()?;
        for (way, (_, taught, _)) in lessons.iter().enumerate() {
            for e in taught.iter().filter_map(|&row| self.embedding(row)) {
                statistics.learn(&label(way), e).ok()?;
            }
        }
        let evidence = Evidence {
            statistics: &statistics,
            samples: None,
        };
        let mut words = vec![0.0; AutoHead::words(dim, ways, prior.within.len())];
        let mut head = AutoHead::new(Some(prior.view()), &mut words);
        head.fit(evidence).ok()?;
        for (way, (.., asked)) in lessons.iter().enumerate() {
            for e in asked.iter().filter_map(|&row| self.embedding(row)) {
                let mut logits = Vec::with_capacity(ways);
                head.logits(evidence, e, |logit| logits.push(logit));
                logits.swap(0, way);
                out.logits.push(logits);
            }
        }
        for e in asked.filter_map(|&row| self.embedding(row)) {
            let best = head.predict(evidence, e)?.class;
            out.several.push(head.score(evidence, best, e));
        }
        Some(())
    }
}

fn set_outlook(folds: &mut [Fold], outlook: [f32; 3]) {
    let each = folds.iter_mut();
    each.for_each(|fold| fold.prior.calibration = neutral(outlook));
}

/// Classes that are taught together: at least as many are left to be strangers.
fn ways(lessons: &[Lesson]) -> usize {
    WAYS.min(lessons.len() / 2).max(1)
}

/// A table that says nothing but the outlook: default temperature, no promises.
fn neutral(outlook: [f32; 3]) -> Vec<f32> {
    let mut row = vec![Calibration::default().temperature(1.0), 1.0];
    row.extend(RATES.map(|_| NOT_MEASURED));
    let rows = SHOTS.iter().flat_map(|_| row.clone());
    outlook.into_iter().chain(rows).collect()
}

/// The score that a part `rate` of sorted scores exceeds; the largest number where too few do.
fn threshold(sorted: &[f32], rate: f64) -> f32 {
    let beyond = rate * sorted.len() as f64;
    match sorted.len().checked_sub(1 + beyond as usize) {
        Some(at) if beyond >= FEWEST_BEYOND => sorted[at],
        _ => NOT_MEASURED,
    }
}

/// The power of the number of classes that says how many independent chances they give a stranger.
fn exponent(one: &[f32], several: &[f32], ways: usize) -> f32 {
    let beyond = (RATE * several.len() as f64) as usize;
    let Some(&limit) = several.get(several.len().saturating_sub(1 + beyond)) else {
        return 1.0;
    };
    let above = one.len() - one.partition_point(|&score| score <= limit);
    let one = above as f64 / one.len().max(1) as f64;
    let chances = (1.0 - RATE).ln() / (1.0 - one).ln();
    let exponent = chances.ln() / (ways as f64).ln();
    if exponent.is_finite() {
        exponent.clamp(0.0, 1.0) as f32
    } else {
        1.0
    }
}

/// The factor on logits that makes the right answers most probable, times what they were
/// multiplied with already.
fn temperature(logits: &[&Vec<f32>]) -> f32 {
    let loss = |factor: f32| -> f64 {
        let one = |logits: &&Vec<f32>| {
            let relative = logits.iter().map(|l| f64::from(factor * (l - logits[0])));
            let top = relative.clone().fold(0.0, f64::max);
            top + relative.map(|r| (r - top).exp()).sum::<f64>().ln()
        };
        logits.iter().map(one).sum()
    };
    let factors = (-40..=40).map(|i| (f64::from(i) / 10.0).exp2() as f32);
    let best = factors.min_by(|&a, &b| loss(a).total_cmp(&loss(b)));
    let present = Calibration::default().temperature(1.0);
    best.unwrap_or(1.0) * present
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::{normal, stream};
    use headstart::head::calibration::{Calibration, LEN};

    /// 40 classes on a circle of 8 dimensions, 24 examples of each by 12 people.
    fn world(classes: usize) -> (DMatrix<f64>, Vec<usize>, Vec<u32>) {
        let mut rng = stream(1, 0, 0, 0);
        let (mut rows, mut names, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        for class in 0..classes {
            let centre: Vec<f32> = (0..8).map(|_| normal(&mut rng)).collect();
            for example in 0..24 {
                let row: Vec<f64> = centre
                    .iter()
                    .map(|c| f64::from(c + 0.3 * normal(&mut rng)))
                    .collect();
                let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt();
                rows.extend(row.iter().map(|v| 127.0 * v / norm));
                names.push(class);
                groups.push(example % 12);
            }
        }
        (
            DMatrix::from_row_iterator(names.len(), 8, rows),
            names,
            groups,
        )
    }

    #[test]
    fn a_table_that_heads_take() {
        let (space, classes, groups) = world(40);
        let table = calibrate(&space, &classes, &groups, Things::Labelled);
        assert_eq!(table.len(), LEN);
        let calibration = Calibration::new(&table).expect("valid");
        let at = |count, rate| calibration.threshold(count, rate, 1).expect("measured");
        assert!(at(5.0, 0.01) > at(5.0, 0.1));
        assert!(calibration.temperature(5.0) > 0.0);
        assert_eq!(
            table,
            calibrate(&space, &classes, &groups, Things::Labelled),
            "one seed, one table"
        );
    }

    /// Data of the world has classes of many sizes; those with few examples take no part.
    #[test]
    fn thin_classes_do_not_spoil_the_table() {
        let (space, classes, groups) = world(120);
        let many = |class| match class {
            0..60 => 24,
            60..100 => 11,
            _ => 6,
        };
        let kept: Vec<usize> = (0..classes.len())
            .filter(|row| row % 24 < many(classes[*row]))
            .collect();
        let of = |all: &[usize]| kept.iter().map(|&row| all[row]).collect::<Vec<_>>();
        let groups: Vec<u32> = kept.iter().map(|&row| groups[row]).collect();
        let space = space.select_rows(&kept);
        let table = calibrate(&space, &of(&classes), &groups, Things::Labelled);
        assert_eq!(table.len(), LEN);
        assert!(Calibration::new(&table).is_some());
    }

    #[test]
    fn few_classes_promise_nothing() {
        let (space, classes, groups) = world(FEWEST_CLASSES - 1);
        assert!(calibrate(&space, &classes, &groups, Things::Labelled).is_empty());
    }
}
