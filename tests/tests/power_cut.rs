//! The sample log loses nothing that it acknowledged, and nothing that it forgot comes back, wherever
//! the power goes.

#![allow(clippy::redundant_closure)] // a function would have one lifetime, not all

use std::collections::BTreeMap;

use embedded_storage::nor_flash::{NorFlash, NorFlashErrorKind, ReadNorFlash};
use headstart::frontend::Signal;
use headstart::store::{LogClass, RamFlash, StoreError};
use headstart::{Embedding, Label, SampleId, SampleLog, Statistics};
use headstart_tests::bad_flash::{BadFlash, Random};

const D: usize = 16;
const CLASSES: usize = 4;
const PAGE: usize = 512;
/// Two slots and a half.
const INPUT: usize = 14;
type Flash = BadFlash<PAGE>;
/// What the log should hold by number: label, values, and the input where it was kept.
type Samples = BTreeMap<u32, (String, [i8; D], Option<[i16; INPUT]>)>;

/// Statistics of no examples, for D and encoder file.
fn with_statistics<R>(run: impl FnOnce(&mut Statistics<'_>) -> R) -> R {
    let mut words = [0; Statistics::gram_words(D, CLASSES)];
    let mut labels = [const { Label::new() }; CLASSES];
    let statistics = Statistics::with_gram(D, [3; 32], &mut words, &mut labels);
    run(&mut statistics.expect("the buffers are long enough"))
}

/// Opens the log on `flash`, does something, and gives the flash back.
fn with_log<R>(
    flash: &mut Flash,
    run: impl FnOnce(&mut SampleLog<'_, &mut Flash>) -> R,
) -> Result<R, StoreError> {
    with_statistics(|statistics| {
        let mut classes = [LogClass::NONE; CLASSES];
        let mut buffer = [0; SampleLog::<&mut Flash>::buffer_bytes(D)];
        let (range, rewritable) = (0..flash.capacity() as u32, flash.rewritable);
        let mut log = match rewritable {
            true => SampleLog::open_rewritable(flash, range, statistics, &mut classes, &mut buffer),
            false => SampleLog::open(flash, range, statistics, &mut classes, &mut buffer),
        }?;
        Ok(run(&mut log))
    })
}

fn held<F: NorFlash>(log: &mut SampleLog<'_, F>) -> Samples {
    let mut all = Samples::new();
    log.for_each(|id, label, e| {
        let values = e.values().try_into().expect("D values");
        let before = all.insert(id.0, (label.to_owned(), values, None));
        assert_eq!(before, None, "sample {} is there twice", id.0);
    })
    .expect("the power is on");
    for (id, (_, _, input)) in &mut all {
        let mut words = [0; 2 + INPUT / 2];
        *input = match log.read_input(SampleId(*id), &mut words) {
            Ok(Signal::Samples(samples)) => Some(samples.try_into().expect("as many as given")),
            Err(StoreError::NoInput) => None,
            other => panic!("{other:?}"),
        };
    }
    all
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Learn(usize, [i8; D]),
    LearnWithInput(usize, [i8; D]),
    Forget(u32),
    Snapshot,
}

fn label(class: usize) -> &'static str {
    ["row", "curl", "press", "fly"][class]
}

impl Change {
    /// Does it to the log, and where it was acknowledged to `expected`.
    fn run<F: NorFlash>(
        self,
        log: &mut SampleLog<'_, F>,
        expected: &mut Samples,
    ) -> Result<(), StoreError> {
        match self {
            Change::Learn(class, values) => {
                let e = Embedding::new(&values).expect("not zero");
                let SampleId(id) = log.learn(label(class), e)?;
                expected.insert(id, (label(class).to_owned(), values, None));
            }
            Change::LearnWithInput(class, values) => {
                let e = Embedding::new(&values).expect("not zero");
                let input = input(&values);
                let SampleId(id) = log.learn_with_input(label(class), e, (&input).into())?;
                expected.insert(id, (label(class).to_owned(), values, Some(input)));
            }
            Change::Forget(id) => {
                log.forget(SampleId(id))?;
                expected.remove(&id);
            }
            Change::Snapshot => with_statistics(|statistics| {
                log.restore(statistics)?;
                log.snapshot(statistics)
            })?,
        }
        Ok(())
    }
}

/// What a change was done to, and what came of it.
struct Step {
    change: Change,
    image: Flash,
    before: Samples,
    after: Samples,
    /// Bytes programmed and erased.
    steps: u64,
}

fn values(random: &mut Random) -> [i8; D] {
    std::array::from_fn(|_| (random.below(255) as i64 - 127) as i8 | 1)
}

/// What a sample was made from: no byte of it is in the sample.
fn input(values: &[i8; D]) -> [i16; INPUT] {
    std::array::from_fn(|i| i16::from(values[i]).wrapping_mul(259).wrapping_add(0x1234))
}

/// Whether any of the slots of an input is in flash: the first has 6 bytes of it and the others 14.
fn holds(flash: &Flash, input: &Option<[i16; INPUT]>) -> bool {
    let input: &[u8] = input.as_ref().map_or(&[], |i| bytemuck::cast_slice(i));
    let shares = [0..6, 6..20, 20..28].map(|share| input.get(share));
    let there = |share: &[u8]| flash.bytes.windows(share.len()).any(|w| w == share);
    shares.into_iter().flatten().any(there)
}

/// `learns` learns and a tenth as many forgets in between, with a snapshot here and there; every
/// `inputs`th keeps its input.
fn run(flash: &mut Flash, learns: usize, snapshots: &[usize], inputs: usize) -> Vec<Step> {
    let mut random = Random(1);
    let (mut steps, mut expected) = (Vec::new(), Samples::new());
    for n in 0..learns {
        let (class, values) = (n % CLASSES, values(&mut random));
        let mut changes = vec![match (n + 1).is_multiple_of(inputs) {
            true => Change::LearnWithInput(class, values),
            false => Change::Learn(class, values),
        }];
        if n % 10 == 9 {
            let victim = random.below(expected.len() as u64) as usize;
            let id = *expected.keys().nth(victim).expect("below its length");
            changes.push(Change::Forget(id));
        }
        if snapshots.contains(&n) {
            changes.push(Change::Snapshot);
        }
        for change in changes {
            let (image, before, from) = (flash.clone(), expected.clone(), flash.steps);
            with_log(flash, |log| {
                change
                    .run(log, &mut expected)
                    .expect("nothing is in its way");
                assert_eq!(held(log), expected);
            })
            .expect("it opens");
            steps.push(Step {
                change,
                image,
                before,
                after: expected.clone(),
                steps: flash.steps - from,
            });
            if let Change::Forget(id) = change {
                let (_, gone, input) = &steps.last().expect("one was pushed").before[&id];
                let gone: &[u8] = bytemuck::cast_slice(gone);
                let still = flash.bytes.windows(D).any(|w| w == gone);
                assert!(!still, "sample {id} was forgotten and is in flash still");
                assert!(!holds(flash, input), "the input of {id} is in flash still");
            }
        }
    }
    steps
}

/// Cuts the power at every byte of the changes, and at every `nested`th of these places at every byte
/// of the recovery too.
fn cut_everywhere(steps: &[Step], nested: u64) -> [u64; 2] {
    let mut cuts = [0; 2];
    for step in steps {
        for cut in 0..step.steps {
            let mut flash = step.image.clone();
            let after = cut_once(&mut flash, step, cut);
            check(&mut flash.clone(), step, after);
            cuts[0] += 1;
            if !cut.is_multiple_of(nested) {
                continue;
            }
            for second in 0.. {
                let mut again = flash.clone();
                again.cut_after(second);
                let opened = with_log(&mut again, |_| ());
                again.power_on();
                check(&mut again, step, after);
                if opened.is_ok() {
                    break;
                }
                cuts[1] += 1;
            }
        }
    }
    cuts
}

/// Does the change with a cut after `cut` bytes; says whether it was acknowledged.
fn cut_once(flash: &mut Flash, step: &Step, cut: u64) -> bool {
    // Opening is done with the power on: it writes nothing here, or the same each time.
    flash.cut_after(cut);
    let mut expected = step.before.clone();
    let done = with_log(flash, |log| step.change.run(log, &mut expected).is_ok());
    flash.power_on();
    done.unwrap_or(false)
}

fn check(flash: &mut Flash, step: &Step, acknowledged: bool) {
    let found = with_log(flash, |log| {
        let found = held(log);
        with_statistics(|restored| {
            log.restore(restored).expect("the power is on");
            with_statistics(|direct| {
                for (label, values, _) in found.values() {
                    let e = Embedding::new(values).expect("not zero");
                    direct.learn(label, e).expect("there is room");
                }
                same_bits(restored, direct);
            });
        });
        found
    });
    let found = found.unwrap_or_else(|e| panic!("{:?}: {e}", step.change));
    for (id, (_, _, input)) in &step.before {
        let gone = !found.contains_key(id);
        assert!(
            !gone || !holds(flash, input),
            "the input of {id} outlives it"
        );
    }
    // A forgetting that was cut off may have taken the input alone.
    let mut half = step.before.clone();
    if let Change::Forget(id) = step.change
        && let Some((_, _, input)) = half.get_mut(&id)
    {
        *input = None;
    }
    let allowed = found == step.after || !acknowledged && (found == step.before || found == half);
    let ids = |samples: &Samples| samples.keys().copied().collect::<Vec<_>>();
    assert!(
        allowed,
        "{:?}, acknowledged {acknowledged}: {:?} became {:?}",
        step.change,
        ids(&step.before),
        ids(&found)
    );
}

fn same_bits(a: &Statistics<'_>, b: &Statistics<'_>) {
    assert_eq!(a.gram(), b.gram());
    let all = |s: &Statistics<'_>| {
        let one = |c: headstart::statistics::Class<'_>| (c.label.clone(), c.count, c.sums.to_vec());
        s.iter().map(one).collect::<Vec<_>>()
    };
    assert_eq!(all(a), all(b));
}

