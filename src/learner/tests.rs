use super::*;
use crate::encoder::plain::{DIM, Plain};
use crate::{AutoHead, Label, PrototypeHead, SoftmaxHead, Verdict};

#[derive(Clone)]
struct Memory {
    words: [i32; Statistics::words(DIM, 3)],
    labels: [Label; 3],
    embedding: [i8; DIM],
    samples: [i8; Samples::bytes(DIM, 6)],
    weights: [f32; SoftmaxHead::words(DIM, 3, 0)],
}

const EMPTY: Memory = Memory {
    words: [0; Statistics::words(DIM, 3)],
    labels: [const { Label::new() }; 3],
    embedding: [0; DIM],
    samples: [0; Samples::bytes(DIM, 6)],
    weights: [0.0; SoftmaxHead::words(DIM, 3, 0)],
};

fn softmax(memory: &mut Memory) -> Learner<'_, Plain, SoftmaxHead<'_>> {
    let statistics = Statistics::new(DIM, [3; 32], &mut memory.words, &mut memory.labels).unwrap();
    let head = SoftmaxHead::new(None, &mut memory.weights);
    let learner = Learner::new(Plain, statistics, head, &mut memory.embedding).unwrap();
    learner
        .with_samples(Samples::new(DIM, &mut memory.samples))
        .unwrap()
}

const EXAMPLES: [(&str, [i16; DIM]); 6] = [
    ("row", [90, 10, 5]),
    ("abd", [5, 80, 20]),
    ("pen", [1, 9, 70]),
    ("row", [80, 30, 1]),
    ("pen", [20, 2, 90]),
    ("abd", [9, 99, 30]),
];
const QUERY: [i16; DIM] = [60, 50, 20];

#[test]
fn a_fine_tuned_head_has_the_same_bits_in_any_order_and_after_forgetting() {
    let (mut one, mut other) = (EMPTY, EMPTY);
    let mut forward = softmax(&mut one);
    for (label, window) in EXAMPLES {
        forward.learn(label, &window).unwrap();
    }
    let expected = forward.predict(&QUERY).unwrap();
    assert_eq!(expected.label, "row");

    // Backwards, with a class that comes first by name, fills no room and goes again.
    let mut backward = softmax(&mut other);
    for (label, window) in EXAMPLES[2..].iter().rev() {
        backward.learn(label, window).unwrap();
    }
    backward.learn("pen", &[7, 7, 7]).unwrap();
    backward.predict(&QUERY).unwrap();
    backward.forget_class("abd").unwrap();
    backward.learn("aaa", &[7, 1, 7]).unwrap();
    backward.forget("pen", &[7, 7, 7]).unwrap();
    backward.forget("aaa", &[7, 1, 7]).unwrap();
    for (label, window) in [EXAMPLES[5], EXAMPLES[1], EXAMPLES[0]] {
        backward.learn(label, &window).unwrap();
    }
    let found = backward.predict(&QUERY).unwrap();
    assert_eq!(found.probability.to_bits(), expected.probability.to_bits());
    assert_eq!(found, expected);
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut memory = EMPTY;
    let mut learner = softmax(&mut memory);
    assert_eq!(learner.predict(&QUERY), Err(LearnerError::NothingLearnt));
    for (label, window) in EXAMPLES {
        learner.learn(label, &window).unwrap();
    }
    let before = learner.predict(&QUERY).unwrap();
    let cases = [
        (
            learner.learn("row", &QUERY).map(|_| ()),
            SamplesError::Full { capacity: 6 }.into(),
        ),
        (learner.forget("row", &QUERY), SamplesError::NotFound.into()),
        (
            learner.forget("none", &QUERY),
            StatisticsError::UnknownLabel.into(),
        ),
        (
            learner.forget_class("none"),
            StatisticsError::UnknownLabel.into(),
        ),
        (learner.restore(&[]), LearnerError::OutOfStep),
    ];
    for (got, expected) in cases {
        assert_eq!(got, Err(expected));
    }
    assert!(matches!(
        learner.learn("row", &[0; DIM]),
        Err(LearnerError::Embed(EmbedError::Zero(_)))
    ));
    assert_eq!(learner.predict(&QUERY).unwrap(), before);
}

