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

#[test]
fn a_snapshot_brings_everything_back_and_damage_is_found() {
    let (mut words, mut labels) = memory(3);
    let mut s = Statistics::new(DIM, [5; 32], &mut words, &mut labels).unwrap();
    for (label, e) in &examples() {
        s.learn(label, Embedding::new(e).unwrap()).unwrap();
    }
    let mut bytes = std::vec![0; Statistics::snapshot_bytes(DIM, 3)];
    let small = s.save(&mut bytes[1..]);
    assert_eq!(
        small,
        Err(SnapshotError::BufferTooSmall {
            needed: bytes.len()
        })
    );
    assert_eq!(s.save(&mut bytes), Ok(bytes.len()));

    let (mut words, mut labels) = memory(3);
    let mut back = Statistics::new(DIM, [5; 32], &mut words, &mut labels).unwrap();
    back.learn("old", Embedding::new(&[1, 1, 1]).unwrap())
        .unwrap();
    let before = state(&back);
    for length in 0..bytes.len() {
        assert_eq!(
            back.restore(&bytes[..length]),
            Err(SnapshotError::NotStatistics)
        );
    }
    for bit in 0..8 * bytes.len() {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(back.restore(&bytes).is_err(), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert_eq!(state(&back), before);
    assert_eq!(back.restore(&bytes), Ok(()));
    assert_eq!(state(&back), state(&s));

    let (mut words, mut labels) = memory(2);
    let mut other = Statistics::new(DIM, [6; 32], &mut words, &mut labels).unwrap();
    assert_eq!(other.restore(&bytes), Err(SnapshotError::OtherArtefact));
    let (mut words, mut labels) = memory(2);
    let mut narrow = Statistics::new(DIM, [5; 32], &mut words, &mut labels).unwrap();
    assert_eq!(
        narrow.restore(&bytes),
        Err(SnapshotError::TooManyClasses { needed: 3 })
    );
}

#[test]
fn numbers_that_nobody_can_have_learnt_are_refused() {
    let (mut words, mut labels) = memory(2);
    let mut s = Statistics::new(DIM, [5; 32], &mut words, &mut labels).unwrap();
    for label in ["a", "b"] {
        s.learn(label, Embedding::new(&[3, 4, 5]).unwrap()).unwrap();
    }
    let mut bytes = std::vec![0; Statistics::snapshot_bytes(DIM, 2)];
    s.save(&mut bytes).unwrap();
    let row = 16 + 4 + 4 * DIM;
    // count 0, a sum beyond 127 * count, names out of order, a name with a hole, no tier
    for (at, value) in [
        (52 + 16, 0),
        (52 + 21, 1),
        (52, b'c'),
        (52 + 5, b'x'),
        (52 + row, b'a'),
        (10, 3),
    ] {
        let mut bad = bytes.clone();
        bad[at] = value;
        let end = bad.len() - 4;
        let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&bad[..end]);
        bad[end..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(s.restore(&bad), Err(SnapshotError::Impossible), "byte {at}");
    }
}