/// The steps are shared out between two threads.
fn cut_in_parallel(steps: &[Step], nested: u64) -> [u64; 2] {
    let (first, second) = steps.split_at(steps.len() / 2);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| cut_everywhere(second, nested));
        let [cuts, deeper] = cut_everywhere(first, nested);
        let other = other.join().expect("no assertion failed");
        [cuts + other[0], deeper + other[1]]
    })
}

fn every_byte(rewritable: bool, torn: bool, learns: usize, nested: u64) {
    // So few pages that some must be collected, beside what opening and forgetting collect.
    let mut flash = Flash::new(
        learns / 16 + 2 + 3 * usize::from(!rewritable),
        rewritable,
        torn,
    );
    let steps = run(&mut flash, learns, &[], usize::MAX);
    let collections: u32 = flash.erases.iter().sum();
    assert!(collections >= 3, "{collections} pages were erased");
    let [cuts, deeper] = cut_in_parallel(&steps, nested);
    println!("{cuts} cuts, {deeper} in the recovery after one; {collections} pages erased");
}

#[test]
fn a_cut_at_every_byte_of_rewritable_flash() {
    every_byte(true, false, 500, 211);
}

#[test]
fn a_torn_write_at_every_byte_of_rewritable_flash() {
    every_byte(true, true, 500, 211);
}

