use super::*;
use crate::digest::Digest;
use crate::head::calibration::Calibration;
use crate::head::{AutoHead, Evidence, FitError, Head, PrototypeHead};
use crate::statistics::{Label, Statistics};
use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

const DIM: usize = 8;
const CLASSES: usize = 4;

/// An example number `i` of the class along `axis`.
fn near(axis: usize, i: usize) -> [i8; DIM] {
    core::array::from_fn(|d| match d == axis {
        true => 120,
        false => ((7 * i + 5 * d + 3 * axis) % 23) as i8 - 11,
    })
}

fn embedding(values: &[i8]) -> Embedding<'_> {
    Embedding::new(values).unwrap()
}

/// Memory for statistics of the gram tier.
struct Memory(Vec<i32>, Vec<Label>);

impl Memory {
    fn new() -> Self {
        Memory(
            vec![0; Statistics::gram_words(DIM, CLASSES)],
            vec![Label::new(); CLASSES],
        )
    }

    fn statistics(&mut self) -> Statistics<'_> {
        Statistics::with_gram(DIM, [0; 32], &mut self.0, &mut self.1).unwrap()
    }

    /// Examples of the class along each axis.
    fn taught(&mut self, axes: usize, examples: core::ops::Range<usize>) -> Statistics<'_> {
        let mut statistics = self.statistics();
        for (axis, i) in (0..axes).flat_map(|axis| examples.clone().map(move |i| (axis, i))) {
            let e = near(axis, i);
            statistics.learn(&format!("{axis}"), embedding(&e)).unwrap();
        }
        statistics
    }
}

fn evidence<'s>(statistics: &'s Statistics<'s>) -> Evidence<'s> {
    Evidence {
        statistics,
        samples: None,
    }
}

fn words() -> Vec<f32> {
    vec![0.0; AutoHead::words(DIM, CLASSES, 0)]
}

fn digest(statistics: &Statistics<'_>) -> String {
    String::from(Digest::new(statistics).hex().as_str())
}

#[test]
fn the_oldest_makes_room_and_what_is_dropped_is_wiped() {
    let mut bytes = vec![0; Observations::bytes(DIM, 3) + 5];
    let mut observations = Observations::new(DIM, None, &mut bytes);
    for i in 0..5 {
        observations.observe(embedding(&near(i, i))).unwrap();
    }
    assert_eq!((observations.len(), observations.capacity()), (3, 3));
    let kept = |o: &Observations<'_>| o.iter().map(|e| e.values().to_vec()).collect::<Vec<_>>();
    assert_eq!(kept(&observations), [near(2, 2), near(3, 3), near(4, 4)]);
    observations.remove(1);
    observations.remove(9);
    assert_eq!(kept(&observations), [near(2, 2), near(4, 4)]);
    let short = observations.observe(embedding(&[1, 2]));
    assert_eq!(
        short,
        Err(StatisticsError::Dim {
            expected: DIM,
            got: 2
        })
    );
    observations.clear();
    assert!(observations.is_empty() && bytes.iter().all(|&b| b == 0));
    let mut none = Observations::new(DIM, None, &mut []);
    none.observe(embedding(&near(0, 0))).unwrap();
    assert!(none.is_empty());
}

