use super::calibration::Calibration;
use super::*;
use crate::pack::Background;
use std::vec;
use std::vec::Vec;

const DIM: usize = 6;
const CLASSES: usize = 3;
const RANK: usize = 2;

/// Two directions that tell classes apart; in the rest they scatter more.
const PROJECTION: [f32; RANK * DIM] = [
    0.1, 0.0, 0.0, 0.0, 0.0, 0.0, //
    0.0, 0.1, 0.0, 0.0, 0.0, 0.0,
];

fn background(calibration: &[f32]) -> Background<'_> {
    Background {
        rank: RANK,
        projection: &PROJECTION,
        within: &[1.0, 1.0],
        between: &[40.0, 30.0],
        within_total: 2000.0,
        calibration: Calibration::new(calibration).unwrap(),
    }
}

/// Thresholds of 0 to 9 at every number of shots.
fn table() -> Vec<f32> {
    let rows = (3..calibration::LEN).map(|i| match i % 12 {
        3 => 0.3,
        4 => 1.0,
        column => ((column + 7) % 12) as f32,
    });
    [0.5, 1.0, 1.0].into_iter().chain(rows).collect()
}

struct Memory {
    words: Vec<i32>,
    labels: Vec<Label>,
    samples: Vec<i8>,
}

impl Memory {
    fn new() -> Self {
        Memory {
            words: vec![0; Statistics::gram_words(DIM, CLASSES)],
            labels: vec![Label::new(); CLASSES],
            samples: vec![0; Samples::bytes(DIM, 64)],
        }
    }
}

/// Three classes around three corners, and points on their edges.
const EXAMPLES: [(&str, [i8; DIM]); 9] = [
    ("a", [120, 10, 20, -9, 8, 10]),
    ("a", [118, -10, -20, 20, 10, -9]),
    ("a", [119, 5, 10, -20, -20, 10]),
    ("b", [-10, 120, -20, 10, 9, 12]),
    ("b", [10, 119, 22, -12, -8, -10]),
    ("b", [0, 121, 12, 20, 20, -9]),
    ("c", [-85, -85, 20, -10, 12, 9]),
    ("c", [-88, -82, -20, 12, -10, 20]),
    ("c", [-80, -90, 9, 22, 9, -20]),
];
const STRANGER: [i8; DIM] = [2, -3, 80, 80, -50, 10];

