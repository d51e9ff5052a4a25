use super::*;
use std::vec::Vec;

const DIM: usize = 3;

fn memory(classes: usize) -> (Vec<i32>, Vec<Label>) {
    (
        std::vec![0; Statistics::words(DIM, classes)],
        std::vec![Label::new(); classes],
    )
}

/// Everything that the state is.
fn state(s: &Statistics<'_>) -> (Vec<i32>, Vec<Label>) {
    (s.words.to_vec(), s.labels.to_vec())
}

fn examples() -> Vec<(&'static str, [i8; DIM])> {
    let values = |i: i8| [i * 3 - 50, 90 - i, i % 7];
    ["wave", "nod", "row"]
        .into_iter()
        .cycle()
        .zip((0..30).map(values))
        .collect()
}

#[test]
fn any_order_gives_the_same_bits_and_forgetting_undoes_it() {
    let all = examples();
    let (mut words, mut labels) = memory(3);
    let mut forward = Statistics::new(DIM, [0; 32], &mut words, &mut labels).unwrap();
    let (mut words, mut labels) = memory(3);
    let mut backward = Statistics::new(DIM, [0; 32], &mut words, &mut labels).unwrap();
    let empty = state(&forward);
    for (label, e) in &all {
        forward.learn(label, Embedding::new(e).unwrap()).unwrap();
    }
    for (label, e) in all.iter().rev() {
        backward.learn(label, Embedding::new(e).unwrap()).unwrap();
    }
    assert_eq!(state(&forward), state(&backward));
    for (label, e) in &all {
        forward.forget(label, Embedding::new(e).unwrap()).unwrap();
    }
    assert_eq!(state(&forward), empty);
}

#[test]
fn merging_two_devices_equals_learning_on_one() {
    let all = examples();
    let (mut words, mut labels) = memory(3);
    let mut one = Statistics::new(DIM, [0; 32], &mut words, &mut labels).unwrap();
    let (mut words, mut labels) = memory(3);
    let mut left = Statistics::new(DIM, [0; 32], &mut words, &mut labels).unwrap();
    let (mut words, mut labels) = memory(3);
    let mut right = Statistics::new(DIM, [0; 32], &mut words, &mut labels).unwrap();
    for (i, (label, e)) in all.iter().enumerate() {
        let e = Embedding::new(e).unwrap();
        one.learn(label, e).unwrap();
        if i < 10 {
            left.learn(label, e)
        } else {
            right.learn(label, e)
        }
        .unwrap();
    }
    left.merge(&right).unwrap();
    assert_eq!(state(&left), state(&one));
}

#[test]
fn what_is_refused_changes_nothing() {
    let (mut words, mut labels) = memory(2);
    let mut s = Statistics::new(DIM, [0; 32], &mut words, &mut labels).unwrap();
    let e = Embedding::new(&[1, 2, 3]).unwrap();
    s.learn("a", e).unwrap();
    s.learn("b", e).unwrap();
    let before = state(&s);
    let (mut words, mut labels) = memory(2);
    let other = Statistics::new(DIM, [9; 32], &mut words, &mut labels).unwrap();
    let short = Embedding::new(&[1]).unwrap();
    let stranger = Embedding::new(&[1, 2, 4]).unwrap();
    let cases = [
        (
            s.learn("c", e).map(|_| ()),
            StatisticsError::TooManyClasses { capacity: 2 },
        ),
        (s.learn("", e).map(|_| ()), StatisticsError::BadLabel),
        (
            s.learn("seventeen letters", e).map(|_| ()),
            StatisticsError::BadLabel,
        ),
        (
            s.learn("a", short).map(|_| ()),
            StatisticsError::Dim {
                expected: 3,
                got: 1,
            },
        ),
        (s.forget("z", e), StatisticsError::UnknownLabel),
        (s.forget("a", stranger), StatisticsError::NeverLearnt),
        (s.forget_class("z"), StatisticsError::UnknownLabel),
        (s.rename("a", "b"), StatisticsError::LabelTaken),
        (s.rename("z", "y"), StatisticsError::UnknownLabel),
        (s.merge(&other), StatisticsError::OtherArtefact),
    ];
    for (got, expected) in cases {
        assert_eq!(got, Err(expected));
    }
    assert_eq!(state(&s), before);
}

#[test]
fn renaming_keeps_the_order_of_names() {
    let (mut words, mut labels) = memory(3);
    let mut s = Statistics::new(DIM, [0; 32], &mut words, &mut labels).unwrap();
    for (label, value) in [("a", 1), ("b", 2), ("c", 3)] {
        s.learn(label, Embedding::new(&[value; DIM]).unwrap())
            .unwrap();
    }
    s.rename("a", "bb").unwrap();
    s.rename("c", "A").unwrap();
    let rows: Vec<_> = s.iter().map(|c| (c.label.as_str(), c.sums[0])).collect();
    assert_eq!(rows, [("A", 3), ("b", 2), ("bb", 1)]);
}