#[test]
fn refined_is_what_learning_the_sure_ones_would_have_given() {
    let (mut taught, mut spare, mut both) = (Memory::new(), Memory::new(), Memory::new());
    let labelled = taught.taught(3, 0..3);
    let before = digest(&labelled);
    let mut refined = spare.statistics();
    let mut bytes = vec![0; Observations::bytes(DIM, 20)];
    let mut observations = Observations::new(DIM, None, &mut bytes);
    for (axis, i) in (0..3).flat_map(|axis| (3..6).map(move |i| (axis, i))) {
        observations.observe(embedding(&near(axis, i))).unwrap();
    }
    // Strangers, and one between two classes.
    observations.observe(embedding(&near(5, 1))).unwrap();
    observations.observe(embedding(&near(6, 2))).unwrap();
    let between = [90, 90, 0, 0, 0, 0, 0, 0];
    observations.observe(embedding(&between)).unwrap();

    let mut words = words();
    let mut head = AutoHead::new(None, &mut words);
    let done = observations.refine(&mut head, evidence(&labelled), &mut refined, 5);
    assert_eq!(done, Ok(Refined { taken: 9, steps: 1 }));
    assert_eq!(digest(&refined), digest(&both.taught(3, 0..6)));
    assert_eq!(digest(&labelled), before);
    // The head is fitted to it.
    let e = near(1, 9);
    let prediction = head.predict(evidence(&refined), embedding(&e)).unwrap();
    assert_eq!(prediction.label.as_str(), "1");
}

#[test]
fn a_class_that_was_not_seen_or_is_small_holds_the_others_back() {
    for (seen, expected) in [([9, 9, 0], 0), ([9, 9, 2], 6), ([12, 12, 12], 9)] {
        let (mut taught, mut spare) = (Memory::new(), Memory::new());
        let labelled = taught.taught(3, 0..3);
        let mut refined = spare.statistics();
        let mut bytes = vec![0; Observations::bytes(DIM, 40)];
        let mut observations = Observations::new(DIM, None, &mut bytes);
        for (axis, &count) in seen.iter().enumerate() {
            for i in 0..count {
                observations.observe(embedding(&near(axis, i + 3))).unwrap();
            }
        }
        let mut words = words();
        let mut head = AutoHead::new(None, &mut words);
        let done = observations.refine(&mut head, evidence(&labelled), &mut refined, 3);
        assert_eq!(done.map(|d| d.taken), Ok(expected), "{seen:?}");
        let each = 3 + expected as i32 / 3;
        assert!(refined.iter().all(|class| class.count == each), "{seen:?}");
    }
}

#[test]
fn what_cannot_be_refined_is_refused() {
    let mut bytes = vec![0; Observations::bytes(DIM, 4)];
    let mut observations = Observations::new(DIM, None, &mut bytes);
    observations.observe(embedding(&near(0, 0))).unwrap();
    let mut words = words();
    let mut head = AutoHead::new(None, &mut words);
    let (mut taught, mut other) = (Memory::new(), Memory::new());
    let labelled = taught.taught(2, 0..2);
    let mut full = other.taught(1, 0..1);
    let refused = observations.refine(&mut head, evidence(&labelled), &mut full, 1);
    assert_eq!(refused, Err(RefineError::NotEmpty));

    let (mut words, mut labels) = (
        vec![0; Statistics::words(DIM, 2)],
        [const { Label::new() }; 2],
    );
    let mut means = Statistics::new(DIM, [0; 32], &mut words, &mut labels).unwrap();
    let refused = observations.refine(&mut head, evidence(&labelled), &mut means, 1);
    let tier = RefineError::Statistics(StatisticsError::OtherTier);
    assert_eq!(refused, Err(tier));
    let mut spare = Memory::new();
    let refused = observations.refine(&mut head, evidence(&means), &mut spare.statistics(), 1);
    assert_eq!(refused, Err(RefineError::Fit(FitError::NeedsGram)));
    let mut foreign = Statistics::with_gram(DIM, [9; 32], &mut spare.0, &mut spare.1).unwrap();
    let refused = observations.refine(&mut head, evidence(&labelled), &mut foreign, 1);
    let artefact = RefineError::Statistics(StatisticsError::OtherArtefact);
    assert_eq!(refused, Err(artefact));

    // Nothing learnt: nothing to be sure of.
    let (mut nothing, mut spare) = (Memory::new(), Memory::new());
    let empty = nothing.statistics();
    let done = observations.refine(&mut head, evidence(&empty), &mut spare.statistics(), 1);
    assert_eq!(done, Ok(Refined::default()));
}