#[test]
fn a_cut_at_every_byte_of_flash_that_is_written_once() {
    every_byte(false, false, 100, 9973);
}

#[test]
fn a_torn_write_at_every_byte_of_flash_that_is_written_once() {
    every_byte(false, true, 100, 9973);
}

/// Opening copies a page of such flash after every change, which makes 1.5 million places of it: some minutes.
#[test]
#[ignore = "some minutes: cargo test --release -p headstart-tests --test power_cut -- --ignored"]
fn a_long_life_of_flash_that_is_written_once() {
    every_byte(false, false, 500, 99_991);
    every_byte(false, true, 500, 99_991);
}

#[test]
fn a_cut_at_every_byte_of_snapshots() {
    for (rewritable, torn) in [(true, false), (true, true), (false, false), (false, true)] {
        let mut flash = Flash::new(24, rewritable, torn);
        let steps = run(&mut flash, 60, &[20, 40], usize::MAX);
        let [cuts, deeper] = cut_in_parallel(&steps, if rewritable { 211 } else { 9973 });
        println!("rewritable {rewritable}, torn {torn}: {cuts} cuts, {deeper} in recovery");
    }
}

#[test]
fn a_cut_at_every_byte_of_samples_with_inputs() {
    for (rewritable, torn) in [(true, false), (true, true), (false, false), (false, true)] {
        let mut flash = Flash::new(20, rewritable, torn);
        let steps = run(&mut flash, if rewritable { 60 } else { 30 }, &[20], 2);
        let [cuts, deeper] = cut_in_parallel(&steps, if rewritable { 211 } else { 9973 });
        println!("rewritable {rewritable}, torn {torn}: {cuts} cuts, {deeper} in recovery");
    }
}