fn with_evidence(examples: &[(&str, [i8; DIM])], gram: bool, work: impl FnOnce(Evidence<'_>)) {
    let mut memory = Memory::new();
    let (words, labels) = (&mut memory.words, &mut memory.labels);
    let mut statistics = match gram {
        true => Statistics::with_gram(DIM, [0; 32], words, labels).unwrap(),
        false => Statistics::new(DIM, [0; 32], words, labels).unwrap(),
    };
    for (label, values) in examples {
        let e = Embedding::new(values).unwrap();
        statistics.learn(label, e).unwrap();
    }
    let mut samples = Samples::new(DIM, &mut memory.samples);
    for (label, values) in examples {
        let class = statistics.find(label).unwrap();
        let e = Embedding::new(values).unwrap();
        samples.insert(class, e).unwrap();
    }
    work(Evidence {
        statistics: &statistics,
        samples: Some(&samples),
    });
}

fn check(mut head: impl Head, evidence: Evidence<'_>, name: &str) {
    head.fit(evidence).unwrap();
    for (label, values) in &EXAMPLES {
        let e = Embedding::new(values).unwrap();
        let found = head.predict(evidence, e).unwrap();
        assert_eq!(found.label.as_str(), *label, "{name}");
        assert!(
            found.probability > 0.5 && found.probability <= 1.0,
            "{name}: {found:?}"
        );
        assert!(
            found.margin > 0.0 && found.margin <= 1.0,
            "{name}: {found:?}"
        );
        assert!(found.is_known(), "{name}: {found:?}");
    }
    let stranger = Embedding::new(&STRANGER).unwrap();
    let found = head.predict(evidence, stranger).unwrap();
    assert_eq!(found.verdict, Verdict::Unknown, "{name}: {found:?}");
    assert!(found.probability.is_finite(), "{name}");
}

#[test]
fn every_head_learns_three_corners_and_doubts_a_fourth() {
    let table = table();
    let prior = Some(background(&table));
    with_evidence(&EXAMPLES, true, |evidence| {
        let mut words = vec![0.0; 1000];
        check(AutoHead::new(prior, &mut words), evidence, "auto");
        check(AutoHead::new(None, &mut words), evidence, "auto alone");
        check(PrototypeHead::new(prior), evidence, "prototype");
        check(BayesHead::new(prior, &mut words), evidence, "bayes");
        check(RidgeHead::new(&mut words), evidence, "ridge");
        check(SldaHead::new(prior, &mut words), evidence, "slda");
        check(SoftmaxHead::new(prior, &mut words), evidence, "softmax");
        check(
            SoftmaxHead::new(None, &mut words),
            evidence,
            "softmax alone",
        );
        check(MlpHead::new(prior, 8, &mut words), evidence, "mlp");
        check(KnnHead::new(prior, &mut words), evidence, "knn");
    });
}

#[test]
fn words_are_enough_and_one_less_is_an_error() {
    let table = table();
    let prior = Some(background(&table));
    with_evidence(&EXAMPLES, true, |evidence| {
        macro_rules! sized {
            ($needed:expr, $words:ident => $head:expr) => {{
                let mut memory: Vec<f32> = vec![0.0; $needed];
                let $words = &mut memory[..];
                assert_eq!($head.fit(evidence), Ok(()));
                let mut memory: Vec<f32> = vec![0.0; $needed - 1];
                let $words = &mut memory[..];
                assert!(matches!(
                    $head.fit(evidence),
                    Err(FitError::BufferTooSmall { .. })
                ));
            }};
        }
        sized!(AutoHead::words(DIM, CLASSES, RANK), w => AutoHead::new(prior, w));
        sized!(AutoHead::words(DIM, CLASSES, 0), w => AutoHead::new(None, w));
        sized!(BayesHead::words(DIM, CLASSES, RANK), w => BayesHead::new(prior, w));
        sized!(RidgeHead::words(DIM, CLASSES), w => RidgeHead::new(w));
        sized!(SldaHead::words(DIM, CLASSES, RANK), w => SldaHead::new(prior, w));
        sized!(SoftmaxHead::words(DIM, CLASSES, RANK), w => SoftmaxHead::new(prior, w));
        sized!(MlpHead::words(DIM, CLASSES, 4), w => MlpHead::new(prior, 4, w));
        sized!(KnnHead::words(CLASSES), w => KnnHead::new(prior, w));
    });
}

#[test]
fn what_is_missing_is_named() {
    let mut words = vec![0.0; 1000];
    with_evidence(&EXAMPLES, false, |mut evidence| {
        evidence.samples = None;
        let fit = RidgeHead::new(&mut words).fit(evidence);
        assert_eq!(fit, Err(FitError::NeedsGram));
        let fit = BayesHead::new(None, &mut words).fit(evidence);
        assert_eq!(fit, Err(FitError::NeedsBackground));
        for fit in [
            SoftmaxHead::new(None, &mut words).fit(evidence),
            MlpHead::new(None, 4, &mut words).fit(evidence),
            KnnHead::new(None, &mut words).fit(evidence),
        ] {
            assert_eq!(fit, Err(FitError::NeedsSamples));
        }
    });
}

#[test]
fn auto_says_what_it_picked() {
    let table = table();
    let prior = Some(background(&table));
    let choice = |background, examples: &[(&str, [i8; DIM])], gram| {
        let mut found = None;
        with_evidence(examples, gram, |evidence| {
            let mut words = vec![0.0; 1000];
            let mut head = AutoHead::new(background, &mut words);
            head.fit(evidence).unwrap();
            found = Some(head.choice());
        });
        found.unwrap()
    };
    // Nine examples of three classes; a prior worth D = 6.
    let learnt = 6.0;
    assert_eq!(
        choice(None, &EXAMPLES, true),
        Choice::Learnt { start: 6.0, learnt }
    );
    let blend = Choice::Blend {
        background: 6.0,
        learnt,
    };
    assert_eq!(choice(prior, &EXAMPLES, true), blend);
    assert_eq!(choice(prior, &EXAMPLES, false), Choice::Background);
    let one_each = [EXAMPLES[0], EXAMPLES[3], EXAMPLES[6]];
    assert_eq!(choice(prior, &one_each, true), Choice::Background);
    assert!(std::format!("{blend}").contains("50 % from the encoder's background"));
}

/// The rate is the user's: fewer false accepts, a higher threshold; beyond the table no promise.
#[test]
fn unknown_is_at_the_rate_that_was_set() {
    let table = table();
    let prior = Some(background(&table));
    with_evidence(&EXAMPLES, true, |evidence| {
        let verdict = |rate| {
            let mut words = vec![0.0; 1000];
            let mut head = AutoHead::new(prior, &mut words).with_false_accepts(rate);
            head.fit(evidence).unwrap();
            // Between a and b, nearer to a.
            let e = [100, 70, 0, 0, 0, 0];
            let e = Embedding::new(&e).unwrap();
            (
                head.score(evidence, 0, e),
                head.predict(evidence, e).unwrap().verdict,
            )
        };
        let (score, loose) = verdict(0.4);
        let (_, strict) = verdict(0.01);
        let (_, beyond) = verdict(0.0001);
        assert!(score.is_finite());
        assert_eq!(beyond, Verdict::NotEnoughExamples);
        assert!(
            loose == Verdict::Known || strict == Verdict::Unknown,
            "{score}"
        );
        // Without a table the classes' own spread decides, and nothing is promised.
        let mut words = vec![0.0; 1000];
        let mut head = AutoHead::new(Some(background(&[])), &mut words).with_false_accepts(0.0001);
        head.fit(evidence).unwrap();
        let e = Embedding::new(&EXAMPLES[0].1).unwrap();
        assert_eq!(head.predict(evidence, e).unwrap().verdict, Verdict::Known);
    });
}

/// With one example each, what lies where the background says that classes do not differ is
/// nearly ignored.
#[test]
fn one_example_is_read_in_the_light_of_the_background() {
    let query = [90, 20, 85, 0, 0, 0];
    let taught = [("a", [110, 0, -60, 0, 0, 0]), ("b", [20, 80, 90, 0, 0, 0])];
    let told = |head: &mut dyn FnMut(Evidence<'_>, Embedding<'_>) -> Label| {
        let mut label = Label::new();
        with_evidence(&taught, true, |evidence| {
            label = head(evidence, Embedding::new(&query).unwrap());
        });
        label
    };
    let nearest = told(&mut |evidence, e| {
        let mut head = PrototypeHead::new(None);
        head.fit(evidence).unwrap();
        head.predict(evidence, e).unwrap().label
    });
    let table = table();
    let informed = told(&mut |evidence, e| {
        let mut words = vec![0.0; 1000];
        let mut head = AutoHead::new(Some(background(&table)), &mut words);
        head.fit(evidence).unwrap();
        head.predict(evidence, e).unwrap().label
    });
    assert_eq!((nearest.as_str(), informed.as_str()), ("b", "a"));
}
