//! What the heads say, as hashes.

use core::fmt::Write;

use headstart::Head;
use headstart::digest::Digest;
use headstart::head::Evidence;

use crate::lesson::{self, Memory};
use crate::line_up::{self, Task, WORDS};
use crate::world::{Measured, World};
use crate::{CLASSES, DIM, Fault, SHOTS};

/// Gradient steps: enough for every sum to have rounded often.
const STEPS: usize = 10;

/// Asked of each class that was taught, and of as many strangers.
const QUERIES: u32 = 4;
const STRANGERS: core::ops::Range<u32> = 50..58;

/// Whether this code was built for a machine that can multiply and add in one rounding.
const FMA: bool = cfg!(any(
    target_feature = "fma",
    target_arch = "aarch64",
    target_abi = "eabihf"
));

/// Teaches, fits every head, asks each the same, and prints a line for each: digest, how many of
/// the queries it named right, how many of the strangers it found out. The last line's digest is
/// over everything.
pub fn digests(out: &mut impl Write) -> Result<(), Fault> {
    let world = World::new();
    let measured = Measured::new(&world)?;
    let mut memory = Memory::new();
    let (mut statistics, mut samples) = memory.statistics()?;
    lesson::learn(&world, &mut statistics, &mut samples)?;

    let fma = if FMA { "yes" } else { "no" };
    let (differ, all) = fused(&world, &measured)?;
    writeln!(out, "fma          {fma}")?;
    writeln!(out, "fused        {differ} of {all} sums would differ")?;
    let taught = Digest::new(&statistics).hex();
    writeln!(out, "taught       {taught}")?;
    let mut asked = Asked {
        world: &world,
        evidence: Evidence {
            statistics: &statistics,
            samples: Some(&samples),
        },
        everything: Digest::new(&statistics),
        out,
    };
    let mut words = [0.0; WORDS];
    let background = measured.background()?;
    line_up::each(background, &mut words, Some(STEPS), &mut asked)?;
    let everything = asked.everything.hex();
    writeln!(out, "everything   {everything}")?;
    Ok(())
}

/// How many of the queries' projections would have other bits if products were not rounded before
/// they are added: what the digests would show, did a compiler do that.
fn fused(world: &World, measured: &Measured) -> Result<(u32, u32), Fault> {
    let (mut differ, mut all) = (0, 0);
    let projection = measured.background()?.projection;
    for (class, number) in queries() {
        let mut values = [0; DIM];
        let e = world.embed(class, number, &mut values)?;
        for row in projection.chunks_exact(DIM) {
            let (mut twice, mut once) = (0.0, 0.0);
            for (&weight, &value) in row.iter().zip(e.values()) {
                twice += weight * f32::from(value);
                once = libm::fmaf(weight, f32::from(value), once);
            }
            all += 1;
            differ += u32::from(twice.to_bits() != once.to_bits());
        }
    }
    Ok((differ, all))
}

/// Class and number of all that is asked.
pub fn queries() -> impl Iterator<Item = (u32, u32)> {
    let classes = (0..CLASSES as u32).chain(STRANGERS);
    let number = SHOTS as u32 + 1;
    classes.flat_map(move |class| (number..number + QUERIES).map(move |n| (class, n)))
}

struct Asked<'a, W> {
    world: &'a World,
    evidence: Evidence<'a>,
    everything: Digest,
    out: &'a mut W,
}

impl<W: Write> Task for Asked<'_, W> {
    fn run<H: Head>(&mut self, name: &str, _: usize, mut head: H) -> Result<(), Fault> {
        head.fit(self.evidence)?;
        let mut digest = Digest::new(self.evidence.statistics);
        let (mut right, mut unknown) = (0, 0);
        for (class, number) in queries() {
            let mut values = [0; DIM];
            let e = self.world.embed(class, number, &mut values)?;
            let said = head.predict(self.evidence, e).ok_or(Fault::NothingLearnt)?;
            digest.query(&said);
            self.everything.query(&said);
            right += u32::from(said.class as u32 == class);
            unknown += u32::from(class >= CLASSES as u32 && !said.is_known());
        }
        let (digest, all) = (digest.hex(), QUERIES * CLASSES as u32);
        writeln!(
            self.out,
            "{name:<12} {digest} {right} of {all} right, {unknown} of {all} strangers unknown"
        )?;
        Ok(())
    }
}
