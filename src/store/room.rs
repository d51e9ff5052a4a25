//! Where the next slot goes: blank slots, blank pages, and collecting where there are none.

use embedded_storage::nor_flash::NorFlash;

use super::medium::{Header, Kind, Record, Slot, VERSION};
use super::{Drop, Page, SampleLog, StoreError};

impl<F: NorFlash> SampleLog<'_, F> {
    /// The next blank page from `from` on.
    pub(super) fn blank(&mut self, from: u32) -> Result<Option<u32>, StoreError> {
        for i in 0..self.medium.pages {
            let page = (from + i) % self.medium.pages;
            if self.medium.is_blank(page)? {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    pub(super) fn open_page(
        &mut self,
        page: u32,
        sequence: u32,
        from: u32,
    ) -> Result<(), StoreError> {
        let header = Header {
            sequence,
            from,
            dim: self.dim as u16,
            version: VERSION,
            artefact: self.artefact,
        };
        if !self.medium.write_header(page, header, self.buffer)? {
            self.erase_page(page)?;
            return Err(StoreError::Worn);
        }
        self.pages[page as usize] = Page { sequence, from };
        self.sequence = sequence;
        (self.head, self.next) = (page, 0);
        Ok(())
    }

    /// Makes sure that there is a blank slot at the head.
    pub(super) fn room(&mut self) -> Result<(), StoreError> {
        if self.next < self.usable() {
            return Ok(());
        }
        let (mut oldest, mut blank) = (None, 0);
        for page in 0..self.medium.pages {
            let Some(own) = self.page(page) else {
                blank += u32::from(self.medium.is_blank(page)?);
                continue;
            };
            match self.count(page)? {
                0 => blank += u32::from(self.erase_page(page)?),
                // One slot goes to the mark in the copy.
                many if many + 2 <= self.usable() => {
                    let this = (own.sequence, page);
                    oldest = Some(oldest.map_or(this, |other| this.min(other)));
                }
                _ => {}
            }
        }
        if blank > self.spare() {
            let after = (self.head + 1) % self.medium.pages;
            let page = self.blank(after)?.ok_or(StoreError::Worn)?;
            let sequence = self.sequence.checked_add(1).ok_or(StoreError::Worn)?;
            return self.open_page(page, sequence, sequence);
        }
        let (_, page) = oldest.ok_or(StoreError::Full)?;
        self.collect(page, Drop::Nothing)
    }

    /// Slots of a page that are appended to. Where a slot can't be written again opening copies the
    /// youngest page, and the mark of that takes a slot.
    pub(super) fn usable(&self) -> u32 {
        self.medium.slots - u32::from(!self.rewritable)
    }

    /// Pages that stay blank: one to copy into, and in larger logs one for when a page does not
    /// erase any more.
    pub(super) fn spare(&self) -> u32 {
        1 + u32::from(self.medium.pages >= 6)
    }

    /// Slots of a page that count.
    pub(super) fn count(&mut self, page: u32) -> Result<u32, StoreError> {
        let mut count = 0;
        for slot in 0..self.medium.slots {
            if let Slot::Record(record) = self.medium.slot(page, slot, self.buffer)? {
                count += u32::from(self.counts(record));
            }
        }
        Ok(count)
    }

    pub(super) fn counts(&self, record: Record) -> bool {
        match record.kind {
            Kind::Sample | Kind::Input => true,
            Kind::Counter => record.number == self.counter,
            Kind::Name => {
                let class = self.classes.get(usize::from(record.class));
                class.is_some_and(|c| c.samples > 0 && c.named == record.number)
            }
            Kind::Part | Kind::LastPart => {
                let number = Some(record.number);
                number == self.snapshot || number == self.writing
            }
            Kind::Moved => self.dead.contains(&record.number),
            Kind::Settled | Kind::Forget | Kind::ForgetClass => false,
        }
    }

    /// Copies what counts in a page, without what is to go, and erases it.
    pub(super) fn collect(&mut self, page: u32, gone: Drop) -> Result<(), StoreError> {
        let old = self.page(page).ok_or(StoreError::Reopen)?;
        let after = (self.head + 1) % self.medium.pages;
        let to = self.blank(after)?.ok_or(StoreError::Worn)?;
        let sequence = self.sequence.checked_add(1).ok_or(StoreError::Worn)?;
        let head = (self.head, self.next);
        self.broken = true;
        self.open_page(to, sequence, old.sequence)?;
        for slot in 0..=self.medium.slots {
            if slot == self.medium.slots {
                let record = Record {
                    kind: Kind::Moved,
                    class: 0,
                    number: old.sequence,
                };
                self.medium.frame(record, |_| {}, self.buffer);
            } else {
                match self.medium.slot(page, slot, self.buffer)? {
                    Slot::Record(record) if self.counts(record) && !gone.takes(record) => {}
                    _ => continue,
                }
            }
            if !self.put()? {
                // The copy has too many bad cells: as before.
                self.erase_page(to)?;
                (self.head, self.next) = head;
                self.broken = false;
                return Err(StoreError::Worn);
            }
        }
        self.retire(page, old.sequence)?;
        self.broken = false;
        Ok(())
    }

    /// Erases a page whose records are elsewhere.
    pub(super) fn retire(&mut self, page: u32, sequence: u32) -> Result<(), StoreError> {
        let known = self.pages[page as usize];
        if self.erase_page(page)? {
            return Ok(());
        }
        self.found.worn += 1;
        if self.rewritable {
            return self.medium.wipe_page(page, self.buffer);
        }
        self.pages[page as usize] = known;
        self.dead.push(sequence).map_err(|_| StoreError::Worn)
    }

    /// Writes the buffer at the head, behind cells that do not take it. Says whether there was room.
    pub(super) fn put(&mut self) -> Result<bool, StoreError> {
        while self.next < self.medium.slots {
            let slot = self.next;
            self.next += 1;
            if self.medium.put(self.head, slot, self.buffer)? {
                return Ok(true);
            }
            self.found.damaged += 1;
        }
        Ok(false)
    }

    pub(super) fn append(&mut self, record: Record, payload: &[u8]) -> Result<(), StoreError> {
        self.append_with(record, |out| out[..payload.len()].copy_from_slice(payload))
    }

    /// `fill` writes the payload, which is all zeros before.
    pub(super) fn append_with(
        &mut self,
        record: Record,
        fill: impl Fn(&mut [u8]),
    ) -> Result<(), StoreError> {
        if self.broken {
            return Err(StoreError::Reopen);
        }
        for _ in 0..self.medium.pages {
            self.room()?;
            self.medium.frame(record, &fill, self.buffer);
            self.broken = true;
            let written = self.put()?;
            self.broken = false;
            if written {
                return Ok(());
            }
        }
        Err(StoreError::Worn)
    }

    pub(super) fn next_number(&mut self) -> Result<u32, StoreError> {
        let number = self.number;
        self.number = number.checked_add(1).ok_or(StoreError::Worn)?;
        Ok(number)
    }
}