/// Every byte of the recovery after every cut, of a short life that has all kinds of change in it.
#[test]
#[ignore = "some minutes: cargo test --release -p headstart-tests --test power_cut -- --ignored"]
fn a_cut_at_every_byte_of_every_recovery() {
    for torn in [false, true] {
        let mut flash = Flash::new(4, true, torn);
        let steps = run(&mut flash, 41, &[], 32);
        let collections: u32 = flash.erases.iter().sum();
        assert!(collections >= 3, "{collections} pages were erased");
        let [cuts, deeper] = cut_in_parallel(&steps, 1);
        println!("torn {torn}: {cuts} cuts, {deeper} in recovery");
    }
}

/// What an input leaves behind where its sample did not come about goes at the next opening.
#[test]
fn an_input_without_its_sample_goes() {
    for rewritable in [true, false] {
        let mut flash = Flash::new(8, rewritable, false);
        let change = Change::LearnWithInput(1, [77; D]);
        let image = flash.clone();
        with_log(&mut flash, |log| change.run(log, &mut Samples::new()))
            .expect("it opens")
            .expect("room");
        let steps = flash.steps;
        let wanted: [u8; 6] = bytemuck::cast_slice(&input(&[77; D]))[..6]
            .try_into()
            .expect("6 bytes");
        let holds = |flash: &Flash| flash.bytes.windows(6).any(|w| w == wanted);
        assert!(holds(&flash));
        let mut orphans = 0;
        for cut in 0..steps {
            let mut flash = image.clone();
            flash.cut_after(cut);
            let _ = with_log(&mut flash, |log| change.run(log, &mut Samples::new()));
            flash.power_on();
            let before = holds(&flash);
            let there = with_log(&mut flash, |log| !held(log).is_empty()).expect("it opens");
            orphans += u32::from(before && !there);
            assert_eq!(holds(&flash), there, "after {cut} bytes");
        }
        assert!(orphans > 10, "{orphans}");
    }
}

#[test]
fn the_counter_never_goes_back() {
    for (rewritable, torn) in [(true, false), (true, true), (false, false), (false, true)] {
        let mut flash = Flash::new(6, rewritable, torn);
        let counter = |flash: &mut Flash| with_log(flash, |log| log.counter()).expect("it opens");
        with_log(&mut flash, |log| log.raise_counter(5))
            .expect("it opens")
            .expect("there is room");
        with_log(&mut flash, |log| log.raise_counter(3))
            .expect("it opens")
            .expect("nothing to do");
        assert_eq!(counter(&mut flash), 5);
        // Page after page is opened and collected.
        let mut kept = Samples::new();
        for n in 0..150 {
            let values = [n as i8 | 1; D];
            let learnt = with_log(&mut flash, |log| {
                Change::Learn(0, values).run(log, &mut kept)
            });
            learnt.expect("it opens").expect("there is room");
            let oldest = *kept.keys().next().expect("one was learnt");
            let forgotten = with_log(&mut flash, |log| Change::Forget(oldest).run(log, &mut kept));
            forgotten.expect("it opens").expect("it is there");
        }
        assert!(flash.erases.iter().sum::<u32>() > 6);
        assert_eq!(counter(&mut flash), 5);
        let (image, from) = (flash.clone(), flash.steps);
        with_log(&mut flash, |log| log.raise_counter(6))
            .expect("it opens")
            .expect("there is room");
        for cut in 0..flash.steps - from {
            let mut flash = image.clone();
            flash.cut_after(cut);
            let done = with_log(&mut flash, |log| log.raise_counter(6).is_ok()).unwrap_or(false);
            flash.power_on();
            let found = counter(&mut flash);
            assert!(
                found == 6 || found == 5 && !done,
                "{found} after {cut} bytes"
            );
            assert_eq!(counter(&mut flash), found);
        }
    }
}

/// A log of version 1, as the crate wrote it then, goes on as one of this version.
#[test]
fn a_log_of_version_1_is_taken_over_page_by_page() {
    let old = include_bytes!("../golden/log-version-1.bin");
    let mut expected = Samples::new();
    for step in run(&mut Flash::new(8, true, false), 30, &[20], usize::MAX) {
        expected = step.after;
    }
    let mut flash = Flash::new(8, true, false);
    flash.bytes.copy_from_slice(old);
    let found = with_log(&mut flash, |log| held(log)).expect("it opens");
    assert_eq!(found, expected);
    let versions = |flash: &Flash| -> Vec<u8> {
        let pages = flash
            .bytes
            .chunks(PAGE)
            .filter(|page| page.starts_with(b"HSLOG"));
        pages.map(|page| page[8]).collect()
    };
    assert!(versions(&flash).contains(&1));
    let mut random = Random(5);
    for n in 0.. {
        if !versions(&flash).contains(&1) {
            break;
        }
        assert!(n < 500, "pages of version 1 stay");
        let learn = Change::Learn(n % CLASSES, values(&mut random));
        let learnt = with_log(&mut flash, |log| learn.run(log, &mut expected)).expect("it opens");
        if learnt == Err(StoreError::Full) {
            let oldest = Change::Forget(*expected.keys().next().expect("one was learnt"));
            let gone = with_log(&mut flash, |log| oldest.run(log, &mut expected));
            gone.expect("it opens").expect("it is there");
        }
    }
    assert_eq!(
        with_log(&mut flash, |log| held(log)).expect("it opens"),
        expected
    );
}

