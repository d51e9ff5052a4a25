//! What learning and predicting cost.

use core::fmt::Write;
use core::hint::black_box;

use headstart::head::Evidence;
use headstart::{Embedding, Head, Label, RidgeHead, Samples, Statistics};

use crate::lesson::{self, KEPT, NAMES};
use crate::line_up::{self, Task, WORDS};
use crate::world::{Measured, World};
use crate::{CLASSES, DIM, Fault, SHOTS};

const EXAMPLES: usize = CLASSES * SHOTS;

/// Name, class and embedding of each.
type Examples<'a> = [(&'static str, usize, Embedding<'a>)];

/// Prints a line for each figure: D = 64, 8 classes of 5 examples, a background of 16 directions.
/// Times are the mean over a few calls, in `count`'s unit.
pub fn costs(out: &mut impl Write, mut count: impl FnMut() -> u32) -> Result<(), Fault> {
    let world = World::new();
    let mut values = [[0; DIM]; EXAMPLES];
    let mut examples = heapless::Vec::<_, EXAMPLES>::new();
    for ((class, number), values) in lesson::examples(SHOTS).zip(&mut values) {
        let example = (
            NAMES[class],
            class,
            world.embed(class as u32, number, values)?,
        );
        let _ = examples.push(example); // There is room for all of them.
    }
    normalise(out, &mut count, &world)?;

    let mut words = [[0; Statistics::gram_words(DIM, CLASSES)]; 2];
    let mut labels = [const { [const { Label::new() }; CLASSES] }; 2];
    let [first_words, other_words] = &mut words;
    let [first_labels, other_labels] = &mut labels;
    let size = Statistics::words(DIM, CLASSES);
    let mut first = Statistics::new(DIM, [7; 32], &mut first_words[..size], first_labels)?;
    let mut other = Statistics::new(DIM, [7; 32], &mut other_words[..size], other_labels)?;
    tier(
        out,
        &mut count,
        "means",
        [&mut first, &mut other],
        &examples,
    )?;
    let mut first = Statistics::with_gram(DIM, [7; 32], first_words, first_labels)?;
    let mut other = Statistics::with_gram(DIM, [7; 32], other_words, other_labels)?;
    tier(out, &mut count, "gram", [&mut first, &mut other], &examples)?;

    heads(out, &mut count, &world, &first, &examples)
}

/// The mean of `times` calls.
fn mean(
    count: &mut impl FnMut() -> u32,
    times: usize,
    mut work: impl FnMut(usize) -> Result<(), Fault>,
) -> Result<u32, Fault> {
    let start = count();
    for i in 0..times {
        work(i)?;
    }
    Ok(count().wrapping_sub(start) / times as u32)
}

fn normalise(
    out: &mut impl Write,
    count: &mut impl FnMut() -> u32,
    world: &World,
) -> Result<(), Fault> {
    let raw: [[i32; DIM]; CLASSES] = core::array::from_fn(|i| world.raw(i as u32, 0));
    let (mut values, centre) = ([0; DIM], [0; DIM]);
    let cost = mean(count, raw.len(), |i| {
        let (raw, centre, out) = black_box((&raw[i][..], &centre[..], &mut values[..]));
        black_box(Embedding::normalise(raw.iter().copied(), centre, out)?);
        Ok(())
    })?;
    writeln!(out, "normalise            {cost}")?;
    Ok(())
}

/// Learns all examples in the first of the statistics.
fn tier(
    out: &mut impl Write,
    count: &mut impl FnMut() -> u32,
    name: &str,
    [statistics, other]: [&mut Statistics<'_>; 2],
    examples: &Examples<'_>,
) -> Result<(), Fault> {
    // The first of each class makes the class.
    let (new, more) = examples.split_at(CLASSES);
    let classes = mean(count, new.len(), |i| {
        let (name, _, e) = new[i];
        statistics.learn(name, e)?;
        Ok(())
    })?;
    let learn = mean(count, more.len(), |i| {
        let (name, _, e) = more[i];
        statistics.learn(name, e)?;
        Ok(())
    })?;
    let forget = mean(count, more.len(), |i| {
        let (name, _, e) = more[i];
        statistics.forget(name, e)?;
        Ok(())
    })?;
    for &(name, _, e) in more {
        other.learn(name, e)?;
    }
    let merge = mean(count, 1, |_| Ok(statistics.merge(other)?))?;
    writeln!(out, "learn-{name:<14} {learn}")?;
    writeln!(out, "learn-new-{name:<10} {classes}")?;
    writeln!(out, "forget-{name:<13} {forget}")?;
    writeln!(out, "merge-{name:<14} {merge}")?;
    writeln!(out, "bytes-{name:<14} {}", statistics.state_bytes())?;
    Ok(())
}

fn heads(
    out: &mut impl Write,
    count: &mut impl FnMut() -> u32,
    world: &World,
    statistics: &Statistics<'_>,
    examples: &Examples<'_>,
) -> Result<(), Fault> {
    let mut bytes = [0; Samples::bytes(DIM, KEPT)];
    let mut samples = Samples::new(DIM, &mut bytes);
    for &(_, class, e) in examples {
        samples.insert(class, e)?;
    }
    let evidence = Evidence {
        statistics,
        samples: Some(&samples),
    };
    let measured = Measured::new(world)?;
    let mut words = [0.0; WORDS];
    let mut ridge = RidgeHead::new(&mut words).with_penalty(1000.0);
    let cost = mean(count, 1, |_| Ok(ridge.fit(evidence)?))?;
    writeln!(out, "fit-ridge-1          {cost}")?;
    let mut measure = Measure {
        world,
        evidence,
        count,
        out,
    };
    let background = measured.background()?;
    line_up::each(background, &mut words, None, &mut measure)
}

struct Measure<'a, C, W> {
    world: &'a World,
    evidence: Evidence<'a>,
    count: &'a mut C,
    out: &'a mut W,
}

impl<C: FnMut() -> u32, W: Write> Task for Measure<'_, C, W> {
    fn run<H: Head>(&mut self, name: &str, words: usize, mut head: H) -> Result<(), Fault> {
        let fit = mean(self.count, 1, |_| Ok(head.fit(self.evidence)?))?;
        let mut queries = [[0; DIM]; 2 * CLASSES];
        for (class, values) in (0..).zip(&mut queries) {
            self.world.embed(class / 2, 7 + class, values)?;
        }
        let predict = mean(self.count, queries.len(), |i| {
            black_box(head.predict(self.evidence, Embedding::new(&queries[i])?));
            Ok(())
        })?;
        writeln!(self.out, "fit-{name:<16} {fit}")?;
        writeln!(self.out, "predict-{name:<12} {predict}")?;
        writeln!(self.out, "bytes-{name:<14} {}", 4 * words)?;
        Ok(())
    }
}
