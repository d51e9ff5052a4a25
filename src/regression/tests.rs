use super::*;
use crate::head::FitError;
use std::vec;
use std::vec::Vec;

const DIM: usize = 6;
const OUTPUTS: usize = 2;

type Example = ([i8; DIM], [i16; OUTPUTS]);

struct Memory(Vec<i32>, Vec<i64>);

impl Memory {
    fn new(outputs: usize) -> Self {
        Memory(
            vec![0; NormalEquations::words(DIM)],
            vec![0; NormalEquations::sums(DIM, outputs)],
        )
    }

    fn equations(&mut self, outputs: usize) -> NormalEquations<'_> {
        NormalEquations::new(DIM, outputs, [0; 32], &mut self.0, &mut self.1).unwrap()
    }
}

/// Everything that the state is.
fn state(s: &NormalEquations<'_>) -> (i32, Vec<i32>, Vec<i32>, Vec<i64>) {
    (
        s.examples,
        s.gram.to_vec(),
        s.inputs.to_vec(),
        s.targets.to_vec(),
    )
}

fn embedding(values: &[i8]) -> Embedding<'_> {
    Embedding::new(values).unwrap()
}

/// Values all over the range, and targets all over theirs.
fn examples(count: usize) -> Vec<Example> {
    let mut seed = 1u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) as i16
    };
    (0..count)
        .map(|_| {
            let x = core::array::from_fn(|_| (next() / 258) as i8);
            (x, core::array::from_fn(|_| next()))
        })
        .collect()
}

fn learn(equations: &mut NormalEquations<'_>, examples: &[Example]) {
    for (x, t) in examples {
        equations.learn(embedding(x), t).unwrap();
    }
}

/// The first `outputs` estimates for some inputs, as bits.
fn estimates(equations: &NormalEquations<'_>, outputs: usize) -> Vec<(u32, u32)> {
    let mut words = vec![0.0; RegressionHead::words(DIM, equations.outputs())];
    let mut head = RegressionHead::new(&mut words);
    head.fit(equations).unwrap();
    let mut bits = Vec::new();
    for (x, _) in examples(50).iter().skip(40) {
        for output in 0..outputs {
            let estimate = head.predict(equations, output, embedding(x)).unwrap();
            bits.push((estimate.value.to_bits(), estimate.deviation.to_bits()));
        }
    }
    bits
}

#[test]
fn any_order_gives_the_same_bits_and_forgetting_undoes_it() {
    let all = examples(40);
    let (mut one, mut other) = (Memory::new(OUTPUTS), Memory::new(OUTPUTS));
    let (mut forward, mut backward) = (one.equations(OUTPUTS), other.equations(OUTPUTS));
    learn(&mut forward, &all[..10]);
    let (before, said) = (state(&forward), estimates(&forward, OUTPUTS));
    learn(&mut forward, &all[10..]);
    let reversed: Vec<Example> = all.iter().rev().copied().collect();
    learn(&mut backward, &reversed);
    assert_eq!(state(&forward), state(&backward));
    assert_eq!(estimates(&forward, OUTPUTS), estimates(&backward, OUTPUTS));
    assert_ne!(estimates(&forward, OUTPUTS), said);
    for (x, t) in &all[10..] {
        forward.forget(embedding(x), t).unwrap();
    }
    assert_eq!(state(&forward), before);
    assert_eq!(estimates(&forward, OUTPUTS), said);
}

#[test]
fn merging_two_devices_equals_learning_on_one() {
    let all = examples(30);
    let mut memory = [(); 3].map(|()| Memory::new(OUTPUTS));
    let [one, left, right] = &mut memory;
    let (mut one, mut left, mut right) = (
        one.equations(OUTPUTS),
        left.equations(OUTPUTS),
        right.equations(OUTPUTS),
    );
    learn(&mut one, &all);
    learn(&mut left, &all[..11]);
    learn(&mut right, &all[11..]);
    left.merge(&right).unwrap();
    assert_eq!(state(&left), state(&one));
}

