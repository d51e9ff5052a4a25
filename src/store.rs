//! The sample log: what a device learnt, in flash, so that a power cut takes nothing of it.
//!
//! ```text
//! flash  | page | page | page | page |          a page is what the flash erases at once; one or two stay blank
//!
//! page   | header 64 B | slot | slot | slot | ... |
//! header | "HSLOG\r\n\0" | version u16 | D u16 | sequence u32 | from u32 | artefact 32 B | 0 8 B | CRC-32 |
//! slot   | kind u8 | 0 u8 | class u16 | number u32 | payload: D values, or a name, or a part | CRC-32 |
//! ```
//!
//! Everything is rounded up to what the flash can write. All slots of a log have one size, so that
//! damage stays where it is: a slot is blank, wiped, whole or damaged, whatever its neighbours are.
//! Every write is read back.
//!
//! **Learning** appends a slot: D + 12 bytes. What [`SampleLog::learn`] has acknowledged is there after
//! any power cut; the one in flight is there or not. As a slot that was cut off may read whole one time
//! and damaged the next, opening writes the last slot once more or, where words can't be written again,
//! copies its page: what opening found stays.
//!
//! **Forgetting** erases. Where words can be written again ([`SampleLog::open_rewritable`], most NOR
//! flash) the slot is overwritten with zeros, after a slot that says so and is wiped in the end: opening
//! finishes what a cut interrupted. Elsewhere ([`SampleLog::open`], flash with error
//! correction) the slot's page is copied without it and erased: up to a page of writes and one erase.
//! Snapshots are sums that the sample is part of, so they go first, in the same way. Nothing stays
//! pending: when [`SampleLog::forget`] returns, no slot holds the sample.
//!
//! **Collecting** makes room: what counts in the oldest page is copied into the blank one, a slot there
//! says that all of it is, and only then is the old one erased. Opened anew after a cut, a copy
//! without that slot is erased and the page is collected again; with it the old page is erased.
//! Pages are opened in turn, so that they wear alike: each is erased once a lap.
//!
//! **Snapshots** ([`SampleLog::snapshot`]) keep the statistics, so that a boot adds up only what was
//! learnt since.
//!
//! The way of copying, marking and erasing is that of log-structured file systems: *The Design and
//! Implementation of a Log-Structured File System*, Rosenblum and Ousterhout, 1991; *JFFS: The
//! Journalling Flash File System*, Woodhouse, 2001.

mod error;
#[cfg(feature = "onnx")]
mod file;
mod forget;
mod inputs;
mod medium;
mod parts;
mod ram;
mod recover;
mod room;

use core::ops::Range;

use embedded_storage::nor_flash::{MultiwriteNorFlash, NorFlash};

use crate::embedding::Embedding;
use crate::frontend::Signal;
use crate::pack::Artefact;
use crate::statistics::{Label, SampleId, SnapshotError, Statistics};
pub use error::StoreError;
#[cfg(feature = "onnx")]
pub use file::FileFlash;
use forget::Drop;
pub use medium::{Header, MAGIC, VERSION};
use medium::{Kind, MAX_PAGES, Medium, NAME, Record, Slot};
pub use ram::RamFlash;

/// A class that the log has samples of; in memory of the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogClass {
    label: Label,
    /// Number of the slot that names it.
    named: u32,
    samples: u32,
}

impl LogClass {
    /// No class yet.
    pub const NONE: LogClass = LogClass {
        label: Label::new(),
        named: 0,
        samples: 0,
    };

    /// Its name.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Samples of it in the log.
    pub fn samples(&self) -> u32 {
        self.samples
    }
}

/// What opening found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Slots that were neither blank nor whole: half written in a power cut, or worn out.
    pub damaged: u32,
    /// Pages that can't be erased any more.
    pub worn: u32,
    /// A copy that a power cut had left undone was taken up again.
    pub resumed: bool,
}

/// A page that is in use.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Page {
    /// Pages opened before it.
    sequence: u32,
    /// The page whose records it took over; itself where there is none.
    from: u32,
}

impl Page {
    /// Not in use.
    const NONE: Page = Page {
        sequence: u32::MAX,
        from: u32::MAX,
    };
}

