//! Contract: statistics are exact. Any order gives the same bits, forgetting undoes learning,
//! merging devices equals one device.

use headstart::digest::Digest;
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
            words: vec![0; Statistics::words(DIM, CLASSES)],
            labels: vec![Label::new(); CLASSES],
        }
    }

    fn run(&mut self, work: impl FnOnce(&mut Statistics<'_>)) -> String {
        let mut statistics =
            Statistics::new(DIM, [7; 32], &mut self.words, &mut self.labels).unwrap();
        work(&mut statistics);
        Digest::new(&statistics).hex().to_string()
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
}