#[test]
fn a_second_output_does_not_disturb_the_first() {
    let all = examples(25);
    let (mut one, mut two) = (Memory::new(1), Memory::new(2));
    let (mut one, mut two) = (one.equations(1), two.equations(2));
    for (x, t) in &all {
        one.learn(embedding(x), &t[..1]).unwrap();
        // One that is easy to explain, and so takes another penalty.
        two.learn(embedding(x), &[t[0], 50 * i16::from(x[0])])
            .unwrap();
    }
    assert_eq!(estimates(&one, 1), {
        let both = estimates(&two, 2);
        both.into_iter().step_by(2).collect::<Vec<_>>()
    });
}

#[test]
fn a_linear_function_is_recovered() {
    let mut memory = Memory::new(OUTPUTS);
    let mut equations = memory.equations(OUTPUTS);
    let truth = |x: &[i8; DIM]| [7 * i16::from(x[0]) - 3 * i16::from(x[4]) + 900, 4];
    for (x, noise) in &examples(300) {
        let [t, constant] = truth(x);
        equations
            .learn(embedding(x), &[t + noise[0] / 3000, constant])
            .unwrap();
    }
    let mut words = vec![0.0; RegressionHead::words(DIM, OUTPUTS)];
    let mut head = RegressionHead::new(&mut words);
    head.fit(&equations).unwrap();
    // The noise is uniform over 21 integers: a deviation of 6.
    for (x, _) in examples(400).iter().skip(300) {
        let found = head.predict(&equations, 0, embedding(x)).unwrap();
        let error = found.value - f32::from(truth(x)[0]);
        assert!(error.abs() < 4.0, "{found:?} {error}");
        assert!((5.0..10.0).contains(&found.deviation), "{found:?}");
        let constant = head.predict(&equations, 1, embedding(x)).unwrap();
        assert!((constant.value - 4.0).abs() < 1e-3 && constant.deviation < 1e-3);
    }
    assert_eq!(
        head.predict(&equations, OUTPUTS, embedding(&[1; DIM])),
        None
    );
    assert_eq!(head.value(0, embedding(&[1])), None);
}

#[test]
fn it_is_less_sure_of_what_is_far_away() {
    let mut memory = Memory::new(1);
    let mut equations = memory.equations(1);
    let mut words = vec![0.0; RegressionHead::words(DIM, 1)];
    let mut head = RegressionHead::new(&mut words);
    let (near, far) = ([90, 80, 0, 0, 0, 0], [0, 0, 0, 0, 90, -80]);
    for (count, (x, t)) in examples(60).iter().enumerate() {
        head.fit(&equations).unwrap();
        let [at_home, abroad] =
            [near, far].map(|x| head.predict(&equations, 0, embedding(&x)).unwrap());
        assert!(at_home.value.is_finite() && abroad.value.is_finite());
        assert_eq!(at_home.deviation.is_finite(), count > 1, "{count}");
        if count > 1 {
            assert!(at_home.deviation < abroad.deviation, "{count}");
        }
        let x = [90, 80, x[2] / 4, x[3] / 4, x[4] / 8, x[5] / 8];
        equations.learn(embedding(&x), &[t[0] / 100]).unwrap();
    }
}

#[test]
fn several_labels_may_hold_at_once() {
    let mut memory = Memory::new(3);
    let mut equations = memory.equations(3);
    let point = |a: bool, b: bool, i: usize| -> [i8; DIM] {
        let side = |on| if on { 80 } else { -80 };
        core::array::from_fn(|d| match d {
            0 => side(a),
            1 => side(b),
            _ => ((11 * i + 7 * d) % 31) as i8 - 15,
        })
    };
    let cases = [(false, false), (true, false), (false, true), (true, true)];
    for (i, &(a, b)) in cases.iter().cycle().take(16).enumerate() {
        let x = point(a, b, i);
        equations
            .learn_labels(embedding(&x), &[a, b, false])
            .unwrap();
    }
    let mut words = vec![0.0; RegressionHead::words(DIM, 3)];
    let mut head = RegressionHead::new(&mut words);
    head.fit(&equations).unwrap();
    for (i, &(a, b)) in cases.iter().enumerate() {
        let x = point(a, b, 40 + i);
        let scores = [0, 1, 2].map(|label| head.score(label, embedding(&x)).unwrap());
        assert_eq!(scores.map(|s| s > 0.5), [a, b, false], "{scores:?}");
        assert!(scores.iter().all(|s| (0.0..=1.0).contains(s)));
    }
    let x = point(true, false, 1);
    equations
        .forget_labels(embedding(&x), &[true, false, false])
        .unwrap();
    assert_eq!(equations.examples(), 15);
}