/// Samples in flash.
///
/// ```
/// use headstart::store::{LogClass, RamFlash, SampleLog};
/// use headstart::{Embedding, Label, Statistics};
/// let mut words = [0; Statistics::words(16, 4)];
/// let mut labels = [const { Label::new() }; 4];
/// let mut statistics = Statistics::new(16, [0; 32], &mut words, &mut labels)?;
///
/// let mut classes = [LogClass::NONE; 4];
/// let mut buffer = [0; SampleLog::<RamFlash>::buffer_bytes(16)];
/// let mut bytes = [0xff; 4096];
/// let flash = RamFlash(&mut bytes);
/// let mut log = SampleLog::open_rewritable(flash, 0..4096, &statistics, &mut classes, &mut buffer)?;
///
/// let nod = Embedding::new(&[31; 16])?;
/// let id = log.learn("nod", nod)?;
/// # let flash = log.into_flash();
///
/// // After a reset:
/// # let mut log = SampleLog::open_rewritable(flash, 0..4096, &statistics, &mut classes, &mut buffer)?;
/// log.restore(&mut statistics)?;
/// assert_eq!(statistics.class(0).map(|class| class.count), Some(1));
/// log.forget(id)?;
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub struct SampleLog<'a, F> {
    medium: Medium<F>,
    pages: [Page; MAX_PAGES],
    rewritable: bool,
    dim: usize,
    artefact: Artefact,
    classes: &'a mut [LogClass],
    buffer: &'a mut [u8],
    /// Where the next slot is written: page and slot.
    head: u32,
    next: u32,
    /// Of the page opened last.
    sequence: u32,
    /// Of the sample, name or snapshot to come.
    number: u32,
    newest_sample: u32,
    /// The newest sample that has an input.
    newest_input: u32,
    keeps_inputs: bool,
    /// See [`SampleLog::counter`].
    counter: u32,
    /// The whole snapshot, and one that is being written.
    snapshot: Option<u32>,
    writing: Option<u32>,
    /// Pages that were moved and can't be erased.
    dead: heapless::Vec<u32, 4>,
    found: Found,
    /// A change did not come to its end.
    broken: bool,
}

impl<F: NorFlash> SampleLog<'_, F> {
    /// Bytes of the buffer for embeddings of length `dim`: a slot, or a page's header.
    pub const fn buffer_bytes(dim: usize) -> usize {
        let (slot, header) = (medium::slot_bytes::<F>(dim), medium::header_bytes::<F>());
        if slot > header { slot } else { header }
    }

    /// Bytes of flash that a sample takes: D + 12, at least 28, rounded up to what the flash writes.
    pub const fn sample_bytes(dim: usize) -> usize {
        medium::slot_bytes::<F>(dim)
    }

    /// Bytes of flash that each page's header takes.
    pub const fn header_bytes() -> usize {
        medium::header_bytes::<F>()
    }
}

impl<'a, F: NorFlash> SampleLog<'a, F> {
    /// Opens the log in `range`, or begins one where the flash is blank. Takes up what a power cut
    /// left undone. D and encoder file are those of `statistics`. `classes` limits how many classes
    /// there may be, `buffer` has [`SampleLog::buffer_bytes`].
    ///
    /// Forgetting copies a page and erases it: see [`SampleLog::open_rewritable`] for flash that can
    /// do better. Costs a read of the whole range.
    ///
    /// # Errors
    /// What is there is no log, or of another encoder; the flash fails.
    pub fn open(
        flash: F,
        range: Range<u32>,
        statistics: &Statistics<'_>,
        classes: &'a mut [LogClass],
        buffer: &'a mut [u8],
    ) -> Result<Self, StoreError> {
        Self::new(flash, range, statistics, classes, buffer, false)?.recover()
    }

    /// Erases the range, whatever is in it, and gives the flash back to be opened.
    ///
    /// # Errors
    /// The flash fails, or is smaller than a log.
    pub fn format(
        flash: F,
        range: Range<u32>,
        statistics: &Statistics<'_>,
        classes: &'a mut [LogClass],
        buffer: &'a mut [u8],
    ) -> Result<F, StoreError> {
        let mut log = Self::new(flash, range, statistics, classes, buffer, false)?;
        for page in 0..log.medium.pages {
            log.medium.erase(page)?;
        }
        Ok(log.medium.into_flash())
    }

