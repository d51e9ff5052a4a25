//! Pages and slots: what is read back is checked, what was written is compared.

use core::ops::Range;

use embedded_storage::nor_flash::{NorFlash, NorFlashError};

use super::StoreError;
use crate::pack::Artefact;

/// The first bytes of a page.
pub const MAGIC: [u8; 8] = *b"HSLOG\r\n\0";
/// The version that this crate writes. It reads all before it: a log's pages become this version's one by
/// one, as they are opened anew.
pub const VERSION: u16 = 2;
/// Of a page's header, before it is rounded up to what the flash can write.
const HEADER: usize = 64;
/// Of a slot, besides the payload.
const FRAME: usize = 12;
/// The shortest payload: a name has 16 bytes.
pub const NAME: usize = 16;
/// Pages of a log at most.
pub const MAX_PAGES: usize = 128;
/// How often bytes are read before they count as damaged: a cell that was cut off while it changed
/// may read differently from one time to the next.
const READS: usize = 3;
/// Bytes compared at once.
const PIECE: usize = 64;
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// What a slot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// An embedding; `class` is its class, `number` its id.
    Sample = b'S',
    /// A share of the input that sample `number` of class `class` was made from.
    Input = b'I',
    /// The name of class `class`; the one with the highest number holds.
    Name = b'N',
    /// A part of a snapshot; `class` is its place, `number` the snapshot's.
    Part = b'P',
    /// The last part.
    LastPart = b'L',
    /// Page `number` was copied, all that counts in it is elsewhere.
    Moved = b'M',
    /// Nothing before it was being written when the power went.
    Settled = b'O',
    /// Files with a smaller counter than `number` are refused.
    Counter = b'V',
    /// Sample `number` is being forgotten.
    Forget = b'F',
    /// Class `class` is being forgotten.
    ForgetClass = b'C',
}

/// What stands in a slot, besides the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub kind: Kind,
    pub class: u16,
    pub number: u32,
}

/// A slot as it was read. The payload is in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Never written since its page was erased.
    Blank,
    /// Overwritten with zeros.
    Wiped,
    Record(Record),
    /// Half written, half wiped, or worn out.
    Damaged,
}

/// The header of a page: enough to tell whose log it is, without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Pages opened before this one.
    pub sequence: u32,
    /// The page whose records it was opened to take over; itself where it is none.
    pub from: u32,
    /// D.
    pub dim: u16,
    /// Of the format; [`VERSION`] is what this crate reads.
    pub version: u16,
    /// The encoder file.
    pub artefact: Artefact,
}

impl Header {
    /// Reads the first bytes of a page. `None` where there is no whole header.
    pub fn parse(page: &[u8]) -> Option<Header> {
        let bytes = page.first_chunk::<HEADER>()?;
        let stored = word(bytes, HEADER - 4);
        if bytes[..8] != MAGIC || CRC.checksum(&bytes[..HEADER - 4]) != stored {
            return None;
        }
        let mut artefact = [0; 32];
        artefact.copy_from_slice(&bytes[20..52]);
        Some(Header {
            version: half(bytes, 8),
            dim: half(bytes, 10),
            sequence: word(bytes, 12),
            from: word(bytes, 16),
            artefact,
        })
    }
}

/// A stretch of flash, cut into pages and slots.
pub struct Medium<F> {
    flash: F,
    start: u32,
    pub pages: u32,
    /// Slots of a page.
    pub slots: u32,
    header_bytes: u32,
    slot_bytes: u32,
}

/// The least that can be read and written.
const fn step<F: NorFlash>() -> usize {
    if F::WRITE_SIZE > F::READ_SIZE {
        F::WRITE_SIZE
    } else {
        F::READ_SIZE
    }
}

/// Bytes of a slot for embeddings of length `dim`: D + 12, at least 28, rounded up to what the flash
/// can write.
pub const fn slot_bytes<F: NorFlash>(dim: usize) -> usize {
    let payload = if dim > NAME { dim } else { NAME };
    (payload + FRAME).next_multiple_of(step::<F>())
}

/// Bytes of a page's header.
pub const fn header_bytes<F: NorFlash>() -> usize {
    HEADER.next_multiple_of(step::<F>())
}

fn failed(error: impl NorFlashError) -> StoreError {
    StoreError::Flash(error.kind())
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |b| u32::from_le_bytes(*b))
}

fn half(bytes: &[u8], at: usize) -> u16 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |b| u16::from_le_bytes(*b))
}

