//! Contract: evidence is exact. Any order gives the same bits, of the default head's predictions
//! too; forgetting undoes learning; merging devices equals one device; what can't be is refused and
//! changes nothing.

use headstart::digest::Digest;
use headstart::embedding::EmbeddingError;
use headstart::head::{AutoHead, Evidence, Head};
use headstart::statistics::StatisticsError;
use headstart::{Embedding, Label, Statistics};
use proptest::prelude::*;

const DIM: usize = 8;
const CLASSES: usize = 5;
const NAMES: [&str; CLASSES] = ["row", "abd", "pen", "trap", "er"];

type Example = (usize, [i8; DIM]);

struct Device {
    words: Vec<i32>,
    labels: Vec<Label>,
}

impl Device {
    fn new() -> Self {
        Device {
            words: vec![0; Statistics::gram_words(DIM, CLASSES)],
            labels: vec![Label::new(); CLASSES],
        }
    }

    /// The digest of what was learnt in the gram tier and of what the default head makes of it.
    fn run(&mut self, work: impl FnOnce(&mut Statistics<'_>)) -> String {
        let mut statistics =
            Statistics::with_gram(DIM, [7; 32], &mut self.words, &mut self.labels).unwrap();
        work(&mut statistics);
        let mut digest = Digest::new(&statistics);
        if statistics.classes() > 0 {
            let evidence = Evidence {
                statistics: &statistics,
                samples: None,
            };
            let mut words = vec![0.0; AutoHead::words(DIM, CLASSES, 0)];
            let mut head = AutoHead::new(None, &mut words);
            head.fit(evidence).unwrap();
            for query in [[90, 1, -30, 4, 5, 80, 7, 8], [-90, 60, 0, 0, 1, 0, 0, 9]] {
                let prediction = head.predict(evidence, Embedding::new(&query).unwrap());
                digest.query(&prediction.unwrap());
            }
        }
        digest.hex().to_string()
    }
}

fn learn(statistics: &mut Statistics<'_>, examples: &[Example]) {
    for (class, values) in examples {
        statistics
            .learn(NAMES[*class], Embedding::new(values).unwrap())
            .unwrap();
    }
}

fn example() -> impl Strategy<Value = Example> {
    let values =
        prop::array::uniform8(-127i8..=127).prop_filter("zero", |v| v.iter().any(|&x| x != 0));
    (0..CLASSES, values)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_thousand_orders_one_digest(
        (given, shuffled) in prop::collection::vec(example(), 1..30)
            .prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
    ) {
        let one = Device::new().run(|s| learn(s, &given));
        let other = Device::new().run(|s| learn(s, &shuffled));
        prop_assert_eq!(one, other);
    }

    #[test]
    fn forgetting_gives_the_digest_from_before(
        kept in prop::collection::vec(example(), 0..15),
        gone in prop::collection::vec(example(), 1..15),
    ) {
        let before = Device::new().run(|s| learn(s, &kept));
        let after = Device::new().run(|s| {
            learn(s, &kept);
            learn(s, &gone);
            for (class, values) in &gone {
                s.forget(NAMES[*class], Embedding::new(values).unwrap()).unwrap();
            }
        });
        prop_assert_eq!(before, after);
    }

    #[test]
    fn another_label_gives_the_digest_of_having_had_it_from_the_start(
        wrong in prop::collection::vec(example(), 1..15),
        to in 0..CLASSES,
    ) {
        let right: Vec<Example> = wrong.iter().map(|(_, values)| (to, *values)).collect();
        let one = Device::new().run(|s| learn(s, &right));
        let other = Device::new().run(|s| {
            learn(s, &wrong);
            for (class, values) in &wrong {
                let e = Embedding::new(values).unwrap();
                s.relabel(NAMES[*class], NAMES[to], e).unwrap();
            }
        });
        prop_assert_eq!(one, other);
    }

    #[test]
    fn seven_devices_merge_into_the_digest_of_one(all in prop::collection::vec(example(), 1..40)) {
        let one = Device::new().run(|s| learn(s, &all));
        let merged = Device::new().run(|sum| {
            for part in 0..7 {
                let own: Vec<Example> = all.iter().skip(part).step_by(7).copied().collect();
                Device::new().run(|s| {
                    learn(s, &own);
                    sum.merge(s).unwrap();
                });
            }
        });
        prop_assert_eq!(one, merged);
    }

    #[test]
    fn a_snapshot_gives_the_digest_back(all in prop::collection::vec(example(), 1..20)) {
        let mut bytes = vec![0; Statistics::gram_snapshot_bytes(DIM, CLASSES)];
        let one = Device::new().run(|s| {
            learn(s, &all);
            s.save(&mut bytes).unwrap();
        });
        let other = Device::new().run(|s| s.restore(&bytes).unwrap());
        prop_assert_eq!(one, other);
    }
}

/// A device with room for 64 classes, all taken.
#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    const MANY: usize = 64;
    for gram in [false, true] {
        let mut words = vec![0; Statistics::gram_words(DIM, MANY)];
        let mut labels = vec![Label::new(); MANY];
        let mut s = if gram {
            Statistics::with_gram(DIM, [7; 32], &mut words, &mut labels).unwrap()
        } else {
            let words = &mut words[..Statistics::words(DIM, MANY)];
            Statistics::new(DIM, [7; 32], words, &mut labels).unwrap()
        };
        let known = [1, 2, 3, 4, 5, 6, 7, 8];
        let e = Embedding::new(&known).unwrap();
        for class in 0..MANY {
            s.learn(&format!("class {class}"), e).unwrap();
        }
        let before = Digest::new(&s).hex();
        let long = [1; DIM + 1];
        let long = Embedding::new(&long).unwrap();
        let far = [100, 0, 0, 0, 0, 0, 0, 0];
        let far = Embedding::new(&far).unwrap();
        let dim = StatisticsError::Dim {
            expected: DIM,
            got: DIM + 1,
        };
        let full = StatisticsError::TooManyClasses { capacity: MANY };
        assert_eq!(s.learn("class 1", long), Err(dim));
        assert_eq!(s.forget("class 1", long), Err(dim));
        assert_eq!(s.learn("class 64", e), Err(full));
        assert_eq!(s.learn("", e), Err(StatisticsError::BadLabel));
        assert_eq!(
            s.learn("a name of 17 byte", e),
            Err(StatisticsError::BadLabel)
        );
        assert_eq!(s.forget("stranger", e), Err(StatisticsError::UnknownLabel));
        assert_eq!(s.forget("class 1", far), Err(StatisticsError::NeverLearnt));
        let never = s.relabel("class 1", "class 2", far);
        assert_eq!(never, Err(StatisticsError::NeverLearnt));
        let bad = s.relabel("class 1", "a name of 17 byte", e);
        assert_eq!(bad, Err(StatisticsError::BadLabel));

        let mut words = vec![0; Statistics::gram_words(DIM, 1)];
        let mut labels = [Label::new()];
        let other = Statistics::with_gram(DIM, [8; 32], &mut words, &mut labels).unwrap();
        assert_eq!(s.merge(&other), Err(StatisticsError::OtherArtefact));
        let mut words = vec![0; Statistics::gram_words(DIM, 1)];
        let mut labels = [Label::new()];
        let other = match gram {
            true => Statistics::new(DIM, [7; 32], &mut words, &mut labels).unwrap(),
            false => Statistics::with_gram(DIM, [7; 32], &mut words, &mut labels).unwrap(),
        };
        assert_eq!(s.merge(&other), Err(StatisticsError::OtherTier));
        if gram {
            let whole = s.forget_class("class 1");
            assert_eq!(whole, Err(StatisticsError::SharedMoments));
        }
        assert_eq!(Digest::new(&s).hex(), before);
    }
}

#[test]
fn a_float_embedding_that_is_not_a_number_is_named() {
    let mut out = [0; 3];
    let nan = Embedding::from_floats(&[0.5, f32::NAN, 1.0], 0.001, &[0; 3], &mut out);
    assert_eq!(nan, Err(EmbeddingError::NotFinite { at: 1 }));
    let endless = Embedding::from_floats(&[f32::INFINITY, 0.0, 1.0], 0.001, &[0; 3], &mut out);
    assert_eq!(endless, Err(EmbeddingError::NotFinite { at: 0 }));
    let zero = Embedding::from_floats(&[1.0, 2.0, 3.0], 1.0, &[1, 2, 3], &mut out);
    assert_eq!(zero, Err(EmbeddingError::Zero));
    let e = Embedding::from_floats(&[0.3, -0.4, 0.0], 0.001, &[0; 3], &mut out).unwrap();
    assert_eq!(e.values(), [76, -102, 0]);
}