#[test]
fn a_class_far_from_its_examples_is_unknown() {
    let mut memory = EMPTY;
    let statistics = Statistics::new(DIM, [3; 32], &mut memory.words, &mut memory.labels).unwrap();
    let head = PrototypeHead::default();
    let mut learner = Learner::new(Plain, statistics, head, &mut memory.embedding).unwrap();
    learner.learn("row", &[90, 10, 5]).unwrap();
    assert!(learner.predict(&[91, 9, 5]).unwrap().is_known());
    assert!(learner.predict(&[-90, 10, 5]).unwrap().verdict == Verdict::Unknown);
}

/// A learner of the gram tier that keeps its samples and can undo.
struct Whole {
    words: [i32; Statistics::gram_words(DIM, 3)],
    labels: [Label; 3],
    embedding: [i8; 2 * DIM],
    samples: [i8; Samples::bytes(DIM, 8)],
    weights: [f32; AutoHead::words(DIM, 3, 0)],
}

impl Whole {
    fn new() -> Self {
        Whole {
            words: [0; Statistics::gram_words(DIM, 3)],
            labels: [const { Label::new() }; 3],
            embedding: [0; 2 * DIM],
            samples: [0; Samples::bytes(DIM, 8)],
            weights: [0.0; AutoHead::words(DIM, 3, 0)],
        }
    }

    fn learner(&mut self, keep: bool) -> Learner<'_, Plain, AutoHead<'_>> {
        let statistics =
            Statistics::with_gram(DIM, [3; 32], &mut self.words, &mut self.labels).unwrap();
        let head = AutoHead::new(None, &mut self.weights);
        let learner = Learner::new(Plain, statistics, head, &mut self.embedding).unwrap();
        match keep {
            true => learner
                .with_samples(Samples::new(DIM, &mut self.samples))
                .unwrap(),
            false => learner,
        }
    }
}

fn state(learner: &Learner<'_, Plain, AutoHead<'_>>) -> (std::string::String, usize) {
    let digest = crate::digest::Digest::new(learner.statistics()).hex();
    let kept = learner.samples.as_ref().map_or(0, |s| s.len());
    (digest.as_str().into(), kept)
}

#[test]
fn the_last_label_can_be_undone_once() {
    for keep in [false, true] {
        let mut memory = Whole::new();
        let mut learner = memory.learner(keep);
        assert_eq!(learner.undo(), Err(LearnerError::NothingToUndo));
        learner.learn("row", &EXAMPLES[0].1).unwrap();
        let before = state(&learner);
        learner.learn("abd", &EXAMPLES[1].1).unwrap();
        learner.predict(&QUERY).unwrap();
        learner.undo().unwrap();
        assert_eq!(state(&learner), before);
        assert_eq!(learner.undo(), Err(LearnerError::NothingToUndo));
        learner.learn("pen", &EXAMPLES[2].1).unwrap();
        learner.rename("pen", "pan").unwrap();
        assert_eq!(learner.undo(), Err(LearnerError::NothingToUndo));
    }
}

#[test]
fn labels_change_as_if_they_had_been_right_from_the_start() {
    for keep in [false, true] {
        let (mut one, mut other) = (Whole::new(), Whole::new());
        let (mut right, mut wrong) = (one.learner(keep), other.learner(keep));
        for (label, window) in EXAMPLES {
            right.learn(label, &window).unwrap();
        }
        // Under names that sort otherwise, and one example under the wrong one.
        for (label, window) in EXAMPLES {
            let label = if label == "abd" { "zed" } else { label };
            wrong.learn(label, &window).unwrap();
        }
        wrong.relabel("zed", "pen", &EXAMPLES[5].1).unwrap();
        let never = wrong.relabel("zed", "pen", &EXAMPLES[0].1);
        assert!(never.is_err(), "{never:?}");
        wrong.relabel("pen", "zed", &EXAMPLES[5].1).unwrap();
        wrong.rename("zed", "abd").unwrap();
        assert_eq!(state(&wrong), state(&right));
        let (a, b) = (
            right.predict(&QUERY).unwrap(),
            wrong.predict(&QUERY).unwrap(),
        );
        assert_eq!(a, b);
        if keep {
            let pairs = |learner: &Learner<'_, Plain, AutoHead<'_>>| -> std::vec::Vec<_> {
                let samples = learner.samples.as_ref().unwrap();
                samples.iter().map(|(c, v)| (c, v.to_vec())).collect()
            };
            assert_eq!(pairs(&right), pairs(&wrong));
        }
    }
}

