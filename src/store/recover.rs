//! Opening: what a power cut left undone is ended, and what is there is counted.

use embedded_storage::nor_flash::NorFlash;

use super::medium::{Kind, Record, Slot, VERSION};
use super::{Drop, LogClass, Page, SampleLog, StoreError, name};

impl<F: NorFlash> SampleLog<'_, F> {
    pub(super) fn recover(mut self) -> Result<Self, StoreError> {
        if !self.check_pages()? {
            self.begin()?;
            return Ok(self);
        }
        self.finish_copies()?;
        self.find_head()?;
        let settled = self.settle()?;
        self.finish_forgetting()?;
        self.scan()?;
        if !settled {
            self.collect(self.head, Drop::Nothing)?;
            self.mark_settled()?;
            self.scan()?;
        }
        if !self.rewritable && self.found.damaged > 0 {
            self.drop_damaged()?;
        }
        if self.newest_input > self.newest_sample {
            self.erase(Drop::Input(self.newest_input))?;
        }
        for class in 0..self.classes.len() {
            if self.classes[class].samples == 0 && !self.classes[class].label.is_empty() {
                self.classes[class].label.clear();
                self.erase(Drop::Names(class as u16))?;
            }
        }
        Ok(self)
    }

    /// Whether there is a log. Reads each page's header, once for all: that of a page which was half erased
    /// may read differently the next time. Erases what is neither a page of the log nor blank.
    pub(super) fn check_pages(&mut self) -> Result<bool, StoreError> {
        let (mut any, mut others) = (false, 0);
        for page in 0..self.medium.pages {
            let Some(header) = self.medium.header(page, self.buffer)? else {
                others += u32::from(!self.medium.is_blank(page)?);
                continue;
            };
            if !(1..=VERSION).contains(&header.version) {
                let found = header.version;
                return Err(StoreError::Version { found });
            }
            if header.artefact != self.artefact || usize::from(header.dim) != self.dim {
                return Err(StoreError::OtherArtefact);
            }
            self.pages[page as usize] = Page {
                sequence: header.sequence,
                from: header.from,
            };
            any = true;
        }
        // The first page's header may have been cut off: that much is no other data.
        if !any && others > 1 {
            return Err(StoreError::NotALog);
        }
        if others > 0 {
            self.erase_others(false)?;
        }
        Ok(any)
    }

    /// Erases what is no page of the log; where that is in doubt blank pages too.
    pub(super) fn erase_others(&mut self, blank_too: bool) -> Result<(), StoreError> {
        for page in 0..self.medium.pages {
            let other = self.page(page).is_none() && !self.is_dead(page);
            if other && (blank_too || !self.medium.is_blank(page)?) && !self.erase_page(page)? {
                self.found.worn += 1;
            }
        }
        Ok(())
    }

    /// Opens the first page.
    pub(super) fn begin(&mut self) -> Result<(), StoreError> {
        let page = self.blank(0)?.ok_or(StoreError::Worn)?;
        self.sequence = 0;
        self.open_page(page, 0, 0)
    }

    /// Ends what a power cut left between copying a page and erasing it.
    pub(super) fn finish_copies(&mut self) -> Result<(), StoreError> {
        for page in 0..self.medium.pages {
            let Some(own) = self.page(page) else {
                continue;
            };
            for slot in 0..self.medium.slots {
                let claim = self.medium.peek(page, slot)?;
                let moved = |r: Record| r.kind == Kind::Moved && r.number < own.sequence;
                if !claim.is_some_and(moved) {
                    continue;
                }
                let Slot::Record(record) = self.medium.slot(page, slot, self.buffer)? else {
                    continue;
                };
                if let Some(old) = self.page_of(record.number)
                    && old != page
                {
                    // The mark may have been cut off and read whole by chance: write it again before
                    // anything depends on it.
                    self.mark_again(page, record)?;
                    self.retire(old, record.number)?;
                    self.found.resumed = true;
                }
            }
        }
        for page in 0..self.medium.pages {
            let Some(own) = self.page(page) else {
                continue;
            };
            let undone = own.from != own.sequence && self.page_of(own.from).is_some();
            // Nothing but a header: it may have been cut off and read whole by chance.
            if undone || self.medium.end(page)? == 0 {
                self.erase_page(page)?;
                self.found.resumed |= undone;
            }
        }
        Ok(())
    }

    pub(super) fn mark_again(&mut self, page: u32, record: Record) -> Result<(), StoreError> {
        let end = self.medium.end(page)?;
        for slot in end..self.medium.slots {
            self.medium.frame(record, |_| {}, self.buffer);
            if self.medium.put(page, slot, self.buffer)? {
                break;
            }
        }
        Ok(())
    }

    /// A page of the log that counts.
    pub(super) fn page(&self, page: u32) -> Option<Page> {
        let known = self.pages.get(page as usize).copied();
        known.filter(|own| *own != Page::NONE && !self.dead.contains(&own.sequence))
    }

    /// Whether a page was copied and does not erase.
    fn is_dead(&self, page: u32) -> bool {
        let known = self.pages.get(page as usize);
        known.is_some_and(|own| self.dead.contains(&own.sequence))
    }

    /// The page of that sequence, where it counts.
    pub(super) fn page_of(&self, sequence: u32) -> Option<u32> {
        let own = |page: &u32| self.page(*page).is_some_and(|own| own.sequence == sequence);
        (0..self.medium.pages).find(own)
    }

    /// Erases a page, and says whether it is blank now.
    pub(super) fn erase_page(&mut self, page: u32) -> Result<bool, StoreError> {
        self.pages[page as usize] = Page::NONE;
        self.medium.erase(page)
    }

    /// Reads all slots: what classes there are, which numbers were given, which snapshot is whole.
    pub(super) fn scan(&mut self) -> Result<(), StoreError> {
        let capacity = self.classes.len();
        let mut snapshots: heapless::Vec<(u32, u32, Option<u16>), 4> = heapless::Vec::new();
        self.classes.fill(LogClass::NONE);
        (self.newest_input, self.newest_sample) = (0, 0);
        for page in 0..self.medium.pages {
            let Some(own) = self.page(page) else {
                continue;
            };
            self.sequence = self.sequence.max(own.sequence);
            for slot in 0..self.medium.slots {
                let record = match self.medium.slot(page, slot, self.buffer)? {
                    Slot::Record(record) => record,
                    Slot::Blank | Slot::Wiped => continue,
                    Slot::Damaged => {
                        self.found.damaged += 1;
                        if self.rewritable {
                            self.medium.wipe(page, slot, self.buffer)?;
                        }
                        continue;
                    }
                };
                let class = usize::from(record.class);
                match record.kind {
                    Kind::Sample | Kind::Name => {
                        let payload = self.medium.payload(self.buffer);
                        let too_many = StoreError::TooManyClasses { capacity };
                        let class = self.classes.get_mut(class).ok_or(too_many)?;
                        if record.kind == Kind::Sample {
                            class.samples += 1;
                            self.newest_sample = self.newest_sample.max(record.number);
                        } else if record.number >= class.named {
                            class.label = name(payload).unwrap_or_default();
                            class.named = record.number;
                        }
                    }
                    Kind::Part | Kind::LastPart => {
                        let last = (record.kind == Kind::LastPart).then_some(record.class);
                        match snapshots.iter_mut().find(|s| s.0 == record.number) {
                            Some(known) => {
                                known.1 += 1;
                                known.2 = known.2.or(last);
                            }
                            None => {
                                let _ = snapshots.push((record.number, 1, last));
                            }
                        }
                    }
                    Kind::Input => self.newest_input = self.newest_input.max(record.number),
                    Kind::Counter => {
                        self.counter = self.counter.max(record.number);
                        continue;
                    }
                    Kind::Moved | Kind::Settled | Kind::Forget | Kind::ForgetClass => continue,
                }
                self.number = self.number.max(record.number.saturating_add(1));
            }
        }
        let whole =
            |s: &&(u32, u32, Option<u16>)| s.2.is_some_and(|last| s.1 == u32::from(last) + 1);
        self.snapshot = snapshots.iter().filter(whole).map(|s| s.0).max();
        Ok(())
    }

    /// The page to go on in is the youngest.
    pub(super) fn find_head(&mut self) -> Result<(), StoreError> {
        let mut youngest = None;
        for page in 0..self.medium.pages {
            if let Some(own) = self.page(page) {
                youngest = youngest.max(Some((own.sequence, page)));
            }
        }
        (self.head, self.next) = match youngest {
            Some((_, page)) => (page, self.medium.end(page)?),
            None => (0, self.medium.slots),
        };
        Ok(())
    }

    /// The slot that was written last may have been cut off, and read whole by chance. It is written once
    /// more, so that it stays as it was read, or wiped where it is damaged. False where that is not
    /// possible and its page must be copied.
    pub(super) fn settle(&mut self) -> Result<bool, StoreError> {
        let head = self.head;
        let (Some(_), Some(last)) = (self.page(head), self.next.checked_sub(1)) else {
            return Ok(true);
        };
        let found = self.medium.slot(head, last, self.buffer)?;
        match found {
            Slot::Record(record) if record.kind == Kind::Moved => {
                // The page that was moved may be half erased still, and only look blank.
                self.erase_others(true)?;
                if !self.rewritable {
                    self.mark_settled()?;
                    return Ok(true);
                }
                self.medium.slot(head, last, self.buffer)?;
                self.medium.put(head, last, self.buffer)?;
            }
            Slot::Record(record) if record.kind == Kind::Settled => {}
            _ if !self.rewritable => return Ok(false),
            Slot::Record(_) => {
                self.medium.put(head, last, self.buffer)?;
            }
            Slot::Damaged => {
                self.found.damaged += 1;
                self.medium.wipe(head, last, self.buffer)?;
            }
            Slot::Blank | Slot::Wiped => {}
        }
        Ok(true)
    }

    /// Says that nothing before this was in flight when the power went; where there is room to say it.
    pub(super) fn mark_settled(&mut self) -> Result<(), StoreError> {
        let settled = Record {
            kind: Kind::Settled,
            class: 0,
            number: 0,
        };
        self.medium.frame(settled, |_| {}, self.buffer);
        self.put().map(|_| ())
    }

    /// Ends a forgetting that was announced.
    pub(super) fn finish_forgetting(&mut self) -> Result<(), StoreError> {
        let (Some(_), Some(last)) = (self.page(self.head), self.next.checked_sub(1)) else {
            return Ok(());
        };
        let Slot::Record(record) = self.medium.slot(self.head, last, self.buffer)? else {
            return Ok(());
        };
        let gone = match record.kind {
            Kind::Forget => Drop::sample(record.number),
            Kind::ForgetClass => Drop::class(record.class),
            _ => return Ok(()),
        };
        // The slot that was being overwritten reads as it likes: whatever is not whole goes too.
        for page in 0..self.medium.pages {
            if self.page(page).is_none() {
                continue;
            }
            for slot in 0..self.medium.slots {
                let goes = match self.medium.slot(page, slot, self.buffer)? {
                    Slot::Record(record) => {
                        Drop::Parts.takes(record) || gone.iter().any(|gone| gone.takes(record))
                    }
                    Slot::Damaged => true,
                    Slot::Blank | Slot::Wiped => false,
                };
                if goes {
                    self.medium.wipe(page, slot, self.buffer)?;
                }
            }
        }
        Ok(())
    }

    /// Moves what is whole out of pages with damage, where that can't be wiped.
    pub(super) fn drop_damaged(&mut self) -> Result<(), StoreError> {
        for page in 0..self.medium.pages {
            if self.page(page).is_none() {
                continue;
            }
            let mut damaged = false;
            for slot in 0..self.medium.slots {
                damaged |= self.medium.slot(page, slot, self.buffer)? == Slot::Damaged;
            }
            if damaged {
                match self.collect(page, Drop::Nothing) {
                    Err(StoreError::Worn) => break,
                    collected => collected?,
                }
            }
        }
        Ok(())
    }
}
