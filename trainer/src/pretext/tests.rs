use super::*;

#[test]
fn mixtures_are_read_and_written() {
    let mixture: Mixture = "contrastive,masked=0.5".parse().expect("tasks");
    assert_eq!(mixture.0, [(Task::Contrastive, 1.0), (Task::Masked, 0.5)]);
    assert_eq!(String::from(mixture), "contrastive,masked=0.5");
    for wrong in ["", "simclr", "masked=0", "masked=x", "masked,masked"] {
        assert!(wrong.parse::<Mixture>().is_err(), "{wrong}");
    }
    let unknown = "simclr".parse::<Mixture>().expect_err("no such task");
    assert!(unknown.contains("barlow-twins"), "{unknown}");
}

#[test]
fn permutations_are_all_different_and_the_first_changes_nothing() {
    assert_eq!(permutation(4, 0), [0, 1, 2, 3]);
    let all: std::collections::BTreeSet<Vec<usize>> = (0..24).map(|n| permutation(4, n)).collect();
    assert_eq!(all.len(), 24);
}