    fn new(
        flash: F,
        range: Range<u32>,
        statistics: &Statistics<'_>,
        classes: &'a mut [LogClass],
        buffer: &'a mut [u8],
        rewritable: bool,
    ) -> Result<Self, StoreError> {
        let dim = statistics.dim();
        let needed = Self::buffer_bytes(dim);
        if buffer.len() < needed {
            return Err(StoreError::BufferTooSmall { needed });
        }
        classes.fill(LogClass::NONE);
        Ok(SampleLog {
            medium: Medium::new(flash, range, dim)?,
            pages: [Page::NONE; MAX_PAGES],
            rewritable,
            dim,
            artefact: statistics.artefact(),
            classes,
            buffer,
            head: 0,
            next: 0,
            sequence: 0,
            number: 1,
            newest_sample: 0,
            newest_input: 0,
            keeps_inputs: false,
            counter: 0,
            snapshot: None,
            writing: None,
            dead: heapless::Vec::new(),
            found: Found::default(),
            broken: false,
        })
    }

    /// What opening found.
    pub fn found(&self) -> Found {
        self.found
    }

    /// Classes that have samples.
    pub fn classes(&self) -> impl Iterator<Item = &LogClass> {
        self.classes.iter().filter(|class| class.samples > 0)
    }

    /// Samples.
    pub fn len(&self) -> u32 {
        self.classes.iter().map(|class| class.samples).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Samples that there is always room for, beside the names of all classes. Near it a sample may
    /// cost a copy of every page; a fifth of slack makes that rare.
    pub fn capacity(&self) -> u32 {
        let slots = (self.medium.pages - self.spare()) * (self.usable() - 1);
        slots.saturating_sub(self.classes.len() as u32)
    }

    /// Whether there may be inputs.
    fn inputs(&self) -> bool {
        self.newest_input > 0
    }

    /// The largest counter of a signed file that was taken, 0 at first: what
    /// `signed::PublicKey::check` asks for as the least. Formatting the log loses it.
    pub fn counter(&self) -> u32 {
        self.counter
    }

    /// Keeps the counter of a signed file that was taken, so that no older one is taken again.
    ///
    /// # Errors
    /// Full, worn out, or the flash fails: then the counter before holds, or this one.
    pub fn raise_counter(&mut self, counter: u32) -> Result<(), StoreError> {
        if counter <= self.counter {
            return Ok(());
        }
        let record = Record {
            kind: Kind::Counter,
            class: 0,
            number: counter,
        };
        self.append(record, &[])?;
        self.counter = counter;
        Ok(())
    }

    /// Pages opened since the log began; over the number of pages it is how often each was erased.
    pub fn pages_opened(&self) -> u32 {
        self.sequence.saturating_add(1)
    }

    /// The flash, for another use of it.
    pub fn into_flash(self) -> F {
        self.medium.into_flash()
    }

    fn find(&self, label: &str) -> Option<usize> {
        let own = |class: &LogClass| class.samples > 0 && class.label == label;
        self.classes.iter().position(own)
    }

    /// Keeps a sample; a new name makes a new class. Acknowledged when it returns.
    ///
    /// # Errors
    /// Full, worn out, or the flash fails: then the sample is there after opening anew, or not.
    pub fn learn(&mut self, label: &str, e: Embedding<'_>) -> Result<SampleId, StoreError> {
        self.learn_and(label, e, None)
    }

    fn learn_and(
        &mut self,
        label: &str,
        e: Embedding<'_>,
        input: Option<Signal<'_>>,
    ) -> Result<SampleId, StoreError> {
        if e.dim() != self.dim {
            return Err(StoreError::Dim);
        }
        let own = label_of(label)?;
        let class = match self.find(label) {
            Some(class) => class,
            None => {
                let capacity = self.classes.len();
                let free = self.classes.iter().position(|class| class.samples == 0);
                free.ok_or(StoreError::TooManyClasses { capacity })?
            }
        };
        let new = self.classes[class].samples == 0;
        // A name counts as long as its class has samples: this one, too.
        self.classes[class].samples += 1;
        let learnt = self.append_sample(class, new.then_some(own), e, input);
        if learnt.is_err() {
            self.classes[class].samples -= 1;
        }
        learnt
    }

    fn append_sample(
        &mut self,
        class: usize,
        new: Option<Label>,
        e: Embedding<'_>,
        input: Option<Signal<'_>>,
    ) -> Result<SampleId, StoreError> {
        if let Some(label) = new {
            self.append_name(class, label)?;
        }
        let number = self.next_number()?;
        let record = Record {
            kind: Kind::Sample,
            class: class as u16,
            number,
        };
        let Some(input) = input else {
            self.append(record, bytemuck::cast_slice(e.values()))?;
            return Ok(SampleId(number));
        };
        self.newest_input = number;
        let kept = self.append_input(class as u16, number, input);
        let kept = kept.and_then(|()| self.append(record, bytemuck::cast_slice(e.values())));
        if let Err(error) = kept {
            self.erase(Drop::Input(number))?;
            return Err(error);
        }
        Ok(SampleId(number))
    }

    fn append_name(&mut self, class: usize, label: Label) -> Result<(), StoreError> {
        let number = self.next_number()?;
        let mut padded = [0; NAME];
        padded[..label.len()].copy_from_slice(label.as_bytes());
        let record = Record {
            kind: Kind::Name,
            class: class as u16,
            number,
        };
        self.append(record, &padded)?;
        (self.classes[class].label, self.classes[class].named) = (label, number);
        Ok(())
    }

    /// Gives a class another name.
    ///
    /// # Errors
    /// No such class, the name is taken or bad, or as for [`SampleLog::learn`].
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), StoreError> {
        let class = self.find(from).ok_or(StoreError::Class)?;
        if self.find(to).is_some() {
            return Err(StoreError::Class);
        }
        self.append_name(class, label_of(to)?)
    }

