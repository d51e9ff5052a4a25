//! Contract: whatever was learnt, heads answer with numbers: no NaN, no panic, probabilities from 0
//! to 1, the same bits in any order of learning.

use headstart::head::calibration::{Calibration, LEN};
use headstart::head::{AutoHead, BayesHead, Evidence, Head, KnnHead, MlpHead};
use headstart::head::{PrototypeHead, RidgeHead, SldaHead, SoftmaxHead};
use headstart::pack::Background;
use headstart::{Embedding, Label, Samples, Statistics};
use proptest::prelude::*;

const DIM: usize = 5;
const CLASSES: usize = 4;
const MOST: usize = 12;

type Values = [i8; DIM];

/// Few different values, so that examples coincide, lie in a line or fill no space.
fn values() -> impl Strategy<Value = Values> {
    prop::array::uniform5(prop_oneof![
        Just(0i8),
        Just(127),
        Just(-128),
        -3i8..=3,
        any::<i8>()
    ])
    .prop_filter("zero", |v| v.iter().any(|&x| x != 0))
}

#[derive(Clone, Debug)]
struct Prior {
    projection: Vec<f32>,
    within: Vec<f32>,
    between: Vec<f32>,
    total: f32,
    table: Vec<f32>,
}

fn prior() -> impl Strategy<Value = Option<Prior>> {
    let positive = || prop_oneof![Just(1.0f32), 1e-6f32..1e6];
    let prior = (1..=DIM).prop_flat_map(move |rank| {
        (
            prop::collection::vec(prop_oneof![Just(0.0f32), -10.0f32..10.0], rank * DIM),
            prop::collection::vec(positive(), rank),
            prop::collection::vec(prop_oneof![Just(0.0f32), 0.0f32..1e6], rank),
            positive(),
            any::<bool>(),
        )
            .prop_map(|(projection, within, between, total, calibrated)| Prior {
                projection,
                within,
                between,
                total,
                table: match calibrated {
                    true => (0..LEN)
                        .map(|i| {
                            if i < 3 || (3..5).contains(&(i % 12)) {
                                0.9
                            } else {
                                1.0
                            }
                        })
                        .collect(),
                    false => Vec::new(),
                },
            })
    });
    prop::option::of(prior)
}

/// Every head's answers to the queries, as bits.
fn answers(taught: &[(usize, Values)], asked: &[Values], prior: Option<&Prior>) -> Vec<u32> {
    let mut words = vec![0; Statistics::gram_words(DIM, CLASSES)];
    let mut labels = vec![Label::new(); CLASSES];
    let mut statistics = Statistics::with_gram(DIM, [0; 32], &mut words, &mut labels).unwrap();
    let mut bytes = vec![0; Samples::bytes(DIM, MOST)];
    let mut samples = Samples::new(DIM, &mut bytes);
    let name = |class: usize| ["a", "b", "c", "d"][class];
    for (class, values) in taught {
        statistics
            .learn(name(*class), Embedding::new(values).unwrap())
            .unwrap();
    }
    for (class, values) in taught {
        let class = statistics.find(name(*class)).unwrap();
        samples
            .insert(class, Embedding::new(values).unwrap())
            .unwrap();
    }
    let evidence = Evidence {
        statistics: &statistics,
        samples: Some(&samples),
    };
    let background = prior.map(|p| Background {
        rank: p.within.len(),
        projection: &p.projection,
        within: &p.within,
        between: &p.between,
        within_total: p.total,
        calibration: Calibration::new(&p.table).unwrap(),
    });
    let mut bits = Vec::new();
    let mut words = vec![0.0; 2000];
    let mut ask =
        |mut head: Box<dyn FnMut(Embedding<'_>) -> Option<headstart::Prediction> + '_>| {
            for values in asked {
                let found = head(Embedding::new(values).unwrap()).unwrap();
                assert!((0.0..=1.0).contains(&found.probability), "{found:?}");
                assert!((-1e-6..=1.0).contains(&found.margin), "{found:?}");
                bits.extend([
                    found.class as u32,
                    found.probability.to_bits(),
                    found.verdict as u32,
                ]);
            }
        };
    macro_rules! head {
        ($head:expr) => {{
            let mut head = $head;
            head.fit(evidence).unwrap();
            ask(Box::new(move |e| head.predict(evidence, e)));
        }};
    }
    head!(AutoHead::new(background, &mut words));
    head!(PrototypeHead::new(background));
    if background.is_some() {
        head!(BayesHead::new(background, &mut words));
    }
    head!(RidgeHead::new(&mut words));
    head!(SldaHead::new(background, &mut words));
    head!(KnnHead::new(background, &mut words));
    let mut softmax = SoftmaxHead::new(background, &mut words);
    softmax.steps = 5;
    head!(softmax);
    let mut mlp = MlpHead::new(background, 4, &mut words);
    mlp.steps = 5;
    head!(mlp);
    bits
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn answers_are_numbers_and_do_not_depend_on_the_order(
        (taught, shuffled) in prop::collection::vec((0..CLASSES, values()), 1..MOST)
            .prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        asked in prop::collection::vec(values(), 1..4),
        prior in prior(),
    ) {
        let one = answers(&taught, &asked, prior.as_ref());
        let other = answers(&shuffled, &asked, prior.as_ref());
        prop_assert_eq!(one, other);
    }
}