/// The first 8 bytes of a slot.
fn record(bytes: &[u8]) -> Option<Record> {
    let kind = match bytes.first()? {
        b'S' => Kind::Sample,
        b'I' => Kind::Input,
        b'N' => Kind::Name,
        b'P' => Kind::Part,
        b'L' => Kind::LastPart,
        b'M' => Kind::Moved,
        b'O' => Kind::Settled,
        b'V' => Kind::Counter,
        b'F' => Kind::Forget,
        b'C' => Kind::ForgetClass,
        _ => return None,
    };
    Some(Record {
        kind,
        class: half(bytes, 2),
        number: word(bytes, 4),
    })
}

impl<F: NorFlash> Medium<F> {
    /// Three pages at least, of four slots at least; [`MAX_PAGES`] at most.
    pub fn new(flash: F, range: Range<u32>, dim: usize) -> Result<Self, StoreError> {
        let page = F::ERASE_SIZE as u32;
        let whole = range.start.is_multiple_of(page) && range.end.is_multiple_of(page);
        let inside = range.start <= range.end && range.end as usize <= flash.capacity();
        if !whole || !inside {
            return Err(StoreError::Range);
        }
        let (header, slot) = (header_bytes::<F>() as u32, slot_bytes::<F>(dim) as u32);
        let pages = (range.end - range.start) / page;
        let slots = page.saturating_sub(header) / slot;
        if pages as usize > MAX_PAGES {
            return Err(StoreError::Range);
        }
        if !PIECE.is_multiple_of(F::READ_SIZE) || !step::<F>().is_multiple_of(F::READ_SIZE) {
            return Err(StoreError::Range);
        }
        if pages < 3 || slots < 4 {
            return Err(StoreError::TooSmall {
                needed: 3 * (header + 4 * slot).next_multiple_of(page),
            });
        }
        Ok(Medium {
            flash,
            start: range.start,
            pages,
            slots,
            header_bytes: header,
            slot_bytes: slot,
        })
    }

    pub fn slot_bytes(&self) -> usize {
        self.slot_bytes as usize
    }

    fn page(&self, page: u32) -> u32 {
        self.start + page * F::ERASE_SIZE as u32
    }

    fn place(&self, page: u32, slot: u32) -> u32 {
        self.page(page) + self.header_bytes + slot * self.slot_bytes
    }

    fn read(&mut self, at: u32, out: &mut [u8]) -> Result<(), StoreError> {
        self.flash.read(at, out).map_err(failed)
    }

