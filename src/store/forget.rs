//! Forgetting: slots that must not be read again.

use embedded_storage::nor_flash::NorFlash;

use super::medium::{Kind, Record, Slot};
use super::{SampleLog, StoreError};
use crate::statistics::SampleId;

/// Slots that are to go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Drop {
    Nothing,
    Sample(u32),
    Input(u32),
    Class(u16),
    Inputs(u16),
    Names(u16),
    Parts,
}

impl Drop {
    /// A sample, its input first.
    pub(super) fn sample(id: u32) -> [Drop; 2] {
        [Drop::Input(id), Drop::Sample(id)]
    }

    /// The samples of a class, their inputs first.
    pub(super) fn class(class: u16) -> [Drop; 2] {
        [Drop::Inputs(class), Drop::Class(class)]
    }

    pub(super) fn takes(self, record: Record) -> bool {
        match self {
            Drop::Nothing => false,
            Drop::Sample(id) => record.kind == Kind::Sample && record.number == id,
            Drop::Input(id) => record.kind == Kind::Input && record.number == id,
            Drop::Class(class) => record.kind == Kind::Sample && record.class == class,
            Drop::Inputs(class) => record.kind == Kind::Input && record.class == class,
            Drop::Names(class) => record.kind == Kind::Name && record.class == class,
            Drop::Parts => matches!(record.kind, Kind::Part | Kind::LastPart),
        }
    }
}

impl<F: NorFlash> SampleLog<'_, F> {
    /// Forgets a sample: when this returns, no slot holds it, and no snapshot has it in its sums.
    ///
    /// # Errors
    /// There is no such sample; or the flash fails, and it is there after opening anew, or not.
    pub fn forget(&mut self, id: SampleId) -> Result<(), StoreError> {
        let class = self.class_of(id)?;
        let record = Record {
            kind: Kind::Forget,
            class: 0,
            number: id.0,
        };
        self.drop_announced(record, Drop::sample(id.0))?;
        self.one_less(class, 1)
    }

    /// Forgets a class with all its samples, as [`SampleLog::forget`] does.
    ///
    /// # Errors
    /// As for [`SampleLog::forget`]; where words can't be written again a power cut may leave some samples
    /// forgotten and some not.
    pub fn forget_class(&mut self, label: &str) -> Result<(), StoreError> {
        let class = self.find(label).ok_or(StoreError::Class)?;
        let record = Record {
            kind: Kind::ForgetClass,
            class: class as u16,
            number: 0,
        };
        self.drop_announced(record, Drop::class(class as u16))?;
        self.one_less(class, self.classes[class].samples)
    }

    /// Erases slots, and says beforehand that it will: a slot that was being overwritten when the power
    /// went may read either way, so opening must know what to overwrite again.
    fn drop_announced(
        &mut self,
        record: Record,
        [inputs, samples]: [Drop; 2],
    ) -> Result<(), StoreError> {
        let mut announced = None;
        if self.rewritable {
            match self.append(record, &[]) {
                Ok(()) => announced = self.next.checked_sub(1).map(|slot| (self.head, slot)),
                // No room to say it; that is no reason to keep what is to be forgotten.
                Err(StoreError::Full) => {}
                Err(error) => return Err(error),
            }
        }
        self.erase(Drop::Parts)?;
        if self.inputs() {
            self.erase(inputs)?;
        }
        self.erase(samples)?;
        if let Some((page, slot)) = announced {
            self.medium.wipe(page, slot, self.buffer)?;
        }
        Ok(())
    }

    fn one_less(&mut self, class: usize, gone: u32) -> Result<(), StoreError> {
        let own = &mut self.classes[class];
        own.samples = own.samples.saturating_sub(gone);
        if own.samples == 0 {
            own.label.clear();
            self.erase(Drop::Names(class as u16))?;
        }
        Ok(())
    }

    /// Makes slots unreadable for good.
    pub(super) fn erase(&mut self, gone: Drop) -> Result<(), StoreError> {
        if self.broken {
            return Err(StoreError::Reopen);
        }
        if gone == Drop::Parts {
            self.snapshot = None;
        }
        for page in 0..self.medium.pages {
            if self.page(page).is_none() {
                continue;
            }
            for slot in 0..self.medium.slots {
                let claim = self.medium.peek(page, slot)?;
                if !claim.is_some_and(|record| gone.takes(record)) {
                    continue;
                }
                let Slot::Record(_) = self.medium.slot(page, slot, self.buffer)? else {
                    continue;
                };
                if !self.rewritable {
                    self.collect(page, gone)?;
                    break;
                }
                self.broken = true;
                if !self.medium.wipe(page, slot, self.buffer)? {
                    return Err(StoreError::Worn);
                }
                self.broken = false;
            }
        }
        Ok(())
    }
}