#[test]
fn a_class_of_the_gram_tier_goes_where_its_samples_are_kept() {
    let mut memory = Whole::new();
    let mut learner = memory.learner(true);
    for (label, window) in EXAMPLES.iter().filter(|(label, _)| *label != "abd") {
        learner.learn(label, window).unwrap();
    }
    let before = state(&learner);
    for (label, window) in EXAMPLES.iter().filter(|(label, _)| *label == "abd") {
        learner.learn(label, window).unwrap();
    }
    learner.forget_class("abd").unwrap();
    assert_eq!(state(&learner), before);

    let mut memory = Whole::new();
    let mut learner = memory.learner(false);
    learner.learn("row", &EXAMPLES[0].1).unwrap();
    let refused = learner.forget_class("row");
    assert_eq!(refused, Err(StatisticsError::SharedMoments.into()));
}

/// A learner with samples and a log in `flash`; what `run` does to both.
fn logged<R>(
    flash: &mut [u8],
    run: impl FnOnce(
        &mut Learner<'_, Plain, SoftmaxHead<'_>>,
        &mut crate::SampleLog<'_, crate::store::RamFlash<'_>>,
    ) -> R,
) -> R {
    use crate::store::{LogClass, RamFlash, SampleLog};
    let (mut memory, mut embedding) = (EMPTY, [0; 2 * DIM]);
    let statistics = Statistics::new(DIM, [3; 32], &mut memory.words, &mut memory.labels).unwrap();
    let head = SoftmaxHead::new(None, &mut memory.weights);
    let learner = Learner::new(Plain, statistics, head, &mut embedding).unwrap();
    let samples = Samples::new(DIM, &mut memory.samples);
    let mut learner = learner.with_samples(samples).unwrap();
    let mut classes = [LogClass::NONE; 3];
    let mut buffer = [0; SampleLog::<RamFlash<'_>>::buffer_bytes(DIM)];
    let range = 0..flash.len() as u32;
    let flash = RamFlash(flash);
    let statistics = learner.statistics();
    let log = SampleLog::open_rewritable(flash, range, statistics, &mut classes, &mut buffer);
    let mut log = log.unwrap();
    learner.restore_from(&mut log).unwrap();
    run(&mut learner, &mut log)
}

#[test]
fn a_logged_learner_is_back_after_a_reset() {
    let mut flash = [0xff; 4 * 1024];
    let windows = [[9i16, 1, 0], [8, 2, 0], [0, 3, 9]];
    let before = logged(&mut flash, |learner, log| {
        let mut ids = [None; 3];
        for (i, window) in windows.iter().enumerate() {
            let label = if i < 2 { "row" } else { "curl" };
            let id = learner.learn_in(log, WhenFull::Refuse, label, &window[..]);
            ids[i] = Some(id.unwrap());
        }
        assert_eq!(
            learner.undo(),
            Err(LearnerError::NothingToUndo),
            "the log would keep it"
        );
        log.snapshot(learner.statistics()).unwrap();
        learner.forget_in(log, ids[0].unwrap()).unwrap();
        learner.forget_in(log, ids[0].unwrap()).unwrap_err();
        learner.predict(&windows[1][..]).unwrap()
    });
    let after = logged(&mut flash, |learner, log| {
        assert_eq!(log.len(), 2);
        assert_eq!(learner.statistics().examples(), 2);
        learner.predict(&windows[1][..]).unwrap()
    });
    assert_eq!(before, after, "to the bit");
}

#[test]
fn a_full_log_does_as_it_was_told() {
    // Samples are what is scarce here: the learner's buffer has room for six, the log for more.
    let mut flash = [0xff; 3 * 1024];
    logged(&mut flash, |learner, log| {
        let window = |n: i16| [100, n, 0];
        let mut oldest = None;
        let full = loop {
            let n = log.len() as i16;
            match learner.learn_in(log, WhenFull::Refuse, "row", &window(n)[..]) {
                Ok(id) => oldest = oldest.or(Some(id)),
                Err(error) => break error,
            }
        };
        assert_eq!(
            full,
            LearnerError::Samples(crate::samples::SamplesError::Full { capacity: 6 })
        );
        assert_eq!(
            learner.statistics().examples(),
            6,
            "what was refused was not learnt"
        );
        assert_eq!(log.len(), 6);
        let oldest = oldest.unwrap();
        let id = learner.learn_in(log, WhenFull::DropOldest, "row", &window(70)[..]);
        assert!(id.unwrap().0 > oldest.0);
        assert!(learner.forget_in(log, oldest).is_err(), "it made room");
        // Five lie close together, one apart: of the five one goes.
        learner
            .learn_in(log, WhenFull::DropMostAlike, "row", &window(40)[..])
            .unwrap();
        assert_eq!(log.len(), 6);
        let mut apart = 0;
        log.for_each(|_, _, e| apart += i32::from(e.values()[1] > 65))
            .unwrap();
        assert_eq!(apart, 1, "the odd one stays");
    });
}

/// Opens a log of an encoder file that is not [`Plain`].
fn of_another_encoder<R>(
    flash: &mut [u8],
    run: impl FnOnce(&mut crate::SampleLog<'_, crate::store::RamFlash<'_>>) -> R,
) -> R {
    use crate::store::{LogClass, RamFlash, SampleLog};
    let mut memory = EMPTY;
    let statistics = Statistics::new(DIM, [9; 32], &mut memory.words, &mut memory.labels).unwrap();
    let mut classes = [LogClass::NONE; 3];
    let mut buffer = [0; SampleLog::<RamFlash<'_>>::buffer_bytes(DIM)];
    let range = 0..flash.len() as u32;
    let flash = RamFlash(flash);
    run(&mut SampleLog::open(flash, range, &statistics, &mut classes, &mut buffer).unwrap())
}

#[test]
fn another_encoder_learns_anew_from_inputs() {
    let windows = [[9i16, 1, 0], [0, 3, 9], [8, 2, 0]];
    let (mut old, mut new, mut direct) = ([0xff; 4096], [0xff; 4096], [0xff; 4096]);
    let expected = logged(&mut direct, |learner, log| {
        for (label, window) in ["row", "curl"].into_iter().zip(&windows) {
            learner
                .learn_in(log, WhenFull::Refuse, label, window)
                .unwrap();
        }
        learner.predict(&windows[2]).unwrap()
    });
    of_another_encoder(&mut old, |log| {
        let e = Embedding::new(&[1, 2, 3]).unwrap();
        let [row, curl] = [0, 1].map(|i| Signal::from(&windows[i]));
        log.learn_with_input("row", e, row).unwrap();
        log.learn("row", e).unwrap();
        log.learn_with_input("curl", e, curl).unwrap();
    });
    let found = of_another_encoder(&mut old, |old| {
        logged(&mut new, |learner, log| {
            log.keep_inputs(true);
            let short = learner.relearn(old, log, &mut [0; 2]);
            assert_eq!(
                short,
                Err(StoreError::BufferTooSmall { needed: 14 }.into()),
                "six bytes and what stands before them"
            );
            let done = learner.relearn(old, log, &mut [0; 4]).unwrap();
            assert_eq!(done, Relearnt { learnt: 2, left: 1 });
            let mut words = [0; 4];
            let id = log.next_sample(SampleId(0)).unwrap().unwrap();
            assert_eq!(log.read_input(id, &mut words), Ok((&windows[0]).into()));
            learner.predict(&windows[2]).unwrap()
        })
    });
    assert_eq!(found, expected, "to the bit");
}

#[test]
fn an_input_that_can_never_fit_costs_nothing() {
    let mut flash = [0xff; 3 * 1024];
    logged(&mut flash, |learner, log| {
        learner
            .learn_in(log, WhenFull::DropOldest, "row", &[9, 1, 0])
            .unwrap();
        log.keep_inputs(true);
        let long = [1; 2000];
        let full = learner.learn_in(log, WhenFull::DropOldest, "row", &long[..]);
        assert_eq!(full, Err(StoreError::Full.into()));
        assert_eq!(log.len(), 1);
    });
}