/// Work goes on where a cut ended it, and what was forgotten stays gone through collections.
#[test]
fn a_life_with_many_cuts() {
    for (rewritable, torn) in [(true, false), (true, true), (false, false), (false, true)] {
        let mut flash = Flash::new(8, rewritable, torn);
        let (mut random, mut expected) = (Random(5), Samples::new());
        for _ in 0..3000 {
            let before = expected.clone();
            let change = if expected.len() > 70 || random.below(4) == 0 && !expected.is_empty() {
                let victim = random.below(expected.len() as u64) as usize;
                Change::Forget(*expected.keys().nth(victim).expect("below its length"))
            } else {
                Change::Learn(random.below(4) as usize, values(&mut random))
            };
            if random.below(3) == 0 {
                flash.cut_after(random.below(1500));
            }
            let _ = with_log(&mut flash, |log| change.run(log, &mut expected));
            flash.power_on();
            let found = with_log(&mut flash, |log| held(log)).expect("it opens");
            if found != expected {
                // At most the one in flight, there or not.
                assert_eq!(before, expected, "what was acknowledged is there");
                match change {
                    Change::Learn(_, values) => {
                        let new: Vec<_> = found
                            .iter()
                            .filter(|(id, _)| !before.contains_key(id))
                            .collect();
                        assert_eq!((new.len(), new[0].1.1), (1, values));
                        assert_eq!(found.len(), before.len() + 1);
                    }
                    _ => assert_eq!(found.len() + 1, before.len()),
                }
                expected = found;
            }
        }
        let [least, most] =
            [flash.erases.iter().min(), flash.erases.iter().max()].map(Option::unwrap);
        println!("rewritable {rewritable}, torn {torn}: pages erased {least} to {most} times");
    }
}

#[test]
fn pages_wear_alike() {
    let mut flash = Flash::new(8, true, false);
    let mut random = Random(9);
    with_log(&mut flash, |log| {
        let mut ids = std::collections::VecDeque::new();
        for n in 0..20_000 {
            let values = values(&mut random);
            let e = Embedding::new(&values).expect("not zero");
            ids.push_back(log.learn(label(n % CLASSES), e).expect("there is room"));
            if ids.len() > 60 {
                // Half of what is forgotten is old, half is not.
                let at = if n % 2 == 0 { 0 } else { 40 };
                log.forget(ids.remove(at).expect("there are 60"))
                    .expect("it is there");
            }
        }
    })
    .expect("it opens");
    let [least, most] = [flash.erases.iter().min(), flash.erases.iter().max()].map(Option::unwrap);
    assert!(most - least <= most / 10, "{:?}", flash.erases);
}

#[test]
fn a_full_log_says_so_and_takes_a_sample_for_each_forgotten() {
    for rewritable in [true, false] {
        let mut flash = Flash::new(4, rewritable, false);
        let mut random = Random(2);
        with_log(&mut flash, |log| {
            let mut ids = Vec::new();
            let full = loop {
                let values = values(&mut random);
                match log.learn("row", Embedding::new(&values).expect("not zero")) {
                    Ok(id) => ids.push(id),
                    Err(error) => break error,
                }
            };
            assert_eq!(full, StoreError::Full);
            assert!(
                log.len() >= log.capacity(),
                "{} of {}",
                log.len(),
                log.capacity()
            );
            for id in ids.iter().take(10) {
                log.forget(*id).expect("it is there");
                log.forget(*id).expect_err("it was");
            }
            for _ in 0..8 {
                let values = values(&mut random);
                log.learn("row", Embedding::new(&values).expect("not zero"))
                    .expect("ten places are free");
            }
        })
        .expect("it opens");
    }
}

