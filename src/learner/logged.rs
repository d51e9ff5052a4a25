//! A learner whose examples are in flash too.
//!
//! What is done through these methods is done to both. [`Learner::relabel`], [`Learner::rename`],
//! [`Learner::forget`] and [`Learner::forget_class`] know of no log: the log has its own
//! [`SampleLog::rename`] and [`SampleLog::forget_class`], to be called beside them.

use embedded_storage::nor_flash::NorFlash;

use super::{Learner, LearnerError};
use crate::embedding::Embedding;
use crate::encoder::{EmbedError, Encoder};
use crate::frontend::Signal;
use crate::head::Head;
use crate::samples::SamplesError;
use crate::statistics::SampleId;
use crate::store::{SampleLog, StoreError};

/// What becomes of an example for which the log, or the learner's
/// [`Samples`](crate::Samples), has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It is refused, and not learnt.
    Refuse,
    /// The oldest example of the largest class is forgotten for it.
    DropOldest,
    /// The example of the largest class that is most like its class's mean is forgotten for it: the
    /// others say more about how the class varies.
    DropMostAlike,
}

/// What became of the samples of an older encoder's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relearnt {
    /// Learnt with this encoder.
    pub learnt: u32,
    /// Without an input, or with one that this encoder makes nothing of.
    pub left: u32,
}

impl<'a, E: Encoder, H: Head> Learner<'a, E, H> {
    /// As [`Learner::learn`], and acknowledged: what this has returned for is there after any power
    /// cut. The number is the log's.
    pub fn learn_in<'s, F: NorFlash>(
        &mut self,
        log: &mut SampleLog<'_, F>,
        when_full: WhenFull,
        label: &str,
        signal: impl Into<Signal<'s>>,
    ) -> Result<SampleId, LearnerError> {
        let signal = signal.into();
        // What can never fit must not cost all the others.
        if log.keeps_inputs() && log.input_slots(signal.bytes()) >= log.capacity() {
            return Err(StoreError::Full.into());
        }
        loop {
            let kept = self.learn(label, signal);
            match kept.and_then(|_| self.keep(log, label, signal)) {
                Err(
                    LearnerError::Store(StoreError::Full)
                    | LearnerError::Samples(SamplesError::Full { .. }),
                ) if when_full != WhenFull::Refuse => {}
                kept => return kept,
            }
            // An input takes the place of several samples.
            let victim = match when_full {
                WhenFull::DropMostAlike => self.spare(log, alike)?,
                _ => self.spare(log, |_, _| 0)?,
            };
            self.forget_in(log, victim.ok_or(StoreError::Full)?)?;
        }
    }

    /// Writes the example learnt last, which is in the buffer; where the log refuses it is as if it
    /// had never been learnt.
    fn keep<F: NorFlash>(
        &mut self,
        log: &mut SampleLog<'_, F>,
        label: &str,
        signal: Signal<'_>,
    ) -> Result<SampleId, LearnerError> {
        let e = Embedding::new(self.embedding).map_err(EmbedError::Zero)?;
        let kept = match log.keeps_inputs() {
            true => log.learn_with_input(label, e, signal),
            false => log.learn(label, e),
        };
        if kept.is_err() {
            self.forget_embedded(label)?;
        }
        // Undoing would be in memory alone: what is in the log is forgotten by its number.
        self.last_label = None;
        Ok(kept?)
    }

    /// The example of the log's largest class with the highest score, the oldest of several.
    fn spare<F: NorFlash>(
        &self,
        log: &mut SampleLog<'_, F>,
        score: impl Fn(&[i32], Embedding<'_>) -> i64,
    ) -> Result<Option<SampleId>, LearnerError> {
        let largest = log.classes().max_by_key(|class| class.samples());
        let Some(largest) = largest.and_then(|class| self.statistics.find(class.label())) else {
            return Ok(None);
        };
        let Some(class) = self.statistics.class(largest) else {
            return Ok(None);
        };
        let mut best: Option<(i64, SampleId)> = None;
        log.for_each(|id, label, e| {
            let score = score(class.sums, e);
            let better = |(other, old): (i64, SampleId)| (score, old.0) > (other, id.0);
            if label == class.label.as_str() && best.is_none_or(better) {
                best = Some((score, id));
            }
        })?;
        Ok(best.map(|(_, id)| id))
    }

    /// Forgets an example, in flash first: when this returns neither flash nor memory holds it.
    pub fn forget_in<F: NorFlash>(
        &mut self,
        log: &mut SampleLog<'_, F>,
        id: SampleId,
    ) -> Result<(), LearnerError> {
        let label = log.read(id, self.embedding)?;
        log.forget(id)?;
        self.forget_embedded(&label)
    }

    /// Learns anew what a log of another encoder file holds, from the inputs that it kept, into this
    /// learner and its `log`, which keeps them too where it is told to. `input` is as for
    /// [`SampleLog::read_input`]. Samples without an input, and those
    /// that this encoder makes nothing of, are counted and left where they are.
    ///
    /// `log` has a place of its own in flash. Erase the old one when this has returned: as long as it is there,
    /// a boot after a power cut formats `log` and begins again.
    pub fn relearn<F: NorFlash, G: NorFlash>(
        &mut self,
        old: &mut SampleLog<'_, F>,
        log: &mut SampleLog<'_, G>,
        input: &mut [u32],
    ) -> Result<Relearnt, LearnerError> {
        let (mut done, mut id) = (Relearnt::default(), SampleId(0));
        while let Some(next) = old.next_sample(id)? {
            id = next;
            let label = old.label(id)?;
            let signal = match old.read_input(id, input) {
                Ok(signal) => signal,
                Err(StoreError::NoInput) => {
                    done.left += 1;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            match self.learn_in(log, WhenFull::Refuse, &label, signal) {
                Ok(_) => done.learnt += 1,
                Err(LearnerError::Embed(_)) => done.left += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Takes over all that the log holds: the same bits as before the reset. A learner that keeps
    /// [`Samples`](crate::Samples) reads them all, else a snapshot and what was learnt since is enough.
    pub fn restore_from<F: NorFlash>(
        &mut self,
        log: &mut SampleLog<'_, F>,
    ) -> Result<(), LearnerError> {
        log.restore(&mut self.statistics)?;
        if let Some(samples) = &mut self.samples {
            samples.clear();
            let mut refused = Ok(());
            let statistics = &self.statistics;
            log.for_each(|_, label, e| {
                if let (Ok(()), Some(class)) = (refused, statistics.find(label)) {
                    refused = samples.insert(class, e);
                }
            })?;
            refused?;
        }
        self.changed();
        Ok(())
    }
}

fn alike(sums: &[i32], e: Embedding<'_>) -> i64 {
    let products = sums.iter().zip(e.values());
    products
        .map(|(&sum, &v)| i64::from(sum) * i64::from(v))
        .sum()
}
