//! What is taught: five examples of each of eight classes, with the mistakes that people make.

use headstart::{Label, Samples, Statistics};

use crate::world::World;
use crate::{CLASSES, DIM, Fault, SHOTS};

/// In the order of names, as classes are numbered.
pub const NAMES: [&str; CLASSES] = [
    "bend", "climb", "drop", "jump", "lift", "nod", "row", "turn",
];

/// One more than is kept: the last example of each class is forgotten again.
pub const KEPT: usize = CLASSES * (SHOTS + 1);

/// The example that is taught under a wrong name first: class, number, and that name's class.
const MISTAKEN: (usize, u32, usize) = (2, 3, 6);

/// Memory for what is learnt.
pub struct Memory {
    pub words: [i32; Statistics::gram_words(DIM, CLASSES)],
    pub labels: [Label; CLASSES],
    pub samples: [i8; Samples::bytes(DIM, KEPT)],
}

impl Memory {
    pub const fn new() -> Self {
        Memory {
            words: [0; Statistics::gram_words(DIM, CLASSES)],
            labels: [const { Label::new() }; CLASSES],
            samples: [0; Samples::bytes(DIM, KEPT)],
        }
    }

    pub fn statistics(&mut self) -> Result<(Statistics<'_>, Samples<'_>), Fault> {
        Ok((
            Statistics::with_gram(DIM, [7; 32], &mut self.words, &mut self.labels)?,
            Samples::new(DIM, &mut self.samples),
        ))
    }
}

/// Class and number of all that is taught, in no tidy order.
pub fn examples(shots: usize) -> impl Iterator<Item = (usize, u32)> {
    let classes = |number| (0..CLASSES).map(move |i| ((5 * i + 3) % CLASSES, number));
    (0..shots as u32).flat_map(classes)
}

/// Learns six examples of each class, one of them under a wrong name; forgets the sixth, puts the
/// name right.
pub fn learn(
    world: &World,
    statistics: &mut Statistics<'_>,
    samples: &mut Samples<'_>,
) -> Result<(), Fault> {
    let mut values = [0; DIM];
    let (class, number, wrong) = MISTAKEN;
    let taught = |example: (usize, u32)| match example == (class, number) {
        true => wrong,
        false => example.0,
    };
    for (class, number) in examples(SHOTS + 1) {
        let e = world.embed(class as u32, number, &mut values)?;
        statistics.learn(NAMES[taught((class, number))], e)?;
    }
    // Every class has its number now.
    for (class, number) in examples(SHOTS + 1) {
        let e = world.embed(class as u32, number, &mut values)?;
        samples.insert(taught((class, number)), e)?;
    }
    for class in 0..CLASSES {
        let e = world.embed(class as u32, SHOTS as u32, &mut values)?;
        statistics.forget(NAMES[class], e)?;
        samples.remove(class, e)?;
    }
    let e = world.embed(class as u32, number, &mut values)?;
    statistics.relabel(NAMES[wrong], NAMES[class], e)?;
    samples.remove(wrong, e)?;
    samples.insert(class, e)?;
    Ok(())
}