/// One page that does not erase costs its room; more may end learning, but take nothing.
#[test]
fn pages_that_do_not_erase_take_nothing_with_them() {
    for (rewritable, worn) in [(true, vec![2]), (false, vec![2]), (true, vec![2, 5, 6])] {
        let mut flash = Flash::new(8, rewritable, false);
        flash.worn = worn.clone();
        let (mut random, mut expected) = (Random(3), Samples::new());
        for n in 0..400 {
            let change = match expected.len() {
                0..40 => Change::Learn(n % CLASSES, values(&mut random)),
                many => Change::Forget(*expected.keys().nth(n % many).expect("below its length")),
            };
            let done = with_log(&mut flash, |log| change.run(log, &mut expected));
            match done.expect("it opens") {
                Err(error) if worn.len() > 1 => assert_eq!(error, StoreError::Worn),
                done => done.expect("seven pages are enough"),
            }
            let found = with_log(&mut flash, |log| held(log)).expect("it opens");
            assert!(found == expected, "worn {worn:?}, change {n}: {change:?}");
        }
    }
}

/// Whatever is in flash: an error or a log, no panic, and an end.
#[test]
fn any_bytes_are_an_error_or_a_log() {
    let mut flash = Flash::new(12, true, false);
    run(&mut flash, 40, &[20], usize::MAX);
    let (real, mut random) = (flash.bytes.clone(), Random(4));
    let mut opened = 0;
    for n in 0..100_000u64 {
        let mut bytes: Vec<u8> = match n % 2 {
            0 => (0..real.len().div_ceil(8))
                .flat_map(|_| random.bits().to_le_bytes())
                .collect(),
            _ => {
                let mut bytes = real.clone();
                for _ in 0..=random.below(20) {
                    let at = random.below(bytes.len() as u64) as usize;
                    bytes[at] = random.bits() as u8;
                }
                bytes
            }
        };
        bytes.truncate(real.len());
        with_statistics(|statistics| {
            let mut classes = [LogClass::NONE; CLASSES];
            let mut buffer = [0; SampleLog::<RamFlash>::buffer_bytes(D)];
            let mut image = flash.clone();
            image.bytes = bytes;
            let mut counted = Counted {
                flash: image,
                reads: 0,
            };
            let range = 0..counted.capacity() as u32;
            let log = SampleLog::open(&mut counted, range, statistics, &mut classes, &mut buffer);
            if let Ok(mut log) = log {
                opened += 1;
                let _ = log.restore(statistics);
                let _ = log.learn("new", Embedding::new(&[1; D]).expect("not zero"));
                let _ = log.forget(SampleId(7));
            } else {
                assert!(n % 2 == 1 || matches!(log.err(), Some(StoreError::NotALog)));
            }
            assert!(counted.reads < 100_000, "{} reads", counted.reads);
        });
    }
    assert!(opened > 40_000, "{opened} of the images with damage opened");
}

struct Counted {
    flash: Flash,
    reads: u32,
}

impl embedded_storage::nor_flash::ErrorType for Counted {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Counted {
    const READ_SIZE: usize = 1;
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        self.reads += 1;
        self.flash.read(offset, bytes)
    }
    fn capacity(&self) -> usize {
        self.flash.capacity()
    }
}

impl NorFlash for Counted {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = PAGE;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        self.flash.erase(from, to)
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        self.flash.write(offset, bytes)
    }
}

#[test]
fn another_encoder_is_told_apart_and_nothing_is_touched() {
    let mut flash = Flash::new(4, true, false);
    run(&mut flash, 5, &[], usize::MAX);
    let before = flash.bytes.clone();
    let mut words = [0; Statistics::words(D, CLASSES)];
    let mut labels = [const { Label::new() }; CLASSES];
    let other = Statistics::new(D, [4; 32], &mut words, &mut labels).expect("long enough");
    let mut classes = [LogClass::NONE; CLASSES];
    let mut buffer = [0; SampleLog::<&mut Flash>::buffer_bytes(D)];
    let range = 0..flash.capacity() as u32;
    let refused = SampleLog::open(&mut flash, range, &other, &mut classes, &mut buffer).err();
    assert_eq!(refused, Some(StoreError::OtherArtefact));
    assert_eq!(flash.bytes, before);
}

#[test]
fn samples_cost_what_is_said() {
    assert_eq!(SampleLog::<RamFlash>::sample_bytes(64), 76, "D + 12");
    assert_eq!(
        SampleLog::<RamFlash>::sample_bytes(62),
        76,
        "rounded up to words of 4"
    );
}