#[test]
fn asks_about_the_largest_group_then_the_next() {
    let mut bytes = vec![0; Observations::bytes(DIM, 20)];
    let mut observations = Observations::new(DIM, None, &mut bytes);
    for (axis, count) in [(2, 3), (0, 6), (1, 4)] {
        for i in 0..count {
            observations.observe(embedding(&near(axis, i))).unwrap();
        }
    }
    let mut memory = Memory::new();
    let mut statistics = memory.statistics();
    let mut head = PrototypeHead::default();
    for (axis, others) in [(0, 5), (1, 3), (2, 2)] {
        head.fit(evidence(&statistics)).unwrap();
        let asked = observations
            .suggest(&mut head, evidence(&statistics))
            .unwrap();
        assert_eq!(asked.embedding.values()[axis], 120);
        assert!(asked.stands_for >= others, "{axis}: {asked:?}");
        assert_eq!(asked.reason, Reason::Unlike);
        let (index, values) = (asked.index, asked.embedding.values().to_vec());
        statistics
            .learn(&format!("{axis}"), embedding(&values))
            .unwrap();
        observations.remove(index);
    }
}

#[test]
fn where_nothing_is_unlike_it_asks_about_the_most_doubtful() {
    let mut bytes = vec![0; Observations::bytes(DIM, 20)];
    let mut observations = Observations::new(DIM, None, &mut bytes);
    let doubtful = [118, 22, 0, 0, 0, 0, 0, 0];
    for e in [near(0, 1), near(1, 2), doubtful, near(0, 4), near(1, 5)] {
        observations.observe(embedding(&e)).unwrap();
    }
    let mut memory = Memory::new();
    let statistics = memory.taught(2, 3..4);
    let mut head = PrototypeHead::default();
    head.fit(evidence(&statistics)).unwrap();
    let asked = observations
        .suggest(&mut head, evidence(&statistics))
        .unwrap();
    assert_eq!(asked.embedding.values(), doubtful);
    assert_eq!((asked.reason, asked.stands_for), (Reason::Unsure, 0));
    observations.clear();
    let asked = observations.suggest(&mut head, evidence(&statistics));
    assert_eq!(asked, None);
}

/// Two stored directions, not orthogonal to each other, in the plane of the first two axes. Scaled
/// so, they hold 15,000 of the 127^2.
const PROJECTION: [f32; 2 * DIM] = [
    1.0, 0.2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
];

fn background() -> Background<'static> {
    Background {
        rank: 2,
        projection: &PROJECTION,
        within: &[1000.0, 1000.0],
        between: &[6788.0, 5934.6],
        within_total: 4000.0,
        calibration: Calibration::default(),
    }
}

#[test]
fn drift_is_what_is_missing_in_the_stored_directions() {
    let mut words = [0.0; Observations::drift_words(DIM, 2)];
    for (inside, expected) in [(true, 1.0), (false, 15_000.0)] {
        let mut bytes = vec![0; Observations::bytes(DIM, 30)];
        let mut observations = Observations::new(DIM, Some(background()), &mut bytes);
        let early = observations.drift(&mut words);
        assert_eq!(early, Err(DriftError::NothingObserved));
        for i in 0..30i8 {
            // Squared norms inside: 15,000 on average, or nothing.
            let e = match inside {
                true => [100 - i / 10, 70 + i / 10, 30, 30, 20, 0, 0, 0],
                false => [0, 0, 100, i, 70, 0, 0, 0],
            };
            observations.observe(embedding(&e)).unwrap();
        }
        let drift = observations.drift(&mut words).unwrap();
        assert!((drift / expected - 1.0).abs() < 0.02, "{drift}");
        let small = observations.drift(&mut words[1..]);
        let needed = Observations::drift_words(DIM, 2);
        assert_eq!(small, Err(DriftError::BufferTooSmall { needed }));
    }
    let mut bytes = vec![0; Observations::bytes(3, 3)];
    let other = Observations::new(3, Some(background()), &mut bytes);
    assert_eq!(other.drift(&mut words), Err(DriftError::NeedsBackground));
}