/// As many examples as there may be, of the largest values that there are.
#[test]
fn no_sum_overflows() {
    let (mut sum, mut copy, mut one) = (Memory::new(1), Memory::new(1), Memory::new(1));
    let mut sum = sum.equations(1);
    let mut one = one.equations(1);
    let x = [-127; DIM];
    one.learn(embedding(&x), &[i16::MIN]).unwrap();
    while sum.examples() < MAX_GRAM_COUNT {
        let mut double = copy.equations(1);
        double.merge(&sum).unwrap();
        sum.merge(&double).unwrap();
        sum.merge(&one).unwrap();
    }
    let (n, before) = (i64::from(MAX_GRAM_COUNT), state(&sum));
    assert!(sum.gram.iter().all(|&v| i64::from(v) == n * 127 * 127));
    assert!(sum.inputs.iter().all(|&v| i64::from(v) == -127 * n));
    let expected = [-32_768 * n, 32_768 * 32_768 * n];
    assert_eq!(sum.targets[..2], expected);
    assert!(sum.targets[2..].iter().all(|&v| v == 127 * 32_768 * n));
    let mut products = [1.0; DIM];
    assert_eq!(sum.centred_targets(0, &mut products), (-32_768.0, 0.0));
    assert_eq!(products, [0.0; DIM]);
    let full = Err(RegressionError::TooManyExamples);
    assert_eq!(sum.learn(embedding(&x), &[i16::MIN]), full);
    assert_eq!(sum.merge(&one), full);
    assert_eq!(state(&sum), before);
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let mut memory = Memory::new(1);
    let mut equations = memory.equations(1);
    let x = [9, 8, 7, 6, 5, 4];
    equations.learn(embedding(&x), &[100]).unwrap();
    let before = state(&equations);
    let dim = Err(RegressionError::Dim {
        expected: DIM,
        got: 1,
    });
    assert_eq!(equations.learn(embedding(&[1]), &[1]), dim);
    assert_eq!(equations.forget(embedding(&[1]), &[1]), dim);
    let outputs = Err(RegressionError::Outputs {
        expected: 1,
        got: 2,
    });
    assert_eq!(equations.learn(embedding(&x), &[1, 2]), outputs);
    assert_eq!(
        equations.learn_labels(embedding(&x), &[true, false]),
        outputs
    );
    let never = Err(RegressionError::NeverLearnt);
    assert_eq!(equations.forget(embedding(&x), &[101]), never);
    assert_eq!(
        equations.forget(embedding(&[9, 8, 7, 6, 5, 3]), &[100]),
        never
    );
    let (mut words, mut sums) = (vec![0; 27], vec![0; 8]);
    let other = NormalEquations::new(DIM, 1, [1; 32], &mut words, &mut sums).unwrap();
    assert_eq!(equations.merge(&other), Err(RegressionError::OtherArtefact));
    assert_eq!(state(&equations), before);
    let small = NormalEquations::new(DIM, 1, [1; 32], &mut words[1..], &mut sums).err();
    let needed = RegressionError::BufferTooSmall { words: 27, sums: 8 };
    assert_eq!(small, Some(needed));
    let mut words = vec![0.0; RegressionHead::words(DIM, 1) - 1];
    let needed = words.len() + 1;
    let refused = RegressionHead::new(&mut words).fit(&equations);
    assert_eq!(refused, Err(FitError::BufferTooSmall { needed }));
}