    /// Reads a sample into `values`, which is D long, and returns its class's name.
    ///
    /// # Errors
    /// There is no such sample, or the flash fails.
    pub fn read(&mut self, id: SampleId, values: &mut [i8]) -> Result<Label, StoreError> {
        if values.len() != self.dim {
            return Err(StoreError::Dim);
        }
        let label = self.label(id)?;
        let payload = &self.medium.payload(self.buffer)[..self.dim];
        values.copy_from_slice(bytemuck::cast_slice(payload));
        Ok(label)
    }

    /// The name of a sample's class.
    ///
    /// # Errors
    /// There is no such sample, or the flash fails.
    pub fn label(&mut self, id: SampleId) -> Result<Label, StoreError> {
        let class = self.class_of(id)?;
        Ok(self.classes[class].label.clone())
    }

    /// The class of a sample, which is in the buffer then.
    fn class_of(&mut self, id: SampleId) -> Result<usize, StoreError> {
        for page in 0..self.medium.pages {
            if self.page(page).is_none() {
                continue;
            }
            for slot in 0..self.medium.slots {
                let claim = self.medium.peek(page, slot)?;
                if claim.is_some_and(|record| Drop::Sample(id.0).takes(record))
                    && let Slot::Record(record) = self.medium.slot(page, slot, self.buffer)?
                    && Drop::Sample(id.0).takes(record)
                    && usize::from(record.class) < self.classes.len()
                {
                    return Ok(record.class.into());
                }
            }
        }
        Err(StoreError::UnknownSample)
    }

    /// Keeps the statistics as they are, so that [`SampleLog::restore`] need not add up the samples
    /// before. They must be those of all samples in the log. Takes the place of so many samples:
    /// [`Statistics::snapshot_bytes`] over D.
    ///
    /// # Errors
    /// Full, worn out, or the flash fails: then the snapshot before holds, where there is one.
    pub fn snapshot(&mut self, statistics: &Statistics<'_>) -> Result<(), StoreError> {
        let same = statistics.artefact() == self.artefact && statistics.dim() == self.dim;
        if !same || statistics.examples() != i64::from(self.len()) {
            return Err(StoreError::Snapshot(SnapshotError::Impossible));
        }
        let number = self.next_number()?;
        self.writing = Some(number);
        let written = self.write_parts(statistics, number);
        self.writing = None;
        written?;
        // The one before is dead; nothing in it was forgotten, and the next collection takes it.
        self.snapshot = Some(number);
        Ok(())
    }