    /// Whether `bytes` bytes from `at` on are all `value`.
    fn all(&mut self, at: u32, bytes: u32, value: u8) -> Result<bool, StoreError> {
        // In words, as this reads whole pages.
        let mut piece = [0u32; PIECE / 4];
        let word = u32::from_ne_bytes([value; 4]);
        for from in (0..bytes).step_by(PIECE) {
            piece.fill(word);
            let length = PIECE.min((bytes - from) as usize);
            self.read(
                at + from,
                &mut bytemuck::cast_slice_mut(&mut piece)[..length],
            )?;
            if piece.iter().any(|&w| w != word) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes, and says whether that is what stands there now.
    fn write(&mut self, at: u32, bytes: &[u8]) -> Result<bool, StoreError> {
        self.flash.write(at, bytes).map_err(failed)?;
        let mut piece = [0; PIECE];
        for (i, wanted) in bytes.chunks(PIECE).enumerate() {
            let piece = &mut piece[..wanted.len()];
            self.read(at + (i * PIECE) as u32, piece)?;
            if piece != wanted {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Erases a page, and says whether it is blank now.
    pub fn erase(&mut self, page: u32) -> Result<bool, StoreError> {
        let at = self.page(page);
        for _ in 0..2 {
            let to = at + F::ERASE_SIZE as u32;
            self.flash.erase(at, to).map_err(failed)?;
            if self.is_blank(page)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a page was erased and not written since.
    pub fn is_blank(&mut self, page: u32) -> Result<bool, StoreError> {
        self.all(self.page(page), F::ERASE_SIZE as u32, 0xff)
    }

    /// Overwrites all of a page that can't be erased.
    pub fn wipe_page(&mut self, page: u32, buffer: &mut [u8]) -> Result<(), StoreError> {
        let header = &mut buffer[..self.header_bytes as usize];
        header.fill(0);
        self.write(self.page(page), header)?;
        for slot in 0..self.slots {
            self.wipe(page, slot, buffer)?;
        }
        Ok(())
    }

    /// The header, where there is a whole one.
    pub fn header(&mut self, page: u32, buffer: &mut [u8]) -> Result<Option<Header>, StoreError> {
        let bytes = &mut buffer[..self.header_bytes as usize];
        for _ in 0..READS {
            self.read(self.page(page), bytes)?;
            if bytes.iter().all(|&b| b == 0xff) {
                return Ok(None);
            }
            let Some(header) = Header::parse(bytes) else {
                continue;
            };
            // A page takes over an older one, or none.
            let possible = header.from <= header.sequence && header.sequence < u32::MAX;
            return Ok(possible.then_some(header));
        }
        Ok(None)
    }

    pub fn write_header(
        &mut self,
        page: u32,
        header: Header,
        buffer: &mut [u8],
    ) -> Result<bool, StoreError> {
        let bytes = &mut buffer[..self.header_bytes as usize];
        bytes.fill(0);
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&header.version.to_le_bytes());
        bytes[10..12].copy_from_slice(&header.dim.to_le_bytes());
        bytes[12..16].copy_from_slice(&header.sequence.to_le_bytes());
        bytes[16..20].copy_from_slice(&header.from.to_le_bytes());
        bytes[20..52].copy_from_slice(&header.artefact);
        let crc = CRC.checksum(&bytes[..HEADER - 4]);
        bytes[HEADER - 4..HEADER].copy_from_slice(&crc.to_le_bytes());
        self.write(self.page(page), bytes)
    }

    /// What a slot's first bytes say, without a look at the rest: it may be damaged.
    pub fn peek(&mut self, page: u32, slot: u32) -> Result<Option<Record>, StoreError> {
        let mut first = [0; PIECE];
        let first = &mut first[..F::READ_SIZE.max(8)];
        self.read(self.place(page, slot), first)?;
        Ok(record(first))
    }

    /// Reads a slot into the buffer.
    pub fn slot(&mut self, page: u32, slot: u32, buffer: &mut [u8]) -> Result<Slot, StoreError> {
        let bytes = &mut buffer[..self.slot_bytes as usize];
        let at = self.place(page, slot);
        for _ in 0..READS {
            self.read(at, bytes)?;
            match bytes.first() {
                Some(0xff) if bytes.iter().all(|&b| b == 0xff) => return Ok(Slot::Blank),
                Some(0) if bytes.iter().all(|&b| b == 0) => return Ok(Slot::Wiped),
                _ => {}
            }
            let end = bytes.len() - 4;
            if let Some(record) = record(bytes)
                && CRC.checksum(&bytes[..end]) == word(bytes, end)
            {
                return Ok(Slot::Record(record));
            }
        }
        Ok(Slot::Damaged)
    }

    /// The payload of the slot that was read last.
    pub fn payload<'b>(&self, buffer: &'b [u8]) -> &'b [u8] {
        &buffer[8..self.slot_bytes as usize - 4]
    }

    /// Makes a slot in the buffer; `fill` writes the payload, which is all zeros before.
    pub fn frame(&self, record: Record, fill: impl FnOnce(&mut [u8]), buffer: &mut [u8]) {
        let bytes = &mut buffer[..self.slot_bytes as usize];
        let end = bytes.len() - 4;
        bytes.fill(0);
        bytes[0] = record.kind as u8;
        bytes[2..4].copy_from_slice(&record.class.to_le_bytes());
        bytes[4..8].copy_from_slice(&record.number.to_le_bytes());
        fill(&mut bytes[8..end]);
        let crc = CRC.checksum(&bytes[..end]);
        bytes[end..].copy_from_slice(&crc.to_le_bytes());
    }

    /// Writes the buffer into a slot.
    pub fn put(&mut self, page: u32, slot: u32, buffer: &[u8]) -> Result<bool, StoreError> {
        let bytes = &buffer[..self.slot_bytes as usize];
        self.write(self.place(page, slot), bytes)
    }

    /// Overwrites a slot with zeros.
    pub fn wipe(&mut self, page: u32, slot: u32, buffer: &mut [u8]) -> Result<bool, StoreError> {
        let bytes = &mut buffer[..self.slot_bytes as usize];
        bytes.fill(0);
        self.write(self.place(page, slot), bytes)
    }

    /// The first slot behind the last that was written.
    pub fn end(&mut self, page: u32) -> Result<u32, StoreError> {
        for slot in (0..self.slots).rev() {
            if !self.all(self.place(page, slot), self.slot_bytes, 0xff)? {
                return Ok(slot + 1);
            }
        }
        Ok(0)
    }

    /// The flash itself.
    pub fn into_flash(self) -> F {
        self.flash
    }
}