    /// Restores statistics from the snapshot and the samples learnt since, to the bit as they were.
    /// They are emptied first. A snapshot that can't be used is passed over.
    ///
    /// # Errors
    /// The flash fails, or there is no room for all classes: the statistics are not to be used then.
    pub fn restore(&mut self, statistics: &mut Statistics<'_>) -> Result<(), StoreError> {
        let since = match self.snapshot {
            Some(number) => match self.read_parts(statistics, number) {
                Ok(()) => number,
                Err(StoreError::Flash(kind)) => return Err(StoreError::Flash(kind)),
                Err(_) => 0,
            },
            None => 0,
        };
        if since == 0 {
            statistics.clear();
        }
        let mut refused = None;
        self.visit(since, |_, label, e| {
            if let Err(error) = statistics.learn(label, e) {
                refused = Some(error);
            }
        })?;
        match refused {
            Some(crate::statistics::StatisticsError::TooManyClasses { capacity }) => {
                Err(StoreError::TooManyClasses { capacity })
            }
            Some(_) => Err(StoreError::Full),
            None => Ok(()),
        }
    }

    /// Hands over every sample, with its class's name.
    ///
    /// # Errors
    /// The flash fails.
    pub fn for_each(
        &mut self,
        each: impl FnMut(SampleId, &str, Embedding<'_>),
    ) -> Result<(), StoreError> {
        self.visit(0, each)
    }

    /// Samples with a number from `since` on.
    fn visit(
        &mut self,
        since: u32,
        mut each: impl FnMut(SampleId, &str, Embedding<'_>),
    ) -> Result<(), StoreError> {
        for page in 0..self.medium.pages {
            if self.page(page).is_none() {
                continue;
            }
            for slot in 0..self.medium.slots {
                let claim = self.medium.peek(page, slot)?;
                let asked = |r: Record| r.kind == Kind::Sample && r.number >= since;
                if !claim.is_some_and(asked) {
                    continue;
                }
                let Slot::Record(record) = self.medium.slot(page, slot, self.buffer)? else {
                    continue;
                };
                let class = self.classes.get(usize::from(record.class));
                let Some(class) = class.filter(|class| !class.label.is_empty()) else {
                    continue;
                };
                let values = &self.medium.payload(self.buffer)[..self.dim];
                if asked(record)
                    && let Ok(e) = Embedding::new(bytemuck::cast_slice(values))
                {
                    each(SampleId(record.number), &class.label, e);
                }
            }
        }
        Ok(())
    }
}

impl<'a, F: MultiwriteNorFlash> SampleLog<'a, F> {
    /// As [`SampleLog::open`], for flash whose words can be written again, with more zeros: forgetting
    /// overwrites the slot and costs no erase. Of some flash with error correction that holds for
    /// words of zeros alone, which is all that is asked for here.
    ///
    /// # Errors
    /// As for [`SampleLog::open`].
    pub fn open_rewritable(
        flash: F,
        range: Range<u32>,
        statistics: &Statistics<'_>,
        classes: &'a mut [LogClass],
        buffer: &'a mut [u8],
    ) -> Result<Self, StoreError> {
        Self::new(flash, range, statistics, classes, buffer, true)?.recover()
    }
}

fn label_of(label: &str) -> Result<Label, StoreError> {
    match Label::try_from(label) {
        Ok(own) if !own.is_empty() => Ok(own),
        _ => Err(StoreError::BadLabel),
    }
}

/// A name, padded with zeros.
fn name(payload: &[u8]) -> Option<Label> {
    let padded = payload.get(..NAME)?;
    let length = padded.iter().position(|&b| b == 0).unwrap_or(NAME);
    let text = core::str::from_utf8(&padded[..length]).ok()?;
    label_of(text).ok()
}
